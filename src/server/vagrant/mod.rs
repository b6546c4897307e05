//! VMs made by Vagrant and its libvirt provider: one folder and one `vagrant` command per operation.
//!
//! Vagrant itself is the memory here: what exists stands in the folder (`.vagrant/`) and in libvirt, and `up`,
//! `halt` and `destroy` do nothing a second time. So an operation that was cut off is simply run again, and a
//! person who uses the `vagrant` command in the folder by hand is no surprise. Vagrant lets one command at a time
//! have a machine; who comes second waits, within its time limit.
//!
//! One thing Vagrant does not guard between processes: the first VM of a box uploads the box's image to libvirt,
//! and a second one that comes in the meantime would be made of the half that is there. So VMs of one box pass
//! that point one after the other. And where two meet at libvirt's network, the one that lost tries again.

mod command;
mod failure;
mod index;
#[cfg(test)]
mod lab_tests;
mod machine_readable;
mod ssh_config;
#[cfg(test)]
pub(crate) mod stand_in;
mod vagrantfile;
mod virsh;

pub use failure::{Place, in_words};
pub use machine_readable::Record;
use vagrantfile::{CLOUD_INIT, CLOUD_INIT_FILE, GROW_ROOT, GROW_ROOT_FILE, PROVISION_FILE, USER_DATA_FILE};
pub use vagrantfile::{DEFAULT_LIBVIRT_URI, Driver, domain_name, render};

use super::notifications::PASSWORD_VARIABLE;
use super::provider::{
    GuestAccess, IndexedMachine, Machine, MachineError, MachineErrorKind, MachineIndex, Machines, Order,
    OwnedDomain, Project, ReadError, SshConfig,
};
use crate::model::{OperationKind, Snapshot};
use async_trait::async_trait;
use command::Until;
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    process::Command,
    sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc::UnboundedSender},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

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
    options: VagrantOptions,
    boxes: Turns,
    /// The index as it was last read whole: Vagrant writes it anew in place.
    index: Mutex<Option<Vec<IndexedMachine>>>,
}

/// Variables that would send vagrant to another folder or make it print its log; and a secret that is none of its
/// business, nor of a Vagrantfile's.
const FOREIGN_VARIABLES: [&str; 6] = [
    "VAGRANT_CWD",
    "VAGRANT_VAGRANTFILE",
    "VAGRANT_DOTFILE_PATH",
    "VAGRANT_LOG",
    "VAGRANT_FORCE_COLOR",
    PASSWORD_VARIABLE,
];

impl Vagrant {
    pub fn new(mut options: VagrantOptions) -> Self {
        // A path is meant from here, not from a VM's folder; a bare name is looked up in PATH.
        if options.executable.components().count() > 1
            && let Ok(absolute) = std::path::absolute(&options.executable)
        {
            options.executable = absolute;
        }
        Self { options, boxes: Turns::default(), index: Mutex::default() }
    }

