//! What is asked of the stored samples.

use super::{
    Store,
    hot::Block,
    hour_of,
    points::{Downsampler, Grain, Points, each_value, gap_millis, statistics},
    sample::{Column, Formula, Subject},
};
use crate::{
    model::{
        ApiError, ErrorCode, Metric, MetricHistory, MetricPoint, MetricRange, MetricStatistics, UtcMillis,
    },
    server::internal,
};
use std::collections::BTreeSet;

pub const DEFAULT_LIMIT: u32 = 100;
/// The most values or points that one answer holds.
pub const MAX_LIMIT: u32 = 10_000;
const DEFAULT_POINTS: u32 = 600;
/// The most series that one answer holds.
const MAX_SERIES: usize = 2_000;
/// How far back is looked at once for the newest values.
const HOURS_AT_ONCE: usize = 12;

/// From when to when, both included; open ends are the oldest and the newest sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    pub from: Option<UtcMillis>,
    pub to: Option<UtcMillis>,
}

/// What part of a history is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The newest values, this many at most, 1 to 10,000; 100 when nothing else is asked for.
    pub limit: Option<u32>,
    /// All values of a span put together to this many points, 1 to 10,000; 600 when a span is all that is told.
    pub points: Option<u32>,
    pub span: Span,
}

impl Store {
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
        let (metric, formula) = metric_called(metric_name, vm_id.is_none())?;
        let subject = Subject::of(vm_id);
        let whole_span = query.limit.is_none() && query.span != Span::default();
        let data: Vec<_> = if query.points.is_some() || whole_span {
            let points = bounded("points", query.points.unwrap_or(DEFAULT_POINTS))?;
            // One more than asked for tells nothing: a limit beside it still holds.
            let limit = bounded("limit", query.limit.unwrap_or(MAX_LIMIT))?;
            let (from, to) = self.bounds(query.span)?;
            let scanned = self.scan(&[subject], &formula.columns(), self.lookback(from), to).await;
            let blocks = scanned.map_err(internal)?.remove(&subject).unwrap_or_default();
            let told = self.downsampled(
                formula,
                &formula.columns(),
                &blocks,
                Grain::new(from, to, points, self.0.period_secs),
                from,
            );
            let of = |value: Option<f64>| value.map(|value| metric.rounded(value));
            let point = |i: usize| MetricPoint {
                value: of(told.mean[i]),
                unit: metric.unit.into(),
                timestamp: UtcMillis(told.at[i]),
                min: of(told.min[i]),
                max: of(told.max[i]),
            };
            (0..told.at.len()).rev().take(limit as usize).map(point).collect()
        } else {
            let limit = bounded("limit", query.limit.unwrap_or(DEFAULT_LIMIT))?;
            let (from, to) = self.bounds(query.span)?;
            let values =
                self.newest_values(subject, formula, from, to, limit as usize).await.map_err(internal)?;
            let point = |(at, value)| MetricPoint {
                value: Some(metric.rounded(value)),
                unit: metric.unit.into(),
                timestamp: UtcMillis(at),
                min: None,
                max: None,
            };
            values.into_iter().map(point).collect()
        };
        Ok(MetricHistory { vm_id, metric_name: metric.name.into(), count: data.len(), data })
    }

    /// Metrics over a span of time for charts: of several VMs, or of the host when `vm_ids` is empty. At most
    /// `points` (600 when not told) points each, with the smallest, mean and largest value of each; single values
    /// where these are no closer together than the ticks.
    ///
    /// # Errors
    /// `NotFound` with the known names when there is no such metric; `Invalid` when the query is out of bounds.
    pub async fn ranges(
        &self,
        vm_ids: &[i64],
        metric_names: &[String],
        span: Span,
        points: Option<u32>,
    ) -> Result<Vec<MetricRange>, ApiError> {
        let points = bounded("points", points.unwrap_or(DEFAULT_POINTS))?;
        let of_host = vm_ids.is_empty();
        let metrics: Vec<_> =
            metric_names.iter().map(|name| metric_called(name, of_host)).collect::<Result<_, _>>()?;
        if metrics.is_empty() {
            return Err(ApiError::invalid_field("metric_names", "Name at least one metric."));
        }
        let subjects: Vec<_> =
            if of_host { vec![Subject::HOST] } else { vm_ids.iter().copied().map(Subject).collect() };
        if subjects.len() * metrics.len() > MAX_SERIES {
            let text = format!(
                "That is {} series; at most {MAX_SERIES} are told at once.",
                subjects.len() * metrics.len()
            );
            return Err(ApiError::invalid_field("vm_ids", text));
        }
        let columns: BTreeSet<Column> = metrics.iter().flat_map(|(_, formula)| formula.columns()).collect();
        let columns: Vec<_> = columns.into_iter().collect();
        let (from, to) = self.bounds(span)?;
        let grain = Grain::new(from, to, points, self.0.period_secs);
        let scanned = self.scan(&subjects, &columns, self.lookback(from), to).await.map_err(internal)?;
        let mut ranges = Vec::with_capacity(subjects.len() * metrics.len());
        for subject in subjects {
            let blocks = scanned.get(&subject).map_or(&[][..], Vec::as_slice);
            for (metric, formula) in &metrics {
                let told = self.downsampled(*formula, &columns, blocks, grain, from);
                let all = |values: Vec<Option<f64>>| {
                    values.into_iter().map(|value| value.map(|value| metric.rounded(value))).collect()
                };
                ranges.push(MetricRange {
                    vm_id: (!of_host).then_some(subject.0),
                    metric_name: metric.name.into(),
                    unit: metric.unit.into(),
                    at: told.at.into_iter().map(UtcMillis).collect(),
                    min: all(told.min),
                    mean: all(told.mean),
                    max: all(told.max),
                });
            }
        }
        Ok(ranges)
    }

    /// What all values of a metric in a span of time come to; `None` when none is known.
    ///
    /// # Errors
    /// `NotFound` with the known names when there is no such metric; `Invalid` when the span is none.
    pub async fn statistics(
        &self,
        vm_id: Option<i64>,
        metric_name: &str,
        span: Span,
    ) -> Result<Option<MetricStatistics>, ApiError> {
        let (metric, formula) = metric_called(metric_name, vm_id.is_none())?;
        let subject = Subject::of(vm_id);
        let (from, to) = self.bounds(span)?;
        let scanned = self.scan(&[subject], &formula.columns(), self.lookback(from), to).await;
        let blocks = scanned.map_err(internal)?.remove(&subject).unwrap_or_default();
        let mut values = Vec::new();
        each_value(formula, &formula.columns(), &blocks, gap_millis(self.0.period_secs), |at, value| {
            values.extend(value.filter(|_| at >= from));
        });
        Ok(statistics(values).map(|told| MetricStatistics {
            count: told.count,
            min: metric.rounded(told.min),
            mean: metric.rounded(told.mean),
            max: metric.rounded(told.max),
            p95: metric.rounded(told.p95),
        }))
    }

    fn downsampled(
        &self,
        formula: Formula,
        columns: &[Column],
        blocks: &[Block],
        grain: Grain,
        from: i64,
    ) -> Points {
        let gap = gap_millis(self.0.period_secs);
        let mut downsampler = Downsampler::new(grain, gap);
        each_value(formula, columns, blocks, gap, |at, value| {
            if at >= from {
                downsampler.see(at, value);
            }
        });
        downsampler.finish()
    }

    /// Newest first.
    async fn newest_values(
        &self,
        subject: Subject,
        formula: Formula,
        from: i64,
        to: i64,
        limit: usize,
    ) -> Result<Vec<(i64, f64)>, sqlx::Error> {
        let columns = formula.columns();
        let mut newest = Vec::new();
        for (start, end) in self.windows(from, to).into_iter().rev() {
            let blocks = self
                .scan(&[subject], &columns, self.lookback(start), end)
                .await?
                .remove(&subject)
                .unwrap_or_default();
            let mut values = Vec::new();
            each_value(formula, &columns, &blocks, gap_millis(self.0.period_secs), |at, value| {
                values.extend(value.filter(|_| at >= start).map(|value| (at, value)));
            });
            newest.extend(values.into_iter().rev());
            if newest.len() >= limit {
                break;
            }
        }
        newest.truncate(limit);
        Ok(newest)
    }

    /// The span cut into parts that are read one at a time, oldest first.
    pub(super) fn windows(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        let hours: Vec<i64> = {
            let memory = self.memory();
            let of = memory.hot.times().iter().map(|at| hour_of(*at));
            let all: BTreeSet<_> = memory.sealed.keys().copied().chain(of).collect();
            all.range(hour_of(from)..=hour_of(to)).copied().collect()
        };
        let window = |hours: &[i64]| {
            let start = hours.first()? * super::HOUR_MILLIS;
            let end = (hours.last()? + 1) * super::HOUR_MILLIS - 1;
            Some((start.max(from), end.min(to)))
        };
        hours.rchunks(HOURS_AT_ONCE).rev().filter_map(window).collect()
    }

    /// Rates need the sample before.
    pub(super) fn lookback(&self, from: i64) -> i64 {
        from.saturating_sub(gap_millis(self.0.period_secs))
    }

    /// # Errors
    /// `Invalid` when it ends before it begins.
    pub(super) fn bounds(&self, span: Span) -> Result<(i64, i64), ApiError> {
        if let (Some(from), Some(to)) = (span.from, span.to)
            && from > to
        {
            return Err(ApiError::invalid_field("from", "from is not after to."));
        }
        let (oldest, newest) = {
            let memory = self.memory();
            let sealed = memory.sealed.values().next().and_then(|times| times.first());
            let oldest = sealed.or(memory.hot.times().first()).copied().unwrap_or_default();
            drop(memory);
            (oldest, self.newest_tick().0)
        };
        // Times far away would make spans of a chart that hold nothing.
        let from = span.from.map_or(oldest, |from| from.0.max(oldest.min(newest)));
        let to = span.to.map_or(newest, |to| to.0.min(newest.max(from)));
        Ok((from, to))
    }
}

/// # Errors
/// `NotFound` with the known names when there is no such metric.
fn metric_called(name: &str, of_host: bool) -> Result<(Metric, Formula), ApiError> {
    let found = Metric::find(name, of_host).and_then(|metric| Some((metric, Formula::of(metric)?)));
    found.ok_or_else(|| {
        let known: Vec<_> = Metric::ALL.iter().filter(|m| m.of_host == of_host).map(|m| m.name).collect();
        let text = format!("There is no such metric. Known are {}.", known.join(", "));
        ApiError::new(ErrorCode::NotFound, text)
    })
}

/// # Errors
/// `Invalid` when it is not 1 to 10,000.
fn bounded(field: &str, value: u32) -> Result<u32, ApiError> {
    if (1..=MAX_LIMIT).contains(&value) {
        Ok(value)
    } else {
        Err(ApiError::invalid_field(field, format!("{field} is 1 to {MAX_LIMIT}, not {value}.")))
    }
}
