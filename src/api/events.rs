use crate::model::{ApiError, Event, EventPage, EventQuery};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The newest 50 events of a VM, newest first. For the owner and admins.
#[server(prefix = "/api/v1", endpoint = "vm_events", input = GetUrl)]
pub async fn vm_events(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
) -> Result<Vec<Event>, ApiError> {
    use crate::server::{vms::View, web::request_context};
    let (state, access) = request_context::require_vm::<View>(vm_id).await?;
    state.events.of_vm(access.vm().id).await
}

/// Events of the caller's VMs and account, newest first, 50 at a time; for admins, all events.
#[server(prefix = "/api/v1", endpoint = "events", input = GetUrl)]
pub async fn list_events(
    /// What to search for; an empty part does not restrict.
    #[server(default)]
    query: EventQuery,
    /// Only events older than the one with this id; `None` for the newest.
    before: Option<i64>,
) -> Result<EventPage, ApiError> {
    use crate::server::{events::Search, web::request_context};
    let (state, user) = request_context::require_user().await?;
    let filter = query.filter()?;
    state.events.page(Search { user: &user, filter: &filter }, before).await
}
