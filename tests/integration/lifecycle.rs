//! Launching and operating VMs over HTTP in a simulated fleet: nothing is lost, nothing is there twice, and every credit
//! is where it belongs.

use crate::support::{Answer, Client, Server, fleet::Fleet, http};
use axum::http::Method;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use std::{collections::HashSet, fs, time::Duration};
use twarga_cloud::{
    model::{HostUsage, OperationKind, UtcMillis, VmSpec, price},
    server::{commands::Source, provider::MachineErrorKind},
};

fn launch(name: &str) -> String {
    json!({ "name": name, "image": "debian-12", "ram_mb": 512, "cpu_cores": 1, "disk_gb": 10 }).to_string()
}

/// The credits that a [`launch`] costs.
const PRICE: i64 = 17;

async fn act(client: &Client, vm_id: i64, action: Value) -> Answer {
    client.json(Method::POST, &format!("/api/vms/{vm_id}/action"), &action.to_string()).await
}

async fn launched(server: &Server, client: &Client, name: &str) -> i64 {
    let answer = client.json(Method::POST, "/api/vms", &launch(name)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    server.wait_until_idle().await;
    answer.json()["vm_id"].as_i64().unwrap()
}

/// The available credits of an account, from the sum and from its ledger.
async fn available(server: &Server, account_id: i64) -> i64 {
    server.state.vms.quota(account_id).await.unwrap().credits_available
}

/// All that has to hold whatever happened, once nothing is under way.
async fn assert_consistent(server: &Server) {
    assert_eq!(server.state.vms.open_operations(), 0, "no task is left");
    let read = server.state.database.read();
    let count = |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).fetch_one(read);
    let open = "SELECT count(*) FROM operation WHERE state IN ('queued', 'running')";
    assert_eq!(count(open).await.unwrap(), 0, "no operation is open");
    let moving = "SELECT count(*) FROM vm WHERE destroyed_at IS NULL AND status = 'pending'";
    assert_eq!(count(moving).await.unwrap(), 0, "every row is in a final state");
    let doubled = "SELECT count(*) FROM (SELECT 1 FROM vm WHERE destroyed_at IS NULL GROUP BY owner_id, name HAVING \
                   count(*) > 1)";
    assert_eq!(count(doubled).await.unwrap(), 0, "no name is there twice");
    let twice = "SELECT count(*) FROM (SELECT 1 FROM credit_entry WHERE reserve_id IS NOT NULL GROUP BY reserve_id \
                 HAVING count(*) > 1)";
    assert_eq!(count(twice).await.unwrap(), 0, "no reservation is settled twice");
    let accounts: Vec<i64> = sqlx::query_scalar("SELECT id FROM account").fetch_all(read).await.unwrap();
    for account in accounts {
        let quota = server.state.vms.quota(account).await.unwrap();
        assert!(quota.credits_available >= 0, "{quota:?}");
        // What was made costs what it has, or is to have; a destroyed one keeps what it cost.
        let made: Vec<(i64, u32, u32, u32, Option<i64>)> = sqlx::query_as(
            "SELECT id, coalesce(next_ram_mb, ram_mb), coalesce(next_cpu_cores, cpu_cores),
                    coalesce(next_disk_gb, disk_gb), destroyed_at FROM vm
             WHERE owner_id = ? AND is_free = 0
                   AND EXISTS (SELECT 1 FROM credit_entry WHERE vm_id = vm.id AND kind = 'capture')",
        )
        .bind(account)
        .fetch_all(read)
        .await
        .unwrap();
        let mut spent = 0;
        for (_, ram_mb, cpu_cores, disk_gb, _) in &made {
            let (ram_mb, cpu_cores, disk_gb) = (*ram_mb, *cpu_cores, *disk_gb);
            spent += i64::from(price(&VmSpec { image: String::new(), ram_mb, cpu_cores, disk_gb }));
        }
        assert_eq!(
            quota.credits_available,
            quota.credits_granted - spent,
            "account {account} with {made:?}: {quota:?}"
        );
    }
}

