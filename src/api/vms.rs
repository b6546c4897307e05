use crate::model::{
    Adoptable, ApiError, Image, Limits, OperationView, Orphan, Quota, QuotaCheck, Requested, Snapshot,
    VagrantfileVersion, VmOutcome, VmShare, VmView,
};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The VMs that the caller owns or that are shared with them, oldest first; for admins, everyone's.
#[server(prefix = "/api/v1", endpoint = "list_vms", input = GetUrl)]
pub async fn list_vms() -> Result<Vec<VmView>, ApiError> {
    use crate::server::{vms::Scope, web::request_context};
    let (state, user) = request_context::require_user().await?;
    state.vms.list(Scope::of(&user)).await
}

/// The images that VMs can be launched from. For any signed-in user.
#[server(prefix = "/api/v1", endpoint = "images", input = GetUrl)]
pub async fn images() -> Result<Vec<Image>, ApiError> {
    use crate::server::web::request_context;
    let (state, _) = request_context::require_user().await?;
    Ok(state.vms.images().to_vec())
}

/// The maximum resources of a VM on this server. For any signed-in user.
#[server(prefix = "/api/v1", endpoint = "launch_limits", input = GetUrl)]
pub async fn launch_limits() -> Result<Limits, ApiError> {
    use crate::server::web::request_context;
    let (state, _) = request_context::require_user().await?;
    Ok(state.vms.limits())
}

/// The user's credits and number of VMs.
#[server(prefix = "/api/v1", endpoint = "my_quota", input = GetUrl)]
pub async fn my_quota() -> Result<Quota, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.vms.quota(user.id).await
}

/// What a VM of this size would cost the caller, and why it cannot be launched, if so.
#[server(prefix = "/api/v1", endpoint = "check_quota", input = GetUrl)]
pub async fn check_quota(
    /// Key of an [`Image`].
    image: String,
    /// Memory in MB, a whole number from the image's minimum to [`Limits::max_ram_mb`].
    ram_mb: u32,
    /// Virtual cores, a whole number from 1 to [`Limits::max_cpu_cores`].
    cpu_cores: u32,
    /// Disk in GB, a whole number from the image's minimum to [`Limits::max_disk_gb`].
    disk_gb: u32,
) -> Result<QuotaCheck, ApiError> {
    use crate::{model::VmSpec, server::web::request_context};
    let (state, user) = request_context::require_user().await?;
    state.vms.check_quota(&user, &VmSpec { image, ram_mb, cpu_cores, disk_gb }).await
}

/// Requests the launch of a VM that belongs to the caller. Sizes are text, so that each wrong field of a form gets its
/// own message; a browser is redirected to the VM's page.
///
/// # Errors
/// `Conflict` if the name or its folder is taken, or the caller's credits, the maximum number of VMs or the host's
/// capacity do not suffice.
#[server(prefix = "/api/v1", endpoint = "launch_vm")]
pub async fn launch_vm(
    /// 1 to 63 letters, digits and hyphens, converted to lower case; see [`VmName`](crate::model::VmName).
    name: String,
    /// Key of an [`Image`].
    image: String,
    /// Memory in MB, a whole number from the image's minimum to [`Limits::max_ram_mb`].
    ram_mb: String,
    /// Virtual cores, a whole number from 1 to [`Limits::max_cpu_cores`].
    cpu_cores: String,
    /// Disk in GB, a whole number from the image's minimum to [`Limits::max_disk_gb`].
    disk_gb: String,
    /// A shell script that runs once in the guest, as root; blank for none. At most
    /// [`GUEST_FILE_MAX_BYTES`](crate::model::GUEST_FILE_MAX_BYTES).
    #[server(default)]
    provision_script: String,
    /// User data for cloud-init, starting with `#`; blank for none. At most
    /// [`GUEST_FILE_MAX_BYTES`](crate::model::GUEST_FILE_MAX_BYTES).
    #[server(default)]
    user_data: String,
) -> Result<Requested, ApiError> {
    use crate::{model::Launch, server::web::request_context};
    let (state, user) = request_context::require_user().await?;
    let launch = Launch {
        provision_script: Some(provision_script),
        user_data: Some(user_data),
        ..Launch::from_form(name, image, &ram_mb, &cpu_cores, &disk_gb)
    };
    let requested = state.vms.launch(&user, &launch).await?;
    request_context::redirect(&format!("/vms/{}", requested.vm_id));
    Ok(requested)
}

