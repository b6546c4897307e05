//! A simulated fleet for tests.

use super::Server;
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};
use twarga_cloud::{
    model::UtcMillis,
    server::{
        commands::Source,
        simulated::{Moment, SimulatedFleet, SimulatedOptions},
    },
};

pub const MORNING: i64 = 1_795_420_800_000;

/// A fleet whose clock only moves when a test moves it, and whose operations take a moment.
pub struct Fleet {
    pub fleet: Arc<SimulatedFleet>,
    pub passed_secs: Arc<AtomicI64>,
}

impl Fleet {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// One of other speed, or that fails.
    pub fn with(change: impl FnOnce(&mut SimulatedOptions)) -> Self {
        let passed_secs = Arc::new(AtomicI64::new(0));
        let (begin, passed) = (Instant::now(), passed_secs.clone());
        let clock = Arc::new(move || {
            let secs = passed.load(Ordering::SeqCst);
            Moment {
                utc: UtcMillis(MORNING + secs * 1000),
                monotonic: begin + Duration::from_secs(secs.unsigned_abs()),
            }
        });
        let mut options = SimulatedOptions { speed: 10_000.0, clock, ..SimulatedOptions::default() };
        change(&mut options);
        Self { fleet: Arc::new(SimulatedFleet::new(options)), passed_secs }
    }

    pub async fn serve(&self, vms: u32) -> Server {
        let count = vms.to_string();
        self.serve_with(&["--simulated-vms", &count]).await
    }

    pub async fn serve_with(&self, more: &[&str]) -> Server {
        let fleet = self.fleet.clone();
        Server::start(&[&["--provider", "simulated"], more].concat(), |_| Source::simulated(fleet)).await
    }

    /// Lets time pass, a tick every 5 s.
    pub async fn ticks(&self, server: &mut Server, count: u32) {
        for _ in 0..count {
            self.passed_secs.fetch_add(5, Ordering::SeqCst);
            server.tick().await;
        }
    }
}
