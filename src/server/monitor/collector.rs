//! The collector: runs a tick at every interval.
//!
//! A tick reads the hypervisor once for all VMs, derives values from this sample and the previous one, and writes
//! everything in one transaction. Ticks that a slow tick has missed are skipped and counted, not made up for. A read
//! that exceeds its time limit is abandoned, and the tick continues without it.

use super::{
    boot_setup::{BootSetup, Guest},
    comparability::{PreviousSample, by_uuid, is_comparable},
    derive::{Inputs, derive},
    health::Health,
    host::Host,
    latest::{Latest, Snapshot},
    schedule::TickSchedule,
    traffic::TrafficCounters,
};
use crate::{
    model::{HostUsage, Source, UtcMillis, VmStatus, VmUsage, VmView},
    server::{
        alerts,
        database::Database,
        events::{Events, NewEvent},
        guest::{Probes, RunningGuest},
        metrics::{NewTick, Store},
        provider::{
            Counters, Domain, DomainState, Hypervisor, HypervisorSample, IndexedMachine, MachineIndex,
            Moment, ReadError,
        },
        vms::{MonitoredVm, ObservedStatus, RecordedStatus, StatusChange, Vms, reconcile, status_after},
    },
};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, TryLockError},
    time::{Duration, Instant},
};
use tokio::{
    sync::Notify,
    time::{sleep, sleep_until, timeout},
};

/// A clock that is put back by less is waited for.
const CLOCK_SLACK_SECS: i64 = 60;
/// How long a clock that is further behind is taken for wrong.
const CLOCK_BEHIND_LIMIT: Duration = Duration::from_secs(10 * 60);
/// An event arrives before the hypervisor reports its cause, which can take up to a second.
const AFTER_AN_EVENT: Duration = Duration::from_millis(1500);
/// How long a VM with a problem runs and answers until it is well again.
const WELL_AFTER: Duration = Duration::from_secs(60);

pub struct Collector {
    pub database: Database,
    pub events: Events,
    pub store: Store,
    pub vms: Vms,
    pub hypervisor: Arc<dyn Hypervisor>,
    pub index: Option<Arc<dyn MachineIndex>>,
    pub host: Arc<Mutex<Host>>,
    pub latest: Latest,
    pub alerts: alerts::AlertEngine,
    pub health: Health,
    pub boot_setup: BootSetup,
    pub probes: Probes,
    pub interval_secs: u32,
    pub memory: Memory,
}

/// What a tick needs of the ones before it.
#[derive(Default)]
pub struct Memory {
    previous: Option<PreviousSample>,
    /// The VMs of the last tick that could read them.
    monitored: Option<Vec<MonitoredVm>>,
    /// When the last tick began.
    began: Option<Moment>,
    traffic: TrafficCounters,
    failed_samples: u32,
    newest: UtcMillis,
    /// Since when the clock has been far behind the newest sample.
    behind_since: Option<Instant>,
    /// Since when VMs with a problem have been running with a guest that answers, by id, with when they last changed.
    answering: HashMap<i64, (UtcMillis, Instant)>,
    /// The host restarted since the last sample before this run; until the first sample.
    host_restarted: bool,
}

impl Memory {
    fn note_answering(&mut self, monitored: &[MonitoredVm], usage: &[VmUsage], now: Instant) {
        let before = std::mem::take(&mut self.answering);
        let answers = |usage: &VmUsage| {
            let sources = usage.sources;
            [sources.memory, sources.disk, sources.uptime]
                .iter()
                .any(|source| matches!(source, Source::Guest | Source::Simulated))
        };
        self.answering = monitored
            .iter()
            .zip(usage)
            .filter(|(w, usage)| {
                w.view.problem.is_some() && w.view.status == VmStatus::Running && answers(usage)
            })
            .map(|(w, _)| {
                let changed_at = w.view.updated_at;
                let known = before.get(&w.view.id).filter(|(then, _)| *then == changed_at);
                (w.view.id, (changed_at, known.map_or(now, |(_, since)| *since)))
            })
            .collect();
    }

    fn is_well(&self, vm_id: i64, now: Instant) -> bool {
        let since = self.answering.get(&vm_id).map(|(_, since)| *since);
        since.is_some_and(|since| now.saturating_duration_since(since) >= WELL_AFTER)
    }
}

