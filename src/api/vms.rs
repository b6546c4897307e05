use crate::model::{Adoptable, ApiError, Image, VmView};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The caller's VMs, oldest first; an admin sees everyone's.
#[server(prefix = "/api/v1", endpoint = "list_vms", input = GetUrl)]
pub async fn list_vms() -> Result<Vec<VmView>, ApiError> {
    use crate::server::{vms::Scope, web::call};
    let (state, me) = call::signed_in().await?;
    state.vms.list(Scope::of(&me)).await
}

/// What a VM can be launched from.
#[server(prefix = "/api/v1", endpoint = "images", input = GetUrl)]
pub async fn images() -> Result<Vec<Image>, ApiError> {
    use crate::server::web::call;
    let (state, _) = call::signed_in().await?;
    Ok(state.vms.images().to_vec())
}

/// Begins to launch a VM of the caller's and answers its id. A browser's form leads to its page, and may hold
/// anything: each field that is wrong is told by its own words.
#[server(prefix = "/api/v1", endpoint = "launch_vm")]
pub async fn launch_vm(
    name: String,
    image: String,
    ram_mb: String,
    cpu_cores: String,
    disk_gb: String,
) -> Result<i64, ApiError> {
    use crate::{model::Launch, server::web::call};
    let (state, me) = call::signed_in().await?;
    let launch = Launch::from_form(name, image, &ram_mb, &cpu_cores, &disk_gb);
    let vm_id = state.vms.launch(&me, &launch).await?;
    call::lead_to(&format!("/vms/{vm_id}"));
    Ok(vm_id)
}

/// Begins to start a VM; the owner or an admin may. Nothing happens when it runs already.
#[server(prefix = "/api/v1", endpoint = "start_vm")]
pub async fn start_vm(vm_id: i64) -> Result<(), ApiError> {
    use crate::{model::OperationKind::Start, server::web::call};
    let (state, access) = call::vm(vm_id).await?;
    state.vms.request(&access, Start).await
}

/// Begins to stop a VM; the owner or an admin may. Nothing happens when it is stopped already.
#[server(prefix = "/api/v1", endpoint = "stop_vm")]
pub async fn stop_vm(vm_id: i64) -> Result<(), ApiError> {
    use crate::{model::OperationKind::Stop, server::web::call};
    let (state, access) = call::vm(vm_id).await?;
    state.vms.request(&access, Stop).await
}

/// The machines of the server's host that Vagrant knows and that are not in the list; for admins.
#[server(prefix = "/api/v1", endpoint = "adoptable_machines", input = GetUrl)]
pub async fn adoptable_machines() -> Result<Vec<Adoptable>, ApiError> {
    use crate::server::web::call;
    let (state, _) = call::admin().await?;
    state.vms.adoptable().await
}

/// Takes a machine that Vagrant knows by this id into the list, as a VM of the caller's, and answers the VM's id; for
/// admins. Its project is not changed. A browser's form leads to its page.
#[server(prefix = "/api/v1", endpoint = "adopt_machine")]
pub async fn adopt_machine(id: String, name: String) -> Result<i64, ApiError> {
    use crate::server::web::call;
    let (state, me) = call::admin().await?;
    let vm_id = state.vms.adopt(&me, &id, &name).await?;
    call::lead_to(&format!("/vms/{vm_id}"));
    Ok(vm_id)
}

/// Takes an adopted VM off the list; the owner or an admin may. Its machine stays as it is. Leads to `/`.
#[server(prefix = "/api/v1", endpoint = "release_vm")]
pub async fn release_vm(vm_id: i64) -> Result<(), ApiError> {
    use crate::server::web::call;
    let (state, access) = call::vm(vm_id).await?;
    state.vms.release(&access).await?;
    call::lead_to("/");
    Ok(())
}

/// Begins to destroy a VM, disk and all; the owner or an admin may. `confirm_name` must be its name, or the full path
/// of its project if it was adopted. Its recorded figures stay until they are too old, unless `forget_samples`. Leads
/// to `/`.
#[server(prefix = "/api/v1", endpoint = "destroy_vm")]
pub async fn destroy_vm(
    vm_id: i64,
    confirm_name: String,
    #[server(default)] forget_samples: bool,
) -> Result<(), ApiError> {
    use crate::server::web::call;
    let (state, access) = call::vm(vm_id).await?;
    access.confirmed_by(&confirm_name)?;
    state.vms.destroy(&access, forget_samples).await?;
    call::lead_to("/");
    Ok(())
}

/// What Vagrant said during an operation, oldest line first; the owner of its VM or an admin may.
#[server(prefix = "/api/v1", endpoint = "operation_output", input = GetUrl)]
pub async fn operation_output(vm_id: i64, operation_id: i64) -> Result<Vec<String>, ApiError> {
    use crate::server::web::call;
    let (state, access) = call::vm(vm_id).await?;
    state.vms.output(&access, operation_id).await
}
