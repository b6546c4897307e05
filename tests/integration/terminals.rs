//! Terminals: over real WebSockets, with the shells of simulated VMs.

use crate::support::{Client, PASSWORD, PATIENCE, Server, eventually, fleet::Fleet, http::Listening};
use axum::http::{Method, StatusCode};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Ada is the admin; bob owns the VM with the returned id.
struct Bench {
    server: Server,
    listening: Listening,
    ada: Client,
    bob: Client,
    vm_id: i64,
}

impl Bench {
    async fn begin(fleet: &Fleet) -> Self {
        let mut server = fleet.serve(0).await;
        let ada = server.user("ada").await;
        let bob = server.user("bob").await;
        let answer = bob.launch("web-1", "debian-12").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let vm_id = answer.json()["vm_id"].as_i64().unwrap();
        server.wait_until_idle().await;
        fleet.ticks(&mut server, 3).await;
        let listening = server.listen().await;
        Self { server, listening, ada, bob, vm_id }
    }

    async fn open(&self, client: &Client) -> (u64, String) {
        let vm_id = self.vm_id.to_string();
        let fields = [("vm_id", vm_id.as_str()), ("columns", "80"), ("rows", "24")];
        let answer = client.form("/api/v1/open_terminal", &fields).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        ticket(&answer.json())
    }

    async fn attach(&self, client: &Client, terminal_id: u64) -> (StatusCode, Value) {
        let answer =
            client.form("/api/v1/attach_terminal", &[("terminal_id", &terminal_id.to_string())]).await;
        (answer.status, serde_json::from_str(&answer.text).unwrap_or_default())
    }

    async fn socket(&self, client: &Client, terminal_id: u64) -> Result<Socket, tungstenite::Error> {
        let token = client.token().unwrap_or_default();
        self.socket_with(terminal_id, &[("authorization", &format!("Bearer {token}"))]).await
    }

    async fn socket_with(
        &self,
        terminal_id: u64,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket, tungstenite::Error> {
        let address = self.listening.address;
        let mut request =
            format!("ws://{address}/api/terminals/{terminal_id}/socket").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        Ok(timeout(PATIENCE, connect_async(request)).await.unwrap()?.0)
    }

    /// An open terminal of bob's.
    async fn screen(&self) -> Screen {
        let (id, ticket) = self.open(&self.bob).await;
        let socket = self.socket(&self.bob, id).await.unwrap();
        let mut screen = Screen { id, socket, printed: Vec::new(), acknowledged: 0 };
        screen.hello(&ticket, 0).await;
        screen.until("$ ").await;
        screen
    }

    /// The event of a terminal that has ended, which is written after its client has heard of it.
    async fn closed(&self) -> String {
        eventually(async || {
            let events = self.server.events().await;
            let closed = events.into_iter().find(|(kind, _)| kind == "terminal_closed");
            closed.map(|(_, text)| text).ok_or_else(|| "no terminal has ended".to_owned())
        })
        .await
    }

    async fn end_unallowed(&self) {
        self.server.state.terminals.end_unallowed(&self.server.state.accounts, &self.server.state.vms).await;
    }
}

fn ticket(answer: &Value) -> (u64, String) {
    (answer["terminal_id"].as_u64().unwrap(), answer["ticket"].as_str().unwrap().to_owned())
}

struct Screen {
    id: u64,
    socket: Socket,
    printed: Vec<u8>,
    acknowledged: usize,
}

impl Screen {
    async fn say(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn hello(&mut self, ticket: &str, offset: u64) {
        let size = json!({ "columns": 80, "rows": 24 });
        self.say(json!({ "ticket": ticket, "size": size, "offset": offset })).await;
    }

    async fn enter(&mut self, text: &str) {
        self.socket.send(Message::binary(text.as_bytes().to_vec())).await.unwrap();
    }

    /// The next notice, or `None` for output, which is acknowledged.
    async fn next(&mut self) -> Option<Value> {
        timeout(PATIENCE, self.next_at_any_time()).await.unwrap()
    }

    async fn next_at_any_time(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    self.printed.extend_from_slice(&bytes);
                    if self.printed.len() - self.acknowledged > 64 * 1024 {
                        self.acknowledged = self.printed.len();
                        self.say(json!({ "type": "ack", "offset": self.acknowledged })).await;
                    }
                    return None;
                }
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => return Some(json!({ "type": "closed", "text": format!("{other:?}") })),
            }
        }
    }

    /// Reads until the output ends like this.
    async fn until(&mut self, end: &str) {
        while !self.printed.ends_with(end.as_bytes()) {
            if let Some(notice) = self.next().await {
                assert_eq!(notice["type"], "attached", "{notice}");
            }
        }
    }

    /// Reads until the terminal is over; gives the last notice.
    async fn last(&mut self) -> Value {
        loop {
            if let Some(notice) = self.next().await
                && notice["type"] != "attached"
            {
                return notice;
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.printed).into_owned()
    }
}

