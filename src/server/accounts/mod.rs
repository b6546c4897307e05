//! Accounts, passwords and sessions.
//!
//! A token is shown once, at sign-in; the database holds only its hash. A session ends at sign-out, after [`IDLE_DAYS`]
//! without use, and [`LIFE_DAYS`] after it began, whichever comes first. An account has [`MAX_SESSIONS`]; a further one ends
//! the oldest.
//!
//! Checking a password takes long, and so may the wait for the database. Whatever such a check allows is written only if the
//! account is still as it was checked: see `Accounts::begin_session`, [`Accounts::change_password`] and `administration.rs`.
//! Every check of a password is an `Attempt`, and wrong ones are limited (`throttle.rs`). Where an account has a second factor
//! (`second_factor.rs`), no session begins without its code.

mod admin_access;
mod administration;
mod attempt;
mod failed_attempts;
mod invitation;
mod maintenance;
mod password;
mod password_link;
mod password_strength;
mod public_key;
mod recent_sign_in;
mod registration;
mod second_factor;
mod self_service;
mod session_cache;
mod session_events;
mod setup_code;
mod ssh_keys;
#[cfg(test)]
pub(super) mod tests;
mod throttle;
mod token;
mod totp;
mod typed_code;

use super::{
    clock::Clock,
    credits::Allowances,
    database::{Database, now},
    events::{NewEvent, Repeats},
    internal,
};
use crate::model::{ApiError, CurrentUser, EMAIL_INVALID, ErrorCode, Role, check_registration};
pub use admin_access::AdminAccess;
use attempt::Attempt;
pub use attempt::network_of;
pub use invitation::NewInvitation;
use lettre::Address;
pub use password::Passwords;
use password_strength::Owner;
pub use public_key::fingerprint;
pub use recent_sign_in::RecentSignIn;
pub use registration::{Registration, RegistrationForm};
pub use session_cache::OpenSession;
use session_cache::SessionCache;
use sqlx::{FromRow, Sqlite, Transaction};
use ssh_keys::KeyCache;
pub use ssh_keys::KeyOwner;
use std::net::IpAddr;
pub use token::Token;

pub const IDLE_DAYS: i64 = 7;
pub const LIFE_DAYS: i64 = 30;
/// Of an account.
pub const MAX_SESSIONS: i64 = 50;
/// How long a browser stays a known device of the accounts that were signed in there.
pub const KNOWN_DEVICE_DAYS: i64 = 365;
/// Of an account.
const MAX_KNOWN_DEVICES: i64 = 50;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// How a token travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Cookie,
    Bearer,
}

impl Carrier {
    fn as_str(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Bearer => "bearer",
        }
    }
}

/// The client of a sign-in.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    pub carrier: Carrier,
    /// As it calls itself; may be empty.
    pub user_agent: &'a str,
    /// The token of the session that it has so far, which a new one ends.
    pub session_token: Option<&'a str>,
    /// The token that it was given at an earlier sign-in.
    pub known_device_token: Option<&'a str>,
    pub address: IpAddr,
}

/// A session that goes on beyond the request that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionKey {
    token_hash: Vec<u8>,
    carrier: Carrier,
}

impl SessionKey {
    /// The session of a token, if it can be one.
    pub fn of_token(token: &str, carrier: Carrier) -> Option<Self> {
        Token::hash_of(token).map(|token_hash| Self { token_hash, carrier })
    }
}

/// The tokens that a sign-in hands out.
pub struct SignIn {
    pub session: Token,
    /// For a browser that is a known device of the account from now on. None if it was one before.
    pub known_device: Option<Token>,
}

#[derive(Debug, Clone)]
pub struct Accounts {
    database: Database,
    passwords: Passwords,
    allowances: Allowances,
    sessions: SessionCache,
    repeats: Repeats,
    ssh_keys: KeyCache,
    clock: Clock,
}

/// A valid account that is about to be created.
struct NewAccount {
    owner: Owner,
    password_hash: String,
}

/// An account and its password's hash, which a sign-in has proven to know.
struct CheckedSignIn {
    account_id: i64,
    password_hash: String,
    is_known_device: bool,
    attempt: Attempt,
}

#[derive(FromRow)]
struct AccountRow {
    id: i64,
    username: String,
    email: String,
    role: String,
}

impl From<AccountRow> for CurrentUser {
    fn from(row: AccountRow) -> Self {
        let role = if row.role == Role::Admin.as_str() { Role::Admin } else { Role::User };
        Self { id: row.id, username: row.username, email: row.email, role }
    }
}

