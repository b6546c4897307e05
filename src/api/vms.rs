use crate::model::{
    Adoptable, ApiError, Image, Limits, OperationView, Orphan, Quota, QuotaCheck, Requested, Snapshot,
    VagrantfileVersion, VmOutcome, VmView,
};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The user's VMs, oldest first; for admins, all VMs.
#[server(prefix = "/api/v1", endpoint = "list_vms", input = GetUrl)]
pub async fn list_vms() -> Result<Vec<VmView>, ApiError> {
    use crate::server::{vms::Scope, web::request_context};
    let (state, user) = request_context::require_user().await?;
    state.vms.list(Scope::of(&user)).await
}

/// The images that a VM can be launched from.
#[server(prefix = "/api/v1", endpoint = "images", input = GetUrl)]
pub async fn images() -> Result<Vec<Image>, ApiError> {
    use crate::server::web::request_context;
    let (state, _) = request_context::require_user().await?;
    Ok(state.vms.images().to_vec())
}

/// The largest resources that a VM can have.
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

/// What a VM of this size would cost the user, and the reasons why it cannot be launched.
#[server(prefix = "/api/v1", endpoint = "check_quota", input = GetUrl)]
pub async fn check_quota(
    image: String,
    ram_mb: u32,
    cpu_cores: u32,
    disk_gb: u32,
) -> Result<QuotaCheck, ApiError> {
    use crate::{model::VmSpec, server::web::request_context};
    let (state, user) = request_context::require_user().await?;
    state.vms.check_quota(&user, &VmSpec { image, ram_mb, cpu_cores, disk_gb }).await
}