#[tokio::test]
async fn a_shell_goes_on_after_a_reload_with_what_was_on_the_screen() {
    let fleet = Fleet::new();
    let bench = Bench::begin(&fleet).await;
    let mut screen = bench.screen().await;
    assert!(screen.text().contains("This VM is simulated"));
    screen.enter("size\r").await;
    screen.until("80 x 24\r\nvagrant@web-1:~$ ").await;
    screen.say(json!({ "type": "resize", "columns": 100, "rows": 30 })).await;
    screen.enter("size\r").await;
    screen.until("100 x 30\r\nvagrant@web-1:~$ ").await;
    let (id, before) = (screen.id, screen.printed.clone());
    drop(screen);

    let (status, answer) = bench.attach(&bench.bob, id).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let socket = bench.socket(&bench.bob, id).await.unwrap();
    let mut reloaded = Screen { id, socket, printed: Vec::new(), acknowledged: 0 };
    reloaded.hello(&ticket(&answer).1, 0).await;
    let attached = reloaded.next().await.unwrap();
    assert_eq!(attached["replayed_bytes"], before.len(), "{attached}");
    reloaded.until("100 x 30\r\nvagrant@web-1:~$ ").await;
    assert_eq!(reloaded.printed, before);
    reloaded.enter("echo still here\r").await;
    reloaded.until("still here\r\nvagrant@web-1:~$ ").await;

    // A second window takes over.
    let (_, answer) = bench.attach(&bench.bob, id).await;
    let socket = bench.socket(&bench.bob, id).await.unwrap();
    let mut second = Screen { id, socket, printed: Vec::new(), acknowledged: 0 };
    second.hello(&ticket(&answer).1, 0).await;
    assert_eq!(reloaded.last().await["type"], "displaced");
    second.until("$ ").await;
    second.enter("exit\r").await;
    assert_eq!(second.last().await["text"], "The shell has ended.");
    assert_eq!(bench.attach(&bench.bob, id).await.0, StatusCode::NOT_FOUND);
    let closed = bench.closed().await;
    assert!(closed.starts_with("The terminal of bob on web-1 ended after"), "{closed}");
    let opened = bench.server.events().await.into_iter().find(|(kind, _)| kind == "terminal_opened").unwrap();
    assert_eq!(opened.1, "bob opened a terminal on web-1.");
}

