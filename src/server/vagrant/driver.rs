//! Runs `vagrant` commands on a machine: the [`MachineDriver`].

use super::{
    box_lock::BoxLocks,
    command::{self, Grace, StopCondition},
    error_classification::{self, ErrorContext, message},
    task::{Task, say, unwritable},
    vagrantfile::{self, DEFAULT_LIBVIRT_URI, Driver, VAGRANTFILE, render},
};
use crate::{
    model::{OperationKind, Snapshot, VmSpec},
    server::{
        child_process,
        provider::{
            IndexedMachine, Machine, MachineCommand, MachineDriver, MachineError, MachineErrorKind,
            OwnedDomain, ReadError,
        },
    },
};
use async_trait::async_trait;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};
use tokio::{
    process::Command,
    sync::mpsc::UnboundedSender,
    time::{Instant, sleep},
};

/// Where vagrant-libvirt keeps the UUID of the machine's domain.
pub(super) const ID_FILE: &str = ".vagrant/machines/default/libvirt/id";

/// How long an operation may take, including waiting for another command that holds the machine; not included
/// is a launch's waiting for the image of its box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    pub up: Duration,
    pub halt: Duration,
    pub destroy: Duration,
    pub suspend: Duration,
    pub resume: Duration,
    pub snapshot: Duration,
    pub ssh_config: Duration,
    /// How long to wait before asking again for a machine that another command holds.
    pub busy_pause: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            up: Duration::from_secs(15 * 60),
            halt: Duration::from_secs(3 * 60),
            destroy: Duration::from_secs(3 * 60),
            suspend: Duration::from_secs(5 * 60),
            resume: Duration::from_secs(5 * 60),
            snapshot: Duration::from_secs(10 * 60),
            ssh_config: Duration::from_secs(30),
            busy_pause: Duration::from_secs(5),
        }
    }
}

