use crate::model::{ApiError, Event};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// What happened to a VM, newest first, the last 50; its owner or an admin may.
#[server(prefix = "/api/v1", endpoint = "vm_events", input = GetUrl)]
pub async fn vm_events(vm_id: i64) -> Result<Vec<Event>, ApiError> {
    use crate::server::web::call;
    let (state, access) = call::vm(vm_id).await?;
    state.events.of_vm(access.vm().id).await
}
