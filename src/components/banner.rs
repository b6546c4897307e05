//! Messages of a page: errors, warnings and the state of the connection.

#[cfg(feature = "ssr")]
use super::response::too_many;
use super::{
    auth::sign_in_address,
    feed::{Connection, Feed},
    icon::{Glyph, Icon},
    local_time::{LocalTime, TimeFormat},
    response::set_status,
    toast,
};
use crate::model::{ApiError, ErrorCode, Instance, ProviderKind, Transport};
use leptos::prelude::*;
use leptos_router::components::Redirect;

/// An error, announced by screen readers. They only notice it if the live region exists before.
#[component]
pub fn ErrorBanner(#[prop(into)] error: Signal<Option<ApiError>>) -> impl IntoView {
    // Of a form that was sent without JavaScript: programs that send it find out when to try again.
    #[cfg(feature = "ssr")]
    if let Some(wait) = error.with_untracked(|error| error.as_ref().and_then(|error| error.retry_after_secs))
    {
        too_many(wait);
    }
    view! {
        <div role="alert" class="error-banner" data-testid="error">
            {move || error.get().map(|error| view! { <p class="banner bad"><Glyph icon=Icon::Warning/><span>{error.text}</span></p> })}
        </div>
    }
}

/// The page on which users can do something about an error of any page.
fn way_out(error: &ApiError) -> Option<String> {
    match error.code {
        ErrorCode::NotSignedIn => Some(sign_in_address()()),
        ErrorCode::SecondFactorMissing => Some("/account/second-factor".into()),
        _ => None,
    }
}

/// Shown instead of a page that could not be loaded.
#[component]
pub fn PageError(error: ApiError) -> impl IntoView {
    if let Some(path) = way_out(&error) {
        return view! { <Redirect path/> }.into_any();
    }
    set_status(error.http_status());
    if error.code == ErrorCode::Forbidden {
        return view! { <NotAnAdmin error/> }.into_any();
    }
    view! {
        <section class="panel empty" role="alert">
            <h2>"Page unavailable"</h2>
            <p>{error.text}</p>
            // Reloads the document: the router would consider this the current page.
            <p><a class="btn" href="" rel="external">"Try again"</a></p>
        </section>
    }
    .into_any()
}

/// Shown instead of a page whose code could not be loaded: no connection, or the server has a new version.
#[component]
pub fn PageNotLoaded() -> impl IntoView {
    view! {
        <section class="panel empty" role="alert">
            <h2>"Page not loaded"</h2>
            <p>"The server is unreachable, or was updated since you opened this page."</p>
            <p><a class="btn" href="" rel="external">"Reload"</a></p>
        </section>
    }
}

/// Shown instead of a part of a page that could not be loaded, with a retry.
#[component]
pub fn SectionError(error: ApiError, retry: impl Fn() + Send + Sync + 'static) -> impl IntoView {
    if let Some(path) = way_out(&error) {
        return view! { <Redirect path/> }.into_any();
    }
    view! {
        <div class="failed" role="alert">
            <p><Glyph icon=Icon::Warning/>{error.text}</p>
            // Without JavaScript the link reloads the page.
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

/// A placeholder while loading; `class` sets its size.
#[component]
pub fn Loading(#[prop(default = "panel blank tall")] class: &'static str) -> impl IntoView {
    view! { <div class=class role="status" aria-label="Loading"></div> }
}

/// Whether the metrics are live: only while polls succeed.
#[component]
pub fn ConnectionStatus(feed: Feed) -> impl IntoView {
    let state = move || {
        match feed.connection.get() {
        Connection::Rendered => view! {
            <span class="link">
                "Data from "
                <LocalTime at=Signal::derive(move || feed.live.with_untracked(|l| l.cursor)) form=TimeFormat::TimeOfDay/>
            </span>
        }
        .into_any(),
        Connection::Live => view! {
            <span class="link live"><i class="pulse"></i>"Live, every " {feed.live.with_untracked(|l| l.interval_secs)} " s"</span>
        }
        .into_any(),
        Connection::Lost { text, .. } => view! {
            <span class="link lost" title=text>
                <i class="pulse"></i>
                "Reconnecting… last data from "
                <LocalTime at=Signal::derive(move || feed.live.with(|l| l.cursor)) form=TimeFormat::TimeOfDay/>
            </span>
        }
        .into_any(),
        Connection::Gone => ().into_any(),
    }
    };
    view! { <span role="status" data-testid="link">{state}</span> }
}

/// Why there are no current metrics; also shows the outcome of the user's operations as toasts.
#[component]
pub fn CollectorBanner(feed: Feed) -> impl IntoView {
    toast::follow_operations(feed);
    let warning = Memo::new(move |_| feed.live.with(|live| live.trouble.clone()));
    view! {
        <div role="status" data-testid="trouble">
            {move || warning.get().map(|text| view! { <p class="banner warn"><Glyph icon=Icon::Warning/><span>{text}</span></p> })}
        </div>
    }
}

#[component]
pub fn SimulatedBanner(instance: Instance) -> impl IntoView {
    (instance.provider == ProviderKind::Simulated).then(|| {
        view! {
            <p class="banner simulated" role="note" data-testid="simulated">
                <Glyph icon=Icon::Warning/>
                <span>"Simulated fleet: these VMs and their metrics are made up."</span>
            </p>
        }
    })
}

/// Says that what is entered is not encrypted on its way, or that signing in cannot succeed.
#[component]
pub fn TransportBanner(instance: Instance) -> impl IntoView {
    let link = |url: Option<String>| {
        let url = url.filter(|url| url.starts_with("https://"))?;
        Some(view! { " "<a href=url.clone() rel="external">{format!("Open {url}")}</a> })
    };
    let (class, text) = match instance.transport {
        Transport::Protected => return None,
        Transport::Unencrypted => {
            ("banner warn", "This connection is not encrypted: others on the network can read your password.")
        }
        Transport::HttpsRequired => {
            ("banner bad", "You cannot sign in over http: this server is set up for https only.")
        }
    };
    Some(view! {
        <p class=class role="note" data-testid="transport">
            <Glyph icon=Icon::Warning/>
            <span>{text} {link(instance.public_url)}</span>
        </p>
    })
}

/// Shown instead of a page for admins.
#[component]
fn NotAnAdmin(error: ApiError) -> impl IntoView {
    view! {
        <section class="panel empty">
            <h2>"Admins only"</h2>
            <p>{error.text}</p>
            <p><a class="btn primary" href="/">"Go to overview"</a></p>
        </section>
    }
}
