//! Cancels operations: queued ones end at once, running ones are interrupted.

use super::{MayOperate, VmAccess, Vms, repository, stamp};
use crate::{
    model::{ApiError, OperationKind, VmStatus},
    server::{credits::Settlement, events::NewEvent, internal},
};
use sqlx::{Sqlite, Transaction};

impl Vms {
    /// Cancels an operation of this VM. A running one gets SIGINT, then SIGTERM, then SIGKILL; what it leaves is found
    /// out, and a launch is taken back.
    ///
    /// # Errors
    /// `NotFound` when the VM has no such operation; `Conflict` when it has ended.
    pub async fn cancel(
        &self,
        access: &VmAccess<impl MayOperate>,
        operation_id: i64,
    ) -> Result<(), ApiError> {
        let (user, vm) = (access.user(), access.vm());
        let mut tx = self.0.database.write().await.map_err(internal)?;
        let found: Option<(String, String)> =
            sqlx::query_as("SELECT kind, state FROM operation WHERE id = ? AND vm_id = ?")
                .bind(operation_id)
                .bind(vm.id)
                .fetch_optional(&mut *tx)
                .await
                .map_err(internal)?;
        let (kind, state) = found.ok_or_else(|| ApiError::not_found("operation"))?;
        let kind = OperationKind::parse(&kind).ok_or_else(|| ApiError::not_found("operation"))?;
        if kind.is_about_a_snapshot() && state == "running" {
            return Err(ApiError::conflict(
                "Snapshot operations cannot be cancelled: the disk could be damaged. They take only a moment.",
            ));
        }
        let running = match state.as_str() {
            "queued" => {
                self.drop_queued(&mut tx, vm.id, operation_id, kind).await.map_err(internal)?;
                self.rest_if_idle(&mut tx, vm.id, kind).await.map_err(internal)?;
                false
            }
            "running" => {
                request_cancellation(&mut tx, operation_id).await.map_err(internal)?;
                true
            }
            _ => return Err(ApiError::conflict("It has already finished.")),
        };
        let text = format!("{} cancelled \"{}\" of {}.", user.username, kind.label(), vm.name);
        NewEvent::info("vm_operation_cancel_requested", Some(vm.id), text)
            .by(user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        if running {
            self.0.operations.cancel(operation_id);
        }
        Ok(())
    }

    /// Takes what waits out of the VM's queue, and has what runs ended; answers what runs.
    pub(super) async fn supersede(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        vm_id: i64,
    ) -> Result<Vec<i64>, sqlx::Error> {
        let open: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT id, kind, state FROM operation WHERE vm_id = ? AND state IN ('queued', 'running') ORDER BY id",
        )
        .bind(vm_id)
        .fetch_all(&mut **tx)
        .await?;
        let mut running = Vec::new();
        for (id, kind, state) in open {
            if state == "queued" {
                let kind = OperationKind::parse(&kind).unwrap_or(OperationKind::Stop);
                self.drop_queued(tx, vm_id, id, kind).await?;
            } else {
                request_cancellation(tx, id).await?;
                running.push(id);
            }
        }
        Ok(running)
    }

    /// Ends an operation that never ran.
    async fn drop_queued(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        vm_id: i64,
        operation_id: i64,
        kind: OperationKind,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE operation SET state = 'cancelled', cancel_requested_at = ?1, finished_at = ?1,
                                  error = 'It was cancelled before it began.' WHERE id = ?2",
        )
        .bind(stamp())
        .bind(operation_id)
        .execute(&mut **tx)
        .await?;
        if kind.starts_vm() {
            let allowances = &self.0.allowances;
            allowances.settle(tx, vm_id, Some(operation_id), Settlement::Release, stamp()).await?;
        }
        Ok(())
    }

    /// Restores the status of a VM whose queued operation was dropped, if nothing else is open. Of an import, no VM is left.
    async fn rest_if_idle(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        vm_id: i64,
        dropped: OperationKind,
    ) -> Result<(), sqlx::Error> {
        if newest_open(tx, vm_id).await?.is_some() {
            return Ok(());
        }
        if dropped == OperationKind::Import {
            return repository::set_destroyed(tx, vm_id).await;
        }
        let status = if dropped == OperationKind::Launch { VmStatus::NotCreated } else { VmStatus::Unknown };
        repository::set_status(tx, vm_id, status, None).await
    }
}

async fn request_cancellation(
    tx: &mut Transaction<'_, Sqlite>,
    operation_id: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE operation SET cancel_requested_at = coalesce(cancel_requested_at, ?) WHERE id = ?")
        .bind(stamp())
        .bind(operation_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub async fn newest_open(tx: &mut Transaction<'_, Sqlite>, vm_id: i64) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT max(id) FROM operation WHERE vm_id = ? AND state IN ('queued', 'running')")
        .bind(vm_id)
        .fetch_one(&mut **tx)
        .await
}
