//! The store with a real database: rows and chunks give the same answers as rows alone.

use super::*;
use crate::model::{MetricRange, Source, Sources};
use crate::server::backup;
use futures::TryStreamExt;
use proptest::{collection::vec, option, prelude::*, test_runner::Config};
use tempfile::TempDir;

const INTERVAL_SECS: u32 = 5;
/// The beginning of an hour.
const BEGIN: i64 = 1_795_420_800_000;

async fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = reopened(&folder).await;
    (folder, store)
}

async fn reopened(folder: &TempDir) -> Store {
    Store::open(Database::open(folder.path()).await.unwrap(), INTERVAL_SECS).await.unwrap()
}

/// Metrics with something to compress.
fn usage(i: i64) -> VmUsage {
    let wave = (i as f64 / 20.0).sin();
    let known = i % 97 != 0;
    VmUsage {
        cpu_percent: known.then_some(40.0 + 30.0 * wave),
        memory_percent: None,
        memory_used_mb: Some(300.0 + 20.0 * wave),
        memory_available_mb: Some(212.0 - 20.0 * wave),
        disk_used_gb: Some(2.0 + i as f64 / 10_000.0),
        disk_available_gb: Some(8.0 - i as f64 / 10_000.0),
        network_rx_mb: Some(i as f64 * 0.37),
        network_tx_mb: Some(i as f64 * 0.11),
        uptime_seconds: Some(i.unsigned_abs() * 5),
        sources: Sources { cpu: Source::Hypervisor, ..Sources::default() },
        ..VmUsage::default()
    }
}

async fn record(store: &Store, at: i64, vms: &[(i64, VmUsage)]) {
    let host = HostUsage { cpu_percent: Some(12.5), cpu_cores: 2, ..HostUsage::default() };
    let mut tx = store.0.database.write().await.unwrap();
    let tick = store.new_tick(UtcMillis(at), vms, &host);
    store.record(&mut tx, &tick).await.unwrap();
    tx.commit().await.unwrap();
    store.publish(tick);
}

/// Ticks of two VMs; the second one is away now and then.
async fn record_ticks(store: &Store, ticks: std::ops::Range<i64>) {
    for i in ticks {
        let mut vms = vec![(1, usage(i))];
        if i % 50 != 7 {
            vms.push((2, usage(i + 1000)));
        }
        record(store, BEGIN + i * 5000, &vms).await;
    }
}

async fn everything(store: &Store) -> (Vec<MetricRange>, Vec<Series>, String) {
    let names: Vec<_> =
        crate::model::Metric::ALL.iter().filter(|m| !m.of_host).map(|m| m.name.to_owned()).collect();
    let mut ranges = Vec::new();
    for points in [17, 600, 10_000] {
        ranges.extend(store.ranges(&[1, 2], &names, Span::default(), Some(points)).await.unwrap());
    }
    let newest = store.newest_tick();
    let series = store.series(&[1, 2], UtcMillis(0), newest).await.unwrap();
    let parts: Vec<String> =
        store.export(Some(2), Span::default(), ExportFormat::Csv).unwrap().try_collect().await.unwrap();
    (ranges, series, parts.concat())
}

async fn count(store: &Store, table: &str) -> i64 {
    let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(sql).fetch_one(store.0.database.read()).await.unwrap()
}

#[tokio::test]
async fn rows_and_chunks_give_what_rows_alone_gave() {
    let (folder, store) = store().await;
    record_ticks(&store, 0..1700).await;
    let before = everything(&store).await;
    assert_eq!(store.seal().await.unwrap(), 2, "two hours are over, and a quarter of the third");
    assert_eq!((count(&store, "tick").await, count(&store, "sealed_hour").await), (1700 - 1440, 2));
    assert_eq!(everything(&store).await, before);
    assert_eq!(everything(&reopened(&folder).await).await, before);
    assert_eq!(store.seal().await.unwrap(), 0);
}

