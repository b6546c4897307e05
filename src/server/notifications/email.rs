//! Sends a message by e-mail, through the configured SMTP server.

use crate::server::notifications::webhook::{Refused, TIMEOUT, plain};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};
use reqwest::Url;

/// Where the SMTP server's password comes from: others see what a process was started with.
pub const PASSWORD_VARIABLE: &str = "TWARGA_SMTP_PASSWORD";

/// What is wrong with how mail is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    #[error("--smtp-url is smtps://user@host:465 or smtp://user@host:587, the user and the port if need be")]
    Address,
    #[error("--smtp-url holds a password; give it in the environment variable TWARGA_SMTP_PASSWORD instead")]
    Password,
    #[error("--smtp-url holds a user name that is not percent-encoded UTF-8")]
    User,
    #[error("--smtp-plaintext is for an smtp:// server that needs no sign-in, and excludes --smtp-ca-file")]
    Plaintext,
    #[error("--smtp-ca-file holds no certificate in PEM")]
    Authority,
    #[error("--mail-from is no e-mail address; with --smtp-url there must be one")]
    From,
    #[error(
        "no certificate of an SMTP server can be checked, as this machine knows no authority that signs any; install \
         the package ca-certificates"
    )]
    Tls,
}

/// How the connection to the SMTP server is protected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum MailSecurity {
    /// TLS, with a certificate that an authority of the system signed.
    #[default]
    System,
    /// TLS, with a certificate that one of these authorities (PEM) signed.
    Authorities(Vec<u8>),
    /// No TLS.
    Plaintext,
}

/// Only a bare address: `a<victim@example.org>` would be the victim's.
fn recipient(address: &str) -> Result<Mailbox, Refused> {
    let address = address.parse::<Address>();
    address
        .map(|address| Mailbox::new(None, address))
        .map_err(|_| Refused::from("The account's e-mail address is invalid."))
}

/// An SMTP client.
#[derive(Clone)]
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mail {
    /// `url` is `smtps://user@host:465`, or `smtp://user@host:587`, which turns to TLS before anything is said;
    /// only to this very host it need not, or if `security` says so.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(
        url: &str,
        from: &str,
        password: Option<String>,
        security: &MailSecurity,
    ) -> Result<Self, MailError> {
        type Transport = AsyncSmtpTransport<Tokio1Executor>;
        let url = Url::parse(url).map_err(|_| MailError::Address)?;
        // An IPv6 address is in brackets in an URL alone.
        let host = url.host_str().ok_or(MailError::Address)?.trim_matches(['[', ']']);
        if url.password().is_some() {
            return Err(MailError::Password);
        }
        let is_here = ["localhost", "127.0.0.1", "::1"].contains(&host);
        let builder = match (url.scheme(), security) {
            ("smtp", MailSecurity::Plaintext) if is_here || url.username().is_empty() => {
                Transport::builder_dangerous(host)
            }
            ("smtp" | "smtps", MailSecurity::Plaintext) => return Err(MailError::Plaintext),
            ("smtps", MailSecurity::Authorities(pem)) => {
                Transport::relay(host).map_err(|_| MailError::Tls)?.tls(Tls::Wrapper(trusting(host, pem)?))
            }
            ("smtp", MailSecurity::Authorities(pem)) => Transport::starttls_relay(host)
                .map_err(|_| MailError::Tls)?
                .tls(Tls::Required(trusting(host, pem)?)),
            ("smtps", MailSecurity::System) => Transport::relay(host).map_err(|_| MailError::Tls)?,
            ("smtp", MailSecurity::System) if is_here => Transport::builder_dangerous(host),
            ("smtp", MailSecurity::System) => Transport::starttls_relay(host).map_err(|_| MailError::Tls)?,
            _ => return Err(MailError::Address),
        };
        let mut builder = builder.timeout(Some(TIMEOUT));
        if let Some(port) = url.port() {
            builder = builder.port(port);
        }
        if !url.username().is_empty() {
            let user = percent_decoded(url.username()).ok_or(MailError::User)?;
            builder = builder.credentials(Credentials::new(user, password.unwrap_or_default()));
        }
        let from = from.parse().map_err(|_| MailError::From)?;
        Ok(Self { transport: builder.build(), from })
    }

    /// # Errors
    /// Why it was not sent.
    pub async fn send(&self, to: &str, id: &str, text: &str, link: Option<&str>) -> Result<(), Refused> {
        let to = recipient(to)?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .message_id(Some(format!("<{id}@twarga-cloud>")))
            .subject(subject(text))
            .header(ContentType::TEXT_PLAIN)
            .body(format!(
                "{text}\n{}\n-- \nTwarga Cloud. Choose what you are notified about on your account page.\n",
                link.map(|link| format!("\n{link}\n")).unwrap_or_default()
            ))
            .map_err(|_| Refused::from("The message could not be written as an e-mail."))?;
        self.transport.send(message).await.map(drop).map_err(|error| {
            tracing::warn!(%error, "a mail was not sent");
            let what = if error.is_permanent() {
                "The mail server rejected the message or the sign-in"
            } else {
                "The mail server cannot be reached, or did not accept the message"
            };
            Refused::from(&*format!("{what}: {}", plain(&error.to_string(), CAUSE_CHARS)))
        })
    }
}

