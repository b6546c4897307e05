//! Limits wrong passwords, so that they cannot be guessed, and nobody can lock an owner out.
//!
//! Wrong passwords count, and wrong codes of a second factor with them; right ones do not. A sign-in from a browser in which the account was signed in before (a known
//! device) counts for that browser alone, and what is entered in a session for that session. All others count for the name, whether
//! there is such an account or not, and for the address. So whoever guesses a password neither keeps its owner from signing
//! in on a known device, nor finds out which accounts exist.
//!
//! A limit has several tiers, each a number of attempts and the time after which a further one is allowed: the more wrong
//! passwords, the longer the wait for the next attempt. The tables hold at most [`MAX_KEYS`] keys; in a full one, a new key
//! takes the place of the one that is nearest to being forgotten.

use super::{
    attempt::{Attempt, CountsFor, Key, Purpose},
    failed_attempts::FailedAttempts,
};
use crate::{model::ApiError, server::clock::Clock};
use governor::{Quota, RateLimiter, clock, middleware::NoOpMiddleware, nanos::Nanos, state::StateStore};
use std::{
    collections::HashMap,
    fmt,
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

type Tier = (u32, Duration);

/// Of a name, a known device or a session: 60 wrong passwords at most in the first hours, then 4 an hour.
const OF_ACCOUNT: [Tier; 3] =
    [(5, Duration::from_secs(5)), (20, Duration::from_mins(3)), (60, Duration::from_mins(15))];
/// Of an address, which many people may share.
const OF_ADDRESS: [Tier; 3] =
    [(20, Duration::from_secs(2)), (100, Duration::from_mins(1)), (300, Duration::from_mins(3))];
/// Of each table.
const MAX_KEYS: usize = 10_000;

#[derive(Clone)]
pub struct Throttle(Arc<Limits>);

struct Limits {
    of_name: Limit,
    of_address: Limit,
    of_known: Limit,
    failed: FailedAttempts,
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").finish_non_exhaustive()
    }
}

impl Throttle {
    pub fn new(clock: &Clock) -> Self {
        Self(Arc::new(Limits {
            of_name: Limit::new(&OF_ACCOUNT, clock),
            of_address: Limit::new(&OF_ADDRESS, clock),
            of_known: Limit::new(&OF_ACCOUNT, clock),
            failed: FailedAttempts::new(clock.clone()),
        }))
    }

    /// Whether the password may be checked now.
    ///
    /// # Errors
    /// `TooMany` with the time to wait.
    pub fn check(&self, attempt: &Attempt) -> Result<(), ApiError> {
        let limits = &self.0;
        let wait = match &attempt.counts_for {
            CountsFor::Known(key) => limits.of_known.wait(key),
            CountsFor::NameAndAddress(name, address) => {
                limits.of_name.wait(name).max(limits.of_address.wait(address))
            }
            CountsFor::Address(key) => limits.of_address.wait(key),
        };
        if wait.is_zero() {
            return Ok(());
        }
        limits.failed.note_rejected(attempt);
        let what = match attempt.purpose {
            Purpose::SecondFactor => "Too many wrong codes.",
            Purpose::Ssh => "Too many unknown keys.",
            Purpose::SignIn | Purpose::PasswordChange | Purpose::Confirmation => "Too many wrong passwords.",
        };
        Err(ApiError::too_many(what, wait))
    }

    /// Counts a wrong password.
    pub fn count_failure(&self, attempt: &Attempt) {
        let limits = &self.0;
        match &attempt.counts_for {
            CountsFor::Known(key) => limits.of_known.count(key),
            CountsFor::NameAndAddress(name, address) => {
                limits.of_name.count(name);
                limits.of_address.count(address);
            }
            CountsFor::Address(key) => limits.of_address.count(key),
        }
        limits.failed.note_wrong(attempt);
    }

    pub fn failed(&self) -> &FailedAttempts {
        &self.0.failed
    }
}

/// By key.
struct Limit(Vec<Limiter>);

