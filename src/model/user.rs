use super::{ApiError, FieldError, UtcMillis};
use serde::{Deserialize, Serialize};

/// The role of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Manages the user's own VMs and rules.
    User,
    /// Manages all VMs, accounts and the host.
    Admin,
}

impl Role {
    /// The name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Admin => "admin",
        }
    }

    /// The inverse of [`Self::as_str`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::User, Self::Admin].into_iter().find(|role| role.as_str() == text)
    }
}

/// The signed-in user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentUser {
    /// The account's id.
    pub id: i64,
    /// The name used to sign in.
    pub username: String,
    /// The e-mail address for notifications.
    pub email: String,
    /// The role, which decides the permissions.
    pub role: Role,
}

/// An account, as shown to admins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The account's id.
    pub id: i64,
    /// The name used to sign in.
    pub username: String,
    /// The e-mail address for notifications.
    pub email: String,
    /// The role, which decides the permissions.
    pub role: Role,
    /// Whether the user can sign in.
    pub is_active: bool,
    /// Whether signing in takes a code, too.
    #[serde(default)]
    pub has_second_factor: bool,
    /// When the account was created.
    pub created_at: UtcMillis,
    /// With a precision of 5 minutes; `None` without a session.
    pub last_seen_at: Option<UtcMillis>,
    /// The number of VMs it owns.
    pub vms: u32,
    /// Credits that are neither spent nor reserved.
    pub credits_available: i64,
}

/// The longest that an invitation is valid, in days.
pub const INVITATION_MAX_DAYS: u32 = 30;
/// The most credits that an invitation gives.
pub const INVITATION_MAX_CREDITS: u32 = 1_000_000_000;
/// The maximum length of an invitation's note, in characters.
pub const INVITATION_NOTE_MAX_CHARS: usize = 100;

/// An invitation that is still open, as shown to admins. Its link is not: it is shown once, when it is created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The invitation's id.
    pub id: i64,
    /// The role that the account gets.
    pub role: Role,
    /// The credits that the account gets.
    pub credits: i64,
    /// For whom it is; may be empty.
    pub note: String,
    /// The user name of the admin who created it.
    pub created_by: String,
    /// When it was created.
    pub created_at: UtcMillis,
    /// Until when it is valid.
    pub expires_at: UtcMillis,
}

/// A link that is shown once, to the admin who created it. Whoever has it may use it, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneTimeLink {
    /// The address with the token behind `#`, which browsers send to no server.
    pub url: String,
    /// Until when it is valid.
    pub expires_at: UtcMillis,
    /// The user who sets a new password with it; `None` for an invitation.
    #[serde(default)]
    pub username: Option<String>,
}

/// The kind of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A browser with a session cookie.
    Browser,
    /// An API client with a bearer token.
    Client,
}

/// A session of the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedInDevice {
    /// The session's id.
    pub id: i64,
    /// A browser or an API client.
    pub kind: DeviceKind,
    /// The User-Agent header; may be empty.
    pub user_agent: String,
    /// When the session started.
    pub signed_in_at: UtcMillis,
    /// With a precision of a second.
    pub last_used_at: UtcMillis,
    /// Whether it is the current session.
    pub is_this: bool,
}

/// The colour theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// Dark text on a light background.
    Light,
    /// Light text on a dark background.
    Dark,
    /// Follows the operating system.
    #[default]
    System,
}

impl Theme {
    /// Every theme, in menu order.
    pub const ALL: [Self; 3] = [Self::Light, Self::Dark, Self::System];

    /// The name in forms and in the cookie.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
            Self::System => "system",
        }
    }

    /// The inverse of [`Self::as_str`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str() == text)
    }

    /// The document's `data-theme`.
    pub fn attribute(self) -> Option<&'static str> {
        (self != Self::System).then_some(self.as_str())
    }
}

/// The minimum length of a password, in characters.
pub const PASSWORD_MIN_CHARS: usize = 10;
/// The maximum length of a password, in characters.
pub const PASSWORD_MAX_CHARS: usize = 128;
/// The message for an invalid e-mail address.
pub const EMAIL_INVALID: &str = "The e-mail address must look like name@example.org.";

/// Validates a new account; runs in the browser and on the server. The server also parses the address and rejects passwords
/// that are easy to guess.
///
/// # Errors
/// `Invalid`, with a message for every invalid field.
pub fn check_registration(username: &str, email: &str, password: &str) -> Result<(), ApiError> {
    let mut fields = Vec::new();
    let mut wrong = |field: &str, text: String| fields.push(FieldError { field: field.into(), text });
    let name_ok = (2..=32).contains(&username.len())
        && username.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && username.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !name_ok {
        wrong(
            "username",
            "The user name must have 2 to 32 letters, digits, dots, hyphens or underscores and start with a letter or digit."
                .into(),
        );
    }
    let email_ok = email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control() || "<>()[]\\,;:\"".contains(c))
        && email
            .split_once('@')
            .is_some_and(|(local, host)| !local.is_empty() && !host.is_empty() && !host.contains('@'));
    if !email_ok {
        wrong("email", EMAIL_INVALID.into());
    }
    if let Err(error) = check_password("password", password) {
        fields.extend(error.fields);
    }
    if fields.is_empty() { Ok(()) } else { Err(ApiError::invalid(fields)) }
}

/// Validates a new password; `field` is its name in the form.
///
/// # Errors
/// `Invalid` with that field.
pub fn check_password(field: &str, password: &str) -> Result<(), ApiError> {
    if (PASSWORD_MIN_CHARS..=PASSWORD_MAX_CHARS).contains(&password.chars().count()) {
        return Ok(());
    }
    let text = format!("The password must have {PASSWORD_MIN_CHARS} to {PASSWORD_MAX_CHARS} characters.");
    Err(ApiError::invalid_field(field, text))
}

/// `Firefox on Linux`, from a User-Agent header; `None` for unknown browsers.
pub fn browser_name(user_agent: &str) -> Option<String> {
    // Most also name other browsers, so the more specific ones come first.
    const BROWSERS: [(&str, &str); 6] = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 7] = [
        ("Android", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iOS"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let first = |known: &[(&str, &'static str)]| {
        known.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
    };
    let browser = first(&BROWSERS)?;
    Some(first(&SYSTEMS).map_or_else(|| browser.to_owned(), |system| format!("{browser} on {system}")))
}

#[cfg(test)]
mod tests {
    use super::{browser_name, check_password, check_registration};

    #[test]
    fn a_user_agent_is_shown_as_the_browser_users_know() {
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
        let edge = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0";
        let safari = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Mobile Safari/604.1";
        assert_eq!(browser_name(chrome).as_deref(), Some("Chrome on Linux"));
        assert_eq!(browser_name(edge).as_deref(), Some("Edge on Windows"));
        assert_eq!(browser_name(safari).as_deref(), Some("Safari on iOS"));
        assert_eq!(browser_name("curl/8.5"), None);
    }

    #[test]
    fn every_wrong_field_is_named() {
        let error = check_registration("-x", "nobody", "short").unwrap_err();
        let named: Vec<_> = error.fields.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(named, ["username", "email", "password"]);
        assert!(check_registration("ada.l", "ada@example.org", "long enough").is_ok());
    }

    #[test]
    fn a_password_has_10_to_128_characters() {
        for (chars, is_ok) in [(9, false), (10, true), (128, true), (129, false)] {
            assert_eq!(check_password("password", &"ä".repeat(chars)).is_ok(), is_ok, "{chars}");
        }
    }
}
