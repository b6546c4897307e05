//! Input at the bounds of its type and headers, as attackers send and read them.

use crate::{
    api::{call, registered_server_functions, server_functions},
    support::{Answer, Client, PASSWORD, fleet::Fleet, form_request, http},
};
use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use futures::future::{join, join_all};
use leptos::prelude::Owner;
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const SOURCES: [&str; 9] = [
    include_str!("../../src/api/accounts.rs"),
    include_str!("../../src/api/alerts.rs"),
    include_str!("../../src/api/events.rs"),
    include_str!("../../src/api/metrics.rs"),
    include_str!("../../src/api/notifications.rs"),
    include_str!("../../src/api/second_factor.rs"),
    include_str!("../../src/api/ssh_keys.rs"),
    include_str!("../../src/api/terminals.rs"),
    include_str!("../../src/api/vms.rs"),
];

const EXTREMES: [&str; 10] = [
    "-9223372036854775808",
    "9223372036854775807",
    "-2147483648",
    "2147483647",
    "4294967295",
    "-32768",
    "32767",
    "-1",
    "0",
    "18446744073709551615",
];

/// The numbers that server functions take, by path, as the source declares them.
fn number_parameters() -> BTreeMap<String, Vec<String>> {
    const NUMBERS: [&str; 8] = ["i64", "i32", "i16", "u16", "u32", "u64", "f64", "UtcMillis"];
    let mut parameters = BTreeMap::new();
    for function in SOURCES.iter().flat_map(|source| source.split("endpoint = \"").skip(1)) {
        let (endpoint, rest) = function.split_once('"').unwrap();
        let signature = rest.split_once(") -> Result").unwrap().0;
        let names = signature.lines().filter_map(|line| {
            let (name, kind) = line.trim().trim_end_matches(',').split_once(": ")?;
            let is_list = kind.starts_with("Vec<");
            let bare = kind.trim_start_matches("Option<").trim_start_matches("Vec<").trim_end_matches('>');
            NUMBERS.contains(&bare).then(|| if is_list { format!("{name}[0]") } else { name.to_owned() })
        });
        parameters.insert(format!("/api/v1/{endpoint}"), names.collect());
    }
    parameters
}

