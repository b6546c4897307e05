//! What a chart shows: its lines, marks and scale.

use super::sparkline_geometry::{self, Point, ValueAxis};
use crate::model::{Severity, UtcMillis};

/// The colour of a line; a metric has the same one everywhere.
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

/// The kind of values in a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// 0 to 100.
    Percent,
    /// MB/s, from 0 to the maximum.
    Rate,
    /// A plain number, from 0 to the maximum.
    Count,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Stable id, such as `rx`.
    pub name: &'static str,
    /// Its label.
    pub label: &'static str,
    pub hue: Hue,
    pub points: Vec<Point>,
    /// The minimum and maximum of each of the first points; `None` if a point is a single value.
    pub extremes: Vec<Option<(f64, f64)>>,
}

/// An event, drawn as a line across the time axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    pub at: UtcMillis,
    pub text: String,
    pub severity: Severity,
}

/// The lines of a chart and its time range.
#[derive(Debug, Clone, PartialEq)]
pub struct ChartData {
    pub from: UtcMillis,
    pub to: UtcMillis,
    pub traces: Vec<Trace>,
    pub marks: Vec<Mark>,
}

impl ChartData {
    /// The end and step of the value axis, for a scale that depends on the values.
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

/// Where the lines begin and end within the element, as in the style sheet's `.plot-still`.
pub const PLOT_LEFT_PX: i32 = 58;
pub const PLOT_RIGHT_PX: i32 = 10;
