//! Everything that exists only on the server. `ARCHITECTURE.md` describes each module.

pub mod accounts;
pub mod alerts;
pub mod backup;
pub mod commands;
pub mod config;
pub mod credits;
pub mod database;
pub mod events;
#[cfg(test)]
mod fuzz;
pub mod guest;
pub mod libvirt;
pub mod metrics;
pub mod monitor;
pub mod notifications;
pub mod provider;
pub mod simulated;
pub mod state;
pub mod vagrant;
pub mod vms;
pub mod web;

use crate::model::ApiError;

/// Logs what a client must not see, once, and makes the one generic answer of it.
fn internal(error: impl std::fmt::Display) -> ApiError {
    tracing::error!(%error, "a request failed");
    ApiError::internal()
}
