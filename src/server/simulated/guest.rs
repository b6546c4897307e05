//! One simulated VM: its power, and counters that its load drives while it runs.

use super::load::{Load, Profile, hash, unit};
use crate::{
    model::{Snapshot, Source, UtcMillis, VmSpec},
    server::provider::{Balloon, Counters, DiskUse, Domain, DomainState, Machine, Traffic},
};
use std::{collections::BTreeMap, f64::consts::TAU, path::PathBuf};

const HOUR_MS: i64 = 3_600_000;
const BYTES_PER_MB: f64 = 1024.0 * 1024.0;

pub(super) struct Guest {
    uuid: String,
    /// The domain's.
    name: String,
    pub spec: VmSpec,
    seed: u64,
    profile: Profile,
    processor: Load,
    received: Load,
    sent: Load,
    created_at: UtcMillis,
    pub power: Power,
    /// `false` once the hypervisor was made to forget it; its disk is still there.
    pub defined: bool,
    /// The share of its processors that is used instead of what its days would have it.
    pub kept_busy: Option<f64>,
    /// Each with whether it was running then.
    pub snapshots: Vec<(Snapshot, bool)>,
    /// The folder it was made in.
    pub directory: PathBuf,
    /// How often the guest reports its memory; if unset, once at boot.
    pub statistics_interval_secs: Option<u32>,
}

pub(super) enum Power {
    Off,
    Crashed,
    Running(Boot),
    Suspended(Boot),
}

/// Counters since the VM's start, as far as they are counted.
pub(super) struct Boot {
    started_at: UtcMillis,
    counted_to: UtcMillis,
    /// Seconds of all processors together, as a share of them.
    processor_secs: f64,
    /// Seconds at full speed.
    received_secs: f64,
    sent_secs: f64,
}

impl Guest {
    pub(super) fn new(
        fleet_seed: u64,
        uuid: String,
        name: String,
        machine: &Machine,
        created_at: UtcMillis,
    ) -> Self {
        let seed = uuid.bytes().fold(fleet_seed, |seed, byte| hash(seed, 1, i64::from(byte)));
        let profile = Profile::of(machine.name.as_str(), seed);
        Self {
            uuid,
            name,
            spec: machine.spec.clone(),
            seed,
            profile,
            processor: Load::new(seed, profile),
            received: Load::new(hash(seed, 2, 0), profile),
            sent: Load::new(hash(seed, 3, 0), profile),
            created_at,
            power: Power::Off,
            defined: true,
            kept_busy: None,
            snapshots: Vec::new(),
            directory: machine.directory.clone(),
            statistics_interval_secs: None,
        }
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.power, Power::Running(_))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Suspends or resumes. No effect on a guest that is off.
    pub(super) fn set_suspended(&mut self, suspended: bool, now: UtcMillis) {
        self.power = match (std::mem::replace(&mut self.power, Power::Off), suspended) {
            (Power::Running(boot), true) => Power::Suspended(boot),
            (Power::Suspended(boot), false) => Power::Running(Boot { counted_to: now, ..boot }),
            (power, _) => power,
        };
    }

    pub(super) fn boot(&mut self, now: UtcMillis) {
        self.power = Power::Running(Boot {
            started_at: now,
            counted_to: now,
            processor_secs: 0.0,
            received_secs: 0.0,
            sent_secs: 0.0,
        });
    }

    /// A boot at `since` with plausible counters at `now`. Only the last hour is computed minute by minute; before it, a
    /// daily mean is enough, so that weeks cost nothing.
    pub(super) fn boot_in_the_past(&mut self, since: UtcMillis, now: UtcMillis) {
        self.boot(since);
        let hour_ago = UtcMillis(now.0.saturating_sub(HOUR_MS));
        if since >= hour_ago {
            return;
        }
        let secs = hour_ago.secs_since(since);
        let mean = |load: &Load| {
            let samples = (0..96).map(|quarter| load.at(UtcMillis(hour_ago.0 - quarter * HOUR_MS / 4)));
            samples.sum::<f64>() / 96.0
        };
        self.power = Power::Running(Boot {
            started_at: since,
            counted_to: hour_ago,
            processor_secs: secs * mean(&self.processor),
            received_secs: secs * mean(&self.received),
            sent_secs: secs * mean(&self.sent),
        });
    }

    pub(super) fn address(&self) -> String {
        let draw = hash(self.seed, 4, 0);
        format!("10.77.{}.{}", draw % 256, 2 + (draw >> 8) % 250)
    }

