//! Resource usage of the host.
//!
//! Processor, memory and network come from `sysinfo`; the disk from the file system that holds the data directory. A
//! rate needs two samples: the first has none. What the system does not report is `None`.
//!
//! Traffic counts on the interfaces of network hardware only, those with a `device` in sysfs: what passes a bridge, a
//! bond, a VLAN or a tunnel passes one of them too, and what VMs send each other does not leave the host.

use crate::model::HostUsage;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Instant,
};
use sysinfo::{Networks, System};

/// A folder per network interface.
const INTERFACES: &str = "/sys/class/net";
/// The statistics of ZFS's cache, where ZFS is loaded.
const ARC_STATISTICS: &str = "/proc/spl/kstat/zfs/arcstats";
/// The file has about 5 KB.
const ARC_STATISTICS_MAX_BYTES: u64 = 64 * 1024;

const BYTES_PER_MB: f64 = 1024.0 * 1024.0;
const BYTES_PER_GB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Samples the host. Remembers the last sample's counters.
pub struct Host {
    data_directory: PathBuf,
    system: Option<System>,
    networks: Option<Networks>,
    sampled_before: bool,
    traffic: Option<(Instant, Totals)>,
}

/// Bytes received and sent since the host's boot, by the interface's name.
type Totals = BTreeMap<String, (u64, u64)>;

impl Host {
    /// `data_directory` decides which file system is "the disk"; it need not exist yet.
    pub fn new(data_directory: PathBuf) -> Self {
        Self {
            data_directory,
            system: System::new().ok(),
            networks: Networks::new().ok(),
            sampled_before: false,
            traffic: None,
        }
    }

    /// The values at `now`. Blocks for some milliseconds, longer when a disk hangs: call it on a thread that may
    /// wait.
    pub fn sample(&mut self, now: Instant) -> HostUsage {
        let mut usage = HostUsage::default();
        self.processor_and_memory(&mut usage);
        disk(&self.data_directory, &mut usage);
        self.network(now, &mut usage);
        self.sampled_before = true;
        usage
    }

    fn processor_and_memory(&mut self, usage: &mut HostUsage) {
        let Some(system) = &mut self.system else { return };
        system.refresh_cpu_usage();
        system.refresh_memory();
        usage.cpu_cores = u32::try_from(system.cpus().len()).unwrap_or(u32::MAX);
        if self.sampled_before && usage.cpu_cores > 0 {
            usage.cpu_percent = Some(f64::from(system.global_cpu_usage()).clamp(0.0, 100.0));
        }
        let total = system.total_memory() as f64;
        if total > 0.0 {
            // Available rather than free memory: caches are released on demand. The kernel does not count ZFS's.
            let available = system.available_memory().saturating_add(reclaimable_arc_bytes());
            let used = (total - available as f64).max(0.0);
            usage.memory_percent = Some(100.0 * used / total);
            usage.memory_used_gb = Some(used / BYTES_PER_GB);
            usage.memory_total_gb = Some(total / BYTES_PER_GB);
        }
        let swap = system.total_swap() as f64;
        usage.swap_total_gb = Some(swap / BYTES_PER_GB);
        if swap > 0.0 {
            let used = system.used_swap() as f64;
            usage.swap_percent = Some((100.0 * used / swap).clamp(0.0, 100.0));
            usage.swap_used_gb = Some(used / BYTES_PER_GB);
        }
        if let Ok(load) = System::load_average() {
            usage.load_1 = Some(load.one);
            usage.load_5 = Some(load.five);
            usage.load_15 = Some(load.fifteen);
        }
    }

    fn network(&mut self, now: Instant, usage: &mut HostUsage) {
        let Some(networks) = &mut self.networks else { return };
        networks.refresh(true);
        let totals: Totals = networks
            .iter()
            .filter_map(|(name, data)| Some((name.to_str()?, data)))
            .filter(|(name, _)| is_hardware(Path::new(INTERFACES), name))
            .map(|(name, data)| (name.to_owned(), (data.total_received(), data.total_transmitted())))
            .collect();
        if let Some((then, before)) = &self.traffic
            && let Some(elapsed) = now.checked_duration_since(*then)
        {
            (usage.net_recv_speed, usage.net_send_speed) =
                mb_per_s(before, &totals, elapsed.as_secs_f64()).unzip();
        }
        self.traffic = Some((now, totals));
    }
}

/// Received and sent over the interfaces in both samples. `None` without any, if no time has passed, or if a counter
/// decreased because the interface was recreated.
fn mb_per_s(before: &Totals, after: &Totals, secs: f64) -> Option<(f64, f64)> {
    let mut sum: Option<(u64, u64)> = None;
    for (name, (received_before, sent_before)) in before {
        let Some((received, sent)) = after.get(name) else { continue };
        let (all_received, all_sent) = sum.unwrap_or_default();
        sum = Some((
            all_received.saturating_add(received.checked_sub(*received_before)?),
            all_sent.saturating_add(sent.checked_sub(*sent_before)?),
        ));
    }
    let (received, sent) = sum.filter(|_| secs > 0.0)?;
    Some((received as f64 / BYTES_PER_MB / secs, sent as f64 / BYTES_PER_MB / secs))
}

/// Whether the interface is a device of this machine.
fn is_hardware(interfaces: &Path, name: &str) -> bool {
    interfaces.join(name).join("device").exists()
}

/// What ZFS would give back of its cache if programs needed memory.
fn reclaimable_arc_bytes() -> u64 {
    let mut text = String::new();
    let read = |file: File| file.take(ARC_STATISTICS_MAX_BYTES).read_to_string(&mut text);
    // No such file: no ZFS.
    if File::open(ARC_STATISTICS).and_then(read).is_err() {
        return 0;
    }
    reclaimable_of(&text).unwrap_or(0)
}

