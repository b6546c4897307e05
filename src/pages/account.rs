use crate::{
    api::{ChangePassword, EndOtherSessions, EndSession, SetTheme, my_devices},
    components::{
        action::{ActionForm, ServerAction},
        app_layout::SignOutButton,
        auth::Viewer,
        banner::{ErrorBanner, Loading},
        browser,
        form::{Checks, TextField},
        local_time::{LocalTime, TimeFormat},
        resource::section_view,
        theme, toast,
    },
    model::{DeviceKind, SignedInDevice, Theme, browser_name, check_password},
    pages::notifications::Notifications,
};
use leptos::prelude::*;
use leptos_meta::Title;

/// The account of the current user.
#[component]
pub fn Account() -> impl IntoView {
    let end = ServerAction::<EndSession>::new();
    let end_others = ServerAction::<EndOtherSessions>::new();
    let change = ServerAction::<ChangePassword>::new();
    let changed = move || (end.version().get(), end_others.version().get(), change.version().get());
    toast::when_done(end, "Device signed out.");
    toast::when_done(end_others, "All other devices signed out.");
    toast::when_done(change, "Password changed. Your other devices are signed out.");
    let devices = Resource::new(changed, |_| my_devices());
    let viewer = expect_context::<Viewer>();
    view! {
        <Title text="Account"/>
        <header class="top">
            <h1>"Account"</h1>
            <Suspense>
                {move || Suspend::new(async move {
                    viewer.user().await.map(|user| view! { <span class="muted">{user.username} " · " {user.email} " · " {user.role.as_str()}</span> })
                })}
            </Suspense>
            <span class="push"></span>
            <a class="btn quiet" href="/account/keys">"SSH keys"</a>
            <SignOutButton/>
        </header>
        <div class="charts">
            <Password change/>
            <Themes/>
            <SecondFactor/>
        </div>
        <Notifications/>
        {section_view(devices, || view! { <Loading/> }.into_any(), move |devices| async move {
            view! { <Devices devices end end_others/> }.into_any()
        })}
    }
}

#[component]
fn Password(change: ServerAction<ChangePassword>) -> impl IntoView {
    let error = Signal::derive(move || change.value().get().and_then(Result::err));
    let done = move || change.value().with(|answer| matches!(answer, Some(Ok(()))));
    let (old_password, new_password) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    Effect::new(move || {
        if done() {
            old_password.set(String::new());
            new_password.set(String::new());
        }
    });
    let wrong = move || {
        check_password("new_password", &new_password.get()).err().filter(|_| !new_password.get().is_empty())
    };
    let checks = Checks::new(wrong, error);
    view! {
        <section class="panel block" data-testid="password">
            <h2>"Password"</h2>
            <ErrorBanner error/>
            <ActionForm action=change guard=Callback::new(move |event: leptos::ev::SubmitEvent| checks.guard(&event))>
                <TextField name="old_password" label="Current password" kind="password" value=old_password checks autocomplete="current-password"/>
                <TextField name="new_password" label="New password" kind="password" value=new_password checks autocomplete="new-password" hint="At least 10 characters."/>
                <button type="submit" class="btn" disabled=change.pending()>"Change password"</button>
            </ActionForm>
        </section>
    }
}

#[component]
fn SecondFactor() -> impl IntoView {
    view! {
        <section class="panel block">
            <h2>"Second factor"</h2>
            <p class="hint">"Signing in takes a code of an authenticator app in addition to your password, if you set it up."</p>
            <p><a class="btn" href="/account/second-factor">"Second factor…"</a></p>
        </section>
    }
}

#[component]
fn Themes() -> impl IntoView {
    let set = ServerAction::<SetTheme>::new();
    toast::when_done(set, "Theme saved for this browser.");
    let error = Signal::derive(move || set.value().get().and_then(Result::err));
    let now = RwSignal::new(theme::of_request());
    Effect::new(move || {
        now.set(browser::theme());
        // The command palette changes it, too.
        browser::on_colour_scheme_change(move || now.set(browser::theme()));
    });
    let button = move |theme: Theme, label: &'static str| {
        view! {
            <ActionForm action=set guard=Callback::new(move |_| browser::set_theme(theme))>
                <input type="hidden" name="theme" value=theme.as_str()/>
                <button type="submit" aria-pressed=move || (now.get() == theme).to_string()>{label}</button>
            </ActionForm>
        }
    };
    view! {
        <section class="panel block" data-testid="theme">
            <h2>"Theme"</h2>
            <ErrorBanner error/>
            <div class="segments" role="group" aria-label="Theme">
                {button(Theme::Light, "Light")}
                {button(Theme::Dark, "Dark")}
                {button(Theme::System, "System")}
            </div>
            <p class="hint">"Applies to this browser only."</p>
        </section>
    }
}

#[component]
fn Devices(
    devices: Vec<SignedInDevice>,
    end: ServerAction<EndSession>,
    end_others: ServerAction<EndOtherSessions>,
) -> impl IntoView {
    let error = Signal::derive(move || {
        end.value().get().and_then(Result::err).or_else(|| end_others.value().get().and_then(Result::err))
    });
    let has_others = devices.len() > 1;
    let entry = move |device: SignedInDevice| {
        let said = device.user_agent.clone();
        let name = match (browser_name(&said), device.kind) {
            (Some(name), _) => name,
            (None, _) if !said.is_empty() => said.clone(),
            (None, DeviceKind::Browser) => "Unknown browser".into(),
            (None, DeviceKind::Client) => "Unknown client".into(),
        };
        let kind = match device.kind {
            DeviceKind::Browser => "browser",
            DeviceKind::Client => "API client",
        };
        view! {
            <li data-this=device.is_this.to_string()>
                <div class="what">
                    <b title=said>{name}</b>
                    <small class="muted">
                        {kind} " · signed in " <LocalTime at=Signal::stored(device.signed_in_at) form=TimeFormat::DayAndTime/>
                        " · last used " <LocalTime at=Signal::stored(device.last_used_at) form=TimeFormat::DayAndTime/>
                    </small>
                </div>
                {if device.is_this {
                    view! { <span class="badge">"This device"</span> }.into_any()
                } else {
                    view! {
                        <ActionForm action=end>
                            <input type="hidden" name="session_id" value=device.id/>
                            <button type="submit" class="btn">"Sign out"</button>
                        </ActionForm>
                    }
                    .into_any()
                }}
            </li>
        }
    };
    view! {
        <section class="panel block" data-testid="devices">
            <h2>"Signed-in devices"</h2>
            <p class="hint">"Devices are signed out after 7 days without use, and 30 days after signing in at the latest."</p>
            <ErrorBanner error/>
            <ul class="entries">{devices.into_iter().map(entry).collect_view()}</ul>
            {has_others.then(|| view! {
                <ActionForm action=end_others>
                    <button type="submit" class="btn danger">"Sign out all other devices"</button>
                </ActionForm>
            })}
        </section>
    }
}
