//! Exports all stored samples of a VM or the host in a time span as a file, read and sent in parts.

use super::{
    Store,
    chunk::UNKNOWN,
    downsample::{each_value, gap_millis, known},
    memtable::Block,
    off_thread,
    query::Span,
    sample::{Column, Formula, Subject, sources, vm},
};
use crate::model::{ApiError, Metric, Source, UtcMillis};
use futures::{Stream, StreamExt, stream};
use serde_json::{Map, Value, json};
use std::fmt::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A line a tick; the first one names the columns. What is not known is empty.
    Csv,
    /// An array of objects, one a tick. What is not known is null.
    Json,
}

impl ExportFormat {
    /// `csv` or `json`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Ticks with the values of all metrics and, of a VM, where they come from.
struct Rows {
    times: Vec<i64>,
    /// A column a metric.
    values: Vec<Vec<Option<f64>>>,
    /// Packed; unknown where the VM did not run. Empty for the host.
    sources: Vec<i64>,
}

/// How much is made at once.
const HOURS_AT_ONCE: usize = 2;

const GROUPS: [&str; 5] = ["cpu_source", "memory_source", "disk_source", "network_source", "uptime_source"];

impl Store {
    /// The samples from the oldest on, of a VM or of the host (`None`), in parts of a file.
    ///
    /// # Errors
    /// `Invalid` when the span is none. An error within the stream is the database's; the file is then cut off.
    pub fn export(
        &self,
        vm_id: Option<i64>,
        span: Span,
        format: ExportFormat,
    ) -> Result<impl Stream<Item = Result<String, sqlx::Error>> + Send + use<>, ApiError> {
        let (from, to) = self.bounds(span)?;
        let windows = self.windows(from, to, HOURS_AT_ONCE);
        let subject = Subject::of(vm_id);
        let metrics: Vec<_> = Metric::ALL.into_iter().filter(|m| m.of_host == vm_id.is_none()).collect();
        let steps = std::iter::once(Step::Begin)
            .chain(windows.into_iter().map(|(from, to)| Step::Window(from, to)))
            .chain(std::iter::once(Step::End));
        let state = (steps, self.clone(), metrics, false);
        let parts = stream::unfold(state, move |(mut steps, store, metrics, mut any_row)| async move {
            let text = match (steps.next()?, format) {
                (Step::Begin, ExportFormat::Csv) => Ok(header(&metrics)),
                (Step::Begin, ExportFormat::Json) => Ok("[".to_owned()),
                (Step::End, ExportFormat::Csv) => Ok(String::new()),
                (Step::End, ExportFormat::Json) => Ok("\n]\n".to_owned()),
                (Step::Window(from, to), _) => {
                    let text = store.part(subject, &metrics, from, to, format, any_row).await;
                    any_row |= text.as_ref().is_ok_and(|text| !text.is_empty());
                    text
                }
            };
            Some((text, (steps, store, metrics, any_row)))
        });
        // Compression polls once more after the end.
        Ok(parts.fuse())
    }

    /// The rows of a part of the span; `any_row`: there were rows before.
    async fn part(
        &self,
        subject: Subject,
        metrics: &[Metric],
        from: i64,
        to: i64,
        format: ExportFormat,
        any_row: bool,
    ) -> Result<String, sqlx::Error> {
        let columns: Vec<Column> = (0..subject.column_count() as Column).collect();
        let fetched = self.fetch(&[subject], &columns, self.lookback(from), to).await?;
        let (metrics, gap) = (metrics.to_vec(), gap_millis(self.0.interval_secs));
        off_thread(move || {
            let blocks = fetched.decoded().remove(&subject).unwrap_or_default();
            let rows = Rows::new(subject, &metrics, &columns, &blocks, from, gap);
            match format {
                ExportFormat::Csv => rows.csv(),
                ExportFormat::Json => rows.json(&metrics, any_row),
            }
        })
        .await
    }
}

enum Step {
    Begin,
    Window(i64, i64),
    End,
}

fn header(metrics: &[Metric]) -> String {
    let mut names = vec!["timestamp"];
    names.extend(metrics.iter().map(|metric| metric.name));
    if metrics.iter().any(|metric| !metric.of_host) {
        names.extend(GROUPS);
    }
    names.join(",") + "\n"
}

impl Rows {
    fn new(
        subject: Subject,
        metrics: &[Metric],
        columns: &[Column],
        blocks: &[Block],
        from: i64,
        gap_millis: i64,
    ) -> Self {
        let values_of = |metric: &Metric| {
            let mut values = Vec::new();
            if let Some(formula) = Formula::of(*metric) {
                each_value(formula, columns, blocks, gap_millis, |at, value| {
                    if at >= from {
                        values.push(value.map(|value| metric.rounded(value)));
                    }
                });
            }
            values
        };
        let mut rows =
            Self { times: Vec::new(), values: metrics.iter().map(values_of).collect(), sources: Vec::new() };
        for block in blocks {
            let first = block.times.partition_point(|at| *at < from);
            rows.times.extend_from_slice(&block.times[first..]);
            if subject != Subject::HOST {
                rows.sources.extend_from_slice(&block.columns[usize::from(vm::SOURCES)][first..]);
            }
        }
        rows
    }

    /// The ticks at which the VM ran; all of the host's.
    fn recorded(&self) -> impl Iterator<Item = usize> {
        (0..self.times.len()).filter(|i| self.sources.get(*i) != Some(&UNKNOWN))
    }

    fn sources_at(&self, i: usize) -> Option<[&'static str; 5]> {
        let of = sources(known(*self.sources.get(i)?)?);
        Some([of.cpu, of.memory, of.disk, of.network, of.uptime].map(Source::as_str))
    }

    fn csv(&self) -> String {
        let mut text = String::with_capacity(self.times.len() * (self.values.len() + 6) * 8);
        for i in self.recorded() {
            text.push_str(&UtcMillis(self.times[i]).to_rfc3339());
            for column in &self.values {
                text.push(',');
                if let Some(value) = column[i] {
                    // Writing into a string never fails.
                    let _ = write!(text, "{value}");
                }
            }
            for source in self.sources_at(i).into_iter().flatten() {
                text.push(',');
                text.push_str(source);
            }
            text.push('\n');
        }
        text
    }

    fn json(&self, metrics: &[Metric], mut any_row: bool) -> String {
        let mut text = String::new();
        for i in self.recorded() {
            let mut object = Map::new();
            object.insert("timestamp".into(), json!(UtcMillis(self.times[i]).to_rfc3339()));
            for (metric, column) in metrics.iter().zip(&self.values) {
                object.insert(metric.name.into(), json!(column[i]));
            }
            for (group, source) in GROUPS.into_iter().zip(self.sources_at(i).into_iter().flatten()) {
                object.insert(group.into(), json!(source));
            }
            text.push_str(if any_row { ",\n" } else { "\n" });
            any_row = true;
            text.push_str(&Value::Object(object).to_string());
        }
        text
    }
}
