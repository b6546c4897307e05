//! What a VM is given, what is kept of it, what is planned for it and what was done to it.

use crate::{
    api::{
        CancelOperation, DeleteSnapshot, ResizeVm, RestoreSnapshot, SaveSnapshot, SetAutoStart, StopAfter,
        StopAt, vm_operations, vm_snapshots, vm_vagrantfiles,
    },
    components::{
        action::{ActionForm, ServerAction},
        clock::{Moment, TimeField, TimeForm},
        confirm::{Ask, Confirm, Confirmation, Question},
        feed::{Feed, open_operation},
        format,
        notice::{Failed, Loading, Refusal},
        toast,
    },
    model::{
        ApiError, OperationKind, OperationState, OperationView, Snapshot, UtcMillis, VagrantfileVersion,
        VmSpec, VmView, parse_whole, price,
    },
};
use leptos::prelude::*;

/// What is kept of a VM: its snapshots, its operations, its Vagrantfiles. Asked for beside the page's figures and not
/// within what shows these: the server may go through that several times, and each time would ask anew, for nobody.
#[derive(Clone, Copy)]
pub struct Kept {
    snapshots: Resource<Result<Vec<Snapshot>, ApiError>>,
    operations: Resource<Result<Vec<OperationView>, ApiError>>,
    vagrantfiles: Resource<Result<Vec<VagrantfileVersion>, ApiError>>,
    /// Counts operations that have begun or ended.
    changes: RwSignal<u32>,
    /// Counts those that have ended: an open one says nothing of snapshots yet.
    ends: RwSignal<u32>,
}

impl Kept {
    pub fn of(id: Memo<Option<i64>>) -> Self {
        let (changes, ends) = (RwSignal::new(0), RwSignal::new(0));
        let none = || ApiError::not_found("VM");
        Self {
            snapshots: Resource::new(
                move || (id.get(), ends.get()),
                move |(id, _)| async move { vm_snapshots(id.ok_or_else(none)?).await },
            ),
            operations: Resource::new(
                move || (id.get(), changes.get()),
                move |(id, _)| async move { vm_operations(id.ok_or_else(none)?, None).await },
            ),
            vagrantfiles: Resource::new(
                move || (id.get(), changes.get()),
                move |(id, _)| async move { vm_vagrantfiles(id.ok_or_else(none)?).await },
            ),
            changes,
            ends,
        }
    }

    /// Asks anew when an operation of the VM begins or ends.
    pub fn follow(self, vm: Memo<Option<VmView>>) {
        let operation = Memo::new(move |_| {
            vm.with(|vm| vm.as_ref().and_then(|vm| vm.operation.as_ref()).map(|o| (o.id, o.state)))
        });
        Effect::new(move |before: Option<Option<(i64, OperationState)>>| {
            let now = operation.get();
            if before.is_some_and(|before| before != now) {
                self.changes.update(|changes| *changes += 1);
                if now.is_none_or(|(_, state)| !state.is_open()) {
                    self.ends.update(|ends| *ends += 1);
                }
            }
            now
        });
    }
}

/// Everything about a VM that is no figure. `is_ours`: its Vagrantfile is this cloud's.
#[component]
pub fn Manage(feed: Feed, id: i64, vm: Memo<Option<VmView>>, kept: Kept, is_ours: bool) -> impl IntoView {
    view! {
        <div class="charts manage">
            {is_ours.then(|| view! { <Snapshots feed id vm kept/> })}
            {is_ours.then(|| view! { <Resources feed id vm/> })}
            <Plans feed id vm/>
            <History id kept/>
        </div>
        {is_ours.then(|| view! { <Vagrantfiles kept/> })}
    }
}

/// Shows at once what an answer of the server has changed. `answers` counts them.
fn poll_after(feed: Feed, answers: impl Fn() -> usize + Send + Sync + 'static) {
    Effect::new(move |seen: Option<usize>| {
        let answered = answers();
        if seen.is_some_and(|seen| seen != answered) {
            feed.poll_now();
        }
        answered
    });
}

/// Whether something can be asked of the VM now.
fn allows(vm: Memo<Option<VmView>>, kind: OperationKind) -> Memo<bool> {
    Memo::new(move |_| vm.with(|vm| vm.as_ref().is_some_and(|vm| vm.allowed.contains(&kind))))
}

