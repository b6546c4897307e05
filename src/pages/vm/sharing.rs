//! With whom the VM is shared; and for those users, the way out.

use super::data::{TabData, blank, when_loaded};
use crate::{
    api::{EndVmShare, ShareVm},
    components::{
        action::{ActionForm, ServerAction},
        banner::ErrorBanner,
        feed::Feed,
        form::entered,
        local_time::{LocalTime, TimeFormat},
        toast,
    },
    model::{AccessLevel, VmShare, VmView},
};
use leptos::prelude::*;
use leptos_router::{NavigateOptions, hooks::use_navigate};

/// For the owner: the users, and a form for another one.
#[component]
pub fn Sharing(id: i64, data: TabData) -> impl IntoView {
    let share = ServerAction::<ShareVm>::new();
    let end = ServerAction::<EndVmShare>::new();
    toast::when_done(share, "Sharing saved.");
    toast::when_done(end, "Access ended.");
    let username = RwSignal::new(entered("username").unwrap_or_default());
    Effect::new(move |begun: Option<()>| {
        let (shared, _) = (share.version().get(), end.version().get());
        if begun.is_some() {
            data.shares_changed.update(|changes| *changes += 1);
            if shared > 0 && share.value().with_untracked(|answer| matches!(answer, Some(Ok(())))) {
                username.set(String::new());
            }
        }
    });
    let error = Signal::derive(move || share.value().get().and_then(Result::err));
    let end_error = Signal::derive(move || end.value().get().and_then(Result::err));
    let entry = move |entry: VmShare| {
        let name = entry.username;
        let label = format!("End access of {name}");
        view! {
            <li data-user=name.clone()>
                <div class="what">
                    <b>{name.clone()}</b>
                    <small class="muted">
                        {may(entry.access)} " · since " <LocalTime at=Signal::stored(entry.shared_at) form=TimeFormat::DayAndTime/>
                    </small>
                </div>
                <ActionForm action=end>
                    <input type="hidden" name="vm_id" value=id/>
                    <input type="hidden" name="account_id" value=entry.account_id/>
                    <button type="submit" class="btn" aria-label=label>"End access"</button>
                </ActionForm>
            </li>
        }
    };
    let list = move |shares: Vec<VmShare>| {
        if shares.is_empty() {
            return view! { <p class="hint">"Not shared with anyone."</p> }.into_any();
        }
        view! { <ul class="entries">{shares.into_iter().map(entry).collect_view()}</ul> }.into_any()
    };
    view! {
        <section class="panel block" data-testid="sharing">
            <h2>"Sharing"</h2>
            <p class="hint">
                "Users who view the VM see its charts, alerts, events and operations. Users who operate it can also start and \
                 stop it, use its snapshots and acknowledge its alerts. Only you and admins can change its resources, share it or destroy it."
            </p>
            <ErrorBanner error=end_error/>
            {when_loaded(data.owners, blank, move |owners| list(owners.shares))}
            <ErrorBanner error/>
            <ActionForm action=share class="line-form">
                <input type="hidden" name="vm_id" value=id/>
                <div class="field">
                    <label for="share-username">"User name"</label>
                    <span class="control">
                        <input
                            id="share-username" name="username" required autocomplete="off" autocapitalize="none" spellcheck="false"
                            prop:value=username value=username.get_untracked() on:input=move |event| username.set(event_target_value(&event))
                        />
                    </span>
                </div>
                <div class="field">
                    <label for="share-access">"Access"</label>
                    <span class="control">
                        <select id="share-access" name="access">
                            <option value=AccessLevel::View.as_str()>"View"</option>
                            <option value=AccessLevel::Operate.as_str()>"Operate"</option>
                        </select>
                    </span>
                </div>
                <button type="submit" class="btn" disabled=share.pending()>"Share"</button>
            </ActionForm>
        </section>
    }
}

fn may(access: AccessLevel) -> &'static str {
    match access {
        AccessLevel::View => "can view",
        AccessLevel::Operate | AccessLevel::Own => "can operate",
    }
}

/// For a user with whom it is shared.
#[component]
pub fn SharedWithMe(feed: Feed, id: i64, vm: Memo<Option<VmView>>) -> impl IntoView {
    let leave = ServerAction::<EndVmShare>::new();
    toast::when_done(leave, "You no longer have access to the VM.");
    let navigate = use_navigate();
    Effect::new(move || {
        if leave.value().with(|answer| matches!(answer, Some(Ok(())))) {
            navigate("/", NavigateOptions::default());
        }
    });
    super::poll_after(feed, move || leave.version().get());
    let error = Signal::derive(move || leave.value().get().and_then(Result::err));
    let what = move || {
        vm.with(|vm| {
            vm.as_ref().map(|vm| match vm.access {
                AccessLevel::View => format!("{} shares this VM with you. You can view it.", vm.owner_name),
                _ => format!("{} shares this VM with you. You can view and operate it.", vm.owner_name),
            })
        })
    };
    view! {
        <section class="panel block" data-testid="shared-with-me">
            <h2>"Sharing"</h2>
            <ErrorBanner error/>
            <ActionForm action=leave class="line-form">
                <input type="hidden" name="vm_id" value=id/>
                <p>{what}</p>
                <button type="submit" class="btn" disabled=leave.pending()>"Give up access"</button>
            </ActionForm>
        </section>
    }
}