    /// The domain as a hypervisor would report it at `now`. A clock set back adds nothing to the counters.
    pub(super) fn domain(&mut self, now: UtcMillis) -> Domain {
        let (processor, received, sent) = (self.processor, self.received, self.sent);
        if let Power::Running(boot) = &mut self.power {
            boot.processor_secs += match self.kept_busy {
                Some(share) => share * now.secs_since(boot.counted_to).max(0.0),
                None => processor.seconds_between(boot.counted_to, now),
            };
            boot.received_secs += received.seconds_between(boot.counted_to, now);
            boot.sent_secs += sent.seconds_between(boot.counted_to, now);
            boot.counted_to = boot.counted_to.max(now);
        }
        let mut counters = Counters {
            vcpu_current: Some(self.spec.cpu_cores),
            memory_kib: Some(u64::from(self.spec.ram_mb) * 1024),
            disks: BTreeMap::from([("vda".to_owned(), self.disk(now))]),
            ..Counters::default()
        };
        let (state, started_at) = match &self.power {
            Power::Off => (DomainState::Stopped, None),
            Power::Crashed => (DomainState::Crashed, None),
            Power::Suspended(boot) => {
                self.count(boot, now, &mut counters);
                (DomainState::Suspended, Some(boot.started_at))
            }
            Power::Running(boot) => {
                if !self.is_busy(now) {
                    self.count(boot, now, &mut counters);
                }
                (DomainState::Running, Some(boot.started_at))
            }
        };
        Domain {
            uuid: self.uuid.clone(),
            name: self.name.clone(),
            state,
            started_at,
            counters,
            source: Source::Simulated,
        }
    }

    fn count(&self, boot: &Boot, now: UtcMillis, counters: &mut Counters) {
        let each_ns = (boot.processor_secs * 1e9) as u64;
        counters.vcpu_time_ns = (0..self.spec.cpu_cores).map(|number| (number, each_ns)).collect();
        counters.balloon = self.balloon(boot, now);
        let (received_mb_per_s, sent_mb_per_s) = self.full_speed_mb_per_s();
        let traffic = Traffic {
            rx_bytes: (boot.received_secs * received_mb_per_s * BYTES_PER_MB) as u64,
            tx_bytes: (boot.sent_secs * sent_mb_per_s * BYTES_PER_MB) as u64,
        };
        counters.interfaces.insert(format!("vnet{}", hash(self.seed, 5, 0) % 1000), traffic);
    }

    /// Now and then the hypervisor is busy with a domain for most of a minute and has no counters of it.
    fn is_busy(&self, now: UtcMillis) -> bool {
        const EVERY_MS: i64 = 10 * 60_000;
        const BUSY_MS: i64 = 40_000;
        let spell = now.0.div_euclid(EVERY_MS);
        now.0.rem_euclid(EVERY_MS) < BUSY_MS && unit(hash(self.seed, 6, spell)) < 1.0 / 60.0
    }

    /// Received and sent.
    fn full_speed_mb_per_s(&self) -> (f64, f64) {
        let draw = 0.5 + unit(hash(self.seed, 7, 0));
        match self.profile {
            Profile::Web => (0.4 * draw, 3.0 * draw),
            Profile::Jobs => (6.0 * draw, 0.8 * draw),
            Profile::Database => (0.8 * draw, 1.2 * draw),
            Profile::Quiet => (0.2 * draw, 0.1 * draw),
            Profile::Hot => (4.0 * draw, 2.0 * draw),
        }
    }

    /// Memory follows the load a little and fills in the first half hour after a boot.
    fn balloon(&self, boot: &Boot, now: UtcMillis) -> Balloon {
        let sampled_at = match self.statistics_interval_secs {
            Some(interval) => {
                let interval_ms = i64::from(interval.max(1)) * 1000;
                UtcMillis(now.0.div_euclid(interval_ms) * interval_ms)
            }
            None => boot.started_at.plus_secs(2),
        };
        let lately = self.processor.seconds_between(UtcMillis(sampled_at.0 - 5 * 60_000), sampled_at) / 300.0;
        let base = match self.profile {
            Profile::Database => 0.55,
            Profile::Hot => 0.6,
            _ => 0.2 + 0.3 * unit(hash(self.seed, 8, 0)),
        };
        let up_secs = sampled_at.secs_since(boot.started_at).max(0.0);
        let filled = 1.0 - 0.5 * (-up_secs / 1800.0).exp();
        let drift = 0.03 * (TAU * sampled_at.0 as f64 / (2.3 * HOUR_MS as f64) + base * 40.0).sin();
        let share = ((base + 0.25 * lately + drift) * filled).clamp(0.03, 0.96);
        // The kernel keeps some for itself before it counts.
        let available = u64::from(self.spec.ram_mb) * 1024 * 97 / 100;
        Balloon {
            available_kib: Some(available),
            usable_kib: Some((available as f64 * (1.0 - share)) as u64),
            last_update_secs: Some(sampled_at.0.div_euclid(1000)),
        }
    }

    /// Grows by some permille a day, never full.
    fn disk(&self, now: UtcMillis) -> DiskUse {
        let at_first =
            if self.name.contains("backup") { 0.84 } else { 0.06 + 0.4 * unit(hash(self.seed, 9, 0)) };
        let days = now.secs_since(self.created_at).max(0.0) / 86_400.0;
        let share = (at_first + days * 0.008 * unit(hash(self.seed, 10, 0))).min(0.93);
        let capacity_bytes = u64::from(self.spec.disk_gb) << 30;
        DiskUse { image_bytes: (capacity_bytes as f64 * share) as u64, capacity_bytes }
    }
}