#[tokio::test]
async fn a_ticket_is_used_once_by_its_user_and_nobody_else_attaches() {
    let fleet = Fleet::new();
    let bench = Bench::begin(&fleet).await;
    let (id, first) = bench.open(&bench.bob).await;
    let carol = bench.server.user("carol").await;
    for (stranger, name) in [(&carol, "a stranger"), (&bench.ada, "an admin")] {
        assert_eq!(bench.attach(stranger, id).await.0, StatusCode::NOT_FOUND, "{name}");
        let refused = bench.socket(stranger, id).await.unwrap_err();
        assert!(
            matches!(&refused, tungstenite::Error::Http(answer) if answer.status() == 404),
            "{name}: {refused}"
        );
    }
    let mut screen = Screen {
        id,
        socket: bench.socket(&bench.bob, id).await.unwrap(),
        printed: Vec::new(),
        acknowledged: 0,
    };
    screen.hello(&first, 0).await;
    screen.until("$ ").await;
    for used in [first.as_str(), "", "x", &"A".repeat(43)] {
        let socket = bench.socket(&bench.bob, id).await.unwrap();
        let mut again = Screen { id, socket, printed: Vec::new(), acknowledged: 0 };
        again.hello(used, 0).await;
        let notice = again.last().await;
        assert_eq!((&notice["type"], again.printed.len()), (&json!("ended"), 0), "{used}: {notice}");
    }
    screen.enter("echo mine\r").await;
    screen.until("mine\r\nvagrant@web-1:~$ ").await;
}

#[tokio::test]
async fn only_our_own_pages_open_the_socket_with_a_browsers_cookie() {
    let fleet = Fleet::new();
    let bench = Bench::begin(&fleet).await;
    let browser = bench.server.browser("bob").await;
    let (id, _) = bench.open(&browser).await;
    let cookie = browser.cookie().unwrap();
    let own = format!("http://{}", bench.listening.address);
    for (headers, status) in [
        (vec![("cookie", cookie), ("origin", own.as_str())], None),
        (vec![("cookie", cookie), ("sec-fetch-site", "same-origin")], None),
        (vec![("cookie", cookie), ("origin", "http://evil.example")], Some(403)),
        (vec![("cookie", cookie), ("sec-fetch-site", "cross-site")], Some(403)),
        (vec![("cookie", cookie)], Some(403)),
        (vec![("origin", own.as_str())], Some(401)),
    ] {
        match (bench.socket_with(id, &headers).await, status) {
            (Ok(_), None) => {}
            (Err(tungstenite::Error::Http(answer)), Some(status)) => {
                assert_eq!(answer.status().as_u16(), status, "{headers:?}");
            }
            (other, _) => panic!("{headers:?}: {other:?}"),
        }
    }
    let plain = bench.bob.get(&format!("/api/terminals/{id}/socket")).await;
    assert_eq!(plain.status, StatusCode::BAD_REQUEST, "{}", plain.text);
}

#[tokio::test]
async fn a_terminal_ends_with_what_allowed_it() {
    let fleet = Fleet::new();
    for cause in ["sign_out", "password", "deactivate", "share", "stop", "destroy"] {
        let mut bench = Bench::begin(&fleet).await;
        if cause == "share" {
            let path = format!("/api/vms/{}/shares", bench.vm_id);
            let carol = bench.server.user("carol").await;
            let share = json!({ "username": "carol", "access": "operate" }).to_string();
            let answer = bench.bob.json(Method::POST, &path, &share).await;
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
            let owner = std::mem::replace(&mut bench.bob, carol);
            let mut screen = bench.screen().await;
            bench.end_unallowed().await;
            let view = json!({ "username": "carol", "access": "view" }).to_string();
            owner.json(Method::POST, &path, &view).await;
            bench.end_unallowed().await;
            let notice = screen.last().await;
            assert_eq!(notice["text"], "You may not operate the VM any more, or it was destroyed.");
            continue;
        }
        let mut screen = bench.screen().await;
        bench.end_unallowed().await;
        screen.enter("echo on\r").await;
        screen.until("on\r\nvagrant@web-1:~$ ").await;
        let id = bench.bob.get("/api/auth/me").await.json()["id"].to_string();
        let answer = match cause {
            "sign_out" => bench.bob.form("/api/v1/sign_out", &[]).await,
            "password" => {
                let fields = [("old_password", PASSWORD), ("new_password", "another long secret 7")];
                bench.bob.form("/api/v1/change_password", &fields).await
            }
            "deactivate" => {
                let fields = [("account_id", id.as_str()), ("is_active", "false")];
                bench.ada.form("/api/v1/set_account_active", &fields).await
            }
            "stop" => bench.bob.act("stop", bench.vm_id).await,
            _ => bench.bob.destroy(bench.vm_id, "web-1").await,
        };
        assert_eq!(answer.status, StatusCode::OK, "{cause}: {}", answer.text);
        if matches!(cause, "stop" | "destroy") {
            bench.server.wait_until_idle().await;
        }
        bench.end_unallowed().await;
        let notice = screen.last().await;
        assert_eq!(notice["type"], "ended", "{cause}: {notice}");
        assert!(matches!(screen.last().await["type"].as_str(), Some("closed")), "{cause}");
        let text = bench.closed().await;
        assert!(text.ends_with(notice["text"].as_str().unwrap()), "{cause}: {text}");
    }
}

