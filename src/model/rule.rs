use super::{AlertMetric, ApiError, Comparison, FieldError, Severity, rounded};
use serde::{Deserialize, Serialize};

/// The VMs or the host whose metrics a rule evaluates. As text: `host`, `every_vm`, `owner:3`, `vm:12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleScope {
    /// The host itself.
    Host,
    /// Every VM on this server.
    EveryVm,
    /// Every VM of an account.
    Owner(i64),
    /// The VM with this id.
    Vm(i64),
}

impl RuleScope {
    /// The inverse of [`Self::text`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "host" => Some(Self::Host),
            None if text == "every_vm" => Some(Self::EveryVm),
            Some(("owner", id)) => id.parse().ok().map(Self::Owner),
            Some(("vm", id)) => id.parse().ok().map(Self::Vm),
            _ => None,
        }
    }

    /// The text form: `vm:12`.
    pub fn text(self) -> String {
        match self {
            Self::Host => "host".into(),
            Self::EveryVm => "every_vm".into(),
            Self::Owner(id) => format!("owner:{id}"),
            Self::Vm(id) => format!("vm:{id}"),
        }
    }
}

/// The daily period without notifications. It spans midnight if it ends before it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// Minutes since midnight.
    pub from_minute: u16,
    /// Minutes since midnight, exclusive.
    pub to_minute: u16,
    /// By its name in the IANA database: `Europe/Berlin`.
    pub time_zone: String,
}

/// The condition that opens an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRule {
    /// 0 for a rule that is not stored yet.
    pub id: i64,
    /// Whose metrics it evaluates.
    pub scope: RuleScope,
    /// The name of the VM or account in `scope`.
    pub scope_name: Option<String>,
    /// The metric it evaluates.
    pub metric: AlertMetric,
    /// The side of the threshold on which an alert opens.
    pub comparison: Comparison,
    /// In the metric's unit; `None` if the metric has no numeric value.
    pub threshold: Option<f64>,
    /// How long the condition must hold to open an alert, and not hold to resolve it.
    pub for_secs: u32,
    /// The severity of its alerts.
    pub severity: Severity,
    /// The interval of reminders while an alert is open and not acknowledged.
    pub repeat_secs: Option<u32>,
    /// When notifications are held back; `None` for never.
    pub quiet_hours: Option<QuietHours>,
    /// Whether the rule is evaluated.
    pub is_enabled: bool,
    /// Whether the current user may edit it.
    pub is_editable: bool,
}

/// A rule as a form submits it; every field may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleForm {
    /// The id of the edited rule; empty for a new one.
    pub id: String,
    /// See [`RuleScope::parse`].
    pub scope: String,
    /// See [`AlertMetric::parse`].
    pub metric: String,
    /// `above` or `below`; empty means `above`.
    pub comparison: String,
    /// In the metric's unit, with at most two decimals; ignored if the metric has no numeric value.
    pub threshold: String,
    /// Whole seconds, from 0 to [`RULE_MAX_FOR_SECS`].
    pub for_secs: String,
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// Whole minutes, from 1 to [`RULE_MAX_REPEAT_MINUTES`]; empty for no reminders.
    pub repeat_minutes: String,
    /// `22:00`
    pub quiet_from: String,
    /// `07:00`; empty like `quiet_from` for no quiet hours.
    pub quiet_to: String,
    /// See [`QuietHours::time_zone`]; required with quiet hours.
    pub time_zone: String,
    /// `on` or empty, as a checkbox submits it.
    pub is_enabled: String,
}

/// The maximum of [`AlertRule::for_secs`]: one day.
pub const RULE_MAX_FOR_SECS: u32 = 24 * 3600;
/// The maximum interval of reminders: one week.
pub const RULE_MAX_REPEAT_MINUTES: u32 = 7 * 24 * 60;

