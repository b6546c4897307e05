//! The real router with a simulated fleet, for unauthenticated clients, a user and an admin.

use crate::support::{
    self, Client, PASSWORD, Server,
    fleet::{Fleet, MORNING},
    form_request,
};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::json;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use twarga_cloud::{
    model::{HostUsage, OperationKind, UtcMillis, VmUsage},
    server::{
        commands::{Source, assemble},
        provider::MachineErrorKind,
        vms::Scope,
        web::router,
    },
};

thread_local! {
    static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What this thread's part of the server logs from now on. One subscriber for all threads and all time: where each test
/// has its own, a line that another test meets at the same moment can be taken for one that nobody wants.
struct Log;

impl Log {
    fn begin() -> Self {
        static SUBSCRIBED: Once = Once::new();
        SUBSCRIBED.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| ThisThread).init());
        LOGGED.with_borrow_mut(Vec::clear);
        Self
    }

    fn text(&self) -> String {
        LOGGED.with_borrow(|logged| String::from_utf8_lossy(logged).into_owned())
    }
}

struct ThisThread;

impl std::io::Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| logged.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Calls a server function with some arguments.
pub async fn call(client: &Client, method: &Method, path: &str, arguments: &str) -> StatusCode {
    let request = if *method == Method::GET {
        Request::get(format!("{path}?{arguments}")).body(Body::empty()).unwrap()
    } else {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(arguments.to_owned()))
            .unwrap()
    };
    client.send(request).await.status
}

/// The arguments of a request of each server function, by path. None is destructive: `access.rs` sends each as many callers.
pub fn server_functions() -> BTreeMap<&'static str, &'static str> {
    const FOREIGN_RULE: &str =
        "rule[scope]=vm:1&rule[metric]=cpu&rule[threshold]=90&rule[for_secs]=60&rule[severity]=warning";
    BTreeMap::from([
        ("/api/v1/register", "username=&email=&password="),
        ("/api/v1/sign_in", "username=x&password=y"),
        ("/api/v1/sign_out", ""),
        ("/api/v1/current_user", ""),
        ("/api/v1/instance", ""),
        ("/api/v1/set_theme", "theme=dark"),
        ("/api/v1/change_password", "old_password=x&new_password=another+long+one"),
        ("/api/v1/my_second_factor", ""),
        ("/api/v1/begin_second_factor", ""),
        ("/api/v1/confirm_second_factor", "code=x"),
        ("/api/v1/renew_recovery_codes", ""),
        ("/api/v1/remove_second_factor", ""),
        ("/api/v1/confirm_password", "password=x&code=y&next=%2Faccount"),
        ("/api/v1/remove_account_second_factor", "account_id=999"),
        // The admin has none, so it is rejected.
        ("/api/v1/require_second_factor", "is_required=true"),
        ("/api/v1/my_devices", ""),
        ("/api/v1/open_terminal", "vm_id=1&columns=80&rows=24"),
        ("/api/v1/list_vm_terminals", "vm_id=1"),
        ("/api/v1/list_terminals", ""),
        ("/api/v1/attach_terminal", "terminal_id=999"),
        ("/api/v1/end_terminal", "terminal_id=999"),
        ("/api/v1/end_all_terminals", ""),
        ("/api/v1/list_ssh_keys", ""),
        ("/api/v1/ssh_gateway", ""),
        ("/api/v1/add_ssh_key", "public_key=x&name=laptop"),
        ("/api/v1/delete_ssh_key", "key_id=999"),
        // The admin's own session is the first one.
        ("/api/v1/end_session", "session_id=1"),
        ("/api/v1/end_other_sessions", ""),
        ("/api/v1/accounts", ""),
        ("/api/v1/create_account", "username=eve&email=e@x&password=long+enough+a+word&role=admin"),
        ("/api/v1/set_account_active", "account_id=1&is_active=false"),
        ("/api/v1/set_account_role", "account_id=999&role=admin"),
        ("/api/v1/grant_credits", "account_id=2&amount=1000&reason=mine"),
        ("/api/v1/create_invitation", "days=7&role=admin&credits=1000&note=eve"),
        ("/api/v1/invitations", ""),
        ("/api/v1/revoke_invitation", "invitation_id=999"),
        ("/api/v1/create_password_link", "account_id=999"),
        ("/api/v1/new_link", ""),
        ("/api/v1/set_password_by_link", "link=x&new_password=another+long+one"),
        ("/api/v1/images", ""),
        ("/api/v1/list_vms", ""),
        ("/api/v1/launch_vm", "name=x&image=y&ram_mb=1&cpu_cores=1&disk_gb=1"),
        ("/api/v1/preview_vagrantfile", "name=web-9&image=debian-12&ram_mb=512&cpu_cores=1&disk_gb=10"),
        ("/api/v1/start_vm", "vm_id=1"),
        ("/api/v1/stop_vm", "vm_id=1"),
        ("/api/v1/act_on_vms", "vm_ids[0]=1&action=stop"),
        ("/api/v1/destroy_vm", "vm_id=1&confirm_name=other"),
        ("/api/v1/launch_limits", ""),
        ("/api/v1/my_quota", ""),
        ("/api/v1/check_quota", "image=debian-12&ram_mb=512&cpu_cores=1&disk_gb=10"),
        ("/api/v1/force_stop_vm", "vm_id=1"),
        ("/api/v1/restart_vm", "vm_id=1"),
        ("/api/v1/suspend_vm", "vm_id=1"),
        ("/api/v1/resume_vm", "vm_id=1"),
        ("/api/v1/resize_vm", "vm_id=1&ram_mb=1024&cpu_cores=1&disk_gb=50"),
        ("/api/v1/vm_snapshots", "vm_id=1"),
        ("/api/v1/save_snapshot", "vm_id=1&snapshot=x"),
        ("/api/v1/restore_snapshot", "vm_id=1&snapshot=x"),
        ("/api/v1/delete_snapshot", "vm_id=1&snapshot=x"),
        ("/api/v1/set_auto_start", "vm_id=1&auto_start=true"),
        ("/api/v1/stop_after", "vm_id=1&hours=1"),
        ("/api/v1/stop_at", "vm_id=1&at="),
        ("/api/v1/vm_vagrantfiles", "vm_id=1"),
        ("/api/v1/vm_operations", "vm_id=1"),
        ("/api/v1/cancel_operation", "vm_id=1&operation_id=1"),
        ("/api/v1/vm_shares", "vm_id=1"),
        ("/api/v1/share_vm", "vm_id=1&username=bob&access=view"),
        ("/api/v1/end_vm_share", "vm_id=1&account_id=2"),
        ("/api/v1/stop_all_vms", "confirm=stop"),
        ("/api/v1/orphans", ""),
        ("/api/v1/adopt_orphan", "folder=user1-web-1"),
        ("/api/v1/clean_up_orphan", "folder=user1-web-1&confirm_name=user1-web-1"),
        ("/api/v1/release_vm", "vm_id=1"),
        ("/api/v1/adoptable_machines", ""),
        ("/api/v1/adopt_machine", "id=x&name=web-1"),
        ("/api/v1/operation_output", "vm_id=1&operation_id=1"),
        ("/api/v1/metrics_since", "vm_id=1"),
        ("/api/v1/vm_metrics", "vm_id=1"),
        ("/api/v1/vm_history", "vm_id=1&metric_name=vm_cpu_percent"),
        ("/api/v1/host_history", "metric_name=host_cpu_percent"),
        ("/api/v1/vm_ranges", "vm_ids[0]=1&metric_names[0]=vm_cpu_percent"),
        ("/api/v1/host_ranges", "metric_names[0]=host_cpu_percent"),
        ("/api/v1/vm_charts", "vm_id=1"),
        ("/api/v1/host_charts", ""),
        ("/api/v1/vm_statistics", "vm_id=1&metric_name=vm_cpu_percent"),
        ("/api/v1/host_statistics", "metric_name=host_cpu_percent"),
        ("/api/v1/vm_events", "vm_id=1"),
        ("/api/v1/events", "query[severity]=error"),
        ("/api/v1/my_notifications", ""),
        ("/api/v1/set_webhook", "url="),
        ("/api/v1/set_email_notifications", "is_on=false"),
        ("/api/v1/confirm_email", "link=x"),
        ("/api/v1/set_notify_of_all", "is_on=true"),
        ("/api/v1/test_notification", "channel=webhook"),
        ("/api/v1/alert_rules", ""),
        ("/api/v1/save_alert_rule", FOREIGN_RULE),
        ("/api/v1/delete_alert_rule", "rule_id=1"),
        ("/api/v1/acknowledge_alert", "alert_id=1"),
        ("/api/v1/open_alerts", ""),
        ("/api/v1/open_alert_count", ""),
        ("/api/v1/alert_history", ""),
        ("/api/v1/collector_health", ""),
        ("/api/v1/store_health", ""),
    ])
}

