//! The code that a server without accounts asks for before it creates the first one, its admin's.
//!
//! Made anew at each start and shown only where the server was started: in its terminal and log. It is compared in constant
//! time, and after [`MAX_WRONG`] wrong codes in a minute none is compared until the minute has passed.

use super::typed_code::{self, digest};
use crate::model::{ApiError, ErrorCode};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use subtle::ConstantTimeEq;

pub const MAX_WRONG: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
const GROUPS: usize = 3;

/// 60 random bits. Has no `Debug` that shows them. Clones count wrong codes together.
#[derive(Clone)]
pub struct SetupCode {
    text: Arc<str>,
    wrong: Arc<Mutex<Option<Wrong>>>,
}

/// The wrong codes of a window.
struct Wrong {
    since: Instant,
    count: u32,
}

impl fmt::Debug for SetupCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetupCode").finish_non_exhaustive()
    }
}

impl SetupCode {
    /// # Errors
    /// `Internal` when the system gives no random numbers.
    pub fn random() -> Result<Self, ApiError> {
        Ok(Self { text: typed_code::random::<GROUPS>()?.into(), wrong: Arc::default() })
    }

    /// For the terminal and the log: `k3vd-80zq-71fm`.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Upper case, spaces and hyphens do not matter.
    ///
    /// # Errors
    /// `Invalid` with the field `setup_code`; `TooMany` after too many wrong codes.
    pub fn check(&self, given: &str, now: Instant) -> Result<(), ApiError> {
        if given.trim().is_empty() {
            return Err(ApiError::invalid_field("setup_code", "Enter the setup code."));
        }
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let count =
            wrong.as_ref().filter(|wrong| now.duration_since(wrong.since) < WINDOW).map(|it| it.count);
        if count.is_some_and(|count| count >= MAX_WRONG) {
            let text = "Too many wrong setup codes. Try again in a minute.";
            return Err(ApiError::new(ErrorCode::TooMany, text));
        }
        if digest(given).ct_eq(&digest(&self.text)).into() {
            return Ok(());
        }
        match (&mut *wrong, count) {
            (Some(wrong), Some(count)) => wrong.count = count + 1,
            (wrong, _) => *wrong = Some(Wrong { since: now, count: 1 }),
        }
        let text = "This is not the setup code. The server printed it when it started.";
        Err(ApiError::invalid_field("setup_code", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_random_and_may_be_typed_as_it_is_read() {
        let (code, other) = (SetupCode::random().unwrap(), SetupCode::random().unwrap());
        assert_ne!(code.expose(), other.expose());
        assert_eq!(code.expose().len(), 14);
        let now = Instant::now();
        let typed = code.expose().to_uppercase().replace('-', " ").replace('1', "I").replace('0', "o");
        for right in [code.expose(), &format!(" {}\n", code.expose()), &typed] {
            assert!(code.check(right, now).is_ok(), "{right}");
        }
        for wrong in [other.expose(), &code.expose()[..13], "0", &"x".repeat(100_000)] {
            assert!(code.check(wrong, now).unwrap_err().field("setup_code").is_some());
        }
        assert!(!format!("{code:?}").contains(code.expose()));
    }

    #[test]
    fn after_ten_wrong_codes_none_is_compared_for_a_minute() {
        let code = SetupCode::random().unwrap();
        let begin = Instant::now();
        for _ in 0..MAX_WRONG {
            assert_eq!(code.check("wrong", begin).unwrap_err().code, ErrorCode::Invalid);
        }
        let soon = begin + Duration::from_secs(59);
        for given in ["wrong", code.expose()] {
            assert_eq!(code.clone().check(given, soon).unwrap_err().code, ErrorCode::TooMany);
        }
        let later = begin + WINDOW;
        assert_eq!(code.check("wrong", later).unwrap_err().code, ErrorCode::Invalid);
        assert!(code.check(code.expose(), later).is_ok());
    }

    #[test]
    fn a_code_that_is_missing_is_not_a_wrong_one() {
        let code = SetupCode::random().unwrap();
        let now = Instant::now();
        for _ in 0..2 * MAX_WRONG {
            assert_eq!(code.check(" ", now).unwrap_err().code, ErrorCode::Invalid);
        }
        assert!(code.check(code.expose(), now).is_ok());
    }
}
