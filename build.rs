//! Tells cargo which files outside `src/` the server is made of, so that a change of them rebuilds it.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

const SITE: &str = "target/site/assets.json";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=TWARGA_TYPES={:016x}", hash_of_types());
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

/// Of all that says what the two halves send each other, and of the pages, which say what they are rendered with.
fn hash_of_types() -> u64 {
    let mut hasher = DefaultHasher::new();
    for folder in ["src/model", "src/api", "src/pages", "src/components"] {
        println!("cargo::rerun-if-changed={folder}");
        let mut files = Vec::new();
        collect(Path::new(folder), &mut files);
        files.sort();
        for file in files {
            fs::read(file).unwrap_or_default().hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
