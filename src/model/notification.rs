use super::{ApiError, UtcMillis};
use serde::{Deserialize, Serialize};

/// A way to reach somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Webhook,
    Email,
}

impl Channel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Email => "email",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Webhook, Self::Email].into_iter().find(|channel| channel.as_str() == text)
    }

    /// What a person reads.
    pub fn label(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Email => "e-mail",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Queued,
    Sent,
    Failed,
    /// There was no reason any more to send it.
    Dropped,
}

impl DeliveryState {
    const ALL: [Self; 4] = [Self::Queued, Self::Sent, Self::Failed, Self::Dropped];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A message, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub id: i64,
    pub channel: Channel,
    pub text: String,
    pub queued_at: UtcMillis,
    pub due_at: UtcMillis,
    pub attempts: u32,
    pub state: DeliveryState,
    /// Why the last attempt did not succeed.
    pub error: Option<String>,
}

/// How an account is told of alerts. Only its own person gets it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NotificationSettings {
    pub webhook_url: Option<String>,
    /// `whsec_…`, for the receiver to check the signatures with.
    pub webhook_secret: Option<String>,
    pub email: String,
    pub email_is_on: bool,
    /// Whether the server can send mail at all.
    pub mail_is_set_up: bool,
    /// An admin's: of everybody's VMs, too.
    pub of_all: bool,
    /// The newest ten, newest first.
    pub deliveries: Vec<Delivery>,
}

const WEBHOOK_URL_MAX_CHARS: usize = 500;

/// # Errors
/// `Invalid` when `url` is none that a webhook can have.
pub fn check_webhook_url(url: &str) -> Result<(), ApiError> {
    let wrong = |text: &str| Err(ApiError::invalid_field("url", text));
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(authority) = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default()) else {
        return wrong("A webhook's address begins with https:// or http://.");
    };
    if url.len() > WEBHOOK_URL_MAX_CHARS || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return wrong("A webhook's address has 500 characters at most, and no blanks.");
    }
    if authority.is_empty() {
        return wrong("A webhook's address names a host.");
    }
    if authority.contains('@') {
        return wrong("Leave user name and password out of the address; messages are signed instead.");
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
