//! The cost of a tick, from the sample to the last `.vm_info`, on the simulated fleet with a clock of its own.
//!
//! CPU time is that of the whole process (user and system) in the measured ticks, without the fleet's own work of
//! making counters up, which a real hypervisor does in another process.

use crate::{
    Results, cpu_time, millis, resident_mb,
    support::{Client, Server, fleet::Fleet},
    thread_time,
};
use async_trait::async_trait;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use twarga_cloud::server::provider::{Hypervisor, HypervisorSample, ReadError};

/// Measured each time.
const TICKS: u32 = 60;

/// Reads the fleet and keeps count of the CPU time that this took.
struct Counted {
    fleet: Fleet,
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
    fleet: Fleet,
}

impl Run {
    async fn start(vms: u32) -> Self {
        let fleet = Fleet::new();
        let mut server = fleet.serve(vms).await;
        let ada = server.user("ada").await;
        let counted = Arc::new(Counted { fleet: fleet.clone(), spent: Mutex::default() });
        server.collector.hypervisor = counted.clone();
        let mut run = Self { server, ada, counted, fleet };
        // The first ticks set up what later ones only keep: files, statistics periods, addresses.
        for _ in 0..5 {
            run.tick().await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        run
    }

    async fn tick(&mut self) {
        self.fleet.ticks(&mut self.server, 1).await;
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
