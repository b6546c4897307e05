//! The simulated fleet as the collector and operations see it, without a server.

use crate::support::{
    driver,
    fleet::{Fleet, MORNING},
};
use tempfile::TempDir;
use twarga_cloud::{
    model::{OperationKind, Source, VmSpec, VmUsage},
    server::{
        monitor::derive::{Inputs, derive},
        provider::{
            Domain, DomainState, Hypervisor, HypervisorSample, Machine, MachineDriver, MachineErrorKind,
        },
        simulated::{SimulatedOptions, seeded_specs},
    },
};

/// A domain's values, from domains with the samples they are part of.
fn usage(
    before: Option<(&HypervisorSample, &Domain)>,
    (sample, domain): (&HypervisorSample, &Domain),
) -> VmUsage {
    derive(Inputs {
        previous: before.map(|(sample, domain)| (domain, sample.taken_at)),
        current: (domain, sample.taken_at),
        guest: None,
        tick_before: None,
        now: sample.sampled_at,
        interval_secs: 5,
    })
}

/// A fast fleet, and a folder for its machines.
struct Bench {
    fleet: Fleet,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut SimulatedOptions)) -> Self {
        let fleet = Fleet::with(|options| {
            options.speed = 1e6;
            change(options);
        });
        Self { fleet, folder: tempfile::tempdir().unwrap() }
    }

    fn machine(&self, name: &str) -> Machine {
        Machine {
            spec: VmSpec { image: "debian-12".into(), ram_mb: 1024, cpu_cores: 2, disk_gb: 20 },
            ..driver::machine(self.folder.path(), 1, name)
        }
    }

    async fn run(
        &self,
        operation: OperationKind,
        machine: &Machine,
    ) -> Result<Vec<String>, MachineErrorKind> {
        let (result, lines) = driver::run(&*self.fleet, operation, machine).await;
        result.map(|()| lines).map_err(|error| error.kind)
    }

    async fn state_of(&self, machine: &Machine) -> Option<DomainState> {
        let uuid = self.fleet.domain_uuid(machine)?;
        let sample = self.fleet.read().await.unwrap();
        sample.domains.iter().find(|domain| domain.uuid == uuid).map(|domain| domain.state)
    }
}

#[tokio::test]
async fn a_vm_goes_through_its_life_and_leaves_the_same_files_as_a_real_one() {
    let bench = Bench::new();
    let machine = bench.machine("web-1");
    assert_eq!(bench.fleet.domain_uuid(&machine), None);

    let lines = bench.run(OperationKind::Launch, &machine).await.unwrap();
    assert_eq!(lines.last().map(String::as_str), Some("Machine booted and ready!"));
    assert_eq!(bench.state_of(&machine).await, Some(DomainState::Running));
    let uuid = bench.fleet.domain_uuid(&machine).unwrap();
    assert_eq!((uuid.len(), bench.fleet.address(&uuid).await.unwrap().is_some()), (36, true));
    for file in ["Vagrantfile", ".vagrant/machines/default/simulated/id"] {
        assert!(machine.directory.join(file).is_file(), "{file}");
    }

    bench.run(OperationKind::Launch, &machine).await.unwrap();
    bench.run(OperationKind::Stop, &machine).await.unwrap();
    assert_eq!(bench.state_of(&machine).await, Some(DomainState::Stopped));
    assert_eq!(bench.fleet.address(&uuid).await, Ok(None));
    bench.run(OperationKind::Start, &machine).await.unwrap();
    assert_eq!(bench.state_of(&machine).await, Some(DomainState::Running));

    bench.run(OperationKind::Destroy, &machine).await.unwrap();
    bench.run(OperationKind::Destroy, &machine).await.unwrap();
    assert_eq!((bench.fleet.domain_uuid(&machine), bench.state_of(&machine).await), (None, None));
}

