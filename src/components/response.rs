//! The HTTP response of a page; does nothing in the browser.

/// Sets the status 404.
pub fn page_not_found() {
    set_status(404);
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