#[tokio::test]
async fn a_launch_answers_at_once_with_its_operation_which_can_be_followed() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    let check = ada.json(
        Method::POST,
        "/api/vms/quota-check",
        r#"{"image":"debian-12","ram_mb":512,"cpu_cores":1,"disk_gb":10}"#,
    );
    let check = check.await.json();
    assert_eq!((&check["price"], &check["allowed"]), (&json!(PRICE), &json!(true)), "{check}");

    let answer = ada.json(Method::POST, "/api/vms", &launch("web-1")).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let requested = answer.json();
    assert_eq!(requested["operation"]["kind"], "launch");
    assert_eq!(requested["operation"]["requested_by"], "ada");
    let vm_id = requested["vm_id"].as_i64().unwrap();
    assert_eq!(available(&server, 1).await, 1000 - PRICE, "set aside before it begins");
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 1).await;

    let status = ada.get(&format!("/api/vms/{vm_id}/status")).await.json();
    assert_eq!((&status["status"], &status["operation"]["state"]), (&json!("running"), &json!("succeeded")));
    let operations = ada.get(&format!("/api/vms/{vm_id}/operations")).await.json();
    let operation_id = operations[0]["id"].as_i64().unwrap();
    let output = ada.get(&format!("/api/vms/{vm_id}/operations/{operation_id}/output")).await.json();
    assert!(
        output["lines"].as_array().unwrap().iter().any(|line| line == "Machine booted and ready!"),
        "{output}"
    );
    assert_eq!(ada.get(&format!("/api/vms/{vm_id}")).await.json()["name"], "web-1");

    // Again what is so already: nothing begins.
    let again = act(&ada, vm_id, json!({ "action": "start" })).await;
    assert_eq!((again.status.as_u16(), &again.json()["operation"]), (200, &Value::Null));
    let unconfirmed = act(&ada, vm_id, json!({ "action": "destroy" })).await;
    assert_eq!(unconfirmed.status, 400, "{}", unconfirmed.text);
    assert_eq!(act(&ada, vm_id, json!({ "action": "destroy", "confirm_name": "web-1" })).await.status, 202);
    server.wait_until_idle().await;
    assert_eq!(ada.get(&format!("/api/vms/{vm_id}")).await.status, 404);
    assert_eq!(available(&server, 1).await, 1000 - PRICE, "what is destroyed gives nothing back");
    assert_consistent(&server).await;
}

