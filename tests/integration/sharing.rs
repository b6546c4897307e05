//! VMs that their owners share with others.

use crate::support::{Client, Server, fleet::Fleet};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

const OPERATIONS: [&str; 6] = ["start", "stop", "force_stop", "restart", "suspend", "resume"];

/// Ada is the admin; bob owns the VM with the returned id; carol and dave do not.
struct Shared {
    server: Server,
    bob: Client,
    carol: Client,
    dave: Client,
    vm_id: i64,
}

impl Shared {
    async fn begin(fleet: &Fleet) -> Self {
        let mut server = fleet.serve(0).await;
        server.user("ada").await;
        let bob = server.user("bob").await;
        let answer = bob.launch("web-1", "debian-12").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let vm_id = answer.json()["vm_id"].as_i64().unwrap();
        server.wait_until_idle().await;
        fleet.ticks(&mut server, 3).await;
        let (carol, dave) = (server.user("carol").await, server.user("dave").await);
        Self { server, bob, carol, dave, vm_id }
    }

    async fn share(&self, username: &str, access: &str) {
        let answer = self.request_share(username, access).await;
        assert_eq!(answer.0, StatusCode::NO_CONTENT, "{}", answer.1);
    }

    async fn request_share(&self, username: &str, access: &str) -> (StatusCode, Value) {
        let path = format!("/api/vms/{}/shares", self.vm_id);
        let body = json!({ "username": username, "access": access }).to_string();
        let answer = self.bob.json(Method::POST, &path, &body).await;
        (answer.status, serde_json::from_str(&answer.text).unwrap_or_default())
    }

    async fn act(&self, client: &Client, body: Value) -> StatusCode {
        client.json(Method::POST, &format!("/api/vms/{}/action", self.vm_id), &body.to_string()).await.status
    }
}

