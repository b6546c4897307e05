//! Imports machines that Vagrant created elsewhere on this host, with any provider, without changing their projects.
//! The machine's own provider reports its state; where that is not our hypervisor, Vagrant's index does, and all
//! metrics come from inside the guest.
//!
//! The request records the VM and an operation; the operation looks at the machine, which takes seconds. When it fails or
//! is cancelled, the VM's record is closed, so that the machine can be imported again.

use super::{Own, VmAccess, Vms, operation_events, operations, outcome::Ending, queue, repository};
use crate::{
    model::{Adoptable, Adopted, ApiError, ErrorCode, Image, OperationKind, VmName, VmSpec, VmStatus},
    server::{
        accounts::AdminAccess,
        events::NewEvent,
        guest::{self, GuestSample, ReadOnceError},
        internal,
        provider::{
            Domain, DomainState, GuestAccess, Hypervisor, IndexedMachine, Machine, MachineCommand,
            MachineError, MachineErrorKind, MachineIndex, Project, ReadError,
        },
    },
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{sync::mpsc::UnboundedSender, time::timeout};

/// For all of an import. Vagrant alone may take 30 s to say how to reach the guest.
const TIME_LIMIT: Duration = Duration::from_secs(90);

const KIB_PER_MB: u64 = 1024;
const BYTES_PER_GB: u64 = 1024 * 1024 * 1024;

/// What adoption needs to know about machines.
#[derive(Clone)]
pub struct Adoption {
    pub index: Arc<dyn MachineIndex>,
    pub guests: Arc<dyn GuestAccess>,
    pub hypervisor: Arc<dyn Hypervisor>,
}

impl Vms {
    /// The machines that Vagrant knows and that are not in the list, by their folders.
    ///
    /// # Errors
    /// `Unavailable` when Vagrant's index cannot be read.
    pub async fn adoptable(&self, _: &AdminAccess) -> Result<Vec<Adoptable>, ApiError> {
        let Some(adoption) = &self.0.adoption else { return Ok(Vec::new()) };
        let known: Vec<(String, String)> = sqlx::query_as("SELECT data_directory, machine FROM adopted")
            .fetch_all(self.0.database.read())
            .await
            .map_err(internal)?;
        let is_known = |project: &Project| {
            known.iter().any(|(data, machine)| {
                Path::new(data) == project.data_directory && *machine == project.machine
            })
        };
        let mut found: Vec<_> = indexed(adoption)
            .await?
            .into_iter()
            .filter(|machine| self.is_elsewhere(&machine.project) && !is_known(&machine.project))
            .filter_map(|machine| {
                let status = status(machine.state?);
                let suggested_name = suggested_name(&machine.project);
                Some(Adoptable { id: machine.id, machine: shown(&machine.project), status, suggested_name })
            })
            .collect();
        found.sort_by(|a, b| {
            (&a.machine.directory, &a.machine.machine).cmp(&(&b.machine.directory, &b.machine.machine))
        });
        Ok(found)
    }

    /// Begins to adopt a machine of Vagrant's index as a VM of `user`, and returns the VM's id. What takes seconds is the
    /// operation: see `Self::import`.
    ///
    /// # Errors
    /// `NotFound` when Vagrant has no such machine; `Invalid` for the name; `Conflict` when the name is taken, the machine is
    /// managed already, or it must be running and is not.
    pub async fn adopt(&self, user: &AdminAccess, id: &str, name: &str) -> Result<i64, ApiError> {
        let adoption = self.0.adoption.as_ref().ok_or_else(|| ApiError::not_found("machine"))?;
        let name = VmName::new(name.trim()).map_err(|e| ApiError::invalid_field("name", e.to_string()))?;
        let indexed = indexed(adoption).await?.into_iter().find(|machine| machine.id == id);
        let found = indexed
            .filter(|machine| self.is_elsewhere(&machine.project))
            .ok_or_else(|| ApiError::not_found("machine"))?;
        let state = found.state.ok_or_else(|| ApiError::not_found("machine"))?;
        if found.project.is_indexed && state != DomainState::Running {
            return Err(ApiError::conflict(not_running(&found.project.directory)));
        }
        let label = found.vagrant_box.clone().unwrap_or_else(|| found.project.provider.clone());
        let image = Image {
            key: ADOPTED.into(),
            label,
            vagrant_box: found.vagrant_box.unwrap_or_default(),
            box_url: None,
            min_ram_mb: 0,
            min_disk_gb: 0,
        };
        let folder = self.folder(user.id, &name);
        let mut tx = self.0.database.write().await.map_err(internal)?;
        let vm_id =
            repository::insert(&mut tx, user.id, &name, &spec_of(0, 0, 0), Some(&image), VmStatus::Pending)
                .await
                .map_err(|error| super::name_taken(error, &name))?;
        if tokio::fs::try_exists(&folder).await.unwrap_or(false) {
            return Err(super::folder_is_left(&folder));
        }
        repository::set_free(&mut tx, vm_id).await.map_err(internal)?;
        repository::insert_adopted(&mut tx, vm_id, &found.project).await.map_err(in_the_list)?;
        let kind = OperationKind::Import;
        let operation_id = queue::insert(&mut tx, vm_id, kind, None, user.id).await.map_err(internal)?;
        let text = format!(
            "{} requested the import of {name} from {}.",
            user.username,
            found.project.directory.display()
        );
        NewEvent::info(operation_events::requested_kind(kind), Some(vm_id), text)
            .by(user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        self.commit_and_begin(tx, vm_id, operation_id, Vec::new()).await?;
        Ok(vm_id)
    }

    /// Looks at a machine that is being imported, and makes the VM's folder. Safe to run again after an interruption: until
    /// its end is saved, nothing but that folder has changed.
    pub(super) async fn import(
        &self,
        operation_id: i64,
        command: &MachineCommand,
        vm_id: i64,
        machine: Machine,
    ) -> Ending {
        let folder = machine.directory.clone();
        let (vms, cancel) = (self.clone(), command.cancel.clone());
        let look = |lines: UnboundedSender<String>| async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(failure(MachineErrorKind::Cancelled, "The import was cancelled.")),
                found = timeout(TIME_LIMIT, vms.look_at(machine, &lines)) => found.unwrap_or_else(|_| {
                    let text = format!("It took longer than {} s. Try again.", TIME_LIMIT.as_secs());
                    Err(failure(MachineErrorKind::TimedOut, text))
                }),
            }
        };
        let found = match self.follow(operation_id, look).await {
            Ok(found) => operations::make_folder(&folder).await.map(|()| found).map_err(|error| {
                operations::broken(&format!("The VM's folder {} cannot be made: {error}.", folder.display()))
            }),
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => Ending::Imported(found),
            Err(error) => {
                let vms = self.clone();
                let removed =
                    tokio::task::spawn_blocking(move || vms.0.files.remove_folder(&folder, vm_id)).await;
                if !matches!(removed, Ok(Ok(()))) {
                    tracing::error!(vm_id, ?removed, "the folder of a failed import could not be removed");
                }
                Ending::NotImported(error)
            }
        }
    }

    /// A machine's resources come from the hypervisor or, if that does not know it, from the guest itself.
    async fn look_at(
        &self,
        mut machine: Machine,
        lines: &UnboundedSender<String>,
    ) -> Result<repository::Imported, MachineError> {
        let nothing =
            || failure(MachineErrorKind::NotCreated, "Vagrant does not have this machine any more.");
        let (Some(adoption), Some(project)) = (&self.0.adoption, machine.project.clone()) else {
            return Err(nothing());
        };
        let is_it = |other: &Project| {
            other.data_directory == project.data_directory && other.machine == project.machine
        };
        let machines = adoption.index.machines().await.map_err(unreadable)?;
        let found = machines.into_iter().find(|machine| is_it(&machine.project)).ok_or_else(nothing)?;
        let state = found.state.ok_or_else(nothing)?;
        let say = |line: &str| {
            let _ = lines.send(line.to_owned());
        };
        if !project.is_indexed {
            say("Asking the hypervisor about the machine.");
            if let Some(domain) = self.domain_in(adoption, &machine).await? {
                let spec = given_to(&domain).ok_or_else(|| {
                    failure(
                        MachineErrorKind::Unsupported,
                        "The hypervisor does not report its memory, cores and disk.",
                    )
                })?;
                let status = status(domain.state);
                return Ok(repository::Imported {
                    spec,
                    status,
                    domain_uuid: domain.uuid,
                    is_indexed: false,
                });
            }
        }
        say("Reading memory, cores and disk from inside the guest.");
        machine.project = Some(Project { is_indexed: true, ..project });
        let spec = spec_from_guest(adoption, &machine, state).await?;
        Ok(repository::Imported { spec, status: status(state), domain_uuid: found.id, is_indexed: true })
    }

    /// Stops managing an adopted VM; its machine stays as it is.
    ///
    /// # Errors
    /// `Conflict` when it was launched here, or while an operation is open.
    pub async fn unmanage(&self, access: &VmAccess<Own>) -> Result<(), ApiError> {
        let vm = access.vm();
        let Some(adopted) = &vm.adopted else {
            let text = format!("{} was launched here, so it can only be destroyed.", vm.name);
            return Err(ApiError::conflict(text));
        };
        let mut tx = self.0.database.write().await.map_err(internal)?;
        let lifecycle = repository::lifecycle(&mut tx, vm.id).await.map_err(internal)?;
        let lifecycle = lifecycle.ok_or_else(|| ApiError::not_found("VM"))?;
        if let Some(open) = lifecycle.open {
            let busy = super::lifecycle::Rejection::Busy(open);
            return Err(ApiError::conflict(format!("{} cannot be unmanaged now. {busy}", vm.name)));
        }
        repository::set_destroyed(&mut tx, vm.id).await.map_err(internal)?;
        let folder = self.folder(vm.owner_id, &VmName::new(&vm.name).map_err(internal)?);
        let (name, directory) = (&vm.name, &adopted.directory);
        let text =
            format!("{} took {name} off the list; its machine in {directory} stays.", access.user().username);
        NewEvent::info("vm_released", Some(vm.id), text)
            .by(access.user().id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        let (vms, vm_id) = (self.clone(), vm.id);
        // In a task of its own: a client that hangs up in between must not leave a folder without a VM.
        let released = tokio::spawn(async move {
            tx.commit().await.map_err(internal)?;
            tokio::task::spawn_blocking(move || vms.0.files.remove_folder(&folder, vm_id))
                .await
                .map_err(internal)?
                .map_err(internal)
        });
        released.await.map_err(internal)?
    }

    /// Whether a project is outside the folders of our VMs.
    fn is_elsewhere(&self, project: &Project) -> bool {
        !project.directory.starts_with(&self.0.folders)
    }

    async fn domain_in(
        &self,
        adoption: &Adoption,
        machine: &Machine,
    ) -> Result<Option<Domain>, MachineError> {
        let Some(uuid) = self.domain_of(machine) else { return Ok(None) };
        let sample = adoption.hypervisor.read().await.map_err(unreadable)?;
        Ok(sample.domains.into_iter().find(|domain| domain.uuid == uuid))
    }
}

fn in_the_list(error: sqlx::Error) -> ApiError {
    if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) {
        ApiError::conflict("This machine is already managed.")
    } else {
        internal(error)
    }
}

