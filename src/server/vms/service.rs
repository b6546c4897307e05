//! Handles users' requests: decided, reserved and recorded in one transaction, then run.
//!
//! A rejected request changes nothing: its transaction is rolled back. Launches are in `launches.rs`, cancellations in
//! `cancellation.rs`, requests for several VMs in `bulk.rs`.

use super::{
    MayOperate, Own, VmAccess, Vms, cancellation::newest_open, lifecycle::Decision, operation_events, queue,
    repository, stamp, transcript::Transcript,
};
use crate::{
    model::{
        ApiError, CurrentUser, OperationKind, Requested, Resize, SnapshotName, VmSpec, VmStatus, VmView,
        check_resize,
    },
    server::{credits::Settlement, events::NewEvent, internal},
};
use sqlx::{Sqlite, Transaction};

/// Each takes disk space, and saving one takes longer the more there are.
const MAX_SNAPSHOTS: usize = 20;

/// A request for an operation on one VM.
pub struct OperationRequest<'a> {
    pub user: &'a CurrentUser,
    pub vm: &'a VmView,
    pub kind: OperationKind,
    pub snapshot: Option<SnapshotName>,
    /// What the log of events says of it.
    pub why: String,
}

impl Vms {
    /// Starts an operation on a VM, unless the VM is in that state already or the operation is open.
    ///
    /// # Errors
    /// `Conflict` with the reason when it cannot start now.
    pub async fn request(
        &self,
        access: &VmAccess<impl MayOperate>,
        kind: OperationKind,
    ) -> Result<Requested, ApiError> {
        self.request_by_user(access, kind, None).await
    }

    /// The same for one of its snapshots.
    ///
    /// # Errors
    /// As [`Self::request`]; `Conflict` too when there are too many, one of this name is there, or there is none.
    pub async fn request_on_snapshot(
        &self,
        access: &VmAccess<impl MayOperate>,
        kind: OperationKind,
        snapshot: SnapshotName,
    ) -> Result<Requested, ApiError> {
        // While an operation is open, the lifecycle decides; and the snapshots of a busy VM are not read.
        if access.vm().allowed.contains(&kind) {
            let snapshots = self.snapshots(access).await?;
            let name = snapshot.as_str();
            let is_there = snapshots.iter().any(|known| known.name == name);
            match kind {
                OperationKind::SnapshotSave if is_there => {
                    let text = format!("A snapshot called {name} already exists. Choose another name.");
                    return Err(ApiError::conflict(text));
                }
                OperationKind::SnapshotSave if access.vm().disk_will_grow() => {
                    let text = "A disk with snapshots cannot grow, and a larger disk is pending. Restart the VM first, or \
                                set its disk back.";
                    return Err(ApiError::conflict(text));
                }
                OperationKind::SnapshotSave if snapshots.len() >= MAX_SNAPSHOTS => {
                    let text = format!("A VM has {MAX_SNAPSHOTS} snapshots at most. Delete one first.");
                    return Err(ApiError::conflict(text));
                }
                OperationKind::SnapshotRestore | OperationKind::SnapshotDelete if !is_there => {
                    return Err(ApiError::conflict(format!("There is no snapshot called {name}.")));
                }
                _ => {}
            }
        }
        self.request_by_user(access, kind, Some(snapshot)).await
    }

    async fn request_by_user(
        &self,
        access: &VmAccess<impl MayOperate>,
        kind: OperationKind,
        snapshot: Option<SnapshotName>,
    ) -> Result<Requested, ApiError> {
        let (user, vm) = (access.user(), access.vm());
        super::access::require(vm, kind.required_access())?;
        let why = operation_events::requested_text(&user.username, kind, &vm.name, snapshot.as_ref());
        self.submit(OperationRequest { user, vm, kind, snapshot, why }).await
    }

