//! The Activity tab: the VM's operations, one of them with its output, and its events.

use super::{
    data::{Output, TabData, blank, when_loaded},
    events::Events,
    tab::Tab,
};
use crate::{
    components::{
        format,
        icon::{Glyph, Icon},
        local_time::{LocalTime, TimeFormat},
    },
    model::{OperationState, OperationView, UtcMillis},
};
use leptos::prelude::*;

/// `selected` is the operation that the address names.
#[component]
pub fn Activity(id: i64, selected: Memo<Option<i64>>, data: TabData) -> impl IntoView {
    let list = move |operations: Vec<OperationView>| {
        let Some(newest) = operations.first().map(|operation| operation.id) else {
            return view! { <p class="hint">"No operations yet. Everything you start, stop or change is listed here with its output."</p> }
                .into_any();
        };
        let entry = move |operation: OperationView| {
            let operation_id = operation.id;
            let is_open = Memo::new(move |_| selected.get().unwrap_or(newest) == operation_id);
            view! { <Operation id operation is_open data/> }
        };
        view! {
            <section class="panel block" data-testid="operations">
                <h2>"Operations"</h2>
                <ul class="entries">{operations.into_iter().map(entry).collect_view()}</ul>
            </section>
        }
        .into_any()
    };
    view! {
        <div class="charts">
            <div>{when_loaded(data.operations, blank, list)}</div>
            <div><Events data/></div>
        </div>
    }
}

fn outcome(operation: &OperationView) -> &'static str {
    match operation.state {
        OperationState::Queued => "queued",
        OperationState::Running if operation.is_being_cancelled => "cancelling",
        OperationState::Running => "running",
        OperationState::Succeeded => "done",
        OperationState::Failed => "failed",
        OperationState::Cancelled => "cancelled",
    }
}

#[component]
fn Operation(id: i64, operation: OperationView, is_open: Memo<bool>, data: TabData) -> impl IntoView {
    let operation_id = operation.id;
    let took = operation.finished_at.map(|end: UtcMillis| {
        format!(" · {}", format::elapsed(format::seconds_between(operation.requested_at, end)))
    });
    let snapshot = operation.snapshot.clone().map(|name| format!(": {name}"));
    let error = operation.error.clone();
    let output = move |output: Option<Output>| {
        match output.filter(|output| output.operation_id == operation_id) {
        None => blank(),
        Some(output) if output.lines.is_empty() => view! { <p class="hint">"No output."</p> }.into_any(),
        Some(output) => {
            view! { <pre class="log whole" tabindex="0" aria-label="Output" data-testid="output">{output.lines.join("\n")}</pre> }.into_any()
        }
    }
    };
    view! {
        <li id=format!("operation-{operation_id}") data-state=operation.state.as_str()>
            <div class="what">
                <a
                    href=format!("{}?operation={operation_id}#operation-{operation_id}", Tab::Activity.path(id))
                    data-noscroll="" aria-current=move || is_open.get().then_some("true")
                >
                    {operation.kind.label()}{snapshot}
                </a>
                <small class="muted">
                    <LocalTime at=Signal::stored(operation.requested_at) form=TimeFormat::DayAndTime/>
                    " · " {operation.requested_by.clone()} {took} " · " {outcome(&operation)}
                </small>
            </div>
            {move || is_open.get().then(|| view! {
                <div class="result">
                    {error.clone().map(|text| view! { <p class="banner bad" data-testid="operation-error"><Glyph icon=Icon::Warning/><span>{text}</span></p> })}
                    {when_loaded(data.output, blank, output)}
                </div>
            })}
        </li>
    }
}
