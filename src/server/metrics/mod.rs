//! The metrics store: one transaction per tick, sealed by the hour, read back as series, ranges and statistics, deleted
//! when expired.
//!
//! A tick is a row of the table `tick` until its hour is over; then the hour's columns become chunks (`chunk.rs`), in
//! one transaction with the deletion of its rows. A value is in a row or in a chunk, never in both and never in
//! neither. Unsealed ticks are also in memory (`memtable.rs`), so that live pages do not read the disk; a restart loads
//! them again. A tick that could not be written stays in memory, at most an hour, and is written with the next one that
//! can be.

mod chunk;
mod downsample;
mod export;
mod growth;
mod health;
mod memtable;
mod query;
mod sample;
mod seal;
mod series;

use super::{database::Database, internal, monitor::RecordedTraffic, provider::Traffic};
use crate::model::{ApiError, HostUsage, Sealing, Series, UtcMillis, VmUsage};
use chunk::UNKNOWN;
use downsample::{gap_millis, known};
pub use export::ExportFormat;
use memtable::{Block, Memtable, Tick};
pub use query::{HistoryQuery, MAX_LIMIT, Span};
use sample::{Column, Subject, vm};
use sqlx::{Sqlite, Transaction};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use tokio::sync::Mutex;

const HOUR_MILLIS: i64 = 3_600_000;

/// How long ticks that cannot be written are kept in memory.
const MAX_UNSTORED_MILLIS: i64 = HOUR_MILLIS;

/// The hour, counted since 1970, that a time is in.
fn hour_of(at: i64) -> i64 {
    at.div_euclid(HOUR_MILLIS)
}

/// Where a column of an hour is in the table `chunk`.
fn chunk_id(hour: i64, subject: Subject, column: Column) -> i64 {
    hour << 40 | subject.0 << 8 | i64::from(column)
}

#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    database: Database,
    interval_secs: u32,
    memory: RwLock<Memory>,
    /// Held while rows become chunks or go.
    changing: Mutex<()>,
    /// Of the sealed hours that were requested so far.
    chunks: std::sync::Mutex<BTreeMap<i64, health::Chunks>>,
    last_sealing: std::sync::Mutex<Option<Sealing>>,
}

/// What the database holds, as far as every question needs it.
#[derive(Default)]
struct Memory {
    /// The times of the ticks of every sealed hour.
    sealed: BTreeMap<i64, Arc<[i64]>>,
    memtable: Memtable,
    /// The times of the ticks that could not be written yet, oldest first; all are in `memtable`.
    unstored: Vec<i64>,
}

impl Memory {
    fn newest(&self) -> Option<i64> {
        let sealed = || self.sealed.values().next_back()?.last().copied();
        self.memtable.times().last().copied().or_else(sealed)
    }

    fn oldest(&self) -> Option<i64> {
        let sealed = self.sealed.values().next().and_then(|ticks| ticks.first().copied());
        sealed.or_else(|| self.memtable.times().first().copied())
    }
}

/// A tick that is to be written, and then published.
#[must_use = "what is not published is not seen before a restart"]
pub struct NewTick(Tick);