#[tokio::test]
async fn every_path_of_a_vm_is_there_for_its_owner_and_admins_only() {
    let fleet = Fleet::new();
    let server = fleet.serve(1).await;
    let (_ada, bob, anonymous) = (server.user("ada").await, server.user("bob").await, server.anonymous());
    for (method, path, body) in [
        (Method::GET, "/api/vms/1", ""),
        (Method::PATCH, "/api/vms/1", "{}"),
        (Method::GET, "/api/vms/1/status", ""),
        (Method::POST, "/api/vms/1/action", r#"{"action":"stop"}"#),
        (Method::GET, "/api/vms/1/snapshots", ""),
        (Method::GET, "/api/vms/1/operations", ""),
        (Method::GET, "/api/vms/1/operations/1/output", ""),
        (Method::POST, "/api/vms/1/operations/1/cancel", ""),
    ] {
        assert_eq!(bob.json(method.clone(), path, body).await.status, 404, "{method} {path}");
        assert_eq!(anonymous.json(method.clone(), path, body).await.status, 401, "{method} {path}");
    }
    for (method, path, body) in
        [(Method::POST, "/api/vms", launch("web-9")), (Method::POST, "/api/vms/quota-check", "{}".to_owned())]
    {
        assert_eq!(anonymous.json(method, path, &body).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_vm_goes_through_every_operation() {
    let fleet = Fleet::new();
    let server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    let vm_id = launched(&server, &ada, "web-1").await;
    for (action, then) in [
        (json!({ "action": "suspend" }), "suspended"),
        (json!({ "action": "resume" }), "running"),
        (json!({ "action": "snapshot_save", "snapshot": "first" }), "running"),
        (json!({ "action": "restart" }), "running"),
        (json!({ "action": "stop" }), "stopped"),
        (json!({ "action": "snapshot_restore", "snapshot": "first" }), "running"),
        (json!({ "action": "snapshot_delete", "snapshot": "first" }), "running"),
        (json!({ "action": "suspend" }), "suspended"),
        (json!({ "action": "start" }), "running"),
        (json!({ "action": "force_stop" }), "stopped"),
        (json!({ "action": "start" }), "running"),
    ] {
        let answer = act(&ada, vm_id, action.clone()).await;
        assert_eq!(answer.status, 202, "{action}: {}", answer.text);
        server.wait_until_idle().await;
        server.collector.refresh_statuses().await.unwrap();
        assert_eq!(ada.vm("web-1").await["status"], then, "after {action}");
    }
    let refused = act(&ada, vm_id, json!({ "action": "snapshot_restore", "snapshot": "first" })).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["text"]),
        (409, &json!("There is no snapshot called first."))
    );
    let nonsense = act(&ada, vm_id, json!({ "action": "snapshot_save", "snapshot": "--all" })).await;
    assert_eq!(nonsense.status, 400);
    let events = server.events().await;
    assert!(!events.iter().any(|(kind, _)| kind == "vm_changed_from_outside"), "{events:?}");
    assert_consistent(&server).await;
}

#[tokio::test]
async fn a_resize_is_applied_and_charged_at_the_next_start() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    let vm_id = launched(&server, &ada, "web-1").await;
    let path = format!("/api/vms/{vm_id}");
    let shrunk = ada.json(Method::PATCH, &path, r#"{"disk_gb":9}"#).await;
    assert_eq!(shrunk.status, 400, "{}", shrunk.text);

    let answer = ada.json(Method::PATCH, &path, r#"{"ram_mb":1024,"disk_gb":20,"cpu_cores":2}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let vm = ada.vm("web-1").await;
    assert_eq!((&vm["spec"]["ram_mb"], &vm["next_spec"]["ram_mb"]), (&json!(512), &json!(1024)));
    assert_eq!((vm["status"].as_str(), available(&server, 1).await), (Some("running"), 1000 - 34));
    // Another change takes the place of the first one, and so does what it sets aside.
    ada.json(Method::PATCH, &path, r#"{"ram_mb":2048,"cpu_cores":1}"#).await;
    assert_eq!(available(&server, 1).await, 1000 - 34, "2 GB, 1 core, 20 GB: 20 + 10 + 4");
    act(&ada, vm_id, json!({ "action": "restart" })).await;
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 1).await;
    let vm = ada.vm("web-1").await;
    assert_eq!((&vm["spec"]["ram_mb"], &vm["spec"]["disk_gb"]), (&json!(2048), &json!(20)));
    assert_eq!(vm["next_spec"], Value::Null);
    let text = fs::read_to_string(server.vm_folder(1, "web-1").join("Vagrantfile")).unwrap();
    assert!(text.contains("libvirt.memory = 2048"), "{text}");
    let versions = ada.get(&format!("/api/v1/vm_vagrantfiles?vm_id={vm_id}")).await.json();
    assert_eq!(versions.as_array().unwrap().len(), 2, "both are kept: {versions}");
    assert_consistent(&server).await;
}

#[tokio::test]
async fn a_launch_that_is_cancelled_leaves_no_machine_and_no_charge() {
    let fleet = Fleet::with(|options| options.speed = 20.0);
    let mut server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    let answer = ada.json(Method::POST, "/api/vms", &launch("web-1")).await.json();
    let (vm_id, operation_id) =
        (answer["vm_id"].as_i64().unwrap(), answer["operation"]["id"].as_i64().unwrap());
    let cancel = format!("/api/vms/{vm_id}/operations/{operation_id}/cancel");
    assert_eq!(ada.json(Method::POST, &cancel, "").await.status, 202);
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 2).await;
    let vm = ada.vm("web-1").await;
    assert_eq!(
        (&vm["status"], &vm["operation"]["state"]),
        (&json!("not_created"), &json!("cancelled")),
        "{vm}"
    );
    assert_eq!(available(&server, 1).await, 1000);
    assert_eq!(ada.json(Method::POST, &cancel, "").await.status, 409, "it has ended");

    // It can be made after all, and is paid then; or be destroyed while it is being made.
    assert_eq!(act(&ada, vm_id, json!({ "action": "start" })).await.status, 202);
    assert_eq!(available(&server, 1).await, 1000 - PRICE);
    assert_eq!(act(&ada, vm_id, json!({ "action": "destroy", "confirm_name": "web-1" })).await.status, 202);
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 1).await;
    assert_eq!(ada.vm("web-1").await, Value::Null);
    assert_eq!(available(&server, 1).await, 1000);
    assert!(!server.vm_folder(1, "web-1").exists());
    assert_consistent(&server).await;
}

#[tokio::test]
async fn an_account_has_no_more_than_it_can_pay_and_may_have() {
    let fleet = Fleet::new();
    let server = fleet.serve(0).await;
    let (_ada, bob) = (server.user("ada").await, server.user("bob").await);
    for number in 1..=5 {
        launched(&server, &bob, &format!("vm-{number}")).await;
    }
    let refused = bob.json(Method::POST, "/api/vms", &launch("vm-6")).await;
    assert_eq!(refused.status, 409);
    assert!(refused.json()["text"].as_str().unwrap().contains("5 is the most"), "{}", refused.text);
    let big =
        json!({ "name": "big-vm", "image": "debian-12", "ram_mb": 4096, "cpu_cores": 4, "disk_gb": 10 });
    let vm_id = bob.vm("vm-1").await["id"].as_i64().unwrap();
    act(&bob, vm_id, json!({ "action": "destroy", "confirm_name": "vm-1" })).await;
    server.wait_until_idle().await;
    let refused = bob.json(Method::POST, "/api/vms", &big.to_string()).await;
    assert!(
        refused.json()["text"].as_str().unwrap().contains("82 credits, and 15 are left"),
        "{}",
        refused.text
    );
    assert_eq!(bob.vm("big-vm").await, Value::Null, "a rejected request changes nothing");
    assert_consistent(&server).await;
}

#[tokio::test]
async fn the_host_gives_no_more_than_it_has() {
    let fleet = Fleet::new();
    let host = HostUsage {
        memory_total_gb: Some(1.0),
        disk_total_gb: Some(100.0),
        cpu_cores: 2,
        ..HostUsage::default()
    };
    let source = Source { host: Some(host), ..fleet.source() };
    let arguments = ["--provider", "simulated", "--simulated-vms", "0", "--memory-overcommit", "100"];
    let server = Server::start(&arguments, |_| source).await;
    let ada = server.user("ada").await;
    let first = launched(&server, &ada, "vm-1").await;
    launched(&server, &ada, "vm-2").await;
    let refused = ada.json(Method::POST, "/api/vms", &launch("vm-3")).await;
    assert_eq!(refused.status, 409);
    assert!(refused.json()["text"].as_str().unwrap().contains("0 MB of memory left"), "{}", refused.text);
    act(&ada, first, json!({ "action": "stop" })).await;
    server.wait_until_idle().await;
    launched(&server, &ada, "vm-3").await;
    let refused = act(&ada, first, json!({ "action": "start" })).await;
    assert_eq!(refused.status, 409, "what is off takes no memory, and gets it back only if there is some");
    assert_consistent(&server).await;
}

#[tokio::test]
async fn many_launches_at_once_neither_overspend_nor_share_a_name() {
    let fleet = Fleet::new();
    let server =
        fleet.serve_with(&["--simulated-vms", "0", "--max-vms", "50", "--admin-credits", "100"]).await;
    let ada = server.user("ada").await;
    let listening = server.listen().await;
    let token = ada.token().unwrap().to_owned();
    let at_once = |names: Vec<String>| {
        let (address, token) = (listening.address, token.clone());
        let sends = names.into_iter().map(move |name| {
            let token = token.clone();
            tokio::spawn(
                async move { http::send(address, "POST", "/api/vms", &token, &launch(&name)).await.0 },
            )
        });
        futures::future::join_all(sends.collect::<Vec<_>>())
    };
    let same = at_once(vec!["one-name".to_owned(); 20]).await;
    let begun = same.into_iter().filter(|status| *status.as_ref().unwrap() == 202).count();
    assert_eq!(begun, 1);
    let many = at_once((0..40).map(|number| format!("vm-{number}")).collect()).await;
    let begun = many.into_iter().filter(|status| *status.as_ref().unwrap() == 202).count();
    assert_eq!(begun, 4, "100 credits are 5 of 17");
    server.wait_until_idle().await;
    assert_consistent(&server).await;
}

/// A third fails, a third hangs until its time is over.
#[tokio::test]
async fn a_hundred_launches_at_once_of_which_most_fail_leave_everything_as_it_should_be() {
    let fleet = Fleet::with(|options| {
        options.speed = 200.0;
        (options.failure_rate, options.timeout_rate) = (1.0 / 3.0, 1.0 / 3.0);
    });
    let arguments =
        ["--simulated-vms", "0", "--max-vms", "200", "--admin-credits", "100000", "--operations", "8"];
    let mut server = fleet.serve_with(&arguments).await;
    let ada = server.user("ada").await;
    let listening = server.listen().await;
    let launches = (0..100).map(|number| {
        let (address, token) = (listening.address, ada.token().unwrap().to_owned());
        // Each name is wanted twice now and then.
        let name = format!("vm-{}", number % 90);
        tokio::spawn(async move { http::send(address, "POST", "/api/vms", &token, &launch(&name)).await.0 })
    });
    let statuses = futures::future::join_all(launches.collect::<Vec<_>>()).await;
    let begun = statuses.iter().filter(|status| *status.as_ref().unwrap() == 202).count();
    assert_eq!(begun, 90, "the others were rejected for their name: {statuses:?}");
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 2).await;
    let vms = ada.get("/api/vms").await.json();
    let status = |wanted: &str| vms.as_array().unwrap().iter().filter(|vm| vm["status"] == wanted).count();
    let (running, failed) = (status("running"), status("failed"));
    assert_eq!(running + failed, 90, "{vms}");
    assert!((15..60).contains(&running), "a third succeeds, more or less: {running}");
    let names: HashSet<_> = vms.as_array().unwrap().iter().map(|vm| vm["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 90);
    assert_eq!(available(&server, 1).await, 100_000 - PRICE * running as i64);
    let quota = server.state.vms.quota(1).await.unwrap();
    assert_eq!(quota.credits_reserved, 0);
    assert_consistent(&server).await;
}

#[derive(Debug, Clone)]
enum Request {
    Launch(u8),
    Act(u8, OperationKind),
    Resize(u8, u32),
    Cancel(u8),
}

fn any_request() -> impl Strategy<Value = Request> {
    let kinds = OperationKind::ALL
        .into_iter()
        .filter(|kind| !matches!(kind, OperationKind::Launch | OperationKind::Resize))
        .collect::<Vec<_>>();
    prop_oneof![
        3 => (0..4u8).prop_map(Request::Launch),
        5 => (0..4u8, proptest::sample::select(kinds)).prop_map(|(vm, kind)| Request::Act(vm, kind)),
        1 => (0..4u8, 512..2048u32).prop_map(|(vm, ram_mb)| Request::Resize(vm, ram_mb)),
        1 => (0..4u8).prop_map(Request::Cancel),
    ]
}

/// Concurrent requests of two users for a few VMs, with failures: no response is a server error, and in the end
/// everything is consistent.
#[test]
fn concurrent_requests_lose_and_double_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
    let rounds = proptest::collection::vec(proptest::collection::vec(any_request(), 1..6), 1..6);
    let checked = runner.run(&rounds, |rounds| {
        runtime.block_on(requested_at_once(rounds));
        Ok(())
    });
    checked.unwrap();
}

async fn requested_at_once(rounds: Vec<Vec<Request>>) {
    let fleet = Fleet::with(|options| {
        options.speed = 2000.0;
        (options.failure_rate, options.timeout_rate) = (0.2, 0.1);
    });
    let mut server = fleet.serve_with(&["--simulated-vms", "0", "--admin-credits", "90"]).await;
    let ada = server.user("ada").await;
    let listening = server.listen().await;
    let (address, token) = (listening.address, ada.token().unwrap().to_owned());
    for round in rounds {
        let requests = round.into_iter().map(|act| {
            let (token, ada) = (token.clone(), ada.clone());
            tokio::spawn(async move {
                let id =
                    async |number: u8| ada.vm(&format!("vm-{number}")).await["id"].as_i64().unwrap_or(999);
                let (method, path, body) = match act {
                    Request::Launch(number) => {
                        ("POST", "/api/vms".to_owned(), launch(&format!("vm-{number}")))
                    }
                    Request::Act(number, kind) => {
                        let name = format!("vm-{number}");
                        let body = json!({ "action": kind, "snapshot": "s1", "confirm_name": name });
                        ("POST", format!("/api/vms/{}/action", id(number).await), body.to_string())
                    }
                    Request::Resize(number, ram_mb) => (
                        "PATCH",
                        format!("/api/vms/{}", id(number).await),
                        json!({ "ram_mb": ram_mb }).to_string(),
                    ),
                    Request::Cancel(number) => {
                        let vm = ada.vm(&format!("vm-{number}")).await;
                        let (vm, operation) = (vm["id"].as_i64(), vm["operation"]["id"].as_i64());
                        let path = format!(
                            "/api/vms/{}/operations/{}/cancel",
                            vm.unwrap_or(999),
                            operation.unwrap_or(999)
                        );
                        ("POST", path, String::new())
                    }
                };
                let (status, text) = http::send(address, method, &path, &token, &body).await;
                assert!(
                    [200, 202, 400, 404, 409].contains(&status),
                    "{method} {path} {body}: {status} {text}"
                );
            })
        });
        for request in futures::future::join_all(requests.collect::<Vec<_>>()).await {
            request.unwrap();
        }
        fleet.ticks(&mut server, 1).await;
    }
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 2).await;
    assert_rows_are_final(&server).await;
}

