//! Samples domains and answers questions about single ones.

use super::{HypervisorSample, Moment, ReadError};
use crate::model::UtcMillis;
use async_trait::async_trait;
use std::time::Duration;
use tokio::sync::Notify;

/// Samples the hypervisor's counters.
#[async_trait]
pub trait Hypervisor: Send + Sync {
    /// Reads all domains at once.
    ///
    /// # Errors
    /// When the hypervisor as a whole does not answer. A single domain that cannot be read is left out or has
    /// fewer counters.
    async fn read(&self) -> Result<HypervisorSample, ReadError>;

    /// The clocks of samples, and of ticks without a sample.
    fn now(&self) -> Moment {
        Moment::now()
    }

    /// When the host started, by the wall clock.
    fn host_started_at(&self) -> Option<UtcMillis> {
        let secs = sysinfo::System::boot_time().ok()?;
        Some(UtcMillis(i64::try_from(secs).ok()?.checked_mul(1000)?))
    }

    /// Notifies `changed` whenever a domain may have started, stopped or gone. Never returns.
    async fn watch(&self, _changed: &Notify) {
        std::future::pending::<()>().await;
    }

    /// Has the guest's memory statistics refreshed every `interval_secs`; to be called once per boot.
    ///
    /// # Errors
    /// When the domain does not run or the hypervisor does not answer; trying again later may help.
    async fn enable_memory_statistics(&self, uuid: &str, interval_secs: u32) -> Result<(), ReadError>;

    /// The domain's IPv4 address, when the hypervisor knows it.
    ///
    /// # Errors
    /// When the hypervisor does not answer.
    async fn address(&self, uuid: &str) -> Result<Option<String>, ReadError>;

    /// Runs a shell script inside the guest through its agent and answers what it printed, at most `max_bytes` of
    /// it; `None` when there is no such thing here.
    ///
    /// # Errors
    /// When the guest has no agent, or it does not answer or finish within `limit`.
    async fn run_in_guest(
        &self,
        _uuid: &str,
        _script: &str,
        _max_bytes: usize,
        _limit: Duration,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(None)
    }
}
