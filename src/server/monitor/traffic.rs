//! A VM's traffic since its boot, as a counter that never falls within the boot. Pure.
//!
//! Hypervisor and guest count by interface, and a count ends with its interface: when one is detached, or recreated
//! under its name, the plain sum falls, and whoever computes a rate from it takes that for a restart. Here the last
//! count of such an interface stays in the sum. The two do not count the same: within a boot the guest fills in only
//! until the hypervisor has counted.

use crate::{
    model::{Source, UtcMillis, VmUsage},
    server::{
        guest::{GuestSample, sample::InterfaceBytes},
        provider::{Domain, DomainState, Traffic},
    },
};
use std::collections::{BTreeMap, HashMap};

const BYTES_PER_MB: f64 = 1024.0 * 1024.0;

/// The most interfaces of a boot that are remembered by name. A guest can invent any number of names.
const MAX_INTERFACES: usize = 256;

/// What the store has of a VM's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedTraffic {
    pub at: UtcMillis,
    pub source: Source,
    /// At least what was counted then.
    pub traffic: Traffic,
}

/// All VMs' traffic since their boots, by the VM's id.
#[derive(Debug, Default)]
pub struct TrafficCounters(HashMap<i64, BootTraffic>);

#[derive(Debug)]
struct BootTraffic {
    boot: Boot,
    source: Source,
    /// Of counts that ended.
    ended: Traffic,
    /// The last count of each interface, also of those that are gone.
    interfaces: BTreeMap<String, Traffic>,
}

/// Identifies a boot, as far as the hypervisor and the guest let it be known.
#[derive(Debug)]
struct Boot {
    uuid: String,
    started_at: Option<UtcMillis>,
    vcpu_time_ns: BTreeMap<u32, u64>,
    /// Of a guest that counts itself.
    guest: Option<(Option<String>, Option<f64>)>,
}

impl TrafficCounters {
    /// Puts the traffic since the boot in the place of the sum in `usage`. `recorded` is asked for when nothing is
    /// known of the VM, as after a start of the server.
    pub fn count(
        &mut self,
        vm_id: i64,
        domain: &Domain,
        guest: Option<&GuestSample>,
        now: UtcMillis,
        recorded: impl FnOnce() -> Option<RecordedTraffic>,
        usage: &mut VmUsage,
    ) {
        if matches!(domain.state, DomainState::Stopped | DomainState::Crashed) {
            self.0.remove(&vm_id);
        }
        let source = usage.sources.network;
        let guest = guest.filter(|_| source == Source::Guest);
        let Some(interfaces) = interfaces(source, domain, guest) else { return };
        let boot = Boot::of(domain, guest);
        let counter = match self.0.remove(&vm_id) {
            Some(known) if !known.boot.is_followed_by(&boot) => BootTraffic::begin(boot, source),
            Some(known) if known.source == source => BootTraffic { boot, ..known },
            // The hypervisor counts in this boot, and only missed a sample.
            Some(known) if source == Source::Guest => {
                self.0.insert(vm_id, known);
                usage.sources.network = Source::Unknown;
                (usage.network_rx_mb, usage.network_tx_mb) = (None, None);
                (usage.network_rx_mb_per_s, usage.network_tx_mb_per_s) = (None, None);
                return;
            }
            Some(known) => BootTraffic::begin(boot, source).at_least(known.total(), &interfaces),
            None => {
                let began_at = boot.began_at(now);
                let same_boot = |recorded: &RecordedTraffic| {
                    recorded.source == source && began_at.is_some_and(|began| recorded.at >= began)
                };
                let floor = recorded().filter(same_boot).map(|recorded| recorded.traffic);
                BootTraffic::begin(boot, source).at_least(floor.unwrap_or_default(), &interfaces)
            }
        };
        let counter = counter.counted(interfaces);
        let total = counter.total();
        usage.network_rx_mb = Some(total.rx_bytes as f64 / BYTES_PER_MB);
        usage.network_tx_mb = Some(total.tx_bytes as f64 / BYTES_PER_MB);
        self.0.insert(vm_id, counter);
    }

    /// Forgets all VMs but these.
    pub fn keep(&mut self, is_there: impl Fn(i64) -> bool) {
        self.0.retain(|vm_id, _| is_there(*vm_id));
    }
}

