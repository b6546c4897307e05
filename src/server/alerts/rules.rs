//! What is watched, and when an alert begins and ends. Pure: the time comes with every reading.
//!
//! ```text
//!           over              over for so long
//!   Quiet ────────▶ Rising ─────────────────────▶ Raised ◀──────┐
//!     ▲ ◀────────── anything else                   │ under     │ anything else
//!     │                                             ▼           │
//!     └──────────────────────────────────────── Falling ────────┘
//!                   under for so long
//! ```
//! An alert is open in `Raised` and `Falling`. What is not known changes nothing, in any state. A subject that
//! ended (its VM does not run any more, or is gone) leads to `Quiet`, and resolves what was open.

use crate::model::{
    AlertMetric, HostFigures, Severity, Source, UtcMillis, VmFigures, VmStatus, VmView, rounded,
};

/// An alert resolves so many percent below the threshold, or a figure that wavers around it would tell and
/// take back the same thing over and over.
const RELIEF_PERCENT: f64 = 5.0;

/// Whose figures a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    Host,
    EveryVm,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Condition {
    /// A figure is at this percentage or above.
    AtLeast(Figure, f64),
    /// A VM that runs sends neither CPU nor memory.
    NoFigures,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    Cpu,
    Memory,
    Disk,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Stable: rows name their rule by it.
    pub key: &'static str,
    pub subject: Subject,
    pub condition: Condition,
    /// How long it must hold before an alert is raised, and not hold before it is resolved.
    pub for_secs: u32,
    pub severity: Severity,
    /// After longer than this without a known reading, holding begins anew: nobody knows what was between.
    pub gap_secs: u32,
}

/// The rules of every server, for a sample every `period_secs`.
pub fn defaults(period_secs: u32) -> Vec<Rule> {
    use Severity::{Error, Warning};
    use Subject::{EveryVm, Host};
    let rule = |key, subject, condition, severity| Rule {
        key,
        subject,
        condition,
        for_secs: 60,
        severity,
        gap_secs: period_secs.saturating_mul(3).max(30),
    };
    let cpu = Condition::AtLeast(Figure::Cpu, 90.0);
    let memory = Condition::AtLeast(Figure::Memory, 85.0);
    let disk = Condition::AtLeast(Figure::Disk, 90.0);
    vec![
        rule("host_cpu", Host, cpu, Warning),
        rule("host_memory", Host, memory, Warning),
        // A full disk of the host stops every VM on it.
        rule("host_disk", Host, disk, Error),
        rule("vm_cpu", EveryVm, cpu, Warning),
        rule("vm_memory", EveryVm, memory, Warning),
        rule("vm_disk", EveryVm, disk, Warning),
        rule("vm_figures", EveryVm, Condition::NoFigures, Warning),
    ]
}

/// What a reading means to a rule.
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

/// A reading as a rule sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    pub level: Level,
    pub percent: Option<f64>,
}

impl Finding {
    pub const ENDED: Self = Self { level: Level::Ended, percent: None };
    const UNKNOWN: Self = Self { level: Level::Unknown, percent: None };
}

impl Rule {
    pub fn metric(&self) -> AlertMetric {
        match self.condition {
            Condition::AtLeast(Figure::Cpu, _) => AlertMetric::Cpu,
            Condition::AtLeast(Figure::Memory, _) => AlertMetric::Memory,
            Condition::AtLeast(Figure::Disk, _) => AlertMetric::Disk,
            Condition::NoFigures => AlertMetric::Figures,
        }
    }

    /// Percent; none where the rule is about having figures.
    pub fn threshold(&self) -> Option<f64> {
        match self.condition {
            Condition::AtLeast(_, percent) => Some(percent),
            Condition::NoFigures => None,
        }
    }

    pub fn of_host(&self, host: &HostFigures) -> Finding {
        match self.condition {
            Condition::AtLeast(figure, threshold) => {
                let percent = match figure {
                    Figure::Cpu => host.cpu_percent,
                    Figure::Memory => host.memory_percent,
                    Figure::Disk => host.disk_percent,
                };
                against(percent, threshold)
            }
            Condition::NoFigures => Finding::UNKNOWN,
        }
    }

