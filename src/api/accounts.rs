use crate::model::{Account, ApiError, CurrentUser, Instance, SignedInDevice};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// Creates an account, signs in with a cookie and redirects to `/`. The first account is an admin's. Open to everyone.
#[server(prefix = "/api/v1", endpoint = "register")]
pub async fn register(username: String, email: String, password: String) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let state = request_context::app_state()?;
    state.register(&username, &email, &password).await?;
    request_context::sign_in(&state, &username, &password, None).await
}

/// Signs in with a cookie and redirects to `next`, if that is a page of this server, or to `/`. Open to everyone.
#[server(prefix = "/api/v1", endpoint = "sign_in")]
pub async fn sign_in(
    username: String,
    password: String,
    #[server(default)] next: Option<String>,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let state = request_context::app_state()?;
    request_context::sign_in(&state, &username, &password, next.as_deref()).await
}

/// Ends the current session, if there is one, and redirects to `/sign-in`. Open to everyone.
#[server(prefix = "/api/v1", endpoint = "sign_out")]
pub async fn sign_out() -> Result<(), ApiError> {
    use crate::server::web::request_context;
    request_context::sign_out(&request_context::app_state()?).await
}

/// The signed-in user, `None` without one. Open to everyone.
#[server(prefix = "/api/v1", endpoint = "current_user", input = GetUrl)]
pub async fn get_current_user() -> Result<Option<CurrentUser>, ApiError> {
    use crate::server::web::request_context;
    request_context::current_user().await
}

/// The server's version, provider and state. Open to everyone.
#[server(prefix = "/api/v1", endpoint = "instance", input = GetUrl)]
pub async fn get_instance() -> Result<Instance, ApiError> {
    use crate::server::web::request_context;
    request_context::app_state()?.instance().await
}

/// Changes the user's password and ends all other sessions.
#[server(prefix = "/api/v1", endpoint = "change_password")]
pub async fn change_password(old_password: String, new_password: String) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state
        .accounts
        .change_password(&user, &request_context::session_token(&state), &old_password, &new_password)
        .await
}

/// The user's sessions, the current one first.
#[server(prefix = "/api/v1", endpoint = "my_devices", input = GetUrl)]
pub async fn my_devices() -> Result<Vec<SignedInDevice>, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.accounts.devices(&user, &request_context::session_token(&state)).await
}

/// Ends one of the user's sessions.
#[server(prefix = "/api/v1", endpoint = "end_session")]
pub async fn end_session(session_id: i64) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.accounts.end_session(&user, session_id).await
}

/// Ends all of the user's sessions but the current one.
#[server(prefix = "/api/v1", endpoint = "end_other_sessions")]
pub async fn end_other_sessions() -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.accounts.end_other_sessions(&user, &request_context::session_token(&state)).await
}

/// Sets the browser's theme: `light`, `dark` or `system`. Open to everyone.
#[server(prefix = "/api/v1", endpoint = "set_theme")]
pub async fn set_theme(theme: String) -> Result<(), ApiError> {
    use crate::{model::Theme, server::web::request_context};
    let theme = Theme::parse(&theme)
        .ok_or_else(|| ApiError::invalid_field("theme", "A theme is light, dark or system."))?;
    request_context::set_theme(theme)
}

/// The first 200 accounts by name whose name or e-mail address contains `search`; for admins.
#[server(prefix = "/api/v1", endpoint = "accounts", input = GetUrl)]
pub async fn list_accounts(#[server(default)] search: String) -> Result<Vec<Account>, ApiError> {
    use crate::server::web::request_context;
    let (state, _) = request_context::require_admin().await?;
    state.accounts.list(&search).await
}

/// Creates an account; for admins. `role` is `user` or `admin`.
#[server(prefix = "/api/v1", endpoint = "create_account")]
pub async fn create_account(
    username: String,
    email: String,
    password: String,
    role: String,
) -> Result<(), ApiError> {
    use crate::{model::Role, server::web::request_context};
    let (state, _) = request_context::require_admin().await?;
    let role =
        Role::parse(&role).ok_or_else(|| ApiError::invalid_field("role", "A role is user or admin."))?;
    state.accounts.create(&username, &email, &password, Some(role)).await?;
    Ok(())
}

/// Activates an account, or deactivates it and ends its sessions; for admins, not for their own.
#[server(prefix = "/api/v1", endpoint = "set_account_active")]
pub async fn set_account_active(account_id: i64, is_active: bool) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_admin().await?;
    state.accounts.set_active(&user, account_id, is_active).await
}

/// Sets the role of an account, `user` or `admin`; for admins, not for their own.
#[server(prefix = "/api/v1", endpoint = "set_account_role")]
pub async fn set_account_role(account_id: i64, role: String) -> Result<(), ApiError> {
    use crate::{model::Role, server::web::request_context};
    let (state, user) = request_context::require_admin().await?;
    let role =
        Role::parse(&role).ok_or_else(|| ApiError::invalid_field("role", "A role is user or admin."))?;
    state.accounts.set_role(&user, account_id, role).await
}

/// Adds credits to an account, or removes some with a negative `amount`; the reason is recorded. For admins.
#[server(prefix = "/api/v1", endpoint = "grant_credits")]
pub async fn grant_credits(account_id: i64, amount: i64, reason: String) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_admin().await?;
    state.accounts.grant(&user, account_id, amount, &reason).await
}
