//! Wrong passwords become events, one for all of an account within [`BURST`]: a log in which a guesser writes a line for
//! each attempt hides everything else.

use super::attempt::{Attempt, Purpose, network_of};
use crate::server::{clock::Clock, events::NewEvent, request_origin::RequestOrigin};
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long the attempts of one event are counted.
const BURST: Duration = Duration::from_mins(5);
/// More addresses than this are not counted.
const MAX_ADDRESSES: usize = 1000;
/// From so many on, an event is a warning: fewer are typing errors.
const SUSPICIOUS: u32 = 5;

/// Counts of the bursts that have not ended. Attempts with names of no account are one burst.
pub struct FailedAttempts {
    clock: Clock,
    bursts: Mutex<HashMap<(Option<i64>, Purpose), Burst>>,
}

struct Burst {
    began: Instant,
    username: Option<String>,
    wrong: u32,
    rejected: u32,
    first_address: IpAddr,
    /// The first request.
    origin: Option<Arc<RequestOrigin>>,
    /// Of different clients.
    networks: BTreeSet<IpAddr>,
}

impl FailedAttempts {
    pub fn new(clock: Clock) -> Self {
        Self { clock, bursts: Mutex::default() }
    }

    pub fn note_wrong(&self, attempt: &Attempt) {
        self.note(attempt, |burst| burst.wrong = burst.wrong.saturating_add(1));
    }

    /// An attempt that was rejected without a check of the password.
    pub fn note_rejected(&self, attempt: &Attempt) {
        self.note(attempt, |burst| burst.rejected = burst.rejected.saturating_add(1));
    }

    fn note(&self, attempt: &Attempt, count: impl FnOnce(&mut Burst)) {
        let account_id = attempt.account.as_ref().map(|(id, _)| *id);
        let mut bursts = self.bursts();
        let burst = bursts.entry((account_id, attempt.purpose)).or_insert_with(|| Burst {
            began: self.clock.now().monotonic,
            username: attempt.account.as_ref().map(|(_, username)| username.clone()),
            wrong: 0,
            rejected: 0,
            first_address: attempt.address.to_canonical(),
            origin: attempt.origin.clone(),
            networks: BTreeSet::new(),
        });
        if burst.networks.len() < MAX_ADDRESSES {
            burst.networks.insert(network_of(attempt.address));
        }
        count(burst);
    }

    /// The events of the bursts that have ended, or of all.
    pub fn take(&self, all: bool) -> Vec<NewEvent> {
        let now = self.clock.now().monotonic;
        let has_ended = |burst: &Burst| all || now.saturating_duration_since(burst.began) >= BURST;
        let ended: Vec<_> = self.bursts().extract_if(|_, burst| has_ended(burst)).collect();
        ended
            .into_iter()
            .map(|((account_id, purpose), burst)| burst.event(account_id, purpose, now))
            .collect()
    }

    fn bursts(&self) -> MutexGuard<'_, HashMap<(Option<i64>, Purpose), Burst>> {
        self.bursts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Burst {
    fn event(&self, account_id: Option<i64>, purpose: Purpose, now: Instant) -> NewEvent {
        let what = match purpose {
            Purpose::SignIn => "failed sign-in",
            Purpose::PasswordChange => "failed password change",
            Purpose::Confirmation => "failed password confirmation",
            Purpose::SecondFactor => "failed second-factor check",
            Purpose::Ssh => "failed ssh sign-in",
        };
        let (count, rejected) = match (self.wrong, self.rejected) {
            (wrong, 0) => (wrong, String::new()),
            // The limits were reached in an earlier burst.
            (0, rejected) => (rejected, ", rejected without a check".to_owned()),
            (wrong, 1) => (wrong, "; 1 more was rejected without a check".to_owned()),
            (wrong, rejected) => (wrong, format!("; {rejected} more were rejected without a check")),
        };
        let plural = if count == 1 { "" } else { "s" };
        // Not the names themselves: a password may have been typed in their place.
        let whom = self.username.as_deref().unwrap_or(match purpose {
            Purpose::Ssh => "unknown keys",
            _ => "unknown user names",
        });
        let others = match self.networks.len().saturating_sub(1) {
            0 => String::new(),
            1 => " and another address".to_owned(),
            others => format!(" and {others} other addresses"),
        };
        let minutes = now.saturating_duration_since(self.began).min(BURST).as_secs().div_ceil(60).max(1);
        let text = format!(
            "{count} {what}{plural} for {whom} from {}{others} in {minutes} min{rejected}.",
            self.first_address
        );
        let event = if self.wrong >= SUSPICIOUS || self.rejected > 0 {
            NewEvent::warning("security_sign_in_failed", None, text)
        } else {
            NewEvent::info("security_sign_in_failed", None, text)
        };
        let event = NewEvent { origin: self.origin.clone(), ..event };
        match account_id {
            Some(account_id) => event.by(account_id),
            None => event,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Severity, server::accounts::tests::ManualClock};

    fn attempt(name: Option<&str>, last: u8) -> Attempt {
        let account = name.map(|name| (1, name.to_owned()));
        Attempt::sign_in(name.unwrap_or("eve"), account, None, IpAddr::from([192, 0, 2, last]))
    }

    fn texts(failed: &FailedAttempts, all: bool) -> Vec<String> {
        failed.take(all).into_iter().map(|event| event.text).collect()
    }

    #[test]
    fn a_burst_is_one_event() {
        let clock = ManualClock::default();
        let failed = FailedAttempts::new(clock.clock());
        for _ in 0..12 {
            failed.note_wrong(&attempt(Some("ada"), 7));
            clock.advance(Duration::from_secs(20));
        }
        assert_eq!(texts(&failed, false), Vec::<String>::new(), "it may go on");
        clock.advance(Duration::from_mins(1));
        let events = failed.take(false);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].text, "12 failed sign-ins for ada from 192.0.2.7 in 5 min.");
        assert_eq!((events[0].severity, events[0].account_id), (Severity::Warning, Some(1)));
        assert_eq!(texts(&failed, true), Vec::<String>::new());
    }

    #[test]
    fn an_event_says_how_many_addresses_there_were_and_no_name_that_was_typed() {
        let clock = ManualClock::default();
        let failed = FailedAttempts::new(clock.clock());
        failed.note_wrong(&attempt(Some("ada"), 7));
        let typo = failed.take(true).remove(0);
        assert_eq!(typo.text, "1 failed sign-in for ada from 192.0.2.7 in 1 min.");
        assert_eq!(typo.severity, Severity::Info);
        for last in 1..=4 {
            failed.note_wrong(&attempt(None, last));
            failed.note_rejected(&attempt(None, last));
        }
        let expected = "4 failed sign-ins for unknown user names from 192.0.2.1 and 3 other addresses in 1 min; 4 more were \
                        rejected without a check.";
        assert_eq!(texts(&failed, true), [expected]);
        failed.note_rejected(&attempt(Some("ada"), 7));
        let expected = "1 failed sign-in for ada from 192.0.2.7 in 1 min, rejected without a check.";
        assert_eq!(texts(&failed, true), [expected]);
    }

    #[test]
    fn a_burst_takes_bounded_memory() {
        let failed = FailedAttempts::new(Clock::default());
        for i in 0..5000_u32 {
            let from = IpAddr::from(i.to_be_bytes());
            failed.note_wrong(&Attempt::sign_in(&format!("name{i}"), None, None, from));
        }
        assert_eq!(failed.bursts().len(), 1);
        assert!(texts(&failed, true)[0].contains("5000 failed"), "counted nevertheless");
    }
}
