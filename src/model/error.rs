use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The kind of an error. A closed list that clients may match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 401: not signed in, or the token has expired.
    NotSignedIn,
    /// 403: signed in, but not permitted.
    Forbidden,
    /// 403: the user must enter their password again first, see `confirm_password`.
    PasswordNeeded,
    /// 403: the user is an admin and must set up a second factor first.
    SecondFactorMissing,
    /// 404: does not exist, or is not visible to the user.
    NotFound,
    /// 400: invalid values; see `fields`.
    Invalid,
    /// 413: larger than any valid request.
    TooLarge,
    /// 421: the request is for a host that the server does not serve.
    Misdirected,
    /// 409: valid, but not possible in the current state.
    Conflict,
    /// 429: too many requests.
    TooMany,
    /// 503: a dependency is not responding.
    Unavailable,
    /// 500: a fault of the server; the log has the details.
    Internal,
    /// No response, or an unreadable one. Created by the client, never sent.
    Unreachable,
}

/// An invalid field of a request, with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// The field's name in the request.
    pub field: String,
    /// What is wrong and what to enter instead.
    pub text: String,
}

/// An error with a message that says what to do. Details that are not for the client are logged where it occurs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct ApiError {
    /// The kind of error, which decides the HTTP status.
    pub code: ErrorCode,
    /// The message for the user.
    pub text: String,
    /// The invalid fields; empty unless `code` is `Invalid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldError>,
    /// After how many seconds to try again, if that is known; also in the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_secs: Option<u32>,
}

impl ApiError {
    /// An error without field messages.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), fields: Vec::new(), retry_after_secs: None }
    }

    /// `NotSignedIn`, with a request to sign in.
    pub fn not_signed_in() -> Self {
        Self::new(ErrorCode::NotSignedIn, "Please sign in first.")
    }

    /// `Forbidden`, with a message for the user.
    pub fn forbidden(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, text)
    }

    /// `Forbidden`, for what only admins may see or do.
    pub fn admins_only() -> Self {
        Self::forbidden("Only an admin may see this.")
    }

    /// `PasswordNeeded`, with a request to enter it.
    pub fn password_needed() -> Self {
        let text = "You entered your password more than 10 minutes ago. Enter it again, then repeat this.";
        Self::new(ErrorCode::PasswordNeeded, text)
    }

    /// `SecondFactorMissing`, with a request to set one up.
    pub fn second_factor_missing() -> Self {
        let text =
            "Admins need a second factor on this server. Set yours up at /account/second-factor first.";
        Self::new(ErrorCode::SecondFactorMissing, text)
    }

    /// `NotFound`, with the message "There is no such `what`."
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("There is no such {what}."))
    }

    /// `Conflict`, with a message for the user.
    pub fn conflict(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, text)
    }

    /// `Invalid`; its message joins those of the fields.
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        let text = fields.iter().map(|f| f.text.as_str()).collect::<Vec<_>>().join(" ");
        Self { code: ErrorCode::Invalid, text, fields, retry_after_secs: None }
    }

    /// `Invalid`, with a single field.
    pub fn invalid_field(field: &str, text: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { field: field.into(), text: text.into() }])
    }

    /// `TooMany`: `what` happened, and when to try again, in full seconds and at least one.
    pub fn too_many(what: &str, wait: Duration) -> Self {
        let secs = wait.as_millis().div_ceil(1000).clamp(1, u32::MAX.into()) as u32;
        let shown = match (secs / 60, secs % 60) {
            (0, secs) => format!("{secs} s"),
            (minutes, 0) => format!("{minutes} m"),
            (minutes, secs) => format!("{minutes} m {secs} s"),
        };
        let text = format!("{what} Try again in {shown}.");
        Self { retry_after_secs: Some(secs), ..Self::new(ErrorCode::TooMany, text) }
    }

    /// Created by the client when there is no response.
    pub fn no_answer() -> Self {
        Self::new(ErrorCode::Unreachable, "The server is not responding. Check your connection.")
    }

    /// `Internal`, with a generic message. Log the cause where it occurs.
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "Internal error. Details are in the server log.")
    }

    /// The message for `field`, if it is invalid.
    pub fn field(&self, field: &str) -> Option<&str> {
        self.fields.iter().find(|f| f.field == field).map(|f| f.text.as_str())
    }

    /// The HTTP status of a code.
    pub fn http_status(&self) -> u16 {
        match self.code {
            ErrorCode::NotSignedIn => 401,
            ErrorCode::Forbidden | ErrorCode::PasswordNeeded | ErrorCode::SecondFactorMissing => 403,
            ErrorCode::NotFound => 404,
            ErrorCode::Invalid => 400,
            ErrorCode::Conflict => 409,
            ErrorCode::TooLarge => 413,
            ErrorCode::Misdirected => 421,
            ErrorCode::TooMany => 429,
            ErrorCode::Unavailable | ErrorCode::Unreachable => 503,
            ErrorCode::Internal => 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_shown_in_full_seconds() {
        for (millis, secs, shown) in [
            (0, 1, "1 s"),
            (4_001, 5, "5 s"),
            (60_000, 60, "1 m"),
            (899_500, 900, "15 m"),
            (125_000, 125, "2 m 5 s"),
        ] {
            let error = ApiError::too_many("Too much.", Duration::from_millis(millis));
            assert_eq!(error.retry_after_secs, Some(secs));
            assert_eq!(error.text, format!("Too much. Try again in {shown}."));
        }
    }
}
