//! `/metrics`: who may read it, and that a real Prometheus makes of it what our REST paths say. The tests with
//! Prometheus need its two commands: `scripts/setup test`, then
//! `PATH=$PWD/.lab/prometheus/usr/bin:$PATH cargo test --features ssr --test integration prometheus:: -- --ignored`.

use crate::support::{Answer, Client, Server, eventually, fleet::Fleet};
use async_trait::async_trait;
use axum::http::{StatusCode, header};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use twarga_cloud::server::provider::{Hypervisor, HypervisorSample, Moment, ReadError, Traffic};

const LOOPBACK: &str = "127.0.0.1:40000";
const OUTSIDE: &str = "192.0.2.7:40000";

/// Ada's three VMs, one of them stopped, and Bob's one, after some ticks. Nothing changes any more.
struct Cloud {
    server: Server,
    ada: Client,
    bob: Client,
}

impl Cloud {
    async fn new() -> Self {
        let fleet = Fleet::new();
        // A long interval, so that the last tick stays recent during the test.
        let mut server = fleet.serve_with(&["--simulated-vms", "3", "--collect-every", "600"]).await;
        let (ada, bob) = (server.user("ada").await, server.user("bob").await);
        assert_eq!(bob.launch("bobs-own", "debian-12").await.status, StatusCode::OK);
        assert_eq!(ada.act("stop", 2).await.status, StatusCode::OK);
        server.wait_until_idle().await;
        fleet.ticks(&mut server, 3).await;
        Self { server, ada, bob }
    }

    fn anonymous(&self) -> Client {
        self.server.anonymous()
    }
}

/// Asks at the address that a browser on the server's own machine would show.
async fn metrics(client: &Client, more: &[(&'static str, &str)]) -> Answer {
    let mut request = axum::http::Request::get("/metrics").header(header::HOST, "127.0.0.1:3000");
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    client.send(request.body(axum::body::Body::empty()).unwrap()).await
}

/// The lines of one metric.
fn lines<'a>(text: &'a str, metric: &str) -> Vec<&'a str> {
    let belongs_to = |line: &&str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(belongs_to).collect()
}

#[tokio::test]
async fn an_unauthenticated_remote_client_sees_nothing() {
    let cloud = Cloud::new().await;
    let anonymous = cloud.anonymous();
    for (who, client, headers) in [
        ("without a known peer", anonymous.clone(), vec![]),
        ("from outside", anonymous.asking_from(OUTSIDE), vec![]),
        ("from outside, pretending", anonymous.asking_from(OUTSIDE), vec![("x-forwarded-for", "127.0.0.1")]),
        ("through a proxy here", anonymous.asking_from(LOOPBACK), vec![("x-forwarded-for", "192.0.2.7")]),
        ("through another proxy", anonymous.asking_from(LOOPBACK), vec![("forwarded", "for=192.0.2.7")]),
        (
            "with no token of ours",
            anonymous.asking_from(LOOPBACK),
            vec![("authorization", "Bearer nonsense")],
        ),
    ] {
        let answer = metrics(&client, &headers).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{who}");
        assert!(!answer.text.contains("twarga_"), "{who}: {}", answer.text);
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer");
    }
}

