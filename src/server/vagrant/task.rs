//! What every step of an operation shares: the machine, the output and the cancellation.

use super::command::StopCondition;
use crate::server::provider::{Machine, MachineError, MachineErrorKind};
use std::{io, path::Path, time::Duration};
use tokio::{sync::mpsc::UnboundedSender, time::Instant};
use tokio_util::sync::CancellationToken;

/// One operation on one machine, from when it is begun.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) machine: &'a Machine,
    pub(super) lines: &'a UnboundedSender<String>,
    pub(super) cancel: &'a CancellationToken,
}

/// A time limit without cancellation.
pub(super) fn until(limit: Duration) -> StopCondition {
    StopCondition { deadline: Instant::now() + limit, cancel: CancellationToken::new() }
}

pub(super) fn unwritable(directory: &Path, error: &io::Error) -> MachineError {
    let (kind, text) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (
            MachineErrorKind::DiskFull,
            format!("The disk that holds {} is full. Make room, then try again.", directory.display()),
        ),
        _ => (
            MachineErrorKind::Other,
            format!(
                "The VM's folder {} cannot be written: {error}. Check its owner and rights.",
                directory.display()
            ),
        ),
    };
    MachineError { kind, text, detail: format!("{}: {error}", directory.display()) }
}

pub(super) fn say(lines: &UnboundedSender<String>, line: &str) {
    // Nobody listening is no reason to stop.
    let _ = lines.send(line.to_owned());
}
