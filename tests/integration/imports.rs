//! Importing Vagrant machines, and removing leftovers that belong to nobody: both in the background.

use crate::support::{self, Client, Server, driver, eventually, fleet::Fleet};
use async_trait::async_trait;
use axum::http::Method;
use serde_json::{Value, json};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;
use twarga_cloud::{
    model::{OperationKind, VmName},
    server::{
        commands::Source,
        provider::{
            DomainState, GuestAccess, IndexedMachine, Machine, MachineDriver, MachineError, MachineErrorKind,
            MachineIndex, Project, ReadError, SshConfig,
        },
    },
};

const INDEXED: &str = "0123456789abcdef0123456789abcdef";

/// Vagrant's index with one machine, and nobody who knows the way into it.
#[derive(Default)]
struct Index {
    state: Option<DomainState>,
    /// It is the fleet's, in the place of VirtualBox's.
    is_libvirt: bool,
    /// The way into it is never answered.
    hangs: bool,
    asked: AtomicUsize,
    is_asked: Notify,
}

#[async_trait]
impl MachineIndex for Index {
    async fn machines(&self) -> Result<Vec<IndexedMachine>, ReadError> {
        let project = Project {
            directory: "/home/ada/shop".into(),
            vagrantfile: None,
            data_directory: "/home/ada/shop/.vagrant".into(),
            machine: "default".into(),
            provider: if self.is_libvirt { "libvirt" } else { "virtualbox" }.into(),
            is_indexed: !self.is_libvirt,
        };
        Ok(vec![IndexedMachine { id: INDEXED.into(), project, state: self.state, vagrant_box: None }])
    }

    async fn refresh_status(&self, _: &Machine) -> Result<(), MachineError> {
        Ok(())
    }
}

#[async_trait]
impl GuestAccess for Index {
    async fn ssh_config(&self, _: &Machine) -> Result<SshConfig, MachineError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.is_asked.notify_one();
        if self.hangs {
            std::future::pending::<()>().await;
        }
        let text = "Nobody knows the way.".to_owned();
        Err(MachineError { kind: MachineErrorKind::Other, detail: text.clone(), text })
    }
}

const FLAGS: [&str; 4] = ["--provider", "simulated", "--simulated-vms", "1"];

fn source(fleet: &Fleet, index: &Arc<Index>) -> Source {
    Source { index: Some(index.clone()), guests: Some(index.clone()), ..fleet.source() }
}

async fn serve(index: &Arc<Index>) -> Server {
    Server::start(&FLAGS, |_| source(&Fleet::new(), index)).await
}

async fn import(client: &Client, id: &str, name: &str) -> support::Answer {
    client.form("/api/v1/adopt_machine", &[("id", id), ("name", name)]).await
}

async fn imported(client: &Client) -> i64 {
    let answer = import(client, INDEXED, "shop").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json().as_i64().unwrap()
}

/// Nothing is left of an import, and the machine can be imported again.
async fn assert_nothing_is_left(server: &Server, ada: &Client) {
    assert_eq!(server.state.vms.open_operations(), 0);
    assert_eq!(ada.vm("shop").await, Value::Null);
    assert!(!server.vm_folder(1, "shop").exists());
    let entries: i64 = sqlx::query_scalar("SELECT count(*) FROM credit_entry WHERE vm_id IS NOT NULL")
        .fetch_one(server.state.database.read())
        .await
        .unwrap();
    assert_eq!(entries, 0, "it costs nothing");
    let found = ada.get("/api/v1/adoptable_machines").await.json();
    assert_eq!(found[0]["machine"]["directory"], "/home/ada/shop", "{found}");
}

#[tokio::test]
async fn what_can_be_said_at_once_is_rejected_beside_the_form() {
    let index = Arc::new(Index { state: Some(DomainState::Stopped), ..Index::default() });
    let server = serve(&index).await;
    let ada = server.user("ada").await;
    let found = ada.get("/api/v1/adoptable_machines").await.json();
    assert_eq!(found[0]["suggested_name"], "shop", "{found}");
    assert_eq!(import(&ada, "f0f0", "shop").await.status, 404);
    assert!(import(&ada, INDEXED, "no name").await.text.contains("only letters"));
    let refused = import(&ada, INDEXED, "shop").await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("in /home/ada/shop, then import it."), "{}", refused.text);
    assert_nothing_is_left(&server, &ada).await;
    let page = server.browser("ada").await.page("/vms/adopt").await;
    assert!(page.words().contains("/home/ada/shop"), "{}", page.words());
}

