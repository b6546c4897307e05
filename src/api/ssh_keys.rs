use crate::model::{ApiError, SshGateway, SshKey};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The caller's public keys, newest first.
#[server(prefix = "/api/v1", endpoint = "list_ssh_keys", input = GetUrl)]
pub async fn list_ssh_keys() -> Result<Vec<SshKey>, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.accounts.ssh_keys(&user).await
}

/// Adds a public key to the caller's account. Whoever has its private key may connect to the caller's VMs over ssh.
///
/// # Errors
/// `Conflict` if the key is there already, in this account or in another, or if the account has
/// [`SSH_KEYS_MAX`](crate::model::SSH_KEYS_MAX).
#[server(prefix = "/api/v1", endpoint = "add_ssh_key")]
pub async fn add_ssh_key(
    /// One line in OpenSSH's form, at most [`SSH_KEY_MAX_BYTES`](crate::model::SSH_KEY_MAX_BYTES): Ed25519, ECDSA, or RSA of
    /// at least 2048 bits.
    public_key: String,
    /// At most [`SSH_KEY_NAME_MAX_CHARS`](crate::model::SSH_KEY_NAME_MAX_CHARS) characters; empty for the key's comment.
    #[server(default)]
    name: String,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.accounts.add_ssh_key(&user, &public_key, &name).await
}

/// Deletes one of the caller's public keys, and ends the connections that were opened with it.
///
/// # Errors
/// `NotFound` if the caller has no such key.
#[server(prefix = "/api/v1", endpoint = "delete_ssh_key")]
pub async fn delete_ssh_key(
    /// [`SshKey::id`].
    key_id: i64,
) -> Result<(), ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.accounts.delete_ssh_key(&user, key_id).await
}

/// How the caller's ssh client reaches VMs; `None` if the server has no ssh gateway.
#[server(prefix = "/api/v1", endpoint = "ssh_gateway", input = GetUrl)]
pub async fn get_ssh_gateway() -> Result<Option<SshGateway>, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    let Some(listening) = state.gateway.listening() else { return Ok(None) };
    let host = request_context::ssh_host(&state);
    Ok(Some(SshGateway {
        is_local: listening.is_loopback && !host.is_loopback(),
        host: crate::server::gateway::host_name(&host),
        port: listening.port,
        fingerprint: listening.fingerprint.clone(),
        has_key: !state.accounts.ssh_keys(&user).await?.is_empty(),
    }))
}
