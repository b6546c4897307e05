//! Who gets an account, and back into one: the setup code, invitations, links for lost passwords, and the commands
//! `twarga-cloud user`.

use crate::support::{
    Answer, Client, PASSWORD, Server, eventually, fleet::Fleet, form_request, http, process::Process,
};
use axum::http::{StatusCode, header};
use futures::future::join_all;
use serde_json::{Value, json};
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

const NEW_PASSWORD: &str = "another long password";
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// A server on which only the admin ada has an account.
async fn with_ada(flags: &[&str]) -> (Server, Client) {
    let server = Fleet::new().serve_with(&[&["--simulated-vms", "0"], flags].concat()).await;
    let ada = server.user("ada").await;
    (server, ada)
}

/// The token of a link: what is behind `#`.
fn token_of(link: &Value) -> String {
    link["url"].as_str().unwrap().split_once('#').unwrap().1.to_owned()
}

async fn invite(admin: &Client, fields: &[(&str, &str)]) -> String {
    let answer = admin.form("/api/v1/create_invitation", fields).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    token_of(&answer.json())
}

async fn password_link(admin: &Client, account_id: i64) -> String {
    let answer = admin.form("/api/v1/create_password_link", &[("account_id", &account_id.to_string())]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    token_of(&answer.json())
}

async fn set_password(client: &Client, link: &str, password: &str) -> Answer {
    client.form("/api/v1/set_password_by_link", &[("link", link), ("new_password", password)]).await
}

async fn can_sign_in(server: &Server, name: &str, password: &str) -> bool {
    let fields = [("username", name), ("password", password)];
    server.anonymous().form("/api/auth/login", &fields).await.status == StatusCode::OK
}

fn rejected_field(answer: &Answer) -> String {
    answer.json()["fields"][0]["field"].as_str().unwrap_or_default().to_owned()
}

/// No page, answer or event repeats these secrets, and the database does not hold them.
async fn assert_secret(server: &Server, admin: &Client, secrets: &[&str]) {
    let database = std::fs::read(server.data_dir.join("twarga.sqlite")).unwrap();
    let log = std::fs::read(server.data_dir.join("twarga.sqlite-wal")).unwrap();
    let events = format!("{:?}", server.events().await);
    let lists = admin.get("/api/v1/invitations").await.text + &admin.page("/admin/accounts").await.text;
    for secret in secrets {
        assert!(!events.contains(secret) && !lists.contains(secret));
        for stored in [&database, &log] {
            assert!(!stored.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()));
        }
    }
}

#[tokio::test]
async fn only_who_is_invited_creates_an_account_unless_registration_is_open() {
    for (mode, status, offered) in [
        ("open", StatusCode::CREATED, true),
        ("invited", StatusCode::BAD_REQUEST, false),
        ("closed", StatusCode::FORBIDDEN, false),
    ] {
        let (server, ada) = with_ada(&["--registration", mode]).await;
        let anonymous = server.anonymous();
        // The setup code is void once there is an account.
        let answer = anonymous.register("bob", json!({ "setup_code": server.setup_code() })).await;
        assert_eq!(answer.status, status, "{mode}: {}", answer.text);
        let fields = [("username", "carl"), ("email", "carl@example.org"), ("password", PASSWORD)];
        let (location, _) = anonymous.submit("/register", "/api/v1/register", &fields).await;
        assert_eq!(location == "/", offered, "{mode}: {location}");
        assert_eq!(anonymous.get("/api/v1/instance").await.json()["registration"], mode);
        let accounts = ada.get("/api/v1/accounts").await.json().as_array().unwrap().len();
        assert_eq!(accounts, if offered { 3 } else { 1 }, "{mode}");

        let sign_in = anonymous.page("/sign-in").await;
        assert_eq!(sign_in.text.contains("href=\"/register\""), offered, "{mode}");
        let register = anonymous.page("/register").await;
        let (says, has_form) = match mode {
            "open" => ("You can see and manage only your own VMs.", true),
            "invited" => ("Accounts are created by invitation.", true),
            _ => ("Registration is closed. Ask an admin", false),
        };
        assert!(register.words().contains(says), "{}", register.words());
        assert_eq!(
            register.field("password").is_some() || register.text.contains("name=\"password\""),
            has_form
        );
    }
}

