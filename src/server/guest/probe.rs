//! Probes one guest during one boot of its VM: requests its ssh configuration, keeps the connection, takes a sample per
//! interval.
//!
//! ```text
//! interval ── connection open? ──yes── run the script ── sample
//!                   │ no                    │ broken: reconnect at once
//!                   ▼
//!           credentials known? ──no, or failed twice── request them from the provider, one guest at a time
//!                   │ yes
//!                   ▼
//!         connect, check the host key ── another key: rejected, reported once
//! ```
//! Failures are retried after 5, 10, 20, 40 s. Meanwhile the guest's agent is used, if there is one; where no hypervisor
//! knows whether the machine runs, Vagrant's state of it is refreshed, after 20 s up to 320 s. A guest that shows another
//! host key is not read at all until it shows the pinned one again.

use super::{
    GuestSamples, RunningGuest, Shared,
    backoff::Retry,
    sample::{END_OF_OUTPUT, GuestSample, MAX_OUTPUT_BYTES, SCRIPT, login_command},
    ssh::{Connection, SshError},
};
use crate::server::provider::{MachineError, ReadError, SshConfig};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use tokio::{
    sync::watch,
    time::{sleep_until, timeout},
};

/// When in an interval a guest is probed: late, so that the sample is fresh at the next tick, but with enough time to
/// respond before it.
const AFTER_THE_TICK: f64 = 0.6;
/// Consecutive failures before the credentials are queried again: a booting guest is unreachable for a while.
const FAILURES_UNTIL_DOUBT: u32 = 2;

