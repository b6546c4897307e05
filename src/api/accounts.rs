use crate::model::{Account, ApiError, Instance, Me, SignedInDevice};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// Makes an account, signs it in with a cookie and leads to `/`. The first account is the admin. Anyone may.
#[server(prefix = "/api/v1", endpoint = "register")]
pub async fn register(
    /// 2 to 32 letters, digits, dots, hyphens or underscores, starting with a letter or digit.
    username: String,
    /// `name@example.org`, for notifications; no other account may have it.
    email: String,
    /// At least [`PASSWORD_MIN_CHARS`](crate::model::PASSWORD_MIN_CHARS) characters and at most
    /// [`PASSWORD_MAX_BYTES`](crate::model::PASSWORD_MAX_BYTES) bytes.
    password: String,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let state = request_context::anyone()?;
    state.register(&username, &email, &password).await?;
    request_context::sign_in(&state, &username, &password, None).await
}

/// Signs in with a cookie and leads to `next`, a page of this server's, or else to `/`. Anyone may.
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
    let state = request_context::anyone()?;
    request_context::sign_in(&state, &username, &password, next.as_deref()).await
}

/// Ends the session this is called with and leads to `/sign-in`. Anyone may; without a session it does nothing.
#[server(prefix = "/api/v1", endpoint = "sign_out")]
pub async fn sign_out() -> Result<(), ApiError> {
    use crate::server::web::request_context;
    request_context::sign_out(&request_context::anyone()?).await
}

/// Who is signed in. Anyone may ask; nobody is `None`.
#[server(prefix = "/api/v1", endpoint = "current_user", input = GetUrl)]
pub async fn current_user() -> Result<Option<Me>, ApiError> {
    use crate::server::web::request_context;
    request_context::current_user().await
}

/// What kind of server this is. Anyone may ask.
#[server(prefix = "/api/v1", endpoint = "instance", input = GetUrl)]
pub async fn get_instance() -> Result<Instance, ApiError> {
    use crate::server::web::request_context;
    request_context::anyone()?.instance().await
}

/// Exchanges the caller's password and signs their other devices out.
#[server(prefix = "/api/v1", endpoint = "change_password")]
pub async fn change_password(
    /// The current password, which proves that it is the user.
    old_password: String,
    /// At least [`PASSWORD_MIN_CHARS`](crate::model::PASSWORD_MIN_CHARS) characters and at most
    /// [`PASSWORD_MAX_BYTES`](crate::model::PASSWORD_MAX_BYTES) bytes.
    new_password: String,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, me) = request_context::signed_in().await?;
    state
        .accounts
        .change_password(&me, &request_context::own_token(&state), &old_password, &new_password)
        .await
}

/// Where the caller is signed in; the device that asks comes first.
#[server(prefix = "/api/v1", endpoint = "my_devices", input = GetUrl)]
pub async fn my_devices() -> Result<Vec<SignedInDevice>, ApiError> {
    use crate::server::web::request_context;
    let (state, me) = request_context::signed_in().await?;
    state.accounts.devices(&me, &request_context::own_token(&state)).await
}

/// Signs one of the caller's devices out.
#[server(prefix = "/api/v1", endpoint = "end_session")]
pub async fn end_session(
    /// [`SignedInDevice::id`] of one of the caller's sessions.
    session_id: i64,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, me) = request_context::signed_in().await?;
    state.accounts.end_session(&me, session_id).await
}

/// Signs all of the caller's devices out but the one that asks.
#[server(prefix = "/api/v1", endpoint = "end_other_sessions")]
pub async fn end_other_sessions() -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, me) = request_context::signed_in().await?;
    state.accounts.end_other_sessions(&me, &request_context::own_token(&state)).await
}

/// Has the caller's browser show its pages in `light`, `dark`, or as its `system` does. Anyone may.
#[server(prefix = "/api/v1", endpoint = "set_theme")]
pub async fn set_theme(
    /// `light`, `dark` or `system`.
    theme: String,
) -> Result<(), ApiError> {
    use crate::{model::Theme, server::web::request_context};
    let theme = Theme::parse(&theme)
        .ok_or_else(|| ApiError::invalid_field("theme", "A theme is light, dark or system."))?;
    request_context::set_theme(theme)
}

/// The first 200 accounts by name, of those whose name or e-mail address has `search` in it; for admins.
#[server(prefix = "/api/v1", endpoint = "accounts", input = GetUrl)]
pub async fn list_accounts(
    /// Part of a user name or e-mail address, in upper or lower case; empty for all accounts.
    #[server(default)]
    search: String,
) -> Result<Vec<Account>, ApiError> {
    use crate::server::web::request_context;
    let (state, _) = request_context::admin().await?;
    state.accounts.list(&search).await
}

/// Makes an account for somebody; for admins. `role` is `user` or `admin`.
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
    let (state, _) = request_context::admin().await?;
    let role =
        Role::parse(&role).ok_or_else(|| ApiError::invalid_field("role", "A role is user or admin."))?;
    state.accounts.create(&username, &email, &password, Some(role)).await?;
    Ok(())
}

/// Lets somebody sign in, or shuts them out and ends their sessions; for admins, of others.
#[server(prefix = "/api/v1", endpoint = "set_account_active")]
pub async fn set_account_active(
    /// [`Account::id`]; admins cannot deactivate their own account.
    account_id: i64,
    /// Whether the user can sign in; `false` also ends all sessions of the account.
    is_active: bool,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, me) = request_context::admin().await?;
    state.accounts.set_active(&me, account_id, is_active).await
}

/// Gives somebody the role `user` or `admin`; for admins, of others.
#[server(prefix = "/api/v1", endpoint = "set_account_role")]
pub async fn set_account_role(
    /// [`Account::id`] of another account than the caller's.
    account_id: i64,
    /// `user` or `admin`.
    role: String,
) -> Result<(), ApiError> {
    use crate::{model::Role, server::web::request_context};
    let (state, me) = request_context::admin().await?;
    let role =
        Role::parse(&role).ok_or_else(|| ApiError::invalid_field("role", "A role is user or admin."))?;
    state.accounts.set_role(&me, account_id, role).await
}

/// Gives an account credits, or takes some with an `amount` below 0, for a reason that is kept; for admins.
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
    let (state, me) = request_context::admin().await?;
    state.accounts.grant(&me, account_id, amount, &reason).await
}
