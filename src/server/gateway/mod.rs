//! The ssh gateway: users reach their VMs with their own ssh client through one port.
//!
//! ```text
//! client ──key──► whose account ──user name──► which VM ──► one ssh connection to its guest, with the server's key
//!                      │                          │
//!                      ▼ unknown                  ▼ none
//!                  rejected, counted          the list of VMs, ssh -J
//! ```
//! The key says who it is, the user name which VM. A user who may not see a VM gets what they get for one that does not exist.
//! Each channel is passed on to a channel of the guest; connections are forwarded to the VM itself only, and none from it.
//! A connection ends within a second after its key, its account, the access or the VM is gone, as terminals do.

mod backlog;
mod channel;
mod connection;
mod destination;
mod host_key;
mod listing;
mod traffic;

use super::{
    accounts::Accounts,
    accounts::network_of,
    database::Database,
    network::{Host, Network},
    provider::LinkAccess,
    vms::Vms,
};
use crate::model::{ApiError, ErrorCode};
use backlog::Bounded;
use connection::{ClientHandler, Connection};
pub use destination::name_for;
pub use host_key::load_or_create as load_or_create_host_key;
pub use listing::Place;
use russh::{
    Disconnect, MethodKind, MethodSet, Preferred, SshId,
    keys::{Algorithm, PrivateKey},
    server::{Config, run_stream},
};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};

/// Connections of an account.
const MAX_OF_USER: usize = 16;
const MAX_OF_ALL: usize = 200;
/// Connections that have not signed in yet.
const MAX_UNKNOWN: usize = 100;
/// Of those, from one address.
const MAX_UNKNOWN_OF_ADDRESS: usize = 16;
/// How long signing in may take.
const LOGIN_GRACE: Duration = Duration::from_secs(30);
/// How long a connection may take to end after it was asked to.
const FAREWELL: Duration = Duration::from_millis(300);
const KEEPALIVE: Duration = Duration::from_secs(30);
/// After a connection could not be accepted, as when there are no descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);
/// What a client may send on a channel before it must wait, in bytes.
const WINDOW_BYTES: u32 = 256 * 1024;

#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    accounts: Accounts,
    vms: Vms,
    database: Database,
    links: Arc<dyn LinkAccess>,
    network: Arc<Network>,
    idle: Duration,
    next_id: AtomicU64,
    listening: OnceLock<Listening>,
    state: Mutex<State>,
}

/// Where the gateway listens, and with which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    pub port: u16,
    /// Other computers do not reach it.
    pub is_loopback: bool,
    /// `SHA256:…` of the host key.
    pub fingerprint: String,
}

#[derive(Default)]
struct State {
    /// Those that have signed in.
    open: HashMap<u64, Arc<Connection>>,
    /// How many have not, by their clients' networks.
    unknown: HashMap<IpAddr, usize>,
}

impl Gateway {
    /// `idle` is how long a connection stays open on which nothing is sent.
    pub fn new(
        accounts: Accounts,
        vms: Vms,
        database: Database,
        links: Arc<dyn LinkAccess>,
        network: Arc<Network>,
        idle: Duration,
    ) -> Self {
        Self(Arc::new(Inner {
            accounts,
            vms,
            database,
            links,
            network,
            idle,
            next_id: AtomicU64::new(1),
            listening: OnceLock::new(),
            state: Mutex::default(),
        }))
    }

    /// `None` while it does not listen.
    pub fn listening(&self) -> Option<&Listening> {
        self.0.listening.get()
    }

