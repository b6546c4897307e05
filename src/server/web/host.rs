//! The host that a request is for. Only requests for this server are served: otherwise a page of another site could give
//! its own name this server's address (DNS rebinding), and the browser would let it read everything.
//!
//! Served are loopback names, the addresses that the server listens on, and the hosts of `--public-url`. `/health` is
//! served under any host: load balancers ask for it by addresses and names of their own, and it holds nothing that is
//! private. `/metrics` is not.

use crate::{
    model::{ApiError, ErrorCode},
    server::{
        network::{Authority, Network, Origin},
        state::AppState,
    },
};
use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::net::{IpAddr, SocketAddr};

/// The address by which the client asked, in the request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedAddress {
    pub authority: Authority,
    /// The scheme, if a trusted proxy says it.
    pub https: Option<bool>,
}

impl RequestedAddress {
    /// Whether a page of this origin is one of this server's.
    pub fn is_same_site(&self, origin: &Origin, network: &Network) -> bool {
        if network.is_public_url(origin) {
            return true;
        }
        // Where the scheme matters, the configuration decides, or a proxy that says it.
        if network.is_public_host(&self.authority.host) {
            return false;
        }
        let https = self.https.unwrap_or(origin.https);
        Origin { https, authority: self.authority.clone() }.is_same(origin)
    }
}

/// Rejects requests for other hosts with 421, and those without a valid host with 400. Adds the [`RequestedAddress`] to
/// the others.
pub async fn known_hosts_only(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let is_health = request.uri().path() == "/health";
    match requested(peer, request.uri(), request.headers(), &state.network) {
        Ok(address) if is_health || state.network.serves(&address.authority.host) => {
            request.extensions_mut().insert(address);
            next.run(request).await
        }
        Err(_) if is_health => next.run(request).await,
        Ok(RequestedAddress { authority, https }) => {
            tracing::info!(host = %authority, "rejected a request for an unknown host; see --public-url");
            let https = https.unwrap_or(state.https);
            let url = Origin { https, authority };
            let text = format!(
                "This server does not serve {}. If it is its address, start the server with --public-url {url}.",
                url.authority
            );
            ApiError::new(ErrorCode::Misdirected, text).into_response()
        }
        Err(text) => ApiError::new(ErrorCode::Invalid, text).into_response(),
    }
}

/// The host in the target (HTTP/2, or a target in absolute form), which takes precedence over `Host`. If a trusted proxy
/// says which host it was asked for, that one.
fn requested(
    peer: Option<IpAddr>,
    uri: &Uri,
    headers: &HeaderMap,
    network: &Network,
) -> Result<RequestedAddress, &'static str> {
    const ONE: &str = "The request has several hosts. Send one header Host.";
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(ONE);
    }
    let host = host.map(HeaderValue::to_str).transpose().map_err(|_| ONE)?;
    let target = uri.authority().map(axum::http::uri::Authority::as_str);
    if let (Some(host), Some(target)) = (host, target)
        && Authority::parse(host) != Authority::parse(target)
    {
        return Err(ONE);
    }
    let is_proxied = peer.is_some_and(|peer| network.trusts(peer));
    // Each proxy adds at the end, and the last one is the trusted one.
    let forwarded = |name: &str| {
        let line = headers.get_all(name).iter().next_back().filter(|_| is_proxied)?;
        line.to_str().ok()?.rsplit(',').next().map(str::trim)
    };
    let authority = forwarded("x-forwarded-host").or(target).or(host);
    let authority = authority.ok_or("The request has no header Host.")?;
    Ok(RequestedAddress {
        authority: Authority::parse(authority).ok_or("The request's host is not valid.")?,
        https: match forwarded("x-forwarded-proto") {
            Some("https") => Some(true),
            Some("http") => Some(false),
            _ => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::network::parse_network;
    use axum::http::HeaderName;

    fn address_of(
        peer: &str,
        target: &'static str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<(String, Option<bool>), &'static str> {
        let network = Network::new([127, 0, 0, 1].into(), &[], &[parse_network("10.0.0.1").unwrap()]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        requested(peer.parse().ok(), &Uri::from_static(target), &map, &network)
            .map(|address| (address.authority.to_string(), address.https))
    }

    #[test]
    fn the_host_is_that_of_the_target_or_of_the_header() {
        let host = |target, headers: &[_]| address_of("192.0.2.7", target, headers).map(|address| address.0);
        assert_eq!(host("/", &[("host", "Cloud.example:80")]).as_deref(), Ok("cloud.example:80"));
        assert_eq!(host("http://cloud.example/a", &[]).as_deref(), Ok("cloud.example"));
        assert_eq!(
            host("http://cloud.example/a", &[("host", "cloud.example")]).as_deref(),
            Ok("cloud.example")
        );
        for (target, headers) in [
            ("/", &[][..]),
            ("/", &[("host", "")]),
            ("/", &[("host", "a b")]),
            ("/", &[("host", "localhost"), ("host", "evil.example")]),
            ("http://evil.example/", &[("host", "localhost")]),
            ("http://localhost/", &[("host", "evil.example")]),
            ("http://localhost@evil.example/", &[]),
        ] {
            assert!(host(target, headers).is_err(), "{target} {headers:?}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_says_which_host_and_scheme_were_asked_for() {
        let headers = [
            ("host", "127.0.0.1:3000"),
            ("x-forwarded-host", "evil.example, cloud.example"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(address_of("10.0.0.1", "/", &headers), Ok(("cloud.example".into(), Some(true))));
        assert_eq!(address_of("10.0.0.2", "/", &headers), Ok(("127.0.0.1:3000".into(), None)));
        assert_eq!(address_of("nobody", "/", &headers), Ok(("127.0.0.1:3000".into(), None)));
        assert_eq!(address_of("10.0.0.1", "/", &headers[..1]), Ok(("127.0.0.1:3000".into(), None)));
    }

    #[test]
    fn pages_under_the_public_url_or_the_requested_address_are_our_own() {
        let network = Network::new([127, 0, 0, 1].into(), &["https://cloud.example".into()], &[]);
        let is_own = |host, https, origin| {
            let address = RequestedAddress { authority: Authority::parse(host).unwrap(), https };
            address.is_same_site(&Origin::parse(origin).unwrap(), &network)
        };
        assert!(is_own("127.0.0.1:3000", None, "https://cloud.example"));
        assert!(is_own("localhost:3000", None, "http://localhost:3000"));
        assert!(is_own("localhost", Some(true), "https://localhost"));
        assert!(!is_own("localhost:3000", Some(true), "http://localhost:3000"));
        assert!(!is_own("localhost:3000", None, "http://localhost:4000"));
        assert!(!is_own("cloud.example", None, "http://cloud.example"));
        assert!(!is_own("cloud.example", None, "https://cloud.example:8443"));
        assert!(!is_own("cloud.example", None, "https://evil.example"));
    }
}
