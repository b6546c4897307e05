//! Runs operations in the background.
//!
//! The row is written before the work begins: an operation that a restart interrupts is found open at the next start
//! and run again, which every [`MachineDriver`](crate::server::provider::MachineDriver) allows. The operations of one
//! VM run one at a time, and the number of concurrent operations is bounded. A launch that fails or is cancelled is
//! undone and leaves neither a machine nor a charge. Output is kept in memory while an operation runs and saved every
//! few seconds and at the end.

use super::{Expect, VmRow, Vms, repository, stamp, transcript::Transcript};
use crate::{
    model::{OperationKind, OperationState, OperationView, SnapshotName, VmStatus},
    server::{
        credits::Settlement,
        events::NewEvent,
        provider::{Machine, MachineCommand, MachineError, MachineErrorKind},
    },
};
use sqlx::{Sqlite, Transaction};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore, mpsc, oneshot, watch},
    time::interval,
};
use tokio_util::sync::CancellationToken;

/// How often what was printed is written down while an operation runs.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);

pub struct Operations {
    slots: Arc<Semaphore>,
    open: Mutex<HashMap<i64, Open>>,
    /// By VM: what ends when the VM's newest operation does.
    newest: Mutex<HashMap<i64, (i64, oneshot::Receiver<()>)>>,
    count: watch::Sender<usize>,
    /// Notified when one has ended, and whenever else the VMs' status may have changed.
    pub ended: Notify,
}

/// An operation that is queued or under way.
#[derive(Clone, Default)]
struct Open {
    transcript: Transcript,
    cancel: CancellationToken,
}

impl Operations {
    pub fn new(at_once: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(at_once.max(1))),
            open: Mutex::default(),
            newest: Mutex::default(),
            count: watch::Sender::new(0),
            ended: Notify::new(),
        }
    }

    /// Adds what is known of an open operation while it runs.
    pub fn complete(&self, view: &mut OperationView) {
        let open = self.open();
        let Some(Open { transcript, .. }) = open.get(&view.id).filter(|_| view.state.is_open()) else {
            return;
        };
        if let Some(line) = transcript.newest() {
            view.last_line.clone_from(line);
        }
        view.phase = transcript.phase().map(str::to_owned);
        view.percent = transcript.percent();
    }

    /// All kept lines of an operation that is under way.
    pub fn lines(&self, operation_id: i64) -> Option<Vec<String>> {
        self.open().get(&operation_id).map(|open| open.transcript.lines())
    }

    /// Has an operation ended that runs, if it does.
    pub fn cancel(&self, operation_id: i64) {
        if let Some(open) = self.open().get(&operation_id) {
            open.cancel.cancel();
        }
    }

    fn push(&self, operation_id: i64, line: String) {
        if let Some(open) = self.open().get_mut(&operation_id) {
            open.transcript.push(line);
        }
    }

    /// What is there to be written down, if something is new.
    fn unwritten(&self, operation_id: i64) -> Option<(String, String)> {
        let mut open = self.open();
        let transcript = &mut open.get_mut(&operation_id)?.transcript;
        std::mem::take(&mut transcript.is_new)
            .then(|| (transcript.newest().cloned().unwrap_or_default(), transcript.lines().join("\n")))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<i64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest(&self) -> MutexGuard<'_, HashMap<i64, (i64, oneshot::Receiver<()>)>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kind of event that a request for an operation is.
pub fn requested_kind(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Launch => "vm_launch_requested",
        OperationKind::Start => "vm_start_requested",
        OperationKind::Stop => "vm_stop_requested",
        OperationKind::ForceStop => "vm_force_stop_requested",
        OperationKind::Restart => "vm_restart_requested",
        OperationKind::Suspend => "vm_suspend_requested",
        OperationKind::Resume => "vm_resume_requested",
        OperationKind::Destroy => "vm_destroy_requested",
        OperationKind::Resize => "vm_resize_requested",
        OperationKind::SnapshotSave => "vm_snapshot_save_requested",
        OperationKind::SnapshotRestore => "vm_snapshot_restore_requested",
        OperationKind::SnapshotDelete => "vm_snapshot_delete_requested",
    }
}

fn done_kind(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Launch => "vm_launched",
        OperationKind::Start => "vm_started",
        OperationKind::Stop => "vm_stopped",
        OperationKind::ForceStop => "vm_turned_off",
        OperationKind::Restart => "vm_restarted",
        OperationKind::Suspend => "vm_suspended",
        OperationKind::Resume => "vm_resumed",
        OperationKind::Destroy => "vm_destroyed",
        OperationKind::Resize => "vm_resized",
        OperationKind::SnapshotSave => "vm_snapshot_saved",
        OperationKind::SnapshotRestore => "vm_snapshot_restored",
        OperationKind::SnapshotDelete => "vm_snapshot_deleted",
    }
}

