//! Turns a metric's points into SVG path data. Pure. An unknown value and a stretch of time without samples both
//! interrupt the line.

use crate::model::{UtcMillis, tenths};
use std::fmt::Write;

/// A sample's time and value; `None` interrupts the line.
pub type Point = (UtcMillis, Option<f64>);

/// This many intervals without a sample are a gap; fewer are a late tick.
const GAP_INTERVALS: i64 = 3;

/// Pairs times with values that already have their gaps.
pub fn points(times: &[UtcMillis], values: &[Option<f64>]) -> Vec<Point> {
    times.iter().copied().zip(values.iter().copied()).collect()
}

/// Puts an unknown point into every stretch without samples, so that no line is drawn across it.
pub fn with_gaps(samples: &[Point], interval_secs: u32) -> Vec<Point> {
    let gap_millis = i64::from(interval_secs) * 1000 * GAP_INTERVALS;
    let mut points: Vec<Point> = Vec::with_capacity(samples.len() + 1);
    for (at, value) in samples {
        if let Some((before, _)) = points.last()
            && at.0 - before.0 > gap_millis
        {
            points.push((UtcMillis(before.0 + 1), None));
        }
        points.push((*at, *value));
    }
    points
}

/// The newest value, if it is known.
pub fn latest(points: &[Point]) -> Option<f64> {
    points.last().and_then(|(_, value)| *value)
}

/// Where an axis ends, and its step; of rates, both MB/s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueAxis {
    pub top: f64,
    pub step: f64,
}

/// An axis for rates in MB/s that ends at 1, 2, 5, 10, … KB/s or MB/s, in the unit the rates are shown in,
/// with round steps.
pub fn rate_axis(rates: impl IntoIterator<Item = f64>) -> ValueAxis {
    const KB: f64 = 1024.0;
    let highest = rates.into_iter().fold(0.0, f64::max);
    let (unit, most) = if highest * KB <= 500.0 { (1.0 / KB, highest * KB) } else { (1.0, highest.max(1.5)) };
    let (top, step) = round_top(most);
    ValueAxis { top: top * unit, step: step * unit }
}

/// An axis for plain numbers that ends at 1, 2, 5, 10, …
pub fn count_axis(values: impl IntoIterator<Item = f64>) -> ValueAxis {
    let (top, step) = round_top(values.into_iter().fold(0.0, f64::max));
    ValueAxis { top, step }
}

/// The first of 1, 2, 5, 10, … that is no less than `most`, and a round step towards it.
fn round_top(most: f64) -> (f64, f64) {
    let mut decade = 1.0;
    loop {
        for (factor, steps) in [(1.0, 5.0), (2.0, 2.0), (5.0, 5.0)] {
            if decade * factor >= most || decade > 1e9 {
                return (decade * factor, decade * factor / steps);
            }
        }
        decade *= 10.0;
    }
}

/// The part of the plane that is drawn: time from left to right, 0 to `top` from bottom to top.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Viewport {
    pub from: UtcMillis,
    pub to: UtcMillis,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Viewport {
    fn x(&self, at: UtcMillis) -> f64 {
        let span = (self.to.0 - self.from.0).max(1) as f64;
        (at.0 - self.from.0) as f64 / span * self.width
    }

    fn y(&self, value: f64) -> f64 {
        let share = if self.top > 0.0 { (value / self.top).clamp(0.0, 1.0) } else { 0.0 };
        (1.0 - share) * self.height
    }

    /// The line, with an `M` for each stretch of known values, and the area below it, a closed shape for each.
    pub fn path(&self, points: &[Point]) -> Path {
        let mut path = Path::default();
        for stretch in points.split(|(_, value)| value.is_none()) {
            let inside = stretch.iter().filter(|(at, _)| *at >= self.from && *at <= self.to);
            let begin = path.line.len();
            let mut ends = None;
            for (at, value) in inside {
                let (x, y) = (self.x(*at), self.y(value.unwrap_or(0.0)));
                path.line.push(if ends.is_none() { 'M' } else { 'L' });
                push_pair(&mut path.line, x, y);
                ends = Some((ends.map_or(x, |(first, _)| first), x));
            }
            let Some((first, last)) = ends else { continue };
            path.area.push('M');
            push_pair(&mut path.area, first, self.height);
            path.area.push('L');
            path.area.push_str(&path.line[begin + 1..]);
            path.area.push('L');
            push_pair(&mut path.area, last, self.height);
            path.area.push('Z');
            if first == last {
                path.line.push_str("h.1");
            }
        }
        path
    }

    /// SVG path data of lines from top to bottom.
    pub fn ticks(&self, times: impl Iterator<Item = UtcMillis>) -> String {
        let mut path = String::new();
        for at in times.filter(|at| *at >= self.from && *at <= self.to) {
            path.push('M');
            push_pair(&mut path, self.x(at), 0.0);
            let _ = write!(path, "V{}", tenths(self.height));
        }
        path
    }
}

/// SVG path data of a line and of the area below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path {
    pub line: String,
    pub area: String,
}

/// Two coordinates to a tenth.
pub fn push_pair(path: &mut String, x: f64, y: f64) {
    let _ = write!(path, "{} {}", tenths(x), tenths(y));
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEWPORT: Viewport =
        Viewport { from: UtcMillis(0), to: UtcMillis(10_000), top: 100.0, width: 100.0, height: 10.0 };

    fn at(secs: i64, value: impl Into<Option<f64>>) -> Point {
        (UtcMillis(secs * 1000), value.into())
    }

    #[test]
    fn a_line_starts_again_after_a_gap() {
        let points = [at(0, 0.0), at(1, 50.0), at(2, None), at(3, 100.0), at(4, 100.0)];
        let Path { line, area } = VIEWPORT.path(&points);
        assert_eq!(line, "M0 10L10 5M30 0L40 0");
        assert_eq!(area, "M0 10L0 10L10 5L10 10ZM30 10L30 0L40 0L40 10Z");
    }

    #[test]
    fn a_single_value_between_gaps_is_visible() {
        assert_eq!(VIEWPORT.path(&[at(1, None), at(5, 50.0), at(6, None)]).line, "M50 5h.1");
    }

    #[test]
    fn points_outside_the_viewport_are_not_drawn() {
        assert_eq!(VIEWPORT.path(&[at(-5, 10.0), at(50, 10.0)]), Path::default());
    }

    #[test]
    fn time_without_samples_interrupts_the_line() {
        let drawn = with_gaps(&[at(0, 1.0), at(5, 1.0), at(10, 1.0), at(60, 1.0)], 5);
        assert_eq!(drawn, [at(0, 1.0), at(5, 1.0), at(10, 1.0), (UtcMillis(10_001), None), at(60, 1.0)]);
    }

    #[test]
    fn an_axis_ends_at_a_round_number_of_the_unit_its_rates_are_shown_in() {
        assert_eq!(rate_axis([3.2, 1.0]), ValueAxis { top: 5.0, step: 1.0 });
        assert_eq!(rate_axis([0.7]), ValueAxis { top: 2.0, step: 1.0 });
        assert_eq!(rate_axis([12.0]), ValueAxis { top: 20.0, step: 10.0 });
        assert_eq!(rate_axis([0.3]), ValueAxis { top: 500.0 / 1024.0, step: 100.0 / 1024.0 });
        assert_eq!(rate_axis([]), ValueAxis { top: 1.0 / 1024.0, step: 0.2 / 1024.0 });
    }
}
