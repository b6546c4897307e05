//! What a chart shows: its lines, marks and scale.

use super::sparkline_geometry::{self, Point, ValueAxis};
use crate::model::{Severity, UtcMillis};

/// Where the lines begin and end within the element, as in the style sheet's `.plot-still`.
pub const PLOT_LEFT_PX: i32 = 58;
pub const PLOT_RIGHT_PX: i32 = 10;

/// Which of the page's hues a line has; the same figure has the same one everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hue {
    Cpu,
    Memory,
    Disk,
    Received,
    Sent,
}

impl Hue {
    pub fn class(self) -> &'static str {
        match self {
            Self::Cpu => "hue-cpu",
            Self::Memory => "hue-memory",
            Self::Disk => "hue-disk",
            Self::Received => "hue-rx",
            Self::Sent => "hue-tx",
        }
    }
}

/// What the values of a chart are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// 0 to 100.
    Percent,
    /// MB/s, from 0 to what there is.
    Rate,
    /// A plain number, from 0 to what there is.
    Count,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Stable id, such as `rx`.
    pub name: &'static str,
    /// What a person reads.
    pub label: &'static str,
    pub hue: Hue,
    pub points: Vec<Point>,
    /// The smallest and largest value that each of the first points stands for; none where a point is a single value.
    pub extremes: Vec<Option<(f64, f64)>>,
}

/// Something that happened, drawn as a line across the time axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    pub at: UtcMillis,
    pub text: String,
    pub severity: Severity,
}

/// The lines of a chart and the stretch of time they are shown for.
#[derive(Debug, Clone, PartialEq)]
pub struct ChartData {
    pub from: UtcMillis,
    pub to: UtcMillis,
    pub traces: Vec<Trace>,
    pub marks: Vec<Mark>,
}

impl ChartData {
    /// Where the axis of values ends, and its step, for a scale that depends on them.
    pub fn axis(&self, scale: Scale) -> ValueAxis {
        let values = self.traces.iter().flat_map(|trace| &trace.points).filter_map(|point| point.1);
        let highest =
            self.traces.iter().flat_map(|trace| &trace.extremes).filter_map(|e| e.map(|(_, max)| max));
        let values = values.chain(highest);
        if scale == Scale::Count {
            sparkline_geometry::count_axis(values)
        } else {
            sparkline_geometry::rate_axis(values)
        }
    }

    pub fn top(&self, scale: Scale) -> f64 {
        match scale {
            Scale::Percent => 100.0,
            Scale::Rate | Scale::Count => self.axis(scale).top,
        }
    }
}
