//! Converts a VM's ticks into the series of its live charts. Pure.

use super::{
    downsample::{Counted, known, percent},
    memtable::Block,
    sample::{Column, Counter, Disk, vm},
};
use crate::model::{Series, UtcMillis};

/// The columns that [`series_of`] needs, in its order.
pub const COLUMNS: [Column; 13] = [
    vm::SOURCES,
    vm::CPU,
    vm::MEMORY_USED,
    vm::MEMORY_TOTAL,
    vm::DISK_USED,
    vm::DISK_TOTAL,
    vm::UPTIME,
    vm::NETWORK_RX_BYTES,
    vm::NETWORK_RX_KB,
    vm::NETWORK_TX_BYTES,
    vm::NETWORK_TX_KB,
    vm::IMAGE_USED,
    vm::IMAGE_TOTAL,
];

/// The points of one VM's blocks that are newer than `after`, with a point of nothing known in every gap. `None`
/// when there is none. The blocks begin a gap's length before `after`.
pub fn series_of(vm_id: i64, blocks: &[Block], after: UtcMillis, gap_millis: i64) -> Option<Series> {
    let mut series = Series { vm_id, ..Series::default() };
    let mut before: Option<[Counted; 2]> = None;
    for block in blocks {
        for (i, at) in block.times.iter().copied().enumerate() {
            let [
                sources,
                cpu,
                memory,
                memory_total,
                disk,
                disk_total,
                uptime_secs,
                rx,
                rx_kb,
                tx,
                tx_kb,
                image,
                image_total,
            ] = std::array::from_fn(|column| block.columns[column][i]);
            // The VM did not run at that tick.
            if known(sources).is_none() {
                continue;
            }
            let counted = [(rx, rx_kb), (tx, tx_kb)].map(|(bytes, kb)| {
                let bytes = Counter::bytes(bytes, kb);
                Counted { at, bytes, uptime_secs, sources }
            });
            if at > after.0 {
                let gap = match before {
                    Some([before, _]) => at - before.at > gap_millis,
                    // The first of all points begins the line; the first since a cursor comes after a gap.
                    None => after.0 > 0,
                };
                if gap {
                    push(&mut series, at - 1, [None; 6]);
                }
                let disk_percent = |of: Disk| {
                    let (used, total) = of.used_and_total([sources, disk, disk_total, image, image_total]);
                    percent(used, total)
                };
                let rate = |now: usize| counted[now].mb_per_s_since(before?[now], gap_millis);
                push(
                    &mut series,
                    at,
                    [
                        known(cpu).map(|cpu| cpu as f64 / 100.0),
                        percent(memory, memory_total),
                        disk_percent(Disk::FileSystem),
                        disk_percent(Disk::Image),
                        rate(0),
                        rate(1),
                    ],
                );
            }
            before = Some(counted);
        }
    }
    series.drop_unknown_image();
    (!series.sampled_at.is_empty()).then_some(series)
}

fn push(series: &mut Series, at: i64, values: [Option<f64>; 6]) {
    // What a chart shows: two decimals of a percent, and a rate down to a byte/s.
    let short = |value: Option<f64>, digits: f64| value.map(|v| (v * digits).round() / digits);
    let [cpu, memory, disk, image, rx, tx] = values;
    series.sampled_at.push(UtcMillis(at));
    series.cpu_percent.push(short(cpu, 100.0));
    series.memory_percent.push(short(memory, 100.0));
    series.disk_percent.push(short(disk, 100.0));
    series.image_percent.push(short(image, 100.0));
    series.network_rx_mb_per_s.push(short(rx, 1_000_000.0));
    series.network_tx_mb_per_s.push(short(tx, 1_000_000.0));
}

#[cfg(test)]
mod tests {
    use super::{super::chunk::UNKNOWN, *};

    const GAP: i64 = 12_500;

    fn block(times: &[i64]) -> Block {
        let columns = COLUMNS.map(|column| match column {
            vm::SOURCES => vec![1; times.len()],
            vm::CPU => vec![5000; times.len()],
            _ => vec![UNKNOWN; times.len()],
        });
        Block { times: times.to_vec(), columns: columns.to_vec() }
    }

    fn times_and_cpu(blocks: &[Block], after: i64) -> Vec<(i64, Option<f64>)> {
        let Some(series) = series_of(1, blocks, UtcMillis(after), GAP) else { return vec![] };
        series.sampled_at.iter().map(|at| at.0).zip(series.cpu_percent).collect()
    }

    #[test]
    fn a_late_tick_is_no_gap_and_a_missing_one_is() {
        let seen = times_and_cpu(&[block(&[5000, 10_000]), block(&[19_000, 60_000])], 0);
        let known = Some(50.0);
        assert_eq!(seen, [(5000, known), (10_000, known), (19_000, known), (59_999, None), (60_000, known)]);
    }

    #[test]
    fn a_gap_that_spans_the_cursor_is_seen() {
        assert_eq!(times_and_cpu(&[block(&[60_000])], 30_000), [(59_999, None), (60_000, Some(50.0))]);
        assert_eq!(times_and_cpu(&[block(&[30_000, 35_000])], 30_000), [(35_000, Some(50.0))]);
    }

    #[test]
    fn nothing_new_is_no_series() {
        assert_eq!(times_and_cpu(&[block(&[5000])], 5000), []);
        assert_eq!(times_and_cpu(&[], 0), []);
    }

    #[test]
    fn a_rate_is_what_a_counter_grew_by_since_the_tick_before() {
        let mut one = block(&[0, 5000]);
        one.columns[7] = vec![1 << 20, 11 << 20];
        let series = series_of(1, &[one], UtcMillis(-1), GAP).unwrap();
        assert_eq!(series.network_rx_mb_per_s, [None, Some(2.0)]);
        assert_eq!(series.network_tx_mb_per_s, [None, None]);
    }
}
