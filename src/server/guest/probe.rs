//! Follows one guest through one boot of its VM: asks for the way in, keeps the connection, reads once a period.
//!
//! ```text
//! a period ── kept connection? ──yes── run the script ── reading
//!                   │ no                    │ broke: connect anew at once
//!                   ▼
//!             way in known? ──no, or it failed twice── ask the provider, one guest at a time
//!                   │ yes
//!                   ▼
//!             connect, check the host key ── another key: refused, told once
//! ```
//! What failed is tried again after 5, 10, 20, 40 s; meanwhile the guest's agent is asked, if there is one, or, where
//! no hypervisor tells whether the machine runs, Vagrant, after 20 s up to 320 s. A guest
//! that shows another host key is not read at all until it shows the pinned one again.

use super::{
    GuestSamples, RunningGuest, Shared,
    backoff::Retry,
    sample::{GuestSample, MAX_OUTPUT_BYTES, SCRIPT},
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

/// How much of a period after a tick a guest is read: late, so that the next tick's figures are fresh, with time enough
/// to answer before it.
const AFTER_THE_TICK: f64 = 0.6;
/// Consecutive failures before the credentials are queried again: a booting guest is unreachable for a while.
const FAILURES_UNTIL_DOUBT: u32 = 2;

/// Why there is no sample. For the log.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error("the way in is not known: {0}")]
    Access(#[from] MachineError),
    #[error("the guest's agent: {0}")]
    Agent(#[from] ReadError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("the way in is not known, and it is not the time to ask")]
    NotNow,
    #[error("the guest said nothing that can be read")]
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
    asking: Retry,
    /// The fallback when ssh does not answer: the guest agent, or a query of the machine's state.
    other: Retry,
    /// The guest showed another host key than the pinned one, and has not shown that one since. No answer at all
    /// changes nothing.
    refused: bool,
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
            asking: Retry::new(interval.ask_provider),
            other: Retry::new(if guest.machine.is_indexed() {
                interval.ask_provider
            } else {
                interval.retry
            }),
            connection: None,
            refused: false,
            guest,
            busy,
            samples,
            shared,
        }
    }

    /// Reads for ever; whoever follows drops it. Between two ticks lies one reading, so that what is counted over a
    /// tick was counted once.
    pub async fn follow(mut self, mut ticked: watch::Receiver<Option<Instant>>) {
        let period = self.shared.interval.period;
        ticked.mark_unchanged();
        loop {
            if let Some(sample) = self.read().await {
                let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                let before = samples.take().map(|samples| samples.newest);
                *samples = Some(GuestSamples { newest: Arc::new(sample), before });
            }
            match timeout(period, ticked.changed()).await {
                Ok(Ok(())) => {
                    let tick = *ticked.borrow_and_update();
                    let begin = tick.map_or_else(Instant::now, |tick| tick + period.mul_f64(AFTER_THE_TICK));
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
                    self.asking.worked();
                    self.other.worked();
                    return Some(sample);
                }
                Err(trouble) => {
                    self.ssh.failed(Instant::now());
                    tracing::debug!(vm_id = self.guest.vm_id, %trouble, "the guest cannot be read over ssh");
                }
            }
        }
        if self.refused || !self.other.is_due(Instant::now()) {
            return None;
        }
        if self.guest.machine.is_indexed() {
            self.look_again().await;
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

    async fn read_over_ssh(&mut self) -> Result<GuestSample, Trouble> {
        // Back in its place only after a reading that worked.
        if let Some(connection) = self.connection.take() {
            match Self::read_over(&connection).await {
                Ok(sample) => {
                    self.connection = Some(connection);
                    return Ok(sample);
                }
                // The guest's ssh server may have been restarted.
                Err(Trouble::Ssh(SshError::Broken(_))) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        let connection = self.connect().await?;
        let sample = Self::read_over(&connection).await?;
        self.connection = Some(connection);
        Ok(sample)
    }

    async fn read_over(connection: &Connection) -> Result<GuestSample, Trouble> {
        let taken_at = Instant::now();
        let output = connection.run(SCRIPT, MAX_OUTPUT_BYTES).await?;
        understood(GuestSample::parse(taken_at, &output))
    }

    async fn read_through_agent(&self) -> Result<GuestSample, Trouble> {
        let taken_at = Instant::now();
        let limit = self.shared.interval.timeouts.run;
        let uuid = &self.guest.domain_uuid;
        let output = self.shared.hypervisor.run_in_guest(uuid, SCRIPT, MAX_OUTPUT_BYTES, limit).await?;
        understood(GuestSample::parse(taken_at, &output.ok_or(Trouble::Unreadable)?))
    }

    /// Whether the machine runs at all: its state is only known as of Vagrant's last check.
    async fn look_again(&mut self) {
        let Some(index) = self.shared.index.clone() else { return };
        // Never closed: this cannot fail.
        let _turn = self.shared.one_asks.acquire().await;
        if self.busy.load(Ordering::Relaxed) {
            return;
        }
        let answer = index.refresh_status(&self.guest.machine).await;
        self.other.failed(Instant::now());
        if let Err(error) = answer {
            tracing::debug!(
                vm_id = self.guest.vm_id,
                detail = error.detail,
                "Vagrant does not tell how it stands"
            );
        }
    }

    async fn connect(&mut self) -> Result<Connection, Trouble> {
        let RunningGuest { vm_id, domain_uuid, .. } = &self.guest;
        let (vm_id, uuid) = (*vm_id, domain_uuid.clone());
        let known = self.shared.known.find(vm_id, &uuid).await?;
        let doubtful = self.refused || self.ssh.failures() >= FAILURES_UNTIL_DOUBT;
        let (way, pinned, just_asked) = match known {
            // Without a key, nothing but the way itself says who answers there: an old one may lead to another VM.
            Some(known) if (doubtful || known.host_key.is_none()) && self.may_ask() => {
                (self.ask().await?, known.host_key, true)
            }
            Some(known) => (known.way, known.host_key, false),
            None if self.may_ask() => (self.ask().await?, None, true),
            None => return Err(Trouble::NotNow),
        };
        let opened = Connection::open(&way, pinned.as_deref(), self.shared.interval.timeouts).await;
        match opened {
            Ok(connection) => {
                self.refused = false;
                if pinned.is_none() && just_asked {
                    self.shared.known.pin(vm_id, &uuid, connection.host_key()).await?;
                }
                Ok(connection)
            }
            Err(SshError::HostKeyChanged { shown }) => {
                self.refused = true;
                // At an address that was true once, another VM may answer by now: that is no news for the owner.
                if just_asked {
                    let text = another_key(&self.guest, &way);
                    self.shared.known.refuse(vm_id, &uuid, &shown, text).await?;
                }
                Err(SshError::HostKeyChanged { shown }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn may_ask(&self) -> bool {
        self.asking.is_due(Instant::now()) && !self.busy.load(Ordering::Relaxed)
    }

    /// Queries the provider for the credentials and saves them.
    async fn ask(&mut self) -> Result<SshConfig, Trouble> {
        // Never closed: this cannot fail.
        let _turn = self.shared.one_asks.acquire().await;
        // Waiting for one's turn can take long enough for an operation to begin.
        if self.busy.load(Ordering::Relaxed) {
            return Err(Trouble::NotNow);
        }
        let answer = self.shared.access.ssh_config(&self.guest.machine).await;
        self.asking.failed(Instant::now());
        let way = answer?;
        self.shared.known.save_credentials(self.guest.vm_id, &self.guest.domain_uuid, &way).await?;
        Ok(way)
    }
}

fn understood(sample: GuestSample) -> Result<GuestSample, Trouble> {
    if sample.is_empty() { Err(Trouble::Unreadable) } else { Ok(sample) }
}

fn another_key(guest: &RunningGuest, way: &SshConfig) -> String {
    format!(
        "{} shows another ssh host key at {} than when it was first read, so it is not read from inside any more; its \
         figures come from the hypervisor. If its keys were made anew on purpose, stop the VM and start it here: then \
         the new key is taken. If not, find out who answers there.",
        guest.machine.name, way.host
    )
}
