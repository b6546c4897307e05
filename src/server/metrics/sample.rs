//! The stored form of a tick: integers of a fixed resolution.
//!
//! A value is rounded once, when it is recorded, so that rows, memory and chunks agree. Percentages of memory and disk
//! are not stored: they are computed from the amounts. A column holds one quantity: what guest and hypervisor measure
//! differently has a column each.

use super::{chunk::UNKNOWN, growth};
use crate::model::{HostUsage, Metric, Source, Sources, VmUsage};

/// A column of a VM's or of the host's samples, by its place.
pub type Column = u8;

/// A VM's columns.
pub mod vm {
    use super::Column;

    /// Hundredths of a percent.
    pub const CPU: Column = 0;
    /// Hundredths of a MB, as the three below.
    pub const MEMORY_USED: Column = 1;
    /// Used and available together.
    pub const MEMORY_TOTAL: Column = 2;
    /// Of the guest's file system. In older samples, of the image where the source is the hypervisor.
    pub const DISK_USED: Column = 3;
    /// Used and available together, of the same.
    pub const DISK_TOTAL: Column = 4;
    /// KB since the VM's boot, as stored until [`NETWORK_RX_BYTES`] replaced it.
    pub const NETWORK_RX_KB: Column = 5;
    /// The same for [`NETWORK_TX_BYTES`].
    pub const NETWORK_TX_KB: Column = 6;
    /// Seconds.
    pub const UPTIME: Column = 7;
    /// The sources of the metrics, three bits per group.
    pub const SOURCES: Column = 8;
    /// Bytes since the VM's boot, their growth rounded (`growth.rs`).
    pub const NETWORK_RX_BYTES: Column = 9;
    pub const NETWORK_TX_BYTES: Column = 10;
    /// Of the VM's images on the host, in hundredths of a MB.
    pub const IMAGE_USED: Column = 11;
    /// What they can grow to.
    pub const IMAGE_TOTAL: Column = 12;
    pub const COUNT: usize = 13;
}

/// The host's columns.
pub mod host {
    use super::Column;

    /// Percents and loads in hundredths, amounts in hundredths of a MB, speeds in bytes per second.
    pub const CPU: Column = 0;
    pub const MEMORY: Column = 1;
    pub const MEMORY_USED: Column = 2;
    pub const DISK: Column = 3;
    pub const DISK_USED: Column = 4;
    pub const NET_SEND: Column = 5;
    pub const NET_RECV: Column = 6;
    pub const SWAP: Column = 7;
    pub const SWAP_USED: Column = 8;
    pub const LOAD_1: Column = 9;
    pub const LOAD_5: Column = 10;
    pub const LOAD_15: Column = 11;
    pub const CORES: Column = 12;
    pub const COUNT: usize = 13;
}

const PER_PERCENT: f64 = 100.0;
const PER_MB: f64 = 100.0;
const PER_GB: f64 = 1024.0 * PER_MB;
const BYTES_PER_KB: i64 = 1024;
pub const BYTES_PER_MB: f64 = 1024.0 * 1024.0;

/// The subject of samples: a VM, by its id, or the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(pub i64);

impl Subject {
    pub const HOST: Self = Self(0);

    pub fn of(vm_id: Option<i64>) -> Self {
        vm_id.map_or(Self::HOST, Self)
    }

    pub fn column_count(self) -> usize {
        if self == Self::HOST { host::COUNT } else { vm::COUNT }
    }
}

/// A VM's columns at one tick; unknown is `None`.
pub type VmSample = [Option<i64>; vm::COUNT];

/// The host's columns at one tick; unknown is `None`.
pub type HostSample = [Option<i64>; host::COUNT];

/// `traffic_before` has the bytes that were recorded last, received and sent.
pub fn vm_sample(f: &VmUsage, traffic_before: [Option<i64>; 2]) -> VmSample {
    let disk_used_gb = f.of_file_system(|f| f.disk_used_gb);
    let counted = |before, mb| Some(growth::recorded(before, whole(mb, BYTES_PER_MB)?));
    let total = |used: Option<f64>, available: Option<f64>| Some(used? + available?);
    [
        scaled(f.cpu_percent, PER_PERCENT),
        scaled(f.memory_used_mb, PER_MB),
        scaled(total(f.memory_used_mb, f.memory_available_mb), PER_MB),
        scaled(disk_used_gb, PER_GB),
        scaled(total(disk_used_gb, f.disk_available_gb), PER_GB),
        None,
        None,
        f.uptime_seconds.and_then(|secs| i64::try_from(secs).ok()),
        Some(packed(f.sources)),
        counted(traffic_before[0], f.network_rx_mb),
        counted(traffic_before[1], f.network_tx_mb),
        scaled(f.image_used_gb, PER_GB),
        scaled(total(f.image_used_gb, f.image_available_gb), PER_GB),
    ]
}

