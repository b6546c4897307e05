//! Passes one channel of a client on to a channel of a guest, in both directions, until either side closes it.

use super::{
    backlog::{Backlog, Held},
    traffic::Traffic,
};
use crate::{model::ApiError, server::provider::GuestChannel};
use axum::body::Bytes;
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf,
    server::{Handle, Msg},
};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What ssh clients exit with themselves, when it is not the command that fails.
const SSH_FAILED: u32 = 255;
/// Of a message, besides its data.
const OVERHEAD_BYTES: usize = 256;
/// Requests of a session before its start: its terminal and environment.
const MAX_PRELUDE: usize = 100;

/// A client's side of a channel.
pub struct ClientChannel {
    id: ChannelId,
    handle: Handle,
    writer: ChannelWriteHalf<Msg>,
    queue: mpsc::UnboundedReceiver<Queued>,
    traffic: Arc<Traffic>,
}

struct Queued {
    message: ChannelMsg,
    _held: Held,
}

/// Takes what the client says at once, so that it never makes other channels wait. `backlog` bounds it.
async fn take(mut reader: ChannelReadHalf, backlog: Backlog, queue: mpsc::UnboundedSender<Queued>) {
    while let Some(message) = reader.wait().await {
        let held = backlog.hold(size_of_message(&message));
        if queue.send(Queued { message, _held: held }).is_err() {
            return;
        }
    }
}

fn size_of_message(message: &ChannelMsg) -> usize {
    OVERHEAD_BYTES
        + match message {
            ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => data.len(),
            ChannelMsg::Exec { command, .. } => command.len(),
            ChannelMsg::SetEnv { variable_name, variable_value, .. } => {
                variable_name.len() + variable_value.len()
            }
            ChannelMsg::RequestPty { term, terminal_modes, .. } => term.len() + 8 * terminal_modes.len(),
            ChannelMsg::RequestSubsystem { name, .. } => name.len(),
            _ => 0,
        }
}

/// Serves a channel while it is taken from.
pub async fn serve<F: Future<Output = ()>>(
    channel: Channel<Msg>,
    handle: Handle,
    backlog: Backlog,
    traffic: Arc<Traffic>,
    serving: impl FnOnce(ClientChannel) -> F,
) {
    let id = channel.id();
    let (reader, writer) = channel.split();
    let (to_queue, queue) = mpsc::unbounded_channel();
    let serving = serving(ClientChannel { id, handle, writer, queue, traffic });
    let taking = async {
        take(reader, backlog, to_queue).await;
        // What was taken is still to be passed on.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serving => {}
        () = taking => {}
    }
}

/// How a client begins a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Shell,
    /// A command or subsystem.
    Other,
}

/// A session that the client has begun.
pub struct Session {
    client: ClientChannel,
    /// With the request that begins it as the last one.
    prelude: Vec<Queued>,
    has_pty: bool,
    pub start: Start,
}

impl ClientChannel {
    /// Waits for the request that begins a session; `None` if the client leaves instead.
    pub async fn session(mut self) -> Option<Session> {
        let (mut prelude, mut has_pty) = (Vec::new(), false);
        while let Some(queued) = self.queue.recv().await {
            let start = match &queued.message {
                ChannelMsg::RequestShell { .. } => Some(Start::Shell),
                ChannelMsg::Exec { .. } | ChannelMsg::RequestSubsystem { .. } => Some(Start::Other),
                ChannelMsg::RequestPty { .. } => {
                    has_pty = true;
                    None
                }
                ChannelMsg::SetEnv { .. } | ChannelMsg::WindowChange { .. } => None,
                ChannelMsg::Close => return None,
                _ => continue,
            };
            if prelude.len() < MAX_PRELUDE || start.is_some() {
                prelude.push(queued);
            }
            if let Some(start) = start {
                return Some(Session { client: self, prelude, has_pty, start });
            }
        }
        None
    }

    /// Passes everything on.
    pub async fn pass_on(self, guest: GuestChannel) {
        let Self { id, handle, writer, queue, traffic } = self;
        let GuestChannel { input, output } = guest;
        tokio::select! {
            () = to_guest(queue, &input, &traffic) => {}
            () = to_client(output, id, &handle, &writer, &traffic) => {}
        }
        // It fails where the client was faster.
        let _ = writer.close().await;
    }
}

