//! Which rules apply to a subject, and how a sample compares with a rule's threshold. Pure.

use crate::model::{AlertMetric, AlertRule, Comparison, HostUsage, RuleScope, VmStatus, VmUsage, VmView};

/// An alert resolves so many percent (of the whole, or of a threshold that is no percentage) away from the
/// threshold, so that a value oscillating around it does not raise and resolve it repeatedly.
const HYSTERESIS_PERCENT: f64 = 5.0;

/// The rules that apply to a VM. For the same metric and comparison, a VM's own rules take precedence over its owner's,
/// and these over the rules for all VMs; a disabled rule therefore silences the less specific ones.
pub fn rules_of(rules: &[AlertRule], vm_id: i64, owner_id: i64) -> impl Iterator<Item = &AlertRule> {
    let rank = move |rule: &AlertRule| match rule.scope {
        RuleScope::Vm(id) => (id == vm_id).then_some(2),
        RuleScope::Owner(id) => (id == owner_id).then_some(1),
        RuleScope::EveryVm => Some(0),
        RuleScope::Host => None,
    };
    rules.iter().filter(move |rule| {
        let own = rank(rule);
        let precedes = |other: &AlertRule| {
            rank(other) > own && (other.metric, other.comparison) == (rule.metric, rule.comparison)
        };
        rule.is_enabled && own.is_some() && !rules.iter().any(precedes)
    })
}

/// A value relative to a rule's threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Over,
    /// Not over, yet not far enough below to be well again.
    Between,
    Under,
    Unknown,
    /// There is nothing to be read of the subject any more.
    Ended,
}

/// A rule's view of a sample, the value in the metric's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    pub level: Level,
    pub value: Option<f64>,
}

impl Evaluation {
    pub const ENDED: Self = Self::only(Level::Ended);

    const fn only(level: Level) -> Self {
        Self { level, value: None }
    }
}

/// The host's value of a metric in its unit; none if the metric has no value.
pub fn value_of_host(metric: AlertMetric, host: &HostUsage) -> Option<f64> {
    match metric {
        AlertMetric::Cpu => host.cpu_percent,
        AlertMetric::Memory => host.memory_percent,
        AlertMetric::Disk => host.disk_percent,
        AlertMetric::Swap => host.swap_percent,
        AlertMetric::NetworkDown => host.net_recv_speed,
        AlertMetric::NetworkUp => host.net_send_speed,
        AlertMetric::Load => host.load_1,
        AlertMetric::NoMetrics | AlertMetric::Stopped => None,
    }
}

/// The same of a VM's.
pub fn value_of_vm(metric: AlertMetric, usage: &VmUsage) -> Option<f64> {
    match metric {
        AlertMetric::Cpu => usage.cpu_percent,
        AlertMetric::Memory => usage.memory_percent,
        // An image says nothing about how full a file system is. Alternating between the two would open and resolve an
        // alert again and again.
        AlertMetric::Disk => usage.of_file_system(|usage| usage.disk_percent),
        AlertMetric::Swap => usage.swap_percent,
        AlertMetric::NetworkDown => usage.network_rx_mb_per_s,
        AlertMetric::NetworkUp => usage.network_tx_mb_per_s,
        AlertMetric::Load | AlertMetric::NoMetrics | AlertMetric::Stopped => None,
    }
}

/// `cannot_store`: the database cannot be written.
pub fn evaluate_host(rule: &AlertRule, host: &HostUsage, cannot_store: bool) -> Evaluation {
    if rule.metric == AlertMetric::NoMetrics {
        return Evaluation::only(if cannot_store { Level::Over } else { Level::Under });
    }
    compare(rule, value_of_host(rule.metric, host))
}

/// While an operation runs or the hypervisor is unresponsive, a VM's values are not evaluated.
pub fn evaluate_vm(rule: &AlertRule, vm: &VmView) -> Evaluation {
    let stopped_unexpectedly = vm.unexpected_stop_at.is_some();
    match (vm.status, rule.metric) {
        (VmStatus::Pending | VmStatus::Unknown, _) => Evaluation::only(Level::Unknown),
        (VmStatus::Running, AlertMetric::Stopped) => Evaluation::only(Level::Under),
        (VmStatus::Running, _) => evaluate_running(rule, &vm.usage),
        (VmStatus::Stopped | VmStatus::NotCreated, AlertMetric::Stopped) if stopped_unexpectedly => {
            Evaluation::only(Level::Over)
        }
        (VmStatus::Stopped | VmStatus::Suspended | VmStatus::Failed | VmStatus::NotCreated, _) => {
            Evaluation::ENDED
        }
    }
}

