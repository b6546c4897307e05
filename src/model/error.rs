use serde::{Deserialize, Serialize};

/// The kind of an error. A closed list that clients may match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 401: not signed in, or the token has expired.
    NotSignedIn,
    /// 403: signed in, but not permitted.
    Forbidden,
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
}

impl ApiError {
    /// An error without field messages.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), fields: Vec::new() }
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
        Self { code: ErrorCode::Invalid, text, fields }
    }

    /// `Invalid`, with a single field.
    pub fn invalid_field(field: &str, text: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { field: field.into(), text: text.into() }])
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
            ErrorCode::Forbidden => 403,
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
