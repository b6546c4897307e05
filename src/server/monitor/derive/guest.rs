//! Merges the guest's samples into the hypervisor's values. Pure.
//!
//! The guest takes precedence for its root file system, memory and uptime; for CPU and network it only fills gaps.
//! Rates come from two samples within one boot of the guest, by the guest's own clock: same boot id, increasing uptime.
//! Samples that are far apart give none, because an old average is not the current rate.

use super::units::{BYTES_PER_GB, BYTES_PER_MB, FRESH_INTERVALS, KIB_PER_MB};
use crate::{
    model::{Source, VmUsage},
    server::guest::{GuestSample, GuestSamples},
};
use std::time::{Duration, Instant};

/// Two samples no further apart than this give rates, however short the interval: at most one attempt failed between
/// them.
const LEAST_BOUND: Duration = Duration::from_secs(10);

/// How long a guest's value is shown.
fn fresh(interval_secs: u32) -> Duration {
    Duration::from_secs(u64::from(FRESH_INTERVALS) * u64::from(interval_secs))
}

/// Merges the guest's latest sample, as of `at`; one that is too old adds nothing.
pub(super) fn merge(
    usage: &mut VmUsage,
    samples: &GuestSamples,
    at: Instant,
    tick_before: Option<Instant>,
    interval_secs: u32,
) {
    let newest = samples.newest.as_ref();
    let age = at.saturating_duration_since(newest.taken_at);
    if age > fresh(interval_secs) {
        return;
    }
    disk(newest, usage);
    memory(newest, usage);
    uptime(newest, age, usage);
    let span = samples.before.as_deref().and_then(|before| Span::between(before, newest, interval_secs));
    if usage.cpu_percent.is_none() {
        cpu(span.as_ref(), usage);
    }
    // Used in a second tick, the counter would seem not to have changed.
    let is_new = tick_before.is_none_or(|before| newest.taken_at > before);
    if usage.network_rx_mb.is_none() && is_new {
        network(newest, span.as_ref(), usage);
    }
}

/// As `df` counts: of what its users may use, without the part that is kept for root.
fn disk(sample: &GuestSample, usage: &mut VmUsage) {
    let Some(root_fs) = sample.root_fs else { return };
    let (used, available) = (root_fs.used_bytes as f64, root_fs.available_bytes as f64);
    if used + available <= 0.0 {
        return;
    }
    usage.disk_percent = Some((100.0 * used / (used + available)).clamp(0.0, 100.0));
    usage.disk_used_gb = Some(used / BYTES_PER_GB);
    usage.disk_available_gb = Some(available / BYTES_PER_GB);
    usage.sources.disk = Source::Guest;
}

fn memory(sample: &GuestSample, usage: &mut VmUsage) {
    let Some(memory) = sample.memory.filter(|memory| memory.total_kib > 0) else { return };
    let available_kib = memory.available_kib.min(memory.total_kib);
    let used_kib = memory.total_kib - available_kib;
    usage.memory_percent = Some((100.0 * used_kib as f64 / memory.total_kib as f64).min(100.0));
    usage.memory_used_mb = Some(used_kib as f64 / KIB_PER_MB);
    usage.memory_available_mb = Some(available_kib as f64 / KIB_PER_MB);
    usage.swap_percent = memory.swap_kib.map(|(total, free)| 100.0 * (1.0 - free as f64 / total as f64));
    usage.sources.memory = Source::Guest;
}

fn uptime(sample: &GuestSample, age: Duration, usage: &mut VmUsage) {
    let Some(uptime_secs) = sample.uptime_secs else { return };
    usage.uptime_seconds = Some((uptime_secs + age.as_secs_f64()) as u64);
    usage.sources.uptime = Source::Guest;
}

fn cpu(span: Option<&Span<'_>>, usage: &mut VmUsage) {
    if let Some(percent) = span.and_then(Span::cpu_percent) {
        usage.cpu_percent = Some(percent);
        usage.sources.cpu = Source::Guest;
    }
}

