//! Search, filter, grouping and sorting of the list.

use super::arrangement::{Arrangement, Grouping, Sort, StatusFilter};
use crate::{
    components::{
        browser,
        feed::Feed,
        form::QueryForm,
        hydration::is_hydrated,
        icon::{Glyph, Icon},
    },
    model::VmStatus,
};
use leptos::prelude::*;

fn choice(key: &'static str, label: &'static str, is_selected: Signal<bool>) -> AnyView {
    view! { <option value=key selected=is_selected prop:selected=is_selected>{label}</option> }.into_any()
}

#[component]
pub fn Toolbar(
    feed: Feed,
    search: RwSignal<String>,
    arrangement: Memo<Arrangement>,
    with_owner: bool,
) -> impl IntoView {
    let is_hydrated = is_hydrated();
    let status = move |(status, _, label): (StatusFilter, &'static str, &'static str)| {
        let count = feed.of_facts(move |vms| vms.iter().filter(|vm| status.matches(vm)).count());
        let address = move || Arrangement { status, ..arrangement.get() }.address(&search.get());
        let is_selected = move || (arrangement.get().status == status).then_some("true");
        view! { <a class="chip" href=address data-noscroll="" aria-current=is_selected>{label} " " <b>{count}</b></a> }
    };
    let group = move |(group, key, label): (Grouping, &'static str, &'static str)| {
        choice(key, label, Signal::derive(move || arrangement.get().group == group))
    };
    let sort = move |(sort, key, label): (Sort, &'static str, &'static str)| {
        choice(key, label, Signal::derive(move || arrangement.get().sort == sort))
    };
    let reversed = move || {
        let arrangement = arrangement.get();
        arrangement.sorted_by(arrangement.sort).address(&search.get())
    };
    let arrow = move || if arrangement.get().descending { "↓" } else { "↑" };
    let parameter = move |i: usize| move || arrangement.get().parts()[i].1;
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
            <nav class="chips" aria-label="Filter by status">{StatusFilter::ALL.map(status).into_iter().collect_view()}</nav>
            <span class="control small"><select name="group" aria-label="Group" on:change=move |event| browser::submit_form_of(&event)>
                {Grouping::ALL.map(group).into_iter().collect_view()}
            </select></span>
            // For lists too narrow for column headings.
            <span class="sorted">
                <span class="control small"><select name="sort" aria-label="Sort" on:change=move |event| browser::submit_form_of(&event)>
                    {Sort::ALL.into_iter().filter(|(sort, ..)| with_owner || *sort != Sort::Owner).map(sort).collect_view()}
                </select></span>
                <a class="btn quiet" href=reversed data-noscroll="" aria-label="Reverse order">{arrow}</a>
            </span>
            <input type="hidden" name="status" value=parameter(0)/>
            <input type="hidden" name="order" value=parameter(3)/>
            <button type="submit" class="btn" hidden=is_hydrated>"Apply"</button>
            <span class="muted" data-testid="counts">{counts}</span>
        </QueryForm>
    }
}
