//! The driver against a shell script in place of `vagrant`.

use super::{TimeLimits, Vagrant, VagrantOptions, fake_command::write_script};
use crate::{
    model::OperationKind,
    server::provider::{
        GuestAccess, Machine, MachineCommand, MachineDriver, MachineError, MachineErrorKind, MachineIndex,
        Project,
    },
};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};
use tempfile::TempDir;
use tokio::sync::mpsc::unbounded_channel;

/// A folder with a shell script in vagrant's place and a machine's folder.
struct Bench {
    folder: TempDir,
}

impl Bench {
    /// `script` finds its arguments in `$*` and the bench's folder in `$BENCH`.
    fn new(script: &str) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let text = format!("BENCH={}\necho \"$*\" >> $BENCH/calls\n{script}", bench.path("").display());
        write_script(&bench.executable(), &text);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn executable(&self) -> PathBuf {
        self.path("vagrant")
    }

    fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.path("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn machine(&self) -> Machine {
        Machine::example("web-1", self.path("vms/user1-web-1"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.machine().directory.join(name)
    }

    fn make_vagrantfile(&self) {
        fs::create_dir_all(self.machine().directory).unwrap();
        fs::write(self.file("Vagrantfile"), "").unwrap();
    }

    /// What a first `up` leaves.
    fn make_created(&self) {
        fs::create_dir_all(self.file(".vagrant/machines/default/libvirt")).unwrap();
        fs::write(self.file(".vagrant/machines/default/libvirt/id"), UUID).unwrap();
    }

    fn vagrant(&self) -> Vagrant {
        let limits = TimeLimits { busy_pause: Duration::from_millis(10), ..TimeLimits::default() };
        Vagrant::new(VagrantOptions {
            executable: self.executable(),
            time_limits: limits,
            ..VagrantOptions::default()
        })
    }

    async fn run(&self, operation: OperationKind) -> (Result<(), MachineError>, Vec<String>) {
        let vagrant = self.vagrant();
        let (sender, mut receiver) = unbounded_channel();
        let result = vagrant.run(&MachineCommand::of(operation), &self.machine(), &sender).await;
        drop(sender);
        let mut lines = Vec::new();
        while let Some(line) = receiver.recv().await {
            lines.push(line);
        }
        (result, lines)
    }
}

const UUID: &str = "6695eb01-f6a4-8304-79aa-97f2502e193f";

fn error_exit(class: &str) -> String {
    format!("echo '1,,error-exit,{class},Because.'; exit 1")
}

#[tokio::test]
async fn a_launch_makes_the_folder_for_its_owner_only_and_calls_up() {
    let bench = Bench::new("echo '1,default,ui,info,==> default: Starting domain.'");
    let (result, lines) = bench.run(OperationKind::Launch).await;
    assert_eq!((result, lines), (Ok(()), vec!["Starting domain.".to_owned()]));
    assert_eq!(bench.calls(), ["up --machine-readable"]);
    let mode = fs::metadata(bench.machine().directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(fs::read_to_string(bench.file("Vagrantfile")).unwrap().contains("generic/debian12"));
}

/// A machine of a project of its own, with an index that knows it.
/// A `virsh` that knows one domain, which runs until it is destroyed.
fn with_running_domain(bench: &Bench) -> Vagrant {
    let script = format!(
        "BENCH={}\necho \"$*\" >> $BENCH/virsh-calls\ncase \"$*\" in\n*destroy*) touch $BENCH/off;;\n\
         *domstats*) [ -e $BENCH/off ] && echo ' state.state=5' || echo ' state.state=1';;\nesac",
        bench.path("").display()
    );
    write_script(&bench.path("virsh"), &script);
    let mut vagrant = bench.vagrant();
    vagrant.options.virsh = bench.path("virsh");
    vagrant
}

#[tokio::test]
async fn a_stop_that_fails_or_leaves_the_vm_running_powers_it_off() {
    let hung = error_exit("Vagrant::Errors::VMBootTimeout");
    for (halt, operation, calls) in [
        (hung.as_str(), OperationKind::Stop, &["halt --machine-readable"][..]),
        ("exit 0", OperationKind::Stop, &["halt --machine-readable"]),
        ("exit 0", OperationKind::ForceStop, &[]),
    ] {
        let bench = Bench::new(halt);
        bench.make_vagrantfile();
        bench.make_created();
        let vagrant = with_running_domain(&bench);
        let (lines, _receiver) = unbounded_channel();
        let done = vagrant.run(&MachineCommand::of(operation), &bench.machine(), &lines).await;
        assert_eq!(done, Ok(()), "{halt}");
        assert_eq!(bench.calls(), calls, "{halt}");
        let asked = fs::read_to_string(bench.path("virsh-calls")).unwrap();
        assert!(asked.contains(&format!("destroy {UUID}")), "{halt}: {asked}");
    }
}

#[tokio::test]
async fn a_domain_that_cannot_be_powered_off_is_reported() {
    let bench = Bench::new("exit 0");
    bench.make_vagrantfile();
    bench.make_created();
    let mut vagrant = bench.vagrant();
    vagrant.options.virsh = bench.path("virsh");
    write_script(
        &bench.path("virsh"),
        "case \"$*\" in *destroy*) echo 'error: cannot acquire state change lock' >&2; exit 1;; esac; echo ' state.state=1'",
    );
    let (lines, _receiver) = unbounded_channel();
    let error = vagrant
        .run(&MachineCommand::of(OperationKind::ForceStop), &bench.machine(), &lines)
        .await
        .unwrap_err();
    assert!(error.text.contains("cannot acquire state change lock"), "{}", error.text);
}

fn adopted(bench: &Bench) -> Machine {
    let directory = bench.path("shop");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("Vagrantfile.shop"), "# mine").unwrap();
    let project = Project {
        data_directory: directory.join(".vagrant"),
        directory,
        vagrantfile: Some("Vagrantfile.shop".into()),
        machine: "db".into(),
        provider: "virtualbox".into(),
        is_indexed: true,
    };
    Machine { project: Some(project), ..bench.machine() }
}

#[tokio::test]
async fn an_adopted_machine_is_run_in_its_own_project_which_stays_as_it_is() {
    let bench = Bench::new(
        "echo \"$PWD $VAGRANT_VAGRANTFILE $VAGRANT_DOTFILE_PATH $VAGRANT_DEFAULT_PROVIDER\" >> $BENCH/places",
    );
    let machine = adopted(&bench);
    let (lines, _receiver) = unbounded_channel();
    for operation in [OperationKind::Start, OperationKind::Stop, OperationKind::Destroy] {
        assert_eq!(bench.vagrant().run(&MachineCommand::of(operation), &machine, &lines).await, Ok(()));
    }
    bench.vagrant().refresh_status(&machine).await.unwrap();
    let calls = ["up", "halt", "destroy -f", "status"].map(|call| format!("{call} --machine-readable db"));
    assert_eq!(bench.calls(), calls);
    let shop = bench.path("shop");
    let place = format!("{0} Vagrantfile.shop {0}/.vagrant virtualbox", shop.display());
    assert_eq!(fs::read_to_string(bench.path("places")).unwrap(), format!("{place}\n").repeat(4));
    let files: Vec<_> = fs::read_dir(&shop).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["Vagrantfile.shop"]);
    assert!(!machine.directory.exists());
}

#[tokio::test]
async fn without_its_own_vagrantfile_an_adopted_machine_is_left_alone() {
    let bench = Bench::new("");
    let machine = adopted(&bench);
    fs::remove_file(bench.path("shop/Vagrantfile.shop")).unwrap();
    let (lines, _receiver) = unbounded_channel();
    for operation in [OperationKind::Start, OperationKind::Stop, OperationKind::Destroy] {
        let error = bench.vagrant().run(&MachineCommand::of(operation), &machine, &lines).await.unwrap_err();
        assert_eq!(error.kind, MachineErrorKind::VagrantfileBroken);
        assert!(error.text.contains("shop"), "{}", error.text);
    }
    assert!(bench.vagrant().ssh_config(&machine).await.is_err());
    assert_eq!(bench.calls(), Vec::<String>::new(), "it would take a Vagrantfile from a folder above");
}

#[tokio::test]
async fn an_adopted_machine_that_cannot_be_destroyed_is_not_said_to_be() {
    let bench = Bench::new(&error_exit("VagrantPlugins::ProviderLibvirt::Errors::NoDomainError"));
    let machine = adopted(&bench);
    let (lines, _receiver) = unbounded_channel();
    assert!(
        bench.vagrant().run(&MachineCommand::of(OperationKind::Destroy), &machine, &lines).await.is_err()
    );
    assert!(bench.path("shop/Vagrantfile.shop").exists());
}

#[tokio::test]
async fn an_index_that_is_being_written_is_as_it_was() {
    let bench = Bench::new("");
    let vagrant =
        Vagrant::new(VagrantOptions { home: Some(bench.path("home")), ..VagrantOptions::default() });
    let folder = bench.path("home/data/machine-index");
    assert_eq!(vagrant.machines().await, Ok(vec![]), "Vagrant has made nothing yet");
    fs::create_dir_all(&folder).unwrap();
    let entry = r#"{"version":1,"machines":{"0123456789abcdef0123456789abcdef":{"local_data_path":"/shop/.vagrant",
        "name":"default","provider":"docker","state":"running","vagrantfile_path":"/shop"}}}"#;
    fs::write(folder.join("index"), &entry[..40]).unwrap();
    let fresh = Vagrant::new(vagrant.options.clone());
    assert!(fresh.machines().await.is_err(), "half an index is not an empty one");
    fs::write(folder.join("index"), entry).unwrap();
    let whole = vagrant.machines().await.unwrap();
    assert_eq!(whole.len(), 1);
    fs::write(folder.join("index"), &entry[..40]).unwrap();
    assert_eq!(vagrant.machines().await, Ok(whole));
}

