use crate::{
    api,
    components::{
        action::{ActionForm, ServerAction},
        auth::Session,
        banner::{ErrorBanner, PageError, SimulatedBanner, TransportBanner},
        form::{Checks, TextField, entered},
        icon::Brand,
    },
    model::RegistrationMode,
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::components::Redirect;

#[component]
pub fn SignIn() -> impl IntoView {
    let session = Resource::new(|| (), |()| Session::load());
    view! {
        <Title text="Sign in"/>
        <Suspense>
            {move || Suspend::new(async move {
                match session.await {
                    Ok(Session { user: Some(_), .. }) => view! { <Redirect path="/"/> }.into_any(),
                    Ok(session) if session.instance.needs_first_account => {
                        view! { <Redirect path="/setup"/> }.into_any()
                    }
                    Ok(Session { instance, .. }) => {
                        let mode = instance.registration;
                        view! { <SimulatedBanner instance=instance.clone()/><TransportBanner instance/><Form mode/> }.into_any()
                    }
                    Err(error) => view! { <main class="alone"><PageError error/></main> }.into_any(),
                }
            })}
        </Suspense>
    }
}

#[component]
fn Form(mode: RegistrationMode) -> impl IntoView {
    let sign_in = ServerAction::<api::SignIn>::new();
    let error = Signal::derive(move || sign_in.value().get().and_then(Result::err));
    let checks = Checks::new(|| None, error);
    let next = entered("next");
    let has_new_password = entered("done").as_deref() == Some("password");
    let registration = match mode {
        RegistrationMode::Open => {
            view! { "No account yet? "<a href="/register">"Create one"</a>"." }.into_any()
        }
        RegistrationMode::Invited => "No account yet? Ask an admin for an invitation.".into_any(),
        RegistrationMode::Closed => "No account yet? Ask an admin to create one.".into_any(),
    };
    let username = RwSignal::new(entered("username").unwrap_or_default());
    let password = RwSignal::new(String::new());
    // Once asked for, the code stays, whatever else is wrong.
    let needs_code = Memo::new(move |asked: Option<&bool>| {
        asked == Some(&true) || error.with(|e| e.as_ref().is_some_and(|e| e.field("code").is_some()))
    });
    view! {
        <main class="alone">
            <Brand/>
            <section class="panel card">
                <h1>"Sign in"</h1>
                {has_new_password.then(|| view! { <p class="lead" role="status">"Your new password is set. Sign in with it."</p> })}
                <ErrorBanner error/>
                <ActionForm action=sign_in>
                    {next.map(|next| view! { <input type="hidden" name="next" value=next/> })}
                    <TextField name="username" label="User name" value=username checks autocomplete="username" autofocus=true/>
                    <TextField name="password" label="Password" kind="password" value=password checks autocomplete="current-password"/>
                    {move || needs_code.get().then(|| {
                        let code = RwSignal::new(String::new());
                        view! { <TextField name="code" label="Code" value=code checks autocomplete="one-time-code" hint="From your authenticator app, or a recovery code." autofocus=true/> }
                    })}
                    <button type="submit" class="btn primary wide" disabled=sign_in.pending()>"Sign in"</button>
                </ActionForm>
            </section>
            <p class="aside">{registration}<br/>"Forgot your password? Ask an admin for a link to set a new one."</p>
        </main>
    }
}
