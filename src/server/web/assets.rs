//! Serves what `cargo xtask site` built: the files of `/pkg/<hash>`, a folder whose name changes with its content, and the
//! public files beside it (`/favicon.svg`).
//!
//! A debug server reads `target/site` at each request, so that a rebuilt site needs no restart; a release server embeds
//! the site with its compressed files.

use crate::asset_urls::AssetUrls;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};
use std::fmt::Write;

/// Where each asset is served from now. Not for clients.
const MANIFEST: &str = "assets.json";

const BUILD_IT: &str = if cfg!(debug_assertions) {
    "run `cargo xtask site` first"
} else {
    "run `cargo xtask site --release` first, then build the server again"
};

#[derive(RustEmbed)]
#[folder = "target/site"]
#[allow_missing = true]
struct Site;

/// Whether `cargo leptos watch` runs this server.
pub fn cargo_leptos_watches() -> bool {
    std::env::var_os("LEPTOS_WATCH").is_some()
}

/// Whether cargo-leptos builds the site: it writes no manifest, and its files keep their names.
fn built_by_cargo_leptos() -> bool {
    cargo_leptos_watches() || (Site::get(MANIFEST).is_none() && Site::get("pkg/twarga-cloud.js").is_some())
}

/// The addresses of what a page loads.
///
/// # Errors
/// A sentence that says what to do, when the site was not built.
pub fn urls() -> Result<AssetUrls, String> {
    if built_by_cargo_leptos() {
        let built = |extension: &str| format!("/pkg/twarga-cloud.{extension}");
        return Ok(AssetUrls {
            css: built("css"),
            js: built("js"),
            wasm: built("wasm"),
            echarts: "/echarts.js".into(),
            terminal: "/terminal.js".into(),
        });
    }
    let manifest = Site::get(MANIFEST).ok_or_else(|| format!("the site is not built: {BUILD_IT}"))?;
    serde_json::from_slice(&manifest.data)
        .map_err(|e| format!("target/site/{MANIFEST} cannot be read ({e}): {BUILD_IT}"))
}

/// Answers a GET or HEAD for a file of the site; anything else is a plain 404.
pub async fn serve(uri: Uri, headers: HeaderMap) -> Response {
    respond(uri.path(), &headers, Site::get)
}

fn respond(path: &str, request: &HeaderMap, file: impl Fn(&str) -> Option<EmbeddedFile>) -> Response {
    let Some((name, plain)) = served_name(path).and_then(|name| Some((name, file(name)?))) else {
        return (StatusCode::NOT_FOUND, "not found\n").into_response();
    };
    let accepted = joined(request, header::ACCEPT_ENCODING);
    let compressed = Encoding::BEST_FIRST
        .into_iter()
        .filter(|encoding| accepts(&accepted, encoding.token()))
        .find_map(|encoding| Some((file(&format!("{name}.{}", encoding.extension()))?, Some(encoding))));
    let (content, encoding) = compressed.unwrap_or((plain, None));

    let etag = etag(&content);
    let mut response = Response::builder()
        .header(header::ETAG, &etag)
        .header(header::VARY, "accept-encoding")
        .header(header::CACHE_CONTROL, cache_control(name));
    if matches_etag(&joined(request, header::IF_NONE_MATCH), &etag) {
        response = response.status(StatusCode::NOT_MODIFIED);
        return response.body(Body::empty()).expect("constant headers and a quoted number");
    }
    if let Some(encoding) = encoding {
        response = response.header(header::CONTENT_ENCODING, encoding.token());
    }
    response
        .header(header::CONTENT_TYPE, content_type(name))
        .body(Body::from(content.data))
        .expect("constant headers, a quoted number and a media type")
}

/// The file that a path names, if clients may have it: one at the top, or any in `pkg`. The manifest and the compressed
/// forms are not served by their own names.
fn served_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix('/')?;
    let in_place = name.starts_with("pkg/") || !name.contains('/');
    let plain = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
    };
    let internal = name == MANIFEST || [".br", ".gz", ".new"].iter().any(|end| name.ends_with(end));
    (in_place && !internal && name.split('/').all(plain)).then_some(name)
}

fn cache_control(name: &str) -> &'static str {
    if name.starts_with("pkg/") && !built_by_cargo_leptos() {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    }
}