/// Of one tier.
type Limiter = RateLimiter<Query, Table, Ticks, NoOpMiddleware<Nanos>>;

impl Limit {
    fn new(tiers: &[Tier], clock: &Clock) -> Self {
        let ticks = Ticks { clock: clock.clone(), start: clock.now().monotonic };
        let limiter = |(attempts, period): &Tier| {
            let quota = Quota::with_period(*period)?.allow_burst(NonZero::new(*attempts)?);
            Some(RateLimiter::new(quota, Table::default(), ticks.clone()))
        };
        Self(tiers.iter().filter_map(limiter).collect())
    }

    /// Zero if an attempt is allowed now.
    fn wait(&self, key: &Key) -> Duration {
        let query = Query { key: *key, counts: false };
        let wait = |limiter: &Limiter| {
            let until = limiter.check_key(&query).err()?;
            Some(until.wait_time_from(clock::Clock::now(limiter.clock())))
        };
        self.0.iter().filter_map(wait).max().unwrap_or_default()
    }

    fn count(&self, key: &Key) {
        for limiter in &self.0 {
            // One that is not allowed does not count.
            let _ = limiter.check_key(&Query { key: *key, counts: true });
        }
    }
}

/// What is asked of a table of attempts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Query {
    key: Key,
    counts: bool,
}

/// When the attempts of each key will be forgotten.
#[derive(Default)]
struct Table(Mutex<HashMap<Key, Nanos>>);

impl StateStore for Table {
    type Key = Query;

    fn measure_and_replace<T, F, E>(&self, query: &Query, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (outcome, next) = measure(table.get(&query.key).copied())?;
        if query.counts {
            if table.len() >= MAX_KEYS
                && !table.contains_key(&query.key)
                && let Some(nearest) =
                    table.iter().min_by_key(|(_, until)| until.as_u64()).map(|(key, _)| *key)
            {
                table.remove(&nearest);
            }
            table.insert(query.key, next);
        }
        Ok(outcome)
    }
}

/// The monotonic clock, as `governor` reads it.
#[derive(Debug, Clone)]
struct Ticks {
    clock: Clock,
    start: Instant,
}

