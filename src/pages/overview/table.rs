//! The VMs, a row each: found, sorted, grouped, and started or stopped together.

use super::list::{Arrangement, Chip, Group, Item, Sort};
use crate::{
    api::ActOnVms,
    components::{
        action::{ActionForm, ServerAction},
        browser,
        chart::Hue,
        clock::alive,
        feed::{Feed, open_operation},
        figures::{Bar, Sparkline},
        form::QueryForm,
        format,
        icon::{Glyph, Icon},
        notice::Refusal,
        trail::Frame,
        vm::{Power, PowerButtons, Progress, StatusMark, describe},
    },
    model::{VmFigures, VmOutcome, VmStatus, VmView},
};
use leptos::{html, prelude::*};
use leptos_router::hooks::use_query_map;

/// From here on a share is told in the colour of trouble, too.
const HIGH_PERCENT: f64 = 90.0;
const BULK_ID: &str = "several";

#[component]
pub fn Table(feed: Feed, power: Power, with_owner: bool) -> impl IntoView {
    let query = use_query_map();
    let search = RwSignal::new(query.with_untracked(|query| query.get("q")).unwrap_or_default());
    let arrangement = Memo::new(move |_| query.with(Arrangement::of_query));
    let items = Memo::new(move |_| {
        let wanted = search.get().trim().to_lowercase();
        feed.live.with(|live| arrangement.get().items(&live.vms, &wanted))
    });
    let chosen = RwSignal::new(Vec::new());
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
        Item::Vm(id) => view! { <Row feed id power with_owner chosen/> }.into_any(),
        Item::Heading(name, count) => {
            view! { <tr class="group"><th colspan="8" scope="rowgroup">{name} " " <span class="muted">{count}</span></th></tr> }
                .into_any()
        }
    }
    };
    view! {
        <section class="panel" aria-label="VMs">
            <Toolbar feed search arrangement/>
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
                        "No VM is like that. " <a class="underlined" href="/">"Show all"</a>
                    </p>
                })
            }}
        </section>
    }
}

