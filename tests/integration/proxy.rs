//! Behind a real nginx and a real Caddy, configured as `docs/admin/behind-a-proxy.md` says. They need both programs:
//! `scripts/setup test`, then `PATH=$PWD/.lab/proxies/usr/sbin:$PWD/.lab/proxies/usr/bin:$PATH
//! cargo test --features ssr --test integration proxy:: -- --ignored`.

use crate::support::{PASSWORD, eventually, http::register, process::Process};
use reqwest::{Certificate, Client, Response, header, redirect};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

const DOCUMENT: &str = include_str!("../../docs/admin/behind-a-proxy.md");
const README: &str = include_str!("../../README.md");
const NAME: &str = "cloud.example.org";

/// The first block of a language in a document.
fn block<'a>(document: &'a str, language: &str) -> &'a str {
    let begin = format!("```{language}\n");
    document.split_once(&begin).and_then(|(_, rest)| rest.split_once("```")).map(|(block, _)| block).unwrap()
}

/// `text` with something replaced that must be there.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is missing in:\n{text}");
    text.replace(from, to)
}

/// A port that was free a moment ago: the proxies cannot say which one they have taken.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A proxy with a server behind it; both end when it is dropped.
struct Proxy {
    child: Child,
    server: Process,
    client: Client,
    url: String,
    folder: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// `configure` gets the server's address, the port to listen on, the certificate, its key and the folder, and gives the
    /// command.
    async fn start(
        settings: &[&str],
        configure: impl FnOnce(SocketAddr, u16, &Path, &Path, &Path) -> Command,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let url = format!("https://{NAME}:{port}");
        let mut server = Process::start(folder.path(), |command| {
            command.args(["--provider", "simulated", "--simulated-vms", "1", "--log", "debug"]);
            command.args(settings.iter().map(|setting| setting.replace("PUBLIC_URL", &url)));
        });
        server.listens().await;
        register(server.address, "ada", &server.setup_code()).await;

        let certified = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("cloud.pem"), folder.path().join("cloud.key"));
        fs::write(&certificate, certified.cert.pem()).unwrap();
        fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
        let mut command = configure(server.address, port, &certificate, &key, folder.path());
        let log = File::create(folder.path().join("proxy.log")).unwrap();
        let child = command
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{error}: scripts/setup test unpacks the proxies into .lab/proxies")
            });
        // Fails only when there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = Certificate::from_pem(certified.cert.pem().as_bytes()).unwrap();
        let client = Client::builder()
            .tls_certs_only([authority])
            .resolve(NAME, (Ipv4Addr::LOCALHOST, port).into())
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        let mut proxy = Self { child, server, client, url, folder };
        eventually(async || {
            let ended = proxy.child.try_wait().unwrap();
            let log = fs::read_to_string(proxy.folder.path().join("proxy.log")).unwrap_or_default();
            assert!(ended.is_none(), "the proxy ended ({ended:?})\n{log}");
            let answer = proxy.client.get(format!("{}/health", proxy.url)).send().await;
            answer.map(|_| ()).map_err(|error| format!("{error:?}\n{log}"))
        })
        .await;
        proxy
    }

    async fn nginx(settings: &[&str], change: impl FnOnce(String) -> String) -> Self {
        Self::start(settings, |server, port, certificate, key, folder| {
            let site =
                replaced(block(DOCUMENT, "nginx"), "listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl"));
            let site = replaced(&site, "/etc/ssl/cloud.example.org.pem", certificate.to_str().unwrap());
            let site = replaced(&site, "/etc/ssl/private/cloud.example.org.key", key.to_str().unwrap());
            let site = change(replaced(&site, "127.0.0.1:3000", &server.to_string()));
            let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|name| format!("{name}_temp_path {name};\n"))
                .concat();
            let config = format!(
                "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
                 http {{\naccess_log off;\n{temporary}{site}}}\n"
            );
            fs::write(folder.join("nginx.conf"), config).unwrap();
            let mut command = Command::new("nginx");
            command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(folder);
            command
        })
        .await
    }

    async fn caddy(settings: &[&str]) -> Self {
        Self::start(settings, |server, port, certificate, key, folder| {
            let (certificate, key) = (certificate.display(), key.display());
            let own = format!("{NAME}:{port} {{\n    bind 127.0.0.1\n    tls {certificate} {key}\n");
            let site = replaced(block(DOCUMENT, "caddy"), &format!("{NAME} {{\n"), &own);
            let site = replaced(&site, "127.0.0.1:3000", &server.to_string());
            let global = "{\n    admin off\n    auto_https disable_redirects\n    servers {\n        protocols h1 h2\n    }\n}\n";
            fs::write(folder.join("Caddyfile"), format!("{global}{site}")).unwrap();
            let mut command = Command::new("caddy");
            command.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]);
            command
        })
        .await
    }

    /// Signs in through the page's form, as a browser that knows `Origin` only.
    async fn sign_in(&self) -> Response {
        self.client
            .post(format!("{}/api/v1/sign_in", self.url))
            .header(header::ORIGIN, &self.url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("username=ada&password={}", PASSWORD.replace(' ', "+")))
            .send()
            .await
            .unwrap()
    }

    async fn status(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = self.client.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    }

    async fn works(&self) {
        let answer = self.sign_in().await;
        assert_eq!(answer.status(), 200);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        let session = cookie.split(';').next().unwrap();
        assert!(session.starts_with("__Host-twarga_session=") && cookie.contains("; Secure"), "{cookie}");
        assert_eq!(self.status("/api/vms", &[("cookie", session)]).await, 200);
        assert_eq!(self.status("/metrics", &[]).await, 401);

        // What a client invents does not count, and its own address does.
        let invented = [
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "rebound.example"),
            ("x-forwarded-proto", "http"),
        ];
        assert_eq!(self.status("/api/v1/instance?invented", &invented).await, 200);
        eventually(async || {
            let log = self.server.log();
            let line = log.lines().find(|line| line.contains("/api/v1/instance"));
            match line {
                Some(line) if line.contains("127.0.0.1") && !line.contains("192.0.2.7") => Ok(()),
                _ => Err(log),
            }
        })
        .await;
        self.opens_a_terminal(session).await;
        let page =
            self.client.get(format!("{}/sign-in", self.url)).send().await.unwrap().text().await.unwrap();
        assert!(page.contains("Sign in") && !page.contains("data-testid=\"transport\""), "{page}");
    }
}

