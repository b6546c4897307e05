//! One persistent ssh connection to a guest, over which a command is run repeatedly.
//!
//! The host key is checked before the guest learns anything about us. Every wait has a time limit, and giving up closes
//! the socket: a guest cannot hold it open. No error contains key material.

use super::sample::position;
use crate::{
    model::TerminalSize,
    server::provider::{Shell, ShellInput, SshConfig},
};
use axum::body::Bytes;
use russh::{
    AlgorithmKind, Channel, ChannelMsg, Preferred,
    client::{self, Handle},
    kex,
    keys::{
        Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate,
        decode_secret_key,
    },
    mac,
};
use std::{
    io,
    net::Shutdown,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::mpsc, time::timeout};

/// How long things may take, and how much may be under way.
#[derive(Debug, Clone, Copy)]
pub struct SshLimits {
    /// From the first packet until the guest lets us in.
    pub connect: Duration,
    /// For one command.
    pub run: Duration,
    /// A kept connection on which nothing comes for so long is closed. Any packet counts, so this bounds no guest
    /// that means harm; for one that was given up see [`Line`].
    pub idle: Duration,
    /// Asks after a guest from which nothing came for so long, in place of closing the connection.
    pub keepalive: Option<Duration>,
    /// What the guest may send before it is read, in bytes.
    pub window_bytes: u32,
}

/// Messages of a shell that wait to be read, each of at most 32 kB.
const SHELL_BUFFER: usize = 4;

/// No private key is larger.
const MAX_KEY_BYTES: u64 = 64 * 1024;

/// Why a guest could not be read. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// Of several keys, each with its reason.
    #[error("no private key can be used: {0}")]
    NoKey(String),
    /// The guest shows another host key than at first contact.
    #[error("the guest shows another host key")]
    HostKeyChanged { shown: String },
    #[error("the guest does not let {user} in with any of its keys")]
    Denied { user: String },
    /// Names the kind of algorithm that it has none of.
    #[error("the guest's ssh server is outdated: it offers no {0} that is still secure")]
    Outdated(&'static str),
    #[error("no answer within {0:?}")]
    TooLate(Duration),
    #[error("the guest's ssh server opens no shell")]
    NoShell,
    #[error("the guest printed more than {0} bytes")]
    TooMuch(usize),
    #[error("the connection broke: {0}")]
    Broken(#[from] russh::Error),
}

pub struct Connection {
    handle: Handle<HostKeyCheck>,
    host_key: String,
    limits: SshLimits,
    _line: Line,
}

/// Shuts the socket down when it is dropped. russh serves a connection in a task of its own, which does not notice
/// in the middle of a key exchange that nobody wants it any more; that its socket is at its end it does notice.
struct Line(std::net::TcpStream);

impl Line {
    async fn open(ssh_config: &SshConfig) -> io::Result<(Self, TcpStream)> {
        let stream = TcpStream::connect((ssh_config.host.as_str(), ssh_config.port)).await?;
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let line = Self(stream.try_clone()?);
        Ok((line, TcpStream::from_std(stream)?))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // It fails where the guest was faster, and then there is nothing left to shut.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Connection {
    /// Connects and signs in. `pinned` is the host key that the guest has to show, in OpenSSH's form; without one
    /// any key is accepted, and returned by [`Connection::host_key`].
    ///
    /// # Errors
    /// [`SshError::HostKeyChanged`] before anything else is said to the guest.
    pub async fn open(
        ssh_config: &SshConfig,
        pinned: Option<&str>,
        limits: SshLimits,
    ) -> Result<Self, SshError> {
        timeout(limits.connect, Self::open_unhurried(ssh_config, pinned, limits))
            .await
            .unwrap_or(Err(SshError::TooLate(limits.connect)))
    }

    async fn open_unhurried(
        ssh_config: &SshConfig,
        pinned: Option<&str>,
        limits: SshLimits,
    ) -> Result<Self, SshError> {
        let keys = private_keys(&ssh_config.identity_files).await?;
        let pinned_key = pinned.and_then(|key| PublicKey::from_openssh(key).ok());
        let config = client::Config {
            preferred: preferring(pinned_key.as_ref().map(PublicKey::algorithm)),
            window_size: limits.window_bytes,
            channel_buffer_size: SHELL_BUFFER,
            inactivity_timeout: limits.keepalive.is_none().then_some(limits.idle),
            keepalive_interval: limits.keepalive,
            ..client::Config::default()
        };
        let shown = Arc::new(OnceLock::new());
        let check = HostKeyCheck { pinned: pinned.map(str::to_owned), shown: shown.clone() };
        let (line, stream) = Line::open(ssh_config).await.map_err(russh::Error::from)?;
        let connected = client::connect_stream(Arc::new(config), stream, check).await;
        let shown = shown.get().cloned();
        let mut handle = match (connected, shown.as_deref()) {
            (Err(_), Some(shown)) if pinned.is_some_and(|pinned| pinned != shown) => {
                return Err(SshError::HostKeyChanged { shown: shown.to_owned() });
            }
            (Err(russh::Error::NoCommonAlgo { kind, theirs, .. }), _) => {
                tracing::debug!(?theirs, "the guest's ssh server offers nothing that we use");
                return Err(SshError::Outdated(algorithm_name(kind)));
            }
            (connected, _) => connected?,
        };
        // Asked once: a server that does not say takes a second.
        let rsa_hashes: &[Option<HashAlg>] = if keys.iter().any(|key| key.algorithm().is_rsa()) {
            match handle.best_supported_rsa_hash().await? {
                Some(Some(HashAlg::Sha512)) => &[Some(HashAlg::Sha512)],
                Some(Some(_)) => &[Some(HashAlg::Sha256)],
                Some(None) => &[None],
                // OpenSSH before 7.2 and old dropbear know only SHA-1.
                None => &[Some(HashAlg::Sha256), None],
            }
        } else {
            &[]
        };
        for key in keys.into_iter().map(Arc::new) {
            for hash in if key.algorithm().is_rsa() { rsa_hashes } else { &[None] } {
                let key = PrivateKeyWithHashAlg::new(key.clone(), *hash);
                if handle.authenticate_publickey(&ssh_config.user, key).await?.success() {
                    return Ok(Self { handle, host_key: shown.unwrap_or_default(), limits, _line: line });
                }
            }
        }
        Err(SshError::Denied { user: ssh_config.user.clone() })
    }

    /// The key that the guest showed, in OpenSSH's form.
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// What `command` prints up to `end`, at most `max_bytes`. Without `end`, everything that it prints. Its input is
    /// empty.
    ///
    /// # Errors
    /// Then the connection is in no known state: drop it.
    pub async fn run(&self, command: &str, end: &[u8], max_bytes: usize) -> Result<Vec<u8>, SshError> {
        let limit = self.limits.run;
        timeout(limit, self.run_unhurried(command, end, max_bytes))
            .await
            .unwrap_or(Err(SshError::TooLate(limit)))
    }

    async fn run_unhurried(&self, command: &str, end: &[u8], max_bytes: usize) -> Result<Vec<u8>, SshError> {
        let mut channel = self.handle.channel_open_session().await?;
        channel.exec(true, command).await?;
        channel.eof().await?;
        let mut output = Vec::new();
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Data { data }) => {
                    if output.len() + data.len() > max_bytes {
                        return Err(SshError::TooMuch(max_bytes));
                    }
                    let unsearched = output.len().saturating_sub(end.len());
                    output.extend_from_slice(&data);
                    // The guest closes the channel only after all that the login left running has ended.
                    if position(&output[unsearched..], end).is_some() {
                        channel.close().await?;
                        return Ok(output);
                    }
                }
                Some(ChannelMsg::Close) => return Ok(output),
                Some(ChannelMsg::Failure) => return Err(russh::Error::RequestDenied.into()),
                Some(_) => {}
                None => return Err(russh::Error::Disconnect.into()),
            }
        }
    }
}