#[component]
fn Snapshots(feed: Feed, id: i64, vm: Memo<Option<VmView>>, kept: Kept) -> impl IntoView {
    let save = ServerAction::<SaveSnapshot>::new();
    let restore = ServerAction::<RestoreSnapshot>::new();
    let delete = ServerAction::<DeleteSnapshot>::new();
    poll_after(feed, move || save.version().get() + restore.version().get() + delete.version().get());
    let refused = Signal::derive(move || {
        save.value()
            .get()
            .and_then(Result::err)
            .or_else(|| restore.value().get().and_then(Result::err))
            .or_else(|| delete.value().get().and_then(Result::err))
    });
    let may_save = allows(vm, OperationKind::SnapshotSave);
    let may_use = allows(vm, OperationKind::SnapshotRestore);
    let entry = move |snapshot: Snapshot| {
        let Snapshot { name, saved_at } = snapshot;
        let to_restore = Question::new(format!("restore-{name}"), name.clone());
        let to_delete = Question::new(format!("delete-{name}"), name.clone());
        let (restored, deleted) = (name.clone(), name.clone());
        let (title_of_restore, title_of_delete) = (format!("Restore {name}?"), format!("Delete {name}?"));
        view! {
            <li>
                <div class="what">
                    <b class="path">{name.clone()}</b>
                    <small class="muted">
                        {saved_at.map(|at| view! { <Moment at=Signal::stored(at) form=TimeForm::DayAndTime/> })}
                    </small>
                </div>
                <Ask question=to_restore class="btn quiet" of=name.clone()>"Restore…"</Ask>
                <Ask question=to_delete class="btn quiet" of=name.clone()>"Delete…"</Ask>
                <Confirm question=to_restore title=title_of_restore>
                    <p>"The VM goes back to where it was when this snapshot was saved. What was written since then is lost."</p>
                    <ActionForm action=restore>
                        <input type="hidden" name="vm_id" value=id/>
                        <input type="hidden" name="snapshot" value=restored/>
                        <Confirmation question=to_restore label="Restore it" disabled=Signal::derive(move || !may_use.get())/>
                    </ActionForm>
                </Confirm>
                <Confirm question=to_delete title=title_of_delete>
                    <p>"The VM stays as it is, but there is no way back to this snapshot."</p>
                    <ActionForm action=delete>
                        <input type="hidden" name="vm_id" value=id/>
                        <input type="hidden" name="snapshot" value=deleted/>
                        <Confirmation question=to_delete label="Delete it" disabled=Signal::derive(move || !may_use.get())/>
                    </ActionForm>
                </Confirm>
            </li>
        }
    };
    let list = move |listed: Result<Vec<Snapshot>, ApiError>| {
        match listed {
        Ok(listed) if listed.is_empty() => {
            view! { <p class="hint">"There are no snapshots yet. One that is saved is a way back to how the VM is now."</p> }.into_any()
        }
        Ok(listed) => {
            view! { <ul class="entries">{listed.into_iter().map(entry).collect_view()}</ul> }.into_any()
        }
        Err(error) => view! { <Failed error retry=move || kept.snapshots.refetch()/> }.into_any(),
    }
    };
    view! {
        <section class="panel block" data-testid="snapshots">
            <h2>"Snapshots"</h2>
            <Refusal error=refused/>
            <Transition fallback=|| view! { <Loading class="blank"/> }>
                {move || Suspend::new(async move { list(kept.snapshots.await) })}
            </Transition>
            <ActionForm action=save class="line-form">
                <input type="hidden" name="vm_id" value=id/>
                <div class="field">
                    <label for="snapshot-name">"Name"</label>
                    <span class="control">
                        <input
                            id="snapshot-name" name="snapshot" required maxlength="63" pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*"
                            autocomplete="off" autocapitalize="none" spellcheck="false"
                        />
                    </span>
                </div>
                <button type="submit" class="btn" disabled=move || !may_save.get() || save.pending().get()>"Save a snapshot"</button>
            </ActionForm>
        </section>
    }
}

fn described(spec: &VmSpec) -> String {
    format!(
        "{}, {}, {} of disk",
        format::megabytes(spec.ram_mb.into()),
        format::cores(spec.cpu_cores),
        format::gigabytes(spec.disk_gb.into())
    )
}

