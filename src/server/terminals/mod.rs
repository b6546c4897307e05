//! Terminals: shells in guests that live on the server, so that a lost connection or a reload comes back to them.
//!
//! Who opened one may attach to it, with a ticket that is used once; admins may list and end all. A terminal ends as soon as its
//! user's session or access does, or its VM does not run any more (see [`Terminals::end_unallowed`]).

mod allowed;
mod scrollback;
mod terminal;

use super::{
    accounts::{Accounts, SessionKey, Token},
    database::{Database, now},
    events::NewEvent,
    provider::{Machine, ShellAccess},
    request_origin,
    vms::{Operate, VmAccess, Vms},
};
use crate::model::{
    ApiError, CurrentUser, ErrorCode, Role, TERMINAL_TICKET_SECS, TerminalSize, TerminalTicket, TerminalView,
    UtcMillis,
};
pub use allowed::{reason_to_disconnect, running_domain};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
pub use terminal::{Client, Command, TerminalTimeouts, ToClient};
use terminal::{Progress, run};
use tokio::sync::mpsc;

/// How many terminals may be open.
#[derive(Debug, Clone, Copy)]
pub struct TerminalLimits {
    pub of_user: usize,
    pub of_all: usize,
}

impl Default for TerminalLimits {
    fn default() -> Self {
        Self { of_user: 16, of_all: 200 }
    }
}

/// How long a terminal stays open for a client that comes back.
pub const DETACHED_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Messages from a client that wait for the terminal.
const COMMAND_BUFFER: usize = 16;

#[derive(Clone)]
pub struct Terminals(Arc<Inner>);

struct Inner {
    database: Database,
    shells: Arc<dyn ShellAccess>,
    limits: TerminalLimits,
    timeouts: TerminalTimeouts,
    next_id: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<u64, Arc<Open>>,
    /// Users whose shells are being opened; they count for the limits.
    opening: Vec<i64>,
    tickets: HashMap<Vec<u8>, Ticket>,
}

struct Ticket {
    terminal_id: u64,
    user_id: i64,
    valid_until: Instant,
}

struct Open {
    id: u64,
    vm_id: i64,
    vm_name: String,
    domain_uuid: String,
    user: CurrentUser,
    session: SessionKey,
    opened_at: UtcMillis,
    begun: Instant,
    progress: Arc<Progress>,
    commands: mpsc::Sender<Command>,
}

impl Terminals {
    pub fn new(database: Database, shells: Arc<dyn ShellAccess>, idle: Duration) -> Self {
        let timeouts = TerminalTimeouts { detached: DETACHED_TIMEOUT, idle };
        Self::with_limits(database, shells, TerminalLimits::default(), timeouts)
    }

    pub fn with_limits(
        database: Database,
        shells: Arc<dyn ShellAccess>,
        limits: TerminalLimits,
        timeouts: TerminalTimeouts,
    ) -> Self {
        let next_id = AtomicU64::new(1);
        Self(Arc::new(Inner { database, shells, limits, timeouts, next_id, state: Mutex::default() }))
    }

    /// Opens a shell in a VM; gives a ticket for the first connection to it.
    ///
    /// # Errors
    /// `Conflict` when the VM does not run; `TooMany` when too many terminals are open; otherwise why the guest cannot be
    /// reached.
    pub async fn open(
        &self,
        access: &VmAccess<Operate>,
        machine: &Machine,
        session: SessionKey,
        size: TerminalSize,
    ) -> Result<TerminalTicket, ApiError> {
        let (vm, user) = (access.vm(), access.user());
        let domain_uuid = running_domain(vm, machine)?;
        let _opening = self.reserve(user.id)?;
        let shell = self.0.shells.open_shell(vm.id, machine, &domain_uuid, size.clamped()).await?;
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let progress = Arc::new(Progress::default());
        let (commands, receiver) = mpsc::channel(COMMAND_BUFFER);
        let open = Arc::new(Open {
            id,
            vm_id: vm.id,
            vm_name: vm.name.clone(),
            domain_uuid,
            user: user.clone(),
            session,
            opened_at: now(),
            begun: Instant::now(),
            progress: progress.clone(),
            commands,
        });
        let ticket = self.issue_ticket(id, user.id)?;
        let text = format!("{} opened a terminal on {}.", user.username, vm.name);
        self.record(NewEvent::info("terminal_opened", Some(vm.id), text).by(user.id)).await;
        self.state().open.insert(id, open.clone());
        let terminals = self.clone();
        tokio::spawn(async move {
            let reason = run(shell, receiver, terminals.0.timeouts, progress).await;
            terminals.state().open.remove(&open.id);
            terminals.record(open.closed(&reason)).await;
        });
        Ok(ticket)
    }

