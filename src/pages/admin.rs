use crate::{
    api::{AdoptOrphan, CleanUpOrphan, StopAllVms, get_store_health, metrics_since, orphans},
    components::{
        action::{ActionForm, ServerAction},
        alerts::AlertBell,
        banner::{CollectorBanner, ConnectionStatus, ErrorBanner, Loading},
        collector::Collector,
        confirm::{Confirm, ConfirmButton, Confirmation, Question},
        feed::{Feed, Scope},
        form::QueryForm,
        format,
        hydration::is_hydrated,
        icon::{Glyph, Icon},
        resource::{page_view, section_view},
        store::Store,
        toast,
        vm::StatusMark,
    },
    model::{ApiError, Live, Orphan, OrphanKind, StoreHealth, VmOutcome, VmSpec, VmStatus, VmView},
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The page shows only the latest values.
const SCOPE: Scope = Scope { vm_id: None, window_secs: 60 };

/// When leftover resources that are being removed are read again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// The data of the first rendering.
#[derive(Clone, Serialize, Deserialize)]
struct First {
    live: Live,
    store: StoreHealth,
}

impl First {
    async fn load() -> Result<Self, ApiError> {
        // First, because it rejects users who are not admins.
        let store = get_store_health().await?;
        Ok(Self { live: metrics_since(None, SCOPE.vm_id, Some(SCOPE.window_secs), None).await?, store })
    }
}

/// Leftover resources and the actions on them, loaded separately from the metrics.
#[derive(Clone, Copy)]
struct FoundOrphans {
    orphans: Resource<Result<Vec<Orphan>, ApiError>>,
    adopt: ServerAction<AdoptOrphan>,
    clean_up: ServerAction<CleanUpOrphan>,
}

impl FoundOrphans {
    fn load() -> Self {
        let (adopt, clean_up) = (ServerAction::new(), ServerAction::new());
        toast::when_done(adopt, "VM imported. Its owner can see it again.");
        toast::when_done(clean_up, "Cleaning up.");
        let changed = move || (adopt.version().get(), clean_up.version().get());
        Self { orphans: Resource::new(changed, |_| orphans()), adopt, clean_up }
    }
}

/// The page for admins: all VMs, the collector, the store, the emergency stop and leftover resources.
#[component]
pub fn Admin() -> impl IntoView {
    let found = FoundOrphans::load();
    let first = Resource::new(|| (), |()| First::load());
    view! {
        <Title text="Admin"/>
        {page_view(first, || view! { <Skeleton/> }.into_any(), move |first| async move { view! { <Body first found/> }.into_any() })}
    }
}

#[component]
fn Skeleton() -> impl IntoView {
    view! {
        <div role="status" aria-label="Loading">
            <header class="top"><h1>"Admin"</h1></header>
            <div class="panel blank tall"></div>
            <div class="panel collector blank"></div>
            <div class="panel collector blank"></div>
        </div>
    }
}

#[component]
fn Body(first: First, found: FoundOrphans) -> impl IntoView {
    let First { live, store } = first;
    let feed = Feed::start(live, SCOPE);
    view! {
        <CollectorBanner feed/>
        <header class="top">
            <h1>"Admin"</h1>
            <ConnectionStatus feed/>
            <span class="push"></span>
            <AlertBell feed/>
            <a class="btn" href="/admin/accounts"><Glyph icon=Icon::User/>"Accounts"</a>
        </header>
        <Vms feed/>
        <Collector feed/>
        <Store health=store/>
        <StopAll/>
        <Orphans found/>
    }
}

/// The VMs of all users, in the order of their creation.
#[component]
fn Vms(feed: Feed) -> impl IntoView {
    let search =
        RwSignal::new(use_query_map().with_untracked(|query| query.get("search")).unwrap_or_default());
    let is_hydrated = is_hydrated();
    let found = Memo::new(move |_| {
        let wanted = search.get().trim().to_ascii_lowercase();
        let holds = |text: &str| text.to_ascii_lowercase().contains(&wanted);
        feed.live.with(|live| {
            let vms = live.vms.iter().filter(|vm| holds(&vm.name) || holds(&vm.owner_name));
            vms.map(|vm| vm.id).collect::<Vec<_>>()
        })
    });
    let any = Memo::new(move |_| feed.live.with(|live| !live.vms.is_empty()));
    let count = move || feed.live.with(|live| format!("{} of {}", found.with(Vec::len), live.vms.len()));
    let none = move || {
        if any.get() {
            view! {
                <p class="none" role="status">
                    "No matching VMs. "
                    <a class="underlined" href="/admin" on:click=move |_| search.set(String::new())>"Show all"</a>
                </p>
            }
            .into_any()
        } else {
            view! { <p class="none">"No VMs yet. " <a class="underlined" href="/vms/new">"Launch the first one"</a></p> }
                .into_any()
        }
    };
    view! {
        <section class="panel all-vms" aria-label="All VMs" data-testid="all-vms">
            <QueryForm search=true class="toolbar">
                <h2>"All VMs"</h2>
                <span class="search">
                    <Glyph icon=Icon::Search/>
                    <input
                        type="search" name="search" aria-label="Search by name or owner" placeholder="Search by name or owner" autocomplete="off"
                        value=search.get_untracked() prop:value=search on:input=move |event| search.set(event_target_value(&event))
                    />
                </span>
                <button type="submit" class="btn" hidden=is_hydrated>"Search"</button>
                <span class="muted">{count}</span>
            </QueryForm>
            <div class="wide"><table class="vms" class:stale=move || feed.is_stale() hidden=move || found.with(Vec::is_empty)>
                <thead><tr>
                    <th scope="col">"VM"</th><th scope="col">"Owner"</th><th scope="col">"Status"</th><th scope="col">"Cores, memory, disk"</th>
                    <th scope="col">"Address"</th><th scope="col">"CPU"</th><th scope="col">"Memory"</th>
                </tr></thead>
                <tbody><For each=move || found.get() key=|id| *id let:id><Row feed id/></For></tbody>
            </table></div>
            {move || found.with(Vec::is_empty).then(none)}
        </section>
    }
}

#[component]
fn Row(feed: Feed, id: i64) -> impl IntoView {
    let vm = feed.vm(id);
    let cell = move |format: fn(&VmView) -> String| {
        let text = Memo::new(move |_| vm.with(|vm| vm.as_ref().map(format).unwrap_or_default()));
        move || text.get()
    };
    let status = Memo::new(move |_| vm.with(|vm| vm.as_ref().map_or(VmStatus::Unknown, |vm| vm.status)));
    view! {
        <tr data-vm=vm.with_untracked(|vm| vm.as_ref().map(|vm| vm.name.clone()))>
            <td class="who">
                <div>
                    <StatusMark status/>
                    <span><a href=format!("/vms/{id}")>{cell(|vm| vm.name.clone())}</a><small>{cell(|vm| vm.os_type.clone())}</small></span>
                </div>
            </td>
            <td data-label="Owner">{cell(|vm| vm.owner_name.clone())}</td>
            <td data-label="Status">{move || status.get().label()}</td>
            <td data-label="Cores, memory, disk">{cell(|vm| given(&vm.spec))}</td>
            <td data-label="Address" class="mono">{cell(|vm| vm.ip_address.clone().unwrap_or_else(|| format::UNKNOWN.into()))}</td>
            <td data-label="CPU">{cell(|vm| format::percent(vm.usage.cpu_percent))}</td>
            <td data-label="Memory">{cell(|vm| format::percent(vm.usage.memory_percent))}</td>
        </tr>
    }
}

/// `2 cores, 2 GB, 20 GB`.
fn given(spec: &VmSpec) -> String {
    if spec.ram_mb == 0 {
        return format::UNKNOWN.into();
    }
    let (ram, disk) = (format::megabytes(spec.ram_mb.into()), format::gigabytes(spec.disk_gb.into()));
    format!("{}, {ram}, {disk}", format::cores(spec.cpu_cores))
}

#[component]
fn StopAll() -> impl IntoView {
    let stop = ServerAction::<StopAllVms>::new();
    let error = Signal::derive(move || stop.value().get().and_then(Result::err));
    let outcomes = move || stop.value().get().and_then(Result::ok);
    let line = |vm: VmOutcome| {
        view! {
            <li>
                <div class="what">
                    <a href=format!("/vms/{}", vm.vm_id)>{vm.name}</a>
                    <small class="muted">{vm.owner_name} " · " {vm.outcome}</small>
                </div>
            </li>
        }
    };
    let question = Question::new("stop-all", "stop");
    view! {
        <section class="panel block" data-testid="emergency-stop">
            <h2>"Emergency stop"</h2>
            <p class="hint">
                "Powers off every VM immediately, without a clean shutdown, and cancels running launches and starts."
            </p>
            <ErrorBanner error/>
            <p><ConfirmButton question><Glyph icon=Icon::Stop/>"Power off all VMs…"</ConfirmButton></p>
            <Confirm question title="Power off all VMs?">
                <p>"Data that a VM has not written to its disk is lost. VMs that are being launched are removed."</p>
                <ActionForm action=stop>
                    <Confirmation question field="confirm" label="Power off all VMs" disabled=stop.pending()/>
                </ActionForm>
            </Confirm>
            <div role="status">
                {move || outcomes().map(|outcomes| view! {
                    <ul class="entries" data-testid="stopped">{outcomes.into_iter().map(line).collect_view()}</ul>
                })}
            </div>
        </section>
    }
}

fn what_is_lost(kind: OrphanKind) -> &'static str {
    match kind {
        OrphanKind::Domain => "The machine and everything on its disk are deleted. This cannot be undone.",
        OrphanKind::Directory => "The folder and everything in it are deleted. This cannot be undone.",
        OrphanKind::Row => "The VM's record and its folder are deleted. This cannot be undone.",
    }
}

