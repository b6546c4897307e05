//! The head of a VM's page, the same on every tab: name, status, actions and tabs, and the operation under way.

use super::{
    may, poll_after,
    tab::{Tab, Tabs},
};
use crate::{
    api::CancelOperation,
    components::{
        action::{ActionForm, ServerAction},
        alerts::AlertBell,
        banner::{ConnectionStatus, ErrorBanner},
        confirm::{Confirm, Confirmation, Question},
        feed::{Feed, open_operation},
        format,
        source_badge::source_label,
        vm::{Power, PowerButtons, Progress, StatusMark},
    },
    model::{AccessLevel, ApiError, Source, VmStatus, VmView},
};
use leptos::prelude::*;

/// `error` is that of the last request for this VM; it stays visible.
#[component]
pub fn Header(
    feed: Feed,
    id: i64,
    vm: Memo<Option<VmView>>,
    tab: Memo<Option<Tab>>,
    name: String,
    is_imported: bool,
    power: Power,
    turn_off: Question,
    error: Signal<Option<ApiError>>,
) -> impl IntoView {
    let status = Memo::new(move |_| vm.with(|vm| vm.as_ref().map_or(VmStatus::Unknown, |vm| vm.status)));
    let up = move || {
        vm.with(|vm| {
            let vm = vm.as_ref().filter(|vm| vm.status == VmStatus::Running)?;
            vm.usage.uptime_seconds.map(|s| format!(" · up {}", format::duration(s)))
        })
    };
    let source = move || {
        let source = vm.with(|vm| vm.as_ref().map_or(Source::Unknown, |vm| vm.usage.sources.uptime));
        format!("Uptime source: {}", source_label(source))
    };
    let operates = may(vm, AccessLevel::Operate).get_untracked();
    view! {
        <div class="vm-head">
            <header class="top">
                <StatusMark status/>
                <h1>{name}</h1>
                <span class="muted"><span data-testid="status">{move || status.get().label()}</span><span title=source>{up}</span></span>
                <ConnectionStatus feed/>
                <span class="push"></span>
                <AlertBell feed/>
                <PowerButtons vm power turn_off/>
            </header>
            <Tabs id tab is_imported operates/>
            <ErrorBanner error/>
        </div>
    }
}

/// The operation under way, and a button to cancel it where that is possible.
#[component]
pub fn UnderWay(feed: Feed, id: i64, vm: Memo<Option<VmView>>) -> impl IntoView {
    let cancel = ServerAction::<CancelOperation>::new();
    poll_after(feed, move || cancel.version().get());
    let error = Signal::derive(move || cancel.value().get().and_then(Result::err));
    let open = Memo::new(move |_| {
        vm.with(|vm| vm.as_ref().and_then(open_operation).map(|o| (o.id, o.is_being_cancelled, o.kind)))
    });
    let operates = may(vm, AccessLevel::Operate);
    let cancel_button = move || {
        open.get().filter(|(_, _, kind)| operates.get() && !kind.is_about_a_snapshot()).map(
            |(operation_id, is_being_cancelled, _)| {
                view! {
                    <ActionForm action=cancel>
                        <input type="hidden" name="vm_id" value=id/>
                        <input type="hidden" name="operation_id" value=operation_id/>
                        <button type="submit" class="btn" data-testid="cancel" disabled=is_being_cancelled>
                            {if is_being_cancelled { "Cancelling…" } else { "Cancel" }}
                        </button>
                    </ActionForm>
                }
            },
        )
    };
    view! { <section class="panel under-way"><Progress vm now=feed.now/>{cancel_button}<ErrorBanner error/></section> }
}

#[component]
pub fn TurnOffDialog(id: i64, name: String, question: Question, power: Power) -> impl IntoView {
    view! {
        <Confirm question title=format!("Power off {name}?")>
            <p>"Like pulling the plug: unsaved data is lost. For a clean shutdown, use Stop."</p>
            <ActionForm action=power.force_stop>
                <input type="hidden" name="vm_id" value=id/>
                <Confirmation question label="Power off" disabled=power.force_stop.pending()/>
            </ActionForm>
        </Confirm>
    }
}
