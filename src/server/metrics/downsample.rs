//! Converts columns to values, and downsamples values to as many points as a chart can show. Pure.
//!
//! An unknown value is a gap, and so is a span without ticks: no line is drawn through either.

use super::{
    chunk::UNKNOWN,
    memtable::Block,
    sample::{BYTES_PER_MB, Column, Counter, Disk, Formula, sources},
};
use crate::model::MetricStatistics;

/// Samples closer together than this come from a clock that was set back, not from two ticks.
const LEAST_MILLIS: i64 = 500;

/// Two samples further apart than this have a gap between them: one tick may be late, two are missing. With a very short
/// interval, ticks may take longer than that.
pub fn gap_millis(interval_secs: u32) -> i64 {
    (i64::from(interval_secs) * 2500).max(12_500)
}

/// Hands each tick's value to `see`, in the order of the blocks, which is that of time. The blocks hold `columns`.
pub fn each_value(
    formula: Formula,
    columns: &[Column],
    blocks: &[Block],
    gap_millis: i64,
    mut see: impl FnMut(i64, Option<f64>),
) {
    let place = |needed: &Column| columns.iter().position(|column| column == needed);
    let Some(places) = formula.columns().iter().map(place).collect::<Option<Vec<_>>>() else { return };
    let mut before: Option<Counted> = None;
    for block in blocks {
        let column = |i: &usize| block.columns.get(*i).map(Vec::as_slice);
        let Some(needed) = places.iter().map(column).collect::<Option<Vec<_>>>() else { continue };
        for (i, at) in block.times.iter().enumerate() {
            let cell = |column: usize| needed[column][i];
            let disk = |disk: Disk| disk.used_and_total(std::array::from_fn(cell));
            let value = match formula {
                Formula::DiskPercent(of) => {
                    let (used, total) = disk(of);
                    percent(used, total)
                }
                Formula::DiskUsed(of, divisor) => known(disk(of).0).map(|used| used as f64 / divisor),
                Formula::Scaled(_, divisor) => known(cell(0)).map(|a| a as f64 / divisor),
                Formula::Percent(..) => percent(cell(0), cell(1)),
                Formula::Counter(_) => {
                    known(Counter::bytes(cell(0), cell(1))).map(|bytes| bytes as f64 / BYTES_PER_MB)
                }
                Formula::Rate(_) => {
                    let bytes = Counter::bytes(cell(0), cell(1));
                    let now = Counted { at: *at, bytes, uptime_secs: cell(2), sources: cell(3) };
                    let rate = before.and_then(|before| now.mb_per_s_since(before, gap_millis));
                    before = Some(now);
                    rate
                }
            };
            see(*at, value);
        }
    }
}

pub fn known(value: i64) -> Option<i64> {
    (value != UNKNOWN).then_some(value)
}

/// 100 · part / whole, at most 100.
pub fn percent(part: i64, whole: i64) -> Option<f64> {
    let (part, whole) = (known(part)?, known(whole)?);
    (whole > 0).then(|| (100.0 * part as f64 / whole as f64).clamp(0.0, 100.0))
}

/// A counter at one tick.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    pub at: i64,
    pub bytes: i64,
    pub uptime_secs: i64,
    /// Packed: the sources of the counters and of the uptime.
    pub sources: i64,
}

impl Counted {
    /// `None` when either is unknown, when they are of two boots or were counted by two, or when they are too far
    /// apart or not apart at all.
    pub fn mb_per_s_since(self, before: Self, gap_millis: i64) -> Option<f64> {
        let grown = known(self.bytes)?.checked_sub(known(before.bytes)?)?;
        let millis = self.at - before.at;
        let (now_of, before_of) = (sources(self.sources), sources(before.sources));
        // Uptimes from two sources count from different starts.
        let one_boot = match (known(self.uptime_secs), known(before.uptime_secs)) {
            (Some(now), Some(before)) if now_of.uptime == before_of.uptime => now >= before,
            _ => true,
        };
        let apart = (LEAST_MILLIS..=gap_millis).contains(&millis);
        let sound = grown >= 0 && one_boot && apart && now_of.network == before_of.network;
        sound.then(|| grown as f64 / BYTES_PER_MB / (millis as f64 / 1000.0))
    }
}

/// Points in the order of time, all vectors of one length; a point of `None` is a gap.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Points {
    pub at: Vec<i64>,
    pub min: Vec<Option<f64>>,
    pub mean: Vec<Option<f64>>,
    pub max: Vec<Option<f64>>,
}

