//! Declares the files outside `src/` that are part of the server, so that cargo rebuilds it when they change.

use std::{env, path::Path};

const SITE: &str = "target/site/assets.json";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The browser's side embeds nothing: a new migration must not rebuild it.
    if env::var_os("CARGO_FEATURE_SSR").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=migrations");
    // A debug server reads the site from disk at run time; a release one carries it.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rerun-if-changed={SITE}");
        if !Path::new(SITE).exists() {
            println!(
                "cargo::warning=the site is not built, so this server has no pages: run `cargo xtask site --release` first"
            );
        }
    }
}