#[tokio::test]
async fn an_admin_and_this_machine_see_everything() {
    let cloud = Cloud::new().await;
    let of_admin = metrics(&cloud.ada.asking_from(OUTSIDE), &[]).await;
    let of_machine = metrics(&cloud.anonymous().asking_from(LOOPBACK), &[]).await;
    assert_eq!((of_admin.status, of_machine.status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(of_admin.headers[header::CONTENT_TYPE], "text/plain; version=0.0.4");
    for text in [&of_admin.text, &of_machine.text] {
        assert_eq!(lines(text, "twarga_vm_uptime_seconds").len(), 4, "{text}");
        assert_eq!(lines(text, "twarga_vm_status").len(), 4 * 7);
        assert_eq!(lines(text, "twarga_collector_ticks_total"), ["twarga_collector_ticks_total 3"]);
        assert_eq!(lines(text, "twarga_collector_vms").len(), 4);
        assert_eq!(lines(text, "twarga_host_memory_size_bytes").len(), 1);
        assert!(
            text.contains(r#"twarga_vm_status{vm_id="4",vm="bobs-own",owner_id="2",status="running"} 1"#)
        );
    }
}

/// A fleet whose VMs have a second interface with these counts.
struct Rewired {
    fleet: Fleet,
    second: Mutex<Option<(&'static str, u64)>>,
}

#[async_trait]
impl Hypervisor for Rewired {
    async fn read(&self) -> Result<HypervisorSample, ReadError> {
        let mut sample = self.fleet.read().await?;
        if let Some((name, bytes)) = *self.second.lock().unwrap() {
            for domain in &mut sample.domains {
                let traffic = Traffic { rx_bytes: bytes, tx_bytes: bytes };
                domain.counters.interfaces.insert(name.into(), traffic);
            }
        }
        Ok(sample)
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
async fn a_counter_does_not_fall_when_an_interface_is_detached_or_recreated() {
    let fleet = Fleet::new();
    let mut server = fleet.serve(1).await;
    let machine = server.anonymous().asking_from(LOOPBACK);
    let _ada = server.user("ada").await;
    let hypervisor = Arc::new(Rewired { fleet: fleet.clone(), second: Mutex::default() });
    server.collector.hypervisor = hypervisor.clone();
    let mut before = [0.0; 2];
    for second in [Some(("vnet-b", 8_651_276)), None, Some(("vnet-b", 500)), None, Some(("vnet-c", 7)), None]
    {
        *hypervisor.second.lock().unwrap() = second;
        fleet.ticks(&mut server, 1).await;
        let text = metrics(&machine, &[]).await.text;
        let now = ["receive", "transmit"].map(|way| {
            let line = lines(&text, &format!("twarga_vm_network_{way}_bytes_total"))[0].to_owned();
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        });
        assert!(
            now[0] > 8_651_276.0 && now[0] >= before[0] && now[1] >= before[1],
            "{now:?} after {before:?}"
        );
        before = now;
    }
}

#[tokio::test]
async fn behind_https_this_machine_may_be_a_proxy_for_all_the_world() {
    let server = Fleet::new().serve_with(&["--simulated-vms", "0", "--https"]).await;
    let ada = server.user("ada").await;
    let anonymous = server.anonymous().asking_from(LOOPBACK);
    assert_eq!(metrics(&anonymous, &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(metrics(&ada, &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_user_sees_their_own_vms_and_no_more() {
    let cloud = Cloud::new().await;
    // On this machine, too: a token identifies the client, wherever it is.
    for peer in [OUTSIDE, LOOPBACK] {
        let answer = metrics(&cloud.bob.asking_from(peer), &[]).await;
        assert_eq!(answer.status, StatusCode::OK);
        let cpu = lines(&answer.text, "twarga_vm_cpu_usage_ratio");
        assert!(cpu.len() == 1 && cpu[0].contains(r#"{vm_id="4",vm="bobs-own",owner_id="2"}"#), "{cpu:?}");
        for word in ["web-1", "twarga_host_", "twarga_collector_", r#"owner_id="1""#] {
            assert!(!answer.text.contains(word), "{word}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn what_is_not_known_has_no_line_and_what_is_zero_has_one() {
    let cloud = Cloud::new().await;
    let text = metrics(&cloud.ada, &[]).await.text;
    let of_stopped = |metric: &str| {
        let lines = lines(&text, metric);
        lines.into_iter().find(|line| line.contains(r#"vm_id="2""#)).map(str::to_owned)
    };
    for unknown in [
        "twarga_vm_cpu_usage_ratio",
        "twarga_vm_memory_used_bytes",
        "twarga_vm_memory_available_bytes",
        "twarga_vm_network_receive_bytes_total",
        "twarga_vm_network_transmit_bytes_total",
    ] {
        assert_eq!(of_stopped(unknown), None, "{unknown}");
        assert_eq!(lines(&text, unknown).len(), 3, "{unknown}");
    }
    assert!(of_stopped("twarga_vm_uptime_seconds").is_some_and(|line| line.ends_with(" 0")));
    assert!(!text.contains("NaN"));
}

/// Prometheus over a folder of its own, ended when this is dropped.
struct Prometheus {
    child: Child,
    url: String,
    folder: TempDir,
}

impl Prometheus {
    /// Scrapes `target` every second: as this machine, and with each of the tokens, by a job's name.
    async fn start(target: SocketAddr, tokens: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let job = |name: &str, more: &str| {
            format!("  - job_name: {name}\n    static_configs: [{{targets: ['{target}']}}]\n{more}")
        };
        let mut config = "global: {scrape_interval: 1s}\nscrape_configs:\n".to_owned() + &job("machine", "");
        for (name, token) in tokens {
            let file = folder.path().join(name);
            fs::write(&file, token).unwrap();
            let file = file.display();
            config += &job(name, &format!("    authorization: {{credentials_file: '{file}'}}\n"));
        }
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .current_dir(folder.path())
            .args([
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                "--web.listen-address=127.0.0.1:0",
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("there is no prometheus: scripts/setup test unpacks it into .lab/prometheus");
        let mut prometheus = Self { child, url: String::new(), folder };
        let listens = |prometheus: &Self| {
            let log = prometheus.log();
            let line = log.lines().find(|line| line.contains(r#"msg="Listening on""#))?;
            Some(format!("http://{}", line.split_once("address=")?.1.split_whitespace().next()?))
        };
        prometheus.url = prometheus.until("it listens", listens).await;
        prometheus
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Asks again and again until there is an answer; not for ever.
    async fn until<T>(&mut self, what: &str, answer: impl Fn(&Self) -> Option<T>) -> T {
        eventually(async || {
            if let Some(answer) = answer(self) {
                return Ok(answer);
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended ({ended:?}) before {what}\n{}", self.log());
            Err(format!("not so: {what}\n{}", self.log()))
        })
        .await
    }

    /// The values that Prometheus has for `query`, by the VM's id, or by nothing.
    fn query(&self, query: &str) -> BTreeMap<String, f64> {
        let output = Command::new("promtool")
            .args(["query", "instant", "-o", "json", &self.url, query])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{query}: {said}");
        let answer: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        answer
            .iter()
            .map(|series| {
                let vm_id = series["metric"]["vm_id"].as_str().unwrap_or_default().to_owned();
                (vm_id, series["value"][1].as_str().unwrap().parse().unwrap())
            })
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begin.elapsed() > Duration::from_secs(10) {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[tokio::test]
#[ignore = "needs promtool"]
async fn promtool_accepts_what_every_client_sees() {
    let cloud = Cloud::new().await;
    for client in [&cloud.ada, &cloud.bob] {
        let text = metrics(client, &[]).await.text;
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("there is no promtool: scripts/setup test unpacks it into .lab/prometheus");
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus and promtool"]
async fn a_real_prometheus_has_the_values_that_our_api_returns() {
    let cloud = Cloud::new().await;
    let listening = cloud.server.listen().await;

    let (ada, bob) = (cloud.ada.clone(), cloud.bob.clone());
    let tokens = [("admin", ada.token().unwrap()), ("user", bob.token().unwrap())];
    let mut prometheus = Prometheus::start(listening.address, &tokens).await;
    let all_have_scraped = |prometheus: &Prometheus| {
        let up = prometheus.query("sum(up)");
        (up.get("") == Some(&3.0)).then_some(())
    };
    prometheus.until("all three jobs have scraped", all_have_scraped).await;

    // The metrics of a VM, their unit's factor in Prometheus, and their name there.
    let usage = [
        ("cpu_percent", 0.01, "twarga_vm_cpu_usage_ratio"),
        ("memory_used_mb", 1_048_576.0, "twarga_vm_memory_used_bytes"),
        ("memory_available_mb", 1_048_576.0, "twarga_vm_memory_available_bytes"),
        ("disk_used_gb", 1_073_741_824.0, "twarga_vm_disk_used_bytes"),
        ("disk_available_gb", 1_073_741_824.0, "twarga_vm_disk_available_bytes"),
        ("network_rx_mb", 1_048_576.0, "twarga_vm_network_receive_bytes_total"),
        ("network_tx_mb", 1_048_576.0, "twarga_vm_network_transmit_bytes_total"),
        ("uptime_seconds", 1.0, "twarga_vm_uptime_seconds"),
    ];
    // The REST API returns two decimals.
    let same = |reported: f64, scraped: f64| (reported - scraped).abs() <= 0.005_001;
    let mut compared = 0;
    for vm_id in ["1", "2", "3", "4"] {
        let reported = ada.get(&format!("/api/metrics/vm/{vm_id}")).await.json();
        for (key, unit, metric) in usage {
            for job in ["machine", "admin", "user"] {
                let scraped = prometheus.query(&format!("{metric}{{job='{job}', vm_id='{vm_id}'}}"));
                let scraped = scraped.get(vm_id).map(|value| value / unit);
                let expected = reported[key].as_f64().filter(|_| job != "user" || vm_id == "4");
                let agree = match (expected, scraped) {
                    (Some(reported), Some(scraped)) => same(reported, scraped),
                    (reported, scraped) => reported == scraped,
                };
                assert!(agree, "{job} {vm_id} {key}: {expected:?} is not {scraped:?}");
                compared += usize::from(expected.is_some());
            }
        }
    }
    assert_eq!(
        compared,
        2 * (3 * 8 + 3) + 8,
        "all of three VMs, disk and uptime of the stopped one; twice, and Bob's"
    );

    let host = ada.get("/api/metrics/host").await.json();
    let memory = prometheus.query("twarga_host_memory_used_bytes{job='admin'} / 1073741824");
    assert!(same(host["memory_used_gb"].as_f64().unwrap(), memory[""]), "{host} {memory:?}");
    let ticks = prometheus.query("twarga_collector_ticks_total{job='machine'}");
    assert_eq!(ticks[""], 3.0);
    drop(prometheus);
}
