//! The keyboard focus.

use super::{dom::is_within, events::after_next_frame};
use leptos::prelude::document;
use wasm_bindgen::JsCast;
use web_sys::{EventTarget, Node};

/// Whether a key is typed into a field or an open dialog.
pub fn is_typing(event: &web_sys::KeyboardEvent) -> bool {
    is_within(event, "input, textarea, select, [contenteditable], dialog[open], dialog:popover-open")
}

/// Focuses the page's search field. False if it has none.
pub fn focus_search() -> bool {
    let field = document().query_selector("main input[type=search]").ok().flatten();
    field
        .and_then(|field| field.dyn_into::<web_sys::HtmlElement>().ok())
        .is_some_and(|field| field.focus().is_ok())
}

/// Whether the focus leaves the element that listens to the event.
pub fn focus_leaves(event: &web_sys::FocusEvent) -> bool {
    let node = |target: EventTarget| target.dyn_into::<Node>().ok();
    let (from, to) = (event.current_target().and_then(node), event.related_target().and_then(node));
    from.zip(to).is_some_and(|(from, to)| !from.contains(Some(&to)))
}

/// Focuses an element if the focus is inside it or lost: after a navigation, the focused element of the old page is gone.
pub fn focus_after_navigation(id: &str) {
    let document = document();
    let element = document.get_element_by_id(id).and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok());
    if let Some(element) = element.filter(|element| {
        document
            .active_element()
            .is_none_or(|active| active.tag_name() == "BODY" || element.contains(Some(&active)))
    }) {
        focus_without_scrolling(&element);
    }
}

/// Focuses an element if the focus is lost because the focused element was removed.
pub fn recover_focus(id: &'static str) {
    after_next_frame(move || {
        let document = document();
        let is_lost = document.active_element().is_none_or(|active| active.tag_name() == "BODY");
        let element = document.get_element_by_id(id).filter(|_| is_lost);
        if let Some(element) = element.and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok()) {
            focus_without_scrolling(&element);
        }
    });
}

fn focus_without_scrolling(element: &web_sys::HtmlElement) {
    let options = web_sys::FocusOptions::new();
    options.set_prevent_scroll(true);
    let _ = element.focus_with_options(&options);
}
