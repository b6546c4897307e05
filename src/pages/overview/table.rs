//! The VMs, a row each: found, sorted, grouped, and started or stopped together.

use super::{
    list::{Arrangement, Chip, Group, Item, Sort},
    rows::{BULK_ID, Painter, Row},
};
use crate::{
    api::ActOnVms,
    components::{
        action::{ActionForm, ServerAction},
        browser,
        clock::alive,
        feed::Feed,
        form::QueryForm,
        icon::{Glyph, Icon},
        notice::Refusal,
        vm::Power,
    },
    model::{Live, VmOutcome, VmStatus},
};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

#[component]
pub fn Table(feed: Feed, power: Power, with_owner: bool) -> impl IntoView {
    let query = use_query_map();
    let search = RwSignal::new(query.with_untracked(|query| query.get("q")).unwrap_or_default());
    let arrangement = Memo::new(move |_| query.with(Arrangement::of_query));
    // A press on a heading is answered by the heading at once; the rows, which are more work, follow in the next frame.
    let followed = RwSignal::new(arrangement.get_untracked());
    // What is searched for is what the address says where that changes: on the way back, too.
    Effect::new(move |before: Option<(Arrangement, String)>| {
        let (wanted, sought) = (arrangement.get(), query.with(|query| query.get("q").unwrap_or_default()));
        if let Some((arranged, before)) = before {
            if arranged != wanted {
                browser::after_next_frame(move || {
                    followed.try_set(wanted);
                });
            }
            if before != sought {
                search.set(sought.clone());
            }
        }
        (wanted, sought)
    });
    let items = Memo::new(move |_| {
        let (arrangement, wanted) = (followed.get(), search.get().trim().to_ascii_lowercase());
        let list = |live: &Live| arrangement.items(&live.vms, &wanted);
        if arrangement.sort.is_by_figures() {
            feed.live.with(list)
        } else {
            feed.follow_facts();
            feed.live.with_untracked(list)
        }
    });
    let painter = Painter::start(feed);
    let chosen = RwSignal::new(Vec::new());
    // Nothing is done to what nobody sees.
    Effect::new(move || {
        items.with(|items| {
            let is_shown = |id: &i64| items.contains(&Item::Vm(*id));
            if !chosen.with_untracked(|chosen: &Vec<i64>| chosen.iter().all(is_shown)) {
                chosen.update(|chosen| chosen.retain(is_shown));
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
        Item::Vm(id) => view! { <Row feed id power with_owner chosen painter/> }.into_any(),
        Item::Heading(name, count) => {
            view! { <tr class="group"><th colspan="8" scope="rowgroup">{name} " " <span class="muted">{count}</span></th></tr> }
                .into_any()
        }
    }
    };
    view! {
        <section class="panel" aria-label="VMs">
            <Toolbar feed search arrangement with_owner/>
            <Several feed chosen items/>
            <div class="wide"><table class="vms" class:owned=with_owner class:stale=move || feed.is_stale()>
                <thead>
                    <tr>
                        {heading(Sort::Name, "VM")}
                        {heading(Sort::Cpu, "CPU")}
                        {heading(Sort::Memory, "Memory")}
                        {heading(Sort::Disk, "Disk")}
                        {heading(Sort::Network, "Network")}
                        {heading(Sort::Uptime, "Up, address")}
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
                        "No VM is like that. " <a class="underlined" href="/" on:click=move |_| search.set(String::new())>"Show all"</a>
                    </p>
                })
            }}
        </section>
    }
}

fn choice(key: &'static str, label: &'static str, is_chosen: Signal<bool>) -> AnyView {
    view! { <option value=key selected=is_chosen prop:selected=is_chosen>{label}</option> }.into_any()
}

