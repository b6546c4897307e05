//! The REST API: the same services as the server functions, for clients of plain HTTP and JSON.

pub mod auth;
pub mod events;
pub mod extract;
pub mod metrics;
pub mod vms;