fn kind_words(kind: OrphanKind) -> &'static str {
    match kind {
        OrphanKind::Domain => "Machine without a VM record",
        OrphanKind::Directory => "Folder without a VM",
        OrphanKind::Row => "VM without a machine",
    }
}

#[component]
fn Orphans(found: FoundOrphans) -> impl IntoView {
    let FoundOrphans { orphans, adopt, clean_up } = found;
    // Read again until what is being removed is gone.
    Effect::new(move || {
        let is_removing = orphans.with(|found| {
            found.as_ref().is_some_and(|found| {
                found.as_ref().is_ok_and(|found| found.iter().any(|orphan| !orphan.can_clean_up))
            })
        });
        if is_removing && let Ok(timer) = set_timeout_with_handle(move || orphans.refetch(), AGAIN_AFTER) {
            on_cleanup(move || timer.clear());
        }
    });
    let error = Signal::derive(move || {
        clean_up.value().get().and_then(Result::err).or_else(|| adopt.value().get().and_then(Result::err))
    });
    view! {
        <section class="panel block" data-testid="orphans">
            <h2>"Leftover resources"</h2>
            <p class="hint">
                "Resources that no longer match: a machine without a VM record, a folder without a VM, a VM without a machine. Causes are a restored database or manual changes. Import or clean up each of them."
            </p>
            <ErrorBanner error/>
            {section_view(
                orphans,
                || view! { <Loading class="blank"/> }.into_any(),
                move |found| async move { view! { <OrphanList orphans=found adopt clean_up/> }.into_any() },
            )}
        </section>
    }
}

