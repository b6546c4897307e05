//! Saving, restoring and deleting snapshots.

use super::{
    driver::Vagrant,
    task::{Task, say},
};
use crate::{
    model::{OperationKind, SnapshotName},
    server::provider::{MachineCommand, MachineDriver, MachineError},
};

impl Vagrant {
    pub(super) async fn snapshot(
        &self,
        command: &MachineCommand,
        task: &Task<'_>,
    ) -> Result<(), MachineError> {
        let Some(name) = command.snapshot.as_ref().map(SnapshotName::as_str) else {
            return Err(self.failed(task.machine, "The operation names no snapshot.", "no snapshot"));
        };
        let there = match self.snapshots(task.machine).await {
            Ok(snapshots) => snapshots.iter().any(|snapshot| snapshot.name == name),
            Err(error) => return Err(self.failed(task.machine, &error.text, &error.detail)),
        };
        let limit = self.options.time_limits.snapshot;
        match command.kind {
            OperationKind::SnapshotSave if there => {
                say(task.lines, "The snapshot already exists.");
                Ok(())
            }
            OperationKind::SnapshotSave => self.with_machine(&["snapshot", "save", name], task, limit).await,
            OperationKind::SnapshotDelete if !there => {
                say(task.lines, "The snapshot no longer exists.");
                Ok(())
            }
            OperationKind::SnapshotDelete => {
                self.with_machine(&["snapshot", "delete", name], task, limit).await
            }
            _ if !there => {
                let text = format!("There is no snapshot called {name}.");
                Err(self.failed(task.machine, &text, "it is not in the list"))
            }
            _ => self.with_machine(&["snapshot", "restore", name, "--no-provision"], task, limit).await,
        }
    }
}
