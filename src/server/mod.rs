//! Everything that exists only on the server. `ARCHITECTURE.md` describes each module.

pub mod accounts;
pub mod alerts;
pub mod backup;
mod child_process;
pub mod clock;
pub mod commands;
pub mod config;
pub mod credits;
pub mod database;
pub mod events;
#[cfg(test)]
mod fuzz;
pub mod gateway;
pub mod guest;
pub mod libvirt;
pub mod metrics;
pub mod monitor;
pub mod network;
pub mod new_links;
pub mod notifications;
pub mod provider;
pub mod request_origin;
pub mod simulated;
pub mod state;
pub mod table_changes;
pub mod terminals;
pub mod user_commands;
pub mod vagrant;
pub mod vms;
pub mod web;

use crate::model::{ApiError, ErrorCode};
use sqlx::SqliteConnection;
use std::any::Any;

/// Logs what a client must not see, once, and returns the generic error. Both have the same reference, so that the line in
/// the log can be found. A full disk, which an admin can mend, is named.
fn internal(error: impl std::fmt::Display + 'static) -> ApiError {
    if (&error as &dyn Any).downcast_ref().is_some_and(database::is_disk_full) {
        tracing::error!(%error, "a request could not be stored");
        let text =
            "Nothing can be saved, because the server's disk is full. Ask an admin to free some space.";
        return ApiError::new(ErrorCode::Internal, text);
    }
    // That of the request is in the log as its span, too.
    let reference =
        request_origin::current().map_or_else(request_origin::new_id, |request| request.id.clone());
    tracing::error!(%error, reference, "a request failed");
    ApiError::new(
        ErrorCode::Internal,
        format!("Internal error. Details are in the server log (reference {reference})."),
    )
}

/// `NotFound`, for what may be there and is not the caller's: `exists`, with its id, says whether it is. Then it is noted as
/// refused access.
async fn not_found_or_hidden(
    connection: &mut SqliteConnection,
    what: &str,
    exists: &'static str,
    id: i64,
) -> ApiError {
    match sqlx::query_scalar(exists).bind(id).fetch_one(connection).await {
        Ok(true) => request_origin::note_hidden(),
        Ok(false) => {}
        Err(error) => return internal(error),
    }
    ApiError::not_found(what)
}

#[cfg(test)]
mod tests {
    #[test]
    fn internal_errors_show_a_reference_and_not_their_cause() {
        let text = super::internal("disk image is malformed").text;
        let reference = text.split_once("(reference ").unwrap().1.trim_end_matches(").");
        assert_eq!(reference.len(), 16, "{text}");
        assert!(!text.contains("malformed"), "{text}");
        assert_ne!(super::internal("x").text, text);
    }
}
