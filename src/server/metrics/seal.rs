//! Compaction: rows of a past hour become compressed chunks, and expired hours are deleted.

use super::{
    HOUR_MILLIS, Memory, Store,
    chunk::{self, UNKNOWN},
    chunk_id, hour_of,
    memtable::{Memtable, Tick},
    sample::{Column, Subject, host, vm},
};
use crate::{
    model::{Sealing, UtcMillis},
    server::database::{Database, now},
};
use serde_json::{Value, json};
use sqlx::{QueryBuilder, Sqlite, Transaction};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Instant,
};

/// An hour is sealed when the newest tick is this much younger: what live pages show is then still in memory.
const SEAL_AFTER_MILLIS: i64 = 16 * 60_000;

/// Later than any: in the year 2448.
const LAST_HOUR: i64 = 1 << 22;

/// Pages of the file that are given back at once, so that no tick waits long for it.
const PAGES_AT_ONCE: u32 = 256;

pub(super) async fn insert(tx: &mut Transaction<'_, Sqlite>, tick: &Tick) -> Result<(), sqlx::Error> {
    let mut vms = String::with_capacity(16 + tick.vms.len() * 64);
    vms.push('{');
    for (i, (vm_id, sample)) in tick.vms.iter().enumerate() {
        vms.push_str(if i == 0 { "\"" } else { ",\"" });
        vms.push_str(&vm_id.to_string());
        vms.push_str("\":");
        push_json(&mut vms, sample);
    }
    vms.push('}');
    let mut host = String::with_capacity(96);
    push_json(&mut host, &tick.host);
    // A transaction that seems to have failed may have been committed, and is written again.
    sqlx::query("INSERT INTO tick (sampled_at, host, vms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(tick.sampled_at)
        .bind(host)
        .bind(vms)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn push_json(text: &mut String, sample: &[Option<i64>]) {
    for (i, value) in sample.iter().enumerate() {
        text.push(if i == 0 { '[' } else { ',' });
        match value {
            Some(value) => text.push_str(&value.to_string()),
            None => text.push_str("null"),
        }
    }
    text.push(']');
}

impl Memory {
    fn drop_before(&mut self, at: i64) {
        self.memtable.drop_before(at);
        self.unstored.retain(|unstored| *unstored >= at);
    }

    pub(super) async fn read(database: &Database) -> Result<Self, sqlx::Error> {
        let mut sealed = BTreeMap::new();
        let hours: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT hour, ticks FROM sealed_hour").fetch_all(database.read()).await?;
        for (hour, ticks) in hours {
            match unpack_times(&ticks) {
                Some(times) => {
                    sealed.insert(hour, times);
                }
                None => tracing::error!(hour, "a sealed hour cannot be read: it is shown as a gap"),
            }
        }
        let mut memtable = Memtable::default();
        let mut after = i64::MIN;
        loop {
            let rows: Vec<(i64, String, String)> = sqlx::query_as(
                "SELECT sampled_at, host, vms FROM tick WHERE sampled_at > ? ORDER BY sampled_at LIMIT 200",
            )
            .bind(after)
            .fetch_all(database.read())
            .await?;
            let Some((last, ..)) = rows.last() else {
                return Ok(Self { sealed, memtable, unstored: Vec::new() });
            };
            after = *last;
            for (sampled_at, host, vms) in rows {
                match tick_of(sampled_at, &host, &vms) {
                    Some(tick) => memtable.push(&tick),
                    None => tracing::error!(sampled_at, "a tick cannot be read: it is shown as a gap"),
                }
            }
        }
    }
}

fn tick_of(sampled_at: i64, host: &str, vms: &str) -> Option<Tick> {
    fn cells<const N: usize>(value: &Value) -> Option<[Option<i64>; N]> {
        let numbers = value.as_array()?;
        Some(std::array::from_fn(|i| numbers.get(i).and_then(Value::as_i64).filter(|v| *v != UNKNOWN)))
    }
    let vms: Value = serde_json::from_str(vms).ok()?;
    let vm = |(id, sample): (&String, &Value)| Some((id.parse().ok()?, cells(sample)?));
    Some(Tick {
        sampled_at,
        host: cells(&serde_json::from_str(host).ok()?)?,
        vms: vms.as_object()?.iter().filter_map(vm).collect(),
    })
}

/// How many there are, then their chunk.
fn pack_times(times: &[i64]) -> Vec<u8> {
    let mut bytes = (times.len() as u32).to_le_bytes().to_vec();
    bytes.extend(chunk::encode(times).unwrap_or_default());
    bytes
}

fn unpack_times(bytes: &[u8]) -> Option<Arc<[i64]>> {
    let (count, chunk) = bytes.split_first_chunk::<4>()?;
    // No more ticks than milliseconds.
    let count = usize::try_from(u32::from_le_bytes(*count)).ok().filter(|c| *c <= HOUR_MILLIS as usize)?;
    chunk::decode(chunk, count).ok().map(Arc::from)
}

/// An hour as it is going to be stored.
struct Sealed {
    hour: i64,
    times: Arc<[i64]>,
    chunks: Vec<(i64, Vec<u8>)>,
}

impl Store {
    /// Seals every hour that is over. Answers how many.
    ///
    /// # Errors
    /// When SQLite cannot; the hour is then still there as rows.
    pub async fn seal(&self) -> Result<usize, sqlx::Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        let begun = Instant::now();
        let mut count = 0;
        while let Some(hour) = self.hour_to_seal() {
            let store = self.clone();
            let sealed = tokio::task::spawn_blocking(move || store.packed(hour))
                .await
                .map_err(|error| sqlx::Error::Decode(error.into()))?;
            self.replace_rows(&sealed).await?;
            let mut memory = self.memory_mut();
            memory.sealed.insert(hour, sealed.times);
            memory.memtable.drop_before((hour + 1) * HOUR_MILLIS);
            count += 1;
        }
        if count > 0 {
            let sealing =
                Sealing { at: now(), took_ms: begun.elapsed().as_secs_f64() * 1000.0, hours: count };
            *self.0.last_sealing.lock().unwrap_or_else(PoisonError::into_inner) = Some(sealing);
        }
        Ok(count)
    }

    fn hour_to_seal(&self) -> Option<i64> {
        let memory = self.memory();
        let times = memory.memtable.times();
        let (oldest, newest) = (hour_of(*times.first()?), *times.last()?);
        let end = (oldest + 1) * HOUR_MILLIS;
        let is_stored = memory.unstored.first().is_none_or(|at| *at >= end);
        (is_stored && newest >= end + SEAL_AFTER_MILLIS).then_some(oldest)
    }

    /// One subject after the other, so that ticks can be published in between.
    fn packed(&self, hour: i64) -> Sealed {
        let (from, to) = (hour * HOUR_MILLIS, (hour + 1) * HOUR_MILLIS - 1);
        let subjects = self.memory().memtable.subjects();
        let mut times: Arc<[i64]> = Arc::from([]);
        let mut chunks = Vec::new();
        for subject in subjects {
            let columns = all_columns(subject);
            let Some(block) = self.memory().memtable.block(subject, &columns, from, to) else { continue };
            for (column, values) in columns.iter().zip(&block.columns) {
                if let Some(bytes) = chunk::encode(values) {
                    chunks.push((chunk_id(hour, subject, *column), bytes));
                }
            }
            times = block.times.into();
        }
        chunks.sort_unstable_by_key(|(id, _)| *id);
        Sealed { hour, times, chunks }
    }

    async fn replace_rows(&self, sealed: &Sealed) -> Result<(), sqlx::Error> {
        let mut tx = self.0.database.write().await?;
        sqlx::query("INSERT INTO sealed_hour (hour, ticks) VALUES (?, ?)")
            .bind(sealed.hour)
            .bind(pack_times(&sealed.times))
            .execute(&mut *tx)
            .await?;
        for part in sealed.chunks.chunks(500) {
            QueryBuilder::<Sqlite>::new("INSERT INTO chunk (id, data) ")
                .push_values(part, |mut row, (id, data)| {
                    row.push_bind(id).push_bind(data);
                })
                .build()
                .execute(&mut *tx)
                .await?;
        }
        let range = (sealed.hour * HOUR_MILLIS, (sealed.hour + 1) * HOUR_MILLIS - 1);
        sqlx::query("DELETE FROM tick WHERE sampled_at BETWEEN ? AND ?")
            .bind(range.0)
            .bind(range.1)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Removes what is older than `before`: ticks one by one, sealed hours when all of the hour is. Answers how many
    /// ticks, and gives the space back.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn delete_before(&self, before: UtcMillis) -> Result<u64, sqlx::Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        let hours: Vec<_> = {
            let memory = self.memory();
            memory
                .sealed
                .range(..hour_of(before.0))
                .map(|(hour, times)| (*hour, times.len() as u64))
                .collect()
        };
        let mut count = 0;
        for (hour, ticks) in hours {
            let mut tx = self.0.database.write().await?;
            delete_hours(&mut tx, hour, hour).await?;
            tx.commit().await?;
            self.memory_mut().sealed.remove(&hour);
            count += ticks;
        }
        let mut tx = self.0.database.write().await?;
        count += sqlx::query("DELETE FROM tick WHERE sampled_at < ?")
            .bind(before.0)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        tx.commit().await?;
        self.memory_mut().drop_before(before.0);
        if count > 0 {
            self.0.database.incremental_vacuum(PAGES_AT_ONCE).await?;
        }
        Ok(count)
    }

    /// Removes all samples younger than `after`; an hour of which a part stays is no longer sealed.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn delete_after(&self, after: UtcMillis) -> Result<u64, sqlx::Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        let hour = hour_of(after.0);
        let kept = self.ticks_of(hour, after.0).await?;
        let gone = {
            let memory = self.memory();
            let sealed = memory.sealed.range(hour..).flat_map(|(_, times)| times.iter());
            sealed.chain(memory.memtable.times()).filter(|at| **at > after.0).count() as u64
        };
        let mut tx = self.0.database.write().await?;
        self.write_unstored(&mut tx).await?;
        delete_hours(&mut tx, hour, LAST_HOUR).await?;
        sqlx::query("DELETE FROM tick WHERE sampled_at > ?").bind(after.0).execute(&mut *tx).await?;
        for tick in kept {
            insert(&mut tx, &tick).await?;
        }
        tx.commit().await?;
        let memory = Memory::read(&self.0.database).await?;
        *self.memory_mut() = memory;
        self.0.database.incremental_vacuum(PAGES_AT_ONCE).await?;
        Ok(gone)
    }

    /// The ticks of a sealed hour up to `to`, as they were before it was sealed; none when it is not.
    async fn ticks_of(&self, hour: i64, to: i64) -> Result<Vec<Tick>, sqlx::Error> {
        if !self.memory().sealed.contains_key(&hour) {
            return Ok(Vec::new());
        }
        let ids: Vec<i64> = sqlx::query_scalar("SELECT DISTINCT vm_id FROM chunk WHERE id BETWEEN ? AND ?")
            .bind(hour << 40)
            .bind((hour + 1) << 40)
            .fetch_all(self.0.database.read())
            .await?;
        let from = hour * HOUR_MILLIS;
        let to = to.min(from + HOUR_MILLIS - 1);
        let mut ticks: Vec<Tick> = Vec::new();
        for subject in ids.into_iter().map(Subject) {
            let blocks = self.scan(&[subject], &all_columns(subject), from, to).await?.remove(&subject);
            let Some(block) = blocks.and_then(|blocks| blocks.into_iter().next()) else { continue };
            if ticks.is_empty() {
                let tick = |at: &i64| Tick { sampled_at: *at, host: Default::default(), vms: Vec::new() };
                ticks = block.times.iter().map(tick).collect();
            }
            for (i, tick) in ticks.iter_mut().enumerate() {
                let cell = |column: usize| Some(block.columns[column][i]).filter(|value| *value != UNKNOWN);
                if subject == Subject::HOST {
                    tick.host = std::array::from_fn(cell);
                } else if cell(usize::from(vm::SOURCES)).is_some() {
                    tick.vms.push((subject.0, std::array::from_fn(cell)));
                }
            }
        }
        Ok(ticks)
    }

    /// Deletes all samples of destroyed VMs for which this was requested. Returns the number of VMs.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn delete_expired(&self) -> Result<usize, sqlx::Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        let unwanted: Vec<i64> =
            sqlx::query_scalar("SELECT id FROM vm WHERE forget_samples = 1 AND destroyed_at IS NOT NULL")
                .fetch_all(self.0.database.read())
                .await?;
        for vm_id in &unwanted {
            self.delete_vm(*vm_id).await?;
        }
        if !unwanted.is_empty() {
            self.0.database.incremental_vacuum(PAGES_AT_ONCE).await?;
        }
        Ok(unwanted.len())
    }

    async fn delete_vm(&self, vm_id: i64) -> Result<(), sqlx::Error> {
        let mut tx = self.0.database.write().await?;
        sqlx::query("UPDATE vm SET forget_samples = 0 WHERE id = ?").bind(vm_id).execute(&mut *tx).await?;
        sqlx::query(
            "DELETE FROM chunk WHERE id IN
             (SELECT (hour << 40) | (?1 << 8) | wanted.value FROM sealed_hour, json_each(?2) AS wanted)",
        )
        .bind(vm_id)
        .bind(json!((0..vm::COUNT).collect::<Vec<_>>()).to_string())
        .execute(&mut *tx)
        .await?;
        sqlx::query("UPDATE tick SET vms = json_remove(vms, '$.\"' || ?1 || '\"') WHERE vms ->> ('$.\"' || ?1 || '\"') IS NOT NULL")
            .bind(vm_id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.memory_mut().memtable.remove(Subject(vm_id));
        self.0.chunks.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}

async fn delete_hours(tx: &mut Transaction<'_, Sqlite>, first: i64, last: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM sealed_hour WHERE hour BETWEEN ? AND ?")
        .bind(first)
        .bind(last)
        .execute(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM chunk WHERE id >= ? AND id < ?")
        .bind(first << 40)
        .bind((last + 1) << 40)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn all_columns(subject: Subject) -> Vec<Column> {
    let count = if subject == Subject::HOST { host::COUNT } else { vm::COUNT };
    (0..count as Column).collect()
}
