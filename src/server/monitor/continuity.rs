//! Which two readings may be compared.
//!
//! A rate is an average between two readings. Where time did not simply pass in between, that average would be
//! drawn as if it were the newest tick's: after a machine was suspended, a clock was set, or ticks were missing for
//! long. Such a point has no rates, so that the chart shows a gap and never a spike. Pure.

use crate::server::provider::{Domain, Moment, Reading};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How far wall clock and monotonic clock may come apart between two readings: more than a time server ever
/// corrects by and by, less than a person would notice on a chart.
const CLOCKS_APART: Duration = Duration::from_secs(2);
/// An older reading says nothing about now …
const MOST_PERIODS: u32 = 3;
/// … but where the period is short, a slow hypervisor must not leave charts without any rates.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether time simply passed from `earlier` to `later`: not back, not for long, and alike on both clocks. The
/// monotonic clock stands still while the machine is suspended, the wall clock jumps.
pub fn simply_passed(earlier: Moment, later: Moment, period_secs: u32) -> bool {
    let Some(monotonic) = later.monotonic.checked_duration_since(earlier.monotonic) else { return false };
    let Some(wall_millis) = later.utc.0.checked_sub(earlier.utc.0) else { return false };
    let apart = i128::from(wall_millis).abs_diff(i128::try_from(monotonic.as_millis()).unwrap_or(i128::MAX));
    let longest = (Duration::from_secs(1) * period_secs).saturating_mul(MOST_PERIODS).max(PATIENCE);
    monotonic <= longest && apart <= CLOCKS_APART.as_millis()
}

/// A reading by UUID: this tick's, or the last one's for it to be compared with.
#[derive(Debug)]
pub struct Taken {
    at: Moment,
    domains: HashMap<String, Domain>,
}

impl Taken {
    pub fn at(&self) -> Moment {
        self.at
    }

    pub fn domain(&self, uuid: &str) -> Option<&Domain> {
        self.domains.get(uuid)
    }

    /// What in this earlier reading `domain`, read at `now`, may be compared with, if anything.
    pub fn before(&self, domain: &Domain, now: Moment, period_secs: u32) -> Option<(&Domain, Instant)> {
        let comparable = simply_passed(self.at, now, period_secs);
        self.domain(&domain.uuid).filter(|_| comparable).map(|domain| (domain, self.at.monotonic))
    }
}

impl From<Reading> for Taken {
    fn from(reading: Reading) -> Self {
        Self { at: reading.moment(), domains: by_uuid(reading.domains) }
    }
}

