//! Exponential backoff: the delay doubles with each failure up to a maximum. Pure: the time comes from the caller.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

#[derive(Debug)]
pub struct Retry {
    backoff: Backoff,
    failures: u32,
    not_before: Option<Instant>,
}

impl Retry {
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0, not_before: None }
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| now >= not_before)
    }

    /// Consecutive failures.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    pub fn failed(&mut self, now: Instant) {
        let doubled = 2_u32.saturating_pow(self.failures.min(16));
        let pause = self.backoff.first.saturating_mul(doubled).min(self.backoff.longest);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause);
    }

    pub fn worked(&mut self) {
        *self = Self::new(self.backoff);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_over_after_a_success() {
        let secs = Duration::from_secs;
        let mut retry = Retry::new(Backoff { first: secs(5), longest: secs(40) });
        let start = Instant::now();
        assert!(retry.is_due(start));
        for pause in [5, 10, 20, 40, 40, 40] {
            retry.failed(start);
            assert!(!retry.is_due(start + secs(pause - 1)) && retry.is_due(start + secs(pause)), "{pause}");
        }
        retry.worked();
        assert!(retry.is_due(start) && retry.failures() == 0);
        retry.failed(start);
        assert!(retry.is_due(start + secs(5)));
    }
}