/// The Vagrantfile of a launch with these values, without launching anything. It mentions a script and user data only
/// if there are any. For any signed-in user.
#[server(prefix = "/api/v1", endpoint = "preview_vagrantfile", input = GetUrl)]
pub async fn preview_vagrantfile(
    /// 1 to 63 letters, digits and hyphens, converted to lower case; see [`VmName`](crate::model::VmName).
    name: String,
    /// Key of an [`Image`].
    image: String,
    /// Memory in MB, a whole number from the image's minimum to [`Limits::max_ram_mb`].
    ram_mb: String,
    /// Virtual cores, a whole number from 1 to [`Limits::max_cpu_cores`].
    cpu_cores: String,
    /// Disk in GB, a whole number from the image's minimum to [`Limits::max_disk_gb`].
    disk_gb: String,
    /// Whether there is a provisioning script; its text is not needed.
    #[server(default)]
    with_script: bool,
    /// Whether there is user data; its text is not needed.
    #[server(default)]
    with_user_data: bool,
) -> Result<String, ApiError> {
    use crate::{model::Launch, server::web::request_context};
    let (state, user) = request_context::require_user().await?;
    let some = |is_there: bool| is_there.then(|| "#".to_owned());
    let launch = Launch {
        provision_script: some(with_script),
        user_data: some(with_user_data),
        ..Launch::from_form(name, image, &ram_mb, &cpu_cores, &disk_gb)
    };
    state.vms.preview_vagrantfile(&user, &launch)
}

/// Requests a start of a VM; the result has no operation if it is running already. For the owner and admins.
///
/// # Errors
/// `Conflict` with the reason if the VM's state does not allow it, or credits or the host's capacity do not suffice.
#[server(prefix = "/api/v1", endpoint = "start_vm")]
pub async fn start_vm(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
) -> Result<Requested, ApiError> {
    use crate::{
        model::OperationKind::Start,
        server::{vms::Operate, web::request_context},
    };
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    state.vms.request(&access, Start).await
}

/// Requests a shutdown of a VM, which powers it off if the guest does not shut down in time; the result has no
/// operation if it is stopped already. For the owner and admins.
///
/// # Errors
/// `Conflict` with the reason if the VM's state does not allow it.
#[server(prefix = "/api/v1", endpoint = "stop_vm")]
pub async fn stop_vm(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
) -> Result<Requested, ApiError> {
    use crate::{
        model::OperationKind::Stop,
        server::{vms::Operate, web::request_context},
    };
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    state.vms.request(&access, Stop).await
}

/// Requests that a VM is powered off immediately, and cancels its open operations. For the owner and admins.
///
/// # Errors
/// `Conflict` with the reason if the VM's state does not allow it.
#[server(prefix = "/api/v1", endpoint = "force_stop_vm")]
pub async fn force_stop_vm(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
) -> Result<Requested, ApiError> {
    use crate::{
        model::OperationKind::ForceStop,
        server::{vms::Operate, web::request_context},
    };
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    state.vms.request(&access, ForceStop).await
}

/// Requests a shutdown and a new start of a VM. For the owner and admins.
///
/// # Errors
/// As [`start_vm`].
#[server(prefix = "/api/v1", endpoint = "restart_vm")]
pub async fn restart_vm(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
) -> Result<Requested, ApiError> {
    use crate::{
        model::OperationKind::Restart,
        server::{vms::Operate, web::request_context},
    };
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    state.vms.request(&access, Restart).await
}

/// Requests that a running VM is suspended. For the owner and admins.
///
/// # Errors
/// `Conflict` with the reason if the VM's state does not allow it.
#[server(prefix = "/api/v1", endpoint = "suspend_vm")]
pub async fn suspend_vm(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
) -> Result<Requested, ApiError> {
    use crate::{
        model::OperationKind::Suspend,
        server::{vms::Operate, web::request_context},
    };
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    state.vms.request(&access, Suspend).await
}