#[tokio::test]
async fn five_seconds_of_a_vm_are_believable_and_marked() {
    let bench = Bench::new();
    let machine = bench.machine("web-1");
    bench.run(OperationKind::Launch, &machine).await.unwrap();
    let uuid = bench.fleet.domain_uuid(&machine).unwrap();
    bench.fleet.enable_memory_statistics(&uuid, 5).await.unwrap();
    bench.fleet.clock.advance(5);
    let before = bench.fleet.read().await.unwrap();
    bench.fleet.clock.advance(5);
    let after = bench.fleet.read().await.unwrap();
    let usage = usage(Some((&before, &before.domains[0])), (&after, &after.domains[0]));
    assert!((0.1..99.0).contains(&usage.cpu_percent.unwrap()), "{usage:?}");
    assert!((3.0..96.0).contains(&usage.memory_percent.unwrap()), "{usage:?}");
    assert!((5.0..95.0).contains(&usage.disk_percent.unwrap()), "{usage:?}");
    assert!((0.0..10.0).contains(&usage.network_tx_mb_per_s.unwrap()), "{usage:?}");
    assert_eq!((usage.uptime_seconds, usage.sources.cpu), (Some(10), Source::Simulated));
}

#[tokio::test]
async fn without_a_statistics_interval_memory_goes_stale() {
    let bench = Bench::new();
    let machine = bench.machine("web-1");
    bench.run(OperationKind::Launch, &machine).await.unwrap();
    bench.fleet.clock.advance(60);
    let sample = bench.fleet.read().await.unwrap();
    let usage = usage(None, (&sample, &sample.domains[0]));
    assert_eq!((usage.memory_percent, usage.sources.memory), (None, Source::Stale));
}

#[tokio::test]
async fn two_hundred_vms_have_counters_that_only_grow_through_a_day() {
    let bench = Bench::new();
    for (index, (name, spec)) in seeded_specs(200).into_iter().enumerate() {
        let machine = Machine { name: name.clone(), spec, ..bench.machine(name.as_str()) };
        let weeks = i64::try_from(index % 4).unwrap();
        bench.fleet.adopt(&machine, Some(MORNING.plus_secs(-weeks * 7 * 86_400)));
    }
    let mut before = bench.fleet.read().await.unwrap();
    let mut gaps = 0;
    for _ in 0..24 * 6 {
        bench.fleet.clock.advance(605);
        let after = bench.fleet.read().await.unwrap();
        assert_eq!(after.domains.len(), 200);
        for (earlier, later) in before.domains.iter().zip(&after.domains) {
            let usage = usage(Some((&before, earlier)), (&after, later));
            gaps += usize::from(usage.cpu_percent.is_none());
            for (number, time) in &earlier.counters.vcpu_time_ns {
                assert!(
                    later.counters.vcpu_time_ns.get(number).is_none_or(|now| now > time),
                    "{}",
                    later.name
                );
            }
            for (device, traffic) in &earlier.counters.interfaces {
                let now = later.counters.interfaces.get(device);
                assert!(now.is_none_or(|now| now.rx_bytes >= traffic.rx_bytes && now.tx_bytes >= traffic.tx_bytes));
            }
            assert!(later.counters.disks["vda"].image_bytes >= earlier.counters.disks["vda"].image_bytes);
        }
        before = after;
    }
    assert!(gaps > 0 && gaps < 200 * 24 * 6 / 50, "{gaps}");
}

#[tokio::test]
async fn the_same_clock_gives_the_same_values() {
    let mut samples = Vec::new();
    for _ in 0..2 {
        let bench = Bench::new();
        bench.fleet.adopt(&bench.machine("build-runner"), Some(MORNING.plus_secs(-100_000)));
        bench.fleet.clock.advance(3600);
        samples.push(bench.fleet.read().await.unwrap().domains);
    }
    assert_eq!(samples[0], samples[1]);
}

#[tokio::test]
async fn a_vm_of_an_earlier_run_is_found_again_with_its_uptime() {
    let bench = Bench::new();
    let machine = bench.machine("web-1");
    let since = MORNING.plus_secs(-3 * 86_400);
    bench.fleet.adopt(&machine, Some(since));
    bench.fleet.adopt(&machine, None);
    let domain = bench.fleet.read().await.unwrap().domains.remove(0);
    assert_eq!((domain.state, domain.started_at), (DomainState::Running, Some(since)));
    assert!(domain.counters.vcpu_time_ns[&0] > 60_000_000_000, "{domain:?}");
    assert_eq!(bench.fleet.domain_uuid(&machine), Some(domain.uuid));
}

