//! Notifications travel over TLS: a whole server of its own process sends them to receivers on loopback.
//!
//! The server trusts the roots in `SSL_CERT_FILE` instead of the system's: the receivers' authority, another one, or none.
//! Receivers record what they receive before TLS starts, and within it.

use crate::support::{PATIENCE, eventually, http, process::Process, smtp};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
    serve::Listener,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use twarga_cloud::server::notifications::signature;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Loopback, too; but not "this very host" to the server, which speaks plainly there.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const SITE: &str = "http://localhost";
/// The first line of the first mail that an address gets.
const MAIL_TEXT: &str = "Confirm your e-mail address.";
const SMTP_USER: &str = "cloud@example.org";
const SMTP_PASSWORD: &str = "a secret of the mail server";
const TEXT: &str = "This is a test: alerts will be sent here.";

async fn in_time<T>(what: &str, answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// What a receiver at `address` shows.
    fn acceptor(&self, address: IpAddr) -> TlsAcceptor {
        self.acceptor_until(address, 4096)
    }

    /// The same, valid until the beginning of a year.
    fn acceptor_until(&self, address: IpAddr, year: i32) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([address.to_string()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Starts a server that trusts whom the authorities of `pem` sign, and nobody else.
fn start_trusting(pem: &str, folder: &Path, flags: &[&str]) -> Process {
    let roots = folder.join("roots.pem");
    fs::write(&roots, pem).unwrap();
    Process::start(folder, |command| {
        command
            .args(["--provider", "simulated", "--simulated-vms", "0"])
            .args(flags)
            .env("SSL_CERT_FILE", roots)
            .env_remove("SSL_CERT_DIR")
            .env("TWARGA_SMTP_PASSWORD", SMTP_PASSWORD);
    })
}

/// A server in its own process, and its admin, Ada.
struct Cloud {
    process: Process,
    token: String,
    _folder: TempDir,
}

impl Cloud {
    /// One that trusts whom the authorities of `pem` sign, and nobody else.
    async fn trusting(pem: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start_trusting(pem, folder.path(), flags);
        process.listens().await;
        let token =
            in_time("Ada registers", http::register(process.address, "ada", &process.setup_code())).await;
        Self { process, token, _folder: folder }
    }

    fn log(&self) -> String {
        self.process.log()
    }

    /// What the log says of the mail that was not sent.
    fn mail_log(&self) -> String {
        let log = self.log();
        assert!(!log.contains(SMTP_PASSWORD), "{log}");
        log.lines().find(|line| line.contains("a mail was not sent")).unwrap_or_default().to_owned()
    }

    /// Sends a form as Ada.
    async fn form(&self, path: &str, form: &str) {
        let head = format!(
            "Authorization: Bearer {}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            self.token
        );
        let (status, answer) =
            in_time(path, http::exchange(self.process.address, "POST", path, &head, form)).await.unwrap();
        assert_eq!(status, 200, "{path}: {answer}\n{}", self.log());
    }

    async fn settings(&self) -> Value {
        let path = "/api/v1/my_notifications";
        let (status, answer) =
            in_time(path, http::send(self.process.address, "GET", path, &self.token, "")).await;
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    /// Has a test sent, and gives how it went, as Ada reads it. The first mail is the one that asks her to confirm her address.
    async fn test(&self, channel: &str) -> (String, Option<String>) {
        if channel == "email" {
            self.form("/api/v1/set_email_notifications", "is_on=true").await;
        } else {
            self.form("/api/v1/test_notification", &format!("channel={channel}")).await;
        }
        eventually(async || {
            let newest = self.settings().await["deliveries"][0].clone();
            let word = |name: &str| newest[name].as_str().map(str::to_owned);
            match word("state").filter(|state| state != "queued") {
                Some(state) => Ok((state, word("error"))),
                None => Err(format!("the test is not sent: {newest}\n{}", self.log())),
            }
        })
        .await
    }

    /// Has a test sent that cannot be, and gives the words of it.
    async fn refused(&self, channel: &str) -> String {
        let (state, error) = self.test(channel).await;
        assert_eq!(state, "failed", "{error:?}\n{}", self.log());
        error.unwrap()
    }
}

/// What receivers got.
#[derive(Default)]
struct Received {
    /// Lines before TLS was on.
    plain: Vec<String>,
    /// Lines within TLS.
    sealed: Vec<String>,
    /// Posts within TLS.
    posts: Vec<(HeaderMap, String)>,
    /// Why TLS could not be turned on.
    broken: Vec<String>,
}

type Notes = Arc<Mutex<Received>>;

/// A webhook or mail server; ends when it is dropped.
struct Receiver {
    address: SocketAddr,
    notes: Notes,
    task: JoinHandle<()>,
}

impl Receiver {
    async fn begin<F>(at: IpAddr, serve: impl FnOnce(TcpListener, Notes) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((at, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let notes = Notes::default();
        let task = tokio::spawn(serve(listener, notes.clone()));
        Self { address, notes, task }
    }

    async fn of_posts(acceptor: TlsAcceptor) -> Self {
        Self::begin(HERE, |listener, notes| async move {
            let take = async |State(notes): State<Notes>, headers: HeaderMap, body: Bytes| {
                let body = String::from_utf8(body.to_vec()).unwrap();
                notes.lock().unwrap().posts.push((headers, body));
                StatusCode::NO_CONTENT
            };
            let router = Router::new().route("/hook", post(take)).with_state(notes.clone());
            axum::serve(TlsListener { listener, acceptor, notes }, router).await.unwrap();
        })
        .await
    }

    async fn of_mail(mode: TlsMode, at: IpAddr, acceptor: TlsAcceptor) -> Self {
        Self::begin(at, async move |listener: TcpListener, notes| {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // What a client breaks off is for the test to judge.
                let _ = take_mail(stream, mode, &acceptor, &notes).await;
            }
        })
        .await
    }

    /// Why TLS could not be turned on, which the other side may know a moment earlier.
    async fn broken(&self) -> String {
        eventually(async || {
            let why = self.notes.lock().unwrap().broken.first().cloned();
            why.ok_or_else(|| "nobody broke TLS off".to_owned())
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Gives connections on which TLS is on.
struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    notes: Notes,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.listener.accept().await.unwrap();
            match self.acceptor.accept(stream).await {
                Ok(stream) => return (stream, peer),
                Err(error) => self.notes.lock().unwrap().broken.push(error.to_string()),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// How a receiver of mail turns to TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TlsMode {
    /// Before anything is said.
    Smtps,
    /// On request.
    StartTls,
    /// Not at all, where it should.
    Never,
}

/// Takes what one client has to say, as an SMTP server does.
async fn take_mail(
    mut stream: TcpStream,
    mode: TlsMode,
    acceptor: &TlsAcceptor,
    notes: &Notes,
) -> io::Result<()> {
    let plain = |line: &str| notes.lock().unwrap().plain.push(line.to_owned());
    let sealed = |line: &str| notes.lock().unwrap().sealed.push(line.to_owned());
    if mode != TlsMode::Smtps {
        stream.write_all(smtp::GREETING).await?;
        let offer = if mode == TlsMode::StartTls { "250-STARTTLS\r\n" } else { "" };
        if !smtp::converse(&mut stream, offer, plain).await? {
            return Ok(());
        }
    }
    let broken = |error: &io::Error| notes.lock().unwrap().broken.push(error.to_string());
    let mut stream = acceptor.accept(stream).await.inspect_err(broken)?;
    if mode == TlsMode::Smtps {
        stream.write_all(smtp::GREETING).await?;
    }
    smtp::converse(&mut stream, "", sealed).await?;
    stream.shutdown().await
}

/// A server that posts Ada's alerts to `receiver`, and trusts the authorities of `pem`.
async fn that_posts_to(receiver: &Receiver, pem: &str) -> Cloud {
    let cloud = Cloud::trusting(pem, &[]).await;
    cloud.form("/api/v1/set_webhook", &format!("url=https%3A%2F%2F{}%2Fhook", receiver.address)).await;
    cloud
}

/// A server that sends mail over `receiver`, and trusts the authorities of `pem`.
async fn that_mails_over(receiver: &Receiver, mode: TlsMode, pem: &str) -> Cloud {
    let scheme = if mode == TlsMode::Smtps { "smtps" } else { "smtp" };
    let url = format!("{scheme}://{}@{}", SMTP_USER.replace('@', "%40"), receiver.address);
    Cloud::trusting(
        pem,
        &["--smtp-url", &url, "--mail-from", "Cloud <cloud@example.org>", "--public-url", SITE],
    )
    .await
}

#[tokio::test]
async fn a_webhook_over_https_arrives_signed() {
    let authority = Authority::new("the receivers' authority");
    let receiver = Receiver::of_posts(authority.acceptor(HERE)).await;
    let cloud = that_posts_to(&receiver, &authority.pem()).await;
    assert_eq!(cloud.test("webhook").await, ("sent".into(), None), "{}", cloud.log());

    let settings = cloud.settings().await;
    let shown = settings["webhook_secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
    let secret = BASE64.decode(shown).unwrap();
    let received = receiver.notes.lock().unwrap();
    let [(headers, body)] = &received.posts[..] else { panic!("one post: {:?}", received.posts) };
    let header = |name: &str| headers[name].to_str().unwrap();
    let timestamp = header("webhook-timestamp").parse().unwrap();
    assert_eq!(header("webhook-signature"), signature(&secret, header("webhook-id"), timestamp, body));
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["type"], &body["data"]["text"]), (&json!("test"), &json!(TEXT)));
}

/// The first word of each line.
fn words(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect()
}

/// Mail arrives, and all of it within TLS but commands of `plain`.
async fn mail_arrives(mode: TlsMode, at: IpAddr, plain: &[&str]) {
    let authority = Authority::new("the receivers' authority");
    let receiver = Receiver::of_mail(mode, at, authority.acceptor(at)).await;
    let cloud = that_mails_over(&receiver, mode, &authority.pem()).await;
    assert_eq!(cloud.test("email").await, ("sent".into(), None), "{}", cloud.log());

    let received = receiver.notes.lock().unwrap();
    assert_eq!(words(&received.plain), plain, "{:?}", received.plain);
    assert_eq!(words(&received.sealed)[..5], ["EHLO", "AUTH", "MAIL", "RCPT", "DATA"]);
    let sign_in = format!("AUTH PLAIN {}", BASE64.encode(format!("\0{SMTP_USER}\0{SMTP_PASSWORD}")));
    for line in [
        &*sign_in,
        "MAIL FROM:<cloud@example.org>",
        "RCPT TO:<ada@example.org>",
        "From: Cloud <cloud@example.org>",
        "To: ada@example.org",
        "Subject: Confirm your e-mail address",
        MAIL_TEXT,
    ] {
        assert!(
            received.sealed.iter().any(|said| said == line),
            "{line} is missing in {:#?}",
            received.sealed
        );
    }
}

#[tokio::test]
async fn mail_over_smtps_arrives() {
    mail_arrives(TlsMode::Smtps, HERE, &[]).await;
}

#[tokio::test]
async fn mail_over_smtps_arrives_at_an_ipv6_address() {
    let at = Ipv6Addr::LOCALHOST.into();
    if TcpListener::bind((at, 0)).await.is_err() {
        eprintln!("not tested: this machine has no IPv6");
        return;
    }
    mail_arrives(TlsMode::Smtps, at, &[]).await;
}

#[tokio::test]
async fn mail_over_smtp_arrives_and_nothing_is_sent_before_tls_is_on() {
    mail_arrives(TlsMode::StartTls, ELSEWHERE, &["EHLO", "STARTTLS"]).await;
}

#[tokio::test]
async fn a_webhook_whose_certificate_is_not_trusted_receives_nothing() {
    let (authority, stranger) = (Authority::new("the receivers' authority"), Authority::new("a stranger"));
    let (ours, strangers) = (authority.pem(), stranger.pem());
    let good = || authority.acceptor(HERE);
    for (pem, acceptor, advice) in [
        (&*strangers, good(), "have this server's admin add the one that signed it"),
        ("", good(), "have this server's admin add the one that signed it"),
        (&*ours, authority.acceptor(ELSEWHERE), "Enter the address with the name that it is for"),
        (&*ours, authority.acceptor_until(HERE, 2000), "Renew it"),
    ] {
        let receiver = Receiver::of_posts(acceptor).await;
        let cloud = that_posts_to(&receiver, pem).await;
        let error = cloud.refused("webhook").await;
        assert!(error.starts_with("The receiver's certificate") && error.contains(advice), "{error}");
        let alert = receiver.broken().await;
        assert!(alert.contains("fatal alert"), "{alert}");
        assert!(receiver.notes.lock().unwrap().posts.is_empty());
        let says_so = cloud.log().contains("install the package ca-certificates");
        assert_eq!(says_so, pem.is_empty(), "{}", cloud.log());
    }
}

/// Asserts that a mail server with an untrusted certificate only receives the commands in `plain`.
async fn mail_is_rejected(mode: TlsMode, at: IpAddr, plain: &[&str]) {
    let (authority, stranger) = (Authority::new("the receivers' authority"), Authority::new("a stranger"));
    let another = if at == HERE { ELSEWHERE } else { HERE };
    for (pem, acceptor, why) in [
        (stranger.pem(), authority.acceptor(at), "UnknownIssuer"),
        (authority.pem(), authority.acceptor(another), "certificate not valid for name"),
        (authority.pem(), authority.acceptor_until(at, 2000), "certificate expired"),
    ] {
        let receiver = Receiver::of_mail(mode, at, acceptor).await;
        let cloud = that_mails_over(&receiver, mode, &pem).await;
        let error = cloud.refused("email").await;
        assert!(error.contains(why), "{why} is missing in {error}");
        assert!(cloud.mail_log().contains(why), "{why} is missing in\n{}", cloud.log());
        let alert = receiver.broken().await;
        assert!(alert.contains("fatal alert"), "{alert}");
        let received = receiver.notes.lock().unwrap();
        assert_eq!((words(&received.plain), words(&received.sealed)), (plain.to_vec(), vec![]));
    }
}

#[tokio::test]
async fn a_server_for_smtps_whose_certificate_is_not_trusted_receives_nothing() {
    mail_is_rejected(TlsMode::Smtps, HERE, &[]).await;
}

#[tokio::test]
async fn a_server_for_smtp_whose_certificate_is_not_trusted_receives_nothing() {
    mail_is_rejected(TlsMode::StartTls, ELSEWHERE, &["EHLO", "STARTTLS"]).await;
}

#[tokio::test]
async fn a_server_for_smtp_that_offers_no_tls_receives_nothing() {
    let authority = Authority::new("the receivers' authority");
    let receiver = Receiver::of_mail(TlsMode::Never, ELSEWHERE, authority.acceptor(ELSEWHERE)).await;
    let cloud = that_mails_over(&receiver, TlsMode::Never, &authority.pem()).await;
    let error = cloud.refused("email").await;
    assert!(error.contains("STARTTLS is not supported"), "{error}");
    assert!(cloud.mail_log().contains("STARTTLS is not supported"), "{}", cloud.log());
    assert_eq!(words(&receiver.notes.lock().unwrap().plain), ["EHLO"]);
}

#[tokio::test]
async fn a_server_that_can_check_no_certificate_of_a_mail_server_says_so_at_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--smtp-url", "smtps://127.0.0.1", "--mail-from", "cloud@example.org"];
    let mut process = start_trusting("", folder.path(), &flags);
    let status = process.ends().await;
    let log = process.log();
    assert!(!status.success() && log.contains("install the package ca-certificates"), "{status}\n{log}");
}

/// A server that sends mail over `receiver` without signing in, by these flags; its system trusts a stranger.
async fn that_mails_with(receiver: &Receiver, scheme: &str, flags: &[&str]) -> Cloud {
    let stranger = Authority::new("a stranger").pem();
    let url = format!("{scheme}://{}", receiver.address);
    let fixed = ["--smtp-url", &url, "--mail-from", "cloud@example.org", "--public-url", SITE];
    Cloud::trusting(&stranger, &[&fixed, flags].concat()).await
}

#[tokio::test]
async fn a_mail_server_with_an_authority_of_its_own_is_trusted_by_its_file_alone() {
    let (authority, other) = (Authority::new("of the LAN"), Authority::new("of another LAN"));
    let folder = tempfile::tempdir().unwrap();
    for (mode, at, scheme) in [(TlsMode::Smtps, HERE, "smtps"), (TlsMode::StartTls, ELSEWHERE, "smtp")] {
        for (trusted, arrives) in [(&authority, true), (&other, false)] {
            let receiver = Receiver::of_mail(mode, at, authority.acceptor(at)).await;
            let file = folder.path().join("ca.pem");
            fs::write(&file, trusted.pem()).unwrap();
            let cloud = that_mails_with(&receiver, scheme, &["--smtp-ca-file", file.to_str().unwrap()]).await;
            let (state, error) = cloud.test("email").await;
            assert_eq!(state == "sent", arrives, "{scheme}: {error:?}");
            let received = receiver.notes.lock().unwrap();
            assert_eq!(received.sealed.iter().any(|said| said == MAIL_TEXT), arrives);
            assert!(received.plain.iter().all(|said| said != MAIL_TEXT));
        }
    }
}

#[tokio::test]
async fn a_relay_without_tls_is_used_only_by_an_explicit_switch() {
    let authority = Authority::new("unused");
    for (flags, arrives) in [(&["--smtp-plaintext"][..], true), (&[][..], false)] {
        let receiver = Receiver::of_mail(TlsMode::Never, ELSEWHERE, authority.acceptor(ELSEWHERE)).await;
        let cloud = that_mails_with(&receiver, "smtp", flags).await;
        let (state, error) = cloud.test("email").await;
        assert_eq!(state == "sent", arrives, "{error:?}");
        let received = receiver.notes.lock().unwrap();
        assert_eq!(received.plain.iter().any(|said| said == MAIL_TEXT), arrives);
        assert!(!received.plain.iter().any(|said| said.starts_with("AUTH")), "no sign-in");
    }
}
