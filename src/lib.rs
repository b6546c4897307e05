//! Twarga Cloud: one crate, compiled for the server (`ssr`) and for the browser (`hydrate`).
//! `ARCHITECTURE.md` walks through it.
#![recursion_limit = "512"]

pub mod api;
pub mod app;
mod components;
pub mod model;
mod pages;
#[cfg(feature = "ssr")]
pub mod server;

/// The browser's entry point: takes over the page that the server rendered, once all its code is there. When that does
/// not come, the page stays as it is, and works without.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    wasm_bindgen_futures::spawn_local(async {
        let path = leptos::prelude::window().location().pathname().unwrap_or_default();
        if pages::load(&path).await {
            components::browser::keep_scroll();
            leptos::mount::hydrate_body(app::App);
        }
    });
}
