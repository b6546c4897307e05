//! A client's connection: who it is, and what its channels may do.

use super::{
    Gateway, UnknownPlace,
    backlog::Backlog,
    channel::{self, Start},
    destination::{JUMP_PORT, VmRef, forwarded_host},
    listing::listing,
    traffic::Traffic,
};
use crate::{
    model::{ApiError, CurrentUser, ErrorCode},
    server::{
        accounts::{self, KeyOwner},
        events::NewEvent,
        provider::{GuestChannel, GuestLink},
        request_origin::{self, RequestOrigin},
        terminals::{reason_to_disconnect, running_domain},
        vms::{Operate, Scope, VmAccess},
    },
};
use russh::{
    Channel, ChannelId, ChannelOpenFailure, Disconnect, Pty, Sig,
    keys::Algorithm,
    server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey},
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};

/// Channels of a connection that are open at once.
const MAX_CHANNELS: usize = 64;

/// Who a connection has proven to be.
#[derive(Debug, Clone)]
struct SignedIn {
    fingerprint: String,
    owner: KeyOwner,
    /// The user name that the client gave, which names a VM.
    login: String,
}

/// A VM that a connection uses.
#[derive(Debug, Clone)]
struct UsedVm {
    vm_id: i64,
    name: String,
    domain_uuid: String,
}

/// A connection, as its tasks and the gateway's list share it.
pub struct Connection {
    gateway: Gateway,
    pub id: u64,
    pub peer: SocketAddr,
    local: SocketAddr,
    pub backlog: Backlog,
    traffic: Arc<Traffic>,
    /// Takes the reason, as a sentence.
    end: mpsc::Sender<String>,
    /// Until it signs in.
    place: std::sync::Mutex<Option<UnknownPlace>>,
    signed_in: OnceLock<SignedIn>,
    /// Keys were offered that nobody has added.
    has_failed: AtomicBool,
    /// By VM. Locked while one is opened.
    links: Mutex<HashMap<i64, Arc<dyn GuestLink>>>,
    used: std::sync::Mutex<Vec<UsedVm>>,
}

impl Connection {
    pub(super) fn new(
        place: UnknownPlace,
        id: u64,
        peer: SocketAddr,
        local: SocketAddr,
        end: mpsc::Sender<String>,
    ) -> Self {
        Self {
            gateway: place.gateway.clone(),
            id,
            peer,
            local,
            backlog: Backlog::default(),
            traffic: Arc::new(Traffic::new()),
            end,
            place: std::sync::Mutex::new(Some(place)),
            signed_in: OnceLock::new(),
            has_failed: AtomicBool::new(false),
            links: Mutex::default(),
            used: std::sync::Mutex::default(),
        }
    }

    pub fn user_id(&self) -> Option<i64> {
        self.signed_in.get().map(|signed_in| signed_in.owner.user.id)
    }

    /// It counts among those that have signed in from now on.
    pub(super) fn count_as_known(&self) {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(place);
    }

    /// Whether it has tried to sign in and could not.
    pub fn has_failed(&self) -> bool {
        self.signed_in.get().is_none() && self.has_failed.load(Ordering::Relaxed)
    }

    pub fn end(&self, reason: String) {
        // It fails when it is ending already.
        let _ = self.end.try_send(reason);
    }

    /// Why it must end now, as a sentence.
    pub async fn reason_to_end(&self, idle_timeout: Duration) -> Option<String> {
        let signed_in = self.signed_in.get()?;
        let user = match self.user(signed_in).await {
            Ok(Some(user)) => user,
            Ok(None) => return Some("The key was deleted, or the account was deactivated.".into()),
            // The database cannot be read right now, which says nothing about the key.
            Err(_) => return None,
        };
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for UsedVm { vm_id, domain_uuid, .. } in used {
            let reason = reason_to_disconnect(&self.gateway.0.vms, &user, vm_id, &domain_uuid).await;
            if reason.is_some() {
                return reason;
            }
        }
        (self.traffic.idle() >= idle_timeout)
            .then(|| format!("Nothing was sent for {} minutes.", idle_timeout.as_secs() / 60))
    }

    /// The key's user, as long as it is theirs.
    async fn user(&self, signed_in: &SignedIn) -> Result<Option<CurrentUser>, ApiError> {
        let owner = self.gateway.0.accounts.owner_of_ssh_key(&signed_in.fingerprint).await?;
        Ok(owner.map(|owner| owner.user).filter(|user| user.id == signed_in.owner.user.id))
    }

