//! Whether the page is hydrated.

use leptos::prelude::*;

/// False on the server and during hydration, then true: for features that need JavaScript.
pub fn is_hydrated() -> Signal<bool> {
    let is_hydrated = RwSignal::new(false);
    Effect::new(move || is_hydrated.set(true));
    is_hydrated.into()
}
