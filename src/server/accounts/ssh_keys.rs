//! The accounts' public keys, in the table and in memory.

use super::{AccountRow, Accounts, Attempt, public_key::AcceptedKey};
use crate::{
    model::{ApiError, CurrentUser, ErrorCode, SSH_KEYS_MAX, SshKey, UtcMillis},
    server::{database::Database, events::NewEvent, internal, table_changes::Generation},
};
use sqlx::FromRow;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

/// A key that may sign in, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOwner {
    pub key_id: i64,
    pub key_name: String,
    pub user: CurrentUser,
}

/// The keys of active accounts in memory, without those of admins who must set up a second factor first, by fingerprint, while the tables stay as they were when they were read.
#[derive(Debug, Clone)]
pub(super) struct KeyCache {
    database: Database,
    generation: Generation,
    kept: Arc<RwLock<Option<(u64, Keys)>>>,
}

type Keys = Arc<HashMap<String, KeyOwner>>;

#[derive(FromRow)]
struct OwnerRow {
    key_id: i64,
    key_name: String,
    fingerprint: String,
    #[sqlx(flatten)]
    account: AccountRow,
}

#[derive(FromRow)]
struct KeyRow {
    id: i64,
    name: String,
    algorithm: String,
    fingerprint: String,
    created_at: i64,
    last_used_at: Option<i64>,
}

impl From<KeyRow> for SshKey {
    fn from(row: KeyRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            algorithm: row.algorithm,
            fingerprint: row.fingerprint,
            created_at: UtcMillis(row.created_at),
            last_used_at: row.last_used_at.map(UtcMillis),
        }
    }
}

impl KeyCache {
    pub fn new(database: Database) -> Self {
        let generation = database.watch(&["ssh_key", "account", "second_factor", "account_policy"]);
        Self { database, generation, kept: Arc::default() }
    }

    async fn owner(&self, fingerprint: &str) -> Result<Option<KeyOwner>, sqlx::Error> {
        Ok(self.all().await?.get(fingerprint).cloned())
    }

    async fn all(&self) -> Result<Keys, sqlx::Error> {
        let generation = self.generation.settled();
        if let Some(generation) = generation
            && let Some((of, keys)) = self.kept.read().unwrap_or_else(PoisonError::into_inner).as_ref()
            && *of == generation
        {
            return Ok(keys.clone());
        }
        let rows: Vec<OwnerRow> = sqlx::query_as(
            "SELECT ssh_key.id AS key_id, ssh_key.name AS key_name, ssh_key.fingerprint,
                    account.id, account.username, account.email, account.role
             FROM ssh_key JOIN account ON account.id = ssh_key.account_id WHERE account.is_active = 1
             AND NOT (account.role = 'admin' AND (SELECT admins_need_second_factor FROM account_policy)
                      AND NOT EXISTS (SELECT 1 FROM second_factor WHERE account_id = account.id))",
        )
        .fetch_all(self.database.read())
        .await?;
        let owner = |row: OwnerRow| {
            let owner = KeyOwner { key_id: row.key_id, key_name: row.key_name, user: row.account.into() };
            (row.fingerprint, owner)
        };
        let keys: Keys = Arc::new(rows.into_iter().map(owner).collect());
        if let Some(generation) = generation {
            *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some((generation, keys.clone()));
        }
        Ok(keys)
    }
}

