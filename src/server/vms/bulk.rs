//! Requests for several VMs at once: starts and stops, and the emergency stop.

use super::{Scope, Vms, access::require, operation_events, service::OperationRequest};
use crate::{
    model::{ApiError, CurrentUser, OperationKind, Requested, VmOutcome, VmView},
    server::{accounts::AdminAccess, events::NewEvent, request_origin},
};

/// The largest number of VMs in one request.
const MAX_SEVERAL: usize = 500;

impl Vms {
    /// Powers off every VM at once, suspended ones too, and cancels operations that start one. Returns the outcome for each
    /// VM.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn emergency_stop(&self, user: &AdminAccess) -> Result<Vec<VmOutcome>, ApiError> {
        let text = format!("{} pressed the emergency stop: every VM is turned off.", user.username);
        self.0.events.record(NewEvent::warning("emergency_stop", None, text).by(user.id)).await;
        let mut outcomes = Vec::new();
        for vm in self.list(Scope::All).await? {
            let kind = OperationKind::ForceStop;
            let why = format!("Emergency stop by {}: {} is turned off.", user.username, vm.name);
            let outcome = self.submit(OperationRequest { user, vm: &vm, kind, snapshot: None, why }).await;
            outcomes.push(outcome_of(vm, outcome, ("Powering off.", "It is not running.")));
        }
        Ok(outcomes)
    }

    /// Starts or stops several VMs that `user` may operate, and returns the outcome for each.
    ///
    /// # Errors
    /// `Invalid` for other operations, and without VMs or with too many; `NotFound` when one does not exist or the user
    /// may not see it, and `Forbidden` when they may only view it; then nothing is started.
    pub async fn request_of_several(
        &self,
        user: &CurrentUser,
        vm_ids: &[i64],
        kind: OperationKind,
    ) -> Result<Vec<VmOutcome>, ApiError> {
        let doing = match kind {
            OperationKind::Start => ("Starting.", "It is already running."),
            OperationKind::Stop => ("Stopping.", "It is not running."),
            _ => return Err(ApiError::invalid_field("action", "Several VMs can be started or stopped.")),
        };
        if vm_ids.is_empty() || vm_ids.len() > MAX_SEVERAL {
            let text = format!("Choose 1 to {MAX_SEVERAL} VMs.");
            return Err(ApiError::invalid_field("vm_ids", text));
        }
        let theirs = self.list(Scope::of(user)).await?;
        for id in vm_ids {
            let Some(vm) = theirs.iter().find(|vm| vm.id == *id) else {
                if self.any_exists(&[*id]).await? {
                    request_origin::note_hidden();
                }
                return Err(ApiError::not_found("VM"));
            };
            require(vm, kind.required_access())?;
        }
        let mut outcomes = Vec::new();
        for vm in theirs.into_iter().filter(|vm| vm_ids.contains(&vm.id)) {
            let why = operation_events::requested_text(&user.username, kind, &vm.name, None);
            let outcome = self.submit(OperationRequest { user, vm: &vm, kind, snapshot: None, why }).await;
            outcomes.push(outcome_of(vm, outcome, doing));
        }
        Ok(outcomes)
    }
}

/// Put into words: what is said when it begins, and when there is nothing to do.
fn outcome_of(
    vm: VmView,
    outcome: Result<Requested, ApiError>,
    (begins, already): (&str, &str),
) -> VmOutcome {
    let (operation_id, outcome) = match outcome {
        Ok(Requested { operation: Some(operation), .. }) => (Some(operation.id), begins.to_owned()),
        Ok(_) => (None, already.to_owned()),
        Err(error) => (None, error.text),
    };
    VmOutcome { vm_id: vm.id, name: vm.name, owner_name: vm.owner_name, operation_id, outcome }
}
