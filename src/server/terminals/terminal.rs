//! One terminal: passes input to a shell and its output to whoever shows it.
//!
//! ```text
//!            attach                    no client for 10 min, no input for 30 min,
//! detached ──────────► attached ─────► shell ended, access ended, VM stopped
//!     ▲                    │                       │
//!     └── connection lost ─┘                       ▼ ended
//! ```
//! The shell is read while the attached client keeps up, see [`TERMINAL_WINDOW_BYTES`]; without a client always, so that a
//! command does not stand still.

use super::scrollback::Scrollback;
use crate::{
    model::{TERMINAL_WINDOW_BYTES, TerminalNotice, TerminalSize},
    server::provider::{Shell, ShellInput},
};
use axum::body::Bytes;
use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// How long before its end an idle terminal is announced to end.
const WARNING: Duration = Duration::from_secs(60);
/// Output is passed on in pieces of at most about this size.
const PIECE_BYTES: usize = 32 * 1024;
/// Input that the shell does not read yet; what exceeds it is dropped.
const MAX_PENDING_BYTES: usize = 1024 * 1024;

/// How long a terminal stays open.
#[derive(Debug, Clone, Copy)]
pub struct TerminalTimeouts {
    /// Without a client.
    pub detached: Duration,
    /// Without input.
    pub idle: Duration,
}

/// What reaches a terminal.
pub enum Command {
    Attach(Client),
    Detach {
        client_id: u64,
    },
    Input(Bytes),
    Resize(TerminalSize),
    Ack {
        client_id: u64,
        offset: u64,
    },
    /// With the reason, as a sentence.
    End(String),
}

/// Whoever shows the terminal.
pub struct Client {
    pub id: u64,
    /// How much of the output it has.
    pub offset: u64,
    pub size: TerminalSize,
    /// Bounded by the window: nothing more is sent before it is acknowledged.
    pub to_client: mpsc::UnboundedSender<ToClient>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToClient {
    Output(Bytes),
    Notice(TerminalNotice),
}

/// Kept up to date for lists and events.
#[derive(Debug, Default)]
pub struct Progress {
    pub is_attached: AtomicBool,
    pub input_bytes: AtomicU64,
    pub output_bytes: AtomicU64,
}

struct Terminal {
    scrollback: Scrollback,
    client: Option<Attached>,
    /// Input that the shell does not take yet.
    pending: VecDeque<ShellInput>,
    pending_bytes: usize,
    progress: Arc<Progress>,
}

struct Attached {
    client: Client,
    acknowledged: u64,
}

/// Runs a terminal until it ends; gives the reason, as a sentence.
pub async fn run(
    mut shell: Shell,
    mut commands: mpsc::Receiver<Command>,
    timeouts: TerminalTimeouts,
    progress: Arc<Progress>,
) -> String {
    let mut terminal = Terminal {
        scrollback: Scrollback::default(),
        client: None,
        pending: VecDeque::new(),
        pending_bytes: 0,
        progress,
    };
    let mut last_input = Instant::now();
    let mut detached_since = Some(Instant::now());
    let mut is_warned = false;
    let reason = loop {
        let idle_end = last_input + timeouts.idle;
        let next = if is_warned { idle_end } else { idle_end - WARNING.min(timeouts.idle) };
        let deadline = detached_since.map_or(next, |since| next.min(since + timeouts.detached));
        let mut timer = pin!(sleep_until(deadline));
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(Command::Attach(client)) => {
                    terminal.attach(client);
                    detached_since = None;
                }
                Some(Command::Detach { client_id }) => {
                    if terminal.detach(client_id) {
                        detached_since = Some(Instant::now());
                    }
                }
                Some(Command::Input(bytes)) => {
                    last_input = Instant::now();
                    is_warned = false;
                    terminal.enter(bytes);
                }
                Some(Command::Resize(size)) => terminal.pending.push_back(ShellInput::Resize(size)),
                Some(Command::Ack { client_id, offset }) => terminal.acknowledge(client_id, offset),
                Some(Command::End(reason)) => break reason,
                None => break "The server is shutting down.".into(),
            },
            room = shell.input.reserve(), if !terminal.pending.is_empty() => match room {
                Ok(room) => room.send(terminal.next_input()),
                // The rest of its output is still to be read.
                Err(_) => terminal.pending.clear(),
            },
            output = shell.output.recv(), if terminal.may_read() => match output {
                Some(output) => terminal.pass_on(output, &mut shell.output),
                None => break "The shell has ended.".into(),
            },
            () = timer.as_mut() => {
                let now = Instant::now();
                if detached_since.is_some_and(|since| now >= since + timeouts.detached) {
                    break format!("Nobody had it open for {}.", in_minutes(timeouts.detached));
                }
                if now >= idle_end {
                    break format!("Nothing was typed for {}.", in_minutes(timeouts.idle));
                }
                is_warned = true;
                let text = "The terminal ends in a minute, because nothing was typed. Press any key to keep it.";
                terminal.notify(TerminalNotice::Warning { text: text.into() });
            }
        }
    };
    terminal.notify(TerminalNotice::Ended { text: reason.clone() });
    reason
}

