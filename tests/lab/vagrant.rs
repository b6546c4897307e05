//! The drivers for Vagrant and libvirt, without a server.

use crate::{
    libvirt::{Sweep, virsh},
    support::driver,
};
use std::{
    cell::RefCell,
    fs,
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::time::sleep;
use twarga_cloud::{
    model::{OperationKind, UtcMillis},
    server::{
        libvirt::Libvirt,
        monitor::derive::{Inputs, derive},
        provider::{
            Domain, DomainState, Hypervisor, HypervisorSample, Machine, MachineDriver, MachineError,
            MachineErrorKind,
        },
        vagrant::{
            DEFAULT_LIBVIRT_URI, Driver, TimeLimits, Vagrant, VagrantOptions, domain_name, prepare_directory,
        },
    },
};

const OWNER_ID: i64 = 7;

struct Lab {
    vagrant: Vagrant,
    libvirt: Libvirt,
    folder: TempDir,
    sweeps: RefCell<Vec<Sweep>>,
}

impl Lab {
    fn new() -> Self {
        Self::with(TimeLimits::default())
    }

    fn with(time_limits: TimeLimits) -> Self {
        let driver = match std::env::var("TWARGA_LIBVIRT_DRIVER").as_deref() {
            Ok("kvm") => Driver::Kvm,
            _ => Driver::Qemu,
        };
        Self {
            vagrant: Vagrant::new(VagrantOptions { driver, time_limits, ..VagrantOptions::default() }),
            libvirt: Libvirt::new(DEFAULT_LIBVIRT_URI),
            folder: tempfile::tempdir().unwrap(),
            sweeps: RefCell::default(),
        }
    }

    fn machine(&self, name: &str) -> Machine {
        self.sweeps.borrow_mut().push(Sweep::of_owner(OWNER_ID, name));
        driver::machine(self.folder.path(), OWNER_ID, name)
    }

    async fn run(&self, operation: OperationKind, machine: &Machine) -> Result<Vec<String>, MachineError> {
        let started = Instant::now();
        let (result, lines) = driver::run(&self.vagrant, operation, machine).await;
        println!(
            "{operation:?} {:.1} s: {result:?}\n  {}",
            started.elapsed().as_secs_f64(),
            lines.join("\n  ")
        );
        result.map(|()| lines)
    }

    /// The sample and the machine's domain in it.
    async fn read(&self, machine: &Machine) -> (HypervisorSample, Domain) {
        let uuid = self.vagrant.domain_uuid(machine).expect("it was created");
        let sample = self.libvirt.read().await.unwrap();
        let domain = sample.domains.iter().find(|domain| domain.uuid == uuid).expect("it is listed").clone();
        (sample, domain)
    }

    /// Reads until the domain is as wanted.
    async fn read_until(
        &self,
        machine: &Machine,
        wanted: impl Fn(&Domain) -> bool,
    ) -> (HypervisorSample, Domain) {
        for _ in 0..40 {
            let (sample, domain) = self.read(machine).await;
            if wanted(&domain) {
                return (sample, domain);
            }
            sleep(Duration::from_millis(500)).await;
        }
        panic!("the domain did not become as wanted: {:?}", self.read(machine).await.1);
    }
}

/// Signals the domain's QEMU process.
fn signal_qemu(domain: &Domain, signal: &str) {
    let pid = fs::read_to_string(format!("/run/libvirt/qemu/{}.pid", domain.name)).unwrap();
    assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
}

/// Sends `bytes` zeros into the guest.
fn send_into(machine: &Machine, bytes: usize) {
    let script = format!(
        "vagrant ssh-config > ssh-config && head -c {bytes} /dev/zero | ssh -F ssh-config default 'cat > /dev/null'"
    );
    let sent = Command::new("sh").args(["-c", &script]).current_dir(&machine.directory).status().unwrap();
    assert!(sent.success());
}

#[tokio::test]
#[ignore = "needs the lab, and some minutes"]
async fn a_vm_lives_is_watched_crashes_and_comes_back() {
    let lab = Lab::new();
    let machine = lab.machine("life-1");

    let lines = lab.run(OperationKind::Launch, &machine).await.unwrap();
    assert!(lines.iter().any(|line| line == "Starting domain."), "{lines:?}");
    let (sample, up) = lab.read(&machine).await;
    assert_eq!((up.name.as_str(), up.state), ("twarga-user7-life-1_default", DomainState::Running));
    let since_start = sample.sampled_at.secs_since(up.started_at.expect("it has a start"));
    assert!((1.0..600.0).contains(&since_start), "{since_start}");
    let address = lab.libvirt.address(&up.uuid).await.unwrap();
    assert!(address.as_ref().is_some_and(|address| address.starts_with("192.168.")), "{address:?}");

    lab.libvirt.enable_memory_statistics(&up.uuid, 2).await.unwrap();
    let fresh = |at: UtcMillis| {
        move |domain: &Domain| {
            domain.counters.balloon.last_update_secs.is_some_and(|secs| secs > at.0 / 1000 + 1)
        }
    };
    lab.read_until(&machine, fresh(sample.sampled_at)).await;

    let (before_sample, before) = lab.read(&machine).await;
    send_into(&machine, 5 << 20);
    let (after_sample, after) = lab.read(&machine).await;
    let usage = derive(Inputs {
        previous: Some((&before, before_sample.taken_at)),
        current: (&after, after_sample.taken_at),
        guest: None,
        tick_before: None,
        now: after_sample.sampled_at,
        interval_secs: 5,
    });
    println!("{usage:#?}");
    assert!(usage.network_rx_mb.unwrap() > 5.0 && usage.network_tx_mb.unwrap() < 5.0, "{usage:?}");
    assert!(usage.network_rx_mb_per_s > usage.network_tx_mb_per_s, "{usage:?}");
    assert!(usage.cpu_percent.unwrap() > 0.0, "{usage:?}");
    assert!((100.0..192.0).contains(&(usage.memory_used_mb.unwrap() + usage.memory_available_mb.unwrap())));
    assert!((0.0..50.0).contains(&usage.disk_percent.unwrap()), "{usage:?}");

    virsh(&["destroy", &up.name]);
    lab.read_until(&machine, |domain| domain.state == DomainState::Stopped).await;
    lab.run(OperationKind::Start, &machine).await.unwrap();

    signal_qemu(&up, "-STOP");
    let asked = Instant::now();
    let (_, hanging) = lab.read(&machine).await;
    println!("a sample while it hangs took {:?}: {hanging:?}", asked.elapsed());
    assert_eq!(hanging.state, DomainState::Running);
    let asked = Instant::now();
    lab.read(&machine).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    signal_qemu(&up, "-CONT");

    signal_qemu(&up, "-KILL");
    let (_, crashed) = lab.read_until(&machine, |domain| domain.state != DomainState::Running).await;
    assert_eq!((crashed.state, crashed.started_at), (DomainState::Crashed, None));
    assert_eq!(lab.libvirt.address(&up.uuid).await, Ok(None));
    assert!(lab.libvirt.enable_memory_statistics(&up.uuid, 2).await.is_err());
    println!("while off: {:?}", crashed.counters);

    lab.run(OperationKind::Start, &machine).await.unwrap();
    lab.run(OperationKind::Start, &machine).await.unwrap();
    lab.run(OperationKind::Stop, &machine).await.unwrap();
    let (_, stopped) = lab.read(&machine).await;
    assert_eq!(stopped.state, DomainState::Stopped);
    assert!(stopped.counters.disks["vda"].image_bytes > 0, "{stopped:?}");
    lab.run(OperationKind::Stop, &machine).await.unwrap();

    lab.run(OperationKind::Destroy, &machine).await.unwrap();
    lab.run(OperationKind::Destroy, &machine).await.unwrap();
    let sample = lab.libvirt.read().await.unwrap();
    assert!(sample.domains.iter().all(|domain| domain.uuid != up.uuid));
}

#[tokio::test]
#[ignore = "needs the lab, and some minutes"]
async fn failures_have_distinct_errors() {
    let lab = Lab::new();
    let kind_of = |result: Result<Vec<String>, MachineError>| result.map_err(|error| error.kind);

    let no_box = Machine { vagrant_box: "twarga/no-such-box".into(), ..lab.machine("no-box") };
    assert_eq!(kind_of(lab.run(OperationKind::Launch, &no_box).await), Err(MachineErrorKind::BoxMissing));
    lab.run(OperationKind::Destroy, &no_box).await.unwrap();

    let broken = lab.machine("broken-1");
    for (text, kind) in [
        ("Vagrant.configure('2') do |config|", MachineErrorKind::VagrantfileBroken),
        ("raise 'no such thing'", MachineErrorKind::VagrantfileBroken),
        (
            "Vagrant.configure('2') { |c| c.vm.box = 'twarga/tiny'; c.vm.colour = 'blue' }",
            MachineErrorKind::ConfigInvalid,
        ),
    ] {
        prepare_directory(&broken, "").await.unwrap();
        fs::write(broken.directory.join("Vagrantfile"), text).unwrap();
        assert_eq!(kind_of(lab.run(OperationKind::Launch, &broken).await), Err(kind), "{text}");
    }
    lab.run(OperationKind::Destroy, &broken).await.unwrap();

    let mut greedy = lab.machine("greedy-1");
    greedy.spec.ram_mb = 4_000_000;
    assert_eq!(kind_of(lab.run(OperationKind::Launch, &greedy).await), Err(MachineErrorKind::ConfigInvalid));
    lab.run(OperationKind::Destroy, &greedy).await.unwrap();

    let nowhere = "qemu+unix:///system?socket=/nowhere";
    let no_libvirt = Lab {
        vagrant: Vagrant::new(VagrantOptions { libvirt_uri: nowhere.into(), ..VagrantOptions::default() }),
        libvirt: Libvirt::new(nowhere),
        ..Lab::new()
    };
    let unmade = no_libvirt.machine("unmade-1");
    let error = no_libvirt.run(OperationKind::Launch, &unmade).await.unwrap_err();
    assert_eq!(error.kind, MachineErrorKind::HypervisorUnreachable);
    let error = no_libvirt.libvirt.read().await.unwrap_err();
    assert!(error.text.contains("Start libvirtd"), "{error:?}");

    let limits = TimeLimits { up: Duration::from_secs(7), ..TimeLimits::default() };
    let hasty = Lab::with(limits);
    let slow = hasty.machine("slow-1");
    assert_eq!(kind_of(hasty.run(OperationKind::Launch, &slow).await), Err(MachineErrorKind::TimedOut));
    let left = hasty.libvirt.read().await.unwrap().domains;
    assert!(left.iter().all(|domain| domain.name != domain_name(&slow)), "{left:?}");
    hasty.run(OperationKind::Destroy, &slow).await.unwrap();

    let first = lab.machine("twin-1");
    lab.run(OperationKind::Launch, &first).await.unwrap();
    let second = Machine { directory: lab.folder.path().join("elsewhere"), ..first.clone() };
    assert_eq!(kind_of(lab.run(OperationKind::Launch, &second).await), Err(MachineErrorKind::NameTaken));
    lab.run(OperationKind::Destroy, &second).await.unwrap();
    assert_eq!(lab.read(&first).await.1.state, DomainState::Running);

    let domain = domain_name(&first);
    virsh(&["destroy", &domain]);
    virsh(&["undefine", &domain]);
    assert_eq!(kind_of(lab.run(OperationKind::Start, &first).await), Err(MachineErrorKind::DiskExists));
    lab.run(OperationKind::Destroy, &first).await.unwrap();
    lab.run(OperationKind::Launch, &first).await.unwrap();
    lab.run(OperationKind::Destroy, &first).await.unwrap();
}

#[tokio::test]
#[ignore = "needs the lab, and some minutes"]
async fn two_vms_of_a_box_that_libvirt_has_not_seen_yet_come_up_together() {
    let forget = "virsh --quiet vol-list default | awk '/vagrant_box_image/ { print $1 }' |
        xargs -r -n1 virsh vol-delete --pool default";
    assert!(Command::new("sh").args(["-c", forget]).status().unwrap().success());
    let lab = Lab::new();
    let (first, second) = (lab.machine("pair-1"), lab.machine("pair-2"));
    let (one, two) =
        tokio::join!(lab.run(OperationKind::Launch, &first), lab.run(OperationKind::Launch, &second));
    let uploaded =
        [one.unwrap(), two.unwrap()].map(|lines| lines.iter().any(|line| line.starts_with("Uploading")));
    assert_ne!(uploaded[0], uploaded[1]);
    let (one, two) =
        tokio::join!(lab.run(OperationKind::Destroy, &first), lab.run(OperationKind::Destroy, &second));
    one.unwrap();
    two.unwrap();
}
