//! Hashes and verifies passwords. That is slow by design, so it runs off the async threads, one password at a time.
//!
//! Each client waits in a queue of its own, and the queues take turns: however many requests one client sends, those of
//! another wait for one of them at most.

use super::{
    attempt::{Attempt, network_of},
    password_strength::{self, Owner},
    throttle::Throttle,
};
use crate::{
    model::ApiError,
    server::{clock::Clock, internal},
};
use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{
        self,
        phc::{Output, ParamsString, PasswordHash, Salt},
    },
};
use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, MutexGuard, OnceLock, PoisonError},
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
/// Requests of one client that wait or are being served.
const MAX_WAITING_PER_CLIENT: usize = 16;
/// Of all clients.
const MAX_WAITING: usize = 256;
/// For who is rejected because of others.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Verified when a user name is unknown, so that both cases take equally long.
static DUMMY_HASH: OnceLock<String> = OnceLock::new();

/// Clones share argon2's memory, which is allocated once: memory allocated for each password would stay with the allocator
/// of every thread that has hashed one. Its lock bounds the concurrency.
#[derive(Clone)]
pub struct Passwords {
    memory: Arc<Mutex<Vec<Block>>>,
    queues: Arc<std::sync::Mutex<HashMap<Client, Queue>>>,
    throttle: Throttle,
    client: Client,
}

/// Whom a queue belongs to: a network, or all whose address is not known.
type Client = Option<IpAddr>;

#[derive(Default)]
struct Queue {
    waiting: usize,
    /// Held by the first in the queue.
    first: Arc<Mutex<()>>,
}

