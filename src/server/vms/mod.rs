//! VMs: their records, folders and operations.

mod access;
mod adopt;
mod bulk;
mod cancellation;
mod images;
mod info_writer;
mod launches;
mod lifecycle;
mod monitored;
mod operation_events;
mod operations;
mod orphans;
mod outcome;
mod queue;
mod reconcile;
mod removals;
mod repository;
mod row_cache;
mod scheduled_actions;
mod service;
mod shares;
mod transcript;
mod vagrantfiles;
mod vm_info;

use super::{
    credits::Allowances,
    database::{Database, now},
    events::Events,
    internal,
    monitor::latest::Latest,
    provider::{Machine, MachineDriver},
};
use crate::model::{
    AccessLevel, ApiError, ErrorCode, GuestSetup, Image, Limits, OperationView, Quota, Snapshot, VmMetrics,
    VmName, VmSpec, VmStatus, VmUsage, VmView,
};
pub use access::{Level, MayOperate, Operate, Own, View, VmAccess};
pub use adopt::Adoption;
pub use images::load as load_images;
use lifecycle::Lifecycle;
pub use monitored::MonitoredVm;
pub use outcome::status_after;
use queue::Operations;
pub use reconcile::{ObservedStatus, RecordedStatus, StatusChange, reconcile};
use removals::Removals;
use repository::VmRow;
use row_cache::RowCache;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
pub use vm_info::{Durability, Expect, Outcome, VmInfoFiles};

/// The most operations that are listed at once.
const MAX_OPERATIONS: u32 = 200;

/// The VMs that a query covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    All,
    /// Those that a user, who is no admin, owns, and those shared with them.
    User(i64),
    /// One VM, as somebody with this access sees it.
    One(i64, AccessLevel),
}

/// What carries out operations on VMs.
pub struct Backing {
    pub machines: Arc<dyn MachineDriver>,
    /// `None` where there is nothing to adopt.
    pub adoption: Option<Adoption>,
}

/// What may be requested.
#[derive(Debug, Clone)]
pub struct Offer {
    pub images: Vec<Image>,
    pub limits: Limits,
    pub allowances: Allowances,
}

#[derive(Clone)]
pub struct Vms(Arc<Inner>);

struct Inner {
    rows: RowCache,
    database: Database,
    events: Events,
    machines: Arc<dyn MachineDriver>,
    adoption: Option<Adoption>,
    images: Vec<Image>,
    limits: Limits,
    allowances: Allowances,
    folders: PathBuf,
    files: VmInfoFiles,
    latest: Latest,
    operations: Operations,
    removals: Removals,
}

impl Vms {
    /// `data_dir` is where the folder `vms` lies; `at_once` bounds the operations that run together.
    pub fn new(
        database: Database,
        events: Events,
        backing: Backing,
        offer: Offer,
        data_dir: &Path,
        latest: Latest,
        at_once: usize,
    ) -> Self {
        Self(Arc::new(Inner {
            rows: RowCache::new(database.clone()),
            database,
            events,
            machines: backing.machines,
            adoption: backing.adoption,
            images: offer.images,
            limits: offer.limits,
            allowances: offer.allowances,
            folders: data_dir.join("vms"),
            files: VmInfoFiles::default(),
            latest,
            operations: Operations::new(at_once),
            removals: Removals::default(),
        }))
    }