/// Why there is no sample. For the log.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error("no credentials: {0}")]
    Access(#[from] MachineError),
    #[error("the guest's agent: {0}")]
    Agent(#[from] ReadError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("no credentials, and the next request is not due")]
    NotNow,
    #[error("the guest's output cannot be parsed")]
    Unreadable,
}

pub(super) struct Probe {
    guest: RunningGuest,
    shared: Arc<Shared>,
    /// An operation is under way on the VM.
    busy: Arc<AtomicBool>,
    samples: Arc<Mutex<Option<GuestSamples>>>,
    connection: Option<Connection>,
    ssh: Retry,
    ssh_config_retry: Retry,
    /// The fallback when ssh does not answer: the guest agent, or a query of the machine's state.
    other: Retry,
    /// The guest showed another host key than the pinned one, and has not shown that one since. No answer at all
    /// changes nothing.
    rejected: bool,
}

impl Probe {
    pub fn new(
        guest: RunningGuest,
        shared: Arc<Shared>,
        busy: Arc<AtomicBool>,
        samples: Arc<Mutex<Option<GuestSamples>>>,
    ) -> Self {
        let interval = &shared.interval;
        Self {
            ssh: Retry::new(interval.retry),
            ssh_config_retry: Retry::new(interval.ssh_config_backoff),
            other: Retry::new(if guest.machine.is_indexed() {
                interval.ssh_config_backoff
            } else {
                interval.retry
            }),
            connection: None,
            rejected: false,
            guest,
            busy,
            samples,
            shared,
        }
    }

    /// Runs until dropped. Takes one sample between two ticks, so that each tick's counters come from a single sample.
    pub async fn follow(mut self, mut ticked: watch::Receiver<Option<Instant>>) {
        let interval = self.shared.interval.interval;
        ticked.mark_unchanged();
        loop {
            if let Some(sample) = self.read().await {
                let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                let before = samples.take().map(|samples| samples.newest);
                *samples = Some(GuestSamples { newest: Arc::new(sample), before });
            }
            match timeout(interval, ticked.changed()).await {
                Ok(Ok(())) => {
                    let tick = *ticked.borrow_and_update();
                    let begin =
                        tick.map_or_else(Instant::now, |tick| tick + interval.mul_f64(AFTER_THE_TICK));
                    sleep_until(begin.into()).await;
                }
                // Nobody ticks any more.
                Ok(Err(_)) => return,
                // If ticks are late, it continues without them.
                Err(_) => {}
            }
        }
    }

    async fn read(&mut self) -> Option<GuestSample> {
        if self.ssh.is_due(Instant::now()) {
            match self.read_over_ssh().await {
                Ok(sample) => {
                    self.ssh.worked();
                    self.ssh_config_retry.worked();
                    self.other.worked();
                    return Some(sample);
                }
                Err(trouble) => {
                    self.ssh.failed(Instant::now());
                    tracing::debug!(vm_id = self.guest.vm_id, %trouble, "the guest cannot be read over ssh");
                }
            }
        }
        if self.rejected || !self.other.is_due(Instant::now()) {
            return None;
        }
        if self.guest.machine.is_indexed() {
            self.request_again().await;
            return None;
        }
        match self.read_through_agent().await {
            Ok(sample) => {
                self.other.worked();
                Some(sample)
            }
            Err(trouble) => {
                self.other.failed(Instant::now());
                tracing::debug!(vm_id = self.guest.vm_id, %trouble, "the guest cannot be read through its agent");
                None
            }
        }
    }

    async fn read_over_ssh(&mut self) -> Result<GuestSample, ProbeError> {
        // Put back only after a successful sample.
        if let Some(connection) = self.connection.take() {
            match Self::read_over(&connection).await {
                Ok(sample) => {
                    self.connection = Some(connection);
                    return Ok(sample);
                }
                // The guest's ssh server may have been restarted.
                Err(ProbeError::Ssh(SshError::Broken(_))) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        let connection = self.connect().await?;
        let sample = Self::read_over(&connection).await?;
        self.connection = Some(connection);
        Ok(sample)
    }

    async fn read_over(connection: &Connection) -> Result<GuestSample, ProbeError> {
        let taken_at = Instant::now();
        let output = connection.run(&login_command(), END_OF_OUTPUT, MAX_OUTPUT_BYTES).await?;
        not_empty(GuestSample::parse(taken_at, &output))
    }

    async fn read_through_agent(&self) -> Result<GuestSample, ProbeError> {
        let taken_at = Instant::now();
        let limit = self.shared.interval.ssh.run;
        let uuid = &self.guest.domain_uuid;
        let output = self.shared.hypervisor.run_in_guest(uuid, SCRIPT, MAX_OUTPUT_BYTES, limit).await?;
        not_empty(GuestSample::parse(taken_at, &output.ok_or(ProbeError::Unreadable)?))
    }

    /// Whether the machine runs at all: its state is only known as of Vagrant's last check.
    async fn request_again(&mut self) {
        let Some(index) = self.shared.index.clone() else { return };
        // Never closed: this cannot fail.
        let _turn = self.shared.ssh_config_lock.acquire().await;
        if self.busy.load(Ordering::Relaxed) {
            return;
        }
        let answer = index.refresh_status(&self.guest.machine).await;
        self.other.failed(Instant::now());
        if let Err(error) = answer {
            tracing::debug!(
                vm_id = self.guest.vm_id,
                detail = error.detail,
                "Vagrant does not report its state"
            );
        }
    }

    async fn connect(&mut self) -> Result<Connection, ProbeError> {
        let RunningGuest { vm_id, domain_uuid, .. } = &self.guest;
        let (vm_id, uuid) = (*vm_id, domain_uuid.clone());
        let known = self.shared.known.find(vm_id, &uuid).await?;
        let is_doubtful = self.rejected || self.ssh.failures() >= FAILURES_UNTIL_DOUBT;
        let (config, pinned, is_fresh) = match known {
            // Without a key, nothing but the way itself says who answers there: an old one may lead to another VM.
            Some(known) if (is_doubtful || known.host_key.is_none()) && self.may_request() => {
                (self.request_ssh_config().await?, known.host_key, true)
            }
            Some(known) => (known.ssh_config, known.host_key, false),
            None if self.may_request() => (self.request_ssh_config().await?, None, true),
            None => return Err(ProbeError::NotNow),
        };
        let opened = Connection::open(&config, pinned.as_deref(), self.shared.interval.ssh).await;
        match opened {
            Ok(connection) => {
                self.rejected = false;
                if pinned.is_none() && is_fresh {
                    self.shared.known.pin(vm_id, &uuid, connection.host_key()).await?;
                }
                Ok(connection)
            }
            Err(SshError::HostKeyChanged { shown }) => {
                self.rejected = true;
                // At an address that was true once, another VM may answer by now: that is no news for the owner.
                if is_fresh {
                    let text = another_key(&self.guest, &config);
                    self.shared.known.reject(vm_id, &uuid, &shown, text).await?;
                }
                Err(SshError::HostKeyChanged { shown }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn may_request(&self) -> bool {
        self.ssh_config_retry.is_due(Instant::now()) && !self.busy.load(Ordering::Relaxed)
    }

    /// Queries the provider for the credentials and saves them.
    async fn request_ssh_config(&mut self) -> Result<SshConfig, ProbeError> {
        // Never closed: this cannot fail.
        let _turn = self.shared.ssh_config_lock.acquire().await;
        // Waiting for one's turn can take long enough for an operation to begin.
        if self.busy.load(Ordering::Relaxed) {
            return Err(ProbeError::NotNow);
        }
        let answer = self.shared.access.ssh_config(&self.guest.machine).await;
        self.ssh_config_retry.failed(Instant::now());
        let config = answer?;
        self.shared.known.save_credentials(self.guest.vm_id, &self.guest.domain_uuid, &config).await?;
        Ok(config)
    }
}

fn not_empty(sample: GuestSample) -> Result<GuestSample, ProbeError> {
    if sample.is_empty() { Err(ProbeError::Unreadable) } else { Ok(sample) }
}

fn another_key(guest: &RunningGuest, config: &SshConfig) -> String {
    format!(
        "{} shows another ssh host key at {} than when it was first read, so it is not read from inside any more; its \
         figures come from the hypervisor. If its keys were made anew on purpose, stop the VM and start it here: then \
         the new key is taken. If not, find out who answers there.",
        guest.machine.name, config.host
    )
}