/// The registered server functions and how they are called.
pub fn registered_server_functions() -> BTreeMap<String, Method> {
    leptos::server_fn::axum::server_fn_paths().map(|(path, method)| (path.to_owned(), method)).collect()
}

#[tokio::test]
async fn the_first_account_is_the_admin_and_the_next_one_is_not() {
    let server = Fleet::new().serve(0).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    assert_eq!(ada.get("/api/auth/me").await.json()["role"], "admin");
    assert_eq!(bob.get("/api/auth/me").await.json()["role"], "user");
    assert_eq!(server.anonymous().get("/api/auth/me").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_taken_name_is_reported_at_its_field() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let body = format!(r#"{{"username":"ADA","email":"other@example.org","password":"{PASSWORD}"}}"#);
    let answer = server.anonymous().json(Method::POST, "/api/auth/register", &body).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.json()["fields"][0]["field"], "username");
    let answer = server.anonymous().json(Method::POST, "/api/auth/register", "{\"username\":").await;
    assert_eq!((answer.status, answer.json()["code"].clone()), (StatusCode::BAD_REQUEST, json!("invalid")));
}

#[tokio::test]
async fn a_session_is_a_cookie_that_scripts_cannot_read_and_ends_at_sign_out() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let fields = [("username", "ada"), ("password", PASSWORD)];
    let answer = server.anonymous().form("/api/v1/sign_in", &fields).await;
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    for word in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(word), "{word} is missing in {cookie}");
    }
    let session = cookie.split(';').next().unwrap().to_owned();
    let with_cookie = |mut request: Request<Body>, site: &str| {
        request.headers_mut().insert(header::COOKIE, session.parse().unwrap());
        request.headers_mut().insert("sec-fetch-site", site.parse().unwrap());
        request
    };
    let user = || with_cookie(form_request("/api/auth/me", &[]), "same-origin");
    let get_me = || {
        let mut request = user();
        *request.method_mut() = Method::GET;
        let anonymous = server.anonymous();
        async move { anonymous.send(request).await }
    };
    assert_eq!(get_me().await.json()["username"], "ada");

    let elsewhere = with_cookie(form_request("/api/v1/sign_out", &[]), "cross-site");
    assert_eq!(server.anonymous().send(elsewhere).await.status, StatusCode::FORBIDDEN);
    assert_eq!(get_me().await.status, StatusCode::OK, "another site's page cannot sign anybody out");

    let ours = with_cookie(form_request("/api/v1/sign_out", &[]), "same-origin");
    assert_eq!(server.anonymous().send(ours).await.status, StatusCode::OK);
    assert_eq!(get_me().await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_is_not_in_the_database_and_a_cookies_token_is_no_bearer_token() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let fields = [("username", "ada"), ("password", PASSWORD)];
    let answer = server.anonymous().form("/api/v1/sign_in", &fields).await;
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    let token = cookie.split(['=', ';']).nth(1).unwrap().to_owned();
    let mut request = form_request("/api/auth/me", &[]);
    *request.method_mut() = Method::GET;
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    assert_eq!(server.anonymous().send(request).await.status, StatusCode::UNAUTHORIZED);
    for file in fs::read_dir(&server.data_dir).unwrap().flatten().filter(|f| f.path().is_file()) {
        let bytes = fs::read(file.path()).unwrap();
        for secret in [token.as_bytes(), PASSWORD.as_bytes()] {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret), "{:?} holds a secret", file.path());
        }
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_give_the_same_answer() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let wrong =
        server.anonymous().form("/api/auth/login", &[("username", "ada"), ("password", "nonsense!!")]).await;
    let unknown =
        server.anonymous().form("/api/auth/login", &[("username", "eve"), ("password", "nonsense!!")]).await;
    assert_eq!((wrong.status, &wrong.text), (unknown.status, &unknown.text));
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_vm_is_launched_watched_stopped_started_and_destroyed() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    let answer = ada.launch("web-1", "debian-12").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let vm_id = answer.json()["vm_id"].as_i64().unwrap();
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 3).await;

    let vm = ada.vm("web-1").await;
    assert_eq!((&vm["status"], &vm["operation"]["state"]), (&json!("running"), &json!("succeeded")));
    let metrics = ada.get(&format!("/api/metrics/vm/{vm_id}")).await.json();
    assert_eq!(metrics["sources"]["cpu"], "simulated");
    assert!(metrics["cpu_percent"].as_f64().is_some_and(|cpu| (0.0..=100.0).contains(&cpu)), "{metrics}");
    let folder = server.vm_folder(1, "web-1");
    let info: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.join(".vm_info")).unwrap()).unwrap();
    assert_eq!(info["cpu_percent"], metrics["cpu_percent"]);
    assert_eq!(info["last_metrics_update"], metrics["timestamp"]);

    assert_eq!(ada.act("stop", vm_id).await.status, StatusCode::OK);
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 1).await;
    let vm = ada.vm("web-1").await;
    assert_eq!((&vm["status"], &vm["figures"]["uptime_seconds"]), (&json!("stopped"), &json!(0)));
    assert_eq!(vm["figures"]["cpu_percent"], json!(null), "no value is invented");

    assert_eq!(ada.act("start", vm_id).await.status, StatusCode::OK);
    server.wait_until_idle().await;
    assert_eq!(ada.vm("web-1").await["status"], "running");

    assert_eq!(
        ada.destroy(vm_id, "web-2").await.status,
        StatusCode::BAD_REQUEST,
        "the name is not confirmed"
    );
    assert_eq!(ada.destroy(vm_id, "web-1").await.status, StatusCode::OK);
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 1).await;
    assert_eq!(ada.vm("web-1").await, json!(null));
    assert!(!folder.exists());
    assert_eq!(ada.get(&format!("/api/metrics/vm/{vm_id}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_form_with_nonsense_changes_nothing() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    let fields =
        [("name", "../../etc"), ("image", "beos"), ("ram_mb", "1"), ("cpu_cores", "99"), ("disk_gb", "0")];
    let answer = ada.form("/api/v1/launch_vm", &fields).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let named: Vec<_> = answer.json()["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["field"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(named, ["name", "image", "ram_mb", "cpu_cores", "disk_gb"]);
    let fields =
        [("name", "web-1"), ("image", "debian-12"), ("ram_mb", "lots"), ("cpu_cores", "1"), ("disk_gb", "9")];
    assert_eq!(ada.form("/api/v1/launch_vm", &fields).await.status, StatusCode::BAD_REQUEST);
    let huge = "x".repeat(100_000);
    assert_ne!(
        ada.form("/api/v1/sign_in", &[("username", &huge), ("password", "y")]).await.status,
        StatusCode::OK
    );
    assert_eq!(ada.get("/api/vms").await.json(), json!([]));
    assert!(!server.data_dir.join("vms").exists());
}

#[tokio::test]
async fn a_name_serves_one_vm_of_an_owner_and_anothers_too() {
    let server = Fleet::new().serve(0).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    assert_eq!(ada.launch("web-1", "debian-12").await.status, StatusCode::OK);
    let clash = ada.launch("WEB-1", "debian-12").await;
    assert_eq!(
        (clash.status, clash.json()["fields"][0]["field"].clone()),
        (StatusCode::CONFLICT, json!("name"))
    );
    assert_eq!(bob.launch("web-1", "debian-12").await.status, StatusCode::OK);
    server.wait_until_idle().await;
    assert_eq!(bob.get("/api/vms").await.json().as_array().unwrap().len(), 1, "a user sees their own");
    assert_eq!(ada.get("/api/vms").await.json().as_array().unwrap().len(), 2, "an admin sees all");
    fs::create_dir_all(server.vm_folder(1, "left-over")).unwrap();
    let clash = ada.launch("left-over", "debian-12").await;
    assert_eq!(clash.status, StatusCode::CONFLICT);
    assert!(clash.text.contains("is left from an earlier VM"), "{}", clash.text);
}

#[tokio::test]
async fn a_form_with_nonsense_comes_back_without_scripts_with_its_words_and_what_was_entered() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let ada = server.browser("ada").await;
    let fields = [
        ("name", "../../etc"),
        ("image", "debian-12"),
        ("ram_mb", "1"),
        ("cpu_cores", "99"),
        ("disk_gb", "0"),
    ];
    let log = Log::begin();
    let (location, page) = ada.submit("/vms/new?size=small", "/api/v1/launch_vm", &fields).await;
    assert!(location.starts_with("/vms/new?size=small&"), "{location}");
    assert_eq!(page.status, StatusCode::OK);
    let words = page.words();
    for text in [
        "only letters, digits and hyphens",
        "Memory must be ",
        "A VM can have 1 to 8 cores.",
        "The disk must have ",
    ] {
        assert_eq!(words.matches(text).count(), 2, "above the form and at the field: {text}");
    }
    let held = |name| page.field(name);
    assert_eq!(held("name").as_deref(), Some("../../etc"));
    assert_eq!((held("cpu_cores").as_deref(), held("disk_gb").as_deref()), (Some("99"), Some("0")));
    let chosen = page.text.split("<option").find(|option| option.contains(" selected")).unwrap();
    assert!(chosen.contains("debian-12"), "{chosen}");
    assert!(log.text().contains("A VM can have 1 to 8 cores."), "{}", log.text());

    // Sent again from there, the second try counts.
    let fields = [
        ("name", "web-1"),
        ("image", "debian-12"),
        ("ram_mb", "lots"),
        ("cpu_cores", "1"),
        ("disk_gb", "10"),
    ];
    let (location, page) = ada.submit(&location, "/api/v1/launch_vm", &fields).await;
    assert!(page.words().contains("Memory must be 512 to 16384 MB for this image."), "{}", page.words());
    assert_eq!(
        (page.field("name").as_deref(), page.field("ram_mb").as_deref()),
        (Some("web-1"), Some("lots"))
    );
    let fields =
        [("name", "web-1"), ("image", "debian-12"), ("ram_mb", "512"), ("cpu_cores", "1"), ("disk_gb", "10")];
    let (location, page) = ada.submit(&location, "/api/v1/launch_vm", &fields).await;
    assert_eq!((location.as_str(), page.status), ("/vms/1", StatusCode::OK));
}

#[tokio::test]
async fn a_name_clash_comes_back_without_scripts_with_its_words_and_loses_nothing() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    server.user("ada").await;
    let ada = server.browser("ada").await;
    fleet.ticks(&mut server, 1).await;
    fs::create_dir_all(server.vm_folder(1, "left-over")).unwrap();
    fs::write(server.vm_folder(1, "left-over").join("kept"), "mine").unwrap();
    for (name, text) in [
        ("web-1", "You already have a VM called web-1. Choose another name."),
        ("left-over", "is left from an earlier VM of this name."),
    ] {
        let log = Log::begin();
        let fields = [
            ("name", name),
            ("image", "debian-12"),
            ("ram_mb", "512"),
            ("cpu_cores", "1"),
            ("disk_gb", "10"),
        ];
        let (_, page) = ada.submit("/vms/new", "/api/v1/launch_vm", &fields).await;
        assert!(page.words().contains(text), "{}", page.words());
        assert_eq!(page.field("name").as_deref(), Some(name));
        assert!(log.text().contains(text), "{}", log.text());
    }
    fleet.ticks(&mut server, 2).await;
    let vms = ada.get("/api/vms").await.json();
    assert_eq!(vms.as_array().unwrap().len(), 1);
    assert_eq!((&vms[0]["name"], &vms[0]["status"]), (&json!("web-1"), &json!("running")));
    assert!(server.vm_folder(1, "web-1").join(".vm_info").exists());
    assert_eq!(fs::read_to_string(server.vm_folder(1, "left-over").join("kept")).unwrap(), "mine");
}

#[tokio::test]
async fn a_rejected_sign_in_keeps_the_name_and_never_the_password() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let anonymous = server.anonymous();
    let (location, page) = anonymous
        .submit("/sign-in", "/api/v1/sign_in", &[("username", "ada"), ("password", "not-mine")])
        .await;
    assert_eq!(page.field("username").as_deref(), Some("ada"));
    assert!(!location.contains("not-mine") && !page.text.contains("not-mine"), "{location}");
    let fields = [("username", "ADA"), ("email", "x@example.org"), ("password", PASSWORD)];
    let (location, page) = anonymous.submit("/register", "/api/v1/register", &fields).await;
    assert_eq!(page.field("email").as_deref(), Some("x@example.org"));
    assert!(page.words().contains("taken") || page.words().contains("already"), "{}", page.words());
    assert!(!location.contains("correct") && !page.text.contains("correct"), "{location}");
}

