//! A fleet of VMs that exist in memory only: for trying the cloud out, for tests and for benchmarks.
//!
//! It fakes both sides of a provider. Operations take a realistic time, print Vagrant's messages and use the same
//! folders; counters follow a daily curve that is a pure function of the seed and the injected clock, so
//! the same clock gives the same values. All values are marked `Simulated`. Things can be made to fail.

mod guest;
mod load;
mod specs;

pub use super::provider::Moment;
pub use specs::seeded_specs;

use super::{
    provider::{
        Hypervisor, HypervisorSample, Machine, MachineCommand, MachineDriver, MachineError, MachineErrorKind,
        OwnedDomain, ReadError,
    },
    vagrant::{DEFAULT_LIBVIRT_URI, Driver, ErrorContext, domain_name, message, prepare_directory, render},
};
use crate::model::{OperationKind, Snapshot, UtcMillis};
use async_trait::async_trait;
use guest::{Guest, Power};
use load::{hash, unit};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc::UnboundedSender, time::sleep};

/// Returns the current time.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// The clocks of this machine.
pub fn system_clock() -> Clock {
    Arc::new(Moment::now)
}

#[derive(Clone)]
pub struct SimulatedOptions {
    pub seed: u64,
    /// How many times faster than believable operations are.
    pub speed: f64,
    /// How many of all operations fail by themselves, 0 to 1.
    pub failure_rate: f64,
    /// How many of all operations hang until their time limit, 0 to 1.
    pub timeout_rate: f64,
    pub clock: Clock,
}

impl Default for SimulatedOptions {
    fn default() -> Self {
        Self { seed: 20_261_123, speed: 1.0, failure_rate: 0.0, timeout_rate: 0.0, clock: system_clock() }
    }
}

/// The fleet. Shared by reference; each call locks it for microseconds.
pub struct SimulatedFleet {
    options: SimulatedOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By UUID.
    guests: BTreeMap<String, Guest>,
    unreachable: bool,
    to_fail: Vec<(OperationKind, MachineErrorKind)>,
    /// How many operations were begun; seeds their durations.
    begun: i64,
}

/// What an operation will do, decided when it begins.
struct Plan {
    lines: Vec<String>,
    takes: Duration,
    fails: Option<MachineErrorKind>,
}

impl SimulatedFleet {
    pub fn new(options: SimulatedOptions) -> Self {
        Self { options, state: Mutex::default() }
    }

    /// Takes in a VM that exists already, such as one that an earlier run of the server launched; it runs since
    /// `running_since`, or is off. One that is known already stays as it is.
    pub fn adopt(&self, machine: &Machine, running_since: Option<UtcMillis>) {
        let now = self.utc_now();
        let uuid = uuid_of(&machine.directory);
        let mut state = self.state();
        state.guests.entry(uuid.clone()).or_insert_with(|| {
            let since = running_since.map(|since| since.min(now));
            let mut guest = self.new_guest(uuid, machine, since.unwrap_or(now));
            if let Some(since) = since {
                guest.boot_in_the_past(since, now);
            }
            guest
        });
    }

    /// Lets the next operation of this kind fail.
    pub fn fail_next(&self, operation: OperationKind, kind: MachineErrorKind) {
        self.state().to_fail.push((operation, kind));
    }

