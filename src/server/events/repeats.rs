//! Events that users can cause as often as they like, such as sign-ins: of each kind, an account's first ones within
//! [`SPAN`] are events of their own, further ones are counted. So nobody can fill the disk with them.

use super::NewEvent;
use crate::server::clock::Clock;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long the events of an account are counted together.
const SPAN: Duration = Duration::from_mins(5);
/// Events of an account and a kind that are written within [`SPAN`].
const WRITTEN: u32 = 10;

/// Counts of the spans that have not ended. Clones share them.
#[derive(Clone)]
pub struct Repeats(Arc<Inner>);

struct Inner {
    clock: Clock,
    spans: Mutex<HashMap<(&'static str, i64), Span>>,
}

struct Span {
    began: Instant,
    written: u32,
    more: u32,
    username: String,
}

impl fmt::Debug for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repeats").finish_non_exhaustive()
    }
}

impl Repeats {
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner { clock, spans: Mutex::default() }))
    }

    /// Whether another event of this kind is written for the account. Otherwise it is counted.
    pub fn admits(&self, kind: &'static str, account_id: i64, username: &str) -> bool {
        let began = self.0.clock.now().monotonic;
        let mut spans = self.spans();
        let span = spans.entry((kind, account_id)).or_insert_with(|| Span {
            began,
            written: 0,
            more: 0,
            username: username.to_owned(),
        });
        let is_admitted = span.written < WRITTEN;
        if is_admitted {
            span.written += 1;
        } else {
            span.more = span.more.saturating_add(1);
        }
        is_admitted
    }

    /// Events about what was only counted in the spans that have ended, or in all.
    pub fn take(&self, all: bool) -> Vec<NewEvent> {
        let now = self.0.clock.now().monotonic;
        let has_ended = |span: &Span| all || now.saturating_duration_since(span.began) >= SPAN;
        let ended: Vec<_> = self.spans().extract_if(|_, span| has_ended(span)).collect();
        ended
            .into_iter()
            .filter(|(_, span)| span.more > 0)
            .map(|((kind, account_id), Span { more, username, .. })| {
                let text = format!("{username}: {more} more like the {WRITTEN} before, within 5 min.");
                NewEvent::warning(kind, None, text).by(account_id)
            })
            .collect()
    }

    fn spans(&self) -> MutexGuard<'_, HashMap<(&'static str, i64), Span>> {
        self.0.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::accounts::tests::ManualClock;

    #[test]
    fn the_first_events_of_a_span_are_written_and_the_others_are_one() {
        let clock = ManualClock::default();
        let repeats = Repeats::new(clock.clock());
        let admitted = (0..10_000).filter(|_| repeats.admits("security_exported", 1, "ada")).count();
        assert_eq!(admitted, WRITTEN as usize);
        assert!(repeats.admits("security_exported", 2, "bob"), "others are not affected");
        assert!(repeats.admits("security_signed_in", 1, "ada"), "nor other kinds");
        assert_eq!(repeats.take(false), [], "more may come");
        clock.advance(SPAN);
        let events = repeats.take(false);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].text, "ada: 9990 more like the 10 before, within 5 min.");
        assert_eq!((events[0].kind, events[0].account_id), ("security_exported", Some(1)));
        assert!(repeats.admits("security_exported", 1, "ada"), "a new span");
        assert_eq!(repeats.take(true), []);
    }
}
