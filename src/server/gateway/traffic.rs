//! How much a connection has passed on, and when last.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// What a connection has passed on.
pub struct Traffic {
    pub begun: Instant,
    pub input_bytes: AtomicU64,
    pub output_bytes: AtomicU64,
    /// When something was passed on last, in ms since the connection began.
    last_ms: AtomicU64,
}

impl Traffic {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            input_bytes: AtomicU64::new(0),
            output_bytes: AtomicU64::new(0),
            last_ms: AtomicU64::new(0),
        }
    }

    pub fn count_input(&self, bytes: usize) {
        self.input_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    pub fn count_output(&self, bytes: usize) {
        self.output_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    fn touch(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    pub fn idle(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}
