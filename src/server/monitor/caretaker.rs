//! Does, beside the beat, what a running guest needs once: fresh memory figures, and its address looked up.
//!
//! One thing at a time, however many guests there are; what did not work is tried again at a later tick.

use crate::{
    model::UtcMillis,
    server::{provider::Hypervisor, vms::Vms},
};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// A guest that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    pub vm_id: i64,
    pub uuid: String,
    /// Tells one boot from the next.
    pub started_at: Option<UtcMillis>,
    pub needs_address: bool,
}

/// Where a tick leaves the guests it saw.
pub struct Caretaker(Sender<Vec<Guest>>);

impl Caretaker {
    /// Begins to work in the background, until this is dropped.
    pub fn begin(hypervisor: Arc<dyn Hypervisor>, vms: Vms, period_secs: u32) -> Self {
        let (sender, guests) = mpsc::channel(1);
        tokio::spawn(look_after(guests, hypervisor, vms, period_secs));
        Self(sender)
    }

    /// Hands over all guests that run now. Still busy with an earlier tick's: they come again with the next.
    pub fn look_after(&self, guests: Vec<Guest>) {
        let _ = self.0.try_send(guests);
    }
}

async fn look_after(
    mut ticks: Receiver<Vec<Guest>>,
    hypervisor: Arc<dyn Hypervisor>,
    vms: Vms,
    period_secs: u32,
) {
    let mut kept_fresh: HashMap<String, Option<UtcMillis>> = HashMap::new();
    while let Some(guests) = ticks.recv().await {
        kept_fresh.retain(|uuid, _| guests.iter().any(|guest| guest.uuid == *uuid));
        for guest in guests {
            if kept_fresh.get(&guest.uuid) != Some(&guest.started_at) {
                match hypervisor.enable_memory_statistics(&guest.uuid, period_secs).await {
                    Ok(()) => {
                        kept_fresh.insert(guest.uuid.clone(), guest.started_at);
                    }
                    Err(error) => {
                        tracing::debug!(vm_id = guest.vm_id, detail = error.detail, "no memory figures")
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
