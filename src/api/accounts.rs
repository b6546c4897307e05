use crate::model::{Account, ApiError, CurrentUser, Instance, Invitation, OneTimeLink, SignedInDevice};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// Creates an account, signs it in with a cookie and redirects to `/`. The first account is an admin. Anyone may call
/// it; what it requires depends on [`Instance::registration`].
///
/// # Errors
/// `Forbidden` while registration is closed; `TooMany` after 10 wrong setup codes in a minute, and while too many passwords
/// are being hashed.
#[server(prefix = "/api/v1", endpoint = "register")]
pub async fn register(
    /// 2 to 32 letters, digits, dots, hyphens or underscores, starting with a letter or digit.
    username: String,
    /// `name@example.org`, for notifications; no other account may have it.
    email: String,
    /// [`PASSWORD_MIN_CHARS`](crate::model::PASSWORD_MIN_CHARS) to
    /// [`PASSWORD_MAX_CHARS`](crate::model::PASSWORD_MAX_CHARS) characters, and hard to guess.
    password: String,
    /// The code that the server printed when it started; only for the first account.
    #[server(default)]
    setup_code: String,
    /// The code of an invitation: the part of its link behind `#`.
    #[server(default)]
    invitation: String,
) -> Result<(), ApiError> {
    use crate::server::{accounts::RegistrationForm, web::request_context};
    let state = request_context::app_state()?;
    let form = RegistrationForm {
        username: &username,
        email: &email,
        password: &password,
        setup_code: &setup_code,
        invitation: &invitation,
    };
    state.register(form, request_context::caller_address()).await?;
    request_context::sign_in(&state, &username, &password, "", None).await
}

/// Signs in with a cookie and redirects to `next`. Anyone may call it.
///
/// # Errors
/// `Invalid` with the field `code` when name and password are right, but the account has a second factor and the code is
/// missing or wrong; `TooMany` after too many wrong passwords for this user name or from this address, except in a browser where the account
/// was signed in before, which has its own limit; also while too many passwords are being hashed.
/// [`ApiError::retry_after_secs`] says when to try again.
#[server(prefix = "/api/v1", endpoint = "sign_in")]
pub async fn sign_in(
    /// The account's user name, in upper or lower case.
    username: String,
    /// The account's password.
    password: String,
    /// A code of the account's authenticator app, or one of its recovery codes; only if it has a second factor.
    #[server(default)]
    code: String,
    /// The page to open: a path on this server such as `/vms/4`. Anything else means `/`.
    #[server(default)]
    next: Option<String>,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let state = request_context::app_state()?;
    request_context::sign_in(&state, &username, &password, &code, next.as_deref()).await
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

/// This server's provider and version, whether it has an account yet, and who may create one. Anyone may call it.
#[server(prefix = "/api/v1", endpoint = "instance", input = GetUrl)]
pub async fn get_instance() -> Result<Instance, ApiError> {
    use crate::server::web::request_context;
    let state = request_context::app_state()?;
    state.instance(request_context::transport(&state)).await
}

/// Changes the caller's password and signs out their other devices. A browser gets a new session cookie.
///
/// # Errors
/// `TooMany` after too many wrong passwords in this session, and while too many passwords are being hashed;
/// [`ApiError::retry_after_secs`] says when to try again.
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
    let address = request_context::caller_address();
    let rotated =
        state.accounts.change_password(&user, &token, &old_password, &new_password, address).await?;
    state.terminals.end_of(&user, "Your password was changed.").await;
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
    let (state, admin) = request_context::require_admin().await?;
    state.accounts.list(&admin, &search).await
}

/// Creates an account. For admins.
///
/// # Errors
/// As [`register`]; `PasswordNeeded` for another admin's.
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
    let (state, admin) = request_context::require_admin().await?;
    let role =
        Role::parse(&role).ok_or_else(|| ApiError::invalid_field("role", "A role is user or admin."))?;
    if role == Role::Admin {
        request_context::require_recent_sign_in().await?;
    }
    state.accounts.create(&admin, &username, &email, &password, role).await
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
    let (state, admin) = request_context::require_admin().await?;
    state.accounts.set_active(&admin, account_id, is_active).await
}

/// Sets the role of another account. For admins.
///
/// # Errors
/// `PasswordNeeded`; `NotFound` if there is no such account; `Conflict` if it is the caller's own.
#[server(prefix = "/api/v1", endpoint = "set_account_role")]
pub async fn set_account_role(
    /// [`Account::id`] of another account than the caller's.
    account_id: i64,
    /// `user` or `admin`.
    role: String,
) -> Result<(), ApiError> {
    use crate::{model::Role, server::web::request_context};
    let (state, admin) = request_context::require_admin().await?;
    let role =
        Role::parse(&role).ok_or_else(|| ApiError::invalid_field("role", "A role is user or admin."))?;
    let (_, recent) = request_context::require_recent_sign_in().await?;
    state.accounts.set_role(&admin, account_id, role, &recent).await
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
    let (state, admin) = request_context::require_admin().await?;
    state.accounts.grant(&admin, account_id, amount, &reason).await
}

