//! The state machine of an alert. Pure: the time comes with every sample.
//!
//! ```text
//!           over              over for so long
//!   Quiet ────────▶ Rising ─────────────────────▶ Raised ◀──────┐
//!     ▲ ◀────────── anything else                   │ under     │ anything else
//!     │                                             ▼           │
//!     └──────────────────────────────────────── Falling ────────┘
//!                   under for so long
//! ```
//! An alert is open in `Raised` and `Falling`. An unknown value changes nothing, in any state. A subject that ended
//! (its VM no longer runs or is gone) goes to `Quiet`, which resolves an open alert.

use crate::model::{
    AlertMetric, AlertRule, Comparison, HostUsage, RuleScope, Source, UtcMillis, VmStatus, VmUsage, VmView,
    in_whole_units,
};

/// An alert resolves so many percent (of the whole, or of a threshold that is no percentage) away from the
/// threshold, so that a value oscillating around it does not raise and resolve it repeatedly.
const HYSTERESIS_PERCENT: f64 = 5.0;

/// How long something must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// So long before an alert is raised, and so long not before it is resolved.
    pub for_secs: u32,
    /// After longer than this without a known value, the time starts again from zero.
    pub gap_secs: u32,
}

impl Timing {
    pub fn new(rule: &AlertRule, interval_secs: u32) -> Self {
        Self { for_secs: rule.for_secs, gap_secs: interval_secs.saturating_mul(3).max(30) }
    }
}

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
        // The hypervisor reports how far the image has grown, not how full a file system is. Alternating between the two
        // sources would open and resolve an alert again and again.
        AlertMetric::Disk => usage.disk_percent.filter(|_| usage.sources.disk != Source::Hypervisor),
        AlertMetric::Swap => usage.swap_percent,
        AlertMetric::NetworkDown => usage.network_rx_mb_per_s,
        AlertMetric::NetworkUp => usage.network_tx_mb_per_s,
        AlertMetric::Load | AlertMetric::NoMetrics | AlertMetric::Stopped => None,
    }
}

pub fn evaluate_host(rule: &AlertRule, host: &HostUsage) -> Evaluation {
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
fn recovery_threshold(rule: &AlertRule, threshold: f64) -> f64 {
    let margin = match rule.metric.max_threshold() {
        Some(100.0) => HYSTERESIS_PERCENT,
        _ => threshold * HYSTERESIS_PERCENT / 100.0,
    };
    match rule.comparison {
        Comparison::Above => threshold - margin,
        Comparison::Below => threshold + margin,
    }
}

fn compare(rule: &AlertRule, value: Option<f64>) -> Evaluation {
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

/// The text when an alert is raised. `subject` is a VM's name, none for the host.
pub fn raised_text(rule: &AlertRule, subject: Option<&str>, value: Option<f64>) -> String {
    let (who, span) = (subject.unwrap_or("The host"), in_whole_units(rule.for_secs));
    match (rule.metric, rule.threshold) {
        (AlertMetric::Stopped, _) => {
            format!("{who} stopped unexpectedly. Open its page for details, or start it again.")
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

/// An unbroken run of known values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    since: UtcMillis,
    seen_at: UtcMillis,
}

/// The state of a rule for one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    #[default]
    Quiet,
    Rising(Run),
    Raised,
    Falling(Run),
}

/// A transition of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    Raised,
    Resolved,
}

/// Why an alert is not open any more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resolved {
    Well {
        value: Option<f64>,
    },
    /// There is nothing to be read of the VM any more.
    Ended,
    Gone,
    /// The rule was changed, disabled or deleted, or another one takes precedence.
    NotWatched,
}

impl State {
    /// Whether an alert is open.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Raised | Self::Falling(_))
    }
}

impl Run {
    /// `self` continued by a sample at `now`, or a new run from there: after too long without samples, or if the clock
    /// was set back.
    fn with(self, now: UtcMillis, gap_secs: u32) -> Self {
        let pause_secs = now.secs_since(self.seen_at);
        if (0.0..=f64::from(gap_secs)).contains(&pause_secs) {
            Self { seen_at: now, ..self }
        } else {
            Self { since: now, seen_at: now }
        }
    }

