use crate::{
    api::{AcknowledgeAlert, alert_history, open_alerts},
    components::{
        action::{ActionForm, ServerAction},
        browser,
        clock::{Moment, TimeForm},
        format,
        loaded::load,
        notice::{Refusal, Unavailable},
        poll::poll,
    },
    model::{Alert, AlertMetric, ApiError, UtcMillis},
};
use leptos::{prelude::*, task::spawn_local};
use leptos_meta::Title;

const OPEN_ID: &str = "open";

/// What is wrong now, and what was.
#[component]
pub fn Alerts() -> impl IntoView {
    let first = load(|| (), |()| ask_for_all());
    view! {
        <Title text="Alerts"/>
        <Transition fallback=Skeleton>
            {move || Suspend::new(async move {
                match first.await {
                    Ok(alerts) => view! { <Body alerts/> }.into_any(),
                    Err(error) => view! { <Unavailable error/> }.into_any(),
                }
            })}
        </Transition>
    }
}

/// Those that are open, and the newest that are over.
async fn ask_for_all() -> Result<[Vec<Alert>; 2], ApiError> {
    let (open, mut over) = (open_alerts().await?, alert_history().await?);
    over.retain(|alert| alert.resolved_at.is_some());
    Ok([open, over])
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
fn Body(alerts: [Vec<Alert>; 2]) -> impl IntoView {
    let alerts = RwSignal::new(alerts);
    let lost = RwSignal::new(None);
    let acknowledge = ServerAction::<AcknowledgeAlert>::new();
    let refused = Signal::derive(move || acknowledge.value().get().and_then(Result::err));
    let ask = move || {
        spawn_local(async move {
            let answer = ask_for_all().await;
            lost.try_set(answer.as_ref().err().cloned());
            if let Ok(newer) = answer
                && alerts.try_with_untracked(|alerts| *alerts != newer) == Some(true)
            {
                alerts.try_set(newer);
                browser::catch_focus(OPEN_ID);
            }
        });
    };
    Effect::new(move |seen: Option<usize>| {
        let answered = acknowledge.version().get();
        if seen.is_some_and(|seen| seen != answered) {
            ask();
        }
        answered
    });
    poll(ask);
    let [open, over] = [0, 1].map(|i| Memo::new(move |_| alerts.with(|alerts| alerts[i].clone())));
    view! {
        <header class="top">
            <h1>"Alerts"</h1>
            <span class="push"></span>
            <a class="btn" href="/alerts/rules">"Rules"</a>
        </header>
        <Refusal error=refused/>
        <Refusal error=lost/>
        <section class="panel block" data-testid="open">
            <h2 id=OPEN_ID tabindex="-1">"Open"</h2>
            <ul class="entries">
                <For each=move || open.get() key=|alert| (alert.id, alert.acknowledged_at) let:alert>
                    <Open alert acknowledge/>
                </For>
            </ul>
            {move || open.with(Vec::is_empty).then(|| view! { <p class="none" role="status">"Nothing is wrong now."</p> })}
        </section>
        <section class="panel block" data-testid="over">
            <h2>"Over"</h2>
            <ul class="entries">
                <For each=move || over.get() key=|alert| alert.id let:alert>
                    <Over alert/>
                </For>
            </ul>
            {move || over.with(Vec::is_empty).then(|| view! {
                <p class="none">"Nothing was wrong yet. The rules say when something is."</p>
            })}
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

/// `at 93 %`; nothing where no figure is known.
fn at_value(metric: AlertMetric, value: Option<f64>) -> Option<String> {
    value.map(|value| format!(" at {}", metric.shown(value)))
}

#[component]
fn Open(alert: Alert, acknowledge: ServerAction<AcknowledgeAlert>) -> impl IntoView {
    let (id, metric, raised_at, raised_value) = (alert.id, alert.metric, alert.raised_at, alert.raised_value);
    let by = alert.acknowledged_by.clone().zip(alert.acknowledged_at);
    let (is_new, acknowledged_value) = (by.is_none(), alert.acknowledged_value);
    view! {
        <li data-alert=id>
            <div class="what">
                <What alert/>
                <small class="muted">
                    "raised " <Moment at=Signal::stored(raised_at) form=TimeForm::DayAndSecond/> {at_value(metric, raised_value)}
                    {by.map(|(name, at)| view! { " · " {name} " takes care of it since " <Moment at=Signal::stored(at) form=TimeForm::DayAndTime/> {at_value(metric, acknowledged_value)} })}
                </small>
            </div>
            {is_new.then(|| view! {
                <ActionForm action=acknowledge>
                    <input type="hidden" name="alert_id" value=id/>
                    <button type="submit" class="btn">"I take care of it"</button>
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
                    "raised " <Moment at=Signal::stored(raised_at) form=TimeForm::DayAndSecond/> {at_value(metric, raised_value)}
                    " · over " <Moment at=Signal::stored(resolved_at) form=TimeForm::DayAndSecond/> {at_value(metric, resolved_value)}
                    {by.map(|(name, at)| view! { " · " {name} " took care of it " <Moment at=Signal::stored(at) form=TimeForm::DayAndTime/> {at_value(metric, acknowledged_value)} })}
                    " · " {lasted}
                </small>
            </div>
        </li>
    }
}

fn lasted(raised_at: UtcMillis, resolved_at: UtcMillis) -> String {
    format!("lasted {}", format::elapsed(format::seconds_between(raised_at, resolved_at)))
}
