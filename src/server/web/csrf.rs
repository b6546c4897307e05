//! Cross-site request forgery: browsers attach the session cookie to every request, so state changes must come from our
//! own pages.

use crate::{model::ApiError, server::state::AppState};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// Rejects requests that may change something and do not come from our own pages. Browsers never send a bearer token on
/// their own, so requests with one pass.
pub async fn same_origin_only(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if reads || may_change(request.headers(), state.https) {
        next.run(request).await
    } else {
        ApiError::forbidden("This request came from another site. Open Twarga Cloud and try again.")
            .into_response()
    }
}

fn may_change(headers: &HeaderMap, https: bool) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if super::request_context::bearer_token(headers).is_some() {
        return true;
    }
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    if let Some(origin) = text(header::ORIGIN.as_str()) {
        let host = origin.split_once("://").map(|(_, host)| host);
        return host.is_some() && host == text(header::HOST.as_str());
    }
    // Not a browser: those send one of the two. It must not ride on a browser's cookie.
    super::request_context::session_cookie(headers, https).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn allowed(pairs: &[(&'static str, &'static str)]) -> bool {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect();
        may_change(&headers, false)
    }

    #[test]
    fn our_own_pages_may_change_things() {
        assert!(allowed(&[("sec-fetch-site", "same-origin"), ("cookie", "twarga_session=x")]));
        assert!(allowed(&[
            ("origin", "http://cloud:3000"),
            ("host", "cloud:3000"),
            ("cookie", "twarga_session=x")
        ]));
    }

    #[test]
    fn other_sites_pages_may_not() {
        assert!(!allowed(&[("sec-fetch-site", "cross-site")]));
        assert!(!allowed(&[("sec-fetch-site", "same-site")]));
        assert!(!allowed(&[("origin", "http://evil:3000"), ("host", "cloud:3000")]));
        assert!(!allowed(&[("origin", "null"), ("host", "cloud:3000")]));
    }

    #[test]
    fn a_tool_without_a_cookie_may_and_one_that_rides_on_a_cookie_may_not() {
        assert!(allowed(&[("host", "cloud:3000")]));
        assert!(!allowed(&[("host", "cloud:3000"), ("cookie", "a=b; twarga_session=x")]));
        assert!(allowed(&[("authorization", "Bearer x"), ("cookie", "twarga_session=x")]));
    }
}
