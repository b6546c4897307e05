//! The cost of a tick, from the sample to the last `.vm_info`, on the simulated fleet with a clock of its own.
//!
//! CPU time is that of the whole process (user and system) in the measured ticks, without the fleet's own work of
//! making counters up, which a real hypervisor does in another process.

use crate::{
    Results, cpu_time, millis, resident_mb,
    support::{Client, Server},
    thread_time,
};
use async_trait::async_trait;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};
use twarga_cloud::{
    model::UtcMillis,
    server::{
        commands::Source,
        provider::{Hypervisor, HypervisorSample, ReadError},
        simulated::{Moment, SimulatedFleet, SimulatedOptions},
    },
};

/// Measured each time.
const TICKS: u32 = 60;
const BEGIN: i64 = 1_795_420_800_000;

/// Reads the fleet and keeps count of the CPU time that this took.
struct Counted {
    fleet: Arc<SimulatedFleet>,
    spent: Mutex<Duration>,
}

#[async_trait]
impl Hypervisor for Counted {
    async fn read(&self) -> Result<HypervisorSample, ReadError> {
        // The fleet answers at once, on this thread; others work meanwhile.
        let before = thread_time();
        let sample = self.fleet.read().await;
        *self.spent.lock().unwrap() += thread_time() - before;
        sample
    }

    async fn enable_memory_statistics(&self, uuid: &str, interval_secs: u32) -> Result<(), ReadError> {
        self.fleet.enable_memory_statistics(uuid, interval_secs).await
    }

    async fn address(&self, uuid: &str) -> Result<Option<String>, ReadError> {
        self.fleet.address(uuid).await
    }
}

/// Ticks of an hour.
const HOUR: u32 = 720;

pub async fn measure(results: &mut Results) {
    println!("simulated VMs; CPU time of the process a tick: derive, store, .vm_info");
    // Memory is measured first, before anything else of this process needs some.
    for vms in [200, 20, 100, 1000] {
        let mut run = Run::start(vms).await;
        let cost = run.cost_of_ticks(TICKS).await;
        results.report(&format!("tick_{vms}_cpu_ms"), cost, "ms", &format!("one tick, {vms} VMs"));
        if vms == 200 {
            run.an_hour_with_queries().await;
            results.report("rss_200_mb", resident_mb(), "MB", "resident after an hour of ticks with queries");
        }
    }
}

struct Run {
    server: Server,
    ada: Client,
    counted: Arc<Counted>,
    passed_secs: Arc<AtomicI64>,
}

impl Run {
    async fn start(vms: u32) -> Self {
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
        let mut server =
            Server::start(&["--provider", "simulated", "--simulated-vms", &count], |_| source).await;
        let ada = server.user("ada").await;
        let counted = Arc::new(Counted { fleet, spent: Mutex::default() });
        server.collector.hypervisor = counted.clone();
        let mut run = Self { server, ada, counted, passed_secs };
        // The first ticks set up what later ones only maintain: files, memory statistics, addresses.
        for _ in 0..5 {
            run.tick().await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        run
    }

    async fn tick(&mut self) {
        self.passed_secs.fetch_add(5, Ordering::SeqCst);
        self.server.tick().await;
    }

    /// Milliseconds of CPU time, without what making the fleet's counters up took.
    async fn cost_of_ticks(&mut self, count: u32) -> f64 {
        *self.counted.spent.lock().unwrap() = Duration::ZERO;
        let before = cpu_time();
        for _ in 0..count {
            self.tick().await;
        }
        let spent = cpu_time() - before - *self.counted.spent.lock().unwrap();
        millis(spent) / f64::from(count)
    }

    /// A user views all VMs, polls at every tick, and opens a VM's page now and then.
    async fn an_hour_with_queries(&mut self) {
        let mut cursor = None;
        for i in 0..HOUR {
            self.tick().await;
            let query: String = cursor.map(|cursor: i64| format!("?cursor={cursor}")).unwrap_or_default();
            let live = self.ada.get(&format!("/api/v1/metrics_since{query}")).await.json();
            cursor = live["cursor"].as_i64();
            if i % 60 == 0 {
                let path =
                    format!("/api/metrics/vm/{}/history?metric_name=vm_cpu_percent&points=600", i / 60 + 1);
                assert!(self.ada.get(&path).await.json()["count"].as_u64().unwrap() > 0);
                self.server.state.store.seal().await.unwrap();
            }
        }
    }
}
