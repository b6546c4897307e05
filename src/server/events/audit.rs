//! Checks the chain of events, and deletes its expired beginning.

use super::chain::{Broken, Follower, Hash, StoredEvent};
use crate::{model::UtcMillis, server::database::Database};
use futures::TryStreamExt;
use sqlx::{FromRow, Sqlite, SqliteExecutor, Transaction};

/// A chain that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub events: u64,
    /// Those from before events were chained.
    pub unchained: i64,
    /// The last event and its hash. Whoever keeps them elsewhere can tell later whether the end was cut off or rewritten.
    pub last_id: i64,
    pub last_hash: Hash,
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("the chain is broken: {0}")]
    Broken(#[from] Broken),
    #[error(
        "event {0} does not have the expected hash, or is not there: the end of the chain was removed or rewritten"
    )]
    Rewritten(i64),
    #[error("the events cannot be read: {0}")]
    Database(#[from] sqlx::Error),
}

#[derive(FromRow)]
struct ChainRow {
    #[sqlx(flatten)]
    event: StoredEvent,
    hash: Option<Vec<u8>>,
}

/// Where the chain begins.
pub(super) async fn anchor(executor: impl SqliteExecutor<'_>) -> Result<Follower, sqlx::Error> {
    let (last_id, hash): (i64, Vec<u8>) =
        sqlx::query_as("SELECT event_id, hash FROM event_anchor").fetch_one(executor).await?;
    Ok(Follower { last_id, last_hash: hash.try_into().unwrap_or_default() })
}

/// The end of the chain, inside the transaction that adds to it.
pub(super) async fn end(tx: &mut Transaction<'_, Sqlite>) -> Result<Follower, sqlx::Error> {
    let last: Option<(i64, Option<Vec<u8>>)> =
        sqlx::query_as("SELECT id, hash FROM event ORDER BY id DESC LIMIT 1")
            .fetch_optional(&mut **tx)
            .await?;
    match last {
        Some((last_id, Some(hash))) => {
            Ok(Follower { last_id, last_hash: hash.try_into().unwrap_or_default() })
        }
        _ => anchor(&mut **tx).await,
    }
}

/// Checks every event from the anchor on. `expected` is what an earlier check printed as the last event.
///
/// # Errors
/// What is wrong with the first event that is.
pub async fn verify(database: &Database, expected: Option<(i64, Hash)>) -> Result<Verified, AuditError> {
    let mut tx = database.read().begin().await?;
    let mut follower = anchor(&mut *tx).await?;
    let unchained = sqlx::query_scalar("SELECT count(*) FROM event WHERE id <= ?")
        .bind(follower.last_id)
        .fetch_one(&mut *tx)
        .await?;
    let mut is_expected = expected.is_none_or(|expected| expected == (follower.last_id, follower.last_hash));
    let mut events = 0;
    {
        let mut rows = sqlx::query_as::<_, ChainRow>(
            "SELECT id, at, kind, severity, vm_id, account_id, done_by, text, address, session_id, request_id, hash
             FROM event WHERE id > ? ORDER BY id",
        )
        .bind(follower.last_id)
        .fetch(&mut *tx);
        while let Some(ChainRow { event, hash }) = rows.try_next().await? {
            follower.follow(&event, hash.as_deref())?;
            is_expected |= expected == Some((follower.last_id, follower.last_hash));
            events += 1;
        }
    }
    match expected {
        // One that has expired since cannot be looked up.
        Some((id, _)) if !is_expected && id >= anchor(&mut *tx).await?.last_id => {
            Err(AuditError::Rewritten(id))
        }
        _ => Ok(Verified { events, unchained, last_id: follower.last_id, last_hash: follower.last_hash }),
    }
}

/// Deletes the events before `before`, and moves the anchor behind them. Returns how many.
///
/// # Errors
/// When SQLite cannot.
pub async fn delete_before(database: &Database, before: UtcMillis) -> Result<u64, sqlx::Error> {
    let mut tx = database.write().await?;
    // Up to the first that is to stay: the clock may have been wrong for a while.
    let last_expired: Option<i64> = sqlx::query_scalar(
        "SELECT max(id) FROM event WHERE id < coalesce((SELECT min(id) FROM event WHERE at >= ?), 9223372036854775807)",
    )
    .bind(before.0)
    .fetch_one(&mut *tx)
    .await?;
    let Some(last_expired) = last_expired else { return Ok(0) };
    sqlx::query(
        "UPDATE event_anchor SET event_id = event.id, hash = event.hash FROM event
         WHERE event.id = ? AND event.id > event_anchor.event_id",
    )
    .bind(last_expired)
    .execute(&mut *tx)
    .await?;
    let deleted = sqlx::query("DELETE FROM event WHERE id <= ?")
        .bind(last_expired)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    tx.commit().await?;
    Ok(deleted)
}
