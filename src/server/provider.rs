//! What Twarga Cloud needs of whatever runs the VMs. Two implementations: Vagrant with libvirt, and the
//! simulated fleet; all other rooms speak to these traits only.

use crate::model::{GuestSetup, OperationKind, Snapshot, SnapshotName, Source, UtcMillis, VmName, VmSpec};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, mpsc::UnboundedSender};
use tokio_util::sync::CancellationToken;

/// A VM as a provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub owner_id: i64,
    pub name: VmName,
    /// What it is to be given at its next start.
    pub spec: VmSpec,
    /// That is something else than it was given before: a Vagrantfile that was edited by hand gives way.
    pub is_resized: bool,
    /// What its guest is set up with when it is made.
    pub setup: GuestSetup,
    /// Vagrant's name of the box.
    pub vagrant_box: String,
    pub box_url: Option<String>,
    /// The hypervisor's id of it, as far as it was known when it was last seen.
    pub domain_uuid: Option<String>,
    /// The VM's own folder, holding `.vm_info` and, unless it was adopted, `Vagrantfile` and `.vagrant/`. Absolute.
    pub directory: PathBuf,
    /// Where the machine comes from if it was adopted.
    pub project: Option<Project>,
}

impl Machine {
    /// Where `vagrant` runs. Absolute.
    pub fn vagrant_directory(&self) -> &Path {
        self.project.as_ref().map_or(&self.directory, |project| &project.directory)
    }

    /// Whether the hypervisor knows nothing of the machine, so that Vagrant's index tells how it stands.
    pub fn is_indexed(&self) -> bool {
        self.project.as_ref().is_some_and(|project| project.is_indexed)
    }
}

/// Somebody's own Vagrant project, of which a machine was adopted. Nothing in it is ours to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Holds the Vagrantfile. Absolute.
    pub directory: PathBuf,
    /// The Vagrantfile's name, if it is not the usual one.
    pub vagrantfile: Option<String>,
    /// Where Vagrant keeps what it knows of the project; `.vagrant` in its folder, usually. Absolute.
    pub data_directory: PathBuf,
    /// The machine's name within the Vagrantfile.
    pub machine: String,
    /// Vagrant's name of what runs it: `virtualbox`, `libvirt`, `docker`, …
    pub provider: String,
    /// See [`Machine::is_indexed`].
    pub is_indexed: bool,
}

/// A machine in Vagrant's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedMachine {
    pub id: String,
    pub project: Project,
    /// As Vagrant knew it when it last looked; `None`: there is no such machine any more.
    pub state: Option<DomainState>,
    pub vagrant_box: Option<String>,
}

/// All machines that Vagrant has made for the server's own user, whatever runs them.
#[async_trait]
pub trait MachineIndex: Send + Sync {
    /// The index as it stands. Cheap: reads a file at most.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn machines(&self) -> Result<Vec<IndexedMachine>, ReadError>;

    /// Has Vagrant look how the machine stands, which brings the index up to date. Takes seconds of CPU time: for
    /// when there is a reason to doubt it.
    ///
    /// # Errors
    /// Why Vagrant cannot tell.
    async fn look_again(&self, machine: &Machine) -> Result<(), MachineError>;
}

/// What is to be done with a machine.
#[derive(Debug, Clone)]
pub struct Order {
    pub kind: OperationKind,
    /// The snapshot, where the kind is about one.
    pub snapshot: Option<SnapshotName>,
    /// It was begun before, and a restart of the server cut it off.
    pub was_cut_off: bool,
    /// Cancelled when somebody wants it ended.
    pub cancel: CancellationToken,
}

impl Order {
    /// One that is about no snapshot and that nobody cancels.
    pub fn of(kind: OperationKind) -> Self {
        Self { kind, snapshot: None, was_cut_off: false, cancel: CancellationToken::new() }
    }
}

/// A machine that the provider has and that was made in a folder of this cloud's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedDomain {
    pub uuid: String,
    pub name: String,
    /// The folder it was made in.
    pub directory: PathBuf,
}

/// Carries out operations on machines.
#[async_trait]
pub trait Machines: Send + Sync {
    /// Runs one operation to its end and sends each line of output to `lines` as it comes.
    /// Whatever was done already is done no second time, so an operation that was cut off can be run again.
    ///
    /// # Errors
    /// What went wrong, by its class and in a person's words; `Cancelled` when it was ended because the order was
    /// cancelled. Either may leave it half done.
    async fn run(
        &self,
        order: &Order,
        machine: &Machine,
        lines: &UnboundedSender<String>,
    ) -> Result<(), MachineError>;

    /// The machine's snapshots, oldest first.
    ///
    /// # Errors
    /// When nobody tells.
    async fn snapshots(&self, machine: &Machine) -> Result<Vec<Snapshot>, ReadError>;

    /// All machines that were made in one of the folders in `folders`.
    ///
    /// # Errors
    /// When nobody tells.
    async fn owned_domains(&self, folders: &Path) -> Result<Vec<OwnedDomain>, ReadError>;

    /// Removes a machine with its disks and snapshots, by the hypervisor's means alone: for one whose folder is gone.
    ///
    /// # Errors
    /// When the hypervisor refuses.
    async fn remove_domain(&self, domain: &OwnedDomain) -> Result<(), ReadError>;