impl Store {
    /// Reads what is not sealed yet. Ticks are `interval_secs` apart.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn open(database: Database, interval_secs: u32) -> Result<Self, sqlx::Error> {
        let memory = RwLock::new(Memory::read(&database).await?);
        Ok(Self(Arc::new(Inner {
            database,
            interval_secs,
            memory,
            changing: Mutex::default(),
            chunks: std::sync::Mutex::default(),
            last_sealing: std::sync::Mutex::default(),
        })))
    }

    /// A tick to be recorded after the newest one that was published.
    pub fn new_tick(&self, sampled_at: UtcMillis, vms: &[(i64, VmUsage)], host: &HostUsage) -> NewTick {
        let memory = self.memory();
        let sample = |(vm_id, usage): &(i64, VmUsage)| {
            let newest = |column| Some(memory.memtable.newest(Subject(*vm_id), column).next()?.1);
            let traffic_before = [vm::NETWORK_RX_BYTES, vm::NETWORK_TX_BYTES].map(newest);
            (*vm_id, sample::vm_sample(usage, traffic_before))
        };
        let vms = vms.iter().map(sample).collect();
        NewTick(Tick { sampled_at: sampled_at.0, host: sample::host_sample(host), vms })
    }

    /// Writes a tick as part of the caller's transaction, after those that could not be written before;
    /// [`Self::publish`] it after the commit.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn record(&self, tx: &mut Transaction<'_, Sqlite>, tick: &NewTick) -> Result<(), sqlx::Error> {
        self.write_unstored(tx).await?;
        seal::insert(tx, &tick.0).await
    }

    async fn write_unstored(&self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), sqlx::Error> {
        let unstored: Vec<Tick> = {
            let memory = self.memory();
            memory.unstored.iter().filter_map(|at| memory.memtable.tick(*at)).collect()
        };
        for tick in unstored {
            seal::insert(tx, &tick).await?;
        }
        Ok(())
    }

    /// Publishes a tick whose transaction is committed.
    pub fn publish(&self, tick: NewTick) {
        let mut memory = self.memory_mut();
        memory.unstored.clear();
        memory.memtable.push(&tick.0);
    }

    /// Publishes a tick that could not be written. It is kept in memory for an hour.
    pub fn publish_unstored(&self, tick: NewTick) {
        let mut memory = self.memory_mut();
        memory.memtable.push(&tick.0);
        memory.unstored.push(tick.0.sampled_at);
        let expired = memory.unstored.partition_point(|at| *at < tick.0.sampled_at - MAX_UNSTORED_MILLIS);
        for at in memory.unstored.drain(..expired).collect::<Vec<_>>() {
            memory.memtable.remove_tick(at);
        }
    }

    /// How many ticks could not be written yet.
    pub fn unstored(&self) -> usize {
        self.memory().unstored.len()
    }

    /// The newest tick.
    pub fn newest_tick(&self) -> UtcMillis {
        UtcMillis(self.memory().newest().unwrap_or_default())
    }

    /// A VM's traffic in the newest sample that has any and is not sealed: with what rounding left out, at least what
    /// was counted.
    pub fn newest_traffic(&self, vm_id: i64) -> Option<RecordedTraffic> {
        let memory = self.memory();
        let subject = Subject(vm_id);
        let (at, _) = memory.memtable.newest(subject, vm::NETWORK_RX_BYTES).next()?;
        let block = memory.memtable.block(subject, &[vm::SOURCES], at, at)?;
        let at_least = |column| {
            let mut newest = memory.memtable.newest(subject, column).map(|(_, bytes)| bytes);
            let recorded = newest.next()?;
            u64::try_from(growth::at_most(newest.next(), recorded)).ok()
        };
        Some(RecordedTraffic {
            at: UtcMillis(at),
            source: sample::sources(known(*block.columns[0].first()?)?).network,
            traffic: Traffic {
                rx_bytes: at_least(vm::NETWORK_RX_BYTES)?,
                tx_bytes: at_least(vm::NETWORK_TX_BYTES)?,
            },
        })
    }

    /// The points of `vm_ids` after `after` up to and with `until`, a series a VM. Where ticks are missing there is
    /// a point with nothing known, so that a chart has a gap there.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn series(
        &self,
        vm_ids: &[i64],
        after: UtcMillis,
        until: UtcMillis,
    ) -> Result<Vec<Series>, ApiError> {
        let gap = gap_millis(self.0.interval_secs);
        let subjects: Vec<_> = vm_ids.iter().copied().map(Subject).collect();
        let scanned = self
            .scan(&subjects, &series::COLUMNS, after.0.saturating_sub(gap), until.0)
            .await
            .map_err(internal)?;
        let of = |vm_id: &i64| series::series_of(*vm_id, scanned.get(&Subject(*vm_id))?, after, gap);
        Ok(vm_ids.iter().filter_map(of).collect())
    }

    /// The ticks from `from` to `to`, both included, of each subject.
    async fn scan(
        &self,
        subjects: &[Subject],
        columns: &[Column],
        from: i64,
        to: i64,
    ) -> Result<HashMap<Subject, Vec<Block>>, sqlx::Error> {
        let fetched = self.fetch(subjects, columns, from, to).await?;
        if fetched.chunks.is_empty() { Ok(fetched.decoded()) } else { off_thread(|| fetched.decoded()).await }
    }

    /// The same, not decoded yet.
    async fn fetch(
        &self,
        subjects: &[Subject],
        columns: &[Column],
        from: i64,
        to: i64,
    ) -> Result<Fetched, sqlx::Error> {
        let (hours, memtable) = {
            let memory = self.memory();
            let hours: Vec<_> = if from <= to {
                memory.sealed.range(hour_of(from)..=hour_of(to)).map(|(h, t)| (*h, t.clone())).collect()
            } else {
                Vec::new()
            };
            let memtable: HashMap<_, _> = subjects
                .iter()
                .filter_map(|s| Some((*s, memory.memtable.block(*s, columns, from, to)?)))
                .collect();
            (hours, memtable)
        };
        let mut fetched = Fetched {
            subjects: subjects.to_vec(),
            columns: columns.to_vec(),
            from,
            to,
            hours,
            memtable,
            chunks: HashMap::new(),
        };
        let (Some((first, _)), Some((last, _))) = (fetched.hours.first(), fetched.hours.last()) else {
            return Ok(fetched);
        };
        // One question for all: SQLite walks the hours, then finds each chunk by its id.
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT chunk.id, chunk.data FROM sealed_hour
             CROSS JOIN json_each(?) AS subject
             CROSS JOIN json_each(?) AS wanted
             CROSS JOIN chunk ON chunk.id = (sealed_hour.hour << 40) | (subject.value << 8) | wanted.value
             WHERE sealed_hour.hour BETWEEN ? AND ?",
        )
        .bind(json_list(subjects.iter().map(|s| s.0)))
        .bind(json_list(columns.iter().map(|c| i64::from(*c))))
        .bind(first)
        .bind(last)
        .fetch_all(self.0.database.read())
        .await?;
        fetched.chunks = rows.into_iter().collect();
        Ok(fetched)
    }

    fn memory(&self) -> RwLockReadGuard<'_, Memory> {
        self.0.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory_mut(&self) -> RwLockWriteGuard<'_, Memory> {
        self.0.memory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that would keep a thread from serving others.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, sqlx::Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| sqlx::Error::Decode(error.into()))
}

