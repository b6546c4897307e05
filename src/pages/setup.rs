use super::register::RegistrationForm;
use crate::{
    components::{auth::Session, icon::Brand, layout::SimulatedBanner, notice::Unavailable},
    model::{Instance, ProviderKind},
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::components::Redirect;

/// The first start: greets the server's owner and makes their account. That it becomes the admin's is decided where
/// accounts are made, not here.
#[component]
pub fn Setup() -> impl IntoView {
    let session = Resource::new(|| (), |()| Session::load());
    view! {
        <Title text="Set up"/>
        <Suspense>
            {move || Suspend::new(async move {
                match session.await {
                    Ok(Session { me: Some(_), .. }) => view! { <Redirect path="/"/> }.into_any(),
                    Ok(session) if !session.instance.needs_first_account => view! { <Redirect path="/sign-in"/> }.into_any(),
                    Ok(Session { instance, .. }) => view! { <SimulatedBanner instance=instance.clone()/><Welcome instance/> }.into_any(),
                    Err(error) => view! { <main class="alone"><Unavailable error/></main> }.into_any(),
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
            "It runs real VMs on this machine, through Vagrant.",
            "The overview opens, still empty. Launch your first VM there; its figures appear as soon as it runs.",
        ),
        ProviderKind::Simulated => (
            "Simulated fleet",
            "It shows a simulated fleet: every VM and figure is made up, for trying things out. For real VMs, start it with --provider vagrant and another data folder.",
            "The overview opens, with a few made-up VMs that are yours to try everything out on.",
        ),
    };
    view! {
        <main class="alone">
            <Brand/>
            <div class="welcome">
                <section class="about">
                    <h1>"Welcome to your own cloud"</h1>
                    <p>"This server turns the machine it runs on into a small cloud: people launch virtual machines here, and see live what each of them really uses."</p>
                    <p>{about_provider}</p>
                    <dl class="facts">
                        <div><dt>"Provider"</dt><dd data-testid="provider">{provider}</dd></div>
                        <div><dt>"Version"</dt><dd>{instance.version}</dd></div>
                    </dl>
                    <h2>"What happens next"</h2>
                    <ol>
                        <li>"You create the admin account. It sees and operates everybody's VMs."</li>
                        <li>{next}</li>
                        <li>"Others create accounts of their own at this address, and see their own VMs only."</li>
                    </ol>
                </section>
                <section class="panel card">
                    <h2>"Create the admin account"</h2>
                    <RegistrationForm label="Create the admin account"/>
                </section>
            </div>
        </main>
    }
}
