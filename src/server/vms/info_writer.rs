//! Writes the VMs' `.vm_info` files, and records an event for each damaged one.

use super::{
    Vms,
    vm_info::{Durability, Expect, FILE_NAME, Outcome},
};
use crate::{
    model::{UtcMillis, VmView},
    server::events::NewEvent,
};
use std::path::{Path, PathBuf};

impl Vms {
    /// Writes the `.vm_info` of every VM with its latest values, and records an event for each damaged file.
    pub async fn refresh_info(&self, vms: Vec<(VmView, PathBuf)>, sampled_at: UtcMillis) {
        let inner = self.0.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut new_events = Vec::new();
            for (vm, folder) in vms {
                let busy = vm.operation.as_ref().is_some_and(|o| o.state.is_open());
                let expect = if busy { Expect::New } else { Expect::Existing };
                let outcome = inner.files.write(&folder, &vm, Some(sampled_at), expect, Durability::Refresh);
                new_events.extend(info_event(&vm, &folder, outcome));
            }
            new_events
        });
        for event in written.await.unwrap_or_default() {
            self.0.events.record(event).await;
        }
    }

    pub(super) async fn write_info(&self, vm: VmView, folder: PathBuf, expect: Expect) {
        let inner = self.0.clone();
        let written = tokio::task::spawn_blocking(move || {
            let sampled_at = inner.latest.get().sampled_at_of(vm.id);
            let outcome = inner.files.write(&folder, &vm, sampled_at, expect, Durability::Synced);
            info_event(&vm, &folder, outcome)
        });
        if let Ok(Some(event)) = written.await {
            self.0.events.record(event).await;
        }
    }
}

fn info_event(vm: &VmView, folder: &Path, outcome: std::io::Result<Outcome>) -> Option<NewEvent> {
    let shown = folder.join(FILE_NAME).display().to_string();
    let name = &vm.name;
    match outcome {
        Ok(Outcome::Written | Outcome::Gone) => None,
        Ok(Outcome::WasMissing) => Some(NewEvent::warning(
            "vm_info_rebuilt",
            Some(vm.id),
            format!("The .vm_info of {name} was missing and was rebuilt from the database."),
        )),
        Ok(Outcome::WasCorrupt(aside)) => Some(NewEvent::warning(
            "vm_info_rebuilt",
            Some(vm.id),
            format!(
                "The .vm_info of {name} could not be read and was rebuilt from the database; the old one is \
                 kept as {}.",
                aside.file_name().unwrap_or_default().to_string_lossy()
            ),
        )),
        Ok(Outcome::NoFolder) => {
            tracing::debug!(vm = name, file = shown, "the VM's folder is not there");
            None
        }
        Err(error) => {
            tracing::error!(vm = name, file = shown, %error, "the file could not be written");
            None
        }
    }
}
