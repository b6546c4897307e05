//! Reads every VM and the host on a fixed beat and hands each tick on: to the store, to `.vm_info`, to the
//! newest figures in memory, and to the VMs' statuses.

mod beat;
mod caretaker;
mod collector;
mod continuity;
pub mod derive;
mod guest_figures;
pub mod health;
pub mod host;
pub mod latest;

pub use caretaker::Caretaker;
pub use collector::{Collector, time_limit};
