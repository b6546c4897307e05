//! The queue of operations, which run in the background.
//!
//! The row is written before the work begins: an operation that a restart interrupts is found open at the next start
//! and run again, which every [`MachineDriver`](crate::server::provider::MachineDriver) allows. The operations of one
//! VM run one at a time, and the number of concurrent operations is bounded.

use super::{Vms, repository, stamp, transcript::Transcript};
use crate::{
    model::{OperationKind, OperationState, OperationView, SnapshotName},
    server::provider::MachineCommand,
};
use sqlx::{Sqlite, Transaction};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;

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

    pub(super) fn push(&self, operation_id: i64, line: String) {
        if let Some(open) = self.open().get_mut(&operation_id) {
            open.transcript.push(line);
        }
    }

    /// What is there to be written down, if something is new.
    pub(super) fn unwritten(&self, operation_id: i64) -> Option<(String, String)> {
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

    /// Does other work in the background, which counts as an operation that is under way.
    pub(super) fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.operations.count.send_modify(|count| *count += 1);
        let (vms, work) = (self.clone(), tokio::spawn(work));
        tokio::spawn(async move {
            // What has panicked is in the log.
            let _ = work.await;
            vms.0.operations.count.send_modify(|count| *count -= 1);
            vms.0.operations.ended.notify_one();
        });
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
        let Some(vm) = repository::select(&self.0.database, Some(vm_id)).await?.pop() else {
            return self.abandon(operation_id).await;
        };

        let command = MachineCommand {
            kind,
            snapshot: snapshot.and_then(|name| SnapshotName::new(&name).ok()),
            was_cut_off: state == OperationState::Running.as_str(),
            cancel,
        };
        let began = Instant::now();
        let ending = self.run(operation_id, &command, &vm).await;
        // Of one that an earlier server began, nobody knows.
        let took = (!command.was_cut_off).then(|| began.elapsed());
        // What was done is done: its outcome is written as soon as it can be, or the VM would be busy for ever.
        let mut pause = Duration::from_secs(2);
        while let Err(error) = self.finish(operation_id, kind, &vm, &ending, took).await {
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
}
