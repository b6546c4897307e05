use crate::model::{
    ApiError, Charts, CollectorHealth, Live, MetricHistory, MetricRange, MetricStatistics, StoreHealth,
    UtcMillis, VmMetrics,
};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The current state of the user's VMs (or of the one VM `vm_id`), and their points since `cursor`; without a cursor,
/// those of the last `window_secs` (at most 900, the default). If only metrics have changed since the `version` of an
/// earlier response, the VMs are left out. For admins, the response for all VMs includes the collector's health.
#[server(prefix = "/api/v1", endpoint = "metrics_since", input = GetUrl)]
pub async fn metrics_since(
    cursor: Option<UtcMillis>,
    vm_id: Option<i64>,
    window_secs: Option<u32>,
    version: Option<String>,
) -> Result<Live, ApiError> {
    use crate::{
        model::Role,
        server::{vms::Scope, web::request_context},
    };
    match vm_id {
        Some(vm_id) => {
            let (state, access) = request_context::require_vm(vm_id).await?;
            let live = state.live(access.user(), access.scope(), cursor, window_secs).await?;
            Ok(live.beside(version.as_deref()))
        }
        None => {
            let (state, user) = request_context::require_user().await?;
            let live = state.live(&user, Scope::of(&user), cursor, window_secs).await?;
            let collector = (user.role == Role::Admin).then(|| state.collector_health());
            Ok(Live { collector, ..live.beside(version.as_deref()) })
        }
    }
}

/// The latest metrics of a VM; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "vm_metrics", input = GetUrl)]
pub async fn get_vm_metrics(vm_id: i64) -> Result<VmMetrics, ApiError> {
    use crate::server::web::request_context;
    let (state, access) = request_context::require_vm(vm_id).await?;
    Ok(state.vms.metrics(&access))
}

/// Stored values of one metric of a VM, newest first; for its owner and admins. Either the newest `limit` values
/// (1 to 10,000; 100 by default), or all from `from` to `to`, reduced to `points` (1 to 10,000; 600 by default).
#[server(prefix = "/api/v1", endpoint = "vm_history", input = GetUrl)]
pub async fn vm_history(
    vm_id: i64,
    metric_name: String,
    limit: Option<u32>,
    from: Option<UtcMillis>,
    to: Option<UtcMillis>,
    points: Option<u32>,
) -> Result<MetricHistory, ApiError> {
    use crate::server::{
        metrics::{HistoryQuery, Span},
        web::request_context,
    };
    let (state, access) = request_context::require_vm(vm_id).await?;
    let query = HistoryQuery { limit, points, span: Span { from, to } };
    state.store.history(Some(access.vm().id), &metric_name, query).await
}

/// Stored values of one metric of the host, as [`vm_history`]; for all users.
#[server(prefix = "/api/v1", endpoint = "host_history", input = GetUrl)]
pub async fn host_history(
    metric_name: String,
    limit: Option<u32>,
    from: Option<UtcMillis>,
    to: Option<UtcMillis>,
    points: Option<u32>,
) -> Result<MetricHistory, ApiError> {
    use crate::server::{
        metrics::{HistoryQuery, Span},
        web::request_context,
    };
    let (state, _) = request_context::require_user().await?;
    let query = HistoryQuery { limit, points, span: Span { from, to } };
    state.store.history(None, &metric_name, query).await
}

/// Metrics of several VMs over a span of time, for charts: minimum, mean and maximum of at most `points`
/// (1 to 10,000; 600 by default) each, oldest first. For the owner of all of them and admins.
#[server(prefix = "/api/v1", endpoint = "vm_ranges", input = GetUrl)]
pub async fn vm_ranges(
    vm_ids: Vec<i64>,
    metric_names: Vec<String>,
    from: Option<UtcMillis>,
    to: Option<UtcMillis>,
    points: Option<u32>,
) -> Result<Vec<MetricRange>, ApiError> {
    use crate::server::{metrics::Span, web::request_context};
    let (state, vm_ids) = request_context::require_vms(&vm_ids).await?;
    state.store.ranges(&vm_ids, &metric_names, Span { from, to }, points).await
}