    /// What the Vagrantfile of a machine like this is written as.
    fn vagrantfile(&self, machine: &Machine) -> String;

    /// The hypervisor's id of the machine, once there is one. Cheap: reads a file at most.
    fn domain_uuid(&self, machine: &Machine) -> Option<String>;
}

/// Why an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineErrorKind {
    VagrantMissing,
    VagrantfileBroken,
    ConfigInvalid,
    BoxMissing,
    NotCreated,
    /// Another command holds the machine; trying again later helps.
    Busy,
    /// A disk of an earlier machine with this name is still there.
    DiskExists,
    /// A domain with this name exists that is not this machine.
    NameTaken,
    HypervisorUnreachable,
    BootTimeout,
    ProvisionerFailed,
    Interrupted,
    /// Somebody asked to end it.
    Cancelled,
    TimedOut,
    DiskFull,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct MachineError {
    pub kind: MachineErrorKind,
    /// What happened and what to do, for the person who asked.
    pub text: String,
    /// Vagrant's error class and last words, for the log.
    pub detail: String,
}

/// How to reach a guest over ssh. Names a key's file; never holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshConfig {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub identity_file: PathBuf,
}

/// Knows the way into the guests.
#[async_trait]
pub trait GuestAccess: Send + Sync {
    /// How to reach the machine's guest now. May take seconds of CPU time: ask rarely, one at a time, and only
    /// while the machine runs and no operation is under way on it.
    ///
    /// # Errors
    /// Why there is no way in, in a person's words.
    async fn ssh_config(&self, machine: &Machine) -> Result<SshConfig, MachineError>;
}

/// Reads what the hypervisor counts.
#[async_trait]
pub trait Hypervisor: Send + Sync {
    /// Reads all domains at once.
    ///
    /// # Errors
    /// When the hypervisor as a whole does not answer. A single domain that cannot be read is left out or has
    /// fewer counters.
    async fn read(&self) -> Result<Reading, ReadError>;

    /// The clocks that readings are stamped by: what a tick without a reading is stamped by, too.
    fn now(&self) -> Moment {
        Moment::now()
    }

    /// Notifies `changed` whenever a domain may have started, stopped or gone. Never ends by itself.
    async fn watch(&self, _changed: &Notify) {
        std::future::pending().await
    }

    /// Makes the guest's memory figures fresh every `period_secs`; to be asked once a boot.
    ///
    /// # Errors
    /// When the domain does not run or the hypervisor does not answer; trying again later may help.
    async fn enable_memory_statistics(&self, uuid: &str, period_secs: u32) -> Result<(), ReadError>;

    /// The domain's IPv4 address, when the hypervisor knows it.
    ///
    /// # Errors
    /// When the hypervisor does not answer.
    async fn address(&self, uuid: &str) -> Result<Option<String>, ReadError>;

    /// Runs a shell script inside the guest through its agent and answers what it printed, at most `max_bytes` of
    /// it; `None` when there is no such thing here.
    ///
    /// # Errors
    /// When the guest has no agent, or it does not answer or finish within `limit`.
    async fn run_in_guest(
        &self,
        _uuid: &str,
        _script: &str,
        _max_bytes: usize,
        _limit: Duration,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(None)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ReadError {
    /// What happened and what to do, in a person's words.
    pub text: String,
    /// The tool's own words, for the log.
    pub detail: String,
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub utc: UtcMillis,
    pub monotonic: Instant,
}

impl Moment {
    /// On the clocks of this machine.
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), utc: super::database::now() }
    }
}

/// All domains' counters at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Monotonic, taken before the read began.
    pub taken_at: Instant,
    /// The wall clock at the same moment.
    pub sampled_at: UtcMillis,
    pub domains: Vec<Domain>,
}

impl Reading {
    pub fn moment(&self) -> Moment {
        Moment { utc: self.sampled_at, monotonic: self.taken_at }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainState {
    Running,
    Suspended,
    Stopped,
    /// Not running because it died.
    Crashed,
    /// In between, or not told.
    Unknown,
}

/// One domain's state and counters. A counter that is not there is not known.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    pub uuid: String,
    pub name: String,
    pub state: DomainState,
    /// When it was last started, while it runs.
    pub started_at: Option<UtcMillis>,
    pub counters: Counters,
    /// `Hypervisor` or `Simulated`.
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Nanoseconds each virtual CPU ran, by its number.
    pub vcpu_time_ns: BTreeMap<u32, u64>,
    /// How many virtual CPUs the domain has now.
    pub vcpu_current: Option<u32>,
    /// What the domain was given.
    pub memory_kib: Option<u64>,
    pub balloon: Balloon,
    /// By the interface's name.
    pub interfaces: BTreeMap<String, Traffic>,
    /// Writable disks, by the device's name.
    pub disks: BTreeMap<String, DiskUse>,
}

/// The guest's own view of its memory, told through the balloon driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balloon {
    pub available_kib: Option<u64>,
    pub usable_kib: Option<u64>,
    /// When the guest last told, seconds since 1970.
    pub last_update_secs: Option<i64>,
}

/// Bytes since the domain started, from the VM's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUse {
    /// Bytes the image takes on the host.
    pub image_bytes: u64,
    /// Bytes the guest sees.
    pub capacity_bytes: u64,
}
