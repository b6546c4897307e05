//! The latest tick, in memory: what a page shows first.

use super::health::stale_after;
use crate::model::{HostUsage, UtcMillis, VmUsage};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub sampled_at: UtcMillis,
    pub host: HostUsage,
    /// By the VM's id; a VM that the tick did not see is not there.
    pub vms: HashMap<i64, VmUsage>,
    /// Why the hypervisor could not be read, as a message for users.
    pub trouble: Option<String>,
    /// When this was set; nothing was before the first tick.
    pub set_at: Option<Instant>,
}

impl Snapshot {
    /// A VM's values; all unknown when the tick did not include it.
    pub fn usage_of(&self, vm_id: i64) -> VmUsage {
        self.vms.get(&vm_id).copied().unwrap_or_default()
    }

    /// Whether the ticks have stopped.
    pub fn is_old(&self, interval_secs: u32) -> bool {
        self.set_at.is_some_and(|at| at.elapsed() > stale_after(interval_secs))
    }

    /// Why these values are not current: the hypervisor is not responding, or the ticks have stopped.
    pub fn trouble(&self, interval_secs: u32) -> Option<String> {
        self.trouble.clone().or_else(|| {
            self.is_old(interval_secs)
                .then(|| "No new figures are being recorded. Details are in the server log.".to_owned())
        })
    }

    pub fn sampled_at_of(&self, vm_id: i64) -> Option<UtcMillis> {
        self.vms.contains_key(&vm_id).then_some(self.sampled_at)
    }
}

/// Set by the collector, read by everything else.
#[derive(Debug, Clone, Default)]
pub struct Latest(Arc<RwLock<Arc<Snapshot>>>);

impl Latest {
    pub fn get(&self) -> Arc<Snapshot> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, mut snapshot: Snapshot) {
        snapshot.set_at = Some(Instant::now());
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }
}
