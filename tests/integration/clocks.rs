//! The collector under adverse conditions: clocks that are set, a suspended machine, samples that hang.

use crate::support::{Client, Server, eventually, fleet::Fleet};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use twarga_cloud::server::provider::{Hypervisor, HypervisorSample, Moment, ReadError};

/// The wall clock is set by `jump_secs`, or the machine was suspended for as long; a tick follows at its time.
async fn tick_after_jump(fleet: &Fleet, server: &mut Server, jump_secs: i64) {
    fleet.clock.jump_wall_clock(jump_secs);
    fleet.ticks(server, 1).await;
}

/// The VM's rates and the host's in the newest tick.
async fn rates(client: &Client) -> [Value; 5] {
    let live = client.get("/api/v1/metrics_since").await.json();
    let (vm, host) = (&live["vms"][0]["figures"], &live["host"]);
    [
        &vm["cpu_percent"],
        &vm["network_rx_mb_per_s"],
        &vm["network_tx_mb_per_s"],
        &host["cpu_percent"],
        &host["net_recv_speed"],
    ]
    .map(Clone::clone)
}

fn are_unknown(rates: &[Value]) -> bool {
    rates.iter().all(Value::is_null)
}

fn are_believable(rates: &[Value]) -> bool {
    rates[..3].iter().all(|rate| rate.as_f64().is_some_and(|rate| (0.0..=200.0).contains(&rate)))
        && rates[3].as_f64().is_some_and(|percent| (0.0..=100.0).contains(&percent))
}

#[tokio::test]
async fn a_tick_after_time_did_not_simply_pass_has_no_rates_and_the_next_one_has() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 1).await;
    assert!(are_unknown(&rates(&ada).await), "the first tick has nothing to compare with");
    fleet.ticks(&mut server, 1).await;
    assert!(are_believable(&rates(&ada).await));
    for (what, jump_secs) in [
        ("the machine was suspended for an hour", 3600),
        ("the clock was put forward by a day", 86_400),
        ("the clock was put back by half a minute", -30),
        ("the clock was put back by two days", -2 * 86_400),
    ] {
        tick_after_jump(&fleet, &mut server, jump_secs).await;
        let seen = rates(&ada).await;
        assert!(are_unknown(&seen), "{what}: {seen:?}");
        fleet.ticks(&mut server, 1).await;
        let seen = rates(&ada).await;
        assert!(are_believable(&seen), "after {what}: {seen:?}");
    }
}

/// How many ticks are kept, and what was said last of the clock.
async fn kept(server: &Server) -> (i64, String) {
    let ticks = sqlx::query_scalar("SELECT count(*) FROM tick").fetch_one(server.state.database.read());
    let of_the_clock =
        server.events().await.into_iter().map(|(kind, _)| kind).find(|kind| kind.starts_with("clock_"));
    (ticks.await.unwrap(), of_the_clock.unwrap_or_default())
}

#[tokio::test]
async fn a_clock_that_is_wrong_for_a_while_costs_no_sample() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    server.user("ada").await;
    fleet.ticks(&mut server, 5).await;
    // As after a start without a network, until the clock is set.
    tick_after_jump(&fleet, &mut server, -20 * 365 * 86_400).await;
    fleet.ticks(&mut server, 1).await;
    assert_eq!(kept(&server).await, (5, "clock_behind".to_owned()));
    tick_after_jump(&fleet, &mut server, 20 * 365 * 86_400).await;
    assert_eq!(kept(&server).await.0, 6);

    // A day back, and it stays there: it was ahead before.
    tick_after_jump(&fleet, &mut server, -86_400).await;
    fleet.ticks(&mut server, 119).await;
    assert_eq!(kept(&server).await, (6, "clock_behind".to_owned()));
    fleet.ticks(&mut server, 1).await;
    assert_eq!(kept(&server).await, (1, "clock_put_back".to_owned()));
}

#[tokio::test]
async fn a_boot_and_a_restart_of_the_server_are_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = Fleet::new();
    let mut server = fleet.serve_in(folder.path(), &["--simulated-vms", "1"]).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 2).await;
    let uuid = server.domain_uuid("web-1").await;
    assert!(fleet.stop_from_outside(&uuid) && fleet.start_from_outside(&uuid));
    fleet.ticks(&mut server, 1).await;
    assert!(are_unknown(&rates(&ada).await[..3]), "its counters began anew");
    fleet.ticks(&mut server, 1).await;
    assert!(are_believable(&rates(&ada).await));

    drop(server);
    let mut server = fleet.serve_in(folder.path(), &["--simulated-vms", "1"]).await;
    let ada = server.signed_in("ada").await;
    fleet.ticks(&mut server, 1).await;
    assert!(are_unknown(&rates(&ada).await));
    fleet.ticks(&mut server, 1).await;
    assert!(are_believable(&rates(&ada).await));
    let health = ada.get("/api/v1/collector_health").await.json();
    assert_eq!((&health["ticks"], &health["ticks_skipped"]), (&json!(2), &json!(0)), "of this run alone");
}

