//! The open sessions in memory, with their users: a request does not read them from the database.
//!
//! A session is kept while the tables that decide about it stay as they were when it was read, see
//! [`Generation`]: whatever ends a session or changes its user, wherever in the program and in whichever process, ends what is
//! kept, too. Only the time of the last use is newer here, and written now and then: no request waits for that or fails
//! because of it.

use super::{AccountRow, Carrier, DAY_MILLIS, IDLE_DAYS, LIFE_DAYS};
use crate::{
    model::{ApiError, CurrentUser},
    server::{database::Database, table_changes::Generation},
};
use sqlx::FromRow;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

/// A later use is noted at most this often.
const LAST_USE_RESOLUTION_MILLIS: i64 = 1_000;

#[derive(Debug, Clone)]
pub struct SessionCache(Arc<Inner>);

/// A session that has not ended.
#[derive(Debug, Clone)]
pub struct OpenSession {
    pub id: i64,
    /// Possibly an admin who must set up a second factor first, see [`Self::admitted`].
    pub user: CurrentUser,
    pub(super) authenticated_at: i64,
    lacks_second_factor: bool,
}

impl OpenSession {
    /// The user, if they may do what their role allows.
    ///
    /// # Errors
    /// `SecondFactorMissing` for an admin without a second factor, while the server requires one of admins.
    pub fn admitted(self) -> Result<CurrentUser, ApiError> {
        if self.lacks_second_factor { Err(ApiError::second_factor_missing()) } else { Ok(self.user) }
    }
}

#[derive(Debug)]
struct Inner {
    database: Database,
    generation: Generation,
    kept: RwLock<Kept>,
    /// When sessions were last used, by their ids, as far as that is not written.
    unsaved: Mutex<HashMap<i64, i64>>,
}

/// What was read in one generation, by the tokens' hashes.
#[derive(Debug, Default)]
struct Kept {
    generation: u64,
    sessions: HashMap<Vec<u8>, Arc<Session>>,
}

#[derive(Debug)]
struct Session {
    carrier: String,
    created_at: i64,
    last_used_at: AtomicI64,
    open: OpenSession,
}

#[derive(FromRow)]
struct SessionRow {
    session_id: i64,
    carrier: String,
    created_at: i64,
    last_used_at: i64,
    authenticated_at: i64,
    lacks_second_factor: bool,
    #[sqlx(flatten)]
    account: AccountRow,
}

impl SessionCache {
    pub fn new(database: Database) -> Self {
        let generation = database.watch(&["session", "account", "second_factor", "account_policy"]);
        Self(Arc::new(Inner { database, generation, kept: RwLock::default(), unsaved: Mutex::default() }))
    }

    /// An open session, which is being used at the time `at`.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn open(
        &self,
        token_hash: &[u8],
        carrier: Carrier,
        at: i64,
    ) -> Result<Option<OpenSession>, sqlx::Error> {
        let Some(session) = self.find(token_hash, carrier, at).await? else { return Ok(None) };
        if at - session.last_used_at.fetch_max(at, Ordering::Relaxed) >= LAST_USE_RESOLUTION_MILLIS {
            note_latest(&mut self.unsaved(), session.open.id, at);
        }
        Ok(Some(session.open.clone()))
    }

    /// A session that is open at the time `at`, without using it.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn peek(
        &self,
        token_hash: &[u8],
        carrier: Carrier,
        at: i64,
    ) -> Result<Option<OpenSession>, sqlx::Error> {
        Ok(self.find(token_hash, carrier, at).await?.map(|session| session.open.clone()))
    }

    async fn find(
        &self,
        token_hash: &[u8],
        carrier: Carrier,
        at: i64,
    ) -> Result<Option<Arc<Session>>, sqlx::Error> {
        let session = match self.kept(token_hash) {
            Some(session) => Some(session),
            None => self.read(token_hash).await?,
        };
        Ok(session.filter(|session| session.carrier == carrier.as_str() && session.is_open(at)))
    }

    fn kept(&self, token_hash: &[u8]) -> Option<Arc<Session>> {
        let kept = self.0.kept.read().unwrap_or_else(PoisonError::into_inner);
        (Some(kept.generation) == self.0.generation.settled())
            .then(|| kept.sessions.get(token_hash).cloned())
            .flatten()
    }

    async fn read(&self, token_hash: &[u8]) -> Result<Option<Arc<Session>>, sqlx::Error> {
        let generation = self.0.generation.settled();
        let row: Option<SessionRow> = sqlx::query_as(
            "SELECT session.id AS session_id, session.carrier, session.created_at, session.last_used_at,
                    session.authenticated_at,
                    account.role = 'admin' AND (SELECT admins_need_second_factor FROM account_policy)
                        AND NOT EXISTS (SELECT 1 FROM second_factor WHERE account_id = account.id)
                        AS lacks_second_factor,
                    account.id, account.username, account.email, account.role
             FROM session JOIN account ON account.id = session.account_id
             WHERE session.token_hash = ? AND account.is_active = 1",
        )
        .bind(token_hash)
        .fetch_optional(self.0.database.read())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let unsaved = self.last_use(row.session_id).unwrap_or_default();
        let session = Arc::new(Session {
            carrier: row.carrier,
            created_at: row.created_at,
            last_used_at: AtomicI64::new(row.last_used_at.max(unsaved)),
            open: OpenSession {
                id: row.session_id,
                user: row.account.into(),
                authenticated_at: row.authenticated_at,
                lacks_second_factor: row.lacks_second_factor,
            },
        });
        if let Some(generation) = generation {
            let mut kept = self.0.kept.write().unwrap_or_else(PoisonError::into_inner);
            if kept.generation < generation {
                *kept = Kept { generation, sessions: HashMap::new() };
            }
            if kept.generation == generation {
                kept.sessions.insert(token_hash.to_vec(), session.clone());
            }
        }
        Ok(Some(session))
    }

    /// When a session was last used, if that is later than its row says.
    pub fn last_use(&self, session_id: i64) -> Option<i64> {
        self.unsaved().get(&session_id).copied()
    }

    /// Writes when sessions were last used. What cannot be written is kept for the next time.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn save_last_uses(&self) -> Result<(), sqlx::Error> {
        let unsaved = self.unsaved().clone();
        if unsaved.is_empty() {
            return Ok(());
        }
        let mut tx = self.0.database.write().await?;
        for (session_id, at) in &unsaved {
            sqlx::query("UPDATE session SET last_used_at = ?2 WHERE id = ?1 AND last_used_at < ?2")
                .bind(session_id)
                .bind(at)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        self.unsaved().retain(|session_id, at| unsaved.get(session_id) != Some(at));
        Ok(())
    }

    fn unsaved(&self) -> MutexGuard<'_, HashMap<i64, i64>> {
        self.0.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_open(&self, at: i64) -> bool {
        self.created_at > at - LIFE_DAYS * DAY_MILLIS
            && self.last_used_at.load(Ordering::Relaxed) > at - IDLE_DAYS * DAY_MILLIS
    }
}

fn note_latest(unsaved: &mut HashMap<i64, i64>, session_id: i64, at: i64) {
    let latest = unsaved.entry(session_id).or_insert(at);
    *latest = at.max(*latest);
}
