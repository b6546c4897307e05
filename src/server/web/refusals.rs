//! Notes requests that are refused, for the event log: those answered with 403, and with 404 for what is there and hidden from
//! the caller. A 404 for what nobody has is none.

use crate::{
    model::ErrorCode,
    server::{request_origin::RequestOrigin, state::AppState},
};
use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use std::sync::Arc;

/// Around what finds out who the caller is, and the code of a server function's error.
pub async fn note(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if let Some(origin) = response.extensions().get::<Arc<RequestOrigin>>()
        && is_refused(&response, origin)
    {
        state.events.refusals().note(origin, &path);
    }
    response
}

fn is_refused(response: &Response, origin: &RequestOrigin) -> bool {
    // A form that was sent without JavaScript is answered with a redirect, whatever its error.
    let code = response.extensions().get::<ErrorCode>().copied();
    let code = code.or(match response.status() {
        StatusCode::FORBIDDEN => Some(ErrorCode::Forbidden),
        StatusCode::NOT_FOUND => Some(ErrorCode::NotFound),
        _ => None,
    });
    match code {
        Some(ErrorCode::Forbidden) => true,
        Some(ErrorCode::NotFound) => origin.names_hidden(),
        _ => false,
    }
}
