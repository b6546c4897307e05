//! Keyboard shortcuts: the command palette (Ctrl-K or Cmd-K) opens any page or VM and runs actions, `g` and a letter opens
//! a page, and `?` lists the shortcuts. Everything also has a link or button.

mod dialogs;
mod places;
mod step;

use super::{browser, lazy::lazy_view};
use dialogs::Dialogs;
use leptos::{
    ev,
    prelude::*,
    task::spawn_local,
    wasm_split::{SplitLoaderError, wasm_split},
};
use leptos_router::{NavigateOptions, hooks::use_navigate};
use places::{FOR_ADMINS, PAGES};

/// Menus, which Escape closes.
const MENUS: &str = "details.more";

/// The open dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    Palette,
    Keys,
}

/// Handles the shortcuts on all pages for signed-in users. The dialogs are loaded and built when the browser has nothing else
/// to do, so that the first opening only has to show one.
#[component]
pub fn Keyboard(is_admin: bool) -> impl IntoView {
    let opened = RwSignal::new(None::<Opened>);
    let navigate = use_navigate();
    // `g` waits for the next letter.
    let after_g = StoredValue::new(false);
    Effect::new(move || {
        let navigate = navigate.clone();
        let listener = window_event_listener(ev::keydown, move |event| {
            let key = event.key();
            if (event.ctrl_key() || event.meta_key()) && key.eq_ignore_ascii_case("k") {
                event.prevent_default();
                opened.set(Some(Opened::Palette));
                return;
            }
            // A dialog handles Escape itself and returns the focus, possibly into a menu.
            if key == "Escape" && !browser::is_in_dialog(&event) {
                browser::close_details(MENUS);
            }
            if event.ctrl_key() || event.meta_key() || event.alt_key() || browser::is_typing(&event) {
                return;
            }
            let was_after_g = after_g.get_value();
            after_g.set_value(false);
            match key.as_str() {
                _ if was_after_g => {
                    let page = PAGES.iter().find(|(.., letter)| *letter == key);
                    if let Some((_, path, _)) =
                        page.filter(|(_, path, _)| is_admin || !FOR_ADMINS.contains(path))
                    {
                        navigate(path, NavigateOptions::default());
                    }
                }
                "g" => after_g.set_value(true),
                "?" => opened.set(Some(Opened::Keys)),
                // Keeps the slash out of the search field.
                "/" if browser::focus_search() => event.prevent_default(),
                _ => {}
            }
        });
        let pressed = window_event_listener(ev::click, |event| {
            if !browser::is_in_dialog(&event) {
                browser::close_other_details(MENUS, &event);
            }
        });
        on_cleanup(move || {
            listener.remove();
            pressed.remove();
        });
    });
    let is_loaded = RwSignal::new(false);
    Effect::new(move || {
        request_idle_callback(move || {
            spawn_local(async move {
                // A failure is shown when a dialog is opened.
                if load_dialogs().await.is_ok() {
                    is_loaded.try_set(true);
                }
            });
        });
    });
    let is_built = Memo::new(move |before: Option<&bool>| {
        before == Some(&true) || is_loaded.get() || opened.get().is_some()
    });
    move || {
        is_built
            .get()
            .then(|| lazy_view(Box::pin(load_dialogs()), move || Box::pin(dialogs(is_admin, opened))))
    }
}

#[wasm_split(palette, wasm_split_path = ::leptos::wasm_split, preload(load_dialogs), fallible)]
fn dialogs(is_admin: bool, opened: RwSignal<Option<Opened>>) -> Result<AnyView, SplitLoaderError> {
    Ok(view! { <Dialogs is_admin opened/> }.into_any())
}
