use crate::{
    api::SetPasswordByLink,
    components::{
        action::{ActionForm, FormAction, ServerAction},
        auth::Session,
        banner::{ErrorBanner, PageError, SimulatedBanner},
        form::{Checks, CodeField, TextField},
        hydration::is_hydrated,
        icon::Brand,
    },
    model::{ApiError, check_password},
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
    let field = view! {
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
    };
    let page = LinkPage {
        heading: "Set a new password",
        lead: "This signs all your devices out. Sign in with the new password afterwards.",
        button: "Set password",
        action: set.into(),
        pending: set.pending(),
        error,
        checks,
    };
    link_page(
        page,
        Some(field.into_any()),
        view! { "Know your password? "<a href="/sign-in">"Sign in"</a>"." }.into_any(),
    )
}

/// The form of a page that a one-time link leads to.
pub struct LinkPage {
    pub heading: &'static str,
    pub lead: &'static str,
    /// The label of the button.
    pub button: &'static str,
    pub action: FormAction<()>,
    pub pending: Signal<bool>,
    pub error: Signal<Option<ApiError>>,
    pub checks: Checks,
}

/// The page with a field for the link's code, below `field` if there is another.
pub fn link_page(page: LinkPage, field: Option<AnyView>, aside: AnyView) -> AnyView {
    let LinkPage { heading, lead, button, action, pending, error, checks } = page;
    let is_hydrated = is_hydrated();
    view! {
        <main class="alone">
            <Brand/>
            <section class="panel card">
                <h1>{heading}</h1>
                <p class="lead">{lead}</p>
                <ErrorBanner error/>
                <ActionForm
                    action
                    guard=Callback::new(move |event: leptos::ev::SubmitEvent| checks.guard(&event))
                    novalidate=is_hydrated
                >
                    {field}
                    <CodeField name="link" label="Link code" checks hint="The part of the link behind #."/>
                    <button type="submit" class="btn primary wide" disabled=pending>{button}</button>
                </ActionForm>
            </section>
            <p class="aside">{aside}</p>
        </main>
    }
    .into_any()
}