#[tokio::test]
async fn the_first_start_leads_to_setup_and_setup_away_once_there_is_an_account() {
    let server = Fleet::new().serve(0).await;
    let anonymous = server.anonymous();
    assert_eq!(anonymous.page("/").await.status, StatusCode::FOUND);
    for path in ["/register", "/sign-in"] {
        let answer = anonymous.page(path).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::FOUND, "/setup"), "{path}");
    }
    let words = anonymous.page("/setup").await.words();
    assert!(words.contains("Simulated fleet") && words.contains("What happens next"), "{words}");

    let code = server.setup_code();
    let fields =
        [("username", "ada"), ("email", "ada@example.org"), ("password", "short"), ("setup_code", code)];
    let (location, page) = anonymous.submit("/setup", "/api/v1/register", &fields).await;
    assert!(location.starts_with("/setup?"), "{location}");
    for secret in ["short", code] {
        assert!(!location.contains(secret) && !page.text.contains(&format!("\"{secret}\"")), "{location}");
    }
    assert_eq!(page.field("username").as_deref(), Some("ada"));
    assert_eq!(page.field("email").as_deref(), Some("ada@example.org"));

    let fields =
        [("username", "ada"), ("email", "ada@example.org"), ("password", PASSWORD), ("setup_code", code)];
    let (location, _) = anonymous.submit(&location, "/api/v1/register", &fields).await;
    assert_eq!(location, "/");
    let away = anonymous.page("/setup").await;
    assert_eq!((away.status, away.location()), (StatusCode::FOUND, "/sign-in"));
    let ada = server.signed_in("ada").await;
    assert_eq!(ada.get("/api/auth/me").await.json()["role"], "admin");
    assert_eq!(ada.page("/setup").await.location(), "/");
    assert_eq!(anonymous.page("/register").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_failed_launch_says_why_and_can_be_tried_again() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    fleet.fail_next(OperationKind::Launch, MachineErrorKind::BoxMissing);
    let vm_id = ada.launch("web-1", "debian-12").await.json()["vm_id"].as_i64().unwrap();
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 2).await;
    let vm = ada.vm("web-1").await;
    assert_eq!(vm["status"], "failed");
    assert!(vm["problem"].as_str().is_some_and(|text| text.len() > 20), "{vm}");
    assert_eq!(vm["operation"]["error"], vm["problem"]);
    assert!(server.events().await.iter().any(|(kind, _)| kind == "vm_operation_failed"));
    let path = format!("/api/v1/operation_output?vm_id={vm_id}&operation_id={}", vm["operation"]["id"]);
    assert!(!ada.get(&path).await.json().as_array().unwrap().is_empty(), "what Vagrant said is kept");

    assert_eq!(ada.act("start", vm_id).await.status, StatusCode::OK);
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 1).await;
    let vm = ada.vm("web-1").await;
    assert_eq!((&vm["status"], &vm["problem"]), (&json!("running"), &json!(null)));
}

