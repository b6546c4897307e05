//! The ssh gateway: the real OpenSSH client, with the shells of simulated VMs.

use crate::support::{Client, Server, eventually, fleet::Fleet};
use async_trait::async_trait;
use axum::http::{Method, StatusCode};
use russh::ChannelMsg;
use serde_json::json;
use std::{
    net::SocketAddr,
    path::Path,
    process::{Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::{Child, Command},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use twarga_cloud::{
    model::ApiError,
    server::{
        gateway::{Gateway, load_or_create_host_key},
        provider::{GuestChannel, GuestLink, LinkAccess, Machine},
    },
};

/// No command takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A program of the system, with the environment of the tests.
fn program(name: &str) -> Command {
    std::process::Command::new(name).into()
}

/// Ada is the admin; bob owns the VM web-1 and has a key.
struct Bench {
    server: Server,
    ada: Client,
    bob: Client,
    vm_id: i64,
    address: SocketAddr,
    serving: JoinHandle<()>,
    keys: TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Bench {
    async fn begin(fleet: &Fleet) -> Self {
        Self::with_links(fleet, None).await
    }

    /// With other guests than simulated ones.
    async fn with_links(fleet: &Fleet, links: Option<Arc<dyn LinkAccess>>) -> Self {
        let mut server = fleet.serve(0).await;
        let ada = server.user("ada").await;
        let bob = server.user("bob").await;
        let answer = bob.launch("web-1", "debian-12").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let vm_id = answer.json()["vm_id"].as_i64().unwrap();
        server.wait_until_idle().await;
        fleet.ticks(&mut server, 3).await;
        if let Some(links) = links {
            let state = &server.state;
            let (accounts, vms, database) =
                (state.accounts.clone(), state.vms.clone(), state.database.clone());
            let network = state.network.clone();
            server.state.gateway = Gateway::new(accounts, vms, database, links, network, LIMIT);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let host_key = load_or_create_host_key(&server.data_dir).unwrap();
        let serving = tokio::spawn(server.state.gateway.clone().serve(listener, host_key));
        let bench = Self { server, ada, bob, vm_id, address, serving, keys: TempDir::new().unwrap() };
        bench.make_key("bob", "ed25519").await;
        assert_eq!(bench.add_key(&bench.bob, "bob").await, StatusCode::OK);
        bench
    }

    async fn make_key(&self, name: &str, kind: &str) {
        let made = program("ssh-keygen")
            .args(["-q", "-N", "", "-t", kind, "-C", name, "-f"])
            .arg(self.keys.path().join(name))
            .status()
            .await
            .unwrap();
        assert!(made.success());
    }

    async fn add_key(&self, client: &Client, name: &str) -> StatusCode {
        let key = std::fs::read_to_string(self.keys.path().join(format!("{name}.pub"))).unwrap();
        client.form("/api/v1/add_ssh_key", &[("public_key", &key)]).await.status
    }

    /// An OpenSSH client that shows a key.
    fn ssh(&self, key: &str, user: &str) -> Command {
        let folder: &Path = self.keys.path();
        let mut command = program("ssh");
        command.args(["-F", "none", "-o", "StrictHostKeyChecking=accept-new", "-o", "IdentitiesOnly=yes"]);
        command.args(["-o", "BatchMode=yes", "-o", "IdentityAgent=none", "-o"]);
        command.arg(format!("UserKnownHostsFile={}", folder.join("known_hosts").display()));
        command.arg("-i").arg(folder.join(key));
        command.args(["-p", &self.address.port().to_string(), "-l", user, "127.0.0.1"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs it to its end with this input.
    async fn run(&self, key: &str, user: &str, arguments: &[&str], input: &str) -> Ran {
        run(self.ssh(key, user).args(arguments), input).await
    }

    /// A session that has shown its prompt.
    async fn shell(&self) -> Shell {
        let mut child = self.ssh("bob", "web-1").arg("-tt").spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let mut shell = Shell { child, input, printed: Vec::new() };
        shell.until("$ ").await;
        shell
    }

    async fn event(&self, kind: &str) -> String {
        eventually(async || {
            let events = self.server.events().await;
            let found = events.into_iter().find(|(found, _)| found == kind);
            found.map(|(_, text)| text).ok_or_else(|| format!("there is no event {kind}"))
        })
        .await
    }
}

struct Shell {
    child: Child,
    input: tokio::process::ChildStdin,
    printed: Vec<u8>,
}

impl Shell {
    async fn until(&mut self, end: &str) {
        let output = self.child.stdout.as_mut().unwrap();
        while !self.printed.ends_with(end.as_bytes()) {
            let mut piece = [0; 4096];
            let read = timeout(LIMIT, output.read(&mut piece)).await.unwrap().unwrap();
            assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&self.printed));
            self.printed.extend_from_slice(&piece[..read]);
        }
    }

    /// What it says on its end, and how long that took.
    async fn end(mut self) -> (String, Duration) {
        let begin = Instant::now();
        let mut said = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        timeout(LIMIT, stderr.read_to_string(&mut said)).await.unwrap().unwrap();
        assert!(!self.child.wait().await.unwrap().success(), "{said}");
        (said, begin.elapsed())
    }
}

#[derive(Debug)]
struct Ran {
    status: Option<i32>,
    output: String,
    error: String,
}

async fn run(command: &mut Command, input: &str) -> Ran {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It fails when the client has ended already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let Output { status, stdout, stderr } = timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
    Ran {
        status: status.code(),
        output: String::from_utf8(stdout).unwrap(),
        error: String::from_utf8(stderr).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_client_opens_a_shell_in_ones_vm() {
    let fleet = Fleet::new();
    let bench = Bench::begin(&fleet).await;
    let ran = bench.run("bob", "web-1", &[], "echo it works\nexit\n").await;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(
        ran.output.contains("This VM is simulated") && ran.output.contains("\r\nit works\r\n"),
        "{ran:?}"
    );
    let opened = bench.event("ssh_session_opened").await;
    assert_eq!(opened, "bob connected to web-1 over ssh with the key bob.");
    let closed = bench.event("ssh_session_closed").await;
    assert!(closed.starts_with("The ssh session of bob on web-1 ended after"), "{closed}");
    assert!(closed.contains("bytes sent") && closed.ends_with("The client disconnected."), "{closed}");
    let keys = bench.bob.get("/api/v1/list_ssh_keys").await.json();
    assert!(keys[0]["last_used_at"].is_i64(), "{keys}");

    let mut shell = bench.shell().await;
    shell.input.write_all(b"size\r").await.unwrap();
    shell.until("vagrant@web-1:~$ ").await;
    shell.input.write_all(b"exit\r").await.unwrap();
    assert!(timeout(LIMIT, shell.child.wait()).await.unwrap().unwrap().success());

    for (name, arguments) in [("a command", &["true"][..]), ("sftp", &["-s", "sftp"])] {
        let ran = bench.run("bob", "web-1", arguments, "").await;
        assert_eq!(ran.status, Some(1), "{name}: {ran:?}");
        assert!(ran.error.contains("This VM is simulated"), "{name}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_no_vm_lists_ones_vms_and_says_nothing_of_others() {
    let fleet = Fleet::new();
    let mut bench = Bench::begin(&fleet).await;
    assert_eq!(bench.ada.launch("secret", "debian-12").await.status, StatusCode::OK);
    bench.server.wait_until_idle().await;
    fleet.ticks(&mut bench.server, 3).await;
    let port = bench.address.port();
    let expected = format!("web-1  running      ssh -p {port} web-1@127.0.0.1\n");
    for user in ["bob", "anything", "secret", "ada/secret", "ada/missing"] {
        let listed = bench.run("bob", user, &[], "").await;
        assert_eq!(
            (listed.status, listed.output.as_str()),
            (Some(0), expected.as_str()),
            "{user}: {listed:?}"
        );
    }
    let [foreign, missing] = [
        bench.run("bob", "ada/secret", &["id"], "").await,
        bench.run("bob", "ada/missing", &["id"], "").await,
    ];
    assert_eq!((foreign.status, foreign.output.as_str()), (Some(255), ""), "{foreign:?}");
    assert_eq!(foreign.error, missing.error);

    // The admin names other users' VMs, and sees them so in the list.
    bench.make_key("ada", "rsa").await;
    assert_eq!(bench.add_key(&bench.ada, "ada").await, StatusCode::OK);
    let listed = bench.run("ada", "ada", &[], "").await;
    assert!(listed.output.contains("bob/web-1") && listed.output.contains("secret@127.0.0.1"), "{listed:?}");
    let ran = bench.run("ada", "bob/web-1", &[], "exit\n").await;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.output.contains("vagrant@web-1"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_passwords_are_rejected_and_counted() {
    let fleet = Fleet::new();
    let bench = Bench::begin(&fleet).await;
    bench.make_key("eve", "ecdsa").await;
    for user in ["web-1", "bob", "root"] {
        let ran = bench.run("eve", user, &[], "").await;
        assert_eq!(ran.status, Some(255), "{user}: {ran:?}");
        assert!(ran.error.contains("Permission denied (publickey)"), "{user}: {ran:?}");
    }
    let mut command = bench.ssh("bob", "web-1");
    command.args(["-o", "PreferredAuthentications=password,keyboard-interactive", "true"]);
    let ran = run(&mut command, "").await;
    assert!(ran.error.contains("Permission denied (publickey)"), "{ran:?}");

    eventually(async || {
        bench.server.state.accounts.record_failed_attempts(true).await;
        let counted: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM event
                             WHERE kind = 'security_sign_in_failed' AND text LIKE '%failed ssh sign-in%')",
        )
        .fetch_one(bench.server.state.database.read())
        .await
        .unwrap();
        if counted { Ok(()) } else { Err("the failures are not counted".into()) }
    })
    .await;

    // Bob still signs in from the same address, until there were too many.
    assert_eq!(bench.run("bob", "bob", &[], "").await.status, Some(0));
    for _ in 0..30 {
        bench.server.state.accounts.count_failed_ssh_sign_in(bench.address.ip());
    }
    let ran = bench.run("bob", "bob", &[], "").await;
    assert_eq!(ran.status, Some(255), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_reaches_nothing_but_its_vm() {
    let fleet = Fleet::new();
    let bench = Bench::begin(&fleet).await;
    let mut command = bench.ssh("bob", "web-1");
    command.args(["-o", "ExitOnForwardFailure=yes", "-R", "0:localhost:22", "-N"]);
    let ran = run(&mut command, "").await;
    assert_eq!(ran.status, Some(255), "{ran:?}");
    assert!(ran.error.contains("remote port forwarding failed"), "{ran:?}");
    for (user, target) in [
        ("web-1", "192.0.2.1:80"),
        ("web-1", "169.254.169.254:80"),
        ("bob", "127.0.0.1:22"),
        ("bob", "web-2:22"),
        ("bob", "web-1:80"),
    ] {
        let ran = bench.run("bob", user, &["-W", target], "").await;
        assert_eq!(ran.status, Some(255), "{target}: {ran:?}");
        assert!(ran.error.contains("administratively prohibited"), "{target}: {ran:?}");
    }
    // What is allowed is tried, and a simulated VM has no ports.
    for (user, target) in [("web-1", "localhost:80"), ("bob", "web-1:22")] {
        let ran = bench.run("bob", user, &["-W", target], "").await;
        assert!(ran.error.contains("connect failed"), "{target}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_what_allowed_it() {
    let fleet = Fleet::new();
    for cause in ["key", "deactivate", "stop", "destroy", "share"] {
        let bench = Bench::begin(&fleet).await;
        let path = format!("/api/vms/{}/shares", bench.vm_id);
        if cause == "share" {
            bench.server.user("carol").await;
            bench.make_key("carol", "ed25519").await;
            let carol = bench.server.signed_in("carol").await;
            assert_eq!(bench.add_key(&carol, "carol").await, StatusCode::OK);
            let viewed = json!({ "username": "carol", "access": "view" }).to_string();
            bench.bob.json(Method::POST, &path, &viewed).await;
            let ran = bench.run("carol", "bob/web-1", &[], "").await;
            assert_eq!(ran.status, Some(255), "{ran:?}");
            assert!(ran.error.contains("not operate it"), "{ran:?}");
            let operated = json!({ "username": "carol", "access": "operate" }).to_string();
            bench.bob.json(Method::POST, &path, &operated).await;
            let ran = bench.run("carol", "bob/web-1", &[], "exit\n").await;
            assert_eq!(ran.status, Some(0), "{ran:?}");
            continue;
        }
        let mut shell = bench.shell().await;
        bench.server.state.gateway.end_unallowed().await;
        shell.input.write_all(b"echo on\r").await.unwrap();
        shell.until("vagrant@web-1:~$ ").await;
        let answer = match cause {
            "key" => {
                let id = bench.bob.get("/api/v1/list_ssh_keys").await.json()[0]["id"].to_string();
                bench.bob.form("/api/v1/delete_ssh_key", &[("key_id", &id)]).await
            }
            "deactivate" => {
                let id = bench.bob.get("/api/auth/me").await.json()["id"].to_string();
                bench
                    .ada
                    .form("/api/v1/set_account_active", &[("account_id", &id), ("is_active", "false")])
                    .await
            }
            "stop" => bench.bob.act("stop", bench.vm_id).await,
            _ => bench.bob.destroy(bench.vm_id, "web-1").await,
        };
        assert_eq!(answer.status, StatusCode::OK, "{cause}: {}", answer.text);
        if matches!(cause, "stop" | "destroy") {
            bench.server.wait_until_idle().await;
        }
        bench.server.state.gateway.end_unallowed().await;
        let (said, took) = shell.end().await;
        assert!(said.contains("disconnect"), "{cause}: {said}");
        assert!(took < Duration::from_secs(5), "{cause}: {took:?}");
        bench.event("ssh_session_closed").await;
        let again = bench.run("bob", "web-1", &[], "").await;
        match cause {
            "stop" => assert!(again.error.contains("web-1 does not run. Start it first."), "{again:?}"),
            "destroy" => assert!(again.output.contains("no VMs yet"), "{again:?}"),
            _ => assert!(again.error.contains("Permission denied"), "{cause}: {again:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_a_limited_number_of_connections() {
    let fleet = Fleet::new();
    let bench = Bench::begin(&fleet).await;
    let mut shells = Vec::new();
    for _ in 0..16 {
        shells.push(bench.shell().await);
    }
    let ran = bench.run("bob", "bob", &[], "").await;
    assert!(ran.error.contains("too many open ssh connections"), "{ran:?}");
    drop(shells);
    eventually(async || {
        let ran = bench.run("bob", "bob", &[], "").await;
        if ran.status == Some(0) { Ok(()) } else { Err(ran.error) }
    })
    .await;
}

/// A guest that sends back what it gets, and then ends its command with status 3.
struct Echo;

#[async_trait]
impl LinkAccess for Echo {
    async fn connect(&self, _: i64, _: &Machine, _: &str) -> Result<Arc<dyn GuestLink>, ApiError> {
        Ok(Arc::new(Echo))
    }
}

#[async_trait]
impl GuestLink for Echo {
    async fn open_session(&self) -> Result<GuestChannel, ApiError> {
        let (to_output, output) = mpsc::channel(1);
        let (input, mut from_input) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(message) = from_input.recv().await {
                let answers = match message {
                    ChannelMsg::Data { .. } => vec![message],
                    ChannelMsg::Exec { .. } => vec![ChannelMsg::Success],
                    ChannelMsg::Eof => {
                        vec![ChannelMsg::Eof, ChannelMsg::ExitStatus { exit_status: 3 }, ChannelMsg::Close]
                    }
                    _ => vec![],
                };
                for answer in answers {
                    if to_output.send(answer).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(GuestChannel { output, input })
    }

    async fn open_tcp(&self, host: &str, port: u16) -> Result<GuestChannel, ApiError> {
        assert_eq!((host, port), ("localhost", 80));
        self.open_session().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_at_once_carry_more_than_any_buffer_holds() {
    let fleet = Fleet::new();
    let bench = Bench::with_links(&fleet, Some(Arc::new(Echo))).await;
    let sent: Vec<u8> = (0..12_000_000_u32).map(|i| (i % 251) as u8).collect();
    for arguments in [&["cat"][..], &["-W", "web-1:80"]] {
        let mut child = bench.ssh("bob", "web-1").args(arguments).spawn().unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let writing = async {
            input.write_all(&sent).await.unwrap();
            drop(input);
        };
        let reading = async {
            // Slower than it comes, at first: all windows are used up.
            tokio::time::sleep(Duration::from_secs(2)).await;
            let mut back = Vec::new();
            output.read_to_end(&mut back).await.unwrap();
            back
        };
        let ((), back) = timeout(LIMIT, async { tokio::join!(writing, reading) }).await.unwrap();
        assert!(back == sent, "{arguments:?}: {} of {} bytes came back", back.len(), sent.len());
        let status = timeout(LIMIT, child.wait()).await.unwrap().unwrap();
        let expected = if arguments[0] == "cat" { 3 } else { 0 };
        assert_eq!(status.code(), Some(expected), "{arguments:?}");
    }
}
