//! The REST API: the same services as the server functions, for clients of plain HTTP and JSON.

use super::request_context;
use crate::{
    model::{
        ApiError, Event, EventQuery, Launch, Me, OperationKind, OperationView, Requested, Resize,
        SnapshotName, UtcMillis, VmMetrics, VmSpec, VmStatus, VmView,
    },
    server::{
        accounts::{Carrier, Device},
        events::Search,
        metrics::{ExportFormat, HistoryQuery, MAX_LIMIT, Span},
        state::AppState,
        vms::{Scope, VmAccess},
    },
};
use axum::{
    Json,
    body::Body,
    extract::{
        Form, FromRequest, FromRequestParts, Path, Query, Request, State,
        rejection::{FormRejection, JsonRejection, PathRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

/// An API error as an HTTP response.
pub fn refused(error: ApiError) -> Response {
    Refused(error).into_response()
}

/// The HTTP status of an API error.
pub fn status_of(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub struct Refused(ApiError);

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = status_of(&self.0);
        let mut response = (status, Json(self.0)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The signed-in user.
pub struct SignedIn(Me);

impl FromRequestParts<AppState> for SignedIn {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Refused> {
        let me = request_context::caller(state, &parts.headers).await?.ok_or_else(ApiError::not_signed_in)?;
        Ok(Self(me))
    }
}

/// Somebody who may see and operate the VM of the path.
pub struct OfVm(VmAccess);

impl FromRequestParts<AppState> for OfVm {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Refused> {
        let SignedIn(me) = SignedIn::from_request_parts(parts, state).await?;
        let vm_id: Result<Path<i64>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Ok(Path(vm_id)) = vm_id else { return Err(ApiError::not_found("VM").into()) };
        Ok(Self(state.vms.access(&me, vm_id).await?))
    }
}

/// A parsed body or query, or an API error that says why it is invalid.
pub struct Checked<T>(T);

impl<T: DeserializeOwned> FromRequest<AppState> for Checked<Json<T>> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Refused> {
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        read.map(Self).map_err(|error| unreadable(error.body_text()))
    }
}

impl<T: DeserializeOwned> FromRequest<AppState> for Checked<Form<T>> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Refused> {
        let read: Result<Form<T>, FormRejection> = Form::from_request(request, state).await;
        read.map(Self).map_err(|error| unreadable(error.body_text()))
    }
}

impl<T: DeserializeOwned> FromRequestParts<AppState> for Checked<Query<T>> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Refused> {
        let read: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        read.map(Self).map_err(|error| unreadable(error.body_text()))
    }
}

fn unreadable(text: String) -> Refused {
    ApiError::new(crate::model::ErrorCode::Invalid, format!("The request could not be read: {text}")).into()
}

#[derive(Deserialize)]
pub struct Registration {
    username: String,
    email: String,
    password: String,
}

pub async fn register(
    State(state): State<AppState>,
    Checked(Json(new)): Checked<Json<Registration>>,
) -> Result<Response, Refused> {
    let me = state.register(&new.username, &new.email, &new.password).await?;
    Ok((StatusCode::CREATED, Json(me)).into_response())
}

#[derive(Deserialize)]
pub struct Credentials {
    username: String,
    password: String,
}

pub async fn login(
    State(state): State<AppState>,
    headers: HeaderMap,
    Checked(Form(given)): Checked<Form<Credentials>>,
) -> Result<Response, Refused> {
    let device = Device { carrier: Carrier::Bearer, user_agent: request_context::user_agent(&headers) };
    let token = state.accounts.sign_in(&given.username, &given.password, device).await?;
    Ok(Json(json!({ "access_token": token.expose(), "token_type": "bearer" })).into_response())
}

pub async fn me(SignedIn(me): SignedIn) -> Json<Me> {
    Json(me)
}

pub async fn vms(State(state): State<AppState>, SignedIn(me): SignedIn) -> Result<Response, Refused> {
    Ok(Json(state.vms.list(Scope::of(&me)).await?).into_response())
}

/// The operation that a launch was made into, and where to ask for it.
pub async fn launch(
    State(state): State<AppState>,
    SignedIn(me): SignedIn,
    Checked(Json(launch)): Checked<Json<Launch>>,
) -> Result<Response, Refused> {
    Ok(answered(state.vms.launch(&me, &launch).await?))
}

/// 202 with the operation that leads there; 200 when everything is as asked already.
fn answered(requested: Requested) -> Response {
    let status = if requested.operation.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    let location = format!("/api/vms/{}", requested.vm_id);
    (status, [(header::LOCATION, location)], Json(requested)).into_response()
}

pub async fn quota_check(
    State(state): State<AppState>,
    SignedIn(me): SignedIn,
    Checked(Json(spec)): Checked<Json<VmSpec>>,
) -> Result<Response, Refused> {
    Ok(Json(state.vms.check_quota(&me, &spec).await?).into_response())
}

pub async fn vm(OfVm(access): OfVm) -> Json<VmView> {
    Json(access.vm().clone())
}

/// A VM's status and its current operation.
#[derive(serde::Serialize)]
pub struct VmStanding {
    vm_id: i64,
    status: VmStatus,
    problem: Option<String>,
    operation: Option<OperationView>,
    allowed: Vec<OperationKind>,
}

pub async fn vm_status(OfVm(access): OfVm) -> Json<VmStanding> {
    let vm = access.vm().clone();
    Json(VmStanding {
        vm_id: vm.id,
        status: vm.status,
        problem: vm.problem,
        operation: vm.operation,
        allowed: vm.allowed,
    })
}

/// What can be changed of a VM; what is not named stays. `stop_at` is a time such as 2026-11-23T06:15:00Z, or empty for
/// no time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmChange {
    ram_mb: Option<u32>,
    cpu_cores: Option<u32>,
    disk_gb: Option<u32>,
    auto_start: Option<bool>,
    stop_at: Option<String>,
}

pub async fn change_vm(
    State(state): State<AppState>,
    OfVm(access): OfVm,
    Checked(Json(change)): Checked<Json<VmChange>>,
) -> Result<Response, Refused> {
    // Parsed before anything is written: a rejected request changes nothing.
    let stop_at = match change.stop_at.as_deref() {
        Some("") => Some(None),
        given => time("stop_at", given)?.map(Some),
    };
    let resize = Resize { ram_mb: change.ram_mb, cpu_cores: change.cpu_cores, disk_gb: change.disk_gb };
    let mut requested = Requested { vm_id: access.vm().id, operation: None };
    if let Some(stop_at) = stop_at {
        state.vms.check_stop_at(stop_at)?;
    }
    if resize != Resize::default() {
        requested = state.vms.resize(&access, resize).await?;
    }
    if let Some(auto_start) = change.auto_start {
        state.vms.set_auto_start(&access, auto_start).await?;
    }
    if let Some(stop_at) = stop_at {
        state.vms.set_stop_at(&access, stop_at).await?;
    }
    Ok(Json(requested).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmAction {
    action: OperationKind,
    snapshot: Option<String>,
    confirm_name: Option<String>,
    #[serde(default)]
    forget_samples: bool,
}

pub async fn act_on_vm(
    State(state): State<AppState>,
    OfVm(access): OfVm,
    Checked(Json(asked)): Checked<Json<VmAction>>,
) -> Result<Response, Refused> {
    let vms = &state.vms;
    let requested = match asked.action {
        OperationKind::Destroy => {
            access.confirmed_by(asked.confirm_name.as_deref().unwrap_or_default())?;
            vms.destroy(&access, asked.forget_samples).await?
        }
        OperationKind::Resize => {
            let text = "Change ram_mb, cpu_cores and disk_gb with PATCH.";
            return Err(ApiError::invalid_field("action", text).into());
        }
        kind if kind.is_about_a_snapshot() => {
            let snapshot = SnapshotName::new(asked.snapshot.as_deref().unwrap_or_default())?;
            vms.request_on_snapshot(&access, kind, snapshot).await?
        }
        kind => vms.request(&access, kind).await?,
    };
    Ok(answered(requested))
}

pub async fn vm_snapshots(State(state): State<AppState>, OfVm(access): OfVm) -> Result<Response, Refused> {
    Ok(Json(state.vms.snapshots(&access).await?).into_response())
}

#[derive(Deserialize)]
pub struct OperationsParameters {
    before: Option<i64>,
    limit: Option<u32>,
}

pub async fn vm_operations(
    State(state): State<AppState>,
    OfVm(access): OfVm,
    Checked(Query(asked)): Checked<Query<OperationsParameters>>,
) -> Result<Response, Refused> {
    let limit = asked.limit.unwrap_or(50);
    Ok(Json(state.vms.operations(&access, asked.before, limit).await?).into_response())
}

/// Somebody who may see and operate the VM of the path, and the operation that the path names.
pub struct OfOperation(VmAccess, i64);

impl FromRequestParts<AppState> for OfOperation {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Refused> {
        let SignedIn(me) = SignedIn::from_request_parts(parts, state).await?;
        let ids: Result<Path<(i64, i64)>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Ok(Path((vm_id, operation_id))) = ids else {
            return Err(ApiError::not_found("operation").into());
        };
        Ok(Self(state.vms.access(&me, vm_id).await?, operation_id))
    }
}

pub async fn operation_output(
    State(state): State<AppState>,
    OfOperation(access, operation_id): OfOperation,
) -> Result<Response, Refused> {
    Ok(Json(json!({ "lines": state.vms.output(&access, operation_id).await? })).into_response())
}

pub async fn cancel_operation(
    State(state): State<AppState>,
    OfOperation(access, operation_id): OfOperation,
) -> Result<Response, Refused> {
    state.vms.cancel(&access, operation_id).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

pub async fn vm_metrics(State(state): State<AppState>, OfVm(access): OfVm) -> Json<VmMetrics> {
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
            limit: count("limit", self.limit.as_deref())?,
            points: count("points", self.points.as_deref())?,
            span: span(&self.from, &self.to)?,
        })
    }
}

fn count(field: &str, text: Option<&str>) -> Result<Option<u32>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let wrong =
        || ApiError::invalid_field(field, format!("{field} is a whole number from 1 to {MAX_LIMIT}."));
    text.parse().map(Some).map_err(|_| wrong())
}

