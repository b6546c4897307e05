//! A form field for a date and time.

use super::{browser, hydration::is_hydrated};
use crate::model::UtcMillis;
use leptos::{ev::Event, html, prelude::*};
use leptos_router::params::ParamsMap;

/// No time zone is further from UTC.
const OFFSET_MAX_MINUTES: i64 = 24 * 60;

/// The time of a [`DateTimeField`] of this name in an address, or a complete RFC 3339 time.
pub fn parse_datetime_field(query: &ParamsMap, name: &str) -> Option<UtcMillis> {
    let offset = query.get(&format!("{name}_offset")).and_then(|text| text.parse().ok());
    let offset_minutes = offset.filter(|minutes: &i64| minutes.abs() <= OFFSET_MAX_MINUTES).unwrap_or(0);
    let text = query.get(name)?;
    UtcMillis::from_rfc3339(&text).or_else(|| {
        let seconds = if text.len() == "2026-11-23T06:15".len() { ":00Z" } else { "Z" };
        let as_utc = UtcMillis::from_rfc3339(&format!("{text}{seconds}"))?;
        Some(as_utc.plus_secs(-60 * offset_minutes))
    })
}

/// A field for a date and time in the local time zone; in UTC without JavaScript. The zone's offset from UTC at that time, in
/// minutes, is submitted as `NAME_offset` or under another name.
#[component]
pub fn DateTimeField(
    name: &'static str,
    id: &'static str,
    label: &'static str,
    /// The initial value.
    #[prop(into)]
    at: Signal<Option<UtcMillis>>,
    #[prop(optional)] offset_name: Option<&'static str>,
    #[prop(optional)] required: bool,
    /// Submits the form as soon as a time is entered.
    #[prop(optional)]
    submit_on_change: bool,
) -> impl IntoView {
    let is_hydrated = is_hydrated();
    let offset_of = move |at| if is_hydrated.get() { browser::utc_offset_minutes(at) } else { 0 };
    let offset = NodeRef::<html::Input>::new();
    let offset_name = offset_name.map_or_else(|| format!("{name}_offset"), str::to_owned);
    let value = move || {
        let local = |at: UtcMillis| at.plus_secs(60 * i64::from(offset_of(at))).to_rfc3339();
        at.get().and_then(|at| local(at).get(..16).map(str::to_owned)).unwrap_or_default()
    };
    // Immediately, because the next event may submit the form.
    let set_offset = move |event: Event| {
        let time = UtcMillis::from_rfc3339(&format!("{}:00Z", event_target_value(&event)));
        if let Some((field, time)) = offset.get_untracked().zip(time) {
            field.set_value(&browser::utc_offset_minutes(time).to_string());
        }
    };
    view! {
        <label for=id>{label} {move || (!is_hydrated.get()).then_some(" (UTC)")}</label>
        <span class="control">
            <input
                id=id name=name type="datetime-local" required=required value=value prop:value=value on:input=set_offset
                on:change=move |event| if submit_on_change { browser::submit_form_of(&event) }
            />
        </span>
        <input type="hidden" node_ref=offset name=offset_name value=move || at.get().map_or(0, offset_of)/>
    }
}
