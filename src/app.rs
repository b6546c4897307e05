//! The document and the table of routes.

use crate::{
    components::{layout::SignedIn, response, theme},
    pages::{
        Account, Accounts, Admin, Adopt, AlertRules, Alerts, Events, Launch, Monitor, NotFound, Overview,
        Register, Setup, SignIn, Vm,
    },
};
use leptos::prelude::*;
use leptos_meta::{MetaTags, Title, provide_meta_context};
use leptos_router::{
    SsrMode,
    any_nested_route::AnyNestedRoute,
    components::{ParentRoute, Route, Router, Routes},
    path,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where the browser finds what a page is made of. The names carry a hash of the content; the server, which
/// knows them, provides this before it renders.
#[derive(Debug, Clone, Deserialize)]
pub struct AssetUrls {
    pub css: String,
    pub js: String,
    pub wasm: String,
    /// What a page needs beside it, by the part that [`crate::pages`] puts it in.
    pub parts: BTreeMap<String, String>,
    pub echarts: String,
    /// The script of the thread that polls.
    pub fetcher: String,
}

/// The document around the app; only the server renders it.
pub fn shell(options: LeptosOptions) -> impl IntoView {
    let AssetUrls { css, js, wasm, mut parts, echarts, fetcher } = expect_context();
    let beside = response::requested_part().and_then(|part| parts.remove(part));
    let beside = beside.as_slice();
    // The page's part is on its way while the rest is made ready. No `preload` for it: a slow machine takes longer than
    // a browser waits until it calls that a waste.
    let start = format!(
        "import init, {{ hydrate }} from {js:?}; \
         {beside:?}.forEach((part) => fetch(part).then((answer) => answer.arrayBuffer()).catch(() => {{}})); \
         init({{ module_or_path: {wasm:?} }}).then(() => hydrate());"
    );
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=theme::of_request().attribute() data-echarts=echarts data-fetcher=fetcher>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <meta name="color-scheme" content="light dark"/>
                <link rel="icon" href="/favicon.svg" type="image/svg+xml"/>
                <link rel="stylesheet" href=css/>
                <link rel="modulepreload" href=js nonce=use_nonce()/>
                <link rel="preload" r#as="fetch" r#type="application/wasm" crossorigin="anonymous" href=wasm/>
                <script type="module" nonce=use_nonce()>{start}</script>
                <AutoReload options/>
                <MetaTags/>
            </head>
            <body>
                <App/>
            </body>
        </html>
    }
}

#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    view! {
        <Title formatter=|title: String| {
            if title.is_empty() { "Twarga Cloud".to_owned() } else { format!("{title} · Twarga Cloud") }
        }/>
        <Router>
            <Routes fallback=NotFound>
                <ParentRoute path=path!("") view=SignedIn ssr=SsrMode::Async>
                    <Route path=path!("/") view=Overview ssr=SsrMode::Async/>
                    <Route path=path!("/monitor") view=Monitor ssr=SsrMode::Async/>
                    <Route path=path!("/alerts") view=Alerts ssr=SsrMode::Async/>
                    <Route path=path!("/alerts/rules") view=AlertRules ssr=SsrMode::Async/>
                    <Route path=path!("/events") view=Events ssr=SsrMode::Async/>
                    <Route path=path!("/account") view=Account ssr=SsrMode::Async/>
                    <Route path=path!("/admin/accounts") view=Accounts ssr=SsrMode::Async/>
                    <Route path=path!("/admin") view=Admin ssr=SsrMode::Async/>
                    <Route path=path!("/vms/new") view=Launch ssr=SsrMode::Async/>
                    <Route path=path!("/vms/adopt") view=Adopt ssr=SsrMode::Async/>
                    <Route path=path!("/vms/:id/:tab?") view=Vm ssr=SsrMode::Async/>
                </ParentRoute>
                <Route path=path!("/sign-in") view=SignIn ssr=SsrMode::Async/>
                <Route path=path!("/register") view=Register ssr=SsrMode::Async/>
                <Route path=path!("/setup") view=Setup ssr=SsrMode::Async/>
                <DevelopmentRoutes/>
            </Routes>
        </Router>
    }
}

/// The routes that only development builds have.
#[cfg(debug_assertions)]
#[component(transparent)]
fn DevelopmentRoutes() -> AnyNestedRoute {
    view! { <Route path=path!("/style") view=crate::pages::Style ssr=SsrMode::Async/> }.into_inner()
}

/// None.
#[cfg(not(debug_assertions))]
#[component(transparent)]
fn DevelopmentRoutes() -> AnyNestedRoute {
    use leptos::tachys::view::iterators::StaticVec;
    use leptos_router::any_nested_route::IntoAnyNestedRoute;
    StaticVec::from(Vec::<()>::new()).into_any_nested_route()
}
