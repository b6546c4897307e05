use crate::model::{ApiError, Instance, Me};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// Makes an account, signs it in with a cookie and leads to `/`. The first account is the admin. Anyone may.
#[server(prefix = "/api/v1", endpoint = "register")]
pub async fn register(username: String, email: String, password: String) -> Result<(), ApiError> {
    use crate::server::web::call;
    let state = call::anyone()?;
    state.register(&username, &email, &password).await?;
    call::sign_in(&state, &username, &password).await
}

/// Signs in with a cookie and leads to `/`. Anyone may.
#[server(prefix = "/api/v1", endpoint = "sign_in")]
pub async fn sign_in(username: String, password: String) -> Result<(), ApiError> {
    use crate::server::web::call;
    let state = call::anyone()?;
    call::sign_in(&state, &username, &password).await
}

/// Ends the session this is called with and leads to `/sign-in`. Anyone may; without a session it does nothing.
#[server(prefix = "/api/v1", endpoint = "sign_out")]
pub async fn sign_out() -> Result<(), ApiError> {
    use crate::server::web::call;
    call::sign_out(&call::anyone()?).await
}

/// Who is signed in. Anyone may ask; nobody is `None`.
#[server(prefix = "/api/v1", endpoint = "current_user", input = GetUrl)]
pub async fn current_user() -> Result<Option<Me>, ApiError> {
    use crate::server::web::call;
    call::whoever().await
}

/// What kind of server this is. Anyone may ask.
#[server(prefix = "/api/v1", endpoint = "instance", input = GetUrl)]
pub async fn get_instance() -> Result<Instance, ApiError> {
    use crate::server::web::call;
    call::anyone()?.instance().await
}
