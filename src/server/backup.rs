//! Copies of the database: made while a server runs, put back while none does.
//!
//! The VMs' folders and disks are not in it: those are Vagrant's and libvirt's.

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

/// Writes how the database of `data_dir` stands at one moment into a new `file`, for nobody else to read. A server
/// may go on meanwhile.
///
/// # Errors
/// A sentence for the person who asked; nothing is left of the file then.
pub async fn back_up(data_dir: &Path, file: &Path) -> Result<(), BackupError> {
    let source = data_dir.join(FILE_NAME);
    if !source.is_file() {
        return Err(BackupError::NoDatabase(data_dir.display().to_string()));
    }
    let shown = file.display().to_string();
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(|e| BackupError::NewFile(shown.clone(), e))?;
    let copied = async {
        // What it copies into shrinks like the original.
        let options =
            SqliteConnectOptions::new().filename(&source).auto_vacuum(SqliteAutoVacuum::Incremental);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::query("VACUUM INTO ?").bind(&shown).execute(&mut connection).await?;
        connection.close().await
    };
    copied.await.map_err(|error| {
        let _ = fs::remove_file(file);
        BackupError::Copy(shown, error)
    })
}

/// Puts a backup into `data_dir`, whose server must not run. A database that is there already is kept beside it;
/// answers where.
///
/// # Errors
/// A sentence for the person who asked; the database is as it was then.
pub async fn restore(data_dir: &Path, backup: &Path) -> Result<Option<PathBuf>, BackupError> {
    check(backup).await.map_err(|why| BackupError::NoBackup(backup.display().to_string(), why))?;
    let place = data_dir.join(FILE_NAME);
    let failed = |e| BackupError::Place(place.display().to_string(), e);
    let coming = data_dir.join(format!("{FILE_NAME}.coming"));
    copy_private(backup, &coming).map_err(failed)?;
    let kept = place.exists().then(|| data_dir.join(format!("before-restore-{}.sqlite", now().0)));
    if let Some(kept) = &kept {
        // What is not in the main file yet belongs to it.
        for part in ["", "-wal", "-shm"] {
            match fs::rename(with_suffix(&place, part), with_suffix(kept, part)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
    }
    fs::rename(&coming, &place).map_err(failed)?;
    Ok(kept)
}

/// Whole, and of ours.
async fn check(backup: &Path) -> Result<(), String> {
    let options = SqliteConnectOptions::new().filename(backup).read_only(true).immutable(true);
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

fn copy_private(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    io::copy(&mut source, &mut target)?;
    target.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