#[component]
fn Toolbar(feed: Feed, search: RwSignal<String>, arrangement: Memo<Arrangement>) -> impl IntoView {
    let alive = alive();
    let chip = move |(chip, _, label): (Chip, &'static str, &'static str)| {
        let count = feed.of_facts(move |vms| vms.iter().filter(|vm| chip.holds(vm)).count());
        let address = move || Arrangement { chip, ..arrangement.get() }.address(&search.get());
        let is_chosen = move || (arrangement.get().chip == chip).then_some("true");
        view! { <a class="chip" href=address data-noscroll="" aria-current=is_chosen>{label} " " <b>{count}</b></a> }
    };
    let group = move |(group, key, label): (Group, &'static str, &'static str)| {
        let is_chosen = move || arrangement.get().group == group;
        view! { <option value=key selected=is_chosen prop:selected=is_chosen>{label}</option> }
    };
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
                    value=search.get_untracked()
                    on:input=move |event| search.set(event_target_value(&event))
                />
            </span>
            <nav class="chips" aria-label="By status">{Chip::ALL.map(chip).into_iter().collect_view()}</nav>
            <span class="control small"><select name="group" aria-label="Group" on:change=move |event| browser::submit_form_of(&event)>
                {Group::ALL.map(group).into_iter().collect_view()}
            </select></span>
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

/// What a row shows beside the name.
#[derive(Clone, Copy, PartialEq)]
enum Shows {
    Progress,
    Figures,
}

#[component]
fn Row(feed: Feed, id: i64, power: Power, with_owner: bool, chosen: RwSignal<Vec<i64>>) -> impl IntoView {
    let vm = feed.facts(id);
    // Until the browser says which rows are in sight, none is drawn anew.
    let seen = RwSignal::new(false);
    let row = NodeRef::<html::Tr>::new();
    Effect::new(move || {
        if let Some(row) = row.get() {
            browser::watch_for_being_seen(&row, move |is_seen| seen.set(is_seen));
        }
    });
    let text = move |read: fn(&VmView) -> String| {
        Memo::new(move |_| vm.with(|vm| vm.as_ref().map(read).unwrap_or_default()))
    };
    let name = text(|vm| vm.name.clone());
    let spec = text(|vm| describe(&vm.os_type, &vm.spec));
    let problem = Memo::new(move |_| vm.with(|vm| vm.as_ref().and_then(|vm| vm.problem.clone())));
    let status = Memo::new(move |_| vm.with(|vm| vm.as_ref().map_or(VmStatus::Unknown, |vm| vm.status)));
    let shows = Memo::new(move |_| {
        let busy = vm.with(|vm| vm.as_ref().is_some_and(|vm| open_operation(vm).is_some()));
        if busy { Shows::Progress } else { Shows::Figures }
    });
    let columns = if with_owner { "6" } else { "5" };
    let cells = move || match shows.get() {
        Shows::Progress => {
            view! { <td class="across" colspan=columns><Progress vm now=feed.now/></td> }.into_any()
        }
        Shows::Figures => view! { <FigureCells feed id vm with_owner seen=seen.into()/> }.into_any(),
    };
    view! {
        <tr node_ref=row data-vm=name data-status=move || status.get().as_str() class:troubled=move || problem.with(Option::is_some)>
            <td class="who"><div>
                <input
                    type="checkbox" form=BULK_ID name="vm_ids[]" value=id aria-label=move || format!("Choose {}", name.get())
                    prop:checked=move || chosen.with(|chosen| chosen.contains(&id))
                    on:change=move |event| {
                        let is_chosen = event_target_checked(&event);
                        chosen.update(|chosen| {
                            chosen.retain(|other| *other != id);
                            if is_chosen {
                                chosen.push(id);
                            }
                        });
                    }
                />
                <StatusMark status/>
                <span>
                    <a href=format!("/vms/{id}")>{name}</a>
                    <small><span data-testid="status">{move || status.get().label()}</span> " · " {spec}</small>
                </span>
            </div></td>
            {cells}
            <td class="actions"><div><PowerButtons vm power compact=true/></div></td>
        </tr>
        {move || {
            problem.get().map(|text| {
                view! {
                    <tr class="problem" data-problem=name>
                        <td colspan="8"><p data-testid="problem"><Glyph icon=Icon::Warning/><span>{text}</span></p></td>
                    </tr>
                }
            })
        }}
    }
}

#[component]
fn FigureCells(
    feed: Feed,
    id: i64,
    vm: Memo<Option<VmView>>,
    with_owner: bool,
    seen: Signal<bool>,
) -> impl IntoView {
    let figures = feed.figures(id);
    let percent = move |read: fn(&VmFigures) -> Option<f64>| move || format::percent(figures.with(read));
    let is_high = move |read: fn(&VmFigures) -> Option<f64>| {
        Memo::new(move |_| figures.with(read).is_some_and(|percent| percent >= HIGH_PERCENT))
    };
    let disk = Signal::derive(move || figures.with(|f| f.disk_percent));
    let runs = Memo::new(move |_| vm.with(|vm| vm.as_ref().is_some_and(|vm| vm.status == VmStatus::Running)));
    let up = Memo::new(move |_| {
        let seconds = figures.with(|f| f.uptime_seconds).filter(|_| runs.get());
        seconds.map_or_else(|| format::UNKNOWN.to_owned(), format::duration)
    });
    let frame = Signal::derive(move || {
        let (from, to) = feed.window();
        Frame { from, to, top: 100.0, width: 72.0, height: 22.0 }
    });
    let address = move || vm.with(|vm| vm.as_ref().and_then(|vm| vm.ip_address.clone()));
    let owner = move || vm.with(|vm| vm.as_ref().map(|vm| vm.owner_name.clone()));
    view! {
        <td data-label="CPU">
            <div class="figure">
                <b class:high=is_high(|f| f.cpu_percent) data-testid="cpu">{percent(|f| f.cpu_percent)}</b>
                <Sparkline points=feed.points(id, |s| &s.cpu_percent) frame hue=Hue::Cpu seen/>
            </div>
        </td>
        <td data-label="Memory">
            <div class="figure">
                <b class:high=is_high(|f| f.memory_percent) data-testid="memory">{percent(|f| f.memory_percent)}</b>
                <Sparkline points=feed.points(id, |s| &s.memory_percent) frame hue=Hue::Memory seen/>
            </div>
        </td>
        <td data-label="Disk">
            <div class="figure">
                <b class:high=is_high(|f| f.disk_percent) data-testid="disk">{percent(|f| f.disk_percent)}</b>
                <Bar percent=disk hue=Hue::Disk/>
            </div>
        </td>
        <td data-label="Network" class="rates">
            <span>"↓ " {move || format::rate(figures.with(|f| f.network_rx_mb_per_s))}</span>
            " "
            <span class="muted">"↑ " {move || format::rate(figures.with(|f| f.network_tx_mb_per_s))}</span>
        </td>
        <td data-label="Up, address">
            <span class="up">{up}</span>
            <span class="address">{address}</span>
        </td>
        {with_owner.then(|| view! { <td data-label="Owner">{owner}</td> })}
    }
}
