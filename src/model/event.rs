use super::{ApiError, FieldError, UtcMillis};
use serde::{Deserialize, Serialize};

/// How serious an event or alert is, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Normal operation; no action needed.
    Info,
    /// May need attention.
    Warning,
    /// Something failed or needs action.
    Error,
}

impl Severity {
    /// The name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }

    /// The inverse of [`Self::as_str`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Error].into_iter().find(|severity| severity.as_str() == text)
    }
}

/// Something that happened, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Newer events have higher ids.
    pub id: i64,
    /// When it happened.
    pub at: UtcMillis,
    /// Its kind, for filtering: `vm_launched`, `vm_info_rebuilt`, …
    pub kind: String,
    /// How serious it is.
    pub severity: Severity,
    /// The VM it concerns, if any.
    pub vm_id: Option<i64>,
    /// The VM's current name.
    #[serde(default)]
    pub vm_name: Option<String>,
    /// The user who caused it or owns the account it concerns.
    #[serde(default, rename = "person")]
    pub user: Option<String>,
    /// The sentence, as shown to users.
    pub text: String,
}

/// The request that caused an event. Admins know that of each event, other users that of what they did themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventOrigin {
    /// [`Event::id`].
    pub event_id: i64,
    /// The client's IP address.
    pub address: Option<String>,
    /// The session that the request belonged to; it may have ended since.
    pub session_id: Option<i64>,
    /// As in the response's header `x-request-id`.
    pub request_id: String,
}

/// The subject of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventCategory {
    /// VMs and their operations.
    Vm,
    /// Alerts and their rules.
    Alert,
    /// Accounts and credits.
    Account,
    /// Sign-ins, refused access, exports.
    Security,
    /// The server and the host.
    System,
}

impl EventCategory {
    /// Every category, in form order.
    pub const ALL: [Self; 5] = [Self::Vm, Self::Alert, Self::Account, Self::Security, Self::System];

    /// The name in the API and in addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::Alert => "alert",
            Self::Account => "account",
            Self::Security => "security",
            Self::System => "system",
        }
    }

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Vm => "VMs",
            Self::Alert => "Alerts",
            Self::Account => "Accounts",
            Self::Security => "Security",
            Self::System => "System",
        }
    }

    /// The inverse of [`Self::as_str`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str() == text)
    }
}

/// A filter of events; `None` does not restrict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only events of this category.
    pub category: Option<EventCategory>,
    /// Only events of exactly this severity.
    pub severity: Option<Severity>,
    /// A VM's name.
    pub vm: Option<String>,
    /// A user name.
    pub user: Option<String>,
    /// A part of the sentence, ignoring case.
    pub text: Option<String>,
    /// The earliest time, inclusive.
    pub from: Option<UtcMillis>,
    /// The latest time, inclusive.
    pub to: Option<UtcMillis>,
}

/// A filter as in an address; every part may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EventQuery {
    /// `vm`, `alert`, `account`, `security` or `system`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub category: String,
    /// `info`, `warning` or `error`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub severity: String,
    /// A VM's name, at most 100 characters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vm: String,
    /// A user name, at most 100 characters.
    #[serde(rename = "person", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// A part of the sentence, at most 100 characters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// `2026-11-23T06:15:00Z`, or `2026-11-23` for the beginning of that day in UTC.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// As `from`; a date means the end of that day.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
}

/// The maximum length of a search term.
const QUERY_MAX_CHARS: usize = 100;

impl EventQuery {
    /// Validates the query; a part of only white space does not restrict.
    ///
    /// # Errors
    /// `Invalid`, with a message for every invalid part.
    pub fn filter(&self) -> Result<EventFilter, ApiError> {
        let mut fields = Vec::new();
        let mut wrong = |field: &str, text: &str| {
            fields.push(FieldError { field: field.into(), text: text.into() });
        };
        let category = EventCategory::parse(&self.category);
        if category.is_none() && !self.category.is_empty() {
            wrong("category", "Choose vm, alert, account, security or system as the kind.");
        }
        let severity = Severity::parse(&self.severity);
        if severity.is_none() && !self.severity.is_empty() {
            wrong("severity", "Choose info, warning or error as the severity.");
        }
        for (field, value) in [("vm", &self.vm), ("person", &self.user), ("text", &self.text)] {
            if value.chars().count() > QUERY_MAX_CHARS {
                wrong(field, "Search terms can have at most 100 characters.");
            }
        }
        let (from, to) = self.times();
        for (field, text, time) in [("from", &self.from, from), ("to", &self.to, to)] {
            if time.is_none() && !text.is_empty() {
                wrong(field, "Enter a time such as 2026-11-23 or 2026-11-23T06:15:00Z.");
            }
        }
        if !fields.is_empty() {
            return Err(ApiError::invalid(fields));
        }
        let word = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(EventFilter {
            category,
            severity,
            vm: word(&self.vm),
            user: word(&self.user),
            text: word(&self.text),
            from,
            to,
        })
    }
}

impl EventQuery {
    /// `from` and `to` where they are times, or days of UTC: the first from its beginning, the last to its end.
    pub fn times(&self) -> (Option<UtcMillis>, Option<UtcMillis>) {
        (time_of(&self.from, "T00:00:00Z"), time_of(&self.to, "T23:59:59.999Z"))
    }
}

fn time_of(text: &str, of_day: &str) -> Option<UtcMillis> {
    UtcMillis::from_rfc3339(text).or_else(|| UtcMillis::from_rfc3339(&format!("{text}{of_day}")))
}

/// The number of events of each severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SeverityCounts {
    /// Events of [`Severity::Info`].
    pub info: u32,
    /// Events of [`Severity::Warning`].
    pub warning: u32,
    /// Events of [`Severity::Error`].
    pub error: u32,
}

/// Events, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventPage {
    /// The events of this page, newest first.
    pub events: Vec<Event>,
    /// Where these events came from, as far as it is known and the caller may know it.
    #[serde(default)]
    pub origins: Vec<EventOrigin>,
    /// Whether there are older ones.
    pub more: bool,
    /// Of all matching events, ignoring the filter of the severity.
    pub counts: SeverityCounts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_meant_from_its_beginning_to_its_end() {
        let query =
            EventQuery { from: "2026-11-23".into(), to: "2026-11-23".into(), ..EventQuery::default() };
        let filter = query.filter().unwrap();
        assert_eq!(filter.to.unwrap().0 - filter.from.unwrap().0, 86_399_999);
    }

    #[test]
    fn every_wrong_part_is_named_and_an_empty_one_does_not_matter() {
        assert_eq!(EventQuery::default().filter().unwrap(), EventFilter::default());
        let query = EventQuery {
            category: "gossip".into(),
            severity: "loud".into(),
            text: "x".repeat(101),
            to: "later".into(),
            ..EventQuery::default()
        };
        let error = query.filter().unwrap_err();
        let named: Vec<_> = error.fields.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(named, ["category", "severity", "text", "to"]);
    }
}