/// All but the smallest size that the cache keeps: from lines such as `size    4    8589934592`.
fn reclaimable_of(arc_statistics: &str) -> Option<u64> {
    let number = |name: &str| {
        let mut words = arc_statistics
            .lines()
            .map(str::split_whitespace)
            .find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
        words.nth(1)?.parse::<u64>().ok()
    };
    Some(number("size")?.saturating_sub(number("c_min")?))
}

/// The file system that holds `directory`, or that will when it is made. Percent as `df` counts: of what its
/// users may use, without the part that is kept for root.
fn disk(directory: &Path, usage: &mut HostUsage) {
    let Some(there) = directory.ancestors().find(|ancestor| ancestor.exists()) else { return };
    let Ok(stat) = nix::sys::statvfs::statvfs(there) else { return };
    let block = stat.fragment_size() as f64;
    let total = stat.blocks() as f64 * block;
    let used = total - stat.blocks_free() as f64 * block;
    let usable = used + stat.blocks_available() as f64 * block;
    // Some special file systems report no size.
    if usable > 0.0 {
        usage.disk_percent = Some((100.0 * used / usable).clamp(0.0, 100.0));
        usage.disk_used_gb = Some(used / BYTES_PER_GB);
        usage.disk_total_gb = Some(total / BYTES_PER_GB);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MB: u64 = 1024 * 1024;

    fn totals(interfaces: &[(&str, u64, u64)]) -> Totals {
        interfaces.iter().map(|(name, rx, tx)| ((*name).to_owned(), (*rx, *tx))).collect()
    }

    #[test]
    fn the_first_sample_has_no_rates_and_the_second_no_nonsense() {
        let mut host = Host::new("/nowhere/yet".into());
        let start = Instant::now();
        let first = host.sample(start);
        assert_eq!((first.cpu_percent, first.net_send_speed, first.net_recv_speed), (None, None, None));
        assert!(first.cpu_cores > 0);
        let second = host.sample(start + Duration::from_secs(5));
        for usage in [first, second] {
            for percent in [usage.cpu_percent, usage.memory_percent, usage.disk_percent].into_iter().flatten()
            {
                assert!((0.0..=100.0).contains(&percent), "{usage:?}");
            }
            assert!(usage.memory_used_gb < usage.memory_total_gb, "{usage:?}");
            assert!(usage.disk_used_gb <= usage.disk_total_gb && usage.disk_used_gb.is_some(), "{usage:?}");
        }
        assert!(second.cpu_percent.is_some());
    }

    #[test]
    fn speeds_are_summed_over_the_interfaces_in_both_samples() {
        let before = totals(&[("eth0", 10 * MB, 0), ("eth1", 0, 5 * MB), ("eth2", 0, 0)]);
        let after = totals(&[("eth0", 20 * MB, 5 * MB), ("eth1", 0, 5 * MB), ("eth9", 900 * MB, 900 * MB)]);
        assert_eq!(mb_per_s(&before, &after, 5.0), Some((2.0, 1.0)));
    }

    #[test]
    fn a_speed_without_two_good_counters_is_unknown() {
        let one = totals(&[("eth0", MB, MB)]);
        assert_eq!(mb_per_s(&one, &totals(&[("eth0", 0, 2 * MB)]), 5.0), None, "a counter went down");
        assert_eq!(mb_per_s(&one, &totals(&[("eth1", MB, MB)]), 5.0), None, "nothing in common");
        assert_eq!(mb_per_s(&one, &one, 0.0), None, "no time between");
        assert_eq!(mb_per_s(&Totals::new(), &Totals::new(), 5.0), None, "no interface");
        assert_eq!(mb_per_s(&one, &one, 5.0), Some((0.0, 0.0)), "silence is known");
    }

    #[test]
    fn only_network_hardware_counts_as_the_hosts_network() {
        let folder = tempfile::tempdir().unwrap();
        let add =
            |name: &str, part: &str| std::fs::create_dir_all(folder.path().join(name).join(part)).unwrap();
        for name in ["eth0", "wlp2s0", "bridge-uplink", "tun-card", "vnet"] {
            add(name, "device");
            assert!(is_hardware(folder.path(), name), "{name}");
        }
        for name in
            ["lo", "br0", "vmbr0", "lxdbr0", "team0", "vlan10", "eth0.10", "bond0", "virbr0", "vnet12"]
        {
            add(name, "statistics");
            assert!(!is_hardware(folder.path(), name), "{name}");
        }
        assert!(!is_hardware(folder.path(), "gone"));
    }

    #[test]
    fn what_zfs_gives_back_is_its_cache_above_the_smallest_size() {
        let statistics = |size: &str, c_min: &str| {
            format!(
                "13 1 0x01 123 33456 4000 5000\nname type data\nhits 4 99\nc_min    4    {c_min}\nc_max 4 8\nsize    4    {size}\n"
            )
        };
        assert_eq!(reclaimable_of(&statistics("8589934592", "1073741824")), Some(7 << 30));
        assert_eq!(reclaimable_of(&statistics("1073741824", "1073741824")), Some(0));
        assert_eq!(reclaimable_of(&statistics("1000", "1073741824")), Some(0), "it has not grown to it yet");
        for broken in ["", "size 4 100\n", "c_min 4 100\n", &statistics("-1", "0"), &statistics("", "0")] {
            assert_eq!(reclaimable_of(broken), None, "{broken}");
        }
    }
}