/// How values are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Each value is a point.
    Each,
    /// The values within each span of so many milliseconds, counted from `from`, are one.
    Span { from: i64, millis: i64 },
}

impl Resolution {
    /// At most `points` spans from `from` to `to`, of the `ticks` that are there; single values when these are no
    /// more.
    pub fn new(from: i64, to: i64, points: u32, ticks: usize) -> Self {
        if ticks <= points as usize {
            Self::Each
        } else {
            Self::Span { from, millis: to.saturating_sub(from) / i64::from(points.max(1)) + 1 }
        }
    }

    fn index(self, at: i64) -> i64 {
        match self {
            Self::Each => at,
            Self::Span { from, millis } => (at - from).div_euclid(millis),
        }
    }
}

/// Takes values in the order of time.
pub struct Downsampler {
    resolution: Resolution,
    gap_millis: i64,
    open: Option<Bucket>,
    /// An unknown value came after the last known one.
    unknown_since: bool,
    points: Points,
}

struct Bucket {
    index: i64,
    last_at: i64,
    min: f64,
    max: f64,
    sum: f64,
    count: u32,
}

impl Downsampler {
    pub fn new(resolution: Resolution, gap_millis: i64) -> Self {
        let gap_millis = match resolution {
            Resolution::Each => gap_millis,
            Resolution::Span { millis, .. } => gap_millis.max(millis),
        };
        Self { resolution, gap_millis, open: None, unknown_since: false, points: Points::default() }
    }

    pub fn see(&mut self, at: i64, value: Option<f64>) {
        let Some(value) = value else {
            self.unknown_since = true;
            return;
        };
        let index = self.resolution.index(at);
        match &mut self.open {
            Some(bucket) if bucket.index == index => {
                bucket.last_at = at;
                bucket.min = bucket.min.min(value);
                bucket.max = bucket.max.max(value);
                bucket.sum += value;
                bucket.count += 1;
            }
            _ => {
                let last_at = self.open.as_ref().map(|bucket| bucket.last_at);
                self.close();
                if let Some(last_at) = last_at {
                    let unknown = self.unknown_since && self.resolution == Resolution::Each;
                    if unknown || at - last_at > self.gap_millis {
                        self.push(at - 1, None);
                    }
                }
                self.open = Some(Bucket { index, last_at: at, min: value, max: value, sum: value, count: 1 });
            }
        }
        self.unknown_since = false;
    }

    pub fn finish(mut self) -> Points {
        self.close();
        self.points
    }

    fn close(&mut self) {
        if let Some(bucket) = self.open.take() {
            let mean = bucket.sum / f64::from(bucket.count);
            self.push(bucket.last_at, Some((bucket.min, mean.clamp(bucket.min, bucket.max), bucket.max)));
        }
    }

    fn push(&mut self, at: i64, values: Option<(f64, f64, f64)>) {
        self.points.at.push(at);
        self.points.min.push(values.map(|v| v.0));
        self.points.mean.push(values.map(|v| v.1));
        self.points.max.push(values.map(|v| v.2));
    }
}

/// Smallest, mean, largest, and the 95th percentile: the smallest value that at least 95 % of them do not exceed.
pub fn statistics(mut values: Vec<f64>) -> Option<MetricStatistics> {
    let count = values.len();
    if count == 0 {
        return None;
    }
    let sum: f64 = values.iter().sum();
    let rank = (count * 95).div_ceil(100) - 1;
    let (below, p95, above) = values.select_nth_unstable_by(rank, f64::total_cmp);
    let p95 = *p95;
    let min = below.iter().copied().fold(p95, f64::min);
    let max = above.iter().copied().fold(p95, f64::max);
    Some(MetricStatistics { count, min, mean: (sum / count as f64).clamp(min, max), max, p95 })
}

#[cfg(test)]
mod tests {
    use super::{super::sample::vm, *};
    use proptest::{collection::vec, option, prelude::*};

    const GAP: i64 = 12_500;

    fn downsampled(values: &[(i64, Option<f64>)], resolution: Resolution) -> Points {
        let mut downsampler = Downsampler::new(resolution, GAP);
        values.iter().for_each(|(at, value)| downsampler.see(*at, *value));
        downsampler.finish()
    }

