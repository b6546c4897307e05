//! The HTTP router: pages, server functions, REST paths and assets, with the middleware around them.

pub mod assets;
pub mod client_address;
mod completion;
pub mod connections;
mod csrf;
mod form_error_cookie;
mod form_errors;
mod headers;
mod host;
mod prometheus;
mod refusals;
pub mod request_context;
mod request_id;
mod rest;
mod serve;
mod terminal_socket;

pub use self::serve::serve;

use self::rest::{
    auth, events,
    extract::{retry_after, status_of},
    metrics, vms,
};
use super::state::AppState;
use crate::{
    app::{App, shell},
    model::{ApiError, ErrorCode},
};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{DefaultBodyLimit, Request, State},
    handler::Handler,
    http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Version, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use http_body_util::LengthLimitError;
use leptos::{prelude::*, server_fn::error::SERVER_FN_ERROR_HEADER};
use leptos_axum::{AxumRouteListing, LeptosRoutes, generate_route_list};
use serde_json::json;
use std::{sync::LazyLock, time::Duration};
use tokio::time::timeout;
use tower_http::compression::{CompressionLayer, Predicate, predicate::SizeAbove};

/// The largest legitimate request: two files for a guest, with every byte percent-encoded.
const MAX_BODY_BYTES: usize = 128 * 1024;

/// What fits into one packet anyway is not worth the work.
const MIN_COMPRESSED_BYTES: u16 = 1024;

/// Enough for the largest body over a slow line.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The pages' routes, generated once per process: while it walks the routes, Leptos keeps every resource of the process
/// from loading (`SuppressResourceLoad` is a global flag). A page that another router renders meanwhile would wait for its
/// resources forever.
static PAGE_ROUTES: LazyLock<Vec<AxumRouteListing>> = LazyLock::new(|| generate_route_list(App));

