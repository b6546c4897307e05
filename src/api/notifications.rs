use crate::model::{ApiError, NotificationSettings};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// How the caller is notified about alerts, with their newest 10 messages.
#[server(prefix = "/api/v1", endpoint = "my_notifications", input = GetUrl)]
pub async fn my_notifications() -> Result<NotificationSettings, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.notifications.settings(&user).await
}

/// Sets where the caller's alerts are sent, and creates a new secret to sign them with.
#[server(prefix = "/api/v1", endpoint = "set_webhook")]
pub async fn set_webhook(
    /// An `https://` or `http://` address of at most 500 characters; empty for no webhook.
    #[server(default)]
    url: String,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.notifications.set_webhook(&user, &url).await
}

/// Turns e-mails about the caller's alerts on or off. Turning them on sends a link to an address that is not confirmed yet,
/// each time; nothing else is sent there before [`confirm_email`].
///
/// # Errors
/// `Conflict` if the server has no e-mail configured, or no address for links in e-mails; `TooMany` after 3 links in an hour
/// or 10 in a day to the same mailbox.
#[server(prefix = "/api/v1", endpoint = "set_email_notifications")]
pub async fn set_email_notifications(
    /// Whether alerts are sent by e-mail; `true` needs a server with e-mail configured.
    is_on: bool,
) -> Result<(), ApiError> {
    use crate::server::{database, web::request_context};
    let (state, user) = request_context::require_user().await?;
    state.notifications.set_email(&user, is_on, database::now()).await
}

/// Confirms the e-mail address that the link was sent to, and redirects to a page that says so. Anyone may call it.
#[server(prefix = "/api/v1", endpoint = "confirm_email")]
pub async fn confirm_email(
    /// The part of the link behind `#`.
    link: String,
) -> Result<(), ApiError> {
    use crate::server::{database, web::request_context};
    let state = request_context::app_state()?;
    state.notifications.confirm_email(&link, database::now()).await?;
    request_context::redirect("/confirm-email?done=email");
    Ok(())
}

/// Sets whether the caller is notified about all VMs. For admins.
#[server(prefix = "/api/v1", endpoint = "set_notify_of_all")]
pub async fn set_notify_of_all(
    /// `true` for all VMs, `false` for the caller's own VMs and the host.
    is_on: bool,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    state.notifications.set_of_all(&admin, is_on).await
}

/// Sends the caller a test message; its outcome is among the messages of [`my_notifications`].
///
/// # Errors
/// `Conflict` if the channel is not configured or the e-mail address not confirmed; `TooMany` if there was a test a moment ago.
#[server(prefix = "/api/v1", endpoint = "test_notification")]
pub async fn test_notification(
    /// `webhook` or `email`.
    channel: String,
) -> Result<(), ApiError> {
    use crate::{
        model::Channel,
        server::{database, web::request_context},
    };
    let (state, user) = request_context::require_user().await?;
    let channel = Channel::parse(&channel)
        .ok_or_else(|| ApiError::invalid_field("channel", "A channel is webhook or email."))?;
    state.notifications.test(&user, channel, database::now()).await
}
