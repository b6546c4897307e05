use crate::model::{ApiError, TerminalTicket, TerminalView, VmTerminals};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// Opens a shell in a VM, in a terminal that lives on the server. For those who may operate the VM. The ticket allows one
/// connection to the WebSocket `/api/terminals/{terminal_id}/socket`, see [`TerminalHello`](crate::model::TerminalHello).
///
/// # Errors
/// `Conflict` when the VM does not run; `TooMany` when too many terminals are open; `Unavailable` when the guest does not
/// answer over ssh.
#[server(prefix = "/api/v1", endpoint = "open_terminal")]
pub async fn open_terminal(
    /// The VM's id.
    vm_id: i64,
    /// Of the client's screen, 1 to [`TerminalSize::MAX`](crate::model::TerminalSize::MAX).
    columns: u16,
    /// Likewise.
    rows: u16,
) -> Result<TerminalTicket, ApiError> {
    use crate::{
        model::TerminalSize,
        server::{vms::Operate, web::request_context},
    };
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    let session = request_context::session_key(&state)?;
    let machine = state.vms.machine_of(&access).await?;
    state.terminals.open(&access, &machine, session, TerminalSize { columns, rows }).await
}

/// A ticket for a connection to a terminal that the caller has opened.
///
/// # Errors
/// `NotFound` if the caller has no such terminal open, or may not operate its VM any more.
#[server(prefix = "/api/v1", endpoint = "attach_terminal")]
pub async fn attach_terminal(
    /// The terminal's id.
    terminal_id: u64,
) -> Result<TerminalTicket, ApiError> {
    use crate::server::{vms::Operate, web::request_context};
    let (state, user) = request_context::require_user().await?;
    let vm_id = state.terminals.vm_id(&user, terminal_id)?;
    state.vms.access::<Operate>(&user, vm_id).await?;
    state.terminals.ticket(&user, terminal_id)
}

/// The caller's open terminals on a VM. For those who may operate it.
#[server(prefix = "/api/v1", endpoint = "list_vm_terminals", input = GetUrl)]
pub async fn list_vm_terminals(
    /// The VM's id.
    vm_id: i64,
) -> Result<VmTerminals, ApiError> {
    use crate::server::{gateway, vms::Operate, web::request_context};
    let (state, access) = request_context::require_vm::<Operate>(vm_id).await?;
    let open = state.terminals.list(access.user(), Some(vm_id));
    let vm = access.vm();
    let ssh_user = gateway::name_for(vm, access.user());
    Ok(VmTerminals { vm_id, vm_name: vm.name.clone(), status: vm.status, ssh_user, open })
}

/// The caller's open terminals; everyone's for an admin.
#[server(prefix = "/api/v1", endpoint = "list_terminals", input = GetUrl)]
pub async fn list_terminals() -> Result<Vec<TerminalView>, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    Ok(state.terminals.list(&user, None))
}

/// Ends a terminal of the caller, or anyone's for an admin.
///
/// # Errors
/// `NotFound` if there is none that the caller may end.
#[server(prefix = "/api/v1", endpoint = "end_terminal")]
pub async fn end_terminal(
    /// The terminal's id.
    terminal_id: u64,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.terminals.end(&user, terminal_id).await
}

/// Ends everyone's terminals. For admins.
#[server(prefix = "/api/v1", endpoint = "end_all_terminals")]
pub async fn end_all_terminals() -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    state.terminals.end_all(&format!("{} ended all terminals.", admin.username)).await;
    Ok(())
}