    /// A ticket for another connection to a terminal of the user.
    ///
    /// # Errors
    /// `NotFound` if the user has no such terminal open.
    pub fn ticket(&self, user: &CurrentUser, terminal_id: u64) -> Result<TerminalTicket, ApiError> {
        self.find(user, terminal_id)?;
        self.issue_ticket(terminal_id, user.id)
    }

    /// Uses up a ticket; gives the way to the terminal.
    ///
    /// # Errors
    /// `Forbidden` if it is not valid, or not any more; `NotFound` if the terminal has ended.
    pub fn redeem(
        &self,
        user: &CurrentUser,
        terminal_id: u64,
        ticket: &str,
    ) -> Result<mpsc::Sender<Command>, ApiError> {
        let found = Token::hash_of(ticket).and_then(|hash| self.state().tickets.remove(&hash));
        let is_valid = found.is_some_and(|ticket| {
            ticket.terminal_id == terminal_id
                && ticket.user_id == user.id
                && ticket.valid_until > Instant::now()
        });
        if !is_valid {
            return Err(ApiError::forbidden("This ticket is not valid any more. Request another one."));
        }
        Ok(self.find(user, terminal_id)?.commands.clone())
    }

    /// The open terminals of the user, or of everyone for an admin; those of one VM if it is named. Oldest first.
    pub fn list(&self, user: &CurrentUser, vm_id: Option<i64>) -> Vec<TerminalView> {
        let state = self.state();
        let is_listed = |open: &&Arc<Open>| {
            vm_id.is_none_or(|vm_id| vm_id == open.vm_id)
                && (open.user.id == user.id || (vm_id.is_none() && user.role == Role::Admin))
        };
        let mut views: Vec<_> = state.open.values().filter(is_listed).map(|open| open.view()).collect();
        views.sort_by_key(|view| view.id);
        views
    }

    /// The VM that a terminal of the user is on.
    ///
    /// # Errors
    /// `NotFound` if the user has no such terminal open.
    pub fn vm_id(&self, user: &CurrentUser, terminal_id: u64) -> Result<i64, ApiError> {
        Ok(self.find(user, terminal_id)?.vm_id)
    }

    /// Ends a terminal of the user, or anyone's for an admin.
    ///
    /// # Errors
    /// `NotFound` if there is none that the user may end.
    pub async fn end(&self, user: &CurrentUser, terminal_id: u64) -> Result<(), ApiError> {
        let found = self.state().open.get(&terminal_id).cloned();
        let open = found
            .filter(|open| open.user.id == user.id || user.role == Role::Admin)
            .ok_or_else(|| ApiError::not_found("terminal"))?;
        open.end(format!("{} ended it.", user.username)).await;
        Ok(())
    }

    /// Ends all terminals of a user.
    pub async fn end_of(&self, user: &CurrentUser, reason: &str) {
        let of_user: Vec<_> =
            self.state().open.values().filter(|open| open.user.id == user.id).cloned().collect();
        for open in of_user {
            open.end(reason.to_owned()).await;
        }
    }

    /// Ends all terminals.
    pub async fn end_all(&self, reason: &str) {
        let all: Vec<_> = self.state().open.values().cloned().collect();
        for open in all {
            open.end(reason.to_owned()).await;
        }
    }

