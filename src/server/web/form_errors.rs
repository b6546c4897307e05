//! A form that was sent without JavaScript and rejected returns to its page with the entered values in the page's
//! address, so that the user need not type them again. Only fields listed here are kept: never a password, and never
//! the name that confirms a deletion.

use super::MAX_BODY_BYTES;
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

const FIELDS: [&str; 8] = ["username", "email", "id", "name", "image", "ram_mb", "cpu_cores", "disk_gb"];
/// The fields of an alert rule are in a group, with encoded brackets.
const GROUP: &str = "rule%5B";
/// Longer than any value that is allowed, and far from what an address may hold.
const MAX_VALUE_BYTES: usize = 300;

/// Adds the entered values to the address that a rejected form is redirected to.
pub async fn keep_entered_values(request: Request, next: Next) -> Response {
    if request.method() != Method::POST || !is_plain_form(request.headers()) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let entered = std::str::from_utf8(&bytes).map(entered).unwrap_or_default();
    let mut response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    if let Some(refilled) = location.and_then(|location| with_entered(location, &entered))
        && let Ok(value) = HeaderValue::from_str(&refilled)
    {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

fn is_plain_form(headers: &HeaderMap) -> bool {
    let says = |name, what: &str| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .is_some_and(|v| v.contains(what))
    };
    says(header::ACCEPT, "text/html") && says(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}

fn may_be_seen(name: &str) -> bool {
    FIELDS.contains(&name) || name.starts_with(GROUP)
}

/// The pairs of a form's body that may be seen in an address, as they were encoded.
fn entered(body: &str) -> Vec<String> {
    let goes_along = |pair: &&str| {
        pair.split_once('=').is_some_and(|(name, value)| {
            may_be_seen(name)
                && value.len() <= MAX_VALUE_BYTES
                && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"%+-._*~".contains(&b))
        })
    };
    body.split('&').filter(goes_along).map(str::to_owned).collect()
}

/// `location` with the entered values in place of those of an earlier attempt; `None` if the form was accepted.
fn with_entered(location: &str, entered: &[String]) -> Option<String> {
    let (page, query) = location.split_once('?')?;
    let pairs = query.split('&').collect::<Vec<_>>();
    if !pairs.iter().any(|pair| pair.starts_with("__err=")) {
        return None;
    }
    let is_old = |pair: &&str| pair.split_once('=').is_some_and(|(name, _)| may_be_seen(name));
    let kept = pairs.into_iter().filter(|pair| !is_old(pair));
    let all: Vec<_> = kept.chain(entered.iter().map(String::as_str)).collect();
    Some(format!("{page}?{}", all.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_and_a_confirmation_never_go_along() {
        let body = "username=ada&password=correct+horse&confirm_name=db&email=ada%40example.org";
        assert_eq!(entered(body), ["username=ada", "email=ada%40example.org"]);
        let rule = "rule%5Bscope%5D=owner%3A1&rule%5Bquiet_from%5D=22%3A00&rules=1";
        assert_eq!(entered(rule), ["rule%5Bscope%5D=owner%3A1", "rule%5Bquiet_from%5D=22%3A00"]);
    }

    #[test]
    fn what_is_no_form_value_or_too_long_does_not_go_along() {
        assert_eq!(entered("name=a\r\nb"), [""; 0]);
        assert_eq!(entered("name=a#b"), [""; 0]);
        assert_eq!(entered(&format!("name={}", "x".repeat(301))), [""; 0]);
    }

    #[test]
    fn what_was_entered_takes_the_place_of_an_earlier_try() {
        let refused = "http://cloud/vms/new?size=small&name=old&__path=x&__err=y";
        assert_eq!(
            with_entered(refused, &["name=new".into()]).as_deref(),
            Some("http://cloud/vms/new?size=small&__path=x&__err=y&name=new")
        );
        assert_eq!(with_entered("/vms/7", &["name=new".into()]), None);
        assert_eq!(with_entered("/?q=x", &["name=new".into()]), None);
    }
}
