//! What a row offers to do with its VM: start and stop as icons, and a menu with every action that destroys nothing.
//!
//! The menu is a popover: it works without JavaScript, closes with Escape, and the table's scrolling does not clip it.

use crate::{
    components::{
        action::ActionForm,
        browser,
        vm::{Power, PowerButtons},
    },
    model::{OperationKind, VmView},
};
use leptos::prelude::*;

#[component]
pub fn VmActions(vm: Memo<Option<VmView>>, name: Memo<String>, power: Power) -> impl IntoView {
    let id = vm.with_untracked(|vm| vm.as_ref().map_or(0, |vm| vm.id));
    let menu_id = StoredValue::new(format!("actions-{id}"));
    let label = move || format!("Actions for {}", name.get());
    let allowed =
        Memo::new(move |_| vm.with(|vm| vm.as_ref().map(|vm| vm.allowed.clone()).unwrap_or_default()));
    let button = move |label: &'static str| {
        view! {
            <input type="hidden" name="vm_id" value=id/>
            <button type="submit" class="btn quiet" disabled=move || power.under_way(id)>{label}</button>
        }
    };
    let items = move || {
        let offers = |kind| allowed.with(|allowed| allowed.contains(&kind));
        let resume = offers(OperationKind::Resume);
        view! {
            {resume.then(|| view! { <ActionForm action=power.resume>{button("Resume")}</ActionForm> })}
            {(offers(OperationKind::Start) && !resume).then(|| view! { <ActionForm action=power.start>{button("Start")}</ActionForm> })}
            {offers(OperationKind::Stop).then(|| view! { <ActionForm action=power.stop>{button("Stop")}</ActionForm> })}
            {offers(OperationKind::Restart).then(|| view! { <ActionForm action=power.restart>{button("Restart")}</ActionForm> })}
            {offers(OperationKind::Suspend).then(|| view! { <ActionForm action=power.suspend>{button("Suspend")}</ActionForm> })}
        }
    };
    let terminal = move || {
        let operates = allowed.with(|allowed| allowed.contains(&OperationKind::Stop));
        operates.then(|| view! { <a class="btn quiet" href=format!("/vms/{id}/terminal")>"Terminal"</a> })
    };
    view! {
        <div>
            <PowerButtons vm power/>
            <button type="button" class="btn quiet menu-button" popovertarget=menu_id.get_value() aria-label=label>"Actions"</button>
            <div
                id=menu_id.get_value() popover="auto" class="menu" role="group" aria-label=label
                on:submit=move |_| browser::hide_popover(&menu_id.get_value())
            >
                <a class="btn quiet" href=format!("/vms/{id}")>"Open"</a>
                {terminal}
                {items}
            </div>
        </div>
    }
}
