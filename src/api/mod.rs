//! The server functions, for the browser and for other clients. Each one checks the caller's rights, then calls
//! the module that does the work. All have a fixed name under `/api/v1`, return JSON, and fail with an [`ApiError`].
//!
//! [`ApiError`]: crate::model::ApiError

mod accounts;
mod alerts;
mod error;
mod events;
mod metrics;
mod notifications;
mod vms;

pub use accounts::*;
pub use alerts::*;
pub use events::*;
pub use metrics::*;
pub use notifications::*;
pub use vms::*;
