//! What the overview and a VM's page both say of a VM.

use super::{feed::open_operation, format};
use crate::{
    api::{StartVm, StopVm},
    components::icon::{Glyph, Icon},
    model::{
        ApiError, OperationKind, OperationState, OperationView, Requested, UtcMillis, VmSpec, VmStatus,
        VmView,
    },
};
use leptos::prelude::*;

/// A mark whose shape and colour both tell the status; the word always stands near it.
#[component]
pub fn StatusMark(#[prop(into)] status: Signal<VmStatus>) -> impl IntoView {
    view! { <i class=move || format!("mark {}", status.get().as_str()) aria-hidden="true"></i> }
}

/// `Debian 12 · 2 cores · 2 GB`.
pub fn describe(os_type: &str, spec: &VmSpec) -> String {
    format!("{os_type} · {} · {}", format::cores(spec.cpu_cores), format::megabytes(spec.ram_mb.into()))
}

/// `Launching: Booting VM... · 14 s`.
pub fn progress(operation: &OperationView, now: UtcMillis) -> String {
    let doing = match operation.state {
        OperationState::Queued => "Waiting for its turn".to_owned(),
        _ => operation.kind.present_participle().to_owned(),
    };
    let seconds = format::seconds_between(operation.requested_at, now);
    let line = operation.last_line.trim();
    let colon = if line.is_empty() { "" } else { ": " };
    format!("{doing}{colon}{line} · {}", format::elapsed(seconds))
}

/// An operation under way: what it does, and a bar that moves and claims no share that nobody knows.
#[component]
pub fn Progress(vm: Memo<Option<VmView>>, now: RwSignal<UtcMillis>) -> impl IntoView {
    let text = move || {
        vm.with(|vm| vm.as_ref().and_then(open_operation).map(|operation| progress(operation, now.get())))
    };
    view! {
        <div class="progress" data-testid="progress">
            <span class="line">{text}</span>
            <i class="moving" aria-hidden="true"></i>
        </div>
    }
}

/// Starting and stopping, for as many VMs as a page shows.
#[derive(Clone, Copy)]
pub struct Power {
    start: ServerAction<StartVm>,
    stop: ServerAction<StopVm>,
}

impl Power {
    /// `then` is called after each answer of the server.
    pub fn new(then: impl Fn() + Send + Sync + 'static) -> Self {
        let power = Self { start: ServerAction::new(), stop: ServerAction::new() };
        Effect::new(move |seen: Option<usize>| {
            let answered = power.start.version().get() + power.stop.version().get();
            if seen.is_some_and(|seen| seen != answered) {
                then();
            }
            answered
        });
        power
    }

    /// Why the last request was refused, if it was.
    pub fn refusal(self) -> Signal<Option<ApiError>> {
        Signal::derive(move || {
            let refused = |answer: Option<Result<Requested, ApiError>>| answer.and_then(Result::err);
            refused(self.start.value().get()).or_else(|| refused(self.stop.value().get()))
        })
    }

    fn under_way(self, vm_id: i64) -> bool {
        self.start.input().with(|input| input.as_ref().is_some_and(|i| i.vm_id == vm_id))
            || self.stop.input().with(|input| input.as_ref().is_some_and(|i| i.vm_id == vm_id))
    }
}

/// The buttons for what may be asked of a VM now. Icons only where `compact`.
#[component]
pub fn PowerButtons(
    vm: Memo<Option<VmView>>,
    power: Power,
    #[prop(optional)] compact: bool,
) -> impl IntoView {
    let offered = Memo::new(move |_| {
        vm.with(|vm| {
            vm.as_ref().map(|vm| {
                let may = |kind| vm.allowed.contains(&kind);
                (vm.id, vm.name.clone(), may(OperationKind::Start), may(OperationKind::Stop))
            })
        })
    });
    let button = move |id: i64, word: &'static str, name: &str, icon: Icon| {
        let class = if compact { "btn quiet" } else { "btn" };
        let label = compact.then(|| format!("{word} {name}"));
        view! {
            <input type="hidden" name="vm_id" value=id/>
            <button type="submit" class=class disabled=move || power.under_way(id) aria-label=label title=compact.then_some(word)>
                <Glyph icon/>
                {(!compact).then_some(word)}
            </button>
        }
    };
    move || {
        offered.get().map(|(id, name, may_start, may_stop)| {
            let start = may_start.then(|| button(id, "Start", &name, Icon::Play));
            let stop = may_stop.then(|| button(id, "Stop", &name, Icon::Stop));
            view! {
                {start.map(|button| view! { <ActionForm action=power.start>{button}</ActionForm> })}
                {stop.map(|button| view! { <ActionForm action=power.stop>{button}</ActionForm> })}
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OperationKind;

    fn launch(state: OperationState, last_line: &str) -> OperationView {
        OperationView {
            id: 1,
            vm_id: 1,
            kind: OperationKind::Launch,
            snapshot: None,
            state,
            requested_by: "ada".into(),
            requested_at: UtcMillis(1000),
            finished_at: None,
            is_being_cancelled: false,
            phase: None,
            percent: None,
            last_line: last_line.into(),
            error: None,
        }
    }

    #[test]
    fn progress_tells_the_newest_line_and_how_long_it_has_taken() {
        let running = launch(OperationState::Running, "Booting VM...\n");
        assert_eq!(progress(&running, UtcMillis(15_000)), "Launching: Booting VM... · 14 s");
        let queued = launch(OperationState::Queued, "");
        assert_eq!(progress(&queued, UtcMillis(0)), "Waiting for its turn · 0 s");
    }
}
