//! Registration, sign-in and the current user.

use super::extract::{ApiForm, ApiJson};
use crate::{
    model::{ApiError, CurrentUser},
    server::{
        accounts::{Carrier, Device, RegistrationForm},
        state::AppState,
        web::request_context,
    },
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
pub struct Registration {
    username: String,
    email: String,
    password: String,
    #[serde(default)]
    setup_code: String,
    #[serde(default)]
    invitation: String,
}

pub async fn register(
    State(state): State<AppState>,
    parts: Parts,
    ApiJson(registration): ApiJson<Registration>,
) -> Result<Response, ApiError> {
    let form = RegistrationForm {
        username: &registration.username,
        email: &registration.email,
        password: &registration.password,
        setup_code: &registration.setup_code,
        invitation: &registration.invitation,
    };
    let user = state.register(form, request_context::client_address(&parts.extensions)).await?;
    Ok((StatusCode::CREATED, Json(user)).into_response())
}

#[derive(Deserialize)]
pub struct Credentials {
    username: String,
    password: String,
    #[serde(default)]
    code: String,
}

pub async fn login(
    State(state): State<AppState>,
    parts: Parts,
    ApiForm(credentials): ApiForm<Credentials>,
) -> Result<Response, ApiError> {
    let device = Device {
        carrier: Carrier::Bearer,
        user_agent: request_context::user_agent(&parts.headers),
        session_token: None,
        known_device_token: None,
        address: request_context::client_address(&parts.extensions),
    };
    let Credentials { username, password, code } = credentials;
    let tokens = state.accounts.sign_in(&username, &password, &code, device).await?;
    Ok(Json(json!({ "access_token": tokens.session.expose(), "token_type": "bearer" })).into_response())
}

pub async fn current_user(user: CurrentUser) -> Json<CurrentUser> {
    Json(user)
}
