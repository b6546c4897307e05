//! What Twarga Cloud needs from the software that runs the VMs, as traits. Two implementations: Vagrant with
//! libvirt, and the simulated fleet. All other modules use these traits only.

mod domain;
mod driver;
mod error;
mod guest_access;
mod guest_link;
mod hypervisor;
mod index;
mod machine;
mod shell;

pub use domain::{Balloon, Counters, DiskUse, Domain, DomainState, HypervisorSample, Moment, Traffic};
pub use driver::{MachineCommand, MachineDriver, OwnedDomain};
pub use error::{MachineError, MachineErrorKind, ReadError};
pub use guest_access::{GuestAccess, SshConfig};
pub use guest_link::{GuestChannel, GuestLink, LinkAccess};
pub use hypervisor::Hypervisor;
pub use index::{IndexedMachine, MachineIndex};
pub use machine::{Machine, Project};
pub use shell::{Shell, ShellAccess, ShellInput};
