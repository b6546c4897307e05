use crate::model::{ApiError, Event, EventPage, EventQuery};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// What happened to a VM, newest first, the last 50; its owner or an admin may.
#[server(prefix = "/api/v1", endpoint = "vm_events", input = GetUrl)]
pub async fn vm_events(vm_id: i64) -> Result<Vec<Event>, ApiError> {
    use crate::server::web::request_context;
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.events.of_vm(access.vm().id).await
}

/// What happened, newest first, 50 at a time, older than the event `before` if it is named: to the caller's VMs and by
/// their own hand; an admin sees everything. Each part of `query` narrows it.
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
