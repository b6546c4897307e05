//! How the server is reached: under which names and addresses, and through which proxies.
//!
//! Pure, except that the addresses of this machine are looked up.

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// A host name or address with an optional port, as in `Host`: `cloud.example.org`, `[::1]:3000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    pub host: Host,
    pub port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// In lower case, without a dot at its end.
    Name(String),
    /// IPv4 addresses that are mapped into IPv6 are IPv4 addresses here.
    Address(IpAddr),
}

impl Authority {
    /// `None` for what is no host name or address, such as a text with user name, path or zone.
    pub fn parse(text: &str) -> Option<Self> {
        const MAX_NAME_BYTES: usize = 253;
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (Host::Address(IpAddr::V6(address.parse().ok()?).to_canonical()), port)
        } else {
            let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
            let name = name.strip_suffix('.').unwrap_or(name);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let is_whole = name.split('.').all(|label| !label.is_empty());
            if !is_whole || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_plain) {
                return None;
            }
            match name.parse::<Ipv4Addr>() {
                Ok(address) => (Host::Address(address.into()), port),
                Err(_) => (Host::Name(name.to_ascii_lowercase()), port),
            }
        };
        // A colon without a port is allowed.
        let port = match port.filter(|port| !port.is_empty()) {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
            Some(_) => return None,
            None => None,
        };
        Some(Self { host, port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Host {
    /// Whether it leads to the machine of who uses it. Nobody else can give these names another address.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Self::Address(address) => address.is_loopback(),
        }
    }
}

/// Scheme, host and port, as in `Origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub https: bool,
    pub authority: Authority,
}

impl Origin {
    /// `None` for other schemes, and for `null`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self { https, authority: Authority::parse(authority)? })
    }

    fn port(&self) -> u16 {
        self.authority.port.unwrap_or(if self.https { 443 } else { 80 })
    }

    pub fn is_same(&self, other: &Self) -> bool {
        self.https == other.https
            && self.authority.host == other.authority.host
            && self.port() == other.port()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }
}

/// What `--addr`, `--public-url` and `--trusted-proxy` say.
#[derive(Debug, Clone)]
pub struct Network {
    listening: IpAddr,
    public_urls: Vec<Origin>,
    trusted_proxies: Vec<IpNet>,
}

impl Network {
    /// `public_urls` without a path; what is none is left out.
    pub fn new(listening: IpAddr, public_urls: &[String], trusted_proxies: &[IpNet]) -> Self {
        Self {
            listening,
            public_urls: public_urls.iter().filter_map(|url| Origin::parse(url)).collect(),
            trusted_proxies: trusted_proxies.to_vec(),
        }
    }

    /// The same for a server that listens on another address.
    #[must_use]
    pub fn listening_on(&self, address: IpAddr) -> Self {
        Self { listening: address, ..self.clone() }
    }

    /// Where users find the pages, if it is set.
    pub fn public_url(&self) -> Option<&Origin> {
        self.public_urls.first()
    }

    pub fn is_public_url(&self, origin: &Origin) -> bool {
        self.public_urls.iter().any(|url| url.is_same(origin))
    }

    pub fn is_public_host(&self, host: &Host) -> bool {
        self.public_urls.iter().any(|url| url.authority.host == *host)
    }

    /// Whether a request for this host is meant for this server. Ports do not matter: they may be forwarded.
    pub fn serves(&self, host: &Host) -> bool {
        if host.is_loopback() || self.is_public_host(host) {
            return true;
        }
        let Host::Address(address) = host else { return false };
        match self.listening.to_canonical() {
            // Shown as such by who starts the server, and so opened as such.
            any if any.is_unspecified() && address.is_unspecified() => true,
            IpAddr::V4(any) if any.is_unspecified() => address.is_ipv4() && is_of_this_machine(*address),
            any if any.is_unspecified() => is_of_this_machine(*address),
            own => own == *address,
        }
    }

    /// Whether requests from this address come from a proxy whose `X-Forwarded-…` headers count.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&peer))
    }
}

fn is_of_this_machine(address: IpAddr) -> bool {
    let Ok(interfaces) = getifaddrs() else { return false };
    interfaces.filter_map(|interface| interface.address).any(|own| {
        let v4 = own.as_sockaddr_in().map(|own| IpAddr::V4(own.ip()));
        v4.or_else(|| own.as_sockaddr_in6().map(|own| IpAddr::V6(own.ip()))) == Some(address)
    })
}

/// A network such as `10.0.0.0/8`, or a single address.
///
/// # Errors
/// What is allowed.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let single = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    single
        .or_else(|_| text.parse())
        .map_err(|_| "allowed is an address or a network, such as 127.0.0.1 or 10.0.0.0/8".into())
}