/// `ada requested a stop of web-1.`
pub fn requested_text(who: &str, kind: OperationKind, name: &str, snapshot: Option<&SnapshotName>) -> String {
    let what = match kind {
        OperationKind::Launch => "a launch",
        OperationKind::Start => "a start",
        OperationKind::Stop => "a stop",
        OperationKind::ForceStop => "a forced stop",
        OperationKind::Restart => "a restart",
        OperationKind::Suspend => "a suspend",
        OperationKind::Resume => "a resume",
        OperationKind::Destroy => "the deletion",
        OperationKind::Resize => "a resize",
        OperationKind::SnapshotSave => "a new snapshot",
        OperationKind::SnapshotRestore => "the restore of a snapshot",
        OperationKind::SnapshotDelete => "the deletion of a snapshot",
    };
    match snapshot {
        Some(snapshot) => format!("{who} requested {what} of {name}: {}.", snapshot.as_str()),
        None => format!("{who} requested {what} of {name}."),
    }
}

pub async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    vm_id: i64,
    kind: OperationKind,
    snapshot: Option<&SnapshotName>,
    requested_by: i64,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO operation (vm_id, kind, snapshot, state, requested_by, requested_at)
         VALUES (?, ?, ?, 'queued', ?, ?) RETURNING id",
    )
    .bind(vm_id)
    .bind(kind.as_str())
    .bind(snapshot.map(SnapshotName::as_str))
    .bind(requested_by)
    .bind(stamp())
    .fetch_one(&mut **tx)
    .await
}

/// How an operation came to its end.
enum Ending {
    Done,
    /// A launch: nothing is left of it.
    Undone(MachineError),
    Failed(MachineError),
}