    /// The same for a scheduled action: a shutdown at a set time, or a start with the server.
    pub(super) async fn run_scheduled(
        &self,
        owner: &CurrentUser,
        vm: &VmView,
        kind: OperationKind,
        why: String,
    ) -> Result<Requested, ApiError> {
        self.submit(OperationRequest { user: owner, vm, kind, snapshot: None, why }).await
    }

    pub(super) async fn submit(&self, request: OperationRequest<'_>) -> Result<Requested, ApiError> {
        let OperationRequest { user, vm, mut kind, snapshot, why } = request;
        let mut tx = self.0.database.write().await.map_err(internal)?;
        let found = repository::lifecycle(&mut tx, vm.id).await.map_err(internal)?;
        let Some(lifecycle) = found else { return Err(ApiError::not_found("VM")) };
        let mut to_cancel = Vec::new();
        match lifecycle.decide(kind) {
            Decision::AlreadySo => return Ok(Requested { vm_id: vm.id, operation: None }),
            Decision::AlreadyUnderWay => {
                let open = newest_open(&mut tx, vm.id).await.map_err(internal)?;
                drop(tx);
                return self.requested(vm.id, open).await;
            }
            Decision::Rejected(rejection) => return Err(rejection_error(&vm.name, kind, rejection)),
            Decision::Supersede => to_cancel = self.supersede(&mut tx, vm.id).await.map_err(internal)?,
            Decision::Begin => {}
        }
        // It resumes with the resources it had.
        if kind == OperationKind::Start && lifecycle.status == VmStatus::Suspended && !lifecycle.is_adopted {
            kind = OperationKind::Resume;
        }
        let operation_id =
            queue::insert(&mut tx, vm.id, kind, snapshot.as_ref(), user.id).await.map_err(internal)?;
        if kind.starts_vm() && !lifecycle.is_adopted {
            let spec = repository::wanted_spec(&mut tx, vm.id).await.map_err(internal)?;
            self.fits(&mut tx, vm.id, &spec).await?;
            self.0
                .allowances
                .reserve(&mut tx, vm.owner_id, vm.id, Some(operation_id), &spec, stamp())
                .await?;
        }
        repository::set_pending(&mut tx, vm.id).await.map_err(internal)?;
        NewEvent::info(operation_events::requested_kind(kind), Some(vm.id), why)
            .by(user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        self.commit_and_begin(tx, vm.id, operation_id, to_cancel).await?;
        self.requested(vm.id, Some(operation_id)).await
    }

    /// Starts to destroy a VM; once that is done, its samples are deleted too if `forget_samples`.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn destroy(&self, access: &VmAccess<Own>, forget_samples: bool) -> Result<Requested, ApiError> {
        repository::set_forget_samples(&self.0.database, access.vm().id, forget_samples)
            .await
            .map_err(internal)?;
        self.request(access, OperationKind::Destroy).await
    }