/// A hypervisor that can be made to hang.
struct Hanging {
    fleet: Fleet,
    hangs: AtomicBool,
}

#[async_trait]
impl Hypervisor for Hanging {
    async fn read(&self) -> Result<HypervisorSample, ReadError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.fleet.read().await
    }

    fn now(&self) -> Moment {
        self.fleet.now()
    }

    async fn enable_memory_statistics(&self, uuid: &str, interval_secs: u32) -> Result<(), ReadError> {
        self.fleet.enable_memory_statistics(uuid, interval_secs).await
    }

    async fn address(&self, uuid: &str) -> Result<Option<String>, ReadError> {
        self.fleet.address(uuid).await
    }
}

#[tokio::test]
async fn a_read_that_hangs_is_abandoned_within_the_interval_and_reported() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    let ada = server.user("ada").await;
    let hypervisor = Arc::new(Hanging { fleet: fleet.clone(), hangs: AtomicBool::new(false) });
    server.collector.hypervisor = hypervisor.clone();
    fleet.ticks(&mut server, 1).await;

    hypervisor.hangs.store(true, Ordering::SeqCst);
    let begin = Instant::now();
    fleet.ticks(&mut server, 1).await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let live = ada.get("/api/v1/metrics_since").await.json();
    assert!(live["trouble"].as_str().is_some_and(|text| text.contains("4.5 s")), "{}", live["trouble"]);
    assert!(live["host"]["memory_percent"].is_number(), "the host is sampled anyway");
    let health = &live["collector"];
    assert_eq!((&health["state"], &health["readings_failed"]), (&json!("hypervisor_silent"), &json!(1)));
    assert_eq!(health["vms"], json!({ "guest": 0, "hypervisor": 0, "simulated": 0, "none": 1 }));

    hypervisor.hangs.store(false, Ordering::SeqCst);
    fleet.ticks(&mut server, 1).await;
    let health = ada.get("/api/v1/collector_health").await.json();
    assert_eq!((&health["state"], &health["ticks"]), (&json!("working"), &json!(3)));
    assert_eq!(health["vms"]["simulated"], 1);
    assert_eq!(health["last_error"]["text"], live["trouble"], "it is still there to be read");
}

#[tokio::test]
async fn the_schedule_skips_and_counts_what_a_slow_tick_missed() {
    let fleet = Fleet::new();
    let mut server = fleet.serve_with(&["--simulated-vms", "1", "--collect-every", "1"]).await;
    let ada = server.user("ada").await;
    let hypervisor = Arc::new(Hanging { fleet: fleet.clone(), hangs: AtomicBool::new(true) });
    server.collector.hypervisor = hypervisor.clone();
    let running = tokio::spawn(server.collector.run());
    let health = async || ada.get("/api/v1/collector_health").await.json();
    let seen = eventually(async || {
        let seen = health().await;
        if seen["ticks_skipped"].as_u64() > Some(0) { Ok(seen) } else { Err(seen.to_string()) }
    })
    .await;
    // The first tick took the 4 s after which a sample is abandoned, and so missed the intervals of three seconds.
    let skipped = seen["ticks_skipped"].as_u64().unwrap();
    assert!((3..=8).contains(&skipped), "{seen}");
    assert_eq!((&seen["ticks"], &seen["state"]), (&json!(1), &json!("hypervisor_silent")));
    assert!(seen["tick_ms"]["last"].as_f64() >= Some(4000.0), "{seen}");
    running.abort();
}

#[tokio::test]
async fn only_an_admin_sees_how_the_collector_is_doing() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    fleet.ticks(&mut server, 1).await;
    assert_eq!(ada.get("/api/v1/metrics_since").await.json()["collector"]["state"], "working");
    assert_eq!(bob.get("/api/v1/metrics_since").await.json()["collector"], json!(null));
    let of_one = ada.get("/api/v1/metrics_since?vm_id=1").await.json();
    assert_eq!(of_one["collector"], json!(null), "a VM's page has no use for it");
}
