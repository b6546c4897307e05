//! The WebSocket of a terminal.
//!
//! The first message is a [`TerminalHello`] with a ticket, so that nothing secret is in the address. Then, binary messages are
//! input and output, text messages are [`TerminalRequest`]s and [`TerminalNotice`]s.

use crate::{
    model::{ApiError, CurrentUser, ErrorCode, TerminalHello, TerminalNotice, TerminalRequest},
    server::{
        state::AppState,
        terminals::{Client, Command, ToClient},
    },
};
use axum::{
    extract::{
        FromRequestParts, Path, Request, State, WebSocketUpgrade,
        ws::{Message, Utf8Bytes, WebSocket},
    },
    http::{HeaderMap, header},
    response::Response,
};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use serde::Serialize;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, interval_at, timeout},
};

/// The largest message of a client; longer input comes in several.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// How long the first message may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Proxies close connections on which nothing happens for a minute.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// A client that answers none of the pings of this time is gone.
const PONG_TIMEOUT: Duration = Duration::from_secs(70);

static NEXT_CLIENT_ID: AtomicU64 = AtomicU64::new(1);

/// Whether a request asks for a WebSocket. Browsers let every site ask, with the user's cookies.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) || headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

pub async fn connect(
    State(state): State<AppState>,
    user: CurrentUser,
    terminal_id: Result<Path<u64>, axum::extract::rejection::PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Ok(Path(terminal_id)) = terminal_id else { return Err(ApiError::not_found("terminal")) };
    state.terminals.vm_id(&user, terminal_id)?;
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &state)
        .await
        .map_err(|_| ApiError::new(ErrorCode::Invalid, "This address is that of a WebSocket."))?;
    Ok(upgrade
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES)
        .on_upgrade(async move |socket| serve(socket, state, user, terminal_id).await))
}

async fn serve(mut socket: WebSocket, state: AppState, user: CurrentUser, terminal_id: u64) {
    let Ok(Some(Ok(Message::Text(hello)))) = timeout(HELLO_TIMEOUT, socket.recv()).await else { return };
    let attached = match serde_json::from_str::<TerminalHello>(&hello) {
        Ok(hello) => {
            state.terminals.redeem(&user, terminal_id, &hello.ticket).map(|terminal| (hello, terminal))
        }
        Err(_) => Err(ApiError::new(ErrorCode::Invalid, "The first message could not be read.")),
    };
    let (hello, terminal) = match attached {
        Ok(attached) => attached,
        Err(error) => {
            let _ = socket.send(text(&TerminalNotice::Ended { text: error.text })).await;
            return;
        }
    };
    let (to_client, from_terminal) = mpsc::unbounded_channel();
    let id = NEXT_CLIENT_ID.fetch_add(1, Ordering::Relaxed);
    let client = Client { id, offset: hello.offset, size: hello.size.clamped(), to_client };
    if terminal.send(Command::Attach(client)).await.is_err() {
        let text = text(&TerminalNotice::Ended { text: "The terminal has ended.".into() });
        let _ = socket.send(text).await;
        return;
    }
    pass_on(socket, id, &terminal, from_terminal).await;
    // It fails when the terminal has ended, too.
    let _ = terminal.send(Command::Detach { client_id: id }).await;
}

/// Until either side ends.
async fn pass_on(
    socket: WebSocket,
    client_id: u64,
    terminal: &mpsc::Sender<Command>,
    mut from_terminal: mpsc::UnboundedReceiver<ToClient>,
) {
    let (mut sink, mut stream) = socket.split();
    let sending = async {
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        loop {
            let sent = tokio::select! {
                message = from_terminal.recv() => match message {
                    Some(message) => send(&mut sink, message).await,
                    None => return,
                },
                _ = pings.tick() => sink.send(Message::Ping(Vec::new().into())).await,
            };
            if sent.is_err() {
                return;
            }
        }
    };
    let receiving = async {
        while let Ok(Some(Ok(message))) = timeout(PONG_TIMEOUT, stream.next()).await {
            let command = match message {
                Message::Binary(bytes) => Command::Input(bytes),
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(TerminalRequest::Resize(size)) => Command::Resize(size.clamped()),
                    Ok(TerminalRequest::Ack { offset }) => Command::Ack { client_id, offset },
                    Err(_) => return,
                },
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close(_) => return,
            };
            if terminal.send(command).await.is_err() {
                // It has ended; the last notice is on its way.
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
    let _ = timeout(HELLO_TIMEOUT, sink.close()).await;
}

async fn send(sink: &mut SplitSink<WebSocket, Message>, message: ToClient) -> Result<(), axum::Error> {
    match message {
        ToClient::Output(bytes) => sink.send(Message::Binary(bytes)).await,
        ToClient::Notice(notice) => sink.send(text(&notice)).await,
    }
}

fn text(value: &impl Serialize) -> Message {
    Message::Text(Utf8Bytes::from(serde_json::to_string(value).unwrap_or_default()))
}
