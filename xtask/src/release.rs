//! Makes a release: `cargo xtask release VERSION [--dry-run]`.
//!
//! It writes the version into the manifests and the lock file, gives the changelog's "Unreleased" section the version
//! and today's date, commits, and tags. It pushes nothing.

use anyhow::{Context, Result, bail, ensure};
use std::{fs, process::Command};

const CHANGELOG: &str = "CHANGELOG.md";
const MANIFESTS: [&str; 2] = ["Cargo.toml", "xtask/Cargo.toml"];
const LOCK: &str = "Cargo.lock";
const PACKAGES: [&str; 2] = ["twarga-cloud", "xtask"];

pub fn release(version: &str, dry_run: bool) -> Result<()> {
    let new = Version::parse(version).with_context(|| format!("{version} is no version such as 1.2.3"))?;
    ensure!(
        git(&["status", "--porcelain"])?.is_empty(),
        "the working tree is not clean: commit or stash first"
    );
    let tag = format!("v{version}");
    ensure!(git(&["tag", "--list", &tag])?.is_empty(), "the tag {tag} exists already");

    let mut files = Vec::new();
    for manifest in MANIFESTS {
        let text = fs::read_to_string(manifest)?;
        let old = manifest_version(&text).with_context(|| format!("{manifest} has no version"))?;
        ensure!(
            Version::parse(old).is_some_and(|old| old < new),
            "{manifest} is at {old}: {version} is not newer"
        );
        files.push((manifest, with_version(&text, old, version)));
    }
    let lock = fs::read_to_string(LOCK)?;
    files.push((LOCK, PACKAGES.iter().try_fold(lock, |lock, package| locked(&lock, package, version))?));
    let changelog = fs::read_to_string(CHANGELOG).with_context(|| CHANGELOG.to_owned())?;
    let today = output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    files.push((CHANGELOG, released(&changelog, version, &today)?));

    let names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
    if dry_run {
        println!("would change {}, commit \"Release {version}\" and tag {tag}", names.join(", "));
        return Ok(());
    }
    for (name, text) in &files {
        fs::write(name, text)?;
    }
    git(&["commit", "--quiet", "-m", &format!("Release {version}"), "--", "."])?;
    git(&["tag", "-a", &tag, "-m", &format!("Twarga Cloud {version}")])?;
    println!("committed and tagged {tag}; push it with: git push origin HEAD {tag}");
    Ok(())
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        let version = Self(parts.next()??, parts.next()??, parts.next()??);
        (parts.next().is_none() && version.to_string() == text).then_some(version)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The version of `[package]`: the first at the beginning of a line.
fn manifest_version(manifest: &str) -> Option<&str> {
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \""))?;
    line.strip_suffix('"')
}

fn with_version(manifest: &str, old: &str, new: &str) -> String {
    manifest.replacen(&format!("\nversion = \"{old}\"\n"), &format!("\nversion = \"{new}\"\n"), 1)
}

/// The lock file with another version of a package of the workspace.
fn locked(lock: &str, package: &str, version: &str) -> Result<String> {
    let head = format!("[[package]]\nname = \"{package}\"\nversion = \"");
    let Some((before, rest)) = lock.split_once(&head) else { bail!("{LOCK} has no package {package}") };
    let (_, after) = rest.split_once('"').context("an unfinished version in the lock file")?;
    Ok(format!("{before}{head}{version}\"{after}"))
}

/// The changelog with its "Unreleased" section turned into that of a version, below an empty "Unreleased".
fn released(changelog: &str, version: &str, date: &str) -> Result<String> {
    const UNRELEASED: &str = "## [Unreleased]\n";
    let (before, rest) = changelog
        .split_once(UNRELEASED)
        .with_context(|| format!("{CHANGELOG} has no line {UNRELEASED:?}"))?;
    let section = rest.split("\n## ").next().unwrap_or_default();
    let is_text = |line: &str| !line.is_empty() && !line.starts_with(['#', '[']);
    ensure!(
        section.lines().any(|line| is_text(line.trim())),
        "nothing is listed as unreleased in {CHANGELOG}"
    );
    Ok(format!("{before}{UNRELEASED}\n## [{version}] - {date}\n{rest}"))
}

fn git(arguments: &[&str]) -> Result<String> {
    output(Command::new("git").args(arguments))
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} cannot be started"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(Version::parse("0.9.0") < Version::parse("0.10.0"));
        for wrong in ["1.2", "1.2.3.4", "v1.2.3", "1.2.x", "1.02.3", "+1.2.3"] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_the_package_s_own_version_changes() {
        let manifest =
            "[package]\nname = \"a\"\nversion = \"0.1.0\"\n\n[dependencies]\nb = { version = \"0.1.0\" }\n";
        assert_eq!(manifest_version(manifest), Some("0.1.0"));
        let expected =
            "[package]\nname = \"a\"\nversion = \"0.2.0\"\n\n[dependencies]\nb = { version = \"0.1.0\" }\n";
        assert_eq!(with_version(manifest, "0.1.0", "0.2.0"), expected);
    }

    #[test]
    fn the_lock_file_follows() {
        let lock = "[[package]]\nname = \"xtask\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"y\"\nversion = \"0.1.0\"\n";
        let expected = lock.replacen("0.1.0", "0.2.0", 1);
        assert_eq!(locked(lock, "xtask", "0.2.0").unwrap(), expected);
        assert!(locked(lock, "z", "0.2.0").is_err());
    }

    #[test]
    fn what_is_unreleased_gets_the_version_and_its_date() {
        let before =
            "# Changelog\n\n## [Unreleased]\n\n### Added\n- Tabs\n\n## [0.1.0] - 2026-11-27\n- First\n";
        let after = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n### Added\n- Tabs\n\n\
                     ## [0.1.0] - 2026-11-27\n- First\n";
        assert_eq!(released(before, "0.2.0", "2026-12-01").unwrap(), after);
    }

    #[test]
    fn a_release_needs_something_to_release() {
        for changelog in [
            "# Changelog\n",
            "## [Unreleased]\n\n## [0.1.0] - 2026-11-27\n- First\n",
            "## [Unreleased]\n\n### Added\n\n[unreleased]: https://example.org\n",
        ] {
            assert!(released(changelog, "0.2.0", "2026-12-01").is_err(), "{changelog}");
        }
    }
}
