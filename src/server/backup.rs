//! Backups of the database: made while a server runs, restored while none does.
//!
//! They do not include the VMs' folders and disks, which belong to Vagrant and libvirt.

use super::database::{FILE_NAME, now};
use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions},
};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{0} holds no database. Name the server's data folder with --data-dir.")]
    NoDatabase(String),
    #[error("{0} cannot be made: {1}. Name a file that is not there yet, in a folder that is.")]
    NewFile(String, io::Error),
    #[error("The database cannot be copied into {0}: {1}. Is the disk full?")]
    Copy(String, sqlx::Error),
    #[error("{0} is no backup that can be used: {1}.")]
    NoBackup(String, String),
    #[error("{0} cannot be put in its place: {1}.")]
    Place(String, io::Error),
}

/// Writes a consistent snapshot of the database in `data_dir` into a new `file` that only the owner can read. A server
/// may be running.
///
/// # Errors
/// A message for the user; the file is then removed.
pub async fn back_up(data_dir: &Path, file: &Path) -> Result<(), BackupError> {
    let source = data_dir.join(FILE_NAME);
    if !source.is_file() {
        return Err(BackupError::NoDatabase(data_dir.display().to_string()));
    }
    let shown = file.display().to_string();
    if file.to_str().is_none() {
        return Err(BackupError::NewFile(shown, io::ErrorKind::InvalidFilename.into()));
    }
    new_private(file).map_err(|e| BackupError::NewFile(shown.clone(), e))?;
    copy(&source, &shown).await.map_err(|error| {
        let _ = fs::remove_file(file);
        BackupError::Copy(shown, error)
    })
}

/// All that the database `source` holds, also what is beside its main file still, into the empty file `target`.
async fn copy(source: &Path, target: &str) -> Result<(), sqlx::Error> {
    // What it copies into shrinks like the original.
    let options = SqliteConnectOptions::new().filename(source).auto_vacuum(SqliteAutoVacuum::Incremental);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    sqlx::query("VACUUM INTO ?").bind(target).execute(&mut connection).await?;
    connection.close().await
}

/// Restores a backup into `data_dir`, whose server must not be running. An existing database is kept beside it; returns
/// its path.
///
/// # Errors
/// A message for the user; the database is then unchanged.
pub async fn restore(data_dir: &Path, backup: &Path) -> Result<Option<PathBuf>, BackupError> {
    let shown = backup.display().to_string();
    // One that was in use has a part beside it; one that was not may lie where nothing can be written.
    let whole = !with_suffix(backup, "-wal").exists();
    check(backup, whole).await.map_err(|why| BackupError::NoBackup(shown.clone(), why))?;
    let place = data_dir.join(FILE_NAME);
    let failed = |e| BackupError::Place(place.display().to_string(), e);
    let coming = data_dir.join(format!("{FILE_NAME}.coming"));
    let _ = fs::remove_file(&coming);
    let mut target = new_private(&coming).map_err(failed)?;
    if whole {
        File::open(backup).and_then(|mut source| io::copy(&mut source, &mut target)).map_err(failed)?;
    } else {
        let shown = coming.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        copy(backup, shown).await.map_err(|e| BackupError::Copy(shown.to_owned(), e))?;
    }
    target.sync_all().map_err(failed)?;

    let kept = data_dir.join(format!("before-restore-{}.sqlite", now().0));
    let was_there = place.exists();
    // What is not in the main file yet belongs to it, and never to the one that comes.
    let mut moved = Vec::new();
    let mut replace = || {
        for part in ["-wal", "-shm", ""] {
            let (from, to) = (with_suffix(&place, part), with_suffix(&kept, part));
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Err(_) => {}
                Ok(()) => moved.push((from, to)),
            }
        }
        fs::rename(&coming, &place)
    };
    if let Err(error) = replace() {
        for (from, to) in moved {
            let _ = fs::rename(to, from);
        }
        return Err(failed(error));
    }
    Ok(was_there.then_some(kept))
}

/// Whole, and of ours.
async fn check(backup: &Path, immutable: bool) -> Result<(), String> {
    let options = SqliteConnectOptions::new().filename(backup).read_only(immutable).immutable(immutable);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(|e| e.to_string())?;
    let sound: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(&mut connection)
        .await
        .map_err(|e| e.to_string())?;
    if sound != "ok" {
        return Err(sound);
    }
    let provider: Result<String, _> =
        sqlx::query_scalar("SELECT provider FROM installation").fetch_one(&mut connection).await;
    provider.map(drop).map_err(|_| "it is not of Twarga Cloud".to_owned())
}

fn new_private(file: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
