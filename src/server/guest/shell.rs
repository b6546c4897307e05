//! Shells in guests, over ssh: each on a connection of its own, with the credentials and the pinned host key that the
//! probes use.

use super::{
    credentials::GuestCredentials,
    ssh::{Connection, SshError, SshLimits},
};
use crate::{
    model::{ApiError, ErrorCode, TerminalSize},
    server::{
        database::Database,
        internal,
        provider::{GuestAccess, Machine, Shell, ShellAccess, SshConfig},
    },
};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

const LIMITS: SshLimits = SshLimits {
    connect: Duration::from_secs(8),
    run: Duration::from_secs(8),
    idle: Duration::from_secs(60),
    keepalive: Some(Duration::from_secs(15)),
    window_bytes: 256 * 1024,
};

/// Opens shells in guests that can be reached over ssh.
pub struct GuestShells {
    access: Arc<dyn GuestAccess>,
    known: GuestCredentials,
    /// A request to the provider takes seconds of CPU time.
    ssh_config_lock: Semaphore,
}

impl GuestShells {
    pub fn new(access: Arc<dyn GuestAccess>, database: Database) -> Self {
        Self { access, known: GuestCredentials::new(database), ssh_config_lock: Semaphore::new(1) }
    }

    /// How to reach the guest, and the host key that it must show. Without a pinned key, nothing but the way itself says
    /// who answers there, so it is requested anew.
    async fn credentials(
        &self,
        vm_id: i64,
        machine: &Machine,
        domain_uuid: &str,
    ) -> Result<(SshConfig, Option<String>), ApiError> {
        let known = self.known.find(vm_id, domain_uuid).await.map_err(internal)?;
        if let Some(known) = known
            && known.host_key.is_some()
        {
            return Ok((known.ssh_config, known.host_key));
        }
        // Never closed: this cannot fail.
        let _turn = self.ssh_config_lock.acquire().await;
        let config = self.access.ssh_config(machine).await.map_err(|error| {
            tracing::debug!(vm_id, detail = error.detail, "there is no ssh configuration");
            ApiError::new(ErrorCode::Unavailable, error.text)
        })?;
        self.known.save_credentials(vm_id, domain_uuid, &config).await.map_err(internal)?;
        Ok((config, None))
    }

    pub(super) async fn connection(
        &self,
        vm_id: i64,
        machine: &Machine,
        domain_uuid: &str,
    ) -> Result<Connection, ApiError> {
        let (config, pinned) = self.credentials(vm_id, machine, domain_uuid).await?;
        let connection = Connection::open(&config, pinned.as_deref(), LIMITS)
            .await
            .map_err(|error| unreachable(machine.name.as_str(), &error))?;
        if pinned.is_none() {
            self.known.pin(vm_id, domain_uuid, connection.host_key()).await.map_err(internal)?;
        }
        Ok(connection)
    }
}

#[async_trait]
impl ShellAccess for GuestShells {
    async fn open_shell(
        &self,
        vm_id: i64,
        machine: &Machine,
        domain_uuid: &str,
        size: TerminalSize,
    ) -> Result<Shell, ApiError> {
        let connection = self.connection(vm_id, machine, domain_uuid).await?;
        connection.shell(size).await.map_err(|error| unreachable(machine.name.as_str(), &error))
    }
}

pub(super) fn unreachable(name: &str, error: &SshError) -> ApiError {
    let text = match error {
        SshError::HostKeyChanged { .. } => format!(
            "{name} shows another ssh host key than before. If its keys were made anew on purpose, stop the VM and start \
             it here; if not, find out who answers at its address."
        ),
        SshError::NoKey(_) => format!(
            "The server has no key to log in to {name} with: {error}. An admin can check the keys of its Vagrant project."
        ),
        SshError::Denied { .. } => format!(
            "{name} does not accept the key that Vagrant uses any more. Restore it in the guest's authorized_keys."
        ),
        _ => format!(
            "{name} does not answer over ssh ({error}). If it has just started, wait a few seconds and try again."
        ),
    };
    ApiError::new(ErrorCode::Unavailable, text)
}
