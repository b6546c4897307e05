//! The small pictures of figures: bar, sparkline, source.

use super::{chart::Hue, trail::Shapes};
use crate::model::{Source, UtcMillis, tenths};
use leptos::prelude::*;

/// A share of a whole, percent. Drawn as SVG, so that its length needs no inline style.
#[component]
pub fn Bar(percent: Option<f64>, hue: Hue) -> impl IntoView {
    view! {
        <svg class=format!("bar {}", hue.class()) viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
            <rect class="area" height="6" width=bar_width(percent)></rect>
        </svg>
    }
}

/// The length of a [`Bar`] as its attribute.
pub fn bar_width(percent: Option<f64>) -> String {
    tenths(percent.unwrap_or(0.0).min(100.0)).to_string()
}

/// A line without axes that shows which way a figure goes. Says nothing to a screen reader: the figure stands
/// beside it.
#[component]
pub fn Sparkline(shapes: Shapes, size: (f64, f64), hue: Hue) -> impl IntoView {
    let (width, height) = size;
    view! {
        <svg
            class=format!("spark {}", hue.class())
            viewBox=format!("0 0 {width} {height}")
            preserveAspectRatio="none"
            aria-hidden="true"
        >
            <path class="area" d=shapes.area></path>
            <path class="line" d=shapes.line></path>
        </svg>
    }
}

/// A stretch of time in which something need be drawn only once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beat(i64);

impl Beat {
    /// While 15 minutes of a line would move by a thirtieth of their width.
    const SECS: i64 = 30;

    /// `turn` shifts it, so that not everything is drawn in the same poll. Pictures are, all of a page: the browser
    /// arranges its layers anew for one as for all.
    pub fn at(cursor: UtcMillis, turn: i64) -> Self {
        let shift_secs = (turn * 5).rem_euclid(Self::SECS);
        Self(cursor.plus_secs(shift_secs).0.div_euclid(Self::SECS * 1000))
    }
}

/// Where a figure comes from, in a few words.
pub fn source_words(source: Source) -> &'static str {
    match source {
        Source::Guest => "from inside the guest",
        Source::Hypervisor => "from the hypervisor",
        Source::Simulated => "simulated",
        Source::Stale => "too old",
        Source::Unknown => "unknown",
    }
}

/// Where a figure comes from, and what that means for who asks.
#[component]
pub fn SourceTag(source: Signal<Source>) -> impl IntoView {
    let sentence = move || match source.get() {
        Source::Guest => "The VM's own system says so.",
        Source::Hypervisor => "Measured from outside, by the hypervisor's counters.",
        Source::Simulated => "Made up by the simulated fleet.",
        Source::Stale => "It was known, but is too old to be shown as a figure.",
        Source::Unknown => "Nothing tells this figure now.",
    };
    view! { <span class="source" title=sentence>{move || source_words(source.get())}</span> }
}
