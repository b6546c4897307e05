//! What is served over HTTP: pages, server functions, REST paths, assets.

pub mod assets;
mod csrf;
mod form_errors;
mod headers;
mod prometheus;
pub mod request_context;
mod rest;

use super::state::AppState;
use crate::{
    api::Packed,
    app::{App, shell},
    model::{ApiError, ErrorCode},
};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{DefaultBodyLimit, Request, State, connect_info::IntoMakeServiceWithConnectInfo},
    http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Version, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::{StreamExt, stream};
use leptos::{
    prelude::*,
    server_fn::{ContentType, error::SERVER_FN_ERROR_HEADER},
};
use leptos_axum::{LeptosRoutes, generate_route_list};
use serde_json::json;
use std::{net::SocketAddr, time::Duration};
use tower_http::compression::CompressionLayer;

/// No request of ours is larger: two files for a guest, each byte of them percent-encoded.
const MAX_BODY_BYTES: usize = 128 * 1024;

/// No page takes longer than this between two of its pieces unless something is lost.
const PAGE_SILENCE: Duration = Duration::from_secs(10);

/// All there is to ask, for a server that tells who asks: [`prometheus`] wants to know.
pub fn service(state: AppState) -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
    router(state).into_make_service_with_connect_info()
}

/// All there is to ask.
pub fn router(state: AppState) -> Router {
    let options = leptos_options();
    let context = {
        let state = state.clone();
        move || {
            provide_context(state.clone());
            // Asked anew each time: beside a debug server the site is built again and again.
            provide_context(assets::urls().unwrap_or_else(|_| state.assets.clone()));
        }
    };
    let page = {
        let options = options.clone();
        move || {
            headers::set_content_security_policy();
            shell(options.clone())
        }
    };
    let pages = Router::new()
        .leptos_routes_with_context(&options, generate_route_list(App), context.clone(), page.clone())
        .with_state(options)
        .layer(middleware::from_fn(pages_end));
    let fallback = {
        let render = leptos_axum::render_app_async_with_context(context, page);
        move |request: Request| {
            let render = render.clone();
            async move { asset_or_page(request, render).await }
        }
    };

    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(prometheus::metrics))
        .route("/api/auth/register", post(rest::register))
        .route("/api/auth/login", post(rest::login))
        .route("/api/auth/me", get(rest::me))
        .route("/api/vms", get(rest::vms).post(rest::launch))
        .route("/api/vms/quota-check", post(rest::quota_check))
        .route("/api/vms/{vm_id}", get(rest::vm).patch(rest::change_vm))
        .route("/api/vms/{vm_id}/status", get(rest::vm_status))
        .route("/api/vms/{vm_id}/action", post(rest::act_on_vm))
        .route("/api/vms/{vm_id}/snapshots", get(rest::vm_snapshots))
        .route("/api/vms/{vm_id}/operations", get(rest::vm_operations))
        .route("/api/vms/{vm_id}/operations/{operation_id}/output", get(rest::operation_output))
        .route("/api/vms/{vm_id}/operations/{operation_id}/cancel", post(rest::cancel_operation))
        .route("/api/events/export", get(rest::events_export))
        .route("/api/metrics/vm/{vm_id}", get(rest::vm_metrics))
        .route("/api/metrics/vm/{vm_id}/history", get(rest::vm_history))
        .route("/api/metrics/vm/{vm_id}/statistics", get(rest::vm_statistics))
        .route("/api/metrics/vm/{vm_id}/export", get(rest::vm_export))
        .route("/api/metrics/host", get(rest::host_metrics))
        .route("/api/metrics/host/history", get(rest::host_history))
        .route("/api/metrics/host/statistics", get(rest::host_statistics))
        .route("/api/metrics/host/export", get(rest::host_export))
        .with_state(state.clone())
        .merge(pages)
        .fallback(fallback)
        .layer(middleware::from_fn(refusals_are_told))
        .layer(middleware::from_fn(json_is_told))
        .layer(middleware::from_fn(form_errors::keep_entered_values))
        .layer(middleware::from_fn(forget_old_refusals))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(limit_body))
        .layer(middleware::from_fn_with_state(state.clone(), csrf::same_origin_only))
        .layer(middleware::from_fn_with_state(state, headers::secure))
        // Assets are compressed when they are made, and a page is read as it comes.
        .layer(CompressionLayer::new().compress_when(is_an_answer))
}

fn is_an_answer(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().starts_with(b"application/json") || kind.as_bytes() == Packed::CONTENT_TYPE.as_bytes()
    })
}

/// A server function's answer is JSON where the caller did not ask for its short form ([`Packed`]); Leptos names that all
/// the same.
async fn json_is_told(request: Request, next: middleware::Next) -> Response {
    let is_short = request_context::is_accepted(request.headers(), Packed::CONTENT_TYPE);
    let mut response = next.run(request).await;
    let named = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !is_short && named == Some(Packed::CONTENT_TYPE.as_bytes()) {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

/// What Leptos needs of a server that names its assets itself.
fn leptos_options() -> LeptosOptions {
    LeptosOptions::builder().output_name("twarga-cloud").build()
}

/// Alive, and able to read its database.
async fn health(State(state): State<AppState>) -> Response {
    match state.accounts.is_empty().await {
        Ok(_) => Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })).into_response(),
        Err(error) => rest::refused(error),
    }
}

