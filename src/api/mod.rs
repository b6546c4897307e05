//! The server functions, for the browser and for other clients. Each one checks the caller's rights, then calls
//! the module that does the work. All have a fixed name under `/api/v1`, return JSON, and fail with an [`ApiError`].
//!
//! Times are milliseconds since 1970 UTC. The docs of a function say who may call it, and name the errors that are not
//! common to all:
//!
//! - `NotSignedIn` without a session, unless anyone may call it;
//! - `Forbidden` if it is for admins and the caller is none;
//! - `SecondFactorMissing` if the caller is an admin who must set up a second factor first;
//! - `NotFound` for a VM that does not exist, or that belongs to another user and the caller is no admin;
//! - `Invalid` for arguments that cannot be read or break their own rules, each with a message;
//! - `Internal` for a fault of the server, which its log explains.
//!
//! [`ApiError`]: crate::model::ApiError
#![warn(missing_docs)]

mod accounts;
mod alerts;
mod error;
mod events;
mod metrics;
mod notifications;
mod second_factor;
mod ssh_keys;
mod terminals;
mod vms;

pub use accounts::*;
pub use alerts::*;
pub use events::*;
pub use metrics::*;
pub use notifications::*;
pub use second_factor::*;
pub use ssh_keys::*;
pub use terminals::*;
pub use vms::*;
