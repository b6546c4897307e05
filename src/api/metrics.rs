use crate::model::{
    ApiError, Charts, CollectorHealth, Live, MetricHistory, MetricRange, MetricStatistics, StoreHealth,
    UtcMillis, VmMetrics,
};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The current state of the caller's VMs, or of one, with their points since `cursor`. If only metrics have changed
/// since `version`, it comes without the VMs. For admins, and without `vm_id`, it includes the collector's health.
#[server(prefix = "/api/v1", endpoint = "metrics_since", input = GetUrl)]
pub async fn metrics_since(
    /// [`Live::cursor`] of the previous response; `None` for the first request.
    cursor: Option<UtcMillis>,
    /// The only VM to return, by its id; `None` for all that the caller may see.
    vm_id: Option<i64>,
    /// The most seconds before the newest tick from which points are returned, up to 900, which is the default.
    window_secs: Option<u32>,
    /// [`Live::version`] of the previous response; `None` for the first request.
    version: Option<String>,
) -> Result<Live, ApiError> {
    use crate::server::{
        accounts::AdminAccess,
        vms::{Scope, View},
        web::request_context,
    };
    match vm_id {
        Some(vm_id) => {
            let (state, access) = request_context::require_vm::<View>(vm_id).await?;
            let live = state.live(access.user(), access.scope(), cursor, window_secs).await?;
            Ok(live.beside(version.as_deref()))
        }
        None => {
            let (state, user) = request_context::require_user().await?;
            let live = state.live(&user, Scope::of(&user), cursor, window_secs).await?;
            let admin = AdminAccess::of(user).ok();
            let collector = admin.map(|admin| state.collector_health(&admin));
            Ok(Live { collector, ..live.beside(version.as_deref()) })
        }
    }
}

/// The newest metrics of a VM. For the owner and admins.
#[server(prefix = "/api/v1", endpoint = "vm_metrics", input = GetUrl)]
pub async fn get_vm_metrics(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
) -> Result<VmMetrics, ApiError> {
    use crate::server::{vms::View, web::request_context};
    let (state, access) = request_context::require_vm::<View>(vm_id).await?;
    Ok(state.vms.metrics(&access))
}

/// Stored values of a VM's metric, newest first: either the newest ones, or a time range reduced to `points`. For the
/// owner and admins.
///
/// # Errors
/// `NotFound`, with the known names, if there is no such metric.
#[server(prefix = "/api/v1", endpoint = "vm_history", input = GetUrl)]
pub async fn vm_history(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// Name of a VM's metric, such as `vm_cpu_percent`; see [`Metric`](crate::model::Metric).
    metric_name: String,
    /// The most values to return, newest first: 1 to 10,000. By default 100, or 10,000 with a time range or `points`.
    limit: Option<u32>,
    /// Start of the time range, inclusive; by default the oldest sample.
    from: Option<UtcMillis>,
    /// End of the time range, inclusive; by default the newest sample.
    to: Option<UtcMillis>,
    /// Reduces the time range to this many points, 1 to 10,000; by default 600 with a time range and without `limit`.
    points: Option<u32>,
) -> Result<MetricHistory, ApiError> {
    use crate::server::{
        metrics::{HistoryQuery, Span},
        vms::View,
        web::request_context,
    };
    let (state, access) = request_context::require_vm::<View>(vm_id).await?;
    let query = HistoryQuery { limit, points, span: Span { from, to } };
    state.store.history(Some(access.vm().id), &metric_name, query).await
}