/// A file, a word that the path is no part of the API, or the page that says so to a person.
async fn asset_or_page<F, Fut>(request: Request, render: F) -> Response
where
    F: Fn(Request<Body>) -> Fut,
    Fut: Future<Output = Response>,
{
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        return rest::refused(ApiError::not_found("path in the API"));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let file = assets::serve(request.uri().clone(), request.headers().clone()).await;
    if file.status() != StatusCode::NOT_FOUND || path.starts_with("/pkg/") {
        return file;
    }
    render(request).await
}

/// A form that was refused before carries that refusal in its page's address; the next answer must not.
async fn forget_old_refusals(mut request: Request, next: middleware::Next) -> Response {
    let referer = request.headers().get(header::REFERER).and_then(|value| value.to_str().ok());
    if let Some(plain) = referer.and_then(without_refusal)
        && let Ok(value) = HeaderValue::from_str(&plain)
    {
        request.headers_mut().insert(header::REFERER, value);
    }
    next.run(request).await
}

/// The address without the parameters that server functions put a refusal into, if it has any.
fn without_refusal(address: &str) -> Option<String> {
    let (page, query) = address.split_once('?')?;
    let is_refusal = |pair: &&str| pair.starts_with("__path=") || pair.starts_with("__err=");
    if !query.split('&').any(|pair| is_refusal(&pair)) {
        return None;
    }
    let kept: Vec<_> = query.split('&').filter(|pair| !is_refusal(pair)).collect();
    Some(if kept.is_empty() { page.to_owned() } else { format!("{page}?{}", kept.join("&")) })
}

/// Server functions read the whole body: no more than this of it.
async fn limit_body(request: Request, next: middleware::Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = Body::new(http_body_util::Limited::new(body, MAX_BODY_BYTES));
    next.run(Request::from_parts(parts, body)).await
}

/// A page is ended when nothing more of it has come for [`PAGE_SILENCE`]: a rendered page rarely waits for ever for a
/// figure that its scripts would find already there, and its reader with it. They ask for it themselves then. One of which
/// nothing has come at all by then is rendered once more.
async fn pages_end(request: Request, next: middleware::Next) -> Response {
    let path = request.uri().path().to_owned();
    let (parts, body) = request.into_parts();
    let again = Request::from_parts(parts.clone(), Body::empty());
    let rendered = next.clone().run(Request::from_parts(parts, body));
    let response = match tokio::time::timeout(PAGE_SILENCE, rendered).await {
        Ok(response) => response,
        Err(_) => {
            tracing::warn!(path, "a page did not come and is rendered once more");
            next.run(again).await
        }
    };
    // What else there is, answers of server functions, is whole already, and says how long it is.
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !is_page {
        return response;
    }
    let (parts, body) = response.into_parts();
    let pieces = stream::unfold((body.into_data_stream(), path), |(mut pieces, path)| async move {
        match tokio::time::timeout(PAGE_SILENCE, pieces.next()).await {
            Ok(piece) => piece.map(|piece| (piece, (pieces, path))),
            Err(_) => {
                tracing::warn!(path, "a page did not come to its end and was ended");
                None
            }
        }
    });
    Response::from_parts(parts, Body::from_stream(pieces.fuse()))
}

/// A server function that refuses answers 500, whatever the reason; the reason knows better. What was wrong in
/// itself or in conflict is a line in the log; that nobody is signed in, or there is no such thing, is daily bread.
async fn refusals_are_told(request: Request, next: middleware::Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if !response.headers().contains_key(SERVER_FN_ERROR_HEADER) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_BODY_BYTES).await else { return parts.status.into_response() };
    if let Ok(error) = serde_json::from_slice::<ApiError>(&bytes) {
        if matches!(error.code, ErrorCode::Invalid | ErrorCode::Conflict | ErrorCode::Forbidden) {
            // Quoted: a client's own words may be in it.
            tracing::info!(path, code = ?error.code, text = ?error.text, "refused");
        }
        // A form of a page is led back to that page instead.
        if parts.status == StatusCode::INTERNAL_SERVER_ERROR {
            parts.status = rest::status_of(&error);
        }
    }
    Response::from_parts(parts, Body::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::without_refusal;

    #[test]
    fn only_the_old_refusal_is_forgotten() {
        let address = "http://cloud/vms/new?size=small&__path=%2Fapi&__err=eyJ9";
        assert_eq!(without_refusal(address).as_deref(), Some("http://cloud/vms/new?size=small"));
        assert_eq!(
            without_refusal("http://cloud/sign-in?__path=x&__err=y").as_deref(),
            Some("http://cloud/sign-in")
        );
        assert_eq!(without_refusal("http://cloud/vms/new?size=small"), None);
        assert_eq!(without_refusal("http://cloud/"), None);
    }
}
