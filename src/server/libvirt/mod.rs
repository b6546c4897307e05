//! Reads libvirt with `virsh`: one small process for all domains, never one per VM.
//!
//! A separate process with a time limit isolates the server from libvirt: a hung daemon costs one late sample.
//! `domstats --nowait` skips the counters of a busy domain (a migration, a snapshot, or an earlier read that hangs), so
//! such a domain does not delay the others. A domain that hangs anyway, because its disk does, is detected and left out
//! (`unresponsive.rs`). A second process, once per boot of a domain, finds out which block devices are disks
//! (`disk_devices.rs`).

mod agent;
mod disk_devices;
mod domstats;
mod events;
mod sampling;
#[cfg(test)]
mod tests;
mod unresponsive;
mod virsh;

use super::provider::{Domain, DomainState, Hypervisor, HypervisorSample, ReadError};
use crate::model::UtcMillis;
use async_trait::async_trait;
use disk_devices::DiskDevices;
use sampling::names_of;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::Notify, time::timeout};
use unresponsive::UnresponsiveDomains;

/// What one question may take.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// Where libvirt keeps a file per QEMU process, written when it starts it.
const PID_FILES: &str = "/run/libvirt/qemu";

/// libvirt at one URI.
#[derive(Debug, Clone)]
pub struct Libvirt {
    uri: String,
    virsh: PathBuf,
    pid_files: PathBuf,
    time_limit: Duration,
    unresponsive: Arc<Mutex<UnresponsiveDomains>>,
    disk_devices: Arc<Mutex<DiskDevices>>,
}

impl Libvirt {
    /// libvirt at `uri`, such as `qemu:///system`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            virsh: "virsh".into(),
            pid_files: PID_FILES.into(),
            time_limit: TIME_LIMIT,
            unresponsive: Arc::default(),
            disk_devices: Arc::default(),
        }
    }

    /// Keeps every read below `limit`, so that the caller gets an answer in time.
    #[must_use]
    pub fn with_time_limit(self, limit: Duration) -> Self {
        Self { time_limit: limit * 7 / 8, ..self }
    }

    fn unresponsive(&self) -> MutexGuard<'_, UnresponsiveDomains> {
        // What it holds is whole after every statement; a panic elsewhere does not spoil it.
        self.unresponsive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk_devices(&self) -> MutexGuard<'_, DiskDevices> {
        self.disk_devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves only disks among the block devices of `domains`. Where they cannot be looked up within `limit`, there are
    /// none, and the next sample tries again.
    async fn keep_disks(&self, domains: &mut [Domain], limit: Duration) {
        let unknown = self.disk_devices().unknown(domains);
        if !unknown.is_empty() {
            match self.attempt(&[&disk_devices::question(&unknown)], limit).await {
                Ok(output) => self.disk_devices().learn(&unknown, &output),
                Err(trouble) => tracing::debug!(?trouble, "block devices could not be looked up"),
            }
        }
        self.disk_devices().keep_disks(domains);
    }

    /// Fails for a domain that hangs.
    fn answers(&self, uuid: &str) -> Result<(), ReadError> {
        if !self.unresponsive().is_suspected(uuid) {
            return Ok(());
        }
        Err(ReadError { text: "The VM's domain hangs.".into(), detail: format!("{uuid} is left alone") })
    }

    /// Whether the domain runs or is paused.
    async fn is_active(&self, uuid: &str) -> Result<bool, ReadError> {
        Ok(self.virsh(&["list", "--uuid"]).await?.lines().any(|line| line.trim() == uuid))
    }

    /// When the domain's QEMU process was started; only known for a libvirt on this machine.
    fn started_at(&self, domain: &Domain) -> Option<UtcMillis> {
        if matches!(domain.state, DomainState::Stopped | DomainState::Crashed) || domain.name.contains('/') {
            return None;
        }
        let file = self.pid_files.join(format!("{}.pid", domain.name));
        let modified = std::fs::metadata(file).ok()?.modified().ok()?;
        utc(modified)
    }
}

fn utc(time: SystemTime) -> Option<UtcMillis> {
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok().map(UtcMillis)
}

#[async_trait]
impl Hypervisor for Libvirt {
    async fn read(&self) -> Result<HypervisorSample, ReadError> {
        let begin = Instant::now();
        let has_suspects = self.unresponsive().has_suspects();
        let answer = if has_suspects { self.read_around_unresponsive().await } else { self.read_all().await };
        let (moment, output) = answer.map_err(|trouble| self.message(trouble))?;
        let mut domains = domstats::parse(&output);
        self.unresponsive().set_known(names_of(&domains));
        for domain in &mut domains {
            domain.started_at = self.started_at(domain);
        }
        let left = self.time_limit.saturating_sub(begin.elapsed());
        self.keep_disks(&mut domains, left.min(self.time_limit / 4)).await;
        Ok(HypervisorSample { taken_at: moment.monotonic, sampled_at: moment.utc, domains })
    }

    async fn watch(&self, changed: &Notify) {
        self.watch_events(changed).await;
    }

    async fn enable_memory_statistics(&self, uuid: &str, interval_secs: u32) -> Result<(), ReadError> {
        self.answers(uuid)?;
        let interval = interval_secs.to_string();
        self.virsh(&["dommemstat", uuid, "--period", &interval, "--live", "--config"]).await.map(drop)
    }

    async fn address(&self, uuid: &str) -> Result<Option<String>, ReadError> {
        self.answers(uuid)?;
        for source in ["lease", "arp"] {
            match self.virsh(&["domifaddr", uuid, "--source", source]).await {
                Ok(output) => {
                    if let Some(address) = ipv4(&output) {
                        return Ok(Some(address));
                    }
                }
                // A domain that is off, or gone, has no address; that is an answer. What libvirtd says is in the language of
                // its own environment, so it is not compared.
                Err(error) => return if self.is_active(uuid).await? { Err(error) } else { Ok(None) },
            }
        }
        Ok(None)
    }

    async fn run_in_guest(
        &self,
        uuid: &str,
        script: &str,
        max_bytes: usize,
        limit: Duration,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        self.answers(uuid)?;
        match timeout(limit, self.run_through_agent(uuid, script, max_bytes)).await {
            Ok(output) => output.map(Some),
            Err(_) => Err(ReadError {
                text: "The guest agent did not finish in time.".into(),
                detail: format!("given up after {limit:?}"),
            }),
        }
    }
}

/// The first IPv4 address in the table that `domifaddr` prints:
/// ` vnet0      52:54:00:43:9c:ae    ipv4         192.168.121.30/24`.
fn ipv4(table: &str) -> Option<String> {
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "ipv4");
        let address = words.nth(1)?.split('/').next()?;
        address.parse::<std::net::Ipv4Addr>().ok().map(|address| address.to_string())
    })
}
