//! Twarga Cloud: one crate, compiled for the server (`ssr`) and for the browser (`hydrate`).
//! `ARCHITECTURE.md` walks through it.
#![recursion_limit = "512"]

pub mod api;
pub mod app;
pub mod asset_urls;
mod components;
pub mod model;
mod pages;
#[cfg(feature = "ssr")]
pub mod server;

/// The browser's entry point: hydrates the page that the server rendered, once the code of its route is loaded.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    components::browser::keep_scroll();
    leptos::mount::hydrate_lazy(app::App);
}
