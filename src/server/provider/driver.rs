//! Runs operations on machines.

use super::{Machine, MachineError, ReadError};
use crate::model::{OperationKind, Snapshot, SnapshotName, VmSpec};
use async_trait::async_trait;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

/// What is to be done with a machine.
#[derive(Debug, Clone)]
pub struct MachineCommand {
    pub kind: OperationKind,
    /// The snapshot, where the kind is about one.
    pub snapshot: Option<SnapshotName>,
    /// It was started before, and a restart of the server interrupted it.
    pub was_cut_off: bool,
    /// Cancels the operation.
    pub cancel: CancellationToken,
}

impl MachineCommand {
    /// Without a snapshot or cancellation.
    pub fn of(kind: OperationKind) -> Self {
        Self { kind, snapshot: None, was_cut_off: false, cancel: CancellationToken::new() }
    }
}

/// A machine that the provider has and that was made in a folder of this cloud's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedDomain {
    pub uuid: String,
    pub name: String,
    /// The folder it was made in.
    pub directory: PathBuf,
}

/// Carries out operations on machines.
#[async_trait]
pub trait MachineDriver: Send + Sync {
    /// Runs one operation to its end and sends each line of output to `lines` as it comes.
    /// Whatever was done already is done no second time, so an operation that was cut off can be run again.
    ///
    /// # Errors
    /// What went wrong, by class and as a message for users; `Cancelled` when the command was cancelled. Either may leave it half done.
    async fn run(
        &self,
        command: &MachineCommand,
        machine: &Machine,
        lines: &UnboundedSender<String>,
    ) -> Result<(), MachineError>;

    /// The machine's snapshots, oldest first.
    ///
    /// # Errors
    /// When the hypervisor cannot list them.
    async fn snapshots(&self, machine: &Machine) -> Result<Vec<Snapshot>, ReadError>;

    /// The machine's specification with the memory, cores and disk that it really has; `None` where the hypervisor does not
    /// say.
    async fn actual_spec(&self, _machine: &Machine) -> Option<VmSpec> {
        None
    }

    /// All machines that were made in one of the folders in `folders`.
    ///
    /// # Errors
    /// When the hypervisor cannot list them.
    async fn owned_domains(&self, folders: &Path) -> Result<Vec<OwnedDomain>, ReadError>;

    /// Removes a machine with its disks and snapshots, by the hypervisor's means alone: for one whose folder is gone.
    ///
    /// # Errors
    /// When the hypervisor rejects it.
    async fn remove_domain(&self, domain: &OwnedDomain) -> Result<(), ReadError>;

    /// What the Vagrantfile of a machine like this is written as.
    fn vagrantfile(&self, machine: &Machine) -> String;

    /// The hypervisor's id of the machine, once there is one. Cheap: reads a file at most.
    fn domain_uuid(&self, machine: &Machine) -> Option<String>;
}
