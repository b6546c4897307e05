//! A driver's operations, without a server.

use std::path::Path;
use tokio::sync::mpsc::unbounded_channel;
use twarga_cloud::{
    model::{GuestSetup, OperationKind, VmName, VmSpec},
    server::provider::{Machine, MachineCommand, MachineDriver, MachineError},
};

/// A small machine, with its own folder in `folder`.
pub fn machine(folder: &Path, owner_id: i64, name: &str) -> Machine {
    Machine {
        owner_id,
        name: VmName::new(name).unwrap(),
        spec: VmSpec { image: "tiny".into(), ram_mb: 192, cpu_cores: 1, disk_gb: 1 },
        is_resized: false,
        setup: GuestSetup::default(),
        vagrant_box: "twarga/tiny".into(),
        box_url: None,
        domain_uuid: None,
        project: None,
        directory: folder.join(format!("user{owner_id}-{name}")),
    }
}

/// Runs an operation to its end, and gives the lines of its output too.
pub async fn run(
    driver: &impl MachineDriver,
    operation: OperationKind,
    machine: &Machine,
) -> (Result<(), MachineError>, Vec<String>) {
    let (sender, mut receiver) = unbounded_channel();
    let result = driver.run(&MachineCommand::of(operation), machine, &sender).await;
    drop(sender);
    let mut lines = Vec::new();
    while let Some(line) = receiver.recv().await {
        lines.push(line);
    }
    (result, lines)
}
