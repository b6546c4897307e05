use super::{UtcMillis, VmStatus};
use serde::{Deserialize, Serialize};

/// The size of a terminal's screen, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// 1 to [`Self::MAX`].
    pub columns: u16,
    /// 1 to [`Self::MAX`].
    pub rows: u16,
}

impl TerminalSize {
    /// The most columns or rows.
    pub const MAX: u16 = 1000;

    /// The nearest valid size.
    #[must_use]
    pub fn clamped(self) -> Self {
        Self { columns: self.columns.clamp(1, Self::MAX), rows: self.rows.clamp(1, Self::MAX) }
    }
}

impl Default for TerminalSize {
    fn default() -> Self {
        Self { columns: 80, rows: 24 }
    }
}

/// An open terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalView {
    /// Unique until the server restarts.
    pub id: u64,
    /// The VM whose shell it shows.
    pub vm_id: i64,
    /// That VM's name.
    pub vm_name: String,
    /// The user who opened it.
    pub user: String,
    /// When it was opened.
    pub opened_at: UtcMillis,
    /// Whether a browser or another client shows it.
    pub is_attached: bool,
    /// What was sent to the shell, in bytes.
    pub input_bytes: u64,
    /// What the shell has printed, in bytes.
    pub output_bytes: u64,
}

/// The caller's open terminals on a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmTerminals {
    /// The VM's id.
    pub vm_id: i64,
    /// Its name.
    pub vm_name: String,
    /// Its status; a terminal can be opened while it runs.
    pub status: VmStatus,
    /// The user name with which the caller's ssh client reaches it: `web-1`, or `bob/web-1` if it is another user's.
    pub ssh_user: String,
    /// Oldest first.
    pub open: Vec<TerminalView>,
}

/// Allows one connection to a terminal, within [`TERMINAL_TICKET_SECS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalTicket {
    /// The terminal, in the address of its socket: `/api/terminals/{terminal_id}/socket`.
    pub terminal_id: u64,
    /// For the first message on that socket, see [`TerminalHello`].
    pub ticket: String,
}

/// How long a [`TerminalTicket`] is valid, in seconds.
pub const TERMINAL_TICKET_SECS: u64 = 10;

/// The first message that a client sends on a terminal's socket, as text. After that, binary messages are what is typed, and
/// text messages are [`TerminalRequest`]s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalHello {
    /// That of a [`TerminalTicket`]; used up by this message.
    pub ticket: String,
    /// The size of the client's screen.
    pub size: TerminalSize,
    /// How much of the output the client has, in bytes since the terminal was opened.
    #[serde(default)]
    pub offset: u64,
}

/// What a client asks for on a terminal's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TerminalRequest {
    /// The client's screen has another size.
    Resize(TerminalSize),
    /// The client has processed the output up to this offset. The server stops reading from the shell while more than
    /// [`TERMINAL_WINDOW_BYTES`] are not acknowledged.
    Ack {
        /// In bytes since the terminal was opened.
        offset: u64,
    },
}

/// See [`TerminalRequest::Ack`].
pub const TERMINAL_WINDOW_BYTES: u64 = 512 * 1024;

/// What the server says on a terminal's socket, as text. Binary messages are output of the shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TerminalNotice {
    /// The first message: the output goes on at `offset`.
    Attached {
        /// In bytes since the terminal was opened.
        offset: u64,
        /// The client does not have all that was printed before `offset`: its screen begins anew.
        is_reset: bool,
        /// So many of the next bytes were printed before: queries to the terminal in them are answered already.
        replayed_bytes: u64,
    },
    /// Something the user must know; the terminal goes on.
    Warning {
        /// A sentence.
        text: String,
    },
    /// The last message: the terminal is over.
    Ended {
        /// Why, as a sentence.
        text: String,
    },
    /// The last message: another client shows the terminal now.
    Displaced,
}
