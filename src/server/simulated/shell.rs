//! The shell of a simulated VM: it says that nothing is real, and knows a few commands.

use super::SimulatedFleet;
use crate::{
    model::{ApiError, TerminalSize},
    server::provider::{Machine, Shell, ShellAccess, ShellInput},
};
use async_trait::async_trait;
use axum::body::Bytes;
use std::{fmt::Write, time::Duration};
use tokio::{sync::mpsc, time::sleep};

const BUFFER: usize = 4;
/// What `yes` prints at once.
const FLOOD_BYTES: usize = 32 * 1024;
const INTERRUPT: u8 = 3;
const END_OF_INPUT: u8 = 4;
const MAX_LINE_BYTES: usize = 4096;

#[async_trait]
impl ShellAccess for SimulatedFleet {
    async fn open_shell(
        &self,
        _vm_id: i64,
        machine: &Machine,
        domain_uuid: &str,
        size: TerminalSize,
    ) -> Result<Shell, ApiError> {
        if !self.state().guests.get(domain_uuid).is_some_and(super::Guest::runs) {
            return Err(ApiError::conflict("The VM does not run. Start it first."));
        }
        let (to_output, output) = mpsc::channel(BUFFER);
        let (input, from_input) = mpsc::channel(BUFFER);
        let session = Session {
            prompt: format!("vagrant@{}:~$ ", machine.name.as_str()),
            size,
            line: Vec::new(),
            output: to_output,
            input: from_input,
        };
        tokio::spawn(session.run());
        Ok(Shell { output, input })
    }
}

struct Session {
    prompt: String,
    size: TerminalSize,
    line: Vec<u8>,
    output: mpsc::Sender<Bytes>,
    input: mpsc::Receiver<ShellInput>,
}

/// The other side has hung up, or the shell was left.
struct Over;

impl Session {
    async fn run(mut self) {
        let greeting = "This VM is simulated: there is no guest, and nothing here is real. Try help.\r\n";
        if self.print(greeting.to_owned() + &self.prompt).await.is_ok() {
            while let Some(input) = self.input.recv().await {
                match input {
                    ShellInput::Resize(size) => self.size = size,
                    ShellInput::Bytes(bytes) => {
                        if self.enter(&bytes).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    async fn print(&self, text: impl Into<Bytes>) -> Result<(), Over> {
        self.output.send(text.into()).await.map_err(|_| Over)
    }

    async fn enter(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let mut echo = Vec::new();
        for &byte in bytes {
            match byte {
                b'\r' => {
                    echo.extend_from_slice(b"\r\n");
                    self.print(std::mem::take(&mut echo)).await?;
                    let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
                    self.obey(line.trim()).await?;
                    echo.extend_from_slice(self.prompt.as_bytes());
                }
                0x7f if self.line.pop().is_some() => echo.extend_from_slice(b"\x08 \x08"),
                INTERRUPT => {
                    self.line.clear();
                    echo.extend_from_slice(b"^C\r\n");
                    echo.extend_from_slice(self.prompt.as_bytes());
                }
                END_OF_INPUT if self.line.is_empty() => return Err(Over),
                byte if byte >= b' ' && self.line.len() < MAX_LINE_BYTES => {
                    self.line.push(byte);
                    echo.push(byte);
                }
                _ => {}
            }
        }
        if echo.is_empty() { Ok(()) } else { self.print(echo).await }
    }

    async fn obey(&mut self, line: &str) -> Result<(), Over> {
        let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "" => Ok(()),
            "help" => {
                self.print("Simulated commands: echo TEXT, size, seq N, yes, sleep SECS, exit.\r\n").await
            }
            "echo" => self.print(format!("{argument}\r\n")).await,
            "size" => self.print(format!("{} x {}\r\n", self.size.columns, self.size.rows)).await,
            "seq" => self.count(argument.trim().parse().unwrap_or(0)).await,
            "yes" => self.flood().await,
            "sleep" => {
                sleep(Duration::from_secs(argument.trim().parse().unwrap_or(0).min(600))).await;
                Ok(())
            }
            "exit" | "logout" => Err(Over),
            other => self.print(format!("{other}: not found in a simulated VM. Try help.\r\n")).await,
        }
    }

    async fn count(&self, last: u32) -> Result<(), Over> {
        let mut lines = String::new();
        for number in 1..=last.min(10_000_000) {
            let _ = write!(lines, "{number}\r\n");
            if lines.len() >= FLOOD_BYTES {
                self.print(std::mem::take(&mut lines)).await?;
            }
        }
        self.print(lines).await
    }

    /// Prints until it is interrupted.
    async fn flood(&mut self) -> Result<(), Over> {
        let flood = Bytes::from("y\r\n".repeat(FLOOD_BYTES / 3));
        loop {
            tokio::select! {
                biased;
                input = self.input.recv() => match input {
                    Some(ShellInput::Bytes(bytes)) if bytes.contains(&INTERRUPT) => {
                        return self.print("^C\r\n").await;
                    }
                    Some(ShellInput::Bytes(_)) => {}
                    Some(ShellInput::Resize(size)) => self.size = size,
                    None => return Err(Over),
                },
                room = self.output.reserve() => room.map_err(|_| Over)?.send(flood.clone()),
            }
        }
    }
}
