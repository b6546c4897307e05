//! What every server function begins with: the state, the caller, and whether they have access.

use super::{client_address::ClientAddress, host::RequestedAddress};
use crate::{
    model::{ApiError, CurrentUser, ErrorCode, OneTimeLink, Theme, Transport},
    server::{
        accounts::{
            AdminAccess, Carrier, Device, KNOWN_DEVICE_DAYS, LIFE_DAYS, OpenSession, RecentSignIn,
            SessionKey, Token,
        },
        internal,
        network::{Host, Origin},
        new_links::ShownOnce,
        request_origin::{Caller, RequestOrigin},
        state::AppState,
        vms::{Level, Scope, VmAccess},
    },
};
use axum::http::{
    Extensions, HeaderMap, HeaderValue,
    header::{self, InvalidHeaderValue},
    request::Parts,
};
use leptos::prelude::use_context;
use leptos_axum::ResponseOptions;
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

/// Of a request that came over no connection.
const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// A cookie that is bound to this host and to https, where that is in use: nobody else can set it.
#[derive(Debug, Clone, Copy)]
pub struct HostCookie(&'static str);

impl HostCookie {
    pub fn name(self, https: bool) -> String {
        format!("{}{}", if https { "__Host-" } else { "" }, self.0)
    }
}

const SESSION_COOKIE: HostCookie = HostCookie("twarga_session");
/// Of a browser in which somebody was signed in, see `KNOWN_DEVICE_DAYS`.
const DEVICE_COOKIE: HostCookie = HostCookie("twarga_device");
pub const FORM_ERROR_COOKIE: HostCookie = HostCookie("twarga_form_error");
const THEME_COOKIE: HostCookie = HostCookie("twarga_theme");

/// The state, for requests that need no sign-in.
///
/// # Errors
/// `Internal` when there is none: the request was dropped, and no client waits for the response.
pub fn app_state() -> Result<AppState, ApiError> {
    use_context::<AppState>().ok_or_else(|| {
        tracing::debug!("a request was dropped before its page was complete");
        ApiError::internal()
    })
}

/// The current user, if signed in: possibly an admin who must set up a second factor first.
///
/// # Errors
/// `Internal` when the database cannot be read.
pub async fn current_user() -> Result<Option<CurrentUser>, ApiError> {
    let Some(parts) = use_context::<Parts>() else { return Ok(None) };
    Ok(open_session(&app_state()?, &parts).await?.map(|session| session.user))
}

/// The session of the request, for what an admin does who must set up a second factor first; everything else takes
/// [`require_user`].
///
/// # Errors
/// `NotSignedIn`.
pub async fn require_session() -> Result<(AppState, OpenSession), ApiError> {
    let state = app_state()?;
    let session = match use_context::<Parts>() {
        Some(parts) => open_session(&state, &parts).await?,
        None => None,
    };
    Ok((state, session.ok_or_else(ApiError::not_signed_in)?))
}

/// The signed-in user.
///
/// # Errors
/// `NotSignedIn`; `SecondFactorMissing`.
pub async fn require_user() -> Result<(AppState, CurrentUser), ApiError> {
    let (state, session) = require_session().await?;
    Ok((state, session.admitted()?))
}

/// That the signed-in user entered their password a short time ago.
///
/// # Errors
/// `NotSignedIn`; `PasswordNeeded`.
pub async fn require_recent_sign_in() -> Result<(AppState, RecentSignIn), ApiError> {
    let (state, session) = require_session().await?;
    let recent = state.accounts.recent_sign_in(session)?;
    Ok((state, recent))
}

/// The signed-in user, who is an admin.
///
/// # Errors
/// `NotSignedIn`; `SecondFactorMissing`; `Forbidden` for other users.
pub async fn require_admin() -> Result<(AppState, AdminAccess), ApiError> {
    let (state, user) = require_user().await?;
    Ok((state, AdminAccess::of(user)?))
}

/// The signed-in user's access to a VM, at least of level `L`.
///
/// # Errors
/// `NotSignedIn`; as [`Vms::access`](crate::server::vms::Vms::access).
pub async fn require_vm<L: Level>(vm_id: i64) -> Result<(AppState, VmAccess<L>), ApiError> {
    let (state, user) = require_user().await?;
    let parts = use_context::<Parts>();
    let extensions = parts.as_ref().map(|parts| &parts.extensions);
    let access = vm_access(&state, &user, vm_id, extensions).await?;
    Ok((state, access))
}

/// A user's access to a VM, at least of level `L`. If it is hidden from them, that is noted in the request's origin.
///
/// # Errors
/// As [`Vms::access`](crate::server::vms::Vms::access).
pub async fn vm_access<L: Level>(
    state: &AppState,
    user: &CurrentUser,
    vm_id: i64,
    extensions: Option<&Extensions>,
) -> Result<VmAccess<L>, ApiError> {
    let access = state.vms.access(user, vm_id).await;
    if access.as_ref().is_err_and(|error| error.code == ErrorCode::NotFound) {
        note_hidden_vms(state, &[vm_id], extensions).await?;
    }
    access
}

/// Notes in the request's origin if one of these VMs, which its caller may not see, is there.
async fn note_hidden_vms(
    state: &AppState,
    vm_ids: &[i64],
    extensions: Option<&Extensions>,
) -> Result<(), ApiError> {
    if let Some(origin) = extensions.and_then(Extensions::get::<Arc<RequestOrigin>>)
        && state.vms.any_exists(vm_ids).await?
    {
        origin.note_hidden();
    }
    Ok(())
}

/// Checks that the signed-in user may see all these VMs and returns their ids without duplicates.
///
/// # Errors
/// `NotSignedIn`; `Invalid` without any id; `NotFound` if one does not exist or the user may not see it.
pub async fn require_vms(vm_ids: &[i64]) -> Result<(AppState, Vec<i64>), ApiError> {
    let (state, user) = require_user().await?;
    if vm_ids.is_empty() {
        return Err(ApiError::invalid_field("vm_ids", "Name at least one VM."));
    }
    let requested: BTreeSet<i64> = vm_ids.iter().copied().collect();
    let allowed: BTreeSet<i64> = state.vms.list(Scope::of(&user)).await?.iter().map(|vm| vm.id).collect();
    if requested.is_subset(&allowed) {
        Ok((state, requested.into_iter().collect()))
    } else {
        let hidden: Vec<_> = requested.difference(&allowed).copied().collect();
        let parts = use_context::<Parts>();
        note_hidden_vms(&state, &hidden, parts.as_ref().map(|parts| &parts.extensions)).await?;
        Err(ApiError::not_found("VM"))
    }
}

/// How the request reached the server. A hint for the pages, nothing to rely on: without a trusted proxy, the headers say
/// what the client likes.
pub fn transport(state: &AppState) -> Transport {
    let Some(parts) = use_context::<Parts>() else { return Transport::Protected };
    transport_of(&parts.headers, parts.extensions.get(), state.https)
}

fn transport_of(headers: &HeaderMap, address: Option<&RequestedAddress>, https: bool) -> Transport {
    match address {
        _ if is_encrypted(headers, address) => Transport::Protected,
        _ if https => Transport::HttpsRequired,
        Some(address) if !address.authority.host.is_loopback() => Transport::Unencrypted,
        _ => Transport::Protected,
    }
}

/// Whether a request seems to come over https, or from this machine.
pub fn is_encrypted(headers: &HeaderMap, address: Option<&RequestedAddress>) -> bool {
    address.and_then(|address| address.https).unwrap_or_else(|| {
        // Browsers send Sec-Fetch-… over https and to their own machine only, where they keep Secure cookies, too.
        headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https")
            || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
    })
}

/// The user that a request's headers authenticate: by bearer token if present, otherwise by cookie.
///
/// # Errors
/// `SecondFactorMissing`; `Internal` when the database cannot be read.
pub async fn authenticate(state: &AppState, parts: &Parts) -> Result<Option<CurrentUser>, ApiError> {
    open_session(state, parts).await?.map(OpenSession::admitted).transpose()
}

async fn open_session(state: &AppState, parts: &Parts) -> Result<Option<OpenSession>, ApiError> {
    if let Some(token) = bearer_token(&parts.headers) {
        return session_of_token(state, parts, token, Carrier::Bearer).await;
    }
    match session_cookie(&parts.headers, state.https) {
        Some(token) => session_of_token(state, parts, token, Carrier::Cookie).await,
        None => Ok(None),
    }
}

/// The session of a token; what the request causes is recorded with it.
async fn session_of_token(
    state: &AppState,
    parts: &Parts,
    token: &str,
    carrier: Carrier,
) -> Result<Option<OpenSession>, ApiError> {
    let session = state.accounts.session_of_token(token, carrier).await?;
    Ok(session.inspect(|session| {
        if let Some(origin) = parts.extensions.get::<Arc<RequestOrigin>>() {
            let (account_id, username) = (session.user.id, session.user.username.clone());
            origin.set_caller(Caller { session_id: session.id, account_id, username });
        }
    }))
}

/// The user of a request's bearer token, if there is one.
///
/// # Errors
/// `SecondFactorMissing`; `Internal` when the database cannot be read.
pub async fn authenticate_bearer(state: &AppState, parts: &Parts) -> Result<Option<CurrentUser>, ApiError> {
    match bearer_token(&parts.headers) {
        Some(token) => {
            let session = session_of_token(state, parts, token, Carrier::Bearer).await?;
            session.map(OpenSession::admitted).transpose()
        }
        None => Ok(None),
    }
}

/// The token of `Authorization: Bearer …`.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The token in the session's cookie.
pub fn session_cookie(headers: &HeaderMap, https: bool) -> Option<&str> {
    cookie_value(headers, &SESSION_COOKIE.name(https))
}

/// The value of a cookie in a request's headers.
pub fn cookie_value<'a>(headers: &'a HeaderMap, cookie: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == cookie).then_some(value))
}

