//! Navigation through a paged list, newest first.

use super::icon::{Glyph, Icon};
use leptos::prelude::*;

/// Links to the newest page and to the next older one, if they exist.
#[component]
pub fn Paging(newest: Memo<Option<String>>, older: Memo<Option<String>>) -> impl IntoView {
    view! {
        <nav class="pages" aria-label="Pages">
            {move || newest.get().map(|href| view! { <a class="btn" href=href><Glyph icon=Icon::Left/>"Newest"</a> })}
            {move || older.get().map(|href| view! { <a class="btn" href=href data-testid="older">"Older"<Glyph icon=Icon::Right/></a> })}
        </nav>
    }
}