/// A place in a client's queue, which is given up when this is dropped.
struct Place<'a> {
    passwords: &'a Passwords,
    client: Client,
    first: Arc<Mutex<()>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queues = self.passwords.queues();
        if let Some(queue) = queues.get_mut(&self.client) {
            queue.waiting -= 1;
            if queue.waiting == 0 {
                queues.remove(&self.client);
            }
        }
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Passwords {
    pub fn new(clock: &Clock) -> Self {
        Self { memory: Arc::default(), queues: Arc::default(), throttle: Throttle::new(clock), client: None }
    }

    /// The same for a client with this address, which waits in its own queue.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Self {
        Self { client: Some(network_of(address)), ..self.clone() }
    }

    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// The PHC string of `password`: argon2id, 19 MiB, 2 passes, 1 lane, random salt.
    ///
    /// # Errors
    /// `TooMany` when no turn came in time.
    pub async fn hash(&self, password: &str) -> Result<String, ApiError> {
        let password = password.to_owned();
        self.with_memory(self.client, move |memory| hash_now(&password, memory).map_err(internal)).await?
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
        self.with_memory(self.client, move |memory| {
            password_strength::check(field, &password, &owner)?;
            hash_now(&password, memory).map_err(internal)
        })
        .await?
    }

    /// Whether `password` is the one that `hash` was made of; never when there is no hash. A wrong one counts.
    ///
    /// # Errors
    /// `TooMany` when there were too many wrong ones, or no turn came in time.
    pub async fn verify(
        &self,
        attempt: Attempt,
        password: &str,
        hash: Option<String>,
    ) -> Result<bool, ApiError> {
        // One that is rejected takes no place in the queue.
        self.throttle.check(&attempt)?;
        let throttle = self.throttle.clone();
        let password = password.to_owned();
        self.with_memory(Some(network_of(attempt.address)), move |memory| {
            // Those before it in the queue may have been wrong. There is one at a time, so none is checked too many.
            throttle.check(&attempt)?;
            let dummy_hash =
                DUMMY_HASH.get_or_init(|| hash_now("a password that nobody has", memory).unwrap_or_default());
            let fits = password.len() <= MAX_BYTES
                && verify_now(&password, hash.as_deref().unwrap_or(dummy_hash), memory).unwrap_or(false)
                && hash.is_some();
            if !fits {
                throttle.count_failure(&attempt);
            }
            Ok(fits)
        })
        .await?
    }

    async fn with_memory<T: Send + 'static>(
        &self,
        client: Client,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = self.queue_up(client)?;
        let turn = async {
            let first = place.first.clone().lock_owned().await;
            (first, self.memory.clone().lock_owned().await)
        };
        let (first, mut memory) = tokio::time::timeout(MAX_WAIT, turn).await.map_err(|_| too_busy())?;
        tokio::task::spawn_blocking(move || {
            let result = work(&mut memory);
            // With it, a password could be guessed without the cost of argon2.
            memory.fill(Block::new());
            // Whoever waits for the memory by now is served before the next of this client.
            drop(memory);
            drop(first);
            result
        })
        .await
        .map_err(internal)
    }

    fn queue_up(&self, client: Client) -> Result<Place<'_>, ApiError> {
        let mut queues = self.queues();
        let all: usize = queues.values().map(|queue| queue.waiting).sum();
        let own = queues.get(&client).map_or(0, |queue| queue.waiting);
        if all >= MAX_WAITING || own >= MAX_WAITING_PER_CLIENT {
            return Err(too_busy());
        }
        let queue = queues.entry(client).or_default();
        queue.waiting += 1;
        Ok(Place { passwords: self, client, first: queue.first.clone() })
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Client, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_busy() -> ApiError {
    ApiError::too_many("Too many sign-ins at once.", RETRY_AFTER)
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

    /// Each from an address and with a name of its own.
    fn attempt(client: u8) -> Attempt {
        Attempt::sign_in(&format!("name{client}"), None, None, IpAddr::from([192, 0, 2, client]))
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new(&Clock::default());
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse").await.unwrap(), "the salt is random");
        assert!(passwords.verify(attempt(0), "correct horse", Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify(attempt(0), "battery staple", Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_signs_in_with_the_password_of_nobody() {
        assert!(
            !Passwords::new(&Clock::default())
                .verify(attempt(0), "a password that nobody has", None)
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn hashes_are_those_of_argon2_itself() {
        let passwords = Passwords::new(&Clock::default());
        let ours = passwords.hash("correct horse").await.unwrap();
        assert!(Argon2::default().verify_password(b"correct horse", ours.as_str()).is_ok());
        for params in [PARAMS, Params::new(8 * 1024, 3, 2, Some(24)).unwrap()] {
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let theirs = argon2.hash_password(b"correct horse").unwrap().to_string();
            assert!(passwords.verify(attempt(0), "correct horse", Some(theirs)).await.unwrap());
        }
    }

    #[tokio::test]
    async fn nothing_fits_a_hash_that_is_none() {
        let passwords = Passwords::new(&Clock::default());
        let hash = passwords.hash("correct horse").await.unwrap();
        for damaged in ["", "x", &hash[..hash.len() - 8], &hash.replace("argon2id", "argon2i")] {
            assert!(
                !passwords.verify(attempt(0), "correct horse", Some(damaged.to_owned())).await.unwrap(),
                "{damaged}"
            );
        }
    }

    #[tokio::test]
    async fn all_passwords_are_checked_in_the_same_memory_and_leave_nothing_in_it() {
        let passwords = Passwords::new(&Clock::default());
        let hash = passwords.hash("correct horse").await.unwrap();
        let place = passwords.memory.lock().await.as_ptr();
        let wrong = (0..16).map(|i| {
            let (passwords, hash) = (passwords.clone(), (i % 2 == 0).then(|| hash.clone()));
            async move { passwords.verify(attempt(i), "battery staple", hash).await.unwrap() }
        });
        assert_eq!(join_all(wrong).await, [false; 16]);
        let memory = passwords.memory.lock().await;
        assert_eq!((memory.as_ptr(), memory.capacity()), (place, PARAMS.block_count()));
        assert!(memory.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)));
    }

    #[tokio::test]
    async fn a_client_with_many_requests_does_not_lock_others_out() {
        let passwords = Passwords::new(&Clock::default());
        let hash = passwords.hash("correct horse").await.unwrap();
        let served = Arc::new(std::sync::Mutex::new(Vec::new()));
        let request = |client: u8, password: &'static str| {
            let (passwords, hash, served) = (passwords.clone(), Some(hash.clone()), served.clone());
            async move {
                let outcome = passwords.verify(attempt(client), password, hash).await;
                served.lock().unwrap().push(client);
                outcome
            }
        };
        // All wait behind the one that holds the memory.
        let busy = passwords.memory.clone().lock_owned().await;
        let mut greedy = tokio::task::JoinSet::new();
        for _ in 0..400 {
            greedy.spawn(request(1, "correct horse"));
        }
        let mut rejected = 0;
        while rejected < 400 - MAX_WAITING_PER_CLIENT {
            let outcome = greedy.join_next().await.unwrap().unwrap();
            assert_eq!(outcome.unwrap_err().retry_after_secs, Some(5));
            rejected += 1;
        }
        served.lock().unwrap().clear();
        let other = tokio::spawn(request(2, "correct horse"));
        while passwords.queues().len() < 2 {
            tokio::task::yield_now().await;
        }
        drop(busy);
        assert_eq!(other.await.unwrap(), Ok(true));
        let before = served.lock().unwrap().iter().filter(|client| **client == 1).count();
        assert!(before <= 2, "{before} of the other client were served first");
        assert!(greedy.join_all().await.into_iter().all(|outcome| outcome == Ok(true)));
        assert!(passwords.queues().is_empty(), "no place is left behind");
    }

    #[tokio::test]
    async fn none_of_many_at_once_is_checked_too_many() {
        let passwords = Passwords::new(&Clock::default());
        let hash = passwords.hash("correct horse").await.unwrap();
        let outcomes =
            join_all((0..16).map(|_| passwords.verify(attempt(0), "battery staple", Some(hash.clone()))))
                .await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Ok(false)).count(), 5);
        assert!(
            passwords.verify(attempt(0), "correct horse", Some(hash)).await.is_err(),
            "not even the right one"
        );
    }
}