/// Signs in with a cookie and redirects to `next`, or to `/` if that is not a page of this server.
///
/// # Errors
/// As [`crate::server::accounts::Accounts::sign_in`].
pub async fn sign_in(
    state: &AppState,
    username: &str,
    password: &str,
    code: &str,
    next: Option<&str>,
) -> Result<(), ApiError> {
    let parts = use_context::<Parts>();
    let user_agent = parts.as_ref().map_or("", |parts| user_agent(&parts.headers));
    let session_token = parts.as_ref().and_then(|parts| session_cookie(&parts.headers, state.https));
    let known_device_token =
        parts.as_ref().and_then(|parts| known_device_cookie(&parts.headers, state.https));
    let address = caller_address();
    let device = Device { carrier: Carrier::Cookie, user_agent, session_token, known_device_token, address };
    let tokens = state.accounts.sign_in(username, password, code, device).await?;
    set_session_cookie(state, &tokens.session)?;
    if let Some(token) = &tokens.known_device {
        let name = DEVICE_COOKIE.name(state.https);
        append_cookie(state, &name, token.expose(), KNOWN_DEVICE_DAYS * 24 * 60 * 60)?;
    }
    redirect(local_path(next));
    Ok(())
}

/// Hands a browser the token of its session.
///
/// # Errors
/// `Internal` when there is no response to put a cookie on.
pub fn set_session_cookie(state: &AppState, token: &Token) -> Result<(), ApiError> {
    set_cookie(state, token.expose(), LIFE_DAYS * 24 * 60 * 60)
}

