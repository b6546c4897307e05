//! How the server is reached: hosts, connections, time-outs.

use crate::{
    api::registered_server_functions,
    support::{
        Answer, Client, PASSWORD, Random, eventually,
        fleet::Fleet,
        form_request,
        http::{exchange, register},
        process::Process,
    },
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderName, Method, Request, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::URL_SAFE};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Mutex,
};

async fn get(client: &Client, path: &str, host: &str) -> Answer {
    client.send(Request::get(path).header(header::HOST, host).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn nothing_is_served_under_a_name_that_may_lead_anywhere() {
    let server = Fleet::new().serve(1).await;
    let ada = server.user("ada").await;
    let functions = registered_server_functions().into_iter();
    let rest =
        ["/", "/sign-in", "/vms/1", "/metrics", "/api/vms", "/api/metrics/host", "/favicon.svg", "/pkg/a.js"];
    let paths = functions.chain(rest.map(|path| (path.to_owned(), Method::GET)));
    for (path, method) in paths {
        for host in ["rebound.example:3000", "localhost.rebound.example", "198.51.100.77"] {
            let request = Request::builder().method(&method).uri(&path).header(header::HOST, host);
            let answer = ada.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{method} {path} {host}");
            assert_eq!(answer.json()["code"], "misdirected");
            assert!(answer.text.contains(&format!("--public-url http://{host}")), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn it_is_served_under_its_own_names() {
    let server = Fleet::new()
        .serve_with(&["--public-url", "https://cloud.example.org", "--public-url", "http://10.1.2.3"])
        .await;
    let anonymous = server.anonymous();
    for host in
        ["localhost", "127.0.0.1:3000", "[::1]:3000", "LOCALHOST.:3000", "cloud.example.org", "10.1.2.3:80"]
    {
        assert_eq!(get(&anonymous, "/api/v1/instance", host).await.status, StatusCode::OK, "{host}");
    }
    // Load balancers ask under addresses of their own.
    for host in ["198.51.100.77", "backend-7", "not a host"] {
        assert_eq!(get(&anonymous, "/health", host).await.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn the_host_of_a_connection_cannot_be_disguised() {
    let server = Fleet::new().serve(0).await;
    let listening = server.listen().await;
    let address = listening.address;
    for (request, status) in [
        ("GET /api/v1/instance HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("GET http://localhost/api/v1/instance HTTP/1.1\r\nHost: localhost\r\n", 200),
        ("GET http://rebound.example/sign-in HTTP/1.1\r\nHost: rebound.example\r\n", 421),
        ("GET http://rebound.example/sign-in HTTP/1.1\r\nHost: localhost\r\n", 400),
        ("GET http://localhost/sign-in HTTP/1.1\r\nHost: rebound.example\r\n", 400),
        ("GET /sign-in HTTP/1.1\r\nHost: localhost\r\nHost: rebound.example\r\n", 400),
        ("GET /sign-in HTTP/1.1\r\nHost: rebound.example\r\nX-Forwarded-Host: localhost\r\n", 421),
        ("GET /sign-in HTTP/1.1\r\n", 400),
        ("GET /sign-in HTTP/1.0\r\n", 400),
        ("GET /health HTTP/1.0\r\n", 200),
    ] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status.to_string().as_str()), "{request}{answer}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_with_prior_knowledge() {
    let server = Fleet::new().serve(0).await;
    let listening = server.listen().await;
    let stream = TcpStream::connect(listening.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for (url, status) in [
        (format!("http://{}/api/v1/instance", listening.address), 200),
        ("http://localhost/api/v1/instance".to_owned(), 200),
        ("http://rebound.example/api/v1/instance".to_owned(), 421),
    ] {
        let request = Request::get(&url).body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), status, "{url}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(!body.is_empty());
    }
    connection.abort();
}

#[tokio::test]
async fn a_form_behind_a_proxy_that_changes_the_host_needs_the_public_url() {
    let sign_in = async |flags: &[&str], more: &[(&'static str, &str)]| {
        let server = Fleet::new().serve_with(flags).await;
        server.user("ada").await;
        let mut request = form_request("/api/v1/sign_in", &[("username", "ada"), ("password", PASSWORD)]);
        for (name, value) in
            [("host", "127.0.0.1:3000"), ("origin", "https://cloud.example.org")].iter().chain(more)
        {
            request.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        server.anonymous().asking_from("127.0.0.1:4711").send(request).await
    };
    let answer = sign_in(&[], &[]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    for words in ["--public-url https://cloud.example.org", "header Host", "127.0.0.1:3000"] {
        assert!(answer.text.contains(words), "{}", answer.text);
    }
    let public = ["--public-url", "https://cloud.example.org"];
    assert_eq!(sign_in(&public, &[]).await.status, StatusCode::OK);
    // Or the proxy says it, if it is trusted.
    let forwarded = [("x-forwarded-host", "cloud.example.org"), ("x-forwarded-proto", "https")];
    let trusted = [&public[..], &["--trusted-proxy", "127.0.0.0/8"]].concat();
    assert_eq!(sign_in(&trusted, &forwarded).await.status, StatusCode::OK);
    assert_eq!(sign_in(&[], &forwarded).await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        sign_in(&trusted, &[("origin", "http://cloud.example.org")]).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn the_sign_in_page_says_that_it_was_opened_over_http() {
    for (flags, host, words) in [
        (
            &["--https", "--public-url", "https://cloud.example.org"][..],
            "cloud.example.org",
            "You cannot sign in over http",
        ),
        (
            &["--public-url", "http://cloud.example.org"],
            "cloud.example.org",
            "This connection is not encrypted",
        ),
    ] {
        let server = Fleet::new().serve_with(flags).await;
        server.user("ada").await;
        let page = async |path: &str, more: &[(&'static str, &str)]| {
            let mut request =
                Request::get(path).header(header::HOST, host).header(header::ACCEPT, "text/html");
            for (name, value) in more {
                request = request.header(*name, *value);
            }
            server.anonymous().send(request.body(Body::empty()).unwrap()).await.words()
        };
        for path in ["/sign-in", "/register"] {
            let text = page(path, &[]).await;
            assert!(text.contains(words), "{path}: {text}");
            assert_eq!(text.contains("Open https://cloud.example.org"), flags[0] == "--https");
            assert!(!page(path, &[("sec-fetch-mode", "navigate")]).await.contains(words));
            assert!(!page(path, &[("x-forwarded-proto", "https")]).await.contains(words));
        }
    }
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    assert!(!server.anonymous().page("/sign-in").await.text.contains("data-testid=\"transport\""));
}

#[tokio::test]
async fn an_error_that_somebody_else_put_into_an_address_is_not_shown() {
    let server = Fleet::new().serve(0).await;
    server.user("ada").await;
    let anonymous = server.anonymous();
    let fields = [("username", "ada"), ("password", "wrong")];
    let (location, page) = anonymous.submit("/sign-in", "/api/v1/sign_in", &fields).await;
    assert!(location.contains("__err=") && page.status == StatusCode::OK, "{location}");
    let shown = "Wrong user name or password.";
    assert!(page.words().contains(shown), "{}", page.words());
    // The same address in another browser.
    let answer = anonymous.page(&location).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/sign-in?username=ada"));
    assert!(!anonymous.page(answer.location()).await.words().contains(shown));
    let text = r#"{"code":"internal","text":"Call 555-0100 to unlock your account."}"#;
    let forged = URL_SAFE.encode(text);
    let answer = anonymous.page(&format!("/sign-in?__path=%2Fapi%2Fv1%2Fsign_in&__err={forged}")).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/sign-in"));
    assert!(!answer.text.contains("555-0100"));
}

/// Connections that say nothing, from several addresses of this machine.
async fn idle_connections(to: SocketAddr, count: u32, addresses: u32) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for n in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        let from = Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + n % addresses);
        socket.bind((from, 0).into()).unwrap();
        open.push(socket.connect(to).await.unwrap());
    }
    open
}

/// Opens 10,000 idle connections, from one address or from many, half of them with the beginning of a request.
async fn withstands_idle_connections(addresses: u32) {
    const CONNECTIONS: u32 = 10_000;
    // Of two tests at once, this process might not be allowed so many.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path(), |command| {
        command.args(["--provider", "simulated", "--simulated-vms", "3", "--collect-every", "1"]);
    });
    server.listens().await;
    let token = register(server.address, "ada", &server.setup_code()).await;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert!(hard > u64::from(CONNECTIONS) + 500, "this test needs more descriptors than {hard}");
    let mut open = idle_connections(server.address, CONNECTIONS, addresses).await;
    for connection in open.iter_mut().step_by(2) {
        // The server may have closed it already.
        let _ = connection.write_all(b"GET / HTTP/1.1\r\nHo").await;
    }
    let head = format!("Authorization: Bearer {token}\r\n");
    let newest = async || {
        let (status, answer) = exchange(server.address, "GET", "/api/v1/metrics_since", &head, "")
            .await
            .map_err(|e| e.to_string())?;
        if status != 200 {
            return Err(format!("{status} {answer}"));
        }
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        Ok(answer["cursor"].to_string())
    };
    let before = newest().await.unwrap();
    eventually(async || match newest().await? {
        after if after != before => Ok(()),
        _ => Err("the collector does not go on".to_owned()),
    })
    .await;
    assert!(!server.log().contains("Too many open files"), "{}", server.log());
    assert!(open.len() == 10_000);
}

#[tokio::test]
async fn ten_thousand_idle_connections_of_one_address_stop_nobody() {
    withstands_idle_connections(1).await;
}

#[tokio::test]
async fn ten_thousand_idle_connections_of_many_addresses_stop_nobody() {
    withstands_idle_connections(100).await;
}

#[tokio::test]
async fn an_address_with_all_its_requests_under_way_gets_503_and_others_do_not() {
    let server = Fleet::new().serve(0).await;
    let listening = server.listen().await;
    let mut open = Vec::new();
    // Bodies that never end. One more at each attempt: a connection gives way if its head has not arrived yet.
    let begin = async || {
        let mut connection = TcpStream::connect(listening.address).await.unwrap();
        let head = "POST /api/v1/sign_in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        connection
    };
    for _ in 0..256 {
        open.push(begin().await);
    }
    eventually(async || {
        open.push(begin().await);
        let (status, _) =
            exchange(listening.address, "GET", "/health", "", "").await.map_err(|e| e.to_string())?;
        if status == 503 { Ok(()) } else { Err(format!("{status}")) }
    })
    .await;
    let other = TcpSocket::new_v4().unwrap();
    other.bind((Ipv4Addr::new(127, 0, 0, 9), 0).into()).unwrap();
    let mut other = other.connect(listening.address).await.unwrap();
    other.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(open);
    eventually(async || {
        let (status, _) =
            exchange(listening.address, "GET", "/health", "", "").await.map_err(|e| e.to_string())?;
        if status == 200 { Ok(()) } else { Err(format!("{status}")) }
    })
    .await;
}

/// Each closes its connection at another moment of the page's rendering.
#[tokio::test]
async fn page_loads_that_are_broken_off_leave_no_trace() {
    // Fewer than one address may have under way, if the machine is slow.
    const LOADS: u64 = 240;
    let folder = tempfile::tempdir().unwrap();
    let mut server = Process::start(folder.path(), |command| {
        command.args(["--provider", "simulated", "--simulated-vms", "3", "--collect-every", "1"]);
    });
    server.listens().await;
    register(server.address, "ada", &server.setup_code()).await;
    let head = "Content-Type: application/x-www-form-urlencoded\r\n";
    let form = format!("username=ada&password={}", PASSWORD.replace(' ', "+"));
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "POST /api/v1/sign_in HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let cookie = answer.split_once("set-cookie: ").and_then(|(_, rest)| rest.split_once(';')).unwrap().0;
    let load = async |path: &str, micros: u64| {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nCookie: {cookie}\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = vec![0; 4096];
        let reading = async { while connection.read(&mut bytes).await.is_ok_and(|count| count > 0) {} };
        // Not a wait: the moment at which the client hangs up is what is varied.
        let _ = tokio::time::timeout(std::time::Duration::from_micros(micros), reading).await;
    };
    let side_by_side = (0..8_u64).map(|n| {
        let load = &load;
        async move {
            let mut random = Random::new();
            for n in n * LOADS / 8..(n + 1) * LOADS / 8 {
                let pages =
                    ["/", "/vms/1", "/vms/2/snapshots", "/vms/1/settings", "/monitor", "/alerts", "/admin"];
                load(pages[usize::try_from(n).unwrap() % pages.len()], random.below(250_000)).await;
            }
        }
    });
    futures::future::join_all(side_by_side).await;
    eventually(async || {
        let (status, answer) =
            exchange(server.address, "GET", "/health", "", "").await.map_err(|error| error.to_string())?;
        if status == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
