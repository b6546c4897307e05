//! VMs made by Vagrant and its libvirt provider: one folder and one `vagrant` command per operation.
//!
//! Vagrant holds the state: what exists is recorded in the folder (`.vagrant/`) and in libvirt, and `up`, `halt` and
//! `destroy` are idempotent. An interrupted operation is run again, and users may run `vagrant` in the folder by
//! hand. Vagrant locks a machine for one command at a time; a second command waits, within its time limit.
//!
//! One thing Vagrant does not lock between processes: the first VM of a box uploads the box's image to libvirt, and
//! a second VM created meanwhile would be made from an incomplete image. `box_lock` serializes that step. When two
//! commands collide at libvirt's network, the one that failed is retried.

mod box_lock;
mod command;
mod directory;
mod driver;
mod error_classification;
#[cfg(test)]
pub(crate) mod fake_command;
mod index;
mod launch;
mod machine_readable;
mod snapshots;
mod ssh_config;
mod task;
mod terminal_text;
#[cfg(test)]
mod tests;
mod vagrantfile;
mod virsh;

pub use directory::prepare_directory;
pub use driver::{TimeLimits, Vagrant, VagrantOptions};
pub use error_classification::{ErrorContext, message};
pub use machine_readable::Record;
pub use vagrantfile::{DEFAULT_LIBVIRT_URI, Driver, domain_name, render};
