//! Users: their accounts, events, several VMs at once, charts of any time, alert rules.

use crate::support::{Answer, Client, PASSWORD, Server, fleet::Fleet, http, process::Process};
use axum::http::{StatusCode, header};
use futures::future::join_all;
use serde_json::{Value, json};
use std::net::IpAddr;
use twarga_cloud::server::{accounts::Accounts, credits::Allowances, database::Database};

const NEW_PASSWORD: &str = "another long password";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

async fn account_of(admin: &Client, name: &str) -> Value {
    let all = admin.get("/api/v1/accounts").await.json();
    all.as_array().unwrap().iter().find(|account| account["username"] == name).unwrap().clone()
}

fn texts(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().unwrap();
    events.iter().map(|event| event["text"].as_str().unwrap().to_owned()).collect()
}

async fn id_of(client: &Client, vm: &str) -> i64 {
    client.vm(vm).await["id"].as_i64().unwrap()
}

/// The admin ada with the fleet's two VMs, and bob with one of his own.
async fn two_users(fleet: &Fleet) -> (Server, Client, Client) {
    let server = fleet.serve(2).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    assert_eq!(bob.launch("bobs", "alpine-3.23").await.status, StatusCode::OK);
    server.wait_until_idle().await;
    (server, ada, bob)
}

#[tokio::test]
async fn a_changed_password_signs_every_other_device_out() {
    let server = Fleet::new().serve(0).await;
    let here = server.user("ada").await;
    let there = server.browser("ada").await;
    let change = [("old_password", "not my password"), ("new_password", NEW_PASSWORD)];
    let refused = here.form("/api/v1/change_password", &change).await;
    assert_eq!(refused.json()["fields"][0]["field"], "old_password");
    let change = [("old_password", PASSWORD), ("new_password", "short")];
    let refused = here.form("/api/v1/change_password", &change).await;
    assert_eq!(refused.json()["fields"][0]["field"], "new_password");
    assert_eq!(there.get("/api/auth/me").await.status, StatusCode::OK, "nothing has changed yet");

    let change = [("old_password", PASSWORD), ("new_password", NEW_PASSWORD)];
    assert_eq!(here.form("/api/v1/change_password", &change).await.status, StatusCode::OK);
    assert_eq!(here.get("/api/auth/me").await.status, StatusCode::OK);
    assert_eq!(there.get("/api/auth/me").await.status, StatusCode::UNAUTHORIZED);
    let old = [("username", "ada"), ("password", PASSWORD)];
    assert_eq!(server.anonymous().form("/api/auth/login", &old).await.status, StatusCode::BAD_REQUEST);
    let new = [("username", "ada"), ("password", NEW_PASSWORD)];
    assert_eq!(server.anonymous().form("/api/auth/login", &new).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_browser_gets_another_cookie_when_it_signs_in_again_or_changes_the_password() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let cookie_of = |answer: &Answer| {
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    };
    let first = server.browser("ada").await;
    let sign_in = [("username", "ada"), ("password", PASSWORD)];
    let second = first.with_cookie(&cookie_of(&first.form("/api/v1/sign_in", &sign_in).await));
    assert_eq!(first.get("/api/auth/me").await.status, StatusCode::UNAUTHORIZED);
    let change = [("old_password", PASSWORD), ("new_password", NEW_PASSWORD)];
    let third = first.with_cookie(&cookie_of(&second.form("/api/v1/change_password", &change).await));
    assert_eq!(second.get("/api/auth/me").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(third.get("/api/auth/me").await.status, StatusCode::OK);
}

fn cookie<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let cookies = answer.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap());
    cookies.filter(|cookie| cookie.starts_with(name)).find_map(|cookie| cookie.split(';').next())
}

/// Tries wrong passwords from many addresses.
async fn guess(server: &Server, username: &str, times: u16) -> Vec<StatusCode> {
    let mut statuses = Vec::new();
    for i in 0..times {
        let [high, low] = i.to_be_bytes();
        let client = server.anonymous().asking_from(&format!("203.0.{high}.{low}:4711"));
        let fields = [("username", username), ("password", "not the password")];
        statuses.push(client.form("/api/auth/login", &fields).await.status);
    }
    statuses
}

