use super::register::{Code, RegistrationForm};
use crate::{
    components::{
        auth::Session,
        banner::{PageError, SimulatedBanner, TransportBanner},
        icon::Brand,
    },
    model::{Instance, ProviderKind, RegistrationMode},
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::components::Redirect;

/// The page of the first start: creates the first account. The server decides that it becomes an admin,
/// not this page.
#[component]
pub fn Setup() -> impl IntoView {
    let session = Resource::new(|| (), |()| Session::load());
    view! {
        <Title text="Set up"/>
        <Suspense>
            {move || Suspend::new(async move {
                match session.await {
                    Ok(Session { user: Some(_), .. }) => view! { <Redirect path="/"/> }.into_any(),
                    Ok(session) if !session.instance.needs_first_account => view! { <Redirect path="/sign-in"/> }.into_any(),
                    Ok(Session { instance, .. }) => view! { <SimulatedBanner instance=instance.clone()/><TransportBanner instance=instance.clone()/><Welcome instance/> }.into_any(),
                    Err(error) => view! { <main class="alone"><PageError error/></main> }.into_any(),
                }
            })}
        </Suspense>
    }
}

#[component]
fn Welcome(instance: Instance) -> impl IntoView {
    let (provider, about_provider, next) = match instance.provider {
        ProviderKind::Vagrant => (
            "Vagrant",
            "It runs real VMs on this host with Vagrant.",
            "The overview opens. Launch your first VM there; its metrics appear as soon as it runs.",
        ),
        ProviderKind::Simulated => (
            "Simulated fleet",
            "It runs a simulated fleet: all VMs and metrics are made up. For real VMs, start the server with --provider vagrant and a different data folder.",
            "The overview opens with a few simulated VMs to try things out.",
        ),
    };
    let others = match instance.registration {
        RegistrationMode::Open => "Other users register at this address and see only their own VMs.",
        RegistrationMode::Invited => "You invite other users. They see only their own VMs.",
        RegistrationMode::Closed => "You create accounts for other users. They see only their own VMs.",
    };
    view! {
        <main class="alone">
            <Brand/>
            <div class="welcome">
                <section class="about">
                    <h1>"Welcome to your own cloud"</h1>
                    <p>"This server turns its host into a small cloud: users launch VMs and see live what each of them uses."</p>
                    <p>{about_provider}</p>
                    <dl class="facts">
                        <div><dt>"Provider"</dt><dd data-testid="provider">{provider}</dd></div>
                        <div><dt>"Version"</dt><dd>{instance.version}</dd></div>
                    </dl>
                    <h2>"What happens next"</h2>
                    <ol>
                        <li>"You create the admin account. It can see and manage all VMs."</li>
                        <li>{next}</li>
                        <li>{others}</li>
                    </ol>
                </section>
                <section class="panel card">
                    <h2>"Admin account"</h2>
                    <RegistrationForm label="Create admin account" code=Code::Setup/>
                </section>
            </div>
        </main>
    }
}