impl Accounts {
    /// `allowances` say what a new account is granted.
    pub fn new(database: Database, allowances: Allowances) -> Self {
        Self::with_clock(database, allowances, Clock::default())
    }

    /// The same on another clock than this machine's.
    pub fn with_clock(database: Database, allowances: Allowances, clock: Clock) -> Self {
        let sessions = SessionCache::new(database.clone());
        let repeats = Repeats::new(clock.clone());
        let ssh_keys = KeyCache::new(database.clone());
        let passwords = Passwords::new(&clock);
        Self { database, passwords, allowances, sessions, repeats, ssh_keys, clock }
    }

    /// Whether there is an account at all.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn is_empty(&self) -> Result<bool, ApiError> {
        let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM account)")
            .fetch_one(self.database.read())
            .await
            .map_err(internal)?;
        Ok(!any)
    }

    /// The account that everything without an owner belongs to.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn first(&self) -> Result<Option<CurrentUser>, ApiError> {
        let row: Option<AccountRow> =
            sqlx::query_as("SELECT id, username, email, role FROM account ORDER BY id LIMIT 1")
                .fetch_optional(self.database.read())
                .await
                .map_err(internal)?;
        Ok(row.map(CurrentUser::from))
    }

    /// Creates an account for whoever may start the program on the server itself. Without a role, the first one is an
    /// admin's, every other a user's.
    ///
    /// # Errors
    /// `Invalid` with the fields that are wrong or taken; `TooMany` when too many passwords are being hashed.
    pub async fn register_as(
        &self,
        username: &str,
        email: &str,
        password: &str,
        role: Option<Role>,
    ) -> Result<CurrentUser, ApiError> {
        let new = self.checked(&self.passwords, username, email, password).await?;
        let mut tx = self.database.write().await.map_err(internal)?;
        let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM account)")
            .fetch_one(&mut *tx)
            .await
            .map_err(internal)?;
        let role = role.unwrap_or(if any { Role::User } else { Role::Admin });
        let user = self.insert(&mut tx, &new, role, None).await?;
        tx.commit().await.map_err(internal)?;
        Ok(user)
    }

    /// The password is hashed in the queue of `passwords`.
    async fn checked(
        &self,
        passwords: &Passwords,
        username: &str,
        email: &str,
        password: &str,
    ) -> Result<NewAccount, ApiError> {
        let (username, email) = (username.trim(), email.trim());
        check_registration(username, email, password)?;
        // Mail to `a<victim@example.org>` would go to the victim.
        if email.parse::<Address>().is_err() {
            return Err(ApiError::invalid_field("email", EMAIL_INVALID));
        }
        let owner = Owner { username: username.to_owned(), email: email.to_owned() };
        let password_hash = passwords.hash_new("password", password, owner.clone()).await?;
        Ok(NewAccount { owner, password_hash })
    }

    async fn insert(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        new: &NewAccount,
        role: Role,
        created_by: Option<&CurrentUser>,
    ) -> Result<CurrentUser, ApiError> {
        let user = insert_account(tx, new, role).await?;
        self.allowances.grant_first(tx, user.id, user.role, now().0).await.map_err(internal)?;
        let event = NewEvent::info(
            "account_created",
            None,
            format!("The account {} was created with the role {}.", user.username, user.role.as_str()),
        );
        let event = match created_by {
            Some(admin) => event.about(user.id, admin.id),
            None => event.by(user.id),
        };
        event.write(tx).await.map_err(internal)?;
        Ok(user)
    }

    /// Checks a password, and the code where the account has a second factor, and begins a session in place of the device's
    /// earlier one.
    ///
    /// # Errors
    /// `Invalid` when name and password do not fit, and with the field `code` when they do and a code is missing or wrong;
    /// `TooMany` after too many wrong ones, and when too many are being checked.
    pub async fn sign_in(
        &self,
        username: &str,
        password: &str,
        code: &str,
        device: Device<'_>,
    ) -> Result<SignIn, ApiError> {
        let checked = self.check_sign_in(username, password, device).await?;
        self.begin_session(&checked, code, device).await
    }

    /// An unknown name takes as long as a wrong password, and is limited alike.
    async fn check_sign_in(
        &self,
        username: &str,
        password: &str,
        device: Device<'_>,
    ) -> Result<CheckedSignIn, ApiError> {
        let device_hash = device.known_device_token.and_then(Token::hash_of);
        let row: Option<(i64, String, String, bool)> = sqlx::query_as(
            "SELECT id, username, password_hash,
                    EXISTS (SELECT 1 FROM known_device WHERE account_id = account.id AND token_hash = ?2)
             FROM account WHERE username = ?1 AND is_active = 1",
        )
        .bind(username.trim())
        .bind(&device_hash)
        .fetch_optional(self.database.read())
        .await
        .map_err(internal)?;
        let hash = row.as_ref().map(|(_, _, hash, _)| hash.clone());
        let account = row.as_ref().map(|(id, name, ..)| (*id, name.clone()));
        let known = device_hash.as_deref().filter(|_| row.as_ref().is_some_and(|row| row.3));
        let attempt = Attempt::sign_in(username, account, known, device.address);
        let fits = self.passwords.verify(attempt.clone(), password, hash).await?;
        let (Some((account_id, _, password_hash, is_known_device)), true) = (row, fits) else {
            return Err(wrong_sign_in());
        };
        let checked = CheckedSignIn { account_id, password_hash, is_known_device, attempt };
        if password::is_current(&checked.password_hash) {
            Ok(checked)
        } else {
            self.rehash(checked, password, device.address).await
        }
    }

    /// Stores a hash of the same password with the parameters of this version.
    async fn rehash(
        &self,
        checked: CheckedSignIn,
        password: &str,
        address: IpAddr,
    ) -> Result<CheckedSignIn, ApiError> {
        let password_hash = self.passwords.of(address).hash(password).await?;
        let mut tx = self.database.write().await.map_err(internal)?;
        let stored = sqlx::query("UPDATE account SET password_hash = ? WHERE id = ? AND password_hash = ?")
            .bind(&password_hash)
            .bind(checked.account_id)
            .bind(&checked.password_hash)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        if stored.rows_affected() == 0 {
            return Err(wrong_sign_in());
        }
        Ok(CheckedSignIn { password_hash, ..checked })
    }

    async fn begin_session(
        &self,
        checked: &CheckedSignIn,
        code: &str,
        device: Device<'_>,
    ) -> Result<SignIn, ApiError> {
        let (token, token_hash) = Token::random()?;
        let mut tx = self.database.write().await.map_err(internal)?;
        let inserted = sqlx::query(
            "INSERT INTO session (account_id, token_hash, carrier, created_at, last_used_at, authenticated_at, user_agent)
             SELECT id, ?3, ?4, ?5, ?5, ?5, ?6 FROM account WHERE id = ?1 AND password_hash = ?2 AND is_active = 1",
        )
        .bind(checked.account_id)
        .bind(&checked.password_hash)
        .bind(token_hash)
        .bind(device.carrier.as_str())
        .bind(self.now())
        .bind(device.kept_user_agent())
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        if inserted.rows_affected() == 0 {
            return Err(wrong_sign_in());
        }
        self.check_code(&mut tx, &checked.attempt, code).await?;
        self.record_sign_in(&mut tx, inserted.last_insert_rowid(), device).await?;
        end_outdated_sessions(&mut tx, checked.account_id, device, self.now()).await.map_err(internal)?;
        let known_device = if device.carrier == Carrier::Cookie && !checked.is_known_device {
            let (token, hash) = Token::random()?;
            remember_device(&mut tx, checked.account_id, hash, self.now()).await.map_err(internal)?;
            Some(token)
        } else {
            None
        };
        tx.commit().await.map_err(internal)?;
        Ok(SignIn { session: token, known_device })
    }

    fn now(&self) -> i64 {
        self.clock.now().utc.0
    }

    /// The session of a token, if it has not ended. A token is only valid with the carrier that it was issued for.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn session_of_token(
        &self,
        token: &str,
        carrier: Carrier,
    ) -> Result<Option<OpenSession>, ApiError> {
        let Some(hash) = Token::hash_of(token) else { return Ok(None) };
        self.sessions.open(&hash, carrier, self.now()).await.map_err(internal)
    }

    /// The user of an open session, if they may do what their role allows. It does not count as a use of it.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn user_of_session(&self, session: &SessionKey) -> Result<Option<CurrentUser>, ApiError> {
        let open =
            self.sessions.peek(&session.token_hash, session.carrier, self.now()).await.map_err(internal)?;
        Ok(open.and_then(|session| session.admitted().ok()))
    }

    /// Writes when sessions were last used: that is kept in memory otherwise.
    pub async fn save_last_uses(&self) {
        if let Err(error) = self.sessions.save_last_uses().await {
            tracing::error!(%error, "the last use of sessions could not be saved");
        }
    }

    /// Writes the events about wrong passwords whose bursts have ended, and about sign-ins that were only counted, or of `all`
    /// so far.
    pub async fn record_failed_attempts(&self, all: bool) {
        let failed = self.passwords.throttle().failed().take(all);
        for event in failed.into_iter().chain(self.repeats.take(all)) {
            let written = async {
                let mut tx = self.database.write().await?;
                event.write(&mut tx).await?;
                tx.commit().await
            };
            if let Err(error) = written.await {
                tracing::error!(%error, event.text, "an event could not be written");
            }
        }
    }

    /// Ends the token's session; a token without one is no error.
    ///
    /// # Errors
    /// `Internal` when the database cannot be written.
    pub async fn sign_out(&self, token: &str) -> Result<(), ApiError> {
        let Some(hash) = Token::hash_of(token) else { return Ok(()) };
        let mut tx = self.database.write().await.map_err(internal)?;
        let ended: Option<(i64, i64, String)> = sqlx::query_as(
            "DELETE FROM session WHERE token_hash = ?
             RETURNING id, account_id, (SELECT username FROM account WHERE id = account_id)",
        )
        .bind(hash)
        .fetch_optional(&mut *tx)
        .await
        .map_err(internal)?;
        if let Some((session_id, account_id, username)) = ended {
            self.record_sign_out(&mut tx, session_id, account_id, &username).await?;
        }
        tx.commit().await.map_err(internal)
    }
}

