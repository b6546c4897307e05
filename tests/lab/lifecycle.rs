//! Operations on a real VM, and a server that is killed while they run.

use crate::{
    libvirt::{Sweep, virsh},
    support::{Client, Random, Server, http, process::Process},
};
use axum::http::Method;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use twarga_cloud::server::commands::Source;

fn launch(name: &str) -> Value {
    json!({ "name": name, "image": "lab-tiny", "ram_mb": 192, "cpu_cores": 1, "disk_gb": 1 })
}

/// The credits that a [`launch`] costs: 1.875 + 0.2 + 10, rounded up.
const PRICE: i64 = 13;

struct Lab {
    server: Server,
    ada: Client,
    vm_id: i64,
}

impl Lab {
    async fn act(&mut self, action: Value) -> Value {
        let path = format!("/api/vms/{}/action", self.vm_id);
        let began = Instant::now();
        let answer = self.ada.json(Method::POST, &path, &action.to_string()).await;
        assert_eq!(answer.status, 202, "{action}: {}", answer.text);
        self.server.wait_until_idle().await;
        self.server.collector.refresh_statuses().await.unwrap();
        let vm = self.vm().await;
        println!("{action}: {:.1} s, {}", began.elapsed().as_secs_f64(), vm["status"]);
        assert_eq!(vm["operation"]["state"], "succeeded", "{action}: {vm:#}");
        vm
    }

    async fn vm(&self) -> Value {
        self.ada.get(&format!("/api/vms/{}", self.vm_id)).await.json()
    }

    /// The output of a command in the guest. The first connection after restoring a snapshot may be refused: for the guest,
    /// the previous one still exists.
    fn guest(&self, command: &str) -> String {
        self.guest_of("whole-1", command)
    }

