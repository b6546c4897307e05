//! The way to enter the password again, for actions that take one which was entered a short time ago.

use crate::model::{ApiError, ErrorCode};
use leptos::prelude::*;
use leptos_router::hooks::use_location;

/// A link to the page for it, which leads back here, where an action was rejected because of it.
#[component]
pub fn PasswordAgain(#[prop(into)] error: Signal<Option<ApiError>>) -> impl IntoView {
    let path = use_location().pathname;
    let is_needed =
        move || error.with(|error| error.as_ref().is_some_and(|e| e.code == ErrorCode::PasswordNeeded));
    move || {
        is_needed().then(|| {
            let href = format!("/confirm-password?next={}", path.get());
            view! { <p class="password-again"><a class="btn primary" href=href>"Enter password"</a></p> }
        })
    }
}
