//! The second factor, and what takes a password that was entered a short time ago.

use crate::{
    access::{Level, PAGES, REST, level_of},
    api::{call, registered_server_functions, server_functions},
    support::{Answer, Client, PASSWORD, Server, fleet::Fleet},
};
use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::Value;
use std::{
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

const PAGE: &str = "/account/second-factor";
/// What an admin may call who must set up a second factor first.
const FOR_SETUP: [&str; 5] = [
    "/api/v1/current_user",
    "/api/v1/my_second_factor",
    "/api/v1/begin_second_factor",
    "/api/v1/confirm_second_factor",
    "/api/v1/confirm_password",
];

/// What the app shows, or will show in so many steps.
fn code(secret: &str, steps: u64) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret.replace(' ', "")).unwrap();
    let secs = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    totp.generate(secs + 30 * steps).to_string()
}

fn field(answer: &Answer) -> Value {
    answer.json()["fields"][0]["field"].clone()
}

/// Sets up a second factor. Gives its secret and its recovery codes.
async fn set_up(client: &Client) -> (String, Vec<String>) {
    assert_eq!(client.form("/api/v1/begin_second_factor", &[]).await.status, StatusCode::OK);
    let setup = client.get("/api/v1/my_second_factor").await.json();
    let secret = setup["setup"]["secret"].as_str().unwrap().to_owned();
    let answer = client.form("/api/v1/confirm_second_factor", &[("code", &code(&secret, 0))]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    (secret, serde_json::from_str(&answer.text).unwrap())
}

async fn sign_in(server: &Server, path: &str, name: &str, code: &str) -> Answer {
    let fields = [("username", name), ("password", PASSWORD), ("code", code)];
    server.anonymous().form(path, &fields).await
}

#[tokio::test]
async fn both_ways_to_sign_in_ask_for_the_code() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    let (secret, codes) = set_up(&ada).await;
    for path in ["/api/auth/login", "/api/v1/sign_in"] {
        for wrong in ["", "000000", "nonsense"] {
            let answer = sign_in(&server, path, "ada", wrong).await;
            assert_eq!((answer.status, field(&answer)), (StatusCode::BAD_REQUEST, "code".into()), "{path}");
            assert!(answer.headers.get(header::SET_COOKIE).is_none());
        }
    }
    let answer = sign_in(&server, "/api/auth/login", "ada", &code(&secret, 1)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(answer.json()["access_token"].is_string());
    let answer = sign_in(&server, "/api/v1/sign_in", "ada", &codes[0]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(answer.headers.get(header::SET_COOKIE).is_some());
    assert_eq!(field(&sign_in(&server, "/api/v1/sign_in", "ada", &codes[0]).await), "code");
}

#[tokio::test]
async fn a_second_factor_is_set_up_and_used_without_javascript() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let browser = server.browser("ada").await;
    let (location, page) = browser.submit(PAGE, "/api/v1/begin_second_factor", &[]).await;
    assert_eq!(location.trim_end_matches('?'), PAGE);
    let (_, after) = page.text.split_once("data-testid=\"secret\">").unwrap();
    let secret = after.split('<').next().unwrap().to_owned();
    assert!(page.text.contains("<path d=\"M0 0h7v1h-7z"), "the QR code");
    let (_, rejected) = browser.submit(PAGE, "/api/v1/confirm_second_factor", &[("code", "1")]).await;
    assert!(rejected.words().contains("This is not the app's current code."), "{}", rejected.words());
    let (_, page) =
        browser.submit(PAGE, "/api/v1/confirm_second_factor", &[("code", &code(&secret, 0))]).await;
    let (_, after) = page.text.split_once("<textarea").unwrap();
    let codes = after.split_once('>').unwrap().1.split('<').next().unwrap().trim().to_owned();
    assert_eq!(codes.lines().count(), 10, "{codes}");
    let again = browser.page(PAGE).await;
    assert!(again.words().contains("Recovery codes left: 10."));
    for secret in codes.lines().chain([secret.as_str()]) {
        assert!(!again.text.contains(secret), "shown once");
        assert!(!format!("{:?}", server.events().await).contains(secret));
    }

    let fields = [("username", "ada"), ("password", PASSWORD)];
    let anonymous = server.anonymous();
    let (location, asked) = anonymous.submit("/sign-in", "/api/v1/sign_in", &fields).await;
    assert!(location.starts_with("/sign-in?"), "{location}");
    assert!(asked.text.contains("name=\"code\"") && !asked.text.contains(PASSWORD));
    assert_eq!(asked.field("username").as_deref(), Some("ada"));
    let with_code = [fields[0], fields[1], ("code", codes.lines().next().unwrap())];
    let mut request = crate::support::form_request("/api/v1/sign_in", &with_code);
    request.headers_mut().insert(header::ACCEPT, "text/html".parse().unwrap());
    let answer = anonymous.send(request).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::FOUND, "/"));
}

