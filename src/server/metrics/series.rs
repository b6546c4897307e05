//! Rows of samples become series with gaps. Pure.

use crate::model::{Series, UtcMillis};
use sqlx::FromRow;

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Row {
    pub vm_id: i64,
    pub sampled_at: i64,
    pub cpu_percent: Option<f64>,
    pub memory_percent: Option<f64>,
    pub disk_percent: Option<f64>,
    pub network_rx_mb_per_s: Option<f64>,
    pub network_tx_mb_per_s: Option<f64>,
}

/// Two samples further apart than this have a gap between them: one tick may be late, two are missing.
pub fn gap_millis(period_secs: u32) -> i64 {
    i64::from(period_secs) * 2500
}

/// The points of one VM's rows (in their order) that are newer than `after`, with a point of nothing known in
/// every gap. `None` when there is none.
pub fn series_of(rows: &[Row], after: UtcMillis, period_secs: u32) -> Option<Series> {
    let mut series = Series { vm_id: rows.first()?.vm_id, ..Series::default() };
    let mut previous: Option<i64> = None;
    for row in rows {
        if row.sampled_at > after.0 {
            let gap = match previous {
                Some(previous) => row.sampled_at - previous > gap_millis(period_secs),
                // The first of all points begins the line; the first since a cursor comes after a gap.
                None => after.0 > 0,
            };
            if gap {
                push(&mut series, row.sampled_at - 1, None);
            }
            push(&mut series, row.sampled_at, Some(row));
        }
        previous = Some(row.sampled_at);
    }
    (!series.sampled_at.is_empty()).then_some(series)
}

fn push(series: &mut Series, at: i64, row: Option<&Row>) {
    // What a chart shows: two decimals of a percent, and a rate down to 10 bytes/s.
    let short = |value: Option<f64>, digits: f64| value.map(|v| (v * digits).round() / digits);
    series.sampled_at.push(UtcMillis(at));
    series.cpu_percent.push(short(row.and_then(|r| r.cpu_percent), 100.0));
    series.memory_percent.push(short(row.and_then(|r| r.memory_percent), 100.0));
    series.disk_percent.push(short(row.and_then(|r| r.disk_percent), 100.0));
    series.network_rx_mb_per_s.push(short(row.and_then(|r| r.network_rx_mb_per_s), 100_000.0));
    series.network_tx_mb_per_s.push(short(row.and_then(|r| r.network_tx_mb_per_s), 100_000.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(times: &[i64]) -> Vec<Row> {
        times
            .iter()
            .map(|t| Row {
                vm_id: 1,
                sampled_at: *t,
                cpu_percent: Some(50.0),
                memory_percent: None,
                disk_percent: None,
                network_rx_mb_per_s: None,
                network_tx_mb_per_s: None,
            })
            .collect()
    }

    fn times_and_cpu(rows: &[Row], after: i64) -> Vec<(i64, Option<f64>)> {
        let Some(series) = series_of(rows, UtcMillis(after), 5) else { return vec![] };
        series.sampled_at.iter().map(|at| at.0).zip(series.cpu_percent).collect()
    }

    #[test]
    fn a_late_tick_is_no_gap_and_a_missing_one_is() {
        let seen = times_and_cpu(&rows(&[5000, 10_000, 19_000, 60_000]), 0);
        let known = Some(50.0);
        assert_eq!(seen, [(5000, known), (10_000, known), (19_000, known), (59_999, None), (60_000, known)]);
    }

    #[test]
    fn a_gap_that_spans_the_cursor_is_seen() {
        assert_eq!(times_and_cpu(&rows(&[60_000]), 30_000), [(59_999, None), (60_000, Some(50.0))]);
        assert_eq!(times_and_cpu(&rows(&[30_000, 35_000]), 30_000), [(35_000, Some(50.0))]);
    }

    #[test]
    fn nothing_new_is_no_series() {
        assert_eq!(times_and_cpu(&rows(&[5000]), 5000), []);
        assert_eq!(times_and_cpu(&[], 0), []);
    }
}
