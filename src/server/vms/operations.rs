//! Carries out one operation.
//!
//! A launch that fails or is cancelled is undone and leaves neither a machine nor a charge, an import leaves no VM. Output is kept in memory
//! while an operation runs and saved every few seconds and at the end.

use super::{Expect, VmRow, Vms, outcome::Ending};
use crate::{
    model::OperationKind,
    server::provider::{Machine, MachineCommand, MachineError, MachineErrorKind},
};
use std::time::Duration;
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    time::interval,
};

/// How often what was printed is written down while an operation runs.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);

impl Vms {
    pub(super) async fn run(&self, operation_id: i64, command: &MachineCommand, vm: &VmRow) -> Ending {
        let Some(machine) = self.machine(vm) else {
            return Ending::Failed(broken("The VM's name in the database is not a valid one."));
        };
        if command.kind == OperationKind::Import {
            return self.import(operation_id, command, vm.id, machine).await;
        }
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
                match self.run_machine(operation_id, &undo, &machine).await {
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
        let followed = self.run_machine(operation_id, command, machine).await;
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

    /// Has the machine do it.
    async fn run_machine(
        &self,
        operation_id: i64,
        command: &MachineCommand,
        machine: &Machine,
    ) -> Result<(), MachineError> {
        let machines = self.0.machines.clone();
        let (command, machine) = (command.clone(), machine.clone());
        let run = |lines| async move { machines.run(&command, &machine, &lines).await };
        self.follow(operation_id, run).await
    }

    /// Does an operation's work and hears what it prints.
    pub(super) async fn follow<T, F>(
        &self,
        operation_id: i64,
        work: impl FnOnce(UnboundedSender<String>) -> F,
    ) -> Result<T, MachineError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, MachineError>> + Send + 'static,
    {
        let (lines, mut printed) = mpsc::unbounded_channel();
        // A task of its own, so that a panic in it is a failed operation and not a lost one.
        let running = tokio::spawn(work(lines));
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
}

pub fn broken(text: &str) -> MachineError {
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
