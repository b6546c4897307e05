use crate::{
    api::SetPasswordByLink,
    components::{
        action::{ActionForm, ServerAction},
        auth::Session,
        banner::{ErrorBanner, PageError, SimulatedBanner},
        form::{Checks, CodeField, TextField},
        hydration::is_hydrated,
        icon::Brand,
    },
    model::check_password,
};
use leptos::prelude::*;
use leptos_meta::Title;

/// The page of the link that an admin made for a user who has lost their password, signed in or not.
#[component]
pub fn NewPassword() -> impl IntoView {
    let session = Resource::new(|| (), |()| Session::load());
    view! {
        <Title text="New password"/>
        <Suspense>
            {move || Suspend::new(async move {
                match session.await {
                    Ok(Session { instance, .. }) => view! { <SimulatedBanner instance/><Form/> }.into_any(),
                    Err(error) => view! { <main class="alone"><PageError error/></main> }.into_any(),
                }
            })}
        </Suspense>
    }
}

#[component]
fn Form() -> impl IntoView {
    let set = ServerAction::<SetPasswordByLink>::new();
    let error = Signal::derive(move || set.value().get().and_then(Result::err));
    let password = RwSignal::new(String::new());
    let checks = Checks::new(move || check_password("new_password", &password.get()).err(), error);
    let is_hydrated = is_hydrated();
    view! {
        <main class="alone">
            <Brand/>
            <section class="panel card">
                <h1>"Set a new password"</h1>
                <p class="lead">"This signs all your devices out. Sign in with the new password afterwards."</p>
                <ErrorBanner error/>
                <ActionForm
                    action=set
                    guard=Callback::new(move |event: leptos::ev::SubmitEvent| checks.guard(&event))
                    novalidate=is_hydrated
                >
                    <TextField
                        name="new_password"
                        label="New password"
                        kind="password"
                        value=password
                        checks
                        autocomplete="new-password"
                        autofocus=true
                        hint="At least 10 characters. Several unrelated words work well."
                    />
                    <CodeField name="link" label="Link code" checks hint="The part of the link behind #."/>
                    <button type="submit" class="btn primary wide" disabled=set.pending()>"Set password"</button>
                </ActionForm>
            </section>
            <p class="aside">"Know your password? "<a href="/sign-in">"Sign in"</a>"."</p>
        </main>
    }
}
