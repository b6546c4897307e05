//! The SQLite database: opened and migrated here.
//!
//! There is one writing connection, so writers queue in the process and SQLite never returns "busy"; readers have their
//! own connections and never wait for it (WAL).

use crate::model::{ProviderKind, UtcMillis};
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{
        SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    },
};
use std::{
    fs::{DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The database's file in the data folder.
pub(super) const FILE_NAME: &str = "twarga.sqlite";

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

#[derive(Debug, Clone)]
pub struct Database {
    writer: SqlitePool,
    reader: SqlitePool,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("The folder {0} cannot be made or written to: {1}. Choose another with --data-dir.")]
    Folder(String, std::io::Error),
    #[error("The database {0} cannot be opened: {1}")]
    Open(String, sqlx::Error),
    #[error("A server of another version uses {0}. End it first, or use that version's program.")]
    OtherVersion(String),
    #[error("The database {0} cannot be brought to this version's form: {1}")]
    Migrate(String, sqlx::migrate::MigrateError),
    #[error(
        "The folder {folder} belongs to the provider \"{is}\", not \"{asked}\": start with --provider {is}, or \
         choose another folder with --data-dir."
    )]
    OtherProvider { folder: String, is: String, asked: &'static str },
}

impl Database {
    /// Opens `DIR/twarga.sqlite`, making folder and file where they are missing.
    ///
    /// # Errors
    /// A message for the user.
    pub async fn open(data_dir: &Path) -> Result<Self, OpenError> {
        Self::opened(data_dir, true).await
    }

    /// The same beside a running server: fails if the schema is not this version's.
    ///
    /// # Errors
    /// A message for the user.
    pub async fn open_as_it_is(data_dir: &Path) -> Result<Self, OpenError> {
        Self::opened(data_dir, false).await
    }

    async fn opened(data_dir: &Path, may_migrate: bool) -> Result<Self, OpenError> {
        let shown = data_dir.display().to_string();
        let file = data_dir.join(FILE_NAME);
        make_private(data_dir, &file).map_err(|e| OpenError::Folder(shown.clone(), e))?;
        let shown = file.display().to_string();
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // So that the file shrinks when old samples go, a little at a time.
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            // A tick of many VMs and several chunks fit on a page.
            .page_size(8192)
            .busy_timeout(Duration::from_secs(10));
        let pool = |connections, options| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .idle_timeout(None)
                .max_lifetime(None)
                .connect_with(options)
        };
        let failed = |e| OpenError::Open(shown.clone(), e);
        let writer = pool(1, options.clone()).await.map_err(failed)?;
        if may_migrate {
            MIGRATOR.run(&writer).await.map_err(|e| OpenError::Migrate(shown.clone(), e))?;
            shrinkable(&writer).await.map_err(failed)?;
        } else {
            let count = "SELECT count(*) FROM _sqlx_migrations";
            let applied: i64 = sqlx::query_scalar(count).fetch_one(&writer).await.map_err(failed)?;
            if usize::try_from(applied).ok() != Some(MIGRATOR.iter().count()) {
                return Err(OpenError::OtherVersion(shown));
            }
        }
        // A question may be answered by hundreds of chunks: they are handed over many at a time.
        let options = options.pragma("query_only", "1").row_buffer_size(1024);
        let reader = pool(4, options).await.map_err(failed)?;
        Ok(Self { writer, reader })
    }

    /// Makes sure that real and simulated VMs never share a folder.
    ///
    /// # Errors
    /// When the folder was begun with the other provider.
    pub async fn claim(&self, data_dir: &Path, provider: ProviderKind) -> Result<(), OpenError> {
        let shown = data_dir.display().to_string();
        let failed = |e| OpenError::Open(shown.clone(), e);
        sqlx::query("INSERT INTO installation (id, provider) VALUES (1, ?) ON CONFLICT DO NOTHING")
            .bind(provider.as_str())
            .execute(&self.writer)
            .await
            .map_err(failed)?;
        let is: String = sqlx::query_scalar("SELECT provider FROM installation")
            .fetch_one(&self.reader)
            .await
            .map_err(failed)?;
        if is == provider.as_str() {
            Ok(())
        } else {
            Err(OpenError::OtherProvider { folder: shown.clone(), is, asked: provider.as_str() })
        }
    }

    /// Begins a writing transaction; waits for the one before it.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Gives pages that hold nothing any more back to the file system, `pages` at a time.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn incremental_vacuum(&self, pages: u32) -> Result<(), sqlx::Error> {
        let vacuum = format!("PRAGMA incremental_vacuum({pages})");
        loop {
            let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&self.writer).await?;
            if free == 0 {
                return Ok(());
            }
            sqlx::query(sqlx::AssertSqlSafe(vacuum.clone())).fetch_all(&self.writer).await?;
            let left: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&self.writer).await?;
            if left >= free {
                return Ok(());
            }
        }
    }

    /// Ends all connections; what was not written to the main file yet is.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// Read-only connections.
    pub fn read(&self) -> &SqlitePool {
        &self.reader
    }
}

/// A file created before incremental vacuum was enabled is rewritten once.
async fn shrinkable(writer: &SqlitePool) -> Result<(), sqlx::Error> {
    const INCREMENTAL: i64 = 2;
    let mode: i64 = sqlx::query_scalar("PRAGMA auto_vacuum").fetch_one(writer).await?;
    if mode != INCREMENTAL {
        let mut connection = writer.acquire().await?;
        sqlx::query("PRAGMA auto_vacuum = INCREMENTAL").execute(&mut *connection).await?;
        sqlx::query("VACUUM").execute(&mut *connection).await?;
    }
    Ok(())
}

/// Makes folder and file for nobody else to read: they hold the hashes of passwords and tokens. SQLite gives the
/// files beside its own the same rights.
fn make_private(folder: &Path, file: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(file)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

/// The wall clock.
pub fn now() -> UtcMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