    /// From now on the hypervisor does not answer, or does again.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.state().unreachable = unreachable;
    }

    /// Lets a VM's process die. `false` when no such VM runs.
    pub fn kill_from_outside(&self, uuid: &str) -> bool {
        self.change_running(uuid, Power::Crashed)
    }

    /// Shuts a VM down behind the server's back. `false` when no such VM runs.
    pub fn stop_from_outside(&self, uuid: &str) -> bool {
        self.change_running(uuid, Power::Off)
    }

    /// From now on a VM uses this share (0 to 1) of its processors; `None` gives it its own days back. `false` when
    /// there is no such VM.
    pub fn keep_busy(&self, uuid: &str, share: Option<f64>) -> bool {
        match self.state().guests.get_mut(uuid) {
            Some(guest) => {
                guest.kept_busy = share.map(|share| share.clamp(0.0, 1.0));
                true
            }
            None => false,
        }
    }

    /// Starts a VM behind the server's back. `false` when there is none or it runs.
    pub fn start_from_outside(&self, uuid: &str) -> bool {
        let now = self.utc_now();
        match self.state().guests.get_mut(uuid).filter(|guest| guest.defined && !guest.runs()) {
            Some(guest) => {
                guest.boot(now);
                true
            }
            None => false,
        }
    }

    /// Undefines the domain of a VM; its disk stays. `false` if there is no such VM.
    pub fn undefine_from_outside(&self, uuid: &str) -> bool {
        match self.state().guests.get_mut(uuid).filter(|guest| guest.defined) {
            Some(guest) => {
                guest.defined = false;
                guest.power = Power::Off;
                true
            }
            None => false,
        }
    }

    fn change_running(&self, uuid: &str, power: Power) -> bool {
        match self.state().guests.get_mut(uuid).filter(|guest| guest.runs()) {
            Some(guest) => {
                guest.power = power;
                true
            }
            None => false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What it holds is whole after every statement; a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn utc_now(&self) -> UtcMillis {
        (self.options.clock)().utc
    }

    fn new_guest(&self, uuid: String, machine: &Machine, created_at: UtcMillis) -> Guest {
        Guest::new(self.options.seed, uuid, domain_name(machine), machine, created_at)
    }

    /// What `operation` will do, by how things are now.
    fn plan(&self, operation: OperationKind, machine: &Machine) -> Plan {
        let mut state = self.state();
        state.begun += 1;
        let begun = state.begun;
        let guest = state.guests.get(&uuid_of(&machine.directory));
        let forgotten = guest.is_some_and(|guest| !guest.defined);
        let exists = guest.is_some_and(|guest| guest.defined);
        let runs = guest.is_some_and(Guest::runs);
        let (lines, secs): (&[&str], _) = match operation {
            OperationKind::Restart if exists => (&RESTART, 8.0..16.0),
            OperationKind::Suspend | OperationKind::Resume => (&SUSPEND, 1.0..3.0),
            OperationKind::SnapshotSave | OperationKind::SnapshotRestore | OperationKind::SnapshotDelete => {
                (&SNAPSHOT, 2.0..5.0)
            }
            OperationKind::ForceStop if runs => (&FORCE_STOP, 0.5..1.0),
            OperationKind::Launch | OperationKind::Start if runs => (&ALREADY_UP, 0.5..1.0),
            OperationKind::Launch | OperationKind::Start if exists => (&START, 5.0..10.0),
            OperationKind::Launch | OperationKind::Start | OperationKind::Restart => (&CREATE, 8.0..20.0),
            OperationKind::Stop if runs => (&STOP, 3.0..6.0),
            OperationKind::Destroy if exists || forgotten => (&DESTROY, 2.0..4.0),
            OperationKind::Stop
            | OperationKind::ForceStop
            | OperationKind::Destroy
            | OperationKind::Resize => (&NOT_CREATED, 0.5..1.0),
        };
        let ordered = state.to_fail.iter().position(|(kind, _)| *kind == operation);
        let fails = if state.unreachable {
            Some(MachineErrorKind::HypervisorUnreachable)
        } else if forgotten && operation.starts_vm() {
            Some(MachineErrorKind::DiskExists)
        } else if let Some(at) = ordered {
            Some(state.to_fail.remove(at).1)
        } else {
            let (draw, fail) = (unit(hash(self.options.seed, 100, begun)), self.options.failure_rate);
            if draw < fail {
                Some(likely_failure(operation, hash(self.options.seed, 101, begun)))
            } else {
                (draw < fail + self.options.timeout_rate).then_some(MachineErrorKind::TimedOut)
            }
        };
        let believable = secs.start + (secs.end - secs.start) * unit(hash(self.options.seed, 102, begun));
        // What hangs does so until its time is over.
        let takes = if fails == Some(MachineErrorKind::TimedOut) { 4.0 * secs.end } else { believable };
        let lines = lines.iter().map(|line| line.replace("{name}", &domain_name(machine))).collect();
        Plan { lines, takes: Duration::from_secs_f64(takes / self.options.speed.max(1e-3)), fails }
    }

    /// What an operation leaves behind: in the folder and in memory.
    async fn finish(&self, command: &MachineCommand, machine: &Machine) -> io::Result<()> {
        let uuid = uuid_of(&machine.directory);
        let now = self.utc_now();
        match command.kind {
            OperationKind::Launch | OperationKind::Start | OperationKind::Restart => {
                write_marker(machine, &uuid).await?;
                let mut state = self.state();
                let guest =
                    state.guests.entry(uuid.clone()).or_insert_with(|| self.new_guest(uuid, machine, now));
                guest.set_suspended(false, now);
                if !guest.runs() || command.kind == OperationKind::Restart {
                    guest.spec = machine.spec.clone();
                    guest.boot(now);
                }
            }
            OperationKind::Stop | OperationKind::ForceStop => {
                if let Some(guest) = self.state().guests.get_mut(&uuid) {
                    guest.power = Power::Off;
                }
            }
            OperationKind::Suspend | OperationKind::Resume => {
                if let Some(guest) = self.state().guests.get_mut(&uuid) {
                    guest.set_suspended(command.kind == OperationKind::Suspend, now);
                }
            }
            OperationKind::SnapshotSave | OperationKind::SnapshotRestore | OperationKind::SnapshotDelete => {
                let name = command.snapshot.as_ref().map_or("", |name| name.as_str());
                if let Some(guest) = self.state().guests.get_mut(&uuid) {
                    use_snapshot(guest, command.kind, name, now);
                }
            }
            OperationKind::Resize => {}
            OperationKind::Destroy => {
                match tokio::fs::remove_file(marker(machine)).await {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                self.state().guests.remove(&uuid);
            }
        }
        Ok(())
    }
}

const ALREADY_UP: [&str; 2] = [
    "Bringing machine 'default' up with 'simulated' provider...",
    "Machine already provisioned. Run `vagrant provision` or use the `--provision` flag to force provisioning.",
];
const CREATE: [&str; 8] = [
    "Bringing machine 'default' up with 'simulated' provider...",
    "Creating image (snapshot of base box volume).",
    "Creating domain with the following settings...",
    "-- Name:              {name}",
    "Starting domain.",
    "Waiting for domain to get an IP address...",
    "Waiting for machine to boot. This may take a few minutes...",
    "Machine booted and ready!",
];
const START: [&str; 5] = [
    "Bringing machine 'default' up with 'simulated' provider...",
    "Starting domain.",
    "Waiting for domain to get an IP address...",
    "Waiting for machine to boot. This may take a few minutes...",
    "Machine booted and ready!",
];
const RESTART: [&str; 4] = [
    "Attempting graceful shutdown of VM...",
    "Starting domain.",
    "Waiting for machine to boot. This may take a few minutes...",
    "Machine booted and ready!",
];
const SUSPEND: [&str; 1] = ["Suspending or resuming domain..."];
const SNAPSHOT: [&str; 1] = ["Working on the snapshot..."];
const FORCE_STOP: [&str; 1] = ["Forcing shutdown of VM..."];
const STOP: [&str; 1] = ["Attempting graceful shutdown of VM..."];
const DESTROY: [&str; 2] = ["Removing domain...", "Deleting the machine folder"];
const NOT_CREATED: [&str; 1] = ["Domain is not running. Nothing to do."];

fn use_snapshot(guest: &mut Guest, kind: OperationKind, name: &str, now: UtcMillis) {
    let there = guest.snapshots.iter().position(|(snapshot, _)| snapshot.name == name);
    match (kind, there) {
        (OperationKind::SnapshotSave, None) => {
            let snapshot = Snapshot { name: name.to_owned(), saved_at: Some(now) };
            guest.snapshots.push((snapshot, guest.runs()));
        }
        (OperationKind::SnapshotRestore, Some(at)) => {
            guest.power = Power::Off;
            if guest.snapshots[at].1 {
                guest.boot(now);
            }
        }
        (OperationKind::SnapshotDelete, Some(at)) => {
            guest.snapshots.remove(at);
        }
        _ => {}
    }
}

/// Something that does happen to such an operation.
fn likely_failure(operation: OperationKind, draw: u64) -> MachineErrorKind {
    let kinds: &[MachineErrorKind] = match operation {
        OperationKind::Launch => {
            &[MachineErrorKind::BootTimeout, MachineErrorKind::BoxMissing, MachineErrorKind::DiskFull]
        }
        OperationKind::Start | OperationKind::Restart => {
            &[MachineErrorKind::BootTimeout, MachineErrorKind::Other]
        }
        OperationKind::Destroy => &[MachineErrorKind::Busy],
        _ => &[MachineErrorKind::Other],
    };
    kinds[(draw % kinds.len() as u64) as usize]
}

#[async_trait]
impl MachineDriver for SimulatedFleet {
    async fn run(
        &self,
        command: &MachineCommand,
        machine: &Machine,
        lines: &UnboundedSender<String>,
    ) -> Result<(), MachineError> {
        let plan = self.plan(command.kind, machine);
        let failed = |kind: MachineErrorKind, detail: String| {
            let context = ErrorContext {
                directory: &machine.directory,
                vagrant_box: &machine.vagrant_box,
                domain_name: &domain_name(machine),
                libvirt_uri: "simulated:///fleet",
            };
            MachineError { kind, text: message(kind, context), detail }
        };
        let unwritable = |error: io::Error| failed(MachineErrorKind::Other, error.to_string());
        if command.kind.starts_vm() {
            prepare_directory(machine, &self.vagrantfile(machine)).await.map_err(unwritable)?;
        }
        let said = if plan.fails.is_some() { plan.lines.len().div_ceil(2) } else { plan.lines.len() };
        let pause = plan.takes / u32::try_from(plan.lines.len()).unwrap_or(1).max(1);
        for line in plan.lines.into_iter().take(said) {
            // Nobody listening is no reason to stop.
            let _ = lines.send(line);
            tokio::select! {
                () = sleep(pause) => {}
                () = command.cancel.cancelled() => {
                    return Err(failed(MachineErrorKind::Cancelled, "simulated cancellation".into()));
                }
            }
        }
        match plan.fails {
            // Vagrant leaves such a VM running.
            Some(kind @ MachineErrorKind::ProvisionerFailed) => {
                self.finish(command, machine).await.map_err(unwritable)?;
                Err(failed(kind, "simulated failure".into()))
            }
            Some(kind) => Err(failed(kind, "simulated failure".into())),
            None => self.finish(command, machine).await.map_err(unwritable),
        }
    }

    async fn snapshots(&self, machine: &Machine) -> Result<Vec<Snapshot>, ReadError> {
        let state = self.reachable()?;
        let guest = state.guests.get(&uuid_of(&machine.directory));
        Ok(guest
            .map(|guest| guest.snapshots.iter().map(|(snapshot, _)| snapshot.clone()).collect())
            .unwrap_or_default())
    }

    async fn owned_domains(&self, folders: &Path) -> Result<Vec<OwnedDomain>, ReadError> {
        let state = self.reachable()?;
        let owned =
            state.guests.values().filter(|guest| guest.defined && guest.directory.parent() == Some(folders));
        Ok(owned
            .map(|guest| OwnedDomain {
                uuid: guest.uuid().to_owned(),
                name: guest.name().to_owned(),
                directory: guest.directory.clone(),
            })
            .collect())
    }

    async fn remove_domain(&self, domain: &OwnedDomain) -> Result<(), ReadError> {
        self.reachable()?.guests.remove(&domain.uuid);
        Ok(())
    }

    fn vagrantfile(&self, machine: &Machine) -> String {
        render(machine, Driver::default(), DEFAULT_LIBVIRT_URI)
    }

    fn domain_uuid(&self, machine: &Machine) -> Option<String> {
        let uuid = uuid_of(&machine.directory);
        if self.state().guests.contains_key(&uuid) {
            return Some(uuid);
        }
        let written = std::fs::read_to_string(marker(machine)).ok()?;
        (written.trim() == uuid).then_some(uuid)
    }
}

#[async_trait]
impl Hypervisor for SimulatedFleet {
    fn now(&self) -> Moment {
        (self.options.clock)()
    }

    async fn read(&self) -> Result<HypervisorSample, ReadError> {
        let now = self.now();
        let mut state = self.reachable()?;
        let domains = state
            .guests
            .values_mut()
            .filter(|guest| guest.defined)
            .map(|guest| guest.domain(now.utc))
            .collect();
        Ok(HypervisorSample { taken_at: now.monotonic, sampled_at: now.utc, domains })
    }

    async fn enable_memory_statistics(&self, uuid: &str, interval_secs: u32) -> Result<(), ReadError> {
        let mut state = self.reachable()?;
        let Some(guest) = state.guests.get_mut(uuid).filter(|guest| guest.runs()) else {
            return Err(ReadError {
                text: "The VM does not run.".into(),
                detail: format!("no running simulated domain {uuid}"),
            });
        };
        guest.statistics_interval_secs = Some(interval_secs);
        Ok(())
    }

    async fn address(&self, uuid: &str) -> Result<Option<String>, ReadError> {
        let state = self.reachable()?;
        Ok(state.guests.get(uuid).filter(|guest| guest.runs()).map(Guest::address))
    }
}

impl SimulatedFleet {
    fn reachable(&self) -> Result<MutexGuard<'_, State>, ReadError> {
        let state = self.state();
        if state.unreachable {
            return Err(ReadError {
                text: "The simulated hypervisor does not answer. It was made unreachable.".into(),
                detail: "simulated failure".into(),
            });
        }
        Ok(state)
    }
}

fn marker(machine: &Machine) -> PathBuf {
    machine.directory.join(".vagrant/machines/default/simulated/id")
}

async fn write_marker(machine: &Machine, uuid: &str) -> io::Result<()> {
    let marker = marker(machine);
    if let Some(folder) = marker.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    tokio::fs::write(marker, uuid).await
}

/// The same for the same folder name, wherever and whenever.
fn uuid_of(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let seed = name.bytes().fold(name.len() as u64, |seed, byte| hash(seed, 1, i64::from(byte)));
    let (high, low) = (hash(seed, 2, 0), hash(seed, 3, 0));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}
