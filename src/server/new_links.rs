//! Links that were just made, for browsers without JavaScript: the answer to their form is a redirect, so the link is kept in
//! memory until the page behind it has shown it, once.

use crate::model::OneTimeLink;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A browser follows a redirect at once.
const LIFE: Duration = Duration::from_secs(60);

/// The newest link of each admin. Clones share them.
#[derive(Clone, Default)]
pub struct NewLinks(Arc<Mutex<HashMap<i64, (Instant, OneTimeLink)>>>);

impl NewLinks {
    pub fn keep(&self, admin_id: i64, link: OneTimeLink, now: Instant) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, (since, _)| now.duration_since(*since) < LIFE);
        links.insert(admin_id, (now, link));
    }

    /// Gives the admin's link, and forgets it.
    pub fn take(&self, admin_id: i64, now: Instant) -> Option<OneTimeLink> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, link) = links.remove(&admin_id)?;
        (now.duration_since(since) < LIFE).then_some(link)
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
