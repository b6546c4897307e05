use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A point in time: milliseconds since 1970-01-01 UTC, without leap seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UtcMillis(pub i64);

impl UtcMillis {
    /// `2026-11-23T06:15:54.120Z`: RFC 3339 in UTC, milliseconds only when there are any.
    pub fn to_rfc3339(self) -> String {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|t| t.format(&Rfc3339).ok())
            .unwrap_or_default()
    }

    /// Reads what [`Self::to_rfc3339`] writes, and any other RFC 3339 time.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
        i64::try_from(nanos.div_euclid(1_000_000)).ok().map(Self)
    }

    /// The time `secs` seconds later, or earlier if negative; saturates.
    #[must_use]
    pub fn plus_secs(self, secs: i64) -> Self {
        Self(self.0.saturating_add(secs.saturating_mul(1000)))
    }

    /// Half-way to `other`.
    #[must_use]
    pub fn midpoint(self, other: Self) -> Self {
        Self(self.0.midpoint(other.0))
    }

    /// Seconds from `earlier` to `self`, negative when the order is the other way round.
    pub fn secs_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1000.0
    }
}

/// For serde's `with`: a time as RFC 3339 text.
pub mod rfc3339 {
    use super::UtcMillis;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes a time as RFC 3339 text.
    pub fn serialize<S: Serializer>(time: &UtcMillis, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time.to_rfc3339())
    }

    /// Reads a time from RFC 3339 text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UtcMillis, D::Error> {
        let text = String::deserialize(deserializer)?;
        UtcMillis::from_rfc3339(&text)
            .ok_or_else(|| D::Error::custom(format!("not an RFC 3339 time: {text}")))
    }
}

#[cfg(test)]
mod tests {
    use super::UtcMillis;

    #[test]
    fn a_time_survives_its_text() {
        let time = UtcMillis(1_795_414_554_120);
        assert_eq!(time.to_rfc3339(), "2026-11-23T06:15:54.12Z");
        assert_eq!(UtcMillis::from_rfc3339(&time.to_rfc3339()), Some(time));
        assert_eq!(UtcMillis::from_rfc3339("yesterday"), None);
    }
}
