//! Polling for pages without live metrics, never while the page is hidden.

use super::browser;
use leptos::prelude::*;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(5);

/// Calls `callback` every 5 s while the page is visible, and when it becomes visible again, until the calling owner is cleaned
/// up. Never runs on the server.
pub fn poll(callback: impl Fn() + Copy + 'static) {
    Effect::new(move || {
        let call_if_visible = move || {
            if browser::page_is_visible() {
                callback();
            }
        };
        browser::on_visibility_change(call_if_visible);
        if let Ok(clock) = set_interval_with_handle(call_if_visible, INTERVAL) {
            on_cleanup(move || clock.clear());
        }
    });
}
