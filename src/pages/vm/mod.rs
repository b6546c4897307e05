//! A VM's page. Its tabs have addresses of their own; the header and the page's one poll stay while the tab changes.

mod activity;
mod charts;
mod danger;
mod data;
mod events;
mod header;
mod overview;
mod resources;
mod schedule;
mod settings;
mod sharing;
mod snapshots;
mod tab;
mod vagrantfile;

use crate::{
    api::{DestroyVm, UnmanageVm, metrics_since},
    components::{
        action::ServerAction,
        alerts::AlertNotices,
        banner::{CollectorBanner, PageError},
        confirm::Question,
        feed::{Connection, Feed, Scope, open_operation},
        icon::{Glyph, Icon},
        range::Range,
        resource::resource_view,
        response, toast,
        vm::Power,
    },
    model::{AccessLevel, Adopted, ApiError, ErrorCode, Live, OperationKind, VmView},
};
use activity::Activity;
use danger::DestroyDialog;
use data::TabData;
use header::{Header, TurnOffDialog, UnderWay};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::{
    NavigateOptions,
    components::Redirect,
    hooks::{use_navigate, use_params_map, use_query_map},
};
use overview::{Overview, blank_charts};
use settings::Settings;
use snapshots::Snapshots;
use tab::Tab;

const WINDOW_SECS: u32 = 900;

const IMPORTED: &str = "Imported VMs keep their own Vagrantfile. To change resources or take snapshots, \
                        run vagrant in the project folder.";

/// What the page is about, from its address.
#[derive(Clone, Copy)]
pub struct Address {
    id: Memo<Option<i64>>,
    /// `None` when there is no such tab.
    tab: Memo<Option<Tab>>,
    /// The charts' range on the overview.
    range: Memo<Range>,
    /// The operation whose output the activity shows.
    selected: Memo<Option<i64>>,
}

impl Address {
    fn for_page() -> Self {
        let (params, query) = (use_params_map(), use_query_map());
        Self {
            id: Memo::new(move |_| params.with(|p| p.get("id").and_then(|id| id.parse().ok()))),
            tab: Memo::new(move |_| params.with(|p| Tab::parse(p.get_str("tab")))),
            range: Range::for_page(),
            selected: Memo::new(move |_| query.with(|q| q.get("operation").and_then(|id| id.parse().ok()))),
        }
    }

    /// Before there were tabs, the page itself showed an operation's output.
    fn moved_to(self) -> Option<String> {
        let id = self.id.get_untracked()?;
        let asks_output = use_query_map().with_untracked(|query| query.get("output").is_some());
        let activity = Tab::Activity.path(id);
        match (self.tab.get_untracked()?, self.selected.get_untracked()) {
            (Tab::Overview, Some(operation)) => Some(format!("{activity}?operation={operation}")),
            (Tab::Overview, None) if asks_output => Some(activity),
            _ => None,
        }
    }
}

#[component]
pub fn Vm() -> impl IntoView {
    let address = Address::for_page();
    let first = Resource::new(
        move || address.id.get(),
        move |id| async move {
            let Some(id) = id else { return Err(ApiError::not_found("VM")) };
            let live = metrics_since(None, Some(id), Some(WINDOW_SECS), None).await?;
            if live.vms.is_empty() { Err(ApiError::not_found("VM")) } else { Ok(live) }
        },
    );
    let data = TabData::new(first, address);
    view! {
        {address.moved_to().map(|path| view! { <Redirect path/> })}
        {resource_view(
            first,
            || view! { <Skeleton/> }.into_any(),
            move |live| async move { view! { <Body live address data/> }.into_any() },
            |error| match error.code {
                ErrorCode::NotFound => view! { <NoSuchVm/> }.into_any(),
                _ => view! { <PageError error/> }.into_any(),
            },
        )}
    }
}

#[component]
fn Skeleton() -> impl IntoView {
    view! {
        <Title text="VM"/>
        <div role="status" aria-label="Loading">
            <div class="vm-head"><header class="top"><h1>"VM"</h1></header><div class="tabs"></div></div>
            <div class="panel blank facts"></div>
        </div>
        {blank_charts()}
    }
}

#[component]
fn NoSuchVm() -> impl IntoView {
    response::page_not_found();
    view! {
        <Title text="No such VM"/>
        <section class="panel empty">
            <h1>"VM not found"</h1>
            <p>"It was destroyed, or you have no access to it."</p>
            <p><a class="btn primary" href="/">"Go to overview"</a></p>
        </section>
    }
}

#[component]
fn NoSuchTab(path: String) -> impl IntoView {
    response::page_not_found();
    view! {
        <section class="panel empty">
            <h2>"Page not found"</h2>
            <p><a class="btn primary" href=path>"Go to the VM"</a></p>
        </section>
    }
}