/// What the database and the memory hold of some columns of some subjects.
struct Fetched {
    subjects: Vec<Subject>,
    columns: Vec<Column>,
    from: i64,
    to: i64,
    hours: Vec<(i64, Arc<[i64]>)>,
    memtable: HashMap<Subject, Block>,
    chunks: HashMap<i64, Vec<u8>>,
}

impl Fetched {
    /// Each subject's ticks: the sealed ones first, an hour a block.
    fn decoded(mut self) -> HashMap<Subject, Vec<Block>> {
        let subjects = std::mem::take(&mut self.subjects);
        let blocks = |subject: Subject| {
            let sealed = self.hours.iter().filter_map(|(hour, times)| self.block(*hour, times, subject));
            let memtable = self.memtable.get(&subject).cloned();
            (subject, sealed.chain(memtable).collect())
        };
        subjects.into_iter().map(blocks).collect()
    }

    /// The requested part of a sealed hour; a column without a chunk is unknown.
    fn block(&self, hour: i64, times: &[i64], subject: Subject) -> Option<Block> {
        let range = times.partition_point(|at| *at < self.from)..times.partition_point(|at| *at <= self.to);
        if range.is_empty() {
            return None;
        }
        let unknown = || vec![UNKNOWN; range.len()];
        let column = |column: &Column| match self.chunks.get(&chunk_id(hour, subject, *column)) {
            Some(bytes) => match chunk::decode(bytes, times.len()) {
                Ok(values) if range.len() == values.len() => values,
                Ok(values) => values[range.clone()].to_vec(),
                Err(error) => {
                    tracing::error!(hour, subject = subject.0, column, %error, "shown as a gap");
                    unknown()
                }
            },
            None => unknown(),
        };
        Some(Block {
            times: times[range.clone()].to_vec(),
            columns: self.columns.iter().map(column).collect(),
        })
    }
}

fn json_list(numbers: impl Iterator<Item = i64>) -> String {
    let numbers: Vec<_> = numbers.map(|number| number.to_string()).collect();
    format!("[{}]", numbers.join(","))
}

#[cfg(test)]
mod tests;
