//! Queries of the table `vm`, joined with the owner and the latest operation.

use super::{Lifecycle, StatusChange, stamp};
use crate::{
    model::{
        AccessLevel, Adopted, GuestSetup, Image, OperationKind, OperationState, OperationView, UtcMillis,
        VmName, VmSpec, VmStatus, VmUsage, VmView,
    },
    server::{database::Database, provider::Project},
};
use sqlx::{FromRow, Row, Sqlite, Transaction, sqlite::SqliteRow};

/// A row of the table `operation`, with its requester, as `operation_columns` names them.
pub struct OperationRow(Option<OperationView>);

macro_rules! operation_columns {
    () => {
        "operation.id AS operation_id, operation.vm_id AS operation_vm_id, operation.kind AS operation_kind,
         operation.snapshot AS operation_snapshot, operation.state AS operation_state,
         (SELECT username FROM account WHERE account.id = operation.requested_by) AS operation_requested_by,
         operation.requested_at AS operation_requested_at, operation.finished_at AS operation_finished_at,
         operation.cancel_requested_at AS operation_cancel_requested_at,
         operation.last_line AS operation_last_line, operation.error AS operation_error"
    };
}

impl FromRow<'_, SqliteRow> for OperationRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let Some(id) = row.try_get::<Option<i64>, _>("operation_id")? else { return Ok(Self(None)) };
        let kind: String = row.try_get("operation_kind")?;
        let Some(kind) = OperationKind::parse(&kind) else { return Ok(Self(None)) };
        let state: String = row.try_get("operation_state")?;
        let state = OperationState::ALL.into_iter().find(|known| known.as_str() == state);
        let state = state.unwrap_or(OperationState::Failed);
        let cancel_requested_at: Option<i64> = row.try_get("operation_cancel_requested_at")?;
        Ok(Self(Some(OperationView {
            id,
            vm_id: row.try_get("operation_vm_id")?,
            kind,
            snapshot: row.try_get("operation_snapshot")?,
            state,
            requested_by: row.try_get("operation_requested_by")?,
            requested_at: UtcMillis(row.try_get("operation_requested_at")?),
            finished_at: row.try_get::<Option<i64>, _>("operation_finished_at")?.map(UtcMillis),
            is_being_cancelled: cancel_requested_at.is_some() && state.is_open(),
            phase: None,
            percent: None,
            last_line: row.try_get("operation_last_line")?,
            error: row.try_get("operation_error")?,
        })))
    }
}

