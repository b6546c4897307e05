//! The database is temporarily not writable: ticks are kept in memory and written later, and the outage is reported.

use crate::support::{PASSWORD, Random, Server, eventually, fleet::Fleet, http, process::Process};
use serde_json::{Value, json};
use sqlx::Connection;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Lets the insertion of a tick fail as the newest row of the table `fault` says.
const FAULTS: [&str; 6] = [
    "CREATE TABLE fault (kind TEXT NOT NULL)",
    "CREATE TABLE nobody (id INTEGER PRIMARY KEY)",
    "CREATE TABLE orphan (parent INTEGER REFERENCES nobody (id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TRIGGER statement_fails BEFORE INSERT ON tick WHEN (SELECT kind FROM fault) = 'statement'
     BEGIN SELECT raise(ABORT, 'a fault'); END",
    "CREATE TRIGGER transaction_ends BEFORE INSERT ON tick WHEN (SELECT kind FROM fault) = 'transaction'
     BEGIN SELECT raise(ROLLBACK, 'a fault'); END",
    "CREATE TRIGGER commit_fails BEFORE INSERT ON tick WHEN (SELECT kind FROM fault) = 'commit'
     BEGIN INSERT INTO orphan (parent) VALUES (1); END",
];

async fn with_faults(server: &Server) {
    for statement in FAULTS {
        server.execute(statement).await;
    }
}

async fn begin_fault(server: &Server, kind: &str) {
    let mut tx = server.state.database.write().await.unwrap();
    sqlx::query("INSERT INTO fault (kind) VALUES (?)").bind(kind).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// The times of the stored ticks.
async fn stored(server: &Server) -> Vec<i64> {
    let sql = "SELECT sampled_at FROM tick ORDER BY sampled_at";
    sqlx::query_scalar(sql).fetch_all(server.state.database.read()).await.unwrap()
}

async fn is_whole(server: &Server) -> bool {
    let check = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(server.state.database.read());
    let answer: String = check.await.unwrap();
    answer == "ok"
}

#[tokio::test]
async fn what_cannot_be_stored_is_shown_reported_and_stored_later() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(2).await;
    let ada = server.user("ada").await;
    with_faults(&server).await;
    fleet.ticks(&mut server, 3).await;
    let info = server.vm_folder(1, "web-1").join(".vm_info");
    let before: Value = serde_json::from_slice(&fs::read(&info).unwrap()).unwrap();

    begin_fault(&server, "transaction").await;
    fleet.ticks(&mut server, 8).await;
    assert_eq!(stored(&server).await.len(), 3);
    let health = server.anonymous().get("/health").await;
    assert_eq!((health.status.as_u16(), &health.json()["status"]), (503, &json!("not_storing")));
    assert_eq!(health.json()["since"], "2026-11-23T08:00:20Z");
    let live = ada.get("/api/v1/metrics_since").await.json();
    let values = live["series"][0]["cpu_percent"].as_array().unwrap();
    assert_eq!(values.len(), 11, "the last minutes come from memory: {live}");
    let trouble = live["trouble"].as_str().unwrap();
    assert!(trouble.starts_with("Nothing can be stored since 2026-11-23 08:00:20 UTC."), "{trouble}");
    assert!(ada.page("/").await.words().contains(trouble));
    let after: Value = serde_json::from_slice(&fs::read(&info).unwrap()).unwrap();
    assert_ne!(before, after, "the file of a VM is written nevertheless");
    let collector = ada.get("/api/v1/collector_health").await.json();
    assert_eq!(
        (&collector["state"], &collector["outage"]["waiting_ticks"]),
        (&json!("not_storing"), &json!(8))
    );

    server.execute("DELETE FROM fault").await;
    fleet.ticks(&mut server, 5).await;
    let times = stored(&server).await;
    assert_eq!(times.len(), 16);
    assert!(times.is_sorted_by(|a, b| b - a == 5000), "{times:?}");
    assert_eq!(server.anonymous().get("/health").await.status.as_u16(), 200);
    let events = server.events().await;
    let event = events.iter().find(|(kind, _)| kind == "storage_failed").map(|(_, text)| text.as_str());
    let expected = "Nothing could be stored from 2026-11-23T08:00:20Z to 2026-11-23T08:01:00Z.";
    assert!(
        event.is_some_and(|text| text.starts_with(expected) && text.ends_with("No metrics were lost.")),
        "{event:?}"
    );
    let alerts = ada.get("/api/v1/alert_history").await.json();
    let alert = alerts.as_array().unwrap().iter().find(|alert| alert["metric"] == "figures").unwrap();
    assert_eq!(alert["vm_id"], Value::Null);
    assert!(alert["resolved_at"].is_i64(), "{alert}");

    // What was in memory is the same after a restart.
    let series = |live: Value| live["series"].clone();
    let seen = series(ada.get("/api/v1/metrics_since").await.json());
    let mut again = fleet.serve_in(&server.data_dir, &[]).await;
    again.tick().await;
    let reread = series(again.signed_in("ada").await.get("/api/v1/metrics_since").await.json());
    for (own, other) in seen.as_array().unwrap().iter().zip(reread.as_array().unwrap()) {
        let count = own["sampled_at"].as_array().unwrap().len();
        assert_eq!(
            own["sampled_at"].as_array().unwrap()[..],
            other["sampled_at"].as_array().unwrap()[..count]
        );
        assert_eq!(
            own["cpu_percent"].as_array().unwrap()[..],
            other["cpu_percent"].as_array().unwrap()[..count]
        );
    }
}