#[tokio::test]
async fn a_vagrantfile_that_a_user_edited_stays() {
    let bench = Bench::new("");
    fs::create_dir_all(bench.machine().directory).unwrap();
    fs::write(bench.file("Vagrantfile"), "# mine").unwrap();
    assert_eq!(bench.run(OperationKind::Start).await.0, Ok(()));
    assert_eq!(fs::read_to_string(bench.file("Vagrantfile")).unwrap(), "# mine");
}

#[tokio::test]
async fn what_was_never_created_is_stopped_and_destroyed_without_vagrant() {
    let bench = Bench::new("exit 1");
    for operation in [OperationKind::Stop, OperationKind::Destroy] {
        assert_eq!(bench.run(operation).await.0, Ok(()));
    }
    assert_eq!(bench.calls(), Vec::<String>::new());
    assert!(!bench.machine().directory.exists());
}

#[tokio::test]
async fn a_destroy_whose_launch_failed_for_a_taken_name_succeeds() {
    let bench = Bench::new(&error_exit("VagrantPlugins::ProviderLibvirt::Errors::DomainNameExists"));
    fs::create_dir_all(bench.file(".vagrant")).unwrap();
    assert_eq!(bench.run(OperationKind::Destroy).await.0, Ok(()));
    assert_eq!(bench.calls(), ["destroy -f --machine-readable"]);
}