impl Ending {
    fn error(&self) -> Option<&MachineError> {
        match self {
            Self::Done => None,
            Self::Undone(error) | Self::Failed(error) => Some(error),
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
    /// Takes up what a restart cut off.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn resume(&self) -> Result<(), sqlx::Error> {
        let open: Vec<(i64, i64, bool, String)> = sqlx::query_as(
            "SELECT id, vm_id, cancel_requested_at IS NOT NULL, output FROM operation
             WHERE state IN ('queued', 'running') ORDER BY state = 'queued', id",
        )
        .fetch_all(self.0.database.read())
        .await?;
        for (operation_id, vm_id, is_cancelled, output) in open {
            tracing::info!(operation_id, "resuming an operation that a restart interrupted");
            self.begin(vm_id, operation_id, Transcript::resumed(&output));
            if is_cancelled {
                self.0.operations.cancel(operation_id);
            }
        }
        Ok(())
    }

    /// Waits until no operation is open, at most for `limit`.
    pub async fn wait_until_idle(&self, limit: Duration) {
        let mut count = self.0.operations.count.subscribe();
        let _ = tokio::time::timeout(limit, count.wait_for(|open| *open == 0)).await;
    }

    /// How many operations are queued or under way.
    pub fn open_operations(&self) -> usize {
        *self.0.operations.count.borrow()
    }

    /// Waits until an operation has ended.
    pub async fn operation_ended(&self) {
        self.0.operations.ended.notified().await;
    }

    /// Carries an operation out in the background, after the ones of this VM that were begun before.
    pub(super) fn begin(&self, vm_id: i64, operation_id: i64, transcript: Transcript) {
        let operations = &self.0.operations;
        operations.open().insert(operation_id, Open { transcript, ..Open::default() });
        let (done, is_done) = oneshot::channel::<()>();
        let before = operations.newest().insert(vm_id, (operation_id, is_done));
        operations.count.send_modify(|count| *count += 1);
        let vms = self.clone();
        tokio::spawn(async move {
            if let Some((_, before)) = before {
                // The sender is dropped when it ends, whatever its outcome.
                let _ = before.await;
            }
            if let Err(error) = vms.carry_out(operation_id).await {
                tracing::error!(operation_id, %error, "an operation could not be updated; the next start resumes it");
            }
            let operations = &vms.0.operations;
            operations.open().remove(&operation_id);
            {
                let mut newest = operations.newest();
                if newest.get(&vm_id).is_some_and(|(id, _)| *id == operation_id) {
                    newest.remove(&vm_id);
                }
            }
            drop(done);
            operations.count.send_modify(|count| *count -= 1);
            operations.ended.notify_one();
        });
    }

    async fn carry_out(&self, operation_id: i64) -> Result<(), sqlx::Error> {
        let cancel = self.0.operations.open().get(&operation_id).map(|open| open.cancel.clone());
        let cancel = cancel.unwrap_or_default();
        let _slot = self.0.operations.slots.acquire().await.map_err(|_| sqlx::Error::WorkerCrashed)?;

        let mut tx = self.0.database.write().await?;
        // One that was cancelled in the queue is not open any more.
        let found: Option<(i64, String, Option<String>, String)> = sqlx::query_as(
            "SELECT vm_id, kind, snapshot, state FROM operation WHERE id = ? AND state IN ('queued', 'running')",
        )
        .bind(operation_id)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((vm_id, kind, snapshot, state)) = found else { return Ok(()) };
        let Some(kind) = OperationKind::parse(&kind) else { return Ok(()) };
        sqlx::query("UPDATE operation SET state = 'running' WHERE id = ?")
            .bind(operation_id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        let Some(vm) = repository::select(&self.0.database, super::Scope::One(vm_id)).await?.pop() else {
            return self.abandon(operation_id).await;
        };

        let command = MachineCommand {
            kind,
            snapshot: snapshot.and_then(|name| SnapshotName::new(&name).ok()),
            was_cut_off: state == OperationState::Running.as_str(),
            cancel,
        };
        let ending = self.run(operation_id, &command, &vm).await;
        // What was done is done: its outcome is written as soon as it can be, or the VM would be busy for ever.
        let mut pause = Duration::from_secs(2);
        while let Err(error) = self.finish(operation_id, kind, &vm, &ending).await {
            tracing::error!(operation_id, %error, "an outcome could not be saved; retrying");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(60));
        }
        Ok(())
    }

    /// Ends an operation whose VM is gone.
    async fn abandon(&self, operation_id: i64) -> Result<(), sqlx::Error> {
        let mut tx = self.0.database.write().await?;
        sqlx::query("UPDATE operation SET state = 'cancelled', finished_at = ? WHERE id = ?")
            .bind(stamp())
            .bind(operation_id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    async fn run(&self, operation_id: i64, command: &MachineCommand, vm: &VmRow) -> Ending {
        let Some(machine) = self.machine(vm) else {
            return Ending::Failed(broken("The VM's name in the database is not a valid one."));
        };
        let is_first = command.kind.starts_vm() && !vm.was_made;
        let result = self.run_on(operation_id, command, vm, &machine).await;
        match result {
            Ok(()) => Ending::Done,
            // The machine is up as requested; only its provisioning failed.
            Err(error) if !is_first || error.kind == MachineErrorKind::ProvisionerFailed => {
                Ending::Failed(error)
            }
            Err(error) => {
                self.0.operations.push(operation_id, "Undoing the launch.".into());
                let undo = MachineCommand::of(OperationKind::Destroy);
                match self.follow(operation_id, &undo, &machine).await {
                    Ok(()) => Ending::Undone(error),
                    Err(also) => {
                        tracing::error!(vm = vm.name, detail = also.detail, "a launch could not be undone");
                        Ending::Failed(error)
                    }
                }
            }
        }
    }

    async fn run_on(
        &self,
        operation_id: i64,
        command: &MachineCommand,
        vm: &VmRow,
        machine: &Machine,
    ) -> Result<(), MachineError> {
        if command.kind.starts_vm() && machine.project.is_none() {
            make_folder(&machine.directory).await.map_err(|error| {
                let shown = machine.directory.display();
                broken(&format!("The VM's folder {shown} cannot be made: {error}."))
            })?;
        }
        if let Ok(Some(view)) = self.find(vm.id).await {
            let expect = if command.kind == OperationKind::Launch { Expect::New } else { Expect::Existing };
            self.write_info(view, machine.directory.clone(), expect).await;
        }
        let followed = self.follow(operation_id, command, machine).await;
        if machine.project.is_none() && command.kind != OperationKind::Destroy {
            self.keep_vagrantfile(vm.id, machine).await;
        }
        followed?;
        if command.kind == OperationKind::Destroy {
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

    /// Has the machine do it, and hears what is said.
    async fn follow(
        &self,
        operation_id: i64,
        command: &MachineCommand,
        machine: &Machine,
    ) -> Result<(), MachineError> {
        let (lines, mut printed) = mpsc::unbounded_channel();
        let machines = self.0.machines.clone();
        let running = {
            let (command, machine) = (command.clone(), machine.clone());
            // A task of its own, so that a panic in it is a failed operation and not a lost one.
            tokio::spawn(async move { machines.run(&command, &machine, &lines).await })
        };
        let mut ticker = interval(WRITTEN_EVERY);
        ticker.tick().await;
        loop {
            tokio::select! {
                line = printed.recv() => match line {
                    Some(line) => self.0.operations.push(operation_id, line),
                    None => break,
                },
                _ = ticker.tick() => {
                    if let Err(error) = self.write_down(operation_id).await {
                        tracing::warn!(operation_id, %error, "the output could not be saved yet");
                    }
                }
            }
        }
        running.await.unwrap_or_else(|error| Err(broken(&format!("The operation failed: {error}."))))
    }

    async fn write_down(&self, operation_id: i64) -> Result<(), sqlx::Error> {
        let Some((last_line, output)) = self.0.operations.unwritten(operation_id) else { return Ok(()) };
        let mut tx = self.0.database.write().await?;
        sqlx::query("UPDATE operation SET last_line = ?, output = ? WHERE id = ?")
            .bind(last_line)
            .bind(output)
            .bind(operation_id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    async fn finish(
        &self,
        operation_id: i64,
        kind: OperationKind,
        vm: &VmRow,
        ending: &Ending,
    ) -> Result<(), sqlx::Error> {
        let lines = self.0.operations.lines(operation_id).unwrap_or_default();
        let machine = self.machine(vm);
        let (allowances, now) = (&self.0.allowances, stamp());
        let mut tx = self.0.database.write().await?;
        let started_at: Option<i64> = sqlx::query_scalar(
            "UPDATE operation SET state = ?, finished_at = ?, last_line = ?, output = ?, error = ? WHERE id = ?
             RETURNING started_at",
        )
        .bind(ending.state().as_str())
        .bind(now)
        .bind(lines.last().cloned().unwrap_or_default())
        .bind(lines.join("\n"))
        .bind(ending.error().map(|error| error.text.clone()))
        .bind(operation_id)
        .fetch_one(&mut *tx)
        .await?;
        let uuid = machine.as_ref().and_then(|machine| self.0.machines.domain_uuid(machine));
        if matches!(ending, Ending::Undone(_)) {
            repository::set_domain(&mut tx, vm.id, None).await?;
        } else if uuid.is_some() {
            repository::set_domain(&mut tx, vm.id, uuid.as_deref()).await?;
        }
        let (name, vm_id) = (&vm.name, Some(vm.id));
        let is_first = kind.starts_vm() && !vm.was_made;
        let (status, problem) = match ending {
            Ending::Done => (status_after(kind), None),
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
            Ending::Done if kind.starts_vm() => {
                if let Some(machine) = machine.as_ref().filter(|machine| machine.project.is_none()) {
                    repository::set_spec(&mut tx, vm.id, &machine.spec).await?;
                }
                allowances.settle(&mut tx, vm.id, None, Settlement::Capture, now).await?;
            }
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
        if !(matches!(ending, Ending::Done) && kind == OperationKind::Destroy) {
            let waits: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM operation WHERE vm_id = ? AND state IN ('queued', 'running'))",
            )
            .bind(vm.id)
            .fetch_one(&mut *tx)
            .await?;
            let status = if waits { VmStatus::Pending } else { status };
            repository::set_status(&mut tx, vm.id, status, problem).await?;
        }
        let event = match ending.error() {
            None => NewEvent::info(done_kind(kind), vm_id, done_text(name, kind, started_at, now)),
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
            self.write_info(view, machine.directory, Expect::Existing).await;
        }
        Ok(())
    }
}

/// `web-1 launched in 32 s.`
fn done_text(name: &str, kind: OperationKind, started_at: Option<i64>, now: i64) -> String {
    let done = kind.done();
    match started_at {
        Some(started_at) if !kind.is_about_a_snapshot() && kind != OperationKind::Resize => {
            format!("{name} {done} in {}.", duration(now - started_at))
        }
        _ => format!("{name} {done}."),
    }
}

/// `32 s`, `2 min 5 s`
fn duration(ms: i64) -> String {
    match ms.max(0) / 1000 {
        secs if secs < 60 => format!("{secs} s"),
        secs => format!("{} min {} s", secs / 60, secs % 60),
    }
}

/// The status after success; where it depends on the earlier state, the next sample shows it.
fn status_after(kind: OperationKind) -> VmStatus {
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
        | OperationKind::SnapshotDelete => VmStatus::Unknown,
    }
}

fn broken(text: &str) -> MachineError {
    MachineError { kind: MachineErrorKind::Other, text: text.to_owned(), detail: text.to_owned() }
}

/// Only the server's own account can read it: `.vagrant/` contains private keys.
pub async fn make_folder(folder: &std::path::Path) -> std::io::Result<()> {
    if let Some(parent) = folder.parent() {
        tokio::fs::create_dir_all(parent).await?;
    }
    match tokio::fs::DirBuilder::new().mode(0o700).create(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
