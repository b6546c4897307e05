//! The small pictures of figures: bar, sparkline, source.

use super::{
    chart::Hue,
    trail::{Frame, Point},
};
use crate::model::Source;
use leptos::{prelude::*, svg};

/// A share of a whole. Drawn as SVG, so that its length needs no inline style.
#[component]
pub fn Bar(#[prop(into)] percent: Signal<Option<f64>>, hue: Hue) -> impl IntoView {
    let width = move || format!("{:.1}", percent.get().unwrap_or(0.0).clamp(0.0, 100.0));
    view! {
        <svg class=format!("bar {}", hue.class()) viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
            <rect class="area" height="6" width=width></rect>
        </svg>
    }
}

/// A line without axes that shows which way a figure goes. Says nothing to a screen reader: the figure stands
/// beside it. Where `seen` is given, it is drawn anew only while that is true.
#[component]
pub fn Sparkline(
    points: Signal<Vec<Point>>,
    frame: Signal<Frame>,
    hue: Hue,
    #[prop(optional, into)] seen: Option<Signal<bool>>,
) -> impl IntoView {
    let (line, area) = (NodeRef::<svg::Path>::new(), NodeRef::<svg::Path>::new());
    let shapes = move || points.with(|points| frame.get().shapes(points));
    let first = untrack(shapes);
    Effect::new(move || {
        if seen.is_none_or(|seen| seen.get()) {
            let shapes = shapes();
            for (path, data) in [(line, &shapes.line), (area, &shapes.area)] {
                if let Some(path) = path.get_untracked() {
                    let _ = path.set_attribute("d", data);
                }
            }
        }
    });
    let (width, height) = frame.with_untracked(|f| (f.width, f.height));
    view! {
        <svg
            class=format!("spark {}", hue.class())
            viewBox=format!("0 0 {width} {height}")
            preserveAspectRatio="none"
            aria-hidden="true"
        >
            <path node_ref=area class="area" d=first.area></path>
            <path node_ref=line class="line" d=first.line></path>
        </svg>
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