/// Requests that a suspended VM is resumed. For the owner and admins.
///
/// # Errors
/// `Conflict` with the reason if the VM's state does not allow it.
#[server(prefix = "/api/v1", endpoint = "resume_vm")]
pub async fn resume_vm(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
) -> Result<Requested, ApiError> {
    use crate::{
        model::OperationKind::Resume,
        server::{vms::Operate, web::request_context},
    };
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    state.vms.request(&access, Resume).await
}

/// Sets the resources that a VM gets at its next start. Sizes are text, as in [`launch_vm`]. For the owner and admins.
///
/// # Errors
/// `Conflict` with the reason if the VM's state does not allow it, or credits or the host's capacity do not suffice.
#[server(prefix = "/api/v1", endpoint = "resize_vm")]
pub async fn resize_vm(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// Memory in MB, a whole number from the image's minimum to [`Limits::max_ram_mb`].
    ram_mb: String,
    /// Virtual cores, a whole number from 1 to [`Limits::max_cpu_cores`].
    cpu_cores: String,
    /// Disk in GB, a whole number from its current size to [`Limits::max_disk_gb`].
    disk_gb: String,
) -> Result<Requested, ApiError> {
    use crate::{
        model::{Resize, parse_whole},
        server::{vms::Own, web::request_context},
    };
    let (state, access) = request_context::require_vm::<Own>(vm_id).await?;
    let given = |text: &str| Some(parse_whole(text));
    let resize = Resize { ram_mb: given(&ram_mb), cpu_cores: given(&cpu_cores), disk_gb: given(&disk_gb) };
    state.vms.resize(&access, resize).await
}

/// A VM's snapshots, oldest first. For the owner and admins.
///
/// # Errors
/// `Unavailable` if the hypervisor cannot list them.
#[server(prefix = "/api/v1", endpoint = "vm_snapshots", input = GetUrl)]
pub async fn vm_snapshots(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
) -> Result<Vec<Snapshot>, ApiError> {
    use crate::server::{vms::View, web::request_context};
    let (state, access) = request_context::require_vm::<View>(vm_id).await?;
    state.vms.snapshots(&access).await
}

/// Requests a new snapshot of a VM. For the owner and admins.
///
/// # Errors
/// `Conflict` with the reason if the VM's state does not allow it, the name is taken, or there are 20 already;
/// `Unavailable` if the hypervisor cannot list them.
#[server(prefix = "/api/v1", endpoint = "save_snapshot")]
pub async fn save_snapshot(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// Name of the new snapshot, unique within its VM; see [`SnapshotName`](crate::model::SnapshotName).
    snapshot: String,
) -> Result<Requested, ApiError> {
    use crate::{
        model::{OperationKind::SnapshotSave, SnapshotName},
        server::{vms::Operate, web::request_context},
    };
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    let snapshot = SnapshotName::new(snapshot.trim())?;
    state.vms.request_on_snapshot(&access, SnapshotSave, snapshot).await
}

/// Requests that a VM is restored to a snapshot; what was written since is lost. For the owner and admins.
///
/// # Errors
/// `Conflict` with the reason if the VM's state does not allow it, or there is no such snapshot; `Unavailable` if the
/// hypervisor cannot list them.
#[server(prefix = "/api/v1", endpoint = "restore_snapshot")]
pub async fn restore_snapshot(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// Name of one of the VM's snapshots.
    snapshot: String,
) -> Result<Requested, ApiError> {
    use crate::{
        model::{OperationKind::SnapshotRestore, SnapshotName},
        server::{vms::Operate, web::request_context},
    };
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    let snapshot = SnapshotName::new(snapshot.trim())?;
    state.vms.request_on_snapshot(&access, SnapshotRestore, snapshot).await
}

