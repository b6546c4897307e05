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
pub async fn make_known(request: Request, next: Next) -> Response {
    match request.extensions().get::<RequestId>().cloned() {
        Some(RequestId(id)) => {
            let origin = RequestOrigin::new(id, ClientAddress::of(request.extensions()));
            request_origin::serve(Arc::new(origin), next.run(request)).await
        }
        None => next.run(request).await,
    }
}
