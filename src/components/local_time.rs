//! A time on a page: in UTC as rendered by the server, in the local time zone after hydration. The title always has the exact
//! time in UTC.

use super::{browser, format};
use crate::model::UtcMillis;
use leptos::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// `06:15:54`.
    TimeOfDay,
    /// `23 Nov, 06:15`.
    DayAndTime,
    /// `23 Nov, 06:15:54`.
    DayAndSecond,
}

#[component]
pub fn LocalTime(#[prop(into)] at: Signal<UtcMillis>, form: TimeFormat) -> impl IntoView {
    let offset_minutes = RwSignal::new(None::<i32>);
    Effect::new(move || offset_minutes.set(Some(browser::utc_offset_minutes(at.get()))));
    let text = move || {
        let (at, offset) = (at.get(), offset_minutes.get());
        let local = match form {
            TimeFormat::TimeOfDay => format::time_of_day(at, offset.unwrap_or(0)),
            TimeFormat::DayAndSecond => format::day_and_second(at, offset.unwrap_or(0)),
            TimeFormat::DayAndTime => format::day_and_time(at, offset.unwrap_or(0)),
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
