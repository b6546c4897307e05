//! Refused access becomes events, one for all of an account within [`BURST`]: whoever tries every address writes no line for
//! each.

use super::NewEvent;
use crate::server::{clock::Clock, request_origin::RequestOrigin};
use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long the refusals of one event are counted.
const BURST: Duration = Duration::from_mins(5);
/// More addresses than this are not counted.
const MAX_ADDRESSES: usize = 1000;
/// From so many on, an event is a warning: fewer are mistakes.
const SUSPICIOUS: u32 = 5;
/// Of the first refused path, in characters.
const MAX_PATH_CHARS: usize = 100;

/// Counts of the bursts that have not ended, by account. Requests without a session are one burst. Clones share them.
#[derive(Clone)]
pub struct Refusals(Arc<Inner>);

struct Inner {
    clock: Clock,
    bursts: Mutex<HashMap<Option<i64>, Burst>>,
}

struct Burst {
    began: Instant,
    count: u32,
    /// The first request.
    origin: Arc<RequestOrigin>,
    path: String,
    addresses: BTreeSet<IpAddr>,
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").finish_non_exhaustive()
    }
}

impl Refusals {
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner { clock, bursts: Mutex::default() }))
    }

    /// Counts a request of this path that was refused.
    pub fn note(&self, origin: &Arc<RequestOrigin>, path: &str) {
        let account_id = origin.caller().map(|caller| caller.account_id);
        let mut bursts = self.bursts();
        let burst = bursts.entry(account_id).or_insert_with(|| Burst {
            began: self.0.clock.now().monotonic,
            count: 0,
            origin: origin.clone(),
            path: path.chars().take(MAX_PATH_CHARS).collect(),
            addresses: BTreeSet::new(),
        });
        burst.count = burst.count.saturating_add(1);
        if let Some(address) = origin.address.filter(|_| burst.addresses.len() < MAX_ADDRESSES) {
            burst.addresses.insert(address);
        }
    }

    /// The events of the bursts that have ended, or of all.
    pub fn take(&self, all: bool) -> Vec<NewEvent> {
        let now = self.0.clock.now().monotonic;
        let has_ended = |burst: &Burst| all || now.saturating_duration_since(burst.began) >= BURST;
        let ended: Vec<_> = self.bursts().extract_if(|_, burst| has_ended(burst)).collect();
        ended.into_iter().map(|(_, burst)| burst.event(now)).collect()
    }

    fn bursts(&self) -> MutexGuard<'_, HashMap<Option<i64>, Burst>> {
        self.0.bursts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Burst {
    fn event(self, now: Instant) -> NewEvent {
        let caller = self.origin.caller();
        let whom = caller.map_or("somebody who is not signed in", |caller| caller.username.as_str());
        let minutes = now.saturating_duration_since(self.began).min(BURST).as_secs().div_ceil(60).max(1);
        let how_often = match self.count {
            1 => format!("access to {}", self.path),
            count => format!("access {count} times in {minutes} min, first to {}", self.path),
        };
        let from = match self.addresses.len() {
            0 | 1 => String::new(),
            addresses => format!(", from {addresses} addresses"),
        };
        let text = format!("The server refused {whom} {how_often}{from}.");
        let kind = "security_access_refused";
        let event = if self.count >= SUSPICIOUS {
            NewEvent::warning(kind, None, text)
        } else {
            NewEvent::info(kind, None, text)
        };
        let event = match caller {
            Some(caller) => event.by(caller.account_id),
            None => event,
        };
        event.requested_by(self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Severity,
        server::{accounts::tests::ManualClock, request_origin::Caller},
    };

    fn origin(account: Option<(i64, &str)>, last: u8) -> Arc<RequestOrigin> {
        let origin = RequestOrigin::new(format!("{last:016x}"), Some([192, 0, 2, last].into()));
        if let Some((account_id, username)) = account {
            origin.set_caller(Caller { session_id: 3, account_id, username: username.to_owned() });
        }
        Arc::new(origin)
    }

    #[test]
    fn a_burst_is_one_event_with_the_origin_of_its_first_request() {
        let clock = ManualClock::default();
        let refusals = Refusals::new(clock.clock());
        for last in 1..=7 {
            refusals.note(&origin(Some((2, "bob")), last), &format!("/api/vms/{last}"));
        }
        refusals.note(&origin(None, 9), "/api/auth/register");
        assert_eq!(refusals.take(false), [], "they may go on");
        clock.advance(BURST);
        let mut events = refusals.take(false);
        events.sort_by_key(|event| event.account_id);
        let texts: Vec<_> = events.iter().map(|event| event.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "The server refused somebody who is not signed in access to /api/auth/register.",
                "The server refused bob access 7 times in 5 min, first to /api/vms/1, from 7 addresses.",
            ]
        );
        assert_eq!((events[1].severity, events[1].account_id), (Severity::Warning, Some(2)));
        assert_eq!(events[1].origin.as_ref().unwrap().id, "0000000000000001");
        assert_eq!(refusals.take(true), []);
    }

    #[test]
    fn a_burst_takes_bounded_memory() {
        let refusals = Refusals::new(Clock::default());
        for i in 0..5000_u32 {
            let from = IpAddr::from(i.to_be_bytes());
            refusals.note(&Arc::new(RequestOrigin::new(String::new(), Some(from))), &"/x".repeat(10_000));
        }
        let bursts = refusals.bursts();
        let burst = &bursts[&None];
        assert_eq!((bursts.len(), burst.count, burst.addresses.len()), (1, 5000, MAX_ADDRESSES));
        assert_eq!(burst.path.len(), MAX_PATH_CHARS);
    }
}
