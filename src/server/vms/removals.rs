//! Which leftover resources are being removed, and why others could not be. In memory: after a restart, what is left is
//! listed again and can be removed again.

use super::Vms;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// By folder.
#[derive(Default)]
pub struct Removals(Mutex<HashMap<String, RemovalState>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovalState {
    UnderWay,
    /// What happened and what to do.
    Failed(String),
}

/// A removal that is under way until this is dropped.
pub struct Removal {
    vms: Vms,
    folder: String,
}

impl Removals {
    pub fn state(&self, folder: &str) -> Option<RemovalState> {
        self.lock().get(folder).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, RemovalState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Removal {
    /// `None` while this folder is being removed already.
    pub fn begin(vms: &Vms, folder: &str) -> Option<Self> {
        let before = vms.0.removals.lock().insert(folder.to_owned(), RemovalState::UnderWay);
        (before != Some(RemovalState::UnderWay)).then(|| Self { vms: vms.clone(), folder: folder.to_owned() })
    }

    /// Keeps why it failed until the next attempt.
    pub fn failed(self, text: String) {
        self.vms.0.removals.lock().insert(self.folder.clone(), RemovalState::Failed(text));
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        let mut removals = self.vms.0.removals.lock();
        if removals.get(&self.folder) == Some(&RemovalState::UnderWay) {
            removals.remove(&self.folder);
        }
    }
}
