use crate::{
    api::{self, my_second_factor},
    components::{
        action::{ActionForm, ServerAction},
        banner::{ErrorBanner, Loading},
        form::{Checks, TextField, entered},
        icon::Brand,
        resource::page_view,
    },
};
use leptos::prelude::*;
use leptos_meta::Title;

/// Where users enter their password again, see [`crate::components::password_again`].
#[component]
pub fn ConfirmPassword() -> impl IntoView {
    let factor = Resource::new(|| (), |()| my_second_factor());
    view! {
        <Title text="Enter password"/>
        <main class="alone">
            <Brand/>
            {page_view(factor, || view! { <Loading/> }.into_any(), |factor| async move {
                view! { <Form has_second_factor=factor.is_on/> }.into_any()
            })}
        </main>
    }
}

#[component]
fn Form(has_second_factor: bool) -> impl IntoView {
    let confirm = ServerAction::<api::ConfirmPassword>::new();
    let error = Signal::derive(move || confirm.value().get().and_then(Result::err));
    let checks = Checks::new(|| None, error);
    let next = entered("next").unwrap_or_default();
    let (password, code) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    view! {
        <section class="panel card">
            <h1>"Enter your password"</h1>
            <p class="lead">"You are about to change how an account is entered. Afterwards you are back where you were, and can repeat the change within 10 minutes."</p>
            <ErrorBanner error/>
            <ActionForm action=confirm>
                <input type="hidden" name="next" value=next/>
                <TextField name="password" label="Password" kind="password" value=password checks autocomplete="current-password" autofocus=true/>
                {has_second_factor.then(|| view! {
                    <TextField name="code" label="Code" value=code checks autocomplete="one-time-code" hint="From your authenticator app, or a recovery code."/>
                })}
                <button type="submit" class="btn primary wide" disabled=confirm.pending()>"Continue"</button>
            </ActionForm>
        </section>
    }
}
