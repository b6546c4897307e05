//! Extractors, and [`ApiError`] as the response when one rejects a request.

use crate::{
    model::{ApiError, CurrentUser, ErrorCode, UtcMillis},
    server::{
        state::AppState,
        vms::{Level, View, VmAccess},
        web::request_context,
    },
};
use axum::{
    Form, Json,
    extract::{
        FromRequest, FromRequestParts, Path, Query,
        rejection::{FormRejection, JsonRejection, PathRejection, QueryRejection},
    },
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};

/// The HTTP status of an API error.
pub fn status_of(error: &ApiError) -> StatusCode {
    StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// When to try again, as a header.
pub fn retry_after(error: &ApiError) -> Option<HeaderValue> {
    error.retry_after_secs.map(HeaderValue::from)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, retry_after) = (status_of(&self), retry_after(&self));
        let mut response = (status, Json(self)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(retry_after) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after);
        }
        response
    }
}

impl FromRequestParts<AppState> for CurrentUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        request_context::authenticate(state, parts).await?.ok_or_else(ApiError::not_signed_in)
    }
}

/// Access of the current user to the VM in the path.
impl<L: Level> FromRequestParts<AppState> for VmAccess<L> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let user = CurrentUser::from_request_parts(parts, state).await?;
        let vm_id: Result<Path<i64>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Ok(Path(vm_id)) = vm_id else { return Err(ApiError::not_found("VM")) };
        request_context::vm_access(state, &user, vm_id, Some(&parts.extensions)).await
    }
}

/// Access of the current user to the VM in the path, and the operation in the path.
pub struct OperationAccess<L> {
    pub access: VmAccess<L>,
    pub operation_id: i64,
}

impl<L: Level> FromRequestParts<AppState> for OperationAccess<L> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let user = CurrentUser::from_request_parts(parts, state).await?;
        let ids: Result<Path<(i64, i64)>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Ok(Path((vm_id, operation_id))) = ids else { return Err(ApiError::not_found("operation")) };
        let access = request_context::vm_access(state, &user, vm_id, Some(&parts.extensions)).await?;
        Ok(Self { access, operation_id })
    }
}

/// Access of the current user to the VM in the path, and the account in the path.
pub struct ShareAccess {
    pub access: VmAccess<View>,
    pub account_id: i64,
}

impl FromRequestParts<AppState> for ShareAccess {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let user = CurrentUser::from_request_parts(parts, state).await?;
        let ids: Result<Path<(i64, i64)>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Ok(Path((vm_id, account_id))) = ids else { return Err(ApiError::not_found("share")) };
        let access = request_context::vm_access(state, &user, vm_id, Some(&parts.extensions)).await?;
        Ok(Self { access, account_id })
    }
}

/// [`Json`] that is rejected with an [`ApiError`].
#[derive(FromRequest)]
#[from_request(via(Json), rejection(ApiError))]
pub struct ApiJson<T>(pub T);

/// [`Form`] that is rejected with an [`ApiError`].
#[derive(FromRequest)]
#[from_request(via(Form), rejection(ApiError))]
pub struct ApiForm<T>(pub T);

/// [`Query`] that is rejected with an [`ApiError`].
#[derive(FromRequestParts)]
#[from_request(via(Query), rejection(ApiError))]
pub struct ApiQuery<T>(pub T);

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        unreadable(rejection.body_text())
    }
}

impl From<FormRejection> for ApiError {
    fn from(rejection: FormRejection) -> Self {
        unreadable(rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        unreadable(rejection.body_text())
    }
}

fn unreadable(text: String) -> ApiError {
    ApiError::new(ErrorCode::Invalid, format!("The request could not be read: {text}"))
}

/// A time in RFC 3339 of a parameter.
pub fn parse_time(field: &str, text: Option<&str>) -> Result<Option<UtcMillis>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let invalid =
        || ApiError::invalid_field(field, format!("{field} is a time such as 2026-11-23T06:15:00Z."));
    UtcMillis::from_rfc3339(text).map(Some).ok_or_else(invalid)
}
