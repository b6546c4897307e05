//! What every server function begins with: the state, the caller, and whether they have access.

use crate::{
    model::{ApiError, ErrorCode, Me, Role, Theme},
    server::{
        accounts::{Carrier, Device, LIFE_DAYS},
        internal,
        state::AppState,
        vms::{Scope, VmAccess},
    },
};
use axum::http::{HeaderMap, HeaderValue, header, request::Parts};
use leptos::prelude::use_context;
use leptos_axum::ResponseOptions;
use std::collections::BTreeSet;

const COOKIE: &str = "twarga_session";
/// The prefix binds the cookie to this host and to https.
const HTTPS_COOKIE: &str = "__Host-twarga_session";
const THEME_COOKIE: &str = "twarga_theme";

/// The state, for requests that need no sign-in.
///
/// # Errors
/// `Internal` when there is none: the request was dropped, and no client waits for the response.
pub fn anyone() -> Result<AppState, ApiError> {
    use_context::<AppState>().ok_or_else(|| {
        tracing::debug!("a request was dropped before its page was complete");
        ApiError::internal()
    })
}

/// The current user, if signed in.
///
/// # Errors
/// `Internal` when the database cannot be read.
pub async fn current_user() -> Result<Option<Me>, ApiError> {
    let Some(parts) = use_context::<Parts>() else { return Ok(None) };
    caller(&anyone()?, &parts.headers).await
}

/// The signed-in user.
///
/// # Errors
/// `NotSignedIn`.
pub async fn signed_in() -> Result<(AppState, Me), ApiError> {
    let state = anyone()?;
    let me = current_user().await?.ok_or_else(ApiError::not_signed_in)?;
    Ok((state, me))
}

/// An admin.
///
/// # Errors
/// `NotSignedIn`; `Forbidden` for everybody else.
pub async fn admin() -> Result<(AppState, Me), ApiError> {
    let (state, me) = signed_in().await?;
    match me.role {
        Role::Admin => Ok((state, me)),
        Role::User => Err(ApiError::forbidden("Only an admin may see this.")),
    }
}

/// A user who may see and operate the VM.
///
/// # Errors
/// `NotSignedIn`; `NotFound` when it is not there or not theirs.
pub async fn vm(vm_id: i64) -> Result<(AppState, VmAccess), ApiError> {
    let (state, me) = signed_in().await?;
    let access = state.vms.access(&me, vm_id).await?;
    Ok((state, access))
}

/// A user who may see and operate all these VMs; the returned ids have no duplicates.
///
/// # Errors
/// `NotSignedIn`; `Invalid` when none is named; `NotFound` when one is not there or not theirs.
pub async fn vms(vm_ids: &[i64]) -> Result<(AppState, Vec<i64>), ApiError> {
    let (state, me) = signed_in().await?;
    if vm_ids.is_empty() {
        return Err(ApiError::invalid_field("vm_ids", "Name at least one VM."));
    }
    let wanted: BTreeSet<i64> = vm_ids.iter().copied().collect();
    let theirs: BTreeSet<i64> = state.vms.list(Scope::of(&me)).await?.iter().map(|vm| vm.id).collect();
    if wanted.is_subset(&theirs) {
        Ok((state, wanted.into_iter().collect()))
    } else {
        Err(ApiError::not_found("VM"))
    }
}

/// The user a request's headers authenticate: by bearer token if present, else by cookie.
///
/// # Errors
/// `Internal` when the database cannot be read.
pub async fn caller(state: &AppState, headers: &HeaderMap) -> Result<Option<Me>, ApiError> {
    if let Some(token) = bearer(headers) {
        return state.accounts.owner_of_token(token, Carrier::Bearer).await;
    }
    match cookie(headers, state.https) {
        Some(token) => state.accounts.owner_of_token(token, Carrier::Cookie).await,
        None => Ok(None),
    }
}

/// The user of a request's bearer token, if there is one.
///
/// # Errors
/// `Internal` when the database cannot be read.
pub async fn by_bearer_token(state: &AppState, headers: &HeaderMap) -> Result<Option<Me>, ApiError> {
    match bearer(headers) {
        Some(token) => state.accounts.owner_of_token(token, Carrier::Bearer).await,
        None => Ok(None),
    }
}

