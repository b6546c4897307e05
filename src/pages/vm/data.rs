//! What the tabs of a VM's page show. Each part is read while its tab is open, and again when the page's poll reports a
//! change.

use super::{Address, tab::Tab};
use crate::{
    api::{operation_output, vm_events, vm_operations, vm_shares, vm_snapshots, vm_vagrantfiles},
    components::{
        alerts, banner,
        feed::Feed,
        resource::{Loading, section_view},
        timeline,
    },
    model::{
        AccessLevel, ApiError, Charts, Event, Live, OperationState, OperationView, Snapshot,
        VagrantfileVersion, VmShare, VmView,
    },
};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// What Vagrant printed during an operation.
#[derive(Clone, Serialize, Deserialize)]
pub struct Output {
    pub operation_id: i64,
    pub lines: Vec<String>,
}

/// What only the owner and admins see of the settings; empty for others.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct OwnersData {
    pub vagrantfiles: Vec<VagrantfileVersion>,
    pub shares: Vec<VmShare>,
}

impl OwnersData {
    async fn load(id: i64, first: Loading<Live>) -> Result<Self, ApiError> {
        let is_owned = first.await.is_ok_and(|live| live.vms.iter().all(|vm| vm.access == AccessLevel::Own));
        if !is_owned {
            return Ok(Self::default());
        }
        Ok(Self { vagrantfiles: vm_vagrantfiles(id).await?, shares: vm_shares(id).await? })
    }
}

/// The resources of the tabs; `None` while no tab shows them. They are created with the page, not with a tab: the server may
/// render a tab several times, and a request of a discarded rendering would keep the page from ending.
#[derive(Clone, Copy)]
pub struct TabData {
    pub charts: Loading<Option<Charts>>,
    pub events: Loading<Option<Vec<Event>>>,
    pub snapshots: Loading<Option<Vec<Snapshot>>>,
    pub operations: Loading<Option<Vec<OperationView>>>,
    /// Of the selected operation, else of the newest.
    pub output: Loading<Option<Option<Output>>>,
    pub owners: Loading<Option<OwnersData>>,
    /// Counts changes of the shares from this page.
    pub shares_changed: RwSignal<u32>,
    /// Counts changes of the VM's status, problem, operation and alerts.
    pub changes: RwSignal<u32>,
    /// Counts operations that have ended: an open one has not changed the snapshots yet.
    ended: RwSignal<u32>,
    /// The newest operation, its state and the last line of its output, once they have changed.
    progress: RwSignal<Option<(i64, OperationState, String)>>,
}

impl TabData {
    /// `first` is what the page begins with.
    pub fn new(first: Loading<Live>, Address { id, tab, range, selected }: Address) -> Self {
        let (changes, ended, shares_changed) = (RwSignal::new(0), RwSignal::new(0), RwSignal::new(0));
        let progress = RwSignal::new(None::<(i64, OperationState, String)>);
        let on = move |shown_on: &'static [Tab]| {
            move || id.get().filter(|_| tab.get().is_some_and(|tab| shown_on.contains(&tab)))
        };
        Self {
            charts: read(
                on(&[Tab::Overview]),
                || (),
                move |id, ()| timeline::load(Some(id), range.get_untracked(), None),
            ),
            events: read(on(&[Tab::Overview, Tab::Activity]), move || changes.get(), |id, _| vm_events(id)),
            snapshots: read(on(&[Tab::Snapshots]), move || ended.get(), |id, _| vm_snapshots(id)),
            operations: read(
                on(&[Tab::Activity]),
                move || changes.get(),
                move |id, _| list_operations(id, selected.get_untracked()),
            ),
            output: read(
                on(&[Tab::Activity]),
                move || {
                    let selected = selected.get();
                    let newest = progress.get();
                    (selected, newest.filter(|(id, ..)| selected.is_none_or(|selected| selected == *id)))
                },
                |id, (selected, newest)| read_output(id, selected.or(newest.map(|(id, ..)| id))),
            ),
            owners: read(
                on(&[Tab::Settings]),
                move || (changes.get(), shares_changed.get()),
                move |id, _| OwnersData::load(id, first),
            ),
            shares_changed,
            changes,
            ended,
            progress,
        }
    }

    /// Reads again what the poll says has changed.
    pub fn follow(self, feed: Feed, id: i64, vm: Memo<Option<VmView>>) {
        let operation = Memo::new(move |_| {
            vm.with(|vm| vm.as_ref().and_then(|vm| vm.operation.as_ref()).map(|o| (o.id, o.state)))
        });
        on_change(operation, move |operation| {
            if operation.is_none_or(|(_, state)| !state.is_open()) {
                self.ended.update(|ended| *ended += 1);
            }
        });
        let alerts = alerts::of_vm(feed, id);
        let state = Memo::new(move |_| {
            let alert_ids = alerts.with(|alerts| alerts.iter().map(|alert| alert.id).collect::<Vec<_>>());
            let status = vm.with(|vm| vm.as_ref().map(|vm| (vm.status, vm.problem.clone())));
            (status, operation.get(), alert_ids)
        });
        on_change(state, move |_| self.changes.update(|changes| *changes += 1));
        let progress = Memo::new(move |_| {
            let operation = vm.with(|vm| vm.as_ref().and_then(|vm| vm.operation.clone()));
            operation.map(|operation| (operation.id, operation.state, operation.last_line))
        });
        on_change(progress, move |progress| self.progress.set(progress));
    }
}

