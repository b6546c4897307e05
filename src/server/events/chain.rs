//! The chain of events: each holds a hash of itself and of the event before it. Pure.

use sha2::{Digest, Sha256};
use sqlx::FromRow;

pub type Hash = [u8; 32];

/// An event as it is stored, with everything that its hash covers.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredEvent {
    pub id: i64,
    pub at: i64,
    pub kind: String,
    pub severity: String,
    pub vm_id: Option<i64>,
    pub account_id: Option<i64>,
    pub done_by: Option<i64>,
    pub text: String,
    pub address: Option<String>,
    pub session_id: Option<i64>,
    pub request_id: Option<String>,
}

impl StoredEvent {
    /// SHA-256 of the previous hash and all fields: numbers in 8 bytes, the lowest first, texts behind their length, and a
    /// byte before whatever may be absent.
    pub fn hash(&self, previous: &Hash) -> Hash {
        let mut digest = Sha256::new();
        digest.update(previous);
        number(&mut digest, self.id);
        number(&mut digest, self.at);
        text(&mut digest, &self.kind);
        text(&mut digest, &self.severity);
        for value in [self.vm_id, self.account_id, self.done_by] {
            optional(&mut digest, value, number);
        }
        text(&mut digest, &self.text);
        optional(&mut digest, self.address.as_deref(), text);
        optional(&mut digest, self.session_id, number);
        optional(&mut digest, self.request_id.as_deref(), text);
        digest.finalize().into()
    }
}

fn number(digest: &mut Sha256, value: i64) {
    digest.update(value.to_le_bytes());
}

fn text(digest: &mut Sha256, value: &str) {
    digest.update((value.len() as u64).to_le_bytes());
    digest.update(value);
}

fn optional<T>(digest: &mut Sha256, value: Option<T>, write: impl FnOnce(&mut Sha256, T)) {
    digest.update([u8::from(value.is_some())]);
    if let Some(value) = value {
        write(digest, value);
    }
}

/// What is wrong with the first event that does not fit the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("event {0} is missing: it was removed or moved")]
    Missing(i64),
    #[error("event {0} does not fit the one before it: it was changed or moved")]
    Changed(i64),
}

/// Follows the chain, event by event in the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follower {
    /// Of the last event that fits, or of the anchor.
    pub last_id: i64,
    pub last_hash: Hash,
}

impl Follower {
    /// Checks the next event and the hash that is stored with it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn follow(&mut self, event: &StoredEvent, stored: Option<&[u8]>) -> Result<(), Broken> {
        if event.id > self.last_id + 1 {
            return Err(Broken::Missing(self.last_id + 1));
        }
        let hash = event.hash(&self.last_hash);
        if event.id != self.last_id + 1 || stored != Some(hash.as_slice()) {
            return Err(Broken::Changed(event.id));
        }
        (self.last_id, self.last_hash) = (event.id, hash);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANCHOR: Follower = Follower { last_id: 7, last_hash: [0; 32] };

    prop_compose! {
        fn event()(
            at in any::<i64>(), kind in "[a-z_]{0,8}", vm_id in any::<Option<i64>>(), account_id in any::<Option<i64>>(),
            done_by in any::<Option<i64>>(), text in ".{0,20}", address in proptest::option::of("[0-9.]{0,9}"),
            session_id in any::<Option<i64>>(), request_id in proptest::option::of("[a-f0-9]{0,4}"),
        ) -> StoredEvent {
            let severity = "info".to_owned();
            StoredEvent { id: 0, at, kind, severity, vm_id, account_id, done_by, text, address, session_id, request_id }
        }
    }

    fn chained(events: Vec<StoredEvent>) -> Vec<(StoredEvent, Hash)> {
        let (mut id, mut hash) = (ANCHOR.last_id, ANCHOR.last_hash);
        let chain = |mut event: StoredEvent| {
            id += 1;
            event.id = id;
            hash = event.hash(&hash);
            (event, hash)
        };
        events.into_iter().map(chain).collect()
    }

    fn check(chain: &[(StoredEvent, Hash)]) -> Result<Follower, Broken> {
        let mut follower = ANCHOR;
        chain.iter().try_for_each(|(event, hash)| follower.follow(event, Some(hash)))?;
        Ok(follower)
    }

    proptest! {
        #[test]
        fn a_chain_that_nobody_touched_holds(events in proptest::collection::vec(event(), 0..20)) {
            let chain = chained(events);
            let follower = check(&chain).unwrap();
            let last = chain.last().map_or((ANCHOR.last_id, ANCHOR.last_hash), |(event, hash)| (event.id, *hash));
            prop_assert_eq!((follower.last_id, follower.last_hash), last);
        }

        #[test]
        fn the_first_changed_event_is_named(
            events in proptest::collection::vec(event(), 1..20), other in event(), at in any::<prop::sample::Index>(),
        ) {
            let mut chain = chained(events);
            let at = at.index(chain.len());
            let id = chain[at].0.id;
            let other = StoredEvent { id, ..other };
            prop_assume!(other != chain[at].0);
            // With its own hash, too: then the next one does not fit any more.
            let previous = at.checked_sub(1).map_or(ANCHOR.last_hash, |before| chain[before].1);
            let rehashed = other.hash(&previous);
            chain[at].0 = other;
            prop_assert_eq!(check(&chain), Err(Broken::Changed(id)));
            chain[at].1 = rehashed;
            let expected = (at + 1 < chain.len()).then_some(Broken::Changed(id + 1));
            prop_assert_eq!(check(&chain).err(), expected);
        }

        #[test]
        fn a_removed_event_is_named(
            events in proptest::collection::vec(event(), 2..20), at in any::<prop::sample::Index>(),
        ) {
            let mut chain = chained(events);
            let (removed, _) = chain.remove(at.index(chain.len() - 1));
            prop_assert_eq!(check(&chain), Err(Broken::Missing(removed.id)));
        }

        #[test]
        fn events_that_changed_places_are_named(
            events in proptest::collection::vec(event(), 2..20), at in any::<prop::sample::Index>(),
        ) {
            let mut chain = chained(events);
            let at = at.index(chain.len() - 1);
            let (first, second) = (chain[at].0.id, chain[at + 1].0.id);
            prop_assume!(StoredEvent { id: 0, ..chain[at].0.clone() } != StoredEvent { id: 0, ..chain[at + 1].0.clone() });
            chain.swap(at, at + 1);
            (chain[at].0.id, chain[at + 1].0.id) = (first, second);
            prop_assert_eq!(check(&chain), Err(Broken::Changed(first)));
        }
    }
}