#[component]
fn Toolbar(
    feed: Feed,
    search: RwSignal<String>,
    arrangement: Memo<Arrangement>,
    with_owner: bool,
) -> impl IntoView {
    let alive = alive();
    let chip = move |(chip, _, label): (Chip, &'static str, &'static str)| {
        let count = feed.of_facts(move |vms| vms.iter().filter(|vm| chip.holds(vm)).count());
        let address = move || Arrangement { chip, ..arrangement.get() }.address(&search.get());
        let is_chosen = move || (arrangement.get().chip == chip).then_some("true");
        view! { <a class="chip" href=address data-noscroll="" aria-current=is_chosen>{label} " " <b>{count}</b></a> }
    };
    let group = move |(group, key, label): (Group, &'static str, &'static str)| {
        choice(key, label, Signal::derive(move || arrangement.get().group == group))
    };
    let sort = move |(sort, key, label): (Sort, &'static str, &'static str)| {
        choice(key, label, Signal::derive(move || arrangement.get().sort == sort))
    };
    let turned = move || {
        let arrangement = arrangement.get();
        arrangement.sorted_by(arrangement.sort).address(&search.get())
    };
    let arrow = move || if arrangement.get().descending { "↓" } else { "↑" };
    let part = move |i: usize| move || arrangement.get().parts()[i].1;
    let counts = feed.of_facts(|vms| {
        let running = vms.iter().filter(|vm| vm.status == VmStatus::Running).count();
        format!("{running} of {} running", vms.len())
    });
    view! {
        <QueryForm search=true class="toolbar">
            <span class="search">
                <Glyph icon=Icon::Search/>
                <input
                    type="search" name="q" aria-label="Filter by name, image, address or owner"
                    placeholder="Filter by name, image, address" autocomplete="off"
                    value=search.get_untracked() prop:value=search
                    on:input=move |event| search.set(event_target_value(&event))
                />
            </span>
            <nav class="chips" aria-label="By status">{Chip::ALL.map(chip).into_iter().collect_view()}</nav>
            <span class="control small"><select name="group" aria-label="Group" on:change=move |event| browser::submit_form_of(&event)>
                {Group::ALL.map(group).into_iter().collect_view()}
            </select></span>
            // Where the list is too narrow for headings.
            <span class="sorted">
                <span class="control small"><select name="sort" aria-label="Sort" on:change=move |event| browser::submit_form_of(&event)>
                    {Sort::ALL.into_iter().filter(|(sort, ..)| with_owner || *sort != Sort::Owner).map(sort).collect_view()}
                </select></span>
                <a class="btn quiet" href=turned data-noscroll="" aria-label="Turn the order round">{arrow}</a>
            </span>
            <input type="hidden" name="status" value=part(0)/>
            <input type="hidden" name="order" value=part(3)/>
            <button type="submit" class="btn" hidden=alive>"Show"</button>
            <span class="muted" data-testid="counts">{counts}</span>
        </QueryForm>
    }
}

/// What can be done with all chosen VMs together.
#[component]
fn Several(feed: Feed, chosen: RwSignal<Vec<i64>>, items: Memo<Vec<Item>>) -> impl IntoView {
    let act = ServerAction::<ActOnVms>::new();
    let alive = alive();
    let refused = Signal::derive(move || act.value().get().and_then(Result::err));
    Effect::new(move |_| {
        if act.value().with(|answer| matches!(answer, Some(Ok(_)))) {
            chosen.set(Vec::new());
            feed.poll_now();
        }
    });
    let count = move || chosen.with(Vec::len);
    let all = move |_| {
        let ids = items.with_untracked(|items| {
            items
                .iter()
                .filter_map(|item| if let Item::Vm(id) = item { Some(*id) } else { None })
                .collect::<Vec<_>>()
        });
        let all_are = chosen.with_untracked(|chosen| ids.iter().all(|id| chosen.contains(id)));
        chosen.set(if all_are { Vec::new() } else { ids });
    };
    let told = move || {
        let unmoved = |vm: &VmOutcome| vm.operation_id.is_none();
        let answer = act.value().get().and_then(Result::ok).unwrap_or_default();
        let lines = answer
            .into_iter()
            .filter(unmoved)
            .map(|vm| view! { <li><b>{vm.name}</b> ": " {vm.outcome}</li> });
        view! { <ul class="hint">{lines.collect_view()}</ul> }
    };
    view! {
        <div class="several" hidden=move || alive.get() && count() == 0 && act.value().with(|answer| !matches!(answer, Some(Err(_)))) data-testid="several">
            <Refusal error=refused/>
            <ActionForm action=act id=BULK_ID class="line-form">
                <span>{move || if alive.get() { format!("{} chosen", count()) } else { "Those that are ticked:".into() }}</span>
                {move || alive.get().then(|| view! { <button type="button" class="btn quiet" on:click=all>"All shown"</button> })}
                <button type="submit" class="btn" name="action" value="start" disabled=act.pending()><Glyph icon=Icon::Play/>"Start"</button>
                <button type="submit" class="btn" name="action" value="stop" disabled=act.pending()><Glyph icon=Icon::Stop/>"Stop"</button>
            </ActionForm>
        </div>
        <div class="outcomes" role="status">{told}</div>
    }
}