#[tokio::test]
async fn a_name_that_is_taken_is_rejected_beside_the_form() {
    let index = Arc::new(Index { state: Some(DomainState::Running), ..Index::default() });
    let server = serve(&index).await;
    let ada = server.user("ada").await;
    let refused = import(&ada, INDEXED, "web-1").await;
    assert_eq!((refused.status.as_u16(), refused.text.contains("already have a VM")), (409, true));
    fs::create_dir_all(server.vm_folder(1, "shop")).unwrap();
    let refused = import(&ada, INDEXED, "shop").await;
    assert_eq!((refused.status.as_u16(), refused.text.contains("is left from")), (409, true));
    assert!(server.vm_folder(1, "shop").exists(), "it is not the import's to remove");
}

#[tokio::test]
async fn an_import_that_fails_leaves_nothing_and_an_event_says_why() {
    let index = Arc::new(Index { state: Some(DomainState::Running), ..Index::default() });
    let server = serve(&index).await;
    let ada = server.user("ada").await;
    for attempt in 1..=2 {
        imported(&ada).await;
        server.wait_until_idle().await;
        assert_nothing_is_left(&server, &ada).await;
        assert_eq!(index.asked.load(Ordering::SeqCst), attempt);
    }
    let events = server.events().await;
    let (kind, text) = &events[0];
    assert_eq!(kind, "vm_operation_failed");
    let why = "Nobody knows the way. See that \"vagrant ssh\" works in /home/ada/shop, then try again.";
    assert!(text.starts_with("\"import\" of shop failed. ") && text.ends_with(why), "{text}");
    assert_eq!(events[1].1, "ada requested the import of shop from /home/ada/shop.");
    let page = server.browser("ada").await.page("/events").await;
    assert!(page.words().contains("Nobody knows the way."), "{}", page.words());
}