#[tokio::test]
async fn after_an_hour_without_storage_the_oldest_samples_are_lost_and_counted() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    server.user("ada").await;
    with_faults(&server).await;
    fleet.ticks(&mut server, 2).await;
    begin_fault(&server, "statement").await;
    fleet.ticks(&mut server, 730).await;
    server.execute("DELETE FROM fault").await;
    fleet.ticks(&mut server, 1).await;
    let times = stored(&server).await;
    assert_eq!(times.len(), 2 + 721 + 1);
    let events = server.events().await;
    let event = events.iter().find(|(kind, _)| kind == "storage_failed");
    assert!(event.is_some_and(|(_, text)| text.contains("9 samples were lost")), "{event:?}");
    // The hour is sealed with what was kept.
    fleet.ticks(&mut server, 400).await;
    assert_eq!(server.state.store.seal().await.unwrap(), 1);
    assert!(is_whole(&server).await);
}

#[tokio::test]
async fn after_each_of_a_thousand_faults_the_next_tick_is_stored_once() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    server.user("ada").await;
    with_faults(&server).await;
    let (mut random, mut faults, mut ticks) = (Random::new(), 0, 0);
    while faults < 1000 {
        let kind = ["statement", "transaction", "commit"][random.below(3) as usize];
        let (failing, working) = (1 + random.below(3), 1 + random.below(2));
        begin_fault(&server, kind).await;
        fleet.ticks(&mut server, failing as u32).await;
        assert!(server.state.health.outage().is_some());
        server.execute("DELETE FROM fault").await;
        fleet.ticks(&mut server, working as u32).await;
        assert!(server.state.health.outage().is_none());
        faults += failing;
        ticks += failing + working;
        if faults % 50 < 3 {
            server.state.store.seal().await.unwrap();
        }
    }
    let sealed: Vec<Vec<u8>> = sqlx::query_scalar("SELECT ticks FROM sealed_hour")
        .fetch_all(server.state.database.read())
        .await
        .unwrap();
    let counts = sealed.iter().map(|ticks| u64::from(u32::from_le_bytes(ticks[..4].try_into().unwrap())));
    assert_eq!(counts.sum::<u64>() + stored(&server).await.len() as u64, ticks);
    assert!(is_whole(&server).await);
}

#[tokio::test]
async fn a_lock_of_another_program_is_waited_for_a_moment_and_then_named() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    let ada = server.user("ada").await;
    fleet.ticks(&mut server, 1).await;
    let file = server.data_dir.join("twarga.sqlite");
    let mut other = sqlx::SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    fleet.ticks(&mut server, 1).await;
    let health = server.anonymous().get("/health").await.json();
    assert_eq!(health["reason"], "Another program holds the lock of the database. End it.");
    assert_eq!(ada.get("/api/v1/metrics_since").await.json()["vms"][0]["name"], "web-1");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    fleet.ticks(&mut server, 1).await;
    assert_eq!(stored(&server).await.len(), 3);
    assert_eq!(server.anonymous().get("/health").await.status.as_u16(), 200);
}

/// Files of a real server whose writes can be made to fail.
struct Disk {
    folder: TempDir,
    library: PathBuf,
}

impl Disk {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let library = folder.path().join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/faults.c");
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
        assert!(compiled.unwrap().success());
        Self { folder, library }
    }

    /// `error`: its number; `percent` of the writes meet it, and as many reads where `reads`.
    fn fail(&self, error: i32, percent: u32, reads: bool) {
        let text = format!("{error} {percent} {}", u8::from(reads));
        let control = self.folder.path().join("fault");
        fs::write(control.with_extension("new"), text).unwrap();
        fs::rename(control.with_extension("new"), control).unwrap();
    }

    fn works(&self) {
        fs::remove_file(self.folder.path().join("fault")).unwrap();
    }

    fn start(&self) -> Process {
        Process::start(self.folder.path(), |command| {
            command
                .args(["--provider", "simulated", "--simulated-vms", "3", "--collect-every", "1"])
                .env("LD_PRELOAD", &self.library)
                .env("TWARGA_FAULT", self.folder.path().join("fault"))
                .env("TWARGA_FAULT_FOLDER", self.folder.path().join("data"));
        })
    }
}

