//! Where the request that is being served comes from: for events, errors and the log.
//!
//! The current task's request is [`current`]; pages are rendered in tasks of their own, and find it in the request's
//! extensions.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

tokio::task_local! {
    static CURRENT: Arc<RequestOrigin>;
}

/// What is known of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RequestOrigin {
    /// See [`new_id`]; the client gets it as `x-request-id`.
    pub id: String,
    /// `None` if it did not arrive over a connection, as in tests.
    pub address: Option<IpAddr>,
    caller: OnceLock<Caller>,
    hidden: OnceLock<()>,
}

/// Who makes a request, as its session proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub session_id: i64,
    pub account_id: i64,
    pub username: String,
}

impl RequestOrigin {
    pub fn new(id: String, address: Option<IpAddr>) -> Self {
        Self { id, address, caller: OnceLock::new(), hidden: OnceLock::new() }
    }

    /// Whoever the request has proven to come from.
    pub fn caller(&self) -> Option<&Caller> {
        self.caller.get()
    }

    /// The session that the request has proven to belong to.
    pub fn session_id(&self) -> Option<i64> {
        self.caller().map(|caller| caller.session_id)
    }

    /// Notes the caller; the first one stays.
    pub fn set_caller(&self, caller: Caller) {
        let _ = self.caller.set(caller);
    }

    /// Notes that what the request names is there and hidden from its caller.
    pub fn note_hidden(&self) {
        let _ = self.hidden.set(());
    }

    /// Whether the request names what is hidden from its caller.
    pub fn names_hidden(&self) -> bool {
        self.hidden.get().is_some()
    }
}

/// A random id for a request, in 16 hexadecimal digits.
pub fn new_id() -> String {
    let mut bytes = [0; 8];
    // Without random numbers nobody can sign in either; requests then share an id.
    let _ = getrandom::fill(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}

/// Runs what serves a request. Tasks that it spawns are not part of it.
pub async fn serve<F: Future>(origin: Arc<RequestOrigin>, serving: F) -> F::Output {
    CURRENT.scope(origin, serving).await
}

/// The request that the current task serves; `None` for what the server does of its own accord.
pub fn current() -> Option<Arc<RequestOrigin>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Notes the caller of the current request.
pub fn set_caller(session_id: i64, account_id: i64, username: &str) {
    if let Some(origin) = current() {
        origin.set_caller(Caller { session_id, account_id, username: username.to_owned() });
    }
}

/// Notes that what the current request names is there and hidden from its caller.
pub fn note_hidden() {
    if let Some(origin) = current() {
        origin.note_hidden();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_known_while_it_is_served_and_only_there() {
        assert!(current().is_none());
        let origin = Arc::new(RequestOrigin::new(new_id(), Some([192, 0, 2, 7].into())));
        let seen = serve(origin.clone(), async {
            set_caller(3, 1, "ada");
            assert!(tokio::spawn(async { current() }).await.unwrap().is_none());
            current().unwrap()
        });
        let seen = seen.await;
        assert_eq!((seen.id.len(), seen.session_id()), (16, Some(3)));
        assert_eq!(seen.id, origin.id);
        assert_ne!(seen.id, new_id());
        set_caller(4, 1, "ada");
    }
}
