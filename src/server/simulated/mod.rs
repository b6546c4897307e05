//! A fleet of VMs that exist in memory only: for trying the cloud out, for tests and for benchmarks.
//!
//! It fakes both sides of a provider. Operations take a realistic time, print Vagrant's messages and use the same
//! folders; counters follow a daily curve that is a pure function of the seed and the injected clock, so
//! the same clock gives the same values. All values are marked `Simulated`. Things can be made to fail.

mod driver;
mod guest;
mod link;
mod load;
mod plan;
mod shell;
mod specs;

pub use super::provider::Moment;
pub use specs::seeded_specs;

use super::{
    clock::Clock,
    provider::{Hypervisor, HypervisorSample, Machine, MachineErrorKind, ReadError},
    vagrant::domain_name,
};
use crate::model::{OperationKind, UtcMillis};
use async_trait::async_trait;
use guest::{Guest, Power};
use load::hash;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

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
        Self { seed: 20_261_123, speed: 1.0, failure_rate: 0.0, timeout_rate: 0.0, clock: Clock::default() }
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
    /// When the simulated host restarted, if it did.
    host_started_at: Option<UtcMillis>,
    to_fail: Vec<(OperationKind, MachineErrorKind)>,
    /// How many operations were begun; seeds their durations.
    begun: i64,
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

    /// Restarts the host: no VM runs any more.
    pub fn restart_host(&self) {
        let now = self.utc_now();
        let mut state = self.state();
        state.host_started_at = Some(now);
        state.guests.values_mut().filter(|guest| guest.runs()).for_each(|guest| guest.power = Power::Off);
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
        self.options.clock.now().utc
    }

    fn new_guest(&self, uuid: String, machine: &Machine, created_at: UtcMillis) -> Guest {
        Guest::new(self.options.seed, uuid, domain_name(machine), machine, created_at)
    }

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

#[async_trait]
impl Hypervisor for SimulatedFleet {
    fn now(&self) -> Moment {
        self.options.clock.now()
    }

    fn host_started_at(&self) -> Option<UtcMillis> {
        self.state().host_started_at
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
