//! A form field for a date and time.

use super::{browser, format, hydration::is_hydrated};
use crate::model::UtcMillis;
use leptos::{ev::Event, html, prelude::*};
use leptos_router::params::ParamsMap;

/// No time zone is further from UTC.
const OFFSET_MAX_MINUTES: i64 = 24 * 60;
const DAY_SECS: i64 = 24 * 3600;

/// The time of a [`DateTimeField`] of this name in an address, or a complete RFC 3339 time.
pub fn parse_datetime_field(query: &ParamsMap, name: &str) -> Option<UtcMillis> {
    let offset = query.get(&format!("{name}_offset")).and_then(|text| text.parse().ok());
    let offset_minutes = offset.filter(|minutes: &i64| minutes.abs() <= OFFSET_MAX_MINUTES).unwrap_or(0);
    let text = query.get(name)?;
    UtcMillis::from_rfc3339(&text).or_else(|| Some(read_as_utc(&text)?.plus_secs(-60 * offset_minutes)))
}

/// `2026-11-23T06:15` or with seconds, as if it were UTC.
fn read_as_utc(text: &str) -> Option<UtcMillis> {
    let seconds = if text.len() == "2026-11-23T06:15".len() { ":00Z" } else { "Z" };
    UtcMillis::from_rfc3339(&format!("{text}{seconds}"))
}

/// The offsets from UTC, in minutes, that a local time can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offsets {
    One(i32),
    /// Clocks are put back, so that the time comes twice: first with the one, then with the other.
    Two([i32; 2]),
    /// Clocks are put forward, so that the time is skipped. With this offset it is as much later.
    Skipped(i32),
}

impl Offsets {
    /// Of a local time that is read as if it were UTC; `offset_at` gives the zone's offset at an instant.
    fn of(local: UtcMillis, offset_at: impl Fn(UtcMillis) -> i32) -> Self {
        // No zone changes its offset twice within two days.
        let [before, after] = [-DAY_SECS, DAY_SECS].map(|secs| offset_at(local.plus_secs(secs)));
        let is_right = |offset: i32| offset_at(local.plus_secs(-60 * i64::from(offset))) == offset;
        match (is_right(before), is_right(after)) {
            (true, true) if before != after => Self::Two([before, after]),
            (true, _) => Self::One(before),
            (false, true) => Self::One(after),
            (false, false) => Self::Skipped(before),
        }
    }