#[component]
fn OrphanList(
    orphans: Vec<Orphan>,
    adopt: ServerAction<AdoptOrphan>,
    clean_up: ServerAction<CleanUpOrphan>,
) -> impl IntoView {
    let is_empty = orphans.is_empty();
    let entry = move |(at, orphan): (usize, Orphan)| {
        let folder = orphan.folder;
        let (adopted, removed) = (folder.clone(), folder.clone());
        let title = format!("Clean up {folder}?");
        // The folder's name may contain characters that an address cannot.
        let question = Question::new(format!("clean-up-{at}"), folder.clone());
        view! {
            <li>
                <div class="what">
                    <b class="path">{folder.clone()}</b>
                    <small class="muted">
                        {kind_words(orphan.kind)} {orphan.owner_name.map(|owner| format!(" · owned by {owner}"))}
                    </small>
                    <p>{orphan.text}</p>
                </div>
                {orphan.can_adopt.then(|| view! {
                    <ActionForm action=adopt>
                        <input type="hidden" name="folder" value=adopted/>
                        <button type="submit" class="btn">"Import"</button>
                    </ActionForm>
                })}
                {orphan.can_clean_up.then(|| view! {
                    <ConfirmButton question of=folder><Glyph icon=Icon::Bin/>"Clean up…"</ConfirmButton>
                    <Confirm question title>
                        <p>{what_is_lost(orphan.kind)}</p>
                        <ActionForm action=clean_up>
                            <input type="hidden" name="folder" value=removed/>
                            <Confirmation question field="confirm_name" label="Delete permanently" disabled=clean_up.pending()/>
                        </ActionForm>
                    </Confirm>
                })}
            </li>
        }
    };
    view! {
        {is_empty.then(|| view! { <p class="none">"None found."</p> })}
        <ul class="entries">{orphans.into_iter().enumerate().map(entry).collect_view()}</ul>
    }
}