const CAUSE_CHARS: usize = 200;

/// Trusts whom the authorities of `pem` signed, and nobody else.
fn trusting(host: &str, pem: &[u8]) -> Result<TlsParameters, MailError> {
    // An empty file would trust nobody, which shows only when mail is sent.
    let has_one = pem.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----");
    let certificate = Certificate::from_pem(pem).ok().filter(|_| has_one).ok_or(MailError::Authority)?;
    TlsParameters::builder(host.to_owned())
        .certificate_store(CertificateStore::None)
        .add_root_certificate(certificate)
        .build()
        .map_err(|_| MailError::Authority)
}

/// `me%40example.org` → `me@example.org`; a plus is a plus.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            rest = after;
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            bytes.push(digit(digits[0])? * 16 + digit(digits[1])?);
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
}

const SUBJECT_CHARS: usize = 120;

/// The first sentence, no longer than a line, cut between words.
fn subject(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    // A point within a number ends no sentence.
    let ends = |(at, c): &(usize, char)| {
        matches!(c, '.' | ';') && line[at + 1..].chars().next().is_none_or(char::is_whitespace)
    };
    let end = line.char_indices().find(ends).map_or(line.len(), |(at, _)| at);
    let sentence: String = line[..end].chars().filter(|c| !c.is_control()).collect();
    match sentence.char_indices().nth(SUBJECT_CHARS) {
        None => sentence,
        Some((cut, _)) => {
            let short = &sentence[..cut];
            format!("{}…", short.rsplit_once(' ').map_or(short, |(words, _)| words))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(url: &str, from: &str) -> Option<MailError> {
        Mail::new(url, from, None, &MailSecurity::System).err()
    }

    #[test]
    fn mail_without_tls_needs_a_switch_and_excludes_a_sign_in() {
        let plain = |url| Mail::new(url, "a@b.c", None, &MailSecurity::Plaintext).err();
        assert_eq!(plain("smtp://relay.lan:25"), None);
        assert_eq!(plain("smtp://me@127.0.0.1"), None);
        assert_eq!(plain("smtp://me@relay.lan"), Some(MailError::Plaintext));
        assert_eq!(plain("smtps://relay.lan"), Some(MailError::Plaintext));
    }

    #[test]
    fn mail_goes_to_a_bare_address_only() {
        assert_eq!(
            recipient("ada@example.org").ok().map(|to| to.to_string()).as_deref(),
            Some("ada@example.org")
        );
        for address in ["a<victim@example.org>", "a <victim@example.org>", "a,victim@example.org", "victim"] {
            assert!(recipient(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_file_without_an_authority_is_rejected() {
        for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n"] {
            let security = MailSecurity::Authorities(pem.into());
            let wrong = Mail::new("smtps://relay.lan", "a@b.c", None, &security).err();
            assert_eq!(wrong, Some(MailError::Authority), "{pem}");
        }
    }

    #[test]
    fn every_percent_escape_of_a_user_name_is_decoded() {
        for (encoded, decoded) in [
            ("me%40example.org", Some("me@example.org")),
            ("a%2Bb%3a%25c+d", Some("a+b:%c+d")),
            ("J%C3%BCrgen", Some("Jürgen")),
            ("50%", None),
            ("%zz", None),
            ("%ff", None),
            ("a%0d%0ab", None),
        ] {
            assert_eq!(percent_decoded(encoded).as_deref(), decoded, "{encoded}");
        }
    }

    #[test]
    fn how_mail_is_set_up_is_checked_at_the_start() {
        assert_eq!(wrong("smtp://127.0.0.1:2525", "cloud@example.org"), None);
        assert_eq!(wrong("smtps://me%40example.org@mail.example.org", "Cloud <cloud@example.org>"), None);
        assert_eq!(wrong("smtps://me:secret@mail.example.org", "a@b.c"), Some(MailError::Password));
        assert_eq!(wrong("https://mail.example.org", "a@b.c"), Some(MailError::Address));
        assert_eq!(wrong("mail.example.org", "a@b.c"), Some(MailError::Address));
        assert_eq!(wrong("smtps://mail.example.org", "nobody"), Some(MailError::From));
    }

    #[test]
    fn a_subject_is_one_line() {
        assert_eq!(
            subject("db's CPU has been at 90 % or more for 60 s; 93 % now."),
            "db's CPU has been at 90 % or more for 60 s"
        );
        assert!(!subject("a\nb").contains('\n'));
    }

    #[test]
    fn a_subject_ends_with_a_sentence_and_never_inside_a_number() {
        for (text, expected) in [
            (
                "The host's load has been at 3.5 or more for 60 s; 4.2 now.",
                "The host's load has been at 3.5 or more for 60 s",
            ),
            ("db's network down is at 0.04 MB/s. Look.", "db's network down is at 0.04 MB/s"),
            ("Version 1.2.3 is out", "Version 1.2.3 is out"),
        ] {
            assert_eq!(subject(text), expected);
        }
        let long = subject(&"value 3.25 ".repeat(40));
        assert!(long.chars().count() <= SUBJECT_CHARS + 1, "{long}");
        assert!(long.ends_with("3.25…") || long.ends_with("value…"), "{long}");
    }
}