    /// The one that is used unless another is chosen.
    fn first(self) -> i32 {
        match self {
            Self::One(offset) | Self::Two([offset, _]) | Self::Skipped(offset) => offset,
        }
    }
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
    let local = move |at: UtcMillis| at.plus_secs(60 * i64::from(offset_of(at)));
    let value = move || {
        at.get().and_then(|at| local(at).to_rfc3339().get(..16).map(str::to_owned)).unwrap_or_default()
    };
    // The local time in the field, read as if it were UTC, and the offsets that it can have.
    let entered = RwSignal::new(None::<(UtcMillis, Offsets)>);
    // Immediately, because the next event may submit the form.
    let set_offset = move |event: Event| {
        let time = read_as_utc(&event_target_value(&event));
        let found = time.map(|time| (time, Offsets::of(time, browser::utc_offset_minutes)));
        if let Some((field, (_, offsets))) = offset.get_untracked().zip(found) {
            field.set_value(&offsets.first().to_string());
        }
        entered.set(found);
    };
    let choose = move |event: Event| {
        if let Some(field) = offset.get_untracked() {
            field.set_value(&event_target_value(&event));
        }
        if submit_on_change {
            browser::submit_form_of(&event);
        }
    };
    // What is entered in an hour that is skipped or comes twice.
    let remark = move || match entered.get()? {
        (_, Offsets::One(_)) => None,
        (local, Offsets::Two(offsets)) => {
            let option = |offset: i32, which: &str| {
                let text = format!("{which} {}, {}", clock_time(local), format::utc_offset(offset));
                view! { <option value=offset>{text}</option> }
            };
            let label = format!("{label}: this time comes twice");
            Some(
                view! {
                    <select aria-label=label data-testid=format!("{id}-offset") on:change=choose>
                        {option(offsets[0], "First")}
                        {option(offsets[1], "Second")}
                    </select>
                }
                .into_any(),
            )
        }
        (local, Offsets::Skipped(offset)) => {
            let at = local.plus_secs(-60 * i64::from(offset));
            let used = clock_time(at.plus_secs(60 * i64::from(browser::utc_offset_minutes(at))));
            let text = format!("Clocks skip {}; {used} is used.", clock_time(local));
            Some(view! { <small class="hint" role="status">{text}</small> }.into_any())
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
        {remark}
        <input type="hidden" node_ref=offset name=offset_name value=move || at.get().map_or(0, offset_of)/>
    }
}

/// `02:30`
fn clock_time(local: UtcMillis) -> String {
    local.to_rfc3339().get(11..16).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A zone that has one offset before a moment and another one from then on.
    fn zone(change: &str, before: i32, after: i32) -> impl Fn(UtcMillis) -> i32 {
        let change = UtcMillis::from_rfc3339(change).unwrap();
        move |at| if at < change { before } else { after }
    }

    fn offsets(local: &str, zone: impl Fn(UtcMillis) -> i32) -> Offsets {
        Offsets::of(read_as_utc(local).unwrap(), zone)
    }

    #[test]
    fn a_time_near_a_clock_change_has_the_offset_that_it_is_shown_with() {
        let new_york_spring = zone("2027-03-14T07:00:00Z", -300, -240);
        assert_eq!(offsets("2027-03-14T05:00", &new_york_spring), Offsets::One(-240));
        assert_eq!(offsets("2027-03-14T01:59", &new_york_spring), Offsets::One(-300));
        assert_eq!(offsets("2027-03-14T02:30", &new_york_spring), Offsets::Skipped(-300));
        let new_york_autumn = zone("2027-11-07T06:00:00Z", -240, -300);
        assert_eq!(offsets("2027-11-07T03:00", &new_york_autumn), Offsets::One(-300));
        assert_eq!(offsets("2027-11-07T01:30", &new_york_autumn), Offsets::Two([-240, -300]));
        let berlin_autumn = zone("2027-10-31T01:00:00Z", 120, 60);
        assert_eq!(offsets("2027-10-31T01:30", &berlin_autumn), Offsets::One(120));
        assert_eq!(offsets("2027-10-31T02:30", &berlin_autumn), Offsets::Two([120, 60]));
        let sydney_spring = zone("2027-10-02T16:00:00Z", 600, 660);
        assert_eq!(offsets("2027-10-02T20:00", &sydney_spring), Offsets::One(600));
        let lord_howe = zone("2027-10-02T15:30:00Z", 630, 660);
        assert_eq!(offsets("2027-10-03T02:15", &lord_howe), Offsets::Skipped(630), "half an hour");
    }

    proptest! {
        #[test]
        fn what_is_stored_is_shown_as_it_was_entered(
            minute in 0_i64..4 * 24 * 60, change in 24_i64 * 60..3 * 24 * 60, before in -720_i32..=840, step in -120_i32..=120,
        ) {
            let begin = UtcMillis(1_795_420_800_000);
            let change = begin.plus_secs(60 * change);
            let zone = |at: UtcMillis| if at < change { before } else { before + step };
            let local = begin.plus_secs(60 * minute);
            let shown = |offset: i32| {
                let stored = local.plus_secs(-60 * i64::from(offset));
                stored.plus_secs(60 * i64::from(zone(stored)))
            };
            match Offsets::of(local, zone) {
                Offsets::One(offset) => prop_assert_eq!(shown(offset), local),
                Offsets::Two(both) => prop_assert!(step < 0 && both.into_iter().all(|offset| shown(offset) == local)),
                Offsets::Skipped(offset) => {
                    prop_assert!(step > 0);
                    prop_assert_eq!(shown(offset), local.plus_secs(60 * i64::from(step)));
                }
            }
        }
    }
}