fn content_type(name: &str) -> HeaderValue {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let text = guess.type_() == "text" || guess.suffix().is_some_and(|suffix| suffix == "xml");
    let value =
        if text { format!("{}; charset=utf-8", guess.essence_str()) } else { guess.essence_str().to_owned() };
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// Of the form that is sent: the compressed forms of a file have tags of their own, as they must.
fn etag(file: &EmbeddedFile) -> String {
    let mut tag = String::from('"');
    for byte in &file.metadata.sha256_hash()[..16] {
        write!(tag, "{byte:02x}").expect("writing to a string");
    }
    tag + "\""
}

/// `If-None-Match`, compared weakly as RFC 9110, 13.1.2 says.
fn matches_etag(if_none_match: &str, etag: &str) -> bool {
    let mut candidates = if_none_match.split(',').map(str::trim);
    candidates.any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == etag)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Encoding {
    Brotli,
    Gzip,
}

impl Encoding {
    const BEST_FIRST: [Encoding; 2] = [Encoding::Brotli, Encoding::Gzip];

    fn token(self) -> &'static str {
        match self {
            Encoding::Brotli => "br",
            Encoding::Gzip => "gzip",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Encoding::Brotli => "br",
            Encoding::Gzip => "gz",
        }
    }
}

/// Whether an `Accept-Encoding` allows a coding (RFC 9110, 12.5.3): by its name, else by `*`, and not with `q=0`.
/// An invalid weight excludes the coding. Weights do not rank: the server prefers its smallest form.
fn accepts(accept_encoding: &str, coding: &str) -> bool {
    let mut by_wildcard = false;
    for item in accept_encoding.split(',') {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let allowed = parameters.split(';').filter_map(weight).all(|weight| weight > 0.0);
        match name.trim() {
            name if name.eq_ignore_ascii_case(coding) => return allowed,
            "*" => by_wildcard = allowed,
            _ => {}
        }
    }
    by_wildcard
}

/// The number of a parameter `q=…`; 0 if it is none. `None` for another parameter.
fn weight(parameter: &str) -> Option<f32> {
    let (name, value) = parameter.split_once('=')?;
    name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
}