#[tokio::test]
async fn what_a_restart_cut_off_is_finished_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new();
    let server = fleet.serve_in(folder.path(), &["--simulated-vms", "0"]).await;
    let ada = server.user("ada").await;
    // A row as a killed server leaves it: the operation is written, nothing of it is done.
    let mut tx = server.state.database.write().await.unwrap();
    sqlx::query(
        "INSERT INTO vm (owner_id, name, image, os_type, vagrant_box, ram_mb, cpu_cores, disk_gb, status, created_at,
         updated_at) VALUES (1, 'web-1', 'debian-12', 'Debian 12', 'x', 512, 1, 10, 'pending', 1, 1)",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO operation (vm_id, kind, state, requested_by, requested_at)
         VALUES (1, 'launch', 'running', 1, 1)",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ada.vm("web-1").await["status"], "pending");
    drop(server);

    let server = fleet.serve_in(folder.path(), &["--simulated-vms", "0"]).await;
    server.wait_until_idle().await;
    let ada = server.signed_in("ada").await;
    assert_eq!(ada.vm("web-1").await["status"], "running");
}

#[tokio::test]
async fn external_changes_are_shown_within_two_ticks() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(3).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 2).await;
    let (first, second, third) = (
        server.domain_uuid("web-1").await,
        server.domain_uuid("db-main").await,
        server.domain_uuid("transcode-1").await,
    );
    assert!(fleet.kill_from_outside(&first));
    assert!(fleet.undefine_from_outside(&second));
    assert!(fleet.stop_from_outside(&third));
    fleet.ticks(&mut server, 2).await;
    let (killed, undefined, stopped) =
        (ada.vm("web-1").await, ada.vm("db-main").await, ada.vm("transcode-1").await);
    assert_eq!(killed["status"], "stopped");
    assert!(killed["problem"].as_str().unwrap().contains("QEMU process crashed or was killed"));
    assert_eq!(undefined["status"], "not_created");
    assert!(undefined["problem"].as_str().unwrap().contains("removed from the hypervisor"));
    assert_eq!(stopped["status"], "stopped");
    let kinds: BTreeSet<_> = server.events().await.into_iter().map(|(kind, _)| kind).collect();
    for kind in ["vm_crashed", "vm_domain_removed", "vm_changed_from_outside"] {
        assert!(kinds.contains(kind), "{kind} is missing in {kinds:?}");
    }
    assert!(fleet.start_from_outside(&third));
    fleet.ticks(&mut server, 2).await;
    assert_eq!(ada.vm("transcode-1").await["status"], "running");
}

