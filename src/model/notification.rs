use super::{ApiError, UtcMillis};
use serde::{Deserialize, Serialize};

/// A notification channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Signed HTTP POST requests to an address of the user's.
    Webhook,
    /// Messages to the account's e-mail address.
    Email,
}

impl Channel {
    /// The name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Email => "email",
        }
    }

    /// The inverse of [`Self::as_str`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Webhook, Self::Email].into_iter().find(|channel| channel.as_str() == text)
    }

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Email => "e-mail",
        }
    }
}

/// The progress of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Waiting for its first or next attempt.
    Queued,
    /// Accepted by the receiver.
    Sent,
    /// The last attempt failed; no more retries.
    Failed,
    /// No longer relevant.
    Dropped,
}

impl DeliveryState {
    const ALL: [Self; 4] = [Self::Queued, Self::Sent, Self::Failed, Self::Dropped];

    /// The name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }

    /// The inverse of [`Self::as_str`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A message and the state of its delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The delivery's id.
    pub id: i64,
    /// How it is sent.
    pub channel: Channel,
    /// The message.
    pub text: String,
    /// When it was queued.
    pub queued_at: UtcMillis,
    /// The earliest time of the next attempt.
    pub due_at: UtcMillis,
    /// Attempts so far.
    pub attempts: u32,
    /// Its progress.
    pub state: DeliveryState,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// An account's notification settings, visible to its user only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NotificationSettings {
    /// The webhook address; `None` if there is no webhook.
    pub webhook_url: Option<String>,
    /// `whsec_…`, to verify the signatures with.
    pub webhook_secret: Option<String>,
    /// The account's e-mail address.
    pub email: String,
    /// Whether notifications are sent by e-mail, once the address is confirmed.
    pub email_is_on: bool,
    /// Whether the user has opened the link that was sent to the address, without which nothing else is sent there.
    #[serde(default)]
    pub email_is_confirmed: bool,
    /// Whether the server can send mail.
    pub mail_is_set_up: bool,
    /// Whether mails can have links to the server, which confirming an address needs.
    #[serde(default)]
    pub links_are_set_up: bool,
    /// For admins: notify about all VMs.
    pub of_all: bool,
    /// The newest ten, newest first.
    pub deliveries: Vec<Delivery>,
}

const WEBHOOK_URL_MAX_CHARS: usize = 500;

/// Validates a webhook address; runs in the browser and on the server.
///
/// # Errors
/// `Invalid` if `url` is not a valid webhook address.
pub fn check_webhook_url(url: &str) -> Result<(), ApiError> {
    let wrong = |text: &str| Err(ApiError::invalid_field("url", text));
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(authority) = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default()) else {
        return wrong("The webhook address must start with https:// or http://.");
    };
    if url.len() > WEBHOOK_URL_MAX_CHARS || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return wrong("The webhook address can have at most 500 characters and no spaces.");
    }
    if authority.is_empty() {
        return wrong("The webhook address must name a host.");
    }
    if authority.contains('@') {
        return wrong("Remove the user name and password from the address. Messages are signed instead.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhooks_address_is_http_without_secrets() {
        for url in ["https://hooks.example.org/a?b=c", "http://10.0.0.7:8080/"] {
            assert_eq!(check_webhook_url(url), Ok(()), "{url}");
        }
        for url in
            ["", "ftp://a", "https://", "https:///x", "https://me:secret@a/", "https://a b/", "file:///etc"]
        {
            assert!(check_webhook_url(url).is_err(), "{url}");
        }
        assert!(check_webhook_url(&format!("https://a/{}", "x".repeat(500))).is_err());
    }
}