    fn command(&self, arguments: &[&str], machine: &Machine) -> Command {
        let mut command = Command::new(&self.options.executable);
        command.args(arguments).arg("--machine-readable").current_dir(machine.vagrant_directory());
        for variable in FOREIGN_VARIABLES {
            command.env_remove(variable);
        }
        command
            .env("VAGRANT_CHECKPOINT_DISABLE", "1")
            .env("VAGRANT_NO_COLOR", "1")
            .env("LIBVIRT_DEFAULT_URI", &self.options.libvirt_uri)
            .env("LC_ALL", "C.UTF-8");
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
    async fn vagrant(
        &self,
        arguments: &[&str],
        task: &Task<'_>,
        limit: Duration,
    ) -> Result<(), MachineError> {
        self.vagrant_hearing(arguments, task, limit, &mut |_| {}).await
    }

    /// The same, with `hear` called on each line too.
    async fn vagrant_hearing(
        &self,
        arguments: &[&str],
        task: &Task<'_>,
        limit: Duration,
        hear: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), MachineError> {
        let Task { machine, lines, cancel } = *task;
        let until = Until { deadline: Instant::now() + limit, cancel: cancel.clone() };
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
            let outcome = command::run(command, &until, command::Grace::default(), &mut pass_on)
                .await
                .map_err(|error| self.not_started(machine, &error))?;
            if outcome.succeeded {
                return Ok(());
            }
            let mut error = failure::classify(&outcome.ended, self.place(machine, &domain_name(machine)));
            if outcome.cancelled {
                return Err(self.cancelled(machine, &error.detail));
            }
            if outcome.timed_out {
                error.kind = MachineErrorKind::TimedOut;
                error.text = format!(
                    "It took longer than {} and was ended. See what Vagrant said last, then try again.",
                    in_minutes(limit)
                );
            }
            let passing = failure::passing(&outcome.ended).filter(|_| passing_tries < 3);
            passing_tries += u32::from(passing.is_some());
            let waits_for = if let Some(words) = passing {
                words
            } else if error.kind == MachineErrorKind::Busy {
                "Another vagrant command holds this VM; waiting for it to end."
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

    /// Makes what is not there and starts what is off. The disk of a machine that is off grows first, if it is to.
    async fn up(&self, task: &Task<'_>) -> Result<(), MachineError> {
        let machine = task.machine;
        self.remember(machine).await?;
        self.prepare(machine, task.lines).await?;
        let limit = self.options.time_limits.up;
        if machine.project.is_some() {
            return self.vagrant(&["up"], task, limit).await;
        }
        if let Some(uuid) = self.domain_uuid(machine) {
            match self.grow_disk(&uuid, machine.spec.disk_gb).await {
                Ok(true) => say(task.lines, &format!("The disk was grown to {} GB.", machine.spec.disk_gb)),
                Ok(false) => {}
                // One that somebody removed is what `up` speaks of.
                Err(error) if machine.is_resized => {
                    return Err(MachineError {
                        kind: MachineErrorKind::Other,
                        text: format!(
                            "The disk could not be grown to {} GB. libvirt said: {}",
                            machine.spec.disk_gb, error.detail
                        ),
                        detail: error.detail,
                    });
                }
                Err(error) => tracing::debug!(detail = error.detail, "the disk's size is not known"),
            }
            return self.vagrant(&["up"], task, limit).await;
        }
        let mut turn = tokio::select! {
            turn = self.boxes.take(&machine.vagrant_box, task.lines) => Some(turn),
            () = task.cancel.cancelled() => return Err(self.cancelled(machine, "while it waited for its box")),
        };
        let mut hear = |line: &str| {
            if line.starts_with(IMAGE_IS_THERE) {
                turn = None;
            }
        };
        self.vagrant_hearing(&["up"], task, limit, &mut hear).await
    }

    /// The first `up` of a machine that never was. Where an earlier try was cut off, a domain that says that it was made
    /// in this folder, or a disk without one, is what it left: nobody has written to it. Any other is somebody's.
    async fn launch(&self, order: &Order, task: &Task<'_>) -> Result<(), MachineError> {
        let machine = task.machine;
        let error = match self.up(task).await {
            Err(error) if order.was_cut_off && self.domain_uuid(machine).is_none() => error,
            other => return other,
        };
        let left = match error.kind {
            MachineErrorKind::DiskExists => None,
            MachineErrorKind::NameTaken => match self.domain_made_in(&machine.directory).await {
                Some(domain) => Some(domain.uuid),
                None => return Err(error),
            },
            _ => return Err(error),
        };
        say(task.lines, "An earlier try was cut off; what it left is removed first.");
        let half_made = Machine { domain_uuid: left, ..machine.clone() };
        self.destroy(&Task { machine: &half_made, ..*task }).await?;
        self.up(task).await
    }

    async fn domain_made_in(&self, directory: &Path) -> Option<OwnedDomain> {
        let owned = self.domains_made_in(directory.parent()?).await.ok()?;
        owned.into_iter().find(|domain| domain.directory == directory)
    }

    /// Tells Vagrant again which domain is this machine's, when somebody has removed its folder or a part of it: a
    /// VM must not live on unseen because of that. One that is gone too is no VM to Vagrant either.
    async fn remember(&self, machine: &Machine) -> Result<(), MachineError> {
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

    /// Asks the guest to shut down. Vagrant turns it off itself when the guest does not in time; when Vagrant hangs or
    /// cannot, it is told to turn it off at once.
    async fn halt(&self, task: &Task<'_>) -> Result<(), MachineError> {
        match self.off(&["halt"], task).await {
            Err(error)
                if matches!(
                    error.kind,
                    MachineErrorKind::TimedOut | MachineErrorKind::BootTimeout | MachineErrorKind::Other
                ) =>
            {
                say(task.lines, "The VM does not shut down; it is turned off.");
                self.off(&["halt", "--force"], task).await
            }
            other => other,
        }
    }

    async fn off(&self, arguments: &[&str], task: &Task<'_>) -> Result<(), MachineError> {
        self.remember(task.machine).await?;
        if !vagrant_was_here(task.machine) {
            return Ok(());
        }
        self.prepare_as_it_is(task).await?;
        self.vagrant(arguments, task, self.options.time_limits.halt).await
    }

    /// Something that needs a machine to be there.
    async fn with_machine(
        &self,
        arguments: &[&str],
        task: &Task<'_>,
        limit: Duration,
    ) -> Result<(), MachineError> {
        self.remember(task.machine).await?;
        self.prepare_as_it_is(task).await?;
        self.vagrant(arguments, task, limit).await
    }

    async fn snapshot(&self, order: &Order, task: &Task<'_>) -> Result<(), MachineError> {
        let Some(name) = order.snapshot.as_ref().map(|name| name.as_str()) else {
            return Err(self.failed(task.machine, "The operation names no snapshot.", "no snapshot"));
        };
        let there = match self.snapshots(task.machine).await {
            Ok(snapshots) => snapshots.iter().any(|snapshot| snapshot.name == name),
            Err(error) => return Err(self.failed(task.machine, &error.text, &error.detail)),
        };
        let limit = self.options.time_limits.snapshot;
        match order.kind {
            OperationKind::SnapshotSave if there => {
                say(task.lines, "The snapshot is there.");
                Ok(())
            }
            OperationKind::SnapshotSave => self.with_machine(&["snapshot", "save", name], task, limit).await,
            OperationKind::SnapshotDelete if !there => {
                say(task.lines, "The snapshot is gone.");
                Ok(())
            }
            OperationKind::SnapshotDelete => {
                self.with_machine(&["snapshot", "delete", name], task, limit).await
            }
            _ if !there => {
                let text = format!("There is no snapshot called {name}.");
                Err(self.failed(task.machine, &text, "it is not in the list"))
            }
            _ => self.with_machine(&["snapshot", "restore", name, "--no-provision"], task, limit).await,
        }
    }

    /// Vagrant's folder can be there without a VM: the first `up` failed early, or was cut off. Then `destroy`
    /// still removes a disk that was left, but whatever hinders it does not matter: there is no VM to destroy.
    /// And a Vagrantfile that somebody broke must not keep a VM alive: it is set aside.
    async fn destroy(&self, task: &Task<'_>) -> Result<(), MachineError> {
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
            say(lines, "The Vagrantfile cannot be used; it is set aside as Vagrantfile.broken.");
            let file = machine.directory.join(VAGRANTFILE);
            tokio::fs::rename(&file, file.with_extension("broken"))
                .await
                .map_err(|error| unwritable(&machine.directory, &error))?;
            // Additions of somebody's own may be what is broken.
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

    /// Makes the machine's folder and brings its Vagrantfile up to date: one that somebody edited stays, unless the
    /// machine is to be given other resources; then it is set aside.
    async fn prepare(&self, machine: &Machine, lines: &UnboundedSender<String>) -> Result<(), MachineError> {
        if let Some(project) = &machine.project {
            return has_vagrantfile(project).await;
        }
        let text = self.vagrantfile(machine);
        let written = prepare_directory(machine, &text).await;
        match written.map_err(|error| unwritable(&machine.directory, &error))? {
            Prepared::AsItWas | Prepared::Written => {}
            Prepared::KeptEdited => {
                say(
                    lines,
                    "The Vagrantfile was edited by hand and stays as it is; delete it to have it written anew.",
                );
            }
            Prepared::SetAside => {
                say(
                    lines,
                    "The Vagrantfile was edited by hand; it is kept as Vagrantfile.edited and written anew.",
                );
            }
        }
        Ok(())
    }

    /// Makes only what is missing. Without a Vagrantfile of its own in the folder, vagrant would take one from a
    /// folder above.
    async fn prepare_as_it_is(&self, task: &Task<'_>) -> Result<(), MachineError> {
        let is_there = tokio::fs::try_exists(task.machine.directory.join(VAGRANTFILE)).await.unwrap_or(false);
        if task.machine.project.is_none() && is_there {
            return Ok(());
        }
        self.prepare(task.machine, task.lines).await
    }

    fn cancelled(&self, machine: &Machine, detail: &str) -> MachineError {
        let kind = MachineErrorKind::Cancelled;
        MachineError {
            kind,
            text: in_words(kind, self.place(machine, &domain_name(machine))),
            detail: detail.into(),
        }
    }

    fn failed(&self, machine: &Machine, text: &str, detail: &str) -> MachineError {
        let detail = format!("{}: {detail}", machine.directory.display());
        MachineError { kind: MachineErrorKind::Other, text: text.into(), detail }
    }

    fn place<'a>(&'a self, machine: &'a Machine, domain_name: &'a str) -> Place<'a> {
        Place {
            directory: machine.vagrant_directory(),
            vagrant_box: &machine.vagrant_box,
            domain_name,
            libvirt_uri: &self.options.libvirt_uri,
        }
    }

    fn not_started(&self, machine: &Machine, error: &io::Error) -> MachineError {
        let kind = if error.kind() == io::ErrorKind::NotFound {
            MachineErrorKind::VagrantMissing
        } else {
            MachineErrorKind::Other
        };
        let text = match kind {
            MachineErrorKind::VagrantMissing => in_words(kind, self.place(machine, &domain_name(machine))),
            _ => format!("The command {} cannot be started: {error}.", self.options.executable.display()),
        };
        MachineError { kind, text, detail: format!("{}: {error}", self.options.executable.display()) }
    }
}

/// One operation on one machine, from when it is begun.
#[derive(Clone, Copy)]
struct Task<'a> {
    machine: &'a Machine,
    lines: &'a UnboundedSender<String>,
    cancel: &'a CancellationToken,
}

#[async_trait]
impl Machines for Vagrant {
    async fn run(
        &self,
        order: &Order,
        machine: &Machine,
        lines: &UnboundedSender<String>,
    ) -> Result<(), MachineError> {
        use OperationKind::{
            Destroy, ForceStop, Launch, Resize, Restart, Resume, SnapshotDelete, SnapshotRestore,
            SnapshotSave, Start, Stop, Suspend,
        };
        let task = &Task { machine, lines, cancel: &order.cancel };
        let limits = self.options.time_limits;
        match order.kind {
            Launch => self.launch(order, task).await,
            Start => self.up(task).await,
            Stop => self.halt(task).await,
            ForceStop => self.off(&["halt", "--force"], task).await,
            // Not `reload`: in between, the disk can grow.
            Restart => {
                self.halt(task).await?;
                self.up(task).await
            }
            Suspend => self.with_machine(&["suspend"], task, limits.suspend).await,
            Resume => self.with_machine(&["resume"], task, limits.resume).await,
            Destroy => self.destroy(task).await,
            // Applied by the next start.
            Resize => Ok(()),
            SnapshotSave | SnapshotRestore | SnapshotDelete => self.snapshot(order, task).await,
        }
    }

    async fn snapshots(&self, machine: &Machine) -> Result<Vec<Snapshot>, ReadError> {
        match self.domain_uuid(machine).filter(|_| machine.project.is_none()) {
            Some(uuid) => self.snapshots_of(&uuid).await,
            None => Ok(Vec::new()),
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

#[async_trait]
impl GuestAccess for Vagrant {
    async fn ssh_config(&self, machine: &Machine) -> Result<SshConfig, MachineError> {
        // Made by whoever launches; asking changes nothing in the folder.
        if let Some(project) = &machine.project {
            has_vagrantfile(project).await?;
        } else if !tokio::fs::try_exists(machine.directory.join(VAGRANTFILE)).await.unwrap_or(false) {
            return Err(MachineError {
                kind: MachineErrorKind::NotCreated,
                text: "The VM's folder holds no Vagrantfile, so nobody knows how to reach the VM over ssh."
                    .into(),
                detail: format!("{} has no {VAGRANTFILE}", machine.directory.display()),
            });
        }
        let limit = self.options.time_limits.ssh_config;
        let command = self.command(&["ssh-config"], machine);
        let outcome = command::run(command, &until(limit), command::Grace::default(), &mut |_: &str| {})
            .await
            .map_err(|error| self.not_started(machine, &error))?;
        if outcome.timed_out {
            return Err(MachineError {
                kind: MachineErrorKind::TimedOut,
                text: "Vagrant did not say in time how to reach the VM over ssh.".into(),
                detail: format!("ssh-config was ended after {} s", limit.as_secs()),
            });
        }
        if !outcome.succeeded {
            return Err(failure::classify(&outcome.ended, self.place(machine, &domain_name(machine))));
        }
        outcome.ssh_config.as_deref().and_then(SshConfig::parse).ok_or_else(|| MachineError {
            kind: MachineErrorKind::Other,
            text: "Vagrant knows no direct way to reach the VM over ssh.".into(),
            detail: "ssh-config names no host, user and key, or goes through a proxy".into(),
        })
    }
}

#[async_trait]
impl MachineIndex for Vagrant {
    async fn machines(&self) -> Result<Vec<IndexedMachine>, ReadError> {
        let trouble = |detail: String| ReadError {
            text: "Vagrant's index of its machines cannot be read.".into(),
            detail,
        };
        let home = self.options.home.as_ref().ok_or_else(|| trouble("there is no home folder".into()))?;
        let read = tokio::fs::read_to_string(home.join("data/machine-index/index")).await;
        let parsed = match read {
            Ok(json) => index::parse(&json).map_err(|error| trouble(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(trouble(error.to_string())),
        };
        let mut last = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        match parsed {
            Ok(machines) => {
                *last = Some(machines.clone());
                Ok(machines)
            }
            Err(error) => last.clone().ok_or(error),
        }
    }

    async fn look_again(&self, machine: &Machine) -> Result<(), MachineError> {
        if let Some(project) = &machine.project {
            has_vagrantfile(project).await?;
        }
        let until = until(self.options.time_limits.ssh_config);
        let command = self.command(&["status"], machine);
        let outcome = command::run(command, &until, command::Grace::default(), &mut |_: &str| {})
            .await
            .map_err(|error| self.not_started(machine, &error))?;
        if outcome.succeeded {
            return Ok(());
        }
        Err(failure::classify(&outcome.ended, self.place(machine, &domain_name(machine))))
    }
}

/// Without the project's own Vagrantfile, vagrant would take one from a folder above.
async fn has_vagrantfile(project: &Project) -> Result<(), MachineError> {
    let names = project.vagrantfile.as_deref().map_or(vec![VAGRANTFILE, "vagrantfile"], |name| vec![name]);
    for name in &names {
        if tokio::fs::try_exists(project.directory.join(name)).await.unwrap_or(false) {
            return Ok(());
        }
    }
    let shown = project.directory.display();
    Err(MachineError {
        kind: MachineErrorKind::VagrantfileBroken,
        text: format!("The project {shown} holds no Vagrantfile any more. Put it back, then try again."),
        detail: format!("none of {names:?} in {shown}"),
    })
}

/// For a question that nobody takes back.
fn until(limit: Duration) -> Until {
    Until { deadline: Instant::now() + limit, cancel: CancellationToken::new() }
}

fn uuid_in(file: &Path) -> Option<String> {
    let id = std::fs::read_to_string(file).ok()?;
    let id = id.trim();
    // While it makes a machine, Vagrant writes a word there instead.
    is_uuid(id).then(|| id.to_ascii_lowercase())
}

const VAGRANTFILE: &str = "Vagrantfile";

/// Where vagrant-libvirt keeps the UUID of the machine's domain.
const ID_FILE: &str = ".vagrant/machines/default/libvirt/id";

/// What vagrant-libvirt says when the box's image is in libvirt's pool.
const IMAGE_IS_THERE: &str = "Creating image (snapshot of base box volume)";

/// Lets one at a time have a box.
#[derive(Debug, Default)]
struct Turns {
    by_box: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

impl Turns {
    /// Waits until nobody else has `vagrant_box`. Given back when dropped.
    async fn take(&self, vagrant_box: &str, lines: &UnboundedSender<String>) -> OwnedMutexGuard<()> {
        let turn = {
            let mut by_box = self.by_box.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(by_box.entry(vagrant_box.to_owned()).or_default())
        };
        if let Ok(taken) = Arc::clone(&turn).try_lock_owned() {
            return taken;
        }
        say(lines, "Another VM is just being made from the same box; waiting for its image.");
        turn.lock_owned().await
    }
}

/// What became of a machine's Vagrantfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    AsItWas,
    Written,
    /// Somebody edited it, so it stays.
    KeptEdited,
    /// Somebody edited it; it is beside the new one.
    SetAside,
}

/// Makes a machine's folder, for its owner only, with the files for its guest and the Vagrantfile. One that somebody
/// edited stays, unless the machine is to be given other resources.
///
/// # Errors
/// When the folder or a file cannot be written.
pub async fn prepare_directory(machine: &Machine, vagrantfile: &str) -> io::Result<Prepared> {
    let directory = &machine.directory;
    tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).await?;
    let setup = &machine.setup;
    let files = [
        (GROW_ROOT_FILE, Some(GROW_ROOT)),
        (CLOUD_INIT_FILE, setup.user_data.as_ref().map(|_| CLOUD_INIT)),
        (USER_DATA_FILE, setup.user_data.as_deref()),
        (PROVISION_FILE, setup.provision_script.as_deref()),
    ];
    for (name, text) in files {
        if let Some(text) = text
            && !is_file_with(&directory.join(name), text).await
        {
            put(directory, name, text).await?;
        }
    }
    let file = directory.join(VAGRANTFILE);
    let mut prepared = Prepared::Written;
    match tokio::fs::read_to_string(&file).await {
        Ok(there) if there == vagrantfile => return Ok(Prepared::AsItWas),
        Ok(there) if vagrantfile::is_unedited(&there) => {}
        Ok(_) if machine.is_resized => {
            tokio::fs::rename(&file, file.with_extension("edited")).await?;
            prepared = Prepared::SetAside;
        }
        Ok(_) => return Ok(Prepared::KeptEdited),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // Of no use to anybody as text, but somebody put it there.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Prepared::KeptEdited),
        Err(error) => return Err(error),
    }
    put(directory, VAGRANTFILE, vagrantfile).await?;
    Ok(prepared)
}

async fn is_file_with(file: &Path, text: &str) -> bool {
    tokio::fs::read_to_string(file).await.is_ok_and(|there| there == text)
}

/// Renamed into place: a file that is cut off half-way is never seen.
async fn put(directory: &Path, name: &str, text: &str) -> io::Result<()> {
    let draft = directory.join(format!(".{name}.new"));
    let _ = tokio::fs::remove_file(&draft).await;
    let mut file =
        tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).await?;
    file.write_all(text.as_bytes()).await?;
    file.flush().await?;
    tokio::fs::rename(&draft, directory.join(name)).await
}

fn vagrant_was_here(machine: &Machine) -> bool {
    machine.project.is_some() || machine.directory.join(".vagrant").exists()
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
    )
}

fn is_in_the_vagrantfile(kind: MachineErrorKind) -> bool {
    matches!(kind, MachineErrorKind::VagrantfileBroken | MachineErrorKind::ConfigInvalid)
}

fn unwritable(directory: &Path, error: &io::Error) -> MachineError {
    let (kind, text) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (
            MachineErrorKind::DiskFull,
            format!("The disk that holds {} is full. Make room, then try again.", directory.display()),
        ),
        _ => (
            MachineErrorKind::Other,
            format!(
                "The VM's folder {} cannot be written: {error}. Check its owner and rights.",
                directory.display()
            ),
        ),
    };
    MachineError { kind, text, detail: format!("{}: {error}", directory.display()) }
}

fn say(lines: &UnboundedSender<String>, line: &str) {
    // Nobody listening is no reason to stop.
    let _ = lines.send(line.to_owned());
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

#[cfg(test)]
mod tests {
    use super::{stand_in::write_script, *};
    use crate::model::{GuestSetup, VmName, VmSpec};
    use std::{fs, os::unix::fs::PermissionsExt};
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
            Machine {
                owner_id: 1,
                name: VmName::new("web-1").unwrap(),
                spec: VmSpec { image: "debian-12".into(), ram_mb: 1024, cpu_cores: 2, disk_gb: 20 },
                is_resized: false,
                setup: GuestSetup::default(),
                vagrant_box: "generic/debian12".into(),
                box_url: None,
                domain_uuid: None,
                project: None,
                directory: self.path("vms/user1-web-1"),
            }
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
            let result = vagrant.run(&Order::of(operation), &self.machine(), &sender).await;
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
            assert_eq!(bench.vagrant().run(&Order::of(operation), &machine, &lines).await, Ok(()));
        }
        bench.vagrant().look_again(&machine).await.unwrap();
        let calls =
            ["up", "halt", "destroy -f", "status"].map(|call| format!("{call} --machine-readable db"));
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
            let error = bench.vagrant().run(&Order::of(operation), &machine, &lines).await.unwrap_err();
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
        assert!(bench.vagrant().run(&Order::of(OperationKind::Destroy), &machine, &lines).await.is_err());
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
    async fn a_vagrantfile_that_somebody_edited_stays() {
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
        let bench =
            Bench::new(&error_exit("VagrantPlugins::ProviderLibvirt::Errors::FogLibvirtConnectionError"));
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
        assert_eq!(
            bench.run(OperationKind::Stop).await.0.unwrap_err().kind,
            MachineErrorKind::VagrantfileBroken
        );
        assert_eq!(bench.run(OperationKind::Destroy).await.0, Ok(()));
        assert_eq!(fs::read_to_string(bench.file("Vagrantfile.broken")).unwrap(), "broken");
    }

    #[tokio::test]
    async fn a_machine_that_another_command_holds_is_waited_for() {
        let bench = Bench::new(&format!(
            "[ -e $BENCH/asked ] && exit 0; touch $BENCH/asked; {}",
            error_exit("Vagrant::Errors::MachineActionLockedError")
        ));
        let (result, lines) = bench.run(OperationKind::Launch).await;
        assert_eq!(result, Ok(()));
        assert_eq!(lines, ["Another vagrant command holds this VM; waiting for it to end."]);
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
        assert!(
            lines.iter().any(|line| line == "libvirt was just removing a VM; trying again."),
            "{lines:?}"
        );
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
            vagrant.run(&Order::of(OperationKind::Launch), &bench.machine(), &sender).await.unwrap_err();
        assert_eq!(error.kind, MachineErrorKind::TimedOut);
        assert!(error.text.starts_with("It took longer than a minute"), "{}", error.text);
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
        let launch = Order::of(OperationKind::Launch);
        // Both come to their end only if they run at once after that point.
        let (one, two) =
            tokio::join!(vagrant.run(&launch, &first, &sender), vagrant.run(&launch, &second, &sender),);
        assert_eq!((one, two), (Ok(()), Ok(())));
    }

    #[tokio::test]
    async fn the_way_into_a_guest_is_what_ssh_config_says() {
        let bench = Bench::new(
            r"printf '1,default,metadata,provider,libvirt\n'
            printf '1,default,ssh-config,Host default\\n  HostName 192.168.121.30\\n  User vagrant\\n  Port 22\\n  IdentityFile /k%%!(VAGRANT_COMMA)1\\n\n'",
        );
        bench.make_vagrantfile();
        let way = bench.vagrant().ssh_config(&bench.machine()).await.unwrap();
        assert_eq!((way.host.as_str(), way.identity_file.to_str()), ("192.168.121.30", Some("/k,1")));
        assert_eq!(bench.calls(), ["ssh-config --machine-readable"]);
    }

    #[tokio::test]
    async fn without_a_vagrantfile_of_its_own_nobody_asks_for_another_vms_way_in() {
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
    async fn a_vm_without_a_way_in_is_told_so() {
        for script in ["".to_owned(), error_exit("Vagrant::Errors::SSHNotReady"), "sleep 60".to_owned()] {
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
}
