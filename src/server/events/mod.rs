//! The event log: stored in the database, and each event also a log line. Stored events are append-only and chained by
//! hash (`chain.rs`).
//!
//! What somebody could cause without bound is counted: refused access (`refusals.rs`), and repetitions (`repeats.rs`).

mod audit;
mod chain;
mod refusals;
mod repeats;
mod search;
#[cfg(test)]
mod tests;

use super::{
    clock::Clock,
    database::{Database, now},
    request_origin::{self, RequestOrigin},
};
use crate::model::{ApiError, CurrentUser, Event, EventOrigin, Severity, UtcMillis};
pub use audit::{AuditError, Verified, delete_before, verify};
use chain::StoredEvent;
pub use chain::{Broken, Hash};
pub use refusals::Refusals;
pub use repeats::Repeats;
pub use search::{Found, Search};
use sqlx::{FromRow, Sqlite, Transaction};
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Events {
    database: Database,
    refusals: Refusals,
    repeats: Repeats,
}

/// An event that is about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub kind: &'static str,
    pub severity: Severity,
    pub vm_id: Option<i64>,
    /// The account that caused it or that it concerns.
    pub account_id: Option<i64>,
    /// Who did it, where `account_id` is whom it is about.
    pub done_by: Option<i64>,
    pub text: String,
    /// The request that caused it, if that is not the current one.
    pub origin: Option<Arc<RequestOrigin>>,
}

impl NewEvent {
    pub fn new(kind: &'static str, severity: Severity, vm_id: Option<i64>, text: impl Into<String>) -> Self {
        Self { kind, severity, vm_id, account_id: None, done_by: None, text: text.into(), origin: None }
    }

    pub fn info(kind: &'static str, vm_id: Option<i64>, text: impl Into<String>) -> Self {
        Self::new(kind, Severity::Info, vm_id, text)
    }

    pub fn warning(kind: &'static str, vm_id: Option<i64>, text: impl Into<String>) -> Self {
        Self::new(kind, Severity::Warning, vm_id, text)
    }

    pub fn error(kind: &'static str, vm_id: Option<i64>, text: impl Into<String>) -> Self {
        Self::new(kind, Severity::Error, vm_id, text)
    }

    /// The same, done by this account or about it.
    #[must_use]
    pub fn by(self, account_id: i64) -> Self {
        Self { account_id: Some(account_id), ..self }
    }

    /// The same about `account_id`, done by another user.
    #[must_use]
    pub fn about(self, account_id: i64, done_by: i64) -> Self {
        Self { account_id: Some(account_id), done_by: Some(done_by), ..self }
    }

    /// The same, caused by this request instead of the current one.
    #[must_use]
    pub fn requested_by(self, origin: Arc<RequestOrigin>) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// Writes it in the caller's transaction, so that it is committed or rolled back with its cause.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn write(&self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), sqlx::Error> {
        let vm_id = self.vm_id.unwrap_or_default();
        let origin = self.origin.clone().or_else(request_origin::current);
        let address = origin.as_ref().and_then(|origin| origin.address);
        let session_id = origin.as_ref().and_then(|origin| origin.session_id());
        let shown = address.map(tracing::field::display);
        match self.severity {
            Severity::Info => {
                tracing::info!(kind = self.kind, vm_id, address = shown, session_id, "{}", self.text);
            }
            Severity::Warning => {
                tracing::warn!(kind = self.kind, vm_id, address = shown, session_id, "{}", self.text);
            }
            Severity::Error => {
                tracing::error!(kind = self.kind, vm_id, address = shown, session_id, "{}", self.text);
            }
        }
        let end = audit::end(tx).await?;
        let event = StoredEvent {
            id: end.last_id + 1,
            at: now().0,
            kind: self.kind.to_owned(),
            severity: self.severity.as_str().to_owned(),
            vm_id: self.vm_id,
            account_id: self.account_id,
            done_by: self.done_by,
            text: self.text.clone(),
            address: address.map(|address| address.to_string()),
            session_id,
            request_id: origin.map(|origin| origin.id.clone()),
        };
        sqlx::query(
            "INSERT INTO event (id, at, kind, severity, vm_id, account_id, done_by, text, address, session_id, request_id,
                                hash)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(event.id)
        .bind(event.at)
        .bind(self.kind)
        .bind(&event.severity)
        .bind(event.vm_id)
        .bind(event.account_id)
        .bind(event.done_by)
        .bind(&event.text)
        .bind(&event.address)
        .bind(event.session_id)
        .bind(&event.request_id)
        .bind(event.hash(&end.last_hash).as_slice())
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

#[derive(FromRow)]
struct EventRow {
    id: i64,
    at: i64,
    kind: String,
    severity: String,
    vm_id: Option<i64>,
    #[sqlx(default)]
    vm_name: Option<String>,
    #[sqlx(default)]
    user: Option<String>,
    text: String,
    #[sqlx(default)]
    address: Option<String>,
    #[sqlx(default)]
    session_id: Option<i64>,
    #[sqlx(default)]
    request_id: Option<String>,
}

impl Events {
    pub fn new(database: Database) -> Self {
        let clock = Clock::default();
        Self { database, refusals: Refusals::new(clock.clone()), repeats: Repeats::new(clock) }
    }

