//! Leftover resources: a machine without a VM record, a VM record whose machine is gone, a folder with neither. Listed
//! for admins with the actions that are safe.
//!
//! A machine is ours if its description names a folder of this installation; another installation on the same host has
//! its own folders. Nothing is removed unless an admin types the folder's name.

use super::{
    Expect, Scope, Vms,
    removals::{Removal, RemovalState},
    repository,
};
use crate::{
    model::{
        ApiError, CurrentUser, ErrorCode, GuestSetup, Orphan, OrphanKind, VmName, VmSpec, VmStatus, VmView,
    },
    server::{
        accounts::AdminAccess,
        events::NewEvent,
        internal,
        provider::{Machine, MachineCommand, OwnedDomain},
        request_origin,
    },
};
use serde::Deserialize;
use std::path::Path;
use tokio::sync::mpsc;

/// What `.vm_info` says of a VM's size, for one that has no row any more.
#[derive(Deserialize)]
struct FolderInfo {
    os_type: String,
    ram_mb: u32,
    disk_gb: u32,
    cpu_cores: u32,
}

impl Vms {
    /// All leftover resources, except those of open launches and destructions.
    ///
    /// # Errors
    /// `Unavailable` when the hypervisor does not answer; `Internal` when folders or database cannot be read.
    pub async fn orphans(&self, _: &AdminAccess) -> Result<Vec<Orphan>, ApiError> {
        let domains = self.owned_domains().await?;
        let folders = self.folders_there().await?;
        let vms = self.list(Scope::All).await?;
        let folder_of = |vm: &VmView| format!("user{}-{}", vm.owner_id, vm.name);
        let known: Vec<String> = vms.iter().map(folder_of).collect();
        let mut orphans = Vec::new();
        for domain in &domains {
            let folder = folder_name(&domain.directory);
            if known.contains(&folder) {
                continue;
            }
            let can_adopt =
                self.read_info(&folder).await.is_some() && self.owner_of(&folder).await?.is_some();
            let what = if can_adopt {
                "Import it to return it to its owner, or remove it with its disk."
            } else {
                "Its specification is unknown or its owner no longer exists: it can only be removed, with its disk."
            };
            orphans.push(Orphan {
                kind: OrphanKind::Domain,
                name: domain.name.clone(),
                owner_name: self.owner_of(&folder).await?.map(|owner| owner.username),
                vm_id: None,
                domain_uuid: Some(domain.uuid.clone()),
                can_adopt,
                can_clean_up: true,
                text: format!("This machine has no VM record. {what}"),
                folder,
            });
        }
        for folder in folders {
            if known.contains(&folder) || domains.iter().any(|d| folder_name(&d.directory) == folder) {
                continue;
            }
            orphans.push(Orphan {
                kind: OrphanKind::Directory,
                name: folder.clone(),
                owner_name: self.owner_of(&folder).await?.map(|owner| owner.username),
                vm_id: None,
                domain_uuid: None,
                can_adopt: false,
                can_clean_up: true,
                text: "This folder has neither a VM record nor a machine.".into(),
                folder,
            });
        }
        for vm in vms {
            let is_busy = vm.operation.as_ref().is_some_and(|o| o.state.is_open());
            if vm.status != VmStatus::NotCreated || is_busy || vm.adopted.is_some() {
                continue;
            }
            orphans.push(Orphan {
                kind: OrphanKind::Row,
                folder: folder_of(&vm),
                name: vm.name,
                owner_name: Some(vm.owner_name),
                vm_id: Some(vm.id),
                domain_uuid: None,
                can_adopt: false,
                can_clean_up: true,
                text: "The hypervisor does not have this VM. Start it to create it again, or clean it up."
                    .into(),
            });
        }
        for orphan in &mut orphans {
            match self.0.removals.state(&orphan.folder) {
                Some(RemovalState::UnderWay) => {
                    orphan.text = "It is being removed.".into();
                    (orphan.can_adopt, orphan.can_clean_up) = (false, false);
                }
                Some(RemovalState::Failed(why)) => orphan.text = format!("{why} {}", orphan.text),
                None => {}
            }
        }
        orphans.sort_by(|a, b| (a.kind, &a.folder).cmp(&(b.kind, &b.folder)));
        Ok(orphans)
    }