#[tokio::test]
async fn a_silent_hypervisor_makes_statuses_unknown_and_its_answer_makes_them_true_again() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 3).await;
    fleet.set_unreachable(true);
    fleet.ticks(&mut server, 2).await;
    let live = ada.get("/api/v1/metrics_since").await.json();
    assert_eq!(live["vms"][0]["status"], "unknown");
    assert_eq!(live["vms"][0]["figures"]["cpu_percent"], json!(null));
    assert!(live["trouble"].as_str().is_some_and(|text| !text.is_empty()));
    let refused = ada.act("stop", 1).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text.contains("is not responding"), "{}", refused.text);
    fleet.set_unreachable(false);
    fleet.ticks(&mut server, 3).await;
    let live = ada.get("/api/v1/metrics_since").await.json();
    assert_eq!((&live["vms"][0]["status"], &live["trouble"]), (&json!("running"), &json!(null)));
    let cpu = live["series"][0]["cpu_percent"].as_array().unwrap();
    let known = |point: &serde_json::Value| point.is_f64();
    let (begin, end) = (cpu.iter().position(known).unwrap(), cpu.iter().rposition(known).unwrap());
    assert!(cpu[begin..end].contains(&json!(null)), "the silence is a gap between known points: {cpu:?}");
}

#[tokio::test]
async fn a_corrupt_vm_info_is_rebuilt_kept_beside_and_reported() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 1).await;
    let folder = server.vm_folder(1, "web-1");
    fs::write(folder.join(".vm_info"), "{\"name\": \"we").unwrap();
    fleet.ticks(&mut server, 1).await;
    let info: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.join(".vm_info")).unwrap()).unwrap();
    assert_eq!(info["name"], "web-1");
    let kept =
        fs::read_dir(&folder).unwrap().flatten().any(|f| f.file_name().to_string_lossy().contains("corrupt"));
    assert!(kept);
    let events = ada.get("/api/v1/vm_events?vm_id=1").await.json();
    assert_eq!(events[0]["kind"], "vm_info_rebuilt");
}

#[tokio::test]
async fn a_poll_brings_only_what_is_new() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(2).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 4).await;
    let first = ada.get("/api/v1/metrics_since").await.json();
    assert_eq!(first["series"].as_array().unwrap().len(), 2);
    assert_eq!(first["series"][0]["sampled_at"].as_array().unwrap().len(), 4);
    let cursor = &first["cursor"];
    let nothing = ada.get(&format!("/api/v1/metrics_since?cursor={cursor}")).await.json();
    assert_eq!(nothing["series"], json!([]));
    fleet.ticks(&mut server, 1).await;
    let next = ada.get(&format!("/api/v1/metrics_since?cursor={cursor}&vm_id=1")).await.json();
    assert_eq!(next["vms"].as_array().unwrap().len(), 1);
    assert_eq!(next["series"][0]["sampled_at"], json!([next["cursor"]]));
    let [cursor, version] = ["cursor", "version"].map(|key| first[key].clone());
    let version = version.as_str().unwrap();
    let poll = format!("/api/v1/metrics_since?cursor={cursor}&window_secs=900&version={version}");
    assert_eq!(ada.get(&format!("{poll}&vm_id=1")).await.json(), next);
    let of_all = ada.get(&poll).await.json();
    assert_eq!((of_all["vms"].clone(), of_all["figures"].as_array().unwrap().len()), (json!([]), 2));
}

