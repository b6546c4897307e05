//! Turns two readings of a hypervisor's counters, and what the guest says of itself, into what a person reads:
//! percent, MB and MB/s.
//!
//! Pure: no clock, no I/O. A counter that went down, a device seen in one reading only, or a domain that was
//! started anew or replaced in between gives no figure (`None`), never zero. DESIGN.md, section 4, has the
//! definitions.
//!
//! Who knows better tells: the guest its root file system, its memory and its uptime, the hypervisor CPU and
//! network. Where one of them is silent the other one stands in, group by group.

use super::guest_figures;
use crate::{
    model::{Source, Sources, UtcMillis, VmFigures},
    server::{
        guest::Readings,
        provider::{Balloon, Domain, DomainState, Traffic},
    },
};
use std::{collections::BTreeMap, time::Instant};

/// What a guest told more than this many periods ago is not shown.
pub(super) const FRESH_PERIODS: u32 = 3;

pub(super) const KIB_PER_MB: f64 = 1024.0;
pub(super) const BYTES_PER_MB: f64 = 1024.0 * 1024.0;
pub(super) const BYTES_PER_GB: f64 = 1024.0 * 1024.0 * 1024.0;

/// What the figures of one VM are made of.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Each domain with the monotonic time taken before it was read.
    pub previous: Option<(&'a Domain, Instant)>,
    pub current: (&'a Domain, Instant),
    /// What the guest said in this boot of the domain.
    pub guest: Option<&'a Readings>,
    /// When the tick before was taken: counters of a guest that has said nothing since are not counted twice.
    pub tick_before: Option<Instant>,
    /// The wall clock at `current`.
    pub now: UtcMillis,
    pub period_secs: u32,
}

/// The figures of a VM at the current reading.
pub fn derive(inputs: Inputs<'_>) -> VmFigures {
    let mut figures = from_outside(inputs);
    let (domain, taken_at) = inputs.current;
    if domain.state == DomainState::Running
        && let Some(readings) = inputs.guest
    {
        guest_figures::merge(&mut figures, readings, taken_at, inputs.tick_before, inputs.period_secs);
    }
    figures
}

/// The figures as the hypervisor's counters tell them.
fn from_outside(inputs: Inputs<'_>) -> VmFigures {
    let Inputs { previous, current: (domain, taken_at), now, period_secs, .. } = inputs;
    let mut figures = VmFigures::default();
    disk(domain, &mut figures);
    match domain.state {
        DomainState::Running => {
            uptime(domain, now, &mut figures);
            memory(domain, now, period_secs, &mut figures);
            network(domain, &mut figures);
            if let Some((earlier, earlier_at)) = previous
                && let Some(span) = Span::between(earlier, earlier_at, domain, taken_at)
            {
                figures.cpu_percent = span.cpu_percent();
                (figures.network_rx_mb_per_s, figures.network_tx_mb_per_s) = span.network_mb_per_s().unzip();
            }
        }
        DomainState::Suspended | DomainState::Stopped | DomainState::Crashed => {
            figures.uptime_seconds = Some(0);
        }
        DomainState::Unknown => {}
    }
    let known = |is_known: bool| if is_known { domain.source } else { Source::Unknown };
    figures.sources = Sources {
        cpu: known(figures.cpu_percent.is_some()),
        memory: figures.sources.memory,
        disk: known(figures.disk_percent.is_some()),
        network: known(figures.network_rx_mb.is_some()),
        uptime: known(figures.uptime_seconds.is_some()),
    };
    figures
}

/// Two readings of one domain within one boot.
struct Span<'a> {
    earlier: &'a Domain,
    later: &'a Domain,
    secs: f64,
}

impl<'a> Span<'a> {
    /// `None` when the two have no common boot or no time passed.
    fn between(
        earlier: &'a Domain,
        earlier_at: Instant,
        later: &'a Domain,
        later_at: Instant,
    ) -> Option<Self> {
        let secs = later_at.checked_duration_since(earlier_at)?.as_secs_f64();
        let started_anew = match (earlier.started_at, later.started_at) {
            (Some(before), Some(after)) => before != after,
            _ => false,
        };
        let one_boot = earlier.uuid == later.uuid
            && earlier.state == DomainState::Running
            && !started_anew
            && !a_counter_went_down(earlier, later);
        (secs > 0.0 && one_boot).then_some(Self { earlier, later, secs })
    }

