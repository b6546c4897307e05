//! Sets up each guest once per boot, in the background: enables memory statistics and looks up its address.
//!
//! Guests are handled one at a time; failures are retried at a later tick.

use crate::{
    model::UtcMillis,
    server::{provider::Hypervisor, vms::Vms},
};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// A running guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    pub vm_id: i64,
    pub uuid: String,
    /// Identifies the boot.
    pub started_at: Option<UtcMillis>,
    pub needs_address: bool,
}

/// Receives the running guests of every tick.
pub struct BootSetup(Sender<Vec<Guest>>);

impl BootSetup {
    /// Starts the background task, which ends when this is dropped.
    pub fn begin(hypervisor: Arc<dyn Hypervisor>, vms: Vms, interval_secs: u32) -> Self {
        let (sender, guests) = mpsc::channel(1);
        tokio::spawn(set_up(guests, hypervisor, vms, interval_secs));
        Self(sender)
    }

    /// Passes on all running guests. They are dropped while the task is busy, and come again with the next tick.
    pub fn set_up(&self, guests: Vec<Guest>) {
        let _ = self.0.try_send(guests);
    }
}

async fn set_up(
    mut ticks: Receiver<Vec<Guest>>,
    hypervisor: Arc<dyn Hypervisor>,
    vms: Vms,
    interval_secs: u32,
) {
    let mut enabled: HashMap<String, Option<UtcMillis>> = HashMap::new();
    while let Some(guests) = ticks.recv().await {
        enabled.retain(|uuid, _| guests.iter().any(|guest| guest.uuid == *uuid));
        for guest in guests {
            if enabled.get(&guest.uuid) != Some(&guest.started_at) {
                match hypervisor.enable_memory_statistics(&guest.uuid, interval_secs).await {
                    Ok(()) => {
                        enabled.insert(guest.uuid.clone(), guest.started_at);
                    }
                    Err(error) => {
                        tracing::debug!(
                            vm_id = guest.vm_id,
                            detail = error.detail,
                            "memory statistics could not be enabled"
                        );
                    }
                }
            }
            if guest.needs_address {
                match hypervisor.address(&guest.uuid).await {
                    Ok(None) => {}
                    Ok(Some(address)) => {
                        if let Err(error) = vms.note_address(guest.vm_id, Some(&address)).await {
                            tracing::error!(%error, "an address could not be written");
                        }
                    }
                    Err(error) => tracing::debug!(vm_id = guest.vm_id, detail = error.detail, "no address"),
                }
            }
        }
    }
}