#[tokio::test]
async fn after_two_hundred_guesses_not_even_the_right_password_is_checked_and_everything_says_how_long_to_wait()
 {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let statuses = guess(&server, "ada", 200).await;
    assert_eq!(statuses[..6], [400, 400, 400, 400, 400, 429].map(|code| StatusCode::from_u16(code).unwrap()));
    assert!(statuses.iter().filter(|status| **status == StatusCode::BAD_REQUEST).count() < 10);

    let right = [("username", "ada"), ("password", PASSWORD)];
    for path in ["/api/auth/login", "/api/v1/sign_in"] {
        let client = server.anonymous().asking_from("198.51.100.1:4711");
        let answer = client.form(path, &right).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{path}: {}", answer.text);
        let wait: u32 = answer.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((1..=180).contains(&wait), "{wait}");
        assert_eq!(answer.json()["retry_after_secs"], wait, "{path}");
        assert!(answer.headers.get(header::SET_COOKIE).is_none());
    }
    let (_, page) = server.anonymous().submit("/sign-in", "/api/v1/sign_in", &right).await;
    assert!(page.words().contains("Too many wrong passwords. Try again in "), "{}", page.words());
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS, "as other clients get it");
    assert!(page.headers.contains_key(header::RETRY_AFTER));
}

#[tokio::test]
async fn whoever_guesses_a_password_does_not_lock_its_owner_out() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let right = [("username", "ada"), ("password", PASSWORD)];
    let first = server.anonymous().form("/api/v1/sign_in", &right).await;
    let device = cookie(&first, "twarga_device=").unwrap();
    let whole = first.headers.get_all(header::SET_COOKIE).iter().next_back().unwrap().to_str().unwrap();
    assert!(whole.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000"), "{whole}");
    guess(&server, "ada", 30).await;

    let strange = server.anonymous().form("/api/v1/sign_in", &right).await;
    assert_eq!(strange.status, StatusCode::TOO_MANY_REQUESTS);
    let known = server.anonymous().with_cookie(device).asking_from("203.0.0.1:4711");
    let again = known.form("/api/v1/sign_in", &right).await;
    assert_eq!(again.status, StatusCode::OK, "even from an address that guesses: {}", again.text);
    assert_eq!(cookie(&again, "twarga_device="), None, "it is known already");
    let of_other =
        server.anonymous().with_cookie("twarga_device=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(of_other.form("/api/v1/sign_in", &right).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn the_events_of_wrong_passwords_are_seen_by_the_accounts_owner_and_admins() {
    let server = Fleet::new().serve(0).await;
    let (ada, bob, cleo) = (server.user("ada").await, server.user("bob").await, server.user("cleo").await);
    guess(&server, "bob", 12).await;
    guess(&server, "nobody", 3).await;
    server.state.accounts.record_failed_attempts(true).await;
    let seen = async |client: &Client| {
        let all = texts(&client.get("/api/v1/events?query[category]=security").await.json());
        all.into_iter().filter(|text| text.contains("failed")).collect::<Vec<_>>()
    };
    let of_bob = "5 failed sign-ins for bob from 203.0.0.0 and 11 other addresses in 1 min; 7 more were rejected without a \
                  check.";
    assert_eq!(seen(&bob).await, [of_bob]);
    assert_eq!(seen(&cleo).await, Vec::<String>::new());
    let mut all = seen(&ada).await;
    all.sort();
    let of_nobody = "3 failed sign-ins for unknown user names from 203.0.0.0 and 2 other addresses in 1 min.";
    assert_eq!(all, [of_nobody, of_bob]);
}

/// Changes accounts as `twarga-cloud user` does beside a running server.
#[tokio::test]
async fn what_another_process_changes_takes_effect_at_the_next_check() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let bob = server.user("bob").await;
    assert_eq!(bob.get("/api/auth/me").await.json()["role"], "user");
    let database = Database::open_as_it_is(&server.data_dir).await.unwrap();
    let other = Accounts::new(database, Allowances::default());
    other.set_role_of("bob", twarga_cloud::model::Role::Admin).await.unwrap();
    server.state.database.check_other_processes().await;
    assert_eq!(bob.get("/api/auth/me").await.json()["role"], "admin");
    other.set_active_of("bob", false).await.unwrap();
    server.state.database.check_other_processes().await;
    assert_eq!(bob.get("/api/auth/me").await.status, StatusCode::UNAUTHORIZED);
}