#[tokio::test]
async fn a_destroy_of_a_vm_that_is_there_fails_when_vagrant_fails() {
    let bench = Bench::new(&error_exit("VagrantPlugins::ProviderLibvirt::Errors::FogLibvirtConnectionError"));
    bench.make_created();
    let error = bench.run(OperationKind::Destroy).await.0.unwrap_err();
    assert_eq!(error.kind, MachineErrorKind::HypervisorUnreachable);
}

#[tokio::test]
async fn a_broken_vagrantfile_does_not_keep_a_vm_alive() {
    let bench = Bench::new(
        "grep -q broken Vagrantfile || exit 0
        echo 'Vagrant failed to initialize at a very early stage: syntax error in the Vagrantfile' >&2; exit 1",
    );
    bench.make_created();
    fs::write(bench.file("Vagrantfile"), "broken").unwrap();
    assert_eq!(bench.run(OperationKind::Stop).await.0.unwrap_err().kind, MachineErrorKind::VagrantfileBroken);
    assert_eq!(bench.run(OperationKind::Destroy).await.0, Ok(()));
    assert_eq!(fs::read_to_string(bench.file("Vagrantfile.broken")).unwrap(), "broken");
}

#[tokio::test]
async fn a_trigger_that_stops_vagrant_is_respected() {
    let trigger = error_exit("Vagrant::Errors::TriggersBadExitCodes");
    for operation in [OperationKind::Stop, OperationKind::Destroy, OperationKind::Restart] {
        let bench = Bench::new(&trigger);
        bench.make_created();
        fs::write(bench.file("Vagrantfile"), "# mine").unwrap();
        assert_eq!(bench.run(operation).await.0.unwrap_err().kind, MachineErrorKind::TriggerFailed);
        assert_eq!(bench.calls().len(), 1, "no second try with force or another Vagrantfile");
        assert_eq!(fs::read_to_string(bench.file("Vagrantfile")).unwrap(), "# mine");
    }
}

