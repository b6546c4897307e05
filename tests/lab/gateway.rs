//! The ssh gateway with the real OpenSSH client and a real guest.

use crate::{libvirt::Sweep, support::Server};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, process::Command, time::sleep};
use twarga_cloud::server::{commands::Source, gateway::load_or_create_host_key};

const VM: &str = "gateway";

/// A program of the system, with the environment of the tests.
fn program(name: &str) -> Command {
    std::process::Command::new(name).into()
}

struct OpenSsh {
    folder: PathBuf,
    port: String,
}

impl OpenSsh {
    fn command(&self, name: &str, port_flag: &str) -> Command {
        let mut command = program(name);
        command.args(["-F", "none", "-o", "StrictHostKeyChecking=accept-new", "-o", "IdentitiesOnly=yes"]);
        command.args(["-o", "BatchMode=yes", "-o", "IdentityAgent=none", "-o"]);
        command.arg(format!("UserKnownHostsFile={}", self.folder.join("known_hosts").display()));
        command.arg("-i").arg(self.folder.join("key")).args([port_flag, &self.port]).kill_on_drop(true);
        command.stdin(Stdio::null());
        command
    }

    fn ssh(&self) -> Command {
        let mut command = self.command("ssh", "-p");
        command.arg(format!("{VM}@127.0.0.1"));
        command
    }

    /// The output of a command in the guest, which succeeds.
    async fn output(&self, script: &str) -> String {
        let output = self.ssh().arg(script).output().await.unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

async fn succeeds(command: &mut Command) {
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn digest(path: &Path) -> String {
    let output = program("sha256sum").arg(path).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab"]
async fn ones_own_client_runs_commands_and_copies_files_in_a_real_vm() {
    let _sweep = Sweep::of(VM);
    let source = ["--provider", "vagrant", "--collect-every", "1"];
    let mut server = Server::start(&source, Source::new).await;
    let ada = server.user("ada").await;
    assert_eq!(ada.launch(VM, "lab-tiny").await.status, 200);
    server.wait_until_idle().await;
    let begin = Instant::now();
    while !ada.vm(VM).await["figures"]["cpu_percent"].is_f64() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it is not seen running");
        server.tick().await;
        sleep(Duration::from_secs(1)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    succeeds(program("ssh-keygen").args(["-q", "-N", "", "-t", "ed25519", "-f"]).arg(&key)).await;
    let public_key = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    assert_eq!(ada.form("/api/v1/add_ssh_key", &[("public_key", &public_key)]).await.status, 200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let host_key = load_or_create_host_key(&server.data_dir).unwrap();
    let serving = tokio::spawn(server.state.gateway.clone().serve(listener, host_key));
    let client = OpenSsh { folder: folder.path().to_owned(), port };

    let status = client.ssh().arg("echo to stderr >&2; exit 3").output().await.unwrap();
    assert_eq!(status.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&status.stderr).contains("to stderr"));
    assert_eq!(client.output("echo $USER").await.trim(), "vagrant");
    let killed = client.ssh().arg("kill -TERM $$").output().await.unwrap();
    assert!(!killed.status.success());

    let (sent, back) = (folder.path().join("sent"), folder.path().join("back"));
    succeeds(
        program("dd").args(["if=/dev/urandom", "bs=1M", "count=5"]).arg(format!("of={}", sent.display())),
    )
    .await;
    let expected = digest(&sent).await;
    // `-O`: the old protocol, for guests without an sftp server.
    succeeds(client.command("scp", "-P").arg("-O").arg(&sent).arg(format!("{VM}@127.0.0.1:sent"))).await;
    assert!(client.output("sha256sum sent").await.starts_with(&expected));
    succeeds(client.command("scp", "-P").arg("-O").arg(format!("{VM}@127.0.0.1:sent")).arg(&back)).await;
    assert_eq!(digest(&back).await, expected);
    if client
        .output("ls /usr/lib/sftp-server /usr/lib/*/sftp-server /usr/libexec/sftp-server 2>/dev/null || true")
        .await
        .is_empty()
    {
        println!("the guest has no sftp server");
    } else {
        let batch = folder.path().join("batch");
        std::fs::write(&batch, format!("get sent {}\nput {} again\n", back.display(), sent.display()))
            .unwrap();
        succeeds(client.command("sftp", "-P").arg("-b").arg(&batch).arg(format!("{VM}@127.0.0.1"))).await;
        assert_eq!(digest(&back).await, expected);
    }

    // Both directions at once, more than any buffer holds.
    let mut echo = client.ssh();
    echo.arg("cat").stdin(std::fs::File::open(&sent).unwrap()).stdout(std::fs::File::create(&back).unwrap());
    assert!(echo.status().await.unwrap().success());
    assert_eq!(digest(&back).await, expected);

    // The guest's own ssh server greets through a forwarded connection.
    let mut forwarded = client.ssh();
    let mut child = forwarded.args(["-W", "localhost:22"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut greeting = [0; 4];
    tokio::io::AsyncReadExt::read_exact(child.stdout.as_mut().unwrap(), &mut greeting).await.unwrap();
    assert_eq!(&greeting, b"SSH-");
    serving.abort();
}