/// A VM's operations, newest first.
pub async fn operations(
    database: &Database,
    vm_id: i64,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<OperationView>, sqlx::Error> {
    let rows: Vec<OperationRow> = sqlx::query_as(concat!(
        "SELECT ",
        operation_columns!(),
        " FROM operation WHERE vm_id = ?1 AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3"
    ))
    .bind(vm_id)
    .bind(before)
    .bind(limit)
    .fetch_all(database.read())
    .await?;
    Ok(rows.into_iter().filter_map(|row| row.0).collect())
}

/// One operation.
pub async fn operation(database: &Database, operation_id: i64) -> Result<Option<OperationView>, sqlx::Error> {
    let row: Option<OperationRow> =
        sqlx::query_as(concat!("SELECT ", operation_columns!(), " FROM operation WHERE id = ?"))
            .bind(operation_id)
            .fetch_optional(database.read())
            .await?;
    Ok(row.and_then(|row| row.0))
}

#[derive(FromRow)]
pub struct VmRow {
    pub id: i64,
    pub owner_id: i64,
    pub owner_name: String,
    /// `2:view 5:operate`: account ids and what they were granted.
    shares: Option<String>,
    pub name: String,
    pub image: String,
    pub os_type: String,
    pub vagrant_box: String,
    pub box_url: Option<String>,
    ram_mb: u32,
    cpu_cores: u32,
    disk_gb: u32,
    status: String,
    problem: Option<String>,
    pub problem_lasts: bool,
    ip_address: Option<String>,
    pub domain_uuid: Option<String>,
    adopted_directory: Option<String>,
    adopted_vagrantfile: Option<String>,
    adopted_data_directory: Option<String>,
    adopted_machine: Option<String>,
    adopted_provider: Option<String>,
    adopted_is_indexed: Option<bool>,
    created_at: i64,
    updated_at: i64,
    next_ram_mb: Option<u32>,
    next_cpu_cores: Option<u32>,
    next_disk_gb: Option<u32>,
    auto_start: bool,
    stop_at: Option<i64>,
    unexpected_stop_at: Option<i64>,
    provision_script: Option<String>,
    user_data: Option<String>,
    /// Its machine came up once, so that there may be something on its disk.
    pub was_made: bool,
    #[sqlx(flatten)]
    operation: OperationRow,
}

/// The tables that [`select`] reads.
pub const TABLES: [&str; 7] =
    ["vm", "account", "vm_share", "adopted", "guest_setup", "operation", "credit_entry"];

/// Of the VMs that are not destroyed: of one of them or all (`?1`).
pub const SELECT: &str = concat!(
    "SELECT vm.id, vm.owner_id, account.username AS owner_name,
            (SELECT group_concat(account_id || ':' || access, ' ') FROM vm_share WHERE vm_id = vm.id) AS shares, vm.name, vm.image, vm.os_type, vm.vagrant_box,
            vm.box_url, vm.ram_mb, vm.cpu_cores, vm.disk_gb, vm.next_ram_mb, vm.next_cpu_cores, vm.next_disk_gb,
            vm.auto_start, vm.stop_at, vm.unexpected_stop_at, vm.status, vm.problem, vm.problem_lasts, vm.ip_address,
            vm.domain_uuid,
            adopted.directory AS adopted_directory, adopted.vagrantfile AS adopted_vagrantfile,
            adopted.data_directory AS adopted_data_directory, adopted.machine AS adopted_machine,
            adopted.provider AS adopted_provider, adopted.is_indexed AS adopted_is_indexed,
            guest_setup.provision_script, guest_setup.user_data,
            vm.is_free OR EXISTS (SELECT 1 FROM credit_entry WHERE vm_id = vm.id AND kind = 'capture') AS was_made,
            vm.created_at, vm.updated_at, ",
    operation_columns!(),
    "
     FROM vm
     JOIN account ON account.id = vm.owner_id
     LEFT JOIN adopted ON adopted.vm_id = vm.id
     LEFT JOIN guest_setup ON guest_setup.vm_id = vm.id
     LEFT JOIN operation
            ON operation.id = (SELECT max(newest.id) FROM operation AS newest WHERE newest.vm_id = vm.id)
     WHERE vm.destroyed_at IS NULL AND (?1 IS NULL OR vm.id = ?1)
     ORDER BY vm.id"
);

/// One VM, or all.
pub async fn select(database: &Database, one: Option<i64>) -> Result<Vec<VmRow>, sqlx::Error> {
    sqlx::query_as(SELECT).bind(one).fetch_all(database.read()).await
}

impl VmRow {
    /// What the owner granted to a user; everything to themselves.
    pub fn access_of(&self, account_id: i64) -> Option<AccessLevel> {
        if account_id == self.owner_id {
            return Some(AccessLevel::Own);
        }
        let pairs = self.shares.as_deref()?.split(' ').filter_map(|pair| pair.split_once(':'));
        let (_, access) = pairs.into_iter().find(|(id, _)| id.parse() == Ok(account_id))?;
        AccessLevel::parse_granted(access)
    }

    pub fn spec(&self) -> VmSpec {
        VmSpec {
            image: self.image.clone(),
            ram_mb: self.ram_mb,
            cpu_cores: self.cpu_cores,
            disk_gb: self.disk_gb,
        }
    }

    /// What the next start gives it, if that is something else than it has.
    pub fn next_spec(&self) -> Option<VmSpec> {
        let now = self.spec();
        let next = VmSpec {
            ram_mb: self.next_ram_mb.unwrap_or(now.ram_mb),
            cpu_cores: self.next_cpu_cores.unwrap_or(now.cpu_cores),
            disk_gb: self.next_disk_gb.unwrap_or(now.disk_gb),
            image: self.image.clone(),
        };
        (next != now).then_some(next)
    }

    pub fn setup(&self) -> GuestSetup {
        GuestSetup { provision_script: self.provision_script.clone(), user_data: self.user_data.clone() }
    }

    /// The project it was adopted from, if it was.
    pub fn project(&self) -> Option<Project> {
        Some(Project {
            directory: self.adopted_directory.clone()?.into(),
            vagrantfile: self.adopted_vagrantfile.clone(),
            data_directory: self.adopted_data_directory.clone()?.into(),
            machine: self.adopted_machine.clone()?,
            provider: self.adopted_provider.clone()?,
            is_indexed: self.adopted_is_indexed?,
        })
    }

    /// As somebody with this access sees it; `allowed` is left empty.
    pub fn view(&self, usage: VmUsage, access: AccessLevel) -> VmView {
        let operation = self.operation.0.clone();
        let is_importing =
            operation.as_ref().is_some_and(|o| o.state.is_open() && o.kind == OperationKind::Import);
        let (mut spec, next_spec) = (self.spec(), self.next_spec());
        if is_importing {
            (spec.ram_mb, spec.cpu_cores, spec.disk_gb) = (0, 0, 0);
        }
        let adopted = self.project().map(|project| Adopted {
            directory: project.directory.display().to_string(),
            machine: project.machine,
            provider: project.provider,
        });
        VmView {
            id: self.id,
            name: self.name.clone(),
            owner_id: self.owner_id,
            owner_name: self.owner_name.clone(),
            access,
            os_type: self.os_type.clone(),
            spec,
            next_spec,
            status: VmStatus::parse(&self.status).unwrap_or(VmStatus::Unknown),
            problem: self.problem.clone(),
            ip_address: self.ip_address.clone(),
            adopted,
            auto_start: self.auto_start,
            stop_at: self.stop_at.map(UtcMillis),
            unexpected_stop_at: self.unexpected_stop_at.map(UtcMillis),
            created_at: UtcMillis(self.created_at),
            updated_at: UtcMillis(self.updated_at),
            operation,
            allowed: Vec::new(),
            usage,
        }
    }
}

pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    owner_id: i64,
    name: &VmName,
    spec: &VmSpec,
    image: Option<&Image>,
    status: VmStatus,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO vm (owner_id, name, image, os_type, vagrant_box, box_url, ram_mb, cpu_cores, disk_gb, status,
                         created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11) RETURNING id",
    )
    .bind(owner_id)
    .bind(name.as_str())
    .bind(&spec.image)
    .bind(image.map_or(&spec.image, |i| &i.label))
    .bind(image.map_or(&spec.image, |i| &i.vagrant_box))
    .bind(image.and_then(|i| i.box_url.as_deref()))
    .bind(spec.ram_mb)
    .bind(spec.cpu_cores)
    .bind(spec.disk_gb)
    .bind(status.as_str())
    .bind(stamp())
    .fetch_one(&mut **tx)
    .await
}

