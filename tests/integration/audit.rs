//! The audit trail: which events there are, who did it and from where, who sees that, and what keeps it whole.

use crate::{
    api::{registered_server_functions, server_functions},
    support::{Answer, Client, PASSWORD, Server, fleet::Fleet, form_request, http, process::Process},
};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Write, net::SocketAddr};

const HERE: &str = "192.0.2.7:4711";
const THERE: &str = "198.51.100.1:4711";
const NEW_PASSWORD: &str = "another long password";

/// An event as it is stored.
#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Stored {
    kind: String,
    text: String,
    doer: Option<i64>,
    address: Option<String>,
    session_id: Option<i64>,
    request_id: Option<String>,
}

/// The events of these kinds, oldest first.
async fn stored(server: &Server, kinds: &'static str) -> Vec<Stored> {
    sqlx::query_as(
        "SELECT kind, text, coalesce(done_by, account_id) AS doer, address, session_id, request_id FROM event
         WHERE kind LIKE ? ORDER BY id",
    )
    .bind(kinds)
    .fetch_all(server.state.database.read())
    .await
    .unwrap()
}

async fn security_texts(server: &Server, kind: &'static str) -> Vec<String> {
    server.state.events.record_counted(true).await;
    stored(server, kind).await.into_iter().map(|event| event.text).collect()
}

fn request_id(answer: &Answer) -> String {
    answer.headers["x-request-id"].to_str().unwrap().to_owned()
}

async fn post(client: &Client, endpoint: &str, fields: &str) -> Answer {
    let request = Request::post(format!("/api/v1/{endpoint}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(fields.to_owned()))
        .unwrap();
    client.send(request).await
}

async fn newest_session(server: &Server) -> i64 {
    sqlx::query_scalar("SELECT max(id) FROM session").fetch_one(server.state.database.read()).await.unwrap()
}

#[tokio::test]
async fn a_sign_in_and_a_sign_out_are_events_with_address_session_and_request() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let mut request = form_request("/api/v1/sign_in", &[("username", "ADA"), ("password", PASSWORD)]);
    request.headers_mut().insert(
        header::USER_AGENT,
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".parse().unwrap(),
    );
    let signed_in = server.anonymous().asking_from(HERE).send(request).await;
    assert_eq!(signed_in.status, StatusCode::OK, "{}", signed_in.text);
    let session = newest_session(&server).await;
    let cookie = signed_in.headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
    let browser = server.anonymous().with_cookie(cookie).asking_from(THERE);
    let signed_out = post(&browser, "sign_out", "").await;
    assert_eq!(signed_out.status, StatusCode::OK, "{}", signed_out.text);
    let again = post(&browser, "sign_out", "").await;
    assert_eq!(again.status, StatusCode::OK, "there is nothing to end any more");

    let expected = |kind: &str, text: &str, from: &str, answer: &Answer| Stored {
        kind: kind.into(),
        text: text.into(),
        doer: Some(1),
        address: Some(from.split(':').next().unwrap().to_owned()),
        session_id: Some(session),
        request_id: Some(request_id(answer)),
    };
    let events = stored(&server, "security_signed%").await;
    assert_eq!(
        events[1..],
        [
            expected("security_signed_in", "ada signed in with Firefox on Linux.", HERE, &signed_in),
            expected("security_signed_out", "ada signed out.", THERE, &signed_out),
        ]
    );
    assert_eq!(events[0].text, "ada signed in with a client.");
}

#[tokio::test]
async fn whatever_ends_sessions_is_an_event_that_says_why() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    let bob = server.user("bob").await;
    server.signed_in("bob").await;
    let session = newest_session(&server).await;
    assert_eq!(post(&bob, "end_session", &format!("session_id={session}")).await.status, StatusCode::OK);
    for _ in 0..2 {
        server.signed_in("bob").await;
    }
    assert_eq!(post(&bob, "end_other_sessions", "").await.status, StatusCode::OK);
    assert_eq!(post(&bob, "end_other_sessions", "").await.status, StatusCode::OK, "there are none");
    server.signed_in("bob").await;
    let changed = [("old_password", PASSWORD), ("new_password", NEW_PASSWORD)];
    assert_eq!(bob.form("/api/v1/change_password", &changed).await.status, StatusCode::OK);
    assert_eq!(post(&ada, "set_account_active", "account_id=2&is_active=false").await.status, StatusCode::OK);
    let texts = security_texts(&server, "security_sessions_ended").await;
    assert_eq!(
        texts,
        [
            "A session of bob ended: they signed the device out.",
            "2 sessions of bob ended: they signed all their other devices out.",
            "A session of bob ended: their password was changed.",
            "A session of bob ended: ada deactivated the account.",
        ]
    );
    let doers: Vec<_> = stored(&server, "security_sessions_ended").await.iter().map(|e| e.doer).collect();
    assert_eq!(doers, [Some(2), Some(2), Some(2), Some(1)]);
}