pub fn by_uuid(domains: impl IntoIterator<Item = Domain>) -> HashMap<String, Domain> {
    domains.into_iter().map(|domain| (domain.uuid.clone(), domain)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Source, UtcMillis, VmFigures},
        server::{
            monitor::derive::{Inputs, derive},
            provider::{Counters, DomainState, Traffic},
        },
    };
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const PERIOD_SECS: u32 = 5;
    const MORNING: UtcMillis = UtcMillis(1_795_420_800_000);

    fn passed(monotonic_secs: f64, wall_secs: f64) -> bool {
        let earlier = Moment { utc: MORNING, monotonic: Instant::now() };
        let later = Moment {
            utc: UtcMillis(MORNING.0 + (wall_secs * 1000.0) as i64),
            monotonic: earlier.monotonic + Duration::from_secs_f64(monotonic_secs),
        };
        simply_passed(earlier, later, PERIOD_SECS)
    }

    #[test]
    fn a_period_or_a_few_simply_pass() {
        assert!(passed(5.0, 5.0));
        assert!(passed(15.0, 14.0), "two ticks were missed, and a time server put the clock right");
    }

    #[test]
    fn a_suspended_machine_a_clock_that_is_set_and_a_long_silence_do_not() {
        assert!(!passed(5.0, 3600.0), "suspended for an hour, or the clock was put forward");
        assert!(!passed(5.0, -3600.0), "the clock was put back");
        assert!(!passed(5.0, 0.0), "the clock was put back by a period");
        assert!(!passed(20.0, 20.0), "nothing was read for long");
    }

    #[test]
    fn a_slow_hypervisor_has_rates_at_the_shortest_period() {
        let earlier = Moment { utc: MORNING, monotonic: Instant::now() };
        let later = |secs| Moment {
            utc: MORNING.plus_secs(secs),
            monotonic: earlier.monotonic + Duration::from_secs(secs.unsigned_abs()),
        };
        assert!(simply_passed(earlier, later(8), 1));
        assert!(!simply_passed(earlier, later(11), 1));
    }

    #[test]
    fn time_that_went_back_on_the_monotonic_clock_is_no_time() {
        let now = Instant::now();
        let earlier = Moment { utc: MORNING, monotonic: now + Duration::from_secs(1) };
        assert!(!simply_passed(earlier, Moment { utc: MORNING, monotonic: now }, PERIOD_SECS));
    }

    /// What may happen between two ticks.
    #[derive(Debug, Clone, Copy)]
    enum Between {
        /// So many periods pass.
        Periods(u8),
        /// The machine sleeps: the wall clock goes on, the monotonic one and the VMs do not.
        Suspended {
            secs: u32,
        },
        ClockSet {
            secs: i32,
        },
        /// The VM boots, and its counters begin anew.
        Boot,
        /// Its counters begin anew, though it did not.
        Reset,
        /// The server begins anew and remembers nothing.
        Restart,
    }

    fn any_between() -> impl Strategy<Value = Between> {
        prop_oneof![
            4 => (1..8_u8).prop_map(Between::Periods),
            1 => (0..100_000_u32).prop_map(|secs| Between::Suspended { secs }),
            1 => (-100_000..100_000_i32).prop_map(|secs| Between::ClockSet { secs }),
            1 => Just(Between::Boot),
            1 => Just(Between::Reset),
            1 => Just(Between::Restart),
        ]
    }

    fn vm(bytes: u64, busy_ns: u64, started_at: UtcMillis) -> Domain {
        Domain {
            uuid: "a".into(),
            name: "a".into(),
            state: DomainState::Running,
            started_at: Some(started_at),
            counters: Counters {
                vcpu_time_ns: BTreeMap::from([(0, busy_ns)]),
                vcpu_current: Some(1),
                interfaces: BTreeMap::from([(
                    "vnet0".into(),
                    Traffic { rx_bytes: bytes, tx_bytes: bytes / 2 },
                )]),
                ..Counters::default()
            },
            source: Source::Hypervisor,
        }
    }

    proptest! {
        /// The VM is busy for 30 % and receives 1 MB/s, always: whatever else is told was made up.
        #[test]
        fn whatever_happens_in_between_a_rate_is_true_or_unknown(
            story in proptest::collection::vec(any_between(), 1..40),
        ) {
            let mut now = Moment { utc: MORNING, monotonic: Instant::now() };
            let (mut ran_secs, mut started_at) = (3600_u64, MORNING);
            let mut previous: Option<Taken> = None;
            for between in story {
                let mut ran = u64::from(PERIOD_SECS);
                let mut wall = i64::from(PERIOD_SECS);
                match between {
                    Between::Periods(count) => {
                        ran *= u64::from(count);
                        wall *= i64::from(count);
                    }
                    Between::Suspended { secs } => wall += i64::from(secs),
                    Between::ClockSet { secs } => wall += i64::from(secs),
                    Between::Boot => {
                        ran_secs = 0;
                        started_at = now.utc.plus_secs(1);
                    }
                    // One that ends up where it was before cannot be seen by anybody.
                    Between::Reset if ran_secs > ran => ran_secs = 0,
                    Between::Reset => {}
                    Between::Restart => previous = None,
                }
                now = Moment {
                    utc: now.utc.plus_secs(wall),
                    monotonic: now.monotonic + Duration::from_secs(ran),
                };
                ran_secs += ran;
                let domain = vm(ran_secs * 1024 * 1024, ran_secs * 300_000_000, started_at);
                let reading = Reading { taken_at: now.monotonic, sampled_at: now.utc, domains: vec![domain] };
                let domain = &reading.domains[0];
                let earlier = previous.as_ref().and_then(|p| p.before(domain, now, PERIOD_SECS));
                let VmFigures { cpu_percent, network_rx_mb_per_s, .. } =
                    derive(Inputs {
                        previous: earlier,
                        current: (domain, reading.taken_at),
                        guest: None,
                        tick_before: None,
                        now: reading.sampled_at,
                        period_secs: PERIOD_SECS,
                    });
                prop_assert!(cpu_percent.is_none_or(|cpu| (cpu - 30.0).abs() < 1e-6), "{cpu_percent:?} after {between:?}");
                prop_assert!(network_rx_mb_per_s.is_none_or(|rate| (rate - 1.0).abs() < 1e-6), "{network_rx_mb_per_s:?}");
                let quiet = matches!(between, Between::Periods(1..=3));
                prop_assert!(cpu_percent.is_some() || !quiet || previous.is_none(), "no gap for nothing");
                previous = Some(Taken::from(reading));
            }
        }
    }
}
