//! The theme of the document.

use super::events::listen;
use crate::model::Theme;
use leptos::prelude::{document, window};

/// The document's current theme.
pub fn theme() -> Theme {
    let name = document().document_element().and_then(|root| root.get_attribute("data-theme"));
    name.and_then(|name| Theme::parse(&name)).unwrap_or_default()
}

/// Sets the document's theme.
pub fn set_theme(theme: Theme) {
    if let Some(root) = document().document_element() {
        let _ = match theme.attribute() {
            Some(name) => root.set_attribute("data-theme", name),
            None => root.remove_attribute("data-theme"),
        };
    }
    if let Ok(event) = web_sys::Event::new(THEME_EVENT) {
        let _ = window().dispatch_event(&event);
    }
}

/// Calls `then` whenever the page may have changed between light and dark, until the calling owner is cleaned up.
pub fn on_colour_scheme_change(then: impl Fn() + Clone + 'static) {
    listen(window().into(), THEME_EVENT, then.clone());
    if let Ok(Some(dark)) = window().match_media("(prefers-color-scheme: dark)") {
        listen(dark.into(), "change", then);
    }
}

const THEME_EVENT: &str = "twarga-theme";
