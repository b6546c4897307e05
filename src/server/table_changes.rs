//! Whether rows that were read may still be used: the basis of everything that is kept in memory beside its table.
//!
//! A [`Generation`] covers some tables. It is *settled* while nobody is changing them, and it has a different number after
//! every change. What was read while it had a number is current as long as it still has that number; while it has none, the
//! tables themselves must be read:
//!
//! ```text
//!             a statement changes a row                     the writing connection is free again
//! settled(n) ───────────────────────────▶ being changed ─────────────────────────────────────────▶ settled(n + 2)
//! ```
//!
//! SQLite reports a changed row on the one writing connection of this process before the transaction is committed, so no
//! commit is ever seen late, whichever code made it. Changes of other processes are found by `PRAGMA data_version`, see
//! `Database::check_other_processes`.
//!
//! SQLite reports no changes of tables `WITHOUT ROWID`, and no `DELETE` without `WHERE` of a table without triggers.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

/// All generations of a database.
#[derive(Debug, Clone, Default)]
pub struct TableChanges(Arc<RwLock<Vec<Generation>>>);

/// Of some tables. Odd while they are being changed.
#[derive(Debug, Clone)]
pub struct Generation {
    tables: &'static [&'static str],
    number: Arc<AtomicU64>,
}

impl Generation {
    /// What rows that are read from now on belong to; `None` while a transaction changes them.
    pub fn settled(&self) -> Option<u64> {
        let number = self.number.load(Ordering::SeqCst);
        number.is_multiple_of(2).then_some(number)
    }
}

impl TableChanges {
    pub fn watch(&self, tables: &'static [&'static str]) -> Generation {
        let generation = Generation { tables, number: Arc::default() };
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(generation.clone());
        generation
    }

    /// A transaction of this process has changed a row.
    pub fn begin(&self, table: &str) {
        self.each(|generation| {
            if generation.tables.contains(&table) {
                generation.number.fetch_or(1, Ordering::SeqCst);
            }
        });
    }

    /// The transaction has ended, whether it was committed or not.
    pub fn end(&self) {
        self.each(|generation| {
            let next = |number: u64| (!number.is_multiple_of(2)).then_some(number + 1);
            let _ = generation.number.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        });
    }

    /// Any row may have been changed.
    pub fn invalidate(&self) {
        self.each(|generation| {
            generation.number.fetch_add(2, Ordering::SeqCst);
        });
    }

    fn each(&self, work: impl FnMut(&Generation)) {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::database::{Database, FILE_NAME};
    use sqlx::Connection;
    use std::path::Path;
    use tempfile::TempDir;

    async fn opened() -> (TempDir, Database, Generation) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        let generation = database.watch(&["account", "session"]);
        insert(&database, "ada").await;
        (folder, database, generation)
    }

    const INSERT: &str = "INSERT INTO account (username, email, password_hash, role, created_at)
                          VALUES (?1, ?1 || '@example.org', '', 'user', 0)";

    async fn insert(database: &Database, name: &str) {
        let mut tx = database.write().await.unwrap();
        sqlx::query(INSERT).bind(name).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The next settled number: the connection is given back by a task of its own.
    async fn settled(database: &Database, generation: &Generation) -> u64 {
        // Waits for it.
        drop(database.write().await.unwrap());
        generation.settled().unwrap()
    }

    async fn elsewhere(folder: &Path, sql: &'static str) {
        let file = folder.join(FILE_NAME);
        let mut other = sqlx::SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
        sqlx::query(sql).execute(&mut other).await.unwrap();
        other.close().await.unwrap();
    }

    #[tokio::test]
    async fn nothing_is_settled_from_the_first_changed_row_until_the_transaction_has_ended() {
        let (_folder, database, generation) = opened().await;
        for commits in [true, false] {
            let before = settled(&database, &generation).await;
            let mut tx = database.write().await.unwrap();
            assert_eq!(generation.settled(), Some(before), "nothing was changed yet");
            sqlx::query("UPDATE account SET role = 'admin'").execute(&mut *tx).await.unwrap();
            assert_eq!(generation.settled(), None);
            if commits {
                tx.commit().await.unwrap();
            } else {
                drop(tx);
            }
            assert!(settled(&database, &generation).await > before);
        }
    }

    #[tokio::test]
    async fn rows_that_a_foreign_key_deletes_are_changes_and_other_tables_are_none() {
        let (_folder, database, _) = opened().await;
        let (sessions, events) = (database.watch(&["session"]), database.watch(&["event"]));
        let mut tx = database.write().await.unwrap();
        let session =
            "INSERT INTO session (account_id, token_hash, carrier, created_at, last_used_at, user_agent)
                       VALUES (1, x'00', 'cookie', 0, 0, '')";
        sqlx::query(session).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let before = settled(&database, &sessions).await;
        let mut tx = database.write().await.unwrap();
        sqlx::query("DELETE FROM account WHERE id = 1").execute(&mut *tx).await.unwrap();
        assert_eq!((sessions.settled(), events.settled()), (None, Some(0)));
        tx.commit().await.unwrap();
        assert!(settled(&database, &sessions).await > before);
    }

    #[tokio::test]
    async fn a_change_of_another_process_is_found() {
        let (folder, database, generation) = opened().await;
        let mut known = settled(&database, &generation).await;
        database.check_other_processes().await;
        known = known.max(generation.settled().unwrap());
        database.check_other_processes().await;
        assert_eq!(generation.settled(), Some(known), "nothing has changed");
        for sql in [
            "UPDATE account SET is_active = 0",
            "INSERT INTO account (username, email, password_hash, role, created_at) VALUES ('eve', 'e', '', 'user', 0)",
            "DELETE FROM account",
        ] {
            elsewhere(folder.path(), sql).await;
            database.check_other_processes().await;
            assert!(generation.settled().unwrap() > known, "{sql}");
            known = generation.settled().unwrap();
        }
    }
}