impl Collector {
    /// Ticks for ever.
    pub async fn run(mut self) {
        self.memory.newest = self.store.newest_tick();
        let mut due = Instant::now();
        let mut schedule = TickSchedule::new(due, Duration::from_secs(u64::from(self.interval_secs)));
        let changed = Arc::new(Notify::new());
        let _listener = Listener::begin(self.hypervisor.clone(), changed.clone());
        let vms = self.vms.clone();
        loop {
            // Between two ticks, a change notification refreshes the statuses at once.
            let is_due = tokio::select! {
                biased;
                () = sleep_until(due.into()) => true,
                () = vms.operation_ended() => false,
                () = async {
                    changed.notified().await;
                    sleep(AFTER_AN_EVENT).await;
                } => false,
            };
            if !is_due {
                if let Err(error) = self.refresh_statuses().await {
                    tracing::error!(%error, "status changes could not be written");
                }
                continue;
            }
            if let Err(error) = self.tick().await {
                tracing::error!(%error, "a tick could not be written");
                let text = "A tick could not be written to the database. Details are in the server log.";
                self.health.tick_failed(self.hypervisor.now().utc, text);
            }
            let skipped;
            (due, skipped) = schedule.next(Instant::now());
            self.health.skipped(skipped);
        }
    }

    /// Reads, derives, writes. Public for tests and benchmarks, which drive ticks themselves.
    ///
    /// # Errors
    /// When the database cannot be read or written; this sample is then lost, and the next tick continues.
    pub async fn tick(&mut self) -> Result<(), sqlx::Error> {
        let (begin, began) = (Instant::now(), self.hypervisor.now());
        let monitored = self.monitored().await?;
        let (sample, indexed, mut host) =
            tokio::join!(self.read(), self.indexed(&monitored), self.sample_host());
        let before = self.memory.began.replace(began);
        if before.is_none() {
            let newest = self.store.newest_tick();
            let started_at = self.hypervisor.host_started_at();
            self.memory.host_restarted = newest.0 > 0 && started_at.is_some_and(|at| at > newest);
        }
        if !before.is_some_and(|before| is_comparable(before, began, self.interval_secs)) {
            (host.cpu_percent, host.net_send_speed, host.net_recv_speed) = (None, None, None);
        }
        let (sample, trouble) = match sample {
            Ok(sample) => {
                if self.memory.failed_samples > 0 {
                    let text = "The hypervisor is responding again.";
                    self.events.record(NewEvent::info("hypervisor_answers", None, text)).await;
                }
                self.memory.failed_samples = 0;
                (Some(sample), None)
            }
            Err(error) => {
                self.memory.failed_samples += 1;
                if self.memory.failed_samples == 1 {
                    tracing::error!(detail = error.detail, "the hypervisor could not be read");
                    self.events.record(NewEvent::error("hypervisor_silent", None, &error.text)).await;
                }
                (None, Some(error.text))
            }
        };
        self.health.read(began.utc, trouble.as_deref());

        let domains = Domains { taken: sample.map(PreviousSample::from), indexed: indexed.map(by_uuid) };
        let monitored = self.with_current_domains(monitored, &domains).await;
        let now = domains.taken.as_ref().map_or_else(|| self.hypervisor.now(), PreviousSample::at);
        let usage = self.usage(&monitored, &domains, now, before.map(|before| before.monotonic));
        self.memory.note_answering(&monitored, &usage, now.monotonic);
        self.record_unresponsive(&monitored, &domains, began.utc);
        let recorded_at = self.next_tick_time(now).await?;
        let sampled_at = recorded_at.unwrap_or(now.utc);
        let running: Vec<_> = monitored
            .iter()
            .zip(&usage)
            .filter(|(w, _)| domains.is_up(w))
            .map(|(w, f)| (w.view.id, *f))
            .collect();

        let tick = recorded_at.map(|at| self.store.new_tick(at, &running, &host));
        let views = match self.write(tick.as_ref(), &monitored, &usage, &domains).await {
            Ok((views, stopped_by_host)) => {
                self.alerts.note_host_restart(stopped_by_host);
                if domains.taken.is_some() {
                    self.memory.host_restarted = false;
                }
                if let Some(tick) = tick {
                    self.store.publish(tick);
                }
                self.end_outage(sampled_at).await;
                views
            }
            Err(error) => {
                if let Some(tick) = tick {
                    self.store.publish_unstored(tick);
                }
                let reason = self.database.reason(&error);
                if self.health.not_stored(sampled_at, reason, self.store.unstored()) {
                    tracing::error!(%error, reason, "ticks cannot be written, and are kept in memory");
                }
                let view = |(w, usage): (&MonitoredVm, &VmUsage)| VmView { usage: *usage, ..w.view.clone() };
                monitored.iter().zip(&usage).map(view).collect()
            }
        };

        let trouble = trouble.or_else(|| self.health.outage().map(|outage| outage.text()));
        let mut snapshot = Snapshot { sampled_at, host, trouble, ..Snapshot::default() };
        snapshot.vms = monitored.iter().map(|w| w.view.id).zip(usage.iter().copied()).collect();
        self.latest.set(snapshot);
        // The sample is kept even if the alert cannot be written; the next tick retries.
        let outage = self.health.outage();
        if let Err(error) = self.alerts.evaluate(sampled_at, &host, &views, outage.as_ref()).await
            && outage.is_none()
        {
            tracing::error!(%error, "alerts could not be written");
            self.health.noted(sampled_at, "Alerts could not be written. Details are in the server log.");
        }
        let files: Vec<(VmView, PathBuf)> =
            views.into_iter().zip(&monitored).map(|(view, w)| (view, w.machine.directory.clone())).collect();
        self.vms.refresh_info(files, sampled_at).await;
        self.boot_setup.set_up(domains.running_guests(&monitored));
        self.probes.watch(domains.guests_to_read(&monitored), &domains.unresponsive(&monitored));
        if domains.taken.is_some() {
            self.memory.previous = domains.taken;
        }
        self.health.ticked(sampled_at, begin, Instant::now(), &usage);
        Ok(())
    }