/// Runs `then` when a memo changes, not for the value it begins with.
fn on_change<T>(memo: Memo<T>, then: impl Fn(T) + 'static)
where
    T: Clone + Send + Sync + 'static,
{
    Effect::new(move |begun: Option<()>| {
        let value = memo.get();
        if begun.is_some() {
            then(value);
        }
    });
}

/// A resource that is read while `shown_for` names a VM, and again when `version` changes.
fn read<V, T, Fut>(
    shown_for: impl Fn() -> Option<i64> + Send + Sync + 'static,
    version: impl Fn() -> V + Send + Sync + 'static,
    ask: impl Fn(i64, V) -> Fut + Send + Sync + 'static,
) -> Loading<Option<T>>
where
    V: PartialEq + Clone + Send + Sync + 'static,
    T: Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    Fut: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    Resource::new(
        move || shown_for().map(|id| (id, version())),
        move |shown| {
            let answer = shown.map(|(id, version)| ask(id, version));
            async move {
                match answer {
                    Some(answer) => answer.await.map(Some),
                    None => Ok(None),
                }
            }
        },
    )
}

/// The newest operations, and the selected one even if it is older.
async fn list_operations(vm_id: i64, selected: Option<i64>) -> Result<Vec<OperationView>, ApiError> {
    let mut listed = vm_operations(vm_id, None).await?;
    if let Some(selected) = selected.filter(|selected| listed.iter().all(|one| one.id != *selected)) {
        let older = vm_operations(vm_id, Some(selected.saturating_add(1))).await?;
        listed.extend(older.into_iter().next().filter(|one| one.id == selected));
    }
    Ok(listed)
}

async fn read_output(vm_id: i64, operation_id: Option<i64>) -> Result<Option<Output>, ApiError> {
    let newest = match operation_id {
        Some(id) => Some(id),
        None => vm_operations(vm_id, None).await?.first().map(|operation| operation.id),
    };
    let Some(operation_id) = newest else { return Ok(None) };
    Ok(Some(Output { operation_id, lines: operation_output(vm_id, operation_id).await? }))
}

/// Shows a tab's resource: `blank` until it is there, and a retry when it cannot be read.
pub fn when_loaded<T>(
    loading: Loading<Option<T>>,
    blank: fn() -> AnyView,
    view: impl Fn(T) -> AnyView + Copy + Send + Sync + 'static,
) -> impl IntoView
where
    T: Clone + Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    // The tab has only just been opened where there is no value.
    section_view(loading, blank, move |value| async move { value.map_or_else(blank, view) })
}

/// The usual `blank`.
pub fn blank() -> AnyView {
    view! { <banner::Loading class="blank"/> }.into_any()
}