#[tokio::test]
async fn whoever_has_no_recent_password_changes_no_way_into_an_account() {
    let server = Fleet::new().serve(0).await;
    let (ada, _bob) = (server.user("ada").await, server.user("bob").await);
    let old = "UPDATE session SET authenticated_at = authenticated_at - 601000";
    server.execute(old).await;
    let account = [("username", "eve"), ("email", "eve@example.org"), ("password", PASSWORD)];
    let admins = [&account[..], &[("role", "admin")]].concat();
    let users = [&account[..], &[("role", "user")]].concat();
    let changes: [(&str, &[(&str, &str)]); 9] = [
        ("set_account_role", &[("account_id", "2"), ("role", "user")]),
        ("create_password_link", &[("account_id", "2")]),
        ("create_account", &admins),
        ("create_invitation", &[("days", "1"), ("role", "admin")]),
        ("remove_account_second_factor", &[("account_id", "2")]),
        ("require_second_factor", &[("is_required", "true")]),
        ("begin_second_factor", &[]),
        ("confirm_second_factor", &[("code", "000000")]),
        ("remove_second_factor", &[]),
    ];
    for (function, fields) in changes {
        let answer = ada.form(&format!("/api/v1/{function}"), fields).await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (StatusCode::FORBIDDEN, "password_needed".into())
        );
    }
    assert_eq!(ada.form("/api/v1/renew_recovery_codes", &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(ada.form("/api/v1/create_account", &users).await.status, StatusCode::OK, "no admin");
    assert_eq!(ada.get("/api/vms").await.status, StatusCode::OK, "everything else goes on");

    let confirm = [("password", PASSWORD), ("next", "/admin/accounts")];
    assert_eq!(field(&ada.form("/api/v1/confirm_password", &[("password", "x")]).await), "password");
    assert_eq!(ada.form("/api/v1/confirm_password", &confirm).await.status, StatusCode::OK);
    for (function, fields) in &changes[..2] {
        let answer = ada.form(&format!("/api/v1/{function}"), fields).await;
        assert_eq!(answer.status, StatusCode::OK, "{function}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_password_is_entered_again_without_javascript() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let browser = server.browser("ada").await;
    server.execute("UPDATE session SET authenticated_at = 0").await;
    let (_, page) = browser.submit(PAGE, "/api/v1/begin_second_factor", &[]).await;
    let link = "/confirm-password?next=/account/second-factor";
    assert!(page.text.contains(&format!("href=\"{link}\"")), "{}", page.text);
    assert_eq!(browser.page(link).await.field("next").as_deref(), Some(PAGE));
    let wrong = [("next", PAGE), ("password", "not the password")];
    let (location, page) = browser.submit(link, "/api/v1/confirm_password", &wrong).await;
    assert!(location.starts_with("/confirm-password?next="), "{location}");
    assert!(page.words().contains("This is not your password."));
    let right = [("next", PAGE), ("password", PASSWORD)];
    let (location, _) = browser.submit(link, "/api/v1/confirm_password", &right).await;
    assert_eq!(location, PAGE);
    let elsewhere = [("next", "//evil.example"), ("password", PASSWORD)];
    assert_eq!(browser.submit(link, "/api/v1/confirm_password", &elsewhere).await.0, "/");
    let (_, page) = browser.submit(PAGE, "/api/v1/begin_second_factor", &[]).await;
    assert!(page.text.contains("data-testid=\"secret\""));
}

#[tokio::test]
async fn an_admin_without_the_required_second_factor_reaches_nothing_else() {
    let server = Fleet::new().serve(1).await;
    let ada = server.user("ada").await;
    let carol = server.user("carol").await;
    set_up(&ada).await;
    let id = carol.get("/api/auth/me").await.json()["id"].to_string();
    let role = [("account_id", id.as_str()), ("role", "admin")];
    assert_eq!(ada.form("/api/v1/set_account_role", &role).await.status, StatusCode::OK);
    assert_eq!(carol.get("/api/v1/accounts").await.status, StatusCode::OK);
    let required = ada.form("/api/v1/require_second_factor", &[("is_required", "true")]).await;
    assert_eq!(required.status, StatusCode::OK, "{}", required.text);
    assert_eq!(ada.get("/api/v1/accounts").await.status, StatusCode::OK);
    let browser = server.browser("carol").await;

    let registered = registered_server_functions();
    // Signing out would end the session that the others need.
    for (path, arguments) in server_functions().into_iter().filter(|(path, _)| *path != "/api/v1/sign_out") {
        let status = call(&carol, &registered[path], path, arguments).await;
        let is_open = level_of(path) == Level::Anyone || FOR_SETUP.contains(&path);
        assert_eq!(status != StatusCode::FORBIDDEN, is_open, "{path}: {status}");
    }
    for (method, _, path, body, level) in REST {
        let request = Request::builder().method(method).uri(path);
        let request =
            request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap();
        let answer = carol.send(request).await;
        if level != Level::Anyone {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
            assert_eq!(answer.json()["code"], "second_factor_missing", "{path}");
            assert!(answer.json()["text"].as_str().unwrap().contains(PAGE), "it says what to do");
        }
    }
    for (_, path, level) in PAGES {
        let answer = browser.page(path).await;
        if level != Level::Anyone && path != PAGE && path != "/confirm-password" {
            assert!(answer.status.is_redirection(), "{path}: {}", answer.status);
            assert_eq!(answer.location(), PAGE, "{path}");
        }
    }
    let page = browser.page(PAGE).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.words().contains("Admins need a second factor on this server."));

    set_up(&carol).await;
    assert_eq!(carol.get("/api/v1/accounts").await.status, StatusCode::OK);
    assert_eq!(browser.page("/admin").await.status, StatusCode::OK);
    assert_eq!(carol.form("/api/v1/remove_second_factor", &[]).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn the_command_line_removes_a_lost_second_factor() {
    let folder = tempfile::tempdir().unwrap();
    let server = Fleet::new().serve_in(folder.path(), &["--simulated-vms", "0"]).await;
    let ada = server.user("ada").await;
    set_up(&ada).await;
    let user = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_twarga-cloud"))
            .args(["user", "second-factor", "ada", "--data-dir", folder.path().to_str().unwrap()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(user(&[]), "ada has a second factor, and 10 recovery codes left.\n");
    assert_eq!(user(&["--remove"]), "The second factor of ada is removed.\n");
    assert_eq!(user(&["--remove"]), "ada has no second factor. Nothing was changed.\n");
    assert_eq!(user(&[]), "ada has no second factor.\n");
    assert_eq!(sign_in(&server, "/api/auth/login", "ada", "").await.status, StatusCode::OK);
    let event = (
        "account_second_factor_removed".to_owned(),
        "The second factor of ada was removed on the command line.".to_owned(),
    );
    assert!(server.events().await.contains(&event));
}
