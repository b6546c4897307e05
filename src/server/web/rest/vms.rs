//! VMs and their operations.

use super::extract::{ApiJson, ApiQuery, OperationAccess, ShareAccess, parse_time};
use crate::{
    model::{
        ApiError, CurrentUser, Launch, OperationKind, OperationView, Requested, Resize, SnapshotName, VmSpec,
        VmStatus, VmView,
    },
    server::{
        state::AppState,
        vms::{Operate, Own, Scope, View, VmAccess},
    },
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub async fn list(State(state): State<AppState>, user: CurrentUser) -> Result<Response, ApiError> {
    Ok(Json(state.vms.list(Scope::of(&user)).await?).into_response())
}

/// Returns the launch operation, and the VM's address in `Location`.
pub async fn launch(
    State(state): State<AppState>,
    user: CurrentUser,
    ApiJson(launch): ApiJson<Launch>,
) -> Result<Response, ApiError> {
    Ok(accepted(state.vms.launch(&user, &launch).await?))
}

/// 202 with the operation; 200 if there is nothing to do.
fn accepted(requested: Requested) -> Response {
    let status = if requested.operation.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    let location = format!("/api/vms/{}", requested.vm_id);
    (status, [(header::LOCATION, location)], Json(requested)).into_response()
}

pub async fn check_quota(
    State(state): State<AppState>,
    user: CurrentUser,
    ApiJson(spec): ApiJson<VmSpec>,
) -> Result<Response, ApiError> {
    Ok(Json(state.vms.check_quota(&user, &spec).await?).into_response())
}

pub async fn get(access: VmAccess<View>) -> Json<VmView> {
    Json(access.vm().clone())
}

/// A VM's status and its current operation.
#[derive(Serialize)]
pub struct VmState {
    vm_id: i64,
    status: VmStatus,
    problem: Option<String>,
    operation: Option<OperationView>,
    allowed: Vec<OperationKind>,
}

pub async fn status(access: VmAccess<View>) -> Json<VmState> {
    let vm = access.vm().clone();
    Json(VmState {
        vm_id: vm.id,
        status: vm.status,
        problem: vm.problem,
        operation: vm.operation,
        allowed: vm.allowed,
    })
}

/// Changes of a VM; absent fields stay as they are. `stop_at` is a time such as 2026-11-23T06:15:00Z, or empty for no
/// scheduled shutdown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmChanges {
    ram_mb: Option<u32>,
    cpu_cores: Option<u32>,
    disk_gb: Option<u32>,
    auto_start: Option<bool>,
    stop_at: Option<String>,
}

pub async fn update(
    State(state): State<AppState>,
    access: VmAccess<Operate>,
    ApiJson(changes): ApiJson<VmChanges>,
) -> Result<Response, ApiError> {
    // Parsed before anything is written: a rejected request changes nothing.
    let stop_at = match changes.stop_at.as_deref() {
        Some("") => Some(None),
        text => parse_time("stop_at", text)?.map(Some),
    };
    let resize = Resize { ram_mb: changes.ram_mb, cpu_cores: changes.cpu_cores, disk_gb: changes.disk_gb };
    let mut requested = Requested { vm_id: access.vm().id, operation: None };
    if let Some(stop_at) = stop_at {
        state.vms.check_stop_at(stop_at)?;
    }
    if resize != Resize::default() || changes.auto_start.is_some() {
        let access: VmAccess<Own> = access.clone().at_least()?;
        if resize != Resize::default() {
            requested = state.vms.resize(&access, resize).await?;
        }
        if let Some(auto_start) = changes.auto_start {
            state.vms.set_auto_start(&access, auto_start).await?;
        }
    }
    if let Some(stop_at) = stop_at {
        state.vms.set_stop_at(&access, stop_at).await?;
    }
    Ok(Json(requested).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionRequest {
    action: OperationKind,
    snapshot: Option<String>,
    confirm_name: Option<String>,
    #[serde(default)]
    forget_samples: bool,
}

pub async fn act(
    State(state): State<AppState>,
    access: VmAccess<Operate>,
    ApiJson(request): ApiJson<ActionRequest>,
) -> Result<Response, ApiError> {
    let vms = &state.vms;
    let requested = match request.action {
        OperationKind::Destroy => {
            let access: VmAccess<Own> = access.at_least()?;
            access.confirmed_by(request.confirm_name.as_deref().unwrap_or_default())?;
            vms.destroy(&access, request.forget_samples).await?
        }
        OperationKind::Resize => {
            let text = "Change ram_mb, cpu_cores and disk_gb with PATCH.";
            return Err(ApiError::invalid_field("action", text));
        }
        kind if kind.is_about_a_snapshot() => {
            let snapshot = SnapshotName::new(request.snapshot.as_deref().unwrap_or_default())?;
            vms.request_on_snapshot(&access, kind, snapshot).await?
        }
        kind => vms.request(&access, kind).await?,
    };
    Ok(accepted(requested))
}

pub async fn snapshots(State(state): State<AppState>, access: VmAccess<View>) -> Result<Response, ApiError> {
    Ok(Json(state.vms.snapshots(&access).await?).into_response())
}

#[derive(Deserialize)]
pub struct OperationsParameters {
    before: Option<i64>,
    limit: Option<u32>,
}

pub async fn operations(
    State(state): State<AppState>,
    access: VmAccess<View>,
    ApiQuery(parameters): ApiQuery<OperationsParameters>,
) -> Result<Response, ApiError> {
    let limit = parameters.limit.unwrap_or(50);
    Ok(Json(state.vms.operations(&access, parameters.before, limit).await?).into_response())
}

pub async fn operation_output(
    State(state): State<AppState>,
    OperationAccess { access, operation_id }: OperationAccess<View>,
) -> Result<Response, ApiError> {
    Ok(Json(json!({ "lines": state.vms.output(&access, operation_id).await? })).into_response())
}

pub async fn cancel_operation(
    State(state): State<AppState>,
    OperationAccess { access, operation_id }: OperationAccess<Operate>,
) -> Result<Response, ApiError> {
    state.vms.cancel(&access, operation_id).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// The users with whom a VM is shared.
pub async fn shares(State(state): State<AppState>, access: VmAccess<Own>) -> Result<Response, ApiError> {
    Ok(Json(state.vms.shares(&access).await?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareRequest {
    username: String,
    access: String,
}

/// Shares a VM, or changes what a user may do with it.
pub async fn share(
    State(state): State<AppState>,
    access: VmAccess<Own>,
    ApiJson(request): ApiJson<ShareRequest>,
) -> Result<Response, ApiError> {
    state.vms.share(&access, &request.username, &request.access).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn end_share(
    State(state): State<AppState>,
    ShareAccess { access, account_id }: ShareAccess,
) -> Result<Response, ApiError> {
    state.vms.end_share(&access, account_id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
