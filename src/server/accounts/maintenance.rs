//! What the command line does with accounts: for whoever has a shell on the host, without signing in.
//!
//! As for admins in the pages, an active admin always remains, and what ends a user's access ends their sessions in the same
//! transaction.

use super::{
    AccountRow, Accounts, Owner, end_sessions, password_link::replace_password, session_events::EndedSessions,
};
use crate::{
    model::{Account, ApiError, CurrentUser, Role, SignedInDevice, check_password},
    server::{events::NewEvent, internal},
};
use sqlx::{Sqlite, Transaction};

impl Accounts {
    /// All accounts, by name.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn all(&self) -> Result<Vec<Account>, ApiError> {
        self.listed("", None).await
    }

    /// Sets a user's password and ends all their sessions.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a password that is too short, too long or easy to guess.
    pub async fn replace_password_of(&self, username: &str, password: &str) -> Result<CurrentUser, ApiError> {
        check_password("password", password)?;
        let user = self.named(username).await?;
        let owner = Owner { username: user.username.clone(), email: user.email.clone() };
        let password_hash = self.passwords.hash_new("password", password, owner).await?;
        let mut tx = self.database.write().await.map_err(internal)?;
        let count = replace_password(&mut tx, user.id, &password_hash).await?;
        let text = format!(
            "The password of {} was set on the command line; all their devices are signed out.",
            user.username
        );
        record(&mut tx, "account_password_changed", &user, text).await?;
        let why = "their password was set on the command line";
        self.record_ended_sessions(&mut tx, EndedSessions::of(&user, count, why)).await?;
        tx.commit().await.map_err(internal)?;
        Ok(user)
    }

    /// Sets a user's role.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when no active admin would remain.
    pub async fn set_role_of(&self, username: &str, role: Role) -> Result<CurrentUser, ApiError> {
        let user = self.named(username).await?;
        let mut tx = self.database.write().await.map_err(internal)?;
        sqlx::query("UPDATE account SET role = ? WHERE id = ?")
            .bind(role.as_str())
            .bind(user.id)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        require_an_admin(&mut tx, &user).await?;
        let text = format!("{} got the role {} on the command line.", user.username, role.as_str());
        record(&mut tx, "account_changed", &user, text).await?;
        tx.commit().await.map_err(internal)?;
        Ok(CurrentUser { role, ..user })
    }

    /// Activates or deactivates a user's account. Deactivation ends all its sessions.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when no active admin would remain.
    pub async fn set_active_of(&self, username: &str, is_active: bool) -> Result<CurrentUser, ApiError> {
        let user = self.named(username).await?;
        let mut tx = self.database.write().await.map_err(internal)?;
        sqlx::query("UPDATE account SET is_active = ? WHERE id = ?")
            .bind(is_active)
            .bind(user.id)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        if !is_active {
            require_an_admin(&mut tx, &user).await?;
            let count = end_sessions(&mut tx, user.id).await?;
            let why = "the account was deactivated on the command line";
            self.record_ended_sessions(&mut tx, EndedSessions::of(&user, count, why)).await?;
        }
        let what = if is_active { "activated" } else { "deactivated" };
        let text = format!("The account {} was {what} on the command line.", user.username);
        record(&mut tx, "account_changed", &user, text).await?;
        tx.commit().await.map_err(internal)?;
        Ok(user)
    }

    /// A user's signed-in devices, last used first.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn devices_of(&self, username: &str) -> Result<Vec<SignedInDevice>, ApiError> {
        let user = self.named(username).await?;
        self.devices(&user, "").await
    }

    /// Ends all of a user's sessions. Gives how many there were.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn end_sessions_of(&self, username: &str) -> Result<(CurrentUser, u64), ApiError> {
        let user = self.named(username).await?;
        let mut tx = self.database.write().await.map_err(internal)?;
        let ended = end_sessions(&mut tx, user.id).await?;
        let text = format!("{} was signed out everywhere on the command line.", user.username);
        record(&mut tx, "security_sessions_ended", &user, text).await?;
        tx.commit().await.map_err(internal)?;
        Ok((user, ended))
    }

    pub(super) async fn named(&self, username: &str) -> Result<CurrentUser, ApiError> {
        let row: Option<AccountRow> =
            sqlx::query_as("SELECT id, username, email, role FROM account WHERE username = ?")
                .bind(username)
                .fetch_optional(self.database.read())
                .await
                .map_err(internal)?;
        row.map(CurrentUser::from).ok_or_else(|| ApiError::not_found("account"))
    }
}

/// Rejects a change of `user` after which nobody could manage the server.
async fn require_an_admin(tx: &mut Transaction<'_, Sqlite>, user: &CurrentUser) -> Result<(), ApiError> {
    let has_admin: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM account WHERE role = 'admin' AND is_active = 1)")
            .fetch_one(&mut **tx)
            .await
            .map_err(internal)?;
    if has_admin {
        return Ok(());
    }
    let text = format!("{} is the only active admin. Make another user an admin first.", user.username);
    Err(ApiError::conflict(text))
}

async fn record(
    tx: &mut Transaction<'_, Sqlite>,
    kind: &'static str,
    user: &CurrentUser,
    text: String,
) -> Result<(), ApiError> {
    NewEvent::info(kind, None, text).by(user.id).write(tx).await.map_err(internal)
}
