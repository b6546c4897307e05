//! The VMs, a row each.

use super::{
    arrangement::{Arrangement, Item, Sort},
    bulk_actions::BulkActions,
    toolbar::Toolbar,
    vm_row::VmRow,
};
use crate::{
    components::{browser, feed::Feed, vm::Power},
    model::Live,
};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

#[component]
pub fn VmTable(feed: Feed, power: Power, with_owner: bool, redraw: Memo<i64>) -> impl IntoView {
    let query = use_query_map();
    let search = RwSignal::new(query.with_untracked(|query| query.get("q")).unwrap_or_default());
    let arrangement = Memo::new(move |_| query.with(Arrangement::from_query));
    // A heading answers a press at once; the rows, which are more work, follow in the next frame.
    let applied = RwSignal::new(arrangement.get_untracked());
    // The search follows the address where that changes, for example when going back.
    Effect::new(move |before: Option<(Arrangement, String)>| {
        let (wanted, sought) = (arrangement.get(), query.with(|query| query.get("q").unwrap_or_default()));
        if let Some((arranged, before)) = before {
            if arranged != wanted {
                browser::after_next_frame(move || {
                    applied.try_set(wanted);
                });
            }
            if before != sought {
                search.set(sought.clone());
            }
        }
        (wanted, sought)
    });
    let items = Memo::new(move |_| {
        let (arrangement, wanted) = (applied.get(), search.get().trim().to_ascii_lowercase());
        let list = |live: &Live| arrangement.items(&live.vms, &wanted);
        if arrangement.sort.is_by_metric() {
            feed.live.with(list)
        } else {
            feed.follow_facts();
            feed.live.with_untracked(list)
        }
    });
    let selected = RwSignal::new(Vec::new());
    // What a filter hides is not acted upon.
    Effect::new(move || {
        items.with(|items| {
            let is_shown = |id: &i64| items.contains(&Item::Vm(*id));
            if !selected.with_untracked(|selected: &Vec<i64>| selected.iter().all(is_shown)) {
                selected.update(|selected| selected.retain(is_shown));
            }
        });
    });
    let heading = move |sort: Sort, label: &'static str| {
        let order = move || {
            let now = arrangement.get();
            (now.sort == sort).then_some(if now.descending { "descending" } else { "ascending" })
        };
        let arrow = move || order().map(|order| if order == "descending" { " ↓" } else { " ↑" });
        view! {
            <th scope="col" aria-sort=order>
                <a href=move || arrangement.get().sorted_by(sort).address(&search.get()) data-noscroll="">{label} {arrow}</a>
            </th>
        }
    };
    let line = move |item: Item| {
        match item {
        Item::Vm(id) => view! { <VmRow feed id power with_owner selected redraw/> }.into_any(),
        Item::Heading(name, count) => {
            view! { <tr class="group"><th colspan="8" scope="rowgroup">{name} " " <span class="muted">{count}</span></th></tr> }
                .into_any()
        }
    }
    };
    view! {
        <section class="panel" aria-label="VMs">
            <Toolbar feed search arrangement with_owner/>
            <BulkActions feed selected items/>
            <div class="wide"><table class="vms" class:owned=with_owner class:stale=move || feed.is_stale()>
                <thead>
                    <tr>
                        {heading(Sort::Name, "VM")}
                        {heading(Sort::Cpu, "CPU")}
                        {heading(Sort::Memory, "Memory")}
                        {heading(Sort::Disk, "Disk")}
                        {heading(Sort::Network, "Network")}
                        {heading(Sort::Uptime, "Uptime, address")}
                        {with_owner.then(|| heading(Sort::Owner, "Owner"))}
                        <th scope="col"><span class="unseen">"Actions"</span></th>
                    </tr>
                </thead>
                <tbody>
                    <For each=move || items.get() key=Item::clone children=line/>
                </tbody>
            </table></div>
            {move || {
                items.with(Vec::is_empty).then(|| view! {
                    <p class="none" role="status">
                        "No VMs match. " <a class="underlined" href="/" on:click=move |_| search.set(String::new())>"Show all"</a>
                    </p>
                })
            }}
        </section>
    }
}