#[tokio::test]
async fn what_is_ordered_to_fail_fails_once() {
    let bench = Bench::new();
    let machine = bench.machine("web-1");
    bench.fleet.fail_next(OperationKind::Launch, MachineErrorKind::BootTimeout);
    assert_eq!(bench.run(OperationKind::Launch, &machine).await, Err(MachineErrorKind::BootTimeout));
    assert_eq!(bench.state_of(&machine).await, None);
    assert!(bench.run(OperationKind::Launch, &machine).await.is_ok());
    bench.fleet.fail_next(OperationKind::Stop, MachineErrorKind::TimedOut);
    assert_eq!(bench.run(OperationKind::Stop, &machine).await, Err(MachineErrorKind::TimedOut));
    assert_eq!(bench.state_of(&machine).await, Some(DomainState::Running));
}

#[tokio::test]
async fn a_failed_provisioner_leaves_the_vm_running() {
    let bench = Bench::new();
    let machine = bench.machine("web-1");
    bench.fleet.fail_next(OperationKind::Launch, MachineErrorKind::ProvisionerFailed);
    assert_eq!(bench.run(OperationKind::Launch, &machine).await, Err(MachineErrorKind::ProvisionerFailed));
    assert_eq!(bench.state_of(&machine).await, Some(DomainState::Running));
}

#[tokio::test]
async fn operations_fail_as_often_as_configured() {
    let bench = Bench::with(|options| options.failure_rate = 0.5);
    let machine = bench.machine("web-1");
    let mut failed = 0;
    for _ in 0..100 {
        failed += u32::from(bench.run(OperationKind::Start, &machine).await.is_err());
    }
    assert!((25..75).contains(&failed), "{failed}");
}

#[tokio::test]
async fn things_happen_behind_the_servers_back() {
    let bench = Bench::new();
    let machine = bench.machine("web-1");
    bench.run(OperationKind::Launch, &machine).await.unwrap();
    let uuid = bench.fleet.domain_uuid(&machine).unwrap();

    assert!(bench.fleet.kill_from_outside(&uuid));
    assert_eq!(bench.state_of(&machine).await, Some(DomainState::Crashed));
    assert!(!bench.fleet.kill_from_outside(&uuid));
    assert!(bench.fleet.start_from_outside(&uuid));
    assert!(bench.fleet.stop_from_outside(&uuid));
    assert_eq!(bench.state_of(&machine).await, Some(DomainState::Stopped));

    assert!(bench.fleet.undefine_from_outside(&uuid));
    assert_eq!(bench.state_of(&machine).await, None);
    assert_eq!(bench.run(OperationKind::Start, &machine).await, Err(MachineErrorKind::DiskExists));
    assert!(bench.run(OperationKind::Destroy, &machine).await.is_ok());
    assert!(bench.run(OperationKind::Launch, &machine).await.is_ok());
}

#[tokio::test]
async fn an_unreachable_hypervisor_reports_nothing_and_does_nothing() {
    let bench = Bench::new();
    let machine = bench.machine("web-1");
    bench.run(OperationKind::Launch, &machine).await.unwrap();
    bench.fleet.set_unreachable(true);
    assert!(bench.fleet.read().await.is_err());
    assert_eq!(bench.run(OperationKind::Stop, &machine).await, Err(MachineErrorKind::HypervisorUnreachable));
    bench.fleet.set_unreachable(false);
    assert_eq!(bench.state_of(&machine).await, Some(DomainState::Running));
}

#[tokio::test(start_paused = true)]
async fn operations_take_a_believable_time() {
    let bench = Bench::with(|options| options.speed = 1.0);
    let machine = bench.machine("web-1");
    for (operation, secs) in [
        (OperationKind::Launch, 8..=20),
        (OperationKind::Stop, 3..=6),
        (OperationKind::Start, 5..=10),
        (OperationKind::Destroy, 2..=4),
    ] {
        let started = tokio::time::Instant::now();
        bench.run(operation, &machine).await.unwrap();
        assert!(secs.contains(&started.elapsed().as_secs()), "{operation:?} {:?}", started.elapsed());
    }
}
