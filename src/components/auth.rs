//! Who is signed in, and where to sign in.

use crate::{
    api::{get_current_user, get_instance},
    model::{ApiError, CurrentUser, Instance, RegistrationMode, Role},
};
use leptos::prelude::*;
use leptos_router::{hooks::use_location, params::ParamsMap};
use serde::{Deserialize, Serialize};

/// The signed-in user, if any, and the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    pub user: Option<CurrentUser>,
    pub instance: Instance,
}

impl Session {
    /// Loaded again whenever the signed-in pages are entered, so that nothing remains after signing in or out.
    pub async fn load() -> Result<Self, ApiError> {
        Ok(Self { user: get_current_user().await?, instance: get_instance().await? })
    }
}

/// The session of the signed-in pages, as a context.
#[derive(Clone, Copy)]
pub struct Viewer {
    session: Resource<Result<Session, ApiError>>,
    /// Counts changes that may affect what the navigation shows.
    changes: RwSignal<u32>,
}

impl Viewer {
    pub fn new(session: Resource<Result<Session, ApiError>>, changes: RwSignal<u32>) -> Self {
        Self { session, changes }
    }

    pub async fn user(self) -> Option<CurrentUser> {
        self.session.await.ok().and_then(|session| session.user)
    }

    pub async fn registration(self) -> Option<RegistrationMode> {
        self.session.await.ok().map(|session| session.instance.registration)
    }

    pub async fn is_admin(self) -> bool {
        self.user().await.is_some_and(|user| user.role == Role::Admin)
    }

    /// Reloads the used quota and the number of open alerts.
    pub fn something_changed(self) {
        self.changes.update(|changes| *changes += 1);
    }

    /// Reloads them whenever the number of alerts on the page changes.
    pub fn follow_alerts(self, count: Memo<usize>) {
        Effect::new(move |before: Option<usize>| {
            let count = count.get();
            if before.is_some_and(|before| before != count) {
                self.something_changed();
            }
            count
        });
    }

    /// The user name, once the session is loaded.
    pub fn name_untracked(self) -> Option<String> {
        self.session.get_untracked()?.ok()?.user.map(|user| user.username)
    }
}

/// The address of the sign-in page; signing in returns to the page that is shown when it is called.
pub fn sign_in_address() -> impl Fn() -> String + Clone + Send + Sync + 'static {
    let shown = use_location();
    move || {
        let search = shown.search.get_untracked();
        let query = if search.is_empty() { search } else { format!("?{}", search.trim_start_matches('?')) };
        let page = shown.pathname.get_untracked() + &query;
        let mut next = ParamsMap::new();
        if page != "/" {
            next.insert("next", page);
        }
        format!("/sign-in{}", next.to_query_string())
    }
}