    /// The VMs; as they were at the tick before while the database cannot be read.
    async fn monitored(&mut self) -> Result<Vec<MonitoredVm>, sqlx::Error> {
        match self.vms.monitored().await {
            Ok(monitored) => {
                self.memory.monitored = Some(monitored.clone());
                Ok(monitored)
            }
            Err(error) => self.memory.monitored.clone().ok_or(error),
        }
    }

    /// Writes a tick and the statuses that have changed, in one transaction. Gives the VMs as they are now, and the ids of
    /// those that stopped because the host restarted.
    async fn write(
        &self,
        tick: Option<&NewTick>,
        monitored: &[MonitoredVm],
        usage: &[VmUsage],
        domains: &Domains,
    ) -> Result<(Vec<VmView>, Vec<i64>), sqlx::Error> {
        let mut tx = self.database.write().await?;
        if let Some(tick) = tick {
            self.store.record(&mut tx, tick).await?;
        }
        let mut views = Vec::with_capacity(monitored.len());
        let mut stopped_by_host = Vec::new();
        for (w, usage) in monitored.iter().zip(usage) {
            let (view, change) = self.reconciled(&mut tx, w, *usage, domains).await?;
            stopped_by_host.extend(change.filter(|change| change.by_host_restart).map(|_| view.id));
            views.push(view);
        }
        tx.commit().await?;
        Ok((views, stopped_by_host))
    }

    /// A tick was written: reports the outage that this ends.
    async fn end_outage(&self, at: UtcMillis) {
        let Some(outage) = self.health.stored() else { return };
        let lost = match outage.lost_ticks {
            0 => "No metrics were lost.".to_owned(),
            count => format!("{count} samples were lost, those that were older than an hour."),
        };
        let text = format!(
            "Nothing could be stored from {} to {}. {} {lost}",
            outage.since.to_rfc3339(),
            at.to_rfc3339(),
            outage.reason
        );
        self.events.record(NewEvent::error("storage_failed", None, text)).await;
    }