#[tokio::test]
async fn history_is_read_by_name_newest_first_and_within_its_bounds() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 6).await;
    let path = "/api/metrics/vm/1/history?metric_name=vm_memory_used_mb";
    let history = ada.get(&format!("{path}&limit=3")).await.json();
    assert_eq!((&history["vm_id"], &history["count"]), (&json!(1), &json!(3)));
    let times: Vec<_> =
        history["data"].as_array().unwrap().iter().map(|p| p["timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a > b), "{times:?}");
    assert_eq!(history["data"][0]["unit"], "MB");
    for limit in ["0", "10001", "-1", "x"] {
        let answer = ada.get(&format!("{path}&limit={limit}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{limit}: {}", answer.text);
        assert!(answer.text.contains("from 1 to 10000"), "{limit}: {}", answer.text);
    }
    for span in [
        "limit=10&to=2000-01-01T00:00:00Z",
        "from=2099-01-01T00:00:00Z",
        "from=2000-01-01T00:00:00Z&to=2001-01-01T00:00:00Z",
    ] {
        let empty = ada.get(&format!("{path}&{span}")).await;
        assert_eq!((empty.status, empty.json()["count"].clone()), (StatusCode::OK, json!(0)), "{span}");
    }
    let unknown = ada.get("/api/metrics/vm/1/history?metric_name=vm_loudness").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.text.contains("vm_cpu_percent"), "{}", unknown.text);
    let of_host = ada.get("/api/metrics/host/history?metric_name=host_memory_percent").await.json();
    assert_eq!((&of_host["vm_id"], &of_host["count"]), (&json!(null), &json!(6)));
    let (from, to) = (times[2], times[0]);
    let within = ada.get(&format!("{path}&from={from}&to={to}")).await.json();
    assert_eq!(within["count"], 3);
    let means = ada.get(&format!("{path}&from={from}&to={to}&points=1")).await.json();
    assert_eq!(means["count"], 1);
    let (min, mean, max) = (&means["data"][0]["min"], &means["data"][0]["value"], &means["data"][0]["max"]);
    assert!(min.as_f64() <= mean.as_f64() && mean.as_f64() <= max.as_f64(), "{means}");

    // The view shows what the paths do.
    let (value, unit): (f64, String) = sqlx::query_as(
        "SELECT value, unit FROM metric WHERE vm_id = 1 AND name = 'vm_memory_used_mb' ORDER BY timestamp DESC LIMIT 1",
    )
    .fetch_one(server.state.database.read())
    .await
    .unwrap();
    assert_eq!(
        (json!((value * 100.0).round() / 100.0), unit.as_str()),
        (history["data"][0]["value"].clone(), "MB")
    );
}

#[tokio::test]
async fn charts_statistics_and_files_are_of_ones_own_vms() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(2).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    fleet.ticks(&mut server, 6).await;
    let both =
        "vm_ids[0]=1&vm_ids[1]=2&metric_names[0]=vm_cpu_percent&metric_names[1]=vm_network_rx_mb_per_s";
    let ranges = ada.get(&format!("/api/v1/vm_ranges?{both}")).await.json();
    let series: Vec<_> =
        ranges.as_array().unwrap().iter().map(|r| (&r["vm_id"], &r["metric_name"])).collect();
    assert_eq!(series.len(), 4);
    assert_eq!(ranges[0]["at"].as_array().unwrap().len(), ranges[0]["max"].as_array().unwrap().len());
    let none = ada.get("/api/v1/vm_ranges?vm_ids[0]=1&metric_names[0]=vm_loudness").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    let of_all = ada.get("/api/v1/vm_ranges?vm_ids[0]=1&vm_ids[1]=77&metric_names[0]=vm_cpu_percent").await;
    assert_eq!(of_all.status, StatusCode::NOT_FOUND);

    let statistics = ada.get("/api/metrics/vm/1/statistics?metric_name=vm_uptime").await.json();
    assert_eq!(statistics["count"], 6);
    assert!(
        statistics["min"].as_f64() < statistics["p95"].as_f64() && statistics["p95"] == statistics["max"],
        "{statistics}"
    );

    let csv = ada.get("/api/metrics/vm/1/export").await;
    assert_eq!(csv.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8");
    assert_eq!(csv.text.lines().count(), 7, "{}", csv.text);
    assert!(csv.text.lines().next().unwrap().starts_with("timestamp,vm_cpu_percent,"), "{}", csv.text);
    let rows = ada.get("/api/metrics/host/export?format=json").await.json();
    assert_eq!(rows.as_array().unwrap().len(), 6);
    let compressed =
        Request::get("/api/metrics/host/export?format=json").header(header::ACCEPT_ENCODING, "gzip");
    let compressed = ada.send(compressed.body(Body::empty()).unwrap()).await;
    assert_eq!(compressed.headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(ada.get("/api/metrics/vm/1/export?format=xml").await.status, StatusCode::BAD_REQUEST);
    let later = ada.get("/api/metrics/host/export?format=json&from=2099-01-01T00:00:00Z").await;
    assert_eq!(later.json(), json!([]));
    let too_much = ada.get(&format!("/api/v1/vm_ranges?{both}&points=0")).await;
    assert_eq!(too_much.status, StatusCode::BAD_REQUEST);
    for path in ["statistics?metric_name=vm_uptime", "export"] {
        assert_eq!(
            bob.get(&format!("/api/metrics/vm/1/{path}")).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
        let anonymous = server.anonymous().get(&format!("/api/metrics/vm/1/{path}")).await;
        assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn old_samples_are_deleted_and_recent_ones_kept() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 4).await;
    server.state.store.delete_before(UtcMillis(MORNING.0 + 10_500)).await.unwrap();
    let history = ada.get("/api/metrics/vm/1/history?metric_name=vm_uptime").await.json();
    assert_eq!(history["count"], 2);
}

#[tokio::test]
async fn pages_are_there_without_scripts() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(2).await;
    assert_eq!(server.anonymous().page("/").await.status, StatusCode::FOUND);
    let first = server.anonymous().page("/sign-in").await;
    assert_eq!((first.status, first.location()), (StatusCode::FOUND, "/setup"));
    let ada = server.user("ada").await;
    let again = server.anonymous().page("/").await;
    assert_eq!((again.status, again.location()), (StatusCode::FOUND, "/sign-in"));
    fleet.ticks(&mut server, 3).await;
    let overview = ada.page("/").await;
    assert_eq!(overview.status, StatusCode::OK);
    for word in ["web-1", "db-main", "running", "Simulated fleet", " %"] {
        assert!(overview.text.contains(word), "{word} is missing");
    }
    let monitor = ada.page("/monitor").await;
    assert!(monitor.text.contains("Collector") && monitor.text.contains("2 simulated"), "for the admin");
    let of_user = server.user("bob").await.page("/monitor").await;
    assert!(!of_user.text.contains("Collector"));
    let policy = overview.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("script-src 'self' 'nonce-"), "{policy}");
    assert_eq!(ada.page("/vms/1").await.status, StatusCode::OK);
    let nowhere = ada.page("/nowhere").await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
    assert!(nowhere.text.contains("Simulated fleet"), "the banner is on every page");
    let unknown = ada.get("/api/nowhere").await;
    assert_eq!((unknown.status, unknown.json()["code"].clone()), (StatusCode::NOT_FOUND, json!("not_found")));
}

/// Leptos keeps every resource of the process from loading while it lists the routes of a router, so building one must not
/// leave a page that is being rendered waiting forever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_rendered_completely_while_other_routers_are_built() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(2).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 1).await;
    let (state, pages_are_rendered) = (server.state.clone(), Arc::new(AtomicBool::new(false)));
    let stop = pages_are_rendered.clone();
    let building = tokio::task::spawn_blocking(move || {
        while !stop.load(Ordering::Relaxed) {
            drop(router(state.clone()));
        }
    });
    let mut incomplete = 0;
    for _ in 0..20 {
        let page = tokio::time::timeout(Duration::from_secs(10), ada.page("/vms/1")).await;
        incomplete += usize::from(!page.is_ok_and(|page| page.text.contains("</html>")));
    }
    pages_are_rendered.store(true, Ordering::Relaxed);
    building.await.unwrap();
    assert_eq!(incomplete, 0);
}

