//! The samples of every tick: written in one transaction, read back as series and histories, forgotten when old.

mod series;

use super::{database::Database, internal};
use crate::model::{
    ApiError, ErrorCode, HostFigures, Metric, MetricHistory, MetricPoint, Series, UtcMillis, VmFigures,
    rounded,
};
use series::{Row, series_of};
use sqlx::{QueryBuilder, Sqlite, Transaction};

pub const DEFAULT_LIMIT: u32 = 100;
pub const MAX_LIMIT: u32 = 10_000;

#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
}

/// What part of a history is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// How many values at most, 1 to 10,000; 100 when not told.
    pub limit: Option<u32>,
    /// Not before this.
    pub from: Option<UtcMillis>,
    /// Not after this.
    pub to: Option<UtcMillis>,
    /// Means of this many equal spans of the range, instead of single values; 1 to 10,000.
    pub points: Option<u32>,
}

impl Store {
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Writes one tick as part of the caller's transaction.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn record(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        sampled_at: UtcMillis,
        vms: &[(i64, VmFigures)],
        host: &HostFigures,
    ) -> Result<(), sqlx::Error> {
        // 12 values a row; SQLite takes 32,766 in a statement.
        for part in vms.chunks(2000) {
            QueryBuilder::<Sqlite>::new(
                "INSERT INTO vm_sample (vm_id, sampled_at, cpu_percent, memory_percent, disk_percent, memory_used_mb,
                 disk_used_gb, network_rx_mb, network_tx_mb, network_rx_mb_per_s, network_tx_mb_per_s, uptime_seconds)",
            )
            .push_values(part, |mut row, (vm_id, f)| {
                row.push_bind(vm_id)
                    .push_bind(sampled_at.0)
                    .push_bind(f.cpu_percent)
                    .push_bind(f.memory_percent)
                    .push_bind(f.disk_percent)
                    .push_bind(f.memory_used_mb)
                    .push_bind(f.disk_used_gb)
                    .push_bind(f.network_rx_mb)
                    .push_bind(f.network_tx_mb)
                    .push_bind(f.network_rx_mb_per_s)
                    .push_bind(f.network_tx_mb_per_s)
                    .push_bind(f.uptime_seconds.and_then(|s| i64::try_from(s).ok()));
            })
            .build()
            .execute(&mut **tx)
            .await?;
        }
        sqlx::query(
            "INSERT INTO host_sample (sampled_at, cpu_percent, memory_percent, disk_percent, memory_used_gb,
             disk_used_gb, net_send_speed, net_recv_speed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(sampled_at.0)
        .bind(host.cpu_percent)
        .bind(host.memory_percent)
        .bind(host.disk_percent)
        .bind(host.memory_used_gb)
        .bind(host.disk_used_gb)
        .bind(host.net_send_speed)
        .bind(host.net_recv_speed)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// The newest tick that was ever written.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn newest_tick(&self) -> Result<UtcMillis, sqlx::Error> {
        let newest: Option<i64> = sqlx::query_scalar("SELECT max(sampled_at) FROM host_sample")
            .fetch_one(self.database.read())
            .await?;
        Ok(UtcMillis(newest.unwrap_or_default()))
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
        period_secs: u32,
    ) -> Result<Vec<Series>, ApiError> {
        if vm_ids.is_empty() {
            return Ok(Vec::new());
        }
        let lookback = UtcMillis(after.0.saturating_sub(series::gap_millis(period_secs)));
        let mut all = Vec::with_capacity(vm_ids.len());
        for part in vm_ids.chunks(5000) {
            let mut query = QueryBuilder::<Sqlite>::new(
                "SELECT vm_id, sampled_at, cpu_percent, memory_percent, disk_percent, network_rx_mb_per_s,
                 network_tx_mb_per_s FROM vm_sample WHERE vm_id IN (",
            );
            let mut ids = query.separated(", ");
            for id in part {
                ids.push_bind(id);
            }
            let rows: Vec<Row> = query
                .push(") AND sampled_at > ")
                .push_bind(lookback.0)
                .push(" AND sampled_at <= ")
                .push_bind(until.0)
                .push(" ORDER BY vm_id, sampled_at")
                .build_query_as()
                .fetch_all(self.database.read())
                .await
                .map_err(internal)?;
            all.extend(
                rows.chunk_by(|a, b| a.vm_id == b.vm_id)
                    .filter_map(|rows| series_of(rows, after, period_secs)),
            );
        }
        Ok(all)
    }

    /// Stored values of one metric, newest first: a VM's, or the host's when `vm_id` is `None`.
    ///
    /// # Errors
    /// `NotFound` with the known names when there is no such metric; `Invalid` when the query is out of bounds.
    pub async fn history(
        &self,
        vm_id: Option<i64>,
        metric_name: &str,
        query: HistoryQuery,
    ) -> Result<MetricHistory, ApiError> {
        let Some(metric) = Metric::find(metric_name, vm_id.is_none()) else {
            let known: Vec<_> =
                Metric::ALL.iter().filter(|m| m.of_host == vm_id.is_none()).map(|m| m.name).collect();
            let text = format!("There is no such metric. Known are {}.", known.join(", "));
            return Err(ApiError::new(ErrorCode::NotFound, text));
        };
        let bounded = |field: &str, value: u32| {
            if (1..=MAX_LIMIT).contains(&value) {
                Ok(i64::from(value))
            } else {
                Err(ApiError::invalid_field(field, format!("{field} is 1 to {MAX_LIMIT}, not {value}.")))
            }
        };
        let limit = bounded("limit", query.limit.unwrap_or(query.points.unwrap_or(DEFAULT_LIMIT)))?;
        let to = query.to.unwrap_or(UtcMillis(i64::MAX)).0;
        let from = query.from.unwrap_or(UtcMillis(0)).0;
        if from > to {
            return Err(ApiError::invalid_field("from", "from is not after to."));
        }
        let column = metric.name.trim_start_matches("vm_").trim_start_matches("host_");
        let column = if column == "uptime" { "uptime_seconds" } else { column };
        let table = if metric.of_host { "host_sample" } else { "vm_sample" };
        // Both names come from the closed list of metrics, never from the request.
        let rows = format!(
            "FROM {table} WHERE {column} IS NOT NULL AND sampled_at BETWEEN ?1 AND ?2 {}",
            if metric.of_host { "AND ?3 IS NULL" } else { "AND vm_id = ?3" }
        );
        let sql = match query.points {
            None => {
                format!("SELECT sampled_at, CAST({column} AS REAL) {rows} ORDER BY sampled_at DESC LIMIT ?4")
            }
            Some(_) => format!(
                "SELECT max(sampled_at), avg({column}) {rows} GROUP BY (sampled_at - ?1) / ?5
                 ORDER BY 1 DESC LIMIT ?4"
            ),
        };
        let span = match query.points {
            None => 1,
            Some(points) => {
                let points = bounded("points", points)?;
                let (Some(from), Some(to)) = (query.from, query.to) else {
                    return Err(ApiError::invalid_field("points", "points needs from and to."));
                };
                ((to.0 - from.0) / points + 1).max(1)
            }
        };
        let values: Vec<(i64, f64)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(from)
            .bind(to)
            .bind(vm_id)
            .bind(limit)
            .bind(span)
            .fetch_all(self.database.read())
            .await
            .map_err(internal)?;
        let data: Vec<_> = values
            .into_iter()
            .map(|(at, value)| MetricPoint {
                value: rounded(value),
                unit: metric.unit.into(),
                timestamp: UtcMillis(at),
            })
            .collect();
        Ok(MetricHistory { vm_id, metric_name: metric.name.into(), count: data.len(), data })
    }

    /// Removes all samples younger than `after`.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn forget_after(&self, after: UtcMillis) -> Result<u64, sqlx::Error> {
        self.delete("sampled_at > ?", after).await
    }

    /// Removes all samples older than `before`.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn forget(&self, before: UtcMillis) -> Result<u64, sqlx::Error> {
        self.delete("sampled_at < ?", before).await
    }

    async fn delete(&self, which: &'static str, bound: UtcMillis) -> Result<u64, sqlx::Error> {
        let mut tx = self.database.write().await?;
        let mut count = 0;
        // Naming the VMs lets SQLite find each one's samples by the key.
        for table in ["vm_sample WHERE vm_id IN (SELECT id FROM vm) AND", "host_sample WHERE"] {
            let sql = sqlx::AssertSqlSafe(format!("DELETE FROM {table} {which}"));
            count += sqlx::query(sql).bind(bound.0).execute(&mut *tx).await?.rows_affected();
        }
        tx.commit().await?;
        Ok(count)
    }
}
