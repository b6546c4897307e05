//! Components of a VM that both the overview and its page use.

use super::{
    action::{ActionForm, ServerAction},
    confirm::{ConfirmButton, Question},
    feed::open_operation,
    format,
};
use crate::{
    api::{ForceStopVm, RestartVm, ResumeVm, StartVm, StopVm, SuspendVm},
    components::icon::{Glyph, Icon},
    model::{ApiError, OperationKind, OperationState, OperationView, UtcMillis, VmSpec, VmStatus, VmView},
};
use leptos::prelude::*;

/// A mark whose shape and colour show the status; the word is always next to it.
#[component]
pub fn StatusMark(#[prop(into)] status: Signal<VmStatus>) -> impl IntoView {
    view! { <i class=move || format!("mark {}", status.get().as_str()) aria-hidden="true"></i> }
}

/// `Debian 12 · 2 cores · 2 GB`; the size is unknown while the VM is imported.
pub fn describe(os_type: &str, spec: &VmSpec) -> String {
    if spec.ram_mb == 0 {
        return os_type.to_owned();
    }
    format!("{os_type} · {} · {}", format::cores(spec.cpu_cores), format::megabytes(spec.ram_mb.into()))
}

/// `Launching: Booting · 14 s`; without a known phase, the newest line of output.
pub fn progress(operation: &OperationView, now: UtcMillis) -> String {
    let doing = match operation.state {
        _ if operation.is_being_cancelled => "Cancelling".to_owned(),
        OperationState::Queued => "Queued".to_owned(),
        _ => operation.kind.present_participle().to_owned(),
    };
    let seconds = format::seconds_between(operation.requested_at, now);
    let line = operation.phase.as_deref().unwrap_or(operation.last_line.trim());
    let colon = if line.is_empty() { "" } else { ": " };
    let share = operation.percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
    format!("{doing}{colon}{line}{share} · {}", format::elapsed(seconds))
}

/// The progress of an operation: a bar with the percentage if it is known, else an indeterminate one.
#[component]
pub fn Progress(vm: Memo<Option<VmView>>, now: RwSignal<UtcMillis>) -> impl IntoView {
    let text = move || {
        vm.with(|vm| vm.as_ref().and_then(open_operation).map(|operation| progress(operation, now.get())))
    };
    let percent =
        Memo::new(move |_| vm.with(|vm| vm.as_ref().and_then(open_operation).and_then(|o| o.percent)));
    view! {
        <div class="progress" data-testid="progress">
            <span class="line">{text}</span>
            {move || match percent.get() {
                Some(percent) => view! { <progress max="100" value=percent aria-label="Progress of this step"></progress> }.into_any(),
                None => view! { <i class="moving" aria-hidden="true"></i> }.into_any(),
            }}
        </div>
    }
}

/// The power actions, shared by all VMs of a page.
#[derive(Clone, Copy)]
pub struct Power {
    pub start: ServerAction<StartVm>,
    pub stop: ServerAction<StopVm>,
    pub force_stop: ServerAction<ForceStopVm>,
    pub restart: ServerAction<RestartVm>,
    pub suspend: ServerAction<SuspendVm>,
    pub resume: ServerAction<ResumeVm>,
}

impl Power {
    /// `then` runs after each response.
    pub fn new(then: impl Fn() + Send + Sync + 'static) -> Self {
        let power = Self {
            start: ServerAction::new(),
            stop: ServerAction::new(),
            force_stop: ServerAction::new(),
            restart: ServerAction::new(),
            suspend: ServerAction::new(),
            resume: ServerAction::new(),
        };
        Effect::new(move |seen: Option<usize>| {
            let answered = power.start.version().get()
                + power.stop.version().get()
                + power.force_stop.version().get()
                + power.restart.version().get()
                + power.suspend.version().get()
                + power.resume.version().get();
            if seen.is_some_and(|seen| seen != answered) {
                then();
            }
            answered
        });
        power
    }

