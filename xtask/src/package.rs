//! Makes a Debian package and a tarball of the server: `cargo xtask package`.
//!
//! The Debian package is put together by `dpkg-deb`, which every Debian has. cargo-deb would have to be compiled
//! first, on each machine, to write a control file of ten lines.

use anyhow::{Context, Result, bail, ensure};
use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

const NAME: &str = "twarga-cloud";
const MUSL: &str = "x86_64-unknown-linux-musl";
/// The documents that an admin needs where there is no checkout.
const DOCS: &str = "docs/admin";

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Package the development build as it is, for tests of the package: `cargo test` builds it with other features of
    /// its dependencies than `cargo build`, which would recompile them. Its server reads the site from `target/site`.
    pub debug: bool,
    /// Make only the Debian package.
    pub deb_only: bool,
    /// The package's version, where it is not the crate's.
    pub version: Option<String>,
}

impl Options {
    /// The flags after `package`, or `None` when one is unknown.
    pub fn parse(arguments: &[&str]) -> Option<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--debug" => options.debug = true,
                "--deb" => options.deb_only = true,
                "--version" => options.version = Some((*arguments.next()?).to_owned()),
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Builds the server and writes the packages to `target/package`.
pub fn build(options: &Options) -> Result<()> {
    let version = options.version.clone().unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
    ensure!(is_version(&version), "{version} is no version such as 1.2.3 or 1.2.3~rc1");
    let target = PathBuf::from(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
    let folder = target.join("package");
    fs::create_dir_all(&folder)?;

    let binary = target.join(if options.debug { "debug" } else { "release" }).join(NAME);
    if options.debug {
        ensure!(binary.exists(), "{} is not built: run `cargo build --features ssr` first", binary.display());
    } else {
        cargo_build(None)?;
    }
    let deb = deb(&folder, &binary, &version, options.debug)?;
    println!("{}", deb.display());
    if options.deb_only || options.debug {
        return Ok(());
    }

    let (binary, libc) = if musl_is_here() {
        cargo_build(Some(MUSL))?;
        (target.join(MUSL).join("release").join(NAME), "musl")
    } else {
        eprintln!(
            "note: no static binary, for the Rust target {MUSL} or musl-gcc is missing (rustup target add {MUSL}; \
             apt install musl-tools). The tarball's binary needs this system's glibc or a newer one."
        );
        (binary, "gnu")
    };
    println!("{}", tarball(&folder, &binary, &version, libc)?.display());
    Ok(())
}

/// What both Debian and Cargo take for a version, so far as it is used here.
fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '~'))
}

/// Builds the release server, which carries the site within itself.
fn cargo_build(target: Option<&str>) -> Result<()> {
    ensure!(
        Path::new("target/site/assets.json").exists(),
        "the site is not built: run `cargo xtask site --release` first"
    );
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--release", "-p", NAME, "--features", "ssr"]);
    if let Some(target) = target {
        command.args(["--target", target]);
    }
    // Set for xtask by `cargo run`. Build scripts watch them: without this, ring and all that uses it is compiled again.
    for (variable, _) in env::vars_os() {
        if variable
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(variable);
        }
    }
    run(&mut command)
}

fn musl_is_here() -> bool {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let has_target = sysroot.is_ok_and(|output| {
        let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        sysroot.join("lib/rustlib").join(MUSL).exists()
    });
    has_target && Command::new("musl-gcc").arg("--version").output().is_ok()
}

fn deb(folder: &Path, binary: &Path, version: &str, debug: bool) -> Result<PathBuf> {
    let root = folder.join("deb");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    let doc = root.join("usr/share/doc").join(NAME);
    install(binary, &root.join("usr/bin").join(NAME), 0o755)?;
    if debug {
        run(Command::new("strip").arg(root.join("usr/bin").join(NAME)))?;
    }
    install_text(
        "packaging/twarga-cloud.service",
        &root.join("lib/systemd/system/twarga-cloud.service"),
        0o644,
    )?;
    install_text("packaging/config.toml", &root.join("etc").join(NAME).join("config.toml"), 0o644)?;
    install_docs(&doc)?;
    fs::write(doc.join("copyright"), copyright()?)?;

    let control = root.join("DEBIAN");
    for script in ["postinst", "prerm", "postrm"] {
        install_text(&format!("packaging/debian/{script}"), &control.join(script), 0o755)?;
    }
    fs::write(control.join("conffiles"), format!("/etc/{NAME}/config.toml\n"))?;
    fs::write(control.join("control"), control_file(version, glibc(binary)?.as_deref(), size_kib(&root)?))?;

    let deb = folder.join(format!("{NAME}_{version}_amd64.deb"));
    let mut build = Command::new("dpkg-deb");
    build.arg("--root-owner-group");
    if debug {
        build.args(["-Zgzip", "-z1"]);
    }
    run(build.arg("--build").args([&root, &deb]))?;
    fs::remove_dir_all(&root)?;
    Ok(deb)
}

