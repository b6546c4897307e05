//! Where the request that is being served comes from: for events, errors and the log.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

tokio::task_local! {
    static CURRENT: Arc<RequestOrigin>;
}

/// What is known of a request.
#[derive(Debug, Default)]
pub struct RequestOrigin {
    /// See [`new_id`]; the client gets it as `x-request-id`.
    pub id: String,
    /// `None` if it did not arrive over a connection, as in tests.
    pub address: Option<IpAddr>,
    session_id: OnceLock<i64>,
}

impl RequestOrigin {
    pub fn new(id: String, address: Option<IpAddr>) -> Self {
        Self { id, address, session_id: OnceLock::new() }
    }

    /// The session that the request has proven to belong to.
    pub fn session_id(&self) -> Option<i64> {
        self.session_id.get().copied()
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

/// Notes the session that the current request belongs to.
pub fn set_session(session_id: i64) {
    if let Some(origin) = current() {
        let _ = origin.session_id.set(session_id);
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
            set_session(3);
            assert!(tokio::spawn(async { current() }).await.unwrap().is_none());
            current().unwrap()
        });
        let seen = seen.await;
        assert_eq!((seen.id.len(), seen.session_id()), (16, Some(3)));
        assert_eq!(seen.id, origin.id);
        assert_ne!(seen.id, new_id());
        set_session(4);
    }
}
