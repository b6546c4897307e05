//! Samples every VM and the host at a fixed interval and passes each tick to the store, `.vm_info`, the latest
//! values in memory, the alert engine and the VMs' statuses.

mod boot_setup;
mod collector;
mod comparability;
pub mod derive;
pub mod health;
pub mod host;
pub mod latest;
mod schedule;
mod traffic;

pub use boot_setup::BootSetup;
pub use collector::{Collector, Memory, time_limit};
pub use traffic::RecordedTraffic;