    /// Compares the hypervisor's state with the recorded statuses and saves the differences; records no metrics.
    ///
    /// # Errors
    /// When the database cannot be read or written; the next tick tries again.
    pub async fn refresh_statuses(&self) -> Result<(), sqlx::Error> {
        let monitored = self.vms.monitored().await?;
        // A tick reports an unresponsive hypervisor.
        let Ok(sample) = self.read().await else { return Ok(()) };
        let domains = Domains { taken: Some(PreviousSample::from(sample)), indexed: None };
        let monitored = self.with_current_domains(monitored, &domains).await;
        let mut tx = self.database.write().await?;
        for w in monitored.iter().filter(|w| domains.responded(w)) {
            self.reconciled(&mut tx, w, w.view.usage, &domains).await?;
        }
        tx.commit().await
    }

    /// When the tick is to be recorded; `None`: it is not. Times only grow while the clock is put back by little: two
    /// ticks are never one. A clock that is further behind may be wrong for a moment only, as after a start without
    /// a network; one that stays there was ahead before, and what was sampled in a future that never was goes.
    async fn next_tick_time(&mut self, now: Moment) -> Result<Option<UtcMillis>, sqlx::Error> {
        let at = now.utc;
        if self.memory.newest <= at.plus_secs(CLOCK_SLACK_SECS) {
            self.memory.behind_since = None;
            self.memory.newest = at.max(UtcMillis(self.memory.newest.0 + 1));
            return Ok(Some(self.memory.newest));
        }
        let Some(since) = self.memory.behind_since else {
            self.memory.behind_since = Some(now.monotonic);
            let text = format!(
                "The clock is behind the newest sample, of {}. Nothing is recorded until it is right, or has stayed \
                 behind for {} minutes: then the samples with a later time are deleted.",
                self.memory.newest.to_rfc3339(),
                CLOCK_BEHIND_LIMIT.as_secs() / 60
            );
            self.events.record(NewEvent::warning("clock_behind", None, text)).await;
            return Ok(None);
        };
        if now.monotonic.saturating_duration_since(since) < CLOCK_BEHIND_LIMIT {
            return Ok(None);
        }
        let count = self.store.delete_after(at).await?;
        let text = format!("The clock was set back: {count} samples with a later time were deleted.");
        self.events.record(NewEvent::warning("clock_put_back", None, text)).await;
        self.memory.behind_since = None;
        self.memory.newest = at;
        Ok(Some(at))
    }

    /// Reads the hypervisor, with a time limit that leaves enough of the interval to finish the tick.
    async fn read(&self) -> Result<HypervisorSample, ReadError> {
        let limit = time_limit(self.interval_secs);
        timeout(limit, self.hypervisor.read()).await.unwrap_or_else(|_| {
            Err(ReadError {
                text: format!("The hypervisor did not answer within {} s.", limit.as_secs_f64()),
                detail: "the read timed out".into(),
            })
        })
    }