#[tokio::test]
async fn nothing_but_the_setup_code_creates_the_first_account() {
    for mode in ["open", "invited", "closed"] {
        let flags = ["--simulated-vms", "0", "--registration", mode];
        let server = Fleet::new().serve_with(&flags).await;
        let anonymous = server.anonymous();
        for codes in [json!({}), json!({ "setup_code": "0000-0000-0000" }), json!({ "invitation": "x" })] {
            let answer = anonymous.register("eve", codes).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{mode}: {}", answer.text);
            assert_eq!(rejected_field(&answer), "setup_code");
        }
        for page in ["/setup", "/register", "/sign-in", "/api/v1/instance", "/health"] {
            assert!(!anonymous.page(page).await.text.contains(server.setup_code()), "{page}");
        }
        let answer = anonymous.register("ada", json!({ "setup_code": server.setup_code() })).await;
        assert_eq!((answer.status, answer.json()["role"].clone()), (StatusCode::CREATED, json!("admin")));
    }
}

#[tokio::test]
async fn of_two_who_set_up_a_server_at_once_one_becomes_its_admin() {
    let server = Fleet::new().serve_with(&["--simulated-vms", "0", "--registration", "closed"]).await;
    let anonymous = server.anonymous();
    let codes = json!({ "setup_code": server.setup_code() });
    let answers = join_all(["ada", "eve"].map(|name| anonymous.register(name, codes.clone()))).await;
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort();
    assert_eq!(statuses, [StatusCode::CREATED, StatusCode::CONFLICT]);
}

#[tokio::test]
async fn setup_codes_cannot_be_guessed_one_after_the_other() {
    let server = Fleet::new().serve(0).await;
    let anonymous = server.anonymous();
    for _ in 0..10 {
        let answer = anonymous.register("eve", json!({ "setup_code": "guess" })).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
    let answer = anonymous.register("eve", json!({ "setup_code": server.setup_code() })).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.text);
}

#[tokio::test]
async fn the_terminal_shows_a_new_setup_code_at_each_start_until_there_is_an_account() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        Process::start(folder.path(), |command| {
            command.args([
                "--provider",
                "simulated",
                "--simulated-vms",
                "0",
                "--public-url",
                "https://cloud.example.org",
            ]);
        })
    };
    let mut first = start();
    first.listens().await;
    let old = first.setup_code();
    assert!(first.log().contains(&format!("https://cloud.example.org/setup#{old}")), "{}", first.log());
    first.kill();
    let mut second = start();
    second.listens().await;
    let code = second.setup_code();
    assert_ne!(code, old);
    let body = |code: &str| {
        json!({ "username": "ada", "email": "ada@example.org", "password": PASSWORD, "setup_code": code })
            .to_string()
    };
    let (status, answer) = http::send(second.address, "POST", "/api/auth/register", "", &body(&old)).await;
    assert_eq!(status, 400, "{answer}");
    http::register(second.address, "ada", &code).await;
    let log = second.log();
    assert_eq!(log.matches(&code).count(), 2, "nowhere but in the line of the start:\n{log}");
    second.kill();
    let mut third = start();
    third.listens().await;
    assert!(!third.log().contains("/setup#"), "{}", third.log());
}

#[tokio::test]
async fn an_invitation_creates_one_account_with_its_role_and_credits() {
    let (server, ada) = with_ada(&["--registration", "invited"]).await;
    let fields = [("days", "3"), ("role", "admin"), ("credits", "0"), ("note", "Bob of the lab")];
    let code = invite(&ada, &fields).await;
    let listed = ada.get("/api/v1/invitations").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let of = |name: &str| listed[0][name].clone();
    assert_eq!((of("role"), of("credits"), of("note")), (json!("admin"), json!(0), json!("Bob of the lab")));
    assert_eq!(of("created_by"), "ada");
    assert_eq!(of("expires_at").as_i64().unwrap() - of("created_at").as_i64().unwrap(), 3 * DAY_MILLIS);

    let anonymous = server.anonymous();
    let weak = anonymous.register("bob", json!({ "invitation": code, "password": "1234567890" })).await;
    assert_eq!(rejected_field(&weak), "password", "and the invitation is still open");

    let codes = json!({ "invitation": format!(" {code}\n") });
    let answers = join_all(["bob", "bert"].map(|name| anonymous.register(name, codes.clone()))).await;
    let created: Vec<_> = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).collect();
    assert_eq!(created.len(), 1, "{answers:?}");
    assert_eq!(created[0].json()["role"], "admin");
    let late = answers.iter().find(|answer| answer.status != StatusCode::CREATED).unwrap();
    assert_eq!((late.status, rejected_field(late)), (StatusCode::BAD_REQUEST, "invitation".to_owned()));
    assert_eq!(ada.get("/api/v1/invitations").await.json(), json!([]));
    let name = created[0].json()["username"].as_str().unwrap().to_owned();
    let accounts = ada.get("/api/v1/accounts").await.json();
    let invited = accounts.as_array().unwrap().iter().find(|account| account["username"] == *name).unwrap();
    assert_eq!(invited["credits_available"], 0);
    let events = server.events().await;
    assert_eq!(
        events[0].1,
        format!("The account {name} was created with the role admin, by invitation of ada.")
    );
    assert_eq!(events[1].1, "ada invited Bob of the lab with the role admin and 0 credits.");
    assert_secret(&server, &ada, &[&code]).await;
}