/// Metrics of the host over a span of time, as [`vm_ranges`]; for all users.
#[server(prefix = "/api/v1", endpoint = "host_ranges", input = GetUrl)]
pub async fn host_ranges(
    metric_names: Vec<String>,
    from: Option<UtcMillis>,
    to: Option<UtcMillis>,
    points: Option<u32>,
) -> Result<Vec<MetricRange>, ApiError> {
    use crate::server::{metrics::Span, web::request_context};
    let (state, _) = request_context::require_user().await?;
    state.store.ranges(&[], &metric_names, Span { from, to }, points).await
}

/// The data of a VM's charts from `from` to `to`, or for the `last_secs` (900 by default) before `to` (by default the
/// newest tick): CPU, memory, disk and network in at most 600 points each, their statistics, and events. For its owner
/// and admins.
#[server(prefix = "/api/v1", endpoint = "vm_charts", input = GetUrl)]
pub async fn vm_charts(
    vm_id: i64,
    from: Option<UtcMillis>,
    to: Option<UtcMillis>,
    last_secs: Option<u32>,
) -> Result<Charts, ApiError> {
    use crate::server::{metrics::Span, web::request_context};
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.charts(Some(access.vm().id), Span { from, to }, last_secs).await
}

/// The data of the host's charts, as [`vm_charts`]; for all users, with events for admins only.
#[server(prefix = "/api/v1", endpoint = "host_charts", input = GetUrl)]
pub async fn host_charts(
    from: Option<UtcMillis>,
    to: Option<UtcMillis>,
    last_secs: Option<u32>,
) -> Result<Charts, ApiError> {
    use crate::{
        model::Role,
        server::{metrics::Span, web::request_context},
    };
    let (state, user) = request_context::require_user().await?;
    let mut charts = state.charts(None, Span { from, to }, last_secs).await?;
    if user.role != Role::Admin {
        charts.events.clear();
    }
    Ok(charts)
}

/// Statistics of a VM's metric over a span of time, null if no value is known; for its owner and admins.
#[server(prefix = "/api/v1", endpoint = "vm_statistics", input = GetUrl)]
pub async fn vm_statistics(
    vm_id: i64,
    metric_name: String,
    from: Option<UtcMillis>,
    to: Option<UtcMillis>,
) -> Result<Option<MetricStatistics>, ApiError> {
    use crate::server::{metrics::Span, web::request_context};
    let (state, access) = request_context::require_vm(vm_id).await?;
    state.store.statistics(Some(access.vm().id), &metric_name, Span { from, to }).await
}

/// Statistics of a metric of the host over a span of time, as [`vm_statistics`]; for all users.
#[server(prefix = "/api/v1", endpoint = "host_statistics", input = GetUrl)]
pub async fn host_statistics(
    metric_name: String,
    from: Option<UtcMillis>,
    to: Option<UtcMillis>,
) -> Result<Option<MetricStatistics>, ApiError> {
    use crate::server::{metrics::Span, web::request_context};
    let (state, _) = request_context::require_user().await?;
    state.store.statistics(None, &metric_name, Span { from, to }).await
}

/// The health of the collector; for admins.
#[server(prefix = "/api/v1", endpoint = "collector_health", input = GetUrl)]
pub async fn get_collector_health() -> Result<CollectorHealth, ApiError> {
    use crate::server::web::request_context;
    let (state, _) = request_context::require_admin().await?;
    Ok(state.collector_health())
}

/// The health of the metrics store; for admins.
#[server(prefix = "/api/v1", endpoint = "store_health", input = GetUrl)]
pub async fn get_store_health() -> Result<StoreHealth, ApiError> {
    use crate::server::web::request_context;
    let (state, _) = request_context::require_admin().await?;
    state.store.health(state.retention_days).await
}