/// As [`assert_consistent`], where a resize may be paid but not applied, or a start rejected for lack of credits.
async fn assert_rows_are_final(server: &Server) {
    assert_eq!(server.state.vms.open_operations(), 0);
    let quota = server.state.vms.quota(1).await.unwrap();
    assert!(quota.credits_available >= 0, "{quota:?}");
    let (open, twice, unpaid): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM operation WHERE state IN ('queued', 'running'))
                + (SELECT count(*) FROM vm WHERE status = 'pending' AND destroyed_at IS NULL),
                (SELECT count(*) FROM (SELECT 1 FROM credit_entry WHERE reserve_id IS NOT NULL
                                       GROUP BY reserve_id HAVING count(*) > 1)),
                (SELECT count(*) FROM vm WHERE status = 'running' AND is_free = 0 AND NOT EXISTS
                    (SELECT 1 FROM credit_entry WHERE vm_id = vm.id AND kind = 'capture'))",
    )
    .fetch_one(server.state.database.read())
    .await
    .unwrap();
    assert_eq!((open, twice, unpaid), (0, 0, 0));
    let wait_until_idle: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(r.amount), 0) FROM credit_entry AS r WHERE kind = 'reserve' AND NOT EXISTS
             (SELECT 1 FROM credit_entry AS s WHERE s.reserve_id = r.id AND s.kind = 'release')",
    )
    .fetch_one(server.state.database.read())
    .await
    .unwrap();
    assert_eq!(
        quota.credits_available,
        quota.credits_granted + wait_until_idle,
        "the sum is what was not released"
    );
}