#[tokio::test]
async fn a_machine_that_another_command_holds_is_waited_for() {
    let bench = Bench::new(&format!(
        "[ -e $BENCH/asked ] && exit 0; touch $BENCH/asked; {}",
        error_exit("Vagrant::Errors::MachineActionLockedError")
    ));
    let (result, lines) = bench.run(OperationKind::Launch).await;
    assert_eq!(result, Ok(()));
    assert_eq!(lines, ["Another vagrant command is using this VM; waiting for it to finish."]);
    assert_eq!(bench.calls().len(), 2);
}

#[tokio::test]
async fn meeting_another_vm_at_the_network_is_tried_again_but_not_for_ever() {
    let failure = error_exit("VagrantPlugins::ProviderLibvirt::Errors::ActivateNetworkError");
    let bench = Bench::new(&format!("[ -e $BENCH/asked ] && exit 0; touch $BENCH/asked; {failure}"));
    assert_eq!(bench.run(OperationKind::Launch).await.0, Ok(()));
    let bench = Bench::new(&failure);
    assert_eq!(bench.run(OperationKind::Launch).await.0.unwrap_err().kind, MachineErrorKind::Other);
    assert_eq!(bench.calls().len(), 4);
}

#[tokio::test]
async fn a_machine_that_goes_while_it_is_looked_up_is_looked_up_again() {
    let bench = Bench::new(
        "[ -e $BENCH/asked ] && exit 0; touch $BENCH/asked
        echo \"model.rs:9:in 'initialize': Initialization parameters must be an attributes hash, got NilClass nil (ArgumentError)\" >&2
        exit 1",
    );
    let (result, lines) = bench.run(OperationKind::Launch).await;
    assert_eq!(result, Ok(()));
    assert!(lines.iter().any(|line| line == "libvirt was just removing a VM; trying again."), "{lines:?}");
}

#[tokio::test]
async fn without_vagrant_the_text_says_what_to_install() {
    let bench = Bench::new("");
    fs::remove_file(bench.executable()).unwrap();
    let error = bench.run(OperationKind::Launch).await.0.unwrap_err();
    assert_eq!(error.kind, MachineErrorKind::VagrantMissing);
    assert!(error.text.contains("vagrant-libvirt"), "{}", error.text);
}

#[tokio::test]
async fn what_takes_too_long_is_ended_and_said_so() {
    let bench = Bench::new("sleep 60");
    let vagrant = Vagrant::new(VagrantOptions {
        executable: bench.executable(),
        time_limits: TimeLimits { up: Duration::from_millis(200), ..TimeLimits::default() },
        ..VagrantOptions::default()
    });
    let (sender, _receiver) = unbounded_channel();
    let error =
        vagrant.run(&MachineCommand::of(OperationKind::Launch), &bench.machine(), &sender).await.unwrap_err();
    assert_eq!(error.kind, MachineErrorKind::TimedOut);
    assert!(error.text.starts_with("It timed out after a minute"), "{}", error.text);
}

