//! A small line that shows how a metric develops.

use super::{chart::Hue, sparkline_geometry::Path};
use leptos::prelude::*;

/// A line without axes. Hidden from screen readers: the value is beside it.
#[component]
pub fn Sparkline(#[prop(into)] path: Signal<Path>, size: (f64, f64), hue: Hue) -> impl IntoView {
    let (width, height) = size;
    view! {
        <svg
            class=format!("spark {}", hue.class())
            viewBox=format!("0 0 {width} {height}")
            preserveAspectRatio="none"
            aria-hidden="true"
        >
            <path class="area" d=move || path.with(|path| path.area.clone())></path>
            <path class="line" d=move || path.with(|path| path.line.clone())></path>
        </svg>
    }
}
