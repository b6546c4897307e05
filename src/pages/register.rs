use crate::{
    api,
    components::{
        action::{ActionForm, ServerAction},
        auth::Session,
        banner::{ErrorBanner, PageError, SimulatedBanner, TransportBanner},
        form::{Checks, CodeField, TextField, entered},
        hydration::is_hydrated,
        icon::Brand,
    },
    model::{RegistrationMode, check_registration},
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::components::Redirect;

#[component]
pub fn Register() -> impl IntoView {
    let session = Resource::new(|| (), |()| Session::load());
    view! {
        <Title text="Create an account"/>
        <Suspense>
            {move || Suspend::new(async move {
                match session.await {
                    Ok(Session { user: Some(_), .. }) => view! { <Redirect path="/"/> }.into_any(),
                    Ok(session) if session.instance.needs_first_account => view! { <Redirect path="/setup"/> }.into_any(),
                    Ok(Session { instance, .. }) => {
                        let mode = instance.registration;
                        view! {
                            <SimulatedBanner instance=instance.clone()/>
                            <TransportBanner instance/>
                            <main class="alone">
                                <Brand/>
                                <section class="panel card">
                                    <h1>"Create an account"</h1>
                                    {visitor_form(mode)}
                                </section>
                                <p class="aside">"Already have an account? "<a href="/sign-in">"Sign in"</a>"."</p>
                            </main>
                        }
                        .into_any()
                    }
                    Err(error) => view! { <main class="alone"><PageError error/></main> }.into_any(),
                }
            })}
        </Suspense>
    }
}

/// The form for a visitor, or why there is none.
fn visitor_form(mode: RegistrationMode) -> AnyView {
    match mode {
        RegistrationMode::Open => view! {
            <p class="lead">"You can see and manage only your own VMs."</p>
            <RegistrationForm label="Create account" code=Code::Invitation { is_required: false }/>
        }
        .into_any(),
        RegistrationMode::Invited => view! {
            <p class="lead">"Accounts are created by invitation. No invitation yet? Ask an admin of this server for one."</p>
            <RegistrationForm label="Create account" code=Code::Invitation { is_required: true }/>
        }
        .into_any(),
        RegistrationMode::Closed => view! {
            <p class="lead" data-testid="closed">"Registration is closed. Ask an admin of this server to create an account for you."</p>
        }
        .into_any(),
    }
}

/// The code that a registration may need.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Setup,
    Invitation { is_required: bool },
}

/// Creates an account and signs the user in. `label` is the button's.
#[component]
pub fn RegistrationForm(label: &'static str, code: Code) -> impl IntoView {
    let register = ServerAction::<api::Register>::new();
    let error = Signal::derive(move || register.value().get().and_then(Result::err));
    let username = RwSignal::new(entered("username").unwrap_or_default());
    let email = RwSignal::new(entered("email").unwrap_or_default());
    let password = RwSignal::new(String::new());
    let wrong = move || check_registration(username.get().trim(), email.get().trim(), &password.get()).err();
    let checks = Checks::new(wrong, error);
    let is_hydrated = is_hydrated();
    let code_field = move || {
        match code {
        Code::Setup => view! {
            <CodeField name="setup_code" label="Setup code" checks hint="The server printed it when it started: see its terminal or log."/>
        }
        .into_any(),
        Code::Invitation { is_required } => {
            let hint = if is_required {
                "The part of the invitation link behind #."
            } else {
                "If you were invited: the part of the link behind #."
            };
            view! { <CodeField name="invitation" label="Invitation code" checks hint required=is_required/> }.into_any()
        }
    }
    };
    view! {
        <ErrorBanner error/>
        <ActionForm
            action=register
            guard=Callback::new(move |event: leptos::ev::SubmitEvent| checks.guard(&event))
            novalidate=is_hydrated
        >
            <TextField name="username" label="User name" value=username checks autocomplete="username" autofocus=true/>
            <TextField name="email" label="E-mail" kind="email" value=email checks autocomplete="email"/>
            <TextField
                name="password"
                label="Password"
                kind="password"
                value=password
                checks
                autocomplete="new-password"
                hint="At least 10 characters. Several unrelated words work well."
            />
            {code_field()}
            <button type="submit" class="btn primary wide" disabled=register.pending()>{label}</button>
        </ActionForm>
    }
}
