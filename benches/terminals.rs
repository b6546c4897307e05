//! Terminals over WebSockets on loopback, with the shells of simulated VMs: the whole way but ssh.

use crate::{
    Results, resident_mb,
    support::{Client, fleet::Fleet},
};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

const KEYS: usize = 2_000;
const FLOOD: Duration = Duration::from_secs(5);
const IDLE: usize = 15;
const ACK_BYTES: usize = 64 * 1024;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub async fn measure(results: &mut Results) {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 3).await;
    let listening = server.listen().await;
    let vm_id = ada.get("/api/vms").await.json()[0]["id"].to_string();

    let mut socket = open(&ada, listening.address, &vm_id).await;
    // Greeting and prompt.
    let mut printed = 0;
    while printed < 90 {
        printed += next(&mut socket).await;
    }
    let mut waits = Vec::with_capacity(KEYS);
    for _ in 0..KEYS {
        let begin = Instant::now();
        socket.send(Message::binary(vec![b'x'])).await.unwrap();
        printed += next(&mut socket).await;
        waits.push(begin.elapsed());
    }
    waits.sort_unstable();
    let p99 = waits[KEYS * 99 / 100].as_secs_f64() * 1000.0;
    results.report("terminal_echo_p99_ms", p99, "ms", "a key until its echo, a simulated VM's shell");

    socket.send(Message::binary(b"\x03yes\r".to_vec())).await.unwrap();
    let (begin, before, mut acknowledged) = (Instant::now(), printed, printed);
    while begin.elapsed() < FLOOD {
        printed += next(&mut socket).await;
        if printed - acknowledged > ACK_BYTES {
            acknowledged = printed;
            let ack = json!({ "type": "ack", "offset": printed });
            socket.send(Message::text(ack.to_string())).await.unwrap();
        }
    }
    let rate = (printed - before) as f64 / 1e6 / begin.elapsed().as_secs_f64();
    results.report("terminal_mb_per_s", rate, "MB/s", "output of yes, acknowledged");
    socket.send(Message::binary(b"\x03".to_vec())).await.unwrap();

    let before = resident_mb();
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(open(&ada, listening.address, &vm_id).await);
    }
    let kb = (resident_mb() - before) * 1024.0 / IDLE as f64;
    results.report("terminal_memory_kb", kb, "kB", "of an idle one, its client's half in the same process");
}

/// How many bytes the next piece of output has.
async fn next(socket: &mut Socket) -> usize {
    loop {
        if let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() {
            return bytes.len();
        }
    }
}

async fn open(client: &Client, address: SocketAddr, vm_id: &str) -> Socket {
    let fields = [("vm_id", vm_id), ("columns", "80"), ("rows", "24")];
    let ticket = client.form("/api/v1/open_terminal", &fields).await.json();
    let uri = format!("ws://{address}/api/terminals/{}/socket", ticket["terminal_id"]);
    let mut request = uri.into_client_request().unwrap();
    let token = format!("Bearer {}", client.token().unwrap());
    request.headers_mut().insert("authorization", token.parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    let hello = json!({ "ticket": ticket["ticket"], "size": { "columns": 80, "rows": 24 } });
    socket.send(Message::text(hello.to_string())).await.unwrap();
    socket
}