    async fn current_user(&self) -> Result<CurrentUser, ApiError> {
        let signed_in = self.signed_in.get().ok_or_else(ApiError::not_signed_in)?;
        self.user(signed_in).await?.ok_or_else(ApiError::not_signed_in)
    }

    /// The VM of a name, if the user may see one.
    async fn named_vm(&self, user: &CurrentUser, name: &str) -> Result<Option<VmAccess<Operate>>, ApiError> {
        let vms = &self.gateway.0.vms;
        let visible = vms.list(Scope::of(user)).await?;
        match VmRef::parse(name).find(&visible, user) {
            Some(vm) => vms.access(user, vm.id).await.map(Some),
            None => Ok(None),
        }
    }

    /// The connection to a VM's guest, which is opened with its first channel.
    async fn link(&self, access: &VmAccess<Operate>) -> Result<Arc<dyn GuestLink>, ApiError> {
        let (vm, gateway) = (access.vm(), &self.gateway.0);
        let mut links = self.links.lock().await;
        if let Some(link) = links.get(&vm.id) {
            return Ok(link.clone());
        }
        let machine = gateway.vms.machine_of(access).await?;
        let domain_uuid = running_domain(vm, &machine)?;
        let link = gateway.links.connect(vm.id, &machine, &domain_uuid).await?;
        let key = self.signed_in.get().map_or("", |signed_in| signed_in.owner.key_name.as_str());
        let text =
            format!("{} connected to {} over ssh with the key {key}.", access.user().username, vm.name);
        let event = NewEvent::info("ssh_session_opened", Some(vm.id), text).by(access.user().id);
        self.record(event).await;
        links.insert(vm.id, link.clone());
        let used = UsedVm { vm_id: vm.id, name: vm.name.clone(), domain_uuid };
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(used);
        Ok(link)
    }

    /// Records the end of its sessions.
    pub async fn record_end(&self, reason: &str) {
        let Some(SignedIn { owner, .. }) = self.signed_in.get() else { return };
        let secs = self.traffic.begun.elapsed().as_secs();
        let (input, output) = (&self.traffic.input_bytes, &self.traffic.output_bytes);
        let ended = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        for UsedVm { vm_id, name, .. } in ended {
            let text = format!(
                "The ssh session of {} on {name} ended after {} m {} s, with {} bytes sent and {} bytes received. {reason}",
                owner.user.username,
                secs / 60,
                secs % 60,
                input.load(Ordering::Relaxed),
                output.load(Ordering::Relaxed)
            );
            self.record(NewEvent::info("ssh_session_closed", Some(vm_id), text).by(owner.user.id)).await;
        }
    }

    async fn record(&self, event: NewEvent) {
        let written = async {
            let mut tx = self.gateway.0.database.write().await?;
            event.write(&mut tx).await?;
            tx.commit().await
        };
        let origin = RequestOrigin::new(request_origin::new_id(), Some(self.peer.ip().to_canonical()));
        if let Err(error) = request_origin::serve(Arc::new(origin), written).await {
            tracing::error!(%error, event.text, "an event could not be written");
        }
    }

    /// Serves a session: in a VM, or the list of VMs.
    async fn serve_session(&self, client: channel::ClientChannel) {
        let Some(session) = client.session().await else { return };
        match self.open_session(session.start).await {
            Ok(Opened::Guest(guest)) => session.pass_on(guest).await,
            Ok(Opened::List(text)) => session.print(&text).await,
            Err(error) => session.fail(&error).await,
        }
    }

    async fn open_session(&self, start: Start) -> Result<Opened, ApiError> {
        let user = self.current_user().await?;
        let login = self.signed_in.get().map_or("", |signed_in| signed_in.login.as_str());
        if let Some(access) = self.named_vm(&user, login).await? {
            return Ok(Opened::Guest(self.link(&access).await?.open_session().await?));
        }
        if start == Start::Other {
            let text = "No VM of yours has this user name. Connect without a command to list your VMs.";
            return Err(ApiError::new(ErrorCode::NotFound, text));
        }
        let vms = self.gateway.0.vms.list(Scope::of(&user)).await?;
        Ok(Opened::List(listing(&user, &vms, &self.gateway.place(self.local))))
    }

