use crate::model::{Account, ApiError, CurrentUser, Instance, SignedInDevice};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// Creates an account, signs it in with a cookie and redirects to `/`. The first account is an admin. Anyone may call
/// it.
///
/// # Errors
/// `TooMany` while too many passwords are being hashed.
#[server(prefix = "/api/v1", endpoint = "register")]
pub async fn register(
    /// 2 to 32 letters, digits, dots, hyphens or underscores, starting with a letter or digit.
    username: String,
    /// `name@example.org`, for notifications; no other account may have it.
    email: String,
    /// [`PASSWORD_MIN_CHARS`](crate::model::PASSWORD_MIN_CHARS) to
    /// [`PASSWORD_MAX_CHARS`](crate::model::PASSWORD_MAX_CHARS) characters, and hard to guess.
    password: String,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let state = request_context::app_state()?;
    state.register(&username, &email, &password).await?;
    request_context::sign_in(&state, &username, &password, None).await
}

/// Signs in with a cookie and redirects to `next`. Anyone may call it.
///
/// # Errors
/// `TooMany` while too many passwords are being hashed.
#[server(prefix = "/api/v1", endpoint = "sign_in")]
pub async fn sign_in(
    /// The account's user name, in upper or lower case.
    username: String,
    /// The account's password.
    password: String,
    /// The page to open: a path on this server such as `/vms/4`. Anything else means `/`.
    #[server(default)]
    next: Option<String>,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let state = request_context::app_state()?;
    request_context::sign_in(&state, &username, &password, next.as_deref()).await
}

/// Ends the session of the request, if it has one, and redirects to `/sign-in`. Anyone may call it.
#[server(prefix = "/api/v1", endpoint = "sign_out")]
pub async fn sign_out() -> Result<(), ApiError> {
    use crate::server::web::request_context;
    request_context::sign_out(&request_context::app_state()?).await
}

/// The signed-in user; `None` without a session. Anyone may call it.
#[server(prefix = "/api/v1", endpoint = "current_user", input = GetUrl)]
pub async fn get_current_user() -> Result<Option<CurrentUser>, ApiError> {
    use crate::server::web::request_context;
    request_context::current_user().await
}

/// This server's provider and version, and whether it has an account yet. Anyone may call it.
#[server(prefix = "/api/v1", endpoint = "instance", input = GetUrl)]
pub async fn get_instance() -> Result<Instance, ApiError> {
    use crate::server::web::request_context;
    let state = request_context::app_state()?;
    state.instance(request_context::transport(&state)).await
}

/// Changes the caller's password and signs out their other devices. A browser gets a new session cookie.
///
/// # Errors
/// `TooMany` while too many passwords are being hashed.
#[server(prefix = "/api/v1", endpoint = "change_password")]
pub async fn change_password(
    /// The current password, which proves that it is the user.
    old_password: String,
    /// [`PASSWORD_MIN_CHARS`](crate::model::PASSWORD_MIN_CHARS) to
    /// [`PASSWORD_MAX_CHARS`](crate::model::PASSWORD_MAX_CHARS) characters, and hard to guess.
    new_password: String,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    let token = request_context::session_token(&state);
    let rotated = state.accounts.change_password(&user, &token, &old_password, &new_password).await?;
    rotated.map_or(Ok(()), |token| request_context::set_session_cookie(&state, &token))
}

/// The caller's sessions: first the one of the request, then those used last.
#[server(prefix = "/api/v1", endpoint = "my_devices", input = GetUrl)]
pub async fn my_devices() -> Result<Vec<SignedInDevice>, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.accounts.devices(&user, &request_context::session_token(&state)).await
}

/// Signs out one of the caller's devices.
///
/// # Errors
/// `NotFound` if the caller has no such session.
#[server(prefix = "/api/v1", endpoint = "end_session")]
pub async fn end_session(
    /// [`SignedInDevice::id`] of one of the caller's sessions.
    session_id: i64,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.accounts.end_session(&user, session_id).await
}