#[tokio::test]
async fn the_stores_health_shows_unsealed_sealed_and_deleted_ticks() {
    let (folder, store) = store().await;
    let empty = store.health(7).await.unwrap();
    assert_eq!((empty.waiting_ticks, empty.chunks, empty.bytes_per_value), (0, 0, None));
    assert_eq!((empty.oldest_tick_at, empty.newest_tick_at, empty.last_sealing), (None, None, None));

    record_ticks(&store, 0..1700).await;
    let at = |tick: i64| Some(UtcMillis(BEGIN + tick * 5000));
    let rows = store.health(7).await.unwrap();
    assert_eq!((rows.waiting_ticks, rows.sealed_hours, rows.retention_days), (1700, 0, 7));
    assert!(rows.wal_bytes > 0 && rows.disk_free_bytes.is_some(), "{rows:?}");

    store.seal().await.unwrap();
    let sealed = store.health(7).await.unwrap();
    assert_eq!((sealed.waiting_ticks, sealed.sealed_hours), (260, 2));
    assert_eq!((sealed.oldest_tick_at, sealed.newest_tick_at), (at(0), at(1699)));
    assert_eq!(sealed.chunks, count(&store, "chunk").await.unsigned_abs());
    let bytes: i64 = sqlx::query_scalar("SELECT sum(length(data)) FROM chunk")
        .fetch_one(store.0.database.read())
        .await
        .unwrap();
    assert_eq!(sealed.chunk_bytes, bytes.unsigned_abs());
    assert_eq!(sealed.bytes_per_value, Some(bytes as f64 / (720 * sealed.chunks) as f64));
    assert_eq!(sealed.last_sealing.map(|sealing| sealing.hours), Some(2));
    assert_eq!(store.health(7).await.unwrap().chunk_bytes, sealed.chunk_bytes);

    store.delete_before(UtcMillis(BEGIN + 720 * 5000)).await.unwrap();
    let left = store.health(7).await.unwrap();
    assert_eq!((left.sealed_hours, left.oldest_tick_at), (1, at(720)));
    assert!(left.chunks < sealed.chunks && left.file_bytes > 0);
    let reopened = reopened(&folder).await.health(7).await.unwrap();
    assert_eq!((reopened.chunks, reopened.chunk_bytes), (left.chunks, left.chunk_bytes));
}

#[tokio::test]
async fn the_newest_values_come_from_both() {
    let (_folder, store) = store().await;
    record_ticks(&store, 0..1700).await;
    let query = HistoryQuery { limit: Some(1000), ..HistoryQuery::default() };
    let before = store.history(Some(1), "vm_network_rx_mb_per_s", query).await.unwrap();
    store.seal().await.unwrap();
    assert_eq!(store.history(Some(1), "vm_network_rx_mb_per_s", query).await.unwrap(), before);
    assert_eq!(before.count, 1000);
    assert!(before.data.is_sorted_by(|a, b| a.timestamp > b.timestamp));
}

#[tokio::test]
async fn deleted_samples_are_gone_and_the_rest_stays() {
    let (folder, store) = store().await;
    record_ticks(&store, 0..2500).await;
    store.seal().await.unwrap();
    let size = || std::fs::metadata(folder.path().join("twarga.sqlite")).unwrap().len();
    let names = ["vm_uptime".to_owned()];
    // In the middle of the second hour: only the first one is all too old.
    let gone = store.delete_before(UtcMillis(BEGIN + 1000 * 5000)).await.unwrap();
    assert_eq!(gone, 720);
    let left = store.ranges(&[1], &names, Span::default(), Some(10_000)).await.unwrap();
    assert_eq!(left[0].at.first(), Some(&UtcMillis(BEGIN + 720 * 5000)));
    let free: i64 =
        sqlx::query_scalar("PRAGMA freelist_count").fetch_one(store.0.database.read()).await.unwrap();
    assert_eq!(free, 0, "space is given back; the file has {} bytes", size());
    assert_eq!(store.delete_before(UtcMillis(BEGIN + 10_000 * 5000)).await.unwrap(), 2500 - 720);
    assert_eq!((count(&store, "tick").await, count(&store, "chunk").await), (0, 0));
    assert_eq!(store.ranges(&[1], &names, Span::default(), None).await.unwrap()[0].at, []);
}