/// The key of no image: what an adopted VM was made from is not ours to say.
const ADOPTED: &str = "adopted";

async fn indexed(adoption: &Adoption) -> Result<Vec<IndexedMachine>, ApiError> {
    adoption.index.machines().await.map_err(|error| {
        tracing::error!(detail = error.detail, "Vagrant's index cannot be read");
        ApiError::new(ErrorCode::Unavailable, error.text)
    })
}

async fn spec_from_guest(
    adoption: &Adoption,
    machine: &Machine,
    state: DomainState,
) -> Result<VmSpec, MachineError> {
    let directory = machine.vagrant_directory();
    if state != DomainState::Running {
        return Err(failure(MachineErrorKind::NotCreated, not_running(directory)));
    }
    let sample = guest::read_once(adoption.guests.as_ref(), machine).await.map_err(|error| match error {
        ReadOnceError::Unsupported(text) => failure(MachineErrorKind::Unsupported, text),
        ReadOnceError::Failed(text) => failure(
            MachineErrorKind::Other,
            format!(
                "Its memory, cores and disk are read from inside, which does not work now. {text} See that \"vagrant ssh\" \
                 works in {}, then try again.",
                directory.display()
            ),
        ),
    })?;
    given_by(&sample)
}

fn not_running(directory: &Path) -> String {
    format!(
        "The VM is not running, so its memory, cores and disk are unknown. Run \"vagrant up\" in {}, then import it.",
        directory.display()
    )
}

