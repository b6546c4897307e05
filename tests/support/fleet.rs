//! A simulated fleet on a clock that only the test moves.

use super::Server;
use std::{
    ops::Deref,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use twarga_cloud::{
    model::UtcMillis,
    server::{
        clock::Clock,
        commands::Source,
        simulated::{Moment, SimulatedFleet, SimulatedOptions},
    },
};

/// What a [`ManualClock`] shows at first: 2026-11-23, 08:00 UTC.
pub const MORNING: UtcMillis = UtcMillis(1_795_420_800_000);

/// The two clocks of a machine, the monotonic one and the wall clock. Both stand still until a test moves them; clones
/// show the same time.
#[derive(Clone)]
pub struct ManualClock(Arc<Hands>);

struct Hands {
    started: Instant,
    passed_secs: AtomicU64,
    wall_offset_secs: AtomicI64,
}

impl ManualClock {
    fn new() -> Self {
        Self(Arc::new(Hands {
            started: Instant::now(),
            passed_secs: AtomicU64::new(0),
            wall_offset_secs: AtomicI64::new(0),
        }))
    }

    pub fn now(&self) -> Moment {
        let passed_secs = self.0.passed_secs.load(Ordering::SeqCst);
        let offset_secs = self.0.wall_offset_secs.load(Ordering::SeqCst);
        Moment {
            utc: MORNING.plus_secs(passed_secs.cast_signed() + offset_secs),
            monotonic: self.0.started + Duration::from_secs(passed_secs),
        }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, secs: u64) {
        self.0.passed_secs.fetch_add(secs, Ordering::SeqCst);
    }

    /// Sets the wall clock forward, or back by a negative number.
    pub fn jump_wall_clock(&self, secs: i64) {
        self.0.wall_offset_secs.fetch_add(secs, Ordering::SeqCst);
    }
}

/// A [`SimulatedFleet`] on a [`ManualClock`], whose operations take a moment. Clones are the same fleet.
#[derive(Clone)]
pub struct Fleet {
    fleet: Arc<SimulatedFleet>,
    pub clock: ManualClock,
}

impl Deref for Fleet {
    type Target = SimulatedFleet;

    fn deref(&self) -> &SimulatedFleet {
        &self.fleet
    }
}

impl Fleet {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// One of other speed, or that fails.
    pub fn with(change: impl FnOnce(&mut SimulatedOptions)) -> Self {
        let clock = ManualClock::new();
        let hands = clock.clone();
        let clock_of_fleet = Clock::new(move || hands.now());
        let mut options =
            SimulatedOptions { speed: 10_000.0, clock: clock_of_fleet, ..SimulatedOptions::default() };
        change(&mut options);
        Self { fleet: Arc::new(SimulatedFleet::new(options)), clock }
    }

    pub fn source(&self) -> Source {
        Source::simulated(self.fleet.clone())
    }

    /// A server with that many VMs of the first account.
    pub async fn serve(&self, vms: u32) -> Server {
        self.serve_with(&["--simulated-vms", &vms.to_string()]).await
    }

    pub async fn serve_with(&self, flags: &[&str]) -> Server {
        Server::start(&[&SIMULATED, flags].concat(), |_| self.source()).await
    }

    /// In a folder that may have been used before, as after a restart.
    pub async fn serve_in(&self, folder: &Path, flags: &[&str]) -> Server {
        Server::start_in(folder, &[&SIMULATED, flags].concat(), |_| self.source()).await
    }

    /// Lets time pass, a tick every 5 s.
    pub async fn ticks(&self, server: &mut Server, count: u32) {
        for _ in 0..count {
            self.clock.advance(5);
            server.tick().await;
        }
    }
}

const SIMULATED: [&str; 2] = ["--provider", "simulated"];