    fn guest_of(&self, name: &str, command: &str) -> String {
        let mut tries = 0;
        loop {
            let output = Command::new("vagrant")
                .args(["ssh", "-c", command])
                .current_dir(self.server.vm_folder(1, name))
                .stdin(Stdio::null())
                .output()
                .unwrap();
            if output.status.success() {
                return String::from_utf8_lossy(&output.stdout).trim().to_owned();
            }
            tries += 1;
            assert!(tries < 5, "{command}: {}", String::from_utf8_lossy(&output.stderr));
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_real_vm_goes_through_every_operation() {
    const DOMAIN: &str = "twarga-user1-whole-1_default";
    let _sweep = Sweep::of("whole-1");
    let server = Server::start(&["--provider", "vagrant", "--collect-every", "1"], Source::new).await;
    let ada = server.user("ada").await;
    let mut request = launch("whole-1");
    request["provision_script"] = json!("echo set-up-once >> /etc/set-up\n");
    let answer = ada.json(Method::POST, "/api/vms", &request.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let vm_id = answer.json()["vm_id"].as_i64().unwrap();
    server.wait_until_idle().await;
    let mut lab = Lab { server, ada, vm_id };
    let vm = lab.vm().await;
    assert_eq!(vm["status"], "running", "{vm:#}");

    assert_eq!(lab.act(json!({ "action": "suspend" })).await["status"], "suspended");
    assert_eq!(virsh(&["domstate", DOMAIN]).trim(), "paused");
    assert_eq!(lab.act(json!({ "action": "resume" })).await["status"], "running");
    lab.guest("echo before > /etc/mark; sync");
    assert_eq!(lab.act(json!({ "action": "snapshot_save", "snapshot": "first" })).await["status"], "running");
    let snapshots = lab.ada.get(&format!("/api/vms/{vm_id}/snapshots")).await.json();
    assert_eq!(snapshots[0]["name"], "first");
    assert!(snapshots[0]["saved_at"].is_i64(), "{snapshots}");
    lab.guest("echo after > /etc/mark; sync");
    assert_eq!(
        lab.act(json!({ "action": "snapshot_restore", "snapshot": "first" })).await["status"],
        "running"
    );
    assert_eq!(lab.guest("cat /etc/mark; cat /etc/set-up"), "before\nset-up-once");

    // A disk with snapshots does not grow. A restored snapshot brings back the memory that the VM had, until its next start.
    let path = format!("/api/vms/{vm_id}");
    let answer = lab.ada.json(Method::PATCH, &path, r#"{"disk_gb":2}"#).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(answer.json()["text"].as_str().unwrap().contains("Delete them first"), "{}", answer.text);
    let answer = lab.ada.json(Method::PATCH, &path, r#"{"ram_mb":256}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let vm = lab.act(json!({ "action": "restart" })).await;
    assert_eq!((&vm["spec"]["ram_mb"], &vm["next_spec"]), (&json!(256), &Value::Null));
    let vm = lab.act(json!({ "action": "snapshot_restore", "snapshot": "first" })).await;
    assert_eq!((&vm["spec"]["ram_mb"], &vm["next_spec"]["ram_mb"]), (&json!(192), &json!(256)), "{vm:#}");
    assert!(
        virsh(&["dominfo", DOMAIN]).contains("Max memory:     196608 KiB"),
        "{}",
        virsh(&["dominfo", DOMAIN])
    );
    lab.act(json!({ "action": "snapshot_delete", "snapshot": "first" })).await;
    assert_eq!(lab.ada.get(&format!("/api/vms/{vm_id}/snapshots")).await.json(), json!([]));

    // Nor with one that was made by hand meanwhile, but it starts.
    let answer = lab.ada.json(Method::PATCH, &path, r#"{"disk_gb":2}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    virsh(&["snapshot-create-as", DOMAIN, "by-hand"]);
    let vm = lab.act(json!({ "action": "restart" })).await;
    assert_eq!((&vm["spec"]["disk_gb"], &vm["next_spec"]["disk_gb"]), (&json!(1), &json!(2)), "{vm:#}");
    virsh(&["snapshot-delete", DOMAIN, "by-hand"]);
    let vm = lab.act(json!({ "action": "restart" })).await;
    assert_eq!(
        (&vm["status"], &vm["spec"]["ram_mb"], &vm["next_spec"]),
        (&json!("running"), &json!(256), &Value::Null)
    );
    assert!(
        virsh(&["dominfo", DOMAIN]).contains("Max memory:     262144 KiB"),
        "{}",
        virsh(&["dominfo", DOMAIN])
    );
    assert_eq!(lab.guest("cat /sys/class/block/vda/size"), (2_u64 << 30 >> 9).to_string());
    assert_eq!(lab.guest("cat /etc/set-up"), "set-up-once", "a script of the launch runs once");

    // Additions by hand, and vagrant by hand.
    let folder = lab.server.vm_folder(1, "whole-1");
    let local = "Vagrant.configure('2') { |c| c.vm.provider(:libvirt) { |l| l.memory = 224 } }\n";
    fs::write(folder.join("Vagrantfile.local"), local).unwrap();
    assert_eq!(lab.act(json!({ "action": "force_stop" })).await["status"], "stopped");
    lab.act(json!({ "action": "start" })).await;
    assert!(
        virsh(&["dominfo", DOMAIN]).contains("Max memory:     229376 KiB"),
        "{}",
        virsh(&["dominfo", DOMAIN])
    );
    let by_hand =
        Command::new("vagrant").arg("halt").current_dir(&folder).stdin(Stdio::null()).output().unwrap();
    assert!(by_hand.status.success(), "{}", String::from_utf8_lossy(&by_hand.stderr));
    lab.server.tick().await;
    lab.server.tick().await;
    assert_eq!(lab.vm().await["status"], "stopped");
    let events = lab.server.events().await;
    assert!(events[0].1.contains("outside Twarga Cloud"), "{:?}", events[0]);

    let destroy = json!({ "action": "destroy", "confirm_name": "whole-1" });
    let path = format!("/api/vms/{vm_id}/action");
    assert_eq!(lab.ada.json(Method::POST, &path, &destroy.to_string()).await.status, 202);
    lab.server.wait_until_idle().await;
    assert!(!virsh(&["list", "--all", "--name"]).contains(DOMAIN));
    assert!(!virsh(&["vol-list", "default"]).contains(DOMAIN), "no disk is left");
    assert!(!folder.exists());
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_vm_whose_guest_or_qemu_hangs_is_powered_off() {
    const DOMAIN: &str = "twarga-user1-hung-1_default";
    let _sweep = Sweep::of("hung-1");
    let server = Server::start(&["--provider", "vagrant", "--collect-every", "1"], Source::new).await;
    let ada = server.user("ada").await;
    let answer = ada.json(Method::POST, "/api/vms", &launch("hung-1").to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let vm_id = answer.json()["vm_id"].as_i64().unwrap();
    server.wait_until_idle().await;
    let mut lab = Lab { server, ada, vm_id };

    // The kernel panics and stays so; the connection never ends. What Vagrant has just set up must survive that.
    let crash = "sync; echo 0 > /proc/sys/kernel/panic; echo c > /proc/sysrq-trigger";
    Command::new("timeout")
        .args(["-s", "KILL", "8", "vagrant", "ssh", "-c", crash])
        .current_dir(lab.server.vm_folder(1, "hung-1"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(virsh(&["domstate", DOMAIN]).trim(), "running", "a guest that hangs still runs");
    assert_eq!(lab.act(json!({ "action": "force_stop" })).await["status"], "stopped");
    assert_eq!(virsh(&["domstate", DOMAIN]).trim(), "shut off");

    lab.act(json!({ "action": "start" })).await;
    let found = Command::new("pgrep").args(["-f", &format!("guest={DOMAIN}")]).output().unwrap();
    let pid = String::from_utf8_lossy(&found.stdout).split_whitespace().next().unwrap().to_owned();
    assert!(Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    assert_eq!(lab.act(json!({ "action": "force_stop" })).await["status"], "stopped");
    assert_eq!(virsh(&["domstate", DOMAIN]).trim(), "shut off");
}

#[tokio::test]
#[ignore = "needs the lab with the Debian box"]
async fn the_file_system_of_a_debian_guest_grows_with_its_disk() {
    let _sweep = Sweep::of("grown-1");
    let server = Server::start(&["--provider", "vagrant", "--collect-every", "1"], Source::new).await;
    let ada = server.user("ada").await;
    let request =
        json!({ "name": "grown-1", "image": "lab-debian-12", "ram_mb": 384, "cpu_cores": 1, "disk_gb": 3 });
    let answer = ada.json(Method::POST, "/api/vms", &request.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let vm_id = answer.json()["vm_id"].as_i64().unwrap();
    server.wait_until_idle().await;
    let mut lab = Lab { server, ada, vm_id };
    let size_mb = |lab: &Lab| {
        lab.guest_of("grown-1", "df -BM --output=size / | tail -1 | tr -dc 0-9").parse::<u32>().unwrap()
    };
    let at_first = size_mb(&lab);
    assert!((2700..=3072).contains(&at_first), "{at_first} MB of 3 GB");
    let path = format!("/api/vms/{vm_id}");
    assert_eq!(lab.ada.json(Method::PATCH, &path, r#"{"disk_gb":5}"#).await.status, 200);
    lab.act(json!({ "action": "restart" })).await;
    let grown = size_mb(&lab);
    assert!((4700..=5120).contains(&grown), "{grown} MB of 5 GB");
    let destroy = json!({ "action": "destroy", "confirm_name": "grown-1" });
    let destroy = lab.ada.json(Method::POST, &format!("{path}/action"), &destroy.to_string()).await;
    assert_eq!(destroy.status, 202);
    lab.server.wait_until_idle().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn a_launch_that_is_cancelled_on_its_way_leaves_nothing() {
    const DOMAIN: &str = "twarga-user1-undone-1_default";
    let _sweep = Sweep::of("undone-1");
    let server = Server::start(&["--provider", "vagrant"], Source::new).await;
    let ada = server.user("ada").await;
    for wait in [Duration::from_secs(1), Duration::from_secs(9)] {
        let answer = match ada.vm("undone-1").await {
            Value::Null => ada.json(Method::POST, "/api/vms", &launch("undone-1").to_string()).await,
            vm => {
                ada.json(Method::POST, &format!("/api/vms/{}/action", vm["id"]), r#"{"action":"start"}"#)
                    .await
            }
        };
        assert_eq!(answer.status, 202, "{}", answer.text);
        let answer = answer.json();
        tokio::time::sleep(wait).await;
        let cancel = format!("/api/vms/{}/operations/{}/cancel", answer["vm_id"], answer["operation"]["id"]);
        assert_eq!(ada.json(Method::POST, &cancel, "").await.status, 202);
        server.wait_until_idle().await;
        let vm = ada.vm("undone-1").await;
        assert_eq!(
            (&vm["status"], &vm["operation"]["state"]),
            (&json!("not_created"), &json!("cancelled")),
            "{vm:#}"
        );
        assert!(!virsh(&["list", "--all", "--name"]).contains(DOMAIN));
        assert!(!virsh(&["vol-list", "default"]).contains(DOMAIN));
        assert_eq!(server.state.vms.quota(1).await.unwrap().credits_available, 1000);
    }
}

/// Starts a server over the data of an earlier one in this folder.
async fn start(folder: &Path) -> Process {
    let mut process = Process::start(folder, |command| {
        command.args(["--provider", "vagrant"]);
    });
    process.listens().await;
    process
}

/// The processes that a server of ours began in the folders of its VMs.
fn at_work_in(folders: &Path) -> Vec<u32> {
    let of = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        fs::read_link(entry.path().join("cwd")).ok()?.starts_with(folders).then_some(pid)
    };
    fs::read_dir("/proc").unwrap().filter_map(|entry| of(entry.ok()?)).collect()
}

fn kill_at_work_in(folders: &Path) {
    for pid in at_work_in(folders) {
        let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    }
}

/// Ends whatever a killed server left at work.
struct NothingAtWork(PathBuf);

impl Drop for NothingAtWork {
    fn drop(&mut self) {
        kill_at_work_in(&self.0);
    }
}

const KILLS: u32 = 24;
/// Most operations of the lab's are over after some more restarts than that.
const KILLS_OF_ONE: u32 = 4;

#[tokio::test]
#[ignore = "needs the lab, and some minutes"]
async fn a_server_that_is_killed_at_random_moments_loses_and_doubles_nothing() {
    const DOMAIN: &str = "twarga-user1-killed-1_default";
    let _sweep = Sweep::of("killed-1");
    let folder = tempfile::tempdir().unwrap();
    let folders = folder.path().join("data/vms");
    let _nothing_at_work = NothingAtWork(folders.clone());
    let mut random = Random::new();
    let mut process = start(folder.path()).await;
    let token = http::register(process.address, "ada", &process.setup_code()).await;

    let (mut kills, mut launches, mut vm_id) = (0, 0, 0);
    let round = ["launch", "stop", "start", "destroy"];
    for action in round.iter().cycle() {
        let (path, body) = match *action {
            "launch" => ("/api/vms".to_owned(), launch("killed-1")),
            _ => {
                (format!("/api/vms/{vm_id}/action"), json!({ "action": action, "confirm_name": "killed-1" }))
            }
        };
        let (status, answer) = http::send(process.address, "POST", &path, &token, &body.to_string()).await;
        assert_eq!(status, 202, "{action}: {answer}");
        if *action == "launch" {
            vm_id = serde_json::from_str::<Value>(&answer).unwrap()["vm_id"].as_i64().unwrap();
            launches += 1;
        }
        let begin = Instant::now();
        let mut of_one = 0;
        let vm = loop {
            let status =
                http::send(process.address, "GET", &format!("/api/vms/{vm_id}/status"), &token, "").await;
            let vm: Value = serde_json::from_str(&status.1).unwrap();
            if status.0 == 404 || !["queued", "running"].contains(&vm["operation"]["state"].as_str().unwrap())
            {
                break vm;
            }
            assert!(begin.elapsed() < Duration::from_secs(600), "{action} does not end: {vm:#}");
            if of_one < KILLS_OF_ONE {
                tokio::time::sleep(Duration::from_millis(random.below(8000))).await;
                of_one += 1;
                kills += 1;
                process.kill();
                // As a crash of the machine does, every other time: nothing that the server began goes on.
                if kills % 2 == 0 {
                    kill_at_work_in(&folders);
                }
                process = start(folder.path()).await;
            } else {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let tail = || log.lines().rev().take(60).collect::<Vec<_>>().join("\n");
        let there = *action != "destroy";
        println!("{action}: {of_one} kills, {:.0} s, {}", begin.elapsed().as_secs_f64(), vm["status"]);
        let expected = match *action {
            "stop" => json!("stopped"),
            "destroy" => Value::Null,
            _ => json!("running"),
        };
        assert_eq!(vm["status"], expected, "{action}: {vm:#}\n{}", tail());
        let ours =
            |listed: String| listed.lines().filter(|line| line.contains("twarga-user1-killed-")).count();
        assert_eq!(ours(virsh(&["list", "--all", "--name"])), usize::from(there), "domains after {action}");
        assert_eq!(ours(virsh(&["vol-list", "default"])), usize::from(there), "disks after {action}");
        let state = if *action == "stop" { "shut off" } else { "running" };
        if there {
            assert_eq!(virsh(&["domstate", DOMAIN]).trim(), state, "after {action}");
        }
        assert_eq!(fs::read_dir(&folders).unwrap().count(), usize::from(there), "folders after {action}");
        let (_, vms) = http::send(process.address, "GET", "/api/vms", &token, "").await;
        let vms: Value = serde_json::from_str(&vms).unwrap();
        assert_eq!(vms.as_array().unwrap().len(), usize::from(there), "rows after {action}");
        let (_, quota) = http::send(process.address, "GET", "/api/v1/my_quota", &token, "").await;
        let quota: Value = serde_json::from_str(&quota).unwrap();
        assert_eq!(
            (&quota["credits_available"], &quota["credits_reserved"]),
            (&json!(1000 - PRICE * launches), &json!(0)),
            "credits after {action}"
        );
        let (_, orphans) = http::send(process.address, "GET", "/api/v1/orphans", &token, "").await;
        assert_eq!(orphans, "[]", "after {action}");
        if !there && kills >= KILLS {
            break;
        }
    }
    println!("{kills} kills");
}
