//! A bar that shows a share of a whole.

use super::chart::Hue;
use crate::model::tenths;
use leptos::prelude::*;

/// A percentage as a bar. Drawn as SVG, so that its length needs no inline style.
#[component]
pub fn Meter(#[prop(into)] percent: Signal<Option<f64>>, hue: Hue) -> impl IntoView {
    view! {
        <svg class=format!("bar {}", hue.class()) viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
            <rect class="area" height="6" width=move || meter_width(percent.get())></rect>
        </svg>
    }
}

/// The length of a [`Meter`] as an SVG attribute.
pub fn meter_width(percent: Option<f64>) -> String {
    tenths(percent.unwrap_or(0.0).min(100.0)).to_string()
}