    /// Percent of the processors the VM has now, over those seen in both readings.
    fn cpu_percent(&self) -> Option<f64> {
        let given = self.later.counters.vcpu_current.filter(|count| *count > 0)?;
        let (before, after) = (&self.earlier.counters.vcpu_time_ns, &self.later.counters.vcpu_time_ns);
        let grown: Vec<u64> = in_both(before, after).map(|(before, after)| after - before).collect();
        if grown.is_empty() {
            return None;
        }
        let busy_secs = grown.iter().map(|ns| *ns as f64).sum::<f64>() / 1e9;
        Some((100.0 * busy_secs / (self.secs * f64::from(given))).clamp(0.0, 100.0))
    }

    /// Received and sent, over the interfaces seen in both readings.
    fn network_mb_per_s(&self) -> Option<(f64, f64)> {
        let (before, after) = (&self.earlier.counters.interfaces, &self.later.counters.interfaces);
        let mut pairs = in_both(before, after).peekable();
        pairs.peek()?;
        let (rx, tx) = pairs.fold((0.0, 0.0), |(rx, tx), (before, after)| {
            (rx + (after.rx_bytes - before.rx_bytes) as f64, tx + (after.tx_bytes - before.tx_bytes) as f64)
        });
        Some((rx / BYTES_PER_MB / self.secs, tx / BYTES_PER_MB / self.secs))
    }
}

/// Counters only grow within a boot.
fn a_counter_went_down(earlier: &Domain, later: &Domain) -> bool {
    let (before, after) = (&earlier.counters, &later.counters);
    in_both(&before.vcpu_time_ns, &after.vcpu_time_ns).any(|(before, after)| after < before)
        || in_both(&before.interfaces, &after.interfaces).any(|(before, after): (Traffic, Traffic)| {
            after.rx_bytes < before.rx_bytes || after.tx_bytes < before.tx_bytes
        })
}

/// The values of the keys that both have.
fn in_both<'a, K: Ord, V: Copy>(
    before: &'a BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (V, V)> {
    before.iter().filter_map(|(key, value)| Some((*value, *after.get(key)?)))
}

fn uptime(domain: &Domain, now: UtcMillis, figures: &mut VmFigures) {
    figures.uptime_seconds = domain.started_at.map(|start| now.secs_since(start).max(0.0) as u64);
}

fn memory(domain: &Domain, now: UtcMillis, period_secs: u32, figures: &mut VmFigures) {
    let Balloon { available_kib, usable_kib, last_update_secs } = domain.counters.balloon;
    let (Some(available), Some(usable), Some(last_update)) =
        (available_kib.filter(|kib| *kib > 0), usable_kib, last_update_secs)
    else {
        return;
    };
    // Whole seconds on one side: compare whole seconds. A time ahead of the clock is as doubtful as an old one.
    let age_secs = now.0.div_euclid(1000).saturating_sub(last_update);
    if age_secs.saturating_abs() > i64::from(FRESH_PERIODS) * i64::from(period_secs) {
        figures.sources.memory = Source::Stale;
        return;
    }
    let usable = usable.min(available);
    let used = available - usable;
    // Of huge numbers the quotient can round to a hair above 100.
    figures.memory_percent = Some((100.0 * used as f64 / available as f64).min(100.0));
    figures.memory_used_mb = Some(used as f64 / KIB_PER_MB);
    figures.memory_available_mb = Some(usable as f64 / KIB_PER_MB);
    figures.sources.memory = domain.source;
}

