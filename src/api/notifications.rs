use crate::model::{ApiError, NotificationSettings};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The user's notification settings, with the newest messages and their delivery states.
#[server(prefix = "/api/v1", endpoint = "my_notifications", input = GetUrl)]
pub async fn my_notifications() -> Result<NotificationSettings, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.notifications.settings(&user).await
}

/// Sets the webhook for the user's alerts, with a new secret; an empty `url` removes it.
#[server(prefix = "/api/v1", endpoint = "set_webhook")]
pub async fn set_webhook(#[server(default)] url: String) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.notifications.set_webhook(&user, &url).await
}

/// Whether the user's alerts are sent to their e-mail address.
#[server(prefix = "/api/v1", endpoint = "set_email_notifications")]
pub async fn set_email_notifications(is_on: bool) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.notifications.set_email(&user, is_on).await
}

/// Whether the user, an admin, is notified about the VMs of all users.
#[server(prefix = "/api/v1", endpoint = "set_notify_of_all")]
pub async fn set_notify_of_all(is_on: bool) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_admin().await?;
    state.notifications.set_of_all(&user, is_on).await
}

/// Sends the user a test by `webhook` or `email`; the settings then show its delivery state.
#[server(prefix = "/api/v1", endpoint = "test_notification")]
pub async fn test_notification(channel: String) -> Result<(), ApiError> {
    use crate::{
        model::Channel,
        server::{database, web::request_context},
    };
    let (state, user) = request_context::require_user().await?;
    let channel = Channel::parse(&channel)
        .ok_or_else(|| ApiError::invalid_field("channel", "A channel is webhook or email."))?;
    state.notifications.test(&user, channel, database::now()).await
}
