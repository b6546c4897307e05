//! The project's own build tool: `cargo xtask site [--release]`.
//!
//! Everything it runs is pinned: wasm-bindgen is linked in (so it cannot differ from the crate's), the rest comes
//! from `package-lock.json`. Nothing is looked up on PATH but cargo.

mod files;
mod site;

use std::{env, process::ExitCode};

const USAGE: &str = "\
usage: cargo xtask site [--release]

  site             build what the browser loads into target/site: wasm, script, styles, charts, public files
  site --release   the same, optimised for size and compressed; do this before `cargo build --release`";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mode = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["site"] => site::Mode::Debug,
        ["site", "--release"] => site::Mode::Release,
        ["help" | "-h" | "--help"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match site::build(mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
