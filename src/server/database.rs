//! The SQLite database: opened and migrated here.
//!
//! There is one writing connection, so writers queue in the process and SQLite never returns "busy"; readers have their
//! own connections and never wait for it (WAL).

use super::table_changes::{Generation, TableChanges};
use crate::model::{ProviderKind, UtcMillis};
use nix::sys::statfs::statfs;
use sqlx::{
    Connection, Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::{
        SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    },
};
use std::{
    fs::{DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::Mutex;

/// The database's file in the data folder.
pub(super) const FILE_NAME: &str = "twarga.sqlite";

const STICKY: u32 = 0o1000;

const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;
const SQLITE_READONLY: i32 = 8;
const SQLITE_IOERR: i32 = 10;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_NOTADB: i32 = 26;

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

#[derive(Debug, Clone)]
pub struct Database {
    writer: SqlitePool,
    reader: SqlitePool,
    folder: Arc<Path>,
    changes: TableChanges,
    observer: Arc<Mutex<Observer>>,
}

/// A connection that finds out whether the others have committed anything.
#[derive(Debug)]
struct Observer {
    /// None once it is closed.
    connection: Option<SqliteConnection>,
    /// The latest `PRAGMA data_version`; none before the first.
    version: Option<i64>,
}

/// Connections that read at the same time.
const READERS: u32 = 4;
/// How long a statement waits for another program that holds the database's lock: less than an interval, so that a tick is
/// published nevertheless.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("The folder {0} cannot be made or written to: {1}. Choose another with --data-dir.")]
    Folder(String, io::Error),
    #[error(
        "The folder {folder} is on a network file system ({kind}), where the database does not work: SQLite's WAL needs \
         shared memory. Choose a folder on a local disk with --data-dir."
    )]
    NetworkFileSystem { folder: String, kind: &'static str },
    #[error(
        "The file system of the folder {0} does not support the database: SQLite's WAL needs shared memory there. Choose \
         a folder on a local disk with --data-dir."
    )]
    NoWal(String),
    #[error("The database {0} cannot be opened: {1}")]
    Open(String, sqlx::Error),
    #[error(
        "The database {0} cannot be opened, because its disk is full. Free some space there, or choose another folder \
         with --data-dir."
    )]
    DiskFull(String),
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
        make_folder(data_dir).map_err(|e| OpenError::Folder(shown.clone(), e))?;
        // What cannot be found out does not matter: the journal mode is checked, too. The type is wider than its 32 bits
        // on some architectures, and signed on others.
        if let Some(kind) =
            statfs(data_dir).ok().and_then(|found| network_file_system(found.filesystem_type().0 as u32))
        {
            return Err(OpenError::NetworkFileSystem { folder: shown, kind });
        }
        make_private(&file).map_err(|e| OpenError::Folder(shown.clone(), e))?;
        let (folder, shown) = (shown, file.display().to_string());
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
            .busy_timeout(BUSY_TIMEOUT);
        let pool = |connections| {
            SqlitePoolOptions::new().max_connections(connections).idle_timeout(None).max_lifetime(None)
        };
        let failed = |error| open_error(&shown, error);
        let changes = TableChanges::default();
        let (reported, ended) = (changes.clone(), changes.clone());
        let writer = pool(1)
            .after_connect(move |connection, _| Box::pin(report_changes(connection, reported.clone())))
            .before_acquire(|connection, _| Box::pin(is_clean(connection)))
            .after_release(move |connection, _| Box::pin(is_released(connection, ended.clone())))
            .connect_with(options.clone())
            .await
            .map_err(failed)?;
        let mode: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&writer).await.map_err(failed)?;
        if mode != "wal" {
            return Err(OpenError::NoWal(folder));
        }
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
        // All of them at once: none can be opened while the disk is full.
        let observer = SqliteConnection::connect_with(&options).await.map_err(failed)?;
        let observer = Arc::new(Mutex::new(Observer { connection: Some(observer), version: None }));
        let reader = pool(READERS).min_connections(READERS).connect_with(options).await.map_err(failed)?;
        Ok(Self { writer, reader, folder: data_dir.into(), changes, observer })
    }

    /// Makes sure that real and simulated VMs never share a folder.
    ///
    /// # Errors
    /// When the folder was begun with the other provider.
    pub async fn claim(&self, data_dir: &Path, provider: ProviderKind) -> Result<(), OpenError> {
        let shown = data_dir.display().to_string();
        let failed = |error| open_error(&shown, error);
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

    /// For rows of these tables that are kept in memory.
    pub fn watch(&self, tables: &'static [&'static str]) -> Generation {
        self.changes.watch(tables)
    }

    /// Lets everything be read again if another connection has committed something since the last check: that of another
    /// process, such as `twarga-cloud user`, or the writing one of this process.
    pub async fn check_other_processes(&self) {
        let mut observer = self.observer.lock().await;
        let Some(connection) = &mut observer.connection else { return };
        let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await;
        // What cannot be read may have changed.
        let version = version
            .inspect_err(|error| tracing::debug!(%error, "changes of other processes cannot be observed"))
            .ok();
        if version.is_none() || version != observer.version {
            self.changes.invalidate();
        }
        observer.version = version;
    }

    /// Why the database cannot be written, as a sentence for users that says what to do.
    pub fn reason(&self, error: &sqlx::Error) -> &'static str {
        const FULL: &str = "The disk of the data folder is full. Free some space there.";
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        // The primary code is in the last byte of an extended one.
        match code.and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff) {
            Some(SQLITE_FULL) => FULL,
            Some(SQLITE_IOERR | SQLITE_CANTOPEN) if is_full(&self.folder) => FULL,
            Some(SQLITE_IOERR | SQLITE_CANTOPEN) => {
                "The disk of the data folder reports errors. The kernel's log (dmesg) says more."
            }
            Some(SQLITE_READONLY) => {
                "The data folder is read-only. Mount its file system for writing, and check who owns it."
            }
            Some(SQLITE_BUSY | SQLITE_LOCKED) => "Another program holds the lock of the database. End it.",
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => "The database file is damaged. Restore a backup.",
            _ => "The server log says why.",
        }
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
        if let Some(observer) = self.observer.lock().await.connection.take() {
            let _ = observer.close().await;
        }
        self.reader.close().await;
        self.writer.close().await;
    }

    /// Read-only connections.
    pub fn read(&self) -> &SqlitePool {
        &self.reader
    }
}

