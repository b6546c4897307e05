//! The table `vm`, joined with the owner and the newest operation.

use super::{Change, Lifecycle, Scope, stamp};
use crate::{
    model::{
        Adopted, Image, OperationKind, OperationState, OperationView, UtcMillis, VmFigures, VmName, VmSpec,
        VmStatus, VmView,
    },
    server::{database::Database, provider::Project},
};
use sqlx::{FromRow, Sqlite, Transaction};

#[derive(Debug, FromRow)]
pub struct VmRow {
    pub id: i64,
    pub owner_id: i64,
    pub owner_name: String,
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
    operation_id: Option<i64>,
    operation_kind: Option<String>,
    operation_state: Option<String>,
    operation_requested_at: Option<i64>,
    operation_finished_at: Option<i64>,
    operation_last_line: Option<String>,
    operation_error: Option<String>,
}

pub async fn select(database: &Database, scope: Scope) -> Result<Vec<VmRow>, sqlx::Error> {
    let (owner, one) = match scope {
        Scope::All => (None, None),
        Scope::Owner(id) => (Some(id), None),
        Scope::One(id) => (None, Some(id)),
    };
    sqlx::query_as(
        "SELECT vm.id, vm.owner_id, account.username AS owner_name, vm.name, vm.image, vm.os_type, vm.vagrant_box,
                vm.box_url, vm.ram_mb, vm.cpu_cores, vm.disk_gb, vm.status, vm.problem, vm.ip_address,
                vm.domain_uuid, adopted.directory AS adopted_directory, adopted.vagrantfile AS adopted_vagrantfile,
                adopted.data_directory AS adopted_data_directory, adopted.machine AS adopted_machine,
                adopted.provider AS adopted_provider, adopted.is_indexed AS adopted_is_indexed, vm.created_at, vm.updated_at, operation.id AS operation_id,
                operation.kind AS operation_kind, operation.state AS operation_state,
                operation.requested_at AS operation_requested_at,
                operation.finished_at AS operation_finished_at, operation.last_line AS operation_last_line,
                operation.error AS operation_error
         FROM vm
         JOIN account ON account.id = vm.owner_id
         LEFT JOIN adopted ON adopted.vm_id = vm.id
         LEFT JOIN operation
                ON operation.id = (SELECT max(newest.id) FROM operation AS newest WHERE newest.vm_id = vm.id)
         WHERE vm.destroyed_at IS NULL AND (?1 IS NULL OR vm.owner_id = ?1) AND (?2 IS NULL OR vm.id = ?2)
         ORDER BY vm.id",
    )
    .bind(owner)
    .bind(one)
    .fetch_all(database.read())
    .await
}

impl VmRow {
    pub fn spec(&self) -> VmSpec {
        VmSpec {
            image: self.image.clone(),
            ram_mb: self.ram_mb,
            cpu_cores: self.cpu_cores,
            disk_gb: self.disk_gb,
        }
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

    /// `allowed` is left empty.
    pub fn into_view(self, figures: VmFigures) -> VmView {
        let spec = self.spec();
        let operation = self.operation();
        let adopted = self.project().map(|project| Adopted {
            directory: project.directory.display().to_string(),
            machine: project.machine,
            provider: project.provider,
        });
        VmView {
            id: self.id,
            name: self.name,
            owner_id: self.owner_id,
            owner_name: self.owner_name,
            os_type: self.os_type,
            spec,
            status: VmStatus::parse(&self.status).unwrap_or(VmStatus::Unknown),
            problem: self.problem,
            ip_address: self.ip_address,
            adopted,
            created_at: UtcMillis(self.created_at),
            updated_at: UtcMillis(self.updated_at),
            operation,
            allowed: Vec::new(),
            figures,
        }
    }

    fn operation(&self) -> Option<OperationView> {
        Some(OperationView {
            id: self.operation_id?,
            kind: parse_kind(self.operation_kind.as_deref()?)?,
            state: parse_state(self.operation_state.as_deref()?),
            requested_at: UtcMillis(self.operation_requested_at?),
            finished_at: self.operation_finished_at.map(UtcMillis),
            last_line: self.operation_last_line.clone().unwrap_or_default(),
            error: self.operation_error.clone(),
        })
    }
}

pub fn parse_kind(text: &str) -> Option<OperationKind> {
    OperationKind::ALL.into_iter().find(|kind| kind.as_str() == text)
}

fn parse_state(text: &str) -> OperationState {
    use OperationState::{Failed, Queued, Running, Succeeded};
    [Queued, Running, Succeeded].into_iter().find(|state| state.as_str() == text).unwrap_or(Failed)
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

/// Where a VM stands, read inside the transaction that decides.
pub async fn lifecycle(
    tx: &mut Transaction<'_, Sqlite>,
    vm_id: i64,
) -> Result<Option<Lifecycle>, sqlx::Error> {
    let found: Option<(String, Option<String>)> = sqlx::query_as(
        "SELECT vm.status, operation.kind FROM vm
         LEFT JOIN operation ON operation.vm_id = vm.id AND operation.state IN ('queued', 'running')
         WHERE vm.id = ? AND vm.destroyed_at IS NULL",
    )
    .bind(vm_id)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.map(|(status, open)| Lifecycle {
        status: VmStatus::parse(&status).unwrap_or(VmStatus::Unknown),
        open: open.as_deref().and_then(parse_kind),
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
        "UPDATE vm SET status = ?2, problem = ?3, updated_at = max(?4, updated_at + 1),
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

/// Writes what was observed, unless the VM changed since `vm` was read or an operation is open. `updated_at`
/// grows with every change of status, so it tells one state from the next.
pub async fn note_status(
    tx: &mut Transaction<'_, Sqlite>,
    vm: &VmView,
    change: &Change,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE vm SET status = ?3, problem = ?4, updated_at = max(?5, updated_at + 1),
                       ip_address = CASE WHEN ?3 = 'running' THEN ip_address END
         WHERE id = ?1 AND updated_at = ?2 AND destroyed_at IS NULL AND NOT EXISTS
               (SELECT 1 FROM operation WHERE vm_id = ?1 AND state IN ('queued', 'running'))",
    )
    .bind(vm.id)
    .bind(vm.updated_at.0)
    .bind(change.status.as_str())
    .bind(&change.problem)
    .bind(stamp())
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
    domain_uuid: &str,
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
    set_domain(tx, vm_id, Some(domain_uuid)).await
}

/// The row stays for the sake of its history; what it was adopted from can be adopted again.
pub async fn set_destroyed(tx: &mut Transaction<'_, Sqlite>, vm_id: i64) -> Result<(), sqlx::Error> {
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
