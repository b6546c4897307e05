//! A shell in a guest, with a terminal of its own.

use super::Machine;
use crate::model::{ApiError, TerminalSize};
use async_trait::async_trait;
use axum::body::Bytes;
use tokio::sync::mpsc;

/// An open shell. Dropping it hangs up.
pub struct Shell {
    /// What it prints; `None` once it has ended. While this is not read, the shell waits.
    pub output: mpsc::Receiver<Bytes>,
    pub input: mpsc::Sender<ShellInput>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShellInput {
    /// What is typed, control characters included.
    Bytes(Bytes),
    Resize(TerminalSize),
}

/// Opens shells in guests.
#[async_trait]
pub trait ShellAccess: Send + Sync {
    /// Opens a login shell of the machine's own user.
    ///
    /// # Errors
    /// Why it cannot be opened, and what to do, as a message for users.
    async fn open_shell(
        &self,
        vm_id: i64,
        machine: &Machine,
        domain_uuid: &str,
        size: TerminalSize,
    ) -> Result<Shell, ApiError>;
}