fn network(sample: &GuestSample, span: Option<&Span<'_>>, usage: &mut VmUsage) {
    let Some(total) = traffic(sample) else { return };
    usage.network_rx_mb = Some(total.rx_bytes / BYTES_PER_MB);
    usage.network_tx_mb = Some(total.tx_bytes / BYTES_PER_MB);
    (usage.network_rx_mb_per_s, usage.network_tx_mb_per_s) = span.and_then(Span::network_mb_per_s).unzip();
    usage.sources.network = Source::Guest;
}

struct Bytes {
    rx_bytes: f64,
    tx_bytes: f64,
}

fn traffic(sample: &GuestSample) -> Option<Bytes> {
    sample.interfaces.as_ref()?.values().fold(None, |sum, one| {
        let sum = sum.unwrap_or(Bytes { rx_bytes: 0.0, tx_bytes: 0.0 });
        Some(Bytes {
            rx_bytes: sum.rx_bytes + one.rx_bytes as f64,
            tx_bytes: sum.tx_bytes + one.tx_bytes as f64,
        })
    })
}

/// Two samples within one boot of the guest.
struct Span<'a> {
    earlier: &'a GuestSample,
    later: &'a GuestSample,
    /// By the guest's clock.
    secs: f64,
}

impl<'a> Span<'a> {
    fn between(earlier: &'a GuestSample, later: &'a GuestSample, interval_secs: u32) -> Option<Self> {
        let apart = later.taken_at.checked_duration_since(earlier.taken_at)?;
        if apart > LEAST_BOUND.max(fresh(interval_secs)) {
            return None;
        }
        let secs = later.uptime_secs? - earlier.uptime_secs?;
        let one_boot = earlier.boot_id.is_some() && earlier.boot_id == later.boot_id;
        (one_boot && secs > 0.0).then_some(Self { earlier, later, secs })
    }

    fn cpu_percent(&self) -> Option<f64> {
        let (before, after) = (self.earlier.cpu?, self.later.cpu?);
        let total = after.total_ticks.checked_sub(before.total_ticks).filter(|ticks| *ticks > 0)?;
        let idle = after.idle_ticks.checked_sub(before.idle_ticks)?;
        Some((100.0 * total.saturating_sub(idle) as f64 / total as f64).clamp(0.0, 100.0))
    }

    /// Received and sent, over the interfaces in both samples; nothing when a counter went down.
    fn network_mb_per_s(&self) -> Option<(f64, f64)> {
        let (before, after) = (self.earlier.interfaces.as_ref()?, self.later.interfaces.as_ref()?);
        let mut sum: Option<(u64, u64)> = None;
        for (name, after) in after {
            let Some(before) = before.get(name) else { continue };
            let (rx, tx) = sum.unwrap_or_default();
            sum = Some((
                rx.saturating_add(after.rx_bytes.checked_sub(before.rx_bytes)?),
                tx.saturating_add(after.tx_bytes.checked_sub(before.tx_bytes)?),
            ));
        }
        let (rx, tx) = sum?;
        Some((rx as f64 / BYTES_PER_MB / self.secs, tx as f64 / BYTES_PER_MB / self.secs))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        model::{Sources, UtcMillis},
        server::{
            guest::sample::{CpuTime, FileSystem, InterfaceBytes, Memory},
            monitor::derive::{Inputs, derive},
            provider::{Balloon, Counters, DiskUse, Domain, DomainState, Traffic},
        },
    };
    use proptest::{collection::btree_map, option, prelude::*};
    use std::{collections::BTreeMap, sync::Arc};

    const NOW: UtcMillis = UtcMillis(1_795_396_900_000);
    const INTERVAL_SECS: u32 = 5;
    const MB: u64 = 1024 * 1024;
    const GB: u64 = 1024 * MB;

    /// A VM about which the hypervisor knows only that it runs.
    fn silent() -> Domain {
        Domain {
            uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f".into(),
            name: "x".into(),
            state: DomainState::Running,
            started_at: None,
            counters: Counters::default(),
            source: Source::Hypervisor,
        }
    }

    fn eth0(rx_bytes: u64, tx_bytes: u64) -> BTreeMap<String, InterfaceBytes> {
        BTreeMap::from([("eth0".to_owned(), InterfaceBytes { rx_bytes, tx_bytes })])
    }

