//! Derives metric values (percent, MB, MB/s) from two samples of a domain's counters and the guest's own samples.
//!
//! Pure: no clock, no I/O. A counter that decreased, a device present in only one sample, or a domain that was
//! restarted or replaced in between gives no value (`None`), never zero. DESIGN.md, section 4, has the
//! definitions.
//!
//! The guest takes precedence for its root file system, memory and uptime, the hypervisor for CPU and network.
//! Where the preferred source has no value, the other one is used, group by group. For memory both report the kernel's
//! `MemTotal` and `MemAvailable`; for the disk they report different things, so the image has values of its own, too.

mod guest;
mod hypervisor;
mod inputs;
mod units;

pub use inputs::Inputs;

use crate::{model::VmUsage, server::provider::DomainState};

/// The values of a VM at the current sample.
pub fn derive(inputs: Inputs<'_>) -> VmUsage {
    let mut usage = hypervisor::usage(inputs);
    let (domain, taken_at) = inputs.current;
    if domain.state == DomainState::Running
        && let Some(samples) = inputs.guest
    {
        guest::merge(&mut usage, samples, taken_at, inputs.tick_before, inputs.interval_secs);
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Source, Sources, UtcMillis},
        server::{
            monitor::derive::guest::tests::any_samples,
            provider::{Balloon, Counters, DiskUse, Domain, Traffic},
        },
    };
    use proptest::{collection::btree_map, option, prelude::*};
    use std::{
        collections::BTreeMap,
        time::{Duration, Instant},
    };

    const INTERVAL_SECS: u32 = 5;
    const NOW: UtcMillis = UtcMillis(1_795_396_900_000);
    const MB: u64 = 1024 * 1024;
    const SEC: u64 = 1_000_000_000;

    fn running() -> Domain {
        Domain {
            uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f".into(),
            name: "twarga-user1-web-1_default".into(),
            state: DomainState::Running,
            started_at: Some(NOW.plus_secs(-60)),
            counters: Counters {
                vcpu_time_ns: BTreeMap::from([(0, 10 * SEC), (1, 20 * SEC)]),
                vcpu_current: Some(2),
                memory_kib: Some(1024 * 1024),
                balloon: Balloon {
                    available_kib: Some(1024 * 1024),
                    usable_kib: Some(768 * 1024),
                    last_update_secs: Some(NOW.0 / 1000 - 5),
                },
                interfaces: BTreeMap::from([(
                    "vnet0".to_owned(),
                    Traffic { rx_bytes: 100 * MB, tx_bytes: 50 * MB },
                )]),
                disks: BTreeMap::from([(
                    "vda".to_owned(),
                    DiskUse { image_bytes: 1 << 30, capacity_bytes: 4 << 30 },
                )]),
            },
            source: Source::Hypervisor,
        }
    }

    /// `running` five seconds earlier, with less of everything.
    fn earlier() -> Domain {
        let mut domain = running();
        domain.counters.vcpu_time_ns = BTreeMap::from([(0, 9 * SEC), (1, 16 * SEC)]);
        domain.counters.interfaces =
            BTreeMap::from([("vnet0".to_owned(), Traffic { rx_bytes: 90 * MB, tx_bytes: 45 * MB })]);
        domain
    }

    fn inputs(domain: &Domain, taken_at: Instant) -> Inputs<'_> {
        Inputs {
            previous: None,
            current: (domain, taken_at),
            guest: None,
            tick_before: None,
            now: NOW,
            interval_secs: INTERVAL_SECS,
        }
    }

    fn usage_between(before: &Domain, after: &Domain) -> VmUsage {
        let start = Instant::now();
        derive(Inputs { previous: Some((before, start)), ..inputs(after, start + Duration::from_secs(5)) })
    }

    fn usage_of(domain: &Domain) -> VmUsage {
        derive(inputs(domain, Instant::now()))
    }

    fn has_a_rate(usage: &VmUsage) -> bool {
        usage.cpu_percent.is_some()
            || usage.network_rx_mb_per_s.is_some()
            || usage.network_tx_mb_per_s.is_some()
    }

    #[test]
    fn two_samples_of_a_running_vm_give_every_value() {
        let usage = usage_between(&earlier(), &running());
        assert_eq!(usage.cpu_percent, Some(50.0));
        assert_eq!(usage.memory_percent, Some(25.0));
        assert_eq!(usage.memory_used_mb, Some(256.0));
        assert_eq!(usage.memory_available_mb, Some(768.0));
        assert_eq!(usage.disk_percent, Some(25.0));
        assert_eq!((usage.disk_used_gb, usage.disk_available_gb), (Some(1.0), Some(3.0)));
        assert_eq!((usage.network_rx_mb, usage.network_tx_mb), (Some(100.0), Some(50.0)));
        assert_eq!((usage.network_rx_mb_per_s, usage.network_tx_mb_per_s), (Some(2.0), Some(1.0)));
        assert_eq!(usage.uptime_seconds, Some(60));
        let source = Source::Hypervisor;
        let all = Sources { cpu: source, memory: source, disk: source, network: source, uptime: source };
        assert_eq!(usage.sources, all);
    }

    #[test]
    fn the_first_sample_has_no_rates() {
        let usage = usage_of(&running());
        assert!(!has_a_rate(&usage));
        assert_eq!(usage.sources.cpu, Source::Unknown);
        assert_eq!(usage.network_rx_mb, Some(100.0));
    }

    #[test]
    fn a_vm_that_was_restarted_has_no_rates_even_if_all_counters_grew() {
        let before = Domain { started_at: Some(NOW.plus_secs(-3600)), ..earlier() };
        assert!(!has_a_rate(&usage_between(&before, &running())));
    }

    #[test]
    fn a_vm_that_took_anothers_place_has_no_rates() {
        let before = Domain { uuid: "b1b2b3b4-0000-4000-8000-97f2502e193f".into(), ..earlier() };
        assert!(!has_a_rate(&usage_between(&before, &running())));
    }

    #[test]
    fn a_vm_that_did_not_run_before_has_no_rates() {
        for state in
            [DomainState::Stopped, DomainState::Suspended, DomainState::Crashed, DomainState::Unknown]
        {
            let before = Domain { state, ..earlier() };
            assert!(!has_a_rate(&usage_between(&before, &running())), "{state:?}");
        }
    }

    #[test]
    fn one_counter_going_down_drops_all_rates_of_that_point() {
        let mut before = earlier();
        before.counters.vcpu_time_ns.insert(1, 21 * SEC);
        assert!(!has_a_rate(&usage_between(&before, &running())));
        let mut before = earlier();
        before.counters.interfaces.insert("vnet0".into(), Traffic { rx_bytes: 0, tx_bytes: 51 * MB });
        assert!(!has_a_rate(&usage_between(&before, &running())));
    }

    #[test]
    fn a_device_in_one_sample_only_is_left_out_of_the_rates() {
        let mut after = running();
        after.counters.interfaces.insert("vnet1".into(), Traffic { rx_bytes: 1000 * MB, tx_bytes: 0 });
        after.counters.vcpu_time_ns.insert(2, 1000 * SEC);
        let usage = usage_between(&earlier(), &after);
        assert_eq!((usage.cpu_percent, usage.network_rx_mb_per_s), (Some(50.0), Some(2.0)));
        assert_eq!(usage.network_rx_mb, Some(1100.0));
    }

    #[test]
    fn without_a_device_in_both_samples_a_rate_is_unknown_not_zero() {
        let mut before = earlier();
        before.counters.interfaces = BTreeMap::from([("vnet9".to_owned(), Traffic::default())]);
        before.counters.vcpu_time_ns.clear();
        assert!(!has_a_rate(&usage_between(&before, &running())));
    }

    #[test]
    fn no_time_between_two_samples_gives_no_rates() {
        let at = Instant::now();
        let usage = derive(Inputs { previous: Some((&earlier(), at)), ..inputs(&running(), at) });
        assert!(!has_a_rate(&usage));
    }

    #[test]
    fn more_than_all_processors_is_all_of_them() {
        let mut before = earlier();
        before.counters.vcpu_time_ns = BTreeMap::from([(0, 0), (1, 0)]);
        assert_eq!(usage_between(&before, &running()).cpu_percent, Some(100.0));
    }

    #[test]
    fn memory_counts_for_three_intervals_and_is_stale_after() {
        let mut domain = running();
        domain.counters.balloon.last_update_secs = Some(NOW.0 / 1000 - 15);
        assert_eq!(usage_of(&domain).memory_percent, Some(25.0));
        for late in [NOW.0 / 1000 - 16, NOW.0 / 1000 + 16] {
            domain.counters.balloon.last_update_secs = Some(late);
            let usage = usage_of(&domain);
            assert_eq!((usage.memory_percent, usage.memory_used_mb), (None, None));
            assert_eq!(usage.sources.memory, Source::Stale);
        }
    }

    #[test]
    fn memory_that_the_guest_does_not_report_is_unknown() {
        for silent in [
            Balloon { usable_kib: None, ..running().counters.balloon },
            Balloon { available_kib: None, ..running().counters.balloon },
            Balloon { available_kib: Some(0), ..running().counters.balloon },
            Balloon { last_update_secs: None, ..running().counters.balloon },
        ] {
            let mut domain = running();
            domain.counters.balloon = silent;
            let usage = usage_of(&domain);
            assert_eq!((usage.memory_percent, usage.sources.memory), (None, Source::Unknown));
        }
    }

    #[test]
    fn a_vm_that_does_not_run_has_its_disk_and_an_uptime_of_zero() {
        for state in [DomainState::Stopped, DomainState::Crashed, DomainState::Suspended] {
            let usage = usage_between(&earlier(), &Domain { state, ..running() });
            let expected = VmUsage {
                disk_percent: Some(25.0),
                disk_used_gb: Some(1.0),
                disk_available_gb: Some(3.0),
                image_percent: Some(25.0),
                image_used_gb: Some(1.0),
                image_available_gb: Some(3.0),
                uptime_seconds: Some(0),
                sources: Sources {
                    disk: Source::Hypervisor,
                    uptime: Source::Hypervisor,
                    ..Sources::default()
                },
                ..VmUsage::default()
            };
            assert_eq!(usage, expected, "{state:?}");
        }
    }

    #[test]
    fn a_vm_of_unknown_state_has_no_uptime() {
        let domain = Domain { state: DomainState::Unknown, ..running() };
        assert_eq!(usage_of(&domain).uptime_seconds, None);
    }

    #[test]
    fn an_unknown_start_is_an_unknown_uptime() {
        let domain = Domain { started_at: None, ..running() };
        let usage = usage_of(&domain);
        assert_eq!((usage.uptime_seconds, usage.sources.uptime), (None, Source::Unknown));
    }

    #[test]
    fn a_busy_domain_without_counters_gives_gaps() {
        let domain = Domain { counters: Counters::default(), ..running() };
        let usage = usage_between(&earlier(), &domain);
        let expected = VmUsage {
            uptime_seconds: Some(60),
            sources: Sources { uptime: Source::Hypervisor, ..Sources::default() },
            ..VmUsage::default()
        };
        assert_eq!(usage, expected);
    }

    #[test]
    fn a_full_image_with_its_tables_is_a_hundred_percent() {
        let mut domain = running();
        domain.counters.disks =
            BTreeMap::from([("vda".to_owned(), DiskUse { image_bytes: 5 << 30, capacity_bytes: 4 << 30 })]);
        let usage = usage_of(&domain);
        assert_eq!((usage.disk_percent, usage.disk_available_gb), (Some(100.0), Some(0.0)));
    }

    #[test]
    fn what_the_simulated_fleet_makes_is_called_simulated() {
        let usage = usage_of(&Domain { source: Source::Simulated, ..running() });
        assert_eq!((usage.disk_percent, usage.image_percent), (Some(25.0), None));
        assert_eq!((usage.sources.memory, usage.sources.disk), (Source::Simulated, Source::Simulated));
    }

    fn any_state() -> impl Strategy<Value = DomainState> {
        prop_oneof![
            3 => Just(DomainState::Running),
            1 => Just(DomainState::Suspended),
            1 => Just(DomainState::Stopped),
            1 => Just(DomainState::Crashed),
            1 => Just(DomainState::Unknown),
        ]
    }

    /// Small numbers, so that two domains share devices and grow about as often as not, and any numbers at all.
    fn any_count() -> impl Strategy<Value = u64> {
        prop_oneof![0..20_u64, any::<u64>()]
    }

    prop_compose! {
        fn any_counters()(
            vcpu_time_ns in btree_map(0..3_u32, any_count(), 0..3),
            vcpu_current in option::of(0..4_u32),
            balloon in (option::of(any_count()), option::of(any_count()), option::of(any::<i64>())),
            fresh in any::<bool>(),
            interfaces in btree_map("vnet[0-2]", (any_count(), any_count()), 0..3),
            disks in btree_map("vd[ab]", (any_count(), any_count()), 0..3),
        ) -> Counters {
            Counters {
                vcpu_time_ns,
                vcpu_current,
                memory_kib: None,
                balloon: Balloon {
                    available_kib: balloon.0,
                    usable_kib: balloon.1,
                    last_update_secs: if fresh { Some(NOW.0 / 1000) } else { balloon.2 },
                },
                interfaces: interfaces
                    .into_iter()
                    .map(|(name, (rx_bytes, tx_bytes))| (name, Traffic { rx_bytes, tx_bytes }))
                    .collect(),
                disks: disks
                    .into_iter()
                    .map(|(name, (image_bytes, capacity_bytes))| (name, DiskUse { image_bytes, capacity_bytes }))
                    .collect(),
            }
        }
    }

    prop_compose! {
        fn any_domain()(
            uuid in "[ab]",
            state in any_state(),
            started_at in option::of(prop_oneof![Just(NOW), Just(NOW.plus_secs(-60)), any::<i32>().prop_map(|ms| UtcMillis(i64::from(ms)))]),
            counters in any_counters(),
        ) -> Domain {
            Domain { uuid, name: "x".into(), state, started_at, counters, source: Source::Hypervisor }
        }
    }

    proptest! {
        #[test]
        fn no_value_leaves_its_range(
            before in any_domain(),
            after in any_domain(),
            millis in 0..10_000_u64,
            interval_secs in any::<u32>(),
            guest in option::of(any_samples()),
        ) {
            let start = Instant::now();
            let later = start + Duration::from_millis(millis);
            let previous = Some((&before, start));
            let f = derive(Inputs { previous, guest: guest.as_ref(), interval_secs, ..inputs(&after, later) });
            for percent in [f.cpu_percent, f.memory_percent, f.disk_percent].into_iter().flatten() {
                prop_assert!((0.0..=100.0).contains(&percent), "{percent}");
            }
            for amount in [
                f.memory_used_mb, f.memory_available_mb, f.disk_used_gb, f.disk_available_gb, f.network_rx_mb,
                f.network_tx_mb, f.network_rx_mb_per_s, f.network_tx_mb_per_s,
            ].into_iter().flatten() {
                prop_assert!(amount.is_finite() && amount >= 0.0, "{amount}");
            }
        }

        #[test]
        fn nothing_comes_from_the_guest_of_a_vm_that_does_not_run(after in any_domain(), guest in any_samples()) {
            prop_assume!(after.state != DomainState::Running);
            let f = derive(Inputs { guest: Some(&guest), ..inputs(&after, guest.newest.taken_at) });
            prop_assert_eq!(f, usage_of(&after));
        }

        #[test]
        fn where_the_hypervisor_has_cpu_and_network_the_guest_changes_nothing_there(
            before in any_domain(),
            after in any_domain(),
            guest in any_samples(),
        ) {
            let at = guest.newest.taken_at;
            let of = |guest| {
                derive(Inputs { previous: Some((&before, at)), guest, ..inputs(&after, at + Duration::from_secs(5)) })
            };
            let (outside, both) = (of(None), of(Some(&guest)));
            if outside.cpu_percent.is_some() {
                prop_assert_eq!((outside.cpu_percent, outside.sources.cpu), (both.cpu_percent, both.sources.cpu));
            }
            if outside.network_rx_mb.is_some() {
                prop_assert_eq!(outside.network_rx_mb_per_s, both.network_rx_mb_per_s);
                prop_assert_eq!(outside.sources.network, both.sources.network);
            }
        }

        #[test]
        fn the_image_is_the_hypervisors_and_the_guest_changes_nothing_there(after in any_domain(), guest in any_samples()) {
            let image = |f: VmUsage| (f.image_percent, f.image_used_gb, f.image_available_gb);
            let both = derive(Inputs { guest: Some(&guest), ..inputs(&after, guest.newest.taken_at) });
            prop_assert_eq!(image(both), image(usage_of(&after)));
        }

        #[test]
        fn rates_never_come_from_two_boots(before in any_domain(), after in any_domain()) {
            let f = usage_between(&before, &after);
            if has_a_rate(&f) {
                prop_assert_eq!(&before.uuid, &after.uuid);
                prop_assert!(before.started_at.is_none() || after.started_at.is_none() || before.started_at == after.started_at);
                prop_assert_eq!((before.state, after.state), (DomainState::Running, DomainState::Running));
                for (device, earlier) in &before.counters.interfaces {
                    let later = after.counters.interfaces.get(device);
                    prop_assert!(later.is_none_or(|l| l.rx_bytes >= earlier.rx_bytes && l.tx_bytes >= earlier.tx_bytes));
                }
            }
        }

        #[test]
        fn what_is_not_reported_is_unknown(before in any_domain(), mut after in any_domain()) {
            after.counters = Counters::default();
            after.started_at = None;
            let f = usage_between(&before, &after);
            let silent = VmUsage { uptime_seconds: f.uptime_seconds, sources: f.sources, ..VmUsage::default() };
            prop_assert_eq!(f, silent);
            prop_assert!(matches!(f.uptime_seconds, None | Some(0)));
        }

        #[test]
        fn a_group_has_a_source_exactly_when_it_has_values(before in any_domain(), after in any_domain()) {
            let f = usage_between(&before, &after);
            let is_hypervisor = |source| source == Source::Hypervisor;
            prop_assert_eq!(is_hypervisor(f.sources.cpu), f.cpu_percent.is_some());
            prop_assert_eq!(is_hypervisor(f.sources.memory), f.memory_percent.is_some());
            prop_assert_eq!(is_hypervisor(f.sources.disk), f.disk_percent.is_some());
            prop_assert_eq!(f.image_percent, f.disk_percent);
            prop_assert_eq!(is_hypervisor(f.sources.network), f.network_rx_mb.is_some());
            prop_assert_eq!(is_hypervisor(f.sources.uptime), f.uptime_seconds.is_some());
        }
    }
}
