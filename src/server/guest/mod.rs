//! Reads what only a guest itself can tell: how full its root file system is, its memory, when it booted.
//!
//! One task per running guest, with one kept ssh connection each. Nobody waits for a guest: a task leaves what it
//! read, and the collector takes the newest of it. A guest that hangs or is gone costs its own figures only. What
//! was read in one boot of a VM's domain is never handed out in another.

mod known;
mod probe;
pub mod reading;
mod retry;
mod ssh;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod tests;

use super::{
    database::Database,
    provider::{Domain, GuestAccess, Hypervisor, Machine, MachineIndex},
};
use crate::model::UtcMillis;
use known::KnownGuests;
use probe::Probe;
pub use reading::GuestReading;
use reading::{MAX_OUTPUT_BYTES, SCRIPT};
use retry::Pauses;
use ssh::{Connection, Patience};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};

/// A guest whose VM runs, or did when it was last heard of.
#[derive(Debug, Clone)]
pub struct RunningGuest {
    pub vm_id: i64,
    pub machine: Machine,
    pub domain_uuid: String,
    /// Tells one boot of the domain from the next.
    pub started_at: Option<UtcMillis>,
    /// An operation is under way, or the hypervisor does not say how the VM is: what is read already is read on,
    /// nothing new is begun.
    pub busy: bool,
}

/// What a guest said last, and the time before.
#[derive(Debug, Clone, PartialEq)]
pub struct Readings {
    pub newest: Arc<GuestReading>,
    pub before: Option<Arc<GuestReading>>,
}

/// How often guests are read and how patient that is.
#[derive(Debug, Clone, Copy)]
struct Pace {
    period: Duration,
    patience: Patience,
    /// Between attempts to reach a guest.
    retry: Pauses,
    /// Between questions to the provider, which cost it seconds of CPU time.
    ask_again: Pauses,
}

impl Pace {
    fn every(period: Duration) -> Self {
        let secs = Duration::from_secs;
        Self {
            period,
            patience: Patience { connect: secs(4), run: secs(3), idle: secs(60).max(period * 4) },
            retry: Pauses { first: secs(5), longest: secs(40) },
            ask_again: Pauses { first: secs(20), longest: secs(320) },
        }
    }
}

/// What all probes have in common.
struct Shared {
    access: Arc<dyn GuestAccess>,
    hypervisor: Arc<dyn Hypervisor>,
    /// Asked about a guest that the hypervisor does not know, when it falls silent.
    index: Option<Arc<dyn MachineIndex>>,
    known: KnownGuests,
    /// Over all guests, one asks the provider at a time.
    one_asks: Semaphore,
    pace: Pace,
}

/// The probes of all running guests. Dropped, they end.
pub struct Probes {
    /// `None` where there are no guests to read.
    shared: Option<Arc<Shared>>,
    /// When the newest tick was over.
    ticked: watch::Sender<Option<Instant>>,
    followed: Mutex<HashMap<i64, Followed>>,
}

/// A guest that is being read.
struct Followed {
    domain_uuid: String,
    started_at: Option<UtcMillis>,
    busy: Arc<AtomicBool>,
    readings: Arc<Mutex<Option<Readings>>>,
    task: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Probes {
    /// Reads each guest it is told of every `period_secs`.
    pub fn new(
        access: Arc<dyn GuestAccess>,
        hypervisor: Arc<dyn Hypervisor>,
        index: Option<Arc<dyn MachineIndex>>,
        database: Database,
        period_secs: u32,
    ) -> Self {
        let pace = Pace::every(Duration::from_secs(period_secs.max(1).into()));
        Self::with_pace(access, hypervisor, index, database, pace)
    }

    fn with_pace(
        access: Arc<dyn GuestAccess>,
        hypervisor: Arc<dyn Hypervisor>,
        index: Option<Arc<dyn MachineIndex>>,
        database: Database,
        pace: Pace,
    ) -> Self {
        let known = KnownGuests::new(database);
        let shared = Shared { access, hypervisor, index, known, one_asks: Semaphore::new(1), pace };
        Self { shared: Some(Arc::new(shared)), ticked: watch::Sender::default(), followed: Mutex::default() }
    }

    /// Reads nobody: simulated guests have no inside.
    pub fn none() -> Self {
        Self { shared: None, ticked: watch::Sender::default(), followed: Mutex::default() }
    }

    /// Tells, after a tick, which guests run now. New ones are read from now on, those that are missing are not read any more, unless
    /// their VMs are among `unheard`: nobody says whether those run.
    pub fn watch(&self, running: Vec<RunningGuest>, unheard: &[i64]) {
        let Some(shared) = &self.shared else { return };
        self.ticked.send_replace(Some(Instant::now()));
        let mut followed = self.followed();
        followed.retain(|vm_id, one| {
            let runs = |guest: &RunningGuest| {
                guest.vm_id == *vm_id && one.is_of(&guest.domain_uuid, guest.started_at)
            };
            (unheard.contains(vm_id) || running.iter().any(runs)) && !one.task.is_finished()
        });
        for guest in running {
            match followed.get(&guest.vm_id) {
                Some(one) => one.busy.store(guest.busy, Ordering::Relaxed),
                None if guest.busy => {}
                None => {
                    followed.insert(guest.vm_id, Followed::begin(guest, shared, self.ticked.subscribe()));
                }
            }
        }
    }

    /// What the VM's guest said last, in this boot of this domain. Never waits.
    pub fn newest(&self, vm_id: i64, domain: &Domain) -> Option<Readings> {
        let followed = self.followed();
        let one = followed.get(&vm_id).filter(|one| one.is_of(&domain.uuid, domain.started_at))?;
        one.readings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<i64, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a guest that is not followed, once.
///
/// # Errors
/// Why it cannot be read, in a person's words.
pub async fn read_once(access: &dyn GuestAccess, machine: &Machine) -> Result<GuestReading, String> {
    let way = access.ssh_config(machine).await.map_err(|error| error.text)?;
    let patience = Pace::every(Duration::from_secs(5)).patience;
    let output = async {
        let connection = Connection::open(&way, None, patience).await?;
        connection.run(SCRIPT, MAX_OUTPUT_BYTES).await
    };
    let output = output.await.map_err(|error| format!("It cannot be read over ssh: {error}."))?;
    Ok(GuestReading::parse(Instant::now(), &output))
}

impl Followed {
    fn begin(guest: RunningGuest, shared: &Arc<Shared>, ticked: watch::Receiver<Option<Instant>>) -> Self {
        let busy = Arc::new(AtomicBool::new(guest.busy));
        let readings = Arc::new(Mutex::new(None));
        let (domain_uuid, started_at) = (guest.domain_uuid.clone(), guest.started_at);
        let probe = Probe::new(guest, shared.clone(), busy.clone(), readings.clone());
        Self { domain_uuid, started_at, busy, readings, task: tokio::spawn(probe.follow(ticked)) }
    }

    fn is_of(&self, domain_uuid: &str, started_at: Option<UtcMillis>) -> bool {
        self.domain_uuid == domain_uuid && self.started_at == started_at
    }
}
