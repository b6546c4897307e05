//! Turns the errors of Leptos's server functions into an [`ApiError`], on both sides.

use crate::model::{ApiError, ErrorCode};
use leptos::server_fn::{
    codec::JsonEncoding,
    error::{FromServerFnError, ServerFnErrorErr},
};

impl FromServerFnError for ApiError {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        match error {
            ServerFnErrorErr::Deserialization(_) if cfg!(feature = "hydrate") => Self::new(
                ErrorCode::Unreachable,
                "The server's answer could not be read; it may have been updated. Please load this page again.",
            ),
            ServerFnErrorErr::Args(text) | ServerFnErrorErr::Deserialization(text) => {
                Self::new(ErrorCode::Invalid, format!("The request could not be read: {text}"))
            }
            ServerFnErrorErr::MissingArg(field) => {
                Self::invalid_field(&field, format!("{field} is missing."))
            }
            ServerFnErrorErr::Request(_) | ServerFnErrorErr::Response(_) => Self::no_answer(),
            _ => Self::internal(),
        }
    }
}
