//! Whether the server answers while VMs are launched.

use super::{
    Results,
    support::{Server, fleet::Fleet, http},
};
use std::time::{Duration, Instant};
use twarga_cloud::server::commands::Source;

const LAUNCHES: usize = 10;
const PAUSE: Duration = Duration::from_millis(10);
/// More than all launches take, where something hangs.
const MOST: Duration = Duration::from_secs(600);

/// In a simulated fleet, whose launches take as long as real ones and no CPU time.
pub async fn measure(results: &mut Results) {
    let fleet = Fleet::with(|options| options.speed = 1.0);
    let server = fleet.serve_with(&["--simulated-vms", "0", "--max-vms", "10", "--operations", "10"]).await;
    launch_and_ask(results, server, "debian-12", 512, 10, "health_p99").await;
}

/// In the lab, with real VMs: as many at once as there are cores.
pub async fn measure_in_lab(results: &mut Results) {
    let server = Server::start(&["--provider", "vagrant", "--max-vms", "10"], Source::new).await;
    launch_and_ask(results, server, "lab-tiny", 128, 1, "health_p99_lab").await;
}

async fn launch_and_ask(
    results: &mut Results,
    server: Server,
    image: &str,
    ram_mb: u32,
    disk_gb: u32,
    name: &str,
) {
    let ada = server.user("ada").await;
    let listening = server.listen().await;
    let token = ada.token().unwrap().to_owned();
    let collector = tokio::spawn(server.collector.run());
    for number in 1..=LAUNCHES {
        let body = format!(
            r#"{{"name":"vm-{number}","image":"{image}","ram_mb":{ram_mb},"cpu_cores":1,"disk_gb":{disk_gb}}}"#
        );
        let (status, answer) = http::send(listening.address, "POST", "/api/vms", &token, &body).await;
        assert_eq!(status, 202, "{answer}");
    }
    let begin = Instant::now();
    let mut took = Vec::new();
    while server.state.vms.open_operations() > 0 && begin.elapsed() < MOST {
        let asked = Instant::now();
        let (status, _) = http::send(listening.address, "GET", "/health", &token, "").await;
        took.push(asked.elapsed());
        assert_eq!(status, 200);
        tokio::time::sleep(PAUSE).await;
    }
    took.sort();
    let p99 = took[took.len() * 99 / 100].as_secs_f64() * 1000.0;
    let longest = took[took.len() - 1].as_secs_f64() * 1000.0;
    let what = format!(
        "GET /health while {LAUNCHES} launches run, 99th percentile of {} (aim: 20; longest {longest:.1})",
        took.len()
    );
    results.report(name, p99, "ms", &what);
    for vm in server.state.vms.list(twarga_cloud::server::vms::Scope::All).await.unwrap() {
        let body = format!(r#"{{"action":"destroy","confirm_name":"{}"}}"#, vm.name);
        let path = format!("/api/vms/{}/action", vm.id);
        assert_eq!(http::send(listening.address, "POST", &path, &token, &body).await.0, 202);
    }
    server.state.vms.wait_until_idle(MOST).await;
    collector.abort();
}