fn control_file(version: &str, glibc: Option<&str>, size_kib: u64) -> String {
    let libc = glibc.map(|version| format!(", libc6 (>= {version})")).unwrap_or_default();
    format!(
        "Package: {NAME}\n\
         Version: {version}\n\
         Architecture: amd64\n\
         Section: admin\n\
         Priority: optional\n\
         Maintainer: The Twarga Cloud developers <root@localhost>\n\
         Installed-Size: {size_kib}\n\
         Depends: adduser, init-system-helpers (>= 1.54~){libc}\n\
         Recommends: ca-certificates, libvirt-clients, libvirt-daemon-system, openssh-client, qemu-system-x86, \
         vagrant, vagrant-libvirt\n\
         Description: self-hosted mini cloud on top of Vagrant\n \
         People sign in, launch virtual machines, and watch what each one uses, live.\n \
         The recommended packages run real VMs; a simulated fleet needs none of them.\n"
    )
}

/// The newest glibc that the binary needs: the largest of its `GLIBC_x.y` symbol versions.
fn glibc(binary: &Path) -> Result<Option<String>> {
    let bytes = fs::read(binary).with_context(|| binary.display().to_string())?;
    Ok(newest_glibc(&bytes).map(|(major, minor)| format!("{major}.{minor}")))
}

fn newest_glibc(binary: &[u8]) -> Option<(u32, u32)> {
    const PREFIX: &[u8] = b"GLIBC_";
    let starts = binary.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    let versions = starts.filter_map(|(at, _)| {
        let rest = &binary[at + PREFIX.len()..];
        let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
        let mut parts = std::str::from_utf8(&rest[..end]).ok()?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    versions.max()
}

fn copyright() -> Result<String> {
    let mit = fs::read_to_string("LICENSE-MIT")?;
    Ok(format!(
        "Twarga Cloud may be used under the MIT licence, which follows, or the Apache License 2.0, which is in \
         /usr/share/common-licenses/Apache-2.0, as you like.\n\n{mit}"
    ))
}

fn tarball(folder: &Path, binary: &Path, version: &str, libc: &str) -> Result<PathBuf> {
    let name = format!("{NAME}-{version}-x86_64-linux-{libc}");
    let root = folder.join(&name);
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    install(binary, &root.join(NAME), 0o755)?;
    for file in ["packaging/twarga-cloud.service", "packaging/config.toml", "LICENSE-MIT", "LICENSE-APACHE"] {
        install_text(file, &root.join(Path::new(file).file_name().expect("a file")), 0o644)?;
    }
    install_docs(&root.join("docs"))?;
    let tarball = folder.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-czf"]);
    run(tar.arg(&tarball).arg("-C").arg(folder).arg(&name))?;
    fs::remove_dir_all(&root)?;
    Ok(tarball)
}

fn install_docs(to: &Path) -> Result<()> {
    for entry in fs::read_dir(DOCS)? {
        let path = entry?.path();
        if path.is_dir() {
            continue;
        }
        install(&path, &to.join(path.file_name().expect("an entry of a folder")), 0o644)?;
    }
    Ok(())
}

fn install_text(from: &str, to: &Path, mode: u32) -> Result<()> {
    install(Path::new(from), to, mode)
}

/// Copies a file; its folders are readable by all.
fn install(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let folder = to.parent().expect("a path within a folder");
    for made in missing(folder) {
        fs::create_dir(&made)?;
        fs::set_permissions(&made, fs::Permissions::from_mode(0o755))?;
    }
    fs::copy(from, to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn missing(folder: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<_> =
        folder.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
    missing.reverse();
    missing
}

fn size_kib(folder: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        size += if entry.file_type()?.is_dir() {
            size_kib(&entry.path())?
        } else {
            entry.metadata()?.len().div_ceil(1024)
        };
    }
    Ok(size)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?} cannot be started"))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_and_unknown_ones_rejected() {
        let options = Options::parse(&["--debug", "--version", "0.1.1"]).unwrap();
        assert_eq!(options, Options { debug: true, deb_only: false, version: Some("0.1.1".into()) });
        assert_eq!(Options::parse(&["--version"]), None);
        assert_eq!(Options::parse(&["--rpm"]), None);
    }

    #[test]
    fn the_newest_glibc_is_compared_by_number() {
        assert_eq!(newest_glibc(b"\0GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.17\0GLIBC_PRIVATE\0"), Some((2, 34)));
        assert_eq!(newest_glibc(b"static"), None);
    }

    #[test]
    fn a_control_file_has_no_line_that_dpkg_would_take_for_another_field() {
        let control = control_file("1.2.3", Some("2.36"), 10);
        assert!(control.contains("\nDepends: adduser, init-system-helpers (>= 1.54~), libc6 (>= 2.36)\n"));
        assert!(control.lines().all(|line| line.starts_with(' ') || line.contains(": ")), "{control}");
    }

    #[test]
    fn versions_hold_nothing_that_a_path_or_dpkg_would_misread() {
        assert!(is_version("1.2.3") && is_version("1.2.3~rc1"));
        assert!(!is_version("v1.2.3") && !is_version("1.2/3") && !is_version("1.2-3") && !is_version(""));
    }
}
