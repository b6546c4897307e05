//! What a simulated operation will do: the lines it prints, how long it takes, and whether it fails.

use super::{
    SimulatedFleet,
    guest::Guest,
    load::{hash, unit},
    uuid_of,
};
use crate::{
    model::OperationKind,
    server::{
        provider::{Machine, MachineErrorKind},
        vagrant::domain_name,
    },
};
use std::time::Duration;

/// What an operation will do, decided when it begins.
pub struct Plan {
    pub lines: Vec<String>,
    pub takes: Duration,
    pub fails: Option<MachineErrorKind>,
}

impl SimulatedFleet {
    /// What `operation` will do, by how things are now.
    pub(super) fn plan(&self, operation: OperationKind, machine: &Machine) -> Plan {
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
            | OperationKind::Resize
            | OperationKind::Import => (&NOT_CREATED, 0.5..1.0),
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
