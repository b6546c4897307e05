//! The Settings tab: resources, schedule, Vagrantfile, danger zone.

use super::{
    danger::Danger, data::TabData, resources::Resources, schedule::Schedule, vagrantfile::Vagrantfile,
};
use crate::{
    api::UnmanageVm,
    components::{action::ServerAction, confirm::Question, feed::Feed},
    model::VmView,
};
use leptos::prelude::*;

#[component]
pub fn Settings(
    feed: Feed,
    id: i64,
    vm: Memo<Option<VmView>>,
    data: TabData,
    is_imported: bool,
    destroy_question: Question,
    unmanage: ServerAction<UnmanageVm>,
) -> impl IntoView {
    view! {
        {is_imported.then(|| view! { <p class="hint">{super::IMPORTED}</p> })}
        <div class="charts">
            {(!is_imported).then(|| view! { <Resources feed id vm/> })}
            <Schedule feed id vm/>
        </div>
        {(!is_imported).then(|| view! { <Vagrantfile data/> })}
        <Danger id vm is_imported question=destroy_question unmanage/>
    }
}