    fn block(times: &[i64], columns: &[&[i64]]) -> Block {
        Block { times: times.to_vec(), columns: columns.iter().map(|c| c.to_vec()).collect() }
    }

    fn values(formula: Formula, blocks: &[Block]) -> Vec<Option<f64>> {
        let mut all = Vec::new();
        each_value(formula, &formula.columns(), blocks, GAP, |_, value| all.push(value));
        all
    }

    /// All from the hypervisor; and the same with uptime or network from the guest.
    const HYPERVISOR: i64 = 0o22222;
    const GUESTS_UPTIME: i64 = 0o12222;
    const GUESTS_NETWORK: i64 = 0o11222;

    #[test]
    fn a_rate_goes_on_over_the_end_of_a_block_but_not_over_a_boot_a_gap_or_the_unknown() {
        let rate = Formula::Rate(Counter::RECEIVED);
        let blocks = [
            block(&[0, 5000], &[&[0, 5 << 20], &[UNKNOWN; 2], &[60, 65], &[HYPERVISOR; 2]]),
            block(
                &[10_000, 15_000, 60_000, 65_000, 70_000],
                &[
                    &[10 << 20, 10 << 20, 100 << 20, 102_400 * 1024 + 5, UNKNOWN],
                    &[UNKNOWN; 5],
                    &[70, 3, 48, 53, 58],
                    &[HYPERVISOR; 5],
                ],
            ),
        ];
        assert_eq!(
            values(rate, &blocks),
            [None, Some(1.0), Some(1.0), None, None, Some(1.0 / BYTES_PER_MB), None]
        );
    }

    #[test]
    fn a_rate_is_of_one_counter_and_of_two_ticks() {
        let rate = Formula::Rate(Counter::RECEIVED);
        let blocks = [block(
            &[0, 5000, 10_000, 10_001, 15_000],
            &[
                &[0, 5 << 20, 10 << 20, 15 << 20, 20 << 20],
                &[UNKNOWN; 5],
                &[60, 12, 17, 22, 27],
                &[HYPERVISOR, GUESTS_UPTIME, GUESTS_NETWORK, GUESTS_NETWORK, GUESTS_NETWORK],
            ],
        )];
        let seen = values(rate, &blocks);
        assert_eq!(
            seen[..4],
            [None, Some(1.0), None, None],
            "the counter is one, whatever the source of the uptime"
        );
        assert!(seen[4].is_some());
    }

    #[test]
    fn a_low_rate_is_even_where_kb_would_alternate() {
        for per_tick in [4000, 5199, 60] {
            let counted: Vec<i64> = (0..20).map(|tick| tick * per_tick).collect();
            let times: Vec<i64> = (0..20).map(|tick| tick * 5000).collect();
            let (unknown, uptime) = ([UNKNOWN; 20], [60; 20]);
            let blocks = [block(&times, &[&counted, &unknown, &uptime, &[HYPERVISOR; 20]])];
            let seen = values(Formula::Rate(Counter::RECEIVED), &blocks);
            assert!(
                seen[1..].iter().all(|rate| *rate == Some(per_tick as f64 / 5.0 / BYTES_PER_MB)),
                "{seen:?}"
            );
        }
    }

    #[test]
    fn counters_in_kb_go_on_in_bytes_within_the_same_hour() {
        let blocks = [block(
            &[0, 5000, 10_000],
            &[&[UNKNOWN, UNKNOWN, 15 << 20], &[5120, 10_240, UNKNOWN], &[60, 65, 70], &[HYPERVISOR; 3]],
        )];
        assert_eq!(values(Formula::Rate(Counter::RECEIVED), &blocks), [None, Some(1.0), Some(1.0)]);
        assert_eq!(values(Formula::Counter(Counter::RECEIVED), &blocks), [5.0, 10.0, 15.0].map(Some));
    }

    #[test]
    fn a_percent_needs_both_parts() {
        let formula = Formula::Percent(vm::MEMORY_USED, vm::MEMORY_TOTAL);
        let blocks = [block(&[0, 1, 2, 3], &[&[25, 25, UNKNOWN, 9], &[100, UNKNOWN, 100, 0]])];
        assert_eq!(values(formula, &blocks), [Some(25.0), None, None, None]);
    }

