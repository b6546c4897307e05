//! The document and the table of routes.

use crate::{
    asset_urls::AssetUrls,
    components::{app_layout::AppLayout, theme},
    pages::{
        Account, Accounts, Admin, Adopt, AlertRules, Alerts, ConfirmEmail, ConfirmPassword, Events, Launch,
        Monitor, NewPassword, NotFound, Overview, Register, SecondFactor, Setup, SignIn, SshKeys, Terminal,
        Terminals, Vm,
    },
};
use leptos::prelude::*;
use leptos_meta::{MetaTags, Title, provide_meta_context};
use leptos_router::{
    Lazy, SsrMode,
    any_nested_route::AnyNestedRoute,
    components::{ParentRoute, Route, Router, Routes},
    path,
};

/// What the document does once it is loaded.
const START: &str = include_str!("../assets/start.js");

/// The document around the app; only the server renders it.
pub fn shell(options: LeptosOptions) -> impl IntoView {
    let AssetUrls { css, js, wasm, echarts, terminal } = expect_context();
    // Not Leptos's `HydrationScripts`: its `modulepreload` carries no nonce, so the content security policy blocks it.
    let start = format!("import init, {{ hydrate }} from {js:?};\nconst wasm = {wasm:?};\n{START}");
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=theme::of_request().attribute() data-echarts=echarts data-terminal=terminal>
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
        // Hidden by the style sheet: only pages that came without it show this.
        <p class="without-styles">
            "This page came without styles and scripts. Twarga Cloud works at the root of a host name, not below a path such as /cloud/: ask your admin to give it a host name of its own."
        </p>
        <Router>
            <Routes fallback=NotFound>
                <ParentRoute path=path!("") view=AppLayout ssr=SsrMode::Async>
                    <Route path=path!("/") view={Lazy::<Overview>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/monitor") view={Lazy::<Monitor>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/alerts") view={Lazy::<Alerts>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/alerts/rules") view={Lazy::<AlertRules>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/events") view={Lazy::<Events>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/account") view={Lazy::<Account>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/admin/accounts") view={Lazy::<Accounts>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/admin") view={Lazy::<Admin>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/vms/new") view={Lazy::<Launch>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/vms/adopt") view={Lazy::<Adopt>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/vms/:id/terminal") view={Lazy::<Terminal>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/terminals") view={Lazy::<Terminals>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/account/keys") view={Lazy::<SshKeys>::new()} ssr=SsrMode::Async/>
                    <Route path=path!("/vms/:id/:tab?") view={Lazy::<Vm>::new()} ssr=SsrMode::Async/>
                </ParentRoute>
                <Route path=path!("/sign-in") view={Lazy::<SignIn>::new()} ssr=SsrMode::Async/>
                <Route path=path!("/register") view={Lazy::<Register>::new()} ssr=SsrMode::Async/>
                <Route path=path!("/new-password") view={Lazy::<NewPassword>::new()} ssr=SsrMode::Async/>
                <Route path=path!("/account/second-factor") view={Lazy::<SecondFactor>::new()} ssr=SsrMode::Async/>
                <Route path=path!("/confirm-password") view={Lazy::<ConfirmPassword>::new()} ssr=SsrMode::Async/>
                <Route path=path!("/confirm-email") view={Lazy::<ConfirmEmail>::new()} ssr=SsrMode::Async/>
                <Route path=path!("/setup") view={Lazy::<Setup>::new()} ssr=SsrMode::Async/>
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
