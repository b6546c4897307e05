//! Imports machines that Vagrant created elsewhere on this host, with any provider, without changing their projects.
//! The machine's own provider reports its state; where that is not our hypervisor, Vagrant's index does, and all
//! metrics come from inside the guest.

use super::{Expect, Own, VmAccess, Vms, operations, repository};
use crate::{
    model::{Adoptable, Adopted, ApiError, ErrorCode, GuestSetup, Image, VmName, VmSpec, VmStatus},
    server::{
        accounts::AdminAccess,
        events::NewEvent,
        guest::{self, GuestSample, ReadOnceError},
        internal,
        provider::{
            Domain, DomainState, GuestAccess, Hypervisor, IndexedMachine, Machine, MachineIndex, Project,
        },
        request_origin,
    },
};
use std::{path::Path, sync::Arc};

const KIB_PER_MB: u64 = 1024;
const BYTES_PER_GB: u64 = 1024 * 1024 * 1024;

/// What adoption needs to know about machines.
#[derive(Clone)]
pub struct Adoption {
    pub index: Arc<dyn MachineIndex>,
    pub guests: Arc<dyn GuestAccess>,
    pub hypervisor: Arc<dyn Hypervisor>,
}

/// A machine's specification, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Given {
    ram_mb: u64,
    cpu_cores: u32,
    disk_gb: u64,
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

    /// Adopts a machine of Vagrant's index as a VM of `user`, and returns the VM's id. Its resources come from the hypervisor
    /// or, if that does not know it, from the guest itself, which takes seconds.
    ///
    /// # Errors
    /// `NotFound` when Vagrant has no such machine; `Invalid` for the name; `Conflict` when the name is taken, the machine is
    /// managed already, or its resources are unknown.
    pub async fn adopt(&self, user: &AdminAccess, id: &str, name: &str) -> Result<i64, ApiError> {
        let adoption = self.0.adoption.as_ref().ok_or_else(|| ApiError::not_found("machine"))?;
        let name = VmName::new(name.trim()).map_err(|e| ApiError::invalid_field("name", e.to_string()))?;
        let indexed = indexed(adoption).await?.into_iter().find(|machine| machine.id == id);
        let mut found = indexed
            .filter(|machine| self.is_elsewhere(&machine.project))
            .ok_or_else(|| ApiError::not_found("machine"))?;
        let state = found.state.ok_or_else(|| ApiError::not_found("machine"))?;
        let machine = |project: &Project| Machine {
            owner_id: user.id,
            name: name.clone(),
            spec: VmSpec { image: ADOPTED.into(), ram_mb: 0, cpu_cores: 0, disk_gb: 0 },
            is_resized: false,
            setup: GuestSetup::default(),
            vagrant_box: found.vagrant_box.clone().unwrap_or_default(),
            box_url: None,
            domain_uuid: None,
            directory: self.folder(user.id, &name),
            project: Some(project.clone()),
        };
        let domain = if found.project.is_indexed {
            None
        } else {
            self.domain_in(adoption, &machine(&found.project)).await?
        };
        let (given, domain_uuid, status) = match domain {
            Some(domain) => (given_to(&domain), domain.uuid, status(domain.state)),
            None => {
                found.project.is_indexed = true;
                let machine = machine(&found.project);
                (spec_from_guest(adoption, &machine, state).await?, found.id.clone(), status(state))
            }
        };
        let given =
            given.ok_or_else(|| ApiError::conflict("Its memory, cores and disk could not be determined."))?;
        let spec = given.spec();
        let folder = self.folder(user.id, &name);
        if tokio::fs::try_exists(&folder).await.unwrap_or(false) {
            return Err(super::folder_is_left(&folder));
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
        let (vms, user, origin) = (self.clone(), user.clone(), request_origin::current());
        // In a task of its own: a client that hangs up in between must not leave a folder without a VM.
        let adoption = tokio::spawn(async move {
            let mut tx = vms.0.database.write().await.map_err(internal)?;
            let vm_id = repository::insert(&mut tx, user.id, &name, &spec, Some(&image), status)
                .await
                .map_err(|error| super::name_taken(error, &name))?;
            repository::set_free(&mut tx, vm_id).await.map_err(internal)?;
            repository::insert_adopted(&mut tx, vm_id, &found.project, &domain_uuid)
                .await
                .map_err(in_the_list)?;
            let shown = found.project.directory.display();
            let text = format!("{} imported {name} from {shown}.", user.username);
            let event = NewEvent::info("vm_adopted", Some(vm_id), text).by(user.id);
            NewEvent { origin, ..event }.write(&mut tx).await.map_err(internal)?;
            operations::make_folder(&folder).await.map_err(internal)?;
            tx.commit().await.map_err(internal)?;
            if let Some(view) = vms.find(vm_id).await? {
                vms.write_info(view, folder, Expect::New).await;
            }
            Ok(vm_id)
        });
        adoption.await.map_err(internal)?
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
        // As above.
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

    async fn domain_in(&self, adoption: &Adoption, machine: &Machine) -> Result<Option<Domain>, ApiError> {
        let Some(uuid) = self.domain_of(machine) else { return Ok(None) };
        let sample = adoption.hypervisor.read().await.map_err(|error| {
            tracing::error!(detail = error.detail, "the hypervisor could not be read");
            ApiError::new(ErrorCode::Unavailable, error.text)
        })?;
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
) -> Result<Option<Given>, ApiError> {
    let shown = machine.vagrant_directory().display();
    if state != DomainState::Running {
        return Err(ApiError::conflict(format!(
            "The VM is not running, so its memory, cores and disk are unknown. Run \"vagrant up\" in {shown}, then import it."
        )));
    }
    let sample = guest::read_once(adoption.guests.as_ref(), machine).await.map_err(|error| match error {
        ReadOnceError::Unsupported(text) => ApiError::conflict(text),
        ReadOnceError::Failed(text) => ApiError::conflict(format!(
            "Its memory, cores and disk are read from inside, which does not work now. {text} See that \"vagrant ssh\" \
             works in {shown}, then try again."
        )),
    })?;
    given_by(&sample)
}

fn given_by(sample: &GuestSample) -> Result<Option<Given>, ApiError> {
    if sample.sees_host {
        return Err(ApiError::conflict(
            "It is a container that sees its host's memory, cores and disk instead of its own, so it cannot be monitored. \
             Import VMs, or containers with lxcfs.",
        ));
    }
    let given = || {
        Some(Given {
            ram_mb: sample.memory?.total_kib.div_ceil(KIB_PER_MB),
            cpu_cores: sample.cpu?.cores,
            disk_gb: sample.root_fs?.total_bytes.div_ceil(BYTES_PER_GB),
        })
    };
    Ok(given())
}

fn given_to(domain: &Domain) -> Option<Given> {
    let capacity: u64 = domain.counters.disks.values().map(|disk| disk.capacity_bytes).sum();
    Some(Given {
        ram_mb: domain.counters.memory_kib?.div_ceil(KIB_PER_MB),
        cpu_cores: domain.counters.vcpu_current?,
        disk_gb: capacity.div_ceil(BYTES_PER_GB),
    })
}

impl Given {
    fn spec(self) -> VmSpec {
        let bounded = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).max(1);
        VmSpec {
            image: ADOPTED.into(),
            ram_mb: bounded(self.ram_mb),
            cpu_cores: self.cpu_cores.max(1),
            disk_gb: bounded(self.disk_gb),
        }
    }
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
        let spec = Given { ram_mb: 153, cpu_cores: 0, disk_gb: 0 }.spec();
        assert_eq!((spec.ram_mb, spec.cpu_cores, spec.disk_gb), (153, 1, 1));
    }

    #[test]
    fn a_container_that_sees_its_host_is_not_imported() {
        let refused = given_by(&tiny_with("container", "pid:[4026532281]")).unwrap_err();
        assert!(refused.code == ErrorCode::Conflict && refused.text.contains("container"), "{refused:?}");
        let vm = given_by(&tiny_with("container", "pid:[4026531836]")).unwrap().unwrap();
        assert_eq!(vm, Given { ram_mb: 173, cpu_cores: 1, disk_gb: 1 });
    }

    #[test]
    fn an_old_kernel_is_imported() {
        let old = tiny_with("meminfo", "MemTotal: 1048576 kB\nMemFree: 1000 kB");
        assert_eq!(given_by(&old).unwrap().unwrap().ram_mb, 1024);
    }

    proptest! {
        #[test]
        fn a_suggested_name_is_a_valid_one(folder in "[^/\\x00]{1,80}", machine in "\\PC{1,80}") {
            let name = suggested_name(&project(&format!("/home/{folder}"), &machine));
            prop_assert!(VmName::new(&name).is_ok(), "{name}");
        }
    }
}