/// A user's open alerts of VMs: the VM's name and the alert's metric.
async fn open_alerts(client: &Client) -> Vec<(String, String)> {
    let alerts = client.vm_alerts().await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    alerts.iter().map(|alert| (text(&alert["vm_name"]), text(&alert["metric"]))).collect()
}

fn cpu_of(vm: &str) -> Vec<(String, String)> {
    vec![(vm.to_owned(), "cpu".to_owned())]
}

/// A running VM with metrics of bob, who is not an admin; returns bob's client and its id.
async fn bobs_vm(fleet: &Fleet, server: &mut Server, name: &str) -> (Client, i64) {
    let bob = server.user("bob").await;
    let vm_id = bob.launch(name, "debian-12").await.json()["vm_id"].as_i64().unwrap();
    server.wait_until_idle().await;
    fleet.ticks(server, 2).await;
    (bob, vm_id)
}

#[tokio::test]
async fn a_vm_that_is_busy_for_a_minute_is_an_alert_of_its_owners_and_the_admins() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    let (ada, carl) = (server.user("ada").await, server.user("carl").await);
    let (bob, vm_id) = bobs_vm(&fleet, &mut server, "web-1").await;
    let uuid = server.domain_uuid("web-1").await;
    assert!(fleet.keep_busy(&uuid, Some(0.93)));
    fleet.ticks(&mut server, 12).await;
    assert_eq!(open_alerts(&bob).await, [], "not before its time");
    fleet.ticks(&mut server, 1).await;
    assert_eq!(open_alerts(&bob).await, cpu_of("web-1"));
    assert_eq!(open_alerts(&ada).await, cpu_of("web-1"), "an admin sees all");
    assert_eq!(open_alerts(&carl).await, []);

    let page = bob.page(&format!("/vms/{vm_id}")).await.words();
    let event = "web-1's CPU has been at 90 % or more for 60 s; 93 % now.";
    for words in ["1 open alert", "CPU at 90 % or more", event] {
        assert!(page.contains(words), "{words} is missing in {page}");
    }
    assert!(bob.page("/").await.words().contains("1 open alert"));
    assert!(carl.page("/").await.words().contains("No open alerts"));
    let live = carl.get("/api/v1/metrics_since").await.json();
    assert_eq!(live["alerts"], json!([]));
    assert_eq!(bob.get("/api/v1/metrics_since").await.json()["alerts"][0]["raised_value"], 93.0);

    fleet.ticks(&mut server, 30).await;
    assert_eq!(open_alerts(&bob).await, cpu_of("web-1"), "it is one alert, however long it lasts");
    assert!(fleet.keep_busy(&uuid, Some(0.2)));
    fleet.ticks(&mut server, 12).await;
    assert_eq!(open_alerts(&bob).await, cpu_of("web-1"), "a moment of relief is none");
    fleet.ticks(&mut server, 2).await;
    assert_eq!(open_alerts(&bob).await, []);
    let history = bob.get("/api/v1/alert_history").await.json();
    assert_eq!(history.as_array().unwrap().len(), 1);
    let id = history[0]["id"].as_i64().unwrap();
    assert_eq!(bob.get(&format!("/api/v1/alert_history?before={id}")).await.json(), json!([]));
    assert_eq!(bob.get(&format!("/api/v1/alert_history?before={}", id + 1)).await.json(), history);
    assert_eq!((&history[0]["threshold"], &history[0]["resolved_value"]), (&json!(90.0), &json!(20.0)));
    let texts = server.events().await.into_iter().filter(|(kind, _)| kind.starts_with("alert_"));
    let texts: Vec<_> = texts.map(|(_, text)| text).filter(|text| text.contains("web-1")).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
}

