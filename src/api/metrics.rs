use crate::model::{ApiError, Live, MetricHistory, UtcMillis, VmMetrics};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// How the caller's VMs stand now (or the one VM `vm_id`), and their points since `cursor`; without a cursor,
/// those of the last `window_secs` (at most 900, which is the default).
#[server(prefix = "/api/v1", endpoint = "metrics_since", input = GetUrl)]
pub async fn metrics_since(
    cursor: Option<UtcMillis>,
    vm_id: Option<i64>,
    window_secs: Option<u32>,
) -> Result<Live, ApiError> {
    use crate::server::{vms::Scope, web::call};
    match vm_id {
        Some(vm_id) => {
            let (state, access) = call::vm(vm_id).await?;
            state.live(access.scope(), cursor, window_secs).await
        }
        None => {
            let (state, me) = call::signed_in().await?;
            state.live(Scope::of(&me), cursor, window_secs).await
        }
    }
}

/// The newest figures of a VM; its owner or an admin may.
#[server(prefix = "/api/v1", endpoint = "vm_metrics", input = GetUrl)]
pub async fn get_vm_metrics(vm_id: i64) -> Result<VmMetrics, ApiError> {
    use crate::server::web::call;
    let (state, access) = call::vm(vm_id).await?;
    Ok(state.vms.metrics(&access))
}

/// Stored values of one metric of a VM, newest first; its owner or an admin may. `limit` is 1 to 10,000.
#[server(prefix = "/api/v1", endpoint = "vm_history", input = GetUrl)]
pub async fn vm_history(
    vm_id: i64,
    metric_name: String,
    limit: Option<u32>,
) -> Result<MetricHistory, ApiError> {
    use crate::server::{metrics::HistoryQuery, web::call};
    let (state, access) = call::vm(vm_id).await?;
    let query = HistoryQuery { limit, ..HistoryQuery::default() };
    state.store.history(Some(access.vm().id), &metric_name, query).await
}

/// Stored values of one metric of the host, newest first; anyone signed in may. `limit` is 1 to 10,000.
#[server(prefix = "/api/v1", endpoint = "host_history", input = GetUrl)]
pub async fn host_history(metric_name: String, limit: Option<u32>) -> Result<MetricHistory, ApiError> {
    use crate::server::{metrics::HistoryQuery, web::call};
    let (state, _) = call::signed_in().await?;
    let query = HistoryQuery { limit, ..HistoryQuery::default() };
    state.store.history(None, &metric_name, query).await
}