    fn lasts(self, secs: u32) -> bool {
        self.seen_at.secs_since(self.since) >= f64::from(secs)
    }
}

/// The next state and the transition, if any.
pub fn next_state(timing: Timing, state: State, now: UtcMillis, level: Level) -> (State, Option<Transition>) {
    use State::{Falling, Quiet, Raised, Rising};
    let run = match state {
        Rising(run) | Falling(run) => run.with(now, timing.gap_secs),
        Quiet | Raised => Run { since: now, seen_at: now },
    };
    match (level, state.is_open()) {
        (Level::Unknown, _) => (state, None),
        (Level::Over, false) if run.lasts(timing.for_secs) => (Raised, Some(Transition::Raised)),
        (Level::Over, false) => (Rising(run), None),
        (Level::Between | Level::Under | Level::Ended, false) => (Quiet, None),
        (Level::Under, true) if run.lasts(timing.for_secs) => (Quiet, Some(Transition::Resolved)),
        (Level::Under, true) => (Falling(run), None),
        (Level::Over | Level::Between, true) => (Raised, None),
        (Level::Ended, true) => (Quiet, Some(Transition::Resolved)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;
    use proptest::prelude::*;

    const TIMING: Timing = Timing { for_secs: 60, gap_secs: 30 };

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

    fn cpu() -> AlertRule {
        rule(AlertMetric::Cpu, 90.0)
    }

    /// The changes that percentages bring about, one every 5 s, each with its second.
    fn transitions(percents: &[Option<f64>]) -> Vec<(i64, Transition)> {
        let mut state = State::Quiet;
        let mut transitions = Vec::new();
        for (secs, percent) in (0..).step_by(5).zip(percents) {
            let (next, change) = next_state(TIMING, state, at(secs), compare(&cpu(), *percent).level);
            state = next;
            transitions.extend(change.map(|change| (secs, change)));
        }
        transitions
    }

    fn at(secs: i64) -> UtcMillis {
        UtcMillis(secs * 1000)
    }

    fn for_ticks(percent: f64, ticks: usize) -> Vec<Option<f64>> {
        vec![Some(percent); ticks]
    }

    #[test]
    fn what_is_over_for_a_minute_is_reported_once() {
        assert_eq!(transitions(&for_ticks(90.0, 12)), []);
        assert_eq!(transitions(&for_ticks(90.0, 100)), [(60, Transition::Raised)]);
    }

    #[test]
    fn it_resolves_after_a_minute_well_below_and_not_just_below() {
        let well = [for_ticks(95.0, 13), for_ticks(85.0, 13)].concat();
        assert_eq!(transitions(&well), [(60, Transition::Raised), (125, Transition::Resolved)]);
        let just_below = [for_ticks(95.0, 13), for_ticks(85.1, 100)].concat();
        assert_eq!(transitions(&just_below), [(60, Transition::Raised)]);
    }

    #[test]
    fn a_moment_of_relief_does_not_count() {
        let percents =
            [for_ticks(95.0, 13), for_ticks(10.0, 12), for_ticks(91.0, 1), for_ticks(10.0, 12)].concat();
        assert_eq!(transitions(&percents), [(60, Transition::Raised)]);
    }

    #[test]
    fn a_short_stretch_without_values_is_bridged_and_a_long_one_starts_over() {
        let unknown = |ticks: usize| vec![None; ticks];
        let short = [for_ticks(95.0, 10), unknown(4), for_ticks(95.0, 1)].concat();
        assert_eq!(transitions(&short), [(70, Transition::Raised)]);
        let long = [for_ticks(95.0, 10), unknown(60), for_ticks(95.0, 12)].concat();
        assert_eq!(transitions(&long), []);
    }

    #[test]
    fn a_clock_that_is_put_back_starts_over() {
        let rising = State::Rising(Run { since: at(1000), seen_at: at(1055) });
        let (state, change) = next_state(TIMING, rising, at(500), Level::Over);
        assert_eq!((state, change), (State::Rising(Run { since: at(500), seen_at: at(500) }), None));
    }

    #[test]
    fn a_vm_that_stops_resolves_what_is_open_and_reports_nothing_else() {
        assert_eq!(
            next_state(TIMING, State::Raised, at(0), Level::Ended),
            (State::Quiet, Some(Transition::Resolved))
        );
        let rising = State::Rising(Run { since: at(0), seen_at: at(55) });
        assert_eq!(next_state(TIMING, rising, at(60), Level::Ended), (State::Quiet, None));
    }

    #[test]
    fn a_long_interval_raises_too() {
        let timing = Timing::new(&cpu(), 300);
        let (state, _) = next_state(timing, State::Quiet, at(0), Level::Over);
        assert_eq!(next_state(timing, state, at(300), Level::Over).1, Some(Transition::Raised));
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
            raised_text(&rule, Some("db"), Some(1.26)),
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

    fn any_level() -> impl Strategy<Value = Level> {
        prop_oneof![
            6 => Just(Level::Over),
            1 => Just(Level::Between),
            4 => Just(Level::Under),
            2 => Just(Level::Unknown),
            1 => Just(Level::Ended),
        ]
    }

    /// GuestSamples: seconds since the one before, and what they mean. Levels last a while, or nothing ever happens.
    fn any_levels() -> impl Strategy<Value = Vec<(i64, Level)>> {
        let stretch = (any_level(), proptest::collection::vec(1..40_i64, 1..12));
        proptest::collection::vec(stretch, 1..20).prop_map(|stretches| {
            let samples = |(level, pauses): (Level, Vec<i64>)| pauses.into_iter().map(move |p| (p, level));
            stretches.into_iter().flat_map(samples).collect()
        })
    }

    proptest! {
        #[test]
        fn nothing_is_resolved_that_was_not_raised_nor_raised_twice(samples in any_levels()) {
            let (mut state, mut now, mut open) = (State::Quiet, 0, false);
            for (pause, level) in samples {
                now += pause;
                let (next, change) = next_state(TIMING, state, at(now), level);
                match change {
                    Some(Transition::Raised) => { prop_assert!(!open); open = true; }
                    Some(Transition::Resolved) => { prop_assert!(open); open = false; }
                    None => {}
                }
                prop_assert_eq!(open, matches!(next, State::Raised | State::Falling(_)));
                state = next;
            }
        }

        #[test]
        fn nothing_is_raised_before_its_time(samples in any_levels()) {
            let (mut state, mut now, mut over_since) = (State::Quiet, 0, None);
            for (pause, level) in samples {
                now += pause;
                match level {
                    Level::Over => { over_since.get_or_insert(now); }
                    Level::Unknown => {}
                    _ => over_since = None,
                }
                let (next, change) = next_state(TIMING, state, at(now), level);
                if change == Some(Transition::Raised) {
                    prop_assert!(over_since.is_some_and(|since| now - since >= 60));
                }
                state = next;
            }
        }

        #[test]
        fn what_wavers_around_the_threshold_is_reported_once_at_most(
            percents in proptest::collection::vec(85.01..100.0_f64, 0..300),
        ) {
            let percents: Vec<_> = percents.into_iter().map(Some).collect();
            prop_assert!(transitions(&percents).len() <= 1);
        }

        #[test]
        fn what_swings_faster_than_the_rules_time_changes_nothing(
            swings in proptest::collection::vec((1..12_usize, 1..12_usize), 0..30), open in any::<bool>(),
        ) {
            let mut state = if open { State::Raised } else { State::Quiet };
            let mut now = 0;
            for (over, under) in swings {
                let levels = [vec![Level::Over; over], vec![Level::Under; under]].concat();
                for level in levels {
                    now += 5;
                    let (next, change) = next_state(TIMING, state, at(now), level);
                    prop_assert_eq!(change, None);
                    state = next;
                }
            }
        }

        #[test]
        fn what_is_not_known_changes_nothing(samples in any_levels(), later in 0..10_000_i64) {
            let (mut state, mut now) = (State::Quiet, 0);
            for (pause, level) in samples {
                now += pause;
                state = next_state(TIMING, state, at(now), level).0;
                prop_assert_eq!(next_state(TIMING, state, at(now + later), Level::Unknown), (state, None));
            }
        }
    }
}
