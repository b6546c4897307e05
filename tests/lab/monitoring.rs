//! What the server shows of real VMs: when they fail, from inside their guests, and of machines that it imported.

use crate::{
    libvirt::{self, virsh},
    support::{Answer, Client, Server},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use twarga_cloud::server::commands::Source;

const PID_FILE: &str = "/run/libvirt/libvirtd.pid";

async fn serve(more: &[&str]) -> Server {
    Server::start(&[&["--provider", "vagrant", "--collect-every", "1"], more].concat(), Source::new).await
}

/// Ticks every second until the VM is as wanted; two ticks after something happened is what may be waited for,
/// more only where the machine itself needs time.
async fn until(
    server: &mut Server,
    client: &Client,
    vm: &str,
    secs: u64,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    let begin = Instant::now();
    loop {
        server.tick().await;
        let seen = client.vm(vm).await;
        if wanted(&seen) {
            return seen;
        }
        assert!(begin.elapsed() < Duration::from_secs(secs), "not so within {secs} s: {seen:#}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn within_two_ticks(server: &mut Server, client: &Client, vm: &str) -> Value {
    server.tick().await;
    server.tick().await;
    client.vm(vm).await
}

fn libvirtd_pid() -> i32 {
    fs::read_to_string(PID_FILE).unwrap().trim().parse().unwrap()
}

fn end(pid: i32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn start_libvirtd() {
    let status = Command::new("libvirtd")
        .args(["--daemon", "--pid-file", PID_FILE])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let begin = Instant::now();
    while !Command::new("virsh").arg("version").output().is_ok_and(|o| o.status.success()) {
        assert!(begin.elapsed() < Duration::from_secs(30), "libvirtd does not come back");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Removes what a failed test may have left, whatever it is: brings libvirtd back first.
struct Sweep {
    _vm: libvirt::Sweep,
}

impl Sweep {
    fn of(name: &'static str) -> Self {
        Self { _vm: libvirt::Sweep::of(name) }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if !Command::new("virsh").arg("version").output().is_ok_and(|o| o.status.success()) {
            let _ = fs::remove_file(PID_FILE);
            start_libvirtd();
        }
    }
}

async fn launched(server: &mut Server, name: &str) -> (Client, i64) {
    let ada = server.user("ada").await;
    let answer = ada.launch(name, "lab-tiny").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    server.wait_until_idle().await;
    let vm = until(server, &ada, name, 30, |vm| vm["figures"]["cpu_percent"].is_f64()).await;
    assert_eq!(vm["status"], "running", "{vm:#}");
    (ada, vm["id"].as_i64().unwrap())
}

async fn accepted<F: Future<Output = Answer>>(server: &Server, request: F) {
    let answer = request.await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    server.wait_until_idle().await;
}

/// Asserts that a VM's problem is reported to its owner, on its page, in the overview and by an event, with its status;
/// and that neither its row nor its folder is lost.
async fn assert_reported(server: &Server, ada: &Client, name: &str, text: &str, status: &str, event: &str) {
    let browser = server.browser("ada").await;
    let vm = ada.vm(name).await;
    assert_eq!(vm["status"], status, "{vm:#}");
    for path in [format!("/vms/{}", vm["id"]), "/".to_owned()] {
        let page = browser.page(&path).await;
        let words = page.words();
        assert_eq!(page.status, 200);
        // Events of files are only shown with the VM's other events.
        if event != "vm_info_rebuilt" || path != "/" {
            assert!(words.contains(text), "{path} does not say \"{text}\": {words}");
        }
        // The overview has a row for each VM; on its own page a VM is the only one.
        let about =
            page.text.split_once(&format!("data-vm=\"{name}\"")).map_or(page.text.as_str(), |(_, row)| row);
        let shown = about.split_once("data-testid=\"status\">").and_then(|(_, rest)| rest.split('<').next());
        assert_eq!(shown, Some(status.replace('_', " ").as_str()), "{path}");
    }
    let events = server.events().await;
    assert!(events.iter().any(|(kind, said)| kind == event && said.contains(text)), "{event}: {events:?}");
    assert!(server.vm_folder(1, name).join("Vagrantfile").exists());
}

fn problem(vm: &Value) -> String {
    vm["problem"].as_str().unwrap_or_else(|| panic!("no problem is reported: {vm:#}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab"]
async fn a_real_vm_on_its_bad_days() {
    let _sweep = Sweep::of("bad-days");
    let mut server = serve(&[]).await;
    let (ada, vm_id) = launched(&mut server, "bad-days").await;
    let folder = server.vm_folder(1, "bad-days");

    // A corrupt and a truncated .vm_info.
    for broken in ["\u{0}\u{0}\u{0}", "{\"name\": \"bad-d"] {
        fs::write(folder.join(".vm_info"), broken).unwrap();
        server.tick().await;
        let info: Value =
            serde_json::from_str(&fs::read_to_string(folder.join(".vm_info")).unwrap()).unwrap();
        assert_eq!((&info["name"], &info["status"]), (&json!("bad-days"), &json!("running")));
        let kept = fs::read_dir(&folder)
            .unwrap()
            .flatten()
            .any(|f| fs::read(f.path()).is_ok_and(|t| t == broken.as_bytes()));
        assert!(kept, "what was there is kept beside");
    }
    let text = "The .vm_info of bad-days could not be read and was rebuilt from the database";
    assert_reported(&server, &ada, "bad-days", text, "running", "vm_info_rebuilt").await;

    // libvirtd is down: the VM keeps running, its status is unknown, and nothing is started.
    end(libvirtd_pid(), "-TERM");
    std::thread::sleep(Duration::from_secs(2));
    let vm = within_two_ticks(&mut server, &ada, "bad-days").await;
    assert_eq!((&vm["status"], &vm["figures"]["cpu_percent"]), (&json!("unknown"), &Value::Null));
    let trouble = ada.get("/api/v1/metrics_since").await.json()["trouble"].clone();
    assert!(trouble.as_str().is_some_and(|text| text.contains("libvirt")), "{trouble}");
    assert_reported(&server, &ada, "bad-days", trouble.as_str().unwrap(), "unknown", "hypervisor_silent")
        .await;
    assert_eq!(ada.act("stop", vm_id).await.status, 409);
    ada.launch("no-libvirt", "lab-tiny").await;
    server.wait_until_idle().await;
    let text = problem(&ada.vm("no-libvirt").await);
    assert!(text.contains("libvirt"), "{text}");
    assert_reported(&server, &ada, "no-libvirt", &text, "failed", "vm_operation_failed").await;
    start_libvirtd();
    let vm = within_two_ticks(&mut server, &ada, "bad-days").await;
    assert_eq!((&vm["status"], &vm["problem"]), (&json!("running"), &Value::Null));
    let unborn = ada.vm("no-libvirt").await["id"].as_i64().unwrap();
    accepted(&server, ada.destroy(unborn, "no-libvirt")).await;
    assert_eq!(ada.vm("no-libvirt").await, Value::Null);

    // A broken Vagrantfile: the VM is not touched, and the message names the file.
    let vagrantfile = folder.join("Vagrantfile");
    let good = fs::read_to_string(&vagrantfile).unwrap();
    fs::write(&vagrantfile, "Vagrant.configure('2') do |config|\n  config.vm.box = \n").unwrap();
    accepted(&server, ada.act("stop", vm_id)).await;
    let vm = within_two_ticks(&mut server, &ada, "bad-days").await;
    assert_eq!((&vm["status"], &vm["operation"]["state"]), (&json!("running"), &json!("failed")));
    assert!(problem(&vm).contains("Vagrantfile"), "{vm:#}");
    assert_reported(&server, &ada, "bad-days", &problem(&vm), "running", "vm_operation_failed").await;
    let kept = fs::read_to_string(&vagrantfile).unwrap();
    assert!(kept.ends_with("config.vm.box = \n"), "nobody's edit is overwritten: {kept}");
    fs::write(&vagrantfile, good).unwrap();

    // QEMU is killed from outside.
    let pid = fs::read_to_string("/run/libvirt/qemu/twarga-user1-bad-days_default.pid").unwrap();
    end(pid.trim().parse().unwrap(), "-KILL");
    std::thread::sleep(Duration::from_secs(1));
    let vm = within_two_ticks(&mut server, &ada, "bad-days").await;
    assert_eq!(vm["status"], "stopped");
    assert!(problem(&vm).contains("start it again"), "{vm:#}");
    assert_reported(&server, &ada, "bad-days", &problem(&vm), "stopped", "vm_crashed").await;
    accepted(&server, ada.act("start", vm_id)).await;
    let vm = within_two_ticks(&mut server, &ada, "bad-days").await;
    assert_eq!((&vm["status"], &vm["problem"]), (&json!("running"), &Value::Null));

    // The domain is undefined behind our back.
    virsh(&["destroy", "twarga-user1-bad-days_default"]);
    virsh(&["undefine", "twarga-user1-bad-days_default"]);
    let vm = within_two_ticks(&mut server, &ada, "bad-days").await;
    assert_eq!(vm["status"], "not_created");
    assert!(problem(&vm).contains("removed from the hypervisor"), "{vm:#}");
    assert_reported(&server, &ada, "bad-days", &problem(&vm), "not_created", "vm_domain_removed").await;
    accepted(&server, ada.act("start", vm_id)).await;
    let vm = within_two_ticks(&mut server, &ada, "bad-days").await;
    assert!(problem(&vm).contains("disk"), "the old disk is not lost: {vm:#}");
    assert!(virsh(&["vol-list", "default"]).contains("twarga-user1-bad-days_default"), "nor is it removed");
    assert_reported(
        &server,
        &ada,
        "bad-days",
        &problem(&vm),
        vm["status"].as_str().unwrap(),
        "vm_operation_failed",
    )
    .await;

    accepted(&server, ada.destroy(vm_id, "bad-days")).await;
    assert_eq!(ada.vm("bad-days").await, Value::Null);
    assert!(!folder.exists());
    assert!(!virsh(&["list", "--all", "--name"]).contains("bad-days"));
    assert!(!virsh(&["vol-list", "default"]).contains("bad-days"), "its disk is gone");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab"]
async fn a_vm_whose_folder_was_removed_can_still_be_destroyed() {
    let _sweep = Sweep::of("forgotten");
    let mut server = serve(&[]).await;
    let (ada, vm_id) = launched(&mut server, "forgotten").await;
    fs::remove_dir_all(server.vm_folder(1, "forgotten")).unwrap();
    let vm = within_two_ticks(&mut server, &ada, "forgotten").await;
    assert_eq!(vm["status"], "running", "it runs, whatever became of its folder");
    accepted(&server, ada.destroy(vm_id, "forgotten")).await;
    assert_eq!(ada.vm("forgotten").await, Value::Null);
    assert!(!virsh(&["list", "--all", "--name"]).contains("forgotten"), "it does not live on unseen");
    assert!(!virsh(&["vol-list", "default"]).contains("forgotten"));
    assert!(!server.vm_folder(1, "forgotten").exists());
}

/// A shell in a VM's guest, past the server.
struct Shell {
    config: tempfile::NamedTempFile,
}

impl Shell {
    fn into(folder: &Path) -> Self {
        let output = Command::new("vagrant").arg("ssh-config").current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let config = tempfile::NamedTempFile::new().unwrap();
        fs::write(config.path(), output.stdout).unwrap();
        Self { config }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.config.path()).args(["-o", "ConnectTimeout=5", "default", line]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The numbers in the first line that begins with `name`.
    fn numbers(&self, line: &str, name: &str) -> Vec<f64> {
        let text = self.run(line);
        let row = text.lines().find(|row| row.trim_start().starts_with(name));
        let row = row.unwrap_or_else(|| panic!("no {name}: {text}"));
        row.split_whitespace().filter_map(|word| word.trim_end_matches('%').parse().ok()).collect()
    }

    fn send(&self, bytes: usize) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), vec![b'x'; bytes]).unwrap();
        let sent =
            self.command("cat > /dev/null").stdin(fs::File::open(file.path()).unwrap()).status().unwrap();
        assert!(sent.success());
    }
}

/// Lets a VM have its core before whatever else this machine has to do: a processor that is not given is not used.
fn prefer(vm: &str) {
    let pid = fs::read_to_string(format!("/run/libvirt/qemu/twarga-user1-{vm}_default.pid")).unwrap();
    // Where the kernel groups processes by session, the group's weight counts, otherwise each thread's.
    let _ = fs::write(format!("/proc/{}/autogroup", pid.trim()), "-15");
    for thread in fs::read_dir(format!("/proc/{}/task", pid.trim())).unwrap() {
        let thread = thread.unwrap().file_name();
        let _ = Command::new("renice").args(["-n", "-15", "-p"]).arg(thread).stdout(Stdio::null()).status();
    }
}

fn number(vm: &Value, metric: &str) -> f64 {
    vm["figures"][metric].as_f64().unwrap_or_else(|| panic!("no {metric}: {vm:#}"))
}

#[track_caller]
fn assert_within(percent: f64, shown: f64, measured: f64) {
    let off = 100.0 * (shown - measured).abs() / measured;
    println!("shown {shown:.2}, measured {measured:.2}: {off:.2} % off");
    assert!(off <= percent, "shown {shown}, measured {measured}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab"]
async fn what_a_guest_says_of_itself_is_what_is_shown() {
    const VM: &str = "inside";
    let _sweep = Sweep::of(VM);
    let mut server = serve(&[]).await;
    let (ada, vm_id) = launched(&mut server, VM).await;
    let from = |vm: &Value, group: &str, source: &str| vm["figures"]["sources"][group] == source;
    let begin = Instant::now();
    let seen = until(&mut server, &ada, VM, 60, |vm| from(vm, "disk", "guest")).await;
    println!("read from inside after {:.1} s: {:#}", begin.elapsed().as_secs_f64(), seen["figures"]);
    assert!(from(&seen, "memory", "guest") && from(&seen, "uptime", "guest"), "{seen:#}");
    assert!(from(&seen, "cpu", "hypervisor") && from(&seen, "network", "hypervisor"), "{seen:#}");
    let shell = Shell::into(&server.vm_folder(1, VM));

    println!("memory as free says, MB");
    let free = shell.numbers("free -k", "Mem:");
    let vm = until(&mut server, &ada, VM, 10, |vm| from(vm, "memory", "guest")).await;
    let (total, available) = (free[0] / 1024.0, free[5] / 1024.0);
    assert_within(5.0, number(&vm, "memory_used_mb"), total - available);
    assert_within(5.0, number(&vm, "memory_available_mb"), available);

    println!("disk as df says, MB and percent, after 20 MB were written");
    shell.run("dd if=/dev/zero of=/filler bs=1M count=20 && sync");
    let df = shell.numbers("df -P -k / | tail -n 1", "/dev/");
    // A sample from while it was written says less.
    let is_written =
        |vm: &Value| (1024.0 * number(vm, "disk_used_gb") / (df[1] / 1024.0) - 1.0).abs() <= 0.01;
    let vm = until(&mut server, &ada, VM, 20, is_written).await;
    assert_within(1.0, 1024.0 * number(&vm, "disk_available_gb"), df[2] / 1024.0);
    assert!((number(&vm, "disk_percent") - df[3]).abs() <= 1.0, "{df:?} {vm:#}");

    prefer(VM);
    let mut busy = shell.command("while :; do :; done").spawn().unwrap();
    let vm = until(&mut server, &ada, VM, 90, |vm| number(vm, "cpu_percent") >= 90.0).await;
    println!("CPU of a busy loop: {:.1} %", number(&vm, "cpu_percent"));
    assert!(number(&vm, "cpu_percent") <= 100.0);
    shell.run("kill $(ps | grep 'while [:]' | awk '{ print $1 }'); true");
    busy.kill().unwrap();
    busy.wait().unwrap();

    println!("network of a 20 MB copy, MB");
    let before = number(&within_two_ticks(&mut server, &ada, VM).await, "network_rx_mb");
    shell.send(20 << 20);
    let after = number(&within_two_ticks(&mut server, &ada, VM).await, "network_rx_mb");
    assert_within(5.0, after - before, 20.0);

    println!("uptime after a reboot inside the guest, s");
    let before = until(&mut server, &ada, VM, 30, |vm| from(vm, "uptime", "guest")).await;
    let begin = Instant::now();
    // The connection ends with the guest.
    let _ = shell.command("reboot").status();
    let stopped_unexpectedly = |vm: &Value| {
        from(vm, "uptime", "guest") && number(vm, "uptime_seconds") < number(&before, "uptime_seconds")
    };
    let vm = until(&mut server, &ada, VM, 180, stopped_unexpectedly).await;
    let own = shell.numbers("cat /proc/uptime", "")[0];
    println!(
        "reported {}, {own} by its own clock, {:?} after",
        number(&vm, "uptime_seconds"),
        begin.elapsed()
    );
    assert!((own - number(&vm, "uptime_seconds")).abs() < 10.0, "{vm:#}");
    assert_eq!(vm["status"], "running");
    let warned = server.events().await.into_iter().find(|(kind, _)| kind == "guest_key_changed");
    assert_eq!(warned, None, "its host key is the same");

    accepted(&server, ada.destroy(vm_id, VM)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab with the Debian box"]
async fn a_guest_without_ssh_is_read_through_its_agent() {
    const VM: &str = "agent";
    let there = std::env::var("TWARGA_LAB_BOXES").is_ok_and(|boxes| boxes.contains("twarga/debian12"));
    assert!(there, "the Debian box is not in this lab: scripts/lab up --debian");
    let _sweep = Sweep::of(VM);
    let mut server = serve(&[]).await;
    let ada = server.user("ada").await;
    let answer = ada.launch(VM, "lab-debian-12").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    server.wait_until_idle().await;
    let inside = |vm: &Value| vm["figures"]["sources"]["disk"] == "guest";
    let vm = until(&mut server, &ada, VM, 120, inside).await;
    println!("over ssh: {:#}", vm["figures"]);
    let shell = Shell::into(&server.vm_folder(1, VM));
    let df = shell.numbers("df -P -k / | tail -n 1", "/dev/");

    // This ends its own connection too.
    let _ = shell.command("sudo systemctl stop ssh.socket ssh; sudo pkill -x sshd").status();
    assert!(!shell.command("true").status().unwrap().success(), "nobody answers over ssh");
    // A sample counts for three intervals: after four there was a new one.
    let silent = Instant::now();
    let since = |vm: &Value| inside(vm) && silent.elapsed() > Duration::from_secs(20);
    let vm = until(&mut server, &ada, VM, 120, since).await;
    println!("through the agent: {:#}", vm["figures"]);
    assert_within(1.0, 1024.0 * number(&vm, "disk_used_gb"), df[1] / 1024.0);
    let vm_id = vm["id"].as_i64().unwrap();
    accepted(&server, ada.destroy(vm_id, VM)).await;
}

/// A user's own Vagrant project and its machine; destroyed when the test ends, even if it fails.
struct OwnProject {
    folder: tempfile::TempDir,
    vagrantfile: &'static str,
}

impl OwnProject {
    fn up(vagrantfile: &'static str) -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap(), vagrantfile };
        fs::write(project.folder.path().join("Vagrantfile"), vagrantfile).unwrap();
        project.vagrant(&["up"]);
        project
    }

    /// Runs vagrant as a user does: again, if it reports that another process has locked the machine (the server, while it
    /// requests a guest's address).
    fn vagrant(&self, arguments: &[&str]) {
        let begin = Instant::now();
        loop {
            let output =
                Command::new("vagrant").args(arguments).current_dir(self.folder.path()).output().unwrap();
            let is_locked = String::from_utf8_lossy(&output.stderr).contains("because it is locked");
            if !is_locked || begin.elapsed() > Duration::from_secs(60) {
                assert!(output.status.success(), "vagrant {arguments:?}: {output:?}");
                return;
            }
        }
    }

    fn directory(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    /// Whether the project's folder is unchanged, apart from Vagrant's own files.
    fn is_untouched(&self) -> bool {
        let names: Vec<_> =
            fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.iter().all(|name| name == "Vagrantfile" || name == ".vagrant")
            && fs::read_to_string(self.folder.path().join("Vagrantfile")).unwrap() == self.vagrantfile
    }

    async fn in_the_list(&self, ada: &Client) -> Option<Value> {
        let found = ada.get("/api/v1/adoptable_machines").await.json();
        found.as_array().unwrap().iter().find(|one| one["machine"]["directory"] == self.directory()).cloned()
    }

    async fn adopt(&self, server: &Server, ada: &Client, name: &str) -> i64 {
        let found = self.in_the_list(ada).await.expect("Vagrant's index knows it");
        println!("found {found}");
        let fields = [("id", found["id"].as_str().unwrap()), ("name", name)];
        accepted(server, ada.form("/api/v1/adopt_machine", &fields)).await;
        assert_eq!(self.in_the_list(ada).await, None, "it is adopted once");
        let again = ada.form("/api/v1/adopt_machine", &[fields[0], ("name", "again-x")]).await;
        assert_eq!((again.status.as_u16(), again.text.contains("already")), (409, true), "{}", again.text);
        ada.vm(name).await["id"].as_i64().unwrap()
    }
}

impl Drop for OwnProject {
    fn drop(&mut self) {
        let _ = Command::new("vagrant").args(["destroy", "-f"]).current_dir(self.folder.path()).output();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab"]
async fn an_adopted_machine_without_libvirt_gives_every_value_from_inside() {
    const VM: &str = "plain-shop";
    let project = OwnProject::up(include_str!("../support/direct/Vagrantfile"));
    let mut server = serve(&[]).await;
    let ada = server.user("ada").await;
    let vm_id = project.adopt(&server, &ada, VM).await;
    let every = |vm: &Value| {
        [
            "cpu_percent",
            "memory_percent",
            "disk_percent",
            "network_rx_mb",
            "network_tx_mb_per_s",
            "uptime_seconds",
        ]
        .iter()
        .all(|metric| vm["figures"][*metric].is_number())
    };
    let vm = until(&mut server, &ada, VM, 60, every).await;
    println!("{vm:#}");
    assert_eq!(vm["status"], "running");
    for group in ["cpu", "memory", "disk", "network", "uptime"] {
        assert_eq!(vm["figures"]["sources"][group], "guest", "{group}");
    }
    let given = |key: &str| vm["spec"][key].as_u64().unwrap();
    assert!((140..=192).contains(&given("ram_mb")), "what the guest sees of 192 MB: {vm:#}");
    assert_eq!((given("cpu_cores"), given("disk_gb")), (1, 1));
    let page = server.browser("ada").await.page(&format!("/vms/{vm_id}")).await;
    assert!(page.words().contains(project.directory()), "the page says where it comes from");

    // Stopped and started in its place.
    accepted(&server, ada.act("stop", vm_id)).await;
    let vm = within_two_ticks(&mut server, &ada, VM).await;
    assert_eq!((&vm["status"], &vm["figures"]["cpu_percent"]), (&json!("stopped"), &Value::Null), "{vm:#}");
    accepted(&server, ada.act("start", vm_id)).await;
    until(&mut server, &ada, VM, 60, every).await;

    // By hand, from outside.
    project.vagrant(&["halt"]);
    let vm = within_two_ticks(&mut server, &ada, VM).await;
    assert_eq!(vm["status"], "stopped", "{vm:#}");
    let from_outside = |events: &[(String, String)]| {
        events.iter().filter(|(kind, _)| kind == "vm_changed_from_outside").count()
    };
    assert_eq!(from_outside(&server.events().await), 1);
    project.vagrant(&["up"]);
    until(&mut server, &ada, VM, 60, every).await;
    assert_eq!(from_outside(&server.events().await), 2);

    // Killed: Vagrant does not know until the unresponsive guest makes the server refresh its state.
    let pid = project.folder.path().join(".vagrant/machines/plain/direct/pid");
    end(fs::read_to_string(pid).unwrap().trim().parse().unwrap(), "-KILL");
    let begin = Instant::now();
    until(&mut server, &ada, VM, 60, |vm| vm["status"] == "stopped").await;
    println!("its death was found out after {:.1} s", begin.elapsed().as_secs_f64());
    accepted(&server, ada.act("start", vm_id)).await;
    until(&mut server, &ada, VM, 60, every).await;

    // Destroyed by its full path, not by its name.
    assert_eq!(ada.destroy(vm_id, VM).await.status, 400);
    assert!(project.is_untouched());
    accepted(&server, ada.destroy(vm_id, project.directory())).await;
    assert_eq!(ada.vm(VM).await, Value::Null);
    assert_eq!(project.in_the_list(&ada).await, None, "Vagrant has forgotten it too");
    assert!(project.is_untouched() && !server.vm_folder(1, VM).exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab"]
async fn an_adopted_libvirt_machine_is_unmanaged_unchanged() {
    const VM: &str = "own-shop";
    let project = OwnProject::up(
        "Vagrant.configure('2') do |config|
  config.vm.box = 'twarga/tiny'
  config.vm.synced_folder '.', '/vagrant', disabled: true
  config.vm.provider :libvirt do |libvirt|
    libvirt.memory = 176
    libvirt.driver = ENV.fetch('TWARGA_LIBVIRT_DRIVER', 'kvm')
    libvirt.management_network_keep = true
  end
end
",
    );
    let mut server = serve(&[]).await;
    let ada = server.user("ada").await;
    let vm_id = project.adopt(&server, &ada, VM).await;
    let vm = until(&mut server, &ada, VM, 60, |vm| vm["figures"]["sources"]["disk"] == "guest").await;
    assert_eq!((&vm["status"], &vm["spec"]["ram_mb"]), (&json!("running"), &json!(176)), "{vm:#}");
    assert_eq!(vm["figures"]["sources"]["cpu"], "hypervisor");
    accepted(&server, ada.act("stop", vm_id)).await;
    assert_eq!(within_two_ticks(&mut server, &ada, VM).await["status"], "stopped");
    accepted(&server, ada.act("start", vm_id)).await;
    assert_eq!(within_two_ticks(&mut server, &ada, VM).await["status"], "running");

    accepted(&server, ada.act("release", vm_id)).await;
    assert_eq!(ada.vm(VM).await, Value::Null);
    assert!(project.in_the_list(&ada).await.is_some_and(|found| found["status"] == "running"), "it runs on");
    assert!(project.is_untouched() && !server.vm_folder(1, VM).exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab"]
async fn a_missing_box_is_reported_by_name() {
    let _sweep = Sweep::of("no-box");
    let catalogue = tempfile::NamedTempFile::new().unwrap();
    fs::write(
        catalogue.path(),
        "[[image]]\nkey = 'nowhere'\nlabel = 'Nowhere'\nbox = 'twarga/nowhere'\nmin_ram_mb = 128\nmin_disk_gb = 1\n",
    )
    .unwrap();
    let mut server = serve(&["--images", catalogue.path().to_str().unwrap()]).await;
    let ada = server.user("ada").await;
    let vm_id = ada.launch("no-box", "nowhere").await.json()["vm_id"].as_i64().unwrap();
    server.wait_until_idle().await;
    let vm = within_two_ticks(&mut server, &ada, "no-box").await;
    assert_eq!(vm["status"], "failed");
    assert!(problem(&vm).contains("twarga/nowhere"), "{vm:#}");
    assert_reported(&server, &ada, "no-box", &problem(&vm), "failed", "vm_operation_failed").await;
    accepted(&server, ada.destroy(vm_id, "no-box")).await;
    assert!(!server.vm_folder(1, "no-box").exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the lab"]
async fn another_users_domain_of_the_same_name_is_left_alone() {
    let _sweep = Sweep::of("taken");
    let xml = tempfile::NamedTempFile::new().unwrap();
    fs::write(
        xml.path(),
        "<domain type='qemu'><name>twarga-user1-taken_default</name><memory unit='MiB'>64</memory>\
         <os><type>hvm</type></os></domain>",
    )
    .unwrap();
    virsh(&["define", xml.path().to_str().unwrap()]);
    let mut server = serve(&[]).await;
    let ada = server.user("ada").await;
    let vm_id = ada.launch("taken", "lab-tiny").await.json()["vm_id"].as_i64().unwrap();
    server.wait_until_idle().await;
    let vm = within_two_ticks(&mut server, &ada, "taken").await;
    assert_eq!(vm["status"], "failed");
    assert!(problem(&vm).contains("twarga-user1-taken_default"), "{vm:#}");
    assert_reported(&server, &ada, "taken", &problem(&vm), "failed", "vm_operation_failed").await;
    accepted(&server, ada.destroy(vm_id, "taken")).await;
    assert_eq!(ada.vm("taken").await, Value::Null);
    assert!(virsh(&["list", "--all", "--name"]).contains("twarga-user1-taken_default"));
}
