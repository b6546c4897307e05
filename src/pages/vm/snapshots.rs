//! The Snapshots tab: save, restore and delete.

use super::{
    allows,
    data::{TabData, blank, when_loaded},
    may, poll_after,
};
use crate::{
    api::{DeleteSnapshot, RestoreSnapshot, SaveSnapshot},
    components::{
        action::{ActionForm, ServerAction},
        banner::ErrorBanner,
        confirm::{Confirm, ConfirmButton, Confirmation, Question},
        feed::Feed,
        local_time::{LocalTime, TimeFormat},
    },
    model::{AccessLevel, OperationKind, Snapshot, VmView},
};
use leptos::prelude::*;

#[component]
pub fn Snapshots(feed: Feed, id: i64, vm: Memo<Option<VmView>>, data: TabData) -> impl IntoView {
    let save = ServerAction::<SaveSnapshot>::new();
    let restore = ServerAction::<RestoreSnapshot>::new();
    let delete = ServerAction::<DeleteSnapshot>::new();
    poll_after(feed, move || save.version().get() + restore.version().get() + delete.version().get());
    let error = Signal::derive(move || {
        save.value()
            .get()
            .and_then(Result::err)
            .or_else(|| restore.value().get().and_then(Result::err))
            .or_else(|| delete.value().get().and_then(Result::err))
    });
    let operates = may(vm, AccessLevel::Operate);
    let may_save = allows(vm, OperationKind::SnapshotSave);
    let may_restore = allows(vm, OperationKind::SnapshotRestore);
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
                        {saved_at.map(|at| view! { <LocalTime at=Signal::stored(at) form=TimeFormat::DayAndTime/> })}
                    </small>
                </div>
                {operates.get().then(|| view! {
                    <ConfirmButton question=to_restore class="btn quiet" of=name.clone()>"Restore…"</ConfirmButton>
                    <ConfirmButton question=to_delete class="btn quiet" of=name.clone()>"Delete…"</ConfirmButton>
                })}
                <Confirm question=to_restore title=title_of_restore>
                    <p>"The VM returns to the state it had when this snapshot was saved. Everything written since then is lost."</p>
                    <ActionForm action=restore>
                        <input type="hidden" name="vm_id" value=id/>
                        <input type="hidden" name="snapshot" value=restored/>
                        <Confirmation question=to_restore label="Restore" disabled=Signal::derive(move || !may_restore.get())/>
                    </ActionForm>
                </Confirm>
                <Confirm question=to_delete title=title_of_delete>
                    <p>"The VM keeps its current state. You can no longer return to this snapshot."</p>
                    <ActionForm action=delete>
                        <input type="hidden" name="vm_id" value=id/>
                        <input type="hidden" name="snapshot" value=deleted/>
                        <Confirmation question=to_delete label="Delete" disabled=Signal::derive(move || !may_restore.get())/>
                    </ActionForm>
                </Confirm>
            </li>
        }
    };
    let list = move |snapshots: Vec<Snapshot>| {
        if snapshots.is_empty() {
            return view! { <p class="hint">"No snapshots yet. A snapshot lets you return to the VM's current state."</p> }
                .into_any();
        }
        view! { <ul class="entries">{snapshots.into_iter().map(entry).collect_view()}</ul> }.into_any()
    };
    view! {
        <section class="panel block" data-testid="snapshots">
            <h2>"Snapshots"</h2>
            <ErrorBanner error/>
            {when_loaded(data.snapshots, blank, list)}
            {move || operates.get().then(|| view! {
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
                    <button type="submit" class="btn" disabled=move || !may_save.get() || save.pending().get()>"Save snapshot"</button>
                </ActionForm>
            })}
        </section>
    }
}
