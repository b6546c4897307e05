//! Which two samples may be compared.
//!
//! A rate is an average between two samples. After the machine was suspended, the clock was set, or ticks were missing
//! for long, that average would be drawn as if it were current. Such a point has no rates, so that the chart shows a
//! gap and never a spike. Pure.

use crate::server::provider::{Domain, HypervisorSample, Moment};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How far wall clock and monotonic clock may diverge between two samples: more than NTP corrects gradually, less
/// than is visible on a chart.
const CLOCKS_APART: Duration = Duration::from_secs(2);
/// An older sample says nothing about the current rate …
const MAX_INTERVALS: u32 = 3;
/// … but with a short interval, a slow hypervisor must not leave charts without any rates.
const MIN_LIMIT: Duration = Duration::from_secs(10);

/// Whether rates may be computed from `earlier` to `later`: time moved forward, not for too long, and equally on both
/// clocks. During a suspend the monotonic clock stops and the wall clock jumps.
pub fn is_comparable(earlier: Moment, later: Moment, interval_secs: u32) -> bool {
    let Some(monotonic) = later.monotonic.checked_duration_since(earlier.monotonic) else { return false };
    let Some(wall_millis) = later.utc.0.checked_sub(earlier.utc.0) else { return false };
    let apart = i128::from(wall_millis).abs_diff(i128::try_from(monotonic.as_millis()).unwrap_or(i128::MAX));
    let longest = (Duration::from_secs(1) * interval_secs).saturating_mul(MAX_INTERVALS).max(MIN_LIMIT);
    monotonic <= longest && apart <= CLOCKS_APART.as_millis()
}

/// A sample's domains by UUID: this tick's, or the previous one's to compare with.
#[derive(Debug)]
pub struct PreviousSample {
    at: Moment,
    domains: HashMap<String, Domain>,
}

impl PreviousSample {
    pub fn at(&self) -> Moment {
        self.at
    }

    pub fn domain(&self, uuid: &str) -> Option<&Domain> {
        self.domains.get(uuid)
    }

    /// The domain in this earlier sample that `domain`, sampled at `now`, may be compared with, if any.
    pub fn before(&self, domain: &Domain, now: Moment, interval_secs: u32) -> Option<(&Domain, Instant)> {
        let comparable = is_comparable(self.at, now, interval_secs);
        self.domain(&domain.uuid).filter(|_| comparable).map(|domain| (domain, self.at.monotonic))
    }
}

impl From<HypervisorSample> for PreviousSample {
    fn from(sample: HypervisorSample) -> Self {
        Self { at: sample.moment(), domains: by_uuid(sample.domains) }
    }
}

pub fn by_uuid(domains: impl IntoIterator<Item = Domain>) -> HashMap<String, Domain> {
    domains.into_iter().map(|domain| (domain.uuid.clone(), domain)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Source, UtcMillis, VmUsage},
        server::{
            monitor::derive::{Inputs, derive},
            provider::{Counters, DomainState, Traffic},
        },
    };
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const INTERVAL_SECS: u32 = 5;
    const MORNING: UtcMillis = UtcMillis(1_795_420_800_000);

    fn passed(monotonic_secs: f64, wall_secs: f64) -> bool {
        let earlier = Moment { utc: MORNING, monotonic: Instant::now() };
        let later = Moment {
            utc: UtcMillis(MORNING.0 + (wall_secs * 1000.0) as i64),
            monotonic: earlier.monotonic + Duration::from_secs_f64(monotonic_secs),
        };
        is_comparable(earlier, later, INTERVAL_SECS)
    }

    #[test]
    fn samples_an_interval_or_a_few_apart_are_comparable() {
        assert!(passed(5.0, 5.0));
        assert!(passed(15.0, 14.0), "two ticks were missed, and a time server put the clock right");
    }

    #[test]
    fn a_suspended_machine_a_clock_that_is_set_and_a_long_silence_do_not() {
        assert!(!passed(5.0, 3600.0), "suspended for an hour, or the clock was put forward");
        assert!(!passed(5.0, -3600.0), "the clock was put back");
        assert!(!passed(5.0, 0.0), "the clock was set back by an interval");
        assert!(!passed(20.0, 20.0), "nothing was read for long");
    }

    #[test]
    fn a_slow_hypervisor_has_rates_at_the_shortest_interval() {
        let earlier = Moment { utc: MORNING, monotonic: Instant::now() };
        let later = |secs| Moment {
            utc: MORNING.plus_secs(secs),
            monotonic: earlier.monotonic + Duration::from_secs(secs.unsigned_abs()),
        };
        assert!(is_comparable(earlier, later(8), 1));
        assert!(!is_comparable(earlier, later(11), 1));
    }

    #[test]
    fn time_that_went_back_on_the_monotonic_clock_is_no_time() {
        let now = Instant::now();
        let earlier = Moment { utc: MORNING, monotonic: now + Duration::from_secs(1) };
        assert!(!is_comparable(earlier, Moment { utc: MORNING, monotonic: now }, INTERVAL_SECS));
    }

    /// What may happen between two ticks.
    #[derive(Debug, Clone, Copy)]
    enum Between {
        /// This many intervals pass.
        Intervals(u8),
        /// The machine is suspended: the wall clock advances, the monotonic one and the VMs do not.
        Suspended {
            secs: u32,
        },
        ClockSet {
            secs: i32,
        },
        /// The VM boots, and its counters restart from zero.
        Boot,
        /// Its counters restart from zero without a boot.
        Reset,
        /// The server restarts without a previous sample.
        Restart,
    }

    fn any_between() -> impl Strategy<Value = Between> {
        prop_oneof![
            4 => (1..8_u8).prop_map(Between::Intervals),
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
        /// The VM always uses 30 % CPU and receives 1 MB/s: any other value would be invented.
        #[test]
        fn whatever_happens_in_between_a_rate_is_true_or_unknown(
            story in proptest::collection::vec(any_between(), 1..40),
        ) {
            let mut now = Moment { utc: MORNING, monotonic: Instant::now() };
            let (mut ran_secs, mut started_at) = (3600_u64, MORNING);
            let mut previous: Option<PreviousSample> = None;
            for between in story {
                let mut ran = u64::from(INTERVAL_SECS);
                let mut wall = i64::from(INTERVAL_SECS);
                match between {
                    Between::Intervals(count) => {
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
                let sample = HypervisorSample { taken_at: now.monotonic, sampled_at: now.utc, domains: vec![domain] };
                let domain = &sample.domains[0];
                let earlier = previous.as_ref().and_then(|p| p.before(domain, now, INTERVAL_SECS));
                let VmUsage { cpu_percent, network_rx_mb_per_s, .. } =
                    derive(Inputs {
                        previous: earlier,
                        current: (domain, sample.taken_at),
                        guest: None,
                        tick_before: None,
                        now: sample.sampled_at,
                        interval_secs: INTERVAL_SECS,
                    });
                prop_assert!(cpu_percent.is_none_or(|cpu| (cpu - 30.0).abs() < 1e-6), "{cpu_percent:?} after {between:?}");
                prop_assert!(network_rx_mb_per_s.is_none_or(|rate| (rate - 1.0).abs() < 1e-6), "{network_rx_mb_per_s:?}");
                let quiet = matches!(between, Between::Intervals(1..=3));
                prop_assert!(cpu_percent.is_some() || !quiet || previous.is_none(), "no gap for nothing");
                previous = Some(PreviousSample::from(sample));
            }
        }
    }
}