/// All routes and middleware.
pub fn router(state: AppState) -> Router {
    let options = leptos_options();
    let context = {
        let state = state.clone();
        move || {
            provide_context(state.clone());
            // Read for each request: in development the site is rebuilt while the server runs.
            provide_context(assets::urls().unwrap_or_else(|_| (*state.assets).clone()));
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
        .leptos_routes_with_context(&options, PAGE_ROUTES.clone(), context.clone(), page.clone())
        .with_state(options);
    let fallback = {
        let render = leptos_axum::render_app_async_with_context(context, page);
        move |request: Request| {
            let render = render.clone();
            async move { asset_or_page(request, render).await }
        }
    };

    routes()
        .into_router()
        .with_state(state.clone())
        .merge(pages)
        .fallback(fallback)
        .layer(middleware::from_fn(request_id::make_known))
        .layer(middleware::from_fn(completion::complete))
        .layer(middleware::from_fn(map_api_errors))
        .layer(middleware::from_fn_with_state(state.clone(), refusals::note))
        .layer(middleware::from_fn(form_errors::keep_entered_values))
        .layer(middleware::from_fn_with_state(state.clone(), form_error_cookie::own_errors_only))
        .layer(middleware::from_fn(strip_form_errors))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(limit_body))
        .layer(middleware::from_fn(require_path))
        .layer(middleware::from_fn_with_state(state.clone(), csrf::same_origin_only))
        .layer(middleware::from_fn(headers::isolate))
        .layer(middleware::from_fn_with_state(state.clone(), host::known_hosts_only))
        .layer(middleware::from_fn_with_state(state.clone(), client_address::find_client_address))
        .layer(middleware::from_fn_with_state(state, headers::secure))
        // Assets are compressed when the site is built, and pages are streamed.
        .layer(CompressionLayer::new().compress_when(is_json.and(SizeAbove::new(MIN_COMPRESSED_BYTES))))
        .layer(middleware::from_fn(request_id::assign))
}

/// The routes beside the pages and server functions: REST, health and metrics.
pub fn routes() -> Routes {
    Routes::default()
        .add(Method::GET, "/health", health)
        .add(Method::GET, "/metrics", prometheus::metrics)
        .add(Method::POST, "/api/auth/register", auth::register)
        .add(Method::POST, "/api/auth/login", auth::login)
        .add(Method::GET, "/api/auth/me", auth::current_user)
        .add(Method::GET, "/api/vms", vms::list)
        .add(Method::POST, "/api/vms", vms::launch)
        .add(Method::POST, "/api/vms/quota-check", vms::check_quota)
        .add(Method::GET, "/api/vms/{vm_id}", vms::get)
        .add(Method::PATCH, "/api/vms/{vm_id}", vms::update)
        .add(Method::GET, "/api/vms/{vm_id}/status", vms::status)
        .add(Method::POST, "/api/vms/{vm_id}/action", vms::act)
        .add(Method::GET, "/api/vms/{vm_id}/snapshots", vms::snapshots)
        .add(Method::GET, "/api/vms/{vm_id}/shares", vms::shares)
        .add(Method::POST, "/api/vms/{vm_id}/shares", vms::share)
        .add(Method::DELETE, "/api/vms/{vm_id}/shares/{account_id}", vms::end_share)
        .add(Method::GET, "/api/vms/{vm_id}/operations", vms::operations)
        .add(Method::GET, "/api/vms/{vm_id}/operations/{operation_id}/output", vms::operation_output)
        .add(Method::POST, "/api/vms/{vm_id}/operations/{operation_id}/cancel", vms::cancel_operation)
        .add(Method::GET, "/api/events", events::list)
        .add(Method::GET, "/api/terminals/{terminal_id}/socket", terminal_socket::connect)
        .add(Method::GET, "/api/events/export", events::export)
        .add(Method::GET, "/api/metrics/vm/{vm_id}", metrics::vm)
        .add(Method::GET, "/api/metrics/vm/{vm_id}/history", metrics::vm_history)
        .add(Method::GET, "/api/metrics/vm/{vm_id}/statistics", metrics::vm_statistics)
        .add(Method::GET, "/api/metrics/vm/{vm_id}/export", metrics::vm_export)
        .add(Method::GET, "/api/metrics/host", metrics::host)
        .add(Method::GET, "/api/metrics/host/history", metrics::host_history)
        .add(Method::GET, "/api/metrics/host/statistics", metrics::host_statistics)
        .add(Method::GET, "/api/metrics/host/export", metrics::host_export)
}

/// The pages' routes: their paths as axum writes them.
pub fn page_paths() -> Vec<String> {
    PAGE_ROUTES.iter().map(|route| route.path().to_owned()).collect()
}

/// Routes, and a list of them: a test goes through all of them with callers of every kind, and a [`Router`] cannot be
/// asked.
#[derive(Default)]
pub struct Routes {
    router: Router<AppState>,
    listed: Vec<(Method, &'static str)>,
}

impl Routes {
    fn add<H, T>(mut self, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, AppState>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("a method of HTTP");
        self.router = self.router.route(path, on(filter, handler));
        self.listed.push((method, path));
        self
    }

    pub fn listed(&self) -> &[(Method, &'static str)] {
        &self.listed
    }

    fn into_router(self) -> Router<AppState> {
        self.router
    }
}

/// A request target without a path, such as `example.org:80`, is for proxies; the pages' handlers panic without one.
async fn require_path(request: Request, next: middleware::Next) -> Response {
    if request.uri().path_and_query().is_none() {
        return ApiError::new(ErrorCode::Invalid, "The request's target must be a path.").into_response();
    }
    next.run(request).await
}

fn is_json(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|content_type| content_type.as_bytes().starts_with(b"application/json"))
}

/// Only the output name: this server names its assets itself.
fn leptos_options() -> LeptosOptions {
    LeptosOptions::builder().output_name("twarga-cloud").build()
}

/// Checks that the database can be read, and that ticks can be written.
async fn health(State(state): State<AppState>) -> Response {
    if let Err(error) = state.accounts.is_empty().await {
        return error.into_response();
    }
    match state.health.outage() {
        None => Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })).into_response(),
        Some(outage) => {
            let answer = json!({
                "status": "not_storing",
                "since": outage.since.to_rfc3339(),
                "reason": outage.reason,
                "version": env!("CARGO_PKG_VERSION"),
            });
            (StatusCode::SERVICE_UNAVAILABLE, Json(answer)).into_response()
        }
    }
}