/// The requested path, if it is on this server.
pub fn local_path(requested: Option<&str>) -> &str {
    const MAX_BYTES: usize = 1000;
    let is_local = |page: &&str| {
        page.starts_with('/')
            && !page.starts_with("//")
            && page.len() <= MAX_BYTES
            && page.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    requested.filter(is_local).unwrap_or("/")
}

/// Ends the session and redirects to `/sign-in`.
///
/// # Errors
/// `Internal` when the database cannot be written.
pub async fn sign_out(state: &AppState) -> Result<(), ApiError> {
    if let Some(parts) = use_context::<Parts>() {
        let token = bearer_token(&parts.headers).or_else(|| session_cookie(&parts.headers, state.https));
        if let Some(token) = token {
            state.accounts.sign_out(token).await?;
        }
    }
    set_cookie(state, "", 0)?;
    redirect("/sign-in");
    Ok(())
}

/// The token of the current session; empty without one.
pub fn session_token(state: &AppState) -> String {
    let Some(parts) = use_context::<Parts>() else { return String::new() };
    let token = bearer_token(&parts.headers).or_else(|| session_cookie(&parts.headers, state.https));
    token.unwrap_or_default().to_owned()
}

/// The session of the current request, for what outlives it.
///
/// # Errors
/// `NotSignedIn`.
pub fn session_key(state: &AppState) -> Result<SessionKey, ApiError> {
    let parts = use_context::<Parts>().ok_or_else(ApiError::not_signed_in)?;
    let key = match bearer_token(&parts.headers) {
        Some(token) => SessionKey::of_token(token, Carrier::Bearer),
        None => session_cookie(&parts.headers, state.https)
            .and_then(|token| SessionKey::of_token(token, Carrier::Cookie)),
    };
    key.ok_or_else(ApiError::not_signed_in)
}

/// The token of a known device in its cookie.
fn known_device_cookie(headers: &HeaderMap, https: bool) -> Option<&str> {
    cookie_value(headers, &DEVICE_COOKIE.name(https))
}

/// The address of the current request's client.
pub fn caller_address() -> IpAddr {
    use_context::<Parts>().map_or(NO_ADDRESS, |parts| client_address(&parts.extensions))
}

/// The address of a request's client.
pub fn client_address(extensions: &Extensions) -> IpAddr {
    ClientAddress::of(extensions).unwrap_or(NO_ADDRESS)
}

/// The `User-Agent` header; empty without one.
pub fn user_agent(headers: &HeaderMap) -> &str {
    headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The theme chosen in the browser that sent these headers.
pub fn theme(headers: &HeaderMap) -> Theme {
    // The name without its prefix is also that of earlier versions.
    let names = [true, false].map(|https| THEME_COOKIE.name(https));
    names.iter().find_map(|name| cookie_value(headers, name)).and_then(Theme::parse).unwrap_or_default()
}

/// Stores the theme in a cookie for a year.
///
/// # Errors
/// `Internal` when there is no response to put a cookie on.
pub fn set_theme(state: &AppState, theme: Theme) -> Result<(), ApiError> {
    const YEAR_SECS: i64 = 365 * 24 * 60 * 60;
    append_cookie(state, &THEME_COOKIE.name(state.https), theme.as_str(), YEAR_SECS)
}

/// Redirects a browser after a form; other clients only get the result.
pub fn redirect(path: &str) {
    if use_context::<ResponseOptions>().is_some() {
        leptos_axum::redirect(path);
    }
}

/// The address of a page with a token. It is behind `#`: browsers send that part to no server, so it is in no log and no
/// `Referer`.
pub fn link_with_token(state: &AppState, page: &str, token: &Token) -> String {
    let requested = || {
        let parts = use_context::<Parts>();
        let address = parts.as_ref().and_then(|parts| parts.extensions.get::<RequestedAddress>().cloned());
        address.map_or_else(String::new, |RequestedAddress { authority, https }| {
            Origin { https: https.unwrap_or(state.https), authority }.to_string()
        })
    };
    let site = state.network.public_url().map_or_else(requested, ToString::to_string);
    format!("{site}{page}#{}", token.expose())
}

/// The host of the server for the caller's ssh client: that of the public address, or the requested one.
pub fn ssh_host(state: &AppState) -> Host {
    let requested = || {
        let parts = use_context::<Parts>()?;
        Some(parts.extensions.get::<RequestedAddress>()?.authority.host.clone())
    };
    let public = state.network.public_url().map(|origin| origin.authority.host.clone());
    public.or_else(requested).unwrap_or(Host::Name("localhost".into()))
}

/// Gives the link as the answer. A form that was sent without JavaScript is answered with a redirect instead, so the link is
/// kept for the page behind it.
pub fn shown_once(state: &AppState, admin: &AdminAccess, link: OneTimeLink) -> OneTimeLink {
    answered_once(&state.new_links, admin.id, link)
}

/// The same for anything that `kept` is for.
pub fn answered_once<T: Clone>(kept: &ShownOnce<T>, account_id: i64, value: T) -> T {
    let parts = use_context::<Parts>();
    let accept = parts.as_ref().and_then(|parts| parts.headers.get(header::ACCEPT)?.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        kept.keep(account_id, value.clone(), Instant::now());
    }
    value
}

fn set_cookie(state: &AppState, value: &str, max_age_secs: i64) -> Result<(), ApiError> {
    append_cookie(state, &SESSION_COOKIE.name(state.https), value, max_age_secs)
}

/// A cookie for `Set-Cookie`.
///
/// # Errors
/// The value cannot be in a header.
pub fn cookie(
    https: bool,
    cookie: HostCookie,
    value: &str,
    max_age_secs: i64,
) -> Result<HeaderValue, InvalidHeaderValue> {
    written(https, &cookie.name(https), value, max_age_secs)
}

fn written(
    https: bool,
    name: &str,
    value: &str,
    max_age_secs: i64,
) -> Result<HeaderValue, InvalidHeaderValue> {
    let secure = if https { "; Secure" } else { "" };
    HeaderValue::from_str(&format!(
        "{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_secs}{secure}"
    ))
}

fn append_cookie(state: &AppState, name: &str, value: &str, max_age_secs: i64) -> Result<(), ApiError> {
    let cookie = written(state.https, name, value, max_age_secs).map_err(internal)?;
    let response = use_context::<ResponseOptions>()
        .ok_or_else(|| ApiError::new(ErrorCode::Internal, "There is no response to put a cookie on."))?;
    response.append_header(header::SET_COOKIE, cookie);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::network::Authority;

    #[test]
    fn a_page_opened_over_http_is_noticed_where_it_matters() {
        use Transport::{HttpsRequired, Protected, Unencrypted};
        let none: [(&'static str, &'static str); 0] = [];
        let fetch = [("sec-fetch-site", "none")];
        let proxied = [("x-forwarded-proto", "https")];
        for (host, trusted, headers, without, with) in [
            ("localhost:3000", None, &none[..], Protected, HttpsRequired),
            ("localhost:3000", None, &fetch, Protected, Protected),
            ("192.0.2.7:3000", None, &none, Unencrypted, HttpsRequired),
            ("192.0.2.7:3000", None, &proxied, Protected, Protected),
            ("cloud.example", Some(true), &none, Protected, Protected),
            ("cloud.example", Some(false), &proxied, Unencrypted, HttpsRequired),
            ("cloud.example", None, &fetch, Protected, Protected),
        ] {
            let address = RequestedAddress { authority: Authority::parse(host).unwrap(), https: trusted };
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                .collect();
            let seen = [false, true].map(|https| transport_of(&headers, Some(&address), https));
            assert_eq!(seen, [without, with], "{host} {trusted:?} {headers:?}");
        }
    }

    #[test]
    fn redirects_stay_on_this_server() {
        for page in ["/vms/4?range=1h", "/"] {
            assert_eq!(local_path(Some(page)), page);
        }
        for page in ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb", "vms/4", ""] {
            assert_eq!(local_path(Some(page)), "/");
        }
        assert_eq!(local_path(None), "/");
    }
}
