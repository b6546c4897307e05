//! Times on a page. The server, and the browser until it has taken over, write UTC; then the local zone
//! appears. The exact time in UTC is always in the title.

use super::{browser, format};
use crate::model::UtcMillis;
use leptos::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeForm {
    /// `06:15:54`.
    TimeOfDay,
    /// `23 Nov, 06:15`.
    DayAndTime,
    /// `23 Nov, 06:15:54`.
    DayAndSecond,
}

#[component]
pub fn Moment(#[prop(into)] at: Signal<UtcMillis>, form: TimeForm) -> impl IntoView {
    let offset_minutes = RwSignal::new(None::<i32>);
    Effect::new(move || offset_minutes.set(Some(browser::utc_offset_minutes(at.get()))));
    let text = move || {
        let (at, offset) = (at.get(), offset_minutes.get());
        let local = match form {
            TimeForm::TimeOfDay => format::time_of_day(at, offset.unwrap_or(0)),
            TimeForm::DayAndSecond => format::day_and_second(at, offset.unwrap_or(0)),
            TimeForm::DayAndTime => format::day_and_time(at, offset.unwrap_or(0)),
        };
        if offset.is_none() { format!("{local} UTC") } else { local }
    };
    view! {
        <time
            datetime=move || at.get().to_rfc3339()
            title=move || format!("{} UTC", format::date_and_time(at.get(), 0))
        >
            {text}
        </time>
    }
}

/// What a field for a day and a time shows of `at`, on a clock that is so many minutes ahead of UTC: `2026-11-23T06:15`.
pub fn field_value(at: UtcMillis, offset_minutes: i32) -> String {
    at.plus_secs(60 * i64::from(offset_minutes)).to_rfc3339().get(..16).unwrap_or_default().to_owned()
}

/// A whole RFC 3339 time, or the local one of a form's field on a clock that is so many minutes ahead of UTC.
pub fn parse_field(text: &str, offset_minutes: i64) -> Option<UtcMillis> {
    UtcMillis::from_rfc3339(text).or_else(|| {
        let seconds = if text.len() == "2026-11-23T06:15".len() { ":00Z" } else { "Z" };
        let as_utc = UtcMillis::from_rfc3339(&format!("{text}{seconds}"))?;
        Some(as_utc.plus_secs(-60 * offset_minutes))
    })
}

/// False on the server and while the browser takes over its page, then true: for what only a living page can
/// do.
pub fn alive() -> Signal<bool> {
    let alive = RwSignal::new(false);
    Effect::new(move || alive.set(true));
    alive.into()
}
