//! Health of the store: size on disk, unsealed ticks, sealed chunks.

use super::{Store, off_thread};
use crate::{
    model::{ApiError, StoreHealth, UtcMillis},
    server::internal,
};
use std::{collections::BTreeMap, fs, path::PathBuf, sync::PoisonError};

/// The totals of a sealed hour's chunks. They never change, so each hour is read once; only deleting a VM's samples
/// removes some.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    count: u64,
    bytes: u64,
}

impl Store {
    /// How the store is doing. `retention_days` is what it was started with.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn health(&self, retention_days: u32) -> Result<StoreHealth, ApiError> {
        let chunks = self.chunks().await.map_err(internal)?;
        let file: String = sqlx::query_scalar("SELECT file FROM pragma_database_list WHERE name = 'main'")
            .fetch_one(self.0.database.read())
            .await
            .map_err(internal)?;
        let disk = off_thread(move || OnDisk::of(file.into())).await.map_err(internal)?;
        let memory = self.memory();
        let ticks_of = |hour: &i64| memory.sealed.get(hour).map_or(0, |ticks| ticks.len() as u64);
        let values: u64 = chunks.iter().map(|(hour, of)| of.count * ticks_of(hour)).sum();
        let bytes: u64 = chunks.values().map(|of| of.bytes).sum();
        Ok(StoreHealth {
            file_bytes: disk.file_bytes,
            wal_bytes: disk.wal_bytes,
            disk_free_bytes: disk.free_bytes,
            waiting_ticks: memory.memtable.times().len() as u64,
            sealed_hours: memory.sealed.len() as u64,
            chunks: chunks.values().map(|of| of.count).sum(),
            chunk_bytes: bytes,
            bytes_per_value: (values > 0).then(|| bytes as f64 / values as f64),
            oldest_tick_at: memory.oldest().map(UtcMillis),
            newest_tick_at: memory.newest().map(UtcMillis),
            retention_days,
            last_sealing: *self.0.last_sealing.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// What the chunks of every sealed hour come to.
    async fn chunks(&self) -> Result<BTreeMap<i64, Chunks>, sqlx::Error> {
        // Nothing is sealed or deleted meanwhile, or an hour would be counted half.
        let _one_at_a_time = self.0.changing.lock().await;
        let sealed: Vec<i64> = self.memory().sealed.keys().copied().collect();
        let known = || self.0.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = {
            let mut known = known();
            known.retain(|hour, _| sealed.binary_search(hour).is_ok());
            sealed.into_iter().find(|hour| !known.contains_key(hour))
        };
        if let Some(hour) = unknown {
            let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
                "SELECT id >> 40, count(*), sum(length(data)) FROM chunk WHERE id >= ? GROUP BY id >> 40",
            )
            .bind(hour << 40)
            .fetch_all(self.0.database.read())
            .await?;
            let unsigned = |number: i64| u64::try_from(number).unwrap_or_default();
            known().extend(rows.into_iter().map(|(hour, count, bytes)| {
                (hour, Chunks { count: unsigned(count), bytes: unsigned(bytes) })
            }));
        }
        Ok(known().clone())
    }
}

/// What the file system says of the database's file.
struct OnDisk {
    file_bytes: u64,
    wal_bytes: u64,
    free_bytes: Option<u64>,
}

impl OnDisk {
    fn of(file: PathBuf) -> Self {
        let size = |file: &PathBuf| fs::metadata(file).map_or(0, |metadata| metadata.len());
        let mut wal = file.clone().into_os_string();
        wal.push("-wal");
        let free = |stat: nix::sys::statvfs::Statvfs| stat.blocks_available() * stat.fragment_size();
        Self {
            file_bytes: size(&file),
            wal_bytes: size(&wal.into()),
            free_bytes: nix::sys::statvfs::statvfs(&file).ok().map(free),
        }
    }
}