/// Megabytes that a process has in memory.
fn resident_mb(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn wrong_sign_ins_leave_no_memory_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path(), |command| {
        command.args(["--provider", "simulated", "--simulated-vms", "0"]);
    });
    process.listens().await;
    http::register(process.address, "ada", &process.setup_code()).await;
    let before = resident_mb(process.id());
    for name in ["ada", "nobody"] {
        // Each from an address of its own: further ones of an address are rejected without a check.
        let wrong =
            (1..=64).map(|i| {
                let body = format!("username={name}{i}&password=not+the+password");
                let from = IpAddr::from([127, 0, 1, i]);
                async move {
                    http::exchange_from(from, process.address, "POST", "/api/auth/login", FORM, &body).await
                }
            });
        for answer in join_all(wrong).await {
            let (status, text) = answer.unwrap();
            assert_eq!(status, 400, "{text}");
        }
    }
    let after = resident_mb(process.id());
    assert!(after <= before + 20, "{before} MB before, {after} MB after");
}

#[tokio::test]
async fn a_session_is_listed_and_signed_out_only_by_its_user() {
    let server = Fleet::new().serve(0).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let browser = server.browser("ada").await;
    let devices = ada.get("/api/v1/my_devices").await.json();
    let kinds: Vec<_> = devices.as_array().unwrap().iter().map(|d| (&d["kind"], &d["is_this"])).collect();
    assert_eq!(kinds, [(&json!("client"), &json!(true)), (&json!("browser"), &json!(false))]);
    let session = devices[1]["id"].to_string();
    let end = [("session_id", session.as_str())];
    assert_eq!(bob.form("/api/v1/end_session", &end).await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/api/auth/me").await.status, StatusCode::OK);
    assert_eq!(ada.form("/api/v1/end_session", &end).await.status, StatusCode::OK);
    assert_eq!(browser.get("/api/auth/me").await.status, StatusCode::UNAUTHORIZED);
    let again = server.browser("ada").await;
    assert_eq!(ada.form("/api/v1/end_other_sessions", &[]).await.status, StatusCode::OK);
    assert_eq!(again.get("/api/auth/me").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ada.get("/api/auth/me").await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_is_deactivated_is_out_at_once_and_can_come_back() {
    let server = Fleet::new().serve(0).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let bobs = account_of(&ada, "bob").await["id"].to_string();
    let set = |active: &'static str| [("account_id", bobs.as_str()), ("is_active", active)];
    assert_eq!(ada.form("/api/v1/set_account_active", &set("false")).await.status, StatusCode::OK);
    assert_eq!(bob.get("/api/auth/me").await.status, StatusCode::UNAUTHORIZED);
    let sign_in = [("username", "bob"), ("password", PASSWORD)];
    assert_eq!(server.anonymous().form("/api/auth/login", &sign_in).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ada.form("/api/v1/set_account_active", &set("true")).await.status, StatusCode::OK);
    assert_eq!(server.anonymous().form("/api/auth/login", &sign_in).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_admin_cannot_shut_themselves_out_nor_give_up_their_own_role() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    let own = account_of(&ada, "ada").await["id"].to_string();
    let out = [("account_id", own.as_str()), ("is_active", "false")];
    assert_eq!(ada.form("/api/v1/set_account_active", &out).await.status, StatusCode::CONFLICT);
    let down = [("account_id", own.as_str()), ("role", "user")];
    assert_eq!(ada.form("/api/v1/set_account_role", &down).await.status, StatusCode::CONFLICT);
    assert_eq!(ada.get("/api/auth/me").await.json()["role"], "admin");
}

#[tokio::test]
async fn who_is_made_an_admin_is_one_at_once() {
    let server = Fleet::new().serve(0).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    assert_eq!(bob.get("/api/v1/accounts").await.status, StatusCode::FORBIDDEN);
    let bobs = account_of(&ada, "bob").await["id"].to_string();
    let up = [("account_id", bobs.as_str()), ("role", "admin")];
    assert_eq!(ada.form("/api/v1/set_account_role", &up).await.status, StatusCode::OK);
    assert_eq!(bob.get("/api/v1/accounts").await.status, StatusCode::OK);
}

#[tokio::test]
async fn credits_are_booked_with_a_reason_and_can_be_spent() {
    let server = Fleet::new().serve(0).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let bobs = account_of(&ada, "bob").await["id"].to_string();
    let grant = |amount: &'static str, reason: &'static str| {
        [("account_id", bobs.as_str()), ("amount", amount), ("reason", reason)]
    };
    for (wrong, field) in [(grant("0", "nothing"), "amount"), (grant("5", " "), "reason")] {
        let refused = ada.form("/api/v1/grant_credits", &wrong).await;
        assert_eq!(refused.json()["fields"][0]["field"], field);
    }
    assert_eq!(
        ada.form("/api/v1/grant_credits", &grant("250", "for the course")).await.status,
        StatusCode::OK
    );
    assert_eq!(bob.get("/api/v1/my_quota").await.json()["credits_available"], 350);
    assert_eq!(ada.form("/api/v1/grant_credits", &grant("-300", "it is over")).await.status, StatusCode::OK);
    assert_eq!(bob.get("/api/v1/my_quota").await.json()["credits_available"], 50);
    let events = bob.get("/api/v1/events?query[text]=course").await.json();
    assert_eq!(texts(&events), ["ada gave bob 250 credits: for the course"]);
}

#[tokio::test]
async fn an_account_that_an_admin_makes_has_the_role_it_was_given() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    let of = |role: &'static str, name: &'static str, email: &'static str| {
        [("username", name), ("email", email), ("password", PASSWORD), ("role", role)]
    };
    let make = "/api/v1/create_account";
    assert_eq!(ada.form(make, &of("admin", "carol", "carol@example.org")).await.status, StatusCode::OK);
    assert_eq!(ada.form(make, &of("user", "dan", "dan@example.org")).await.status, StatusCode::OK);
    assert_eq!(ada.form(make, &of("king", "eve", "eve@example.org")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(account_of(&ada, "carol").await["role"], "admin");
    assert_eq!(account_of(&ada, "dan").await["role"], "user");
    let found = ada.get("/api/v1/accounts?search=CAR").await.json();
    assert_eq!(found.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_theme_is_in_the_page_before_any_script_runs() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    let answer = ada.form("/api/v1/set_theme", &[("theme", "dark")]).await;
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let mut request = axum::http::Request::get("/sign-in").body(axum::body::Body::empty()).unwrap();
    request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
    let page = server.anonymous().send(request).await;
    assert!(page.text.contains("data-theme=\"dark\""), "{}", &page.text[..200]);
    assert!(!server.anonymous().page("/sign-in").await.text.contains("data-theme"));
    let refused = ada.form("/api/v1/set_theme", &[("theme", "sepia")]).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_user_reads_of_their_own_vms_and_deeds_an_admin_of_everything() {
    let (_server, ada, bob) = two_users(&Fleet::new()).await;
    let own = texts(&bob.get("/api/v1/events").await.json());
    assert!(own.iter().any(|text| text.contains("bobs")), "{own:?}");
    assert!(own.iter().all(|text| text.contains("bob")), "{own:?}");
    let all = texts(&ada.get("/api/v1/events").await.json());
    assert!(
        all.iter().any(|text| text.contains("bobs")) && all.iter().any(|text| text.contains("account ada"))
    );
    assert!(bob.page("/events").await.words().contains("bobs"), "readable without JavaScript");
    assert!(!bob.page("/events?text=account+ada").await.words().contains("The account ada was created"));
}

#[tokio::test]
async fn events_are_narrowed_by_every_part_of_the_filter() {
    let (_server, ada, _) = two_users(&Fleet::new()).await;
    let found = |filter: &'static str| {
        let ada = &ada;
        async move { texts(&ada.get(&format!("/api/v1/events?{filter}")).await.json()) }
    };
    assert!(found("query[category]=account").await.iter().all(|text| text.starts_with("The account")));
    assert!(found("query[vm]=bobs").await.iter().all(|text| text.contains("bobs")));
    assert_eq!(
        found("query[person]=bob&query[category]=account").await,
        ["The account bob was created with the role user."]
    );
    assert_eq!(
        found("query[text]=ACCOUNT%20ADA").await,
        ["The account ada was created with the role admin."]
    );
    assert!(found("query[text]=%25").await.is_empty(), "a percent sign is no pattern");
    assert!(found("query[severity]=error").await.is_empty());
    assert!(found("query[to]=2020-01-01").await.is_empty());
    assert!(!found("query[from]=2020-01-01").await.is_empty());
    let wrong = ada.get("/api/v1/events?query[severity]=loud").await;
    assert_eq!(
        (wrong.status, &wrong.json()["fields"][0]["field"]),
        (StatusCode::BAD_REQUEST, &json!("severity"))
    );
}

#[tokio::test]
async fn old_events_are_on_further_pages_and_all_are_counted() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    for i in 0..60 {
        let event =
            twarga_cloud::server::events::NewEvent::warning("clock_behind", None, format!("number {i}"));
        server.state.events.record(event).await;
    }
    let first = ada.get("/api/v1/events").await.json();
    assert_eq!((first["events"].as_array().unwrap().len(), &first["more"]), (50, &json!(true)));
    assert_eq!(first["counts"], json!({ "info": 2, "warning": 60, "error": 0 }));
    let last = first["events"][49]["id"].as_i64().unwrap();
    let second = ada.get(&format!("/api/v1/events?before={last}")).await.json();
    assert_eq!((second["events"].as_array().unwrap().len(), &second["more"]), (12, &json!(false)));
}

#[tokio::test]
async fn events_are_saved_as_files_with_what_the_filter_lets_through() {
    let (_server, ada, bob) = two_users(&Fleet::new()).await;
    let csv = ada.get("/api/events/export?category=account").await;
    let lines: Vec<_> = csv.text.lines().collect();
    assert_eq!(lines[0], "id,time,kind,severity,vm,person,text,address,session_id,request_id");
    assert!(
        lines[1].contains(",account_created,info,,bob,The account bob was created with the role user.,,,"),
        "{}",
        lines[1]
    );
    assert_eq!(lines.len(), 3);
    let json = bob.get("/api/events/export?format=json&vm=bobs").await.json();
    assert!(json.as_array().unwrap().iter().all(|event| event["vm_name"] == "bobs"));
    assert_eq!(ada.get("/api/events/export?format=xml").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ada.get("/api/events/export?severity=loud").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn several_vms_are_stopped_and_started_together_or_none() {
    let (server, ada, bob) = two_users(&Fleet::new()).await;
    let (web, bobs) = (id_of(&ada, "web-1").await, id_of(&bob, "bobs").await);
    let ids = [web.to_string(), bobs.to_string()];
    let both = |action: &'static str| {
        [("vm_ids[]", ids[0].as_str()), ("vm_ids[]", ids[1].as_str()), ("action", action)]
    };
    let refused = bob.form("/api/v1/act_on_vms", &both("stop")).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    server.wait_until_idle().await;
    assert_eq!(bob.vm("bobs").await["status"], "running", "nothing is begun when one is not theirs");

    let outcomes = ada.form("/api/v1/act_on_vms", &both("stop")).await.json();
    let outcomes: Vec<_> =
        outcomes.as_array().unwrap().iter().map(|vm| vm["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["Stopping.", "Stopping."]);
    server.wait_until_idle().await;
    let outcomes = ada.form("/api/v1/act_on_vms", &both("stop")).await.json();
    assert_eq!(outcomes[0]["outcome"], "It is not running.");
    assert_eq!(ada.form("/api/v1/act_on_vms", &both("destroy")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ada.form("/api/v1/act_on_vms", &[("action", "stop")]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(ada.form("/api/v1/act_on_vms", &both("start")).await.status, StatusCode::OK);
    server.wait_until_idle().await;
    assert_eq!(ada.vm("web-1").await["status"], "running");
}

#[tokio::test]
async fn charts_show_the_requested_time_and_its_events() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 30).await;
    let id = id_of(&ada, "web-1").await;
    let all = ada.get(&format!("/api/v1/vm_charts?vm_id={id}")).await.json();
    let cpu =
        all["ranges"].as_array().unwrap().iter().find(|r| r["metric_name"] == "vm_cpu_percent").unwrap();
    let at: Vec<_> = cpu["at"].as_array().unwrap().iter().map(|at| at.as_i64().unwrap()).collect();
    assert!(at.len() >= 28, "{}", at.len());
    assert_eq!(all["to"].as_i64().unwrap() - all["from"].as_i64().unwrap(), 900_000);
    assert_eq!(all["statistics"].as_array().unwrap().len(), all["ranges"].as_array().unwrap().len());

    let (from, to) = (at[5], at[10]);
    let part = ada.get(&format!("/api/v1/vm_charts?vm_id={id}&from={from}&to={to}")).await.json();
    let cpu =
        part["ranges"].as_array().unwrap().iter().find(|r| r["metric_name"] == "vm_cpu_percent").unwrap();
    assert_eq!(
        cpu["at"].as_array().unwrap().iter().map(|at| at.as_i64().unwrap()).collect::<Vec<_>>(),
        at[5..=10]
    );

    let hour = ada.get("/api/v1/host_charts?last_secs=3600").await.json();
    assert_eq!(hour["to"].as_i64().unwrap() - hour["from"].as_i64().unwrap(), 3_600_000);
    let backwards = ada.get(&format!("/api/v1/vm_charts?vm_id={id}&from={to}&to={from}")).await;
    assert_eq!(backwards.status, StatusCode::BAD_REQUEST);
    let page = ada.page(&format!("/vms/{id}?range=24h")).await;
    assert!(page.words().contains("mean"));
    assert!(page.text.contains("<path d=\"M"), "the lines are drawn without JavaScript");
}

#[tokio::test]
async fn an_alert_is_acknowledged_once_by_a_user_who_may_see_it() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    let (ada, bob, carl) = (server.user("ada").await, server.user("bob").await, server.user("carl").await);
    assert_eq!(bob.launch("bobs", "alpine-3.23").await.status, StatusCode::OK);
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 2).await;
    let uuid = server.domain_uuid("bobs").await;
    assert!(fleet.keep_busy(&uuid, Some(0.93)));
    fleet.ticks(&mut server, 14).await;
    let alerts = bob.vm_alerts().await;
    let id = alerts[0]["id"].to_string();
    let take = [("alert_id", id.as_str())];
    assert_eq!(carl.form("/api/v1/acknowledge_alert", &take).await.status, StatusCode::NOT_FOUND);
    assert_eq!(bob.form("/api/v1/acknowledge_alert", &take).await.status, StatusCode::OK);
    assert_eq!(
        ada.form("/api/v1/acknowledge_alert", &take).await.status,
        StatusCode::OK,
        "nothing more to do"
    );
    let alert = &ada.vm_alerts().await[0];
    assert_eq!(alert["acknowledged_by"], "bob");
    assert!(alert["acknowledged_value"].is_f64(), "{alert}");
    let events = texts(&bob.get("/api/v1/events?query[category]=alert").await.json());
    assert_eq!(
        events.iter().filter(|text| text.contains("acknowledged the alert about bobs's CPU")).count(),
        1
    );
    assert!(bob.page("/alerts").await.words().contains("acknowledged by bob"));
}

#[tokio::test]
async fn a_previewed_vagrantfile_is_the_one_that_is_written() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    let preview = "/api/v1/preview_vagrantfile?image=alpine-3.23&ram_mb=512&cpu_cores=1&disk_gb=10&name=";
    let previewed = ada.get(&format!("{preview}web-7")).await.json();
    assert_eq!(ada.launch("web-7", "alpine-3.23").await.status, StatusCode::OK);
    server.wait_until_idle().await;
    let written = std::fs::read_to_string(server.vm_folder(1, "web-7").join("Vagrantfile")).unwrap();
    assert_eq!(previewed.as_str().unwrap(), written);
    let wrong = ada.get(&format!("{preview}%27%3B+puts")).await;
    assert_eq!(
        (wrong.status, &wrong.json()["fields"][0]["field"]),
        (StatusCode::BAD_REQUEST, &json!("name"))
    );
}

async fn rule(client: &Client, fields: &[(&str, &str)]) -> Answer {
    let mut all = std::collections::BTreeMap::from([
        ("rule[metric]", "cpu"),
        ("rule[comparison]", "above"),
        ("rule[threshold]", "50"),
        ("rule[for_secs]", "10"),
        ("rule[severity]", "info"),
        ("rule[is_enabled]", "on"),
    ]);
    all.extend(fields.iter().copied());
    client.form("/api/v1/save_alert_rule", &all.into_iter().collect::<Vec<_>>()).await
}

/// What alerts are about, and their thresholds.
fn whats(alerts: &[Value]) -> Vec<(&str, f64)> {
    alerts
        .iter()
        .map(|alert| (alert["metric"].as_str().unwrap(), alert["threshold"].as_f64().unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn users_make_rules_for_what_is_theirs() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    let (ada, bob, carl) = (server.user("ada").await, server.user("bob").await, server.user("carl").await);
    let vm_id = bob.launch("bobs", "alpine-3.23").await.json()["vm_id"].as_i64().unwrap();
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 2).await;
    let own = format!("vm:{vm_id}");
    let refused = async |client: &Client, scope: &str| rule(client, &[("rule[scope]", scope)]).await.status;
    assert_eq!(refused(&carl, &own).await, StatusCode::NOT_FOUND);
    assert_eq!(refused(&carl, "owner:2").await, StatusCode::NOT_FOUND);
    assert_eq!(refused(&bob, "host").await, StatusCode::FORBIDDEN);
    assert_eq!(refused(&bob, "every_vm").await, StatusCode::FORBIDDEN);
    let nowhere = [("rule[scope]", &*own), ("rule[quiet_from]", "22:00"), ("rule[quiet_to]", "07:00")];
    let nowhere = rule(&bob, &[&nowhere[..], &[("rule[time_zone]", "Moon/Sea")]].concat()).await;
    assert_eq!((nowhere.status, nowhere.text.contains("no such time zone")), (StatusCode::BAD_REQUEST, true));

    // The VM's own rule, instead of the one for all VMs.
    let made = rule(&bob, &[("rule[scope]", &own)]).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let rule_id = made.text.clone();
    let seen = |rules: Value| {
        let rules = rules.as_array().unwrap().clone();
        rules.iter().any(|rule| rule["id"].as_i64() == rule_id.parse().ok() && rule["is_editable"] == true)
    };
    assert!(seen(bob.get("/api/v1/alert_rules").await.json()));
    assert!(seen(ada.get("/api/v1/alert_rules").await.json()));
    assert!(!seen(carl.get("/api/v1/alert_rules").await.json()));
    let uuid = server.domain_uuid("bobs").await;
    assert!(fleet.keep_busy(&uuid, Some(0.97)));
    fleet.ticks(&mut server, 16).await;
    assert_eq!(whats(&bob.vm_alerts().await), [("cpu", 50.0)]);
    let page = bob.page("/alerts/rules").await;
    assert!(page.words().contains("CPU at 50 % or more for 10 s"), "{}", page.words());
    assert!(bob.page(&format!("/alerts/rules?edit={rule_id}")).await.text.contains("Save rule"));

    // Deleted: its open alert is resolved, and the rule for all VMs applies again.
    let delete = [("rule_id", &*rule_id)];
    assert_eq!(carl.form("/api/v1/delete_alert_rule", &delete).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        bob.form("/api/v1/delete_alert_rule", &[("rule_id", "5")]).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(bob.form("/api/v1/delete_alert_rule", &delete).await.status, StatusCode::OK);
    fleet.ticks(&mut server, 1).await;
    assert_eq!(whats(&bob.vm_alerts().await), []);
    fleet.ticks(&mut server, 14).await;
    assert_eq!(whats(&bob.vm_alerts().await), [("cpu", 90.0)]);
    let events = texts(&bob.get("/api/v1/events?query[category]=alert").await.json());
    assert!(events.iter().any(|text| text.contains("no rule applies to it any more")), "{events:?}");

    // An admin disables the rule for all VMs.
    let off = [("rule[id]", "5"), ("rule[scope]", "every_vm"), ("rule[is_enabled]", "")];
    assert_eq!(rule(&ada, &off).await.status, StatusCode::OK);
    fleet.ticks(&mut server, 1).await;
    assert_eq!(whats(&bob.vm_alerts().await), []);
}

#[tokio::test]
async fn an_unexpected_stop_is_an_alert_and_a_requested_one_is_not() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(0).await;
    let ada = server.user("ada").await;
    let vm_id = ada.launch("shop-x", "alpine-3.23").await.json()["vm_id"].as_i64().unwrap();
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 2).await;
    let uuid = server.domain_uuid("shop-x").await;
    assert_eq!(ada.act("stop", vm_id).await.status, StatusCode::OK);
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 16).await;
    assert_eq!(whats(&ada.vm_alerts().await), []);
    assert_eq!(ada.act("start", vm_id).await.status, StatusCode::OK);
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 2).await;

    assert!(fleet.stop_from_outside(&uuid));
    fleet.ticks(&mut server, 16).await;
    let alerts = ada.vm_alerts().await;
    assert_eq!(whats(&alerts), [("stopped", 0.0)]);
    assert!(ada.page("/alerts").await.words().contains("Stopped unexpectedly"));
    // Who takes care of it leaves it as it is: that is no alert any more.
    let take = [("alert_id", &*alerts[0]["id"].to_string())];
    assert_eq!(ada.form("/api/v1/acknowledge_alert", &take).await.status, StatusCode::OK);
    fleet.ticks(&mut server, 1).await;
    assert_eq!(whats(&ada.vm_alerts().await), []);

    assert!(fleet.start_from_outside(&uuid));
    fleet.ticks(&mut server, 2).await;
    assert!(fleet.kill_from_outside(&uuid));
    fleet.ticks(&mut server, 16).await;
    assert_eq!(whats(&ada.vm_alerts().await), [("stopped", 0.0)]);
    assert_eq!(ada.act("start", vm_id).await.status, StatusCode::OK);
    server.wait_until_idle().await;
    fleet.ticks(&mut server, 16).await;
    assert_eq!(whats(&ada.vm_alerts().await), []);
}

#[tokio::test]
async fn a_poll_brings_the_vms_only_when_they_have_changed() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(2).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 2).await;
    let mut first = ada.get("/api/v1/metrics_since").await.json();
    // Addresses are looked up beside the ticks: they are there once each VM has one.
    for _ in 0..50 {
        if first["vms"].as_array().unwrap().iter().all(|vm| vm["ip_address"].is_string()) {
            break;
        }
        fleet.ticks(&mut server, 1).await;
        first = ada.get("/api/v1/metrics_since").await.json();
    }
    let poll = async || {
        let (cursor, version) = (&first["cursor"], first["version"].as_str().unwrap());
        ada.get(&format!("/api/v1/metrics_since?cursor={cursor}&version={version}")).await.json()
    };
    fleet.ticks(&mut server, 1).await;
    let newer = poll().await;
    assert_eq!((newer["vms"].as_array().unwrap().len(), newer["figures"].as_array().unwrap().len()), (0, 2));
    assert_eq!(newer["version"], first["version"]);
    assert_eq!(newer["figures"][1], ada.get("/api/v1/metrics_since").await.json()["vms"][1]["figures"]);
    assert_eq!(ada.act("stop", id_of(&ada, "web-1").await).await.status, StatusCode::OK);
    let changed = poll().await;
    assert_eq!((changed["vms"].as_array().unwrap().len(), &changed["figures"]), (2, &json!([])));
}

const LAPTOP_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqzdNcf9bLuWo6G/SHCGz0O/EgujCxFwhzYxTfqgbBX ada@laptop";

#[tokio::test]
async fn a_public_key_belongs_to_one_account_until_it_is_deleted() {
    let server = Fleet::new().serve(0).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let add = async |client: &Client, name: &str| {
        client.form("/api/v1/add_ssh_key", &[("public_key", LAPTOP_KEY), ("name", name)]).await
    };
    assert_eq!(add(&ada, "").await.status, StatusCode::OK);
    for (client, words) in [(&ada, "already"), (&bob, "another account")] {
        let answer = add(client, "").await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
        assert_eq!(answer.json()["fields"][0]["field"], "public_key");
        assert!(answer.text.contains(words), "{}", answer.text);
    }
    let keys = ada.get("/api/v1/list_ssh_keys").await.json();
    assert_eq!((&keys[0]["name"], &keys[0]["algorithm"]), (&json!("ada@laptop"), &json!("ssh-ed25519")));
    assert_eq!(keys[0]["last_used_at"], json!(null));
    assert_eq!(bob.get("/api/v1/list_ssh_keys").await.json(), json!([]));
    let page = server.browser("ada").await.page("/account/keys").await;
    assert!(page.words().contains("ada@laptop"), "{}", page.words());

    let id = keys[0]["id"].to_string();
    let delete =
        async |client: &Client| client.form("/api/v1/delete_ssh_key", &[("key_id", &id)]).await.status;
    assert_eq!(delete(&bob).await, StatusCode::NOT_FOUND);
    assert_eq!(delete(&ada).await, StatusCode::OK);
    assert_eq!(delete(&ada).await, StatusCode::NOT_FOUND);
    assert_eq!(add(&bob, "work").await.status, StatusCode::OK);
    let events = server.events().await;
    let kinds: Vec<_> =
        events.iter().map(|(kind, _)| kind.as_str()).filter(|kind| kind.starts_with("ssh_")).collect();
    assert_eq!(kinds, ["ssh_key_added", "ssh_key_removed", "ssh_key_added"]);
    assert!(events[0].1.starts_with("bob added the ssh key work (SHA256:"), "{}", events[0].1);
}