/// Launches a VM for the user; a browser is redirected to its page. A form may contain anything: each invalid
/// field has its own message.
#[server(prefix = "/api/v1", endpoint = "launch_vm")]
pub async fn launch_vm(
    name: String,
    image: String,
    ram_mb: String,
    cpu_cores: String,
    disk_gb: String,
    #[server(default)] provision_script: String,
    #[server(default)] user_data: String,
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

/// The Vagrantfile that a launch with these values would use; nothing is launched. It only says whether there is a
/// script or user data.
#[server(prefix = "/api/v1", endpoint = "preview_vagrantfile", input = GetUrl)]
pub async fn preview_vagrantfile(
    name: String,
    image: String,
    ram_mb: String,
    cpu_cores: String,
    disk_gb: String,
    #[server(default)] with_script: bool,
    #[server(default)] with_user_data: bool,
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

/// Starts a VM, unless it runs already; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "start_vm")]
pub async fn start_vm(vm_id: i64) -> Result<Requested, ApiError> {
    use crate::{model::OperationKind::Start, server::web::request_context};
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.request(&access, Start).await
}

/// Shuts a VM down, unless it is stopped already, and powers it off if its guest does not react in time; for its owner
/// and admins.
#[server(prefix = "/api/v1", endpoint = "stop_vm")]
pub async fn stop_vm(vm_id: i64) -> Result<Requested, ApiError> {
    use crate::{model::OperationKind::Stop, server::web::request_context};
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.request(&access, Stop).await
}

/// Powers a VM off at once and cancels its open operation; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "force_stop_vm")]
pub async fn force_stop_vm(vm_id: i64) -> Result<Requested, ApiError> {
    use crate::{model::OperationKind::ForceStop, server::web::request_context};
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.request(&access, ForceStop).await
}

/// Shuts a VM down and starts it again; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "restart_vm")]
pub async fn restart_vm(vm_id: i64) -> Result<Requested, ApiError> {
    use crate::{model::OperationKind::Restart, server::web::request_context};
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.request(&access, Restart).await
}

/// Suspends a VM; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "suspend_vm")]
pub async fn suspend_vm(vm_id: i64) -> Result<Requested, ApiError> {
    use crate::{model::OperationKind::Suspend, server::web::request_context};
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.request(&access, Suspend).await
}

/// Resumes a suspended VM; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "resume_vm")]
pub async fn resume_vm(vm_id: i64) -> Result<Requested, ApiError> {
    use crate::{model::OperationKind::Resume, server::web::request_context};
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.request(&access, Resume).await
}

/// Sets the resources that a VM has from its next start; for its owner and admins. A disk can only grow. A form may
/// contain anything.
#[server(prefix = "/api/v1", endpoint = "resize_vm")]
pub async fn resize_vm(
    vm_id: i64,
    ram_mb: String,
    cpu_cores: String,
    disk_gb: String,
) -> Result<Requested, ApiError> {
    use crate::{
        model::{Resize, parse_whole},
        server::web::request_context,
    };
    let (state, access) = request_context::require_vm(vm_id).await?;
    let given = |text: &str| Some(parse_whole(text));
    let resize = Resize { ram_mb: given(&ram_mb), cpu_cores: given(&cpu_cores), disk_gb: given(&disk_gb) };
    state.vms.resize(&access, resize).await
}

/// A VM's snapshots, oldest first; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "vm_snapshots", input = GetUrl)]
pub async fn vm_snapshots(vm_id: i64) -> Result<Vec<Snapshot>, ApiError> {
    use crate::server::web::request_context;
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.snapshots(&access).await
}

/// Saves a snapshot of a VM; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "save_snapshot")]
pub async fn save_snapshot(vm_id: i64, snapshot: String) -> Result<Requested, ApiError> {
    use crate::{
        model::{OperationKind::SnapshotSave, SnapshotName},
        server::web::request_context,
    };
    let (state, access) = request_context::require_vm(vm_id).await?;
    let snapshot = SnapshotName::new(snapshot.trim())?;
    state.vms.request_on_snapshot(&access, SnapshotSave, snapshot).await
}

/// Restores a snapshot of a VM; for its owner and admins. What was written since then is lost.
#[server(prefix = "/api/v1", endpoint = "restore_snapshot")]
pub async fn restore_snapshot(vm_id: i64, snapshot: String) -> Result<Requested, ApiError> {
    use crate::{
        model::{OperationKind::SnapshotRestore, SnapshotName},
        server::web::request_context,
    };
    let (state, access) = request_context::require_vm(vm_id).await?;
    let snapshot = SnapshotName::new(snapshot.trim())?;
    state.vms.request_on_snapshot(&access, SnapshotRestore, snapshot).await
}

/// Deletes a snapshot; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "delete_snapshot")]
pub async fn delete_snapshot(vm_id: i64, snapshot: String) -> Result<Requested, ApiError> {
    use crate::{
        model::{OperationKind::SnapshotDelete, SnapshotName},
        server::web::request_context,
    };
    let (state, access) = request_context::require_vm(vm_id).await?;
    let snapshot = SnapshotName::new(snapshot.trim())?;
    state.vms.request_on_snapshot(&access, SnapshotDelete, snapshot).await
}

/// Sets whether a VM starts with the server; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "set_auto_start")]
pub async fn set_auto_start(vm_id: i64, #[server(default)] auto_start: bool) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.set_auto_start(&access, auto_start).await
}

/// Schedules a shutdown after some hours, or none if they are 0; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "stop_after")]
pub async fn stop_after(vm_id: i64, hours: f64) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.stop_after(&access, hours).await
}

/// Schedules a shutdown at a time such as `2026-11-23T06:15:00Z`, or `2026-11-23T06:15` on a clock that is that many
/// minutes ahead of UTC; none if it is empty. For its owner and admins.
#[server(prefix = "/api/v1", endpoint = "stop_at")]
pub async fn stop_at(
    vm_id: i64,
    #[server(default)] at: String,
    #[server(default)] offset_minutes: i16,
) -> Result<(), ApiError> {
    use crate::{model::UtcMillis, server::web::request_context};
    let (state, access) = request_context::require_vm(vm_id).await?;
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

/// The versions of a VM's Vagrantfile, newest first; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "vm_vagrantfiles", input = GetUrl)]
pub async fn vm_vagrantfiles(vm_id: i64) -> Result<Vec<VagrantfileVersion>, ApiError> {
    use crate::server::web::request_context;
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.vagrantfiles(&access).await
}

/// A VM's operations, newest first, older than the operation `before` if given; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "vm_operations", input = GetUrl)]
pub async fn vm_operations(vm_id: i64, before: Option<i64>) -> Result<Vec<OperationView>, ApiError> {
    use crate::server::web::request_context;
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.operations(&access, before, 50).await
}

/// Cancels an open operation; for the VM's owner and admins.
#[server(prefix = "/api/v1", endpoint = "cancel_operation")]
pub async fn cancel_operation(vm_id: i64, operation_id: i64) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.cancel(&access, operation_id).await
}

/// Requests `start` or `stop` for several VMs and returns the outcome for each; for users who may operate all of them.
#[server(prefix = "/api/v1", endpoint = "act_on_vms")]
pub async fn act_on_vms(
    #[server(default)] vm_ids: Vec<i64>,
    action: String,
) -> Result<Vec<VmOutcome>, ApiError> {
    use crate::{model::OperationKind, server::web::request_context};
    let (state, user) = request_context::require_user().await?;
    let kind = OperationKind::parse(&action)
        .ok_or_else(|| ApiError::invalid_field("action", "Several VMs can be started or stopped."))?;
    state.vms.request_of_several(&user, &vm_ids, kind).await
}

/// Powers off every VM at once and returns the outcome for each; for admins. `confirm` must be the word `stop`.
#[server(prefix = "/api/v1", endpoint = "stop_all_vms")]
pub async fn stop_all_vms(confirm: String) -> Result<Vec<VmOutcome>, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_admin().await?;
    if confirm.trim() != "stop" {
        return Err(ApiError::invalid_field("confirm", "Type stop to confirm."));
    }
    state.vms.emergency_stop(&user).await
}

