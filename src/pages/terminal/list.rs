//! The open terminals: the user's own, or everyone's for an admin.

use crate::{
    api::{EndAllTerminals, EndTerminal, list_terminals},
    components::{
        action::{ActionForm, ServerAction},
        auth::Viewer,
        banner::{ErrorBanner, Loading},
        local_time::{LocalTime, TimeFormat},
        resource::section_view,
        toast,
    },
    model::TerminalView,
};
use leptos::prelude::*;
use leptos_meta::Title;

#[component]
pub fn Terminals() -> impl IntoView {
    let end = ServerAction::<EndTerminal>::new();
    let end_all = ServerAction::<EndAllTerminals>::new();
    toast::when_done(end, "Terminal ended.");
    toast::when_done(end_all, "All terminals ended.");
    let changes = move || (end.version().get(), end_all.version().get());
    let loading = Resource::new(changes, |_| list_terminals());
    let viewer = expect_context::<Viewer>();
    let error = Signal::derive(move || {
        end.value().get().and_then(Result::err).or_else(|| end_all.value().get().and_then(Result::err))
    });
    view! {
        <Title text="Open terminals"/>
        <header class="top"><h1>"Open terminals"</h1></header>
        <ErrorBanner error/>
        <section class="panel block">
            {section_view(loading, || view! { <Loading/> }.into_any(), move |open| async move {
                let is_admin = viewer.is_admin().await;
                view! { <List open is_admin end end_all/> }.into_any()
            })}
        </section>
    }
}

#[component]
fn List(
    open: Vec<TerminalView>,
    is_admin: bool,
    end: ServerAction<EndTerminal>,
    end_all: ServerAction<EndAllTerminals>,
) -> impl IntoView {
    if open.is_empty() {
        return view! { <p class="hint">"No terminal is open. Open one on the page of a running VM."</p> }
            .into_any();
    }
    let entry = |open: TerminalView| {
        let label = format!("End the terminal of {} on {}", open.user, open.vm_name);
        let state = if open.is_attached { "in use" } else { "nobody connected" };
        view! {
            <li>
                <div class="what">
                    <a href=format!("/vms/{}/terminal", open.vm_id)>{open.vm_name}</a>
                    <small class="muted">
                        {open.user} " · since " <LocalTime at=Signal::stored(open.opened_at) form=TimeFormat::DayAndTime/>
                        {format!(" · {state} · {} B typed, {} B printed", open.input_bytes, open.output_bytes)}
                    </small>
                </div>
                <ActionForm action=end>
                    <input type="hidden" name="terminal_id" value=open.id/>
                    <button type="submit" class="btn" aria-label=label>"End"</button>
                </ActionForm>
            </li>
        }
    };
    view! {
        <ul class="entries">{open.into_iter().map(entry).collect_view()}</ul>
        {is_admin.then(|| view! {
            <ActionForm action=end_all><button type="submit" class="btn">"End all"</button></ActionForm>
        })}
    }
    .into_any()
}