#[tokio::test]
async fn an_alert_ends_with_the_vm_that_stops_or_is_destroyed() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    server.user("ada").await;
    let (bob, vm_id) = bobs_vm(&fleet, &mut server, "web-1").await;
    let uuid = server.domain_uuid("web-1").await;
    assert!(fleet.keep_busy(&uuid, Some(1.0)));
    fleet.ticks(&mut server, 14).await;
    assert_eq!(open_alerts(&bob).await, cpu_of("web-1"));
    bob.act("stop", vm_id).await;
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 1).await;
    assert_eq!(open_alerts(&bob).await, []);
    let over = "The alert about web-1's CPU is resolved: the VM is no longer running.";
    assert!(server.events().await.iter().any(|(_, text)| text == over));

    bob.act("start", vm_id).await;
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 15).await;
    assert_eq!(open_alerts(&bob).await, cpu_of("web-1"));
    bob.destroy(vm_id, "web-1").await;
    server.wait_until_idle().await;
    assert_eq!(open_alerts(&bob).await, [], "what is destroyed is seen by nobody, before any tick");
    fleet.ticks(&mut server, 1).await;
    let open: i64 = sqlx::query_scalar("SELECT count(*) FROM alert WHERE vm_id = ? AND resolved_at IS NULL")
        .bind(vm_id)
        .fetch_one(server.state.database.read())
        .await
        .unwrap();
    assert_eq!(open, 0);
}

#[tokio::test]
async fn a_restart_neither_doubles_nor_loses_an_open_alert() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new();
    let start = async || fleet.serve_in(folder.path(), &["--simulated-vms", "1"]).await;
    let mut server = start().await;
    server.user("ada").await;
    fleet.ticks(&mut server, 2).await;
    let uuid = server.domain_uuid("web-1").await;
    assert!(fleet.keep_busy(&uuid, Some(1.0)));
    fleet.ticks(&mut server, 14).await;
    drop(server);

    let mut server = start().await;
    let ada = server.signed_in("ada").await;
    assert_eq!(open_alerts(&ada).await, cpu_of("web-1"), "before the first tick");
    fleet.ticks(&mut server, 30).await;
    assert_eq!(open_alerts(&ada).await, cpu_of("web-1"));
    drop(server);

    let mut server = start().await;
    let ada = server.signed_in("ada").await;
    assert!(fleet.keep_busy(&uuid, Some(0.1)));
    fleet.ticks(&mut server, 15).await;
    assert_eq!(open_alerts(&ada).await, []);
    let raised = server
        .events()
        .await
        .into_iter()
        .filter(|(kind, text)| kind == "alert_raised" && text.contains("web-1"));
    assert_eq!(raised.count(), 1);
}

#[tokio::test]
async fn the_hosts_alerts_are_the_admins_alone() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let full = HostUsage { disk_percent: Some(97.0), ..HostUsage::default() };
    for secs in (0..=60).step_by(5) {
        let at = MORNING.plus_secs(secs);
        server.collector.alerts.evaluate(at, &full, &[], None).await.unwrap();
    }
    let alerts = ada.get("/api/v1/open_alerts").await.json();
    assert_eq!((&alerts[0]["metric"], &alerts[0]["vm_id"]), (&json!("disk"), &json!(null)));
    assert_eq!(ada.get("/api/v1/open_alert_count").await.json(), alerts.as_array().unwrap().len());
    assert_eq!(bob.get("/api/v1/open_alerts").await.json(), json!([]));
    assert_eq!(bob.get("/api/v1/open_alert_count").await.json(), 0);
    assert_eq!(bob.get("/api/v1/alert_history").await.json(), json!([]));
    assert!(ada.page("/").await.words().contains("Host: Disk at 90 % or more"));
}

#[tokio::test]
async fn a_vm_that_runs_and_sends_nothing_is_an_alert() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 1).await;
    let mut silent = server.state.vms.list(Scope::All).await.unwrap();
    silent[0].usage = VmUsage::default();
    let host = HostUsage::default();
    for secs in (10..=70).step_by(5) {
        let at = MORNING.plus_secs(secs);
        server.collector.alerts.evaluate(at, &host, &silent, None).await.unwrap();
    }
    assert_eq!(open_alerts(&ada).await, [("web-1".to_owned(), "figures".to_owned())]);
    let problem = "web-1 is running but has reported no metrics for 60 s.";
    assert!(ada.page("/vms/1").await.words().contains(problem));
}

#[tokio::test]
async fn real_and_simulated_vms_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    drop(Fleet::new().serve_in(folder.path(), &["--simulated-vms", "0"]).await);
    let arguments = support::arguments(folder.path(), &["--provider", "vagrant"]);
    let source = Source::new(&arguments);
    let error = assemble(&arguments, support::asset_urls(), source).await.err().unwrap();
    assert!(error.contains("--provider simulated"), "{error}");
}

#[tokio::test]
async fn a_page_that_came_without_its_style_sheet_says_what_to_do() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    for path in ["/", "/account", "/cloud/"] {
        let page = ada.page(path).await;
        assert!(page.text.contains("class=\"without-styles\""), "{path}: {}", page.text);
        assert!(page.words().contains("works at the root of a host name, not below a path"), "{path}");
    }
    let styles = include_str!("../../style/base.css");
    assert!(styles.contains(".without-styles { display: none; }"), "the notice is hidden on all other pages");
}