impl Proxy {
    /// As the page does, up to the upgrade to a WebSocket.
    async fn opens_a_terminal(&self, session: &str) {
        let opened = eventually(async || {
            let answer = self
                .client
                .post(format!("{}/api/v1/open_terminal", self.url))
                .header(header::ORIGIN, &self.url)
                .header(header::COOKIE, session)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body("vm_id=1&columns=80&rows=24")
                .send()
                .await
                .unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            if status == 200 { Ok(text) } else { Err(text) }
        });
        let opened: serde_json::Value = serde_json::from_str(&opened.await).unwrap();
        let path = format!("/api/terminals/{}/socket", opened["terminal_id"]);
        let upgrade = [
            ("cookie", session),
            ("origin", &self.url),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert_eq!(self.status(&path, &upgrade).await, 101);
    }
}

const DOCUMENTED: [&str; 5] = ["--https", "--public-url", "PUBLIC_URL", "--trusted-proxy", "127.0.0.1"];

#[test]
fn the_lines_of_the_readme_are_those_of_the_document() {
    for language in ["nginx", "caddy"] {
        assert_eq!(block(README, language), block(DOCUMENT, language), "{language}");
    }
    let settings = block(DOCUMENT, "toml");
    for line in
        ["https = true", "public_url = \"https://cloud.example.org\"", "trusted_proxy = \"127.0.0.1\""]
    {
        assert!(settings.contains(line), "{line}");
    }
}

#[tokio::test]
#[ignore = "needs nginx; make test unpacks and runs it"]
async fn nginx_as_documented() {
    Proxy::nginx(&DOCUMENTED, |site| site).await.works().await;
}

#[tokio::test]
#[ignore = "needs Caddy; make test unpacks and runs it"]
async fn caddy_as_documented() {
    Proxy::caddy(&DOCUMENTED).await.works().await;
}

/// Without the header `Host`, nginx sends the address of the server behind it.
#[tokio::test]
#[ignore = "needs nginx; make test unpacks and runs it"]
async fn nginx_with_its_default_host_needs_the_public_url() {
    let bare = |site: String| {
        let lines = site.lines().filter(|line| !line.contains("proxy_set_header"));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let without = Proxy::nginx(&["--https"], bare).await;
    let answer = without.sign_in().await;
    assert_eq!(answer.status(), 403);
    let text = answer.text().await.unwrap();
    assert!(
        text.contains(&format!("--public-url {}", without.url)) && text.contains("header Host"),
        "{text}"
    );

    let with = Proxy::nginx(&["--https", "--public-url", "PUBLIC_URL"], bare).await;
    assert_eq!(with.sign_in().await.status(), 200);
}