    /// Ends the terminals whose user's session or access has ended, or whose VM does not run any more. Called several times a
    /// second: it reads what is in memory.
    pub async fn end_unallowed(&self, accounts: &Accounts, vms: &Vms) {
        let all: Vec<_> = self.state().open.values().cloned().collect();
        for open in all {
            if let Some(reason) = open.reason_to_end(accounts, vms).await {
                open.end(reason).await;
            }
        }
        let now = Instant::now();
        self.state().tickets.retain(|_, ticket| ticket.valid_until > now);
    }

    /// Holds a place for a terminal that is being opened.
    fn reserve(&self, user_id: i64) -> Result<Opening<'_>, ApiError> {
        let mut state = self.state();
        let of_user = state.open.values().filter(|open| open.user.id == user_id).count()
            + state.opening.iter().filter(|id| **id == user_id).count();
        let too_many = |text: &str| Err(ApiError::new(ErrorCode::TooMany, text));
        if of_user >= self.0.limits.of_user {
            return too_many("You have too many open terminals. End one first.");
        }
        if state.open.len() + state.opening.len() >= self.0.limits.of_all {
            return too_many("Too many terminals are open on this server. Try again later.");
        }
        state.opening.push(user_id);
        Ok(Opening { terminals: self, user_id })
    }

    fn issue_ticket(&self, terminal_id: u64, user_id: i64) -> Result<TerminalTicket, ApiError> {
        let (token, hash) = Token::random()?;
        let valid_until = Instant::now() + Duration::from_secs(TERMINAL_TICKET_SECS);
        self.state().tickets.insert(hash, Ticket { terminal_id, user_id, valid_until });
        Ok(TerminalTicket { terminal_id, ticket: token.expose().to_owned() })
    }

    fn find(&self, user: &CurrentUser, terminal_id: u64) -> Result<Arc<Open>, ApiError> {
        let found = self.state().open.get(&terminal_id).cloned();
        if found.as_ref().is_some_and(|open| open.user.id != user.id) {
            request_origin::note_hidden();
        }
        found.filter(|open| open.user.id == user.id).ok_or_else(|| ApiError::not_found("terminal"))
    }

    async fn record(&self, event: NewEvent) {
        let written = async {
            let mut tx = self.0.database.write().await?;
            event.write(&mut tx).await?;
            tx.commit().await
        };
        if let Err(error) = written.await {
            tracing::error!(%error, event.text, "an event could not be written");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Opening<'a> {
    terminals: &'a Terminals,
    user_id: i64,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut state = self.terminals.state();
        if let Some(place) = state.opening.iter().position(|id| *id == self.user_id) {
            state.opening.swap_remove(place);
        }
    }
}

impl Open {
    async fn end(&self, reason: String) {
        // It fails when the terminal has just ended.
        let _ = self.commands.send(Command::End(reason)).await;
    }

    async fn reason_to_end(&self, accounts: &Accounts, vms: &Vms) -> Option<String> {
        let user = match accounts.user_of_session(&self.session).await {
            Ok(Some(user)) => user,
            Ok(None) => return Some("You are signed out.".into()),
            // The database cannot be read right now, which says nothing about the session.
            Err(_) => return None,
        };
        reason_to_disconnect(vms, &user, self.vm_id, &self.domain_uuid).await
    }

    fn view(&self) -> TerminalView {
        TerminalView {
            id: self.id,
            vm_id: self.vm_id,
            vm_name: self.vm_name.clone(),
            user: self.user.username.clone(),
            opened_at: self.opened_at,
            is_attached: self.progress.is_attached.load(Ordering::Relaxed),
            input_bytes: self.progress.input_bytes.load(Ordering::Relaxed),
            output_bytes: self.progress.output_bytes.load(Ordering::Relaxed),
        }
    }

    fn closed(&self, reason: &str) -> NewEvent {
        let view = self.view();
        let secs = self.begun.elapsed().as_secs();
        let text = format!(
            "The terminal of {} on {} ended after {} m {} s, with {} bytes typed and {} bytes printed. {reason}",
            view.user,
            view.vm_name,
            secs / 60,
            secs % 60,
            view.input_bytes,
            view.output_bytes
        );
        NewEvent::info("terminal_closed", Some(self.vm_id), text).by(self.user.id)
    }
}