fn in_minutes(time: Duration) -> String {
    match time.as_secs() {
        60 => "a minute".into(),
        secs if secs >= 60 => format!("{} minutes", secs / 60),
        secs => format!("{secs} s"),
    }
}

impl Terminal {
    fn may_read(&self) -> bool {
        self.client
            .as_ref()
            .is_none_or(|attached| self.scrollback.end() - attached.acknowledged < TERMINAL_WINDOW_BYTES)
    }

    fn attach(&mut self, client: Client) {
        self.notify(TerminalNotice::Displaced);
        let replay = self.scrollback.since(client.offset);
        self.pending.push_back(ShellInput::Resize(client.size));
        self.client = Some(Attached { client, acknowledged: replay.offset });
        self.progress.is_attached.store(true, Ordering::Relaxed);
        self.notify(TerminalNotice::Attached {
            offset: replay.offset,
            is_reset: replay.is_reset,
            replayed_bytes: replay.bytes.len() as u64,
        });
        if !replay.bytes.is_empty() {
            self.send(ToClient::Output(replay.bytes.into()));
        }
    }

    /// Whether that client had it open.
    fn detach(&mut self, client_id: u64) -> bool {
        let is_it = self.client.as_ref().is_some_and(|attached| attached.client.id == client_id);
        if is_it {
            self.client = None;
            self.progress.is_attached.store(false, Ordering::Relaxed);
        }
        is_it
    }

    fn acknowledge(&mut self, client_id: u64, offset: u64) {
        let end = self.scrollback.end();
        if let Some(attached) = self.client.as_mut().filter(|attached| attached.client.id == client_id) {
            attached.acknowledged = offset.clamp(attached.acknowledged, end);
        }
    }

    fn enter(&mut self, bytes: Bytes) {
        if self.pending_bytes + bytes.len() > MAX_PENDING_BYTES {
            let text = "The VM does not read what is typed. The last input was dropped.";
            self.notify(TerminalNotice::Warning { text: text.into() });
            return;
        }
        self.pending_bytes += bytes.len();
        self.progress.input_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.pending.push_back(ShellInput::Bytes(bytes));
    }

    fn next_input(&mut self) -> ShellInput {
        let input = self.pending.pop_front().expect("there is room only for what is pending");
        if let ShellInput::Bytes(bytes) = &input {
            self.pending_bytes -= bytes.len();
        }
        input
    }

    /// Passes on a piece of output, together with what is there already.
    fn pass_on(&mut self, first: Bytes, output: &mut mpsc::Receiver<Bytes>) {
        let mut piece = first;
        if piece.len() < PIECE_BYTES
            && let Ok(second) = output.try_recv()
        {
            let mut joined = Vec::with_capacity(piece.len() + second.len());
            joined.extend_from_slice(&piece);
            joined.extend_from_slice(&second);
            while joined.len() < PIECE_BYTES
                && let Ok(more) = output.try_recv()
            {
                joined.extend_from_slice(&more);
            }
            piece = joined.into();
        }
        self.scrollback.push(&piece);
        self.progress.output_bytes.store(self.scrollback.end(), Ordering::Relaxed);
        self.send(ToClient::Output(piece));
    }

    fn notify(&self, notice: TerminalNotice) {
        self.send(ToClient::Notice(notice));
    }

