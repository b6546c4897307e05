//! A domain's state and counters, as sampled.

use crate::{
    model::{Source, UtcMillis},
    server::database,
};
use std::{collections::BTreeMap, time::Instant};

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub utc: UtcMillis,
    pub monotonic: Instant,
}

impl Moment {
    /// On the clocks of this machine.
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), utc: database::now() }
    }
}

/// All domains' counters at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HypervisorSample {
    /// Monotonic, taken before the read began.
    pub taken_at: Instant,
    /// The wall clock at the same moment.
    pub sampled_at: UtcMillis,
    pub domains: Vec<Domain>,
}

impl HypervisorSample {
    pub fn moment(&self) -> Moment {
        Moment { utc: self.sampled_at, monotonic: self.taken_at }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainState {
    Running,
    Suspended,
    Stopped,
    /// Not running because it died.
    Crashed,
    /// In transition, or not reported.
    Unknown,
}

/// One domain's state and counters. A counter that is not there is not known.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    pub uuid: String,
    pub name: String,
    pub state: DomainState,
    /// When it was last started, while it runs.
    pub started_at: Option<UtcMillis>,
    pub counters: Counters,
    /// `Hypervisor` or `Simulated`.
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Nanoseconds each virtual CPU ran, by its number.
    pub vcpu_time_ns: BTreeMap<u32, u64>,
    /// How many virtual CPUs the domain has now.
    pub vcpu_current: Option<u32>,
    /// What the domain was given.
    pub memory_kib: Option<u64>,
    pub balloon: Balloon,
    /// By the interface's name.
    pub interfaces: BTreeMap<String, Traffic>,
    /// Disks, not CD drives, by the device's name.
    pub disks: BTreeMap<String, DiskUse>,
}

/// The guest's own view of its memory, reported through the balloon driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balloon {
    pub available_kib: Option<u64>,
    pub usable_kib: Option<u64>,
    /// When the guest last reported it, seconds since 1970.
    pub last_update_secs: Option<i64>,
}

/// Bytes since the domain started, from the VM's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUse {
    /// Bytes the image takes on the host.
    pub image_bytes: u64,
    /// Bytes the guest sees.
    pub capacity_bytes: u64,
}