#[tokio::test]
async fn a_user_who_may_view_can_do_nothing_but_look() {
    let fleet = Fleet::new();
    let shared = Shared::begin(&fleet).await;
    let (carol, id) = (&shared.carol, shared.vm_id);
    let readable = [
        format!("/api/vms/{id}"),
        format!("/api/vms/{id}/status"),
        format!("/api/vms/{id}/snapshots"),
        format!("/api/vms/{id}/operations"),
        format!("/api/vms/{id}/operations/1/output"),
        format!("/api/metrics/vm/{id}"),
        format!("/api/metrics/vm/{id}/history?metric_name=vm_cpu_percent"),
        format!("/api/metrics/vm/{id}/export"),
        format!("/api/v1/metrics_since?vm_id={id}"),
        format!("/api/v1/vm_charts?vm_id={id}"),
        format!("/api/v1/vm_events?vm_id={id}"),
    ];
    for path in &readable {
        assert_eq!(carol.get(path).await.status, StatusCode::NOT_FOUND, "before: {path}");
    }
    shared.share("carol", "view").await;
    for path in &readable {
        assert_eq!(carol.get(path).await.status, StatusCode::OK, "{path}");
    }
    let listed = carol.get("/api/vms").await.json();
    assert_eq!((&listed[0]["name"], &listed[0]["access"]), (&json!("web-1"), &json!("view")));
    assert_eq!((&listed[0]["owner_name"], &listed[0]["allowed"]), (&json!("bob"), &json!([])));
    let polled = carol.get(&format!("/api/v1/metrics_since?vm_id={id}")).await.json();
    assert_eq!((&polled["vms"][0]["access"], &polled["vms"][0]["allowed"]), (&json!("view"), &json!([])));

    for action in OPERATIONS {
        assert_eq!(shared.act(carol, json!({ "action": action })).await, StatusCode::FORBIDDEN, "{action}");
    }
    for action in ["snapshot_save", "snapshot_restore", "snapshot_delete"] {
        let body = json!({ "action": action, "snapshot": "one" });
        assert_eq!(shared.act(carol, body).await, StatusCode::FORBIDDEN, "{action}");
    }
    assert_eq!(
        shared.act(carol, json!({ "action": "destroy", "confirm_name": "web-1" })).await,
        StatusCode::FORBIDDEN
    );
    for (method, path, body) in [
        (Method::PATCH, format!("/api/vms/{id}"), r#"{"ram_mb":1024}"#),
        (Method::PATCH, format!("/api/vms/{id}"), r#"{"auto_start":true}"#),
        (Method::PATCH, format!("/api/vms/{id}"), r#"{"stop_at":""}"#),
        (Method::POST, format!("/api/vms/{id}/operations/1/cancel"), ""),
        (Method::POST, format!("/api/vms/{id}/shares"), r#"{"username":"dave","access":"view"}"#),
        (Method::GET, format!("/api/vms/{id}/shares"), ""),
    ] {
        let status = carol.json(method.clone(), &path, body).await.status;
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path} {body}");
    }
    let several =
        carol.form("/api/v1/act_on_vms", &[("vm_ids[0]", &id.to_string()), ("action", "stop")]).await;
    assert_eq!(several.status, StatusCode::FORBIDDEN, "{}", several.text);
    assert_eq!(
        carol.get(&format!("/api/v1/vm_vagrantfiles?vm_id={id}")).await.status,
        StatusCode::FORBIDDEN,
        "it may hold what the owner's script holds"
    );
    assert_eq!(shared.bob.vm("web-1").await["status"], "running");
    assert_eq!(shared.dave.get(&format!("/api/vms/{id}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_user_who_may_operate_can_start_and_stop_but_owns_nothing() {
    let fleet = Fleet::new();
    let mut shared = Shared::begin(&fleet).await;
    shared.share("carol", "view").await;
    shared.share("Carol", "operate").await;
    let id = shared.vm_id;
    assert_eq!(shared.act(&shared.carol, json!({ "action": "stop" })).await, StatusCode::ACCEPTED);
    shared.server.wait_until_idle().await;
    fleet.ticks(&mut shared.server, 1).await;
    let vm = shared.carol.vm("web-1").await;
    assert_eq!((&vm["status"], &vm["access"]), (&json!("stopped"), &json!("operate")));
    let allowed = vm["allowed"].as_array().unwrap();
    assert!(allowed.contains(&json!("start")), "{allowed:?}");
    assert!(!allowed.contains(&json!("destroy")) && !allowed.contains(&json!("resize")), "{allowed:?}");
    let saved = json!({ "action": "snapshot_save", "snapshot": "one" });
    assert_eq!(shared.act(&shared.carol, saved).await, StatusCode::ACCEPTED);
    shared.server.wait_until_idle().await;
    let path = format!("/api/vms/{id}");
    assert_eq!(shared.carol.json(Method::PATCH, &path, r#"{"stop_at":""}"#).await.status, StatusCode::OK);
    for body in [r#"{"ram_mb":1024}"#, r#"{"auto_start":true}"#] {
        let status = shared.carol.json(Method::PATCH, &path, body).await.status;
        assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    }
    let destroy = json!({ "action": "destroy", "confirm_name": "web-1" });
    assert_eq!(shared.act(&shared.carol, destroy).await, StatusCode::FORBIDDEN);
    let rule = [
        ("rule[scope]", format!("vm:{id}")),
        ("rule[metric]", "cpu".into()),
        ("rule[threshold]", "90".into()),
        ("rule[for_secs]", "60".into()),
        ("rule[severity]", "warning".into()),
    ];
    let rule = rule.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(shared.carol.form("/api/v1/save_alert_rule", &rule).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_share_ends_at_once_and_each_change_is_an_event() {
    let fleet = Fleet::new();
    let shared = Shared::begin(&fleet).await;
    let id = shared.vm_id;
    shared.share("carol", "view").await;
    shared.share("dave", "operate").await;
    let path = format!("/api/vms/{id}/shares");
    let listed = shared.bob.get(&path).await.json();
    let names: Vec<_> =
        listed.as_array().unwrap().iter().map(|share| (&share["username"], &share["access"])).collect();
    assert_eq!(names, [(&json!("carol"), &json!("view")), (&json!("dave"), &json!("operate"))]);
    let account_of = |at: usize| listed[at]["account_id"].as_i64().unwrap();

    let other = format!("{path}/{}", account_of(1));
    assert_eq!(shared.carol.json(Method::DELETE, &other, "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(shared.bob.json(Method::DELETE, &other, "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(shared.dave.get(&format!("/api/vms/{id}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(shared.dave.get("/api/vms").await.json(), json!([]));
    assert_eq!(shared.bob.json(Method::DELETE, &other, "").await.status, StatusCode::NOT_FOUND, "once");

    let own = format!("{path}/{}", account_of(0));
    assert_eq!(shared.carol.json(Method::DELETE, &own, "").await.status, StatusCode::NO_CONTENT, "left");
    assert_eq!(shared.carol.get(&format!("/api/vms/{id}")).await.status, StatusCode::NOT_FOUND);

    let events = shared.server.events().await;
    let texts: Vec<_> = events
        .iter()
        .filter(|(kind, _)| kind.starts_with("vm_share"))
        .map(|(_, text)| text.as_str())
        .collect();
    assert_eq!(
        texts,
        [
            "carol gave up the access to web-1.",
            "bob ended dave's access to web-1.",
            "bob shared web-1 with dave, to operate.",
            "bob shared web-1 with carol, to view."
        ]
    );
    let seen = shared.dave.get("/api/v1/events").await.text;
    assert!(seen.contains("bob ended dave's access"), "whom it concerns sees it: {seen}");
    assert!(!seen.contains("carol gave up"), "and nothing else: {seen}");
}

#[tokio::test]
async fn a_share_is_checked() {
    let fleet = Fleet::new();
    let shared = Shared::begin(&fleet).await;
    for (username, access, field) in [
        ("nobody", "view", "username"),
        ("bob", "view", "username"),
        ("carol", "own", "access"),
        ("carol", "", "access"),
    ] {
        let (status, answer) = shared.request_share(username, access).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{username} {access}");
        assert_eq!(answer["fields"][0]["field"], field, "{answer}");
    }
    assert_eq!(shared.carol.get("/api/vms").await.json(), json!([]));
}

#[tokio::test]
async fn a_destroyed_vm_is_shared_with_nobody() {
    let fleet = Fleet::new();
    let mut shared = Shared::begin(&fleet).await;
    shared.share("carol", "operate").await;
    assert_eq!(shared.bob.destroy(shared.vm_id, "web-1").await.status, StatusCode::OK);
    shared.server.wait_until_idle().await;
    fleet.ticks(&mut shared.server, 1).await;
    assert_eq!(shared.carol.get("/api/vms").await.json(), json!([]));
    let events = shared.carol.get("/api/v1/events").await.text;
    assert!(!events.contains("launched"), "nor are its events: {events}");
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM vm_share")
        .fetch_one(shared.server.state.database.read())
        .await
        .unwrap();
    assert_eq!(left, 0);
}
