//! Hears of domains that start, stop, die or go, as libvirt tells: one `virsh event` that runs as long as the server.
//!
//! What it says is a reason to look, never the truth itself: a tick sees everything all the same, so that nothing
//! depends on an event that was missed.

use super::Libvirt;
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    sync::Notify,
    time::{Instant, sleep},
};

/// How long to wait before listening again to a libvirt that has gone, at first and at most.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];

impl Libvirt {
    /// Notifies `changed` of every event in a domain's life. Never ends; dropped, the process is killed.
    pub(super) async fn listen(&self, changed: &Notify) {
        let mut pause = PAUSES[0];
        loop {
            let began = Instant::now();
            if let Err(error) = self.hear_events(changed).await {
                tracing::debug!(%error, "libvirt's events cannot be heard; ticks see what changes");
            }
            pause = if began.elapsed() > PAUSES[1] { PAUSES[0] } else { (pause * 2).min(PAUSES[1]) };
            sleep(pause).await;
            // Whatever happened meanwhile was not heard.
            changed.notify_one();
        }
    }

    async fn hear_events(&self, changed: &Notify) -> std::io::Result<()> {
        let mut child = Command::new(&self.virsh)
            .args(["--quiet", "--connect", &self.uri, "event", "--loop", "--event", "lifecycle"])
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
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