const NO_SPACE: i32 = 28;
const IO_ERROR: i32 = 5;
const READ_ONLY: i32 = 30;

/// Waits until `/health` answers so; gives its reason.
async fn health(address: SocketAddr, status: u16) -> String {
    eventually(async || {
        let (now, body) = http::send(address, "GET", "/health", "", "").await;
        let health: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
        if now == status { Ok(health["reason"].as_str().unwrap_or_default().to_owned()) } else { Err(body) }
    })
    .await
}

#[tokio::test]
async fn a_disk_that_fails_for_a_while_costs_no_tick() {
    let disk = Disk::new();
    let mut process = disk.start();
    process.listens().await;
    let token = http::register(process.address, "ada", &process.setup_code()).await;
    let live = async || {
        let (status, body) = http::send(process.address, "GET", "/api/v1/metrics_since", &token, "").await;
        assert_eq!(status, 200, "{body}\n{}", process.log());
        serde_json::from_str::<Value>(&body).unwrap()
    };
    health(process.address, 200).await;
    let mut random = Random::new();
    for (error, reason) in [
        (NO_SPACE, "The disk of the data folder is full."),
        (IO_ERROR, "The disk of the data folder reports errors."),
        (READ_ONLY, ""),
        (NO_SPACE, ""),
        (IO_ERROR, ""),
    ] {
        let percent = if reason.is_empty() { 20 + random.below(80) as u32 } else { 100 };
        disk.fail(error, percent, false);
        let shown = health(process.address, 503).await;
        assert!(shown.starts_with(reason), "{shown}");
        let before = live().await;
        eventually(async || {
            let now = live().await["cursor"].as_i64();
            if now > before["cursor"].as_i64() { Ok(()) } else { Err("no new values come".into()) }
        })
        .await;
        disk.works();
        health(process.address, 200).await;
    }
    let shown = live().await;
    let newest = shown["cursor"].as_i64().unwrap();
    process.kill();

    // No tick is missing, and none is there twice.
    let mut process = disk.start();
    process.listens().await;
    let database = format!("{}/data/twarga.sqlite", disk.folder.path().display());
    let mut connection = sqlx::SqliteConnection::connect(&database).await.unwrap();
    let times: Vec<i64> =
        sqlx::query_scalar("SELECT sampled_at FROM tick WHERE sampled_at <= ? ORDER BY sampled_at")
            .bind(newest)
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(times.last(), Some(&newest));
    let series = &shown["series"][0];
    let points =
        series["sampled_at"].as_array().unwrap().iter().zip(series["cpu_percent"].as_array().unwrap());
    let known: Vec<_> =
        points.filter(|(_, value)| !value.is_null()).map(|(at, _)| at.as_i64().unwrap()).collect();
    assert!(known.len() > 5 && known.iter().all(|at| times.contains(at)), "{known:?} of {times:?}");
    let check: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(check, "ok");
    let log = process.log();
    assert!(!log.contains("non-zero transaction depth"), "{log}");
}

#[tokio::test]
async fn on_a_full_disk_users_who_are_signed_in_keep_reading_though_no_event_can_be_written() {
    let disk = Disk::new();
    let mut process = disk.start();
    process.listens().await;
    let address = process.address;
    let ada = http::register(address, "ada", &process.setup_code()).await;
    disk.fail(NO_SPACE, 100, false);
    health(address, 503).await;
    for path in ["/api/events", "/api/events/export", "/api/metrics/host/export", "/api/vms/1"] {
        let (status, body) = http::send(address, "GET", path, &ada, "").await;
        assert_eq!(status, 200, "{path}: {body}\n{}", process.log());
    }
    assert!(process.log().contains("an event could not be written"), "{}", process.log());
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let fields = format!("username=ada&password={}", PASSWORD.replace(' ', "+"));
    let sign_in = async || http::exchange(address, "POST", "/api/auth/login", form, &fields).await.unwrap();
    let (status, body) = sign_in().await;
    assert!(status == 500 && body.contains("disk is full"), "{status} {body}");
    disk.works();
    health(address, 200).await;
    assert_eq!(sign_in().await.0, 200);
    let (_, events) = http::send(address, "GET", "/api/events?category=security", &ada, "").await;
    assert!(events.contains("ada signed in with a client."), "{events}");
}

#[tokio::test]
async fn on_a_full_disk_the_server_says_so_at_start() {
    let disk = Disk::new();
    disk.fail(NO_SPACE, 100, false);
    let mut process = disk.start();
    assert!(!process.ends().await.success());
    let log = process.log();
    assert!(log.contains("because its disk is full"), "{log}");
}