impl RuleForm {
    /// The form filled with a rule's values, for editing it.
    pub fn of(rule: &AlertRule) -> Self {
        let quiet = rule.quiet_hours.as_ref();
        Self {
            id: rule.id.to_string(),
            scope: rule.scope.text(),
            metric: rule.metric.as_str().into(),
            comparison: rule.comparison.as_str().into(),
            threshold: rule.threshold.map(|it| rounded(it).to_string()).unwrap_or_default(),
            for_secs: rule.for_secs.to_string(),
            severity: rule.severity.as_str().into(),
            repeat_minutes: rule.repeat_secs.map(|secs| (secs / 60).to_string()).unwrap_or_default(),
            quiet_from: quiet.map(|quiet| time_of_day(quiet.from_minute)).unwrap_or_default(),
            quiet_to: quiet.map(|quiet| time_of_day(quiet.to_minute)).unwrap_or_default(),
            time_zone: quiet.map(|quiet| quiet.time_zone.clone()).unwrap_or_default(),
            is_enabled: if rule.is_enabled { "on".into() } else { String::new() },
        }
    }

    /// Validates the form. A new rule has the id 0. The server checks whether the VM, account and time zone exist.
    ///
    /// # Errors
    /// `Invalid`, with a message for every invalid field.
    pub fn check(&self) -> Result<AlertRule, ApiError> {
        let mut fields = Vec::new();
        let mut wrong = |field: &str, text: String| fields.push(FieldError { field: field.into(), text });

        let id = match self.id.as_str() {
            "" => 0,
            id => id.parse().unwrap_or_else(|_| {
                wrong("id", "A rule's id is a number.".into());
                0
            }),
        };
        let scope = RuleScope::parse(&self.scope).unwrap_or_else(|| {
            wrong("scope", "Choose what the rule applies to.".into());
            RuleScope::Host
        });
        let metric = AlertMetric::parse(&self.metric).unwrap_or_else(|| {
            wrong("metric", "Choose a metric.".into());
            AlertMetric::Cpu
        });
        let is_host = scope == RuleScope::Host;
        if !metric.belongs_to(is_host) {
            let subject = if is_host { "the host" } else { "a VM" };
            wrong("metric", format!("This metric is not available for {subject}."));
        }
        let comparison = match self.comparison.as_str() {
            "" => Comparison::Above,
            text => Comparison::parse(text).unwrap_or_else(|| {
                wrong("comparison", "Choose above or below.".into());
                Comparison::Above
            }),
        };
        let threshold = metric.max_threshold().map(|max| match self.threshold.trim().parse::<f64>() {
            Ok(value) if (0.0..=max).contains(&value) && is_in_hundredths(value) => value,
            _ => {
                let max = max as u32;
                wrong("threshold", format!("Enter a number from 0 to {max}, with at most two decimals."));
                0.0
            }
        });
        let for_secs = whole(&self.for_secs, 0, RULE_MAX_FOR_SECS).unwrap_or_else(|text| {
            wrong("for_secs", text);
            0
        });
        let severity = Severity::parse(&self.severity).unwrap_or_else(|| {
            wrong("severity", "Choose info, warning or error as the severity.".into());
            Severity::Warning
        });
        let repeat_secs = match self.repeat_minutes.trim() {
            "" => None,
            minutes => match whole(minutes, 1, RULE_MAX_REPEAT_MINUTES) {
                Ok(minutes) => Some(minutes * 60),
                Err(text) => {
                    wrong("repeat_minutes", text);
                    None
                }
            },
        };
        let quiet_hours = match (self.quiet_from.as_str(), self.quiet_to.as_str()) {
            ("", "") => None,
            (from, to) => {
                let (from, to) = (minute_of_day(from), minute_of_day(to));
                if from.is_none() || to.is_none() || from == to {
                    let text = "Enter both times, for example 22:00 and 07:00, or leave both empty.";
                    wrong("quiet_from", text.into());
                }
                let zone = self.time_zone.trim();
                if zone.is_empty() || zone.len() > 64 {
                    wrong("time_zone", "Enter a time zone, for example Europe/Berlin.".into());
                }
                from.zip(to).map(|(from_minute, to_minute)| QuietHours {
                    from_minute,
                    to_minute,
                    time_zone: zone.into(),
                })
            }
        };
        if !fields.is_empty() {
            return Err(ApiError::invalid(fields));
        }
        Ok(AlertRule {
            id,
            scope,
            scope_name: None,
            metric,
            comparison,
            threshold,
            for_secs,
            severity,
            repeat_secs,
            quiet_hours,
            is_enabled: self.is_enabled == "on",
            is_editable: true,
        })
    }
}

