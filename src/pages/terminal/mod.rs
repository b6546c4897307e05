//! The terminals of a VM, and the list of all open ones.
//!
//! The screen itself is the custom element `twarga-terminal` (`assets/terminal.js`), which only these pages load.

mod connect;
mod keys;
mod list;

pub use keys::SshKeys;
pub use list::Terminals;

use crate::{
    api::{EndTerminal, OpenTerminal, get_ssh_gateway, list_vm_terminals},
    components::{
        action::{ActionForm, ServerAction},
        banner::{ErrorBanner, PageError},
        browser,
        resource::{Loading, resource_view},
        vm::StatusMark,
    },
    model::{ApiError, SshGateway, TerminalTicket, VmStatus, VmTerminals},
};
use connect::Connect;
use leptos::{ev, prelude::*, server_fn::ServerFn};
use leptos_meta::Title;
use leptos_router::hooks::use_params_map;

/// Keys that telephones lack, as `assets/terminal.js` knows them, with their labels.
const KEYS: [(&str, &str); 10] = [
    ("Escape", "Esc"),
    ("Tab", "Tab"),
    ("Ctrl", "Ctrl"),
    ("Up", "↑"),
    ("Down", "↓"),
    ("Left", "←"),
    ("Right", "→"),
    ("|", "|"),
    ("~", "~"),
    ("/", "/"),
];

#[component]
pub fn Terminal() -> impl IntoView {
    let params = use_params_map();
    let id = Memo::new(move |_| params.with(|p| p.get("id").and_then(|id| id.parse::<i64>().ok())));
    let loading = Resource::new(
        move || id.get(),
        |id| async move {
            match id {
                Some(id) => list_vm_terminals(id).await,
                None => Err(ApiError::not_found("VM")),
            }
        },
    );
    let gateway = Resource::new(|| (), |()| get_ssh_gateway());
    resource_view(
        loading,
        || view! { <Title text="Terminal"/><p role="status">"Loading…"</p> }.into_any(),
        move |vm| async move { view! { <Body vm gateway/> }.into_any() },
        |error| view! { <Title text="Terminal"/><PageError error/> }.into_any(),
    )
}

/// A terminal in the list of tabs.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tab {
    id: u64,
    /// Counts from 1 on this page.
    number: usize,
}

