use super::UtcMillis;
use serde::{Deserialize, Serialize};

/// The health of the metrics collector since the server started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectorHealth {
    /// Whether it works, and if not, why.
    pub state: CollectorState,
    /// The interval of ticks, in seconds.
    pub interval_secs: u32,
    /// The time of the newest written tick; `None` before the first.
    pub newest_tick_at: Option<UtcMillis>,
    /// How long ticks take.
    pub tick_ms: TickMillis,
    /// Ticks that were written.
    pub ticks: u64,
    /// Ticks skipped because an earlier one was still running.
    pub ticks_skipped: u64,
    /// Ticks that were lost because the database could not be read or written.
    pub ticks_failed: u64,
    /// Ticks in which the hypervisor did not respond.
    #[serde(rename = "readings_failed")]
    pub samples_failed: u64,
    /// Which sources the VMs' metrics come from.
    pub vms: VmsBySource,
    /// Since when nothing can be stored; `None` while ticks are written.
    #[serde(default)]
    pub outage: Option<StorageOutage>,
    /// The latest error since the server started; `None` without one.
    pub last_error: Option<CollectorError>,
}

/// A time in which nothing can be written to the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageOutage {
    /// The time of the first tick that could not be written.
    pub since: UtcMillis,
    /// A sentence that says why, and what to do.
    pub reason: String,
    /// Ticks that are in memory until they can be written.
    pub waiting_ticks: usize,
    /// Ticks that were lost, because they had waited for an hour.
    pub lost_ticks: usize,
}

impl StorageOutage {
    /// `Nothing can be stored since 14:05:10 UTC. The disk is full. …`
    pub fn text(&self) -> String {
        let since = self.since.to_rfc3339();
        let (day, time) = (&since[..10], &since[11..19]);
        format!(
            "Nothing can be stored since {day} {time} UTC. {} Metrics of the last hour are kept in memory until then.",
            self.reason
        )
    }
}

/// The state of the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectorState {
    /// No tick has been written yet.
    Starting,
    /// The newest tick is recent and has metrics.
    Working,
    /// Ticks are written, but the hypervisor is not responding.
    HypervisorSilent,
    /// Ticks cannot be written; the newest are in memory.
    NotStoring,
    /// No tick has been written for several intervals.
    Stopped,
}

impl CollectorState {
    /// The label shown to admins.
    pub fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Working => "working",
            Self::HypervisorSilent => "hypervisor not responding",
            Self::NotStoring => "nothing can be stored",
            Self::Stopped => "stopped",
        }
    }
}

/// The duration of ticks, from their start to the last `.vm_info`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct TickMillis {
    /// The newest tick's duration in milliseconds; `None` before the first.
    pub last: Option<f64>,
    /// Over the newest `over` ticks.
    pub mean: Option<f64>,
    /// Over the newest `over` ticks.
    pub max: Option<f64>,
    /// The number of ticks of the mean and maximum.
    pub over: usize,
}

/// The number of VMs with metrics from each source in the newest tick. A VM with two sources counts twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VmsBySource {
    /// VMs with metrics reported by the guest.
    pub guest: u32,
    /// VMs with metrics from the hypervisor's counters.
    pub hypervisor: u32,
    /// VMs with simulated metrics.
    pub simulated: u32,
    /// VMs without metrics.
    pub none: u32,
}

/// An error of the collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorError {
    /// When it occurred.
    pub at: UtcMillis,
    /// The message.
    pub text: String,
}

/// The health of the sample store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreHealth {
    /// The size of the database file, which includes accounts and events.
    pub file_bytes: u64,
    /// The size of the write-ahead log.
    pub wal_bytes: u64,
    /// Free space of the file system for the server's user, if known.
    pub disk_free_bytes: Option<u64>,
    /// Ticks that are still rows; they are sealed after the end of their hour.
    pub waiting_ticks: u64,
    /// Hours that are compressed into chunks.
    pub sealed_hours: u64,
    /// Columns of one hour, compressed individually.
    pub chunks: u64,
    /// The total size of all chunks.
    pub chunk_bytes: u64,
    /// The mean over all values in chunks; `None` without chunks.
    pub bytes_per_value: Option<f64>,
    /// The time of the oldest stored tick; `None` without ticks.
    pub oldest_tick_at: Option<UtcMillis>,
    /// The time of the newest stored tick; `None` without ticks.
    pub newest_tick_at: Option<UtcMillis>,
    /// Older ticks are deleted.
    pub retention_days: u32,
    /// Since the server started.
    pub last_sealing: Option<Sealing>,
}

/// A compression of whole hours into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sealing {
    /// When it finished.
    pub at: UtcMillis,
    /// Its duration in milliseconds.
    pub took_ms: f64,
    /// The number of hours compressed.
    pub hours: usize,
}
