//! What the end of an operation changes: its row, the VM's status, credits and an event, in one transaction.

use super::{
    Expect, VmRow, Vms,
    operation_events::{done_kind, done_text},
    repository, stamp,
};
use crate::{
    model::{OperationKind, OperationState, VmSpec, VmStatus},
    server::{
        credits::Settlement,
        events::NewEvent,
        provider::{MachineError, MachineErrorKind},
    },
};
use sqlx::{Sqlite, Transaction};
use std::time::Duration;

/// How an operation came to its end.
pub enum Ending {
    Done,
    /// A launch: nothing is left of it.
    Undone(MachineError),
    Failed(MachineError),
    /// What an import found.
    Imported(repository::Imported),
    /// An import: nothing is left of it, not even the VM.
    NotImported(MachineError),
}

impl Ending {
    fn error(&self) -> Option<&MachineError> {
        match self {
            Self::Done | Self::Imported(_) => None,
            Self::Undone(error) | Self::Failed(error) | Self::NotImported(error) => Some(error),
        }
    }

    fn state(&self) -> OperationState {
        match self.error() {
            None => OperationState::Succeeded,
            Some(error) if error.kind == MachineErrorKind::Cancelled => OperationState::Cancelled,
            Some(_) => OperationState::Failed,
        }
    }
}

