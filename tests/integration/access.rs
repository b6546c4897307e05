//! Who may call what: every route of the real router, with callers of every kind.

use crate::{
    api::{registered_server_functions, server_functions},
    support::{Client, Server, fleet::Fleet},
};
use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::json;
use std::collections::BTreeSet;
use twarga_cloud::server::web::{page_paths, routes};

/// What a route takes. The VM's levels are those of [`twarga_cloud::model::AccessLevel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Anyone,
    /// Any signed-in user.
    User,
    View,
    Operate,
    Own,
    /// The VM's owner; it does not exist for users with whom it is shared.
    OwnElseAbsent,
    /// Any user, for what is their own; the request is for what is not.
    Absent,
    Admin,
}
use Level::{Absent, Admin, Anyone, Operate, Own, OwnElseAbsent, User, View};

/// A request of each route beside pages and server functions: method, path as registered, path and query as requested, body,
/// and who may. Nothing that a request does keeps a later one from being allowed: what would is rejected for another reason.
pub const REST: [(&str, &str, &str, &str, Level); 31] = [
    ("GET", "/health", "/health", "", Anyone),
    ("GET", "/metrics", "/metrics", "", User),
    ("POST", "/api/auth/register", "/api/auth/register", "{}", Anyone),
    ("POST", "/api/auth/login", "/api/auth/login", "", Anyone),
    ("GET", "/api/auth/me", "/api/auth/me", "", User),
    ("GET", "/api/vms", "/api/vms", "", User),
    ("POST", "/api/vms", "/api/vms", "{}", User),
    ("POST", "/api/vms/quota-check", "/api/vms/quota-check", "{}", User),
    ("GET", "/api/vms/{vm_id}", "/api/vms/1", "", View),
    ("PATCH", "/api/vms/{vm_id}", "/api/vms/1", r#"{"ram_mb":1}"#, Own),
    ("GET", "/api/vms/{vm_id}/status", "/api/vms/1/status", "", View),
    ("POST", "/api/vms/{vm_id}/action", "/api/vms/1/action", r#"{"action":"start"}"#, Operate),
    ("GET", "/api/vms/{vm_id}/snapshots", "/api/vms/1/snapshots", "", View),
    ("GET", "/api/vms/{vm_id}/shares", "/api/vms/1/shares", "", Own),
    ("POST", "/api/vms/{vm_id}/shares", "/api/vms/1/shares", r#"{"username":"-","access":"view"}"#, Own),
    ("DELETE", "/api/vms/{vm_id}/shares/{account_id}", "/api/vms/1/shares/999", "", Own),
    ("GET", "/api/vms/{vm_id}/operations", "/api/vms/1/operations", "", View),
    ("GET", "/api/vms/{vm_id}/operations/{operation_id}/output", "/api/vms/1/operations/1/output", "", View),
    (
        "POST",
        "/api/vms/{vm_id}/operations/{operation_id}/cancel",
        "/api/vms/1/operations/1/cancel",
        "",
        Operate,
    ),
    ("GET", "/api/events", "/api/events", "", User),
    ("GET", "/api/terminals/{terminal_id}/socket", "/api/terminals/999/socket", "", Absent),
    ("GET", "/api/events/export", "/api/events/export", "", User),
    ("GET", "/api/metrics/vm/{vm_id}", "/api/metrics/vm/1", "", View),
    (
        "GET",
        "/api/metrics/vm/{vm_id}/history",
        "/api/metrics/vm/1/history?metric_name=vm_cpu_percent",
        "",
        View,
    ),
    (
        "GET",
        "/api/metrics/vm/{vm_id}/statistics",
        "/api/metrics/vm/1/statistics?metric_name=vm_cpu_percent",
        "",
        View,
    ),
    ("GET", "/api/metrics/vm/{vm_id}/export", "/api/metrics/vm/1/export", "", View),
    ("GET", "/api/metrics/host", "/api/metrics/host", "", User),
    ("GET", "/api/metrics/host/history", "/api/metrics/host/history?metric_name=host_cpu_percent", "", User),
    (
        "GET",
        "/api/metrics/host/statistics",
        "/api/metrics/host/statistics?metric_name=host_cpu_percent",
        "",
        User,
    ),
    ("GET", "/api/metrics/host/export", "/api/metrics/host/export", "", User),
    // Beside those of the table: the same routes with what they take more for.
    (
        "POST",
        "/api/vms/{vm_id}/action",
        "/api/vms/1/action",
        r#"{"action":"destroy","confirm_name":"other"}"#,
        Own,
    ),
];

/// Each page's path as registered and as requested, and who may see it.
pub const PAGES: [(&str, &str, Level); 23] = [
    ("/", "/", User),
    ("/monitor", "/monitor", User),
    ("/alerts", "/alerts", User),
    ("/alerts/rules", "/alerts/rules", User),
    ("/events", "/events", User),
    ("/account", "/account", User),
    ("/account/second-factor", "/account/second-factor", User),
    ("/confirm-password", "/confirm-password", User),
    ("/account/keys", "/account/keys", User),
    ("/admin/accounts", "/admin/accounts", Admin),
    ("/admin", "/admin", Admin),
    ("/vms/new", "/vms/new", User),
    ("/vms/adopt", "/vms/adopt", Admin),
    ("/vms/{id}", "/vms/1", View),
    ("/vms/{id}/terminal", "/vms/1/terminal", Operate),
    ("/terminals", "/terminals", User),
    ("/vms/{id}/{tab}", "/vms/1/settings", View),
    ("/sign-in", "/sign-in", Anyone),
    ("/register", "/register", Anyone),
    ("/new-password", "/new-password", Anyone),
    ("/confirm-email", "/confirm-email", Anyone),
    ("/setup", "/setup", Anyone),
    ("/style", "/style", Anyone),
];

/// Who may call a server function.
pub fn level_of(path: &str) -> Level {
    let Some(endpoint) = path.strip_prefix("/api/v1/") else { panic!("{path}") };
    match endpoint {
        "register"
        | "sign_in"
        | "sign_out"
        | "current_user"
        | "instance"
        | "set_theme"
        | "set_password_by_link"
        | "confirm_email" => Anyone,
        "accounts"
        | "create_account"
        | "set_account_active"
        | "set_account_role"
        | "grant_credits"
        | "stop_all_vms"
        | "orphans"
        | "adopt_orphan"
        | "clean_up_orphan"
        | "adoptable_machines"
        | "adopt_machine"
        | "create_invitation"
        | "invitations"
        | "revoke_invitation"
        | "create_password_link"
        | "new_link"
        | "remove_account_second_factor"
        | "require_second_factor"
        | "set_notify_of_all"
        | "collector_health"
        | "store_health"
        | "end_all_terminals" => Admin,
        "attach_terminal" | "end_terminal" | "end_session" | "delete_ssh_key" | "delete_alert_rule"
        | "acknowledge_alert" => Absent,
        "save_alert_rule" => OwnElseAbsent,
        "vm_snapshots" | "vm_metrics" | "vm_operations" | "operation_output" | "metrics_since"
        | "vm_history" | "vm_ranges" | "vm_charts" | "vm_statistics" | "vm_events" => View,
        "start_vm" | "stop_vm" | "force_stop_vm" | "restart_vm" | "suspend_vm" | "resume_vm"
        | "act_on_vms" | "save_snapshot" | "restore_snapshot" | "delete_snapshot" | "stop_after"
        | "stop_at" | "cancel_operation" | "open_terminal" | "list_vm_terminals" => Operate,
        "resize_vm" | "set_auto_start" | "vm_vagrantfiles" | "destroy_vm" | "release_vm" | "vm_shares"
        | "share_vm" | "end_vm_share" => Own,
        _ => User,
    }
}

/// Server functions whose request in the table names nothing that is there, not even for an admin.
const ABSENT: [&str; 14] = [
    "/api/v1/delete_ssh_key",
    "/api/v1/attach_terminal",
    "/api/v1/end_terminal",
    "/api/v1/end_session",
    "/api/v1/end_vm_share",
    "/api/v1/revoke_invitation",
    "/api/v1/create_password_link",
    "/api/v1/set_account_role",
    "/api/v1/remove_account_second_factor",
    "/api/v1/delete_alert_rule",
    "/api/v1/acknowledge_alert",
    "/api/v1/adopt_orphan",
    "/api/v1/clean_up_orphan",
    "/api/v1/adopt_machine",
];

/// Who calls. Nobody signed in has many forms.
struct Callers {
    without_session: Vec<(&'static str, Client)>,
    stranger: Client,
    viewer: Client,
    operator: Client,
    owner: Client,
    admin: Client,
}

impl Callers {
    /// Bob owns the VM 1.
    async fn of(server: &Server) -> Self {
        let admin = server.signed_in("ada").await;
        let owner = server.signed_in("bob").await;
        let (viewer, operator) = (server.user("vera").await, server.user("otto").await);
        for (username, access) in [("vera", "view"), ("otto", "operate")] {
            let body = json!({ "username": username, "access": access }).to_string();
            let answer = owner.json(Method::POST, "/api/vms/1/shares", &body).await;
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
        }
        let signed_out = server.user("sara").await;
        assert_eq!(signed_out.form("/api/v1/sign_out", &[]).await.status, StatusCode::OK);
        let deactivated = server.user("dave").await;
        let account_id = deactivated.get("/api/auth/me").await.json()["id"].to_string();
        let fields = [("account_id", account_id.as_str()), ("is_active", "false")];
        assert_eq!(admin.form("/api/v1/set_account_active", &fields).await.status, StatusCode::OK);
        let anonymous = server.anonymous();
        let garbage = "A".repeat(43);
        let mut without_session = vec![
            ("nobody", anonymous.clone()),
            ("an unknown token", anonymous.with_token(&garbage)),
            ("a malformed token", anonymous.with_token("\"; DROP TABLE session --")),
            ("an unknown cookie", anonymous.with_cookie(&format!("twarga_session={garbage}"))),
            ("a malformed cookie", anonymous.with_cookie("twarga_session=;=; twarga_session")),
            ("a cookie's token as a bearer", anonymous.with_token(&session_of(&server.browser("bob").await))),
            ("signed out", signed_out),
            ("deactivated", deactivated),
        ];
        without_session.push(("expired", expired(server, "bob").await));
        Self { without_session, stranger: server.user("eve").await, viewer, operator, owner, admin }
    }

    /// Each caller with the status that is right for a level, where it is a certain one.
    fn expectations(&self, level: Level) -> Vec<(&'static str, &Client, Option<u16>)> {
        let mut all = Vec::new();
        for (name, client) in &self.without_session {
            all.push((*name, client, (level != Anyone).then_some(401)));
        }
        let statuses = match level {
            Anyone | User => [None; 4],
            View => [Some(404), None, None, None],
            Operate => [Some(404), Some(403), None, None],
            Own => [Some(404), Some(403), Some(403), None],
            OwnElseAbsent => [Some(404), Some(404), Some(404), None],
            Absent => [Some(404); 4],
            Admin => [Some(403); 4],
        };
        let users = [
            ("a stranger", &self.stranger),
            ("a viewer", &self.viewer),
            ("an operator", &self.operator),
            ("the owner", &self.owner),
        ];
        all.extend(users.into_iter().zip(statuses).map(|((name, client), status)| (name, client, status)));
        all.push(("an admin", &self.admin, None));
        all
    }
}

/// A client whose session was last used long ago.
async fn expired(server: &Server, name: &str) -> Client {
    let client = server.signed_in(name).await;
    server.execute("UPDATE session SET last_used_at = 0 WHERE id = (SELECT max(id) FROM session)").await;
    client
}

fn session_of(browser: &Client) -> String {
    browser.cookie().unwrap().split_once('=').unwrap().1.to_owned()
}

/// Whether a status is right. Without a certain one, the caller is allowed: whatever is wrong with the request then, it is not
/// who asks.
fn is_right(status: StatusCode, expected: Option<u16>, is_absent: bool) -> bool {
    match expected {
        Some(expected) => status.as_u16() == expected,
        None => match status.as_u16() {
            404 => is_absent,
            401 | 403 => false,
            status => status < 500,
        },
    }
}

#[tokio::test]
async fn every_route_lets_in_whom_it_should_and_nobody_else() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    server.user("ada").await;
    let bob = server.user("bob").await;
    assert_eq!(bob.launch("web-1", "debian-12").await.status, StatusCode::OK);
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 3).await;
    let callers = Callers::of(&server).await;
    let mut wrong = Vec::new();
    let mut count = 0;

    let listed: BTreeSet<_> =
        routes().listed().iter().map(|(method, path)| (method.to_string(), (*path).to_owned())).collect();
    let in_table: BTreeSet<_> =
        REST.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(listed, in_table, "a line for each route, and no other");
    for (method, _, path, body, level) in REST {
        for (name, client, expected) in callers.expectations(level) {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body))
                .unwrap();
            let status = client.send(request).await.status;
            count += 1;
            if !is_right(status, expected, path.contains("/999")) {
                wrong.push(format!("{name}: {method} {path} {body}: {status}, not {expected:?}"));
            }
        }
    }

    let cases = server_functions();
    let registered = registered_server_functions();
    let with_case: BTreeSet<_> = cases.keys().map(|path| (*path).to_owned()).collect();
    assert_eq!(
        registered.keys().cloned().collect::<BTreeSet<_>>(),
        with_case,
        "a case for each, and no other"
    );
    for (path, arguments) in cases {
        // Signing out as the last thing would end what the next case needs.
        if path == "/api/v1/sign_out" {
            continue;
        }
        for (name, client, expected) in callers.expectations(level_of(path)) {
            let status = crate::api::call(client, &registered[path], path, arguments).await;
            count += 1;
            if !is_right(status, expected, ABSENT.contains(&path)) {
                wrong.push(format!("{name}: {path}?{arguments}: {status}, not {expected:?}"));
            }
        }
    }

    let listed: BTreeSet<_> = page_paths().into_iter().collect();
    let in_table: BTreeSet<_> = PAGES.iter().map(|(path, ..)| (*path).to_owned()).collect();
    assert_eq!(listed, in_table, "a line for each page, and no other");
    for (_, path, level) in PAGES {
        for (name, client, expected) in callers.expectations(level) {
            let answer = client.page(path).await;
            count += 1;
            let is_right = match expected {
                // Pages show how to sign in.
                Some(401) => answer.status.is_redirection() && answer.location().starts_with("/sign-in"),
                expected => is_right(answer.status, expected, false),
            };
            if !is_right {
                wrong.push(format!("{name}: page {path}: {}, not {expected:?}", answer.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 1000, "{count}");
    assert_eq!(callers.owner.vm("web-1").await["name"], "web-1", "it is still there");
}
