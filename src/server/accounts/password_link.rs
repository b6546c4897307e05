//! The way back for a lost password: a link that an admin makes and hands to the user, who sets a new password with it.
//!
//! An account has one such link, which is valid for an hour and used once; a new one ends the former. It ends as well when
//! the password changes otherwise, when the account is deactivated and when its admin loses the role (triggers of the
//! database). Using it ends all sessions of the account.

use super::{
    Accounts, AdminAccess, Owner, RecentSignIn, Token, administration::found, end_sessions, now,
    session_events::EndedSessions,
};
use crate::{
    model::{ApiError, UtcMillis, check_password},
    server::{events::NewEvent, internal},
};
use sqlx::{Sqlite, Transaction};
use std::net::IpAddr;

const LIFE_MILLIS: i64 = 60 * 60 * 1000;

/// A link that is about to be used, and whose password it sets.
struct LinkOwner {
    account_id: i64,
    owner: Owner,
}

impl Accounts {
    /// Makes an account's link, which ends the one before. Gives the user name, the link's token, and until when it is valid.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for one's own account and for one that is deactivated; `Forbidden` when `admin` is none any
    /// more.
    pub async fn create_password_link(
        &self,
        admin: &AdminAccess,
        account_id: i64,
        _: &RecentSignIn,
    ) -> Result<(String, Token, UtcMillis), ApiError> {
        if account_id == admin.id {
            return Err(ApiError::conflict(
                "A link cannot set your own password. Change it on your account's page, or ask another admin.",
            ));
        }
        let (token, token_hash) = Token::random()?;
        let mut tx = self.write_as_admin(admin).await?;
        let other = found(&mut tx, account_id).await?;
        let is_active: bool = sqlx::query_scalar("SELECT is_active FROM account WHERE id = ?")
            .bind(account_id)
            .fetch_one(&mut *tx)
            .await
            .map_err(internal)?;
        if !is_active {
            return Err(ApiError::conflict("This account is deactivated. Activate it first."));
        }
        let at = now().0;
        let expires_at = at + LIFE_MILLIS;
        sqlx::query(
            "INSERT OR REPLACE INTO password_link (account_id, token_hash, created_by, created_at, expires_at)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(account_id)
        .bind(token_hash)
        .bind(admin.id)
        .bind(at)
        .bind(expires_at)
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        let text = format!("{} made a link to set a new password for {}.", admin.username, other.username);
        NewEvent::info("account_password_link_created", None, text)
            .about(account_id, admin.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        Ok((other.username, token, UtcMillis(expires_at)))
    }

    /// Sets the password of the account that the link is of, and ends its sessions. `address` is the client's.
    ///
    /// # Errors
    /// `Invalid` with the field `link` when it is not valid, and with `new_password`; `TooMany` when too many passwords are
    /// being hashed.
    pub async fn set_password_by_link(
        &self,
        token: &str,
        new_password: &str,
        address: IpAddr,
    ) -> Result<(), ApiError> {
        check_password("new_password", new_password)?;
        let token_hash = Token::hash_of(token.trim()).ok_or_else(invalid_link)?;
        // Hashing is expensive: only for who has a valid link.
        let LinkOwner { account_id, owner } = self.link_owner(&token_hash).await?.ok_or_else(invalid_link)?;
        let username = owner.username.clone();
        let password_hash = self.passwords.of(address).hash_new("new_password", new_password, owner).await?;
        let mut tx = self.database.write().await.map_err(internal)?;
        let used = sqlx::query("DELETE FROM password_link WHERE token_hash = ? AND expires_at > ?")
            .bind(&token_hash)
            .bind(now().0)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        if used.rows_affected() == 0 {
            return Err(invalid_link());
        }
        let count = replace_password(&mut tx, account_id, &password_hash).await?;
        let text =
            format!("{username} set a new password with an admin's link; all their devices are signed out.");
        NewEvent::info("account_password_changed", None, text)
            .by(account_id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        let why = "their password was set with an admin's link";
        let ended = EndedSessions { account_id, username: &username, done_by: None, count, why };
        self.record_ended_sessions(&mut tx, ended).await?;
        tx.commit().await.map_err(internal)
    }

    async fn link_owner(&self, token_hash: &[u8]) -> Result<Option<LinkOwner>, ApiError> {
        let row: Option<(i64, String, String)> = sqlx::query_as(
            "SELECT id, username, email FROM account JOIN password_link ON account_id = account.id
             WHERE token_hash = ? AND expires_at > ? AND is_active = 1",
        )
        .bind(token_hash)
        .bind(now().0)
        .fetch_optional(self.database.read())
        .await
        .map_err(internal)?;
        Ok(row
            .map(|(account_id, username, email)| LinkOwner { account_id, owner: Owner { username, email } }))
    }
}

/// Sets an account's password and ends all its sessions. Gives how many.
pub(super) async fn replace_password(
    tx: &mut Transaction<'_, Sqlite>,
    account_id: i64,
    password_hash: &str,
) -> Result<u64, ApiError> {
    sqlx::query("UPDATE account SET password_hash = ? WHERE id = ?")
        .bind(password_hash)
        .bind(account_id)
        .execute(&mut **tx)
        .await
        .map_err(internal)?;
    end_sessions(tx, account_id).await
}

fn invalid_link() -> ApiError {
    let text = "This link is not valid, or no longer: it may have been used or replaced by a newer one, or its hour is over. \
                Ask an admin for a new one.";
    ApiError::invalid_field("link", text)
}