impl Session {
    /// Passes it on, beginning with what the client has requested so far.
    pub async fn pass_on(self, guest: GuestChannel) {
        for queued in self.prelude {
            if guest.input.send(for_guest(queued.message)).await.is_err() {
                return;
            }
        }
        self.client.pass_on(guest).await;
    }

    /// Prints a text and ends the session with success.
    pub async fn print(self, text: &str) {
        let text = self.in_lines(text);
        // Each fails only if the client is gone.
        let _ = self.client.writer.data_bytes(text).await;
        self.end(0).await;
    }

    /// Prints an error and ends the session as ssh does when it fails itself.
    pub async fn fail(self, error: &ApiError) {
        let text = self.in_lines(&format!("{}\n", error.text));
        let _ = self.client.writer.extended_data_bytes(STDERR, text).await;
        self.end(SSH_FAILED).await;
    }

    async fn end(self, status: u32) {
        let writer = &self.client.writer;
        let _ = writer.exit_status(status).await;
        let _ = writer.eof().await;
        let _ = writer.close().await;
    }

    /// A terminal in raw mode needs a carriage return to begin a line at its left edge.
    fn in_lines(&self, text: &str) -> Bytes {
        if self.has_pty { text.replace('\n', "\r\n").into() } else { text.to_owned().into() }
    }
}

const STDERR: u32 = 1;

/// The client has its answer already: only whether the session begins is asked of the guest.
fn for_guest(message: ChannelMsg) -> ChannelMsg {
    match message {
        ChannelMsg::SetEnv { variable_name, variable_value, .. } => {
            ChannelMsg::SetEnv { want_reply: false, variable_name, variable_value }
        }
        ChannelMsg::RequestPty {
            term, col_width, row_height, pix_width, pix_height, terminal_modes, ..
        } => ChannelMsg::RequestPty {
            want_reply: false,
            term,
            col_width,
            row_height,
            pix_width,
            pix_height,
            terminal_modes,
        },
        other => other,
    }
}

async fn to_guest(
    mut queue: mpsc::UnboundedReceiver<Queued>,
    input: &mpsc::Sender<ChannelMsg>,
    traffic: &Traffic,
) {
    while let Some(Queued { message, _held }) = queue.recv().await {
        match &message {
            ChannelMsg::Data { data } => traffic.count_input(data.len()),
            ChannelMsg::Eof | ChannelMsg::WindowChange { .. } | ChannelMsg::Signal { .. } => {}
            ChannelMsg::Close => return,
            // A session begins once.
            _ => continue,
        }
        if input.send(message).await.is_err() {
            // The rest of the output is still to be read.
            std::future::pending::<()>().await;
        }
    }
}

async fn to_client(
    mut output: mpsc::Receiver<ChannelMsg>,
    id: ChannelId,
    handle: &Handle,
    writer: &ChannelWriteHalf<Msg>,
    traffic: &Traffic,
) {
    while let Some(message) = output.recv().await {
        let said = match message {
            ChannelMsg::Data { data } => {
                traffic.count_output(data.len());
                writer.data_bytes(data).await.is_ok()
            }
            ChannelMsg::ExtendedData { data, ext } => {
                traffic.count_output(data.len());
                writer.extended_data_bytes(ext, data).await.is_ok()
            }
            ChannelMsg::Eof => writer.eof().await.is_ok(),
            ChannelMsg::ExitStatus { exit_status } => writer.exit_status(exit_status).await.is_ok(),
            ChannelMsg::ExitSignal { signal_name, core_dumped, error_message, lang_tag } => handle
                .exit_signal_request(id, signal_name, core_dumped, error_message, lang_tag)
                .await
                .is_ok(),
            ChannelMsg::Failure => {
                let text = Bytes::from_static(b"The VM's ssh server refuses this request.\r\n");
                let _ = writer.extended_data_bytes(STDERR, text).await;
                let _ = writer.exit_status(SSH_FAILED).await;
                return;
            }
            ChannelMsg::Close => return,
            _ => true,
        };
        if !said {
            return;
        }
    }
}
