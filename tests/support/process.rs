//! The real binary as a process of its own.

use super::eventually;
use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

/// A server on a free port, killed when it is dropped. Its data is in `data` of its folder, what it prints in `log`.
pub struct Process {
    child: Child,
    /// Port 0 until [`Process::listens`].
    pub address: SocketAddr,
    log: PathBuf,
    /// Where this process began to write in the log: an earlier one may have left its own.
    log_begin: usize,
}

impl Process {
    /// Starts it; `configure` adds flags and variables.
    pub fn start(folder: &Path, configure: impl FnOnce(&mut Command)) -> Self {
        let log = folder.join("log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let log_begin = file.metadata().unwrap().len().try_into().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_twarga-cloud"));
        command
            .args(["--addr", "127.0.0.1:0", "--data-dir"])
            .arg(folder.join("data"))
            // As `cargo leptos watch` starts it: no test asks for a page of it, so it need not wait for a built site.
            .env("LEPTOS_WATCH", "ON")
            .env("TWARGA_SSH_ADDR", "none")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        configure(&mut command);
        let child = command.spawn().unwrap();
        Self { child, address: (Ipv4Addr::LOCALHOST, 0).into(), log, log_begin }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What this process has printed so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap();
        String::from_utf8_lossy(&bytes[self.log_begin..]).into_owned()
    }

    /// Waits until it listens.
    pub async fn listens(&mut self) {
        self.address = eventually(async || {
            let log = self.log();
            let address = log.split_once(" is at http://").and_then(|(_, rest)| rest.split_once('/'));
            if let Some((address, _)) = address {
                return Ok(address.parse().unwrap());
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended before it listened ({})\n{log}", ended.unwrap());
            Err(format!("the server does not listen\n{log}"))
        })
        .await;
    }

    /// The code that it has printed for the first account; `listens` waits for it.
    pub fn setup_code(&self) -> String {
        let log = self.log();
        let (_, rest) = log.split_once("/setup#").expect("a server without accounts prints its setup code");
        rest.split_whitespace().next().unwrap().to_owned()
    }

    /// Waits until it ends by itself.
    pub async fn ends(&mut self) -> ExitStatus {
        eventually(async || {
            self.child.try_wait().unwrap().ok_or_else(|| format!("the server goes on\n{}", self.log()))
        })
        .await
    }

    /// As a crash does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