pub fn host_sample(f: &HostUsage) -> HostSample {
    [
        scaled(f.cpu_percent, PER_PERCENT),
        scaled(f.memory_percent, PER_PERCENT),
        scaled(f.memory_used_gb, PER_GB),
        scaled(f.disk_percent, PER_PERCENT),
        scaled(f.disk_used_gb, PER_GB),
        scaled(f.net_send_speed, BYTES_PER_MB),
        scaled(f.net_recv_speed, BYTES_PER_MB),
        scaled(f.swap_percent, PER_PERCENT),
        scaled(f.swap_used_gb, PER_GB),
        scaled(f.load_1, 100.0),
        scaled(f.load_5, 100.0),
        scaled(f.load_15, 100.0),
        (f.cpu_cores > 0).then_some(i64::from(f.cpu_cores)),
    ]
}

/// A bound far above any real value, so that sums and differences of columns never overflow.
const LARGEST: f64 = 4e18;

fn scaled(value: Option<f64>, factor: f64) -> Option<i64> {
    bounded((value? * factor).round())
}

/// A counter is never rounded up to what was not counted yet.
fn whole(value: Option<f64>, factor: f64) -> Option<i64> {
    bounded((value? * factor).floor())
}

fn bounded(value: f64) -> Option<i64> {
    (value.is_finite() && value.abs() < LARGEST).then_some(value as i64)
}

fn packed(sources: Sources) -> i64 {
    let Sources { cpu, memory, disk, network, uptime } = sources;
    [uptime, network, disk, memory, cpu].into_iter().fold(0, |all, source| all << 3 | code(source))
}

fn code(source: Source) -> i64 {
    match source {
        Source::Unknown => 0,
        Source::Guest => 1,
        Source::Hypervisor => 2,
        Source::Simulated => 3,
        Source::Stale => 4,
    }
}

/// The inverse of what a sample stores.
pub fn sources(packed: i64) -> Sources {
    let source = |group: u32| match packed >> (3 * group) & 7 {
        1 => Source::Guest,
        2 => Source::Hypervisor,
        3 => Source::Simulated,
        4 => Source::Stale,
        _ => Source::Unknown,
    };
    Sources { cpu: source(0), memory: source(1), disk: source(2), network: source(3), uptime: source(4) }
}

/// How a metric's value is made of columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Formula {
    /// A column divided.
    Scaled(Column, f64),
    /// 100 · the first / the second.
    Percent(Column, Column),
    /// The disk's usage in percent, or what of it is used divided.
    DiskPercent(Disk),
    DiskUsed(Disk, f64),
    /// A counter of bytes in MB.
    Counter(Counter),
    /// MB/s between two samples of one boot.
    Rate(Counter),
}

/// What a disk's usage is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    FileSystem,
    Image,
}

impl Disk {
    /// The columns that [`Self::used_and_total`] reads.
    pub const COLUMNS: [Column; 5] =
        [vm::SOURCES, vm::DISK_USED, vm::DISK_TOTAL, vm::IMAGE_USED, vm::IMAGE_TOTAL];

    /// From one sample. Older ones have an image in the columns of the file system, identified by its source.
    pub fn used_and_total(self, [source, used, total, image_used, image_total]: [i64; 5]) -> (i64, i64) {
        let is_image = source != UNKNOWN && sources(source).disk == Source::Hypervisor;
        match self {
            Self::FileSystem if is_image => (UNKNOWN, UNKNOWN),
            Self::Image if image_used != UNKNOWN => (image_used, image_total),
            Self::Image if !is_image => (UNKNOWN, UNKNOWN),
            Self::FileSystem | Self::Image => (used, total),
        }
    }
}

/// A counter's columns: in bytes, and in KB as older samples have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counter {
    bytes: Column,
    kb: Column,
}

impl Counter {
    pub const RECEIVED: Self = Self { bytes: vm::NETWORK_RX_BYTES, kb: vm::NETWORK_RX_KB };
    pub const SENT: Self = Self { bytes: vm::NETWORK_TX_BYTES, kb: vm::NETWORK_TX_KB };

    /// The bytes of one sample, or [`UNKNOWN`].
    pub fn bytes(bytes: i64, kb: i64) -> i64 {
        if bytes == UNKNOWN && kb != UNKNOWN { kb.saturating_mul(BYTES_PER_KB) } else { bytes }
    }
}

