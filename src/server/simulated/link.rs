//! Sessions of ssh in a simulated VM: only shells.

use super::SimulatedFleet;
use crate::{
    model::{ApiError, ErrorCode, TerminalSize},
    server::provider::{GuestChannel, GuestLink, LinkAccess, Machine, Shell, ShellAccess, ShellInput},
};
use async_trait::async_trait;
use axum::body::Bytes;
use russh::ChannelMsg;
use std::sync::Arc;
use tokio::sync::mpsc;

const BUFFER: usize = 4;
const END_OF_INPUT: &[u8] = &[4];
const NO_COMMANDS: &str =
    "This VM is simulated: it runs no commands and transfers no files. Open a shell without a command.\n";

#[async_trait]
impl LinkAccess for Arc<SimulatedFleet> {
    async fn connect(
        &self,
        vm_id: i64,
        machine: &Machine,
        domain_uuid: &str,
    ) -> Result<Arc<dyn GuestLink>, ApiError> {
        let link = SimulatedLink {
            fleet: self.clone(),
            vm_id,
            machine: machine.clone(),
            uuid: domain_uuid.to_owned(),
        };
        Ok(Arc::new(link))
    }
}

struct SimulatedLink {
    fleet: Arc<SimulatedFleet>,
    vm_id: i64,
    machine: Machine,
    uuid: String,
}

#[async_trait]
impl GuestLink for SimulatedLink {
    async fn open_session(&self) -> Result<GuestChannel, ApiError> {
        let (to_output, output) = mpsc::channel(BUFFER);
        let (input, from_input) = mpsc::channel(BUFFER);
        let shell =
            self.fleet.open_shell(self.vm_id, &self.machine, &self.uuid, TerminalSize::default()).await?;
        tokio::spawn(async move {
            // It fails when the other side has hung up.
            let _ = serve(shell, from_input, to_output).await;
        });
        Ok(GuestChannel { output, input })
    }

    async fn open_tcp(&self, _host: &str, _port: u16) -> Result<GuestChannel, ApiError> {
        Err(ApiError::new(ErrorCode::Unavailable, "This VM is simulated: nothing listens in it."))
    }
}

type Hung = mpsc::error::SendError<ChannelMsg>;

async fn serve(
    shell: Shell,
    mut input: mpsc::Receiver<ChannelMsg>,
    output: mpsc::Sender<ChannelMsg>,
) -> Result<(), Hung> {
    let mut size = None;
    while let Some(message) = input.recv().await {
        match message {
            ChannelMsg::RequestPty { col_width, row_height, .. } => {
                size = Some(terminal_size(col_width, row_height));
            }
            ChannelMsg::RequestShell { .. } => {
                output.send(ChannelMsg::Success).await?;
                pass_on(shell, size, input, &output).await?;
                return end(&output, 0).await;
            }
            ChannelMsg::Exec { .. } | ChannelMsg::RequestSubsystem { .. } => {
                output.send(ChannelMsg::Success).await?;
                let data = Bytes::from_static(NO_COMMANDS.as_bytes());
                output.send(ChannelMsg::ExtendedData { data, ext: 1 }).await?;
                return end(&output, 1).await;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn pass_on(
    mut shell: Shell,
    size: Option<TerminalSize>,
    mut input: mpsc::Receiver<ChannelMsg>,
    output: &mpsc::Sender<ChannelMsg>,
) -> Result<(), Hung> {
    let typing = async {
        let has_pty = size.is_some();
        if let Some(size) = size {
            let _ = shell.input.send(ShellInput::Resize(size)).await;
        }
        while let Some(message) = input.recv().await {
            let typed = match message {
                // A terminal would turn line breaks into what the key Enter sends.
                ChannelMsg::Data { data } if !has_pty => ShellInput::Bytes(
                    data.iter().map(|byte| if *byte == b'\n' { b'\r' } else { *byte }).collect(),
                ),
                ChannelMsg::Data { data } => ShellInput::Bytes(data),
                ChannelMsg::Eof => ShellInput::Bytes(Bytes::from_static(END_OF_INPUT)),
                ChannelMsg::WindowChange { col_width, row_height, .. } => {
                    ShellInput::Resize(terminal_size(col_width, row_height))
                }
                _ => continue,
            };
            if shell.input.send(typed).await.is_err() {
                // The rest of the output is still to be read.
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let printing = async {
        while let Some(data) = shell.output.recv().await {
            output.send(ChannelMsg::Data { data }).await?;
        }
        Ok(())
    };
    tokio::select! {
        () = typing => Ok(()),
        printed = printing => printed,
        () = output.closed() => Ok(()),
    }
}

async fn end(output: &mpsc::Sender<ChannelMsg>, exit_status: u32) -> Result<(), Hung> {
    for message in [ChannelMsg::Eof, ChannelMsg::ExitStatus { exit_status }, ChannelMsg::Close] {
        output.send(message).await?;
    }
    Ok(())
}

fn terminal_size(columns: u32, rows: u32) -> TerminalSize {
    let bounded = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    TerminalSize { columns: bounded(columns), rows: bounded(rows) }.clamped()
}
