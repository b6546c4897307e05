use super::UtcMillis;
use serde::{Deserialize, Serialize};

/// What can be asked of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    Launch,
    Start,
    /// Asks the guest to shut down, and turns the VM off when it does not in time.
    Stop,
    /// Turns the VM off at once.
    ForceStop,
    Restart,
    Suspend,
    Resume,
    Destroy,
    /// Gives it other resources, from its next start on.
    Resize,
    SnapshotSave,
    SnapshotRestore,
    SnapshotDelete,
}

impl OperationKind {
    pub const ALL: [Self; 12] = [
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
    ];

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
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// What a person asks for: `force stop`, …
    pub fn label(self) -> &'static str {
        match self {
            Self::ForceStop => "force stop",
            Self::SnapshotSave => "save a snapshot",
            Self::SnapshotRestore => "restore a snapshot",
            Self::SnapshotDelete => "delete a snapshot",
            other => other.as_str(),
        }
    }

    /// What a VM is doing while this runs: `Launching`, …
    pub fn present_participle(self) -> &'static str {
        match self {
            Self::Launch => "Launching",
            Self::Start => "Starting",
            Self::Stop => "Stopping",
            Self::ForceStop => "Turning off",
            Self::Restart => "Restarting",
            Self::Suspend => "Suspending",
            Self::Resume => "Resuming",
            Self::Destroy => "Destroying",
            Self::Resize => "Resizing",
            Self::SnapshotSave => "Saving a snapshot",
            Self::SnapshotRestore => "Restoring a snapshot",
            Self::SnapshotDelete => "Deleting a snapshot",
        }
    }

    /// What was done when this is over, after the VM's name: `was launched`, …
    pub fn done(self) -> &'static str {
        match self {
            Self::Launch => "was launched",
            Self::Start => "was started",
            Self::Stop => "was stopped",
            Self::ForceStop => "was turned off",
            Self::Restart => "was restarted",
            Self::Suspend => "was suspended",
            Self::Resume => "was resumed",
            Self::Destroy => "was destroyed",
            Self::Resize => "was resized",
            Self::SnapshotSave => "has a new snapshot",
            Self::SnapshotRestore => "is back at a snapshot",
            Self::SnapshotDelete => "has a snapshot less",
        }
    }

    /// Whether the VM, if this succeeds, runs with what it was given.
    pub fn leads_up(self) -> bool {
        matches!(self, Self::Launch | Self::Start | Self::Restart)
    }

    /// Whether it is about one of the VM's snapshots.
    pub fn is_about_a_snapshot(self) -> bool {
        matches!(self, Self::SnapshotSave | Self::SnapshotRestore | Self::SnapshotDelete)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl OperationState {
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// An operation as a page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationView {
    pub id: i64,
    pub vm_id: i64,
    pub kind: OperationKind,
    /// The snapshot that it is about, if it is about one.
    #[serde(default)]
    pub snapshot: Option<String>,
    pub state: OperationState,
    /// Who asked.
    pub requested_by: String,
    pub requested_at: UtcMillis,
    pub finished_at: Option<UtcMillis>,
    /// Somebody asked to end it, which takes a moment.
    #[serde(default)]
    pub is_being_cancelled: bool,
    /// What is being done just now, while that is known.
    #[serde(default)]
    pub phase: Option<String>,
    /// How much of the phase is done, where somebody says so.
    #[serde(default)]
    pub percent: Option<u8>,
    /// The newest line of Vagrant's output.
    pub last_line: String,
    /// Why it failed, in a person's words.
    pub error: Option<String>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    pub vm_id: i64,
    /// What was begun, or leads there already; none when it is as asked.
    pub operation: Option<OperationView>,
}

/// What became of a VM when something was asked of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmOutcome {
    pub vm_id: i64,
    pub name: String,
    pub owner_name: String,
    /// What brings it about, if something has to.
    pub operation_id: Option<i64>,
    /// In a person's words.
    pub outcome: String,
}
