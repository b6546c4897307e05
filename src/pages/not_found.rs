use crate::{
    api::get_instance,
    components::{banner::SimulatedBanner, icon::Brand, response},
};
use leptos::prelude::*;
use leptos_meta::Title;

/// The page for unknown addresses.
#[component]
pub fn NotFound() -> impl IntoView {
    response::page_not_found();
    let instance = Resource::new(|| (), |()| get_instance());
    view! {
        <Title text="Not found"/>
        <Suspense>
            {move || Suspend::new(async move {
                instance.await.ok().map(|instance| view! { <SimulatedBanner instance/> })
            })}
        </Suspense>
        <main class="alone">
            <Brand/>
            <section class="panel card">
                <h1>"Page not found"</h1>
                <p>"Check the address. The VM may have been destroyed."</p>
                <p><a class="btn primary" href="/">"Go to overview"</a></p>
            </section>
        </main>
    }
}
