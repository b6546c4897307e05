//! Handles users' requests: decided, reserved and recorded in one transaction, then run.
//!
//! A rejected request changes nothing: its transaction is rolled back.

use super::{VmAccess, Vms, lifecycle::Decision, operations, repository, stamp, transcript::Transcript};
use crate::{
    model::{
        ApiError, CurrentUser, Launch, OperationKind, QuotaCheck, Requested, Resize, SnapshotName, VmOutcome,
        VmSpec, VmStatus, VmView, check_launch, check_resize, price,
    },
    server::{
        credits::{self, Settlement},
        events::NewEvent,
        internal,
        provider::Machine,
    },
};
use sqlx::{Sqlite, Transaction};

/// Each takes disk space, and saving one takes longer the more there are.
const MAX_SNAPSHOTS: usize = 20;

/// The largest number of VMs in one request.
const MAX_SEVERAL: usize = 500;

/// A request for an operation on one VM.
struct OperationRequest<'a> {
    user: &'a CurrentUser,
    vm: &'a VmView,
    kind: OperationKind,
    snapshot: Option<SnapshotName>,
    /// What the log of events says of it.
    why: String,
}

impl Vms {
    /// Starts to launch a VM for `user`.
    ///
    /// # Errors
    /// `Invalid` with the fields that are wrong; `Conflict` when the name is taken, or when credits, the number of VMs
    /// or the host do not allow it.
    pub async fn launch(&self, user: &CurrentUser, launch: &Launch) -> Result<Requested, ApiError> {
        let (name, spec, setup) = check_launch(launch, &self.0.images, self.0.limits)?;
        let folder = self.folder(user.id, &name);
        let mut tx = self.0.database.write().await.map_err(internal)?;
        let quota = self.0.allowances.quota(&mut *tx, user.id).await.map_err(internal)?;
        let vm_id =
            repository::insert(&mut tx, user.id, &name, &spec, self.image(&spec.image), VmStatus::Pending)
                .await
                .map_err(|error| super::name_taken(error, &name))?;
        if tokio::fs::try_exists(&folder).await.unwrap_or(false) {
            return Err(super::folder_is_left(&folder));
        }
        if let Some(reason) = credits::too_many(quota) {
            return Err(ApiError::conflict(reason));
        }
        self.fits(&mut tx, vm_id, &spec).await?;
        repository::insert_setup(&mut tx, vm_id, &setup).await.map_err(internal)?;
        let kind = OperationKind::Launch;
        let operation_id = operations::insert(&mut tx, vm_id, kind, None, user.id).await.map_err(internal)?;
        self.0.allowances.reserve(&mut tx, user.id, vm_id, Some(operation_id), &spec, stamp()).await?;
        let text = operations::requested_text(&user.username, kind, name.as_str(), None);
        NewEvent::info(operations::requested_kind(kind), Some(vm_id), text)
            .by(user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        self.commit_and_begin(tx, vm_id, operation_id, Vec::new()).await?;
        self.requested(vm_id, Some(operation_id)).await
    }

    /// The Vagrantfile that a launch would be made with.
    ///
    /// # Errors
    /// `Invalid` with the fields that are wrong.
    pub fn preview_vagrantfile(&self, user: &CurrentUser, launch: &Launch) -> Result<String, ApiError> {
        let (name, spec, setup) = check_launch(launch, &self.0.images, self.0.limits)?;
        let image = self.0.images.iter().find(|image| image.key == spec.image);
        let image = image.ok_or_else(|| ApiError::not_found("image"))?;
        Ok(self.0.machines.vagrantfile(&Machine {
            owner_id: user.id,
            directory: self.folder(user.id, &name),
            name,
            vagrant_box: image.vagrant_box.clone(),
            box_url: image.box_url.clone(),
            spec,
            is_resized: false,
            setup,
            domain_uuid: None,
            project: None,
        }))
    }

    /// What a VM of this size would cost `user`, and the reasons why it cannot be launched.
    ///
    /// # Errors
    /// `Invalid` with the fields that are wrong; `Internal` when the database cannot be read.
    pub async fn check_quota(&self, user: &CurrentUser, spec: &VmSpec) -> Result<QuotaCheck, ApiError> {
        // A valid name, because none has been entered yet.
        let launch = Launch {
            name: "new-vm".into(),
            image: spec.image.clone(),
            ram_mb: spec.ram_mb,
            cpu_cores: spec.cpu_cores,
            disk_gb: spec.disk_gb,
            ..Launch::default()
        };
        let (_, spec, _) = check_launch(&launch, &self.0.images, self.0.limits)?;
        let quota = self.quota(user.id).await?;
        let price = price(&spec);
        let against = self.0.allowances.against_capacity(self.0.database.read(), None, &spec).await;
        let own = [credits::too_many(quota), credits::too_expensive(i64::from(price), quota)];
        let reasons: Vec<_> = own.into_iter().flatten().chain(against.map_err(internal)?).collect();
        Ok(QuotaCheck { price, quota, allowed: reasons.is_empty(), reasons })
    }

    /// Starts an operation on a VM, unless the VM is in that state already or the operation is open.
    ///
    /// # Errors
    /// `Conflict` with the reason when it cannot start now.
    pub async fn request(&self, access: &VmAccess, kind: OperationKind) -> Result<Requested, ApiError> {
        self.request_by_user(access, kind, None).await
    }

    /// The same for one of its snapshots.
    ///
    /// # Errors
    /// As [`Self::request`]; `Conflict` too when there are too many, one of this name is there, or there is none.
    pub async fn request_on_snapshot(
        &self,
        access: &VmAccess,
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
        access: &VmAccess,
        kind: OperationKind,
        snapshot: Option<SnapshotName>,
    ) -> Result<Requested, ApiError> {
        let (user, vm) = (access.user(), access.vm());
        let why = operations::requested_text(&user.username, kind, &vm.name, snapshot.as_ref());
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

    async fn submit(&self, request: OperationRequest<'_>) -> Result<Requested, ApiError> {
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
            operations::insert(&mut tx, vm.id, kind, snapshot.as_ref(), user.id).await.map_err(internal)?;
        if kind.starts_vm() && !lifecycle.is_adopted {
            let spec = repository::wanted_spec(&mut tx, vm.id).await.map_err(internal)?;
            self.fits(&mut tx, vm.id, &spec).await?;
            self.0
                .allowances
                .reserve(&mut tx, vm.owner_id, vm.id, Some(operation_id), &spec, stamp())
                .await?;
        }
        repository::set_pending(&mut tx, vm.id).await.map_err(internal)?;
        NewEvent::info(operations::requested_kind(kind), Some(vm.id), why)
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
    pub async fn destroy(&self, access: &VmAccess, forget_samples: bool) -> Result<Requested, ApiError> {
        repository::set_forget_samples(&self.0.database, access.vm().id, forget_samples)
            .await
            .map_err(internal)?;
        self.request(access, OperationKind::Destroy).await
    }

    /// Writes down what the VM's next start gives it, and sets aside what that costs more.
    ///
    /// # Errors
    /// `Invalid` with the fields that are wrong; `Conflict` with the reason when this is not possible now.
    pub async fn resize(&self, access: &VmAccess, resize: Resize) -> Result<Requested, ApiError> {
        let (user, vm, kind) = (access.user(), access.vm(), OperationKind::Resize);
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
        let operation_id = operations::insert(&mut tx, vm.id, kind, None, user.id).await.map_err(internal)?;
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
        NewEvent::info(operations::requested_kind(kind), Some(vm.id), text)
            .by(user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        self.requested(vm.id, Some(operation_id)).await
    }

    /// Cancels an operation of this VM. A running one gets SIGINT, then SIGTERM, then SIGKILL; what it leaves is found
    /// out, and a launch is taken back.
    ///
    /// # Errors
    /// `NotFound` when the VM has no such operation; `Conflict` when it has ended.
    pub async fn cancel(&self, access: &VmAccess, operation_id: i64) -> Result<(), ApiError> {
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

    /// Powers off every VM at once, suspended ones too, and cancels operations that start one. Returns the outcome for each
    /// VM.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn emergency_stop(&self, user: &CurrentUser) -> Result<Vec<VmOutcome>, ApiError> {
        let text = format!("{} pressed the emergency stop: every VM is turned off.", user.username);
        self.0.events.record(NewEvent::warning("emergency_stop", None, text).by(user.id)).await;
        let mut outcomes = Vec::new();
        for vm in self.list(super::Scope::All).await? {
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
    /// `Invalid` for other operations, and without VMs or with too many; `NotFound` when one does not exist or belongs to
    /// someone else; then nothing is started.
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
        let theirs = self.list(super::Scope::of(user)).await?;
        if !vm_ids.iter().all(|id| theirs.iter().any(|vm| vm.id == *id)) {
            return Err(ApiError::not_found("VM"));
        }
        let mut outcomes = Vec::new();
        for vm in theirs.into_iter().filter(|vm| vm_ids.contains(&vm.id)) {
            let why = operations::requested_text(&user.username, kind, &vm.name, None);
            let outcome = self.submit(OperationRequest { user, vm: &vm, kind, snapshot: None, why }).await;
            outcomes.push(outcome_of(vm, outcome, doing));
        }
        Ok(outcomes)
    }

    /// Fails if the host lacks the capacity.
    async fn fits(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        vm_id: i64,
        spec: &VmSpec,
    ) -> Result<(), ApiError> {
        let against =
            self.0.allowances.against_capacity(&mut **tx, Some(vm_id), spec).await.map_err(internal)?;
        if against.is_empty() { Ok(()) } else { Err(ApiError::conflict(against.join(" "))) }
    }

    /// Takes what waits out of the VM's queue, and has what runs ended; answers what runs.
    async fn supersede(&self, tx: &mut Transaction<'_, Sqlite>, vm_id: i64) -> Result<Vec<i64>, sqlx::Error> {
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

    /// Restores the status of a VM whose queued operation was dropped, if nothing else is open.
    async fn rest_if_idle(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        vm_id: i64,
        dropped: OperationKind,
    ) -> Result<(), sqlx::Error> {
        if newest_open(tx, vm_id).await?.is_some() {
            return Ok(());
        }
        let status = if dropped == OperationKind::Launch { VmStatus::NotCreated } else { VmStatus::Unknown };
        repository::set_status(tx, vm_id, status, None).await
    }

    async fn requested(&self, vm_id: i64, operation_id: Option<i64>) -> Result<Requested, ApiError> {
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
    async fn commit_and_begin(
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

async fn newest_open(tx: &mut Transaction<'_, Sqlite>, vm_id: i64) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT max(id) FROM operation WHERE vm_id = ? AND state IN ('queued', 'running')")
        .bind(vm_id)
        .fetch_one(&mut **tx)
        .await
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