/// Whether the connection is outside of any transaction. SQLite itself ends a transaction when the disk is full or fails;
/// sqlx's rollback then finds none and counts one as open for ever, so that nothing could be written any more. The pool
/// replaces a connection that is not clean.
async fn is_clean(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // A dropped transaction only queues its rollback; the ping is queued behind it.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// Reports every changed row before it is committed.
async fn report_changes(connection: &mut SqliteConnection, changes: TableChanges) -> Result<(), sqlx::Error> {
    connection.lock_handle().await?.set_update_hook(move |change| changes.begin(change.table));
    Ok(())
}

/// Whether the connection may be used again; no transaction is open on it any more if so.
async fn is_released(connection: &mut SqliteConnection, changes: TableChanges) -> Result<bool, sqlx::Error> {
    let is_clean = is_clean(connection).await?;
    if is_clean {
        changes.end();
    }
    Ok(is_clean)
}

/// SQLite reports a full disk as an input/output error while it creates its files.
fn open_error(shown: &str, error: sqlx::Error) -> OpenError {
    let folder = Path::new(shown).parent().unwrap_or(Path::new(shown));
    if is_disk_full(&error) || (error.as_database_error().is_some() && is_full(folder)) {
        OpenError::DiskFull(shown.to_owned())
    } else {
        OpenError::Open(shown.to_owned(), error)
    }
}

/// Whether this is SQLite's error of a full disk (`SQLITE_FULL`).
pub fn is_disk_full(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "13")
}

/// Whether nothing can be written to a folder's file system for want of space.
fn is_full(folder: &Path) -> bool {
    let probe = folder.join(".space");
    let written = std::fs::write(&probe, [1; 8192]);
    let _ = std::fs::remove_file(&probe);
    written.is_err_and(|error| error.kind() == io::ErrorKind::StorageFull)
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

/// Makes the folder for nobody else to read, also one that exists. A folder that is shared by its sticky bit (such as
/// `/tmp`) or belongs to somebody else stays as it is.
fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mode = folder.metadata()?.permissions().mode();
    if mode & STICKY == 0 && mode & 0o077 != 0 {
        let _ = std::fs::set_permissions(folder, Permissions::from_mode(0o700));
    }
    Ok(())
}

