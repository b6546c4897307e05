//! The store is killed a hundred times while it records, seals and deletes; nothing that was committed is lost, and
//! nothing is there twice.
//!
//! The writer is this test binary, started by `a_hundred_kills_…` with only the test `writer`.

use crate::support::{PATIENCE, Random, fleet::MORNING};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};
use twarga_cloud::{
    model::{HostUsage, UtcMillis, VmUsage},
    server::{
        database::Database,
        metrics::{Span, Store},
    },
};

const KILLS: u32 = 100;
/// So many between two kills on average, and more: half an hour's, so that every other run has an hour to seal.
const TICKS: u64 = 36;
const FOLDER: &str = "TWARGA_CRASH_FOLDER";
/// Few ticks an hour, so that hours are sealed all the time.
const INTERVAL_SECS: u32 = 50;
const KEPT_SECS: i64 = 40 * 3600;
const VMS: [i64; 3] = [1, 2, 3];

fn at(tick: i64) -> UtcMillis {
    MORNING.plus_secs(tick * i64::from(INTERVAL_SECS))
}

fn tick_at(at: UtcMillis) -> i64 {
    (at.0 - MORNING.0) / (i64::from(INTERVAL_SECS) * 1000)
}

async fn open(folder: &Path) -> (Database, Store) {
    let database = Database::open(folder).await.unwrap();
    let store = Store::open(database.clone(), INTERVAL_SECS).await.unwrap();
    (database, store)
}

/// Records ticks until it is killed, and says each one's number once it is committed.
#[test]
fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (database, store) = open(&PathBuf::from(folder)).await;
        let sealing = store.clone();
        tokio::spawn(async move {
            loop {
                sealing.seal().await.unwrap();
                let oldest = sealing.newest_tick().plus_secs(-KEPT_SECS);
                sealing.delete_before(oldest).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let newest = store.newest_tick();
        let first = if newest == UtcMillis(0) { 0 } else { tick_at(newest) + 1 };
        // The parent kills it long before.
        for tick in first..first + 200_000 {
            let usage = VmUsage {
                cpu_percent: Some((tick % 100) as f64),
                uptime_seconds: Some(tick.unsigned_abs()),
                ..VmUsage::default()
            };
            let mut tx = database.write().await.unwrap();
            let vms = VMS.map(|id| (id, usage));
            let new = store.new_tick(at(tick), &vms, &HostUsage::default());
            store.record(&mut tx, &new).await.unwrap();
            tx.commit().await.unwrap();
            store.publish(new);
            println!("committed {tick}");
        }
    });
}

/// A writer that is killed when it is dropped.
struct Writer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Writer {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::writer", "--exact", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The next tick that it committed; `None` at its end.
    fn committed(&mut self) -> Option<i64> {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            // A line may follow what the test runner printed without ending it.
            if let Some((_, tick)) = line.trim_end().rsplit_once("committed ")
                && line.ends_with('\n')
            {
                return Some(tick.parse().unwrap());
            }
            line.clear();
        }
        None
    }

    /// Kills it some time after it committed so many ticks, which do not depend on the speed of the machine. Gives the last
    /// one that it committed, as far as it came to say so.
    fn killed_after(mut self, ticks: u64, wait: Duration) -> i64 {
        let mut last = 0;
        for _ in 0..ticks {
            last = self.committed().expect("it records");
        }
        std::thread::sleep(wait);
        self.child.kill().unwrap();
        while let Some(tick) = self.committed() {
            last = tick;
        }
        last
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_hundred_kills_lose_no_tick_and_double_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new();
    let mut sealed_hours = 0;
    for kill in 0..KILLS {
        let (ticks, wait) = (1 + random.below(2 * TICKS), Duration::from_millis(random.below(64)));
        let writer = Writer::start(folder.path());
        let killed = tokio::task::spawn_blocking(move || writer.killed_after(ticks, wait));
        let last = tokio::time::timeout(PATIENCE, killed).await.expect("it ends in time").unwrap();

        let (database, store) = open(folder.path()).await;
        let sound: String =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_one(database.read()).await.unwrap();
        assert_eq!(sound, "ok", "after kill {kill}");
        let newest = tick_at(store.newest_tick());
        assert!(newest >= last, "kill {kill}: {last} was committed, {newest} is the newest");
        let names = ["vm_uptime".to_owned()];
        let since = Span { from: Some(at(newest).plus_secs(3600 - KEPT_SECS)), to: None };
        let expected: Vec<_> = (tick_at(since.from.unwrap()).max(0)..=newest).collect();
        for range in store.ranges(&VMS, &names, since, Some(10_000)).await.unwrap() {
            let times: Vec<_> = range.at.iter().map(|at| tick_at(*at)).collect();
            let values: Vec<_> = range.mean.iter().map(|value| value.unwrap() as i64).collect();
            assert_eq!(times, expected, "kill {kill}: the ticks of VM {:?}", range.vm_id);
            assert_eq!(values, expected, "kill {kill}: the values of VM {:?}", range.vm_id);
        }
        // Whatever is a chunk is no row.
        let doubled: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM tick JOIN sealed_hour ON tick.sampled_at / 3600000 = sealed_hour.hour",
        )
        .fetch_one(database.read())
        .await
        .unwrap();
        assert_eq!(doubled, 0, "after kill {kill}");
        sealed_hours =
            sqlx::query_scalar("SELECT count(*) FROM sealed_hour").fetch_one(database.read()).await.unwrap();
        database.close().await;
    }
    assert!(sealed_hours > 20, "hours were sealed and forgotten meanwhile: {sealed_hours}");
}
