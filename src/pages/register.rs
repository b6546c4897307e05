use crate::{
    api,
    components::{
        action::{ActionForm, ServerAction},
        clock::alive,
        form::{Checks, TextField, entered},
        icon::Brand,
        layout::{Session, SimulatedBanner},
        loaded::load,
        notice::{Refusal, Unavailable},
    },
    model::check_registration,
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::components::Redirect;

#[component]
pub fn Register() -> impl IntoView {
    let session = load(|| (), |()| Session::load());
    view! {
        <Title text="Create an account"/>
        <Suspense>
            {move || Suspend::new(async move {
                match session.await {
                    Ok(Session { me: Some(_), .. }) => view! { <Redirect path="/"/> }.into_any(),
                    Ok(Session { instance, .. }) => {
                        let first = instance.needs_first_account;
                        view! { <SimulatedBanner instance/><Form first/> }.into_any()
                    }
                    Err(error) => view! { <main class="alone"><Unavailable error/></main> }.into_any(),
                }
            })}
        </Suspense>
    }
}

/// `first`: nobody has an account yet.
#[component]
fn Form(first: bool) -> impl IntoView {
    let register = ServerAction::<api::Register>::new();
    let refused = Signal::derive(move || register.value().get().and_then(Result::err));
    let username = RwSignal::new(entered("username").unwrap_or_default());
    let email = RwSignal::new(entered("email").unwrap_or_default());
    let password = RwSignal::new(String::new());
    let wrong = move || check_registration(username.get().trim(), email.get().trim(), &password.get()).err();
    let checks = Checks::new(wrong, refused);
    let alive = alive();
    let words = if first {
        "This server has no account yet. The one you create now is the admin: it sees and operates everyone's VMs."
    } else {
        "You see and operate your own VMs only."
    };
    view! {
        <main class="alone">
            <Brand/>
            <section class="panel card">
                <h1>{if first { "Create the admin account" } else { "Create an account" }}</h1>
                <p class="lead" data-testid="register-words">{words}</p>
                <Refusal error=refused/>
                <ActionForm
                    action=register
                    guard=Callback::new(move |event: leptos::ev::SubmitEvent| checks.guard(&event))
                    novalidate=alive
                >
                    <TextField name="username" label="User name" value=username checks autocomplete="username" autofocus=true/>
                    <TextField name="email" label="E-mail address" kind="email" value=email checks autocomplete="email"/>
                    <TextField
                        name="password"
                        label="Password"
                        kind="password"
                        value=password
                        checks
                        autocomplete="new-password"
                        hint="At least 10 characters. A few unrelated words make a good one."
                    />
                    <button type="submit" class="btn primary wide" disabled=register.pending()>"Create account"</button>
                </ActionForm>
            </section>
            {(!first).then(|| view! { <p class="aside">"You have an account? "<a href="/sign-in">"Sign in"</a>"."</p> })}
        </main>
    }
}
