//! Queries of the stored samples.

use super::{
    Store,
    downsample::{Downsampler, Points, Resolution, each_value, gap_millis, statistics},
    hour_of,
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
/// The most points that one answer holds, over all its series.
const MAX_POINTS: usize = 240_000;
/// How many hours are read at a time for the newest values.
const HOURS_AT_ONCE: usize = 12;
/// How many hours of a subject are in memory at once, over all subjects, while they become points.
const SUBJECT_HOURS_AT_ONCE: usize = 1_000;
/// A week.
const MAX_HOURS_AT_ONCE: usize = 168;

/// From when to when, both included; open ends are the oldest and the newest sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    pub from: Option<UtcMillis>,
    pub to: Option<UtcMillis>,
}

/// The requested part of a history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// At most this many of the newest values, 1 to 10,000; 100 by default.
    pub limit: Option<u32>,
    /// All values of a span reduced to this many points, 1 to 10,000; 600 if only a span is given.
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
            // A limit given as well still applies.
            let limit = bounded("limit", query.limit.unwrap_or(MAX_LIMIT))?;
            let (from, to) = self.bounds(query.span)?;
            let series = self.points(&[subject], &[formula], from, to, points).await.map_err(internal)?;
            let Some(series) = series.into_iter().next() else { return Err(ApiError::internal()) };
            let of = |value: Option<f64>| value.map(|value| metric.rounded(value));
            let point = |i: usize| MetricPoint {
                value: of(series.mean[i]),
                unit: metric.unit.into(),
                timestamp: UtcMillis(series.at[i]),
                min: of(series.min[i]),
                max: of(series.max[i]),
            };
            (0..series.at.len()).rev().take(limit as usize).map(point).collect()
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
    /// `points` (600 when not series) points each, with the smallest, mean and largest value of each; single values
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
        let names: BTreeSet<_> = metric_names.iter().collect();
        let metrics: Vec<_> =
            names.into_iter().map(|name| metric_called(name, of_host)).collect::<Result<_, _>>()?;
        if metrics.is_empty() {
            return Err(ApiError::invalid_field("metric_names", "Name at least one metric."));
        }
        let subjects: Vec<_> =
            if of_host { vec![Subject::HOST] } else { vm_ids.iter().copied().map(Subject).collect() };
        let all_points = subjects.len() * metrics.len() * points as usize;
        if all_points > MAX_POINTS {
            let text = format!(
                "That is {} series of {points} points; at most {MAX_POINTS} points are returned at once.",
                subjects.len() * metrics.len()
            );
            return Err(ApiError::invalid_field("points", text));
        }
        let (from, to) = self.bounds(span)?;
        let formulas: Vec<_> = metrics.iter().map(|(_, formula)| *formula).collect();
        let series = self.points(&subjects, &formulas, from, to, points).await.map_err(internal)?;
        let pairs =
            subjects.iter().flat_map(|subject| metrics.iter().map(move |(metric, _)| (*subject, *metric)));
        let range = |((subject, metric), series): ((Subject, Metric), Points)| {
            let all = |values: Vec<Option<f64>>| {
                values.into_iter().map(|value| value.map(|value| metric.rounded(value))).collect()
            };
            MetricRange {
                vm_id: (!of_host).then_some(subject.0),
                metric_name: metric.name.into(),
                unit: metric.unit.into(),
                at: series.at.into_iter().map(UtcMillis).collect(),
                min: all(series.min),
                mean: all(series.mean),
                max: all(series.max),
            }
        };
        Ok(pairs.zip(series).map(range).collect())
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
        let mut values = Vec::new();
        for (start, end) in self.windows(from, to, MAX_HOURS_AT_ONCE) {
            values.extend(self.known_values(subject, formula, start, end).await.map_err(internal)?);
        }
        let values = values.into_iter().map(|(_, value)| value).collect();
        let summary = super::off_thread(|| statistics(values)).await.map_err(internal)?;
        Ok(summary.map(|summary| MetricStatistics {
            count: summary.count,
            min: metric.rounded(summary.min),
            mean: metric.rounded(summary.mean),
            max: metric.rounded(summary.max),
            p95: metric.rounded(summary.p95),
        }))
    }

    /// The points of each subject's formulas, one subject after the other. Read in parts, so that a long span of many
    /// subjects does not fill the memory.
    async fn points(
        &self,
        subjects: &[Subject],
        formulas: &[Formula],
        from: i64,
        to: i64,
        points: u32,
    ) -> Result<Vec<Points>, sqlx::Error> {
        let columns: BTreeSet<Column> = formulas.iter().flat_map(|formula| formula.columns()).collect();
        let columns: Vec<_> = columns.into_iter().collect();
        let gap = gap_millis(self.0.interval_secs);
        let resolution = Resolution::new(from, to, points, self.ticks_between(from, to));
        let mut samplers: Vec<_> =
            (0..subjects.len() * formulas.len()).map(|_| Downsampler::new(resolution, gap)).collect();
        let hours = (SUBJECT_HOURS_AT_ONCE / subjects.len().max(1)).clamp(1, MAX_HOURS_AT_ONCE);
        for (start, end) in self.windows(from, to, hours) {
            let fetched = self.fetch(subjects, &columns, self.lookback(start), end).await?;
            let (subjects, formulas, columns) = (subjects.to_vec(), formulas.to_vec(), columns.clone());
            samplers = super::off_thread(move || {
                let blocks = fetched.decoded();
                let pairs = subjects.iter().flat_map(|s| formulas.iter().map(move |formula| (s, *formula)));
                for ((subject, formula), sampler) in pairs.zip(&mut samplers) {
                    let blocks = blocks.get(subject).map_or(&[][..], Vec::as_slice);
                    each_value(formula, &columns, blocks, gap, |at, value| {
                        if at >= start {
                            sampler.see(at, value);
                        }
                    });
                }
                samplers
            })
            .await?;
        }
        Ok(samplers.into_iter().map(Downsampler::finish).collect())
    }

    fn ticks_between(&self, from: i64, to: i64) -> usize {
        let count = |times: &[i64]| {
            times.partition_point(|at| *at <= to).saturating_sub(times.partition_point(|at| *at < from))
        };
        let memory = self.memory();
        let sealed = if from <= to { Some(memory.sealed.range(hour_of(from)..=hour_of(to))) } else { None };
        sealed.into_iter().flatten().map(|(_, times)| count(times)).sum::<usize>()
            + count(memory.memtable.times())
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
        if let Some(start) = self.start_in_memory(to, limit).filter(|start| *start > from) {
            let mut newest = self.known_values(subject, formula, start, to).await?;
            if newest.len() >= limit {
                newest.reverse();
                newest.truncate(limit);
                return Ok(newest);
            }
        }
        let mut newest = Vec::new();
        for (start, end) in self.windows(from, to, HOURS_AT_ONCE).into_iter().rev() {
            newest.extend(self.known_values(subject, formula, start, end).await?.into_iter().rev());
            if newest.len() >= limit {
                break;
            }
        }
        newest.truncate(limit);
        Ok(newest)
    }

    /// From where on enough ticks up to `to` are in memory that `limit` values, of which some may be unknown, can be found
    /// without reading anything else; none if there are too few.
    fn start_in_memory(&self, to: i64, limit: usize) -> Option<i64> {
        let memory = self.memory();
        let times = memory.memtable.times();
        let end = times.partition_point(|at| *at <= to);
        let start = *times.get(end.checked_sub(limit.saturating_add(limit / 8))?)?;
        let is_in_memory = self.lookback(start) >= *times.first()?;
        is_in_memory.then_some(start)
    }

    /// Oldest first.
    async fn known_values(
        &self,
        subject: Subject,
        formula: Formula,
        from: i64,
        to: i64,
    ) -> Result<Vec<(i64, f64)>, sqlx::Error> {
        let columns = formula.columns();
        let scanned = self.scan(&[subject], &columns, self.lookback(from), to).await?.remove(&subject);
        let mut values = Vec::new();
        each_value(
            formula,
            &columns,
            &scanned.unwrap_or_default(),
            gap_millis(self.0.interval_secs),
            |at, value| values.extend(value.filter(|_| at >= from).map(|value| (at, value))),
        );
        Ok(values)
    }

    /// The hours of the span that hold ticks, so many at a time, oldest first.
    pub(super) fn windows(&self, from: i64, to: i64, hours_at_once: usize) -> Vec<(i64, i64)> {
        if from > to {
            return Vec::new();
        }
        let hours: Vec<i64> = {
            let memory = self.memory();
            let of = memory.memtable.times().iter().map(|at| hour_of(*at));
            let all: BTreeSet<_> = memory.sealed.keys().copied().chain(of).collect();
            all.range(hour_of(from)..=hour_of(to)).copied().collect()
        };
        let window = |hours: &[i64]| {
            let start = hours.first()? * super::HOUR_MILLIS;
            let end = (hours.last()? + 1) * super::HOUR_MILLIS - 1;
            Some((start.max(from), end.min(to)))
        };
        hours.rchunks(hours_at_once).rev().filter_map(window).collect()
    }

    /// Rates need the sample before.
    pub(super) fn lookback(&self, from: i64) -> i64 {
        from.saturating_sub(gap_millis(self.0.interval_secs))
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
            let oldest = sealed.or(memory.memtable.times().first()).copied().unwrap_or_default();
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
        Err(ApiError::invalid_field(
            field,
            format!("{field} is a whole number from 1 to {MAX_LIMIT}, not {value}."),
        ))
    }
}
