//! The Settings tab: resources, schedule, sharing, Vagrantfile, danger zone.

use super::{
    danger::Danger,
    data::TabData,
    may,
    resources::Resources,
    schedule::Schedule,
    sharing::{SharedWithMe, Sharing},
    vagrantfile::Vagrantfile,
};
use crate::{
    api::UnmanageVm,
    components::{action::ServerAction, confirm::Question, feed::Feed},
    model::{AccessLevel, VmView},
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
    let (owns, operates) = (may(vm, AccessLevel::Own), may(vm, AccessLevel::Operate));
    move || {
        if !owns.get() {
            return view! {
                <div class="charts">
                    {operates.get().then(|| view! { <Schedule feed id vm/> })}
                    <SharedWithMe feed id vm/>
                </div>
            }
            .into_any();
        }
        view! {
            {is_imported.then(|| view! { <p class="hint">{super::IMPORTED}</p> })}
            <div class="charts">
                {(!is_imported).then(|| view! { <Resources feed id vm/> })}
                <Schedule feed id vm/>
            </div>
            <Sharing id data/>
            {(!is_imported).then(|| view! { <Vagrantfile data/> })}
            <Danger id vm is_imported question=destroy_question unmanage/>
        }
        .into_any()
    }
}
