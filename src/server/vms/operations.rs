//! Carrying operations out, in the background.
//!
//! A row first, then the work: whatever is cut off by a restart is found open at the next start and run again,
//! which every [`Machines`](crate::server::provider::Machines) allows. A bounded number runs at once. What
//! Vagrant prints is kept in memory while it runs and in the row when it is over.

use super::{Expect, VmRow, Vms, row, stamp};
use crate::{
    model::{OperationKind, OperationState, VmStatus},
    server::{
        events::NewEvent,
        provider::{MachineError, MachineErrorKind},
    },
};
use sqlx::{Sqlite, Transaction};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, watch};

/// Lines kept of one operation: the newest.
const MAX_LINES: usize = 2000;

pub struct Operations {
    slots: Arc<Semaphore>,
    output: Mutex<HashMap<i64, VecDeque<String>>>,
    open: watch::Sender<usize>,
}

impl Operations {
    pub fn new(at_once: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(at_once.max(1))),
            output: Mutex::default(),
            open: watch::Sender::new(0),
        }
    }

    /// The newest line of an operation that is under way.
    pub fn last_line(&self, operation_id: i64) -> Option<String> {
        self.output().get(&operation_id)?.back().cloned()
    }

    /// All kept lines of an operation that is under way.
    pub fn lines(&self, operation_id: i64) -> Option<Vec<String>> {
        self.output().get(&operation_id).map(|lines| lines.iter().cloned().collect())
    }

    fn push(&self, operation_id: i64, line: String) {
        let mut output = self.output();
        let lines = output.entry(operation_id).or_default();
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn output(&self) -> MutexGuard<'_, HashMap<i64, VecDeque<String>>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kind of event that a request for an operation is.
pub fn asked_kind(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Launch => "vm_launch_asked",
        OperationKind::Start => "vm_start_asked",
        OperationKind::Stop => "vm_stop_asked",
        OperationKind::Destroy => "vm_destroy_asked",
    }
}

pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    vm_id: i64,
    kind: OperationKind,
    requested_by: i64,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO operation (vm_id, kind, state, requested_by, requested_at)
         VALUES (?, ?, 'queued', ?, ?) RETURNING id",
    )
    .bind(vm_id)
    .bind(kind.as_str())
    .bind(requested_by)
    .bind(stamp())
    .fetch_one(&mut **tx)
    .await
}