#[tokio::test]
async fn every_server_function_survives_the_extremes_of_its_numbers() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(2).await;
    let admin = server.user("ada").await;
    server.user("bob").await;
    fleet.ticks(&mut server, 3).await;
    let registered = registered_server_functions();
    let declared = number_parameters();
    assert_eq!(declared.keys().collect::<Vec<_>>(), registered.keys().collect::<Vec<_>>());
    let mut count = 0;
    for (path, arguments) in server_functions() {
        let pairs: Vec<(&str, &str)> = arguments.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let given = pairs.iter().filter(|(_, value)| value.parse::<i64>().is_ok()).map(|(name, _)| *name);
        let mut numbers: Vec<&str> = given.chain(declared[path].iter().map(String::as_str)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let with = |values: &[(&str, &str)]| {
            let kept = pairs.iter().filter(|(name, _)| values.iter().all(|(other, _)| name != other));
            let all = kept.chain(values).map(|(name, value)| format!("{name}={value}"));
            all.collect::<Vec<_>>().join("&")
        };
        let alone = numbers.iter().flat_map(|name| EXTREMES.map(|value| with(&[(name, value)])));
        // The first of two, such as the begin of a span, at one end and the second at the other.
        let opposite = [[0, 1], [1, 0], [0, 0], [1, 1]].map(|ends| {
            let values: Vec<_> =
                numbers.iter().enumerate().map(|(i, name)| (*name, EXTREMES[ends[i % 2]])).collect();
            with(&values)
        });
        let opposite = opposite.into_iter().filter(|_| numbers.len() > 1);
        for arguments in alone.chain(opposite) {
            let status = call(&admin, &registered[path], path, &arguments).await;
            assert!(status.as_u16() < 500, "{status}: {path}?{arguments}");
            count += 1;
        }
    }
    assert!(count > 500, "{count}");
    for page in ["/admin/accounts", "/admin", "/", "/alerts", "/events"] {
        assert_eq!(admin.page(page).await.status, StatusCode::OK, "{page}");
    }
    for path in ["/api/v1/accounts", "/api/v1/my_quota", "/api/v1/list_vms"] {
        assert_eq!(admin.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn credits_out_of_all_proportion_are_not_booked() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    for amount in ["-9223372036854775808", "9223372036854775807", "-1000000001", "1000000001", "0"] {
        let grant = [("account_id", "1"), ("amount", amount), ("reason", "a test")];
        let answer = ada.form("/api/v1/grant_credits", &grant).await;
        assert_eq!(
            (answer.status, answer.json()["fields"][0]["field"].clone()),
            (StatusCode::BAD_REQUEST, json!("amount"))
        );
    }
    let mut tx = server.state.database.write().await.unwrap();
    let entry = "INSERT INTO credit_entry (account_id, at, kind, amount, note) VALUES (1, 0, 'grant', ?, '')";
    for amount in [i64::MIN, i64::MAX, 1 << 33] {
        let booked = sqlx::query(entry).bind(amount).execute(&mut *tx).await;
        assert!(booked.unwrap_err().to_string().contains("out of bounds"), "{amount}");
    }
}

#[tokio::test]
async fn a_reason_is_a_single_line() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    for reason in ["fun\n2026-11-30 INFO ada made eve an admin.", "a\rb", "a\u{1b}[2Jb", "a\u{85}b"] {
        let grant = [("account_id", "1"), ("amount", "5"), ("reason", reason)];
        let answer = ada.form("/api/v1/grant_credits", &grant).await;
        assert_eq!(
            (answer.status, answer.json()["fields"][0]["field"].clone()),
            (StatusCode::BAD_REQUEST, json!("reason"))
        );
    }
}

#[tokio::test]
async fn every_cookie_is_secure_under_https_only() {
    for (flags, is_secure) in [(&["--https"][..], true), (&[], false)] {
        let server = Fleet::new().serve_with(flags).await;
        server.user("ada").await;
        let sign_in = [("username", "ada"), ("password", PASSWORD)];
        for (path, fields) in [
            ("/api/v1/set_theme", &[("theme", "dark")][..]),
            ("/api/v1/sign_in", &sign_in),
            ("/api/v1/sign_out", &[]),
        ] {
            let answer = server.anonymous().form(path, fields).await;
            let cookies: Vec<_> = answer.headers.get_all(header::SET_COOKIE).iter().collect();
            assert_eq!(cookies.len(), if path == "/api/v1/sign_in" { 2 } else { 1 });
            for cookie in cookies.into_iter().map(|cookie| cookie.to_str().unwrap()) {
                assert_eq!(cookie.contains("; Secure"), is_secure, "{path}: {cookie}");
                assert_eq!(cookie.starts_with("__Host-"), is_secure, "{path}: {cookie}");
                assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{path}: {cookie}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_that_shows_an_error_has_its_status() {
    let server = Fleet::new().serve(0).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    for page in ["/admin", "/admin/accounts", "/vms/adopt"] {
        assert_eq!(ada.page(page).await.status, StatusCode::OK, "{page}");
        let answer = bob.page(page).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{page}");
        assert!(answer.words().contains("Admins only"), "{page}");
    }
}

#[tokio::test]
async fn every_response_says_who_may_embed_it_and_which_features_it_uses() {
    let server = Fleet::new().serve(0).await;
    for path in ["/sign-in", "/health", "/api/v1/instance", "/api/nothing", "/favicon.svg"] {
        let answer = server.anonymous().get(path).await;
        let of = |name: &str| answer.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        assert_eq!(of("cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(of("x-content-type-options"), "nosniff", "{path}");
        let policy = of("content-security-policy");
        for part in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        let is_page = of("content-type").starts_with("text/html");
        assert_eq!(policy.contains("script-src 'self' 'nonce-"), is_page, "{path}: {policy}");
        for feature in ["camera=()", "microphone=()", "geolocation=()"] {
            assert!(of("permissions-policy").contains(feature), "{path}: {}", of("permissions-policy"));
        }
    }
}

#[tokio::test]
async fn pages_are_separated_from_other_windows_where_browsers_heed_it() {
    let server =
        Fleet::new().serve_with(&["--public-url", "http://10.1.2.3", "--trusted-proxy", "10.9.9.9"]).await;
    for (host, peer, headers, expected) in [
        ("localhost:3000", "127.0.0.1:4711", &[][..], true),
        ("127.0.0.1:3000", "127.0.0.1:4711", &[], true),
        ("10.1.2.3", "10.1.2.4:4711", &[], false),
        ("10.1.2.3", "10.1.2.4:4711", &[("sec-fetch-mode", "navigate")], true),
        ("10.1.2.3", "10.9.9.9:4711", &[("x-forwarded-proto", "https")], true),
        ("10.1.2.3", "10.9.9.9:4711", &[("x-forwarded-proto", "http")], false),
    ] {
        let mut request =
            Request::get("/setup").header(header::HOST, host).header(header::ACCEPT, "text/html");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = server.anonymous().asking_from(peer).send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
        let policy = answer.headers.get("cross-origin-opener-policy");
        assert_eq!(policy.is_some(), expected, "{host} {peer} {headers:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_wherever_it_is_sent() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    let huge = "x".repeat(200_000);
    for path in ["/api/v1/sign_in", "/api/auth/login", "/api/v1/save_alert_rule"] {
        let answer = ada.form(path, &[("username", &huge), ("password", "y")]).await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (StatusCode::PAYLOAD_TOO_LARGE, json!("too_large")),
            "{path}"
        );
    }
    // In parts, without a length that announces it.
    let parts = (0..20).map(|_| Ok::<_, std::io::Error>("x".repeat(10_000)));
    let request = Request::post("/api/auth/register")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from_stream(futures::stream::iter(parts)))
        .unwrap();
    assert_eq!(ada.send(request).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut form = form_request("/api/v1/sign_in", &[("username", &huge), ("password", "y")]);
    form.headers_mut().insert(header::ACCEPT, "text/html".parse().unwrap());
    assert_eq!(server.anonymous().send(form).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_response_its_events_and_its_error_have_the_same_request_id() {
    let server = Fleet::new().serve(0).await;
    let admin = server.user("ada").await;
    let id_of = |answer: &Answer| answer.headers["x-request-id"].to_str().unwrap().to_owned();
    let fields = [("account_id", "1"), ("amount", "5"), ("reason", "a test")];
    let answer = admin.asking_from("192.0.2.7:4711").form("/api/v1/grant_credits", &fields).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let (recorded, address, session_id): (String, String, i64) =
        sqlx::query_as("SELECT request_id, address, session_id FROM event ORDER BY id DESC LIMIT 1")
            .fetch_one(server.state.database.read())
            .await
            .unwrap();
    assert_eq!((&recorded, address.as_str()), (&id_of(&answer), "192.0.2.7"));
    let own: i64 = sqlx::query_scalar("SELECT max(id) FROM session")
        .fetch_one(server.state.database.read())
        .await
        .unwrap();
    assert_eq!(session_id, own);

    let mut foreign = form_request("/api/v1/grant_credits", &fields);
    let browser = server.browser("ada").await;
    foreign.headers_mut().insert(header::COOKIE, browser.cookie().unwrap().parse().unwrap());
    foreign.headers_mut().insert("sec-fetch-site", "cross-site".parse().unwrap());
    foreign.headers_mut().insert("x-request-id", recorded.parse().unwrap());
    let rejected = server.anonymous().send(foreign).await;
    assert_eq!(rejected.status, StatusCode::FORBIDDEN);
    assert_ne!(id_of(&rejected), recorded, "a client cannot choose it");

    server.execute("ALTER TABLE credit_entry RENAME TO lost").await;
    let failed = admin.get("/api/v1/my_quota").await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(failed.text.contains(&format!("(reference {})", id_of(&failed))), "{}", failed.text);
}

/// The reactive values of a page, and the cookies of its user, belong to its request alone.
#[tokio::test]
async fn pages_that_are_rendered_side_by_side_are_complete_and_of_their_own_user() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(2).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    fleet.ticks(&mut server, 2).await;
    let load = async |client: &Client, path: &str, shown: &str, hidden: &str| {
        for _ in 0..20 {
            let page = client.page(path).await;
            assert_eq!(page.status, StatusCode::OK, "{path}");
            assert!(page.text.contains("</html>"), "{path}: {}", page.text);
            let words = page.words();
            assert!(page.text.contains(shown) && !page.text.contains(hidden), "{path}: {words}");
        }
    };
    let none = "no page has this";
    let of_vm = ["", "/snapshots", "/activity", "/settings"].map(|tab| format!("/vms/1{tab}"));
    let vms = of_vm.iter().map(|path| load(&ada, path, "web-1", none));
    tokio::join!(
        join_all(vms),
        load(&ada, "/account", "ada@example.org", "bob@example.org"),
        load(&bob, "/account", "bob@example.org", "ada@example.org"),
        load(&ada, "/admin", "ada", none),
        load(&ada, "/monitor", "ada", none),
    );
}

/// What runs on the thread afterwards would find the contexts of this page, among them its user's cookies.
#[tokio::test]
async fn a_page_leaves_no_reactive_owner_behind() {
    let server = Fleet::new().serve(0).await;
    let ada = server.user("ada").await;
    for page in ["/", "/account"] {
        assert_eq!(ada.page(page).await.status, StatusCode::OK);
        assert!(Owner::current().is_none(), "{page}");
    }
}

/// A request that is carried out twice would grant twice and invite twice, and one that its client leaves would be lost.
#[tokio::test]
async fn a_slow_post_runs_once_whether_its_client_waits_hangs_up_or_tries_again() {
    // A page may take 10 s to be rendered.
    const SLOWNESS: Duration = Duration::from_secs(11);
    let server = Fleet::new().serve(0).await;
    let listening = server.listen().await;
    let token = http::register(listening.address, "ada", server.setup_code()).await;
    let head =
        format!("Authorization: Bearer {token}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
    let posts = [
        ("/api/v1/grant_credits", "account_id=1&amount=7&reason=work"),
        ("/api/v1/create_invitation", "days=7&role=user&credits=10&note=friend"),
        (
            "/api/v1/save_alert_rule",
            "rule[scope]=every_vm&rule[metric]=cpu&rule[threshold]=91&rule[for_secs]=60&rule[severity]=warning",
        ),
    ];
    let launch = "name=slow&image=debian-12&ram_mb=512&cpu_cores=1&disk_gb=10";
    let counts = async || {
        let mut counts = Vec::new();
        for sql in [
            "SELECT count(*) FROM credit_entry WHERE amount = 7",
            "SELECT count(*) FROM invitation",
            "SELECT count(*) FROM alert_rule WHERE threshold = 91",
            "SELECT count(*) FROM vm",
            "SELECT count(*) FROM operation",
        ] {
            counts.push(
                sqlx::query_scalar::<_, i64>(sql).fetch_one(server.state.database.read()).await.unwrap(),
            );
        }
        counts
    };
    assert_eq!(counts().await, [0; 5]);

    // Whoever writes waits for this.
    let writing = server.state.database.write().await.unwrap();
    let hang_up = async |path: &str, body: &str| {
        let mut connection = TcpStream::connect(listening.address).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        // Time for the request to begin: one that has not arrived is not carried out at all.
        let _ = timeout(Duration::from_secs(1), connection.read(&mut [0; 1])).await;
    };
    let wait = async |path: &str, body: &str| {
        http::exchange(listening.address, "POST", path, &head, body).await.unwrap()
    };
    hang_up("/api/v1/launch_vm", launch).await;
    for (path, body) in posts {
        hang_up(path, body).await;
    }
    let waiting = async {
        let again = wait("/api/v1/launch_vm", launch);
        (again.await, join_all(posts.map(|(path, body)| wait(path, body))).await)
    };
    let release = async {
        sleep(SLOWNESS).await;
        drop(writing);
    };
    let ((again, answers), ()) = join(waiting, release).await;
    assert_eq!((again.0, again.1.contains("already have a VM called slow")), (409, true), "{}", again.1);
    for (status, answer) in answers {
        assert_eq!(status, 200, "{answer}");
    }
    server.wait_until_idle().await;
    assert_eq!(counts().await, [2, 2, 2, 1, 1], "one of who hung up, one of who waited, and one launch");
}