impl Accounts {
    /// The user's public keys, newest first.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn ssh_keys(&self, user: &CurrentUser) -> Result<Vec<SshKey>, ApiError> {
        let rows: Vec<KeyRow> = sqlx::query_as(
            "SELECT id, name, algorithm, fingerprint, created_at, last_used_at FROM ssh_key WHERE account_id = ?
             ORDER BY id DESC",
        )
        .bind(user.id)
        .fetch_all(self.database.read())
        .await
        .map_err(internal)?;
        Ok(rows.into_iter().map(SshKey::from).collect())
    }

    /// Adds a public key, in OpenSSH's form, to the user's account. An empty `name` means the key's comment.
    ///
    /// # Errors
    /// `Invalid` with the field and the reason; `Conflict` if the key is there already, in this account or in another, or if
    /// the account has too many.
    pub async fn add_ssh_key(&self, user: &CurrentUser, text: &str, name: &str) -> Result<(), ApiError> {
        let key = AcceptedKey::parse(text, name)?;
        let mut tx = self.database.write().await.map_err(internal)?;
        let owner: Option<i64> = sqlx::query_scalar("SELECT account_id FROM ssh_key WHERE fingerprint = ?")
            .bind(&key.fingerprint)
            .fetch_optional(&mut *tx)
            .await
            .map_err(internal)?;
        if let Some(owner) = owner {
            return Err(taken(owner == user.id));
        }
        let inserted = sqlx::query(
            "INSERT INTO ssh_key (account_id, name, algorithm, fingerprint, public_key, created_at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE (SELECT count(*) FROM ssh_key WHERE account_id = ?1) < ?7",
        )
        .bind(user.id)
        .bind(&key.name)
        .bind(&key.algorithm)
        .bind(&key.fingerprint)
        .bind(&key.openssh)
        .bind(self.now())
        .bind(SSH_KEYS_MAX)
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        if inserted.rows_affected() == 0 {
            let text = format!("You have {SSH_KEYS_MAX} keys already. Delete one first.");
            return Err(ApiError::conflict(text));
        }
        let text = format!("{} added the ssh key {} ({}).", user.username, key.name, key.fingerprint);
        NewEvent::info("ssh_key_added", None, text).by(user.id).write(&mut tx).await.map_err(internal)?;
        tx.commit().await.map_err(internal)
    }

    /// Deletes one of the user's public keys; its open connections end within a second.
    ///
    /// # Errors
    /// `NotFound` if the user has no such key.
    pub async fn delete_ssh_key(&self, user: &CurrentUser, key_id: i64) -> Result<(), ApiError> {
        let mut tx = self.database.write().await.map_err(internal)?;
        let deleted: Option<(String, String)> =
            sqlx::query_as("DELETE FROM ssh_key WHERE id = ? AND account_id = ? RETURNING name, fingerprint")
                .bind(key_id)
                .bind(user.id)
                .fetch_optional(&mut *tx)
                .await
                .map_err(internal)?;
        let Some((name, fingerprint)) = deleted else { return Err(ApiError::not_found("ssh key")) };
        let text = format!("{} deleted the ssh key {name} ({fingerprint}).", user.username);
        NewEvent::info("ssh_key_removed", None, text).by(user.id).write(&mut tx).await.map_err(internal)?;
        tx.commit().await.map_err(internal)
    }

    /// The active user whose key has this fingerprint. It reads what is in memory.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn owner_of_ssh_key(&self, fingerprint: &str) -> Result<Option<KeyOwner>, ApiError> {
        self.ssh_keys.owner(fingerprint).await.map_err(internal)
    }

    /// Whether somebody at this address may try to sign in with a key.
    ///
    /// # Errors
    /// `TooMany` after too many unknown ones.
    pub fn check_ssh_sign_in(&self, address: IpAddr) -> Result<(), ApiError> {
        self.passwords.throttle().check(&Attempt::ssh(address))
    }

    /// Counts a connection whose keys nobody has.
    pub fn count_failed_ssh_sign_in(&self, address: IpAddr) {
        self.passwords.throttle().count_failure(&Attempt::ssh(address));
    }

    /// Notes that a connection was opened with a key.
    ///
    /// # Errors
    /// `Internal` when the database cannot be written.
    pub async fn note_use_of_ssh_key(&self, key_id: i64) -> Result<(), ApiError> {
        let mut tx = self.database.write().await.map_err(internal)?;
        sqlx::query("UPDATE ssh_key SET last_used_at = ? WHERE id = ?")
            .bind(self.now())
            .bind(key_id)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)
    }
}

fn taken(is_own: bool) -> ApiError {
    let text = if is_own {
        "You have added this key already."
    } else {
        "This key belongs to another account. Make a new one with ssh-keygen -t ed25519."
    };
    ApiError { code: ErrorCode::Conflict, ..ApiError::invalid_field("public_key", text) }
}