/// An image can be a little larger than what the guest sees: it has tables of its own.
fn disk(domain: &Domain, figures: &mut VmFigures) {
    let disks = domain.counters.disks.values().filter(|disk| disk.capacity_bytes > 0);
    let (image, capacity) = disks.fold((0.0, 0.0), |(image, capacity), disk| {
        (image + disk.image_bytes as f64, capacity + disk.capacity_bytes as f64)
    });
    if capacity == 0.0 {
        return;
    }
    figures.disk_percent = Some((100.0 * image / capacity).clamp(0.0, 100.0));
    figures.disk_used_gb = Some(image / BYTES_PER_GB);
    figures.disk_available_gb = Some((capacity - image).max(0.0) / BYTES_PER_GB);
}

fn network(domain: &Domain, figures: &mut VmFigures) {
    let interfaces = &domain.counters.interfaces;
    if interfaces.is_empty() {
        return;
    }
    let mb = |bytes: fn(&Traffic) -> u64| {
        Some(interfaces.values().map(|traffic| bytes(traffic) as f64).sum::<f64>() / BYTES_PER_MB)
    };
    figures.network_rx_mb = mb(|traffic| traffic.rx_bytes);
    figures.network_tx_mb = mb(|traffic| traffic.tx_bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{
        monitor::guest_figures::tests::any_readings,
        provider::{Counters, DiskUse},
    };
    use proptest::{collection::btree_map, option, prelude::*};
    use std::time::Duration;

    const PERIOD_SECS: u32 = 5;
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
            period_secs: PERIOD_SECS,
        }
    }

    fn figures_between(before: &Domain, after: &Domain) -> VmFigures {
        let start = Instant::now();
        derive(Inputs { previous: Some((before, start)), ..inputs(after, start + Duration::from_secs(5)) })
    }

    fn figures_of(domain: &Domain) -> VmFigures {
        derive(inputs(domain, Instant::now()))
    }

    fn has_a_rate(figures: &VmFigures) -> bool {
        figures.cpu_percent.is_some()
            || figures.network_rx_mb_per_s.is_some()
            || figures.network_tx_mb_per_s.is_some()
    }

    #[test]
    fn two_readings_of_a_running_vm_give_every_figure() {
        let figures = figures_between(&earlier(), &running());
        assert_eq!(figures.cpu_percent, Some(50.0));
        assert_eq!(figures.memory_percent, Some(25.0));
        assert_eq!(figures.memory_used_mb, Some(256.0));
        assert_eq!(figures.memory_available_mb, Some(768.0));
        assert_eq!(figures.disk_percent, Some(25.0));
        assert_eq!((figures.disk_used_gb, figures.disk_available_gb), (Some(1.0), Some(3.0)));
        assert_eq!((figures.network_rx_mb, figures.network_tx_mb), (Some(100.0), Some(50.0)));
        assert_eq!((figures.network_rx_mb_per_s, figures.network_tx_mb_per_s), (Some(2.0), Some(1.0)));
        assert_eq!(figures.uptime_seconds, Some(60));
        let source = Source::Hypervisor;
        let all = Sources { cpu: source, memory: source, disk: source, network: source, uptime: source };
        assert_eq!(figures.sources, all);
    }

    #[test]
    fn the_first_reading_has_no_rates() {
        let figures = figures_of(&running());
        assert!(!has_a_rate(&figures));
        assert_eq!(figures.sources.cpu, Source::Unknown);
        assert_eq!(figures.network_rx_mb, Some(100.0));
    }

    #[test]
    fn a_vm_that_was_started_anew_has_no_rates_even_if_all_counters_grew() {
        let before = Domain { started_at: Some(NOW.plus_secs(-3600)), ..earlier() };
        assert!(!has_a_rate(&figures_between(&before, &running())));
    }

    #[test]
    fn a_vm_that_took_anothers_place_has_no_rates() {
        let before = Domain { uuid: "b1b2b3b4-0000-4000-8000-97f2502e193f".into(), ..earlier() };
        assert!(!has_a_rate(&figures_between(&before, &running())));
    }

    #[test]
    fn a_vm_that_did_not_run_before_has_no_rates() {
        for state in
            [DomainState::Stopped, DomainState::Suspended, DomainState::Crashed, DomainState::Unknown]
        {
            let before = Domain { state, ..earlier() };
            assert!(!has_a_rate(&figures_between(&before, &running())), "{state:?}");
        }
    }

    #[test]
    fn one_counter_going_down_drops_all_rates_of_that_point() {
        let mut before = earlier();
        before.counters.vcpu_time_ns.insert(1, 21 * SEC);
        assert!(!has_a_rate(&figures_between(&before, &running())));
        let mut before = earlier();
        before.counters.interfaces.insert("vnet0".into(), Traffic { rx_bytes: 0, tx_bytes: 51 * MB });
        assert!(!has_a_rate(&figures_between(&before, &running())));
    }

    #[test]
    fn a_device_in_one_reading_only_is_left_out_of_the_rates() {
        let mut after = running();
        after.counters.interfaces.insert("vnet1".into(), Traffic { rx_bytes: 1000 * MB, tx_bytes: 0 });
        after.counters.vcpu_time_ns.insert(2, 1000 * SEC);
        let figures = figures_between(&earlier(), &after);
        assert_eq!((figures.cpu_percent, figures.network_rx_mb_per_s), (Some(50.0), Some(2.0)));
        assert_eq!(figures.network_rx_mb, Some(1100.0));
    }

    #[test]
    fn without_a_device_in_both_readings_a_rate_is_unknown_not_zero() {
        let mut before = earlier();
        before.counters.interfaces = BTreeMap::from([("vnet9".to_owned(), Traffic::default())]);
        before.counters.vcpu_time_ns.clear();
        assert!(!has_a_rate(&figures_between(&before, &running())));
    }

    #[test]
    fn no_time_between_two_readings_gives_no_rates() {
        let at = Instant::now();
        let figures = derive(Inputs { previous: Some((&earlier(), at)), ..inputs(&running(), at) });
        assert!(!has_a_rate(&figures));
    }

    #[test]
    fn more_than_all_processors_is_all_of_them() {
        let mut before = earlier();
        before.counters.vcpu_time_ns = BTreeMap::from([(0, 0), (1, 0)]);
        assert_eq!(figures_between(&before, &running()).cpu_percent, Some(100.0));
    }

    #[test]
    fn memory_counts_for_three_periods_and_is_stale_after() {
        let mut domain = running();
        domain.counters.balloon.last_update_secs = Some(NOW.0 / 1000 - 15);
        assert_eq!(figures_of(&domain).memory_percent, Some(25.0));
        for late in [NOW.0 / 1000 - 16, NOW.0 / 1000 + 16] {
            domain.counters.balloon.last_update_secs = Some(late);
            let figures = figures_of(&domain);
            assert_eq!((figures.memory_percent, figures.memory_used_mb), (None, None));
            assert_eq!(figures.sources.memory, Source::Stale);
        }
    }

    #[test]
    fn memory_that_the_guest_does_not_tell_is_unknown() {
        for silent in [
            Balloon { usable_kib: None, ..running().counters.balloon },
            Balloon { available_kib: None, ..running().counters.balloon },
            Balloon { available_kib: Some(0), ..running().counters.balloon },
            Balloon { last_update_secs: None, ..running().counters.balloon },
        ] {
            let mut domain = running();
            domain.counters.balloon = silent;
            let figures = figures_of(&domain);
            assert_eq!((figures.memory_percent, figures.sources.memory), (None, Source::Unknown));
        }
    }

    #[test]
    fn a_vm_that_does_not_run_has_its_disk_and_an_uptime_of_zero() {
        for state in [DomainState::Stopped, DomainState::Crashed, DomainState::Suspended] {
            let figures = figures_between(&earlier(), &Domain { state, ..running() });
            let expected = VmFigures {
                disk_percent: Some(25.0),
                disk_used_gb: Some(1.0),
                disk_available_gb: Some(3.0),
                uptime_seconds: Some(0),
                sources: Sources {
                    disk: Source::Hypervisor,
                    uptime: Source::Hypervisor,
                    ..Sources::default()
                },
                ..VmFigures::default()
            };
            assert_eq!(figures, expected, "{state:?}");
        }
    }

    #[test]
    fn a_vm_of_unknown_state_has_no_uptime() {
        let domain = Domain { state: DomainState::Unknown, ..running() };
        assert_eq!(figures_of(&domain).uptime_seconds, None);
    }

    #[test]
    fn an_unknown_start_is_an_unknown_uptime() {
        let domain = Domain { started_at: None, ..running() };
        let figures = figures_of(&domain);
        assert_eq!((figures.uptime_seconds, figures.sources.uptime), (None, Source::Unknown));
    }

    #[test]
    fn a_busy_domain_without_counters_gives_gaps() {
        let domain = Domain { counters: Counters::default(), ..running() };
        let figures = figures_between(&earlier(), &domain);
        let expected = VmFigures {
            uptime_seconds: Some(60),
            sources: Sources { uptime: Source::Hypervisor, ..Sources::default() },
            ..VmFigures::default()
        };
        assert_eq!(figures, expected);
    }

    #[test]
    fn a_full_image_with_its_tables_is_a_hundred_percent() {
        let mut domain = running();
        domain.counters.disks =
            BTreeMap::from([("vda".to_owned(), DiskUse { image_bytes: 5 << 30, capacity_bytes: 4 << 30 })]);
        let figures = figures_of(&domain);
        assert_eq!((figures.disk_percent, figures.disk_available_gb), (Some(100.0), Some(0.0)));
    }

    #[test]
    fn what_the_simulated_fleet_makes_is_called_simulated() {
        let figures = figures_of(&Domain { source: Source::Simulated, ..running() });
        assert_eq!((figures.sources.memory, figures.sources.disk), (Source::Simulated, Source::Simulated));
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
        fn no_figure_leaves_its_range(
            before in any_domain(),
            after in any_domain(),
            millis in 0..10_000_u64,
            period_secs in any::<u32>(),
            guest in option::of(any_readings()),
        ) {
            let start = Instant::now();
            let later = start + Duration::from_millis(millis);
            let previous = Some((&before, start));
            let f = derive(Inputs { previous, guest: guest.as_ref(), period_secs, ..inputs(&after, later) });
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
        fn nothing_is_told_by_the_guest_of_a_vm_that_does_not_run(after in any_domain(), guest in any_readings()) {
            prop_assume!(after.state != DomainState::Running);
            let f = derive(Inputs { guest: Some(&guest), ..inputs(&after, guest.newest.taken_at) });
            prop_assert_eq!(f, figures_of(&after));
        }

        #[test]
        fn where_the_hypervisor_tells_cpu_and_network_the_guest_changes_nothing_there(
            before in any_domain(),
            after in any_domain(),
            guest in any_readings(),
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
        fn rates_never_come_from_two_boots(before in any_domain(), after in any_domain()) {
            let f = figures_between(&before, &after);
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
        fn what_is_not_told_is_unknown(before in any_domain(), mut after in any_domain()) {
            after.counters = Counters::default();
            after.started_at = None;
            let f = figures_between(&before, &after);
            let silent = VmFigures { uptime_seconds: f.uptime_seconds, sources: f.sources, ..VmFigures::default() };
            prop_assert_eq!(f, silent);
            prop_assert!(matches!(f.uptime_seconds, None | Some(0)));
        }

        #[test]
        fn a_group_has_a_source_exactly_when_it_has_figures(before in any_domain(), after in any_domain()) {
            let f = figures_between(&before, &after);
            let told = |source| source == Source::Hypervisor;
            prop_assert_eq!(told(f.sources.cpu), f.cpu_percent.is_some());
            prop_assert_eq!(told(f.sources.memory), f.memory_percent.is_some());
            prop_assert_eq!(told(f.sources.disk), f.disk_percent.is_some());
            prop_assert_eq!(told(f.sources.network), f.network_rx_mb.is_some());
            prop_assert_eq!(told(f.sources.uptime), f.uptime_seconds.is_some());
        }
    }
}
