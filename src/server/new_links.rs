//! Links and recovery codes that were just made, for browsers without JavaScript: the answer to their form is a redirect, so
//! they are kept in memory until the page behind it has shown them, once.

use crate::model::{OneTimeLink, RecoveryCodes};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A browser follows a redirect at once.
const LIFE: Duration = Duration::from_secs(60);

/// The newest link of each admin.
pub type NewLinks = ShownOnce<OneTimeLink>;
/// The newest recovery codes of each user.
pub type NewRecoveryCodes = ShownOnce<RecoveryCodes>;

/// The newest `T` of each account. Clones share them.
#[derive(Clone)]
pub struct ShownOnce<T>(Arc<Mutex<HashMap<i64, (Instant, T)>>>);

impl<T> Default for ShownOnce<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> ShownOnce<T> {
    pub fn keep(&self, account_id: i64, value: T, now: Instant) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (since, _)| now.duration_since(*since) < LIFE);
        kept.insert(account_id, (now, value));
    }

    /// Gives what is kept for the account, and forgets it.
    pub fn take(&self, account_id: i64, now: Instant) -> Option<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, value) = kept.remove(&account_id)?;
        (now.duration_since(since) < LIFE).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UtcMillis;

    #[test]
    fn a_link_is_given_once_to_its_admin_and_only_for_a_minute() {
        let links = NewLinks::default();
        let begin = Instant::now();
        let link = OneTimeLink { url: "x".into(), expires_at: UtcMillis(1), username: None };
        links.keep(1, link.clone(), begin);
        assert!(links.take(2, begin).is_none());
        assert!(links.take(1, begin).is_some_and(|taken| taken == link));
        assert!(links.take(1, begin).is_none());
        links.keep(1, link, begin);
        assert!(links.take(1, begin + LIFE).is_none());
    }
}