#[tokio::test]
async fn vms_of_one_box_are_made_one_after_the_other_until_its_image_is_there() {
    let bench = Bench::new(
        "mkdir $BENCH/uploading || { echo '1,,error-exit,X::HalfABox,Because.'; exit 1; }
        sleep 0.2; rmdir $BENCH/uploading
        echo '1,default,ui,info,==> default: Creating image (snapshot of base box volume).'
        touch ../up-$$; until [ $(ls .. | grep -c up-) = 2 ]; do sleep 0.01; done",
    );
    let vagrant = bench.vagrant();
    let (first, mut second) = (bench.machine(), bench.machine());
    second.directory = bench.path("vms/user1-web-2");
    let (sender, _receiver) = unbounded_channel();
    let launch = MachineCommand::of(OperationKind::Launch);
    // Both come to their end only if they run at once after that point.
    let (one, two) =
        tokio::join!(vagrant.run(&launch, &first, &sender), vagrant.run(&launch, &second, &sender),);
    assert_eq!((one, two), (Ok(()), Ok(())));
}

#[tokio::test]
async fn a_guests_credentials_are_what_ssh_config_says() {
    let bench = Bench::new(
        r"printf '1,default,metadata,provider,libvirt\n'
        printf '1,default,ssh-config,Host default\\n  HostName 192.168.121.30\\n  User vagrant\\n  Port 22\\n  IdentityFile /k%%!(VAGRANT_COMMA)1\\n\n'",
    );
    bench.make_vagrantfile();
    let config = bench.vagrant().ssh_config(&bench.machine()).await.unwrap();
    assert_eq!((config.host.as_str(), config.identity_files), ("192.168.121.30", vec!["/k,1".into()]));
    assert_eq!(bench.calls(), ["ssh-config --machine-readable"]);
}

#[tokio::test]
async fn a_machine_that_is_entered_with_a_password_or_through_a_proxy_is_unsupported() {
    for (more, reason) in [
        ("PasswordAuthentication no", "set config.ssh.private_key_path in its Vagrantfile"),
        ("IdentityFile none", "set config.ssh.private_key_path in its Vagrantfile"),
        (r"IdentityFile /k\\n  ProxyCommand ssh gate", "no direct way"),
    ] {
        let bench = Bench::new(&format!(
            r"printf '1,default,ssh-config,Host default\\n  HostName 192.168.121.30\\n  User vagrant\\n  {more}\\n\n'"
        ));
        bench.make_vagrantfile();
        let error = bench.vagrant().ssh_config(&bench.machine()).await.unwrap_err();
        assert_eq!(error.kind, MachineErrorKind::Unsupported, "{more}");
        assert!(error.text.contains(reason), "{}", error.text);
    }
}

#[tokio::test]
async fn without_its_own_vagrantfile_a_vm_gets_no_other_vms_credentials() {
    let bench = Bench::new("");
    fs::write(bench.path("Vagrantfile"), "# of a folder above").unwrap();
    for there in [false, true] {
        if there {
            fs::create_dir_all(bench.machine().directory).unwrap();
        }
        let error = bench.vagrant().ssh_config(&bench.machine()).await.unwrap_err();
        assert_eq!(error.kind, MachineErrorKind::NotCreated);
    }
    assert_eq!(bench.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_vm_without_credentials_is_reported() {
    for script in [String::new(), error_exit("Vagrant::Errors::SSHNotReady"), "sleep 60".to_owned()] {
        let bench = Bench::new(&script);
        bench.make_vagrantfile();
        let limits = TimeLimits { ssh_config: Duration::from_millis(500), ..TimeLimits::default() };
        let vagrant = Vagrant::new(VagrantOptions {
            executable: bench.executable(),
            time_limits: limits,
            ..VagrantOptions::default()
        });
        assert!(vagrant.ssh_config(&bench.machine()).await.is_err(), "{script}");
    }
}

#[test]
fn the_uuid_is_read_once_vagrant_has_written_one() {
    let bench = Bench::new("");
    let vagrant = Vagrant::new(VagrantOptions::default());
    assert_eq!(vagrant.domain_uuid(&bench.machine()), None);
    bench.make_created();
    assert_eq!(vagrant.domain_uuid(&bench.machine()).as_deref(), Some(UUID));
    fs::write(bench.file(".vagrant/machines/default/libvirt/id"), "preparing").unwrap();
    assert_eq!(vagrant.domain_uuid(&bench.machine()), None);
}
