//! What a tick costs, from the reading to the last `.vm_info`, on the simulated fleet with a clock of its own.
//!
//! `make bench` prints the figures and writes them to `target/bench.json` as `{"name": {"value": …, "unit": …}}`.
//! CPU time is that of the whole process (user and system) in the measured ticks, without the fleet's own work of
//! making counters up, which a real hypervisor does in another process.

#[path = "../tests/support/mod.rs"]
mod support;

use async_trait::async_trait;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::json;
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};
use support::Server;
use twarga_cloud::{
    model::UtcMillis,
    server::{
        provider::{Hypervisor, ReadError, Reading},
        run::Source,
        simulated::{Moment, SimulatedFleet, SimulatedOptions},
    },
};

const TICKS: u32 = 60;
const BEGIN: i64 = 1_795_420_800_000;

/// Reads the fleet and keeps count of the CPU time that this took.
struct Counted {
    fleet: Arc<SimulatedFleet>,
    spent: Mutex<Duration>,
}

#[async_trait]
impl Hypervisor for Counted {
    async fn read(&self) -> Result<Reading, ReadError> {
        let before = cpu_time();
        let reading = self.fleet.read().await;
        *self.spent.lock().unwrap() += cpu_time() - before;
        reading
    }

    async fn enable_memory_statistics(&self, uuid: &str, period_secs: u32) -> Result<(), ReadError> {
        self.fleet.enable_memory_statistics(uuid, period_secs).await
    }

    async fn address(&self, uuid: &str) -> Result<Option<String>, ReadError> {
        self.fleet.address(uuid).await
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut figures = serde_json::Map::new();
    println!("{TICKS} ticks each; CPU time of the process a tick");
    for vms in [20, 100, 200] {
        let (millis, rss_mb) = runtime.block_on(tick_cost(vms));
        println!("tick_{vms}_cpu_ms  {millis:.2} ms   (resident {rss_mb:.0} MB)");
        figures.insert(format!("tick_{vms}_cpu_ms"), json!({ "value": millis, "unit": "ms" }));
        figures.insert(format!("rss_{vms}_mb"), json!({ "value": rss_mb, "unit": "MB" }));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, serde_json::to_vec_pretty(&figures).unwrap()).unwrap();
    println!("written to target/bench.json");
}

async fn tick_cost(vms: u32) -> (f64, f64) {
    let passed_secs = Arc::new(AtomicI64::new(0));
    let (begin, passed) = (Instant::now(), passed_secs.clone());
    let clock = Arc::new(move || {
        let secs = passed.load(Ordering::SeqCst);
        Moment {
            utc: UtcMillis(BEGIN + secs * 1000),
            monotonic: begin + Duration::from_secs(secs.unsigned_abs()),
        }
    });
    let fleet = Arc::new(SimulatedFleet::new(SimulatedOptions { clock, ..SimulatedOptions::default() }));
    let count = vms.to_string();
    let source = Source::simulated(fleet.clone());
    let mut server = Server::start(&["--provider", "simulated", "--simulated-vms", &count], |_| source).await;
    server.person("ada").await;
    let counted = Arc::new(Counted { fleet, spent: Mutex::default() });
    server.collector.hypervisor = counted.clone();
    // The first ticks set up what later ones only keep: files, statistics periods, addresses.
    for _ in 0..5 {
        passed_secs.fetch_add(5, Ordering::SeqCst);
        server.tick().await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    *counted.spent.lock().unwrap() = Duration::ZERO;
    let before = cpu_time();
    for _ in 0..TICKS {
        passed_secs.fetch_add(5, Ordering::SeqCst);
        server.tick().await;
    }
    let spent = cpu_time() - before - *counted.spent.lock().unwrap();
    (spent.as_secs_f64() * 1000.0 / f64::from(TICKS), resident_mb())
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().unsigned_abs(), u32::try_from(time.tv_usec()).unwrap_or_default() * 1000)
    };
    of(usage.user_time()) + of(usage.system_time())
}

fn resident_mb() -> f64 {
    let pages: f64 = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or_default();
    pages * 4096.0 / (1024.0 * 1024.0)
}