    pub fn images(&self) -> &[Image] {
        &self.0.images
    }

    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    /// What an account has, and may have.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn quota(&self, account_id: i64) -> Result<Quota, ApiError> {
        self.0.allowances.quota(self.0.database.read(), account_id).await.map_err(internal)
    }

    /// The VMs of a scope, oldest first.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn list(&self, scope: Scope) -> Result<Vec<VmView>, ApiError> {
        let rows = self.0.rows.all().await.map_err(internal)?;
        let snapshot = self.0.latest.get();
        let access = |row: &VmRow| match scope {
            Scope::All => Some(AccessLevel::Own),
            Scope::User(id) => row.access_of(id),
            Scope::One(id, access) => (row.id == id).then_some(access),
        };
        let covered = rows.iter().filter_map(|row| access(row).map(|access| (row, access)));
        Ok(covered.map(|(row, access)| self.view(row, snapshot.usage_of(row.id), access)).collect())
    }

    /// Whether one of these VMs is there, whoever may see it.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn any_exists(&self, vm_ids: &[i64]) -> Result<bool, ApiError> {
        let rows = self.0.rows.all().await.map_err(internal)?;
        Ok(rows.iter().any(|row| vm_ids.contains(&row.id)))
    }

    /// One VM, if it is there, as its owner sees it.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn find(&self, vm_id: i64) -> Result<Option<VmView>, ApiError> {
        self.find_with(vm_id, |_| Some(AccessLevel::Own)).await
    }

    /// The same as somebody sees it whose access `access` finds.
    async fn find_with(
        &self,
        vm_id: i64,
        access: impl FnOnce(&VmRow) -> Option<AccessLevel>,
    ) -> Result<Option<VmView>, ApiError> {
        let rows = self.0.rows.all().await.map_err(internal)?;
        let found = rows.iter().find(|row| row.id == vm_id).and_then(|row| Some((row, access(row)?)));
        Ok(found.map(|(row, access)| self.view(row, self.0.latest.get().usage_of(row.id), access)))
    }

    /// The machine of a VM, as its provider knows it.
    ///
    /// # Errors
    /// `NotFound` if the VM has been destroyed since; `Internal` when the database cannot be read.
    pub async fn machine_of(&self, access: &VmAccess<Operate>) -> Result<Machine, ApiError> {
        let rows = self.0.rows.all().await.map_err(internal)?;
        let row = rows.iter().find(|row| row.id == access.vm().id);
        row.and_then(|row| self.machine(row)).ok_or_else(|| ApiError::not_found("VM"))
    }

    /// The domain that a VM had when it was last seen, as far as that can be read.
    pub async fn domain_uuid(&self, vm_id: i64) -> Option<String> {
        let rows = self.0.rows.all().await.ok()?;
        rows.iter().find(|row| row.id == vm_id)?.domain_uuid.clone()
    }

    /// The latest values of a VM with two decimals.
    pub fn metrics(&self, access: &VmAccess<impl Level>) -> VmMetrics {
        VmMetrics::new(access.vm(), self.0.latest.get().sampled_at)
    }

    /// A VM's operations, newest first: at most `limit` of those before `before`.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn operations(
        &self,
        access: &VmAccess<impl Level>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<OperationView>, ApiError> {
        let found =
            repository::operations(&self.0.database, access.vm().id, before, limit.clamp(1, MAX_OPERATIONS))
                .await;
        let mut operations = found.map_err(internal)?;
        operations.iter_mut().for_each(|operation| self.0.operations.complete(operation));
        Ok(operations)
    }

    /// A VM's snapshots, oldest first.
    ///
    /// # Errors
    /// `Unavailable` when the hypervisor cannot list them.
    pub async fn snapshots(&self, access: &VmAccess<impl Level>) -> Result<Vec<Snapshot>, ApiError> {
        let Some(row) = self.row(access).await? else { return Err(ApiError::not_found("VM")) };
        let Some(machine) = self.machine(&row) else { return Ok(Vec::new()) };
        self.0.machines.snapshots(&machine).await.map_err(|error| {
            tracing::error!(detail = error.detail, "the snapshots cannot be read");
            ApiError::new(
                ErrorCode::Unavailable,
                "The hypervisor could not list the VM's snapshots. Try again.",
            )
        })
    }

    async fn row(&self, access: &VmAccess<impl Level>) -> Result<Option<VmRow>, ApiError> {
        Ok(repository::select(&self.0.database, Some(access.vm().id)).await.map_err(internal)?.pop())
    }

    /// What an operation of this VM has printed, oldest line first.
    ///
    /// # Errors
    /// `NotFound` when the VM has no such operation.
    pub async fn output(
        &self,
        access: &VmAccess<impl Level>,
        operation_id: i64,
    ) -> Result<Vec<String>, ApiError> {
        let stored: Option<String> =
            sqlx::query_scalar("SELECT output FROM operation WHERE id = ? AND vm_id = ?")
                .bind(operation_id)
                .bind(access.vm().id)
                .fetch_optional(self.0.database.read())
                .await
                .map_err(internal)?;
        let stored = stored.ok_or_else(|| ApiError::not_found("operation"))?;
        Ok(self
            .0
            .operations
            .lines(operation_id)
            .unwrap_or_else(|| stored.lines().map(str::to_owned).collect()))
    }

    /// Makes rows and folders of VMs that run already: the simulated fleet's first ones. Each is handed to
    /// `begin` before anybody can see its row, so that no tick finds a row without its machine.
    ///
    /// # Errors
    /// `Internal` when database or disk say no.
    pub async fn seed(
        &self,
        owner_id: i64,
        fleet: Vec<(VmName, VmSpec)>,
        begin: impl Fn(&Machine),
    ) -> Result<(), ApiError> {
        let mut tx = self.0.database.write().await.map_err(internal)?;
        for (name, spec) in fleet {
            let image = self.image(&spec.image);
            let vm_id = repository::insert(&mut tx, owner_id, &name, &spec, image, VmStatus::Running)
                .await
                .map_err(internal)?;
            repository::set_free(&mut tx, vm_id).await.map_err(internal)?;
            begin(&Machine {
                owner_id,
                directory: self.folder(owner_id, &name),
                name,
                vagrant_box: image.map_or_else(|| spec.image.clone(), |i| i.vagrant_box.clone()),
                spec,
                is_resized: false,
                setup: GuestSetup::default(),
                box_url: None,
                domain_uuid: None,
                project: None,
            });
        }
        tx.commit().await.map_err(internal)?;
        for monitored in self.monitored().await.map_err(internal)? {
            let folder = monitored.machine.directory.clone();
            tokio::fs::create_dir_all(&folder).await.map_err(internal)?;
            self.write_info(monitored.view, folder, Expect::New).await;
        }
        Ok(())
    }

    /// Whether there is a VM, or was one that is destroyed now.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn has_ever_existed(&self) -> Result<bool, ApiError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM vm)")
            .fetch_one(self.0.database.read())
            .await
            .map_err(internal)
    }

    fn folder(&self, owner_id: i64, name: &VmName) -> PathBuf {
        self.0.folders.join(format!("user{owner_id}-{name}"))
    }

    fn image(&self, key: &str) -> Option<&Image> {
        self.0.images.iter().find(|image| image.key == key)
    }

    fn machine(&self, row: &VmRow) -> Option<Machine> {
        let name = VmName::new(&row.name).ok()?;
        Some(Machine {
            owner_id: row.owner_id,
            directory: self.folder(row.owner_id, &name),
            name,
            spec: row.next_spec().unwrap_or_else(|| row.spec()),
            is_resized: row.next_spec().is_some(),
            setup: row.setup(),
            vagrant_box: row.vagrant_box.clone(),
            box_url: row.box_url.clone(),
            domain_uuid: row.domain_uuid.clone(),
            project: row.project(),
        })
    }

    fn view(&self, row: &VmRow, usage: VmUsage, access: AccessLevel) -> VmView {
        let mut view = row.view(usage, access);
        if let Some(operation) = view.operation.as_mut() {
            self.0.operations.complete(operation);
        }
        let open = view.operation.as_ref().filter(|o| o.state.is_open()).map(|o| o.kind);
        let is_adopted = view.adopted.is_some();
        view.allowed = Lifecycle { status: view.status, open, is_adopted }.allowed();
        access::restrict(&mut view, access);
        view
    }
}

fn folder_is_left(folder: &Path) -> ApiError {
    let text = format!(
        "The folder {} is left from an earlier VM of this name. Choose another name, or have the folder moved away.",
        folder.display()
    );
    ApiError { code: ErrorCode::Conflict, ..ApiError::invalid_field("name", text) }
}

fn name_taken(error: sqlx::Error, name: &VmName) -> ApiError {
    if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) {
        let text = format!("You already have a VM called {name}. Choose another name.");
        ApiError { code: ErrorCode::Conflict, ..ApiError::invalid_field("name", text) }
    } else {
        internal(error)
    }
}

/// What the clock says, for callers that stamp what they write.
fn stamp() -> i64 {
    now().0
}
