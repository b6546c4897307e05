//! How to reach a guest over ssh.

use super::{Machine, MachineError};
use async_trait::async_trait;
use std::path::PathBuf;

/// How to reach a guest over ssh. Names the keys' files; never holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshConfig {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// Tried in this order; at least one.
    pub identity_files: Vec<PathBuf>,
}

/// Knows the ssh configuration of the guests.
#[async_trait]
pub trait GuestAccess: Send + Sync {
    /// How to reach the machine's guest over ssh. May take seconds of CPU time: call it rarely, for one machine at a time,
    /// and only while the machine runs and no operation is open.
    ///
    /// # Errors
    /// Why the guest cannot be reached, as a message for users.
    async fn ssh_config(&self, machine: &Machine) -> Result<SshConfig, MachineError>;
}
