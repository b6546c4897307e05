//! The events about sessions: when they begin and end. Those of an account are bounded, see [`Repeats`](crate::server::events::Repeats).

use super::{Accounts, Carrier, Device};
use crate::{
    model::{ApiError, CurrentUser, browser_name},
    server::{events::NewEvent, internal, request_origin},
};
use sqlx::{Sqlite, Transaction};

/// Of what an unknown browser or client calls itself.
const MAX_UNKNOWN_CHARS: usize = 60;

/// Sessions that end before their time.
pub(super) struct EndedSessions<'a> {
    pub account_id: i64,
    pub username: &'a str,
    /// If that is not the account itself.
    pub done_by: Option<i64>,
    pub count: u64,
    /// The reason, after a colon.
    pub why: &'a str,
}

/// `Chrome on Linux`, `a client (curl/8.5.0)`
fn shown(device: Device<'_>) -> String {
    let user_agent = device.kept_user_agent();
    let kind = match device.carrier {
        Carrier::Cookie => "a browser",
        Carrier::Bearer => "a client",
    };
    browser_name(&user_agent).unwrap_or_else(|| match user_agent.trim() {
        "" => kind.to_owned(),
        unknown => format!("{kind} ({})", unknown.chars().take(MAX_UNKNOWN_CHARS).collect::<String>()),
    })
}

impl<'a> EndedSessions<'a> {
    /// Ended by nobody else.
    pub fn of(user: &'a CurrentUser, count: u64, why: &'a str) -> Self {
        Self { account_id: user.id, username: &user.username, done_by: None, count, why }
    }
}

impl Accounts {
    /// Writes that a session has begun, which the current request belongs to from now on.
    pub(super) async fn record_sign_in(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        session_id: i64,
        device: Device<'_>,
    ) -> Result<(), ApiError> {
        let (account_id, username): (i64, String) = sqlx::query_as(
            "SELECT account.id, username FROM session JOIN account ON account.id = account_id WHERE session.id = ?",
        )
        .bind(session_id)
        .fetch_one(&mut **tx)
        .await
        .map_err(internal)?;
        request_origin::set_caller(session_id, account_id, &username);
        let text = format!("{username} signed in with {}.", shown(device));
        self.record_bounded(tx, "security_signed_in", account_id, &username, None, text).await
    }

    /// Writes that a user has ended their own session.
    pub(super) async fn record_sign_out(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        session_id: i64,
        account_id: i64,
        username: &str,
    ) -> Result<(), ApiError> {
        request_origin::set_caller(session_id, account_id, username);
        let text = format!("{username} signed out.");
        self.record_bounded(tx, "security_signed_out", account_id, username, None, text).await
    }

    /// Writes that sessions were ended, if there are any.
    pub(super) async fn record_ended_sessions(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        ended: EndedSessions<'_>,
    ) -> Result<(), ApiError> {
        let EndedSessions { account_id, username, done_by, count, why } = ended;
        let text = match count {
            0 => return Ok(()),
            1 => format!("A session of {username} ended: {why}."),
            count => format!("{count} sessions of {username} ended: {why}."),
        };
        self.record_bounded(tx, "security_sessions_ended", account_id, username, done_by, text).await
    }

    async fn record_bounded(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        kind: &'static str,
        account_id: i64,
        username: &str,
        done_by: Option<i64>,
        text: String,
    ) -> Result<(), ApiError> {
        if !self.repeats.admits(kind, account_id, username) {
            return Ok(());
        }
        let event = NewEvent::info(kind, None, text);
        let event = match done_by {
            Some(done_by) => event.about(account_id, done_by),
            None => event.by(account_id),
        };
        event.write(tx).await.map_err(internal)
    }
}
