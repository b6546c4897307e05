//! What the collector reads of the VMs, and what it saves of a sample.

use super::{StatusChange, Vms, repository, stamp};
use crate::{
    model::{AccessLevel, VmStatus, VmUsage, VmView},
    server::{credits::Settlement, provider::Machine},
};
use sqlx::{Sqlite, Transaction};

/// A VM with what the collector needs.
#[derive(Debug, Clone)]
pub struct MonitoredVm {
    pub view: VmView,
    pub machine: Machine,
    pub domain_uuid: Option<String>,
    pub busy: bool,
    /// Its problem stays while it runs well.
    pub problem_lasts: bool,
}

impl Vms {
    /// Everything there is to watch.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn monitored(&self) -> Result<Vec<MonitoredVm>, sqlx::Error> {
        let rows = repository::select(&self.0.database, None).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let machine = self.machine(&row)?;
                let (domain_uuid, problem_lasts) = (row.domain_uuid.clone(), row.problem_lasts);
                let view = self.view(&row, VmUsage::default(), AccessLevel::Own);
                let busy = view.operation.as_ref().is_some_and(|o| o.state.is_open());
                Some(MonitoredVm { view, machine, domain_uuid, busy, problem_lasts })
            })
            .collect())
    }

    /// Saves the status a sample shows. A VM that changed since `vm` was read is left for the next tick.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        vm: &VmView,
        change: &StatusChange,
    ) -> Result<bool, sqlx::Error> {
        let changed = repository::note_status(tx, vm, change).await?;
        if changed && let Some(event) = &change.event {
            event.write(tx).await?;
        }
        if changed && change.status == VmStatus::Running {
            // A launch that was given up, but whose machine runs: its reservation is due.
            self.0.allowances.settle(tx, vm.id, None, Settlement::Capture, stamp()).await?;
        }
        Ok(changed)
    }

    /// Releases the reservations of launches that failed and could not be undone, now that the hypervisor says
    /// that it has no machine of theirs.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn release_unbuilt(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        vm: &VmView,
    ) -> Result<(), sqlx::Error> {
        let unmade: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM vm WHERE id = ?1 AND status = 'failed' AND updated_at = ?2 AND EXISTS (
                 SELECT 1 FROM credit_entry AS r WHERE r.vm_id = ?1 AND r.kind = 'reserve'
                 AND NOT EXISTS (SELECT 1 FROM credit_entry AS s WHERE s.reserve_id = r.id)
             ) AND NOT EXISTS (SELECT 1 FROM operation WHERE vm_id = ?1 AND state IN ('queued', 'running'))",
        )
        .bind(vm.id)
        .bind(vm.updated_at.0)
        .fetch_optional(&mut **tx)
        .await?;
        if unmade.is_some() {
            self.0.allowances.settle(tx, vm.id, None, Settlement::Release, stamp()).await?;
        }
        Ok(())
    }

    /// Notes which domain is a VM's: the one that its folder names.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_domain(&self, vm_id: i64, uuid: &str) -> Result<(), sqlx::Error> {
        let mut tx = self.0.database.write().await?;
        repository::set_domain(&mut tx, vm_id, Some(uuid)).await?;
        tx.commit().await
    }

    /// Notes a VM's address.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_address(&self, vm_id: i64, address: Option<&str>) -> Result<(), sqlx::Error> {
        let mut tx = self.0.database.write().await?;
        repository::set_address(&mut tx, vm_id, address).await?;
        tx.commit().await
    }

    /// The id of the domain that the VM's folder names. Reads a file at most.
    pub fn domain_of(&self, machine: &Machine) -> Option<String> {
        self.0.machines.domain_uuid(machine)
    }
}