    /// Creates a VM record for an orphaned machine, for its owner, with the resources in its `.vm_info`. It costs no
    /// credits.
    ///
    /// # Errors
    /// `NotFound` when there is none with this folder; `Conflict` when its resources are unknown.
    pub async fn adopt_orphan(&self, user: &AdminAccess, folder: &str) -> Result<i64, ApiError> {
        let orphan = self.orphan(user, folder, Some(OrphanKind::Domain)).await?;
        let cannot = || ApiError::conflict("Its specification is unknown or its owner no longer exists.");
        let owner = self.owner_of(folder).await?.ok_or_else(cannot)?;
        let (name, spec) = self.read_info(folder).await.ok_or_else(cannot)?;
        let mut tx = self.0.database.write().await.map_err(internal)?;
        let vm_id =
            repository::insert(&mut tx, owner.id, &name, &spec, self.image(&spec.image), VmStatus::Unknown)
                .await
                .map_err(|error| super::name_taken(error, &name))?;
        repository::set_free(&mut tx, vm_id).await.map_err(internal)?;
        repository::set_domain(&mut tx, vm_id, orphan.domain_uuid.as_deref()).await.map_err(internal)?;
        let text = format!("{} returned {name} to {}.", user.username, owner.username);
        NewEvent::info("vm_orphan_adopted", Some(vm_id), text)
            .by(user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        self.0.operations.ended.notify_one();
        if let Some(view) = self.find(vm_id).await? {
            self.write_info(view, self.0.folders.join(folder), Expect::New).await;
        }
        Ok(vm_id)
    }

    /// Removes what is left: a machine with its disks and its folder, a folder, or a row with its folder. What takes as long
    /// as Vagrant does is an operation: a machine is returned to its owner and destroyed. Without an owner or a specification
    /// it has no record that an operation could belong to, and is removed in the background: the list of orphans shows that
    /// and, if it fails, why.
    ///
    /// # Errors
    /// `NotFound` when there is no such orphan any more; `Conflict` while it is being removed; `Unavailable` when the
    /// hypervisor fails.
    pub async fn clean_up_orphan(&self, user: &AdminAccess, folder: &str) -> Result<(), ApiError> {
        let being_removed = || ApiError::conflict("It is being removed already. Wait for it to finish.");
        let orphan = self.orphan(user, folder, None).await?;
        if !orphan.can_clean_up {
            return Err(being_removed());
        }
        let vm_id =
            if orphan.can_adopt { Some(self.adopt_orphan(user, folder).await?) } else { orphan.vm_id };
        if let Some(vm_id) = vm_id {
            let access = self.access(user, vm_id).await?;
            self.destroy(&access, false).await?;
            return Ok(());
        }
        let removal = Removal::begin(self, folder).ok_or_else(being_removed)?;
        let (vms, user, folder) = (self.clone(), user.clone(), folder.to_owned());
        let origin = request_origin::current();
        self.in_background(async move {
            let event = match vms.remove_folder_and_machine(&folder).await {
                Ok(()) => {
                    let text = format!("{} removed what was left of {}.", user.username, orphan.name);
                    NewEvent::info("orphan_removed", None, text)
                }
                Err(error) => {
                    let text =
                        format!("What was left of {} could not be removed. {}", orphan.name, error.text);
                    removal.failed(error.text);
                    NewEvent::error("orphan_not_removed", None, text)
                }
            };
            vms.0.events.record(NewEvent { origin, ..event.by(user.id) }).await;
        });
        Ok(())
    }

    async fn remove_folder_and_machine(&self, folder: &str) -> Result<(), ApiError> {
        let domains = self.owned_domains().await?;
        if let Some(domain) = domains.iter().find(|domain| folder_name(&domain.directory) == folder) {
            self.remove_machine(domain).await?;
        }
        let directory = self.0.folders.join(folder);
        tokio::fs::remove_dir_all(&directory).await.or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => {
                tracing::error!(%error, folder, "a leftover folder could not be removed");
                let text = format!("The folder {} could not be removed: {error}.", directory.display());
                Err(ApiError::new(ErrorCode::Unavailable, text))
            }
        })
    }

    /// With Vagrant where its folder is whole, which then forgets it too; else by the hypervisor's means.
    async fn remove_machine(&self, domain: &OwnedDomain) -> Result<(), ApiError> {
        let folder = folder_name(&domain.directory);
        if let (Some((owner_id, _)), Some((name, spec))) =
            (owner_and_name(&folder), self.read_info(&folder).await)
        {
            let machine = Machine {
                owner_id,
                name,
                vagrant_box: self
                    .image(&spec.image)
                    .map_or_else(|| spec.image.clone(), |i| i.vagrant_box.clone()),
                spec,
                is_resized: false,
                setup: GuestSetup::default(),
                box_url: None,
                domain_uuid: Some(domain.uuid.clone()),
                directory: domain.directory.clone(),
                project: None,
            };
            let (lines, _heard) = mpsc::unbounded_channel();
            let command = MachineCommand::of(crate::model::OperationKind::Destroy);
            if self.0.machines.run(&command, &machine, &lines).await.is_ok() {
                return Ok(());
            }
        }
        self.0.machines.remove_domain(domain).await.map_err(|error| {
            tracing::error!(detail = error.detail, "a leftover machine could not be removed");
            let text =
                format!("The hypervisor could not remove {}. Details are in the server log.", domain.name);
            ApiError::new(ErrorCode::Unavailable, text)
        })
    }

    async fn orphan(
        &self,
        admin: &AdminAccess,
        folder: &str,
        kind: Option<OrphanKind>,
    ) -> Result<Orphan, ApiError> {
        let found = self.orphans(admin).await?.into_iter();
        let mut found = found.filter(|orphan| orphan.folder == folder);
        found
            .find(|orphan| kind.is_none_or(|kind| orphan.kind == kind))
            .ok_or_else(|| ApiError::not_found("orphan"))
    }

    async fn owned_domains(&self) -> Result<Vec<OwnedDomain>, ApiError> {
        self.0.machines.owned_domains(&self.0.folders).await.map_err(|error| {
            tracing::error!(detail = error.detail, "the domains cannot be listed");
            ApiError::new(ErrorCode::Unavailable, "The hypervisor could not list its machines. Try again.")
        })
    }

    /// The names of the folders that could be VMs'.
    async fn folders_there(&self) -> Result<Vec<String>, ApiError> {
        let mut names = Vec::new();
        let mut entries = match tokio::fs::read_dir(&self.0.folders).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(names),
            Err(error) => return Err(internal(error)),
        };
        while let Some(entry) = entries.next_entry().await.map_err(internal)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if owner_and_name(&name).is_some() && entry.file_type().await.is_ok_and(|kind| kind.is_dir()) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    async fn owner_of(&self, folder: &str) -> Result<Option<CurrentUser>, ApiError> {
        let Some((owner_id, _)) = owner_and_name(folder) else { return Ok(None) };
        let found: Option<String> = sqlx::query_scalar("SELECT username FROM account WHERE id = ?")
            .bind(owner_id)
            .fetch_optional(self.0.database.read())
            .await
            .map_err(internal)?;
        Ok(found.map(|username| CurrentUser {
            id: owner_id,
            username,
            email: String::new(),
            role: crate::model::Role::User,
        }))
    }

    /// The contents of the folder's `.vm_info`.
    async fn read_info(&self, folder: &str) -> Option<(VmName, VmSpec)> {
        let (_, name) = owner_and_name(folder)?;
        let file = self.0.folders.join(folder).join(super::vm_info::FILE_NAME);
        let info: FolderInfo = serde_json::from_slice(&tokio::fs::read(file).await.ok()?).ok()?;
        let image = self.0.images.iter().find(|image| image.label == info.os_type);
        let spec = VmSpec {
            image: image.map_or(info.os_type, |image| image.key.clone()),
            ram_mb: info.ram_mb.max(1),
            cpu_cores: info.cpu_cores.max(1),
            disk_gb: info.disk_gb.max(1),
        };
        Some((name, spec))
    }
}

fn folder_name(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// `user1-web-1` → 1, `web-1`.
fn owner_and_name(folder: &str) -> Option<(i64, VmName)> {
    let (id, name) = folder.strip_prefix("user")?.split_once('-')?;
    Some((id.parse().ok()?, VmName::new(name).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_owner_and_its_vm() {
        assert_eq!(owner_and_name("user7-web-1"), Some((7, VmName::new("web-1").unwrap())));
        for other in ["user-web", "user7", "7-web", "userx-web", "user7-..", "lost+found"] {
            assert_eq!(owner_and_name(other), None, "{other}");
        }
    }
}
