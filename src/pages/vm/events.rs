//! What happened to a VM, newest first.

use super::data::{TabData, blank, when_loaded};
use crate::{
    components::local_time::{LocalTime, TimeFormat},
    model::Event,
};
use leptos::prelude::*;

#[component]
pub fn Events(data: TabData) -> impl IntoView {
    when_loaded(data.events, blank, list)
}

fn list(events: Vec<Event>) -> AnyView {
    if events.is_empty() {
        return view! { <p class="hint">"No events yet."</p> }.into_any();
    }
    view! {
        <section class="panel events" data-testid="events">
            <header><h2>"Events"</h2></header>
            <ol class="timeline" tabindex="0" aria-label="Events">{events.into_iter().map(entry).collect_view()}</ol>
        </section>
    }
    .into_any()
}

fn entry(event: Event) -> impl IntoView {
    let severity = event.severity.as_str();
    view! {
        <li data-severity=severity>
            <LocalTime at=event.at form=TimeFormat::DayAndTime/>
            <i class=format!("mark {severity}") title=severity></i>
            <span>{event.text}</span>
        </li>
    }
}