/// Stored values of a metric of the host, as [`vm_history`]. For any signed-in user.
///
/// # Errors
/// As [`vm_history`].
#[server(prefix = "/api/v1", endpoint = "host_history", input = GetUrl)]
pub async fn host_history(
    /// Name of a metric of the host, such as `host_cpu_percent`; see [`Metric`](crate::model::Metric).
    metric_name: String,
    /// The most values to return, newest first: 1 to 10,000. By default 100, or 10,000 with a time range or `points`.
    limit: Option<u32>,
    /// Start of the time range, inclusive; by default the oldest sample.
    from: Option<UtcMillis>,
    /// End of the time range, inclusive; by default the newest sample.
    to: Option<UtcMillis>,
    /// Reduces the time range to this many points, 1 to 10,000; by default 600 with a time range and without `limit`.
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

/// Metrics of several VMs in a time range, for charts: oldest first, with the smallest, mean and largest value of each
/// point. For the owner of all of them and admins.
///
/// # Errors
/// As [`vm_history`].
#[server(prefix = "/api/v1", endpoint = "vm_ranges", input = GetUrl)]
pub async fn vm_ranges(
    /// Ids of at least one VM; duplicates are ignored.
    vm_ids: Vec<i64>,
    /// Names of at least one metric of VMs, such as `vm_cpu_percent`; see [`Metric`](crate::model::Metric).
    metric_names: Vec<String>,
    /// Start of the time range, inclusive; by default the oldest sample.
    from: Option<UtcMillis>,
    /// End of the time range, inclusive; by default the newest sample.
    to: Option<UtcMillis>,
    /// The most points of each series, 1 to 10,000, and 240,000 in all; by default 600.
    points: Option<u32>,
) -> Result<Vec<MetricRange>, ApiError> {
    use crate::server::{metrics::Span, web::request_context};
    let (state, vm_ids) = request_context::require_vms(&vm_ids).await?;
    state.store.ranges(&vm_ids, &metric_names, Span { from, to }, points).await
}

/// Metrics of the host in a time range, as [`vm_ranges`]. For any signed-in user.
///
/// # Errors
/// As [`vm_history`].
#[server(prefix = "/api/v1", endpoint = "host_ranges", input = GetUrl)]
pub async fn host_ranges(
    /// Names of at least one metric of the host, such as `host_cpu_percent`; see [`Metric`](crate::model::Metric).
    metric_names: Vec<String>,
    /// Start of the time range, inclusive; by default the oldest sample.
    from: Option<UtcMillis>,
    /// End of the time range, inclusive; by default the newest sample.
    to: Option<UtcMillis>,
    /// The most points of each series, 1 to 10,000, and 240,000 in all; by default 600.
    points: Option<u32>,
) -> Result<Vec<MetricRange>, ApiError> {
    use crate::server::{metrics::Span, web::request_context};
    let (state, _) = request_context::require_user().await?;
    state.store.ranges(&[], &metric_names, Span { from, to }, points).await
}

/// Everything a VM's charts show in a time range: CPU, memory, disk and network in at most 600 points each, their
/// statistics, and the VM's events. For the owner and admins.
#[server(prefix = "/api/v1", endpoint = "vm_charts", input = GetUrl)]
pub async fn vm_charts(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// Start of the time range, inclusive; by default `last_secs` before its end.
    from: Option<UtcMillis>,
    /// End of the time range, inclusive; by default the newest tick.
    to: Option<UtcMillis>,
    /// Length of the time range in seconds if it has no start; by default 900.
    last_secs: Option<u32>,
) -> Result<Charts, ApiError> {
    use crate::server::{metrics::Span, vms::View, web::request_context};
    let (state, access) = request_context::require_vm::<View>(vm_id).await?;
    state.charts(Some(access.vm().id), Span { from, to }, last_secs).await
}

/// Everything the host's charts show in a time range, as [`vm_charts`]. For any signed-in user; only admins get events.
#[server(prefix = "/api/v1", endpoint = "host_charts", input = GetUrl)]
pub async fn host_charts(
    /// Start of the time range, inclusive; by default `last_secs` before its end.
    from: Option<UtcMillis>,
    /// End of the time range, inclusive; by default the newest tick.
    to: Option<UtcMillis>,
    /// Length of the time range in seconds if it has no start; by default 900.
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

/// Statistics of a VM's metric in a time range; `None` without known values. For the owner and admins.
///
/// # Errors
/// As [`vm_history`].
#[server(prefix = "/api/v1", endpoint = "vm_statistics", input = GetUrl)]
pub async fn vm_statistics(
    /// The VM's id, as in `/vms/{id}`.
    vm_id: i64,
    /// Name of a VM's metric, such as `vm_cpu_percent`; see [`Metric`](crate::model::Metric).
    metric_name: String,
    /// Start of the time range, inclusive; by default the oldest sample.
    from: Option<UtcMillis>,
    /// End of the time range, inclusive; by default the newest sample.
    to: Option<UtcMillis>,
) -> Result<Option<MetricStatistics>, ApiError> {
    use crate::server::{metrics::Span, vms::View, web::request_context};
    let (state, access) = request_context::require_vm::<View>(vm_id).await?;
    state.store.statistics(Some(access.vm().id), &metric_name, Span { from, to }).await
}

/// Statistics of a metric of the host, as [`vm_statistics`]. For any signed-in user.
///
/// # Errors
/// As [`vm_history`].
#[server(prefix = "/api/v1", endpoint = "host_statistics", input = GetUrl)]
pub async fn host_statistics(
    /// Name of a metric of the host, such as `host_cpu_percent`; see [`Metric`](crate::model::Metric).
    metric_name: String,
    /// Start of the time range, inclusive; by default the oldest sample.
    from: Option<UtcMillis>,
    /// End of the time range, inclusive; by default the newest sample.
    to: Option<UtcMillis>,
) -> Result<Option<MetricStatistics>, ApiError> {
    use crate::server::{metrics::Span, web::request_context};
    let (state, _) = request_context::require_user().await?;
    state.store.statistics(None, &metric_name, Span { from, to }).await
}

/// The health of the collector of samples. For admins.
#[server(prefix = "/api/v1", endpoint = "collector_health", input = GetUrl)]
pub async fn get_collector_health() -> Result<CollectorHealth, ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    Ok(state.collector_health(&admin))
}

/// The health of the store of samples. For admins.
#[server(prefix = "/api/v1", endpoint = "store_health", input = GetUrl)]
pub async fn get_store_health() -> Result<StoreHealth, ApiError> {
    use crate::server::web::request_context;
    let (state, _) = request_context::require_admin().await?;
    state.store.health(state.retention_days).await
}
