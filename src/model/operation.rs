use super::{AccessLevel, UtcMillis};
use serde::{Deserialize, Serialize};

/// An operation on a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Creates the VM and starts it for the first time.
    Launch,
    /// Boots a stopped VM.
    Start,
    /// Shuts the guest down; powers the VM off after a timeout.
    Stop,
    /// Powers the VM off immediately.
    ForceStop,
    /// Shuts the guest down and boots it again.
    Restart,
    /// Suspends the running VM with its state.
    Suspend,
    /// Continues a suspended VM.
    Resume,
    /// Deletes the VM with its disk.
    Destroy,
    /// Changes its resources from the next start on.
    Resize,
    /// Saves a new snapshot.
    SnapshotSave,
    /// Restores the VM to a snapshot.
    SnapshotRestore,
    /// Deletes a snapshot.
    SnapshotDelete,
    /// Takes over an existing Vagrant machine: finds out what it has.
    Import,
}

impl OperationKind {
    /// The access that requesting it takes.
    pub fn required_access(self) -> AccessLevel {
        match self {
            Self::Launch | Self::Import | Self::Destroy | Self::Resize => AccessLevel::Own,
            _ => AccessLevel::Operate,
        }
    }

    /// Every kind of operation.
    pub const ALL: [Self; 13] = [
        Self::Launch,
        Self::Start,
        Self::Stop,
        Self::ForceStop,
        Self::Restart,
        Self::Suspend,
        Self::Resume,
        Self::Destroy,
        Self::Resize,
        Self::SnapshotSave,
        Self::SnapshotRestore,
        Self::SnapshotDelete,
        Self::Import,
    ];

    /// The name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::ForceStop => "force_stop",
            Self::Restart => "restart",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Destroy => "destroy",
            Self::Resize => "resize",
            Self::SnapshotSave => "snapshot_save",
            Self::SnapshotRestore => "snapshot_restore",
            Self::SnapshotDelete => "snapshot_delete",
            Self::Import => "import",
        }
    }

    /// The inverse of [`Self::as_str`]; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Its name: `power off`, …
    pub fn label(self) -> &'static str {
        match self {
            Self::ForceStop => "power off",
            Self::SnapshotSave => "save a snapshot",
            Self::SnapshotRestore => "restore a snapshot",
            Self::SnapshotDelete => "delete a snapshot",
            other => other.as_str(),
        }
    }

    /// The state of a VM while it runs: `Launching`, …
    pub fn present_participle(self) -> &'static str {
        match self {
            Self::Launch => "Launching",
            Self::Start => "Starting",
            Self::Stop => "Stopping",
            Self::ForceStop => "Powering off",
            Self::Restart => "Restarting",
            Self::Suspend => "Suspending",
            Self::Resume => "Resuming",
            Self::Destroy => "Destroying",
            Self::Resize => "Resizing",
            Self::SnapshotSave => "Saving a snapshot",
            Self::SnapshotRestore => "Restoring a snapshot",
            Self::SnapshotDelete => "Deleting a snapshot",
            Self::Import => "Importing",
        }
    }

    /// The outcome, to follow the VM's name: `launched`, …
    pub fn done(self) -> &'static str {
        match self {
            Self::Launch => "launched",
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::ForceStop => "powered off",
            Self::Restart => "restarted",
            Self::Suspend => "suspended",
            Self::Resume => "resumed",
            Self::Destroy => "destroyed",
            Self::Resize => "resized",
            Self::SnapshotSave => "has a new snapshot",
            Self::SnapshotRestore => "was restored to a snapshot",
            Self::SnapshotDelete => "has one snapshot less",
            Self::Import => "imported",
        }
    }

    /// Whether the VM runs with its new resources after this succeeds.
    pub fn starts_vm(self) -> bool {
        matches!(self, Self::Launch | Self::Start | Self::Restart)
    }

    /// Whether it is about one of the VM's snapshots.
    pub fn is_about_a_snapshot(self) -> bool {
        matches!(self, Self::SnapshotSave | Self::SnapshotRestore | Self::SnapshotDelete)
    }
}

/// The progress of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Waiting to run.
    Queued,
    /// Started and not finished.
    Running,
    /// Finished as requested.
    Succeeded,
    /// Finished with an error; see [`OperationView::error`].
    Failed,
    /// Cancelled before it finished.
    Cancelled,
}

impl OperationState {
    /// Every state, open ones first.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it is queued or running.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// An operation as a page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationView {
    /// The operation's id.
    pub id: i64,
    /// The VM it is performed on.
    pub vm_id: i64,
    /// What it does.
    pub kind: OperationKind,
    /// The snapshot it concerns, if any.
    #[serde(default)]
    pub snapshot: Option<String>,
    /// Its progress.
    pub state: OperationState,
    /// The user who requested it.
    pub requested_by: String,
    /// When it was requested.
    pub requested_at: UtcMillis,
    /// When it finished; `None` while it is open.
    pub finished_at: Option<UtcMillis>,
    /// A cancellation was requested, which takes a moment.
    #[serde(default)]
    pub is_being_cancelled: bool,
    /// The current phase, if known.
    #[serde(default)]
    pub phase: Option<String>,
    /// The progress of the phase, if known.
    #[serde(default)]
    pub percent: Option<u8>,
    /// The newest line of Vagrant's output.
    pub last_line: String,
    /// Why it failed, as a sentence.
    pub error: Option<String>,
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// The VM of the request.
    pub vm_id: i64,
    /// The operation that was started, or is already leading there; `None` if there is nothing to do.
    pub operation: Option<OperationView>,
}

/// The result for one VM of a request for several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmOutcome {
    /// The VM's id.
    pub vm_id: i64,
    /// The VM's name.
    pub name: String,
    /// The owner's user name.
    pub owner_name: String,
    /// The operation, if one is needed.
    pub operation_id: Option<i64>,
    /// The result as a sentence.
    pub outcome: String,
}