fn span(from: &Option<String>, to: &Option<String>) -> Result<Span, ApiError> {
    Ok(Span { from: time("from", from.as_deref())?, to: time("to", to.as_deref())? })
}

fn time(field: &str, text: Option<&str>) -> Result<Option<UtcMillis>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || ApiError::invalid_field(field, format!("{field} is a time such as 2026-11-23T06:15:00Z."));
    UtcMillis::from_rfc3339(text).map(Some).ok_or_else(wrong)
}

pub async fn vm_history(
    State(state): State<AppState>,
    OfVm(access): OfVm,
    Checked(Query(asked)): Checked<Query<HistoryParameters>>,
) -> Result<Response, Refused> {
    let history = state.store.history(Some(access.vm().id), &asked.metric_name, asked.query()?).await?;
    Ok(Json(history).into_response())
}

/// The host's values with two decimals, and when they were sampled.
pub async fn host_metrics(State(state): State<AppState>, SignedIn(_): SignedIn) -> Response {
    let snapshot = state.latest.get();
    let mut figures = serde_json::to_value(snapshot.host).unwrap_or_default();
    if let Some(object) = figures.as_object_mut() {
        for value in object.values_mut() {
            if let Some(number) = value.as_f64().filter(|_| value.is_f64()) {
                *value = json!(crate::model::rounded(number));
            }
        }
        object.insert("timestamp".into(), json!(snapshot.sampled_at.to_rfc3339()));
    }
    Json(figures).into_response()
}