#[tokio::test]
async fn repeated_sign_ins_and_exports_are_counted_and_do_not_fill_the_log() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    for _ in 0..11 {
        server.signed_in("ada").await;
    }
    for _ in 0..60 {
        assert_eq!(ada.get("/api/metrics/host/export").await.status, StatusCode::OK);
    }
    server.state.accounts.record_failed_attempts(true).await;
    server.state.events.record_counted(true).await;
    for (kind, more) in [("security_signed_in", 2), ("security_exported", 50)] {
        let events = stored(&server, kind).await;
        assert_eq!(events.len(), 11, "{kind}");
        assert_eq!(events[10].text, format!("ada: {more} more like the 10 before, within 5 min."));
    }
}

/// Ada is the admin; bob owns the VM 1.
async fn with_bobs_vm(fleet: &Fleet) -> (Server, Client, Client) {
    let mut server = fleet.serve(0).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    assert_eq!(bob.launch("web-1", "debian-12").await.status, StatusCode::OK);
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 3).await;
    (server, ada, bob)
}

#[tokio::test]
async fn an_export_is_an_event_that_the_vms_owner_sees_but_not_on_its_page() {
    let (server, ada, bob) = with_bobs_vm(&Fleet::new()).await;
    for path in ["/api/metrics/vm/1/export", "/api/metrics/host/export", "/api/events/export?format=json"] {
        let answer = ada.asking_from(HERE).get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let events = stored(&server, "security_exported").await;
        let newest = events.last().unwrap();
        assert_eq!((newest.doer, newest.address.as_deref()), (Some(1), Some("192.0.2.7")));
        assert_eq!(newest.request_id, Some(request_id(&answer)));
    }
    for wrong in ["/api/metrics/host/export?format=xml", "/api/events/export?format=xml"] {
        assert_eq!(ada.get(wrong).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let texts = security_texts(&server, "security_exported").await;
    assert_eq!(
        texts,
        ["ada exported metrics of web-1.", "ada exported metrics of the host.", "ada exported events."]
    );
    let seen = bob.get("/api/events?category=security&vm=web-1").await.json();
    assert_eq!(seen["events"][0]["text"], "ada exported metrics of web-1.");
    for path in ["/api/v1/vm_events?vm_id=1", "/api/v1/vm_charts?vm_id=1"] {
        assert!(!bob.get(path).await.text.contains("exported"), "{path}");
    }
    let charts = ada.get("/api/v1/host_charts").await.text;
    assert!(!charts.contains("exported") && !charts.contains("signed in"), "{charts}");
}

#[tokio::test]
async fn refused_access_is_an_event_once_in_a_burst_and_what_nobody_has_is_none() {
    let (server, ada, bob) = with_bobs_vm(&Fleet::new()).await;
    let eve = server.user("eve").await.asking_from(HERE);
    assert_eq!(security_texts(&server, "security_access_refused").await, Vec::<String>::new());

    // What is there, and not eve's.
    let first = eve.get("/api/vms/1?x=1").await;
    assert_eq!(first.status, StatusCode::NOT_FOUND);
    for path in ["/api/v1/vm_metrics?vm_id=1", "/api/v1/vm_ranges?vm_ids[0]=1&metric_names[0]=vm_cpu_percent"]
    {
        assert_eq!(eve.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(eve.page("/vms/1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(eve.page("/admin").await.status, StatusCode::FORBIDDEN);
    let foreign_rule =
        "rule[scope]=vm:1&rule[metric]=cpu&rule[threshold]=90&rule[for_secs]=60&rule[severity]=warning";
    let rule_of_bob: Value = post(&bob, "save_alert_rule", foreign_rule).await.json();
    let session_of_ada = "session_id=1";
    for (endpoint, fields, status) in [
        ("start_vm", "vm_id=1".to_owned(), 404),
        ("act_on_vms", "vm_ids[0]=1&action=stop".into(), 404),
        ("save_alert_rule", foreign_rule.into(), 404),
        ("delete_alert_rule", format!("rule_id={rule_of_bob}"), 404),
        ("end_session", session_of_ada.into(), 404),
        ("stop_all_vms", "confirm=stop".into(), 403),
        ("set_account_role", "account_id=3&role=admin".into(), 403),
    ] {
        assert_eq!(post(&eve, endpoint, &fields).await.status.as_u16(), status, "{endpoint}");
    }
    // A form without JavaScript, which is answered with a redirect.
    eve.submit("/vms/1", "/api/v1/stop_vm", &[("vm_id", "1")]).await;
    let texts = security_texts(&server, "security_access_refused").await;
    assert_eq!(texts, ["The server refused eve access 14 times in 1 min, first to /api/vms/1."]);
    let events = stored(&server, "security_access_refused").await;
    assert_eq!((events[0].doer, events[0].address.as_deref()), (Some(3), Some("192.0.2.7")));
    assert_eq!(events[0].request_id, Some(request_id(&first)));
    assert!(events[0].session_id.is_some());

    // What nobody has, invalid input, and whoever is not signed in.
    for path in ["/api/vms/999", "/api/nothing", "/api/v1/vm_metrics?vm_id=999", "/api/events?severity=loud"]
    {
        assert!(eve.get(path).await.status.is_client_error(), "{path}");
    }
    assert_eq!(eve.page("/vms/999").await.status, StatusCode::NOT_FOUND);
    for (endpoint, fields) in [
        ("end_session", "session_id=999"),
        ("delete_alert_rule", "rule_id=999"),
        ("acknowledge_alert", "alert_id=999"),
    ] {
        assert_eq!(post(&eve, endpoint, fields).await.status, StatusCode::NOT_FOUND, "{endpoint}");
    }
    assert_eq!(server.anonymous().get("/api/vms/1").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(security_texts(&server, "security_access_refused").await.len(), 1);

    let path = "/api/events?category=security&text=refused";
    for (client, count) in [(&ada, 1), (&eve, 1), (&bob, 0)] {
        let seen = client.get(path).await.json();
        assert_eq!(seen["events"].as_array().unwrap().len(), count, "{seen}");
    }
}

#[tokio::test]
async fn the_pages_that_users_may_open_refuse_nothing() {
    let (server, ada, bob) = with_bobs_vm(&Fleet::new()).await;
    let share = json!({ "username": "vera", "access": "view" }).to_string();
    let vera = server.user("vera").await;
    assert_eq!(bob.json(Method::POST, "/api/vms/1/shares", &share).await.status, StatusCode::NO_CONTENT);
    let pages = ["/", "/monitor", "/alerts", "/alerts/rules", "/events", "/account", "/vms/new"];
    let tabs = ["", "/snapshots", "/activity"].map(|tab| format!("/vms/1{tab}"));
    for client in [&ada, &bob, &vera] {
        for page in pages.into_iter().chain(tabs.iter().map(String::as_str)) {
            assert_eq!(client.page(page).await.status, StatusCode::OK, "{page}");
        }
    }
    assert_eq!(security_texts(&server, "security_access_refused").await, Vec::<String>::new());
}

#[tokio::test]
async fn addresses_are_shown_to_admins_and_to_whom_they_belong() {
    let (server, ada, bob) = with_bobs_vm(&Fleet::new()).await;
    let (ada, bob) = (ada.asking_from(HERE), bob.asking_from(THERE));
    assert_eq!(post(&ada, "stop_vm", "vm_id=1").await.status, StatusCode::OK);
    server.wait_until_idle().await;
    assert_eq!(post(&bob, "start_vm", "vm_id=1").await.status, StatusCode::OK);
    assert_eq!(
        post(&ada, "grant_credits", "account_id=2&amount=5&reason=a+test").await.status,
        StatusCode::OK
    );
    let (ada_here, bob_there) = ("192.0.2.7", "198.51.100.1");
    let paths = ["/api/v1/events", "/api/events", "/api/events/export", "/api/events/export?format=json"];
    for path in paths {
        let (of_ada, of_bob) = (ada.get(path).await.text, bob.get(path).await.text);
        assert!(of_ada.contains(ada_here) && of_ada.contains(bob_there), "{path}");
        assert!(
            of_bob.contains("ada requested a stop") && of_bob.contains("ada gave bob 5 credits"),
            "{path}"
        );
        assert!(of_bob.contains(bob_there) && !of_bob.contains(ada_here), "{path}: {of_bob}");
    }
    for (client, shows_adas) in [(&ada, true), (&bob, false)] {
        let page = client.page("/events").await;
        assert_eq!((page.words().contains(ada_here), page.words().contains(bob_there)), (shows_adas, true));
    }
    let listed = bob.get("/api/events?text=requested").await.json();
    let (own, others) = (&listed["events"][0], &listed["events"][1]);
    assert_eq!(
        (own["text"].as_str(), own["address"].as_str()),
        (Some("bob requested a start of web-1."), Some(bob_there))
    );
    assert!(own["session_id"].is_i64() && own["request_id"].is_string());
    for part in ["address", "session_id", "request_id"] {
        assert!(others[part].is_null(), "{part}");
    }
    let csv = bob.get("/api/events/export?text=requested%20a%20start").await.text;
    assert!(csv.lines().nth(1).unwrap().contains(&format!(",{bob_there},")), "{csv}");
}

/// Server functions that change something and yet leave no event: what they change is only the browser's, or is in another
/// list.
const WITHOUT_EVENT: [&str; 5] =
    ["set_theme", "test_notification", "confirm_password", "begin_second_factor", "attach_terminal"];
/// Those whose event is tested elsewhere, because they need more than the simulated fleet has at once.
const ELSEWHERE: [&str; 20] = [
    "add_ssh_key",
    "delete_ssh_key",
    "confirm_second_factor",
    "renew_recovery_codes",
    "remove_second_factor",
    "remove_account_second_factor",
    "require_second_factor",
    "open_terminal",
    "end_terminal",
    "end_all_terminals",
    "end_session",
    "register",
    "sign_in",
    "sign_out",
    "confirm_email",
    "cancel_operation",
    "acknowledge_alert",
    "adopt_orphan",
    "adopt_machine",
    "release_vm",
];

/// A change: who makes it, the server function with its arguments, and the kind of its event.
const CHANGES: [(&str, &str, &str, &str); 36] = [
    (
        "ada",
        "create_account",
        "username=carol&email=carol@example.org&password=PASSWORD&role=user",
        "account_created",
    ),
    ("ada", "set_account_active", "account_id=3&is_active=false", "account_changed"),
    ("ada", "set_account_active", "account_id=3&is_active=true", "account_changed"),
    ("ada", "set_account_role", "account_id=3&role=admin", "account_changed"),
    ("ada", "grant_credits", "account_id=2&amount=1000&reason=a+test", "credits_granted"),
    ("ada", "create_invitation", "days=7&role=user&credits=&note=dan", "account_invited"),
    ("ada", "revoke_invitation", "invitation_id=1", "account_invitation_revoked"),
    ("ada", "create_password_link", "account_id=3", "account_password_link_created"),
    (
        "nobody",
        "set_password_by_link",
        "link=LINK&new_password=another+long+password",
        "account_password_changed",
    ),
    ("bob", "set_webhook", "url=https://example.org/hook", "account_notifications_changed"),
    ("bob", "set_email_notifications", "is_on=false", "account_notifications_changed"),
    ("ada", "set_notify_of_all", "is_on=true", "account_notifications_changed"),
    (
        "bob",
        "save_alert_rule",
        "rule[scope]=vm:1&rule[metric]=cpu&rule[threshold]=90&rule[for_secs]=60&rule[severity]=warning",
        "alert_rule_changed",
    ),
    ("bob", "delete_alert_rule", "rule_id=RULE", "alert_rule_deleted"),
    ("bob", "share_vm", "vm_id=1&username=ada&access=view", "vm_shared"),
    ("bob", "end_vm_share", "vm_id=1&account_id=1", "vm_share_ended"),
    ("bob", "set_auto_start", "vm_id=1&auto_start=true", "vm_auto_start_changed"),
    ("bob", "stop_after", "vm_id=1&hours=2", "vm_stop_planned"),
    ("bob", "stop_at", "vm_id=1&at=", "vm_stop_planned"),
    ("bob", "save_snapshot", "vm_id=1&snapshot=one", "vm_snapshot_save_requested"),
    ("bob", "restore_snapshot", "vm_id=1&snapshot=one", "vm_snapshot_restore_requested"),
    ("bob", "delete_snapshot", "vm_id=1&snapshot=one", "vm_snapshot_delete_requested"),
    ("bob", "suspend_vm", "vm_id=1", "vm_suspend_requested"),
    ("bob", "resume_vm", "vm_id=1", "vm_resume_requested"),
    ("bob", "restart_vm", "vm_id=1", "vm_restart_requested"),
    ("bob", "stop_vm", "vm_id=1", "vm_stop_requested"),
    ("bob", "resize_vm", "vm_id=1&ram_mb=1024&cpu_cores=1&disk_gb=10", "vm_resize_requested"),
    ("bob", "start_vm", "vm_id=1", "vm_start_requested"),
    ("bob", "act_on_vms", "vm_ids[0]=1&action=stop", "vm_stop_requested"),
    ("ada", "stop_all_vms", "confirm=stop", "emergency_stop"),
    (
        "bob",
        "launch_vm",
        "name=db-1&image=debian-12&ram_mb=512&cpu_cores=1&disk_gb=10",
        "vm_launch_requested",
    ),
    ("bob", "force_stop_vm", "vm_id=2", "vm_force_stop_requested"),
    ("bob", "destroy_vm", "vm_id=1&confirm_name=web-1", "vm_destroy_requested"),
    ("ada", "clean_up_orphan", "folder=user2-left&confirm_name=user2-left", "orphan_removed"),
    (
        "bob",
        "change_password",
        "old_password=PASSWORD&new_password=another+long+password",
        "account_password_changed",
    ),
    ("bob", "end_other_sessions", "", "security_sessions_ended"),
];

#[tokio::test]
async fn every_change_is_an_event_with_its_doer() {
    let fleet = Fleet::new();
    let (mut server, ada, bob) = with_bobs_vm(&fleet).await;
    let (mut link, mut rule) = (String::new(), String::new());
    std::fs::create_dir(server.vm_folder(2, "left")).unwrap();
    for (who, endpoint, fields, kind) in CHANGES {
        if endpoint == "end_other_sessions" {
            let fields = [("username", "bob"), ("password", NEW_PASSWORD)];
            assert_eq!(server.anonymous().form("/api/auth/login", &fields).await.status, StatusCode::OK);
        }
        let anonymous = server.anonymous();
        let (client, doer) = match who {
            "ada" => (&ada, 1),
            "bob" => (&bob, 2),
            _ => (&anonymous, 3),
        };
        let fields = fields
            .replace("PASSWORD", &PASSWORD.replace(' ', "+"))
            .replace("LINK", &link)
            .replace("RULE", &rule);
        let answer = post(&client.asking_from(HERE), endpoint, &fields).await;
        assert_eq!(answer.status, StatusCode::OK, "{endpoint} {fields}: {}", answer.text);
        match endpoint {
            "create_password_link" => {
                link = answer.json()["url"].as_str().unwrap().split_once('#').unwrap().1.to_owned();
            }
            "save_alert_rule" => rule = answer.text.clone(),
            _ => {}
        }
        server.wait_until_idle().await;
        fleet.ticks(&mut server, 1).await;
        let of_request: Vec<_> = stored(&server, "%").await;
        let id = request_id(&answer);
        let events: Vec<_> =
            of_request.iter().filter(|event| event.request_id.as_ref() == Some(&id)).collect();
        assert!(events.iter().any(|event| event.kind == kind), "{endpoint}: {events:?}");
        for event in events {
            assert_eq!(
                (event.doer, event.address.as_deref()),
                (Some(doer), Some("192.0.2.7")),
                "{endpoint}: {event:?}"
            );
            assert_eq!(event.session_id.is_some(), who != "nobody", "{endpoint}: {event:?}");
        }
    }
    let known: BTreeSet<_> =
        CHANGES.iter().map(|(_, endpoint, ..)| *endpoint).chain(WITHOUT_EVENT).chain(ELSEWHERE).collect();
    let registered = registered_server_functions();
    let changing: BTreeSet<_> = registered
        .iter()
        .filter(|(_, method)| **method == Method::POST)
        .map(|(path, _)| path.trim_start_matches("/api/v1/"))
        .collect();
    assert_eq!(changing, known, "a line for each server function that changes something, and no other");
}

/// Ends the line and begins another, in the ways that a log or a terminal may take for one.
const CONTROLS: &str =
    "x\nFORGED\r\nFORGED\rFORGED\u{85}FORGED\u{b}\u{c}\u{8}\0\u{1b}[2K\u{1b}[1GFORGED\u{9b}2KFORGED";
/// The same of what is no control character, and may be in a valid text.
const SEPARATORS: &str = "x\u{2028}FORGED\u{2029}FORGED\u{202e}FORGED\u{2066}";
/// Of no time at which the test runs.
const FORGED: &str = "2020-01-01T00:00:00Z  INFO twarga_cloud: ada made eve an admin.";

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        write!(all, "%{byte:02X}").unwrap();
        all
    })
}

#[tokio::test]
async fn nothing_that_a_person_writes_forges_a_line_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path(), |command| {
        command
            .args(["--provider", "simulated", "--simulated-vms", "1"])
            .env("TWARGA_LOG", "info,twarga_cloud=debug");
    });
    process.listens().await;
    let address: SocketAddr = process.address;
    // A correct request of the table ends the first session.
    http::register(address, "ada", &process.setup_code()).await;
    let ada = http::sign_in(address, "ada", PASSWORD).await;
    let form = format!("Authorization: Bearer {ada}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
    let registered = registered_server_functions();
    let mut sent = 0;
    for text in [CONTROLS, SEPARATORS].map(|text| text.replace("FORGED", FORGED)) {
        let nasty = encoded(&text);
        for (path, arguments) in server_functions() {
            if path == "/api/v1/sign_out" {
                continue;
            }
            let pairs: Vec<_> = arguments.split('&').collect();
            // Each value, and the name of an argument that there is not.
            for i in 0..=pairs.len() {
                let mut pairs: Vec<_> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
                match pairs.get_mut(i) {
                    Some(pair) => *pair = format!("{}={nasty}", pair.split('=').next().unwrap()),
                    None => pairs.push(format!("{nasty}={nasty}")),
                }
                let pairs = pairs.join("&");
                let (path, body) = if registered[path] == Method::GET {
                    (format!("{path}?{pairs}"), "")
                } else {
                    (path.to_owned(), pairs.as_str())
                };
                http::exchange(address, registered_method(&registered, &path), &path, &form, body)
                    .await
                    .unwrap();
                sent += 1;
            }
        }
        for (path, body) in [
            (
                "/api/auth/register",
                json!({ "username": text, "email": text, "password": text, "invitation": text }),
            ),
            (
                "/api/vms",
                json!({ "name": text, "image": text, "ram_mb": 512, "cpu_cores": 1, "disk_gb": 10 }),
            ),
            ("/api/vms/1/action", json!({ "action": text, "snapshot": text, "confirm_name": text })),
            ("/api/vms/1/action", json!({ "action": "snapshot_save", "snapshot": text })),
            ("/api/vms/1/shares", json!({ "username": text, "access": text })),
        ] {
            http::send(address, "POST", path, &ada, &body.to_string()).await;
        }
        // Where the text is valid.
        for (path, fields) in [
            ("/api/v1/grant_credits", format!("account_id=1&amount=5&reason={nasty}")),
            ("/api/v1/create_invitation", format!("days=7&role=user&note={nasty}")),
        ] {
            http::exchange(address, "POST", path, &form, &fields).await.unwrap();
        }
        http::send(address, "GET", &format!("/vms/{nasty}?next={nasty}"), &ada, "").await;
    }
    // Headers hold no line breaks; the server closes the connection over other control characters.
    for name in [
        "User-Agent",
        "X-Request-Id",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "Referer",
        "Cookie",
        "Accept",
        "Origin",
    ] {
        for text in [SEPARATORS, "x\tFORGED", "x\u{1b}[2KFORGED"].map(|text| text.replace("FORGED", FORGED)) {
            let head = format!("{name}: {text}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
            let fields = format!("username=ada&password={}", PASSWORD.replace(' ', "+"));
            let _ = http::exchange(address, "POST", "/api/auth/login", &head, &fields).await;
            let _ = http::exchange(address, "GET", "/sign-in", &head, "").await;
        }
    }
    let _ =
        http::exchange(address, "GET", &format!("/api/{}", SEPARATORS.replace("FORGED", "x")), "", "").await;

    let log = process.log();
    assert!(sent > 200, "{sent}");
    assert!(log.contains(FORGED), "the log has the texts\n{log}");
    for escaped in ["\\u{2028}", "\\u{1b}", "\\n"] {
        assert!(log.contains(escaped), "{escaped}");
    }
    let breaks = |c: char| matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    for line in log.split(breaks) {
        assert!(!line.starts_with(FORGED), "{line}");
    }
    let wrong =
        |c: char| (c.is_control() && c != '\n') || ('\u{2028}'..='\u{202e}').contains(&c) || c == '\u{2066}';
    let found: BTreeSet<_> = log.chars().filter(|c| wrong(*c)).collect();
    assert_eq!(found, BTreeSet::new());
    let (_, stored) = http::send(address, "GET", "/api/events?category=account", &ada, "").await;
    assert!(
        stored.contains("ada gave ada 5 credits: x\u{2028}")
            || stored.contains("ada gave ada 5 credits: x\\u2028"),
        "the event has the text as it was written: {stored}"
    );
}

fn registered_method<'a>(registered: &'a std::collections::BTreeMap<String, Method>, path: &str) -> &'a str {
    registered[path.split('?').next().unwrap()].as_str()
}
