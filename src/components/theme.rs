//! The theme: light, dark or system. It is stored in a cookie, so that the server renders the page with it and nothing
//! flashes.

use crate::model::Theme;

/// The theme of the request; known on the server only.
pub fn of_request() -> Theme {
    #[cfg(feature = "ssr")]
    if let Some(parts) = leptos::prelude::use_context::<axum::http::request::Parts>() {
        return crate::server::web::request_context::theme(&parts.headers);
    }
    Theme::System
}