impl Vms {
    pub(super) async fn finish(
        &self,
        operation_id: i64,
        kind: OperationKind,
        vm: &VmRow,
        ending: &Ending,
        took: Option<Duration>,
    ) -> Result<(), sqlx::Error> {
        let lines = self.0.operations.lines(operation_id).unwrap_or_default();
        let machine = self.machine(vm);
        let (allowances, now) = (&self.0.allowances, stamp());
        let has_changed_spec = kind.starts_vm() || kind == OperationKind::SnapshotRestore;
        let given = match machine.as_ref().filter(|machine| machine.project.is_none()) {
            Some(machine) if has_changed_spec && matches!(ending, Ending::Done) => {
                let actual = self.0.machines.actual_spec(machine).await;
                actual.or_else(|| kind.starts_vm().then(|| machine.spec.clone()))
            }
            _ => None,
        };
        let mut tx = self.0.database.write().await?;
        sqlx::query(
            "UPDATE operation SET state = ?, finished_at = ?, last_line = ?, output = ?, error = ? WHERE id = ?",
        )
        .bind(ending.state().as_str())
        .bind(now)
        .bind(lines.last().cloned().unwrap_or_default())
        .bind(lines.join("\n"))
        .bind(ending.error().map(|error| error.text.clone()))
        .bind(operation_id)
        .execute(&mut *tx)
        .await?;
        let uuid = machine.as_ref().and_then(|machine| self.0.machines.domain_uuid(machine));
        if matches!(ending, Ending::Undone(_)) {
            repository::set_domain(&mut tx, vm.id, None).await?;
        } else if uuid.is_some() {
            repository::set_domain(&mut tx, vm.id, uuid.as_deref()).await?;
        }
        let (name, vm_id) = (&vm.name, Some(vm.id));
        let is_first = kind.starts_vm() && !vm.was_made;
        let is_gone = match ending {
            Ending::Done => kind == OperationKind::Destroy,
            Ending::NotImported(_) => true,
            _ => false,
        };
        let (status, problem) = match ending {
            Ending::Done => (status_after(kind), None),
            Ending::Imported(found) => (found.status, None),
            Ending::NotImported(_) => (VmStatus::NotCreated, None),
            Ending::Undone(error) if error.kind == MachineErrorKind::Cancelled => {
                (VmStatus::NotCreated, None)
            }
            Ending::Undone(error) => (VmStatus::Failed, Some(error.text.as_str())),
            Ending::Failed(error) if error.kind == MachineErrorKind::Cancelled => (VmStatus::Unknown, None),
            // A failed first start leaves nothing usable; after any other failure the next sample shows the VM's
            // state.
            Ending::Failed(error) if is_first && error.kind != MachineErrorKind::ProvisionerFailed => {
                (VmStatus::Failed, Some(error.text.as_str()))
            }
            Ending::Failed(error) => (VmStatus::Unknown, Some(error.text.as_str())),
        };
        match ending {
            Ending::Done if kind == OperationKind::Destroy => {
                repository::set_destroyed(&mut tx, vm.id).await?;
                allowances.close(&mut tx, vm.id, now).await?;
            }
            Ending::Done if has_changed_spec => {
                let wanted = repository::wanted_spec(&mut tx, vm.id).await?;
                if let Some(given) = &given {
                    repository::set_spec(&mut tx, vm.id, given).await?;
                    // What could not be given, or was there before a snapshot was restored, is given at the next start.
                    repository::set_next_spec(&mut tx, vm.id, &wanted).await?;
                }
                if kind.starts_vm() {
                    // Only what it was given is charged; the rest stays set aside.
                    let partly = given.as_ref().filter(|given| **given != wanted);
                    if let Some(given) = partly {
                        allowances.settle(&mut tx, vm.id, None, Settlement::Release, now).await?;
                        self.set_aside(&mut tx, vm, given).await;
                    }
                    allowances.settle(&mut tx, vm.id, None, Settlement::Capture, now).await?;
                    if partly.is_some() {
                        self.set_aside(&mut tx, vm, &wanted).await;
                    }
                }
            }
            Ending::Imported(found) => repository::set_imported(&mut tx, vm.id, found).await?,
            Ending::NotImported(_) => repository::set_destroyed(&mut tx, vm.id).await?,
            Ending::Undone(_) => {
                allowances.settle(&mut tx, vm.id, None, Settlement::Release, now).await?;
            }
            Ending::Failed(error) if is_first && error.kind == MachineErrorKind::ProvisionerFailed => {
                allowances.settle(&mut tx, vm.id, None, Settlement::Capture, now).await?;
            }
            // Whether there is a machine is found out later: until then it is set aside.
            Ending::Failed(_) if is_first => {}
            Ending::Failed(_) => {
                allowances.settle(&mut tx, vm.id, Some(operation_id), Settlement::Release, now).await?;
            }
            Ending::Done => {}
        }
        if !is_gone {
            let waits: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM operation WHERE vm_id = ? AND state IN ('queued', 'running'))",
            )
            .bind(vm.id)
            .fetch_one(&mut *tx)
            .await?;
            let status = if waits { VmStatus::Pending } else { status };
            repository::set_status(&mut tx, vm.id, status, problem).await?;
            if kind.starts_vm() && ending.error().is_some_and(|error| leaves_work_undone(error.kind)) {
                repository::set_problem_lasts(&mut tx, vm.id).await?;
            }
        }
        let event = match ending.error() {
            None => NewEvent::info(done_kind(kind), vm_id, done_text(name, kind, took)),
            Some(error) if error.kind == MachineErrorKind::Cancelled => NewEvent::info(
                "vm_operation_cancelled",
                vm_id,
                format!("\"{}\" of {name} was cancelled.", kind.label()),
            ),
            Some(error) => {
                tracing::error!(vm = name, kind = ?error.kind, detail = error.detail, "vagrant failed");
                NewEvent::error(
                    "vm_operation_failed",
                    vm_id,
                    format!("\"{}\" of {name} failed. {}", kind.label(), error.text),
                )
            }
        };
        event.write(&mut tx).await?;
        tx.commit().await?;
        if let (Ok(Some(view)), Some(machine)) = (self.find(vm.id).await, machine) {
            let expect = if kind == OperationKind::Import { Expect::New } else { Expect::Existing };
            self.write_info(view, machine.directory, expect).await;
        }
        Ok(())
    }

    /// Reserves what a VM of this size costs beyond what was paid. It had been reserved before, so its owner can pay.
    async fn set_aside(&self, tx: &mut Transaction<'_, Sqlite>, vm: &VmRow, spec: &VmSpec) {
        let reserved = self.0.allowances.reserve(tx, vm.owner_id, vm.id, None, spec, stamp()).await;
        if let Err(error) = reserved {
            tracing::warn!(vm = vm.name, error = error.text, "a VM's size is not reserved");
        }
    }
}

/// Whether a VM that runs well still lacks something: what sets it up did not run to its end.
fn leaves_work_undone(kind: MachineErrorKind) -> bool {
    matches!(kind, MachineErrorKind::ProvisionerFailed | MachineErrorKind::TriggerFailed)
}

/// The status after success; where it depends on the earlier state, the next sample shows it.
pub fn status_after(kind: OperationKind) -> VmStatus {
    match kind {
        OperationKind::Launch | OperationKind::Start | OperationKind::Restart | OperationKind::Resume => {
            VmStatus::Running
        }
        OperationKind::Stop | OperationKind::ForceStop => VmStatus::Stopped,
        OperationKind::Suspend => VmStatus::Suspended,
        OperationKind::Destroy => VmStatus::NotCreated,
        OperationKind::Resize
        | OperationKind::SnapshotSave
        | OperationKind::SnapshotRestore
        | OperationKind::SnapshotDelete
        | OperationKind::Import => VmStatus::Unknown,
    }
}
