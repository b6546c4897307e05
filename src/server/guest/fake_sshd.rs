//! A fake guest for tests: an ssh server on loopback.

use crate::server::provider::SshConfig;
use russh::{
    Channel, ChannelId, MethodKind, MethodSet, Preferred,
    keys::{
        Algorithm, HashAlg, PrivateKey, PublicKey,
        ssh_key::{Cipher, Kdf, LineEnding, private::Ed25519Keypair},
    },
    server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey, run_stream},
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Notify,
    task::JoinHandle,
};

/// What the guest does with a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Prints(String),
    /// Prints and keeps the channel open.
    PrintsAndStays(String),
    /// Never answers a command.
    Hangs,
    /// Prints for ever.
    Babbles,
}

#[derive(Debug, Default)]
struct Counts {
    connections: u32,
    commands: u32,
    last_command: String,
    input_ended: bool,
}

/// Runs until it is dropped.
pub struct Guest {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    reply: Mutex<Reply>,
    counts: Mutex<Counts>,
    hang_up: Notify,
    trusted: PublicKey,
    knows_rsa_sha2: bool,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.hang_up.notify_waiters();
    }
}

pub fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

/// The key that the guests let in.
const OURS: u8 = 1;

/// Writes our private key and returns the ssh configuration for `address`.
pub fn ssh_config_for(address: SocketAddr, folder: &Path) -> SshConfig {
    let identity_files = vec![write_key(folder, "private_key", &key(OURS))];
    SshConfig { host: address.ip().to_string(), port: address.port(), user: "vagrant".into(), identity_files }
}

/// Returns the file's path.
pub fn write_key(folder: &Path, name: &str, key: &PrivateKey) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, key.to_openssh(LineEnding::LF).unwrap()).unwrap();
    path
}

/// Our key under a passphrase.
pub fn encrypted_key() -> PrivateKey {
    key(OURS)
        .encrypt_with(Cipher::Aes256Ctr, Kdf::Bcrypt { salt: vec![1; 16], rounds: 1 }, 1, "secret")
        .unwrap()
}

impl Guest {
    /// A guest whose host key is made of `seed`.
    pub async fn start(seed: u8, reply: Reply) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), seed, reply).await
    }

    pub async fn start_at(address: SocketAddr, seed: u8, reply: Reply) -> Self {
        Self::start_with(address, seed, reply, Preferred::default(), &key(OURS)).await
    }

    /// A guest with an ssh server of other algorithms, which lets `trusted` in. It rejects RSA signatures with hashes that
    /// are not among them.
    pub async fn start_with(
        address: SocketAddr,
        seed: u8,
        reply: Reply,
        preferred: Preferred,
        trusted: &PrivateKey,
    ) -> Self {
        let knows_rsa_sha2 = preferred.key.contains(&Algorithm::Rsa { hash: Some(HashAlg::Sha256) });
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::new(Config {
            keys: vec![key(seed)],
            methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
            auth_rejection_time: Duration::from_millis(1),
            inactivity_timeout: None,
            nodelay: true,
            preferred,
            ..Config::default()
        });
        let shared = Arc::new(Shared {
            reply: Mutex::new(reply),
            counts: Mutex::default(),
            hang_up: Notify::new(),
            trusted: trusted.public_key().clone(),
            knows_rsa_sha2,
        });
        let task = tokio::spawn(accept(listener, config, shared.clone()));
        Self { address, shared, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn reply(&self, reply: Reply) {
        *self.shared.reply.lock().unwrap() = reply;
    }

    /// Ends all connections; new ones are taken.
    pub fn hang_up(&self) {
        self.shared.hang_up.notify_waiters();
    }

    /// The number of authenticated connections.
    pub fn connections(&self) -> u32 {
        self.shared.counts.lock().unwrap().connections
    }

    pub fn commands(&self) -> u32 {
        self.shared.counts.lock().unwrap().commands
    }

    pub fn last_command(&self) -> String {
        self.shared.counts.lock().unwrap().last_command.clone()
    }

    /// Whether the caller has said that a command gets no (more) input.
    pub fn input_ended(&self) -> bool {
        self.shared.counts.lock().unwrap().input_ended
    }
}

/// A guest that greets its first caller and then never comes to the key exchange; it is silent, or it `chatters`: it
/// sends packets that mean nothing. The task ends when the caller has left.
pub async fn stalling(chatters: bool) -> (SocketAddr, JoinHandle<()>) {
    /// SSH_MSG_IGNORE with an empty text: length, padding's length, type, text's length, padding.
    const IGNORE: [u8; 16] = [0, 0, 0, 12, 6, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-stalling\r\n").await.unwrap();
        let mut heard = [0; 4096];
        let mut ticker = tokio::time::interval(Duration::from_millis(10));
        loop {
            tokio::select! {
                read = stream.read(&mut heard) => if matches!(read, Ok(0) | Err(_)) { return },
                _ = ticker.tick(), if chatters => if stream.write_all(&IGNORE).await.is_err() { return },
            }
        }
    });
    (address, task)
}

async fn accept(listener: TcpListener, config: Arc<Config>, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (config, shared) = (config.clone(), shared.clone());
        tokio::spawn(async move {
            let serving = async {
                if let Ok(session) = run_stream(config, stream, Sshd(shared.clone())).await {
                    let handle = session.handle();
                    tokio::select! {
                        _ = session => {}
                        () = shared.hang_up.notified() => {
                            let why = russh::Disconnect::ByApplication;
                            let _ = handle.disconnect(why, String::new(), String::new()).await;
                        }
                    }
                }
            };
            serving.await;
        });
    }
}

struct Sshd(Arc<Shared>);

impl Handler for Sshd {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let is_rsa_sha2 = matches!(key.algorithm, Algorithm::Rsa { hash: Some(_) });
        let known = user == "vagrant"
            && key.public_key.key_data() == self.0.trusted.key_data()
            && (self.0.knows_rsa_sha2 || !is_rsa_sha2);
        if known {
            self.0.counts.lock().unwrap().connections += 1;
        }
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        {
            let mut counts = self.0.counts.lock().unwrap();
            counts.commands += 1;
            counts.last_command = String::from_utf8_lossy(command).into_owned();
        }
        session.channel_success(channel)?;
        let reply = self.0.reply.lock().unwrap().clone();
        match reply {
            Reply::Prints(text) => {
                session.data(channel, text.into_bytes())?;
                session.exit_status_request(channel, 0)?;
                session.eof(channel)?;
                session.close(channel)?;
            }
            Reply::PrintsAndStays(text) => session.data(channel, text.into_bytes())?,
            Reply::Hangs => {}
            Reply::Babbles => session.data(channel, vec![b'x'; 1 << 20])?,
        }
        Ok(())
    }

    async fn channel_eof(&mut self, _: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.0.counts.lock().unwrap().input_ended = true;
        Ok(())
    }
}
