use crate::model::{ApiError, RecoveryCodes, SecondFactor};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The caller's second factor, also for an admin who must set one up first. What was begun to be set up is part of it, and
/// codes that the caller made last by a form without JavaScript, once and within a minute.
#[server(prefix = "/api/v1", endpoint = "my_second_factor", input = GetUrl)]
pub async fn my_second_factor() -> Result<SecondFactor, ApiError> {
    use crate::server::web::request_context;
    let (state, session) = request_context::require_session().await?;
    let factor = state.accounts.second_factor(&session.user).await?;
    let new_codes = state.new_recovery_codes.take(session.user.id, std::time::Instant::now());
    Ok(SecondFactor { new_codes, ..factor })
}

/// Begins to set up the caller's second factor with a new secret, which [`my_second_factor`] shows for an hour. An earlier
/// second factor stays on until this one is confirmed. Also for an admin who must set one up first.
///
/// # Errors
/// `PasswordNeeded`.
#[server(prefix = "/api/v1", endpoint = "begin_second_factor")]
pub async fn begin_second_factor() -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, recent) = request_context::require_recent_sign_in().await?;
    state.accounts.begin_second_factor(&recent).await.map(drop)
}

/// Turns on the second factor that was begun. Its recovery codes are in this answer only; a browser without JavaScript gets
/// them once from [`my_second_factor`]. Also for an admin who must set one up first.
///
/// # Errors
/// `PasswordNeeded`; `Conflict` if none was begun within the last hour; `TooMany` after too many wrong codes.
#[server(prefix = "/api/v1", endpoint = "confirm_second_factor")]
pub async fn confirm_second_factor(
    /// The authenticator app's current code: 6 digits.
    code: String,
) -> Result<RecoveryCodes, ApiError> {
    use crate::server::web::request_context;
    let (state, recent) = request_context::require_recent_sign_in().await?;
    let address = request_context::caller_address();
    let codes = state.accounts.confirm_second_factor(&recent, &code, address).await?;
    Ok(request_context::answered_once(&state.new_recovery_codes, recent.account_id(), codes))
}

/// Replaces the caller's recovery codes. They are given as by [`confirm_second_factor`].
///
/// # Errors
/// `PasswordNeeded`; `Conflict` if the caller has no second factor.
#[server(prefix = "/api/v1", endpoint = "renew_recovery_codes")]
pub async fn renew_recovery_codes() -> Result<RecoveryCodes, ApiError> {
    use crate::server::web::request_context;
    request_context::require_user().await?;
    let (state, recent) = request_context::require_recent_sign_in().await?;
    let codes = state.accounts.renew_recovery_codes(&recent).await?;
    Ok(request_context::answered_once(&state.new_recovery_codes, recent.account_id(), codes))
}

/// Turns the caller's second factor off.
///
/// # Errors
/// `PasswordNeeded`; `Conflict` if the caller has none, or is an admin and the server requires one of admins.
#[server(prefix = "/api/v1", endpoint = "remove_second_factor")]
pub async fn remove_second_factor() -> Result<(), ApiError> {
    use crate::server::web::request_context;
    request_context::require_user().await?;
    let (state, recent) = request_context::require_recent_sign_in().await?;
    state.accounts.remove_second_factor(&recent).await
}

/// Notes that the caller has entered their password again, for what fails with `PasswordNeeded` otherwise, and redirects to
/// `next`. It holds for 10 minutes. Also for an admin who must set up a second factor first.
///
/// # Errors
/// `Invalid` with the field `code` when the password is right, but the caller has a second factor and the code is missing or
/// wrong; `TooMany` after too many wrong passwords in this session, and while too many passwords are being hashed.
#[server(prefix = "/api/v1", endpoint = "confirm_password")]
pub async fn confirm_password(
    /// The caller's password.
    password: String,
    /// As in [`sign_in`](crate::api::sign_in).
    #[server(default)]
    code: String,
    /// As in [`sign_in`](crate::api::sign_in).
    #[server(default)]
    next: Option<String>,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, session) = request_context::require_session().await?;
    let token = request_context::session_token(&state);
    let address = request_context::caller_address();
    state.accounts.confirm_password(&session.user, &token, &password, &code, address).await?;
    request_context::redirect(request_context::local_path(next.as_deref()));
    Ok(())
}

/// Removes the second factor of a user who has lost theirs. For admins.
///
/// # Errors
/// `PasswordNeeded`; `NotFound` if there is no such account; `Conflict` if it is the caller's own or has none.
#[server(prefix = "/api/v1", endpoint = "remove_account_second_factor")]
pub async fn remove_account_second_factor(
    /// [`Account::id`](crate::model::Account::id) of another account than the caller's.
    account_id: i64,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_admin().await?;
    let (_, recent) = request_context::require_recent_sign_in().await?;
    state.accounts.remove_second_factor_of(&user, account_id, &recent).await
}

/// Decides whether admins need a second factor. Admins without one can then only set one up. For admins.
///
/// # Errors
/// `PasswordNeeded`; `Conflict` if the caller has none.
#[server(prefix = "/api/v1", endpoint = "require_second_factor")]
pub async fn require_second_factor(
    /// Whether admins need one.
    is_required: bool,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_admin().await?;
    let (_, recent) = request_context::require_recent_sign_in().await?;
    state.accounts.require_second_factor(&user, is_required, &recent).await
}