/// Inserts only the account, without credits and event.
async fn insert_account(
    tx: &mut Transaction<'_, Sqlite>,
    new: &NewAccount,
    role: Role,
) -> Result<CurrentUser, ApiError> {
    let row: AccountRow = sqlx::query_as(
        "INSERT INTO account (username, email, password_hash, role, created_at) VALUES (?, ?, ?, ?, ?)
         RETURNING id, username, email, role",
    )
    .bind(&new.owner.username)
    .bind(&new.owner.email)
    .bind(&new.password_hash)
    .bind(role.as_str())
    .bind(now().0)
    .fetch_one(&mut **tx)
    .await
    .map_err(taken)?;
    Ok(CurrentUser::from(row))
}

/// Ends all sessions of an account. Gives how many.
async fn end_sessions(tx: &mut Transaction<'_, Sqlite>, account_id: i64) -> Result<u64, ApiError> {
    let ended = sqlx::query("DELETE FROM session WHERE account_id = ?")
        .bind(account_id)
        .execute(&mut **tx)
        .await
        .map_err(internal)?;
    Ok(ended.rows_affected())
}

/// Ends expired sessions, the one that the device had so far, and the oldest ones of the account beyond [`MAX_SESSIONS`].
async fn end_outdated_sessions(
    tx: &mut Transaction<'_, Sqlite>,
    account_id: i64,
    device: Device<'_>,
    at: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM session WHERE created_at < ? OR last_used_at < ? OR (token_hash = ? AND carrier = ?)",
    )
    .bind(at - LIFE_DAYS * DAY_MILLIS)
    .bind(at - IDLE_DAYS * DAY_MILLIS)
    .bind(device.session_token.and_then(Token::hash_of))
    .bind(device.carrier.as_str())
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "DELETE FROM session WHERE account_id = ?1
             AND id NOT IN (SELECT id FROM session WHERE account_id = ?1 ORDER BY id DESC LIMIT ?2)",
    )
    .bind(account_id)
    .bind(MAX_SESSIONS)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Makes a browser a known device, and forgets expired ones and the oldest ones of the account beyond