/// Requests the deletion of a snapshot. For the owner and admins.
///
/// # Errors
/// As [`restore_snapshot`].
#[server(prefix = "/api/v1", endpoint = "delete_snapshot")]
pub async fn delete_snapshot(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// Name of one of the VM's snapshots.
    snapshot: String,
) -> Result<Requested, ApiError> {
    use crate::{
        model::{OperationKind::SnapshotDelete, SnapshotName},
        server::{vms::Operate, web::request_context},
    };
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    let snapshot = SnapshotName::new(snapshot.trim())?;
    state.vms.request_on_snapshot(&access, SnapshotDelete, snapshot).await
}

/// Sets whether a VM starts with the server. For the owner and admins.
#[server(prefix = "/api/v1", endpoint = "set_auto_start")]
pub async fn set_auto_start(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// Whether the VM starts with the server; absent, like an unchecked checkbox, means no.
    #[server(default)]
    auto_start: bool,
) -> Result<(), ApiError> {
    use crate::server::{vms::Own, web::request_context};
    let (state, access) = request_context::require_vm::<Own>(vm_id).await?;
    state.vms.set_auto_start(&access, auto_start).await
}

/// Schedules a shutdown of a VM some hours from now, or cancels it. For the owner and admins.
#[server(prefix = "/api/v1", endpoint = "stop_after")]
pub async fn stop_after(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// Hours from now, with fractions, at most 8784 (366 days); 0 cancels the scheduled shutdown.
    hours: f64,
) -> Result<(), ApiError> {
    use crate::server::{vms::Operate, web::request_context};
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    state.vms.stop_after(&access, hours).await
}

/// Schedules a shutdown of a VM at a time, or cancels it. For the owner and admins.
#[server(prefix = "/api/v1", endpoint = "stop_at")]
pub async fn stop_at(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// `2026-11-23T06:15:00Z`, or `2026-11-23T06:15` in local time; in the future, within 366 days. Empty cancels the
    /// scheduled shutdown.
    #[server(default)]
    at: String,
    /// How far local time is ahead of UTC, in minutes; ignored if `at` has a time zone.
    #[server(default)]
    offset_minutes: i16,
) -> Result<(), ApiError> {
    use crate::{
        model::UtcMillis,
        server::{vms::Operate, web::request_context},
    };
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    let wrong = || ApiError::invalid_field("at", "This is a time such as 2026-11-23T06:15:00Z.");
    let at = match at.trim() {
        "" => None,
        local if local.len() == "2026-11-23T06:15".len() => {
            let as_utc = UtcMillis::from_rfc3339(&format!("{local}:00Z")).ok_or_else(wrong)?;
            Some(as_utc.plus_secs(-60 * i64::from(offset_minutes)))
        }
        text => Some(UtcMillis::from_rfc3339(text).ok_or_else(wrong)?),
    };
    state.vms.set_stop_at(&access, at).await
}

/// The versions of a VM's Vagrantfile, newest first. For the owner and admins.
#[server(prefix = "/api/v1", endpoint = "vm_vagrantfiles", input = GetUrl)]
pub async fn vm_vagrantfiles(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
) -> Result<Vec<VagrantfileVersion>, ApiError> {
    use crate::server::{vms::Own, web::request_context};
    let (state, access) = request_context::require_vm::<Own>(vm_id).await?;
    state.vms.vagrantfiles(&access).await
}

/// 50 of a VM's operations, newest first. For the owner and admins.
#[server(prefix = "/api/v1", endpoint = "vm_operations", input = GetUrl)]
pub async fn vm_operations(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// Only operations older than the one with this id; `None` for the newest.
    before: Option<i64>,
) -> Result<Vec<OperationView>, ApiError> {
    use crate::server::{vms::View, web::request_context};
    let (state, access) = request_context::require_vm::<View>(vm_id).await?;
    state.vms.operations(&access, before, 50).await
}

/// Cancels a queued or running operation. For the owner and admins.
///
/// # Errors
/// `NotFound` if the VM has no such operation; `Conflict` if it has finished, or works on a snapshot at the moment.
#[server(prefix = "/api/v1", endpoint = "cancel_operation")]
pub async fn cancel_operation(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// Id of an open operation of this VM.
    operation_id: i64,
) -> Result<(), ApiError> {
    use crate::server::{vms::Operate, web::request_context};
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    state.vms.cancel(&access, operation_id).await
}