pub async fn host_history(
    State(state): State<AppState>,
    SignedIn(_): SignedIn,
    Checked(Query(asked)): Checked<Query<HistoryParameters>>,
) -> Result<Response, Refused> {
    Ok(Json(state.store.history(None, &asked.metric_name, asked.query()?).await?).into_response())
}

#[derive(Deserialize)]
pub struct StatisticsParameters {
    metric_name: String,
    from: Option<String>,
    to: Option<String>,
}

pub async fn vm_statistics(
    State(state): State<AppState>,
    OfVm(access): OfVm,
    Checked(Query(asked)): Checked<Query<StatisticsParameters>>,
) -> Result<Response, Refused> {
    statistics(&state, Some(access.vm().id), &asked).await
}

pub async fn host_statistics(
    State(state): State<AppState>,
    SignedIn(_): SignedIn,
    Checked(Query(asked)): Checked<Query<StatisticsParameters>>,
) -> Result<Response, Refused> {
    statistics(&state, None, &asked).await
}

/// Null when no value of the span is known.
async fn statistics(
    state: &AppState,
    vm_id: Option<i64>,
    asked: &StatisticsParameters,
) -> Result<Response, Refused> {
    Ok(Json(state.store.statistics(vm_id, &asked.metric_name, span(&asked.from, &asked.to)?).await?)
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
    OfVm(access): OfVm,
    Checked(Query(asked)): Checked<Query<ExportParameters>>,
) -> Result<Response, Refused> {
    export(&state, Some(access.vm().id), &access.vm().name, &asked)
}

pub async fn host_export(
    State(state): State<AppState>,
    SignedIn(_): SignedIn,
    Checked(Query(asked)): Checked<Query<ExportParameters>>,
) -> Result<Response, Refused> {
    export(&state, None, "host", &asked)
}

/// A file called `name`, CSV unless JSON is asked for, sent while it is read.
fn export(
    state: &AppState,
    vm_id: Option<i64>,
    name: &str,
    asked: &ExportParameters,
) -> Result<Response, Refused> {
    let extension = asked.format.as_deref().unwrap_or("csv");
    let Some(format) = ExportFormat::called(extension) else {
        return Err(ApiError::invalid_field("format", "format is csv or json.").into());
    };
    let parts = state.store.export(vm_id, span(&asked.from, &asked.to)?, format)?;
    let kind = match format {
        ExportFormat::Csv => "text/csv; charset=utf-8",
        ExportFormat::Json => "application/json",
    };
    // The name is of letters, digits and hyphens only.
    let disposition = format!("attachment; filename=\"{name}.{extension}\"");
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, Body::from_stream(parts)).into_response())
}