    #[test]
    fn each_value_is_a_point_and_what_is_unknown_or_missing_a_gap() {
        let seen = downsampled(
            &[(0, Some(1.0)), (5000, None), (10_000, Some(2.0)), (15_000, Some(3.0)), (60_000, Some(4.0))],
            Resolution::Each,
        );
        assert_eq!(seen.at, [0, 9999, 10_000, 15_000, 59_999, 60_000]);
        assert_eq!(seen.mean, [Some(1.0), None, Some(2.0), Some(3.0), None, Some(4.0)]);
        assert_eq!((&seen.min, &seen.max), (&seen.mean, &seen.mean));
    }

    #[test]
    fn a_span_keeps_its_extremes_and_an_empty_one_is_a_gap() {
        let resolution = Resolution::Span { from: 0, millis: 60_000 };
        let seen = downsampled(
            &[(0, Some(1.0)), (5000, Some(9.0)), (10_000, None), (59_999, Some(2.0)), (240_000, Some(4.0))],
            resolution,
        );
        assert_eq!(seen.at, [59_999, 239_999, 240_000]);
        assert_eq!(seen.min, [Some(1.0), None, Some(4.0)]);
        assert_eq!(seen.mean, [Some(4.0), None, Some(4.0)]);
        assert_eq!(seen.max, [Some(9.0), None, Some(4.0)]);
    }

    #[test]
    fn a_week_is_spans_and_a_quarter_of_an_hour_single_values() {
        let week = 7 * 24 * 3_600_000;
        assert_eq!(Resolution::new(0, week, 600, 120_960), Resolution::Span { from: 0, millis: 1_008_001 });
        assert_eq!(Resolution::new(0, 900_000, 600, 180), Resolution::Each);
    }

    #[test]
    fn the_95th_percentile_is_the_95th_of_a_hundred() {
        let summary = statistics((1..=100).map(f64::from).collect()).unwrap();
        assert_eq!(
            (summary.count, summary.min, summary.mean, summary.max, summary.p95),
            (100, 1.0, 50.5, 100.0, 95.0)
        );
        assert_eq!(statistics(vec![7.0]).unwrap().p95, 7.0);
        assert!(statistics(Vec::new()).is_none());
    }

    fn any_values() -> impl Strategy<Value = Vec<(i64, Option<f64>)>> {
        vec((1..20_000_i64, option::weighted(0.9, -100.0..100.0_f64)), 0..300).prop_map(|steps| {
            let mut at = 0;
            let step = |(millis, value)| {
                at += millis;
                (at, value)
            };
            steps.into_iter().map(step).collect()
        })
    }

    proptest! {
        #[test]
        fn spans_are_those_of_a_plain_count(given in any_values(), millis in 1..600_000_i64) {
            let seen = downsampled(&given, Resolution::Span { from: 0, millis });
            let mut plain: Vec<(i64, Vec<f64>)> = Vec::new();
            for (at, value) in given.iter().filter_map(|(at, value)| Some((at, (*value)?))) {
                match plain.last_mut() {
                    Some((index, values)) if *index == at / millis => values.push(value),
                    _ => plain.push((at / millis, vec![value])),
                }
            }
            let found: Vec<_> = (0..seen.at.len()).filter(|i| seen.mean[*i].is_some()).collect();
            prop_assert_eq!(found.len(), plain.len());
            for (i, (_, values)) in found.into_iter().zip(plain) {
                let (min, max) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                prop_assert_eq!((seen.min[i], seen.max[i]), (Some(min), Some(max)));
                prop_assert!((seen.mean[i].unwrap() - mean).abs() < 1e-9);
            }
            prop_assert!(seen.at.is_sorted_by(|a, b| a < b));
        }

        #[test]
        fn nothing_is_made_up(given in any_values()) {
            let seen = downsampled(&given, Resolution::Each);
            let known: Vec<_> = given.into_iter().filter_map(|(at, value)| Some((at, value?))).collect();
            let found: Vec<_> = seen.at.into_iter().zip(seen.mean).filter_map(|(at, v)| Some((at, v?))).collect();
            prop_assert_eq!(found, known);
        }

        #[test]
        fn statistics_are_those_of_the_sorted_values(mut given in vec(-1e6..1e6_f64, 1..500)) {
            let summary = statistics(given.clone()).unwrap();
            given.sort_by(f64::total_cmp);
            let rank = (0.95 * given.len() as f64 - 1e-9).ceil() as usize;
            prop_assert_eq!((summary.min, summary.p95, summary.max), (given[0], given[rank - 1], given[given.len() - 1]));
        }
    }
}