impl clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.clock.now().monotonic.saturating_duration_since(self.start).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CurrentUser;
    use crate::server::accounts::tests::ManualClock;
    use proptest::prelude::*;
    use std::net::IpAddr;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn stranger(name: &str, from: IpAddr) -> Attempt {
        Attempt::sign_in(name, None, None, from)
    }

    fn ada(known_device: Option<&[u8]>, from: IpAddr) -> Attempt {
        Attempt::sign_in("ada", Some((1, "ada".into())), known_device, from)
    }

    /// Attempts until one is rejected: how many were allowed, and for how long the next must wait.
    fn exhaust(throttle: &Throttle, attempt: &Attempt) -> (u32, u32) {
        for allowed in 0..1000 {
            match throttle.check(attempt) {
                Ok(()) => throttle.count_failure(attempt),
                Err(error) => return (allowed, error.retry_after_secs.unwrap()),
            }
        }
        panic!("never rejected");
    }

    #[test]
    fn the_wait_grows_with_the_number_of_wrong_passwords() {
        let clock = ManualClock::default();
        let throttle = Throttle::new(&clock.clock());
        let (mut all, mut waits) = (0, Vec::new());
        while all < 70 {
            let (allowed, wait) = exhaust(&throttle, &ada(None, address(all as u8)));
            clock.advance(Duration::from_secs(wait.into()));
            all += allowed;
            waits.push(wait);
        }
        assert!(waits.is_sorted(), "{waits:?}");
        assert_eq!((waits[0], waits.last()), (5, Some(&900)), "{waits:?}");
        assert!(waits.contains(&180) || waits.iter().any(|wait| (100..=180).contains(wait)), "{waits:?}");
        // A day later, a few more are allowed at once.
        clock.advance(Duration::from_hours(24));
        assert_eq!(exhaust(&throttle, &ada(None, address(0))).0, 5);
    }

    #[test]
    fn a_known_device_keeps_its_own_allowance_whatever_others_try() {
        let clock = ManualClock::default();
        let throttle = Throttle::new(&clock.clock());
        for last in 0..=255 {
            exhaust(&throttle, &ada(None, address(last)));
        }
        let hers = ada(Some(b"her browser"), address(7));
        assert!(throttle.check(&hers).is_ok(), "even from an address that guesses");
        assert_eq!(exhaust(&throttle, &hers).0, 5);
        assert!(throttle.check(&ada(Some(b"her other browser"), address(7))).is_ok());
        let user = CurrentUser {
            id: 1,
            username: "ada".into(),
            email: String::new(),
            role: crate::model::Role::User,
        };
        assert!(throttle.check(&Attempt::password_change(&user, b"her session", address(7))).is_ok());
    }

    #[test]
    fn a_name_is_limited_alike_whether_there_is_such_an_account() {
        let clock = ManualClock::default();
        let throttle = Throttle::new(&clock.clock());
        let known = exhaust(&throttle, &Attempt::sign_in(" ADA ", Some((1, "ada".into())), None, address(1)));
        assert_eq!(exhaust(&throttle, &stranger("eve", address(2))), known);
        assert!(throttle.check(&ada(None, address(3))).is_err(), "the same name");
    }

    #[test]
    fn an_address_is_limited_whatever_names_it_tries() {
        let clock = ManualClock::default();
        let throttle = Throttle::new(&clock.clock());
        let tried = |from| {
            (0..100).find(|i| {
                let attempt = stranger(&format!("name{i}"), from);
                let rejected = throttle.check(&attempt).is_err();
                throttle.count_failure(&attempt);
                rejected
            })
        };
        assert_eq!(tried(address(1)), Some(20));
        assert_eq!(tried("::ffff:192.0.2.1".parse().unwrap()), Some(0), "the same address");
        assert_eq!(tried("2001:db8::1".parse().unwrap()), Some(20));
        assert_eq!(tried("2001:db8::2:1".parse().unwrap()), Some(0), "the same network");
        assert_eq!(tried("2001:db8:0:1::1".parse().unwrap()), Some(20));
    }

    #[test]
    fn the_tables_are_bounded_and_keep_who_tries_most() {
        let clock = ManualClock::default();
        let throttle = Throttle::new(&clock.clock());
        exhaust(&throttle, &ada(None, address(1)));
        for i in 0..MAX_KEYS as u32 + 100 {
            throttle.count_failure(&stranger(&format!("name{i}"), IpAddr::from(i.to_be_bytes())));
        }
        for limit in [&throttle.0.of_name, &throttle.0.of_address, &throttle.0.of_known] {
            assert!(
                limit
                    .0
                    .iter()
                    .all(|limiter| limiter.check_key(&Query { key: [0; 32], counts: true }).is_ok())
            );
        }
        assert!(throttle.check(&ada(None, address(9))).is_err(), "still limited");
    }

    proptest! {
        /// Whatever is tried when, an account's allowance is the sum that the slowest tier gives.
        #[test]
        fn nobody_tries_more_than_the_slowest_tier_allows(pauses in prop::collection::vec(0..4000_u64, 1..300)) {
            let clock = ManualClock::default();
            let throttle = Throttle::new(&clock.clock());
            let (mut allowed, mut secs) = (0_u64, 0);
            for (i, pause) in pauses.iter().enumerate() {
                let attempt = ada(None, IpAddr::from((i as u32).to_be_bytes()));
                if throttle.check(&attempt).is_ok() {
                    throttle.count_failure(&attempt);
                    allowed += 1;
                }
                clock.advance(Duration::from_secs(*pause));
                secs += pause;
            }
            prop_assert!(allowed <= 60 + secs / 900 + 1, "{allowed} in {secs} s");
        }
    }
}