/// The counts that `source` gives; `None` for a source without any.
fn interfaces(
    source: Source,
    domain: &Domain,
    guest: Option<&GuestSample>,
) -> Option<BTreeMap<String, Traffic>> {
    match source {
        Source::Hypervisor | Source::Simulated => Some(domain.counters.interfaces.clone()),
        Source::Guest => {
            let traffic = |(name, bytes): (&String, &InterfaceBytes)| {
                (name.clone(), Traffic { rx_bytes: bytes.rx_bytes, tx_bytes: bytes.tx_bytes })
            };
            Some(guest?.interfaces.as_ref()?.iter().map(traffic).collect())
        }
        Source::Stale | Source::Unknown => None,
    }
}

impl Boot {
    fn of(domain: &Domain, guest: Option<&GuestSample>) -> Self {
        Self {
            uuid: domain.uuid.clone(),
            started_at: domain.started_at,
            vcpu_time_ns: domain.counters.vcpu_time_ns.clone(),
            guest: guest.map(|guest| (guest.boot_id.clone(), guest.uptime_secs)),
        }
    }

    fn began_at(&self, now: UtcMillis) -> Option<UtcMillis> {
        match &self.guest {
            Some((_, uptime_secs)) => {
                Some(UtcMillis(now.0.saturating_sub((uptime_secs.as_ref()? * 1000.0) as i64)))
            }
            None => self.started_at,
        }
    }

    /// Whether `later` is the same boot.
    fn is_followed_by(&self, later: &Self) -> bool {
        let started_anew =
            self.started_at.zip(later.started_at).is_some_and(|(before, after)| before != after);
        let ran_less = self
            .vcpu_time_ns
            .iter()
            .any(|(vcpu, before)| later.vcpu_time_ns.get(vcpu).is_some_and(|after| after < before));
        let guest_booted = match (&self.guest, &later.guest) {
            (Some((id, uptime)), Some((later_id, later_uptime))) => {
                id != later_id || uptime.zip(*later_uptime).is_some_and(|(before, after)| after < before)
            }
            _ => false,
        };
        self.uuid == later.uuid && !started_anew && !ran_less && !guest_booted
    }
}

impl BootTraffic {
    fn begin(boot: Boot, source: Source) -> Self {
        Self { boot, source, ended: Traffic::default(), interfaces: BTreeMap::new() }
    }

    /// Not less than `floor` once `interfaces` are counted.
    fn at_least(mut self, floor: Traffic, interfaces: &BTreeMap<String, Traffic>) -> Self {
        let sum = sum(interfaces.values().copied());
        self.ended = Traffic {
            rx_bytes: floor.rx_bytes.saturating_sub(sum.rx_bytes),
            tx_bytes: floor.tx_bytes.saturating_sub(sum.tx_bytes),
        };
        self
    }

    fn counted(mut self, interfaces: BTreeMap<String, Traffic>) -> Self {
        for (name, now) in &interfaces {
            if let Some(before) = self.interfaces.insert(name.clone(), *now)
                && (now.rx_bytes < before.rx_bytes || now.tx_bytes < before.tx_bytes)
            {
                self.ended = sum([self.ended, before]);
            }
        }
        if self.interfaces.len() > MAX_INTERFACES {
            let (present, gone) = std::mem::take(&mut self.interfaces)
                .into_iter()
                .partition::<BTreeMap<_, _>, _>(|(name, _)| interfaces.contains_key(name));
            self.ended = sum(gone.into_values().chain([self.ended]));
            self.interfaces = present;
        }
        self
    }

    fn total(&self) -> Traffic {
        sum(self.interfaces.values().copied().chain([self.ended]))
    }
}