#[tokio::test]
async fn a_clock_that_was_put_back_opens_a_sealed_hour_again() {
    let (_folder, store) = store().await;
    record_ticks(&store, 0..1700).await;
    let until = UtcMillis(BEGIN + 999 * 5000);
    let span = Span { from: None, to: Some(until) };
    let names = ["vm_cpu_percent".to_owned(), "vm_network_tx_mb_per_s".to_owned()];
    let before = store.ranges(&[1, 2], &names, span, Some(10_000)).await.unwrap();
    store.seal().await.unwrap();
    assert_eq!(store.delete_after(until).await.unwrap(), 700);
    assert_eq!((count(&store, "tick").await, count(&store, "sealed_hour").await), (280, 1));
    assert_eq!(store.newest_tick(), until);
    assert_eq!(store.ranges(&[1, 2], &names, Span::default(), Some(10_000)).await.unwrap(), before);
    record_ticks(&store, 1000..1700).await;
    assert_eq!(store.seal().await.unwrap(), 1);
}

#[tokio::test]
async fn a_vms_samples_can_be_removed_for_good() {
    let (folder, store) = store().await;
    record_ticks(&store, 0..1000).await;
    store.seal().await.unwrap();
    let mut tx = store.0.database.write().await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO account (id, username, email, password_hash, role, created_at) VALUES (1, 'a', 'a', '', 'user', 0);
         INSERT INTO vm (id, owner_id, name, image, os_type, vagrant_box, ram_mb, cpu_cores, disk_gb, status, created_at,
             updated_at, destroyed_at, forget_samples)
         VALUES (1, 1, 'one', '', '', '', 1, 1, 1, 'running', 0, 0, NULL, 1),
             (2, 1, 'two', '', '', '', 1, 1, 1, 'not_created', 0, 0, 0, 1)",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.delete_expired().await.unwrap(), 1, "one VM is there still");
    assert_eq!(store.delete_expired().await.unwrap(), 0);
    for store in [&store, &reopened(&folder).await] {
        let names = ["vm_uptime".to_owned()];
        let left = store.ranges(&[1, 2], &names, Span::default(), Some(10_000)).await.unwrap();
        assert_eq!((left[0].at.len(), left[1].at.len()), (1000, 0));
    }
}

#[tokio::test]
async fn a_damaged_chunk_is_a_gap() {
    let (_folder, store) = store().await;
    record_ticks(&store, 0..1000).await;
    store.seal().await.unwrap();
    let damaged = chunk_id(hour_of(BEGIN), Subject(1), vm::CPU);
    let mut tx = store.0.database.write().await.unwrap();
    sqlx::query("UPDATE chunk SET data = x'0907' WHERE id = ?")
        .bind(damaged)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let names = ["vm_cpu_percent".to_owned(), "vm_memory_used_mb".to_owned()];
    let ranges = store.ranges(&[1], &names, Span::default(), Some(10_000)).await.unwrap();
    assert!(ranges[0].at[0] >= UtcMillis(BEGIN + 720 * 5000), "nothing is known of the first hour's CPU");
    assert_eq!(ranges[1].at[0], UtcMillis(BEGIN));
}

#[tokio::test]
async fn statistics_are_of_the_span_alone() {
    let (_folder, store) = store().await;
    record_ticks(&store, 0..1000).await;
    store.seal().await.unwrap();
    let span = Span { from: Some(UtcMillis(BEGIN + 10 * 5000)), to: Some(UtcMillis(BEGIN + 19 * 5000)) };
    let statistics = store.statistics(Some(1), "vm_uptime", span).await.unwrap().unwrap();
    assert_eq!(
        (statistics.count, statistics.min, statistics.mean, statistics.max, statistics.p95),
        (10, 50.0, 72.5, 95.0, 95.0)
    );
    assert_eq!(store.statistics(Some(3), "vm_uptime", span).await.unwrap(), None);
    let of_host = store.statistics(None, "host_cpu_percent", Span::default()).await.unwrap().unwrap();
    assert_eq!((of_host.count, of_host.mean), (1000, 12.5));
}

#[tokio::test]
async fn an_export_has_every_tick_and_every_metric() {
    let (_folder, store) = store().await;
    record_ticks(&store, 0..1000).await;
    store.seal().await.unwrap();
    let parts: Vec<String> =
        store.export(Some(2), Span::default(), ExportFormat::Json).unwrap().try_collect().await.unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_str(&parts.concat()).unwrap();
    assert_eq!(rows.len(), 980, "20 ticks are without the VM");
    assert_eq!(rows[0]["cpu_source"], "hypervisor");
    assert_eq!(rows[1]["vm_uptime"], 5005.0);
    record(&store, BEGIN + 40 * HOUR_MILLIS, &[(3, usage(1))]).await;
    let late: Vec<String> =
        store.export(Some(3), Span::default(), ExportFormat::Json).unwrap().try_collect().await.unwrap();
    let late: Vec<serde_json::Value> = serde_json::from_str(&late.concat()).unwrap();
    assert_eq!(late.len(), 1, "a VM that came long after the oldest tick");
    let csv: Vec<String> =
        store.export(None, Span::default(), ExportFormat::Csv).unwrap().try_collect().await.unwrap();
    let csv = csv.concat();
    assert_eq!(csv.lines().count(), 1002);
    assert!(csv.lines().nth(1).unwrap().starts_with("2026-11-23T08:00:00Z,12.5,"), "{csv:.200}");
}

