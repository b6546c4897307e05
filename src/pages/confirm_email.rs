use super::new_password::{LinkPage, link_page};
use crate::{
    api,
    components::{action::ServerAction, form::Checks, icon::Brand},
};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;

/// The page of the link that was sent to a user's e-mail address, signed in or not. Opening it confirms nothing: programs that
/// read mail open its links, too.
#[component]
pub fn ConfirmEmail() -> impl IntoView {
    let confirm = ServerAction::<api::ConfirmEmail>::new();
    let error = Signal::derive(move || confirm.value().get().and_then(Result::err));
    let checks = Checks::new(|| None, error);
    let query = use_query_map();
    let is_done = Memo::new(move |_| query.with(|query| query.get("done").is_some()));
    let to_account = || view! { <a href="/account">"Open your account"</a> }.into_any();
    view! {
        <Title text="Confirm e-mail address"/>
        {move || {
            if is_done.get() {
                return view! {
                    <main class="alone">
                        <Brand/>
                        <section class="panel card">
                            <h1>"E-mail address confirmed"</h1>
                            <p class="lead" role="status">"Alerts can be sent to it from now on."</p>
                        </section>
                        <p class="aside">{to_account()}</p>
                    </main>
                }
                .into_any();
            }
            let page = LinkPage {
                heading: "Confirm your e-mail address",
                lead: "Alerts are sent to it after that, and not before.",
                button: "Confirm address",
                action: confirm.into(),
                pending: confirm.pending(),
                error,
                checks,
            };
            link_page(page, None, to_account())
        }}
    }
}
