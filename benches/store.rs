//! The store with 200 VMs and a week of ticks 5 s apart: how large it gets and how fast it answers.
//!
//! The data is made up, of what real VMs show: daily curves with noise in every tick, memory that wanders, disks that
//! grow in steps, traffic in bursts, reboots, hours off, and single unknown values.

use crate::{Results, cpu_time, millis};
use std::{
    f64::consts::TAU,
    time::{Duration, Instant},
};
use twarga_cloud::{
    model::{HostUsage, Source, Sources, UtcMillis, VmUsage},
    server::{
        database::Database,
        metrics::{Span, Store},
    },
};

const VMS: i64 = 200;
const DAYS: i64 = 7;
const TICKS: i64 = DAYS * 24 * 720;
const INTERVAL_SECS: u32 = 5;
const BEGIN: i64 = 1_795_392_000_000;
/// Values stored of a VM and tick: the metrics of the contract.
const METRICS: f64 = 8.0;

pub async fn measure(results: &mut Results) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).await.unwrap();
    let store = Store::open(database.clone(), INTERVAL_SECS).await.unwrap();
    println!("\n{VMS} VMs, {DAYS} days, a tick every {INTERVAL_SECS} s");

    let began = Instant::now();
    let mut noise = Noise(7);
    let mut vms: Vec<Vm> = (1..=VMS).map(|id| Vm::new(id, &mut noise)).collect();
    let (mut samples, mut sealing, mut sealing_cpu, mut hours) = (0, Vec::new(), Duration::ZERO, 0);
    for hour in 0..TICKS / 720 {
        // Many ticks a transaction: it is the filling that is not measured.
        let mut tx = database.write().await.unwrap();
        for i in hour * 720..(hour + 1) * 720 {
            let at = BEGIN + i * 5000 + (noise.unit() * 40.0) as i64;
            let running: Vec<_> =
                vms.iter_mut().filter_map(|vm| Some((vm.id, vm.tick(i, &mut noise)?))).collect();
            samples += running.len();
            let tick = store.new_tick(UtcMillis(at), &running, &host(i, &mut noise));
            store.record(&mut tx, &tick).await.unwrap();
            store.publish(tick);
        }
        tx.commit().await.unwrap();
        let (wall, cpu) = (Instant::now(), cpu_time());
        if store.seal().await.unwrap() == 1 {
            hours += 1;
            sealing.push(millis(wall.elapsed()));
            sealing_cpu += cpu_time() - cpu;
        }
    }
    println!("filled with {samples} ticks of a VM in {:.0} s", began.elapsed().as_secs_f64());
    sealing.sort_by(f64::total_cmp);
    results.report("seal_hour_200_ms", sealing[sealing.len() / 2], "ms", "sealing an hour, median");
    results.report(
        "seal_hour_200_cpu_ms",
        millis(sealing_cpu) / f64::from(hours),
        "ms",
        "the same, CPU time",
    );
    results.report(
        "tick_delay_by_seal_ms",
        delay_by_sealing(&store, &database, &mut vms, &mut noise).await,
        "ms",
        "the longest that a tick's transaction took while an hour was sealed",
    );

    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_all(&database_pool(folder.path()).await)
        .await
        .unwrap();
    let size = std::fs::metadata(folder.path().join("twarga.sqlite")).unwrap().len();
    results.report("file_200x7d_mb", size as f64 / 1e6, "MB", "the whole file");
    let (bytes, rows): (i64, i64) =
        sqlx::query_as("SELECT sum(length(data)), count(*) FROM chunk WHERE vm_id > 0")
            .fetch_one(database.read())
            .await
            .unwrap();
    let sealed: f64 = sealed_values(&database).await;
    // A row's id, header and pointer beside its data.
    results.report("bytes_per_value", (bytes + 12 * rows) as f64 / sealed, "B", "sealed, over the 8 metrics");

    queries(results, &store).await;
}

async fn database_pool(folder: &std::path::Path) -> sqlx::SqlitePool {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("twarga.sqlite"));
    sqlx::SqlitePool::connect_with(options).await.unwrap()
}

/// Ticks of a VM that are sealed, times the metrics of the contract.
async fn sealed_values(database: &Database) -> f64 {
    let hot: i64 = sqlx::query_scalar("SELECT count(*) FROM tick, json_each(tick.vms)")
        .fetch_one(database.read())
        .await
        .unwrap();
    let running: i64 = ALL_TICKS.load(std::sync::atomic::Ordering::Relaxed);
    (running - hot) as f64 * METRICS
}

