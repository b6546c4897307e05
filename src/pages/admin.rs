use crate::{
    api::{AdoptOrphan, CleanUpOrphan, StopAllVms, orphans},
    components::{
        confirm::{Ask, Confirm, Confirmation, Question},
        icon::{Glyph, Icon},
        layout::Viewer,
        notice::{NotAnAdmin, Refusal, Unavailable},
        toast,
    },
    model::{ErrorCode, Orphan, OrphanKind, VmOutcome},
};
use leptos::prelude::*;
use leptos_meta::Title;

/// What only an admin can put right.
#[component]
pub fn Admin() -> impl IntoView {
    let adopt = ServerAction::<AdoptOrphan>::new();
    let clean_up = ServerAction::<CleanUpOrphan>::new();
    toast::when_done(*adopt, "The VM is back in its owner's list.");
    toast::when_done(*clean_up, "The orphan is being cleaned up.");
    let changed = move || (adopt.version().get(), clean_up.version().get());
    let orphans = Resource::new(changed, |_| orphans());
    let viewer = expect_context::<Viewer>();
    view! {
        <Title text="Admin"/>
        <header class="top">
            <h1>"Admin"</h1>
            <span class="push"></span>
            <a class="btn" href="/admin/accounts"><Glyph icon=Icon::Person/>"Accounts"</a>
        </header>
        <Suspense>
            {move || Suspend::new(async move { viewer.is_admin().await.then(|| view! { <StopAll/> }) })}
        </Suspense>
        <Transition fallback=|| view! { <p class="waiting" role="status">"Loading…"</p> }>
            {move || Suspend::new(async move {
                match orphans.await {
                    Ok(orphans) => view! { <Orphans orphans adopt clean_up/> }.into_any(),
                    Err(error) if error.code == ErrorCode::Forbidden => view! { <NotAnAdmin error/> }.into_any(),
                    Err(error) => view! { <Unavailable error/> }.into_any(),
                }
            })}
        </Transition>
    }
}

#[component]
fn StopAll() -> impl IntoView {
    let stop = ServerAction::<StopAllVms>::new();
    let refused = Signal::derive(move || stop.value().get().and_then(Result::err));
    let told = move || stop.value().get().and_then(Result::ok);
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
                "Turns every VM of everybody off at once, as if its plug were pulled, and cancels what is being launched or started."
            </p>
            <Refusal error=refused/>
            <p><Ask question><Glyph icon=Icon::Stop/>"Turn all VMs off…"</Ask></p>
            <Confirm question title="Turn all VMs off?">
                <p>"What a VM has not written to its disk yet is lost, and a launch that is under way leaves no VM."</p>
                <ActionForm action=stop>
                    <Confirmation question field="confirm" label="Turn all VMs off" disabled=stop.pending()/>
                </ActionForm>
            </Confirm>
            <div role="status">
                {move || told().map(|told| view! {
                    <ul class="entries" data-testid="stopped">{told.into_iter().map(line).collect_view()}</ul>
                })}
            </div>
        </section>
    }
}

fn what_is_lost(kind: OrphanKind) -> &'static str {
    match kind {
        OrphanKind::Domain => "The machine and everything on its disk are deleted. This cannot be undone.",
        OrphanKind::Directory => "The folder and everything in it are deleted. This cannot be undone.",
        OrphanKind::Row => {
            "The VM is taken off the list, and its folder is deleted with it. This cannot be undone."
        }
    }
}

fn kind_words(kind: OrphanKind) -> &'static str {
    match kind {
        OrphanKind::Domain => "Machine without an entry",
        OrphanKind::Directory => "Folder without a VM",
        OrphanKind::Row => "VM without a machine",
    }
}

#[component]
fn Orphans(
    orphans: Vec<Orphan>,
    adopt: ServerAction<AdoptOrphan>,
    clean_up: ServerAction<CleanUpOrphan>,
) -> impl IntoView {
    let refused = Signal::derive(move || {
        clean_up.value().get().and_then(Result::err).or_else(|| adopt.value().get().and_then(Result::err))
    });
    let is_empty = orphans.is_empty();
    let entry = move |(at, orphan): (usize, Orphan)| {
        let folder = orphan.folder;
        let (adopted, removed) = (folder.clone(), folder.clone());
        let title = format!("Clean up {folder}?");
        // A folder may have any name, which is no part of an address then.
        let question = Question::new(format!("clean-up-{at}"), folder.clone());
        view! {
            <li>
                <div class="what">
                    <b class="path">{folder.clone()}</b>
                    <small class="muted">
                        {kind_words(orphan.kind)} {orphan.owner_name.map(|owner| format!(" · of {owner}"))}
                    </small>
                    <p>{orphan.text}</p>
                </div>
                {orphan.can_adopt.then(|| view! {
                    <ActionForm action=adopt>
                        <input type="hidden" name="folder" value=adopted/>
                        <button type="submit" class="btn">"Adopt"</button>
                    </ActionForm>
                })}
                {orphan.can_clean_up.then(|| view! {
                    <Ask question of=folder><Glyph icon=Icon::Bin/>"Clean up…"</Ask>
                    <Confirm question title>
                        <p>{what_is_lost(orphan.kind)}</p>
                        <ActionForm action=clean_up>
                            <input type="hidden" name="folder" value=removed/>
                            <Confirmation question field="confirm_name" label="Remove it for good" disabled=clean_up.pending()/>
                        </ActionForm>
                    </Confirm>
                })}
            </li>
        }
    };
    view! {
        <section class="panel block" data-testid="orphans">
            <h2>"Orphans"</h2>
            <p class="hint">
                "Machines, folders and VMs that are left without their counterparts, as after a database was restored or somebody removed something by hand."
            </p>
            <Refusal error=refused/>
            {is_empty.then(|| view! { <p class="none">"There are none: everything has its counterparts."</p> })}
            <ul class="entries">{orphans.into_iter().enumerate().map(entry).collect_view()}</ul>
        </section>
    }
}
