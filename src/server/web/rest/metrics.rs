//! Metrics of VMs and of the host: current values, history, statistics, export.

use super::extract::{ApiQuery, parse_time};
use crate::{
    model::{ApiError, CurrentUser, VmMetrics, rounded},
    server::{
        metrics::{ExportFormat, HistoryQuery, MAX_LIMIT, Span},
        state::AppState,
        vms::{View, VmAccess},
    },
};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

pub async fn vm(State(state): State<AppState>, access: VmAccess<View>) -> Json<VmMetrics> {
    Json(state.vms.metrics(&access))
}

#[derive(Deserialize)]
pub struct HistoryParameters {
    metric_name: String,
    limit: Option<String>,
    points: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

impl HistoryParameters {
    fn query(&self) -> Result<HistoryQuery, ApiError> {
        Ok(HistoryQuery {
            limit: parse_count("limit", self.limit.as_deref())?,
            points: parse_count("points", self.points.as_deref())?,
            span: span(self.from.as_deref(), self.to.as_deref())?,
        })
    }
}

fn parse_count(field: &str, text: Option<&str>) -> Result<Option<u32>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let invalid =
        || ApiError::invalid_field(field, format!("{field} is a whole number from 1 to {MAX_LIMIT}."));
    text.parse().map(Some).map_err(|_| invalid())
}

fn span(from: Option<&str>, to: Option<&str>) -> Result<Span, ApiError> {
    Ok(Span { from: parse_time("from", from)?, to: parse_time("to", to)? })
}

pub async fn vm_history(
    State(state): State<AppState>,
    access: VmAccess<View>,
    ApiQuery(parameters): ApiQuery<HistoryParameters>,
) -> Result<Response, ApiError> {
    let history =
        state.store.history(Some(access.vm().id), &parameters.metric_name, parameters.query()?).await?;
    Ok(Json(history).into_response())
}

/// The host's values with two decimals, and when they were sampled.
pub async fn host(State(state): State<AppState>, _: CurrentUser) -> Response {
    let snapshot = state.latest.get();
    let mut metrics = serde_json::to_value(snapshot.host).unwrap_or_default();
    if let Some(object) = metrics.as_object_mut() {
        for value in object.values_mut() {
            if let Some(number) = value.as_f64().filter(|_| value.is_f64()) {
                *value = json!(rounded(number));
            }
        }
        object.insert("timestamp".into(), json!(snapshot.sampled_at.to_rfc3339()));
    }
    Json(metrics).into_response()
}

pub async fn host_history(
    State(state): State<AppState>,
    _: CurrentUser,
    ApiQuery(parameters): ApiQuery<HistoryParameters>,
) -> Result<Response, ApiError> {
    Ok(Json(state.store.history(None, &parameters.metric_name, parameters.query()?).await?).into_response())
}

#[derive(Deserialize)]
pub struct StatisticsParameters {
    metric_name: String,
    from: Option<String>,
    to: Option<String>,
}

pub async fn vm_statistics(
    State(state): State<AppState>,
    access: VmAccess<View>,
    ApiQuery(parameters): ApiQuery<StatisticsParameters>,
) -> Result<Response, ApiError> {
    statistics(&state, Some(access.vm().id), &parameters).await
}

pub async fn host_statistics(
    State(state): State<AppState>,
    _: CurrentUser,
    ApiQuery(parameters): ApiQuery<StatisticsParameters>,
) -> Result<Response, ApiError> {
    statistics(&state, None, &parameters).await
}

/// Null if no value in the span is known.
async fn statistics(
    state: &AppState,
    vm_id: Option<i64>,
    parameters: &StatisticsParameters,
) -> Result<Response, ApiError> {
    Ok(Json(
        state
            .store
            .statistics(
                vm_id,
                &parameters.metric_name,
                span(parameters.from.as_deref(), parameters.to.as_deref())?,
            )
            .await?,
    )
    .into_response())
}

#[derive(Deserialize)]
pub struct ExportParameters {
    format: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

pub async fn vm_export(
    State(state): State<AppState>,
    access: VmAccess<View>,
    ApiQuery(parameters): ApiQuery<ExportParameters>,
) -> Result<Response, ApiError> {
    export(&state, access.user(), Some((access.vm().id, &access.vm().name)), &parameters).await
}

pub async fn host_export(
    State(state): State<AppState>,
    user: CurrentUser,
    ApiQuery(parameters): ApiQuery<ExportParameters>,
) -> Result<Response, ApiError> {
    export(&state, &user, None, &parameters).await
}

/// A file of a VM, by id and name, or of the host; streamed, CSV by default.
async fn export(
    state: &AppState,
    user: &CurrentUser,
    vm: Option<(i64, &str)>,
    parameters: &ExportParameters,
) -> Result<Response, ApiError> {
    let (vm_id, name) = vm.map_or((None, "host"), |(id, name)| (Some(id), name));
    let extension = parameters.format.as_deref().unwrap_or("csv");
    let Some(format) = ExportFormat::parse(extension) else {
        return Err(ApiError::invalid_field("format", "format is csv or json."));
    };
    let chunks =
        state.store.export(vm_id, span(parameters.from.as_deref(), parameters.to.as_deref())?, format)?;
    let what = vm.map_or_else(|| "metrics of the host".to_owned(), |(_, name)| format!("metrics of {name}"));
    state.events.record_export(user, vm_id, &what).await;
    let content_type = match format {
        ExportFormat::Csv => "text/csv; charset=utf-8",
        ExportFormat::Json => "application/json",
    };
    // The name has only letters, digits and hyphens.
    let disposition = format!("attachment; filename=\"{name}.{extension}\"");
    let headers =
        [(header::CONTENT_TYPE, content_type.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, Body::from_stream(chunks)).into_response())
}