fn given_by(sample: &GuestSample) -> Result<VmSpec, MachineError> {
    if sample.sees_host {
        return Err(failure(
            MachineErrorKind::Unsupported,
            "It is a container that sees its host's memory, cores and disk instead of its own, so it cannot be monitored. \
             Import VMs, or containers with lxcfs.",
        ));
    }
    let spec = || {
        Some(spec_of(
            sample.memory?.total_kib.div_ceil(KIB_PER_MB),
            sample.cpu?.cores,
            sample.root_fs?.total_bytes.div_ceil(BYTES_PER_GB),
        ))
    };
    spec().ok_or_else(|| {
        failure(
            MachineErrorKind::Unsupported,
            "The guest does not report its memory, cores and disk as Linux does, so it cannot be monitored.",
        )
    })
}

fn given_to(domain: &Domain) -> Option<VmSpec> {
    let capacity: u64 = domain.counters.disks.values().map(|disk| disk.capacity_bytes).sum();
    Some(spec_of(
        domain.counters.memory_kib?.div_ceil(KIB_PER_MB),
        domain.counters.vcpu_current?,
        capacity.div_ceil(BYTES_PER_GB),
    ))
}

/// What is not known is 1: the table takes no 0.
fn spec_of(ram_mb: u64, cpu_cores: u32, disk_gb: u64) -> VmSpec {
    let bounded = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).max(1);
    VmSpec {
        image: ADOPTED.into(),
        ram_mb: bounded(ram_mb),
        cpu_cores: cpu_cores.max(1),
        disk_gb: bounded(disk_gb),
    }
}