    /// While an operation is under way, or the hypervisor is silent, a VM's figures say nothing about it.
    pub fn of_vm(&self, vm: &VmView) -> Finding {
        match vm.status {
            VmStatus::Running => self.of_running(&vm.figures),
            VmStatus::Pending | VmStatus::Unknown => Finding::UNKNOWN,
            VmStatus::Stopped | VmStatus::Suspended | VmStatus::Failed | VmStatus::NotCreated => {
                Finding::ENDED
            }
        }
    }

    fn of_running(&self, figures: &VmFigures) -> Finding {
        match self.condition {
            Condition::AtLeast(figure, threshold) => {
                let percent = match figure {
                    Figure::Cpu => figures.cpu_percent,
                    Figure::Memory => figures.memory_percent,
                    // The hypervisor tells how far the image has grown, which is no file system that fills up; and
                    // where the two took turns, an alert would come and go with them.
                    Figure::Disk => {
                        figures.disk_percent.filter(|_| figures.sources.disk != Source::Hypervisor)
                    }
                };
                against(percent, threshold)
            }
            Condition::NoFigures => {
                let silent = figures.cpu_percent.is_none() && figures.memory_percent.is_none();
                Finding { level: if silent { Level::Over } else { Level::Under }, percent: None }
            }
        }
    }

    /// What is told when an alert is raised. `subject` is a VM's name, none for the host.
    pub fn raised_text(&self, subject: Option<&str>, percent: Option<f64>) -> String {
        let for_secs = self.for_secs;
        match self.condition {
            Condition::AtLeast(_, threshold) => format!(
                "{} has been at {} or more for {for_secs} s; {} now.",
                self.of(subject),
                shown(threshold),
                percent.map_or_else(|| "not known".into(), shown)
            ),
            Condition::NoFigures => format!(
                "{} has sent no figures for {for_secs} s, though it runs.",
                subject.unwrap_or("The host")
            ),
        }
    }

    /// What is told when an alert is resolved, as [`Self::raised_text`].
    pub fn resolved_text(&self, subject: Option<&str>, resolved: Resolved) -> String {
        let for_secs = self.for_secs;
        let why = match (resolved, self.condition) {
            (Resolved::Stopped, _) => "the VM does not run any more".to_owned(),
            (Resolved::Gone, _) => "the VM is gone".to_owned(),
            (Resolved::Well { percent }, Condition::AtLeast(_, threshold)) => {
                return format!(
                    "{} is well again: at {} or less for {for_secs} s{}.",
                    self.of(subject),
                    shown(threshold - RELIEF_PERCENT),
                    percent.map_or_else(String::new, |p| format!("; {} now", shown(p)))
                );
            }
            (Resolved::Well { .. }, Condition::NoFigures) => {
                return format!(
                    "{} sends figures again, for {for_secs} s now.",
                    subject.unwrap_or("The host")
                );
            }
        };
        format!("The alert about {} is over: {why}.", self.of(subject))
    }

    /// `web-1's CPU`, `The host's disk`.
    fn of(&self, subject: Option<&str>) -> String {
        format!("{}'s {}", subject.unwrap_or("The host"), self.metric().label())
    }
}

fn against(percent: Option<f64>, threshold: f64) -> Finding {
    let level = match percent {
        None => Level::Unknown,
        Some(p) if p >= threshold => Level::Over,
        Some(p) if p > threshold - RELIEF_PERCENT => Level::Between,
        Some(_) => Level::Under,
    };
    Finding { level, percent }
}

fn shown(percent: f64) -> String {
    format!("{} %", (rounded(percent) * 10.0).round() / 10.0)
}

/// An unbroken run of readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    since: UtcMillis,
    seen_at: UtcMillis,
}

/// How a rule stands with one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    #[default]
    Quiet,
    Rising(Run),
    Raised,
    Falling(Run),
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Raised,
    Resolved,
}

/// Why an alert is not open any more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resolved {
    Well { percent: Option<f64> },
    Stopped,
    Gone,
}

