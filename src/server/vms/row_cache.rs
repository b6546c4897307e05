//! The VMs' rows in memory, while the tables stay as they were when they were read.

use super::repository::{self, TABLES, VmRow};
use crate::server::{database::Database, table_changes::Generation};
use std::sync::{Arc, PoisonError, RwLock};

pub struct RowCache {
    database: Database,
    generation: Generation,
    kept: RwLock<Option<(u64, Arc<[VmRow]>)>>,
    /// One reads for all that wait meanwhile.
    reading: tokio::sync::Mutex<()>,
}

impl RowCache {
    pub fn new(database: Database) -> Self {
        let generation = database.watch(&TABLES);
        Self { database, generation, kept: RwLock::default(), reading: tokio::sync::Mutex::default() }
    }

    /// All VMs that are not destroyed, by id.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn all(&self) -> Result<Arc<[VmRow]>, sqlx::Error> {
        if let Some(rows) = self.kept() {
            return Ok(rows);
        }
        let _reading = self.reading.lock().await;
        if let Some(rows) = self.kept() {
            return Ok(rows);
        }
        let generation = self.generation.settled();
        let rows: Arc<[VmRow]> = repository::select(&self.database, None).await?.into();
        if let Some(generation) = generation {
            *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some((generation, rows.clone()));
        }
        Ok(rows)
    }

    fn kept(&self) -> Option<Arc<[VmRow]>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let (generation, rows) = kept.as_ref()?;
        (self.generation.settled() == Some(*generation)).then(|| rows.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[tokio::test]
    async fn every_table_that_is_read_is_watched_and_reports_its_changes() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        let schema: Vec<(String, String)> =
            sqlx::query_as("SELECT name, sql FROM sqlite_schema WHERE type = 'table'")
                .fetch_all(database.read())
                .await
                .unwrap();
        let words: Vec<_> = repository::SELECT.split_whitespace().collect();
        let read: BTreeSet<_> = words
            .windows(2)
            .filter(|pair| ["FROM", "JOIN"].contains(&pair[0]) && !pair[1].starts_with('('))
            .map(|pair| pair[1])
            .collect();
        assert_eq!(read, BTreeSet::from(TABLES));
        for table in TABLES {
            let (_, sql) = schema.iter().find(|(name, _)| name == table).unwrap();
            assert!(!sql.contains("WITHOUT ROWID"), "{table}");
        }
    }
}