/// The newest events that the caller may see as a file, filtered as on their page.
pub async fn events_export(
    State(state): State<AppState>,
    SignedIn(me): SignedIn,
    Checked(Query(format)): Checked<Query<EventsFormat>>,
    Checked(Query(query)): Checked<Query<EventQuery>>,
) -> Result<Response, Refused> {
    let filter = query.filter()?;
    let events = state.events.for_file(Search { me: &me, filter: &filter }).await?;
    let (kind, name, text) = match format.format.as_deref().unwrap_or("csv") {
        "csv" => ("text/csv; charset=utf-8", "events.csv", events_csv(&events)),
        "json" => ("application/json", "events.json", json!(events).to_string()),
        _ => return Err(ApiError::invalid_field("format", "format is csv or json.").into()),
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, text).into_response())
}

#[derive(Deserialize)]
pub struct EventsFormat {
    format: Option<String>,
}

fn events_csv(events: &[Event]) -> String {
    let mut text = "id,time,kind,severity,vm,person,text\n".to_owned();
    for event in events {
        let words = [
            &event.kind,
            event.severity.as_str(),
            event.vm_name.as_deref().unwrap_or_default(),
            event.person.as_deref().unwrap_or_default(),
            &event.text,
        ];
        let words = words.map(csv_field).join(",");
        text += &format!("{},{},{words}\n", event.id, event.at.to_rfc3339());
    }
    text
}

/// Quoted where it has to be (RFC 4180). A spreadsheet must not take a text for a formula.
fn csv_field(text: &str) -> String {
    let text =
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::csv_field;

    #[test]
    fn a_field_of_a_csv_file_stays_one_field_and_no_formula() {
        assert_eq!(csv_field("plain"), "plain");
        assert_eq!(csv_field("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(csv_field("=1+1"), "'=1+1");
    }
}