    /// Where refused access is noted.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Writes one event on its own. What caused it does not fail if it cannot be written: the log says so then.
    pub async fn record(&self, event: NewEvent) {
        let written = async {
            let mut tx = self.database.write().await?;
            event.write(&mut tx).await?;
            tx.commit().await
        };
        if let Err(error) = written.await {
            tracing::error!(%error, event.text, "an event could not be written");
        }
    }

    /// Writes that a user has saved `what` as a file: of a VM, or of none in particular.
    pub async fn record_export(&self, user: &CurrentUser, vm_id: Option<i64>, what: &str) {
        const KIND: &str = "security_exported";
        if self.repeats.admits(KIND, user.id, &user.username) {
            let text = format!("{} exported {what}.", user.username);
            self.record(NewEvent::info(KIND, vm_id, text).by(user.id)).await;
        }
    }

    /// Writes the events about what was counted and has ended, or about `all` so far.
    pub async fn record_counted(&self, all: bool) {
        for event in self.refusals.take(all).into_iter().chain(self.repeats.take(all)) {
            self.record(event).await;
        }
    }

    /// The newest `limit` events from `from` to `to`, oldest first: of a VM, or of none in particular. Without those of
    /// security, which are not about how a VM or the host does.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn between(
        &self,
        vm_id: Option<i64>,
        from: UtcMillis,
        to: UtcMillis,
        limit: u32,
    ) -> Result<Vec<Event>, ApiError> {
        let rows: Vec<EventRow> = sqlx::query_as(
            "SELECT * FROM (SELECT id, at, kind, severity, vm_id, text FROM event
                            WHERE vm_id IS ?1 AND at BETWEEN ?2 AND ?3 AND kind NOT LIKE 'security!_%' ESCAPE '!'
                            ORDER BY id DESC LIMIT ?4) ORDER BY id",
        )
        .bind(vm_id)
        .bind(from.0)
        .bind(to.0)
        .bind(limit)
        .fetch_all(self.database.read())
        .await
        .map_err(super::internal)?;
        Ok(rows.into_iter().map(EventRow::into_event).collect())
    }

    /// The newest 50 events of a VM, newest first. Without those of security, as exports.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn of_vm(&self, vm_id: i64) -> Result<Vec<Event>, ApiError> {
        let rows: Vec<EventRow> = sqlx::query_as(
            "SELECT id, at, kind, severity, vm_id, text FROM event
             WHERE vm_id = ? AND kind NOT LIKE 'security!_%' ESCAPE '!' ORDER BY id DESC LIMIT 50",
        )
        .bind(vm_id)
        .fetch_all(self.database.read())
        .await
        .map_err(super::internal)?;
        Ok(rows.into_iter().map(EventRow::into_event).collect())
    }
}

impl EventRow {
    /// What is known of its request, as far as it was selected.
    fn origin(&self) -> Option<EventOrigin> {
        let (address, request_id) = (self.address.clone(), self.request_id.clone()?);
        Some(EventOrigin { event_id: self.id, address, session_id: self.session_id, request_id })
    }

    fn into_event(self) -> Event {
        let severity = Severity::parse(&self.severity).unwrap_or(Severity::Info);
        Event {
            id: self.id,
            at: UtcMillis(self.at),
            kind: self.kind,
            severity,
            vm_id: self.vm_id,
            vm_name: self.vm_name,
            user: self.user,
            text: self.text,
        }
    }
}