    /// Two samples five seconds apart.
    fn samples() -> GuestSamples {
        let taken_at = Instant::now();
        let before = GuestSample {
            taken_at,
            boot_id: Some("0f9c7a1e-3a59-4a3e-9b1c-1f6d5a3f0c11".into()),
            sees_host: false,
            cpu: Some(CpuTime { total_ticks: 1000, idle_ticks: 800, cores: 1 }),
            memory: Some(Memory { total_kib: 1024 * 1024, available_kib: 512 * 1024, swap_kib: None }),
            root_fs: Some(FileSystem { total_bytes: 10 * GB, used_bytes: 3 * GB, available_bytes: 6 * GB }),
            interfaces: Some(eth0(90 * MB, 45 * MB)),
            load: None,
            uptime_secs: Some(100.5),
        };
        let newest = GuestSample {
            taken_at: taken_at + Duration::from_secs(5),
            cpu: Some(CpuTime { total_ticks: 1500, idle_ticks: 925, cores: 1 }),
            memory: Some(Memory {
                total_kib: 1024 * 1024,
                available_kib: 768 * 1024,
                swap_kib: Some((1000, 400)),
            }),
            interfaces: Some(eth0(100 * MB, 50 * MB)),
            uptime_secs: Some(105.5),
            ..before.clone()
        };
        GuestSamples { newest: Arc::new(newest), before: Some(Arc::new(before)) }
    }

    fn changed(samples: &GuestSamples, change: impl FnOnce(&mut GuestSample)) -> GuestSamples {
        let mut newest = samples.newest.as_ref().clone();
        change(&mut newest);
        GuestSamples { newest: Arc::new(newest), ..samples.clone() }
    }

    fn usage_after(secs: u64, domain: &Domain, samples: &GuestSamples) -> VmUsage {
        let at = samples.newest.taken_at + Duration::from_secs(secs);
        let current = (domain, at);
        derive(Inputs {
            previous: None,
            current,
            guest: Some(samples),
            tick_before: None,
            now: NOW,
            interval_secs: INTERVAL_SECS,
        })
    }

