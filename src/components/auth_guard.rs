//! Redirects users who are not signed in.

use super::auth::{Session, sign_in_address};
use crate::model::ApiError;
use leptos::prelude::*;
use leptos_router::components::Redirect;

/// Every server function checks access itself; this only leads to the page to sign in on.
#[component]
pub fn AuthGuard(session: Resource<Result<Session, ApiError>>) -> impl IntoView {
    let sign_in = sign_in_address();
    view! {
        <Suspense>
            {move || {
                let sign_in = sign_in.clone();
                Suspend::new(async move {
                    let unauthenticated = session.await.ok().filter(|session| session.user.is_none());
                    unauthenticated.map(|session| {
                        let path = if session.instance.needs_first_account { "/setup".into() } else { sign_in() };
                        view! { <Redirect path/> }
                    })
                })
            }}
        </Suspense>
    }
}
