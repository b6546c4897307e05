use crate::{
    api::{AcknowledgeAlert, alert_history, open_alerts},
    components::{
        action::{ActionForm, ServerAction},
        auth::Viewer,
        banner::ErrorBanner,
        browser, format,
        local_time::{LocalTime, TimeFormat},
        paging::Paging,
        poll::poll,
        resource::page_view,
    },
    model::{ALERTS_PER_PAGE, Alert, AlertMetric, ApiError, UtcMillis},
};
use leptos::{prelude::*, task::spawn_local};
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;
use serde::{Deserialize, Serialize};

const OPEN_ID: &str = "open";

/// Open and resolved alerts.
#[component]
pub fn Alerts() -> impl IntoView {
    let query = use_query_map();
    let before =
        Memo::new(move |_| query.with(|query| query.get("before").and_then(|id| id.parse::<i64>().ok())));
    let first = Resource::new(|| (), move |()| load_all(before.get_untracked()));
    view! {
        <Title text="Alerts"/>
        {page_view(first, || view! { <Skeleton/> }.into_any(), move |alerts| async move { view! { <Body alerts before/> }.into_any() })}
    }
}

/// What the page shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Listed {
    open: Vec<Alert>,
    /// A page of resolved alerts.
    over: Vec<Alert>,
    /// The id to continue from, if there may be older ones.
    older: Option<i64>,
}

async fn load_all(before: Option<i64>) -> Result<Listed, ApiError> {
    let (open, mut over) = (open_alerts().await?, alert_history(before).await?);
    let older = over.last().filter(|_| over.len() == ALERTS_PER_PAGE).map(|alert| alert.id);
    over.retain(|alert| alert.resolved_at.is_some());
    Ok(Listed { open, over, older })
}

#[component]
fn Skeleton() -> impl IntoView {
    view! {
        <div role="status" aria-label="Loading">
            <header class="top"><h1>"Alerts"</h1></header>
            <div class="panel blank tall"></div>
        </div>
    }
}

#[component]
fn Body(alerts: Listed, before: Memo<Option<i64>>) -> impl IntoView {
    let alerts = RwSignal::new(alerts);
    let lost = RwSignal::new(None);
    let acknowledge = ServerAction::<AcknowledgeAlert>::new();
    let error = Signal::derive(move || acknowledge.value().get().and_then(Result::err));
    let ask = move || {
        spawn_local(async move {
            let page = before.get_untracked();
            let answer = load_all(page).await;
            // The user has opened another page in the meantime.
            if before.try_get_untracked() != Some(page) {
                return;
            }
            lost.try_set(answer.as_ref().err().cloned());
            if let Ok(newer) = answer
                && alerts.try_with_untracked(|alerts| *alerts != newer) == Some(true)
            {
                alerts.try_set(newer);
                browser::recover_focus(OPEN_ID);
            }
        });
    };
    Effect::new(move |seen: Option<(usize, Option<i64>)>| {
        let now = (acknowledge.version().get(), before.get());
        if seen.is_some_and(|seen| seen != now) {
            ask();
        }
        now
    });
    poll(ask);
    let open = Memo::new(move |_| alerts.with(|alerts| alerts.open.clone()));
    let over = Memo::new(move |_| alerts.with(|alerts| alerts.over.clone()));
    expect_context::<Viewer>().follow_alerts(Memo::new(move |_| open.with(Vec::len)));
    let older = Memo::new(move |_| alerts.with(|alerts| alerts.older.map(|id| format!("?before={id}"))));
    let newest = Memo::new(move |_| before.get().map(|_| "/alerts".to_owned()));
    view! {
        <header class="top">
            <h1>"Alerts"</h1>
            <span class="push"></span>
            <a class="btn" href="/alerts/rules">"Rules"</a>
        </header>
        <ErrorBanner error/>
        <ErrorBanner error=lost/>
        <section class="panel block" data-testid="open">
            <h2 id=OPEN_ID tabindex="-1">"Open"</h2>
            <ul class="entries">
                <For each=move || open.get() key=|alert| (alert.id, alert.acknowledged_at) let:alert>
                    <Open alert acknowledge/>
                </For>
            </ul>
            {move || open.with(Vec::is_empty).then(|| view! { <p class="none" role="status">"No open alerts."</p> })}
        </section>
        <section class="panel block" data-testid="over">
            <h2>"Resolved"</h2>
            <ul class="entries">
                <For each=move || over.get() key=|alert| alert.id let:alert>
                    <Over alert/>
                </For>
            </ul>
            {move || over.with(Vec::is_empty).then(|| view! {
                <p class="none">
                    {if before.get().is_some() { "No older alerts." } else { "No resolved alerts yet." }}
                </p>
            })}
            <Paging newest older/>
        </section>
    }
}

