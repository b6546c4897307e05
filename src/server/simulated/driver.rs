//! Carries out operations on simulated VMs.

use super::{
    SimulatedFleet,
    guest::{Guest, Power},
    uuid_of,
};
use crate::{
    model::{OperationKind, Snapshot, UtcMillis},
    server::{
        provider::{
            Machine, MachineCommand, MachineDriver, MachineError, MachineErrorKind, OwnedDomain, ReadError,
        },
        vagrant::{DEFAULT_LIBVIRT_URI, Driver, ErrorContext, message, prepare_directory, render},
    },
};
use async_trait::async_trait;
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::{sync::mpsc::UnboundedSender, time::sleep};

#[async_trait]
impl MachineDriver for SimulatedFleet {
    async fn run(
        &self,
        command: &MachineCommand,
        machine: &Machine,
        lines: &UnboundedSender<String>,
    ) -> Result<(), MachineError> {
        let plan = self.plan(command.kind, machine);
        let failed = |kind: MachineErrorKind, detail: String| {
            let context = ErrorContext { machine, libvirt_uri: "simulated:///fleet" };
            MachineError { kind, text: message(kind, context), detail }
        };
        let unwritable = |error: io::Error| failed(MachineErrorKind::Other, error.to_string());
        if command.kind.starts_vm() {
            prepare_directory(machine, &self.vagrantfile(machine)).await.map_err(unwritable)?;
        }
        let said = if plan.fails.is_some() { plan.lines.len().div_ceil(2) } else { plan.lines.len() };
        let pause = plan.takes / u32::try_from(plan.lines.len()).unwrap_or(1).max(1);
        for line in plan.lines.into_iter().take(said) {
            // Nobody listening is no reason to stop.
            let _ = lines.send(line);
            tokio::select! {
                () = sleep(pause) => {}
                () = command.cancel.cancelled() => {
                    return Err(failed(MachineErrorKind::Cancelled, "simulated cancellation".into()));
                }
            }
        }
        match plan.fails {
            // Vagrant leaves such a VM running.
            Some(kind @ MachineErrorKind::ProvisionerFailed) => {
                self.finish(command, machine).await.map_err(unwritable)?;
                Err(failed(kind, "simulated failure".into()))
            }
            Some(kind) => Err(failed(kind, "simulated failure".into())),
            None => self.finish(command, machine).await.map_err(unwritable),
        }
    }

    async fn snapshots(&self, machine: &Machine) -> Result<Vec<Snapshot>, ReadError> {
        let state = self.reachable()?;
        let guest = state.guests.get(&uuid_of(&machine.directory));
        Ok(guest
            .map(|guest| guest.snapshots.iter().map(|(snapshot, _)| snapshot.clone()).collect())
            .unwrap_or_default())
    }

    async fn owned_domains(&self, folders: &Path) -> Result<Vec<OwnedDomain>, ReadError> {
        let state = self.reachable()?;
        let owned =
            state.guests.values().filter(|guest| guest.defined && guest.directory.parent() == Some(folders));
        Ok(owned
            .map(|guest| OwnedDomain {
                uuid: guest.uuid().to_owned(),
                name: guest.name().to_owned(),
                directory: guest.directory.clone(),
            })
            .collect())
    }

    async fn remove_domain(&self, domain: &OwnedDomain) -> Result<(), ReadError> {
        self.reachable()?.guests.remove(&domain.uuid);
        Ok(())
    }

    fn vagrantfile(&self, machine: &Machine) -> String {
        render(machine, Driver::default(), DEFAULT_LIBVIRT_URI)
    }

    fn domain_uuid(&self, machine: &Machine) -> Option<String> {
        let uuid = uuid_of(&machine.directory);
        if self.state().guests.contains_key(&uuid) {
            return Some(uuid);
        }
        let written = std::fs::read_to_string(marker(machine)).ok()?;
        (written.trim() == uuid).then_some(uuid)
    }
}

impl SimulatedFleet {
    /// What an operation leaves behind: in the folder and in memory.
    async fn finish(&self, command: &MachineCommand, machine: &Machine) -> io::Result<()> {
        let uuid = uuid_of(&machine.directory);
        let now = self.utc_now();
        match command.kind {
            OperationKind::Launch | OperationKind::Start | OperationKind::Restart => {
                write_marker(machine, &uuid).await?;
                let mut state = self.state();
                let guest =
                    state.guests.entry(uuid.clone()).or_insert_with(|| self.new_guest(uuid, machine, now));
                guest.set_suspended(false, now);
                if !guest.runs() || command.kind == OperationKind::Restart {
                    guest.spec = machine.spec.clone();
                    guest.boot(now);
                }
            }
            OperationKind::Stop | OperationKind::ForceStop => {
                if let Some(guest) = self.state().guests.get_mut(&uuid) {
                    guest.power = Power::Off;
                }
            }
            OperationKind::Suspend | OperationKind::Resume => {
                if let Some(guest) = self.state().guests.get_mut(&uuid) {
                    guest.set_suspended(command.kind == OperationKind::Suspend, now);
                }
            }
            OperationKind::SnapshotSave | OperationKind::SnapshotRestore | OperationKind::SnapshotDelete => {
                let name = command.snapshot.as_ref().map_or("", |name| name.as_str());
                if let Some(guest) = self.state().guests.get_mut(&uuid) {
                    use_snapshot(guest, command.kind, name, now);
                }
            }
            OperationKind::Resize | OperationKind::Import => {}
            OperationKind::Destroy => {
                match tokio::fs::remove_file(marker(machine)).await {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                self.state().guests.remove(&uuid);
            }
        }
        Ok(())
    }
}

fn use_snapshot(guest: &mut Guest, kind: OperationKind, name: &str, now: UtcMillis) {
    let there = guest.snapshots.iter().position(|(snapshot, _)| snapshot.name == name);
    match (kind, there) {
        (OperationKind::SnapshotSave, None) => {
            let snapshot = Snapshot { name: name.to_owned(), saved_at: Some(now) };
            guest.snapshots.push((snapshot, guest.runs()));
        }
        (OperationKind::SnapshotRestore, Some(at)) => {
            guest.power = Power::Off;
            if guest.snapshots[at].1 {
                guest.boot(now);
            }
        }
        (OperationKind::SnapshotDelete, Some(at)) => {
            guest.snapshots.remove(at);
        }
        _ => {}
    }
}

pub fn marker(machine: &Machine) -> PathBuf {
    machine.directory.join(".vagrant/machines/default/simulated/id")
}

async fn write_marker(machine: &Machine, uuid: &str) -> io::Result<()> {
    let marker = marker(machine);
    if let Some(folder) = marker.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    tokio::fs::write(marker, uuid).await
}
