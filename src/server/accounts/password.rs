//! Hashes and verifies passwords. That is slow by design, so it runs off the async threads, one password at a time.

use super::password_strength::{self, Owner};
use crate::{
    model::{ApiError, ErrorCode},
    server::internal,
};
use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{
        self,
        phc::{Output, ParamsString, PasswordHash, Salt},
    },
};
use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::Mutex;

/// 19 MiB, 2 passes, 1 lane.
const PARAMS: Params = match Params::new(19 * 1024, 2, 1, None) {
    Ok(params) => params,
    Err(_) => Params::DEFAULT,
};
/// The longest that any version has accepted.
const MAX_BYTES: usize = 512;
/// Requests that would wait longer than this for their turn are rejected.
const MAX_WAIT: Duration = Duration::from_secs(8);

/// Verified when a user name is unknown, so that both cases take equally long.
static DUMMY_HASH: OnceLock<String> = OnceLock::new();

/// Clones share argon2's memory, which is allocated once: memory allocated for each password would stay with the allocator
/// of every thread that has hashed one. Its lock bounds the concurrency.
#[derive(Clone, Default)]
pub struct Passwords {
    memory: Arc<Mutex<Vec<Block>>>,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Passwords {
    /// The PHC string of `password`: argon2id, 19 MiB, 2 passes, 1 lane, random salt.
    ///
    /// # Errors
    /// `TooMany` when no turn came in time.
    pub async fn hash(&self, password: &str) -> Result<String, ApiError> {
        let password = password.to_owned();
        self.with_memory(move |memory| hash_now(&password, memory).map_err(internal)).await?
    }

    /// The same for a new password, which must be hard to guess.
    ///
    /// # Errors
    /// `Invalid` with `field`; `TooMany` when no turn came in time.
    pub async fn hash_new(
        &self,
        field: &'static str,
        password: &str,
        owner: Owner,
    ) -> Result<String, ApiError> {
        let password = password.to_owned();
        self.with_memory(move |memory| {
            password_strength::check(field, &password, &owner)?;
            hash_now(&password, memory).map_err(internal)
        })
        .await?
    }

    /// Whether `password` is the one that `hash` was made of; never when there is no hash.
    ///
    /// # Errors
    /// `TooMany` when no turn came in time.
    pub async fn verify(&self, password: &str, hash: Option<String>) -> Result<bool, ApiError> {
        if password.len() > MAX_BYTES {
            return Ok(false);
        }
        let password = password.to_owned();
        self.with_memory(move |memory| {
            let dummy_hash =
                DUMMY_HASH.get_or_init(|| hash_now("a password that nobody has", memory).unwrap_or_default());
            let fits = verify_now(&password, hash.as_deref().unwrap_or(dummy_hash), memory);
            fits.unwrap_or(false) && hash.is_some()
        })
        .await
    }

    async fn with_memory<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let mut memory =
            tokio::time::timeout(MAX_WAIT, self.memory.clone().lock_owned()).await.map_err(|_| {
                ApiError::new(ErrorCode::TooMany, "Too many sign-ins at once. Try again in a minute.")
            })?;
        tokio::task::spawn_blocking(move || {
            let result = work(&mut memory);
            // With it, a password could be guessed without the cost of argon2.
            memory.fill(Block::new());
            result
        })
        .await
        .map_err(internal)
    }
}

/// Whether a hash was made with the parameters of this version.
pub fn is_current(hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    is_ours(&hash) && ParamsString::try_from(&PARAMS).is_ok_and(|params| params == hash.params)
}

fn is_ours(hash: &PasswordHash) -> bool {
    hash.algorithm == Algorithm::Argon2id.ident() && hash.version == Some(Version::V0x13.into())
}

fn hash_now(password: &str, memory: &mut Vec<Block>) -> Result<String, password_hash::Error> {
    let salt = Salt::generate();
    let output = output_of(password, &salt, &PARAMS, Params::DEFAULT_OUTPUT_LEN, memory)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&PARAMS)?,
        salt: Some(salt),
        hash: Some(output),
    };
    Ok(hash.to_string())
}

fn verify_now(password: &str, hash: &str, memory: &mut Vec<Block>) -> Result<bool, password_hash::Error> {
    let hash = PasswordHash::new(hash)?;
    let (true, Some(salt), Some(expected)) = (is_ours(&hash), hash.salt, hash.hash) else { return Ok(false) };
    let params = Params::try_from(&hash)?;
    // `Output` compares in constant time.
    Ok(output_of(password, &salt, &params, expected.len(), memory)? == expected)
}

fn output_of(
    password: &str,
    salt: &Salt,
    params: &Params,
    length: usize,
    memory: &mut Vec<Block>,
) -> Result<Output, password_hash::Error> {
    if memory.len() < params.block_count() {
        memory.resize(params.block_count(), Block::new());
    }
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let mut buffer = [0; Output::MAX_LENGTH];
    let output = buffer.get_mut(..length).ok_or(password_hash::Error::OutputSize)?;
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, &mut *memory)?;
    Ok(Output::new(output)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::{PasswordHasher, PasswordVerifier};
    use futures::future::join_all;

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

    #[tokio::test]
    async fn hashes_are_those_of_argon2_itself() {
        let passwords = Passwords::default();
        let ours = passwords.hash("correct horse").await.unwrap();
        assert!(Argon2::default().verify_password(b"correct horse", ours.as_str()).is_ok());
        for params in [PARAMS, Params::new(8 * 1024, 3, 2, Some(24)).unwrap()] {
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let theirs = argon2.hash_password(b"correct horse").unwrap().to_string();
            assert!(passwords.verify("correct horse", Some(theirs)).await.unwrap());
        }
    }

    #[tokio::test]
    async fn nothing_fits_a_hash_that_is_none() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse").await.unwrap();
        for damaged in ["", "x", &hash[..hash.len() - 8], &hash.replace("argon2id", "argon2i")] {
            assert!(!passwords.verify("correct horse", Some(damaged.to_owned())).await.unwrap(), "{damaged}");
        }
    }

    #[tokio::test]
    async fn all_passwords_are_checked_in_the_same_memory_and_leave_nothing_in_it() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse").await.unwrap();
        let place = passwords.memory.lock().await.as_ptr();
        let wrong = (0..16).map(|i| {
            let (passwords, hash) = (passwords.clone(), (i % 2 == 0).then(|| hash.clone()));
            async move { passwords.verify("battery staple", hash).await.unwrap() }
        });
        assert_eq!(join_all(wrong).await, [false; 16]);
        let memory = passwords.memory.lock().await;
        assert_eq!((memory.as_ptr(), memory.capacity()), (place, PARAMS.block_count()));
        assert!(memory.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
    }
}