/// Serves an asset, a JSON 404 under `/api`, or the "not found" page.
async fn asset_or_page<F, Fut>(request: Request, render: F) -> Response
where
    F: Fn(Request<Body>) -> Fut,
    Fut: Future<Output = Response>,
{
    let path = request.uri().path();
    if path == "/api" || path.starts_with("/api/") {
        return ApiError::not_found("path in the API").into_response();
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

/// Strips an earlier error of a form from the `Referer`. Leptos redirects a form that was sent without JavaScript back to
/// that address, so the error would otherwise still be shown after a success.
async fn strip_form_errors(mut request: Request, next: middleware::Next) -> Response {
    let referer = request.headers().get(header::REFERER).and_then(|value| value.to_str().ok());
    if let Some(plain) = referer.and_then(without_form_error)
        && let Ok(value) = HeaderValue::from_str(&plain)
    {
        request.headers_mut().insert(header::REFERER, value);
    }
    next.run(request).await
}

/// The address without the parameters in which Leptos returns an error of a form; none if it has no such parameters.
fn without_form_error(address: &str) -> Option<String> {
    let (page, query) = address.split_once('?')?;
    let is_form_error = |pair: &&str| pair.starts_with("__path=") || pair.starts_with("__err=");
    if !query.split('&').any(|pair| is_form_error(&pair)) {
        return None;
    }
    let kept: Vec<_> = query.split('&').filter(|pair| !is_form_error(pair)).collect();
    Some(if kept.is_empty() { page.to_owned() } else { format!("{page}?{}", kept.join("&")) })
}

/// Reads the whole body, as server functions do, if it is not too large: they report a body that breaks off as invalid.
async fn limit_body(request: Request, next: middleware::Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(read) = timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await else {
        // The rest of the body may still come, and must not pass for the next request.
        return (StatusCode::REQUEST_TIMEOUT, [(header::CONNECTION, "close")]).into_response();
    };
    match read {
        Ok(bytes) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        Err(error) => {
            let error = if error.into_inner().is::<LengthLimitError>() {
                let text = format!("The request is larger than {} kB.", MAX_BODY_BYTES / 1024);
                ApiError::new(ErrorCode::TooLarge, text)
            } else {
                ApiError::new(ErrorCode::Invalid, "The request could not be read.")
            };
            error.into_response()
        }
    }
}

/// Sets the HTTP status of an [`ApiError`]: Leptos answers 500 for every error of a server function. Invalid, conflicting
/// and forbidden requests are logged; unauthenticated ones and unknown names are expected and are not.
async fn map_api_errors(request: Request, next: middleware::Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if !response.headers().contains_key(SERVER_FN_ERROR_HEADER) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_BODY_BYTES).await else { return parts.status.into_response() };
    if let Ok(error) = serde_json::from_slice::<ApiError>(&bytes) {
        if matches!(error.code, ErrorCode::Invalid | ErrorCode::Conflict | ErrorCode::Forbidden) {
            // With `?`, which quotes it: the text may contain input of the client.
            tracing::info!(path, code = ?error.code, text = ?error.text, "request rejected");
        }
        // A form that was sent without JavaScript gets a redirect; leave that alone.
        if parts.status == StatusCode::INTERNAL_SERVER_ERROR {
            parts.status = status_of(&error);
        }
        parts.extensions.insert(error.code);
        if let Some(retry_after) = retry_after(&error) {
            parts.headers.insert(header::RETRY_AFTER, retry_after);
        }
    }
    Response::from_parts(parts, Body::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::without_form_error;

    #[test]
    fn only_the_form_error_is_stripped() {
        let address = "http://cloud/vms/new?size=small&__path=%2Fapi&__err=eyJ9";
        assert_eq!(without_form_error(address).as_deref(), Some("http://cloud/vms/new?size=small"));
        assert_eq!(
            without_form_error("http://cloud/sign-in?__path=x&__err=y").as_deref(),
            Some("http://cloud/sign-in")
        );
        assert_eq!(without_form_error("http://cloud/vms/new?size=small"), None);
        assert_eq!(without_form_error("http://cloud/"), None);
    }
}