#[tokio::test]
async fn leftover_resources_are_listed_and_can_be_cleaned_up() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    for name in ["lost-1", "lost-2", "gone-1"] {
        launched(&server, &ada, name).await;
    }
    fleet.ticks(&mut server, 1).await;
    let listed = async || ada.get("/api/v1/orphans").await.json();
    assert_eq!(listed().await, json!([]));

    // A machine that the database forgot, as after an older backup; a folder of nothing; a machine that somebody took.
    server.execute("UPDATE vm SET destroyed_at = 1 WHERE name LIKE 'lost-%'").await;
    fs::create_dir(server.vm_folder(1, "left-1")).unwrap();
    fs::create_dir(server.data_dir.join("vms/somebodys-own")).unwrap();
    assert!(fleet.undefine_from_outside(&server.domain_uuid("gone-1").await));
    fleet.ticks(&mut server, 2).await;
    let orphans = listed().await;
    let seen: Vec<_> =
        orphans.as_array().unwrap().iter().map(|o| (o["kind"].clone(), o["folder"].clone())).collect();
    assert_eq!(
        seen,
        [
            (json!("domain"), json!("user1-lost-1")),
            (json!("domain"), json!("user1-lost-2")),
            (json!("directory"), json!("user1-left-1")),
            (json!("row"), json!("user1-gone-1")),
        ]
    );

    let adopted = ada.form("/api/v1/adopt_orphan", &[("folder", "user1-lost-1")]).await;
    assert_eq!(adopted.status, 200, "{}", adopted.text);
    fleet.ticks(&mut server, 1).await;
    let vm = ada.vm("lost-1").await;
    assert_eq!((&vm["status"], &vm["spec"]["ram_mb"]), (&json!("running"), &json!(512)), "{vm}");
    let clean = async |folder: &str, confirm: &str| {
        let fields = [("folder", folder), ("confirm_name", confirm)];
        ada.form("/api/v1/clean_up_orphan", &fields).await.status.as_u16()
    };
    assert_eq!(clean("user1-lost-2", "lost-2").await, 400, "its folder's name is to be typed");
    assert_eq!(clean("user1-lost-1", "user1-lost-1").await, 404, "it is none any more");
    assert_eq!(clean("../user1-lost-2", "../user1-lost-2").await, 404);
    for folder in ["user1-lost-2", "user1-left-1", "user1-gone-1"] {
        assert_eq!(clean(folder, folder).await, 200, "{folder}");
    }
    let destroyed: Vec<String> = sqlx::query_scalar(
        "SELECT vm.name FROM operation JOIN vm ON vm.id = operation.vm_id WHERE operation.kind = 'destroy' ORDER BY vm.name",
    )
    .fetch_all(server.state.database.read())
    .await
    .unwrap();
    assert_eq!(destroyed, ["gone-1", "lost-2"], "what may take long is an operation");
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 1).await;
    assert_eq!(listed().await, json!([]));
    assert!(server.data_dir.join("vms/somebodys-own").exists());
    assert!(!server.vm_folder(1, "lost-2").exists() && !server.vm_folder(1, "left-1").exists());
}

