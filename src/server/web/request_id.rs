//! Gives each request an id, which is in its response, in its lines of the log and in its events.

use super::client_address::ClientAddress;
use crate::server::request_origin::{self, RequestOrigin};
use axum::{extract::Request, http::HeaderValue, middleware::Next, response::Response};
use std::sync::Arc;
use tracing::Instrument;

const HEADER: &str = "x-request-id";

/// In the request's extensions.
#[derive(Debug, Clone)]
struct RequestId(String);

/// The outermost: also what is rejected has an id. One that the client sends is ignored, since it could be another's.
pub async fn assign(mut request: Request, next: Next) -> Response {
    let id = request_origin::new_id();
    let span = tracing::info_span!("request", id);
    let header = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).instrument(span).await;
    if let Ok(header) = header {
        response.headers_mut().insert(HEADER, header);
    }
    response
}

/// The innermost: makes the request known to what serves it.
///
/// It is in the extensions of the request, for pages, and in those of the response, for the middleware around this one.
pub async fn make_known(mut request: Request, next: Next) -> Response {
    let Some(RequestId(id)) = request.extensions().get::<RequestId>().cloned() else {
        return next.run(request).await;
    };
    let origin = Arc::new(RequestOrigin::new(id, ClientAddress::of(request.extensions())));
    request.extensions_mut().insert(origin.clone());
    let mut response = request_origin::serve(origin.clone(), next.run(request)).await;
    response.extensions_mut().insert(origin);
    response
}
