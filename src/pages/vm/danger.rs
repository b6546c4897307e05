//! What cannot be undone: destroying the VM. And an imported VM can be left alone again.

use crate::{
    api::{DestroyVm, UnmanageVm},
    components::{
        action::{ActionForm, ServerAction},
        confirm::{Confirm, ConfirmButton, Confirmation, Question},
        icon::{Glyph, Icon},
    },
    model::{Adopted, OperationKind, VmView},
};
use leptos::prelude::*;

#[component]
pub fn Danger(
    id: i64,
    vm: Memo<Option<VmView>>,
    is_imported: bool,
    question: Question,
    unmanage: ServerAction<UnmanageVm>,
) -> impl IntoView {
    let may_destroy = Memo::new(move |_| {
        vm.with(|vm| {
            vm.as_ref().is_some_and(|vm| vm.allowed.contains(&OperationKind::Destroy) || vm.adopted.is_some())
        })
    });
    let what = if is_imported {
        "Destroy the machine and everything on its disk. The project's own files stay. This cannot be undone."
    } else {
        "Destroy the VM and everything on its disk. This cannot be undone."
    };
    view! {
        <section class="panel block" data-testid="danger">
            <h2>"Danger zone"</h2>
            {is_imported.then(|| view! {
                <ActionForm action=unmanage class="line-form">
                    <input type="hidden" name="vm_id" value=id/>
                    <p>"Remove this VM from the list and leave its machine as it is. You can import it again."</p>
                    <button type="submit" class="btn" data-testid="release" disabled=unmanage.pending()>"Stop managing"</button>
                </ActionForm>
            })}
            <div class="line-form">
                <p>{what}</p>
                {move || may_destroy.get().then(|| view! {
                    <ConfirmButton question test_id="destroy"><Glyph icon=Icon::Bin/>"Destroy…"</ConfirmButton>
                })}
            </div>
        </section>
    }
}

#[component]
pub fn DestroyDialog(
    id: i64,
    name: String,
    adopted: Option<Adopted>,
    question: Question,
    destroy: ServerAction<DestroyVm>,
) -> impl IntoView {
    let what = match adopted {
        None => view! { <p>"The VM and everything on its disk are deleted. This cannot be undone."</p> }.into_any(),
        Some(Adopted { directory, machine, .. }) => view! {
            <p>
                "Vagrant deletes the machine " <b>{machine}</b> " of " <span class="mono path">{directory}</span>
                " and everything on its disk. The project's own files stay. This cannot be undone."
            </p>
        }
        .into_any(),
    };
    view! {
        <Confirm question title=format!("Destroy {name}?")>
            {what}
            <ActionForm action=destroy>
                <input type="hidden" name="vm_id" value=id/>
                <Confirmation question field="confirm_name" label="Destroy" disabled=destroy.pending()>
                    <label class="choice">
                        <input type="checkbox" name="forget_samples" value="true"/>
                        "Delete its metrics too. Otherwise they are kept until they expire."
                    </label>
                </Confirmation>
            </ActionForm>
        </Confirm>
    }
}
