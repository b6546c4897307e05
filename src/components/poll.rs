//! Polling for pages without live metrics, never while the page is hidden.

use super::browser;
use leptos::prelude::*;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(5);

/// Calls `ask` every 5 s while the page is visible, and when it becomes visible again, until the calling owner is cleaned
/// up. Never runs on the server.
pub fn poll(ask: impl Fn() + Copy + 'static) {
    Effect::new(move || {
        let ask_if_seen = move || {
            if browser::page_is_visible() {
                ask();
            }
        };
        browser::on_visibility_change(ask_if_seen);
        if let Ok(clock) = set_interval_with_handle(ask_if_seen, PERIOD) {
            on_cleanup(move || clock.clear());
        }
    });
}
