//! Light, dark, or as the system has it. The choice travels in a cookie, so that the server renders the page with it
//! and nothing flashes.

use crate::model::Theme;

/// What the browser that asks for this page has chosen; only the server can tell.
pub fn of_request() -> Theme {
    #[cfg(feature = "ssr")]
    if let Some(parts) = leptos::prelude::use_context::<axum::http::request::Parts>() {
        return crate::server::web::request_context::theme(&parts.headers);
    }
    Theme::System
}
