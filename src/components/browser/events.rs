//! Callbacks for events of the window and the document.

use leptos::prelude::{
    StoredValue, UpdateValue, document, on_cleanup, request_animation_frame, set_timeout, window,
};
use std::time::Duration;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{EventTarget, VisibilityState};

pub fn page_is_visible() -> bool {
    document().visibility_state() != VisibilityState::Hidden
}

/// Calls `then` once the current content of the page has been painted.
pub fn after_next_frame(then: impl FnOnce() + 'static) {
    request_animation_frame(move || set_timeout(then, Duration::ZERO));
}

/// Calls `then` whenever the page becomes hidden or visible, until the calling owner is cleaned up.
pub fn on_visibility_change(then: impl Fn() + 'static) {
    listen(document().into(), "visibilitychange", then);
}

/// Calls `then` whenever this machine is online again, until the calling owner is cleaned up.
pub fn on_network_return(then: impl Fn() + 'static) {
    listen(window().into(), "online", then);
}

/// Listens until the calling owner is cleaned up.
pub(super) fn listen(target: EventTarget, event: &'static str, then: impl Fn() + 'static) {
    let listener = Closure::<dyn Fn()>::new(then);
    let _ = target.add_event_listener_with_callback(event, listener.as_ref().unchecked_ref());
    let registered = StoredValue::new_local(Some((target, listener)));
    on_cleanup(move || {
        if let Some((target, listener)) = registered.try_update_value(Option::take).flatten() {
            let _ = target.remove_event_listener_with_callback(event, listener.as_ref().unchecked_ref());
        }
    });
}