impl Vms {
    /// Takes up what a restart cut off.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn resume(&self) -> Result<(), sqlx::Error> {
        let open: Vec<i64> =
            sqlx::query_scalar("SELECT id FROM operation WHERE state IN ('queued', 'running') ORDER BY id")
                .fetch_all(self.0.database.read())
                .await?;
        for operation_id in open {
            tracing::info!(operation_id, "taking up an operation that a restart cut off");
            self.begin(operation_id);
        }
        Ok(())
    }

    /// Waits until no operation is open, or `patience` is over.
    pub async fn settled(&self, patience: Duration) {
        let mut open = self.0.operations.open.subscribe();
        let _ = tokio::time::timeout(patience, open.wait_for(|open| *open == 0)).await;
    }

    /// Carries an operation out in the background.
    pub(super) fn begin(&self, operation_id: i64) {
        let vms = self.clone();
        self.0.operations.open.send_modify(|open| *open += 1);
        tokio::spawn(async move {
            if let Err(error) = vms.carry_out(operation_id).await {
                tracing::error!(operation_id, %error, "an operation could not be noted; the next start takes it up");
            }
            vms.0.operations.output().remove(&operation_id);
            vms.0.operations.open.send_modify(|open| *open -= 1);
        });
    }

    async fn carry_out(&self, operation_id: i64) -> Result<(), sqlx::Error> {
        let _slot = self.0.operations.slots.acquire().await.map_err(|_| sqlx::Error::WorkerCrashed)?;
        let found: Option<(i64, String)> = sqlx::query_as("SELECT vm_id, kind FROM operation WHERE id = ?")
            .bind(operation_id)
            .fetch_optional(self.0.database.read())
            .await?;
        let Some((vm_id, kind)) = found else { return Ok(()) };
        let Some(kind) = row::parse_kind(&kind) else { return Ok(()) };
        let Some(vm) = row::select(&self.0.database, super::Scope::One(vm_id)).await?.pop() else {
            return Ok(());
        };

        let mut tx = self.0.database.write().await?;
        sqlx::query("UPDATE operation SET state = 'running' WHERE id = ?")
            .bind(operation_id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;

        let result = self.run(operation_id, kind, &vm).await;
        // What was done is done: its outcome is written as soon as it can be, or the VM would be busy for ever.
        let mut pause = Duration::from_secs(2);
        while let Err(error) = self.settle(operation_id, kind, &vm, &result).await {
            tracing::error!(operation_id, %error, "an outcome cannot be written; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(60));
        }
        Ok(())
    }

    async fn run(&self, operation_id: i64, kind: OperationKind, vm: &VmRow) -> Result<(), MachineError> {
        let machine =
            self.machine(vm).ok_or_else(|| broken("The VM's name in the database is not a valid one."))?;
        if kind == OperationKind::Launch {
            make_folder(&machine.directory).await.map_err(|error| {
                let shown = machine.directory.display();
                broken(&format!("The VM's folder {shown} cannot be made: {error}."))
            })?;
        }
        if let Ok(Some(view)) = self.find(vm.id).await {
            let expect = if kind == OperationKind::Launch { Expect::New } else { Expect::Existing };
            self.write_info(view, machine.directory.clone(), expect).await;
        }
        let (lines, mut printed) = mpsc::unbounded_channel();
        let machines = self.0.machines.clone();
        let running = {
            let machine = machine.clone();
            // A task of its own, so that a panic in it is a failed operation and not a lost one.
            tokio::spawn(async move { machines.run(kind, &machine, &lines).await })
        };
        while let Some(line) = printed.recv().await {
            self.0.operations.push(operation_id, line);
        }
        running.await.unwrap_or_else(|error| Err(broken(&format!("The operation broke off: {error}."))))?;
        if kind == OperationKind::Destroy {
            let (vms, vm_id) = (self.clone(), vm.id);
            let folder = machine.directory.clone();
            tokio::task::spawn_blocking(move || vms.0.files.remove_folder(&folder, vm_id))
                .await
                .unwrap_or_else(|error| Err(std::io::Error::other(error)))
                .map_err(|error| {
                    let shown = machine.directory.display();
                    broken(&format!(
                        "The machine is gone, but its folder {shown} cannot be removed: {error}."
                    ))
                })?;
        }
        Ok(())
    }

    async fn settle(
        &self,
        operation_id: i64,
        kind: OperationKind,
        vm: &VmRow,
        result: &Result<(), MachineError>,
    ) -> Result<(), sqlx::Error> {
        let lines = self.0.operations.lines(operation_id).unwrap_or_default();
        let machine = self.machine(vm);
        let mut tx = self.0.database.write().await?;
        sqlx::query(
            "UPDATE operation SET state = ?, finished_at = ?, last_line = ?, output = ?, error = ? WHERE id = ?",
        )
        .bind(if result.is_ok() { OperationState::Succeeded } else { OperationState::Failed }.as_str())
        .bind(stamp())
        .bind(lines.last().cloned().unwrap_or_default())
        .bind(lines.join("\n"))
        .bind(result.as_ref().err().map(|error| error.text.clone()))
        .bind(operation_id)
        .execute(&mut *tx)
        .await?;
        let uuid = machine.as_ref().and_then(|machine| self.0.machines.domain_uuid(machine));
        if uuid.is_some() {
            row::set_domain(&mut tx, vm.id, uuid.as_deref()).await?;
        }
        let (name, vm_id) = (&vm.name, Some(vm.id));
        let event = match result {
            Ok(()) => {
                match kind {
                    OperationKind::Launch | OperationKind::Start => {
                        row::set_status(&mut tx, vm.id, VmStatus::Running, None).await?;
                    }
                    OperationKind::Stop => row::set_status(&mut tx, vm.id, VmStatus::Stopped, None).await?,
                    OperationKind::Destroy => row::set_destroyed(&mut tx, vm.id).await?,
                }
                NewEvent::info(done_kind(kind), vm_id, format!("{name} was {}.", kind.past_participle()))
            }
            Err(error) => {
                tracing::error!(vm = name, kind = ?error.kind, detail = error.detail, "vagrant failed");
                // A first start that failed leaves nothing usable; of anything else the next reading says how it
                // left the VM.
                let status = if kind == OperationKind::Launch { VmStatus::Failed } else { VmStatus::Unknown };
                row::set_status(&mut tx, vm.id, status, Some(&error.text)).await?;
                NewEvent::error(
                    "vm_operation_failed",
                    vm_id,
                    format!("{name} could not be {}. {}", kind.past_participle(), error.text),
                )
            }
        };
        event.write(&mut tx).await?;
        tx.commit().await?;
        if let (Ok(Some(view)), Some(machine)) = (self.find(vm.id).await, machine) {
            self.write_info(view, machine.directory, Expect::Existing).await;
        }
        Ok(())
    }
}

fn done_kind(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Launch => "vm_launched",
        OperationKind::Start => "vm_started",
        OperationKind::Stop => "vm_stopped",
        OperationKind::Destroy => "vm_destroyed",
    }
}

fn broken(text: &str) -> MachineError {
    MachineError { kind: MachineErrorKind::Other, text: text.to_owned(), detail: text.to_owned() }
}

/// Only the server's own account may look inside: `.vagrant/` holds private keys.
pub async fn make_folder(folder: &std::path::Path) -> std::io::Result<()> {
    if let Some(parent) = folder.parent() {
        tokio::fs::create_dir_all(parent).await?;
    }
    match tokio::fs::DirBuilder::new().mode(0o700).create(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
