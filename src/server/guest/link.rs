//! Channels in guests, over one ssh connection.

use super::{
    shell::{GuestShells, unreachable},
    ssh::Connection,
};
use crate::{
    model::{ApiError, ErrorCode},
    server::provider::{GuestChannel, GuestLink, LinkAccess, Machine},
};
use async_trait::async_trait;
use russh::{Channel, ChannelMsg, ChannelWriteHalf, client};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Messages of a channel that wait, each of at most 32 kB.
const BUFFER: usize = 4;

struct SshLink {
    name: String,
    connection: Arc<Connection>,
}

#[async_trait]
impl LinkAccess for GuestShells {
    async fn connect(
        &self,
        vm_id: i64,
        machine: &Machine,
        domain_uuid: &str,
    ) -> Result<Arc<dyn GuestLink>, ApiError> {
        let connection = Arc::new(self.connection(vm_id, machine, domain_uuid).await?);
        Ok(Arc::new(SshLink { name: machine.name.as_str().to_owned(), connection }))
    }
}

#[async_trait]
impl GuestLink for SshLink {
    async fn open_session(&self) -> Result<GuestChannel, ApiError> {
        let channel =
            self.connection.session_channel().await.map_err(|error| unreachable(&self.name, &error))?;
        Ok(pass_on(self.connection.clone(), channel))
    }

    async fn open_tcp(&self, host: &str, port: u16) -> Result<GuestChannel, ApiError> {
        let channel = self.connection.tcp_channel(host, port).await.map_err(|error| {
            let text = format!("{} does not connect to {host}:{port} ({error}).", self.name);
            ApiError::new(ErrorCode::Unavailable, text)
        })?;
        Ok(pass_on(self.connection.clone(), channel))
    }
}

fn pass_on(connection: Arc<Connection>, channel: Channel<client::Msg>) -> GuestChannel {
    let (to_output, output) = mpsc::channel(BUFFER);
    let (input, mut from_input) = mpsc::channel(BUFFER);
    tokio::spawn(async move {
        let (mut reader, writer) = channel.split();
        let writing = async {
            while let Some(message) = from_input.recv().await {
                if say(&writer, message).await.is_err() {
                    break;
                }
            }
        };
        let reading = async {
            while let Some(message) = reader.wait().await {
                let is_last = matches!(message, ChannelMsg::Close);
                if to_output.send(message).await.is_err() || is_last {
                    break;
                }
            }
        };
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
        // It fails where the guest was faster.
        let _ = writer.close().await;
        drop(connection);
    });
    GuestChannel { output, input }
}

async fn say(writer: &ChannelWriteHalf<client::Msg>, message: ChannelMsg) -> Result<(), russh::Error> {
    match message {
        ChannelMsg::Data { data } => writer.data_bytes(data).await,
        ChannelMsg::Eof => writer.eof().await,
        ChannelMsg::RequestPty {
            want_reply,
            term,
            col_width,
            row_height,
            pix_width,
            pix_height,
            terminal_modes,
        } => {
            let (columns, rows) = (col_width, row_height);
            writer.request_pty(want_reply, &term, columns, rows, pix_width, pix_height, &terminal_modes).await
        }
        ChannelMsg::SetEnv { want_reply, variable_name, variable_value } => {
            writer.set_env(want_reply, variable_name, variable_value).await
        }
        ChannelMsg::RequestShell { want_reply } => writer.request_shell(want_reply).await,
        ChannelMsg::Exec { want_reply, command } => writer.exec(want_reply, command).await,
        ChannelMsg::RequestSubsystem { want_reply, name } => writer.request_subsystem(want_reply, name).await,
        ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height } => {
            writer.window_change(col_width, row_height, pix_width, pix_height).await
        }
        ChannelMsg::Signal { signal } => writer.signal(signal).await,
        // Nothing else is said to a guest.
        _ => Ok(()),
    }
}