fn is_in_hundredths(value: f64) -> bool {
    (value * 100.0 - (value * 100.0).round()).abs() < 1e-6
}

fn whole(text: &str, min: u32, max: u32) -> Result<u32, String> {
    let number = text.trim().parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("Enter a whole number from {min} to {max}."))
}

/// `22:00`
pub fn time_of_day(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

/// `60 s`, `5 min`, `1 h`: in the largest unit that divides it, from two of that unit on (hours from one).
pub fn in_whole_units(secs: u32) -> String {
    match secs {
        0 => "0 s".into(),
        secs if secs.is_multiple_of(3600) => format!("{} h", secs / 3600),
        secs if secs > 60 && secs.is_multiple_of(60) => format!("{} min", secs / 60),
        secs => format!("{secs} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> RuleForm {
        RuleForm {
            scope: "vm:12".into(),
            metric: "cpu".into(),
            comparison: "above".into(),
            threshold: "90".into(),
            for_secs: "60".into(),
            severity: "warning".into(),
            is_enabled: "on".into(),
            ..RuleForm::default()
        }
    }

    #[test]
    fn a_form_that_was_read_gives_the_same_form_again() {
        let form = RuleForm {
            id: "4".into(),
            repeat_minutes: "30".into(),
            quiet_from: "22:30".into(),
            quiet_to: "07:00".into(),
            time_zone: "Europe/Berlin".into(),
            ..form()
        };
        assert_eq!(RuleForm::of(&form.check().unwrap()), form);
    }

    #[test]
    fn every_part_that_is_wrong_is_named() {
        let form = RuleForm {
            scope: "moon".into(),
            metric: "heat".into(),
            comparison: "beside".into(),
            threshold: "much".into(),
            for_secs: "-1".into(),
            severity: "bad".into(),
            repeat_minutes: "0".into(),
            quiet_from: "25:00".into(),
            ..RuleForm::default()
        };
        let refused = form.check().unwrap_err();
        for field in [
            "scope",
            "metric",
            "comparison",
            "threshold",
            "for_secs",
            "severity",
            "repeat_minutes",
            "quiet_from",
            "time_zone",
        ] {
            assert!(refused.field(field).is_some(), "{field}: {refused:?}");
        }
    }

    #[test]
    fn a_metric_belongs_to_vms_or_to_the_host() {
        let load = RuleForm { metric: "load".into(), ..form() };
        assert!(load.check().unwrap_err().field("metric").is_some());
        let stopped = RuleForm { metric: "stopped".into(), scope: "host".into(), ..form() };
        assert!(stopped.check().unwrap_err().field("metric").is_some());
        let silent = RuleForm { metric: "figures".into(), threshold: String::new(), ..form() };
        assert_eq!(silent.check().unwrap().threshold, None);
    }

    #[test]
    fn a_threshold_is_shown_as_it_was_entered() {
        let text = |metric: &str, threshold: &str| {
            let scope = if metric == "load" { "host".into() } else { form().scope };
            let rule =
                RuleForm { metric: metric.into(), threshold: threshold.into(), scope, ..form() }.check();
            let rule = rule.unwrap();
            rule.metric.wrong(rule.comparison, rule.threshold)
        };
        assert_eq!(text("load", "0.01"), "Load at 0.01 or more");
        assert_eq!(text("network_down", "0.04"), "Network down at 0.04 MB/s or more");
        assert_eq!(text("cpu", "89.97"), "CPU at 89.97 % or more");
        assert_eq!(text("cpu", "90"), "CPU at 90 % or more");
        assert_eq!(text("cpu", "100"), "CPU at 100 % or more");
    }

    #[test]
    fn a_threshold_is_a_number_within_its_unit() {
        for threshold in ["101", "-1", "NaN", "inf", "0.001", ""] {
            let form = RuleForm { threshold: threshold.into(), ..form() };
            assert!(form.check().unwrap_err().field("threshold").is_some(), "{threshold}");
        }
    }
}
