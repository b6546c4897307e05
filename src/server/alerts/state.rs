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

use super::rules::Level;
use crate::model::{AlertRule, UtcMillis};

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
    use crate::server::alerts::rules::{compare, tests::cpu};
    use proptest::prelude::*;

    const TIMING: Timing = Timing { for_secs: 60, gap_secs: 30 };

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
