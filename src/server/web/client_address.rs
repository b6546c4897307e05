//! The address of the client that a request comes from, also behind proxies.
//!
//! Every request that arrives over a connection has a [`ClientAddress`] in its extensions. Handlers take it as an extractor,
//! middleware calls [`ClientAddress::of`], and server functions call
//! [`request_context::client_address`](super::request_context::client_address).
//!
//! It is the address at the other end of the connection, unless that is a trusted proxy (`--trusted-proxy`): then it is the
//! last address in `X-Forwarded-For` that no trusted proxy has. Whatever is left of it may be invented by the client.

use crate::{
    model::ApiError,
    server::{
        network::{self, Network},
        state::AppState,
    },
};
use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{Extensions, HeaderMap, request::Parts},
    middleware::Next,
    response::Response,
};
use std::net::{IpAddr, SocketAddr};

/// The client's address; an IPv4 address that is mapped into IPv6 is an IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// `None` if the request did not arrive over a connection, as in tests.
    pub fn of(extensions: &Extensions) -> Option<IpAddr> {
        extensions.get::<Self>().map(|client| client.0)
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get().copied().ok_or_else(|| super::super::internal("a request without a peer"))
    }
}

/// Adds the [`ClientAddress`] to each request.
pub async fn find_client_address(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let client = client_address(peer.ip(), request.headers(), &state.network);
        tracing::debug!(%client, method = %request.method(), path = request.uri().path(), "request");
        request.extensions_mut().insert(ClientAddress(client));
    }
    next.run(request).await
}

fn client_address(peer: IpAddr, headers: &HeaderMap, network: &Network) -> IpAddr {
    let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    let mut entries = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    let mut client = peer.to_canonical();
    while network.trusts(client)
        && let Some(forwarded) = entries.next().and_then(network::parse_address)
    {
        client = forwarded;
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::network::parse_network;
    use proptest::prelude::*;

    fn client(peer: &str, forwarded_for: &[&str]) -> String {
        let trusted = ["127.0.0.1", "10.0.0.0/8"].map(|network| parse_network(network).unwrap());
        let network = Network::new([127, 0, 0, 1].into(), &[], &trusted);
        let mut headers = HeaderMap::new();
        for line in forwarded_for {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        client_address(peer.parse().unwrap(), &headers, &network).to_string()
    }

    #[test]
    fn a_client_without_a_proxy_is_its_peer_whatever_it_says() {
        assert_eq!(client("192.0.2.7", &[]), "192.0.2.7");
        assert_eq!(client("192.0.2.7", &["198.51.100.1"]), "192.0.2.7");
        assert_eq!(client("::ffff:192.0.2.7", &["127.0.0.1"]), "192.0.2.7");
    }

    #[test]
    fn behind_trusted_proxies_it_is_the_last_address_that_is_none_of_them() {
        assert_eq!(client("127.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(client("::ffff:127.0.0.1", &["192.0.2.7:4711"]), "192.0.2.7");
        assert_eq!(client("127.0.0.1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(client("127.0.0.1", &["192.0.2.7, 10.1.1.1"]), "192.0.2.7");
        assert_eq!(client("127.0.0.1", &["192.0.2.7", "10.1.1.1 , 10.2.2.2"]), "192.0.2.7");
        assert_eq!(client("127.0.0.1", &["10.1.1.1"]), "10.1.1.1");
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
    }

    #[test]
    fn what_a_client_invents_is_left_of_what_proxies_add() {
        assert_eq!(client("127.0.0.1", &["127.0.0.1, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(client("127.0.0.1", &["10.1.1.1", "192.0.2.7"]), "192.0.2.7");
        assert_eq!(client("127.0.0.1", &["192.0.2.7, unknown"]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &["192.0.2.7, , 10.1.1.1"]), "10.1.1.1");
    }

    proptest! {
        #[test]
        fn no_header_changes_the_address_of_an_untrusted_peer(line in "[ -~]{0,80}") {
            prop_assert_eq!(client("192.0.2.7", &[&line]), "192.0.2.7");
        }

        #[test]
        fn no_prefix_changes_what_a_trusted_proxy_adds(line in "[ -~]{0,80}") {
            prop_assert_eq!(client("127.0.0.1", &[&format!("{line}, 192.0.2.7")]), "192.0.2.7");
        }
    }
}
