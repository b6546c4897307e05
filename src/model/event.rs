use super::{ApiError, FieldError, UtcMillis};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    Warning,
    Error,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Error].into_iter().find(|severity| severity.as_str() == text)
    }
}

/// Something that happened, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub id: i64,
    pub at: UtcMillis,
    /// What it is about, for filtering: `vm_launched`, `vm_info_rebuilt`, …
    pub kind: String,
    pub severity: Severity,
    pub vm_id: Option<i64>,
    /// Of the VM, when it is asked for.
    #[serde(default)]
    pub vm_name: Option<String>,
    /// Who did it or whose account it is about, when that is asked for.
    #[serde(default)]
    pub person: Option<String>,
    pub text: String,
}

/// What events are about, roughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventCategory {
    Vm,
    Alert,
    Account,
    System,
}

impl EventCategory {
    pub const ALL: [Self; 4] = [Self::Vm, Self::Alert, Self::Account, Self::System];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::Alert => "alert",
            Self::Account => "account",
            Self::System => "system",
        }
    }

    /// What a person reads.
    pub fn label(self) -> &'static str {
        match self {
            Self::Vm => "VMs",
            Self::Alert => "Alerts",
            Self::Account => "Accounts",
            Self::System => "System",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str() == text)
    }
}

/// Which events are wanted; all that is not told does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    pub category: Option<EventCategory>,
    pub severity: Option<Severity>,
    /// A VM's name.
    pub vm: Option<String>,
    /// A user name.
    pub person: Option<String>,
    /// What stands in the sentence, in any case.
    pub text: Option<String>,
    pub from: Option<UtcMillis>,
    pub to: Option<UtcMillis>,
}

/// A filter as it stands in an address, every part a text that may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EventQuery {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub category: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub severity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vm: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub person: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// `2026-11-23T06:15:00Z`, or `2026-11-23` for the beginning of that day in UTC.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// As `from`; a day is meant to its end.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub to: String,
}

/// No word that is searched for is longer.
const QUERY_MAX_CHARS: usize = 100;

impl EventQuery {
    /// # Errors
    /// `Invalid`, with a text for every part that is wrong.
    pub fn filter(&self) -> Result<EventFilter, ApiError> {
        let mut fields = Vec::new();
        let mut wrong = |field: &str, text: &str| {
            fields.push(FieldError { field: field.into(), text: text.into() });
        };
        let category = EventCategory::parse(&self.category);
        if category.is_none() && !self.category.is_empty() {
            wrong("category", "A kind is vm, alert, account or system.");
        }
        let severity = Severity::parse(&self.severity);
        if severity.is_none() && !self.severity.is_empty() {
            wrong("severity", "A severity is info, warning or error.");
        }
        for (field, value) in [("vm", &self.vm), ("person", &self.person), ("text", &self.text)] {
            if value.chars().count() > QUERY_MAX_CHARS {
                wrong(field, "What is searched for has at most 100 characters.");
            }
        }
        let (from, to) = self.times();
        for (field, text, time) in [("from", &self.from, from), ("to", &self.to, to)] {
            if time.is_none() && !text.is_empty() {
                wrong(field, "A time looks like 2026-11-23 or 2026-11-23T06:15:00Z.");
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
            person: word(&self.person),
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

/// How many events there are of each severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SeverityCounts {
    pub info: u32,
    pub warning: u32,
    pub error: u32,
}

/// Events, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventPage {
    pub events: Vec<Event>,
    /// Whether there are older ones.
    pub more: bool,
    /// Of all that the filter lets through, whatever severity it names.
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