impl Run {
    /// `self` with a reading at `now`, or one that begins there: when too long nothing was known, or the clock
    /// was put back.
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

/// The next state, and what there is to tell.
pub fn evaluate(rule: &Rule, state: State, now: UtcMillis, level: Level) -> (State, Option<Change>) {
    use State::{Falling, Quiet, Raised, Rising};
    let run = match state {
        Rising(run) | Falling(run) => run.with(now, rule.gap_secs),
        Quiet | Raised => Run { since: now, seen_at: now },
    };
    let is_open = matches!(state, Raised | Falling(_));
    match (level, is_open) {
        (Level::Unknown, _) => (state, None),
        (Level::Over, false) if run.lasts(rule.for_secs) => (Raised, Some(Change::Raised)),
        (Level::Over, false) => (Rising(run), None),
        (Level::Between | Level::Under | Level::Ended, false) => (Quiet, None),
        (Level::Under, true) if run.lasts(rule.for_secs) => (Quiet, Some(Change::Resolved)),
        (Level::Under, true) => (Falling(run), None),
        (Level::Over | Level::Between, true) => (Raised, None),
        (Level::Ended, true) => (Quiet, Some(Change::Resolved)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule() -> Rule {
        Rule {
            key: "vm_cpu",
            subject: Subject::EveryVm,
            condition: Condition::AtLeast(Figure::Cpu, 90.0),
            for_secs: 60,
            severity: Severity::Warning,
            gap_secs: 30,
        }
    }

    /// The changes that percentages bring about, one every 5 s, each with its second.
    fn told(percents: &[Option<f64>]) -> Vec<(i64, Change)> {
        let mut state = State::Quiet;
        let mut told = Vec::new();
        for (secs, percent) in (0..).step_by(5).zip(percents) {
            let (next, change) = evaluate(&rule(), state, at(secs), against(*percent, 90.0).level);
            state = next;
            told.extend(change.map(|change| (secs, change)));
        }
        told
    }

    fn at(secs: i64) -> UtcMillis {
        UtcMillis(secs * 1000)
    }

    fn for_ticks(percent: f64, ticks: usize) -> Vec<Option<f64>> {
        vec![Some(percent); ticks]
    }

    #[test]
    fn what_is_over_for_a_minute_is_told_once() {
        assert_eq!(told(&for_ticks(90.0, 12)), []);
        assert_eq!(told(&for_ticks(90.0, 100)), [(60, Change::Raised)]);
    }

    #[test]
    fn it_resolves_after_a_minute_well_below_and_not_just_below() {
        let well = [for_ticks(95.0, 13), for_ticks(85.0, 13)].concat();
        assert_eq!(told(&well), [(60, Change::Raised), (125, Change::Resolved)]);
        let just_below = [for_ticks(95.0, 13), for_ticks(85.1, 100)].concat();
        assert_eq!(told(&just_below), [(60, Change::Raised)]);
    }

    #[test]
    fn a_moment_of_relief_does_not_count() {
        let percents =
            [for_ticks(95.0, 13), for_ticks(10.0, 12), for_ticks(91.0, 1), for_ticks(10.0, 12)].concat();
        assert_eq!(told(&percents), [(60, Change::Raised)]);
    }

    #[test]
    fn a_short_stretch_without_figures_is_bridged_and_a_long_one_begins_anew() {
        let unknown = |ticks: usize| vec![None; ticks];
        let short = [for_ticks(95.0, 10), unknown(4), for_ticks(95.0, 1)].concat();
        assert_eq!(told(&short), [(70, Change::Raised)]);
        let long = [for_ticks(95.0, 10), unknown(60), for_ticks(95.0, 12)].concat();
        assert_eq!(told(&long), []);
    }

    #[test]
    fn a_clock_that_is_put_back_begins_anew() {
        let rising = State::Rising(Run { since: at(1000), seen_at: at(1055) });
        let (state, change) = evaluate(&rule(), rising, at(500), Level::Over);
        assert_eq!((state, change), (State::Rising(Run { since: at(500), seen_at: at(500) }), None));
    }

    #[test]
    fn a_vm_that_stops_resolves_what_is_open_and_tells_nothing_else() {
        assert_eq!(
            evaluate(&rule(), State::Raised, at(0), Level::Ended),
            (State::Quiet, Some(Change::Resolved))
        );
        let rising = State::Rising(Run { since: at(0), seen_at: at(55) });
        assert_eq!(evaluate(&rule(), rising, at(60), Level::Ended), (State::Quiet, None));
    }

    #[test]
    fn a_slow_beat_raises_too() {
        let rule = &defaults(300)[0];
        let (state, _) = evaluate(rule, State::Quiet, at(0), Level::Over);
        assert_eq!(evaluate(rule, state, at(300), Level::Over).1, Some(Change::Raised));
    }

    #[test]
    fn a_vms_disk_is_full_when_its_file_system_is_and_not_its_image() {
        let rules = defaults(5);
        let rule = rules.iter().find(|rule| rule.key == "vm_disk").unwrap();
        let of = |source| {
            let mut figures = VmFigures { disk_percent: Some(97.0), ..VmFigures::default() };
            figures.sources.disk = source;
            rule.of_running(&figures).level
        };
        assert_eq!(of(Source::Guest), Level::Over);
        assert_eq!(of(Source::Simulated), Level::Over);
        assert_eq!(of(Source::Hypervisor), Level::Unknown);
    }

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let rules = defaults(5);
        let mut keys: Vec<_> = rules.iter().map(|rule| rule.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), rules.len());
    }

    #[test]
    fn what_is_told_is_a_sentence() {
        assert_eq!(
            rule().raised_text(Some("db"), Some(93.04)),
            "db's CPU has been at 90 % or more for 60 s; 93 % now."
        );
        let well = Resolved::Well { percent: Some(12.26) };
        assert_eq!(
            rule().resolved_text(None, well),
            "The host's CPU is well again: at 85 % or less for 60 s; 12.3 % now."
        );
        assert_eq!(
            rule().resolved_text(Some("db"), Resolved::Stopped),
            "The alert about db's CPU is over: the VM does not run any more."
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

    /// Readings: seconds since the one before, and what they mean. Levels last a while, or nothing ever happens.
    fn any_readings() -> impl Strategy<Value = Vec<(i64, Level)>> {
        let stretch = (any_level(), proptest::collection::vec(1..40_i64, 1..12));
        proptest::collection::vec(stretch, 1..20).prop_map(|stretches| {
            let readings = |(level, pauses): (Level, Vec<i64>)| pauses.into_iter().map(move |p| (p, level));
            stretches.into_iter().flat_map(readings).collect()
        })
    }

    proptest! {
        #[test]
        fn nothing_is_resolved_that_was_not_raised_nor_raised_twice(readings in any_readings()) {
            let (mut state, mut now, mut open) = (State::Quiet, 0, false);
            for (pause, level) in readings {
                now += pause;
                let (next, change) = evaluate(&rule(), state, at(now), level);
                match change {
                    Some(Change::Raised) => { prop_assert!(!open); open = true; }
                    Some(Change::Resolved) => { prop_assert!(open); open = false; }
                    None => {}
                }
                prop_assert_eq!(open, matches!(next, State::Raised | State::Falling(_)));
                state = next;
            }
        }

        #[test]
        fn nothing_is_raised_before_its_time(readings in any_readings()) {
            let (mut state, mut now, mut over_since) = (State::Quiet, 0, None);
            for (pause, level) in readings {
                now += pause;
                match level {
                    Level::Over => { over_since.get_or_insert(now); }
                    Level::Unknown => {}
                    _ => over_since = None,
                }
                let (next, change) = evaluate(&rule(), state, at(now), level);
                if change == Some(Change::Raised) {
                    prop_assert!(over_since.is_some_and(|since| now - since >= 60));
                }
                state = next;
            }
        }

        #[test]
        fn what_wavers_around_the_threshold_is_told_once_at_most(
            percents in proptest::collection::vec(85.01..100.0_f64, 0..300),
        ) {
            let percents: Vec<_> = percents.into_iter().map(Some).collect();
            prop_assert!(told(&percents).len() <= 1);
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
                    let (next, change) = evaluate(&rule(), state, at(now), level);
                    prop_assert_eq!(change, None);
                    state = next;
                }
            }
        }

        #[test]
        fn what_is_not_known_changes_nothing(readings in any_readings(), later in 0..10_000_i64) {
            let (mut state, mut now) = (State::Quiet, 0);
            for (pause, level) in readings {
                now += pause;
                state = evaluate(&rule(), state, at(now), level).0;
                prop_assert_eq!(evaluate(&rule(), state, at(now + later), Level::Unknown), (state, None));
            }
        }
    }
}
