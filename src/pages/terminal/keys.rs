//! The user's public keys, for the ssh gateway.

use crate::{
    api::{AddSshKey, DeleteSshKey, list_ssh_keys},
    components::{
        action::{ActionForm, ServerAction},
        banner::{ErrorBanner, Loading},
        form::entered,
        local_time::{LocalTime, TimeFormat},
        resource::section_view,
        toast,
    },
    model::SshKey,
};
use leptos::prelude::*;
use leptos_meta::Title;

#[component]
pub fn SshKeys() -> impl IntoView {
    let add = ServerAction::<AddSshKey>::new();
    let delete = ServerAction::<DeleteSshKey>::new();
    toast::when_done(add, "Key added.");
    toast::when_done(delete, "Key deleted. Its connections end now.");
    let changes = move || (add.version().get(), delete.version().get());
    let loading = Resource::new(changes, |_| list_ssh_keys());
    let error = Signal::derive(move || {
        add.value().get().and_then(Result::err).or_else(|| delete.value().get().and_then(Result::err))
    });
    let initial = |field: &str| RwSignal::new(entered(field).unwrap_or_default());
    let (key, name) = (initial("public_key"), initial("name"));
    Effect::new(move || {
        if add.value().with(|answer| matches!(answer, Some(Ok(())))) {
            key.set(String::new());
            name.set(String::new());
        }
    });
    view! {
        <Title text="SSH keys"/>
        <header class="top">
            <h1>"SSH keys"</h1>
            <span class="push"></span>
            <a class="btn quiet" href="/account">"Account"</a>
        </header>
        <section class="panel block" data-testid="add-key">
            <h2>"New key"</h2>
            <ErrorBanner error/>
            <ActionForm action=add>
                <div class="field">
                    <label for="field-public_key">"Public key"</label>
                    <span class="control">
                        <textarea
                            id="field-public_key" name="public_key" rows="4" required=true autocapitalize="none" spellcheck="false"
                            aria-describedby="field-public_key-note" prop:value=move || key.get()
                            on:input=move |event| key.set(event_target_value(&event))
                        >{key.get_untracked()}</textarea>
                    </span>
                    <p class="note" id="field-public_key-note" data-field="public_key">"The content of a file such as ~/.ssh/id_ed25519.pub. Without one, run ssh-keygen -t ed25519 first."</p>
                </div>
                <div class="field">
                    <label for="field-name">"Name"</label>
                    <span class="control">
                        <input
                            id="field-name" name="name" type="text" maxlength="100" autocomplete="off" value=name.get_untracked()
                            aria-describedby="field-name-note" prop:value=move || name.get()
                            on:input=move |event| name.set(event_target_value(&event))
                        />
                    </span>
                    <p class="note" id="field-name-note" data-field="name">"Empty for the comment of the key."</p>
                </div>
                <button type="submit" class="btn primary" disabled=add.pending()>"Add key"</button>
            </ActionForm>
        </section>
        <section class="panel block" data-testid="keys">
            <h2>"Your keys"</h2>
            {section_view(loading, || view! { <Loading/> }.into_any(), move |keys| async move {
                view! { <List keys delete/> }.into_any()
            })}
        </section>
    }
}

#[component]
fn List(keys: Vec<SshKey>, delete: ServerAction<DeleteSshKey>) -> impl IntoView {
    if keys.is_empty() {
        return view! { <p class="hint">"No keys yet. With a key you connect to your VMs with your own ssh client."</p> }
            .into_any();
    }
    let entry = |key: SshKey| {
        let label = format!("Delete the key {}", key.name);
        let used = key.last_used_at.map_or_else(
            || view! { "never used" }.into_any(),
            |at| {
                view! { "last used " <LocalTime at=Signal::stored(at) form=TimeFormat::DayAndTime/> }
                    .into_any()
            },
        );
        view! {
            <li>
                <div class="what">
                    <b>{key.name}</b>
                    <small class="muted">
                        {key.algorithm} " · added " <LocalTime at=Signal::stored(key.created_at) form=TimeFormat::DayAndTime/>
                        " · " {used}
                    </small>
                    <code class="fingerprint">{key.fingerprint}</code>
                </div>
                <ActionForm action=delete>
                    <input type="hidden" name="key_id" value=key.id/>
                    <button type="submit" class="btn" aria-label=label>"Delete"</button>
                </ActionForm>
            </li>
        }
    };
    view! { <ul class="entries">{keys.into_iter().map(entry).collect_view()}</ul> }.into_any()
}