    /// Connects to a port of a VM: the one that the user name means, or, for `ssh -J`, the one that `host` means.
    async fn open_tcp(&self, host: &str, port: u32) -> Result<GuestChannel, ApiError> {
        let refused = || ApiError::forbidden("Connections are forwarded to the VM itself only.");
        let user = self.current_user().await?;
        let login = self.signed_in.get().map_or("", |signed_in| signed_in.login.as_str());
        let (access, host) = match self.named_vm(&user, login).await? {
            Some(access) => {
                let host = forwarded_host(host, access.vm()).ok_or_else(refused)?;
                (access, host)
            }
            None if port == JUMP_PORT => {
                let access = self.named_vm(&user, host).await?.ok_or_else(refused)?;
                (access, "localhost".to_owned())
            }
            None => return Err(refused()),
        };
        let port = u16::try_from(port).map_err(|_| refused())?;
        self.link(&access).await?.open_tcp(&host, port).await
    }
}

enum Opened {
    Guest(GuestChannel),
    List(String),
}

/// Serves a connection's requests. Dropping it ends its channels.
pub struct ClientHandler {
    connection: Arc<Connection>,
    channels: JoinSet<()>,
}

impl ClientHandler {
    pub fn new(connection: Arc<Connection>) -> Self {
        Self { connection, channels: JoinSet::new() }
    }

    /// The owner of an offered key, unless it would sign with SHA-1.
    async fn owner(&self, offered: &russh::keys::PublicKey, algorithm: &Algorithm) -> Option<SignedIn> {
        if matches!(algorithm, Algorithm::Rsa { hash: None }) {
            return None;
        }
        let fingerprint = accounts::fingerprint(offered);
        let owner = self.connection.gateway.0.accounts.owner_of_ssh_key(&fingerprint).await.ok().flatten();
        if owner.is_none() {
            self.connection.has_failed.store(true, Ordering::Relaxed);
        }
        Some(SignedIn { fingerprint, owner: owner?, login: String::new() })
    }

    fn has_room(&mut self) -> bool {
        while self.channels.try_join_next().is_some() {}
        self.channels.len() < MAX_CHANNELS
    }
}

impl Handler for ClientHandler {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        let owner = self.owner(offer.public_key, offer.algorithm).await;
        Ok(if owner.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let Some(owner) = self.owner(key.public_key, key.algorithm).await else { return Ok(Auth::reject()) };
        let _ = self.connection.signed_in.set(SignedIn { login: user.to_owned(), ..owner });
        Ok(Auth::Accept)
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Self::Error> {
        let Some(signed_in) = self.connection.signed_in.get() else {
            return Err(russh::Error::NotAuthenticated);
        };
        let gateway = &self.connection.gateway;
        if let Err(error) = gateway.enlist(&self.connection, signed_in.owner.user.id) {
            session.disconnect(Disconnect::TooManyConnections, &error.text, "en")?;
            self.connection.end(error.text);
            return Ok(());
        }
        if let Err(error) = gateway.0.accounts.note_use_of_ssh_key(signed_in.owner.key_id).await {
            tracing::warn!(error = error.text, "the last use of an ssh key could not be saved");
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if !self.has_room() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let (connection, handle) = (self.connection.clone(), session.handle());
        reply.accept().await;
        self.channels.spawn(async move {
            let (backlog, traffic) = (connection.backlog.clone(), connection.traffic.clone());
            channel::serve(channel, handle, backlog, traffic, async |client| {
                connection.serve_session(client).await;
            })
            .await;
        });
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host_to_connect: &str,
        port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if !self.has_room() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let (connection, handle) = (self.connection.clone(), session.handle());
        let (host, port) = (host_to_connect.to_owned(), port_to_connect);
        self.channels.spawn(async move {
            let guest = match connection.open_tcp(&host, port).await {
                Ok(guest) => guest,
                Err(error) => {
                    tracing::debug!(error = error.text, "a forwarded connection was refused");
                    let refusal = if error.code == ErrorCode::Unavailable {
                        ChannelOpenFailure::ConnectFailed
                    } else {
                        ChannelOpenFailure::AdministrativelyProhibited
                    };
                    return reply.reject(refusal).await;
                }
            };
            reply.accept().await;
            let (backlog, traffic) = (connection.backlog.clone(), connection.traffic.clone());
            channel::serve(channel, handle, backlog, traffic, |client| client.pass_on(guest)).await;
        });
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _pixel_width: u32,
        _pixel_height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        _columns: u32,
        _rows: u32,
        _pixel_width: u32,
        _pixel_height: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn signal(
        &mut self,
        channel: ChannelId,
        _signal: Sig,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single_connection: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}
