//! What a page has to say beside its figures: refusals, troubles, and that it has lost the server.

use super::{
    auth::sign_in_address,
    clock::{Moment, TimeForm},
    feed::{Connection, Feed},
    icon::{Glyph, Icon},
    toast,
};
use crate::model::{ApiError, ErrorCode};
use leptos::prelude::*;
use leptos_router::components::Redirect;

/// A refusal, read out when it appears. Its place is there from the beginning, or a screen reader would miss
/// it.
#[component]
pub fn Refusal(#[prop(into)] error: Signal<Option<ApiError>>) -> impl IntoView {
    view! {
        <div role="alert" class="refusal" data-testid="refusal">
            {move || error.get().map(|error| view! { <p class="banner bad"><Glyph icon=Icon::Warning/><span>{error.text}</span></p> })}
        </div>
    }
}

/// A whole page's worth of refusal: what was asked for cannot be shown.
#[component]
pub fn Unavailable(error: ApiError) -> impl IntoView {
    if error.code == ErrorCode::NotSignedIn {
        return view! { <Redirect path=sign_in_address()()/> }.into_any();
    }
    view! {
        <section class="panel empty" role="alert">
            <h2>"This page cannot be shown"</h2>
            <p>{error.text}</p>
            // The document is loaded anew: to the router it would be the page that is there already.
            <p><a class="btn" href="" rel="external">"Try again"</a></p>
        </section>
    }
    .into_any()
}

/// In the place of a page whose code did not come: the connection is gone, or the server is of another version now.
#[component]
pub fn NotLoaded() -> impl IntoView {
    view! {
        <section class="panel empty" role="alert">
            <h2>"This page did not load"</h2>
            <p>"The server could not be reached, or it has been updated since you opened this window."</p>
            <p><a class="btn" href="" rel="external">"Load it again"</a></p>
        </section>
    }
}

/// In the place of a part of a page: it could not be read, and may be asked for again.
#[component]
pub fn Failed(error: ApiError, retry: impl Fn() + Send + Sync + 'static) -> impl IntoView {
    if error.code == ErrorCode::NotSignedIn {
        return view! { <Redirect path=sign_in_address()()/> }.into_any();
    }
    view! {
        <div class="failed" role="alert">
            <p><Glyph icon=Icon::Warning/>{error.text}</p>
            // Without JavaScript the page is asked for anew.
            <a class="btn" role="button" href="" on:click=move |event| {
                event.prevent_default();
                retry();
            }>
                "Try again"
            </a>
        </div>
    }
    .into_any()
}

/// The shape of what is being loaded: `class` says how much room it will take.
#[component]
pub fn Loading(#[prop(default = "panel blank tall")] class: &'static str) -> impl IntoView {
    view! { <div class=class role="status" aria-label="Loading"></div> }
}

/// Whether the figures are live, and why not.
#[component]
pub fn LinkState(feed: Feed) -> impl IntoView {
    let state = move || {
        match feed.connection.get() {
        Connection::Live => view! {
            <span class="link live"><i class="pulse"></i>"live, every " {feed.live.with_untracked(|l| l.period_secs)} " s"</span>
        }
        .into_any(),
        Connection::Lost { text, .. } => view! {
            <span class="link lost" title=text>
                <i class="pulse"></i>
                "reconnecting… figures of "
                <Moment at=Signal::derive(move || feed.live.with(|l| l.cursor)) form=TimeForm::TimeOfDay/>
            </span>
        }
        .into_any(),
        Connection::Gone => ().into_any(),
    }
    };
    view! { <span role="status" data-testid="link">{state}</span> }
}

/// What a page with live figures says by itself: why there are no fresh ones; and, as toasts, what becomes of what was
/// asked of its VMs.
#[component]
pub fn Trouble(feed: Feed) -> impl IntoView {
    toast::follow_operations(feed);
    let trouble = Memo::new(move |_| feed.live.with(|live| live.trouble.clone()));
    view! {
        <div role="status" data-testid="trouble">
            {move || trouble.get().map(|text| view! { <p class="banner warn"><Glyph icon=Icon::Warning/><span>{text}</span></p> })}
        </div>
    }
}

/// In the place of a page that is for admins.
#[component]
pub fn NotAnAdmin(error: ApiError) -> impl IntoView {
    view! {
        <section class="panel empty">
            <h2>"This page is for admins"</h2>
            <p>{error.text}</p>
            <p><a class="btn primary" href="/">"To the overview"</a></p>
        </section>
    }
}
