use super::UtcMillis;
use serde::{Deserialize, Serialize};

/// What can be asked of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    Launch,
    Start,
    Stop,
    Destroy,
}

impl OperationKind {
    pub const ALL: [Self; 4] = [Self::Launch, Self::Start, Self::Stop, Self::Destroy];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Destroy => "destroy",
        }
    }

    /// What a VM is doing while this runs: `Launching`, …
    pub fn present_participle(self) -> &'static str {
        match self {
            Self::Launch => "Launching",
            Self::Start => "Starting",
            Self::Stop => "Stopping",
            Self::Destroy => "Destroying",
        }
    }

    /// What was done to a VM when this is over: `launched`, …
    pub fn past_participle(self) -> &'static str {
        match self {
            Self::Launch => "launched",
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Destroy => "destroyed",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    Queued,
    Running,
    Succeeded,
    Failed,
}

impl OperationState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
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
    pub kind: OperationKind,
    pub state: OperationState,
    pub requested_at: UtcMillis,
    pub finished_at: Option<UtcMillis>,
    /// The newest line of Vagrant's output.
    pub last_line: String,
    /// Why it failed, in a person's words.
    pub error: Option<String>,
}
