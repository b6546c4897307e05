//! Requests that no client would send, to every endpoint.

use crate::{
    access::{PAGES, REST},
    api::{registered_server_functions, server_functions},
    support::{PASSWORD, Random, http, process::Process},
};
use axum::http::Method;
use std::{fs, net::SocketAddr, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const REQUESTS: usize = 10_000;
/// Until caches and buffers have their size.
const WARM_UP: usize = 4_000;
const AT_ONCE: usize = 8;
const MAX_GROWTH_KB: u64 = 20 * 1024;

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"];
const CONTENT_TYPES: [&str; 7] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain; charset=utf-16",
    "application/json; charset=\"",
    "",
    "\u{1}",
];
/// Put into paths, queries and bodies.
const PIECES: [&[u8]; 24] = [
    b"%00",
    b"%ff%fe",
    b"%",
    b"%zz",
    b"\xff\xfe\xfd",
    b"\0",
    b"../../../../etc/passwd",
    b"%2e%2e%2f",
    b"//",
    b";",
    b"'\"`$(id)",
    b"<script>",
    b"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[",
    b"[]",
    b"null",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"1e400",
    b"NaN",
    b"&vm_id=1&vm_id=2",
    b"[0][0][0][0]=",
    b"[99999999999]=x",
    "\u{202e}\u{0}\u{fffd}".as_bytes(),
    b"\r\nX-Forged: yes",
];

struct Case {
    method: String,
    path: String,
    body: Vec<u8>,
}

/// A correct request of every route.
fn cases() -> Vec<Case> {
    let rest = REST.iter().map(|(method, _, path, body, _)| Case {
        method: (*method).into(),
        path: (*path).into(),
        body: body.as_bytes().to_vec(),
    });
    let registered = registered_server_functions();
    // A correct one ends the session that the others need.
    let harmless = server_functions().into_iter().filter(|(path, _)| *path != "/api/v1/sign_out");
    let functions = harmless.map(|(path, arguments)| match &registered[path] {
        &Method::GET => Case { method: "GET".into(), path: format!("{path}?{arguments}"), body: Vec::new() },
        method => Case { method: method.to_string(), path: path.into(), body: arguments.as_bytes().to_vec() },
    });
    let pages = PAGES.iter().map(|(_, path, _)| Case {
        method: "GET".into(),
        path: format!("{path}?q=x&before=1&operation=1&range=1h"),
        body: Vec::new(),
    });
    rest.chain(functions).chain(pages).collect()
}

/// One to four things that are wrong with the text.
fn damaged(text: &[u8], random: &mut Random) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(text.len() as u64 + 1) as usize;
        match random.below(4) {
            0 => text.truncate(at),
            1 if !text.is_empty() => {
                let end = (at + random.below(8) as usize).min(text.len());
                text.drain(at..end);
            }
            2 => {
                let times = 1 + random.below(200) as usize;
                let piece = PIECES[random.below(PIECES.len() as u64) as usize].repeat(times);
                text.splice(at..at, piece);
            }
            _ => {
                let piece = PIECES[random.below(PIECES.len() as u64) as usize];
                text.splice(at..at, piece.iter().copied());
            }
        }
    }
    text
}

/// The bytes of a request that is like a case, in part.
fn request(case: &Case, address: SocketAddr, token: &str, random: &mut Random) -> Vec<u8> {
    let one_of = |list: &[&'static str], random: &mut Random| list[random.below(list.len() as u64) as usize];
    let method = if random.below(4) == 0 { one_of(&METHODS, random) } else { case.method.as_str() };
    let path = if random.below(2) == 0 {
        damaged(case.path.as_bytes(), random)
    } else {
        case.path.as_bytes().to_vec()
    };
    let body = if random.below(3) == 0 { case.body.clone() } else { damaged(&case.body, random) };
    let usual = if case.path.starts_with("/api/v1/") { CONTENT_TYPES[1] } else { CONTENT_TYPES[0] };
    let content_type = if random.below(3) == 0 { one_of(&CONTENT_TYPES, random) } else { usual };
    let token = if random.below(8) == 0 { "x" } else { token };
    let length = if random.below(50) == 0 { random.below(1 << 40) as usize } else { body.len() };
    let mut bytes = format!("{method} ").into_bytes();
    bytes.extend(path);
    bytes.extend(
        format!(
            " HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: {content_type}\r\nContent-Length: {length}\r\n"
        )
        .bytes(),
    );
    if random.below(6) == 0 {
        bytes.extend(b"X-Forwarded-For: ");
        bytes.extend(damaged(b"192.0.2.7, 198.51.100.1", random));
        bytes.extend(b"\r\nCookie: ");
        bytes.extend(damaged(b"twarga_session=abc; twarga_theme=dark", random));
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

/// The status of the answer; `None` when the server closed the connection or waits for more.
async fn status_of(address: SocketAddr, request: &[u8]) -> Option<u16> {
    let exchange = async {
        let mut connection = TcpStream::connect(address).await.unwrap();
        // The server may have answered, and closed, before it has read everything.
        let _ = connection.write_all(request).await;
        let _ = connection.shutdown().await;
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer).await;
        let head = String::from_utf8_lossy(&answer[..answer.len().min(64)]).into_owned();
        head.split(' ').nth(1).and_then(|status| status.parse().ok())
    };
    tokio::time::timeout(Duration::from_secs(60), exchange).await.expect("an answer, or an end")
}

fn resident_kb(process_id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process_id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn ten_thousand_malformed_requests_neither_break_the_server_nor_stay_in_its_memory() {
    let folder = TempDir::new().unwrap();
    let mut server = Process::start(folder.path(), |command| {
        command.args(["--provider", "simulated", "--simulated-vms", "2"]);
    });
    server.listens().await;
    let address = server.address;
    // A correct request of the table ends the first session.
    http::register(address, "ada", &server.setup_code()).await;
    let token = http::sign_in(address, "ada", PASSWORD).await;
    let cases = Arc::new(cases());
    let mut random = Random::new();
    let mut statuses = std::collections::BTreeMap::<Option<u16>, usize>::new();
    let mut after_warm_up_kb = 0;
    let mut in_flight = JoinSet::new();
    for i in 0..REQUESTS + AT_ONCE {
        if i >= AT_ONCE {
            let (request, status): (Vec<u8>, Option<u16>) = in_flight.join_next().await.unwrap().unwrap();
            assert!(status.is_none_or(|status| status < 500), "{status:?}: {}", request.escape_ascii());
            *statuses.entry(status).or_default() += 1;
        }
        if i == WARM_UP {
            after_warm_up_kb = resident_kb(server.id());
        }
        if i < REQUESTS {
            let case = &cases[random.below(cases.len() as u64) as usize];
            let request = request(case, address, &token, &mut random);
            in_flight.spawn(async move {
                let status = status_of(address, &request).await;
                (request, status)
            });
        }
    }
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(statuses.len() > 5, "many kinds of answers: {statuses:?}");
    let (status, answer) = http::send(address, "GET", "/api/vms", &token, "").await;
    assert_eq!(status, 200, "it still serves: {answer}");
    let grown_kb = resident_kb(server.id()).saturating_sub(after_warm_up_kb);
    assert!(grown_kb < MAX_GROWTH_KB, "{grown_kb} kB more than after {WARM_UP} requests: {statuses:?}");
}