/// Keeps what a VM's guest is set up with.
pub async fn insert_setup(
    tx: &mut Transaction<'_, Sqlite>,
    vm_id: i64,
    setup: &GuestSetup,
) -> Result<(), sqlx::Error> {
    if setup.is_empty() {
        return Ok(());
    }
    sqlx::query("INSERT INTO guest_setup (vm_id, provision_script, user_data) VALUES (?, ?, ?)")
        .bind(vm_id)
        .bind(&setup.provision_script)
        .bind(&setup.user_data)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Marks a VM as free of charge.
pub async fn set_free(tx: &mut Transaction<'_, Sqlite>, vm_id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE vm SET is_free = 1 WHERE id = ?").bind(vm_id).execute(&mut **tx).await?;
    Ok(())
}

/// Writes down what the next start gives a VM.
pub async fn set_next_spec(
    tx: &mut Transaction<'_, Sqlite>,
    vm_id: i64,
    next: &VmSpec,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE vm SET next_ram_mb = nullif(?2, ram_mb), next_cpu_cores = nullif(?3, cpu_cores),
                       next_disk_gb = nullif(?4, disk_gb)
         WHERE id = ?1",
    )
    .bind(vm_id)
    .bind(next.ram_mb)
    .bind(next.cpu_cores)
    .bind(next.disk_gb)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What the next start gives a VM, read inside the transaction that decides.
pub async fn wanted_spec(tx: &mut Transaction<'_, Sqlite>, vm_id: i64) -> Result<VmSpec, sqlx::Error> {
    let (image, ram_mb, cpu_cores, disk_gb) = sqlx::query_as(
        "SELECT image, coalesce(next_ram_mb, ram_mb), coalesce(next_cpu_cores, cpu_cores),
                coalesce(next_disk_gb, disk_gb)
         FROM vm WHERE id = ?",
    )
    .bind(vm_id)
    .fetch_one(&mut **tx)
    .await?;
    Ok(VmSpec { image, ram_mb, cpu_cores, disk_gb })
}

/// Records that a VM was started with `given`. Later changes are still pending.
pub async fn set_spec(
    tx: &mut Transaction<'_, Sqlite>,
    vm_id: i64,
    given: &VmSpec,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE vm SET ram_mb = ?2, cpu_cores = ?3, disk_gb = ?4, next_ram_mb = nullif(next_ram_mb, ?2),
                       next_cpu_cores = nullif(next_cpu_cores, ?3), next_disk_gb = nullif(next_disk_gb, ?4)
         WHERE id = ?1",
    )
    .bind(vm_id)
    .bind(given.ram_mb)
    .bind(given.cpu_cores)
    .bind(given.disk_gb)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The VM's lifecycle state, read inside the deciding transaction.
pub async fn lifecycle(
    tx: &mut Transaction<'_, Sqlite>,
    vm_id: i64,
) -> Result<Option<Lifecycle>, sqlx::Error> {
    let found: Option<(String, Option<String>, bool)> = sqlx::query_as(
        "SELECT vm.status, operation.kind, EXISTS (SELECT 1 FROM adopted WHERE adopted.vm_id = vm.id) FROM vm
         LEFT JOIN operation ON operation.id = (
             SELECT max(open.id) FROM operation AS open WHERE open.vm_id = vm.id AND open.state IN ('queued', 'running')
         )
         WHERE vm.id = ? AND vm.destroyed_at IS NULL",
    )
    .bind(vm_id)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(|(status, open, is_adopted)| Lifecycle {
        status: VmStatus::parse(&status).unwrap_or(VmStatus::Unknown),
        open: open.as_deref().and_then(OperationKind::parse),
        is_adopted,
    }))
}