#[tokio::test]
async fn a_backup_of_a_running_store_is_the_whole_as_it_stood_and_can_be_put_back() {
    let (folder, store) = store().await;
    store.0.database.claim(folder.path(), crate::model::ProviderKind::Simulated).await.unwrap();
    record_ticks(&store, 0..1000).await;
    store.seal().await.unwrap();
    let before = everything(&store).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("copy.sqlite");
    backup::back_up(folder.path(), &file).await.unwrap();
    let again = backup::back_up(folder.path(), &file).await.unwrap_err();
    assert!(again.to_string().contains("not there yet"), "{again}");
    record_ticks(&store, 1000..1010).await;
    store.0.database.close().await;
    drop(store);

    let kept = backup::restore(folder.path(), &file).await.unwrap().unwrap();
    assert!(kept.exists());
    let restored = reopened(&folder).await;
    assert_eq!(everything(&restored).await, before);
    // What restoring kept can be put back too, with what was not in its main file yet.
    restored.0.database.close().await;
    drop(restored);
    backup::restore(folder.path(), &kept).await.unwrap();
    let restored = reopened(&folder).await;
    assert_eq!(restored.newest_tick(), UtcMillis(BEGIN + 1009 * 5000));
    let before = everything(&restored).await;
    std::fs::write(&file, "nothing of ours").unwrap();
    let refused = backup::restore(folder.path(), &file).await.unwrap_err();
    assert!(refused.to_string().contains("no backup"), "{refused}");
    assert_eq!(everything(&restored).await, before);
}

async fn received_rates(store: &Store) -> Vec<f64> {
    let query = HistoryQuery { limit: Some(10_000), ..HistoryQuery::default() };
    let history = store.history(Some(1), "vm_network_rx_mb_per_s", query).await.unwrap();
    history.data.into_iter().rev().filter_map(|point| point.value).collect()
}

#[tokio::test]
async fn a_low_rate_is_stored_without_a_sawtooth() {
    // Bytes a tick: 0.8 KB/s, a little more, and a ping's.
    for bytes in [4000, 5199, 84] {
        let (_folder, store) = store().await;
        for i in 0..1000 {
            let mb = Some((123_456_789 + i * bytes) as f64 / 1_048_576.0);
            let sources = Sources { network: Source::Hypervisor, ..Sources::default() };
            let usage = VmUsage { network_rx_mb: mb, network_tx_mb: mb, sources, ..VmUsage::default() };
            record(&store, BEGIN + i * 5000, &[(1, usage)]).await;
        }
        let true_rate = bytes as f64 / 5.0 / 1_048_576.0;
        let rates = received_rates(&store).await;
        assert_eq!(rates.len(), 999);
        // To the rounding of growth and of answers.
        let is_true = |rate: &f64| (rate / true_rate - 1.0).abs() <= 0.01 || (rate - true_rate).abs() < 1e-6;
        assert!(rates.iter().all(is_true), "{true_rate}: {rates:?}");
        store.seal().await.unwrap();
        assert_eq!(received_rates(&store).await, rates);
    }
}

/// The means of a metric of VM 1, a point a tick.
async fn means(store: &Store, metric: &str) -> Vec<Option<f64>> {
    let mut ranges = store.ranges(&[1], &[metric.to_owned()], Span::default(), Some(10_000)).await.unwrap();
    ranges.remove(0).mean
}

