//! What users do with their own account: the password and the signed-in devices.

use super::{
    Accounts, Attempt, Carrier, DAY_MILLIS, Device, IDLE_DAYS, LIFE_DAYS, Owner, Token,
    session_events::EndedSessions,
};
use crate::{
    model::{ApiError, CurrentUser, DeviceKind, SignedInDevice, UtcMillis, check_password},
    server::{events::NewEvent, internal, not_found_or_hidden},
};
use std::{cmp::Reverse, net::IpAddr};

impl Accounts {
    /// Exchanges the password, and ends every session but the one of `token`. A browser's session goes on with the new
    /// token that is returned; that of another client keeps its own.
    ///
    /// # Errors
    /// `Invalid` with the field that is wrong; `NotSignedIn` when the session has ended meanwhile; `TooMany` after too many
    /// wrong passwords, and when too many are being hashed.
    pub async fn change_password(
        &self,
        user: &CurrentUser,
        token: &str,
        old_password: &str,
        new_password: &str,
        address: IpAddr,
    ) -> Result<Option<Token>, ApiError> {
        let wrong = || ApiError::invalid_field("old_password", "The current password is wrong.");
        check_password("new_password", new_password)?;
        let checked: Option<String> = sqlx::query_scalar("SELECT password_hash FROM account WHERE id = ?")
            .bind(user.id)
            .fetch_optional(self.database.read())
            .await
            .map_err(internal)?;
        let own = Token::hash_of(token);
        let attempt = Attempt::password_change(user, own.as_deref().unwrap_or_default(), address);
        if !self.passwords.verify(attempt, old_password, checked.clone()).await? {
            return Err(wrong());
        }
        let owner = Owner { username: user.username.clone(), email: user.email.clone() };
        let hash = self.passwords.of(address).hash_new("new_password", new_password, owner).await?;
        let mut tx = self.database.write().await.map_err(internal)?;
        let carrier: Option<String> =
            sqlx::query_scalar("SELECT carrier FROM session WHERE account_id = ? AND token_hash = ?")
                .bind(user.id)
                .bind(&own)
                .fetch_optional(&mut *tx)
                .await
                .map_err(internal)?;
        let Some(carrier) = carrier else { return Err(ApiError::not_signed_in()) };
        let changed = sqlx::query("UPDATE account SET password_hash = ? WHERE id = ? AND password_hash = ?")
            .bind(hash)
            .bind(user.id)
            .bind(checked)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        if changed.rows_affected() == 0 {
            return Err(wrong());
        }
        let ended = sqlx::query("DELETE FROM session WHERE account_id = ? AND token_hash IS NOT ?")
            .bind(user.id)
            .bind(&own)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        let mut rotated = None;
        if carrier == Carrier::Cookie.as_str() {
            let (token, hash) = Token::random()?;
            sqlx::query("UPDATE session SET token_hash = ? WHERE token_hash = ?")
                .bind(hash)
                .bind(&own)
                .execute(&mut *tx)
                .await
                .map_err(internal)?;
            rotated = Some(token);
        }
        let text = format!("{} changed their password; their other devices are signed out.", user.username);
        NewEvent::info("account_password_changed", None, text)
            .by(user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        let count = ended.rows_affected();
        self.record_ended_sessions(&mut tx, EndedSessions::of(user, count, "their password was changed"))
            .await?;
        tx.commit().await.map_err(internal)?;
        Ok(rotated)
    }

    /// The user's signed-in devices, last used first. The one of `token` is marked.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn devices(&self, user: &CurrentUser, token: &str) -> Result<Vec<SignedInDevice>, ApiError> {
        let own = Token::hash_of(token);
        let rows: Vec<(i64, String, String, i64, i64, bool)> = sqlx::query_as(
            "SELECT id, carrier, user_agent, created_at, last_used_at, token_hash IS ?1 FROM session
             WHERE account_id = ?2 AND created_at > ?3 AND last_used_at > ?4 ORDER BY id DESC",
        )
        .bind(own)
        .bind(user.id)
        .bind(self.now() - LIFE_DAYS * DAY_MILLIS)
        .bind(self.now() - IDLE_DAYS * DAY_MILLIS)
        .fetch_all(self.database.read())
        .await
        .map_err(internal)?;
        let device =
            |(id, carrier, user_agent, created_at, last_used_at, is_this): (_, String, _, _, _, _)| {
                let kind = if carrier == "cookie" { DeviceKind::Browser } else { DeviceKind::Client };
                SignedInDevice {
                    id,
                    kind,
                    user_agent,
                    signed_in_at: UtcMillis(created_at),
                    last_used_at: UtcMillis(self.sessions.last_use(id).unwrap_or_default().max(last_used_at)),
                    is_this,
                }
            };
        let mut devices: Vec<_> = rows.into_iter().map(device).collect();
        devices.sort_by_key(|device| (Reverse(device.is_this), Reverse(device.last_used_at)));
        Ok(devices)
    }

    /// Ends one of the user's sessions.
    ///
    /// # Errors
    /// `NotFound` when they have no such session.
    pub async fn end_session(&self, user: &CurrentUser, session_id: i64) -> Result<(), ApiError> {
        let mut tx = self.database.write().await.map_err(internal)?;
        let ended = sqlx::query("DELETE FROM session WHERE id = ? AND account_id = ?")
            .bind(session_id)
            .bind(user.id)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        let count = ended.rows_affected();
        if count == 0 {
            let sql = "SELECT EXISTS (SELECT 1 FROM session WHERE id = ?)";
            return Err(not_found_or_hidden(&mut tx, "signed-in device", sql, session_id).await);
        }
        self.record_ended_sessions(&mut tx, EndedSessions::of(user, count, "they signed the device out"))
            .await?;
        tx.commit().await.map_err(internal)
    }

    /// Ends all of the user's sessions except the one of `token`.
    ///
    /// # Errors
    /// `Internal` when the database cannot be written.
    pub async fn end_other_sessions(&self, user: &CurrentUser, token: &str) -> Result<(), ApiError> {
        let mut tx = self.database.write().await.map_err(internal)?;
        let ended = sqlx::query("DELETE FROM session WHERE account_id = ? AND token_hash IS NOT ?")
            .bind(user.id)
            .bind(Token::hash_of(token))
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        let why = "they signed all their other devices out";
        self.record_ended_sessions(&mut tx, EndedSessions::of(user, ended.rows_affected(), why)).await?;
        tx.commit().await.map_err(internal)
    }
}

impl Device<'_> {
    /// What a browser or client calls itself, as far as it is kept.
    pub(super) fn kept_user_agent(&self) -> String {
        self.user_agent.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}