/// The token of `Authorization: Bearer …`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The token in the session's cookie.
pub fn cookie(headers: &HeaderMap, https: bool) -> Option<&str> {
    cookie_called(headers, if https { HTTPS_COOKIE } else { COOKIE })
}

fn cookie_called<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == wanted).then_some(value))
}

/// Signs the caller in with a cookie and leads to `next`, or to `/` where that is no page of this server's.
///
/// # Errors
/// As [`crate::server::accounts::Accounts::sign_in`].
pub async fn sign_in(
    state: &AppState,
    username: &str,
    password: &str,
    next: Option<&str>,
) -> Result<(), ApiError> {
    let parts = use_context::<Parts>();
    let user_agent = parts.as_ref().map_or("", |parts| user_agent(&parts.headers));
    let device = Device { carrier: Carrier::Cookie, user_agent };
    let token = state.accounts.sign_in(username, password, device).await?;
    set_cookie(state, token.expose(), LIFE_DAYS * 24 * 60 * 60)?;
    lead_to(own_page(next));
    Ok(())
}

/// The requested page, if it is on this server.
fn own_page(wanted: Option<&str>) -> &str {
    const MAX_BYTES: usize = 1000;
    let is_own = |page: &&str| {
        page.starts_with('/')
            && !page.starts_with("//")
            && page.len() <= MAX_BYTES
            && page.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    wanted.filter(is_own).unwrap_or("/")
}

/// Ends the caller's session and leads to `/sign-in`.
///
/// # Errors
/// `Internal` when the database cannot be written.
pub async fn sign_out(state: &AppState) -> Result<(), ApiError> {
    if let Some(parts) = use_context::<Parts>() {
        let token = bearer(&parts.headers).or_else(|| cookie(&parts.headers, state.https));
        if let Some(token) = token {
            state.accounts.sign_out(token).await?;
        }
    }
    set_cookie(state, "", 0)?;
    lead_to("/sign-in");
    Ok(())
}

/// The token that the caller is signed in with; empty when it is none.
pub fn own_token(state: &AppState) -> String {
    let Some(parts) = use_context::<Parts>() else { return String::new() };
    let token = bearer(&parts.headers).or_else(|| cookie(&parts.headers, state.https));
    token.unwrap_or_default().to_owned()
}

/// What a browser or client calls itself; empty when it does not say.
pub fn user_agent(headers: &HeaderMap) -> &str {
    headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What the browser that sends these headers has chosen.
pub fn theme(headers: &HeaderMap) -> Theme {
    cookie_called(headers, THEME_COOKIE).and_then(Theme::parse).unwrap_or_default()
}

/// Has the caller's browser keep a theme for a year.
///
/// # Errors
/// `Internal` when there is no response to put a cookie on.
pub fn set_theme(theme: Theme) -> Result<(), ApiError> {
    const YEAR_SECS: u32 = 365 * 24 * 60 * 60;
    let cookie =
        format!("{THEME_COOKIE}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={YEAR_SECS}", theme.as_str());
    append_cookie(&cookie)
}

/// Leads a browser to a page of ours; other clients see the answer alone.
pub fn lead_to(path: &str) {
    if use_context::<ResponseOptions>().is_some() {
        leptos_axum::redirect(path);
    }
}

fn set_cookie(state: &AppState, value: &str, max_age_secs: i64) -> Result<(), ApiError> {
    let (name, secure) = if state.https { (HTTPS_COOKIE, "; Secure") } else { (COOKIE, "") };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_secs}{secure}");
    append_cookie(&cookie)
}

fn append_cookie(cookie: &str) -> Result<(), ApiError> {
    let cookie = HeaderValue::from_str(cookie).map_err(internal)?;
    let response = use_context::<ResponseOptions>()
        .ok_or_else(|| ApiError::new(ErrorCode::Internal, "There is no response to put a cookie on."))?;
    response.append_header(header::SET_COOKIE, cookie);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::own_page;

    #[test]
    fn nobody_is_led_away_from_this_server() {
        for page in ["/vms/4?range=1h", "/"] {
            assert_eq!(own_page(Some(page)), page);
        }
        for page in ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb", "vms/4", ""] {
            assert_eq!(own_page(Some(page)), "/");
        }
        assert_eq!(own_page(None), "/");
    }
}