    fn send(&self, message: ToClient) {
        if let Some(attached) = &self.client {
            // It fails for a client that is gone, which detaches.
            let _ = attached.client.to_client.send(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        output: mpsc::Sender<Bytes>,
        input: mpsc::Receiver<ShellInput>,
        commands: mpsc::Sender<Command>,
        ended: tokio::task::JoinHandle<String>,
        progress: Arc<Progress>,
    }

    const TIMEOUTS: TerminalTimeouts =
        TerminalTimeouts { detached: Duration::from_secs(600), idle: Duration::from_secs(1800) };

    impl Bench {
        fn new() -> Self {
            let (output, shell_output) = mpsc::channel(4);
            let (shell_input, input) = mpsc::channel(4);
            let (commands, receiver) = mpsc::channel(16);
            let progress = Arc::new(Progress::default());
            let shell = Shell { output: shell_output, input: shell_input };
            let ended = tokio::spawn(run(shell, receiver, TIMEOUTS, progress.clone()));
            Self { output, input, commands, ended, progress }
        }

        async fn attach(&self, id: u64, offset: u64) -> mpsc::UnboundedReceiver<ToClient> {
            let (to_client, from_server) = mpsc::unbounded_channel();
            let client = Client { id, offset, size: TerminalSize::default(), to_client };
            assert!(self.commands.send(Command::Attach(client)).await.is_ok());
            from_server
        }

        async fn print(&self, text: impl Into<Bytes>) {
            self.output.send(text.into()).await.unwrap();
        }
    }

    /// All output up to `bytes` bytes.
    async fn read(client: &mut mpsc::UnboundedReceiver<ToClient>, bytes: usize) -> Vec<u8> {
        let mut read = Vec::new();
        while read.len() < bytes {
            if let ToClient::Output(piece) = client.recv().await.unwrap() {
                read.extend_from_slice(&piece);
            }
        }
        read
    }

    async fn notice(client: &mut mpsc::UnboundedReceiver<ToClient>) -> TerminalNotice {
        loop {
            if let ToClient::Notice(notice) = client.recv().await.unwrap() {
                return notice;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_comes_back_sees_what_was_printed_meanwhile() {
        let bench = Bench::new();
        let mut first = bench.attach(1, 0).await;
        bench.print("one ").await;
        assert_eq!(read(&mut first, 4).await, b"one ");
        bench.commands.send(Command::Detach { client_id: 1 }).await.ok().unwrap();
        bench.print("two").await;
        while bench.progress.output_bytes.load(Ordering::Relaxed) < 7 {
            tokio::task::yield_now().await;
        }
        let mut second = bench.attach(2, 4).await;
        assert_eq!(
            notice(&mut second).await,
            TerminalNotice::Attached { offset: 4, is_reset: false, replayed_bytes: 3 }
        );
        assert_eq!(read(&mut second, 3).await, b"two");
        let mut reloaded = bench.attach(3, 0).await;
        assert_eq!(notice(&mut second).await, TerminalNotice::Displaced);
        assert_eq!(read(&mut reloaded, 7).await, b"one two");
        // The displaced client hangs up, which does not concern the new one.
        bench.commands.send(Command::Detach { client_id: 2 }).await.ok().unwrap();
        bench.print("!").await;
        assert_eq!(read(&mut reloaded, 1).await, b"!");
        assert!(bench.progress.is_attached.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_keep_up_stops_the_shell_and_not_what_is_typed() {
        let mut bench = Bench::new();
        let mut client = bench.attach(1, 0).await;
        let output = bench.output.clone();
        let flood = tokio::spawn(async move {
            let mut sent = 0;
            let line = Bytes::from(vec![b'y'; 16 * 1024]);
            while let Ok(Ok(())) =
                tokio::time::timeout(Duration::from_secs(1), output.send(line.clone())).await
            {
                sent += line.len();
            }
            sent
        });
        let sent = flood.await.unwrap();
        assert!(sent < 700 * 1024, "{sent}");
        bench.commands.send(Command::Input(Bytes::from_static(b"\x03"))).await.ok().unwrap();
        assert_eq!(bench.input.recv().await, Some(ShellInput::Resize(TerminalSize::default())));
        assert_eq!(bench.input.recv().await, Some(ShellInput::Bytes(Bytes::from_static(b"\x03"))));
        let taken = read(&mut client, TERMINAL_WINDOW_BYTES as usize).await.len() as u64;
        bench.commands.send(Command::Ack { client_id: 1, offset: taken }).await.ok().unwrap();
        bench.print("on").await;
        let rest = read(&mut client, sent + 2 - taken as usize).await;
        assert!(rest.ends_with(b"on"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_terminal_is_announced_to_end_and_ends() {
        let bench = Bench::new();
        let mut client = bench.attach(1, 0).await;
        let begin = Instant::now();
        assert!(matches!(notice(&mut client).await, TerminalNotice::Attached { .. }));
        assert!(matches!(notice(&mut client).await, TerminalNotice::Warning { .. }));
        assert_eq!(begin.elapsed().as_secs(), 1740);
        bench.commands.send(Command::Input(Bytes::from_static(b" "))).await.ok().unwrap();
        assert!(matches!(notice(&mut client).await, TerminalNotice::Warning { .. }));
        let ended = notice(&mut client).await;
        assert_eq!(ended, TerminalNotice::Ended { text: "Nothing was typed for 30 minutes.".into() });
        assert_eq!(bench.ended.await.unwrap(), "Nothing was typed for 30 minutes.");
    }

    #[tokio::test(start_paused = true)]
    async fn a_terminal_that_nobody_shows_ends_after_its_time_and_its_shell_is_hung_up() {
        let bench = Bench::new();
        let begin = Instant::now();
        bench.commands.send(Command::Detach { client_id: 7 }).await.ok().unwrap();
        assert_eq!(bench.ended.await.unwrap(), "Nobody had it open for 10 minutes.");
        assert_eq!(begin.elapsed().as_secs(), 600);
        assert!(bench.output.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn input_that_the_shell_never_reads_is_bounded() {
        let bench = Bench::new();
        let mut client = bench.attach(1, 0).await;
        assert!(matches!(notice(&mut client).await, TerminalNotice::Attached { .. }));
        for _ in 0..40 {
            bench.commands.send(Command::Input(vec![b'x'; 60_000].into())).await.ok().unwrap();
        }
        assert!(matches!(notice(&mut client).await, TerminalNotice::Warning { .. }));
        assert!(bench.progress.input_bytes.load(Ordering::Relaxed) <= 1024 * 1024 + 4 * 60_000);
    }
}
