//! Open alerts: the bell at the top of a page lists all of them, the banner on a VM's page shows its own. Both use
//! the data of the page's poll.
//!
//! The list is a native popover: it opens without JavaScript, closes with Escape or a click outside, and returns the
//! focus.

use super::{
    auth::Viewer,
    feed::Feed,
    icon::{Glyph, Icon},
    local_time::{LocalTime, TimeFormat},
};
use crate::model::{Alert, Severity};
use leptos::prelude::*;

const LIST_ID: &str = "open-alerts";

/// The number of open alerts, which opens the list of them.
#[component]
pub fn AlertBell(feed: Feed) -> impl IntoView {
    let alerts = all(feed);
    let count = Memo::new(move |_| alerts.with(Vec::len));
    expect_context::<Viewer>().follow_alerts(count);
    let worst = Memo::new(move |_| {
        alerts.with(|alerts| alerts.iter().map(|a| a.severity).max()).map_or("none", |worst| worst.as_str())
    });
    view! {
        <button
            type="button" class="btn quiet bell" popovertarget=LIST_ID data-testid="alert-bell" data-severity=worst
            aria-label=move || counted(count.get()) title=move || counted(count.get())
        >
            <Glyph icon=Icon::Bell/>
            {move || (count.get() > 0).then(|| view! { <span class="count" aria-hidden="true">{count}</span> })}
        </button>
        <section id=LIST_ID popover="auto" class="alerts" aria-labelledby="open-alerts-title" data-testid="alert-list">
            <h2 id="open-alerts-title">{move || counted(count.get())}</h2>
            <ul>
                <For each=move || alerts.get() key=|alert| (alert.id, alert.acknowledged_at) let:alert>
                    <Entry alert/>
                </For>
            </ul>
            {move || {
                (count.get() == 0).then(|| view! { <p class="muted">"Nothing needs your attention."</p> })
            }}
            <p><a class="underlined" href="/alerts">"All alerts"</a></p>
        </section>
    }
}

#[component]
fn Entry(alert: Alert) -> impl IntoView {
    let severity = alert.severity.as_str();
    let subject = alert.subject().to_owned();
    let subject = match alert.vm_id {
        Some(id) => view! { <a href=format!("/vms/{id}")>{subject}</a> }.into_any(),
        None => view! { <b>{subject}</b> }.into_any(),
    };
    view! {
        <li data-severity=severity>
            <i class=format!("mark {severity}") title=severity></i>
            <span>{subject} ": " <Words alert/></span>
        </li>
    }
}

/// `CPU at 90 % or more 93 % when opened at 23 Nov, 06:15`.
#[component]
fn Words(alert: Alert) -> impl IntoView {
    let value = alert.raised_value.map(|value| format!("{} when ", alert.metric.shown(value)));
    view! {
        {alert.what()} " "
        <small>
            {value} "opened at " <LocalTime at=alert.raised_at form=TimeFormat::DayAndTime/>
            {alert.acknowledged_by.map(|name| format!(" · acknowledged by {name}"))}
        </small>
    }
}

/// The open alerts of one VM, for its own page. The live region is there from the beginning, so that
/// screen readers announce new alerts.
#[component]
pub fn AlertNotices(feed: Feed, vm_id: i64) -> impl IntoView {
    let own = of_vm(feed, vm_id);
    view! {
        <div role="status" data-testid="vm-alerts">
            <For each=move || own.get() key=|alert| (alert.id, alert.acknowledged_at) let:alert>
                <Notice alert/>
            </For>
        </div>
    }
}

#[component]
fn Notice(alert: Alert) -> impl IntoView {
    let class = if alert.severity == Severity::Error { "banner bad" } else { "banner warn" };
    view! { <p class=class><Glyph icon=Icon::Bell/><span><Words alert/></span></p> }
}

/// The open alerts about one VM.
pub fn of_vm(feed: Feed, vm_id: i64) -> Memo<Vec<Alert>> {
    Memo::new(move |_| {
        feed.live.with(|live| live.alerts.iter().filter(|a| a.vm_id == Some(vm_id)).cloned().collect())
    })
}

fn all(feed: Feed) -> Memo<Vec<Alert>> {
    Memo::new(move |_| feed.live.with(|live| live.alerts.clone()))
}

/// `No open alerts`, `1 open alert`, `2 open alerts`.
fn counted(count: usize) -> String {
    match count {
        0 => "No open alerts".into(),
        1 => "1 open alert".into(),
        _ => format!("{count} open alerts"),
    }
}
