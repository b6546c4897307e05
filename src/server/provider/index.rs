//! Vagrant's index of machines.

use super::{DomainState, Machine, MachineError, Project, ReadError};
use async_trait::async_trait;

/// A machine in Vagrant's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedMachine {
    pub id: String,
    pub project: Project,
    /// As of Vagrant's last check; `None`: the machine no longer exists.
    pub state: Option<DomainState>,
    pub vagrant_box: Option<String>,
}

/// All machines that Vagrant has made for the server's own user, whatever runs them.
#[async_trait]
pub trait MachineIndex: Send + Sync {
    /// The current index. Cheap: reads a file at most.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn machines(&self) -> Result<Vec<IndexedMachine>, ReadError>;

    /// Has Vagrant refresh the machine's state in the index. Takes seconds of CPU time, so only for entries that are
    /// likely outdated.
    ///
    /// # Errors
    /// Why Vagrant cannot report it.
    async fn refresh_status(&self, machine: &Machine) -> Result<(), MachineError>;
}
