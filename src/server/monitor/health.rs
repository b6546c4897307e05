//! The collector's own health, kept in memory, for the admin page, a server function and `/metrics`.

use crate::model::{
    CollectorError, CollectorHealth, CollectorState, Source, StorageOutage, TickMillis, UtcMillis, VmUsage,
    VmsBySource,
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Mean and maximum are taken over so many ticks: five minutes at 5 s.
const RECENT: usize = 60;

/// Written by the collector, read by pages and `/metrics`.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    newest: Option<(UtcMillis, Instant)>,
    /// How long the newest ticks took, newest last; at most [`RECENT`].
    took: VecDeque<Duration>,
    ticks: u64,
    ticks_skipped: u64,
    ticks_failed: u64,
    samples_failed: u64,
    hypervisor_silent: bool,
    outage: Option<StorageOutage>,
    vms: VmsBySource,
    last_error: Option<CollectorError>,
}

/// How long the newest tick may be past before the collector counts as stopped.
pub fn stale_after(interval_secs: u32) -> Duration {
    Duration::from_secs(u64::from(interval_secs) * 3 + 10)
}

impl Health {
    /// A tick is done, whether it could be written or not: sampled at `sampled_at`, begun at `began`, done at `done`.
    pub fn ticked(&self, sampled_at: UtcMillis, began: Instant, done: Instant, usage: &[VmUsage]) {
        let mut record = self.record();
        record.newest = Some((sampled_at, done));
        if record.outage.is_none() {
            record.ticks += 1;
        }
        if record.took.len() == RECENT {
            record.took.pop_front();
        }
        record.took.push_back(done.saturating_duration_since(began));
        record.vms = by_source(usage);
    }

    pub fn skipped(&self, ticks: u64) {
        self.record().ticks_skipped += ticks;
    }

    /// A tick could not be written, and `waiting_ticks` are in memory. Answers whether the one before it could.
    pub fn not_stored(&self, at: UtcMillis, reason: &str, waiting_ticks: usize) -> bool {
        let mut record = self.record();
        record.ticks_failed += 1;
        let (since, failed) = match &record.outage {
            Some(before) => (before.since, before.waiting_ticks + before.lost_ticks + 1),
            None => (at, 1),
        };
        let lost_ticks = failed.saturating_sub(waiting_ticks);
        let outage = StorageOutage { since, reason: reason.to_owned(), waiting_ticks, lost_ticks };
        record.last_error = Some(CollectorError { at, text: outage.text() });
        record.outage.replace(outage).is_none()
    }

    /// A tick was written. Answers the outage that this ends.
    pub fn stored(&self) -> Option<StorageOutage> {
        self.record().outage.take()
    }

    /// Since when nothing can be written.
    pub fn outage(&self) -> Option<StorageOutage> {
        self.record().outage.clone()
    }

    /// A tick failed before it had anything to write. `text` is shown to users.
    pub fn tick_failed(&self, at: UtcMillis, text: impl Into<String>) {
        self.record().ticks_failed += 1;
        self.noted(at, text);
    }

    /// The hypervisor as a whole answered, or why it did not, as a message for users.
    pub fn read(&self, at: UtcMillis, trouble: Option<&str>) {
        let mut record = self.record();
        record.hypervisor_silent = trouble.is_some();
        if let Some(text) = trouble {
            record.samples_failed += 1;
            record.last_error = Some(CollectorError { at, text: text.into() });
        }
    }

    /// A problem that did not cost a whole tick. `text` is shown to users.
    pub fn noted(&self, at: UtcMillis, text: impl Into<String>) {
        self.record().last_error = Some(CollectorError { at, text: text.into() });
    }

