use crate::{
    api::{AdoptMachine, adoptable_machines},
    components::{
        action::{ActionForm, ServerAction},
        banner::{ErrorBanner, Loading},
        form::entered,
        resource::page_view,
        vm::StatusMark,
    },
    model::{Adoptable, Adopted},
};
use leptos::prelude::*;
use leptos_meta::Title;

/// Imports existing Vagrant machines of the server's host.
#[component]
pub fn Adopt() -> impl IntoView {
    let machines = Resource::new(|| (), |()| adoptable_machines());
    view! {
        <Title text="Import a VM"/>
        <header class="top"><h1>"Import a VM"</h1></header>
        {page_view(machines, || view! { <Loading/> }.into_any(), |machines| async move {
            if machines.is_empty() { view! { <Nothing/> }.into_any() } else { view! { <List machines/> }.into_any() }
        })}
    }
}

#[component]
fn Nothing() -> impl IntoView {
    view! {
        <section class="panel empty" data-testid="nothing-to-adopt">
            <h2>"No VMs to import"</h2>
            <p>
                "Lists the Vagrant machines of this host that belong to the server's user and are not managed yet. "
                "Run \"vagrant up\" as that user in a project folder, then refresh."
            </p>
            <p><a class="btn" href="/vms/adopt">"Refresh"</a></p>
        </section>
    }
}

#[component]
fn List(machines: Vec<Adoptable>) -> impl IntoView {
    let adopt = ServerAction::<AdoptMachine>::new();
    let error = Signal::derive(move || adopt.value().get().and_then(Result::err));
    // Without JavaScript, a rejected form's values come back in the address, with the machine's id.
    let brought_back = entered("id").zip(entered("name"));
    view! {
        <section class="panel adopt">
            <p class="muted">
                "Vagrant machines of the server's user. After the import you can monitor, start and stop a machine here; "
                "its project folder and Vagrantfile do not change."
            </p>
            <ErrorBanner error/>
            <ul>
                {machines
                    .into_iter()
                    .map(|machine| {
                        let name = brought_back.clone().filter(|(id, _)| *id == machine.id).map(|(_, name)| name);
                        view! { <Entry machine adopt name/> }
                    })
                    .collect_view()}
            </ul>
        </section>
    }
}

#[component]
fn Entry(machine: Adoptable, adopt: ServerAction<AdoptMachine>, name: Option<String>) -> impl IntoView {
    let Adoptable { id, machine, status, suggested_name } = machine;
    let field = format!("name-{id}");
    let Adopted { directory, machine, provider } = machine;
    let asked = {
        let id = id.clone();
        move || adopt.is_sent_with("id", &id)
    };
    let busy = Memo::new(move |_| adopt.pending().get());
    view! {
        <li>
            <div class="what">
                <p class="mono path">{directory}</p>
                <p class="muted">
                    <StatusMark status/>
                    {machine} " · " {provider} " · " {status.label()}
                </p>
            </div>
            <ActionForm action=adopt>
                <input type="hidden" name="id" value=id/>
                <div class="field">
                    <label for=field.clone()>"VM name"</label>
                    <span class="control">
                        <input
                            id=field name="name" value=name.unwrap_or(suggested_name) required
                            autocomplete="off" autocapitalize="none" spellcheck="false"
                        />
                    </span>
                </div>
                <button type="submit" class="btn primary" disabled=busy>
                    {move || if busy.get() && asked() { "Importing…" } else { "Import" }}
                </button>
            </ActionForm>
        </li>
    }
}
