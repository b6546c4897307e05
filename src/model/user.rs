use super::{ApiError, FieldError};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    User,
    Admin,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Admin => "admin",
        }
    }
}

/// The person who is signed in, as they may see themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    pub id: i64,
    pub username: String,
    pub email: String,
    pub role: Role,
}

pub const PASSWORD_MIN_CHARS: usize = 10;
/// Bounds the work that hashing a request's password can cost.
pub const PASSWORD_MAX_BYTES: usize = 512;

/// Checks what a new account is made of; the same on both sides.
///
/// # Errors
/// `Invalid`, with a text for every field that is wrong.
pub fn check_registration(username: &str, email: &str, password: &str) -> Result<(), ApiError> {
    let mut fields = Vec::new();
    let mut wrong = |field: &str, text: String| fields.push(FieldError { field: field.into(), text });
    let name_ok = (2..=32).contains(&username.len())
        && username.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && username.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !name_ok {
        wrong(
            "username",
            "A user name has 2 to 32 letters, digits, dots, hyphens or underscores and begins with a letter or digit."
                .into(),
        );
    }
    let email_ok = email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email
            .split_once('@')
            .is_some_and(|(local, host)| !local.is_empty() && !host.is_empty() && !host.contains('@'));
    if !email_ok {
        wrong("email", "An e-mail address looks like name@example.org.".into());
    }
    if password.chars().count() < PASSWORD_MIN_CHARS {
        wrong("password", format!("A password has at least {PASSWORD_MIN_CHARS} characters."));
    } else if password.len() > PASSWORD_MAX_BYTES {
        wrong("password", format!("A password has at most {PASSWORD_MAX_BYTES} bytes."));
    }
    if fields.is_empty() { Ok(()) } else { Err(ApiError::invalid(fields)) }
}

#[cfg(test)]
mod tests {
    use super::check_registration;

    #[test]
    fn every_wrong_field_is_named() {
        let error = check_registration("-x", "nobody", "short").unwrap_err();
        let named: Vec<_> = error.fields.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(named, ["username", "email", "password"]);
        assert!(check_registration("ada.l", "ada@example.org", "long enough").is_ok());
    }
}
