//! Creating and starting a machine, and cleaning up after a launch that was interrupted.

use super::{
    command::Grace,
    driver::Vagrant,
    task::{Task, say},
    virsh::Growth,
};
use crate::server::provider::{
    Machine, MachineCommand, MachineDriver, MachineError, MachineErrorKind, OwnedDomain,
};
use std::path::Path;

/// What vagrant-libvirt says when the box's image is in libvirt's pool.
const IMAGE_IS_THERE: &str = "Creating image (snapshot of base box volume)";

impl Vagrant {
    /// Makes what is not there and starts what is off. The disk of a machine that is off grows first, if it is to.
    pub(super) async fn up(&self, task: &Task<'_>) -> Result<(), MachineError> {
        let machine = task.machine;
        self.remember(machine).await?;
        self.prepare(machine, task.lines).await?;
        let limit = self.options.time_limits.up;
        if machine.project.is_some() {
            return self.vagrant(&["up"], task, limit).await;
        }
        if let Some(uuid) = self.domain_uuid(machine) {
            let wanted_gb = machine.spec.disk_gb;
            match self.grow_disk(&uuid, wanted_gb).await {
                Ok(Growth::Grown) => say(task.lines, &format!("The disk was grown to {wanted_gb} GB.")),
                Ok(Growth::NotNeeded) => {}
                Ok(Growth::HasSnapshots) => say(
                    task.lines,
                    &format!(
                        "The disk was not grown to {wanted_gb} GB, because it has snapshots. Delete them, then restart."
                    ),
                ),
                // The VM starts nevertheless, and the growth stays pending. If the disk was removed, `up` reports that.
                Err(error) if machine.is_resized => {
                    say(
                        task.lines,
                        &format!("The disk was not grown to {wanted_gb} GB. libvirt said: {}", error.detail),
                    );
                }
                Err(error) => tracing::debug!(detail = error.detail, "the disk's size is not known"),
            }
            return self.vagrant(&["up"], task, limit).await;
        }
        let mut lock = tokio::select! {
            guard = self.boxes.lock(&machine.vagrant_box, task.lines) => Some(guard),
            () = task.cancel.cancelled() => return Err(self.cancelled(machine, "while it waited for its box")),
        };
        let mut hear = |line: &str| {
            if line.starts_with(IMAGE_IS_THERE) {
                lock = None;
            }
        };
        self.vagrant_hearing(&["up"], task, limit, Grace::default(), &mut hear).await
    }

    /// The first `up` of a machine. If an earlier attempt was interrupted, a domain whose description names this folder, or
    /// a disk without a domain, is its leftover: it holds no data. Any other belongs to someone else.
    pub(super) async fn launch(&self, command: &MachineCommand, task: &Task<'_>) -> Result<(), MachineError> {
        let machine = task.machine;
        let error = match self.up(task).await {
            Err(error) if command.was_cut_off && self.domain_uuid(machine).is_none() => error,
            other => return other,
        };
        let left = match error.kind {
            MachineErrorKind::DiskExists => None,
            MachineErrorKind::NameTaken => match self.domain_made_in(&machine.directory).await {
                Some(domain) => Some(domain.uuid),
                None => return Err(error),
            },
            _ => return Err(error),
        };
        say(task.lines, "An earlier attempt was interrupted; removing what it left.");
        let half_made = Machine { domain_uuid: left, ..machine.clone() };
        self.destroy(&Task { machine: &half_made, ..*task }).await?;
        self.up(task).await
    }

    async fn domain_made_in(&self, directory: &Path) -> Option<OwnedDomain> {
        let owned = self.domains_made_in(directory.parent()?).await.ok()?;
        owned.into_iter().find(|domain| domain.directory == directory)
    }
}