#[tokio::test]
async fn an_emergency_stop_powers_off_all_vms_and_reports_each() {
    // Slow enough that the launch is cut off on a busy machine, too.
    let fleet = Fleet::with(|options| options.speed = 10.0);
    let mut server = fleet.serve(2).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let bobs = bob.json(Method::POST, "/api/vms", &launch("bobs-1")).await.json()["vm_id"].clone();
    let answer = ada.form("/api/v1/stop_all_vms", &[("confirm", "stop")]).await;
    let outcomes = answer.json();
    assert_eq!(outcomes.as_array().unwrap().len(), 3, "{outcomes}");
    assert!(outcomes.as_array().unwrap().iter().all(|vm| vm["operation_id"].is_i64()), "{outcomes}");
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 1).await;
    let vms = ada.get("/api/vms").await.json();
    let still_up: Vec<_> = vms.as_array().unwrap().iter().filter(|vm| vm["status"] == "running").collect();
    assert!(still_up.is_empty(), "{still_up:?}");
    assert!(bobs.is_i64() && available(&server, 2).await == 100, "a launch that was cut off costs nothing");
}

#[tokio::test]
async fn a_vm_is_turned_off_when_it_was_planned_and_started_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new();
    let mut server = fleet.serve_in(folder.path(), &["--simulated-vms", "0"]).await;
    let ada = server.user("ada").await;
    let vm_id = launched(&server, &ada, "web-1").await;
    let path = format!("/api/vms/{vm_id}");
    let past =
        ada.json(Method::PATCH, &path, r#"{"stop_at":"2020-01-01T00:00:00Z","auto_start":true}"#).await;
    assert_eq!(past.status, 400, "{}", past.text);
    assert_eq!(ada.vm("web-1").await["auto_start"], false, "a rejected request changes nothing");
    let form = [("vm_id", vm_id.to_string()), ("hours", "2".to_owned())];
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(ada.form("/api/v1/stop_after", &form).await.status, 200);
    assert_eq!(ada.json(Method::PATCH, &path, r#"{"auto_start":true}"#).await.status, 200);

    let due = UtcMillis(ada.vm("web-1").await["stop_at"].as_i64().unwrap());
    server.state.vms.stop_due(due.plus_secs(-60)).await.unwrap();
    server.wait_until_idle().await;
    assert_eq!(ada.vm("web-1").await["status"], "running");
    server.state.vms.stop_due(due).await.unwrap();
    server.wait_until_idle().await;
    let vm = ada.vm("web-1").await;
    assert_eq!((&vm["status"], &vm["stop_at"]), (&json!("stopped"), &Value::Null));
    drop(server);

    server = fleet.serve_in(folder.path(), &["--simulated-vms", "0"]).await;
    fleet.ticks(&mut server, 1).await;
    server.state.vms.start_those_that_start_with_the_server().await.unwrap();
    server.wait_until_idle().await;
    let ada = server.signed_in("ada").await;
    assert_eq!(ada.vm("web-1").await["status"], "running");
    assert!(server.events().await.iter().any(|(_, text)| text == "web-1 starts with the server."));
}

#[tokio::test]
async fn what_a_guest_is_set_up_with_reaches_it_as_files_and_nothing_else() {
    let fleet = Fleet::new();
    let server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    let script = "#!/bin/sh\necho '\"; system(\"id\") #{1}'\n";
    let request = json!({ "name": "web-1", "image": "debian-12", "ram_mb": 512, "cpu_cores": 1, "disk_gb": 10,
                        "provision_script": script, "user_data": "#cloud-config\n" });
    assert_eq!(ada.json(Method::POST, "/api/vms", &request.to_string()).await.status, 202);
    server.wait_until_idle().await;
    let folder = server.vm_folder(1, "web-1");
    assert_eq!(fs::read_to_string(folder.join("provision.sh")).unwrap(), script);
    assert_eq!(fs::read_to_string(folder.join("user-data")).unwrap(), "#cloud-config\n");
    let vagrantfile = fs::read_to_string(folder.join("Vagrantfile")).unwrap();
    assert!(!vagrantfile.contains("system("), "{vagrantfile}");
    let too_long = json!({ "name": "web-2", "image": "debian-12", "ram_mb": 512, "cpu_cores": 1, "disk_gb": 10,
                           "provision_script": "x".repeat(16 * 1024 + 1) });
    assert_eq!(ada.json(Method::POST, "/api/vms", &too_long.to_string()).await.status, 400);
    let unknown = json!({ "name": "web-2", "image": "debian-12", "ram_mb": 512, "cpu_cores": 1, "disk_gb": 10,
                          "vagrantfile": "system('id')" });
    assert_eq!(ada.json(Method::POST, "/api/vms", &unknown.to_string()).await.status, 400);
}

#[tokio::test]
async fn a_failed_launch_is_undone_and_one_that_cannot_be_costs_nothing_in_the_end() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    fleet.fail_next(OperationKind::Launch, MachineErrorKind::BootTimeout);
    fleet.fail_next(OperationKind::Destroy, MachineErrorKind::Busy);
    launched(&server, &ada, "web-1").await;
    assert_eq!(available(&server, 1).await, 1000 - PRICE, "nobody knows yet whether there is a machine");
    fleet.ticks(&mut server, 1).await;
    assert_eq!(ada.vm("web-1").await["status"], "failed");
    assert_eq!(available(&server, 1).await, 1000);

    fleet.fail_next(OperationKind::Launch, MachineErrorKind::ProvisionerFailed);
    let vm_id = launched(&server, &ada, "web-2").await;
    tokio::time::timeout(Duration::from_secs(5), server.collector.refresh_statuses()).await.unwrap().unwrap();
    let vm = ada.vm("web-2").await;
    assert_eq!(vm["status"], "running", "it runs, and is paid: {vm}");
    assert!(vm["problem"].is_string());
    assert_eq!(available(&server, 1).await, 1000 - PRICE);
    act(&ada, vm_id, json!({ "action": "destroy", "confirm_name": "web-2" })).await;
    server.wait_until_idle().await;
    assert_consistent(&server).await;
}

#[tokio::test]
async fn a_problem_is_shown_until_the_vm_is_well_again() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    let vm_id = launched(&server, &ada, "web-1").await;
    fleet.ticks(&mut server, 2).await;
    for (action, kind, error) in [
        ("stop", OperationKind::Stop, MachineErrorKind::HypervisorUnreachable),
        ("restart", OperationKind::Restart, MachineErrorKind::BootTimeout),
        ("suspend", OperationKind::Suspend, MachineErrorKind::Other),
        ("stop", OperationKind::Stop, MachineErrorKind::TriggerFailed),
    ] {
        fleet.fail_next(kind, error);
        act(&ada, vm_id, json!({ "action": action })).await;
        server.wait_until_idle().await;
        fleet.ticks(&mut server, 2).await;
        let vm = ada.vm("web-1").await;
        assert_eq!((&vm["status"], vm["problem"].is_string()), (&json!("running"), true), "{action}: {vm}");
        fleet.ticks(&mut server, 15).await;
        let vm = ada.vm("web-1").await;
        assert_eq!((&vm["status"], &vm["problem"]), (&json!("running"), &json!(null)), "{action}: {vm}");
        assert_eq!(vm["operation"]["state"], "failed", "what happened is still known");
    }

    fleet.fail_next(OperationKind::Stop, MachineErrorKind::TimedOut);
    act(&ada, vm_id, json!({ "action": "stop" })).await;
    server.wait_until_idle().await;
    assert!(fleet.stop_from_outside(&server.domain_uuid("web-1").await));
    fleet.ticks(&mut server, 1).await;
    let vm = ada.vm("web-1").await;
    assert_eq!((&vm["status"], &vm["problem"]), (&json!("stopped"), &json!(null)), "it stopped after all");

    fleet.fail_next(OperationKind::Start, MachineErrorKind::ProvisionerFailed);
    act(&ada, vm_id, json!({ "action": "start" })).await;
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 20).await;
    let vm = ada.vm("web-1").await;
    assert_eq!(vm["status"], "running");
    assert!(vm["problem"].is_string(), "it still lacks its set-up: {vm}");
}