#[component]
fn Resources(feed: Feed, id: i64, vm: Memo<Option<VmView>>) -> impl IntoView {
    let resize = ServerAction::<ResizeVm>::new();
    poll_after(feed, move || resize.version().get());
    let refused = Signal::derive(move || resize.value().get().and_then(Result::err));
    let begin =
        vm.with_untracked(|vm| vm.as_ref().map(|vm| vm.next_spec.clone().unwrap_or_else(|| vm.spec.clone())));
    let Some(begin) = begin else { return ().into_any() };
    let number = |value: u32| RwSignal::new(value.to_string());
    let (ram_mb, cpu_cores, disk_gb) = (number(begin.ram_mb), number(begin.cpu_cores), number(begin.disk_gb));
    let cost = move || {
        let asked = VmSpec {
            image: String::new(),
            ram_mb: parse_whole(&ram_mb.get()),
            cpu_cores: parse_whole(&cpu_cores.get()),
            disk_gb: parse_whole(&disk_gb.get()),
        };
        let now = vm.with(|vm| vm.as_ref().map_or(0, |vm| price(&vm.spec)));
        match price(&asked).cmp(&now) {
            std::cmp::Ordering::Greater => format!("{} credits more.", price(&asked) - now),
            _ => "No credits more; less gives nothing back.".to_owned(),
        }
    };
    let next = move || {
        vm.with(|vm| {
            vm.as_ref()
                .and_then(|vm| vm.next_spec.as_ref())
                .map(|next| format!("From its next start on: {}.", described(next)))
        })
    };
    let may = allows(vm, OperationKind::Resize);
    let field = |name: &'static str, label: &'static str, unit: &'static str, value: RwSignal<String>| {
        let id = format!("resize-{name}");
        view! {
            <div class="field">
                <label for=id.clone()>{label}</label>
                <span class="control">
                    <input
                        id=id name=name type="number" min="1" required value=value.get_untracked()
                        on:input=move |event| value.set(event_target_value(&event))
                    />
                    <span class="unit">{unit}</span>
                </span>
            </div>
        }
    };
    view! {
        <section class="panel block" data-testid="resources">
            <h2>"Resources"</h2>
            <Refusal error=refused/>
            <p class="hint" data-testid="next-spec">
                {move || next().unwrap_or_else(|| "A change is applied at the next start. A disk can only grow.".to_owned())}
            </p>
            <ActionForm action=resize>
                <input type="hidden" name="vm_id" value=id/>
                <div class="three">
                    {field("ram_mb", "Memory", "MB", ram_mb)}
                    {field("cpu_cores", "Cores", "", cpu_cores)}
                    {field("disk_gb", "Disk", "GB", disk_gb)}
                </div>
                <p class="hint" role="status">{cost}</p>
                <button type="submit" class="btn" disabled=move || !may.get() || resize.pending().get()>"Change at the next start"</button>
            </ActionForm>
        </section>
    }
    .into_any()
}

#[component]
fn Plans(feed: Feed, id: i64, vm: Memo<Option<VmView>>) -> impl IntoView {
    let auto_start = ServerAction::<SetAutoStart>::new();
    let stop_after = ServerAction::<StopAfter>::new();
    let stop_at_time = ServerAction::<StopAt>::new();
    toast::when_done(auto_start, "The plan is saved.");
    toast::when_done(stop_after, "The plan is saved.");
    toast::when_done(stop_at_time, "The plan is saved.");
    poll_after(feed, move || {
        auto_start.version().get() + stop_after.version().get() + stop_at_time.version().get()
    });
    let refused = Signal::derive(move || {
        let refused = |answer: Option<Result<(), ApiError>>| answer.and_then(Result::err);
        refused(stop_after.value().get())
            .or_else(|| refused(stop_at_time.value().get()))
            .or_else(|| refused(auto_start.value().get()))
    });
    let starts = Memo::new(move |_| vm.with(|vm| vm.as_ref().is_some_and(|vm| vm.auto_start)));
    let stop_at = Memo::new(move |_| vm.with(|vm| vm.as_ref().and_then(|vm| vm.stop_at)));
    view! {
        <section class="panel block" data-testid="plans">
            <h2>"Plans"</h2>
            <Refusal error=refused/>
            <ActionForm action=auto_start class="line-form">
                <input type="hidden" name="vm_id" value=id/>
                <input type="hidden" name="auto_start" value=move || (!starts.get()).to_string()/>
                <p>{move || if starts.get() { "It starts with the server." } else { "It does not start with the server." }}</p>
                <button type="submit" class="btn" data-testid="auto-start">
                    {move || if starts.get() { "Let it be" } else { "Let it start with the server" }}
                </button>
            </ActionForm>
            <ActionForm action=stop_after class="line-form">
                <input type="hidden" name="vm_id" value=id/>
                <div class="field">
                    <label for="stop-hours">"Turn it off after"</label>
                    <span class="control">
                        <input id="stop-hours" name="hours" type="number" min="0" max="8784" step="any" value="8" required/>
                        <span class="unit">"hours"</span>
                    </span>
                </div>
                <button type="submit" class="btn">"Plan it"</button>
            </ActionForm>
            <ActionForm action=stop_at_time class="line-form">
                <input type="hidden" name="vm_id" value=id/>
                <div class="field">
                    <TimeField name="at" id="stop-time" label="Turn it off at" at=None offset_name="offset_minutes" required=true/>
                </div>
                <button type="submit" class="btn">"Plan for then"</button>
            </ActionForm>
            <p class="hint" role="status" data-testid="stop-at">
                {move || match stop_at.get() {
                    Some(at) => view! {
                        "It is turned off at " <Moment at=Signal::stored(at) form=TimeForm::DayAndTime/> ". 0 hours take that back."
                    }
                    .into_any(),
                    None => "It is not turned off by itself.".into_any(),
                }}
            </p>
        </section>
    }
}