    /// Serves clients until it is dropped.
    pub async fn serve(self, listener: TcpListener, host_key: PrivateKey) {
        let fingerprint = super::accounts::fingerprint(host_key.public_key());
        if let Ok(address) = listener.local_addr() {
            tracing::info!(%address, fingerprint, "the ssh gateway listens");
            let is_loopback = address.ip().to_canonical().is_loopback();
            let _ = self.0.listening.set(Listening { port: address.port(), is_loopback, fingerprint });
        }
        let config = Arc::new(config(host_key));
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(place) = self.admit(peer.ip()) {
                        tokio::spawn(self.clone().connect(stream, peer, config.clone(), place));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the ssh gateway could not accept a connection");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    async fn connect(self, stream: TcpStream, peer: SocketAddr, config: Arc<Config>, place: UnknownPlace) {
        let Ok(local) = stream.local_addr() else { return };
        let _ = stream.set_nodelay(true);
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let (end, mut ending) = mpsc::channel(1);
        let connection = Arc::new(Connection::new(place, id, peer, local, end));
        let stream = Bounded::new(stream, connection.backlog.clone());
        let handler = ClientHandler::new(connection.clone());
        let Ok(Ok(mut session)) = timeout(LOGIN_GRACE, run_stream(config, stream, handler)).await else {
            return;
        };
        let handle = session.handle();
        let grace = async {
            sleep(LOGIN_GRACE).await;
            if connection.user_id().is_some() {
                std::future::pending::<()>().await;
            }
        };
        let asked = tokio::select! {
            _ = &mut session => None,
            () = grace => Some("It took too long to sign in.".to_owned()),
            Some(reason) = ending.recv() => Some(reason),
        };
        if let Some(reason) = &asked {
            let farewell = async {
                let _ = handle.disconnect(Disconnect::ByApplication, reason.clone(), "en".into()).await;
                let _ = session.await;
            };
            let _ = timeout(FAREWELL, farewell).await;
        }
        connection.backlog.close();
        self.state().open.remove(&id);
        if connection.has_failed() {
            self.0.accounts.count_failed_ssh_sign_in(peer.ip());
        }
        connection.record_end(asked.as_deref().unwrap_or("The client disconnected.")).await;
    }

    /// A place for a client that has not signed in yet, unless there are too many or too many have failed.
    fn admit(&self, address: IpAddr) -> Option<UnknownPlace> {
        if self.0.accounts.check_ssh_sign_in(address).is_err() {
            return None;
        }
        let network = network_of(address);
        let mut state = self.state();
        let all: usize = state.unknown.values().sum();
        let of_network = state.unknown.entry(network).or_default();
        if all >= MAX_UNKNOWN || *of_network >= MAX_UNKNOWN_OF_ADDRESS {
            return None;
        }
        *of_network += 1;
        Some(UnknownPlace { gateway: self.clone(), network })
    }

    /// Lists a connection that has signed in.
    ///
    /// # Errors
    /// `TooMany`.
    fn enlist(&self, connection: &Arc<Connection>, user_id: i64) -> Result<(), ApiError> {
        let mut state = self.state();
        let of_user = state.open.values().filter(|open| open.user_id() == Some(user_id)).count();
        let too_many = |text: &str| Err(ApiError::new(ErrorCode::TooMany, text));
        if of_user >= MAX_OF_USER {
            return too_many("You have too many open ssh connections. Close one first.");
        }
        if state.open.len() >= MAX_OF_ALL {
            return too_many("Too many ssh connections are open on this server. Try again later.");
        }
        state.open.insert(connection.id, connection.clone());
        drop(state);
        connection.count_as_known();
        Ok(())
    }

    /// Ends the connections whose key or access is no more, whose VM does not run, or that are idle. Called several times a
    /// second: it reads what is in memory.
    pub async fn end_unallowed(&self) {
        let all: Vec<_> = self.state().open.values().cloned().collect();
        for open in all {
            if let Some(reason) = open.reason_to_end(self.0.idle).await {
                open.end(reason);
            }
        }
    }

    /// Ends all connections.
    pub fn end_all(&self, reason: &str) {
        for open in self.state().open.values() {
            open.end(reason.to_owned());
        }
    }

    /// Where a client that is connected to `local` finds the gateway.
    fn place(&self, local: SocketAddr) -> Place {
        let public = self.0.network.public_url().map(|origin| host_name(&origin.authority.host));
        let host = public.unwrap_or_else(|| local.ip().to_canonical().to_string());
        Place { host, port: local.port() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As ssh clients take it: addresses without brackets.
pub fn host_name(host: &Host) -> String {
    match host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
    }
}

/// Held by a client until it signs in.
struct UnknownPlace {
    gateway: Gateway,
    network: IpAddr,
}

impl Drop for UnknownPlace {
    fn drop(&mut self) {
        let mut state = self.gateway.state();
        if let Some(count) = state.unknown.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                state.unknown.remove(&self.network);
            }
        }
    }
}

/// Public keys only, with the algorithms that russh prefers: they are among those of current OpenSSH.
fn config(host_key: PrivateKey) -> Config {
    let mut preferred = Preferred::DEFAULT;
    preferred.key.to_mut().retain(|algorithm| !matches!(algorithm, Algorithm::Rsa { hash: None }));
    Config {
        server_id: SshId::Standard("SSH-2.0-TwargaCloud".into()),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: Duration::from_millis(300),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key],
        window_size: WINDOW_BYTES,
        channel_buffer_size: 8,
        preferred,
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        nodelay: true,
        ..Config::default()
    }
}
