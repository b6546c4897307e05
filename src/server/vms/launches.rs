//! Launches a VM, and answers before that what it would cost and which Vagrantfile it would get.
//!
//! A rejected request changes nothing: its transaction is rolled back.

use super::{Vms, operation_events, queue, repository, stamp};
use crate::{
    model::{
        ApiError, CurrentUser, Launch, OperationKind, QuotaCheck, Requested, VmSpec, VmStatus, check_launch,
        price,
    },
    server::{credits, events::NewEvent, internal, provider::Machine},
};

impl Vms {
    /// Starts to launch a VM for `user`.
    ///
    /// # Errors
    /// `Invalid` with the fields that are wrong; `Conflict` when the name is taken, or when credits, the number of VMs
    /// or the host do not allow it.
    pub async fn launch(&self, user: &CurrentUser, launch: &Launch) -> Result<Requested, ApiError> {
        let (name, spec, setup) = check_launch(launch, &self.0.images, self.0.limits)?;
        let folder = self.folder(user.id, &name);
        let mut tx = self.0.database.write().await.map_err(internal)?;
        let quota = self.0.allowances.quota(&mut *tx, user.id).await.map_err(internal)?;
        let vm_id =
            repository::insert(&mut tx, user.id, &name, &spec, self.image(&spec.image), VmStatus::Pending)
                .await
                .map_err(|error| super::name_taken(error, &name))?;
        if tokio::fs::try_exists(&folder).await.unwrap_or(false) {
            return Err(super::folder_is_left(&folder));
        }
        if let Some(reason) = credits::too_many(quota) {
            return Err(ApiError::conflict(reason));
        }
        self.fits(&mut tx, vm_id, &spec).await?;
        repository::insert_setup(&mut tx, vm_id, &setup).await.map_err(internal)?;
        let kind = OperationKind::Launch;
        let operation_id = queue::insert(&mut tx, vm_id, kind, None, user.id).await.map_err(internal)?;
        self.0.allowances.reserve(&mut tx, user.id, vm_id, Some(operation_id), &spec, stamp()).await?;
        let text = operation_events::requested_text(&user.username, kind, name.as_str(), None);
        NewEvent::info(operation_events::requested_kind(kind), Some(vm_id), text)
            .by(user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        self.commit_and_begin(tx, vm_id, operation_id, Vec::new()).await?;
        self.requested(vm_id, Some(operation_id)).await
    }

    /// The Vagrantfile that a launch would be made with.
    ///
    /// # Errors
    /// `Invalid` with the fields that are wrong.
    pub fn preview_vagrantfile(&self, user: &CurrentUser, launch: &Launch) -> Result<String, ApiError> {
        let (name, spec, setup) = check_launch(launch, &self.0.images, self.0.limits)?;
        let image = self.0.images.iter().find(|image| image.key == spec.image);
        let image = image.ok_or_else(|| ApiError::not_found("image"))?;
        Ok(self.0.machines.vagrantfile(&Machine {
            owner_id: user.id,
            directory: self.folder(user.id, &name),
            name,
            vagrant_box: image.vagrant_box.clone(),
            box_url: image.box_url.clone(),
            spec,
            is_resized: false,
            setup,
            domain_uuid: None,
            project: None,
        }))
    }

    /// What a VM of this size would cost `user`, and the reasons why it cannot be launched.
    ///
    /// # Errors
    /// `Invalid` with the fields that are wrong; `Internal` when the database cannot be read.
    pub async fn check_quota(&self, user: &CurrentUser, spec: &VmSpec) -> Result<QuotaCheck, ApiError> {
        // A valid name, because none has been entered yet.
        let launch = Launch {
            name: "new-vm".into(),
            image: spec.image.clone(),
            ram_mb: spec.ram_mb,
            cpu_cores: spec.cpu_cores,
            disk_gb: spec.disk_gb,
            ..Launch::default()
        };
        let (_, spec, _) = check_launch(&launch, &self.0.images, self.0.limits)?;
        let quota = self.quota(user.id).await?;
        let price = price(&spec);
        let against = self.0.allowances.against_capacity(self.0.database.read(), None, &spec).await;
        let own = [credits::too_many(quota), credits::too_expensive(i64::from(price), quota)];
        let reasons: Vec<_> = own.into_iter().flatten().chain(against.map_err(internal)?).collect();
        Ok(QuotaCheck { price, quota, allowed: reasons.is_empty(), reasons })
    }
}