impl Connection {
    /// Opens a login shell with a terminal. The connection lives as long as the shell.
    ///
    /// # Errors
    /// [`SshError::NoShell`] if the guest's ssh server refuses.
    pub async fn shell(self, size: TerminalSize) -> Result<Shell, SshError> {
        let limit = self.limits.connect;
        let channel =
            timeout(limit, self.shell_channel(size)).await.unwrap_or(Err(SshError::TooLate(limit)))?;
        let (to_output, output) = mpsc::channel(SHELL_BUFFER);
        let (input, from_input) = mpsc::channel(SHELL_BUFFER);
        tokio::spawn(self.pass_on(channel, to_output, from_input));
        Ok(Shell { output, input })
    }

    /// Opens a session in which nothing is requested yet.
    ///
    /// # Errors
    /// [`SshError::TooLate`] if the guest does not answer.
    pub async fn session_channel(&self) -> Result<Channel<client::Msg>, SshError> {
        let limit = self.limits.connect;
        let opened = timeout(limit, self.handle.channel_open_session()).await;
        Ok(opened.map_err(|_| SshError::TooLate(limit))??)
    }

    /// Connects to a TCP port, as seen from the guest.
    ///
    /// # Errors
    /// [`SshError::Broken`] if nothing listens there.
    pub async fn tcp_channel(&self, host: &str, port: u16) -> Result<Channel<client::Msg>, SshError> {
        let limit = self.limits.connect;
        let opening = self.handle.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0);
        let opened = timeout(limit, opening).await;
        Ok(opened.map_err(|_| SshError::TooLate(limit))??)
    }

    async fn shell_channel(&self, size: TerminalSize) -> Result<Channel<client::Msg>, SshError> {
        let mut channel = self.handle.channel_open_session().await?;
        // Servers take it only if they are set up to.
        channel.set_env(false, "LANG", "C.UTF-8").await?;
        let (columns, rows) = (size.columns.into(), size.rows.into());
        channel.request_pty(true, "xterm-256color", columns, rows, 0, 0, &[]).await?;
        channel.request_shell(true).await?;
        let mut accepted = 0;
        while accepted < 2 {
            match channel.wait().await {
                Some(ChannelMsg::Success) => accepted += 1,
                Some(ChannelMsg::Failure | ChannelMsg::Close) => return Err(SshError::NoShell),
                Some(_) => {}
                None => return Err(russh::Error::Disconnect.into()),
            }
        }
        Ok(channel)
    }

    /// Until either side hangs up.
    async fn pass_on(
        self,
        channel: Channel<client::Msg>,
        output: mpsc::Sender<Bytes>,
        mut input: mpsc::Receiver<ShellInput>,
    ) {
        let (mut reader, writer) = channel.split();
        let writing = async {
            while let Some(input) = input.recv().await {
                let written = match input {
                    ShellInput::Bytes(bytes) => writer.data_bytes(bytes).await,
                    ShellInput::Resize(TerminalSize { columns, rows }) => {
                        writer.window_change(columns.into(), rows.into(), 0, 0).await
                    }
                };
                if written.is_err() {
                    break;
                }
            }
        };
        let reading = async {
            while let Some(message) = reader.wait().await {
                let printed = match message {
                    ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => data,
                    ChannelMsg::Eof | ChannelMsg::Close => break,
                    _ => continue,
                };
                if output.send(printed).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
    }
}

/// The keys that can be used: like ssh, it skips those that are missing or encrypted.
async fn private_keys(paths: &[PathBuf]) -> Result<Vec<PrivateKey>, SshError> {
    let (mut keys, mut unusable) = (Vec::new(), Vec::new());
    for path in paths {
        match private_key(path).await {
            Ok(key) => keys.push(key),
            Err(reason) => unusable.push(format!("{} ({reason})", path.display())),
        }
    }
    if keys.is_empty() { Err(SshError::NoKey(unusable.join(", "))) } else { Ok(keys) }
}

/// The error says why it cannot be used.
async fn private_key(path: &Path) -> Result<PrivateKey, String> {
    let read = async {
        let mut text = String::new();
        tokio::fs::File::open(path).await?.take(MAX_KEY_BYTES).read_to_string(&mut text).await?;
        Ok::<_, io::Error>(text)
    };
    let text = read.await.map_err(|error| error.to_string())?;
    // What the decoder complains of could quote the file.
    decode_secret_key(&text, None).map_err(|_| "not a private key without a passphrase".into())
}

fn algorithm_name(kind: AlgorithmKind) -> &'static str {
    match kind {
        AlgorithmKind::Kex => "key exchange",
        AlgorithmKind::Key => "type of host key",
        AlgorithmKind::Cipher => "cipher",
        AlgorithmKind::Compression => "compression",
        AlgorithmKind::Mac => "MAC",
    }
}

