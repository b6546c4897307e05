//! Whether a user may be connected to a VM, now and later: the same for terminals and for the ssh gateway.

use crate::{
    model::{ApiError, CurrentUser, ErrorCode, OperationKind, VmStatus, VmView},
    server::{
        provider::Machine,
        vms::{Operate, Vms},
    },
};

/// The domain to connect to.
///
/// # Errors
/// `Conflict` when the VM does not run, with what to do.
pub fn running_domain(vm: &VmView, machine: &Machine) -> Result<String, ApiError> {
    if let Some(reason) = reason_to_end(vm.status, open_operation(vm)) {
        return Err(ApiError::conflict(format!("{} Start it first.", reason.replace("The VM", &vm.name))));
    }
    machine.domain_uuid.clone().ok_or_else(|| {
        ApiError::conflict(format!("{} has not been seen running yet. Try again in a few seconds.", vm.name))
    })
}

/// Why a user's connections to a domain of a VM must end, as a sentence; `None` if they may go on. It reads what is in memory.
pub async fn reason_to_disconnect(
    vms: &Vms,
    user: &CurrentUser,
    vm_id: i64,
    domain_uuid: &str,
) -> Option<String> {
    match vms.access::<Operate>(user, vm_id).await {
        Ok(access) => {
            let vm = access.vm();
            if let Some(reason) = reason_to_end(vm.status, open_operation(vm)) {
                return Some(reason.into());
            }
            let is_other = vms.domain_uuid(vm_id).await.is_some_and(|uuid| uuid != domain_uuid);
            is_other.then(|| "The VM was created anew.".into())
        }
        Err(error) if error.code == ErrorCode::NotFound || error.code == ErrorCode::Forbidden => {
            Some("You may not operate the VM any more, or it was destroyed.".into())
        }
        // The database cannot be read right now, which says nothing about the access.
        Err(_) => None,
    }
}

fn open_operation(vm: &VmView) -> Option<OperationKind> {
    vm.operation.as_ref().filter(|operation| operation.state.is_open()).map(|operation| operation.kind)
}

/// Why nobody can be connected to a VM; `None` if it can.
fn reason_to_end(status: VmStatus, open: Option<OperationKind>) -> Option<&'static str> {
    use OperationKind::{
        Destroy, ForceStop, Import, Launch, Resize, Restart, Resume, SnapshotDelete, SnapshotRestore,
        SnapshotSave, Start, Stop, Suspend,
    };
    match (status, open) {
        (_, Some(Stop | ForceStop)) => Some("The VM is being stopped."),
        (_, Some(Restart)) => Some("The VM is being restarted."),
        (_, Some(Suspend)) => Some("The VM is being suspended."),
        (_, Some(Destroy)) => Some("The VM is being destroyed."),
        (_, Some(Import)) => Some("The VM is being imported."),
        (_, Some(SnapshotRestore)) => Some("The VM is being restored to a snapshot."),
        (VmStatus::Running | VmStatus::Unknown, _)
        | (_, Some(SnapshotSave | SnapshotDelete | Resize | Resume | Start | Launch)) => None,
        (
            VmStatus::Pending
            | VmStatus::Stopped
            | VmStatus::Suspended
            | VmStatus::Failed
            | VmStatus::NotCreated,
            None,
        ) => Some("The VM does not run."),
    }
}
