//! Dialogs, `<details>`, popovers and other elements of the page.

use leptos::prelude::document;
use wasm_bindgen::{JsCast, prelude::wasm_bindgen};
use web_sys::Node;

/// Has the page load one of its own scripts, whose address the shell says. False if it is loaded or being loaded.
pub fn load_script(name: &str) -> bool {
    let document = document();
    let loaded = document.query_selector(&format!("script[data-loads={name}]"));
    let (Some(root), Ok(None)) = (document.document_element(), loaded) else { return false };
    let source = root.get_attribute(&format!("data-{name}"));
    let (Some(source), Ok(script)) = (source, document.create_element("script")) else { return false };
    script.set_attribute("data-loads", name).is_ok()
        && script.set_attribute("src", &source).is_ok()
        && root.append_child(&script).is_ok()
}

/// Opens a modal dialog. False if the page does not have it.
pub fn open_dialog(id: &str) -> bool {
    dialog(id).is_some_and(|dialog| dialog.open() || dialog.show_modal().is_ok())
}

/// Closes a dialog. False if the page does not have it.
pub fn close_dialog(id: &str) -> bool {
    let dialog = dialog(id);
    if let Some(dialog) = &dialog {
        dialog.close();
    }
    dialog.is_some()
}

fn dialog(id: &str) -> Option<web_sys::HtmlDialogElement> {
    document().get_element_by_id(id)?.dyn_into().ok()
}

/// Whether the `<details>` that listens to the event is open.
pub fn is_details_open(event: &web_sys::Event) -> bool {
    event
        .current_target()
        .and_then(|target| target.dyn_into::<web_sys::Element>().ok())
        .is_some_and(|details| details.has_attribute("open"))
}

/// Closes the open `<details>` that match, resets their forms and focuses their summary.
pub fn close_details(selector: &str) {
    for details in open_details(selector) {
        let _ = details.remove_attribute("open");
        let child = |selector| details.query_selector(selector).ok().flatten();
        if let Some(form) = child("form").and_then(|form| form.dyn_into::<web_sys::HtmlFormElement>().ok()) {
            form.reset();
        }
        if let Some(summary) = child("summary").and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok()) {
            let _ = summary.focus();
        }
    }
}

/// Closes the open `<details>` that match, except those that contain the event's target.
pub fn close_other_details(selector: &str, event: &web_sys::Event) {
    let target = event.target().and_then(|target| target.dyn_into::<Node>().ok());
    for details in open_details(selector).filter(|details| !details.contains(target.as_ref())) {
        let _ = details.remove_attribute("open");
    }
}

fn open_details(selector: &str) -> impl Iterator<Item = web_sys::Element> {
    let open = document().query_selector_all(&format!("{selector}[open]")).ok();
    let all = open.into_iter().flat_map(|open| (0..open.length()).filter_map(move |i| open.item(i)));
    all.filter_map(|details| details.dyn_into().ok())
}

/// Closes a popover; the focus returns to the button that opened it.
pub fn hide_popover(id: &str) {
    let popover = document().get_element_by_id(id).and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok());
    if let Some(popover) = popover {
        let _ = popover.hide_popover();
    }
}

/// Whether the event's target is in a dialog.
pub fn is_in_dialog(event: &web_sys::Event) -> bool {
    is_within(event, "dialog")
}

/// Whether the event's target matches or is inside an element that does.
pub(super) fn is_within(event: &web_sys::Event, selector: &str) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok());
    target.is_some_and(|element| element.closest(selector).ok().flatten().is_some())
}

/// Scrolls as little as needed to show an element.
pub fn scroll_into_view(id: &str) {
    if let Some(element) = document().get_element_by_id(id) {
        let options = web_sys::ScrollIntoViewOptions::new();
        options.set_block(web_sys::ScrollLogicalPosition::Nearest);
        element.scroll_into_view_with_scroll_into_view_options(&options);
    }
}

/// An element's left edge in the window and its width, in CSS pixels.
pub fn horizontal_extent(element: &web_sys::HtmlDivElement) -> (f64, f64) {
    let area = element.get_bounding_client_rect();
    (area.left(), area.width())
}

/// Shows an element full screen, or leaves full screen.
pub fn toggle_full_screen(element_id: &str) {
    let document = document();
    if document.fullscreen_element().is_some() {
        document.exit_fullscreen();
    } else if let Some(element) = document.get_element_by_id(element_id) {
        let _ = element.request_fullscreen();
    }
}

#[wasm_bindgen(module = "/assets/scroll.js")]
extern "C" {
    /// Restores the scroll position of pages on back and forward, from now on.
    #[wasm_bindgen(js_name = keepScroll)]
    pub fn keep_scroll();
}
