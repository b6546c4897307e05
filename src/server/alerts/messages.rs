//! The texts of alerts. Pure.

use super::{rules::recovery_threshold, state::Resolved};
use crate::model::{AlertMetric, AlertRule, Comparison, in_whole_units};

/// The text when an alert is raised. `subject` is a VM's name, none for the host.
pub fn raised_text(rule: &AlertRule, subject: Option<&str>, value: Option<f64>) -> String {
    let (who, span) = (subject.unwrap_or("The host"), in_whole_units(rule.for_secs));
    match (rule.metric, rule.threshold) {
        (AlertMetric::Stopped, _) => {
            format!("{who} stopped unexpectedly. Open its page for details, or start it again.")
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
            metric.shown(threshold),
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
                metric.shown(recovery_threshold(rule, threshold)),
                side.label(),
                value.map_or_else(String::new, |value| format!("; {} now", metric.shown(value)))
            );
        }
    };
    format!("The alert about {who}'s {} is resolved: {why}.", metric.label())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::alerts::rules::tests::cpu;

    #[test]
    fn every_text_is_a_sentence() {
        assert_eq!(
            raised_text(&cpu(), Some("db"), Some(93.04)),
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
}
