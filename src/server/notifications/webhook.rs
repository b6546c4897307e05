//! Posts a message to a webhook, signed according to "Standard Webhooks".

use crate::model::UtcMillis;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{
    Client, ClientBuilder, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_TYPE, RETRY_AFTER},
    redirect,
};
use rustls::CertificateError;
use sha2::Sha256;
use std::{
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// How long an attempt takes at most.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Why an attempt failed, for the user; and how long to wait (`Retry-After`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub text: String,
    pub retry_after_secs: Option<u32>,
}

impl From<&str> for Refused {
    fn from(text: &str) -> Self {
        Self { text: text.into(), retry_after_secs: None }
    }
}

/// `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`; the timestamp in seconds.
pub fn signature(secret: &[u8], id: &str, timestamp_secs: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{timestamp_secs}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
}

/// What is posted, and where.
pub struct Post<'a> {
    pub url: &'a str,
    /// Into the server's own network, too.
    pub anywhere: bool,
    /// The user may read what a receiver answers to an error.
    pub quotes: bool,
    pub secret: &'a [u8],
    pub id: &'a str,
    pub now: UtcMillis,
    pub body: String,
}

/// Posts to webhooks.
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Anywhere.
    open: Client,
    /// To public addresses only.
    guarded: Client,
}

impl Webhooks {
    /// On a machine that knows no authorities no certificate is trusted; what does without goes on.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        // Fails only when there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            Client::builder()
                .timeout(TIMEOUT)
                .redirect(redirect::Policy::none())
                .no_proxy()
                .user_agent(concat!("twarga-cloud/", env!("CARGO_PKG_VERSION")))
        };
        let both = |roots: fn(ClientBuilder) -> ClientBuilder| {
            let open = roots(builder()).build()?;
            let guarded = roots(builder()).dns_resolver(Arc::new(PublicOnly)).build()?;
            Ok(Self { open, guarded })
        };
        both(|systems| systems).or_else(|error: reqwest::Error| {
            tracing::warn!(
                ?error,
                "no webhook over https will succeed: install the package ca-certificates, then restart"
            );
            both(|none| none.tls_certs_only([]))
        })
    }

    /// Of an answer only the status is read, and the first line where it is an error.
    ///
    /// # Errors
    /// Why it is not taken for received.
    pub async fn post(&self, post: Post<'_>) -> Result<(), Refused> {
        let Post { url, anywhere, quotes, secret, id, now, body } = post;
        let url = Url::parse(url).map_err(|_| Refused::from("The address is invalid."))?;
        let literal: Option<IpAddr> =
            url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if !anywhere && literal.is_some_and(|address| !is_public(address)) {
            return Err(Refused::from(WITHIN));
        }
        let client = if anywhere { &self.open } else { &self.guarded };
        let timestamp_secs = now.0.div_euclid(1000);
        let mut answer = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp_secs.to_string())
            .header("webhook-signature", signature(secret, id, timestamp_secs, &body))
            .body(body)
            .send()
            .await
            .map_err(|error| Refused::from(&*words(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let retry_after =
            answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let text = if status.is_redirection() {
            format!("The receiver answered {status}. Redirects are not followed: enter the final address.")
        } else {
            match if quotes { first_line(&mut answer).await } else { None } {
                Some(reason) => format!("The receiver answered {status}: {reason}"),
                None => format!("The receiver answered {status}."),
            }
        };
        Err(Refused { text, retry_after_secs: retry_after })
    }
}

/// How much of an error's answer is read, and shown.
const REASON_BYTES: usize = 2048;
const REASON_CHARS: usize = 200;

/// The first line of an answer that says something.
async fn first_line(answer: &mut Response) -> Option<String> {
    let mut read = Vec::new();
    while read.len() < REASON_BYTES {
        match answer.chunk().await {
            Ok(Some(chunk)) => read.extend_from_slice(&chunk),
            // What came before the connection was lost may say enough.
            Ok(None) | Err(_) => break,
        }
    }
    read.truncate(REASON_BYTES);
    let text = String::from_utf8_lossy(&read);
    let line = text.split(['\n', '\r']).map(str::trim).find(|line| !line.is_empty())?;
    Some(plain(line, REASON_CHARS))
}

/// At most `max_chars`, without control characters.
pub(super) fn plain(text: &str, max_chars: usize) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(max_chars + 1).collect();
    if let Some((cut, _)) = shown.char_indices().nth(max_chars) {
        shown.truncate(cut);
        shown.push('…');
    }
    shown
}

const WITHIN: &str = "The address leads into the server's own network. Only admins' webhooks may, or everyone's \
                      where the server is started with --private-webhooks.";

/// Without the address, which may hold a token.
fn words(error: &reqwest::Error) -> String {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<Within>() {
            return WITHIN.into();
        }
        if let Some(rustls::Error::InvalidCertificate(error)) = error.downcast_ref() {
            return words_of_certificate(error).into();
        }
        // What an I/O error wraps is not its source: that is the source of what it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = wrapped.map(|wrapped| wrapped as &dyn Error).or_else(|| error.source());
    }
    if error.is_timeout() {
        format!("The receiver did not answer within {} s.", TIMEOUT.as_secs())
    } else if error.is_connect() {
        "The receiver cannot be reached: no such host, no connection, or no TLS. Check the address, and whether the \
         receiver runs."
            .into()
    } else {
        "The connection to the receiver was lost.".into()
    }
}

fn words_of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "The receiver's certificate has expired. Renew it there."
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "The receiver's certificate is for another host. Enter the address with the name that it is for."
        }
        _ => {
            "The receiver's certificate is not trusted. Use one of a public authority there, or have this server's \
             admin add the one that signed it to the system's certificates and restart the server."
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no public address")]
struct Within;

/// Resolves names to public addresses only, at the moment of connecting: a name that led elsewhere before does not
/// help.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<_> = found.into_iter().filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(Within.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public Internet, as far as the special-purpose registries of IANA say.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = a == 0
        || a == 127
        || a >= 224
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19));
    !is_special
}

/// Only 2000::/3 is given out; what of it wraps or leads to IPv4 is left out as well.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    (0x2000..0x4000).contains(&first)
        && first != 0x2002
        && !(first == 0x2001 && (second < 0x0200 || second == 0x0db8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_the_standards_example_says() {
        let secret = BASE64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed =
            signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_within_is_not_public() {
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.20.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450::1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
