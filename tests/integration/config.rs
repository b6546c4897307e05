//! The configuration of the real binary: `config check`, and which source wins.

use std::{fs, path::PathBuf, process::Command};
use tempfile::TempDir;

struct Output {
    success: bool,
    stdout: String,
    stderr: String,
}

/// `config check` in a folder of its own, with `text` as its configuration file.
fn check(text: &str, environment: &[(&str, &str)], flags: &[&str]) -> Output {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, text).unwrap();
    run(&folder, &file, environment, flags)
}

fn run(folder: &TempDir, file: &PathBuf, environment: &[(&str, &str)], flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twarga-cloud"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TWARGA_")) {
        command.env_remove(name);
    }
    let output = command
        .args(["config", "check", "--config"])
        .arg(file)
        .args(flags)
        .envs(environment.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap();
    Output {
        success: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The line of a key, with its spaces made one.
fn line(output: &Output, key: &str) -> String {
    let line = output.stdout.lines().find(|line| line.starts_with(&format!("{key} = ")));
    line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_flag_overrides_the_environment_which_overrides_the_file_which_overrides_the_default() {
    let file =
        "collect_every = 11\nretention_days = 12\nmax_vms = 13\nhttps = true\nprovider = \"simulated\"\n";
    let environment = [("TWARGA_COLLECT_EVERY", "21"), ("TWARGA_RETENTION_DAYS", "22")];
    let output = check(file, &environment, &["--collect-every", "31"]);
    assert!(output.success, "{}", output.stderr);
    assert_eq!(line(&output, "collect_every"), "collect_every = 31 # flag");
    assert_eq!(line(&output, "retention_days"), "retention_days = 22 # environment");
    assert_eq!(line(&output, "max_vms"), "max_vms = 13 # file");
    assert_eq!(line(&output, "https"), "https = true # file");
    assert_eq!(line(&output, "provider"), "provider = \"simulated\" # file");
    assert_eq!(line(&output, "credits"), "credits = 100 # default");
    assert_eq!(line(&output, "images"), "");
}

#[test]
fn what_is_printed_is_a_configuration_file() {
    let first = check("log = \"info,twarga_cloud=debug\"\nmax_vms = 3\n", &[], &[]);
    assert!(first.success, "{}", first.stderr);
    let again = check(&first.stdout, &[], &[]);
    assert!(again.success, "{}", again.stderr);
    assert_eq!(first.stdout.replace("default", "file"), again.stdout);
}

#[test]
fn the_environment_can_name_the_file() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, "max_vms = 3\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_twarga-cloud"))
        .args(["config", "check"])
        .env("TWARGA_CONFIG", &file)
        .env_remove("TWARGA_MAX_VMS")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("max_vms = 3"));
}

#[test]
fn an_unknown_key_a_bad_value_and_a_missing_file_are_errors_with_their_place() {
    for (text, words) in [
        ("max_vms = 3\nmax-ram = 5\n", ["config.toml:2:", "unknown key max-ram"]),
        ("\ncollect_every = 0\n", ["config.toml:2:", "collect_every: invalid value '0'"]),
        ("images = \"missing.toml\"\n", ["missing.toml", "twarga-cloud:"]),
        ("smtp_url = \"smtp://127.0.0.1:25\"\n", ["--smtp-url", "--mail-from"]),
    ] {
        let output = check(text, &[], &[]);
        assert!(!output.success && output.stdout.is_empty());
        for word in words {
            assert!(output.stderr.contains(word), "{word} is missing in: {}", output.stderr);
        }
    }
    let folder = TempDir::new().unwrap();
    let output = run(&folder, &folder.path().join("none.toml"), &[], &[]);
    assert!(!output.success);
    assert!(output.stderr.contains("none.toml: the configuration file cannot be read"), "{}", output.stderr);
}

#[test]
fn passwords_come_from_a_file_or_the_environment_and_are_never_printed() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(folder.path().join("password"), "s3cret\n").unwrap();
    let mail = "smtp_url = \"smtp://me@127.0.0.1:25\"\nmail_from = \"cloud@example.org\"\n";
    fs::write(&file, format!("{mail}smtp_password_file = \"password\"\n")).unwrap();
    for environment in [&[][..], &[("TWARGA_SMTP_PASSWORD", "s3cret")]] {
        let output = run(&folder, &file, environment, &[]);
        assert!(output.success, "{}", output.stderr);
        assert!(!(output.stdout + &output.stderr).contains("s3cret"));
    }
    fs::write(&file, format!("{mail}smtp_password_file = \"missing\"\n")).unwrap();
    let output = run(&folder, &file, &[], &[]);
    assert!(!output.success && output.stderr.contains("SMTP password cannot be read from missing"));
    fs::write(&file, "smtp_url = \"smtp://me:s3cret@127.0.0.1:25\"\nmail_from = \"a@example.org\"\n")
        .unwrap();
    let output = run(&folder, &file, &[], &[]);
    assert!(!output.success && !output.stderr.contains("s3cret"), "{}", output.stderr);
}
