//! One run of `virsh`, and its failures as messages that say what to do.

use super::Libvirt;
use crate::server::{child_process, provider::ReadError};
use std::{io, time::Duration};
use tokio::time::timeout;

/// Why a run of `virsh` gave nothing.
#[derive(Debug)]
pub enum VirshError {
    TimedOut,
    NotStarted(io::Error),
    Denied(String),
    Down(String),
    Failed(String),
}

impl Libvirt {
    /// What `virsh` prints for `arguments`.
    pub(super) async fn virsh(&self, arguments: &[&str]) -> Result<String, ReadError> {
        self.attempt(arguments, self.time_limit).await.map_err(|trouble| self.message(trouble))
    }

    /// One run of `virsh`. Dropped or too late, the process is killed and reaped.
    pub(super) async fn attempt(&self, arguments: &[&str], limit: Duration) -> Result<String, VirshError> {
        let output = child_process::command(&self.virsh)
            .args(["--quiet", "--connect", &self.uri])
            .args(arguments)
            .kill_on_drop(true)
            .output();
        match timeout(limit, output).await {
            Err(_) => Err(VirshError::TimedOut),
            Ok(Err(error)) => Err(VirshError::NotStarted(error)),
            Ok(Ok(output)) if output.status.success() => {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Ok(Ok(output)) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                let has = |phrases: &[&str]| phrases.iter().any(|phrase| said.contains(phrase));
                if has(&["Permission denied", "authentication", "access denied"]) {
                    Err(VirshError::Denied(said))
                } else if has(&["failed to connect", "Failed to connect", "Connection refused"]) {
                    Err(VirshError::Down(said))
                } else {
                    Err(VirshError::Failed(said))
                }
            }
        }
    }

    pub(super) fn message(&self, trouble: VirshError) -> ReadError {
        let uri = &self.uri;
        let (text, detail) = match trouble {
            VirshError::TimedOut => (
                format!(
                    "libvirt did not answer at {uri} within {} s. See whether libvirtd hangs or the host is \
                     overloaded.",
                    self.time_limit.as_secs()
                ),
                "virsh was killed at its time limit".into(),
            ),
            VirshError::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => (
                "The virsh command is not installed on this server. Install libvirt's clients (package \
                 \"libvirt-clients\")."
                    .into(),
                error.to_string(),
            ),
            VirshError::NotStarted(error) => {
                (format!("The virsh command cannot be started: {error}."), error.to_string())
            }
            VirshError::Denied(said) => (
                format!(
                    "libvirt does not let this server in at {uri}. Run the server as root or as a user in the \
                     group \"libvirt\"."
                ),
                said,
            ),
            VirshError::Down(said) => (
                format!("libvirt does not answer at {uri}. Start libvirtd (\"systemctl start libvirtd\")."),
                said,
            ),
            VirshError::Failed(said) => {
                let first = said.lines().next().unwrap_or("it did not say why");
                (format!("libvirt refused: {}", first.trim_start_matches("error: ")), said)
            }
        };
        ReadError { text, detail }
    }
}