/// The name of a file system whose files several computers may have open, so that SQLite's shared memory or its locks
/// do not work. By the numbers of `statfs(2)`.
fn network_file_system(kind: u32) -> Option<&'static str> {
    match kind {
        0x6969 => Some("NFS"),
        0x0102_1997 => Some("9p"),
        0xff53_4d42 => Some("CIFS"),
        0xfe53_4d42 => Some("SMB2"),
        0x517b => Some("SMB"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x7375_7245 => Some("Coda"),
        0x564c => Some("NCP"),
        _ => None,
    }
}

/// Makes the file for nobody else to read: it holds the hashes of passwords and tokens. SQLite gives the files beside
/// its own the same rights.
fn make_private(file: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(file)?;
    file.set_permissions(Permissions::from_mode(0o600))
}

/// The wall clock.
pub fn now() -> UtcMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sqlx::migrate::Migrator;

    async fn opened() -> (tempfile::TempDir, Database) {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(dir.path()).await.unwrap();
        sqlx::query("CREATE TABLE entry (at INTEGER PRIMARY KEY, value BLOB)")
            .execute(&database.writer)
            .await
            .unwrap();
        (dir, database)
    }

    /// What a statement does on a full disk: SQLite may take no page more.
    async fn fill(database: &Database) {
        sqlx::query("PRAGMA max_page_count = 1").execute(&database.writer).await.unwrap();
    }

    async fn make_space(database: &Database) -> Result<(), sqlx::Error> {
        sqlx::query("PRAGMA max_page_count = 1073741823").execute(&database.writer).await.map(|_| ())
    }

    async fn write(database: &Database, at: i64, bytes: usize) -> Result<(), sqlx::Error> {
        let mut tx = database.write().await?;
        let insert = "INSERT INTO entry (at, value) VALUES (?, ?)";
        sqlx::query(insert).bind(at).bind(vec![0_u8; bytes]).execute(&mut *tx).await?;
        tx.commit().await
    }

    async fn written(database: &Database) -> Vec<i64> {
        sqlx::query_scalar("SELECT at FROM entry ORDER BY at").fetch_all(database.read()).await.unwrap()
    }

    #[tokio::test]
    async fn operations_keep_their_ids_and_their_credits_when_their_table_is_made_anew() {
        let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let before: Vec<_> = MIGRATOR.iter().filter(|migration| migration.version < 27).cloned().collect();
        let before = Migrator { migrations: before.into(), ..Migrator::DEFAULT };
        before.run(&mut connection).await.unwrap();
        let rows = "INSERT INTO account (username, email, password_hash, role, created_at) VALUES ('ada', 'a@b', 'x', 'admin', 1);
            INSERT INTO vm (owner_id, name, image, os_type, vagrant_box, ram_mb, cpu_cores, disk_gb, status, created_at, updated_at)
            VALUES (1, 'web-1', 'i', 'o', 'b', 1, 1, 1, 'running', 1, 1);
            INSERT INTO operation (id, vm_id, kind, state, requested_by, requested_at, output)
            VALUES (7, 1, 'launch', 'succeeded', 1, 1, 'Booted');
            INSERT INTO credit_entry (account_id, at, kind, amount, vm_id, operation_id, note)
            VALUES (1, 1, 'reserve', -5, 1, 7, 'web-1')";
        sqlx::raw_sql(rows).execute(&mut connection).await.unwrap();
        MIGRATOR.run(&mut connection).await.unwrap();
        let kept: (i64, String, i64) = sqlx::query_as(
            "SELECT operation.id, output, amount FROM operation JOIN credit_entry ON operation_id = operation.id",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert_eq!(kept, (7, "Booted".into(), -5));
        let referred = sqlx::query("DELETE FROM operation").execute(&mut connection).await;
        assert!(referred.unwrap_err().to_string().contains("FOREIGN KEY"));
        let import = "INSERT INTO operation (vm_id, kind, state, requested_by, requested_at)
                      VALUES (1, 'import', 'queued', 1, 1) RETURNING id";
        assert_eq!(sqlx::query_scalar::<_, i64>(import).fetch_one(&mut connection).await.unwrap(), 8);
    }

    fn mode_of(file: &Path) -> u32 {
        file.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn nobody_else_reads_the_data_folder_even_if_it_existed() {
        for (before, after) in [(0o755, 0o700), (0o770, 0o700), (0o700, 0o700), (0o1777, 0o1777)] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::set_permissions(dir.path(), Permissions::from_mode(before)).unwrap();
            Database::open(dir.path()).await.unwrap().close().await;
            assert_eq!(mode_of(dir.path()), after, "{before:o}");
            assert_eq!(mode_of(&dir.path().join(FILE_NAME)), 0o600);
        }
    }

    #[test]
    fn a_folder_on_a_network_file_system_is_rejected_with_its_name() {
        for (kind, name) in [
            (0x6969, "NFS"),
            (0x0102_1997, "9p"),
            (0xff53_4d42, "CIFS"),
            (0xfe53_4d42, "SMB2"),
            (0x517b, "SMB"),
            (0x5346_414f, "AFS"),
        ] {
            assert_eq!(network_file_system(kind), Some(name));
            let text = OpenError::NetworkFileSystem { folder: "/data".into(), kind: name }.to_string();
            assert!(text.contains(name) && text.contains("--data-dir"), "{text}");
        }
        let (ext4, btrfs, tmpfs, xfs, overlay) = (0xef53, 0x9123_683e, 0x0102_1994, 0x5846_5342, 0x794c_7630);
        for local in [ext4, btrfs, tmpfs, xfs, overlay] {
            assert_eq!(network_file_system(local), None);
        }
    }

    #[tokio::test]
    async fn writing_goes_on_after_the_disk_was_full() {
        let (_dir, database) = opened().await;
        write(&database, 1, 10).await.unwrap();
        fill(&database).await;
        let error = write(&database, 2, 100_000).await.unwrap_err();
        assert!(is_disk_full(&error), "{error}");
        make_space(&database).await.unwrap();
        write(&database, 3, 100_000).await.unwrap();
        assert_eq!(written(&database).await, [1, 3]);
    }

    #[tokio::test]
    async fn writing_goes_on_after_a_transaction_that_sqlite_ended() {
        let (_dir, database) = opened().await;
        for ending in ["ROLLBACK", "COMMIT"] {
            let mut tx = database.write().await.unwrap();
            sqlx::query(sqlx::AssertSqlSafe(ending)).execute(&mut *tx).await.unwrap();
            assert!(tx.commit().await.is_err());
            write(&database, ending.len() as i64, 10).await.unwrap();
        }
        assert_eq!(written(&database).await, [6, 8]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        /// 50 ticks in each of 20 runs: each that meets no fault is stored once, each that meets one is not stored.
        #[test]
        fn a_tick_without_a_fault_is_stored_whatever_happened_before(
            faults in prop::collection::vec(prop::option::weighted(0.5, 0_u8..4), 50),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (_dir, database) = opened().await;
                let (mut expected, mut cancelled) = (Vec::new(), Vec::new());
                for (at, fault) in (0..).zip(faults) {
                    match fault {
                        None => {
                            write(&database, at, 20_000).await.unwrap();
                            expected.push(at);
                        }
                        Some(0) => {
                            fill(&database).await;
                            assert!(write(&database, at, 20_000).await.is_err());
                            let _ = make_space(&database).await;
                        }
                        // The tick is dropped between its statements.
                        Some(1) => {
                            let mut tx = database.write().await.unwrap();
                            let insert = sqlx::query("INSERT INTO entry (at) VALUES (?)");
                            insert.bind(at).execute(&mut *tx).await.unwrap();
                        }
                        Some(2) => {
                            let mut tx = database.write().await.unwrap();
                            sqlx::query("ROLLBACK").execute(&mut *tx).await.unwrap();
                        }
                        // It is cancelled at any await.
                        Some(_) => {
                            let patience = Duration::from_micros((at * 37 % 400) as u64);
                            match tokio::time::timeout(patience, write(&database, at, 20_000)).await {
                                Ok(written) => {
                                    written.unwrap();
                                    expected.push(at);
                                }
                                // Its commit may have been carried out.
                                Err(_) => cancelled.push(at),
                            }
                        }
                    }
                }
                let stored = written(&database).await;
                let certain: Vec<_> = stored.iter().copied().filter(|at| !cancelled.contains(at)).collect();
                assert_eq!(certain, expected);
                let check: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(database.read()).await.unwrap();
                assert_eq!(check, "ok");
            });
        }
    }
}
