//! Starts or stops all selected VMs.

use super::{arrangement::Item, vm_row::BULK_FORM_ID};
use crate::{
    api::ActOnVms,
    components::{
        action::{ActionForm, ServerAction},
        banner::ErrorBanner,
        feed::Feed,
        hydration::is_hydrated,
        icon::{Glyph, Icon},
    },
    model::VmOutcome,
};
use leptos::prelude::*;

#[component]
pub fn BulkActions(feed: Feed, selected: RwSignal<Vec<i64>>, items: Memo<Vec<Item>>) -> impl IntoView {
    let act = ServerAction::<ActOnVms>::new();
    let is_hydrated = is_hydrated();
    let error = Signal::derive(move || act.value().get().and_then(Result::err));
    Effect::new(move |_| {
        if act.value().with(|answer| matches!(answer, Some(Ok(_)))) {
            selected.set(Vec::new());
            feed.poll_now();
        }
    });
    let count = move || selected.with(Vec::len);
    let all = move |_| {
        let ids = items.with_untracked(|items| {
            items
                .iter()
                .filter_map(|item| if let Item::Vm(id) = item { Some(*id) } else { None })
                .collect::<Vec<_>>()
        });
        let all_selected = selected.with_untracked(|selected| ids.iter().all(|id| selected.contains(id)));
        selected.set(if all_selected { Vec::new() } else { ids });
    };
    let outcomes = move || {
        let is_skipped = |vm: &VmOutcome| vm.operation_id.is_none();
        let answer = act.value().get().and_then(Result::ok).unwrap_or_default();
        let lines = answer
            .into_iter()
            .filter(is_skipped)
            .map(|vm| view! { <li><b>{vm.name}</b> ": " {vm.outcome}</li> });
        view! { <ul class="hint">{lines.collect_view()}</ul> }
    };
    view! {
        <div class="bulk-actions" hidden=move || is_hydrated.get() && count() == 0 && act.value().with(|answer| !matches!(answer, Some(Err(_)))) data-testid="bulk-actions">
            <ErrorBanner error/>
            <ActionForm action=act id=BULK_FORM_ID class="line-form">
                <span>{move || if is_hydrated.get() { format!("{} selected", count()) } else { "Selected VMs:".into() }}</span>
                {move || is_hydrated.get().then(|| view! { <button type="button" class="btn quiet" on:click=all>"Select all"</button> })}
                <button type="submit" class="btn" name="action" value="start" disabled=act.pending()><Glyph icon=Icon::Play/>"Start"</button>
                <button type="submit" class="btn" name="action" value="stop" disabled=act.pending()><Glyph icon=Icon::Stop/>"Stop"</button>
            </ActionForm>
        </div>
        <div class="outcomes" role="status">{outcomes}</div>
    }
}
