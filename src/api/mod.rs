//! The server functions: what a browser, or another Leptos client, may ask. Each one says who may, then calls
//! the room that knows. All live under `/api/v1` with a fixed name, answer JSON (this crate's own clients ask for less, see `wire`), and fail with an [`ApiError`].
//!
//! [`ApiError`]: crate::model::ApiError

mod accounts;
mod alerts;
mod events;
mod metrics;
mod notifications;
mod vms;
mod wire;

pub use accounts::*;
pub use alerts::*;
pub use events::*;
pub use metrics::*;
pub use notifications::*;
pub use vms::*;
pub use wire::{Packed, Wire};