#[component]
fn Body(live: Live, address: Address, data: TabData) -> impl IntoView {
    let id = live.vms[0].id;
    let feed = Feed::start(live, Scope { vm_id: Some(id), window_secs: WINDOW_SECS });
    let vm = feed.vm(id);
    data.follow(feed, id, vm);
    // Kept when the VM is gone, so that the page can still say which one it was.
    let (name, adopted, is_owned) = vm
        .with_untracked(|vm| {
            vm.as_ref().map(|vm| (vm.name.clone(), vm.adopted.clone(), vm.access == AccessLevel::Own))
        })
        .unwrap_or_default();
    let gone = Memo::new(move |_| feed.connection.get() == Connection::Gone || vm.with(Option::is_none));
    let title = {
        let (name, tab) = (name.clone(), address.tab.get_untracked());
        // The server reads the title after it has rendered the page, when the page's values may be gone.
        move || match address.tab.try_get().unwrap_or(tab) {
            None | Some(Tab::Overview) => name.clone(),
            Some(tab) => format!("{} · {name}", tab.label()),
        }
    };
    view! {
        <Title text=title/>
        {move || {
            let (name, adopted) = (name.clone(), adopted.clone());
            if gone.get() {
                view! { <Gone name was_imported=adopted.is_some() is_owned/> }.into_any()
            } else {
                view! { <Present feed id vm address data name adopted/> }.into_any()
            }
        }}
    }
}

#[component]
fn Gone(name: String, was_imported: bool, is_owned: bool) -> impl IntoView {
    let what = if !is_owned {
        "It was destroyed, or is no longer shared with you."
    } else if was_imported {
        "It could not be imported, is no longer managed here, or was destroyed. The events say why."
    } else {
        "It was destroyed, together with its disk."
    };
    view! {
        <section class="panel empty" role="status" data-testid="gone">
            <h1>{name} " is gone"</h1>
            <p>{what}</p>
            <p><a class="btn primary" href="/">"Go to overview"</a></p>
        </section>
    }
}

#[component]
fn Present(
    feed: Feed,
    id: i64,
    vm: Memo<Option<VmView>>,
    address: Address,
    data: TabData,
    name: String,
    adopted: Option<Adopted>,
) -> impl IntoView {
    let power = Power::new(move || feed.poll_now());
    let destroy = ServerAction::<DestroyVm>::new();
    let unmanage = ServerAction::<UnmanageVm>::new();
    toast::when_done(unmanage, "The VM is no longer managed. Its machine stays as it is.");
    // The overview shows the progress of the destroying, and that the VM is gone in the end.
    let navigate = use_navigate();
    Effect::new(move || {
        let destroyed = destroy.value().with(|answer| matches!(answer, Some(Ok(_))));
        if destroyed || unmanage.value().with(|answer| matches!(answer, Some(Ok(())))) {
            navigate("/", NavigateOptions::default());
        }
    });
    let is_imported = adopted.is_some();
    let destroy_question =
        Question::new("destroy", adopted.as_ref().map_or(&name, |adopted| &adopted.directory).as_str());
    let turn_off = Question::new("turn-off", name.as_str());
    let error = Signal::derive(move || {
        destroy
            .value()
            .get()
            .and_then(Result::err)
            .or_else(|| unmanage.value().get().and_then(Result::err))
            .or_else(|| power.error().get())
    });
    let problem = Memo::new(move |_| vm.with(|vm| vm.as_ref().and_then(|vm| vm.problem.clone())));
    let busy = Memo::new(move |_| vm.with(|vm| vm.as_ref().is_some_and(|vm| open_operation(vm).is_some())));
    let tab = {
        let adopted = adopted.clone();
        move || match address.tab.get() {
            Some(Tab::Overview) => {
                let (range, adopted) = (address.range, adopted.clone());
                view! { <Overview feed id vm range data adopted/> }.into_any()
            }
            Some(Tab::Snapshots) if is_imported => view! { <p class="hint">{IMPORTED}</p> }.into_any(),
            Some(Tab::Snapshots) => view! { <Snapshots feed id vm data/> }.into_any(),
            Some(Tab::Activity) => view! { <Activity id selected=address.selected data/> }.into_any(),
            Some(Tab::Settings) => {
                view! { <Settings feed id vm data is_imported destroy_question unmanage/> }.into_any()
            }
            None | Some(Tab::Terminal) => view! { <NoSuchTab path=Tab::Overview.path(id)/> }.into_any(),
        }
    };
    view! {
        <Header feed id vm tab=address.tab name=name.clone() is_imported power turn_off error/>
        <CollectorBanner feed/>
        {move || {
            problem.get().map(|text| {
                view! { <p class="banner bad" role="alert" data-testid="problem"><Glyph icon=Icon::Warning/><span>{text}</span></p> }
            })
        }}
        <AlertNotices feed vm_id=id/>
        {move || busy.get().then(|| view! { <UnderWay feed id vm/> })}
        <div class="tab">{tab}</div>
        // Links to these open on every tab.
        <TurnOffDialog id name=name.clone() question=turn_off power/>
        <DestroyDialog id name adopted question=destroy_question destroy/>
    }
}

/// Shows at once what the server's answer has changed. `answers` counts the answers.
fn poll_after(feed: Feed, answers: impl Fn() -> usize + Send + Sync + 'static) {
    Effect::new(move |seen: Option<usize>| {
        let answered = answers();
        if seen.is_some_and(|seen| seen != answered) {
            feed.poll_now();
        }
        answered
    });
}

/// Whether the user has at least this access to the VM.
fn may(vm: Memo<Option<VmView>>, access: AccessLevel) -> Memo<bool> {
    Memo::new(move |_| vm.with(|vm| vm.as_ref().is_some_and(|vm| vm.access >= access)))
}

/// Whether the VM accepts such a request now.
fn allows(vm: Memo<Option<VmView>>, kind: OperationKind) -> Memo<bool> {
    Memo::new(move |_| vm.with(|vm| vm.as_ref().is_some_and(|vm| vm.allowed.contains(&kind))))
}
