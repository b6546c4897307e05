//! Security headers: pages may do only what they need.

use super::{host::RequestedAddress, request_context::is_encrypted};
use crate::server::state::AppState;
use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use leptos::{nonce::use_nonce, prelude::use_context};

/// Pages use none of these. Of the powerful features, only the clipboard may be written to.
const PERMISSIONS_POLICY: &str = "accelerometer=(), autoplay=(), camera=(), display-capture=(), \
     encrypted-media=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), microphone=(), midi=(), payment=(), \
     publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()";

/// The policy for what is no page.
const NO_PAGE: &str = "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Sets the policy for the page that is being rendered: scripts only with this page's nonce.
pub fn set_content_security_policy() {
    let (Some(nonce), Some(response)) = (use_nonce(), use_context::<leptos_axum::ResponseOptions>()) else {
        return;
    };
    // Its reloading speaks to another port.
    if super::assets::cargo_leptos_watches() {
        return;
    }
    // Wasm needs its own keyword; nothing is loaded from elsewhere, and inline code needs the nonce, and so do the style
    // elements of the terminal.
    let policy = format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; \
         style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    if let Ok(value) = HeaderValue::from_str(&policy) {
        response.insert_header(header::CONTENT_SECURITY_POLICY, value);
    }
}

/// Puts on every answer what holds for all of them.
pub async fn secure(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_asset = path.starts_with("/pkg/");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    if !super::assets::cargo_leptos_watches() {
        // Pages have their own; nothing else is shown as one.
        set(header::CONTENT_SECURITY_POLICY, NO_PAGE);
    }
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY);
    if !is_asset {
        // Responses are private to the user.
        set(header::CACHE_CONTROL, "no-store");
    }
    if state.https {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}

/// Separates pages from the windows of other sites. Browsers do so only over https and on their own machine; elsewhere, the
/// header would be a warning in their console.
pub async fn isolate(request: Request, next: Next) -> Response {
    let address = request.extensions().get::<RequestedAddress>();
    let is_local = address.is_some_and(|address| address.authority.host.is_loopback());
    let is_trustworthy = is_local || is_encrypted(request.headers(), address);
    let mut response = next.run(request).await;
    if is_trustworthy {
        let policy = HeaderValue::from_static("same-origin");
        response.headers_mut().insert("cross-origin-opener-policy", policy);
    }
    response
}
