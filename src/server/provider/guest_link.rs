//! A connection to a guest over which channels of ssh are passed.

use super::Machine;
use crate::model::ApiError;
use async_trait::async_trait;
use russh::ChannelMsg;
use std::sync::Arc;
use tokio::sync::mpsc;

/// An open channel. Dropping it closes it.
pub struct GuestChannel {
    /// What the guest says, in order; `None` once the channel is closed. While this is not read, the guest waits.
    pub output: mpsc::Receiver<ChannelMsg>,
    /// What is said to the guest: data, and the requests of RFC 4254. While it takes no more, sending waits.
    pub input: mpsc::Sender<ChannelMsg>,
}

/// An open connection. It is closed once it and all its channels are dropped.
#[async_trait]
pub trait GuestLink: Send + Sync {
    /// Opens a session, for a shell, a command or a subsystem of the machine's own user.
    ///
    /// # Errors
    /// Why it cannot be opened, and what to do, as a message for users.
    async fn open_session(&self) -> Result<GuestChannel, ApiError>;

    /// Connects to a TCP port, as seen from the guest.
    ///
    /// # Errors
    /// Why it cannot be connected to, as a message for users.
    async fn open_tcp(&self, host: &str, port: u16) -> Result<GuestChannel, ApiError>;
}

/// Connects to guests.
#[async_trait]
pub trait LinkAccess: Send + Sync {
    /// Connects as the machine's own user.
    ///
    /// # Errors
    /// Why the guest cannot be reached, and what to do, as a message for users.
    async fn connect(
        &self,
        vm_id: i64,
        machine: &Machine,
        domain_uuid: &str,
    ) -> Result<Arc<dyn GuestLink>, ApiError>;
}
