//! Samples what only the guest itself knows: root file system, memory, boot time.
//!
//! One task per running guest, each with one persistent ssh connection. Nothing waits for a guest: a task stores its
//! latest sample and the collector picks it up. A guest that hangs or is gone affects only its own values. A sample
//! from one boot of a VM's domain is never used in another.

mod backoff;
mod credentials;
#[cfg(test)]
mod fake_sshd;
mod link;
mod probe;
pub mod sample;
mod shell;
mod ssh;
#[cfg(test)]
mod tests;

use super::{
    database::Database,
    provider::{Domain, GuestAccess, Hypervisor, Machine, MachineErrorKind, MachineIndex},
};
use crate::model::UtcMillis;
use backoff::Backoff;
use credentials::GuestCredentials;
use probe::Probe;
pub use sample::GuestSample;
use sample::{END_OF_OUTPUT, MAX_OUTPUT_BYTES, login_command};
pub use shell::GuestShells;
use ssh::{Connection, SshError, SshLimits};
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

/// A guest whose VM runs, or did when its state was last known.
#[derive(Debug, Clone)]
pub struct RunningGuest {
    pub vm_id: i64,
    pub machine: Machine,
    pub domain_uuid: String,
    /// Identifies the boot of the domain.
    pub started_at: Option<UtcMillis>,
    /// An operation is under way, or the hypervisor does not say how the VM is: what is read already is read on,
    /// nothing new is begun.
    pub busy: bool,
}

/// A guest's latest sample and the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestSamples {
    pub newest: Arc<GuestSample>,
    pub before: Option<Arc<GuestSample>>,
}

/// The interval of probes, with limits and backoff.
#[derive(Debug, Clone, Copy)]
struct ProbeInterval {
    interval: Duration,
    ssh: SshLimits,
    /// Backoff between attempts to reach a guest.
    retry: Backoff,
    /// Backoff between queries to the provider, which take seconds of CPU time.
    ssh_config_backoff: Backoff,
}

impl ProbeInterval {
    fn every(interval: Duration) -> Self {
        let secs = Duration::from_secs;
        Self {
            interval,
            ssh: SshLimits {
                connect: secs(4),
                run: secs(3),
                idle: secs(60).max(interval * 4),
                keepalive: None,
                // Enough for a few samples: the window stops a guest that prints forever.
                window_bytes: 4 * MAX_OUTPUT_BYTES as u32,
            },
            retry: Backoff { first: secs(5), longest: secs(40) },
            ssh_config_backoff: Backoff { first: secs(20), longest: secs(320) },
        }
    }
}

/// Shared by all probes.
struct Shared {
    access: Arc<dyn GuestAccess>,
    hypervisor: Arc<dyn Hypervisor>,
    /// Queried about a guest unknown to the hypervisor, when it stops responding.
    index: Option<Arc<dyn MachineIndex>>,
    known: GuestCredentials,
    /// Only one guest at a time queries the provider.
    ssh_config_lock: Semaphore,
    interval: ProbeInterval,
}

/// The probes of all running guests; dropping it ends them.
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
    samples: Arc<Mutex<Option<GuestSamples>>>,
    task: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Probes {
    /// Samples each given guest every `interval_secs`.
    pub fn new(
        access: Arc<dyn GuestAccess>,
        hypervisor: Arc<dyn Hypervisor>,
        index: Option<Arc<dyn MachineIndex>>,
        database: Database,
        interval_secs: u32,
    ) -> Self {
        let interval = ProbeInterval::every(Duration::from_secs(interval_secs.max(1).into()));
        Self::with_interval(access, hypervisor, index, database, interval)
    }

    fn with_interval(
        access: Arc<dyn GuestAccess>,
        hypervisor: Arc<dyn Hypervisor>,
        index: Option<Arc<dyn MachineIndex>>,
        database: Database,
        interval: ProbeInterval,
    ) -> Self {
        let known = GuestCredentials::new(database);
        let shared =
            Shared { access, hypervisor, index, known, ssh_config_lock: Semaphore::new(1), interval };
        Self { shared: Some(Arc::new(shared)), ticked: watch::Sender::default(), followed: Mutex::default() }
    }

    /// No probes: simulated guests cannot be reached.
    pub fn none() -> Self {
        Self { shared: None, ticked: watch::Sender::default(), followed: Mutex::default() }
    }

    /// Sets the running guests, after a tick. New ones are probed from now on. Probes of missing ones end, unless their
    /// VMs are among `unresponsive`: whether those run is unknown.
    pub fn watch(&self, running: Vec<RunningGuest>, unresponsive: &[i64]) {
        let Some(shared) = &self.shared else { return };
        self.ticked.send_replace(Some(Instant::now()));
        let mut followed = self.followed();
        followed.retain(|vm_id, one| {
            let runs = |guest: &RunningGuest| {
                guest.vm_id == *vm_id && one.is_of(&guest.domain_uuid, guest.started_at)
            };
            (unresponsive.contains(vm_id) || running.iter().any(runs)) && !one.task.is_finished()
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
    pub fn newest(&self, vm_id: i64, domain: &Domain) -> Option<GuestSamples> {
        let followed = self.followed();
        let one = followed.get(&vm_id).filter(|one| one.is_of(&domain.uuid, domain.started_at))?;
        one.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<i64, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a guest cannot be read, as a message for users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadOnceError {
    /// Trying again does not help.
    Unsupported(String),
    Failed(String),
}

/// Reads a guest that is not followed, once.
///
/// # Errors
/// Why it cannot be read.
pub async fn read_once(access: &dyn GuestAccess, machine: &Machine) -> Result<GuestSample, ReadOnceError> {
    let way = access.ssh_config(machine).await.map_err(|error| match error.kind {
        MachineErrorKind::Unsupported => ReadOnceError::Unsupported(error.text),
        _ => ReadOnceError::Failed(error.text),
    })?;
    let limits = ProbeInterval::every(Duration::from_secs(5)).ssh;
    let output = async {
        let connection = Connection::open(&way, None, limits).await?;
        connection.run(&login_command(), END_OF_OUTPUT, MAX_OUTPUT_BYTES).await
    };
    let output = output.await.map_err(|error| match error {
        SshError::Outdated(_) => {
            ReadOnceError::Unsupported(format!("It cannot be read over ssh: {error}. Update that server."))
        }
        error => ReadOnceError::Failed(format!("It cannot be read over ssh: {error}.")),
    })?;
    Ok(GuestSample::parse(Instant::now(), &output))
}

impl Followed {
    fn begin(guest: RunningGuest, shared: &Arc<Shared>, ticked: watch::Receiver<Option<Instant>>) -> Self {
        let busy = Arc::new(AtomicBool::new(guest.busy));
        let samples = Arc::new(Mutex::new(None));
        let (domain_uuid, started_at) = (guest.domain_uuid.clone(), guest.started_at);
        let probe = Probe::new(guest, shared.clone(), busy.clone(), samples.clone());
        Self { domain_uuid, started_at, busy, samples, task: tokio::spawn(probe.follow(ticked)) }
    }

    fn is_of(&self, domain_uuid: &str, started_at: Option<UtcMillis>) -> bool {
        self.domain_uuid == domain_uuid && self.started_at == started_at
    }
}