/// Leftover resources: machines, folders and VMs that no longer match; for admins.
#[server(prefix = "/api/v1", endpoint = "orphans", input = GetUrl)]
pub async fn orphans() -> Result<Vec<Orphan>, ApiError> {
    use crate::server::web::request_context;
    let (state, _) = request_context::require_admin().await?;
    state.vms.orphans().await
}

/// Creates a VM record for an orphaned machine and returns the VM's id; for admins.
#[server(prefix = "/api/v1", endpoint = "adopt_orphan")]
pub async fn adopt_orphan(folder: String) -> Result<i64, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_admin().await?;
    state.vms.adopt_orphan(&user, &folder).await
}

/// Removes a leftover resource, with its disk if it has one; for admins. `confirm_name` must be its folder's name.
#[server(prefix = "/api/v1", endpoint = "clean_up_orphan")]
pub async fn clean_up_orphan(folder: String, confirm_name: String) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_admin().await?;
    if confirm_name.trim() != folder {
        return Err(ApiError::invalid_field("confirm_name", format!("Type {folder} to confirm.")));
    }
    state.vms.clean_up_orphan(&user, &folder).await
}

/// The machines on the server's host that Vagrant knows and the server does not manage; for admins.
#[server(prefix = "/api/v1", endpoint = "adoptable_machines", input = GetUrl)]
pub async fn adoptable_machines() -> Result<Vec<Adoptable>, ApiError> {
    use crate::server::web::request_context;
    let (state, _) = request_context::require_admin().await?;
    state.vms.adoptable().await
}

/// Adopts the machine with this id in Vagrant's index as a VM of the user, and returns the VM's id; for admins. Its
/// project is not changed. A browser is redirected to its page.
#[server(prefix = "/api/v1", endpoint = "adopt_machine")]
pub async fn adopt_machine(id: String, name: String) -> Result<i64, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_admin().await?;
    let vm_id = state.vms.adopt(&user, &id, &name).await?;
    request_context::redirect(&format!("/vms/{vm_id}"));
    Ok(vm_id)
}

/// Stops managing an adopted VM, whose machine stays as it is; for its owner and admins. Redirects to `/`.
#[server(prefix = "/api/v1", endpoint = "release_vm")]
pub async fn unmanage_vm(vm_id: i64) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.unmanage(&access).await?;
    request_context::redirect("/");
    Ok(())
}

/// Destroys a VM with its disk; for its owner and admins. `confirm_name` must be its name, or the full path of
/// its project if it was adopted. Its samples are kept until they expire, unless `forget_samples`. Redirects to `/`.
#[server(prefix = "/api/v1", endpoint = "destroy_vm")]
pub async fn destroy_vm(
    vm_id: i64,
    confirm_name: String,
    #[server(default)] forget_samples: bool,
) -> Result<Requested, ApiError> {
    use crate::server::web::request_context;
    let (state, access) = request_context::require_vm(vm_id).await?;
    access.confirmed_by(&confirm_name)?;
    let requested = state.vms.destroy(&access, forget_samples).await?;
    request_context::redirect("/");
    Ok(requested)
}

/// Vagrant's output during an operation, oldest line first; for the VM's owner and admins.
#[server(prefix = "/api/v1", endpoint = "operation_output", input = GetUrl)]
pub async fn operation_output(vm_id: i64, operation_id: i64) -> Result<Vec<String>, ApiError> {
    use crate::server::web::request_context;
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.vms.output(&access, operation_id).await
}