    /// Samples the host. While its disk hangs, the values are unknown: ticks do not wait for it, and no second thread gets
    /// stuck beside the first.
    async fn sample_host(&self) -> HostUsage {
        let host = self.host.clone();
        let sampled = tokio::task::spawn_blocking(move || match host.try_lock() {
            Ok(mut host) => host.sample(Instant::now()),
            Err(TryLockError::Poisoned(host)) => host.into_inner().sample(Instant::now()),
            Err(TryLockError::WouldBlock) => HostUsage::default(),
        });
        timeout(time_limit(self.interval_secs), sampled).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// The machines that the hypervisor does not know, as far as any of them is a VM here. `None`: Vagrant's index
    /// cannot be read.
    async fn indexed(&self, monitored: &[MonitoredVm]) -> Option<Vec<Domain>> {
        if !monitored.iter().any(|w| w.machine.is_indexed()) {
            return Some(Vec::new());
        }
        match self.index.as_ref()?.machines().await {
            Ok(machines) => Some(machines.into_iter().filter_map(in_its_place).collect()),
            Err(error) => {
                self.health.noted(self.hypervisor.now().utc, error.text);
                tracing::error!(detail = error.detail, "Vagrant's index cannot be read");
                None
            }
        }
    }

    /// Looks up the domains of VMs whose recorded one is missing, in their folders: so a VM that is being launched has
    /// metrics, and one that was recreated by hand is noticed.
    async fn with_current_domains(
        &self,
        mut monitored: Vec<MonitoredVm>,
        domains: &Domains,
    ) -> Vec<MonitoredVm> {
        for w in &mut monitored {
            if !domains.responded(w) || domains.of(w).is_some() {
                continue;
            }
            let known = w.domain_uuid.take();
            w.domain_uuid = self.vms.domain_of(&w.machine);
            if w.domain_uuid == known || domains.of(w).is_none() {
                w.domain_uuid = known;
            } else if let Some(uuid) = &w.domain_uuid
                && let Err(error) = self.vms.note_domain(w.view.id, uuid).await
            {
                // The next tick finds it again.
                tracing::warn!(%error, vm_id = w.view.id, "a VM's domain could not be noted");
            }
        }
        monitored
    }

    fn usage(
        &mut self,
        monitored: &[MonitoredVm],
        domains: &Domains,
        now: Moment,
        tick_before: Option<Instant>,
    ) -> Vec<VmUsage> {
        self.memory.traffic.keep(|vm_id| monitored.iter().any(|w| w.view.id == vm_id));
        let mut all = Vec::with_capacity(monitored.len());
        for w in monitored {
            let Some(domain) = domains.of(w) else {
                all.push(VmUsage::default());
                continue;
            };
            let vm_id = w.view.id;
            let previous = self.memory.previous.as_ref();
            let guest = self.probes.newest(vm_id, domain);
            let mut usage = derive(Inputs {
                previous: previous.and_then(|previous| previous.before(domain, now, self.interval_secs)),
                current: (domain, now.monotonic),
                guest: guest.as_ref(),
                tick_before,
                now: now.utc,
                interval_secs: self.interval_secs,
            });
            let newest = guest.as_ref().map(|guest| guest.newest.as_ref());
            let recorded = || self.store.newest_traffic(vm_id);
            self.memory.traffic.count(vm_id, domain, newest, now.utc, recorded, &mut usage);
            all.push(usage);
        }
        all
    }

    /// A VM about which the hypervisor reports nothing while it reports others: its domain hangs.
    fn record_unresponsive(&self, monitored: &[MonitoredVm], domains: &Domains, at: UtcMillis) {
        let is_unresponsive = |w: &&MonitoredVm| {
            !w.busy && domains.of(w).is_some_and(|domain| domain.state == DomainState::Unknown)
        };
        let names: Vec<_> = monitored.iter().filter(is_unresponsive).map(|w| w.view.name.as_str()).collect();
        if !names.is_empty() {
            self.health.noted(at, format!("The hypervisor reports nothing about {}.", names.join(", ")));
        }
    }

    async fn reconciled(
        &self,
        tx: &mut sqlx::Transaction<'_, sqlx::Sqlite>,
        w: &MonitoredVm,
        usage: VmUsage,
        domains: &Domains,
    ) -> Result<(VmView, Option<StatusChange>), sqlx::Error> {
        let mut view = VmView { usage, ..w.view.clone() };
        if w.busy {
            return Ok((view, None));
        }
        let observed = match domains.of(w) {
            Some(domain) => ObservedStatus::Is(domain.state),
            None if domains.responded(w) => ObservedStatus::Absent,
            // Once may be a hiccup.
            None if !w.machine.is_indexed() && self.memory.failed_samples < 2 => return Ok((view, None)),
            None => ObservedStatus::Silence,
        };
        if view.status == VmStatus::Failed && observed == ObservedStatus::Absent {
            self.vms.release_unbuilt(tx, &view).await?;
        }
        let believed = RecordedStatus {
            vm_id: view.id,
            name: &view.name,
            status: view.status,
            problem: view.problem.as_deref(),
            problem_lasts: w.problem_lasts,
            aim: view.operation.as_ref().and_then(|operation| {
                let is_its_failure = operation.error.is_some() && operation.error == view.problem;
                is_its_failure.then(|| status_after(operation.kind))
            }),
            is_well: self.memory.is_well(view.id, self.hypervisor.now().monotonic),
            had_domain: w.domain_uuid.is_some(),
            is_adopted: w.machine.project.is_some(),
            is_indexed: w.machine.is_indexed(),
            host_restarted: self.memory.host_restarted,
        };
        let Some(change) = reconcile(believed, observed) else { return Ok((view, None)) };
        if !self.vms.note(tx, &view, &change).await? {
            return Ok((view, None));
        }
        view.status = change.status;
        view.problem.clone_from(&change.problem);
        if change.status != VmStatus::Running {
            view.ip_address = None;
        }
        Ok((view, Some(change)))
    }
}

/// Hears the hypervisor's events as long as the collector ticks.
struct Listener(tokio::task::JoinHandle<()>);

impl Listener {
    fn begin(hypervisor: Arc<dyn Hypervisor>, changed: Arc<Notify>) -> Self {
        Self(tokio::spawn(async move { hypervisor.watch(&changed).await }))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a tick knows of the VMs' domains.
struct Domains {
    /// `None`: the hypervisor did not respond.
    taken: Option<PreviousSample>,
    /// In the place of domains, the machines of Vagrant's index; `None`: it cannot be read.
    indexed: Option<HashMap<String, Domain>>,
}

impl Domains {
    fn of(&self, w: &MonitoredVm) -> Option<&Domain> {
        let uuid = w.domain_uuid.as_deref()?;
        if w.machine.is_indexed() {
            self.indexed.as_ref()?.get(uuid)
        } else {
            self.taken.as_ref()?.domain(uuid)
        }
    }

    /// Whether the source of the VM's domain answered, if it has one.
    fn responded(&self, w: &MonitoredVm) -> bool {
        if w.machine.is_indexed() { self.indexed.is_some() } else { self.taken.is_some() }
    }

    fn unresponsive(&self, monitored: &[MonitoredVm]) -> Vec<i64> {
        monitored.iter().filter(|w| !self.responded(w)).map(|w| w.view.id).collect()
    }

    fn is_up(&self, w: &MonitoredVm) -> bool {
        self.of(w).is_some_and(|d| matches!(d.state, DomainState::Running | DomainState::Suspended))
    }

    /// Those that the hypervisor runs.
    fn running_guests(&self, monitored: &[MonitoredVm]) -> Vec<Guest> {
        let guest = |w: &MonitoredVm| {
            let domain = self.of(w).filter(|_| !w.machine.is_indexed())?;
            (domain.state == DomainState::Running).then(|| Guest {
                vm_id: w.view.id,
                uuid: domain.uuid.clone(),
                started_at: domain.started_at,
                needs_address: w.view.ip_address.is_none() && w.view.status == VmStatus::Running,
            })
        };
        monitored.iter().filter_map(guest).collect()
    }

    fn guests_to_read(&self, monitored: &[MonitoredVm]) -> Vec<RunningGuest> {
        let guest = |w: &MonitoredVm| {
            let domain = self.of(w)?;
            let is_unknown = domain.state == DomainState::Unknown;
            // A guest missing from one tick most likely still runs: keep its probe, but start none. One that Vagrant's index
            // knows no state of is probed: a probe that fails has Vagrant refresh the state.
            let is_unresponsive = is_unknown && !w.machine.is_indexed();
            (is_unknown || domain.state == DomainState::Running).then(|| RunningGuest {
                vm_id: w.view.id,
                machine: w.machine.clone(),
                domain_uuid: domain.uuid.clone(),
                started_at: domain.started_at,
                busy: w.busy || is_unresponsive,
            })
        };
        monitored.iter().filter_map(guest).collect()
    }
}

/// A machine of Vagrant's index in the place of a domain: one that counts nothing.
fn in_its_place(machine: IndexedMachine) -> Option<Domain> {
    Some(Domain {
        uuid: machine.id,
        name: machine.project.machine,
        state: machine.state?,
        started_at: None,
        counters: Counters::default(),
        source: Source::Hypervisor,
    })
}

/// How long a tick waits for a read: most of the interval, so that the next tick is on time. With a very short
/// interval, a slow hypervisor that costs some ticks is better than no samples at all; with a long one, there is an
/// upper bound.
pub fn time_limit(interval_secs: u32) -> Duration {
    (Duration::from_millis(900) * interval_secs).clamp(Duration::from_secs(4), Duration::from_secs(20))
}