fn outcome(operation: &OperationView) -> &'static str {
    match operation.state {
        OperationState::Queued => "waits",
        OperationState::Running if operation.is_being_cancelled => "is being cancelled",
        OperationState::Running => "under way",
        OperationState::Succeeded => "done",
        OperationState::Failed => "failed",
        OperationState::Cancelled => "cancelled",
    }
}

#[component]
fn History(id: i64, kept: Kept) -> impl IntoView {
    let entry = move |operation: OperationView| {
        let took = operation.finished_at.map(|end: UtcMillis| {
            format!(" · {}", format::elapsed(format::seconds_between(operation.requested_at, end)))
        });
        let snapshot = operation.snapshot.clone().map(|name| format!(": {name}"));
        view! {
            <li data-state=operation.state.as_str()>
                <div class="what">
                    <a href=format!("/vms/{id}?operation={}#earlier", operation.id) rel="external">
                        {operation.kind.label()}{snapshot}
                    </a>
                    <small class="muted">
                        <Moment at=Signal::stored(operation.requested_at) form=TimeForm::DayAndTime/>
                        " · " {operation.requested_by.clone()} {took} " · " {outcome(&operation)}
                    </small>
                </div>
            </li>
        }
    };
    view! {
        <section class="panel block" data-testid="operations">
            <h2>"Operations"</h2>
            <Transition fallback=|| view! { <Loading class="blank"/> }>
                {move || Suspend::new(async move {
                    match kept.operations.await {
                        Ok(listed) if listed.is_empty() => view! { <p class="hint">"Nothing has been asked of it yet. What you start, stop or change is listed here, with what came of it."</p> }.into_any(),
                        Ok(listed) => view! { <ul class="entries tall">{listed.into_iter().map(entry).collect_view()}</ul> }.into_any(),
                        Err(error) => view! { <Failed error retry=move || kept.operations.refetch()/> }.into_any(),
                    }
                })}
            </Transition>
        </section>
    }
}

#[component]
fn Vagrantfiles(kept: Kept) -> impl IntoView {
    let version = |(at, version): (usize, VagrantfileVersion)| {
        view! {
            <details class="readings">
                <summary>
                    {if at == 0 { "The newest, since " } else { "Since " }}
                    <Moment at=Signal::stored(version.seen_at) form=TimeForm::DayAndTime/>
                </summary>
                <pre class="log whole" tabindex="0">{version.text}</pre>
            </details>
        }
    };
    view! {
        <section class="panel block" data-testid="vagrantfile">
            <h2>"Vagrantfile"</h2>
            <p class="hint">"As it stood whenever it was used. Somebody with a shell on the host can add to it in a file Vagrantfile.local beside it."</p>
            <Transition fallback=|| view! { <Loading class="blank line"/> }>
                {move || Suspend::new(async move {
                    match kept.vagrantfiles.await {
                        Ok(listed) => listed.into_iter().enumerate().map(version).collect_view().into_any(),
                        Err(error) => view! { <Failed error retry=move || kept.vagrantfiles.refetch()/> }.into_any(),
                    }
                })}
            </Transition>
        </section>
    }
}

/// Ends what is under way, if it can be ended.
#[component]
pub fn CancelButton(feed: Feed, id: i64, vm: Memo<Option<VmView>>) -> impl IntoView {
    let cancel = ServerAction::<CancelOperation>::new();
    poll_after(feed, move || cancel.version().get());
    let refused = Signal::derive(move || cancel.value().get().and_then(Result::err));
    let open = Memo::new(move |_| {
        vm.with(|vm| vm.as_ref().and_then(open_operation).map(|o| (o.id, o.is_being_cancelled, o.kind)))
    });
    view! {
        {move || open.get().filter(|(_, _, kind)| !kind.is_about_a_snapshot()).map(|(operation_id, is_being_cancelled, _)| view! {
            <ActionForm action=cancel>
                <input type="hidden" name="vm_id" value=id/>
                <input type="hidden" name="operation_id" value=operation_id/>
                <button type="submit" class="btn" data-testid="cancel" disabled=is_being_cancelled>
                    {if is_being_cancelled { "Cancelling…" } else { "Cancel" }}
                </button>
            </ActionForm>
        })}
        <Refusal error=refused/>
    }
}
