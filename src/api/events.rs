use crate::model::{ApiError, Event, EventPage, EventQuery};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The last 50 events of a VM, newest first; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "vm_events", input = GetUrl)]
pub async fn vm_events(vm_id: i64) -> Result<Vec<Event>, ApiError> {
    use crate::server::web::request_context;
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.events.of_vm(access.vm().id).await
}

/// Events, newest first, 50 at a time, older than the event `before` if given: those of the user's VMs and account; for
/// admins, all. Each part of `query` restricts them.
#[server(prefix = "/api/v1", endpoint = "events", input = GetUrl)]
pub async fn list_events(
    #[server(default)] query: EventQuery,
    before: Option<i64>,
) -> Result<EventPage, ApiError> {
    use crate::server::{events::Search, web::request_context};
    let (state, user) = request_context::require_user().await?;
    let filter = query.filter()?;
    state.events.page(Search { user: &user, filter: &filter }, before).await
}
