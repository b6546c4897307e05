//! The one SQLite file: opened here, migrated here.
//!
//! There is one writing connection, so writers queue in the process and SQLite never answers "busy"; readers
//! have connections of their own and never wait for it (WAL).

use crate::model::{ProviderKind, UtcMillis};
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    fs::{DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

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
    /// A sentence for the person who starts the server.
    pub async fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let shown = data_dir.display().to_string();
        let file = data_dir.join("twarga.sqlite");
        make_private(data_dir, &file).map_err(|e| OpenError::Folder(shown.clone(), e))?;
        let shown = file.display().to_string();
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
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
        MIGRATOR.run(&writer).await.map_err(|e| OpenError::Migrate(shown.clone(), e))?;
        let reader = pool(4, options.pragma("query_only", "1")).await.map_err(failed)?;
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

    /// For reading only.
    pub fn read(&self) -> &SqlitePool {
        &self.reader
    }
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