#[tokio::test]
async fn a_flood_of_output_waits_for_its_reader_and_is_interrupted_at_once() {
    let fleet = Fleet::new();
    let bench = Bench::begin(&fleet).await;
    let mut screen = bench.screen().await;
    screen.enter("yes\r").await;
    while screen.printed.len() < 8 << 20 {
        assert_eq!(screen.next().await, None);
    }
    // Nobody reads for a while.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let list = bench.server.state.terminals.list(&user(&bench).await, None);
    let unread = list[0].output_bytes - screen.printed.len() as u64;
    assert!(unread <= 1024 * 1024, "{unread}");
    screen.enter("\x03").await;
    let begin = Instant::now();
    screen.until("^C\r\nvagrant@web-1:~$ ").await;
    assert!(begin.elapsed() < PATIENCE);
    screen.enter("seq 200000\r").await;
    screen.until("\r\n200000\r\nvagrant@web-1:~$ ").await;
    let expected: String = (1..=200_000).map(|n| format!("{n}\r\n")).collect();
    assert!(screen.text().contains(&expected), "every line arrives");
}

async fn user(bench: &Bench) -> twarga_cloud::model::CurrentUser {
    serde_json::from_value(bench.bob.get("/api/auth/me").await.json()).unwrap()
}

#[tokio::test]
async fn terminals_are_bounded_listed_and_ended_by_admins() {
    let fleet = Fleet::new();
    let bench = Bench::begin(&fleet).await;
    for _ in 0..16 {
        bench.open(&bench.bob).await;
    }
    let vm_id = bench.vm_id.to_string();
    let fields = [("vm_id", vm_id.as_str()), ("columns", "80"), ("rows", "24")];
    let refused = bench.bob.form("/api/v1/open_terminal", &fields).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.text);
    let (id, _) = bench.open(&bench.ada).await;
    let count =
        async |client: &Client| client.get("/api/v1/list_terminals").await.json().as_array().unwrap().len();
    assert_eq!((count(&bench.bob).await, count(&bench.ada).await), (16, 17));
    let terminal_id = id.to_string();
    let foreign = bench.bob.form("/api/v1/end_terminal", &[("terminal_id", &terminal_id)]).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    let answer = bench.ada.form("/api/v1/end_all_terminals", &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    eventually(async || match count(&bench.ada).await {
        0 => Ok(()),
        left => Err(format!("{left} are left")),
    })
    .await;
}

#[tokio::test]
async fn a_vm_that_does_not_run_has_no_terminal() {
    let fleet = Fleet::new();
    let bench = Bench::begin(&fleet).await;
    bench.bob.act("stop", bench.vm_id).await;
    bench.server.wait_until_idle().await;
    let vm_id = bench.vm_id.to_string();
    let fields = [("vm_id", vm_id.as_str()), ("columns", "80"), ("rows", "24")];
    let answer = bench.bob.form("/api/v1/open_terminal", &fields).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.json()["text"], "web-1 does not run. Start it first.");
}
