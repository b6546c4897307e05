//! Values from the hypervisor's counters.

use super::{
    inputs::Inputs,
    units::{BYTES_PER_GB, BYTES_PER_MB, FRESH_INTERVALS, KIB_PER_MB},
};
use crate::{
    model::{Source, Sources, UtcMillis, VmUsage},
    server::provider::{Balloon, Domain, DomainState, Traffic},
};
use std::{collections::BTreeMap, time::Instant};

/// The values from the hypervisor's counters alone.
pub(super) fn usage(inputs: Inputs<'_>) -> VmUsage {
    let Inputs { previous, current: (domain, taken_at), now, interval_secs, .. } = inputs;
    let mut usage = VmUsage::default();
    disk(domain, &mut usage);
    match domain.state {
        DomainState::Running => {
            uptime(domain, now, &mut usage);
            memory(domain, now, interval_secs, &mut usage);
            network(domain, &mut usage);
            if let Some((earlier, earlier_at)) = previous
                && let Some(span) = Span::between(earlier, earlier_at, domain, taken_at)
            {
                usage.cpu_percent = span.cpu_percent();
                (usage.network_rx_mb_per_s, usage.network_tx_mb_per_s) = span.network_mb_per_s().unzip();
            }
        }
        DomainState::Suspended | DomainState::Stopped | DomainState::Crashed => {
            usage.uptime_seconds = Some(0);
        }
        DomainState::Unknown => {}
    }
    let known = |is_known: bool| if is_known { domain.source } else { Source::Unknown };
    usage.sources = Sources {
        cpu: known(usage.cpu_percent.is_some()),
        memory: usage.sources.memory,
        disk: known(usage.disk_percent.is_some()),
        network: known(usage.network_rx_mb.is_some()),
        uptime: known(usage.uptime_seconds.is_some()),
    };
    usage
}

/// Two samples of one domain within one boot.
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

    /// Percent of the processors the VM has now, over those present in both samples.
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

    /// Received and sent, over the interfaces present in both samples.
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

fn uptime(domain: &Domain, now: UtcMillis, usage: &mut VmUsage) {
    usage.uptime_seconds = domain.started_at.map(|start| now.secs_since(start).max(0.0) as u64);
}

fn memory(domain: &Domain, now: UtcMillis, interval_secs: u32, usage: &mut VmUsage) {
    let Balloon { available_kib, usable_kib, last_update_secs } = domain.counters.balloon;
    let (Some(available), Some(usable), Some(last_update)) =
        (available_kib.filter(|kib| *kib > 0), usable_kib, last_update_secs)
    else {
        return;
    };
    // Whole seconds on one side: compare whole seconds. A time ahead of the clock is as doubtful as an old one.
    let age_secs = now.0.div_euclid(1000).saturating_sub(last_update);
    if age_secs.saturating_abs() > i64::from(FRESH_INTERVALS) * i64::from(interval_secs) {
        usage.sources.memory = Source::Stale;
        return;
    }
    let usable = usable.min(available);
    let used = available - usable;
    // Of huge numbers the quotient can round to a hair above 100.
    usage.memory_percent = Some((100.0 * used as f64 / available as f64).min(100.0));
    usage.memory_used_mb = Some(used as f64 / KIB_PER_MB);
    usage.memory_available_mb = Some(usable as f64 / KIB_PER_MB);
    usage.sources.memory = domain.source;
}

/// The size of the images: the fallback until the guest has reported its file system. An image can be
/// a little larger than what the guest sees: it has tables of its own.
fn disk(domain: &Domain, usage: &mut VmUsage) {
    let disks = domain.counters.disks.values().filter(|disk| disk.capacity_bytes > 0);
    let (image, capacity) = disks.fold((0.0, 0.0), |(image, capacity), disk| {
        (image + disk.image_bytes as f64, capacity + disk.capacity_bytes as f64)
    });
    if capacity == 0.0 {
        return;
    }
    usage.disk_percent = Some((100.0 * image / capacity).clamp(0.0, 100.0));
    usage.disk_used_gb = Some(image / BYTES_PER_GB);
    usage.disk_available_gb = Some((capacity - image).max(0.0) / BYTES_PER_GB);
    // The simulated fleet has no guests to ask: its images count as file systems.
    if domain.source == Source::Hypervisor {
        usage.image_percent = usage.disk_percent;
        usage.image_used_gb = usage.disk_used_gb;
        usage.image_available_gb = usage.disk_available_gb;
    }
}

fn network(domain: &Domain, usage: &mut VmUsage) {
    let interfaces = &domain.counters.interfaces;
    if interfaces.is_empty() {
        return;
    }
    let mb = |bytes: fn(&Traffic) -> u64| {
        Some(interfaces.values().map(|traffic| bytes(traffic) as f64).sum::<f64>() / BYTES_PER_MB)
    };
    usage.network_rx_mb = mb(|traffic| traffic.rx_bytes);
    usage.network_tx_mb = mb(|traffic| traffic.tx_bytes);
}
