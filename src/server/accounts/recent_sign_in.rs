//! What changes how an account is entered (its password, address, role or second factor) takes a password that was entered
//! within the last [`RECENT_MINUTES`]: at sign-in, or again since. So a browser that was left open, or a stolen session, is
//! not enough to take an account over. [`RecentSignIn`] is the proof, which such changes ask for.

use super::{Accounts, Attempt, Token, session_cache::OpenSession};
use crate::{
    model::{ApiError, CurrentUser},
    server::internal,
};
use std::net::IpAddr;

pub const RECENT_MINUTES: i64 = 10;

/// That a user entered their password a short time ago.
#[derive(Debug, Clone)]
pub struct RecentSignIn {
    pub(super) user: CurrentUser,
    pub(super) session_id: i64,
}

impl RecentSignIn {
    pub fn account_id(&self) -> i64 {
        self.user.id
    }

    /// As if this user had just signed in.
    #[cfg(test)]
    pub fn of(user: &CurrentUser) -> Self {
        Self { user: user.clone(), session_id: 0 }
    }
}

impl Accounts {
    /// # Errors
    /// `PasswordNeeded` when the session's user entered their password too long ago.
    pub fn recent_sign_in(&self, session: OpenSession) -> Result<RecentSignIn, ApiError> {
        let age_millis = self.now().saturating_sub(session.authenticated_at);
        if (0..=RECENT_MINUTES * 60 * 1000).contains(&age_millis) {
            Ok(RecentSignIn { user: session.user, session_id: session.id })
        } else {
            Err(ApiError::password_needed())
        }
    }

    /// Notes that the session's user has entered their password again, and a code of their second factor if they have one.
    ///
    /// # Errors
    /// `Invalid` with the field that is wrong; `NotSignedIn` when the session has ended meanwhile; `TooMany` after too many
    /// wrong passwords, and when too many are being hashed.
    pub async fn confirm_password(
        &self,
        user: &CurrentUser,
        token: &str,
        password: &str,
        code: &str,
        address: IpAddr,
    ) -> Result<(), ApiError> {
        let wrong = || ApiError::invalid_field("password", "This is not your password.");
        let checked: Option<String> = sqlx::query_scalar("SELECT password_hash FROM account WHERE id = ?")
            .bind(user.id)
            .fetch_optional(self.database.read())
            .await
            .map_err(internal)?;
        let own = Token::hash_of(token);
        let attempt = Attempt::confirmation(user, own.as_deref().unwrap_or_default(), address);
        if !self.passwords.verify(attempt.clone(), password, checked.clone()).await? {
            return Err(wrong());
        }
        let mut tx = self.database.write().await.map_err(internal)?;
        self.check_code(&mut tx, &attempt, code).await?;
        let noted = sqlx::query(
            "UPDATE session SET authenticated_at = ? WHERE account_id = ? AND token_hash = ?
             AND EXISTS (SELECT 1 FROM account WHERE id = account_id AND password_hash = ? AND is_active = 1)",
        )
        .bind(self.now())
        .bind(user.id)
        .bind(own)
        .bind(checked)
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        if noted.rows_affected() == 0 {
            return Err(ApiError::not_signed_in());
        }
        tx.commit().await.map_err(internal)
    }
}