static ALL_TICKS: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);

/// Goes on for an hour and a half of ticks, with real transactions, while the hour before is sealed.
async fn delay_by_sealing(store: &Store, database: &Database, vms: &mut [Vm], noise: &mut Noise) -> f64 {
    let mut longest = Duration::ZERO;
    let mut sealing = None;
    for i in TICKS..TICKS + 1000 {
        let running: Vec<_> = vms.iter_mut().filter_map(|vm| Some((vm.id, vm.tick(i, noise)?))).collect();
        let began = Instant::now();
        let mut tx = database.write().await.unwrap();
        let tick = store.new_tick(UtcMillis(BEGIN + i * 5000), &running, &host(i, noise));
        store.record(&mut tx, &tick).await.unwrap();
        tx.commit().await.unwrap();
        store.publish(tick);
        let took = began.elapsed();
        if i == TICKS + 205 || i == TICKS + 925 {
            let store = store.clone();
            sealing = Some(tokio::spawn(async move { store.seal().await.unwrap() }));
        }
        if let Some(task) = &sealing {
            longest = longest.max(took);
            if task.is_finished() {
                sealing = None;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    millis(longest)
}

async fn queries(results: &mut Results, store: &Store) {
    let mut noise = Noise(11);
    let newest = store.newest_tick();
    let metrics = ["vm_cpu_percent", "vm_memory_percent", "vm_disk_percent", "vm_network_rx_mb_per_s"];
    let week = Span { from: Some(newest.plus_secs(-DAYS * 86_400)), to: Some(newest) };
    let mut took = Vec::new();
    for i in 0..300 {
        let vm = 1 + (noise.unit() * VMS as f64) as i64;
        let name = [metrics[i % 3].to_owned()];
        let began = Instant::now();
        let ranges = store.ranges(&[vm], &name, week, Some(600)).await.unwrap();
        took.push(millis(began.elapsed()));
        assert!(ranges[0].at.len() > 300, "{}", ranges[0].at.len());
    }
    results.report("history_7d_600_p99_ms", p99(&mut took), "ms", "7 days of a metric of a VM, 600 points");
    results.report("history_7d_600_p50_ms", took[took.len() / 2], "ms", "the same, median");

    let hour = Span { from: Some(newest.plus_secs(-3600)), to: Some(newest) };
    let names = metrics.map(str::to_owned);
    let mut took = Vec::new();
    for _ in 0..300 {
        let first = 1 + (noise.unit() * (VMS - 20) as f64) as i64;
        let vms: Vec<_> = (first..first + 20).collect();
        let began = Instant::now();
        let ranges = store.ranges(&vms, &names, hour, Some(600)).await.unwrap();
        took.push(millis(began.elapsed()));
        assert_eq!(ranges.len(), 80);
    }
    results.report("hour_4x20_p99_ms", p99(&mut took), "ms", "the last hour of 4 metrics of 20 VMs");
    results.report("hour_4x20_p50_ms", took[took.len() / 2], "ms", "the same, median");
}

fn p99(took: &mut [f64]) -> f64 {
    took.sort_by(f64::total_cmp);
    took[took.len() * 99 / 100]
}

struct Noise(u64);

impl Noise {
    /// In `0.0..1.0` (xorshift64*).
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal, of deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

struct Vm {
    id: i64,
    /// How busy it is at its busiest, 0 to 1.
    busy: f64,
    peak_hour: f64,
    memory_mb: f64,
    disk_gb: f64,
    memory: f64,
    disk_used: f64,
    /// An image keeps the blocks of deleted files.
    image_gb: f64,
    rx: f64,
    tx: f64,
    uptime: u64,
    off_until: i64,
    burst_until: i64,
}

impl Vm {
    fn new(id: i64, noise: &mut Noise) -> Self {
        let memory_mb = f64::from(512 << (noise.unit() * 5.0) as u32);
        let disk_gb = 10.0 + (noise.unit() * 90.0).floor();
        let mut vm = Self {
            id,
            busy: noise.unit().powi(2),
            peak_hour: 10.0 + 8.0 * noise.unit(),
            memory_mb,
            disk_gb,
            memory: 0.3 + 0.4 * noise.unit(),
            disk_used: disk_gb * (0.1 + 0.5 * noise.unit()),
            image_gb: 0.0,
            rx: 0.0,
            tx: 0.0,
            uptime: (noise.unit() * 1e6) as u64,
            off_until: 0,
            burst_until: 0,
        };
        vm.image_gb = 1.2 * vm.disk_used;
        vm
    }

    /// `None` while it is off.
    fn tick(&mut self, i: i64, noise: &mut Noise) -> Option<VmUsage> {
        if i < self.off_until {
            return None;
        }
        // A reboot every other day; every tenth time it stays off for up to eight hours.
        if noise.unit() < 1.0 / 35_000.0 {
            (self.uptime, self.rx, self.tx) = (0, 0.0, 0.0);
            if noise.unit() < 0.1 {
                self.off_until = i + (noise.unit() * 5760.0) as i64;
                return None;
            }
        }
        // A few bursts a day, of minutes.
        if noise.unit() < 1.0 / 4000.0 {
            self.burst_until = i + (noise.unit() * 240.0) as i64;
        }
        let hour = (i % 17_280) as f64 / 720.0;
        let daily = 0.5 + 0.5 * (TAU * (hour - self.peak_hour) / 24.0).cos();
        let burst = if i < self.burst_until { 0.4 } else { 0.0 };
        let level = 0.01 + self.busy * (0.1 + 0.6 * daily) + burst;
        let cpu = (level * (1.0 + 0.15 * noise.normal()) + 0.002 * noise.normal()).clamp(0.0, 1.0);
        self.memory =
            (self.memory + 0.0004 * noise.normal() + 0.00002 * (0.5 - self.memory)).clamp(0.1, 0.98);
        if noise.unit() < 0.05 {
            self.disk_used = (self.disk_used + 0.002 * noise.unit() * level * 10.0).min(self.disk_gb * 0.95);
        }
        self.image_gb = self.image_gb.max(self.disk_used);
        // Idle machines hear a little broadcast; busy ones serve.
        let traffic = 0.0006 + 4.0 * level * level * self.busy;
        self.rx += traffic * 5.0 * (1.0 + 0.3 * noise.normal()).max(0.0);
        self.tx += traffic * 9.0 * (1.0 + 0.3 * noise.normal()).max(0.0);
        self.uptime += 5;
        ALL_TICKS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let known = noise.unit() > 0.0005;
        let used = self.memory * self.memory_mb;
        Some(VmUsage {
            cpu_percent: known.then_some(100.0 * cpu),
            memory_percent: Some(100.0 * self.memory),
            memory_used_mb: Some(used),
            memory_available_mb: Some(self.memory_mb - used),
            swap_percent: None,
            disk_percent: Some(100.0 * self.disk_used / self.disk_gb),
            disk_used_gb: Some(self.disk_used),
            disk_available_gb: Some(self.disk_gb - self.disk_used),
            image_percent: Some(100.0 * self.image_gb / self.disk_gb),
            image_used_gb: Some(self.image_gb),
            image_available_gb: Some(self.disk_gb - self.image_gb),
            network_rx_mb: Some(self.rx),
            network_tx_mb: Some(self.tx),
            network_rx_mb_per_s: None,
            network_tx_mb_per_s: None,
            uptime_seconds: Some(self.uptime),
            sources: Sources {
                cpu: if known { Source::Hypervisor } else { Source::Unknown },
                memory: Source::Guest,
                disk: Source::Guest,
                network: Source::Hypervisor,
                uptime: Source::Guest,
            },
        })
    }
}

fn host(i: i64, noise: &mut Noise) -> HostUsage {
    let daily = 0.5 + 0.5 * (TAU * i as f64 / 17_280.0).cos();
    let cpu = (20.0 + 50.0 * daily + 4.0 * noise.normal()).clamp(0.0, 100.0);
    HostUsage {
        cpu_percent: Some(cpu),
        memory_percent: Some(60.0 + 5.0 * daily),
        memory_used_gb: Some(38.4 + 3.2 * daily + 0.01 * noise.normal()),
        memory_total_gb: Some(64.0),
        disk_percent: Some(40.0),
        disk_used_gb: Some(400.0 + i as f64 / 10_000.0),
        disk_total_gb: Some(1000.0),
        net_send_speed: Some((30.0 * daily + noise.normal()).max(0.0)),
        net_recv_speed: Some((20.0 * daily + noise.normal()).max(0.0)),
        load_1: Some(cpu / 6.0),
        load_5: Some(cpu / 6.5),
        load_15: Some(cpu / 7.0),
        cpu_cores: 16,
        ..HostUsage::default()
    }
}