    #[test]
    fn a_guest_alone_gives_every_value() {
        let usage = usage_after(2, &silent(), &samples());
        let source = Source::Guest;
        let expected = VmUsage {
            cpu_percent: Some(75.0),
            memory_percent: Some(25.0),
            memory_used_mb: Some(256.0),
            memory_available_mb: Some(768.0),
            swap_percent: Some(60.0),
            disk_percent: Some(100.0 / 3.0),
            disk_used_gb: Some(3.0),
            disk_available_gb: Some(6.0),
            image_percent: None,
            image_used_gb: None,
            image_available_gb: None,
            network_rx_mb: Some(100.0),
            network_tx_mb: Some(50.0),
            network_rx_mb_per_s: Some(2.0),
            network_tx_mb_per_s: Some(1.0),
            uptime_seconds: Some(107),
            sources: Sources { cpu: source, memory: source, disk: source, network: source, uptime: source },
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn a_guest_that_said_nothing_since_the_tick_before_has_no_network_but_all_else() {
        let (domain, samples) = (silent(), samples());
        let at_tick = |tick_before: Instant| {
            derive(Inputs {
                previous: None,
                current: (&domain, samples.newest.taken_at + Duration::from_secs(7)),
                guest: Some(&samples),
                tick_before: Some(tick_before),
                now: NOW,
                interval_secs: INTERVAL_SECS,
            })
        };
        let heard = at_tick(samples.newest.taken_at - Duration::from_secs(1));
        let unheard = at_tick(samples.newest.taken_at + Duration::from_secs(2));
        assert_eq!(heard.network_rx_mb, Some(100.0));
        assert_eq!((unheard.network_rx_mb, unheard.network_rx_mb_per_s), (None, None));
        assert_eq!(unheard.sources.network, Source::Unknown);
        assert_eq!((unheard.cpu_percent, unheard.disk_percent), (heard.cpu_percent, heard.disk_percent));
    }

    #[test]
    fn the_guest_knows_disk_memory_and_uptime_better_and_the_hypervisor_network() {
        let mut domain = silent();
        domain.started_at = Some(NOW.plus_secs(-3600));
        domain.counters = Counters {
            balloon: Balloon {
                available_kib: Some(1000),
                usable_kib: Some(1),
                last_update_secs: Some(NOW.0 / 1000),
            },
            interfaces: BTreeMap::from([("vnet0".to_owned(), Traffic { rx_bytes: MB, tx_bytes: MB })]),
            disks: BTreeMap::from([("vda".to_owned(), DiskUse { image_bytes: 1, capacity_bytes: 2 })]),
            ..Counters::default()
        };
        let usage = usage_after(0, &domain, &samples());
        assert_eq!((usage.disk_used_gb, usage.memory_percent), (Some(3.0), Some(25.0)));
        assert_eq!(usage.image_percent, Some(50.0), "beside it");
        assert_eq!(usage.uptime_seconds, Some(105), "the guest was rebooted from inside");
        assert_eq!((usage.network_rx_mb, usage.network_rx_mb_per_s), (Some(1.0), None));
        let (guest, hypervisor) = (Source::Guest, Source::Hypervisor);
        let expected = Sources { cpu: guest, memory: guest, disk: guest, network: hypervisor, uptime: guest };
        assert_eq!(usage.sources, expected);
    }

    #[test]
    fn a_sample_counts_for_three_intervals_and_not_longer() {
        assert_eq!(usage_after(15, &silent(), &samples()).uptime_seconds, Some(120));
        assert_eq!(usage_after(16, &silent(), &samples()), VmUsage::default());
    }

    #[test]
    fn what_the_guest_does_not_report_stays_the_hypervisors() {
        let mut domain = silent();
        domain.counters.disks =
            BTreeMap::from([("vda".to_owned(), DiskUse { image_bytes: GB, capacity_bytes: 4 * GB })]);
        let samples = changed(&samples(), |sample| sample.root_fs = None);
        let usage = usage_after(0, &domain, &samples);
        assert_eq!((usage.disk_percent, usage.sources.disk), (Some(25.0), Source::Hypervisor));
    }

    /// virtio_balloon reports `totalram` and `si_mem_available()`, which `/proc/meminfo` prints.
    #[test]
    fn balloon_and_guest_agree_about_memory() {
        for (total_kib, available_kib) in [(176_212, 150_000), (1 << 20, 0), (4 << 20, 3 << 20)] {
            let mut domain = silent();
            domain.counters.balloon = Balloon {
                available_kib: Some(total_kib),
                usable_kib: Some(available_kib),
                last_update_secs: Some(NOW.0 / 1000),
            };
            let from_guest = changed(&samples(), |sample| {
                sample.memory = Some(Memory { total_kib, available_kib, swap_kib: None });
            });
            let from_balloon = changed(&samples(), |sample| sample.memory = None);
            let memory = |samples| {
                let usage = usage_after(0, &domain, samples);
                (usage.memory_percent, usage.memory_used_mb, usage.memory_available_mb)
            };
            assert!(memory(&from_guest).0.is_some());
            assert_eq!(memory(&from_guest), memory(&from_balloon));
        }
    }

    #[test]
    fn a_file_system_whose_parts_exceed_its_size_is_the_guests() {
        let root_fs = FileSystem { total_bytes: 10 * GB, used_bytes: 9 * GB, available_bytes: 3 * GB / 2 };
        let usage = usage_after(0, &silent(), &changed(&samples(), |sample| sample.root_fs = Some(root_fs)));
        assert_eq!((usage.disk_used_gb, usage.disk_available_gb), (Some(9.0), Some(1.5)));
        assert_eq!((usage.disk_percent, usage.sources.disk), (Some(900.0 / 10.5), Source::Guest));
    }

    #[test]
    fn two_boots_of_the_guest_give_no_rates() {
        for change in [
            (|sample| sample.boot_id = Some("x".into())) as fn(&mut GuestSample),
            |sample| sample.boot_id = None,
            |sample| sample.uptime_secs = Some(99.0),
            |sample| sample.uptime_secs = None,
        ] {
            let usage = usage_after(0, &silent(), &changed(&samples(), change));
            assert_eq!((usage.cpu_percent, usage.network_rx_mb_per_s), (None, None));
            assert_eq!(usage.network_rx_mb, Some(100.0), "the totals are of one sample");
        }
    }

    #[test]
    fn samples_far_apart_give_no_rates() {
        let apart = |secs| {
            let samples = samples();
            let taken_at = samples.before.as_ref().unwrap().taken_at + Duration::from_secs(secs);
            let usage = usage_after(0, &silent(), &changed(&samples, |sample| sample.taken_at = taken_at));
            assert_eq!(usage.network_rx_mb, Some(100.0), "the totals are of one sample");
            (usage.cpu_percent.is_some(), usage.network_rx_mb_per_s.is_some())
        };
        assert_eq!(apart(15), (true, true));
        assert_eq!(apart(16), (false, false));
    }

    #[test]
    fn a_counter_that_went_down_gives_no_rate() {
        let samples = changed(&samples(), |sample| {
            sample.interfaces = Some(eth0(89 * MB, 50 * MB));
            sample.cpu = Some(CpuTime { total_ticks: 1500, idle_ticks: 799, cores: 1 });
        });
        let usage = usage_after(0, &silent(), &samples);
        assert_eq!((usage.cpu_percent, usage.network_rx_mb_per_s), (None, None));
    }

    fn any_count() -> impl Strategy<Value = u64> {
        prop_oneof![0..20_u64, any::<u64>()]
    }

    prop_compose! {
        /// Anything that a guest could make the parser say, and more.
        fn any_sample(taken_at: Instant)(
            boot_id in option::of("[ab]"),
            cpu in option::of((any_count(), any_count(), 0..4_u32)),
            memory in option::of((any_count(), any_count())),
            root_fs in option::of((any_count(), any_count(), any_count())),
            interfaces in option::of(btree_map("eth[0-2]", (any_count(), any_count()), 0..3)),
            uptime_secs in option::of(prop_oneof![0.0..20.0, 0.0..f64::MAX]),
            after_millis in 0..10_000_u64,
        ) -> GuestSample {
            let cpu = cpu.map(|(total_ticks, idle_ticks, cores)| CpuTime { total_ticks, idle_ticks, cores });
            let memory = memory.map(|(total_kib, available_kib)| Memory { total_kib, available_kib, swap_kib: None });
            let root_fs = root_fs.map(|(total_bytes, used_bytes, available_bytes)| {
                FileSystem { total_bytes, used_bytes, available_bytes }
            });
            let interfaces = interfaces.map(|all: BTreeMap<String, (u64, u64)>| {
                let bytes = |(rx_bytes, tx_bytes)| InterfaceBytes { rx_bytes, tx_bytes };
                all.into_iter().map(|(name, counts)| (name, bytes(counts))).collect()
            });
            let taken_at = taken_at + Duration::from_millis(after_millis);
            GuestSample { taken_at, boot_id, sees_host: false, cpu, memory, root_fs, interfaces, load: None, uptime_secs }
        }
    }

    prop_compose! {
        pub(crate) fn any_samples()(
            newest in any_sample(Instant::now()),
            before in option::of(any_sample(Instant::now())),
        ) -> GuestSamples {
            GuestSamples { newest: Arc::new(newest), before: before.map(Arc::new) }
        }
    }

    proptest! {
        #[test]
        fn no_rate_comes_from_two_boots_of_the_guest(samples in any_samples()) {
            let usage = usage_after(0, &silent(), &samples);
            if usage.cpu_percent.is_some() || usage.network_rx_mb_per_s.is_some() {
                let (newest, before) = (samples.newest, samples.before.unwrap());
                prop_assert_eq!(&newest.boot_id, &before.boot_id);
                prop_assert!(newest.boot_id.is_some() && newest.uptime_secs > before.uptime_secs);
            }
        }

        #[test]
        fn what_the_guest_does_not_report_is_unknown(samples in any_samples()) {
            let usage = usage_after(0, &silent(), &samples);
            let newest = samples.newest;
            prop_assert!(usage.memory_percent.is_none() || newest.memory.is_some());
            prop_assert!(usage.disk_percent.is_none() || newest.root_fs.is_some());
            prop_assert!(usage.network_rx_mb.is_none() || newest.interfaces.is_some());
            prop_assert_eq!(usage.uptime_seconds.is_some(), newest.uptime_secs.is_some());
            prop_assert!(usage.cpu_percent.is_none() || newest.cpu.is_some());
        }
    }
}
