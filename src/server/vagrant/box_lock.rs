//! A lock per box: only one machine at a time is created from a box whose image may not be uploaded yet.

use super::task::say;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc::UnboundedSender};

/// One lock per box.
#[derive(Debug, Default)]
pub(super) struct BoxLocks {
    by_box: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

impl BoxLocks {
    /// Waits for the lock of `vagrant_box`; dropping the guard releases it.
    pub(super) async fn lock(
        &self,
        vagrant_box: &str,
        lines: &UnboundedSender<String>,
    ) -> OwnedMutexGuard<()> {
        let lock = {
            let mut by_box = self.by_box.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(by_box.entry(vagrant_box.to_owned()).or_default())
        };
        if let Ok(guard) = Arc::clone(&lock).try_lock_owned() {
            return guard;
        }
        say(lines, "Another VM is being created from the same box; waiting for its image.");
        lock.lock_owned().await
    }
}