/// Requests a start or shutdown of several VMs, and returns the result for each. For users who may operate all of them;
/// otherwise nothing is requested.
#[server(prefix = "/api/v1", endpoint = "act_on_vms")]
pub async fn act_on_vms(
    /// Ids of 1 to 500 VMs.
    #[server(default)]
    vm_ids: Vec<i64>,
    /// `start` or `stop`.
    action: String,
) -> Result<Vec<VmOutcome>, ApiError> {
    use crate::{model::OperationKind, server::web::request_context};
    let (state, user) = request_context::require_user().await?;
    let kind = OperationKind::parse(&action)
        .ok_or_else(|| ApiError::invalid_field("action", "Several VMs can be started or stopped."))?;
    state.vms.request_of_several(&user, &vm_ids, kind).await
}

/// Powers off every VM immediately, and returns the result for each. For admins.
#[server(prefix = "/api/v1", endpoint = "stop_all_vms")]
pub async fn stop_all_vms(
    /// The word `stop`, as confirmation.
    confirm: String,
) -> Result<Vec<VmOutcome>, ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    if confirm.trim() != "stop" {
        return Err(ApiError::invalid_field("confirm", "Type stop to confirm."));
    }
    state.vms.emergency_stop(&admin).await
}

/// Leftover machines, folders and VM records. For admins.
///
/// # Errors
/// `Unavailable` if the hypervisor cannot list its machines.
#[server(prefix = "/api/v1", endpoint = "orphans", input = GetUrl)]
pub async fn orphans() -> Result<Vec<Orphan>, ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    state.vms.orphans(&admin).await
}

/// Returns a leftover machine to its owner as a VM, and returns the VM's id. For admins.
///
/// # Errors
/// `NotFound` if there is no such machine; `Conflict` if its resources or its owner are unknown, or its name is in use;
/// `Unavailable` if the hypervisor cannot list its machines.
#[server(prefix = "/api/v1", endpoint = "adopt_orphan")]
pub async fn adopt_orphan(
    /// [`Orphan::folder`] of a machine without a VM record: `user1-web-1`.
    folder: String,
) -> Result<i64, ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    state.vms.adopt_orphan(&admin, &folder).await
}

/// Begins to remove a leftover resource with its disk, if it has one. [`orphans`] lists it until it is gone; an event has
/// the outcome. For admins.
///
/// # Errors
/// `NotFound` if there is no such resource; `Conflict` if it is being removed; `Unavailable` if the hypervisor cannot list
/// its machines.
#[server(prefix = "/api/v1", endpoint = "clean_up_orphan")]
pub async fn clean_up_orphan(
    /// [`Orphan::folder`] of what to remove: `user1-web-1`.
    folder: String,
    /// The same as `folder`, as confirmation.
    confirm_name: String,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    if confirm_name.trim() != folder {
        return Err(ApiError::invalid_field("confirm_name", format!("Type {folder} to confirm.")));
    }
    state.vms.clean_up_orphan(&admin, &folder).await
}

/// The Vagrant machines on this host that are not managed here yet. For admins.
///
/// # Errors
/// `Unavailable` if Vagrant's index cannot be read.
#[server(prefix = "/api/v1", endpoint = "adoptable_machines", input = GetUrl)]
pub async fn adoptable_machines() -> Result<Vec<Adoptable>, ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    state.vms.adoptable(&admin).await
}

/// Begins to import a Vagrant machine as a VM of the caller, and returns the VM's id; its project is not changed. The VM's
/// operation `import` finds out its resources. If it fails or is cancelled, the VM is gone, and an event has the reason. A
/// browser is redirected to the VM's page. For admins.
///
/// # Errors
/// `NotFound` if there is no such machine; `Conflict` if the name or the machine is in use, or the machine must be running
/// and is not; `Unavailable` if Vagrant's index cannot be read.
#[server(prefix = "/api/v1", endpoint = "adopt_machine")]
pub async fn adopt_machine(
    /// [`Adoptable::id`] of the machine to import.
    id: String,
    /// Name of the new VM: 1 to 63 letters, digits and hyphens, converted to lower case; see
    /// [`VmName`](crate::model::VmName).
    name: String,
) -> Result<i64, ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    let vm_id = state.vms.adopt(&admin, &id, &name).await?;
    request_context::redirect(&format!("/vms/{vm_id}"));
    Ok(vm_id)
}