fn evaluate_running(rule: &AlertRule, usage: &VmUsage) -> Evaluation {
    if rule.metric == AlertMetric::NoMetrics {
        let silent = usage.cpu_percent.is_none() && usage.memory_percent.is_none();
        return Evaluation::only(if silent { Level::Over } else { Level::Under });
    }
    compare(rule, value_of_vm(rule.metric, usage))
}

/// The value at which an alert begins to resolve.
pub fn recovery_threshold(rule: &AlertRule, threshold: f64) -> f64 {
    let margin = match rule.metric.max_threshold() {
        Some(100.0) => HYSTERESIS_PERCENT,
        _ => threshold * HYSTERESIS_PERCENT / 100.0,
    };
    match rule.comparison {
        Comparison::Above => threshold - margin,
        Comparison::Below => threshold + margin,
    }
}

pub fn compare(rule: &AlertRule, value: Option<f64>) -> Evaluation {
    let level = match (value, rule.threshold) {
        (None, _) | (_, None) => Level::Unknown,
        (Some(value), Some(threshold)) => {
            let well = recovery_threshold(rule, threshold);
            let (is_wrong, is_well) = match rule.comparison {
                Comparison::Above => (value >= threshold, value <= well),
                Comparison::Below => (value <= threshold, value >= well),
            };
            match (is_wrong, is_well) {
                (true, _) => Level::Over,
                (false, true) => Level::Under,
                (false, false) => Level::Between,
            }
        }
    };
    Evaluation { level, value }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::{
        model::{Severity, Source},
        server::alerts::messages::{StopReason, raised_text},
    };

    fn rule(metric: AlertMetric, threshold: f64) -> AlertRule {
        AlertRule {
            id: 1,
            scope: RuleScope::EveryVm,
            scope_name: None,
            metric,
            comparison: Comparison::Above,
            threshold: metric.max_threshold().map(|_| threshold),
            for_secs: 60,
            severity: Severity::Warning,
            repeat_secs: None,
            quiet_hours: None,
            is_enabled: true,
            is_editable: true,
        }
    }

    pub fn cpu() -> AlertRule {
        rule(AlertMetric::Cpu, 90.0)
    }

    #[test]
    fn a_vms_disk_is_full_when_its_file_system_is_and_not_its_image() {
        let of = |source| {
            let mut usage = VmUsage { disk_percent: Some(97.0), ..VmUsage::default() };
            usage.sources.disk = source;
            evaluate_running(&rule(AlertMetric::Disk, 90.0), &usage).level
        };
        assert_eq!(of(Source::Guest), Level::Over);
        assert_eq!(of(Source::Simulated), Level::Over);
        assert_eq!(of(Source::Hypervisor), Level::Unknown);
    }

    #[test]
    fn below_is_wrong_below_and_well_above() {
        let rule = AlertRule { comparison: Comparison::Below, ..rule(AlertMetric::NetworkDown, 2.0) };
        let level = |value| compare(&rule, Some(value)).level;
        assert_eq!((level(2.0), level(2.05), level(2.1)), (Level::Over, Level::Between, Level::Under));
        assert_eq!(
            raised_text(&rule, Some("db"), Some(1.26), StopReason::Unknown),
            "db's network down has been at 2 MB/s or less for 60 s; 1.3 MB/s now."
        );
    }

    #[test]
    fn the_nearer_rule_takes_precedence() {
        let every = AlertRule { id: 1, ..cpu() };
        let owners = AlertRule { id: 2, scope: RuleScope::Owner(3), ..cpu() };
        let own = AlertRule { id: 4, scope: RuleScope::Vm(7), is_enabled: false, ..cpu() };
        let also = AlertRule { id: 5, ..rule(AlertMetric::Memory, 85.0) };
        let other_side = AlertRule { id: 6, comparison: Comparison::Below, ..cpu() };
        let rules = [every, owners, own, also, other_side];
        let of = |vm_id, owner_id| rules_of(&rules, vm_id, owner_id).map(|rule| rule.id).collect::<Vec<_>>();
        assert_eq!(of(7, 3), [5, 6], "its own rule is off");
        assert_eq!(of(8, 3), [2, 5, 6]);
        assert_eq!(of(9, 1), [1, 5, 6]);
    }
}