    /// The error of the last request.
    pub fn error(self) -> Signal<Option<ApiError>> {
        Signal::derive(move || {
            [
                self.start.value().get(),
                self.stop.value().get(),
                self.force_stop.value().get(),
                self.restart.value().get(),
                self.suspend.value().get(),
                self.resume.value().get(),
            ]
            .into_iter()
            .find_map(|answer| answer.and_then(Result::err))
        })
    }

    /// Whether a request about the VM is pending.
    pub fn under_way(self, vm_id: i64) -> bool {
        let id = vm_id.to_string();
        self.start.is_sent_with("vm_id", &id)
            || self.stop.is_sent_with("vm_id", &id)
            || self.force_stop.is_sent_with("vm_id", &id)
            || self.restart.is_sent_with("vm_id", &id)
            || self.suspend.is_sent_with("vm_id", &id)
            || self.resume.is_sent_with("vm_id", &id)
    }
}

/// The buttons of the actions a VM allows now. Without `turn_off`, the question before a power off, they are compact:
/// start and stop only, as icons.
#[component]
pub fn PowerButtons(
    vm: Memo<Option<VmView>>,
    power: Power,
    #[prop(optional)] turn_off: Option<Question>,
) -> impl IntoView {
    use OperationKind::{ForceStop, Restart, Resume, Start, Stop, Suspend};
    let compact = turn_off.is_none();
    let offered =
        Memo::new(move |_| vm.with(|vm| vm.as_ref().map(|vm| (vm.id, vm.name.clone(), vm.allowed.clone()))));
    let button = move |id: i64, word: &'static str, name: &str, icon: Option<Icon>| {
        let class = if compact { "btn quiet" } else { "btn" };
        let label = compact.then(|| format!("{word} {name}"));
        view! {
            <input type="hidden" name="vm_id" value=id/>
            <button type="submit" class=class disabled=move || power.under_way(id) aria-label=label title=compact.then_some(word)>
                {icon.map(|icon| view! { <Glyph icon/> })}
                {(!compact).then_some(word)}
            </button>
        }
    };
    move || {
        offered.get().map(|(id, name, allowed)| {
            let may = |kind| allowed.contains(&kind);
            let start = (may(Start) && (compact || !may(Resume)))
                .then(|| button(id, "Start", &name, Some(Icon::Play)));
            let stop = may(Stop).then(|| button(id, "Stop", &name, Some(Icon::Stop)));
            let resume = (!compact && may(Resume)).then(|| button(id, "Resume", &name, Some(Icon::Play)));
            let restart = (!compact && may(Restart)).then(|| button(id, "Restart", &name, None));
            let suspend = (!compact && may(Suspend)).then(|| button(id, "Suspend", &name, None));
            let force_stop = turn_off.filter(|_| may(ForceStop));
            view! {
                {resume.map(|button| view! { <ActionForm action=power.resume>{button}</ActionForm> })}
                {start.map(|button| view! { <ActionForm action=power.start>{button}</ActionForm> })}
                {stop.map(|button| view! { <ActionForm action=power.stop>{button}</ActionForm> })}
                {restart.map(|button| view! { <ActionForm action=power.restart>{button}</ActionForm> })}
                {(suspend.is_some() || force_stop.is_some()).then(|| view! {
                    <details class="more">
                        <summary class="btn" data-testid="more">"More"</summary>
                        <div>
                            {suspend.map(|button| view! { <ActionForm action=power.suspend>{button}</ActionForm> })}
                            {force_stop.map(|question| view! { <ConfirmButton question class="btn">"Power off…"</ConfirmButton> })}
                        </div>
                    </details>
                })}
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn progress_shows_the_newest_line_and_the_elapsed_time() {
        let running = launch(OperationState::Running, "Booting VM...\n");
        assert_eq!(progress(&running, UtcMillis(15_000)), "Launching: Booting VM... · 14 s");
        let queued = launch(OperationState::Queued, "");
        assert_eq!(progress(&queued, UtcMillis(0)), "Queued · 0 s");
    }
}