/// An address as proxies write it: alone, with a port, or in brackets.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .or_else(|| Some(text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.into()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::SockaddrIn;
    use proptest::prelude::*;

    fn network(listening: &str, public_urls: &[&str], trusted_proxies: &[&str]) -> Network {
        let public_urls: Vec<_> = public_urls.iter().map(|url| (*url).to_owned()).collect();
        let trusted: Vec<_> = trusted_proxies.iter().map(|network| parse_network(network).unwrap()).collect();
        Network::new(listening.parse().unwrap(), &public_urls, &trusted)
    }

    fn serves(network: &Network, host: &str) -> bool {
        Authority::parse(host).is_some_and(|authority| network.serves(&authority.host))
    }

    #[test]
    fn loopback_names_are_served_whatever_the_server_listens_on() {
        for listening in ["127.0.0.1", "192.0.2.7", "0.0.0.0", "::"] {
            let network = network(listening, &[], &[]);
            for host in [
                "localhost",
                "LOCALHOST:3000",
                "localhost.:3000",
                "app.localhost",
                "127.0.0.1:3000",
                "127.3.4.5",
                "[::1]",
                "[::1]:3000",
                "[::ffff:127.0.0.1]:3000",
                "localhost:",
            ] {
                assert!(serves(&network, host), "{host} on {listening}");
            }
        }
    }

    #[test]
    fn names_that_can_lead_anywhere_are_not() {
        for listening in ["127.0.0.1", "0.0.0.0", "::"] {
            let network = network(listening, &["https://cloud.example.org"], &[]);
            for host in [
                "evil.example",
                "localhost.evil.example",
                "127.0.0.1.evil.example",
                "notlocalhost",
                "cloud.example.org.evil.example",
                "evil-cloud.example.org",
                "198.51.100.77",
                "[2001:db8::77]",
                "2130706433",
                "127.1",
                "",
                "localhost@evil.example",
                "evil.example#localhost",
                "localhost:3000:evil",
                "localhost:+80",
                "localhost:99999",
                "[::1",
                "[::1]evil",
                "[::1%25lo]",
                "..",
            ] {
                assert!(!serves(&network, host), "{host} on {listening}");
            }
        }
    }

    #[test]
    fn a_public_url_is_served_under_any_port_and_case() {
        let network = network("127.0.0.1", &["https://cloud.example.org", "http://10.1.2.3:3000"], &[]);
        for host in ["cloud.example.org", "CLOUD.example.org.:8443", "10.1.2.3", "10.1.2.3:3000"] {
            assert!(serves(&network, host), "{host}");
        }
        assert_eq!(network.public_url().unwrap().to_string(), "https://cloud.example.org");
    }

    #[test]
    fn an_address_is_served_if_the_server_listens_on_it() {
        let one = network("192.0.2.7", &[], &[]);
        assert!(serves(&one, "192.0.2.7:3000") && !serves(&one, "192.0.2.8"));
        assert!(serves(&network("::ffff:192.0.2.7", &[], &[]), "192.0.2.7"));
        let own = getifaddrs().unwrap().find_map(|interface| {
            interface.address?.as_sockaddr_in().map(SockaddrIn::ip).filter(|own| !own.is_loopback())
        });
        for any in ["0.0.0.0", "::"] {
            let any = network(any, &[], &[]);
            assert!(serves(&any, "0.0.0.0:3000"));
            assert!(own.is_none_or(|own| serves(&any, &own.to_string())));
        }
        assert!(own.is_none_or(|own| !serves(&network("127.0.0.1", &[], &[]), &own.to_string())));
    }

    #[test]
    fn proxies_are_trusted_by_network_or_address() {
        let network = network("127.0.0.1", &[], &["127.0.0.1", "10.0.0.0/8", "fd00::/8"]);
        for peer in ["127.0.0.1", "::ffff:127.0.0.1", "10.9.8.7", "::ffff:10.9.8.7", "fd00::1"] {
            assert!(network.trusts(peer.parse().unwrap()), "{peer}");
        }
        for peer in ["127.0.0.2", "11.0.0.1", "::1", "2001:db8::1"] {
            assert!(!network.trusts(peer.parse().unwrap()), "{peer}");
        }
        assert!(parse_network("cloud").is_err() && parse_network("10.0.0.0/33").is_err());
    }

    #[test]
    fn origins_differ_in_scheme_host_and_port() {
        let origin = |text| Origin::parse(text).unwrap();
        assert!(origin("https://cloud").is_same(&origin("https://CLOUD.:443")));
        for other in ["http://cloud", "https://cloud:8443", "https://cloud.example"] {
            assert!(!origin("https://cloud").is_same(&origin(other)), "{other}");
        }
        for none in ["null", "", "ftp://cloud", "https://", "cloud", "https://cloud/path"] {
            assert!(Origin::parse(none).is_none(), "{none}");
        }
    }

    #[test]
    fn a_name_has_no_empty_label() {
        for none in ["", ".", "..", "cloud..", ".cloud", "cloud..example", ":80", ".:80"] {
            assert_eq!(Authority::parse(none), None, "{none}");
        }
        assert_eq!(Authority::parse("cloud.example."), Authority::parse("cloud.example"));
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_written_and_parsed_again(text in "\\PC*|[a-z0-9.:\\[\\]-]*") {
            if let Some(authority) = Authority::parse(&text) {
                prop_assert_eq!(Authority::parse(&authority.to_string()), Some(authority));
            }
        }
    }
}