fn sum(all: impl IntoIterator<Item = Traffic>) -> Traffic {
    all.into_iter().fold(Traffic::default(), |sum, one| Traffic {
        rx_bytes: sum.rx_bytes.saturating_add(one.rx_bytes),
        tx_bytes: sum.tx_bytes.saturating_add(one.tx_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{
        monitor::derive::{Inputs, derive},
        provider::Counters,
    };
    use proptest::{collection::btree_map, prelude::*};
    use std::time::Instant;

    const BOOT: UtcMillis = UtcMillis(1_795_396_900_000);

    fn domain(interfaces: &[(&str, u64)]) -> Domain {
        let traffic = |(name, rx_bytes): &(&str, u64)| {
            ((*name).to_owned(), Traffic { rx_bytes: *rx_bytes, tx_bytes: rx_bytes / 2 })
        };
        Domain {
            uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f".into(),
            name: "x".into(),
            state: DomainState::Running,
            started_at: Some(BOOT),
            counters: Counters {
                interfaces: interfaces.iter().map(traffic).collect(),
                ..Counters::default()
            },
            source: Source::Hypervisor,
        }
    }

    fn guest(interfaces: &[(&str, u64)], boot_id: &str, uptime_secs: f64) -> GuestSample {
        let bytes = |(name, rx_bytes): &(&str, u64)| {
            ((*name).to_owned(), InterfaceBytes { rx_bytes: *rx_bytes, tx_bytes: rx_bytes / 2 })
        };
        GuestSample {
            taken_at: Instant::now(),
            boot_id: Some(boot_id.into()),
            sees_host: false,
            cpu: None,
            memory: None,
            root_fs: None,
            interfaces: Some(interfaces.iter().map(bytes).collect()),
            load: None,
            uptime_secs: Some(uptime_secs),
        }
    }

    /// The bytes received since the boot, at one sample after the others.
    struct Counting(TrafficCounters, Option<RecordedTraffic>);

    impl Counting {
        fn new() -> Self {
            Self(TrafficCounters::default(), None)
        }

        fn rx(&mut self, domain: &Domain, guest: Option<&GuestSample>) -> Option<u64> {
            let samples = guest.map(|guest| crate::server::guest::GuestSamples {
                newest: std::sync::Arc::new(guest.clone()),
                before: None,
            });
            let now = BOOT.plus_secs(600);
            let mut usage = derive(Inputs {
                previous: None,
                current: (domain, Instant::now()),
                guest: samples.as_ref(),
                tick_before: None,
                now,
                interval_secs: 5,
            });
            self.0.count(1, domain, guest, now, || self.1, &mut usage);
            assert_eq!(usage.network_rx_mb.is_some(), usage.sources.network != Source::Unknown);
            usage.network_rx_mb.map(|mb| (mb * BYTES_PER_MB) as u64)
        }
    }

    #[test]
    fn a_detached_interface_stays_counted_until_the_next_boot() {
        let mut counting = Counting::new();
        let both = domain(&[("vnet0", 17_423_880), ("vnet1", 8_651_276)]);
        assert_eq!(counting.rx(&both, None), Some(26_075_156));
        assert_eq!(counting.rx(&domain(&[("vnet0", 17_423_880)]), None), Some(26_075_156), "detached");
        let attached = domain(&[("vnet0", 17_423_890), ("vnet1", 500)]);
        assert_eq!(counting.rx(&attached, None), Some(26_075_666), "attached under its old name");
        assert_eq!(counting.rx(&domain(&[]), None), None, "nothing is counted");
        assert_eq!(counting.rx(&domain(&[("vnet2", 1)]), None), Some(26_075_667), "all were replaced");
        let booted = Domain { started_at: Some(BOOT.plus_secs(60)), ..domain(&[("vnet3", 100)]) };
        assert_eq!(counting.rx(&booted, None), Some(100));
    }

    #[test]
    fn an_interface_missing_from_one_sample_is_not_counted_twice() {
        let mut counting = Counting::new();
        for (interfaces, total) in [
            (&[("vnet0", 100), ("vnet1", 50)][..], 150),
            (&[("vnet0", 110)], 160),
            (&[("vnet0", 120), ("vnet1", 60)], 180),
        ] {
            assert_eq!(counting.rx(&domain(interfaces), None), Some(total));
        }
    }

    #[test]
    fn a_boot_that_only_the_processors_show_starts_at_zero() {
        let mut counting = Counting::new();
        let ran = |ns, rx_bytes| {
            let mut domain = Domain { started_at: None, ..domain(&[("vnet0", rx_bytes)]) };
            domain.counters.vcpu_time_ns = BTreeMap::from([(0, ns)]);
            domain
        };
        assert_eq!(counting.rx(&ran(100, 5000), None), Some(5000));
        assert_eq!(counting.rx(&ran(200, 10), None), Some(5010), "the interface was recreated");
        assert_eq!(counting.rx(&ran(50, 20), None), Some(20), "the domain was started");
        assert_eq!(counting.rx(&Domain { state: DomainState::Stopped, ..ran(0, 0) }, None), None);
        assert_eq!(counting.rx(&ran(900, 7), None), Some(7), "it was off in between");
    }

    #[test]
    fn the_guest_does_not_take_over_from_the_hypervisor_within_a_boot() {
        let mut counting = Counting::new();
        let inside = guest(&[("eth0", 400)], "a", 60.0);
        assert_eq!(counting.rx(&domain(&[("vnet0", 1000)]), Some(&inside)), Some(1000));
        assert_eq!(counting.rx(&domain(&[]), Some(&inside)), None);
        assert_eq!(counting.rx(&domain(&[("vnet0", 1100)]), Some(&inside)), Some(1100));
    }

    #[test]
    fn the_hypervisor_takes_over_from_the_guest_without_a_fall() {
        let mut counting = Counting::new();
        let inside = guest(&[("eth0", 400)], "a", 60.0);
        assert_eq!(counting.rx(&domain(&[]), Some(&inside)), Some(400));
        assert_eq!(counting.rx(&domain(&[("vnet0", 300)]), Some(&inside)), Some(400));
        assert_eq!(counting.rx(&domain(&[("vnet0", 350)]), Some(&inside)), Some(450));
    }

    #[test]
    fn a_guest_that_counts_itself_starts_at_zero_with_each_boot() {
        let mut counting = Counting::new();
        let off = domain(&[]);
        assert_eq!(counting.rx(&off, Some(&guest(&[("eth0", 400), ("eth1", 50)], "a", 60.0))), Some(450));
        assert_eq!(counting.rx(&off, Some(&guest(&[("eth0", 400)], "a", 65.0))), Some(450));
        assert_eq!(counting.rx(&off, Some(&guest(&[("eth0", 30)], "b", 5.0))), Some(30));
    }

    #[test]
    fn a_restart_of_the_server_within_a_boot_is_no_fall() {
        let traffic = Traffic { rx_bytes: 5000, tx_bytes: 100 };
        let recorded = RecordedTraffic { at: BOOT.plus_secs(60), source: Source::Hypervisor, traffic };
        let rx = |recorded: RecordedTraffic| {
            Counting(TrafficCounters::default(), Some(recorded)).rx(&domain(&[("vnet0", 3000)]), None)
        };
        assert_eq!(rx(recorded), Some(5000), "an interface was detached before it or meanwhile");
        assert_eq!(rx(RecordedTraffic { at: BOOT.plus_secs(-1), ..recorded }), Some(3000), "another boot");
        assert_eq!(rx(RecordedTraffic { source: Source::Guest, ..recorded }), Some(3000), "another counter");
        assert_eq!(rx(RecordedTraffic { traffic: Traffic::default(), ..recorded }), Some(3000));
    }

    proptest! {
        #[test]
        fn within_a_boot_the_counter_never_falls(
            samples in proptest::collection::vec(btree_map("vnet[0-3]", 0..1_000_000_u64, 0..4), 1..40),
        ) {
            let (mut counting, mut last) = (Counting::new(), 0);
            for interfaces in samples {
                let interfaces: Vec<_> = interfaces.iter().map(|(name, rx)| (name.as_str(), *rx)).collect();
                if let Some(rx) = counting.rx(&domain(&interfaces), None) {
                    prop_assert!(rx >= last, "{rx} after {last}");
                    last = rx;
                }
            }
        }

        #[test]
        fn names_made_up_for_ever_are_not_remembered_for_ever(count in 300..900_u64) {
            let mut counting = Counting::new();
            for number in 0..count {
                let name = format!("eth{number}");
                let inside = guest(&[(&name, 10)], "a", 60.0);
                prop_assert_eq!(counting.rx(&domain(&[]), Some(&inside)), Some(10 * (number + 1)));
            }
            prop_assert!(counting.0.0[&1].interfaces.len() <= MAX_INTERFACES);
        }
    }
}
