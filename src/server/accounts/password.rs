//! Hashes and verifies passwords. That is slow by design, so it runs off the async threads with bounded concurrency.

use crate::{
    model::{ApiError, ErrorCode, PASSWORD_MAX_BYTES},
    server::internal,
};
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::sync::Semaphore;

/// Each hash takes 19 MiB and a core for some tens of milliseconds.
const MAX_CONCURRENT: usize = 2;
/// Requests that would wait longer than this for a turn are rejected.
const MAX_WAIT: Duration = Duration::from_secs(8);

/// Verified when a user name is unknown, so that both cases take equally long.
static DUMMY_HASH: LazyLock<String> =
    LazyLock::new(|| hash_now("a password that nobody has").unwrap_or_default());

#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(MAX_CONCURRENT)) }
    }
}

impl Passwords {
    /// The PHC string of `password`: argon2id, 19 MiB, 2 passes, 1 lane, random salt.
    ///
    /// # Errors
    /// `TooMany` when no turn came in time.
    pub async fn hash(&self, password: &str) -> Result<String, ApiError> {
        let password = password.to_owned();
        self.with_permit(move || hash_now(&password).map_err(internal)).await?
    }

    /// Whether `password` is the one that `hash` was made of; never when there is no hash.
    ///
    /// # Errors
    /// `TooMany` when no turn came in time.
    pub async fn verify(&self, password: &str, hash: Option<String>) -> Result<bool, ApiError> {
        if password.len() > PASSWORD_MAX_BYTES {
            return Ok(false);
        }
        let password = password.to_owned();
        self.with_permit(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| DUMMY_HASH.clone());
            let fits = PasswordHash::new(&hash)
                .is_ok_and(|hash| argon2id().verify_password(password.as_bytes(), &hash).is_ok());
            fits && known
        })
        .await
    }

    async fn with_permit<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = tokio::time::timeout(MAX_WAIT, self.turns.clone().acquire_owned())
            .await
            .map_err(|_| {
                ApiError::new(ErrorCode::TooMany, "Too many sign-ins at once. Try again in a minute.")
            })?
            .map_err(internal)?;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(internal)
    }
}

fn argon2id() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash_now(password: &str) -> Result<String, argon2::password_hash::Error> {
    argon2id().hash_password(password.as_bytes()).map(|hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::Passwords;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse").await.unwrap(), "the salt is random");
        assert!(passwords.verify("correct horse", Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("battery staple", Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_signs_in_with_the_password_of_nobody() {
        assert!(!Passwords::default().verify("a password that nobody has", None).await.unwrap());
    }
}
