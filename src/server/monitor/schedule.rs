//! When ticks are due: whole intervals after the first one, however long each takes.
//!
//! Pure, on the monotonic clock: setting the wall clock has no effect. Ticks that pass while another one is running are
//! counted and skipped, so that a slow tick neither shifts nor accumulates later ones.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickSchedule {
    /// The latest tick that was returned or skipped.
    last: Instant,
    interval: Duration,
}

impl TickSchedule {
    /// The first tick is due at `first`; an interval of zero counts as a nanosecond.
    pub fn new(first: Instant, interval: Duration) -> Self {
        Self { last: first, interval: interval.max(Duration::from_nanos(1)) }
    }

    /// The next tick that is not before `now`, and how many were skipped.
    pub fn next(&mut self, now: Instant) -> (Instant, u64) {
        let late = now.saturating_duration_since(self.last + self.interval);
        let skipped = late.as_nanos().div_ceil(self.interval.as_nanos());
        let nanos = self.interval.as_nanos().saturating_mul(skipped + 1);
        self.last += Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        (self.last, u64::try_from(skipped).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn after(first: Instant, secs: f64) -> Instant {
        first + Duration::from_secs_f64(secs)
    }

    #[test]
    fn quick_ticks_are_an_interval_apart_and_nothing_is_skipped() {
        let first = Instant::now();
        let mut schedule = TickSchedule::new(first, INTERVAL);
        assert_eq!(schedule.next(after(first, 0.1)), (after(first, 5.0), 0));
        assert_eq!(schedule.next(after(first, 9.99)), (after(first, 10.0), 0));
        assert_eq!(schedule.next(after(first, 15.0)), (after(first, 15.0), 0), "just in time");
    }

    #[test]
    fn a_slow_tick_skips_the_ticks_it_overran_and_the_next_one_is_on_time_again() {
        let first = Instant::now();
        let mut schedule = TickSchedule::new(first, INTERVAL);
        assert_eq!(schedule.next(after(first, 12.0)), (after(first, 15.0), 2));
        assert_eq!(schedule.next(after(first, 15.2)), (after(first, 20.0), 0), "nothing is queued");
    }

    proptest! {
        #[test]
        fn ticks_never_drift_and_every_one_is_either_kept_or_counted(
            interval_millis in 1..10_000_u64,
            took_millis in proptest::collection::vec(0..60_000_u64, 1..50),
        ) {
            let (first, interval) = (Instant::now(), Duration::from_millis(interval_millis));
            let mut schedule = TickSchedule::new(first, interval);
            let (mut due, mut kept, mut skipped) = (first, 0, 0);
            for took in took_millis {
                let done = due + Duration::from_millis(took);
                let (next, missed) = schedule.next(done);
                prop_assert!(next >= done, "no tick in the past");
                prop_assert!(next.duration_since(done) < interval || missed == 0, "no longer wait than needed");
                kept += 1;
                skipped += missed;
                let intervals = (next - first).as_millis();
                prop_assert_eq!(intervals, u128::from(kept + skipped) * u128::from(interval_millis));
                due = next;
            }
        }
    }
}
