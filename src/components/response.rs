//! The HTTP response of a page; does nothing in the browser.

/// Sets the status 404.
pub fn page_not_found() {
    set_status(404);
}

/// Sets the status 429, and the header that says after how many seconds to try again.
#[cfg(feature = "ssr")]
pub fn too_many(retry_after_secs: u32) {
    set_status(429);
    if let Some(response) = leptos::prelude::use_context::<leptos_axum::ResponseOptions>() {
        response.insert_header(axum::http::header::RETRY_AFTER, retry_after_secs.into());
    }
}

/// Sets the status of a page that shows an error instead of its content.
#[cfg_attr(
    not(feature = "ssr"),
    expect(unused_variables, reason = "only the server's response has a status")
)]
pub fn set_status(status: u16) {
    #[cfg(feature = "ssr")]
    if let Some(response) = leptos::prelude::use_context::<leptos_axum::ResponseOptions>()
        && let Ok(status) = axum::http::StatusCode::from_u16(status)
    {
        response.set_status(status);
    }
}