/// Creates an invitation, by which somebody creates an account. Its link is in this answer only; a browser without
/// JavaScript gets it once from [`new_link`]. For admins.
///
/// # Errors
/// `PasswordNeeded` for one with the role of an admin; `Conflict` while registration is closed, and if 200 invitations are
/// open.
#[server(prefix = "/api/v1", endpoint = "create_invitation")]
pub async fn create_invitation(
    /// For how many days it is valid: 1 to [`INVITATION_MAX_DAYS`](crate::model::INVITATION_MAX_DAYS).
    days: u32,
    /// The role that the account gets: `user` or `admin`.
    role: String,
    /// The credits that the account gets, 0 to [`INVITATION_MAX_CREDITS`](crate::model::INVITATION_MAX_CREDITS); empty for
    /// those of a new account of this role.
    #[server(default)]
    credits: String,
    /// For whom it is, for the list: at most [`INVITATION_NOTE_MAX_CHARS`](crate::model::INVITATION_NOTE_MAX_CHARS)
    /// characters on a single line.
    #[server(default)]
    note: String,
) -> Result<OneTimeLink, ApiError> {
    use crate::{
        model::Role,
        server::{accounts::NewInvitation, web::request_context},
    };
    let (state, admin) = request_context::require_admin().await?;
    let invitation = NewInvitation::new(days, &role, &credits, &note)?;
    if invitation.role == Role::Admin {
        request_context::require_recent_sign_in().await?;
    }
    let (token, expires_at) = state.invite(&admin, &invitation).await?;
    let url = request_context::link_with_token(&state, "/register", &token);
    Ok(request_context::shown_once(&state, &admin, OneTimeLink { url, expires_at, username: None }))
}

/// The open invitations, newest first. For admins.
#[server(prefix = "/api/v1", endpoint = "invitations", input = GetUrl)]
pub async fn list_invitations() -> Result<Vec<Invitation>, ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    state.accounts.invitations(&admin).await
}

/// Ends an open invitation. For admins.
///
/// # Errors
/// `NotFound` if there is no such invitation.
#[server(prefix = "/api/v1", endpoint = "revoke_invitation")]
pub async fn revoke_invitation(
    /// [`Invitation::id`].
    invitation_id: i64,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    state.accounts.revoke_invitation(&admin, invitation_id).await
}

/// Creates a link by which a user sets a new password within an hour; it ends the account's former link. It is in this answer
/// only; a browser without JavaScript gets it once from [`new_link`]. For admins.
///
/// # Errors
/// `PasswordNeeded`; `NotFound` if there is no such account; `Conflict` if it is the caller's own or deactivated.
#[server(prefix = "/api/v1", endpoint = "create_password_link")]
pub async fn create_password_link(
    /// [`Account::id`] of another account than the caller's.
    account_id: i64,
) -> Result<OneTimeLink, ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    let (_, recent) = request_context::require_recent_sign_in().await?;
    let (username, token, expires_at) =
        state.accounts.create_password_link(&admin, account_id, &recent).await?;
    let url = request_context::link_with_token(&state, "/new-password", &token);
    Ok(request_context::shown_once(&state, &admin, OneTimeLink { url, expires_at, username: Some(username) }))
}

/// The link that the caller created last by a form without JavaScript, once and within a minute. For admins.
#[server(prefix = "/api/v1", endpoint = "new_link", input = GetUrl)]
pub async fn new_link() -> Result<Option<OneTimeLink>, ApiError> {
    use crate::server::web::request_context;
    let (state, admin) = request_context::require_admin().await?;
    Ok(state.new_links.take(admin.id, std::time::Instant::now()))
}

/// Sets a new password with the link that an admin created, signs the user out everywhere and redirects to `/sign-in`.
/// Anyone may call it.
///
/// # Errors
/// `TooMany` while too many passwords are being hashed.
#[server(prefix = "/api/v1", endpoint = "set_password_by_link")]
pub async fn set_password_by_link(
    /// The part of the link behind `#`.
    link: String,
    /// [`PASSWORD_MIN_CHARS`](crate::model::PASSWORD_MIN_CHARS) to
    /// [`PASSWORD_MAX_CHARS`](crate::model::PASSWORD_MAX_CHARS) characters, and hard to guess.
    new_password: String,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let state = request_context::app_state()?;
    let address = request_context::caller_address();
    state.accounts.set_password_by_link(&link, &new_password, address).await?;
    request_context::redirect("/sign-in?done=password");
    Ok(())
}