/// [`MAX_KNOWN_DEVICES`].
async fn remember_device(
    tx: &mut Transaction<'_, Sqlite>,
    account_id: i64,
    token_hash: Vec<u8>,
    at: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO known_device (account_id, token_hash, created_at) VALUES (?, ?, ?)")
        .bind(account_id)
        .bind(token_hash)
        .bind(at)
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "DELETE FROM known_device WHERE created_at < ?3 OR (account_id = ?1
             AND id NOT IN (SELECT id FROM known_device WHERE account_id = ?1 ORDER BY id DESC LIMIT ?2))",
    )
    .bind(account_id)
    .bind(MAX_KNOWN_DEVICES)
    .bind(at - KNOWN_DEVICE_DAYS * DAY_MILLIS)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn wrong_sign_in() -> ApiError {
    ApiError::invalid_field("password", "Wrong user name or password.")
}

/// Turns the database's word about a taken name into one about the form's field.
fn taken(error: sqlx::Error) -> ApiError {
    let Some(text) =
        error.as_database_error().filter(|e| e.is_unique_violation()).map(|e| e.message().to_owned())
    else {
        return internal(error);
    };
    let (field, words) = if text.contains("account.email") {
        ("email", "An account with this e-mail address already exists.")
    } else {
        ("username", "This user name is taken.")
    };
    ApiError { code: ErrorCode::Conflict, ..ApiError::invalid_field(field, words) }
}