#[tokio::test]
async fn an_invitation_without_credits_gives_what_a_new_account_of_its_role_gets() {
    let (server, ada) = with_ada(&["--registration", "open", "--credits", "7"]).await;
    let code = invite(&ada, &[("days", "1"), ("role", "user"), ("credits", ""), ("note", "")]).await;
    assert_eq!(ada.get("/api/v1/invitations").await.json()[0]["credits"], 7);
    assert_eq!(server.events().await[0].1, "ada invited somebody with the role user and 7 credits.");
    // Where registration is open, an invitation still gives what it promises, and a wrong one is no other registration.
    let wrong = server.anonymous().register("eve", json!({ "invitation": "x" })).await;
    assert_eq!(rejected_field(&wrong), "invitation");
    let answer = server.anonymous().register("bob", json!({ "invitation": code })).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
}

#[tokio::test]
async fn an_invitation_that_is_revoked_expired_or_of_who_is_no_admin_any_more_is_worthless() {
    let (server, ada) = with_ada(&["--registration", "invited"]).await;
    let fields = [("days", "1"), ("role", "user")];
    let bob = invite(&ada, &[("days", "1"), ("role", "admin")]).await;
    server.anonymous().register("bob", json!({ "invitation": bob })).await;
    let bob = server.signed_in("bob").await;

    let revoked = invite(&ada, &fields).await;
    let id = ada.get("/api/v1/invitations").await.json()[0]["id"].to_string();
    let revoke = [("invitation_id", id.as_str())];
    assert_eq!(bob.form("/api/v1/revoke_invitation", &revoke).await.status, StatusCode::OK);
    assert_eq!(ada.form("/api/v1/revoke_invitation", &revoke).await.status, StatusCode::NOT_FOUND);
    let expired = invite(&ada, &fields).await;
    server.execute("UPDATE invitation SET expires_at = 1").await;
    assert_eq!(ada.get("/api/v1/invitations").await.json(), json!([]));
    let of_bob = invite(&bob, &fields).await;
    let demote = [("account_id", "2"), ("role", "user")];
    assert_eq!(ada.form("/api/v1/set_account_role", &demote).await.status, StatusCode::OK);
    assert_eq!(ada.get("/api/v1/invitations").await.json(), json!([]));
    for code in [&revoked, &expired, &of_bob, "", "x", &"A".repeat(43)] {
        let answer = server.anonymous().register("eve", json!({ "invitation": code })).await;
        assert_eq!(rejected_field(&answer), "invitation", "{}", answer.text);
    }
    assert_eq!(bob.form("/api/v1/create_invitation", &fields).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_invitation_has_bounds_and_is_not_made_where_nobody_could_use_it() {
    let (_server, ada) = with_ada(&["--registration", "invited"]).await;
    let long = "x".repeat(101);
    for (fields, field) in [
        ([("days", "0"), ("role", "user"), ("credits", ""), ("note", "")], "days"),
        ([("days", "31"), ("role", "user"), ("credits", ""), ("note", "")], "days"),
        ([("days", "1"), ("role", "king"), ("credits", ""), ("note", "")], "role"),
        ([("days", "1"), ("role", "user"), ("credits", "-1"), ("note", "")], "credits"),
        ([("days", "1"), ("role", "user"), ("credits", "1000000001"), ("note", "")], "credits"),
        ([("days", "1"), ("role", "user"), ("credits", "9223372036854775807"), ("note", "")], "credits"),
        ([("days", "1"), ("role", "user"), ("credits", ""), ("note", "a\nb")], "note"),
        ([("days", "1"), ("role", "user"), ("credits", ""), ("note", &long)], "note"),
    ] {
        let answer = ada.form("/api/v1/create_invitation", &fields).await;
        assert_eq!((answer.status, rejected_field(&answer).as_str()), (StatusCode::BAD_REQUEST, field));
    }
    assert_eq!(ada.get("/api/v1/invitations").await.json(), json!([]));

    let (server, ada) = with_ada(&["--registration", "closed"]).await;
    let fields = [("days", "1"), ("role", "user")];
    assert_eq!(ada.form("/api/v1/create_invitation", &fields).await.status, StatusCode::CONFLICT);
    let words = ada.page("/admin/accounts").await.words();
    assert!(words.contains("Registration is closed. To invite users,"), "{words}");
    server
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
             INSERT INTO invitation (token_hash, role, credits, note, created_by, created_at, expires_at)
             SELECT randomblob(32), 'user', 1, '', 1, 1, 9000000000000000 FROM n",
        )
        .await;
    let (folder, open) = (&server.data_dir, ["--simulated-vms", "0", "--registration", "open"]);
    let server = Fleet::new().serve_in(folder, &open).await;
    let ada = server.signed_in("ada").await;
    let answer = ada.form("/api/v1/create_invitation", &fields).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
}

#[tokio::test]
async fn a_link_is_shown_once_without_javascript_too_and_its_token_reaches_no_address() {
    let (server, _) = with_ada(&["--registration", "invited"]).await;
    let bob = invite(&server.signed_in("ada").await, &[("days", "1"), ("role", "admin")]).await;
    server.anonymous().register("bob", json!({ "invitation": bob })).await;
    let (ada, bob) = (server.browser("ada").await, server.browser("bob").await);
    for (action, fields, page, field) in [
        ("/api/v1/create_invitation", &[("days", "1"), ("role", "user")][..], "/register#", "invitation"),
        ("/api/v1/create_password_link", &[("account_id", "2")], "/new-password#", "link"),
    ] {
        let mut request = form_request(action, fields);
        for (name, value) in
            [("accept", "text/html"), ("referer", "http://cloud/admin/accounts"), ("host", "localhost:3000")]
        {
            request.headers_mut().insert(header::HeaderName::from_static(name), value.parse().unwrap());
        }
        let answer = ada.send(request).await;
        let location = answer.location().trim_end_matches('?');
        assert_eq!((answer.status, location), (StatusCode::FOUND, "http://cloud/admin/accounts"));
        assert!(!bob.page("/admin/accounts").await.text.contains("http://localhost:3000"), "it is ada's");
        let shown = ada.page("/admin/accounts").await;
        let (_, link) = shown.text.split_once("value=\"http://localhost:3000").expect("the link");
        let link = link.split('"').next().unwrap();
        let token = link.strip_prefix(page).unwrap();
        assert!(shown.words().contains("it is not shown again"), "{}", shown.words());
        assert!(!ada.page("/admin/accounts").await.text.contains(token), "once");
        assert!(
            server
                .anonymous()
                .page(page.trim_end_matches('#'))
                .await
                .text
                .contains(&format!("name=\"{field}\""))
        );
    }
}

#[tokio::test]
async fn links_lead_to_the_public_address() {
    let (_server, ada) = with_ada(&["--public-url", "https://cloud.example.org", "--https"]).await;
    let link = ada.form("/api/v1/create_invitation", &[("days", "1"), ("role", "user")]).await.json();
    assert!(link["url"].as_str().unwrap().starts_with("https://cloud.example.org/register#"), "{link}");
}

#[tokio::test]
async fn a_lost_password_is_replaced_by_an_admins_link_once_and_every_session_ends() {
    let (server, ada) = with_ada(&[]).await;
    let (bob, browser) = (server.user("bob").await, server.browser("bob").await);
    let anonymous = server.anonymous();
    let (former, link) = (password_link(&ada, 2).await, password_link(&ada, 2).await);
    let rejected = set_password(&anonymous, &former, NEW_PASSWORD).await;
    assert_eq!((rejected.status, rejected_field(&rejected).as_str()), (StatusCode::BAD_REQUEST, "link"));
    for weak in ["short", "1234567890", "bob@example.org"] {
        let rejected = set_password(&anonymous, &link, weak).await;
        assert_eq!(rejected_field(&rejected), "new_password", "{weak}");
    }
    assert_eq!(bob.get("/api/auth/me").await.status, StatusCode::OK, "nothing has changed yet");

    let at_once =
        join_all([NEW_PASSWORD, "a third long password"].map(|word| set_password(&anonymous, &link, word)))
            .await;
    let done: Vec<_> = at_once.iter().map(|answer| answer.status == StatusCode::OK).collect();
    assert_ne!(done[0], done[1], "{at_once:?}");
    let set = if done[0] { NEW_PASSWORD } else { "a third long password" };
    for ended in [&bob, &browser] {
        assert_eq!(ended.get("/api/auth/me").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(ada.get("/api/auth/me").await.status, StatusCode::OK, "another's session goes on");
    assert!(!can_sign_in(&server, "bob", PASSWORD).await);
    assert!(can_sign_in(&server, "bob", set).await);
    assert_eq!(rejected_field(&set_password(&anonymous, &link, PASSWORD).await), "link", "once");
    let texts: Vec<_> = server.events().await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(
        texts[..2],
        [
            "bob set a new password with an admin's link; all their devices are signed out.",
            "ada made a link to set a new password for bob.",
        ]
    );
    assert_secret(&server, &ada, &[&former, &link, set]).await;
}

#[tokio::test]
async fn a_link_for_a_password_ends_with_its_hour_its_account_its_admin_or_another_password() {
    let (server, ada) = with_ada(&[]).await;
    let (bob, _carl) = (server.user("bob").await, server.user("carl").await);
    let anonymous = server.anonymous();
    let is_worthless =
        async |link: &str| rejected_field(&set_password(&anonymous, link, NEW_PASSWORD).await) == "link";

    let late = password_link(&ada, 2).await;
    let lives: i64 = sqlx::query_scalar("SELECT expires_at - created_at FROM password_link")
        .fetch_one(server.state.database.read())
        .await
        .unwrap();
    assert_eq!(lives, 60 * 60 * 1000);
    server.execute("UPDATE password_link SET expires_at = 1").await;
    assert!(is_worthless(&late).await);

    let of_inactive = password_link(&ada, 2).await;
    for is_active in ["false", "true"] {
        let set = [("account_id", "2"), ("is_active", is_active)];
        assert_eq!(ada.form("/api/v1/set_account_active", &set).await.status, StatusCode::OK);
    }
    assert!(is_worthless(&of_inactive).await);

    let overtaken = password_link(&ada, 2).await;
    let bob = if bob.get("/api/auth/me").await.status == StatusCode::OK {
        bob
    } else {
        server.signed_in("bob").await
    };
    let change = [("old_password", PASSWORD), ("new_password", "a third long password")];
    assert_eq!(bob.form("/api/v1/change_password", &change).await.status, StatusCode::OK);
    assert!(is_worthless(&overtaken).await);

    let promote = |role: &'static str| [("account_id", "2"), ("role", role)];
    assert_eq!(ada.form("/api/v1/set_account_role", &promote("admin")).await.status, StatusCode::OK);
    let of_bob = password_link(&bob, 3).await;
    assert_eq!(ada.form("/api/v1/set_account_role", &promote("user")).await.status, StatusCode::OK);
    assert!(is_worthless(&of_bob).await);
    for nonsense in ["", "x", &"A".repeat(43), &"A".repeat(10_000)] {
        assert!(is_worthless(nonsense).await);
    }
}

#[tokio::test]
async fn no_link_sets_an_admins_own_password_or_that_of_a_deactivated_account() {
    let (server, ada) = with_ada(&[]).await;
    server.user("bob").await;
    let link = |id: &'static str| [("account_id", id)];
    assert_eq!(ada.form("/api/v1/create_password_link", &link("1")).await.status, StatusCode::CONFLICT);
    assert_eq!(ada.form("/api/v1/create_password_link", &link("9")).await.status, StatusCode::NOT_FOUND);
    let off = [("account_id", "2"), ("is_active", "false")];
    assert_eq!(ada.form("/api/v1/set_account_active", &off).await.status, StatusCode::OK);
    assert_eq!(ada.form("/api/v1/create_password_link", &link("2")).await.status, StatusCode::CONFLICT);
}

struct Output {
    success: bool,
    stdout: String,
    stderr: String,
}

/// `twarga-cloud user …` on a data folder, with this on its standard input.
fn user(data_dir: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_twarga-cloud"))
        .arg("user")
        .args(arguments)
        .arg("--data-dir")
        .arg(data_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may have closed it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Output {
        success: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The same, which succeeds.
fn done(data_dir: &Path, arguments: &[&str], input: &str) -> String {
    let output = user(data_dir, arguments, input);
    assert!(output.success, "{arguments:?}: {}", output.stderr);
    output.stdout
}

#[tokio::test]
async fn the_command_line_changes_accounts_of_a_server_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut process = Process::start(folder.path(), |command| {
        command.args(["--provider", "simulated", "--simulated-vms", "0"]);
    });
    process.listens().await;
    done(&data, &["create", "ada", "--admin"], PASSWORD);
    done(&data, &["create", "bob"], PASSWORD);
    let address = process.address;
    let me = async |token: &str| http::send(address, "GET", "/api/auth/me", token, "").await;
    // The server looks for changes by other processes once a second.
    let soon = async |token: &str, status: u16, words: &str| {
        eventually(async || {
            let answer = me(token).await;
            if answer.0 == status && answer.1.contains(words) { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    };

    let bob = http::sign_in(address, "bob", PASSWORD).await;
    assert_eq!(me(&bob).await.0, 200);
    assert!(done(&data, &["sessions", "bob"], "").contains("client"));
    assert_eq!(done(&data, &["sessions", "bob", "--end"], ""), "bob is signed out of 1 device.\n");
    soon(&bob, 401, "").await;

    let bob = http::sign_in(address, "bob", PASSWORD).await;
    let output = done(&data, &["password", "BOB"], &format!("{NEW_PASSWORD}\n"));
    assert!(!output.contains(NEW_PASSWORD), "{output}");
    soon(&bob, 401, "").await;
    let bob = http::sign_in(address, "bob", NEW_PASSWORD).await;
    assert!(me(&bob).await.1.contains(r#""role":"user""#));
    done(&data, &["role", "bob", "admin"], "");
    soon(&bob, 200, r#""role":"admin""#).await;
    done(&data, &["deactivate", "bob"], "");
    soon(&bob, 401, "").await;
    let list = done(&data, &["list"], "");
    let lines: Vec<Vec<_>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["ada", "admin", "active", "never", "ada@localhost"]);
    assert_eq!(lines[2], ["bob", "admin", "deactivated", "never", "bob@localhost"]);
    done(&data, &["activate", "bob"], "");
    assert_eq!(me(&bob).await.0, 401, "its sessions are gone");
    http::sign_in(address, "bob", NEW_PASSWORD).await;

    let ada = http::sign_in(address, "ada", PASSWORD).await;
    let (_, events) = http::send(address, "GET", "/api/v1/events", &ada, "").await;
    for text in [
        "bob was signed out everywhere on the command line.",
        "The password of bob was set on the command line; all their devices are signed out.",
        "bob got the role admin on the command line.",
        "The account bob was deactivated on the command line.",
        "The account bob was activated on the command line.",
    ] {
        assert!(events.contains(text), "{text}: {events}");
    }
    assert!(!process.log().contains(NEW_PASSWORD));
}

#[tokio::test]
async fn the_command_line_leaves_an_admin_and_takes_no_weak_password() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let missing = user(&data, &["list"], "");
    assert!(!missing.success && missing.stderr.contains("--data-dir"), "{}", missing.stderr);
    assert!(!data.exists(), "a wrong folder is not made");
    done(&data, &["create", "ada", "--admin"], PASSWORD);
    for (arguments, input, words) in [
        (&["role", "ada", "user"][..], "", "ada is the only active admin"),
        (&["deactivate", "ada"], "", "ada is the only active admin"),
        (&["password", "ada"], "1234567890", "too easy to guess"),
        (&["password", "ada"], "short", "10 to 128 characters"),
        (&["password", "nobody"], PASSWORD, "There is no such account."),
        (&["sessions", "nobody"], "", "There is no such account."),
        (&["role", "ada", "king"], "", "user, admin"),
    ] {
        let output = user(&data, arguments, input);
        assert!(!output.success && output.stderr.contains(words), "{arguments:?}: {}", output.stderr);
    }
    let list = done(&data, &["list"], "");
    assert!(list.lines().nth(1).unwrap().starts_with("ada   admin  active"), "{list}");
}
