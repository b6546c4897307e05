use super::UtcMillis;
use serde::{Deserialize, Serialize};

/// How many public keys an account may have.
pub const SSH_KEYS_MAX: i64 = 50;
/// The longest text that is read as a public key, in bytes.
pub const SSH_KEY_MAX_BYTES: usize = 16 * 1024;
/// The longest name of a key.
pub const SSH_KEY_NAME_MAX_CHARS: usize = 100;

/// A public key of the caller's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshKey {
    /// Its id, unique on this server.
    pub id: i64,
    /// As the user calls it.
    pub name: String,
    /// As OpenSSH names it: `ssh-ed25519`, `ssh-rsa`, …
    pub algorithm: String,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// When it was added.
    pub created_at: UtcMillis,
    /// When a connection was last opened with it.
    pub last_used_at: Option<UtcMillis>,
}

/// How the caller's ssh client reaches VMs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshGateway {
    /// The server's host name or address, as the caller knows it.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// `SHA256:…` of its host key, which ssh shows at the first connection.
    pub fingerprint: String,
    /// It listens on loopback only, so that other computers do not reach it.
    pub is_local: bool,
    /// Whether the caller has added a public key.
    pub has_key: bool,
}