    /// The health at `now`.
    pub fn report(&self, now: Instant, interval_secs: u32) -> CollectorHealth {
        let record = self.record();
        let state = match record.newest {
            None if record.ticks_failed > 0 => CollectorState::Stopped,
            None => CollectorState::Starting,
            Some((_, at)) if now.saturating_duration_since(at) > stale_after(interval_secs) => {
                CollectorState::Stopped
            }
            Some(_) if record.outage.is_some() => CollectorState::NotStoring,
            Some(_) if record.hypervisor_silent => CollectorState::HypervisorSilent,
            Some(_) => CollectorState::Working,
        };
        CollectorHealth {
            state,
            interval_secs,
            newest_tick_at: record.newest.map(|(sampled_at, _)| sampled_at),
            tick_ms: tick_millis(&record.took),
            ticks: record.ticks,
            ticks_skipped: record.ticks_skipped,
            ticks_failed: record.ticks_failed,
            samples_failed: record.samples_failed,
            vms: record.vms,
            outage: record.outage.clone(),
            last_error: record.last_error.clone(),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // What it holds is whole after every statement; a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tick_millis(took: &VecDeque<Duration>) -> TickMillis {
    let millis = |took: Duration| took.as_secs_f64() * 1000.0;
    let sum: Duration = took.iter().sum();
    TickMillis {
        last: took.back().copied().map(millis),
        mean: (!took.is_empty()).then(|| millis(sum) / took.len() as f64),
        max: took.iter().max().copied().map(millis),
        over: took.len(),
    }
}

fn by_source(usage: &[VmUsage]) -> VmsBySource {
    let mut vms = VmsBySource::default();
    for VmUsage { sources: of, .. } in usage {
        let sources = [of.cpu, of.memory, of.disk, of.network, of.uptime];
        let is_source = |source| u32::from(sources.contains(&source));
        let (guest, hypervisor, simulated) =
            (is_source(Source::Guest), is_source(Source::Hypervisor), is_source(Source::Simulated));
        vms.guest += guest;
        vms.hypervisor += hypervisor;
        vms.simulated += simulated;
        vms.none += u32::from(guest + hypervisor + simulated == 0);
    }
    vms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Sources;

    const MORNING: UtcMillis = UtcMillis(1_795_420_800_000);

    fn tick(health: &Health, began: Instant, millis: u64) -> Instant {
        let done = began + Duration::from_millis(millis);
        health.ticked(MORNING, began, done, &[]);
        done
    }

    #[test]
    fn it_starts_works_and_stops() {
        let (health, begin) = (Health::default(), Instant::now());
        assert_eq!(health.report(begin, 5).state, CollectorState::Starting);
        let done = tick(&health, begin, 20);
        assert_eq!(health.report(done, 5).state, CollectorState::Working);
        let later = |secs| done + Duration::from_secs(secs);
        assert_eq!(health.report(later(25), 5).state, CollectorState::Working, "a few ticks may be late");
        assert_eq!(health.report(later(26), 5).state, CollectorState::Stopped);
    }

    #[test]
    fn a_first_tick_that_fails_is_no_start() {
        let health = Health::default();
        health.tick_failed(MORNING, "the disk is full");
        let report = health.report(Instant::now(), 5);
        assert_eq!((report.state, report.ticks, report.ticks_failed), (CollectorState::Stopped, 0, 1));
        assert_eq!(report.last_error.unwrap().text, "the disk is full");
    }

    #[test]
    fn a_silent_hypervisor_is_reported_until_it_answers_and_its_error_stays() {
        let (health, begin) = (Health::default(), Instant::now());
        health.read(MORNING, Some("libvirt does not answer"));
        let done = tick(&health, begin, 20);
        let report = health.report(done, 5);
        assert_eq!((report.state, report.samples_failed), (CollectorState::HypervisorSilent, 1));
        health.read(MORNING.plus_secs(5), None);
        let report = health.report(done, 5);
        assert_eq!((report.state, report.samples_failed), (CollectorState::Working, 1));
        assert_eq!(report.last_error.unwrap().at, MORNING);
    }

    #[test]
    fn mean_and_maximum_are_of_the_newest_ticks_only() {
        let (health, begin) = (Health::default(), Instant::now());
        assert_eq!(health.report(begin, 5).tick_ms, TickMillis::default());
        tick(&health, begin, 9000);
        for _ in 0..RECENT - 1 {
            tick(&health, begin, 10);
        }
        assert_eq!(health.report(begin, 5).tick_ms.max, Some(9000.0));
        let done = tick(&health, begin, 70);
        let report = health.report(done, 5);
        let expected = TickMillis { last: Some(70.0), mean: Some(11.0), max: Some(70.0), over: RECENT };
        assert_eq!((report.tick_ms, report.ticks), (expected, RECENT as u64 + 1));
    }

    #[test]
    fn a_vm_counts_with_every_source_that_reports_it_or_with_none() {
        let (guest, hypervisor) = (Source::Guest, Source::Hypervisor);
        let with = |sources| VmUsage { sources, ..VmUsage::default() };
        let usage = [
            with(Sources { cpu: hypervisor, disk: guest, ..Sources::default() }),
            with(Sources { cpu: hypervisor, network: hypervisor, ..Sources::default() }),
            with(Sources { memory: Source::Stale, ..Sources::default() }),
        ];
        assert_eq!(by_source(&usage), VmsBySource { guest: 1, hypervisor: 2, simulated: 0, none: 1 });
    }
}