    /// Writes down what the VM's next start gives it, and sets aside what that costs more.
    ///
    /// # Errors
    /// `Invalid` with the fields that are wrong; `Conflict` with the reason when this is not possible now.
    pub async fn resize(&self, access: &VmAccess<Own>, resize: Resize) -> Result<Requested, ApiError> {
        let (user, vm, kind) = (access.user(), access.vm(), OperationKind::Resize);
        // While an operation is open, the lifecycle decides; and the snapshots of a busy VM are not read.
        let grows = resize.disk_gb.is_some_and(|wanted_gb| wanted_gb > vm.spec.disk_gb);
        if grows && vm.allowed.contains(&kind) && !self.snapshots(access).await?.is_empty() {
            let text = format!(
                "{} has snapshots, and a disk with snapshots cannot grow. Delete them first.",
                vm.name
            );
            return Err(ApiError::conflict(text));
        }
        let mut tx = self.0.database.write().await.map_err(internal)?;
        let found = repository::lifecycle(&mut tx, vm.id).await.map_err(internal)?;
        let lifecycle = found.ok_or_else(|| ApiError::not_found("VM"))?;
        let now = repository::wanted_spec(&mut tx, vm.id).await.map_err(internal)?;
        // Absent values stay as last requested; a pending growth can be cancelled.
        let resize = Resize {
            ram_mb: resize.ram_mb.or(Some(now.ram_mb)),
            cpu_cores: resize.cpu_cores.or(Some(now.cpu_cores)),
            disk_gb: resize.disk_gb.or(Some(now.disk_gb)),
        };
        let spec = check_resize(resize, &vm.spec, self.image(&vm.spec.image), self.0.limits)?;
        if let Decision::Rejected(rejection) = lifecycle.decide(kind) {
            return Err(rejection_error(&vm.name, kind, rejection));
        }
        if spec == now {
            return Ok(Requested { vm_id: vm.id, operation: None });
        }
        // What an earlier change had set aside, and which this one replaces, is free again.
        self.0
            .allowances
            .settle(&mut tx, vm.id, None, Settlement::Release, stamp())
            .await
            .map_err(internal)?;
        if lifecycle.status != VmStatus::Stopped {
            self.fits(&mut tx, vm.id, &spec).await?;
        }
        let operation_id = queue::insert(&mut tx, vm.id, kind, None, user.id).await.map_err(internal)?;
        let is_made = !matches!(lifecycle.status, VmStatus::Failed | VmStatus::NotCreated);
        if is_made {
            self.0.allowances.reserve(&mut tx, vm.owner_id, vm.id, None, &spec, stamp()).await?;
        }
        repository::set_next_spec(&mut tx, vm.id, &spec).await.map_err(internal)?;
        let given = format!("{} MB, {} cores, {} GB", spec.ram_mb, spec.cpu_cores, spec.disk_gb);
        sqlx::query(
            "UPDATE operation SET state = 'succeeded', finished_at = ?, last_line = ?2, output = ?2 WHERE id = ?3",
        )
        .bind(stamp())
        .bind(format!("From the next start: {given}."))
        .bind(operation_id)
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        let text =
            format!("{} gives {} other resources from its next start on: {given}.", user.username, vm.name);
        NewEvent::info(operation_events::requested_kind(kind), Some(vm.id), text)
            .by(user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        self.requested(vm.id, Some(operation_id)).await
    }

    /// Fails if the host lacks the capacity.
    pub(super) async fn fits(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        vm_id: i64,
        spec: &VmSpec,
    ) -> Result<(), ApiError> {
        let against =
            self.0.allowances.against_capacity(&mut **tx, Some(vm_id), spec).await.map_err(internal)?;
        if against.is_empty() { Ok(()) } else { Err(ApiError::conflict(against.join(" "))) }
    }

    pub(super) async fn requested(
        &self,
        vm_id: i64,
        operation_id: Option<i64>,
    ) -> Result<Requested, ApiError> {
        let mut operation = match operation_id {
            Some(id) => repository::operation(&self.0.database, id).await.map_err(internal)?,
            None => None,
        };
        if let Some(operation) = &mut operation {
            self.0.operations.complete(operation);
        }
        Ok(Requested { vm_id, operation })
    }

    /// In its own task: a client that disconnects must not leave an operation that never starts.
    pub(super) async fn commit_and_begin(
        &self,
        tx: Transaction<'static, Sqlite>,
        vm_id: i64,
        operation_id: i64,
        to_cancel: Vec<i64>,
    ) -> Result<(), ApiError> {
        let vms = self.clone();
        let committed = tokio::spawn(async move {
            tx.commit().await?;
            vms.begin(vm_id, operation_id, Transcript::default());
            for running in to_cancel {
                vms.0.operations.cancel(running);
            }
            Ok::<(), sqlx::Error>(())
        });
        committed.await.map_err(internal)?.map_err(internal)
    }
}

fn rejection_error(name: &str, kind: OperationKind, rejection: super::lifecycle::Rejection) -> ApiError {
    ApiError::conflict(format!("{name} cannot {} now. {rejection}", kind.label()))
}