impl Formula {
    /// `None` for a name that is no metric of ours.
    pub fn of(metric: Metric) -> Option<Self> {
        Some(match metric.name {
            "vm_cpu_percent" => Self::Scaled(vm::CPU, PER_PERCENT),
            "vm_memory_percent" => Self::Percent(vm::MEMORY_USED, vm::MEMORY_TOTAL),
            "vm_disk_percent" => Self::DiskPercent(Disk::FileSystem),
            "vm_image_percent" => Self::DiskPercent(Disk::Image),
            "vm_memory_used_mb" => Self::Scaled(vm::MEMORY_USED, PER_MB),
            "vm_disk_used_gb" => Self::DiskUsed(Disk::FileSystem, PER_GB),
            "vm_image_used_gb" => Self::DiskUsed(Disk::Image, PER_GB),
            "vm_network_rx_mb" => Self::Counter(Counter::RECEIVED),
            "vm_network_tx_mb" => Self::Counter(Counter::SENT),
            "vm_network_rx_mb_per_s" => Self::Rate(Counter::RECEIVED),
            "vm_network_tx_mb_per_s" => Self::Rate(Counter::SENT),
            "vm_uptime" => Self::Scaled(vm::UPTIME, 1.0),
            "host_cpu_percent" => Self::Scaled(host::CPU, PER_PERCENT),
            "host_memory_percent" => Self::Scaled(host::MEMORY, PER_PERCENT),
            "host_disk_percent" => Self::Scaled(host::DISK, PER_PERCENT),
            "host_memory_used_gb" => Self::Scaled(host::MEMORY_USED, PER_GB),
            "host_disk_used_gb" => Self::Scaled(host::DISK_USED, PER_GB),
            "host_net_send_speed" => Self::Scaled(host::NET_SEND, BYTES_PER_MB),
            "host_net_recv_speed" => Self::Scaled(host::NET_RECV, BYTES_PER_MB),
            "host_swap_percent" => Self::Scaled(host::SWAP, PER_PERCENT),
            "host_swap_used_gb" => Self::Scaled(host::SWAP_USED, PER_GB),
            "host_load_1" => Self::Scaled(host::LOAD_1, 100.0),
            "host_load_5" => Self::Scaled(host::LOAD_5, 100.0),
            "host_load_15" => Self::Scaled(host::LOAD_15, 100.0),
            "host_cpu_cores" => Self::Scaled(host::CORES, 1.0),
            _ => return None,
        })
    }

    /// The columns it needs, in the order that [`each_value`](super::downsample::each_value) reads them.
    pub fn columns(self) -> Vec<Column> {
        match self {
            Self::Scaled(column, _) => vec![column],
            Self::Percent(part, whole) => vec![part, whole],
            Self::DiskPercent(_) | Self::DiskUsed(..) => Disk::COLUMNS.to_vec(),
            Self::Counter(Counter { bytes, kb }) => vec![bytes, kb],
            Self::Rate(Counter { bytes, kb }) => vec![bytes, kb, vm::UPTIME, vm::SOURCES],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_metric_has_a_formula_of_columns_that_exist() {
        for metric in Metric::ALL {
            let formula = Formula::of(metric).unwrap_or_else(|| panic!("{} has no formula", metric.name));
            let count = if metric.of_host { host::COUNT } else { vm::COUNT };
            assert!(formula.columns().iter().all(|c| usize::from(*c) < count), "{}", metric.name);
        }
    }

    #[test]
    fn sources_survive_being_packed() {
        let all = [Source::Unknown, Source::Guest, Source::Hypervisor, Source::Simulated, Source::Stale];
        for (i, cpu) in all.into_iter().enumerate() {
            let given =
                Sources { cpu, memory: all[(i + 1) % 5], disk: all[(i + 2) % 5], network: cpu, uptime: cpu };
            assert_eq!(sources(packed(given)), given);
        }
    }

    fn any_source() -> impl Strategy<Value = Source> {
        prop_oneof![
            Just(Source::Guest),
            Just(Source::Hypervisor),
            Just(Source::Simulated),
            Just(Source::Stale),
            Just(Source::Unknown)
        ]
    }

    proptest! {
        #[test]
        fn no_column_of_the_disk_mixes_file_system_and_image(
            disk in proptest::option::of(0.0..1e4_f64), image in proptest::option::of(0.0..1e4_f64), source in any_source(),
        ) {
            let usage = VmUsage {
                disk_used_gb: disk,
                disk_available_gb: disk,
                image_used_gb: image,
                image_available_gb: image,
                sources: Sources { disk: source, ..Sources::default() },
                ..VmUsage::default()
            };
            let sample = vm_sample(&usage, [None; 2]);
            let stored = |column: Column| sample[usize::from(column)];
            let expected = disk.filter(|_| source != Source::Hypervisor);
            prop_assert_eq!(stored(vm::DISK_USED), scaled(expected, PER_GB));
            prop_assert_eq!(stored(vm::IMAGE_USED), scaled(image, PER_GB));
            let cells = Disk::COLUMNS.map(|column| stored(column).unwrap_or(UNKNOWN));
            let read = |disk: Disk| Some(disk.used_and_total(cells).0).filter(|used| *used != UNKNOWN);
            prop_assert_eq!(read(Disk::FileSystem), stored(vm::DISK_USED));
            prop_assert_eq!(read(Disk::Image), stored(vm::IMAGE_USED));
        }

        #[test]
        fn any_value_is_stored_within_its_resolution_or_not_at_all(value in any::<f64>()) {
            match scaled(Some(value), 100.0) {
                Some(stored) => prop_assert!((stored as f64 / 100.0 - value).abs() <= 0.005 + value.abs() * 1e-12),
                None => prop_assert!(!value.is_finite() || value.abs() > 1e16),
            }
        }
    }
}
