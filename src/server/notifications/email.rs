//! Sends a message by e-mail, through the configured SMTP server.

use crate::server::notifications::webhook::{Refused, TIMEOUT};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::authentication::Credentials,
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
    #[error("--mail-from is no e-mail address; with --smtp-url there must be one")]
    From,
    #[error(
        "no certificate of an SMTP server can be checked, as this machine knows no authority that signs any; install \
         the package ca-certificates"
    )]
    Tls,
}

/// An SMTP client.
#[derive(Clone)]
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mail {
    /// `url` is `smtps://user@host:465`, or `smtp://user@host:587`, which turns to TLS before anything is said;
    /// only to this very host it need not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(url: &str, from: &str, password: Option<String>) -> Result<Self, MailError> {
        type Transport = AsyncSmtpTransport<Tokio1Executor>;
        let url = Url::parse(url).map_err(|_| MailError::Address)?;
        // An IPv6 address is in brackets in an URL alone.
        let host = url.host_str().ok_or(MailError::Address)?.trim_matches(['[', ']']);
        if url.password().is_some() {
            return Err(MailError::Password);
        }
        let is_here = ["localhost", "127.0.0.1", "::1"].contains(&host);
        let builder = match url.scheme() {
            "smtps" => Transport::relay(host).map_err(|_| MailError::Tls)?,
            "smtp" if is_here => Transport::builder_dangerous(host),
            "smtp" => Transport::starttls_relay(host).map_err(|_| MailError::Tls)?,
            _ => return Err(MailError::Address),
        };
        let mut builder = builder.timeout(Some(TIMEOUT));
        if let Some(port) = url.port() {
            builder = builder.port(port);
        }
        if !url.username().is_empty() {
            let user = url.username().replace("%40", "@");
            builder = builder.credentials(Credentials::new(user, password.unwrap_or_default()));
        }
        let from = from.parse().map_err(|_| MailError::From)?;
        Ok(Self { transport: builder.build(), from })
    }

    /// # Errors
    /// Why it was not sent.
    pub async fn send(&self, to: &str, id: &str, text: &str) -> Result<(), Refused> {
        let to: Mailbox =
            to.parse().map_err(|_| Refused::from("The account's e-mail address is invalid."))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .message_id(Some(format!("<{id}@twarga-cloud>")))
            .subject(subject(text))
            .header(ContentType::TEXT_PLAIN)
            .body(format!(
                "{text}\n\n-- \nTwarga Cloud. Choose what you are notified about on your account page.\n"
            ))
            .map_err(|_| Refused::from("The message could not be written as an e-mail."))?;
        let refused = |error: lettre::transport::smtp::Error| {
            Refused::from(if error.is_permanent() {
                "The mail server refused the message or the sign-in. Details are in the server log."
            } else {
                "The mail server cannot be reached, or did not take the message. Details are in the server log."
            })
        };
        self.transport.send(message).await.map(drop).map_err(|error| {
            tracing::warn!(%error, "a mail was not sent");
            refused(error)
        })
    }
}

/// The first sentence, no longer than a line.
fn subject(text: &str) -> String {
    let sentence = text.split_inclusive(['.', ';']).next().unwrap_or(text).trim_end_matches(['.', ';']);
    sentence.chars().filter(|c| !c.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(url: &str, from: &str) -> Option<MailError> {
        Mail::new(url, from, None).err()
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
}