/// For servers that know nothing newer: OpenSSH before 6.5 and dropbear before 2013.
const OLD_KEX: [kex::Name; 4] =
    [kex::ECDH_SHA2_NISTP256, kex::ECDH_SHA2_NISTP384, kex::ECDH_SHA2_NISTP521, kex::DH_G14_SHA1];
const OLD_MACS: [mac::Name; 2] = [mac::HMAC_SHA1_ETM, mac::HMAC_SHA1];

/// Prefers the pinned key's algorithm, so that a guest which got a key of another kind still shows this one.
fn preferring(pinned: Option<Algorithm>) -> Preferred {
    let mut preferred = Preferred::DEFAULT;
    preferred.kex.to_mut().extend(OLD_KEX);
    preferred.mac.to_mut().extend(OLD_MACS);
    if let Some(pinned) = pinned {
        let mut kinds = preferred.key.to_vec();
        kinds.sort_by_key(|kind| !same_kind(kind, &pinned));
        preferred.key = kinds.into();
    }
    preferred
}

/// RSA keys are one kind, whatever they sign with.
fn same_kind(one: &Algorithm, other: &Algorithm) -> bool {
    one == other || matches!((one, other), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }))
}

struct HostKeyCheck {
    pinned: Option<String>,
    shown: Arc<OnceLock<String>>,
}

impl client::Handler for HostKeyCheck {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else { return Ok(false) };
        let Ok(shown) = key.to_openssh() else { return Ok(false) };
        // Called at each key exchange: one connection has one key.
        let first = self.shown.get_or_init(|| shown.clone());
        Ok(*first == shown && self.pinned.as_ref().is_none_or(|pinned| *pinned == shown))
    }
}
