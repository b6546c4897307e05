use crate::{
    api::{SetEmailNotifications, SetNotifyOfAll, SetWebhook, TestNotification, my_notifications},
    components::{
        action::{ActionForm, ServerAction},
        auth::Viewer,
        banner::{ErrorBanner, Loading, SectionError},
        local_time::{LocalTime, TimeFormat},
        poll::poll,
        toast,
    },
    model::{Channel, Delivery, DeliveryState, NotificationSettings, Role},
};
use leptos::prelude::*;

/// How the user is notified about alerts: a section of the account page.
#[component]
pub fn Notifications() -> impl IntoView {
    let set = ServerAction::<SetWebhook>::new();
    let email = ServerAction::<SetEmailNotifications>::new();
    let all = ServerAction::<SetNotifyOfAll>::new();
    let test = ServerAction::<TestNotification>::new();
    toast::when_done(set, "Webhook saved.");
    toast::when_done(email, "Notification settings saved.");
    toast::when_done(all, "Notification settings saved.");
    toast::when_done(test, "Test message queued.");
    let changed =
        move || (set.version().get(), email.version().get(), all.version().get(), test.version().get());
    let settings = Resource::new(changed, |_| my_notifications());
    let error = Signal::derive(move || {
        let of = [set.value().get(), email.value().get(), all.value().get(), test.value().get()];
        of.into_iter().flatten().find_map(Result::err)
    });
    let is_queued = RwSignal::new(false);
    poll(move || {
        if is_queued.get_untracked() {
            settings.refetch();
        }
    });
    let viewer = expect_context::<Viewer>();
    view! {
        <section class="panel block" data-testid="notifications">
            <h2>"Notifications"</h2>
            <p class="hint">"Where alerts about your VMs are sent when they open and resolve. " <a class="underlined" href="/alerts/rules">"Alert rules"</a> " define what opens one."</p>
            <ErrorBanner error/>
            <Transition fallback=|| view! { <Loading class="blank tall"/> }>
                {move || Suspend::new(async move {
                    let is_admin = viewer.user().await.is_some_and(|user| user.role == Role::Admin);
                    match settings.await {
                        Ok(settings) => {
                            let waits = |delivery: &Delivery| delivery.state == DeliveryState::Queued;
                            is_queued.set(settings.deliveries.iter().any(waits));
                            view! { <Settings settings is_admin set email all test/> }.into_any()
                        }
                        Err(error) => view! { <SectionError error retry=move || settings.refetch()/> }.into_any(),
                    }
                })}
            </Transition>
        </section>
    }
}