/// Stops managing an imported VM; its machine stays as it is. A browser is redirected to `/`. For the owner and admins.
///
/// # Errors
/// `Conflict` if the VM was launched here, or has an open operation.
#[server(prefix = "/api/v1", endpoint = "release_vm")]
pub async fn unmanage_vm(
    /// Id of an imported VM, as in `/vms/{id}`.
    vm_id: i64,
) -> Result<(), ApiError> {
    use crate::server::{vms::Own, web::request_context};
    let (state, access) = request_context::require_vm::<Own>(vm_id).await?;
    state.vms.unmanage(&access).await?;
    request_context::redirect("/");
    Ok(())
}

/// Requests the deletion of a VM with its disk. A browser is redirected to `/`. For the owner and admins.
///
/// # Errors
/// `Conflict` with the reason if the VM's state does not allow it.
#[server(prefix = "/api/v1", endpoint = "destroy_vm")]
pub async fn destroy_vm(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// [`VmView::to_confirm`], as confirmation.
    confirm_name: String,
    /// Whether the VM's stored samples are deleted, too; absent, like an unchecked checkbox, means no.
    #[server(default)]
    forget_samples: bool,
) -> Result<Requested, ApiError> {
    use crate::server::{vms::Own, web::request_context};
    let (state, access) = request_context::require_vm::<Own>(vm_id).await?;
    access.confirmed_by(&confirm_name)?;
    let requested = state.vms.destroy(&access, forget_samples).await?;
    request_context::redirect("/");
    Ok(requested)
}

/// The output of Vagrant during an operation, oldest line first. For the owner and admins.
///
/// # Errors
/// `NotFound` if the VM has no such operation.
#[server(prefix = "/api/v1", endpoint = "operation_output", input = GetUrl)]
pub async fn operation_output(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// Id of an operation of this VM, open or finished.
    operation_id: i64,
) -> Result<Vec<String>, ApiError> {
    use crate::server::{vms::View, web::request_context};
    let (state, access) = request_context::require_vm::<View>(vm_id).await?;
    state.vms.output(&access, operation_id).await
}

/// The users with whom a VM is shared, by name. For the owner and admins.
#[server(prefix = "/api/v1", endpoint = "vm_shares", input = GetUrl)]
pub async fn vm_shares(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
) -> Result<Vec<VmShare>, ApiError> {
    use crate::server::{vms::Own, web::request_context};
    let (state, access) = request_context::require_vm::<Own>(vm_id).await?;
    state.vms.shares(&access).await
}

/// Shares a VM with a user, or changes what they may do with it. For the owner and admins.
///
/// # Errors
/// `Invalid` if there is no active account of this name, or it is the owner's; `Conflict` if the VM is shared with 50 users
/// already.
#[server(prefix = "/api/v1", endpoint = "share_vm")]
pub async fn share_vm(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// The user's name.
    username: String,
    /// `view` or `operate`; see [`AccessLevel`](crate::model::AccessLevel).
    access: String,
) -> Result<(), ApiError> {
    use crate::server::{vms::Own, web::request_context};
    let (state, vm) = request_context::require_vm::<Own>(vm_id).await?;
    state.vms.share(&vm, &username, &access).await
}

/// Ends a user's access to a shared VM at once. For the owner, admins, and that user.
///
/// # Errors
/// `Forbidden` if the caller neither owns the VM nor ends their own access; `NotFound` if it is not shared with the user.
#[server(prefix = "/api/v1", endpoint = "end_vm_share")]
pub async fn end_vm_share(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// [`VmShare::account_id`]; absent for the caller's own.
    account_id: Option<i64>,
) -> Result<(), ApiError> {
    use crate::server::{vms::View, web::request_context};
    let (state, vm) = request_context::require_vm::<View>(vm_id).await?;
    let account_id = account_id.unwrap_or(vm.user().id);
    state.vms.end_share(&vm, account_id).await
}