#[tokio::test]
async fn a_guest_that_is_silent_is_a_gap_in_its_disk_and_not_its_image() {
    // A new VM, one whose guest is silent now and then, and one whose guest never answers.
    for answers in [|i: i64| i >= 5, |i| i % 4 != 2, |_| false] {
        let (folder, store) = store().await;
        let mut given = Vec::new();
        for i in 0..1000 {
            let image = VmUsage {
                disk_percent: Some(1.0),
                disk_used_gb: Some(0.1),
                disk_available_gb: Some(9.9),
                image_percent: Some(1.0),
                image_used_gb: Some(0.1),
                image_available_gb: Some(9.9),
                sources: Sources { disk: Source::Hypervisor, ..Sources::default() },
                ..VmUsage::default()
            };
            let usage = VmUsage {
                disk_percent: Some(8.4),
                disk_used_gb: Some(0.84),
                disk_available_gb: Some(9.16),
                sources: Sources { disk: Source::Guest, ..Sources::default() },
                ..image
            };
            record(&store, BEGIN + i * 5000, &[(1, if answers(i) { usage } else { image })]).await;
            given.push(answers(i).then_some(8.4));
        }
        let count = given.iter().flatten().count();
        let check = async |store: &Store| {
            let known: Vec<f64> = means(store, "vm_disk_percent").await.into_iter().flatten().collect();
            assert_eq!(known, vec![8.4; count]);
            assert_eq!(means(store, "vm_image_percent").await, vec![Some(1.0); 1000]);
            assert_eq!(means(store, "vm_image_used_gb").await, vec![Some(0.1); 1000]);
            let statistics = store.statistics(Some(1), "vm_disk_percent", Span::default()).await.unwrap();
            assert_eq!(statistics.map(|s| (s.count, s.min, s.max)), (count > 0).then_some((count, 8.4, 8.4)));
            let statistics = store.statistics(Some(1), "vm_image_percent", Span::default()).await.unwrap();
            assert_eq!(statistics.map(|s| (s.count, s.min, s.max)), Some((1000, 1.0, 1.0)));
            let mut series = store.series(&[1], UtcMillis(0), store.newest_tick()).await.unwrap();
            let series = series.remove(0);
            assert_eq!((series.disk_percent, series.image_percent), (given.clone(), vec![Some(1.0); 1000]));
        };
        check(&store).await;
        store.seal().await.unwrap();
        check(&store).await;
        check(&reopened(&folder).await).await;
    }
}

