//! The layout of the pages for signed-in users: navigation, banners, toasts.

use super::{
    auth::{Session, Viewer},
    auth_guard::AuthGuard,
    banner::SimulatedBanner,
    browser,
    icon::{Brand, Glyph, Icon},
    meter::meter_width,
    palette::Keyboard,
    toast::{ToastRegion, Toasts},
};
use crate::{
    api::{SignOut, my_quota, open_alert_count},
    model::{ApiError, Quota, Role},
};
use leptos::prelude::*;
use leptos_router::{components::Outlet, hooks::use_location};

const CONTENT_ID: &str = "content";

/// Loads the session and shows the page of the current route.
#[component]
pub fn AppLayout() -> impl IntoView {
    let session = Resource::new(|| (), |()| Session::load());
    let changes = RwSignal::new(0);
    provide_context(Viewer::new(session, changes));
    let toasts = Toasts::provide();
    let path = use_location().pathname;
    Effect::new(move |previous: Option<String>| {
        let page = path.with(|path| page_of(path).to_owned());
        if previous.is_some_and(|previous| previous != page) {
            browser::focus_after_navigation(CONTENT_ID);
        }
        page
    });
    view! {
        <a class="skip" href="#content">"Skip to content"</a>
        <AuthGuard session/>
        <Suspense>
            {move || Suspend::new(async move {
                let user = session.await.ok().and_then(|session| session.user);
                user.map(|user| view! { <Keyboard is_admin=user.role == Role::Admin/> })
            })}
        </Suspense>
        <div class="shell">
            <Navigation session changes/>
            <div class="stage">
                <Suspense>
                    {move || Suspend::new(async move {
                        session.await.ok().map(|session| view! { <SimulatedBanner instance=session.instance/> })
                    })}
                </Suspense>
                <main id=CONTENT_ID tabindex="-1">
                    <Outlet/>
                </main>
            </div>
        </div>
        <ToastRegion toasts/>
    }
}

/// The tabs of a VM's page are one page: the focus stays on the tab's link.
fn page_of(path: &str) -> &str {
    let tab = path.strip_prefix("/vms/").and_then(|rest| rest.find('/'));
    tab.map_or(path, |end| &path[.."/vms/".len() + end])
}

#[component]
fn Navigation(session: Resource<Result<Session, ApiError>>, changes: RwSignal<u32>) -> impl IntoView {
    let path = use_location().pathname;
    // Loaded again with every page, because a launch opens another one.
    let counts = Resource::new(
        move || (path.get(), changes.get()),
        |_| async { Ok::<_, ApiError>((my_quota().await?, open_alert_count().await?)) },
    );
    let is_launch = move || path.with(|path| path == "/vms/new" || path == "/vms/adopt");
    let is_monitor = move || path.with(|path| path == "/monitor");
    let is_alerts = move || path.with(|path| path == "/alerts" || path.starts_with("/alerts/"));
    let is_events = move || path.with(|path| path == "/events");
    let is_admin = move || path.with(|path| path == "/admin" || path.starts_with("/admin/"));
    let is_overview = move || !is_launch() && path.with(|path| path == "/" || path.starts_with("/vms/"));
    view! {
        <nav class="rail" aria-label="Main">
            <a href="/" class="home" aria-label="Twarga Cloud"><Brand/></a>
            <a class="entry" href="/" aria-current=move || is_overview().then_some("page")>
                <Glyph icon=Icon::Grid/>
                <span>"Overview"</span>
            </a>
            <a class="entry" href="/vms/new" aria-current=move || is_launch().then_some("page")>
                <Glyph icon=Icon::Plus/>
                <span>"Launch"</span>
            </a>
            <a class="entry" href="/monitor" aria-current=move || is_monitor().then_some("page")>
                <Glyph icon=Icon::Pulse/>
                <span>"Monitor"</span>
            </a>
            <a class="entry" href="/alerts" aria-current=move || is_alerts().then_some("page")>
                <Glyph icon=Icon::Bell/>
                <span>"Alerts"</span>
                <Transition>
                    {move || Suspend::new(async move {
                        let open = counts.await.ok().map_or(0, |(_, open)| open);
                        (open > 0).then(|| view! { <b class="count">{open} <span class="unseen">" open"</span></b> })
                    })}
                </Transition>
            </a>
            <a class="entry" href="/events" aria-current=move || is_events().then_some("page")>
                <Glyph icon=Icon::List/>
                <span>"Events"</span>
            </a>
            <Suspense>
                {move || Suspend::new(async move {
                    let user = session.await.ok().and_then(|session| session.user);
                    user.filter(|user| user.role == Role::Admin).map(|_| view! {
                        <a class="entry" href="/admin" aria-current=move || is_admin().then_some("page")>
                            <Glyph icon=Icon::Shield/>
                            <span>"Admin"</span>
                        </a>
                    })
                })}
            </Suspense>
            <span class="push"></span>
            <Transition>
                {move || Suspend::new(async move { counts.await.ok().map(|(quota, _)| view! { <QuotaUsed quota/> }) })}
            </Transition>
            <Suspense>
                {move || Suspend::new(async move {
                    session.await.ok().map(|session| view! {
                        <p class="version"><kbd>"Ctrl K"</kbd> " to jump, " <kbd>"?"</kbd> " keys"</p>
                        <p class="version">"version " {session.instance.version}</p>
                    })
                })}
            </Suspense>
            <div class="user">
                <a class="name" href="/account" title="Your account" data-testid="user">
                    <Glyph icon=Icon::User/>
                    <Suspense>
                        {move || Suspend::new(async move {
                            session.await.ok().and_then(|session| session.user).map(|user| view! { <span>{user.username}</span> })
                        })}
                    </Suspense>
                </a>
                <SignOutButton/>
            </div>
        </nav>
    }
}

/// How much of the quota is used.
#[component]
fn QuotaUsed(quota: Quota) -> impl IntoView {
    let spent = quota.credits_granted - quota.credits_available;
    let bar = |used: f64, limit: f64| {
        let width = meter_width(Some((100.0 * used / limit.max(1.0)).max(0.0)));
        view! { <svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect class="area" height="6" width=width></rect></svg> }
    };
    view! {
        <dl class="quota" data-testid="quota">
            <div><dt>"Credits"</dt><dd>{spent} " of " {quota.credits_granted}</dd></div>
            {bar(spent as f64, quota.credits_granted as f64)}
            <div><dt>"VMs"</dt><dd>{quota.vms} " of " {quota.max_vms}</dd></div>
            {bar(quota.vms.into(), quota.max_vms.into())}
        </dl>
    }
}

/// A plain form on purpose: the browser loads a new document, so nothing of the session stays in memory.
#[component]
pub fn SignOutButton() -> impl IntoView {
    use leptos::server_fn::ServerFn;
    view! {
        <form method="post" action=SignOut::url()>
            <button type="submit" class="btn quiet" data-testid="sign-out" title="Sign out">
                <Glyph icon=Icon::Leave/>
                <span>"Sign out"</span>
            </button>
        </form>
    }
}

#[cfg(test)]
mod tests {
    use super::page_of;

    #[test]
    fn the_tabs_of_a_vm_are_one_page() {
        assert_eq!(
            ["/vms/7", "/vms/7/activity", "/admin/accounts"].map(page_of),
            ["/vms/7", "/vms/7", "/admin/accounts"]
        );
    }
}