#[tokio::test]
async fn an_import_is_under_way_on_the_vms_page_happens_once_and_can_be_cancelled() {
    let index = Arc::new(Index { state: Some(DomainState::Running), hangs: true, ..Index::default() });
    let server = serve(&index).await;
    let ada = server.user("ada").await;
    let browser = server.browser("ada").await;
    let fields = [("id", INDEXED), ("name", "shop")];
    let (location, _) = browser.submit("/vms/adopt", "/api/v1/adopt_machine", &fields).await;
    index.is_asked.notified().await;
    let page = browser.page(&location).await;
    assert!(page.words().contains("Importing"), "{location} {}", page.words());
    assert_eq!(server.state.vms.open_operations(), 1, "the request did not wait for it");

    let again = import(&ada, INDEXED, "again").await;
    assert_eq!(
        (again.status.as_u16(), again.text.contains("already managed")),
        (409, true),
        "{}",
        again.text
    );
    let vm = ada.vm("shop").await;
    let vm_id = vm["id"].as_i64().unwrap();
    assert_eq!((&vm["status"], &vm["operation"]["kind"]), (&json!("pending"), &json!("import")), "{vm}");
    assert_eq!((&vm["spec"]["ram_mb"], &vm["allowed"]), (&json!(0), &json!([])), "{vm}");
    for refused in [ada.act("stop", vm_id).await, ada.act("release", vm_id).await] {
        assert_eq!(refused.status, 409, "{}", refused.text);
    }
    assert_eq!(
        ada.destroy(vm_id, "/home/ada/shop").await.status,
        409,
        "its machine is not ours to destroy yet"
    );

    let operation_id = vm["operation"]["id"].to_string();
    let fields = [("vm_id", &*vm_id.to_string()), ("operation_id", &*operation_id)];
    assert_eq!(ada.form("/api/v1/cancel_operation", &fields).await.status, 200);
    server.wait_until_idle().await;
    assert_nothing_is_left(&server, &ada).await;
    assert_eq!(server.events().await[0].1, "\"import\" of shop was cancelled.");
    assert_eq!(index.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_import_that_a_restart_cuts_off_is_carried_out_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new();
    let index = |hangs| {
        Arc::new(Index { state: Some(DomainState::Running), is_libvirt: true, hangs, ..Index::default() })
    };
    let hanging = index(true);
    let server = Server::start_in(folder.path(), &FLAGS, |_| source(&fleet, &hanging)).await;
    let ada = server.user("ada").await;
    let vm_id = imported(&ada).await;
    hanging.is_asked.notified().await;
    drop(server);

    // Now the hypervisor knows it.
    let machine = Machine {
        directory: folder.path().join("vms/user1-shop"),
        name: VmName::new("shop").unwrap(),
        ..driver::machine(folder.path(), 1, "shop")
    };
    fleet.adopt(&machine, Some(fleet.clock.now().utc));
    let uuid = fleet.domain_uuid(&machine).unwrap();
    let index = index(false);
    let mut server = Server::start_in(folder.path(), &FLAGS, |_| source(&fleet, &index)).await;
    let ada = server.signed_in("ada").await;
    server.wait_until_idle().await;
    let vm = ada.vm("shop").await;
    let events = server.events().await;
    assert_eq!((vm["id"].as_i64(), &vm["status"]), (Some(vm_id), &json!("running")), "{vm} {events:?}");
    let spec = ["ram_mb", "cpu_cores", "disk_gb"].map(|key| vm["spec"][key].as_u64().unwrap());
    assert_eq!(spec, [192, 1, 1]);
    assert_eq!(server.domain_uuid("shop").await, uuid);
    assert_eq!((events[0].0.as_str(), events[0].1.as_str()), ("vm_adopted", "shop imported."));
    let info: Value =
        serde_json::from_slice(&fs::read(server.vm_folder(1, "shop").join(".vm_info")).unwrap()).unwrap();
    assert_eq!((&info["ram_mb"], &info["status"]), (&json!(192), &json!("running")));
    assert_eq!(ada.get("/api/v1/adoptable_machines").await.json(), json!([]));
    assert_eq!(index.asked.load(Ordering::SeqCst), 0, "the hypervisor knows all of it");
    fleet.ticks(&mut server, 2).await;
    assert_eq!(ada.vm("shop").await["status"], "running");

    assert_eq!(ada.act("release", vm_id).await.status, 200);
    assert!(!server.vm_folder(1, "shop").exists());
}

#[tokio::test]
async fn an_import_that_waits_in_the_queue_is_cancelled_at_once() {
    let index = Arc::new(Index { state: Some(DomainState::Running), ..Index::default() });
    let fleet = Fleet::with(|options| options.speed = 0.01);
    let flags = [&FLAGS[..], &["--operations", "1"]].concat();
    let server = Server::start(&flags, |_| source(&fleet, &index)).await;
    let ada = server.user("ada").await;
    let slow = json!({ "name": "slow", "image": "debian-12", "ram_mb": 512, "cpu_cores": 1, "disk_gb": 10 });
    assert_eq!(ada.json(Method::POST, "/api/vms", &slow.to_string()).await.status, 202);
    eventually(async || {
        let state = ada.vm("slow").await["operation"]["state"].clone();
        if state == "running" { Ok(()) } else { Err(state.to_string()) }
    })
    .await;
    let vm_id = imported(&ada).await;
    let operation_id = ada.vm("shop").await["operation"]["id"].to_string();
    let fields = [("vm_id", &*vm_id.to_string()), ("operation_id", &*operation_id)];
    assert_eq!(ada.form("/api/v1/cancel_operation", &fields).await.status, 200);
    assert_eq!(ada.vm("shop").await, Value::Null);
    assert_eq!(index.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_unknown_machine_is_not_imported_and_a_launched_one_not_unmanaged() {
    let server = serve(&Arc::default()).await;
    let ada = server.user("ada").await;
    assert_eq!(ada.get("/api/v1/adoptable_machines").await.json(), json!([]), "it was destroyed");
    assert_eq!(import(&ada, INDEXED, "shop").await.status, 404);
    let page = server.browser("ada").await.page("/vms/adopt").await;
    assert!(page.words().contains("No VMs to import"), "{}", page.words());

    let vm = ada.vm("web-1").await;
    let refused = ada.act("release", vm["id"].as_i64().unwrap()).await;
    assert_eq!((refused.status.as_u16(), refused.text.contains("launched here")), (409, true));
    assert_eq!(ada.vm("web-1").await["status"], "running");
}

#[tokio::test]
async fn a_leftover_machine_of_nobody_is_removed_in_the_background_and_once() {
    // Slow enough that the requests come in between.
    let fleet = Fleet::with(|options| options.speed = 2.0);
    let server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    // Its `.vm_info` is there, its owner is not.
    let folder = server.data_dir.join("vms/user77-lost");
    fs::create_dir_all(&folder).unwrap();
    let info = json!({ "os_type": "Debian 12", "ram_mb": 512, "disk_gb": 10, "cpu_cores": 1 });
    fs::write(folder.join(".vm_info"), info.to_string()).unwrap();
    let lost = Machine { directory: folder.clone(), ..driver::machine(&server.data_dir, 77, "lost") };
    fleet.adopt(&lost, None);
    let listed = async || ada.get("/api/v1/orphans").await.json();
    let clean = async || {
        let fields = [("folder", "user77-lost"), ("confirm_name", "user77-lost")];
        ada.form("/api/v1/clean_up_orphan", &fields).await
    };
    let found = listed().await;
    assert_eq!((&found[0]["can_adopt"], &found[0]["can_clean_up"]), (&json!(false), &json!(true)), "{found}");

    let both = futures::future::join(clean(), clean()).await;
    let mut statuses = [both.0.status.as_u16(), both.1.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{} {}", both.0.text, both.1.text);
    let found = listed().await;
    assert_eq!(found[0]["text"], "It is being removed.", "{found}");
    assert_eq!((&found[0]["can_adopt"], &found[0]["can_clean_up"]), (&json!(false), &json!(false)));
    assert!(clean().await.text.contains("It is being removed already."));
    server.wait_until_idle().await;
    assert_eq!(listed().await, json!([]));
    assert!(!folder.exists() && fleet.domain_uuid(&lost).is_none());
    let removed = server.events().await.into_iter().filter(|(kind, _)| kind == "orphan_removed").count();
    assert_eq!(removed, 1);
    assert_eq!(clean().await.status, 404);
}

#[tokio::test]
async fn a_leftover_folder_that_cannot_be_removed_stays_listed_with_the_reason() {
    let fleet = Fleet::with(|options| options.speed = 2.0);
    let server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    let folder = server.data_dir.join("vms/user77-lost");
    fs::create_dir_all(&folder).unwrap();
    let info = json!({ "os_type": "Debian 12", "ram_mb": 512, "disk_gb": 10, "cpu_cores": 1 });
    fs::write(folder.join(".vm_info"), info.to_string()).unwrap();
    let lost = Machine { directory: folder.clone(), ..driver::machine(&server.data_dir, 77, "lost") };
    fleet.adopt(&lost, None);
    fleet.fail_next(OperationKind::Destroy, MachineErrorKind::Other);
    let fields = [("folder", "user77-lost"), ("confirm_name", "user77-lost")];
    assert_eq!(ada.form("/api/v1/clean_up_orphan", &fields).await.status, 200);
    // Vagrant fails, and then the hypervisor does not answer.
    fleet.set_unreachable(true);
    server.wait_until_idle().await;
    fleet.set_unreachable(false);
    let (kind, text) = server.events().await.remove(0);
    assert_eq!(kind, "orphan_not_removed");
    assert!(text.starts_with("What was left of ") && text.contains("could not"), "{text}");
    let found = ada.get("/api/v1/orphans").await.json();
    assert!(found[0]["text"].as_str().unwrap().contains("could not remove"), "{found}");
    assert_eq!(found[0]["can_clean_up"], true);
    assert_eq!(ada.form("/api/v1/clean_up_orphan", &fields).await.status, 200);
    server.wait_until_idle().await;
    assert!(!folder.exists());
}
