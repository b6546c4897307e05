//! A whole server in process: the real router, a real database in its own folder, and clients.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub mod driver;
pub mod fleet;
pub mod http;
pub mod process;
pub mod smtp;

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderValue, Method, Request, StatusCode, header},
};
use clap::Parser;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tower::ServiceExt;
use twarga_cloud::{
    asset_urls::AssetUrls,
    server::{
        commands::{ServerBuilder, Source, assemble},
        config::{Cli, ServeArgs},
        monitor::Collector,
        state::AppState,
        web,
    },
};

pub const PASSWORD: &str = "correct horse battery";

/// No single wait is longer, however slow the machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Tries again and again until it succeeds; fails with the last error when it has not within [`PATIENCE`].
pub async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => assert!(begin.elapsed() < PATIENCE, "after {PATIENCE:?}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Random numbers, the same ones in each run.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Self(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

pub struct Server {
    pub state: AppState,
    pub collector: Collector,
    pub data_dir: PathBuf,
    router: Router,
    // Removed when the server is dropped.
    _folder: Option<TempDir>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The visible text of a page: no tags, no scripts, no escapes.
    pub fn words(&self) -> String {
        let mut words = String::new();
        let mut rest = self.text.as_str();
        while let Some((before, tag)) = rest.split_once('<') {
            words.push_str(before);
            let end = match tag {
                _ if tag.starts_with("script") => "</script>",
                _ if tag.starts_with("!--") => "-->",
                _ => ">",
            };
            rest = tag.split_once(end).map_or("", |(_, after)| after);
        }
        words.push_str(rest);
        let escapes =
            [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#39;", "'"), ("&amp;", "&")];
        escapes.iter().fold(words, |words, (escape, plain)| words.replace(escape, plain))
    }

    /// What a page's form holds in a field.
    pub fn field(&self, name: &str) -> Option<String> {
        let tag = self
            .text
            .split('<')
            .find(|tag| tag.starts_with("input") && tag.contains(&format!(" name=\"{name}\"")))?;
        let value = tag.split_once(" value=\"")?.1.split('"').next()?;
        Some(value.to_owned())
    }

    pub fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map_or("", |value| value.to_str().unwrap())
    }
}

/// A client: anonymous, or authenticated by a token or a browser's cookie.
#[derive(Clone)]
pub struct Client {
    router: Router,
    token: Option<String>,
    cookie: Option<String>,
    peer: Option<SocketAddr>,
}

/// Where a browser finds the server.
const SITE: &str = "http://localhost";

/// As if the site were built.
pub fn asset_urls() -> AssetUrls {
    let url = |name: &str| format!("/pkg/{name}");
    AssetUrls {
        css: url("a.css"),
        js: url("a.js"),
        wasm: url("a.wasm"),
        echarts: url("e.js"),
        terminal: url("t.js"),
    }
}

/// With open registration, unless `more` says otherwise: most tests need some users.
pub fn arguments(data_dir: &std::path::Path, more: &[&str]) -> ServeArgs {
    let fixed = ["twarga-cloud", "--data-dir", data_dir.to_str().unwrap()];
    let registration = ["--registration", "open"];
    let registration = if more.contains(&"--registration") { &[][..] } else { &registration };
    Cli::parse_from([&fixed, registration, more].concat()).serve
}

impl Server {
    /// In a folder of its own, which goes when the server does.
    pub async fn start(more: &[&str], source: impl FnOnce(&ServeArgs) -> Source) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self::start_in(folder.path(), more, source).await;
        server._folder = Some(folder);
        server
    }

    /// In a folder that may have been used before.
    pub async fn start_in(
        folder: &std::path::Path,
        more: &[&str],
        source: impl FnOnce(&ServeArgs) -> Source,
    ) -> Self {
        let arguments = arguments(folder, more);
        let source = source(&arguments);
        let assembly: ServerBuilder = assemble(&arguments, asset_urls(), source).await.unwrap();
        assembly.state.vms.resume().await.unwrap();
        Self {
            collector: assembly.collector(),
            router: web::router(assembly.state.clone()),
            state: assembly.state,
            data_dir: assembly.data_dir,
            _folder: None,
        }
    }

    /// Serves on loopback as it would anywhere, until the answer is dropped.
    pub async fn listen(&self) -> http::Listening {
        http::Listening::begin(self.state.clone()).await
    }

    pub fn anonymous(&self) -> Client {
        Client { router: self.router.clone(), token: None, cookie: None, peer: None }
    }

    /// Registers a user and signs in; the first one is the admin.
    pub async fn user(&self, name: &str) -> Client {
        let anonymous = self.anonymous();
        let answer = anonymous.register(name, json!({ "setup_code": self.setup_code() })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        self.signed_in(name).await
    }

    /// What the server's terminal would show.
    pub fn setup_code(&self) -> &str {
        self.state.registration.setup_code.expose()
    }

    pub async fn signed_in(&self, name: &str) -> Client {
        let anonymous = self.anonymous();
        let answer = anonymous.form("/api/auth/login", &[("username", name), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        Client { token: Some(token), ..anonymous }
    }

    /// The same user in a browser without JavaScript, signed in through the page's form.
    pub async fn browser(&self, name: &str) -> Client {
        let anonymous = self.anonymous();
        let answer = anonymous.form("/api/v1/sign_in", &[("username", name), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
        Client { cookie: cookie.split(';').next().map(str::to_owned), ..anonymous }
    }

    pub fn vm_folder(&self, owner_id: i64, name: &str) -> PathBuf {
        self.data_dir.join("vms").join(format!("user{owner_id}-{name}"))
    }

    /// Changes the database past the server.
    pub async fn execute(&self, sql: &'static str) {
        let mut tx = self.state.database.write().await.unwrap();
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The UUID of a VM's domain.
    pub async fn domain_uuid(&self, vm: &str) -> String {
        sqlx::query_scalar("SELECT domain_uuid FROM vm WHERE name = ?")
            .bind(vm)
            .fetch_one(self.state.database.read())
            .await
            .unwrap()
    }

    /// All events so far but those of security, newest first: sign-ins and the like come between others.
    pub async fn events(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT kind, text FROM event WHERE kind NOT LIKE 'security%' ORDER BY id DESC")
            .fetch_all(self.state.database.read())
            .await
            .unwrap()
    }

    pub async fn tick(&mut self) {
        self.collector.tick().await.unwrap();
    }

    /// Waits for all open operations.
    pub async fn wait_until_idle(&self) {
        self.state.vms.wait_until_idle(Duration::from_secs(600)).await;
    }
}

impl Client {
    /// The same, as if from this address. The router in process knows of no peer by itself.
    pub fn asking_from(&self, peer: &str) -> Self {
        Self { peer: Some(peer.parse().unwrap()), ..self.clone() }
    }

    /// The same browser with another session.
    pub fn with_cookie(&self, cookie: &str) -> Self {
        Self { cookie: Some(cookie.to_owned()), ..self.clone() }
    }

    /// The same client with another bearer token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// The same browser with the cookies of an answer beside its own. It is one without JavaScript or a signed-in one.
    pub fn following(&self, answer: &Answer) -> Self {
        let set = answer.headers.get_all(header::SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap());
        let new = set.filter_map(|cookie| cookie.split(';').next().map(str::to_owned));
        let all: Vec<_> = self.cookie.iter().cloned().chain(new).collect();
        Self { cookie: (!all.is_empty()).then(|| all.join("; ")), ..self.clone() }
    }

    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub async fn send(&self, mut request: Request<Body>) -> Answer {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        if request.uri().authority().is_none() && !request.headers().contains_key(header::HOST) {
            request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
        }
        if let Some(token) = &self.token {
            request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        if let Some(cookie) = &self.cookie {
            request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
            request.headers_mut().insert("sec-fetch-site", "same-origin".parse().unwrap());
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// A page, as a browser without JavaScript gets it.
    pub async fn page(&self, path: &str) -> Answer {
        self.send(Request::get(path).header(header::ACCEPT, "text/html").body(Body::empty()).unwrap()).await
    }

    /// Sends a page's form without JavaScript: gives where it leads, and the page that is there.
    pub async fn submit(&self, page: &str, action: &str, fields: &[(&str, &str)]) -> (String, Answer) {
        let mut request = form_request(action, fields);
        request.headers_mut().insert(header::ACCEPT, "text/html".parse().unwrap());
        request.headers_mut().insert(header::REFERER, format!("{SITE}{page}").parse().unwrap());
        let answer = self.send(request).await;
        assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.text);
        let location = answer.location().strip_prefix(SITE).unwrap_or(answer.location()).to_owned();
        let page = self.following(&answer).page(&location).await;
        (location, page)
    }

    pub async fn json(&self, method: Method, path: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        self.send(request).await
    }

    /// Registers a user over REST, with these codes and whatever else differs.
    pub async fn register(&self, name: &str, codes: Value) -> Answer {
        let mut body =
            json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
        body.as_object_mut().unwrap().extend(codes.as_object().unwrap().clone());
        self.json(Method::POST, "/api/auth/register", &body.to_string()).await
    }

    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(form_request(path, fields)).await
    }

    pub async fn launch(&self, name: &str, image: &str) -> Answer {
        let size = if image == "lab-tiny" { ["192", "1", "1"] } else { ["512", "1", "10"] };
        self.form(
            "/api/v1/launch_vm",
            &[
                ("name", name),
                ("image", image),
                ("ram_mb", size[0]),
                ("cpu_cores", size[1]),
                ("disk_gb", size[2]),
            ],
        )
        .await
    }

    pub async fn act(&self, what: &str, vm_id: i64) -> Answer {
        self.form(&format!("/api/v1/{what}_vm"), &[("vm_id", &vm_id.to_string())]).await
    }

    pub async fn destroy(&self, vm_id: i64, name: &str) -> Answer {
        self.form("/api/v1/destroy_vm", &[("vm_id", &vm_id.to_string()), ("confirm_name", name)]).await
    }

    /// The open alerts about VMs. Those about the host depend on how busy the machine is that runs the tests.
    pub async fn vm_alerts(&self) -> Vec<Value> {
        let mut alerts: Vec<Value> =
            serde_json::from_value(self.get("/api/v1/open_alerts").await.json()).unwrap();
        alerts.retain(|alert| alert["vm_id"].is_i64());
        alerts
    }

    /// The VM as the list shows it; null when it is not there.
    pub async fn vm(&self, name: &str) -> Value {
        let all = self.get("/api/vms").await.json();
        all.as_array().unwrap().iter().find(|vm| vm["name"] == name).cloned().unwrap_or(Value::Null)
    }
}

pub fn form_request(path: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let encoded: Vec<_> =
        fields.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(encoded.join("&")))
        .unwrap()
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