/// Signs out all of the caller's devices except the one of the request.
#[server(prefix = "/api/v1", endpoint = "end_other_sessions")]
pub async fn end_other_sessions() -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.accounts.end_other_sessions(&user, &request_context::session_token(&state)).await
}

/// Sets the colour theme of the caller's browser with a cookie, for a year. Anyone may call it.
#[server(prefix = "/api/v1", endpoint = "set_theme")]
pub async fn set_theme(
    /// `light`, `dark` or `system`.
    theme: String,
) -> Result<(), ApiError> {
    use crate::{model::Theme, server::web::request_context};
    let theme = Theme::parse(&theme)
        .ok_or_else(|| ApiError::invalid_field("theme", "A theme is light, dark or system."))?;
    request_context::set_theme(&request_context::app_state()?, theme)
}

/// The first 200 matching accounts, by name. For admins.
#[server(prefix = "/api/v1", endpoint = "accounts", input = GetUrl)]
pub async fn list_accounts(
    /// Part of a user name or e-mail address, in upper or lower case; empty for all accounts.
    #[server(default)]
    search: String,
) -> Result<Vec<Account>, ApiError> {
    use crate::server::web::request_context;
    let (state, _) = request_context::require_admin().await?;
    state.accounts.list(&search).await
}

/// Creates an account. For admins.
///
/// # Errors
/// As [`register`].
#[server(prefix = "/api/v1", endpoint = "create_account")]
pub async fn create_account(
    /// As in [`register`].
    username: String,
    /// As in [`register`].
    email: String,
    /// As in [`register`].
    password: String,
    /// `user` or `admin`.
    role: String,
) -> Result<(), ApiError> {
    use crate::{model::Role, server::web::request_context};
    let (state, user) = request_context::require_admin().await?;
    let role =
        Role::parse(&role).ok_or_else(|| ApiError::invalid_field("role", "A role is user or admin."))?;
    state.accounts.create(&user, &username, &email, &password, role).await
}

/// Activates or deactivates an account; its VMs are not affected. For admins.
///
/// # Errors
/// `NotFound` if there is no such account; `Conflict` if the caller would deactivate their own.
#[server(prefix = "/api/v1", endpoint = "set_account_active")]
pub async fn set_account_active(
    /// [`Account::id`]; admins cannot deactivate their own account.
    account_id: i64,
    /// Whether the user can sign in; `false` also ends all sessions of the account.
    is_active: bool,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_admin().await?;
    state.accounts.set_active(&user, account_id, is_active).await
}

/// Sets the role of another account. For admins.
///
/// # Errors
/// `NotFound` if there is no such account; `Conflict` if it is the caller's own.
#[server(prefix = "/api/v1", endpoint = "set_account_role")]
pub async fn set_account_role(
    /// [`Account::id`] of another account than the caller's.
    account_id: i64,
    /// `user` or `admin`.
    role: String,
) -> Result<(), ApiError> {
    use crate::{model::Role, server::web::request_context};
    let (state, user) = request_context::require_admin().await?;
    let role =
        Role::parse(&role).ok_or_else(|| ApiError::invalid_field("role", "A role is user or admin."))?;
    state.accounts.set_role(&user, account_id, role).await
}

/// Gives credits to an account, or takes some. For admins.
///
/// # Errors
/// `NotFound` if there is no such account.
#[server(prefix = "/api/v1", endpoint = "grant_credits")]
pub async fn grant_credits(
    /// [`Account::id`] of the account to give to or take from.
    account_id: i64,
    /// Credits to give, or to take if negative: 1 to 1,000,000,000 either way.
    amount: i64,
    /// 1 to 200 characters, for the ledger and the user's events.
    reason: String,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_admin().await?;
    state.accounts.grant(&user, account_id, amount, &reason).await
}
