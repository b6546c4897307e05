//! Benchmarks of the server: `make bench` prints the results and writes them to `target/bench.json` as
//! `{"name": {"value": …, "unit": …}}`.
//!
//! `cargo bench … -- sign_ins`, `-- ticks`, `-- store`, `-- terminals` or `-- operations` measures one part alone; `-- operations_lab`, inside the lab
//! only, the last one with real VMs.

mod operations;
mod sign_ins;
mod store;
#[path = "../tests/support/mod.rs"]
mod support;
mod terminals;
mod ticks;

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Map, json};
use std::{path::Path, time::Duration};

/// The results so far, by name.
struct Results(Map<String, serde_json::Value>);

impl Results {
    fn report(&mut self, name: &str, value: f64, unit: &str, what: &str) {
        println!("{name:<24} {value:>9.2} {unit:<6} {what}");
        self.0.insert(name.to_owned(), json!({ "value": (value * 1000.0).round() / 1000.0, "unit": unit }));
    }
}

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let is_chosen = |half: &str| chosen.is_empty() || chosen.iter().any(|a| a == half);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench.json");
    // What was measured elsewhere stays.
    let known = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut results = Results(known.unwrap_or_default());
    // The store's half needs much memory for itself: the resident memory of a server is measured before.
    if is_chosen("sign_ins") {
        runtime.block_on(sign_ins::measure(&mut results));
    }
    if is_chosen("ticks") {
        runtime.block_on(ticks::measure(&mut results));
    }
    if is_chosen("terminals") {
        runtime.block_on(terminals::measure(&mut results));
    }
    if is_chosen("store") {
        runtime.block_on(store::measure(&mut results));
    }
    if is_chosen("operations") {
        runtime.block_on(operations::measure(&mut results));
    }
    if chosen.iter().any(|part| part == "operations_lab") {
        runtime.block_on(operations::measure_in_lab(&mut results));
    }
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, serde_json::to_vec_pretty(&results.0).unwrap()).unwrap();
    println!("written to target/bench.json");
}

/// Of this process, all threads, user and system.
fn cpu_time() -> Duration {
    time_of(UsageWho::RUSAGE_SELF)
}

/// Of this thread alone.
fn thread_time() -> Duration {
    time_of(UsageWho::RUSAGE_THREAD)
}

fn time_of(who: UsageWho) -> Duration {
    let usage = getrusage(who).unwrap();
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

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