/// For a halt: a user who forces a stop meanwhile does not wait for it.
const SHORT_GRACE: Grace = Grace {
    after_interrupt: Duration::from_secs(3),
    after_terminate: Duration::from_secs(1),
    pipes: Duration::from_secs(1),
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VagrantOptions {
    /// Name (looked up in `PATH`) or path of the vagrant command.
    pub executable: PathBuf,
    /// The same for virsh.
    pub virsh: PathBuf,
    pub libvirt_uri: String,
    pub driver: Driver,
    pub time_limits: TimeLimits,
    /// Vagrant's own home; `None` when there is none to be found.
    pub home: Option<PathBuf>,
}

impl Default for VagrantOptions {
    fn default() -> Self {
        Self {
            executable: "vagrant".into(),
            virsh: "virsh".into(),
            libvirt_uri: DEFAULT_LIBVIRT_URI.into(),
            driver: Driver::default(),
            time_limits: TimeLimits::default(),
            home: std::env::var_os("VAGRANT_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(std::env::home_dir()?.join(".vagrant.d"))),
        }
    }
}

/// Carries out operations with the `vagrant` command.
#[derive(Debug)]
pub struct Vagrant {
    pub(super) options: VagrantOptions,
    pub(super) boxes: BoxLocks,
    /// The index as last read completely: Vagrant rewrites it in place.
    pub(super) index: Mutex<Option<Vec<IndexedMachine>>>,
}

/// Variables that would send vagrant to another folder or make it print its log.
const FOREIGN_VARIABLES: [&str; 5] =
    ["VAGRANT_CWD", "VAGRANT_VAGRANTFILE", "VAGRANT_DOTFILE_PATH", "VAGRANT_LOG", "VAGRANT_FORCE_COLOR"];

impl Vagrant {
    pub fn new(mut options: VagrantOptions) -> Self {
        // A path is meant from here, not from a VM's folder; a bare name is looked up in PATH.
        if options.executable.components().count() > 1
            && let Ok(absolute) = std::path::absolute(&options.executable)
        {
            options.executable = absolute;
        }
        Self { options, boxes: BoxLocks::default(), index: Mutex::default() }
    }

    pub(super) fn command(&self, arguments: &[&str], machine: &Machine) -> Command {
        let mut command = child_process::command(&self.options.executable);
        command.args(arguments).arg("--machine-readable").current_dir(machine.vagrant_directory());
        for variable in FOREIGN_VARIABLES {
            command.env_remove(variable);
        }
        command
            .env("VAGRANT_CHECKPOINT_DISABLE", "1")
            .env("VAGRANT_NO_COLOR", "1")
            .env("LIBVIRT_DEFAULT_URI", &self.options.libvirt_uri);
        match &machine.project {
            None => {
                command.env("VAGRANT_DEFAULT_PROVIDER", "libvirt");
            }
            Some(project) => {
                command.env("VAGRANT_DEFAULT_PROVIDER", &project.provider);
                command.env("VAGRANT_DOTFILE_PATH", &project.data_directory);
                if let Some(vagrantfile) = &project.vagrantfile {
                    command.env("VAGRANT_VAGRANTFILE", vagrantfile);
                }
                command.arg(&project.machine);
            }
        }
        command
    }

    /// Runs a vagrant command until it has had the machine, until `limit` is over or until the task is cancelled.
    pub(super) async fn vagrant(
        &self,
        arguments: &[&str],
        task: &Task<'_>,
        limit: Duration,
    ) -> Result<(), MachineError> {
        self.vagrant_hearing(arguments, task, limit, Grace::default(), &mut |_| {}).await
    }

    /// The same, with `hear` called on each line too, and a command that ends as patiently as `grace` says.
    pub(super) async fn vagrant_hearing(
        &self,
        arguments: &[&str],
        task: &Task<'_>,
        limit: Duration,
        grace: Grace,
        hear: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), MachineError> {
        let Task { machine, lines, cancel } = *task;
        let until = StopCondition { deadline: Instant::now() + limit, cancel: cancel.clone() };
        let busy_pause = self.options.time_limits.busy_pause;
        let mut passing_tries = 0;
        loop {
            if cancel.is_cancelled() {
                return Err(self.cancelled(machine, "before vagrant was started"));
            }
            let command = self.command(arguments, machine);
            let mut pass_on = |line: &str| {
                hear(line);
                say(lines, line);
            };
            let outcome = command::run(command, &until, grace, &mut pass_on)
                .await
                .map_err(|error| self.not_started(machine, &error))?;
            if outcome.succeeded {
                return Ok(());
            }
            let mut error = error_classification::classify(&outcome.ended, self.context(machine));
            if outcome.cancelled {
                return Err(self.cancelled(machine, &error.detail));
            }
            if outcome.timed_out {
                error.kind = MachineErrorKind::TimedOut;
                error.text = format!(
                    "It timed out after {}. See the end of its output, then try again.",
                    in_minutes(limit)
                );
            }
            let passing = error_classification::passing(&outcome.ended).filter(|_| passing_tries < 3);
            passing_tries += u32::from(passing.is_some());
            let waits_for = if let Some(words) = passing {
                words
            } else if error.kind == MachineErrorKind::Busy {
                "Another vagrant command is using this VM; waiting for it to finish."
            } else {
                return Err(error);
            };
            if Instant::now() + busy_pause >= until.deadline {
                return Err(error);
            }
            say(lines, waits_for);
            tokio::select! {
                () = sleep(busy_pause) => {}
                () = cancel.cancelled() => {}
            }
        }
    }

    /// Restores Vagrant's record of the machine's domain if its folder, or a part of it, was removed: the VM must not
    /// become unmanaged because of that. If the domain is gone too, Vagrant sees no VM.
    pub(super) async fn remember(&self, machine: &Machine) -> Result<(), MachineError> {
        let file = machine.directory.join(ID_FILE);
        let known = machine.domain_uuid.as_deref().filter(|_| machine.project.is_none());
        let Some(uuid) = known.filter(|_| !file.exists()) else {
            return Ok(());
        };
        let folder = file.parent().unwrap_or(&machine.directory);
        let written = async {
            tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).await?;
            tokio::fs::write(&file, uuid).await
        };
        written.await.map_err(|error| unwritable(&machine.directory, &error))
    }

    /// Shuts the guest down, and powers it off if that does not work in time.
    pub(super) async fn halt(&self, task: &Task<'_>) -> Result<(), MachineError> {
        match self.off(&["halt"], task).await {
            Ok(()) if self.is_off(task.machine).await != Some(false) => Ok(()),
            Err(error)
                if !matches!(
                    error.kind,
                    MachineErrorKind::TimedOut | MachineErrorKind::BootTimeout | MachineErrorKind::Other
                ) =>
            {
                Err(error)
            }
            _ => {
                say(task.lines, "The VM did not shut down in time; powering it off.");
                self.power_off(task).await
            }
        }
    }

    /// Powers the machine off at once, whatever its guest does. libvirt does that itself: vagrant-libvirt's forced halt
    /// waits for the guest.
    async fn power_off(&self, task: &Task<'_>) -> Result<(), MachineError> {
        let Some(uuid) = self.libvirt_domain(task.machine) else {
            return self.off(&["halt", "--force"], task).await;
        };
        self.destroy_domain(&uuid).await.map_err(|error| {
            let text = format!("The VM could not be powered off. libvirt said: {}", error.detail);
            self.failed(task.machine, &text, &error.detail)
        })
    }

    /// Whether the machine is off; `None` where libvirt does not know.
    async fn is_off(&self, machine: &Machine) -> Option<bool> {
        self.is_domain_off(&self.libvirt_domain(machine)?).await.ok()
    }

    /// The UUID of the machine's domain, where libvirt runs it.
    fn libvirt_domain(&self, machine: &Machine) -> Option<String> {
        let is_libvirt = machine
            .project
            .as_ref()
            .is_none_or(|project| project.provider == "libvirt" && !project.is_indexed);
        let recorded = || machine.domain_uuid.clone();
        is_libvirt.then(|| self.domain_uuid(machine).or_else(recorded)).flatten()
    }

    pub(super) async fn off(&self, arguments: &[&str], task: &Task<'_>) -> Result<(), MachineError> {
        self.remember(task.machine).await?;
        if !vagrant_was_here(task.machine) {
            return Ok(());
        }
        self.prepare_as_it_is(task).await?;
        let limit = self.options.time_limits.halt;
        self.vagrant_hearing(arguments, task, limit, SHORT_GRACE, &mut |_| {}).await
    }

    /// Something that needs a machine to be there.
    pub(super) async fn with_machine(
        &self,
        arguments: &[&str],
        task: &Task<'_>,
        limit: Duration,
    ) -> Result<(), MachineError> {
        self.remember(task.machine).await?;
        self.prepare_as_it_is(task).await?;
        self.vagrant(arguments, task, limit).await
    }

    /// Vagrant's folder can be there without a VM: the first `up` failed early, or was cut off. Then `destroy`
    /// still removes a disk that was left, but whatever hinders it does not matter: there is no VM to destroy.
    /// And an invalid Vagrantfile must not keep a VM alive: it is renamed.
    pub(super) async fn destroy(&self, task: &Task<'_>) -> Result<(), MachineError> {
        let (machine, lines) = (task.machine, task.lines);
        self.remember(machine).await?;
        if !vagrant_was_here(machine) {
            return Ok(());
        }
        let created = self.domain_uuid(machine).is_some();
        self.prepare_as_it_is(task).await?;
        let limit = self.options.time_limits.destroy;
        let mut result = self.vagrant(&["destroy", "-f"], task, limit).await;
        let is_ours = machine.project.is_none();
        if is_ours && result.as_ref().is_err_and(|error| is_in_the_vagrantfile(error.kind)) {
            say(lines, "The Vagrantfile is invalid; it was renamed to Vagrantfile.broken.");
            let file = machine.directory.join(VAGRANTFILE);
            tokio::fs::rename(&file, file.with_extension("broken"))
                .await
                .map_err(|error| unwritable(&machine.directory, &error))?;
            // A user's additions may be what is invalid.
            let local = machine.directory.join(vagrantfile::LOCAL_FILE);
            let aside = machine.directory.join(format!("{}.broken", vagrantfile::LOCAL_FILE));
            let _ = tokio::fs::rename(local, aside).await;
            self.prepare_as_it_is(task).await?;
            result = self.vagrant(&["destroy", "-f"], task, limit).await;
        }
        match result {
            Err(error) if is_ours && !created && no_vm_is_in_the_way(error.kind) => {
                tracing::info!(directory = %machine.directory.display(), detail = error.detail, "no VM to destroy");
                say(lines, "There was no VM to destroy.");
                Ok(())
            }
            other => other,
        }
    }

    pub(super) fn cancelled(&self, machine: &Machine, detail: &str) -> MachineError {
        let kind = MachineErrorKind::Cancelled;
        MachineError { kind, text: message(kind, self.context(machine)), detail: detail.into() }
    }

    pub(super) fn failed(&self, machine: &Machine, text: &str, detail: &str) -> MachineError {
        let detail = format!("{}: {detail}", machine.directory.display());
        MachineError { kind: MachineErrorKind::Other, text: text.into(), detail }
    }

    pub(super) fn context<'a>(&'a self, machine: &'a Machine) -> ErrorContext<'a> {
        ErrorContext { machine, libvirt_uri: &self.options.libvirt_uri }
    }

    pub(super) fn not_started(&self, machine: &Machine, error: &io::Error) -> MachineError {
        let kind = if error.kind() == io::ErrorKind::NotFound {
            MachineErrorKind::VagrantMissing
        } else {
            MachineErrorKind::Other
        };
        let text = match kind {
            MachineErrorKind::VagrantMissing => message(kind, self.context(machine)),
            _ => format!("The command {} cannot be started: {error}.", self.options.executable.display()),
        };
        MachineError { kind, text, detail: format!("{}: {error}", self.options.executable.display()) }
    }
}

#[async_trait]
impl MachineDriver for Vagrant {
    async fn run(
        &self,
        command: &MachineCommand,
        machine: &Machine,
        lines: &UnboundedSender<String>,
    ) -> Result<(), MachineError> {
        use OperationKind::{
            Destroy, ForceStop, Import, Launch, Resize, Restart, Resume, SnapshotDelete, SnapshotRestore,
            SnapshotSave, Start, Stop, Suspend,
        };
        let task = &Task { machine, lines, cancel: &command.cancel };
        let limits = self.options.time_limits;
        match command.kind {
            Launch => self.launch(command, task).await,
            Start => self.up(task).await,
            Stop => self.halt(task).await,
            ForceStop => self.power_off(task).await,
            // Not `reload`: in between, the disk can grow.
            Restart => {
                self.halt(task).await?;
                self.up(task).await
            }
            Suspend => self.with_machine(&["suspend"], task, limits.suspend).await,
            Resume => self.with_machine(&["resume"], task, limits.resume).await,
            Destroy => self.destroy(task).await,
            // Applied by the next start; nothing is done with a machine that is imported.
            Resize | Import => Ok(()),
            SnapshotSave | SnapshotRestore | SnapshotDelete => self.snapshot(command, task).await,
        }
    }

    async fn snapshots(&self, machine: &Machine) -> Result<Vec<Snapshot>, ReadError> {
        match self.domain_uuid(machine).filter(|_| machine.project.is_none()) {
            Some(uuid) => self.snapshots_of(&uuid).await,
            None => Ok(Vec::new()),
        }
    }

    async fn actual_spec(&self, machine: &Machine) -> Option<VmSpec> {
        let uuid = self.domain_uuid(machine).filter(|_| machine.project.is_none())?;
        match self.spec_of(&uuid, &machine.spec).await {
            Ok(spec) => Some(spec),
            Err(error) => {
                tracing::warn!(detail = error.detail, "the resources of a VM could not be read");
                None
            }
        }
    }

    async fn owned_domains(&self, folders: &Path) -> Result<Vec<OwnedDomain>, ReadError> {
        self.domains_made_in(folders).await
    }

    async fn remove_domain(&self, domain: &OwnedDomain) -> Result<(), ReadError> {
        self.remove(&domain.uuid).await
    }

    fn vagrantfile(&self, machine: &Machine) -> String {
        render(machine, self.options.driver, &self.options.libvirt_uri)
    }

    fn domain_uuid(&self, machine: &Machine) -> Option<String> {
        let Some(project) = &machine.project else { return uuid_in(&machine.directory.join(ID_FILE)) };
        let folder = project.data_directory.join("machines").join(&project.machine).join(&project.provider);
        if project.is_indexed {
            let id = std::fs::read_to_string(folder.join("index_uuid")).ok()?;
            return Some(id.trim().to_owned());
        }
        uuid_in(&folder.join("id"))
    }
}

fn uuid_in(file: &Path) -> Option<String> {
    let id = std::fs::read_to_string(file).ok()?;
    let id = id.trim();
    // While it makes a machine, Vagrant writes a word there instead.
    is_uuid(id).then(|| id.to_ascii_lowercase())
}

/// Whether an error of `destroy` only says that there is no VM, where none was known to be.
fn no_vm_is_in_the_way(kind: MachineErrorKind) -> bool {
    matches!(
        kind,
        MachineErrorKind::NameTaken
            | MachineErrorKind::NotCreated
            | MachineErrorKind::BoxMissing
            | MachineErrorKind::VagrantMissing
            | MachineErrorKind::VagrantfileBroken
            | MachineErrorKind::ConfigInvalid
            | MachineErrorKind::TriggerFailed
    )
}

fn is_in_the_vagrantfile(kind: MachineErrorKind) -> bool {
    matches!(kind, MachineErrorKind::VagrantfileBroken | MachineErrorKind::ConfigInvalid)
}

fn in_minutes(limit: Duration) -> String {
    match limit.as_secs().div_ceil(60) {
        0 | 1 => "a minute".into(),
        minutes => format!("{minutes} minutes"),
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn vagrant_was_here(machine: &Machine) -> bool {
    machine.project.is_some() || machine.directory.join(".vagrant").exists()
}