pub async fn set_pending(tx: &mut Transaction<'_, Sqlite>, vm_id: i64) -> Result<(), sqlx::Error> {
    set_status(tx, vm_id, VmStatus::Pending, None).await
}

pub async fn set_status(
    tx: &mut Transaction<'_, Sqlite>,
    vm_id: i64,
    status: VmStatus,
    problem: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE vm SET status = ?2, problem = ?3, problem_lasts = 0, updated_at = max(?4, updated_at + 1),
                       unexpected_stop_at = NULL,
                       ip_address = CASE WHEN ?2 = 'running' THEN ip_address END
         WHERE id = ?1",
    )
    .bind(vm_id)
    .bind(status.as_str())
    .bind(problem)
    .bind(stamp())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Keeps a VM's problem even while the VM runs well.
pub async fn set_problem_lasts(tx: &mut Transaction<'_, Sqlite>, vm_id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE vm SET problem_lasts = 1 WHERE id = ?").bind(vm_id).execute(&mut **tx).await?;
    Ok(())
}

/// Writes what was observed, unless the VM changed since `vm` was read or an operation is open. `updated_at`
/// grows with every change of status, so it identifies a state.
pub async fn note_status(
    tx: &mut Transaction<'_, Sqlite>,
    vm: &VmView,
    change: &StatusChange,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE vm SET status = ?3, problem = ?4, problem_lasts = (problem_lasts AND problem IS ?4),
                       updated_at = max(?5, updated_at + 1),
                       unexpected_stop_at = CASE WHEN ?6 THEN ?5 WHEN ?3 IN ('running', 'suspended') THEN NULL ELSE unexpected_stop_at END,
                       ip_address = CASE WHEN ?3 = 'running' THEN ip_address END
         WHERE id = ?1 AND updated_at = ?2 AND destroyed_at IS NULL AND NOT EXISTS
               (SELECT 1 FROM operation WHERE vm_id = ?1 AND state IN ('queued', 'running'))",
    )
    .bind(vm.id)
    .bind(vm.updated_at.0)
    .bind(change.status.as_str())
    .bind(&change.problem)
    .bind(stamp())
    .bind(change.stopped_unexpectedly)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn set_domain(
    tx: &mut Transaction<'_, Sqlite>,
    vm_id: i64,
    uuid: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE vm SET domain_uuid = ? WHERE id = ?")
        .bind(uuid)
        .bind(vm_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub async fn set_address(
    tx: &mut Transaction<'_, Sqlite>,
    vm_id: i64,
    address: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE vm SET ip_address = ? WHERE id = ? AND status = 'running'")
        .bind(address)
        .bind(vm_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Notes which machine a VM is that was not launched here.
pub async fn insert_adopted(
    tx: &mut Transaction<'_, Sqlite>,
    vm_id: i64,
    project: &Project,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO adopted (vm_id, directory, vagrantfile, data_directory, machine, provider, is_indexed)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(vm_id)
    .bind(project.directory.to_string_lossy())
    .bind(&project.vagrantfile)
    .bind(project.data_directory.to_string_lossy())
    .bind(&project.machine)
    .bind(&project.provider)
    .bind(project.is_indexed)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What an import found.
pub struct Imported {
    pub spec: VmSpec,
    pub status: VmStatus,
    pub domain_uuid: String,
    /// See [`Machine::is_indexed`](crate::server::provider::Machine::is_indexed).
    pub is_indexed: bool,
}

/// Notes what an import found.
pub async fn set_imported(
    tx: &mut Transaction<'_, Sqlite>,
    vm_id: i64,
    found: &Imported,
) -> Result<(), sqlx::Error> {
    set_spec(tx, vm_id, &found.spec).await?;
    sqlx::query("UPDATE adopted SET is_indexed = ? WHERE vm_id = ?")
        .bind(found.is_indexed)
        .bind(vm_id)
        .execute(&mut **tx)
        .await?;
    set_domain(tx, vm_id, Some(&found.domain_uuid)).await
}

/// The row stays for the sake of its history; what it was adopted from can be adopted again.
pub async fn set_destroyed(tx: &mut Transaction<'_, Sqlite>, vm_id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM vm_share WHERE vm_id = ?").bind(vm_id).execute(&mut **tx).await?;
    sqlx::query("DELETE FROM guest_setup WHERE vm_id = ?").bind(vm_id).execute(&mut **tx).await?;
    sqlx::query("DELETE FROM vagrantfile WHERE vm_id = ?").bind(vm_id).execute(&mut **tx).await?;
    sqlx::query("DELETE FROM adopted WHERE vm_id = ?").bind(vm_id).execute(&mut **tx).await?;
    sqlx::query("UPDATE vm SET destroyed_at = ?2, updated_at = ?2, status = 'not_created' WHERE id = ?1")
        .bind(vm_id)
        .bind(stamp())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Whether the VM's samples go when it is destroyed.
pub async fn set_forget_samples(database: &Database, vm_id: i64, forget: bool) -> Result<(), sqlx::Error> {
    let mut tx = database.write().await?;
    sqlx::query("UPDATE vm SET forget_samples = ? WHERE id = ? AND destroyed_at IS NULL")
        .bind(forget)
        .bind(vm_id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}