#[tokio::test]
async fn samples_that_had_image_and_file_system_in_one_column_are_told_apart() {
    let (folder, store) = store().await;
    let mut tx = store.0.database.write().await.unwrap();
    // As the versions before stored them: the guest answers from the tenth tick on.
    let (hypervisor, guest) = (2 << 6, 1 << 6);
    for i in 0..1000_i64 {
        let (used, source) = if i < 10 { (10, hypervisor) } else { (84, guest) };
        let vms = format!(r#"{{"1":[null,null,null,{used},1000,null,null,null,{source}]}}"#);
        sqlx::query("INSERT INTO tick (sampled_at, host, vms) VALUES (?, '[]', ?)")
            .bind(BEGIN + i * 5000)
            .bind(vms)
            .execute(&mut *tx)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let store = reopened(&folder).await;
    let view = async |name: &str| -> (i64, f64, f64) {
        sqlx::query_as("SELECT count(*), min(value), max(value) FROM metric WHERE name = ?")
            .bind(name)
            .fetch_one(store.0.database.read())
            .await
            .unwrap()
    };
    assert_eq!(view("vm_disk_percent").await, (990, 8.4, 8.4));
    assert_eq!(view("vm_image_percent").await, (10, 1.0, 1.0));
    for _ in 0..2 {
        assert_eq!(means(&store, "vm_disk_percent").await, vec![Some(8.4); 990]);
        assert_eq!(means(&store, "vm_image_percent").await, vec![Some(1.0); 10]);
        store.seal().await.unwrap();
    }
}

#[tokio::test]
async fn samples_that_were_stored_in_kb_keep_their_meaning() {
    let (folder, store) = store().await;
    let mut tx = store.0.database.write().await.unwrap();
    // An hour and some ticks, as the versions before stored them: 5 MB a tick.
    for i in 0..760_i64 {
        let vms = format!(r#"{{"1":[100,200,400,1000,4000,{},{},{},9362]}}"#, i * 5120, i * 1024, i * 5);
        sqlx::query("INSERT INTO tick (sampled_at, host, vms) VALUES (?, '[]', ?)")
            .bind(BEGIN + i * 5000)
            .bind(vms)
            .execute(&mut *tx)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let store = reopened(&folder).await;
    let check = async |store: &Store| {
        assert_eq!(received_rates(store).await, vec![1.0; 759]);
        let names = ["vm_network_rx_mb".to_owned(), "vm_network_tx_mb".to_owned()];
        let ranges = store.ranges(&[1], &names, Span::default(), Some(10_000)).await.unwrap();
        assert_eq!((ranges[0].mean[700], ranges[1].mean[700]), (Some(3500.0), Some(700.0)));
        let view: f64 = sqlx::query_scalar(
            "SELECT value FROM metric WHERE name = 'vm_network_rx_mb' ORDER BY timestamp DESC LIMIT 1",
        )
        .fetch_one(store.0.database.read())
        .await
        .unwrap();
        assert_eq!(view, 3795.0);
    };
    check(&store).await;
    // Goes on in bytes until the hour is sealed.
    let sources = Sources { network: Source::Hypervisor, uptime: Source::Hypervisor, ..Sources::default() };
    let usage = |i: i64| VmUsage {
        network_rx_mb: Some(5.0 * i as f64),
        network_tx_mb: Some(i as f64),
        uptime_seconds: Some(5 * i.unsigned_abs()),
        sources,
        ..VmUsage::default()
    };
    for i in 760..1000 {
        record(&store, BEGIN + i * 5000, &[(1, usage(i))]).await;
    }
    let rates = received_rates(&store).await;
    assert!(rates.len() == 999 && rates.iter().all(|rate| (rate - 1.0).abs() < 0.01), "{rates:?}");
    assert_eq!(store.seal().await.unwrap(), 1);
    assert_eq!(received_rates(&store).await, rates);
}

#[tokio::test]
async fn the_newest_traffic_is_at_least_what_was_counted() {
    let (folder, store) = store().await;
    assert_eq!(store.newest_traffic(1), None);
    let sources = Sources { network: Source::Hypervisor, ..Sources::default() };
    let usage =
        |mb| VmUsage { network_rx_mb: Some(mb), network_tx_mb: Some(1.0), sources, ..VmUsage::default() };
    for (i, mb) in [10.0, 110.3, 110.3001].into_iter().enumerate() {
        record(&store, BEGIN + i as i64 * 5000, &[(1, usage(mb))]).await;
    }
    record(&store, BEGIN + 15_000, &[(1, VmUsage::default())]).await;
    for store in [&store, &reopened(&folder).await] {
        let newest = store.newest_traffic(1).unwrap();
        assert_eq!((newest.at, newest.source), (UtcMillis(BEGIN + 10_000), Source::Hypervisor));
        let mb = newest.traffic.rx_bytes as f64 / 1_048_576.0;
        assert!((110.3001..110.4).contains(&mb), "{mb}");
        assert_eq!(newest.traffic.tx_bytes, 1_048_576);
    }
}

fn any_usage() -> impl Strategy<Value = VmUsage> {
    let amount = || option::weighted(0.9, 0.0..1e5_f64);
    (
        option::weighted(0.9, 0.0..=100.0_f64),
        amount(),
        amount(),
        amount(),
        amount(),
        option::of(0..100_000_u64),
    )
        .prop_map(
            |(
                cpu_percent,
                memory_used_mb,
                memory_available_mb,
                network_rx_mb,
                disk_used_gb,
                uptime_seconds,
            )| VmUsage {
                cpu_percent,
                memory_used_mb,
                memory_available_mb,
                network_rx_mb,
                disk_used_gb,
                disk_available_gb: disk_used_gb.map(|used| used / 2.0),
                uptime_seconds,
                ..VmUsage::default()
            },
        )
}

proptest! {
    #![proptest_config(Config::with_cases(12))]

    #[test]
    fn sealing_changes_no_answer(
        ticks in vec((1..400_000_i64, option::weighted(0.8, any_usage()), any_usage()), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (folder, store) = store().await;
            let mut at = BEGIN;
            for (millis, one, two) in ticks {
                at += millis;
                let one = one.map(|usage| (1, usage));
                record(&store, at, &one.into_iter().chain([(2, two)]).collect::<Vec<_>>()).await;
            }
            let before = everything(&store).await;
            store.seal().await.unwrap();
            assert_eq!(everything(&store).await, before);
            assert_eq!(everything(&reopened(&folder).await).await, before);
        });
    }
}
