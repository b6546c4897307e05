//! Cross-site request forgery: browsers attach the session cookie to every request, so state changes must come from our
//! own pages.

use super::{host::RequestedAddress, terminal_socket::is_upgrade};
use crate::{
    model::ApiError,
    server::{
        network::{Network, Origin},
        state::AppState,
    },
};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Rejects requests that may change something, or open a WebSocket, and do not come from our own pages. Browsers never send a bearer token on
/// their own, so requests with one pass.
pub async fn same_origin_only(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && !is_upgrade(request.headers());
    let address = request.extensions().get::<RequestedAddress>();
    match may_change(request.headers(), address, &state.network, state.https) {
        Err(error) if !reads => error.into_response(),
        _ => next.run(request).await,
    }
}

fn may_change(
    headers: &HeaderMap,
    address: Option<&RequestedAddress>,
    network: &Network,
    https: bool,
) -> Result<(), ApiError> {
    const OTHER_SITE: &str = "This request came from another site. Open Twarga Cloud and try again.";
    let allow = |allowed| if allowed { Ok(()) } else { Err(ApiError::forbidden(OTHER_SITE)) };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if super::request_context::bearer_token(headers).is_some() {
        return Ok(());
    }
    if let Some(site) = text("sec-fetch-site") {
        return allow(matches!(site, "same-origin" | "none"));
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().ok().and_then(Origin::parse);
        let (Some(origin), Some(address)) = (origin, address) else { return allow(false) };
        if address.is_same_site(&origin, network) {
            return Ok(());
        }
        return Err(ApiError::forbidden(format!(
            "{OTHER_SITE} If {origin} is this server behind a proxy: start it with --public-url {origin}, or let the proxy \
             pass on the header Host, which is {} here.",
            address.authority
        )));
    }
    // Not a browser: those send one of the two. It must not ride on a browser's cookie.
    allow(super::request_context::session_cookie(headers, https).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::network::Authority;
    use axum::http::HeaderValue;

    fn check(pairs: &[(&'static str, &'static str)], public_url: Option<&str>) -> Result<(), ApiError> {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect();
        let authority = headers.get("host").map(|host| Authority::parse(host.to_str().unwrap()).unwrap());
        let address = authority.map(|authority| RequestedAddress { authority, https: None });
        let public_urls: Vec<_> = public_url.into_iter().map(str::to_owned).collect();
        let network = Network::new([127, 0, 0, 1].into(), &public_urls, &[]);
        may_change(&headers, address.as_ref(), &network, false)
    }

    fn allowed(pairs: &[(&'static str, &'static str)]) -> bool {
        check(pairs, None).is_ok()
    }

    #[test]
    fn behind_a_proxy_that_changes_the_host_the_public_url_decides() {
        let form = [("origin", "https://cloud.example"), ("host", "127.0.0.1:3000")];
        assert_eq!(check(&form, Some("https://cloud.example")), Ok(()));
        let text = check(&form, None).unwrap_err().text;
        for words in ["--public-url https://cloud.example,", "pass on the header Host", "127.0.0.1:3000"] {
            assert!(text.contains(words), "{text}");
        }
        let other = [("origin", "https://evil.example"), ("host", "127.0.0.1:3000")];
        assert!(check(&other, Some("https://cloud.example")).is_err());
    }

    #[test]
    fn our_own_pages_may_change_things() {
        assert!(allowed(&[("sec-fetch-site", "same-origin"), ("cookie", "twarga_session=x")]));
        assert!(allowed(&[
            ("origin", "http://cloud:3000"),
            ("host", "cloud:3000"),
            ("cookie", "twarga_session=x")
        ]));
    }

    #[test]
    fn other_sites_pages_may_not() {
        assert!(!allowed(&[("sec-fetch-site", "cross-site")]));
        assert!(!allowed(&[("sec-fetch-site", "same-site")]));
        assert!(!allowed(&[("origin", "http://evil:3000"), ("host", "cloud:3000")]));
        assert!(!allowed(&[("origin", "null"), ("host", "cloud:3000")]));
    }

    #[test]
    fn a_tool_without_a_cookie_may_and_one_that_rides_on_a_cookie_may_not() {
        assert!(allowed(&[("host", "cloud:3000")]));
        assert!(!allowed(&[("host", "cloud:3000"), ("cookie", "a=b; twarga_session=x")]));
        assert!(allowed(&[("authorization", "Bearer x"), ("cookie", "twarga_session=x")]));
    }
}