#[component]
fn Settings(
    settings: NotificationSettings,
    is_admin: bool,
    set: ServerAction<SetWebhook>,
    email: ServerAction<SetEmailNotifications>,
    all: ServerAction<SetNotifyOfAll>,
    test: ServerAction<TestNotification>,
) -> impl IntoView {
    let try_out = move |channel: Channel| {
        view! {
            <ActionForm action=test>
                <input type="hidden" name="channel" value=channel.as_str()/>
                <button type="submit" class="btn" disabled=test.pending()>"Send test"</button>
            </ActionForm>
        }
    };
    let has_webhook = settings.webhook_url.is_some();
    let (is_on, is_confirmed) = (settings.email_is_on, settings.email_is_confirmed);
    let can_be_on = settings.mail_is_set_up && (is_confirmed || settings.links_are_set_up);
    let address = settings.email;
    let mail = match (is_confirmed, is_on) {
        _ if !settings.mail_is_set_up => {
            "E-mail is not configured. An admin can set --smtp-url and --mail-from.".into()
        }
        _ if !can_be_on => format!(
            "{address} cannot be confirmed, because mails have no link to this server. An admin can set --public-url."
        ),
        (true, true) => format!("On. Alerts are sent to {address}."),
        (true, false) => format!("Off. Alerts can be sent to {address}."),
        (false, true) => format!("Confirm the link sent to {address}. Nothing else is sent there before."),
        (false, false) => format!(
            "Off. Alerts can be sent to {address} once you have confirmed it: turning them on sends a link there."
        ),
    };
    let turn = move |is_on: bool, label: &'static str| {
        view! {
            <ActionForm action=email>
                <input type="hidden" name="is_on" value=is_on.to_string()/>
                <button type="submit" class="btn" disabled=email.pending()>{label}</button>
            </ActionForm>
        }
    };
    view! {
        <ul class="entries">
            <li>
                <ActionForm action=set class="line-form what">
                    <div class="field">
                        <label for="field-url">"Webhook"</label>
                        <span class="control"><input id="field-url" name="url" type="url" maxlength="500" autocomplete="off" placeholder="https://" value=settings.webhook_url/></span>
                    </div>
                    <button type="submit" class="btn primary" disabled=set.pending()>"Save"</button>
                </ActionForm>
                {has_webhook.then(|| try_out(Channel::Webhook))}
            </li>
            {settings.webhook_secret.map(|secret| view! {
                <li>
                    <details class="what">
                        <summary class="underlined">"Signing secret"</summary>
                        <p><code data-testid="secret">{secret}</code></p>
                        <p class="hint">
                            "The header webhook-signature is \"v1,\" followed by the base64 of HMAC-SHA256 over webhook-id, webhook-timestamp and the body, "
                            "joined by dots. The key is the decoded part after whsec_. To replace the secret, save the address again."
                        </p>
                    </details>
                </li>
            })}
            <li>
                <span class="what"><b>"E-mail"</b> <small class="muted">{mail}</small></span>
                {(can_be_on && is_on && !is_confirmed).then(|| turn(true, "Send link again"))}
                {is_on.then(|| turn(false, "Turn off"))}
                {(can_be_on && !is_on).then(|| turn(true, "Turn on"))}
                {(settings.mail_is_set_up && is_confirmed).then(|| try_out(Channel::Email))}
            </li>
            {is_admin.then(|| view! {
                <li>
                    <span class="what">
                        <b>"Scope"</b>
                        <small class="muted">{if settings.of_all { "You are notified about all VMs and the host." } else { "You are notified about your own VMs and the host." }}</small>
                    </span>
                    <ActionForm action=all>
                        <input type="hidden" name="is_on" value=(!settings.of_all).to_string()/>
                        <button type="submit" class="btn">{if settings.of_all { "Notify me about my VMs only" } else { "Notify me about all VMs" }}</button>
                    </ActionForm>
                </li>
            })}
        </ul>
        <Deliveries deliveries=settings.deliveries/>
    }
}

#[component]
fn Deliveries(deliveries: Vec<Delivery>) -> impl IntoView {
    let is_any = !deliveries.is_empty();
    let entry = |delivery: Delivery| {
        let mark = match delivery.state {
            DeliveryState::Sent => "good",
            DeliveryState::Queued => "info",
            DeliveryState::Dropped => "warning",
            DeliveryState::Failed => "error",
        };
        let tried = match delivery.attempts {
            0 | 1 => String::new(),
            n => format!(" · tried {n} times"),
        };
        let later = delivery.state == DeliveryState::Queued && delivery.attempts > 0;
        view! {
            <li>
                <div class="what">
                    <i class=format!("mark {mark}") title=delivery.state.as_str()></i> " " {delivery.text}
                    <small class="muted">
                        {delivery.channel.label()} " · " {delivery.state.as_str()} " · " <LocalTime at=Signal::stored(delivery.queued_at) form=TimeFormat::DayAndSecond/> {tried}
                        {later.then(|| view! { " · next try " <LocalTime at=Signal::stored(delivery.due_at) form=TimeFormat::DayAndSecond/> })}
                        {delivery.error.map(|error| format!(" · {error}"))}
                    </small>
                </div>
            </li>
        }
    };
    is_any.then(|| view! {
        <h3>"Recent messages"</h3>
        <div role="status"><ul class="entries" data-testid="deliveries">{deliveries.into_iter().map(entry).collect_view()}</ul></div>
    })
}
