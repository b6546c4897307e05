use super::UtcMillis;
use serde::{Deserialize, Serialize};

/// How the collector of figures itself is doing. Of this run of the server: a restart begins anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectorHealth {
    pub state: CollectorState,
    /// Seconds between two ticks that are on time.
    pub period_secs: u32,
    /// When the newest tick that was written was sampled; none was before the first.
    pub newest_tick_at: Option<UtcMillis>,
    pub tick_ms: TickMillis,
    /// Ticks that were written.
    pub ticks: u64,
    /// Beats that passed while an earlier tick was still at work: skipped, never made up for.
    pub ticks_skipped: u64,
    /// Ticks that were lost because the database could not be read or written.
    pub ticks_failed: u64,
    /// Ticks in which the hypervisor as a whole gave no answer.
    pub readings_failed: u64,
    pub vms: VmsBySource,
    pub last_error: Option<CollectorError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectorState {
    /// No tick has been written yet.
    Starting,
    /// The newest tick is young and has figures.
    Working,
    /// Ticks go on, but the hypervisor does not answer.
    HypervisorSilent,
    /// No tick has been written for some periods.
    Stopped,
}

impl CollectorState {
    pub fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Working => "working",
            Self::HypervisorSilent => "hypervisor silent",
            Self::Stopped => "stopped",
        }
    }
}

/// How long ticks took, from the beat to the last `.vm_info`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct TickMillis {
    pub last: Option<f64>,
    /// Over the newest `over` ticks.
    pub mean: Option<f64>,
    /// Over the newest `over` ticks.
    pub max: Option<f64>,
    /// How many ticks mean and maximum are taken over.
    pub over: usize,
}

/// How many VMs had a figure from each source in the newest tick. A VM with figures from two counts twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VmsBySource {
    pub guest: u32,
    pub hypervisor: u32,
    pub simulated: u32,
    /// Nobody told anything of these.
    pub none: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorError {
    pub at: UtcMillis,
    /// In a person's words.
    pub text: String,
}

/// How the store of samples is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreHealth {
    /// The database's file, accounts and events included.
    pub file_bytes: u64,
    /// What is written and not yet taken over into the file.
    pub wal_bytes: u64,
    /// Left on the file's disk for the server's user; not every file system tells.
    pub disk_free_bytes: Option<u64>,
    /// Ticks that are rows still: they are sealed once their hour is over.
    pub waiting_ticks: u64,
    pub sealed_hours: u64,
    /// Columns of an hour, each compressed for itself.
    pub chunks: u64,
    pub chunk_bytes: u64,
    /// Over all values in chunks; none when there is none.
    pub bytes_per_value: Option<f64>,
    pub oldest_tick_at: Option<UtcMillis>,
    pub newest_tick_at: Option<UtcMillis>,
    /// Older ticks are removed.
    pub retention_days: u32,
    /// Of this run of the server.
    pub last_sealing: Option<Sealing>,
}

/// Hours that became chunks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sealing {
    pub at: UtcMillis,
    pub took_ms: f64,
    pub hours: usize,
}
