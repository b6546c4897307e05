//! The texts of alerts. Pure.

use super::{rules::recovery_threshold, state::Resolved};
use crate::model::{AlertMetric, AlertRule, Comparison, UtcMillis, in_whole_units};

/// Why a VM stopped that nobody had asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    Unknown,
    HostRestarted,
}

/// The text when an alert is raised. `subject` is a VM's name, none for the host.
pub fn raised_text(
    rule: &AlertRule,
    subject: Option<&str>,
    value: Option<f64>,
    reason: StopReason,
) -> String {
    let (who, span) = (subject.unwrap_or("The host"), in_whole_units(rule.for_secs));
    match (rule.metric, rule.threshold) {
        (AlertMetric::Stopped, _) => {
            let why = match reason {
                StopReason::Unknown => "unexpectedly",
                StopReason::HostRestarted => "because the host restarted",
            };
            format!("{who} stopped {why}. Details and the start button are on the VM's page.")
        }
        (AlertMetric::NoMetrics, _) if subject.is_none() => {
            format!("Nothing could be stored for {span}. The overview and /health say why.")
        }
        (AlertMetric::NoMetrics, _) | (_, None) => {
            format!("{who} is running but has reported no metrics for {span}.")
        }
        (metric, Some(threshold)) => format!(
            "{who}'s {} has been at {} {} for {span}; {} now.",
            metric.label(),
            metric.entered(threshold),
            rule.comparison.label(),
            value.map_or_else(|| "not known".into(), |value| metric.shown(value))
        ),
    }
}

/// The text when an alert is resolved, as [`raised_text`].
pub fn resolved_text(rule: &AlertRule, subject: Option<&str>, resolved: Resolved) -> String {
    let (who, span, metric) = (subject.unwrap_or("The host"), in_whole_units(rule.for_secs), rule.metric);
    let why = match (resolved, metric, rule.threshold) {
        (Resolved::Gone, ..) => "the VM is gone",
        (Resolved::NotWatched, ..) => "no rule applies to it any more",
        (Resolved::Ended, AlertMetric::Stopped, _) => "it was acknowledged",
        (Resolved::Ended, ..) => "the VM is no longer running",
        (Resolved::Well { .. }, AlertMetric::Stopped, _) => return format!("{who} is running again."),
        (Resolved::Well { .. }, AlertMetric::NoMetrics, _) if subject.is_none() => {
            return "Metrics and events are stored again.".into();
        }
        (Resolved::Well { .. }, AlertMetric::NoMetrics, _) | (Resolved::Well { .. }, _, None) => {
            return format!("{who} has been reporting metrics again for {span}.");
        }
        (Resolved::Well { value }, _, Some(threshold)) => {
            let side = match rule.comparison {
                Comparison::Above => Comparison::Below,
                Comparison::Below => Comparison::Above,
            };
            return format!(
                "{who}'s {} is well again: at {} {} for {span}{}.",
                metric.label(),
                metric.entered(recovery_threshold(rule, threshold)),
                side.label(),
                value.map_or_else(String::new, |value| format!("; {} now", metric.shown(value)))
            );
        }
    };
    format!("The alert about {who}'s {} is resolved: {why}.", metric.label())
}

/// The text of a reminder, as [`raised_text`].
pub fn repeated_text(rule: &AlertRule, subject: Option<&str>, raised_at: UtcMillis) -> String {
    let problem = rule.metric.wrong(rule.comparison, rule.threshold);
    let since = raised_at.to_rfc3339();
    let since = since.get(..16).unwrap_or(&since).replace('T', " ");
    let who = subject.unwrap_or("The host");
    format!("Reminder: {who}: {problem}, open since {since} UTC and not acknowledged.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::alerts::rules::tests::cpu;

    #[test]
    fn every_text_is_a_sentence() {
        assert_eq!(
            raised_text(&cpu(), Some("db"), Some(93.04), StopReason::Unknown),
            "db's CPU has been at 90 % or more for 60 s; 93 % now."
        );
        let well = Resolved::Well { value: Some(12.26) };
        assert_eq!(
            resolved_text(&cpu(), None, well),
            "The host's CPU is well again: at 85 % or less for 60 s; 12.3 % now."
        );
        assert_eq!(
            resolved_text(&cpu(), Some("db"), Resolved::Ended),
            "The alert about db's CPU is resolved: the VM is no longer running."
        );
    }

    #[test]
    fn a_small_threshold_is_never_shown_as_nothing() {
        for (metric, threshold, shown) in [
            (AlertMetric::NetworkDown, 0.04, "0.04 MB/s"),
            (AlertMetric::NetworkUp, 0.01, "0.01 MB/s"),
            (AlertMetric::Load, 3.25, "3.25"),
        ] {
            let rule = AlertRule { metric, threshold: Some(threshold), ..cpu() };
            let raised = raised_text(&rule, None, Some(threshold), StopReason::Unknown);
            assert!(raised.contains(&format!("at {shown} or more")), "{raised}");
            assert!(!raised.contains(" 0 "), "{raised}");
            let resolved = resolved_text(&rule, None, Resolved::Well { value: Some(0.02) });
            assert!(!resolved.contains(" 0 "), "{resolved}");
            assert!(repeated_text(&rule, None, UtcMillis(0)).contains(shown));
        }
    }

    #[test]
    fn a_reminder_names_its_subject_and_what_is_wrong_in_one_sentence() {
        for (subject, begin) in [
            (Some("db"), "Reminder: db: CPU at 90 % or more, "),
            (Some("web-1"), "Reminder: web-1: CPU at "),
            (None, "Reminder: The host: CPU at "),
        ] {
            let text = repeated_text(&cpu(), subject, UtcMillis(0));
            assert!(text.starts_with(begin), "{text}");
            assert!(text.ends_with("open since 1970-01-01 00:00 UTC and not acknowledged."), "{text}");
        }
    }
}
