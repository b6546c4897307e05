use crate::{
    api::get_instance,
    components::{icon::Brand, layout::SimulatedBanner, response},
};
use leptos::prelude::*;
use leptos_meta::Title;

/// An address that leads nowhere.
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
                <h1>"There is no such page"</h1>
                <p>"The address may be mistyped, or what it led to has been destroyed."</p>
                <p><a class="btn primary" href="/">"To the overview"</a></p>
            </section>
        </main>
    }
}
