//! Listens for libvirt's lifecycle events (started, stopped, crashed, undefined) with one long-running `virsh event`.
//!
//! An event only triggers a refresh; it is never the source of truth. Every tick sees the same changes, so a missed
//! event does no harm.

use super::Libvirt;
use crate::server::child_process;
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::Notify,
    time::{Instant, sleep},
};

/// How long to wait before listening again to a libvirt that has gone, at first and at most.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];

impl Libvirt {
    /// Notifies `changed` of every event in a domain's life. Never ends; dropped, the process is killed.
    pub(super) async fn watch_events(&self, changed: &Notify) {
        let mut pause = PAUSES[0];
        loop {
            let began = Instant::now();
            if let Err(error) = self.read_events(changed).await {
                tracing::debug!(%error, "libvirt events are unavailable; ticks detect changes");
            }
            pause = if began.elapsed() > PAUSES[1] { PAUSES[0] } else { (pause * 2).min(PAUSES[1]) };
            sleep(pause).await;
            // Events in between were missed.
            changed.notify_one();
        }
    }

    async fn read_events(&self, changed: &Notify) -> std::io::Result<()> {
        let mut child = child_process::command(&self.virsh)
            .args(["--quiet", "--connect", &self.uri, "event", "--loop", "--event", "lifecycle"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout).lines();
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("event 'lifecycle'") {
                    tracing::debug!(line, "libvirt");
                    changed.notify_one();
                }
            }
        }
        child.wait().await.map(|_| ())
    }
}