/// `web-1: CPU at 90 % or more`.
#[component]
fn What(alert: Alert) -> impl IntoView {
    let severity = alert.severity.as_str();
    let subject = alert.subject().to_owned();
    let subject = match alert.vm_id {
        Some(id) => view! { <a href=format!("/vms/{id}")>{subject}</a> }.into_any(),
        None => view! { <b>{subject}</b> }.into_any(),
    };
    view! { <i class=format!("mark {severity}") title=severity></i> " " {subject} ": " {alert.what()} }
}

/// `at 93 %`; nothing for an unknown value.
fn at_value(metric: AlertMetric, value: Option<f64>) -> Option<String> {
    value.map(|value| format!(" at {}", metric.shown(value)))
}

#[component]
fn Open(alert: Alert, acknowledge: ServerAction<AcknowledgeAlert>) -> impl IntoView {
    let (id, metric, raised_at, raised_value) = (alert.id, alert.metric, alert.raised_at, alert.raised_value);
    let by = alert.acknowledged_by.clone().zip(alert.acknowledged_at);
    let (is_new, acknowledged_value) = (by.is_none() && alert.may_acknowledge, alert.acknowledged_value);
    view! {
        <li data-alert=id>
            <div class="what">
                <What alert/>
                <small class="muted">
                    "opened " <LocalTime at=Signal::stored(raised_at) form=TimeFormat::DayAndSecond/> {at_value(metric, raised_value)}
                    {by.map(|(name, at)| view! { " · acknowledged by " {name} " " <LocalTime at=Signal::stored(at) form=TimeFormat::DayAndTime/> {at_value(metric, acknowledged_value)} })}
                </small>
            </div>
            {is_new.then(|| view! {
                <ActionForm action=acknowledge>
                    <input type="hidden" name="alert_id" value=id/>
                    <button type="submit" class="btn">"Acknowledge"</button>
                </ActionForm>
            })}
        </li>
    }
}

#[component]
fn Over(alert: Alert) -> impl IntoView {
    let (metric, raised_at, raised_value, resolved_value) =
        (alert.metric, alert.raised_at, alert.raised_value, alert.resolved_value);
    let resolved_at = alert.resolved_at.unwrap_or_default();
    let by = alert.acknowledged_by.clone().zip(alert.acknowledged_at);
    let acknowledged_value = alert.acknowledged_value;
    let lasted = lasted(raised_at, resolved_at);
    view! {
        <li>
            <div class="what">
                <What alert/>
                <small class="muted">
                    "opened " <LocalTime at=Signal::stored(raised_at) form=TimeFormat::DayAndSecond/> {at_value(metric, raised_value)}
                    " · resolved " <LocalTime at=Signal::stored(resolved_at) form=TimeFormat::DayAndSecond/> {at_value(metric, resolved_value)}
                    {by.map(|(name, at)| view! { " · acknowledged by " {name} " " <LocalTime at=Signal::stored(at) form=TimeFormat::DayAndTime/> {at_value(metric, acknowledged_value)} })}
                    " · " {lasted}
                </small>
            </div>
        </li>
    }
}

fn lasted(raised_at: UtcMillis, resolved_at: UtcMillis) -> String {
    format!("lasted {}", format::elapsed(format::seconds_between(raised_at, resolved_at)))
}