fn failure(kind: MachineErrorKind, text: impl Into<String>) -> MachineError {
    let text = text.into();
    MachineError { kind, detail: text.clone(), text }
}

fn unreadable(error: ReadError) -> MachineError {
    MachineError { kind: MachineErrorKind::HypervisorUnreachable, text: error.text, detail: error.detail }
}

fn status(state: DomainState) -> VmStatus {
    match state {
        DomainState::Running => VmStatus::Running,
        DomainState::Suspended => VmStatus::Suspended,
        DomainState::Stopped | DomainState::Crashed => VmStatus::Stopped,
        DomainState::Unknown => VmStatus::Unknown,
    }
}

fn shown(project: &Project) -> Adopted {
    Adopted {
        directory: project.directory.display().to_string(),
        machine: project.machine.clone(),
        provider: project.provider.clone(),
    }
}

/// After the project's folder and, where that is not the only one, the machine.
fn suggested_name(project: &Project) -> String {
    let folder = project.directory.file_name().unwrap_or_default().to_string_lossy();
    let whole = match project.machine.as_str() {
        "default" => folder.into_owned(),
        machine => format!("{folder}-{machine}"),
    };
    let plain: String =
        whole.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let short: String = plain.trim_matches('-').chars().take(60).collect();
    let short = short.trim_end_matches('-');
    match VmName::new(short) {
        Ok(name) => name.into(),
        Err(_) => format!("vm-{short}").trim_end_matches('-').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::guest::sample::tests::tiny_with;
    use proptest::prelude::*;

    fn project(directory: &str, machine: &str) -> Project {
        Project {
            directory: directory.into(),
            vagrantfile: None,
            data_directory: Path::new(directory).join(".vagrant"),
            machine: machine.into(),
            provider: "virtualbox".into(),
            is_indexed: true,
        }
    }

    #[test]
    fn a_name_is_suggested_after_the_folder_and_the_machine() {
        assert_eq!(suggested_name(&project("/home/ada/Web Shop", "default")), "web-shop");
        assert_eq!(suggested_name(&project("/home/ada/shop", "db_1")), "shop-db-1");
        assert_eq!(suggested_name(&project("/home/ada/cafe", "default")), "vm-cafe");
    }

    #[test]
    fn what_a_guest_has_is_given_in_whole_units_and_never_as_nothing() {
        let spec = spec_of(153, 0, 0);
        assert_eq!((spec.ram_mb, spec.cpu_cores, spec.disk_gb), (153, 1, 1));
    }

    #[test]
    fn a_container_that_sees_its_host_is_not_imported() {
        let refused = given_by(&tiny_with("container", "pid:[4026532281]")).unwrap_err();
        assert!(
            refused.kind == MachineErrorKind::Unsupported && refused.text.contains("container"),
            "{refused:?}"
        );
        let vm = given_by(&tiny_with("container", "pid:[4026531836]")).unwrap();
        assert_eq!(vm, spec_of(173, 1, 1));
    }

    #[test]
    fn an_old_kernel_is_imported() {
        let old = tiny_with("meminfo", "MemTotal: 1048576 kB\nMemFree: 1000 kB");
        assert_eq!(given_by(&old).unwrap().ram_mb, 1024);
    }

    proptest! {
        #[test]
        fn a_suggested_name_is_a_valid_one(folder in "[^/\\x00]{1,80}", machine in "\\PC{1,80}") {
            let name = suggested_name(&project(&format!("/home/{folder}"), &machine));
            prop_assert!(VmName::new(&name).is_ok(), "{name}");
        }
    }
}
