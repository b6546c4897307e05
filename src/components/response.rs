//! What a page has to do with HTTP; nothing in the browser.

/// Answers with the page as it is, and 404.
pub fn page_not_found() {
    #[cfg(feature = "ssr")]
    if let Some(response) = leptos::prelude::use_context::<leptos_axum::ResponseOptions>() {
        response.set_status(axum::http::StatusCode::NOT_FOUND);
    }
}

/// The part of the wasm that the requested page is in.
pub fn requested_part() -> Option<&'static str> {
    #[cfg(feature = "ssr")]
    if let Some(parts) = leptos::prelude::use_context::<axum::http::request::Parts>() {
        return crate::pages::part(parts.uri.path());
    }
    None
}
