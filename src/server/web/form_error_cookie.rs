//! A form that was sent without JavaScript and rejected returns to its page with the error in the page's address, as Leptos
//! does it. A page shows such an error as the server's own, so an address that somebody else has made must not have one.
//!
//! The redirect sets a cookie with a code (HMAC) of the error, and an address with an error is only served to the browser that
//! has the cookie for it. Other addresses are redirected to the same page without the error.

use super::request_context::{FORM_ERROR_COOKIE, cookie, cookie_value};
use crate::server::state::AppState;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Url;
use sha2::Sha256;
use std::sync::LazyLock;

/// Long enough to reload the page.
const MAX_AGE_SECS: i64 = 10 * 60;

/// Of this process: after a restart, earlier errors are no longer shown.
static KEY: LazyLock<[u8; 32]> = LazyLock::new(|| {
    let mut key = [0; 32];
    getrandom::fill(&mut key).expect("the system gives random numbers");
    key
});

/// Keeps errors in addresses to those that this server has sent to the same browser.
pub async fn own_errors_only(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let is_form = request.method() == Method::POST;
    if matches!(*request.method(), Method::GET | Method::HEAD)
        && let Some(plain) = without_foreign_error(request.uri(), request.headers(), state.https)
    {
        return (StatusCode::SEE_OTHER, [(header::LOCATION, plain)]).into_response();
    }
    let mut response = next.run(request).await;
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    if is_form
        && let Some(code) = location.and_then(absolute).and_then(|url| code_of(&url))
        && let Ok(cookie) =
            cookie(state.https, FORM_ERROR_COOKIE, &BASE64.encode(code.finalize().into_bytes()), MAX_AGE_SECS)
    {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// The address without its error, if it has one that the server did not send to this browser.
fn without_foreign_error(uri: &Uri, headers: &HeaderMap, https: bool) -> Option<HeaderValue> {
    let mut url = absolute(uri.path_and_query()?.as_str())?;
    let code = code_of(&url)?;
    let sent =
        cookie_value(headers, &FORM_ERROR_COOKIE.name(https)).and_then(|sent| BASE64.decode(sent).ok());
    if sent.is_some_and(|sent| code.verify_slice(&sent).is_ok()) {
        return None;
    }
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !is_error(name))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
    // Never to another host, as `//host` would be.
    let path = url.path().trim_start_matches('/');
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    HeaderValue::from_str(&format!("/{path}{query}")).ok()
}

/// A code of the error in an address, if there is any.
fn code_of(url: &Url) -> Option<Hmac<Sha256>> {
    let mut code = Hmac::<Sha256>::new_from_slice(&*KEY).ok()?;
    let mut has_error = false;
    for (name, value) in url.query_pairs().filter(|(name, _)| is_error(name)) {
        has_error = true;
        for part in [name, value] {
            code.update(&part.len().to_be_bytes());
            code.update(part.as_bytes());
        }
    }
    has_error.then_some(code)
}

fn is_error(name: &str) -> bool {
    matches!(name, "__path" | "__err")
}

/// An address, or one of this server: its host does not matter.
fn absolute(address: &str) -> Option<Url> {
    let address =
        if address.starts_with('/') { format!("http://localhost{address}") } else { address.to_owned() };
    Url::parse(&address).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(address: &'static str, cookie: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(cookie) = cookie {
            headers.insert(header::COOKIE, cookie.parse().unwrap());
        }
        let plain = without_foreign_error(&Uri::from_static(address), &headers, false)?;
        Some(plain.to_str().unwrap().to_owned())
    }

    fn cookie_for(address: &str) -> String {
        let code = code_of(&absolute(address).unwrap()).unwrap();
        format!("a=b; twarga_form_error={}", BASE64.encode(code.finalize().into_bytes()))
    }

    #[test]
    fn an_error_in_an_address_is_shown_only_to_the_browser_that_was_sent_there() {
        let address = "/sign-in?next=%2Fvms&__path=%2Fapi&__err=eyJ9";
        assert_eq!(served(address, Some(&cookie_for(address))), None);
        let moved = "http://cloud/sign-in?next=%2Fvms&__path=%2Fapi&__err=eyJ9&username=ada";
        assert_eq!(served(address, Some(&cookie_for(moved))), None);
        let plain = Some("/sign-in?next=%2Fvms".to_owned());
        assert_eq!(served(address, None), plain);
        assert_eq!(served(address, Some("twarga_form_error=")), plain);
        assert_eq!(served(address, Some(&cookie_for("/sign-in?__path=%2Fapi&__err=eyJ8"))), plain);
    }

    #[test]
    fn no_spelling_of_the_names_passes() {
        for address in [
            "/sign-in?__err=x&__path=y",
            "/sign-in?%5F%5Ferr=x&__path=y",
            "/sign-in?_%5ferr=x&%5f_path=y",
            "/sign-in?__path=y",
        ] {
            assert_eq!(served(address, None).as_deref(), Some("/sign-in"), "{address}");
        }
        assert_eq!(served("//evil.example/?__err=x", None).as_deref(), Some("/evil.example/"));
        assert_eq!(served("/sign-in?next=__err", None), None);
        assert_eq!(served("/", None), None);
    }
}
