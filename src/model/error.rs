use serde::{Deserialize, Serialize};

/// What kind of refusal a client got. A closed list: a client may decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 401: nobody is signed in, or the token has ended.
    NotSignedIn,
    /// 403: signed in, but this is not theirs to do.
    Forbidden,
    /// 404: it is not there, or not theirs to see.
    NotFound,
    /// 400: something in the request has no valid value; `fields` says what.
    Invalid,
    /// 409: well formed, but not possible in the present state.
    Conflict,
    /// 429: too many at once.
    TooMany,
    /// 503: something this needs does not answer now.
    Unavailable,
    /// 500: our fault; the log has the details.
    Internal,
    /// The answer never came, or could not be read. Made by the client, never sent.
    Unreachable,
}

/// A field of a form or a request and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    pub field: String,
    pub text: String,
}

/// A refusal in words that say what to do. Details that are not for the client are logged where it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct ApiError {
    pub code: ErrorCode,
    pub text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldError>,
}

impl ApiError {
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), fields: Vec::new() }
    }

    pub fn not_signed_in() -> Self {
        Self::new(ErrorCode::NotSignedIn, "Please sign in first.")
    }

    pub fn forbidden(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, text)
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("There is no such {what}."))
    }

    pub fn conflict(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, text)
    }

    pub fn invalid(fields: Vec<FieldError>) -> Self {
        let text = fields.iter().map(|f| f.text.as_str()).collect::<Vec<_>>().join(" ");
        Self { code: ErrorCode::Invalid, text, fields }
    }

    pub fn invalid_field(field: &str, text: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { field: field.into(), text: text.into() }])
    }

    /// The client's own, when nothing came back.
    pub fn no_answer() -> Self {
        Self::new(ErrorCode::Unreachable, "The server does not answer.")
    }

    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "Something went wrong on the server; its log says what.")
    }

    /// What is wrong with `field`, if that is among the errors.
    pub fn field(&self, field: &str) -> Option<&str> {
        self.fields.iter().find(|f| f.field == field).map(|f| f.text.as_str())
    }

    /// The HTTP status a code is sent with.
    pub fn http_status(&self) -> u16 {
        match self.code {
            ErrorCode::NotSignedIn => 401,
            ErrorCode::Forbidden => 403,
            ErrorCode::NotFound => 404,
            ErrorCode::Invalid => 400,
            ErrorCode::Conflict => 409,
            ErrorCode::TooMany => 429,
            ErrorCode::Unavailable | ErrorCode::Unreachable => 503,
            ErrorCode::Internal => 500,
        }
    }
}