#[component]
fn Body(vm: VmTerminals, gateway: Loading<Option<SshGateway>>) -> impl IntoView {
    let id = vm.vm_id;
    let is_running = vm.status == VmStatus::Running;
    let tabs: Vec<_> =
        vm.open.iter().enumerate().map(|(n, open)| Tab { id: open.id, number: n + 1 }).collect();
    let is_first = tabs.is_empty() && is_running;
    let selected = RwSignal::new(tabs.last().map(|tab| tab.id));
    let tabs = RwSignal::new(tabs);
    let ended = RwSignal::new(Vec::<u64>::new());
    let open = ServerAction::<OpenTerminal>::new();
    let end = ServerAction::<EndTerminal>::new();
    let opened = move |ticket: &TerminalTicket| {
        let number = tabs.with_untracked(|tabs| tabs.last().map_or(1, |tab| tab.number + 1));
        tabs.update(|tabs| tabs.push(Tab { id: ticket.terminal_id, number }));
        selected.set(Some(ticket.terminal_id));
    };
    Effect::new(move || {
        open.value().with(|answer| {
            if let Some(Ok(ticket)) = answer {
                opened(ticket);
            }
        });
    });
    Effect::new(move |_| {
        browser::load_script("terminal");
        if is_first {
            // Once the form is in the document.
            browser::after_next_frame(|| browser::submit_form_to(OpenTerminal::url()));
        }
    });
    let close = move || {
        let Some(closed) = selected.get_untracked() else { return };
        tabs.update(|tabs| tabs.retain(|tab| tab.id != closed));
        selected.set(tabs.with_untracked(|tabs| tabs.last().map(|tab| tab.id)));
    };
    Effect::new(move |seen: Option<usize>| {
        let answered = end.version().get();
        if seen.is_some_and(|seen| seen != answered) {
            close();
        }
        answered
    });
    let on_ended = move |_: ev::Event| {
        if let Some(id) = selected.get_untracked() {
            ended.update(|ended| ended.push(id));
        }
    };
    let has_ended =
        Memo::new(move |_| selected.get().is_some_and(|id| ended.with(|ended| ended.contains(&id))));
    let error = Signal::derive(move || {
        open.value().get().and_then(Result::err).or_else(|| end.value().get().and_then(Result::err))
    });
    let tab = move |tab: Tab| {
        view! {
            <button
                type="button" class="chip" on:click=move |_| selected.set(Some(tab.id))
                aria-pressed=move || (selected.get() == Some(tab.id)).to_string()
            >
                {format!("Terminal {}", tab.number)}
                {move || ended.with(|ended| ended.contains(&tab.id)).then_some(" (ended)")}
            </button>
        }
    };
    let keys = KEYS.map(|(key, label)| {
        view! { <button type="button" class="btn" data-terminal-key=key aria-pressed=(key == "Ctrl").then_some("false")>{label}</button> }
    });
    view! {
        <Title text=format!("Terminal · {}", vm.vm_name)/>
        <header class="top">
            <StatusMark status=Signal::stored(vm.status)/>
            <h1>"Terminal of " <a href=format!("/vms/{id}")>{vm.vm_name.clone()}</a></h1>
            <span class="push"></span>
            <a class="btn quiet" href="/terminals">"Open terminals"</a>
        </header>
        <noscript><p class="banner bad">"The terminal needs JavaScript. Without it, use your own ssh client, see below."</p></noscript>
        <ErrorBanner error/>
        {(!is_running).then(|| view! {
            <p class="hint">{vm.vm_name.clone()} " does not run. " <a href=format!("/vms/{id}")>"Start it"</a> " to open a terminal."</p>
        })}
        <section class="panel terminal" aria-label="Terminal" data-testid="terminal">
            <div class="terminal-bar">
                <For each=move || tabs.get() key=|tab| tab.id children=tab/>
                <ActionForm action=open>
                    <input type="hidden" name="vm_id" value=id/>
                    <input type="hidden" name="columns" value="80"/>
                    <input type="hidden" name="rows" value="24"/>
                    <button type="submit" class="btn" disabled=move || open.pending().get() || !is_running>
                        {move || if open.pending().get() { "Opening…" } else { "New terminal" }}
                    </button>
                </ActionForm>
                <span class="push"></span>
                <input type="search" class="terminal-find" data-terminal-find="" placeholder="Find" aria-label="Find in the terminal: Enter for the previous match, Shift+Enter for the next"/>
                <button type="button" class="btn quiet" data-terminal-do="smaller" title="Smaller text">"A−"</button>
                <button type="button" class="btn quiet" data-terminal-do="larger" title="Larger text">"A+"</button>
                <button type="button" class="btn quiet" data-terminal-do="full-screen">"Full screen"</button>
                {move || if has_ended.get() {
                    view! { <button type="button" class="btn quiet" on:click=move |_| close()>"Close"</button> }.into_any()
                } else {
                    view! {
                        <ActionForm action=end>
                            <input type="hidden" name="terminal_id" value=move || selected.get()/>
                            <button type="submit" class="btn quiet" disabled=move || selected.get().is_none()>"End"</button>
                        </ActionForm>
                    }.into_any()
                }}
            </div>
            <twarga-terminal
                class="terminal-view"
                terminal-id=move || selected.get().map(|id| id.to_string())
                on:terminal-ended=on_ended
            ></twarga-terminal>
            <div class="terminal-keys" role="group" aria-label="Keys">{keys.collect_view()}</div>
        </section>
        <p class="hint">"The shell stays open for 10 minutes when you leave. F6 moves the focus out of the terminal."</p>
        <Connect gateway ssh_user=vm.ssh_user/>
    }
}
