//! The project's own build tool: `cargo xtask site`, `package` and `release`.
//!
//! Everything it runs is pinned: wasm-bindgen is linked in (so it cannot differ from the crate's), the rest comes
//! from `package-lock.json`. Nothing is looked up on PATH but cargo.

#[cfg(test)]
mod docs;
mod files;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod licences;
mod package;
mod release;
mod site;

use std::{env, process::ExitCode};

const USAGE: &str = "\
usage: cargo xtask site [--release] | package [FLAGS] | release VERSION [--dry-run]

  site             build what the browser loads into target/site: wasm, script, styles, charts, public files
  site --release   the same, optimised for size and compressed; do this before `cargo build --release`

  package            build the server and make a Debian package and a tarball of it, in target/package
  package --deb      only the Debian package
  package --debug    only a Debian package, of the development build as it is; for tests
          --version  give the package this version

  release VERSION    write the version into the manifests and the changelog, commit and tag; --dry-run only checks";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["site"] => site::build(site::Mode::Debug),
        ["site", "--release"] => site::build(site::Mode::Release),
        ["package", ref flags @ ..] if let Some(options) = package::Options::parse(flags) => {
            package::build(&options)
        }
        ["release", version] => release::release(version, false),
        ["release", version, "--dry-run"] => release::release(version, true),
        ["help" | "-h" | "--help"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