/// The values of a header that may come in several lines, as the one list that they make.
fn joined(headers: &HeaderMap, name: HeaderName) -> String {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, http::Request, routing::get};
    use http_body_util::BodyExt;
    use proptest::prelude::*;
    use tower::ServiceExt;

    const SCRIPT: &str = "/pkg/0123456789abcdef/app.js";

    /// A built site, small: a script with both compressed forms, and an icon with none.
    fn site() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("assets.json", "{}"),
            ("favicon.svg", "<svg/>"),
            ("pkg/0123456789abcdef/app.js", "plain"),
            ("pkg/0123456789abcdef/app.js.br", "brotli"),
            ("pkg/0123456789abcdef/app.js.gz", "gzip"),
            ("pkg/0123456789abcdef/app.wasm", "wasm"),
            ("pkg/snippets/app-0123456789abcdef/assets/part.js", "part"),
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        dir
    }

    async fn request(
        method: &str,
        path: &str,
        headers: &[(HeaderName, &str)],
    ) -> (StatusCode, HeaderMap, String) {
        let site = site();
        let root = site.path().to_owned();
        let router = Router::new().fallback_service(get(async move |uri: Uri, headers: HeaderMap| {
            respond(uri.path(), &headers, |name| rust_embed::utils::read_file_from_fs(&root.join(name)).ok())
        }));
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_smallest_form_that_the_client_accepts_is_sent() {
        for (accepted, sent) in [
            ("gzip, deflate, br, zstd", "brotli"),
            ("gzip", "gzip"),
            ("br;q=0, gzip;q=0.5", "gzip"),
            ("*", "brotli"),
            ("*, br;q=0", "gzip"),
            ("identity", "plain"),
            ("", "plain"),
        ] {
            let (status, headers, body) =
                request("GET", SCRIPT, &[(header::ACCEPT_ENCODING, accepted)]).await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, sent), "{accepted}");
            let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap());
            assert_eq!(
                encoding,
                [("brotli", "br"), ("gzip", "gzip")].into_iter().find(|e| e.0 == sent).map(|e| e.1)
            );
            assert_eq!(headers[header::VARY], "accept-encoding");
            assert_eq!(headers[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        }
    }

    #[tokio::test]
    async fn a_built_file_is_cached_for_ever_and_a_public_one_is_revalidated() {
        let (_, hashed, _) = request("GET", SCRIPT, &[]).await;
        assert_eq!(hashed[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        let (_, public, body) = request("GET", "/favicon.svg", &[]).await;
        assert_eq!(public[header::CACHE_CONTROL], "no-cache");
        assert_eq!(
            (public[header::CONTENT_TYPE].to_str().unwrap(), body.as_str()),
            ("image/svg+xml; charset=utf-8", "<svg/>")
        );

        let tag = public[header::ETAG].to_str().unwrap();
        let (status, headers, body) =
            request("GET", "/favicon.svg", &[(header::IF_NONE_MATCH, &format!("W/{tag}, \"x\""))]).await;
        assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""));
        assert_eq!(headers[header::ETAG], tag);
        let (status, ..) = request("GET", "/favicon.svg", &[(header::IF_NONE_MATCH, "\"x\"")]).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn each_form_of_a_file_has_its_own_tag() {
        let (_, plain, _) = request("GET", SCRIPT, &[]).await;
        let (_, brotli, _) = request("GET", SCRIPT, &[(header::ACCEPT_ENCODING, "br")]).await;
        assert_ne!(plain[header::ETAG], brotli[header::ETAG]);
    }

    #[tokio::test]
    async fn wasm_has_the_type_that_browsers_stream_and_head_sends_no_body() {
        let (status, headers, body) = request("HEAD", "/pkg/0123456789abcdef/app.wasm", &[]).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
        assert_eq!(headers[header::CONTENT_TYPE], "application/wasm");
        assert_eq!(headers[header::CONTENT_LENGTH], "4");
    }

    #[tokio::test]
    async fn a_script_of_a_crate_is_served_from_where_cargo_leptos_leaves_it() {
        let path = "/pkg/snippets/app-0123456789abcdef/assets/part.js";
        let (status, _, body) = request("GET", path, &[]).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "part"));
    }

    #[tokio::test]
    async fn what_is_no_file_for_clients_is_not_found() {
        let hidden = ["/assets.json", "/pkg/0123456789abcdef/app.js.br", "/pkg/0123456789abcdef/app.js.gz"];
        let odd = [
            "/",
            "/pkg",
            "/pkg/",
            "/pkg/../assets.json",
            "/pkg/%2e%2e/assets.json",
            "//etc/hostname",
            "/pkg//etc/hostname",
            "/pkg/0123456789abcdef",
            "/pkg/0123456789abcdef/",
            "/pkg/0123456789abcdef/../../assets.json",
            "/pkg/0123456789abcdef//etc/hostname",
            "/snippets/app-0123456789abcdef/assets/part.js",
        ];
        for path in hidden.into_iter().chain(odd).chain(["/absent.svg", "/pkg/pkg/favicon.svg"]) {
            let (status, headers, body) = request("GET", path, &[]).await;
            assert_eq!((status, body.as_str()), (StatusCode::NOT_FOUND, "not found\n"), "{path}");
            assert_eq!(headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        }
    }

    #[test]
    fn the_manifest_gives_the_addresses() {
        let json =
            br#"{"css": "/pkg/a.css", "js": "/pkg/a.js", "wasm": "/pkg/a.wasm", "echarts": "/pkg/e.js", "terminal": "/pkg/t.js"}"#;
        let urls: AssetUrls = serde_json::from_slice(json).unwrap();
        assert_eq!((urls.css.as_str(), urls.echarts.as_str()), ("/pkg/a.css", "/pkg/e.js"));
        assert!(serde_json::from_slice::<AssetUrls>(br#"{"css": "/pkg/a.css"}"#).is_err());
    }

    proptest! {
        #[test]
        fn a_coding_that_is_not_named_is_not_accepted(header in "[^*]{0,80}") {
            prop_assert!(!accepts(&header, "br") || header.to_ascii_lowercase().contains("br"));
        }

        #[test]
        fn a_rejected_encoding_is_not_used_wherever_it_is_listed(
            before in "([a-z*]{3,8}(;q=[0-9.]{1,4})?, ?){0,3}", after in "(, ?[a-z*]{3,8}){0,3}", zero in "0(\\.0{0,3})?",
        ) {
            let header = format!("{before}br;q={zero}{after}");
            prop_assert!(!accepts(&header, "br"), "{}", header);
        }

        #[test]
        fn a_served_name_stays_in_its_folder(path in "/?[a-z./%\\\\]{0,20}") {
            if let Some(name) = served_name(&path) {
                prop_assert!(name.starts_with("pkg/") || !name.contains('/'));
                prop_assert!(!name.contains('\\'));
                prop_assert!(name.split('/').all(|part| !part.is_empty() && !part.starts_with('.')));
            }
        }
    }
}
