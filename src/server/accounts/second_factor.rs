//! The second factor: a code of an authenticator app (`totp.rs`), or one of ten recovery codes, in addition to the password.
//!
//! ```text
//!        begin                    confirm, with its first code
//! off ───────────▶ set up ──────────────────────────────────────▶ on ──▶ off, by the user, an admin or the command line
//!                  for an hour                                    │▲
//!                                                                 ╰╯ begin and confirm again: the new one replaces it
//! ```
//!
//! Where it is on, no session begins without a code. A code is checked and used up in the transaction that it allows
//! something in: the app's once, since the time step of the last one is kept, and a recovery code because it is deleted. There
//! is one such transaction at a time, so wrong codes are counted before the next one is checked; they are limited like wrong
//! passwords.

use super::{
    Accounts, AdminAccess, RecentSignIn,
    administration::found,
    attempt::Attempt,
    totp::{self, SECRET_BYTES},
    typed_code,
};
use crate::{
    model::{ApiError, CurrentUser, RecoveryCodes, Role, SecondFactor, SecondFactorSetup, UtcMillis},
    server::{events::NewEvent, internal},
};
use sqlx::{Sqlite, Transaction};
use std::net::IpAddr;

const RECOVERY_CODES: usize = 10;
/// 80 bits: their hashes cannot be reversed by trying.
const RECOVERY_CODE_GROUPS: usize = 4;
/// How long a secret waits for its first code.
const SETUP_LIFE_MILLIS: i64 = 60 * 60 * 1000;

impl Accounts {
    /// The second factor of a user, and what they have begun to set up. New codes are not part of it.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn second_factor(&self, user: &CurrentUser) -> Result<SecondFactor, ApiError> {
        let (is_on, admins_need_it, recovery_codes_left, setup): (bool, bool, u32, Option<Vec<u8>>) =
            sqlx::query_as(
                "SELECT EXISTS (SELECT 1 FROM second_factor WHERE account_id = ?1),
                        (SELECT admins_need_second_factor FROM account_policy),
                        (SELECT count(*) FROM recovery_code WHERE account_id = ?1),
                        (SELECT secret FROM second_factor_setup WHERE account_id = ?1 AND begun_at > ?2)",
            )
            .bind(user.id)
            .bind(self.now() - SETUP_LIFE_MILLIS)
            .fetch_one(self.database.read())
            .await
            .map_err(internal)?;
        let shown = |secret: Vec<u8>| totp::setup(&secret, &user.username).map_err(internal);
        Ok(SecondFactor {
            is_on,
            is_required: admins_need_it && user.role == Role::Admin,
            recovery_codes_left,
            setup: setup.map(shown).transpose()?,
            new_codes: None,
        })
    }

    /// Begins to set up a second factor with a new secret. One that is on stays so until the new one is confirmed.
    ///
    /// # Errors
    /// `Internal` when the database cannot be written.
    pub async fn begin_second_factor(&self, recent: &RecentSignIn) -> Result<SecondFactorSetup, ApiError> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(internal)?;
        let mut tx = self.database.write().await.map_err(internal)?;
        sqlx::query(
            "INSERT INTO second_factor_setup (account_id, secret, begun_at) VALUES (?, ?, ?)
             ON CONFLICT (account_id) DO UPDATE SET secret = excluded.secret, begun_at = excluded.begun_at",
        )
        .bind(recent.user.id)
        .bind(secret.as_slice())
        .bind(self.now())
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        totp::setup(&secret, &recent.user.username).map_err(internal)
    }

    /// Turns on the second factor that was begun, and gives its recovery codes. They replace earlier ones.
    ///
    /// # Errors
    /// `Conflict` when none was begun, or too long ago; `Invalid` with the field `code`; `TooMany` after too many wrong codes.
    pub async fn confirm_second_factor(
        &self,
        recent: &RecentSignIn,
        code: &str,
        address: IpAddr,
    ) -> Result<RecoveryCodes, ApiError> {
        let user = &recent.user;
        let attempt = Attempt::second_factor(user, &recent.session_id.to_le_bytes(), address);
        let mut tx = self.database.write().await.map_err(internal)?;
        let secret: Option<Vec<u8>> = sqlx::query_scalar(
            "DELETE FROM second_factor_setup WHERE account_id = ? AND begun_at > ? RETURNING secret",
        )
        .bind(user.id)
        .bind(self.now() - SETUP_LIFE_MILLIS)
        .fetch_optional(&mut *tx)
        .await
        .map_err(internal)?;
        let Some(secret) = secret else {
            return Err(ApiError::conflict("No second factor is being set up. Begin again."));
        };
        self.passwords.throttle().check(&attempt)?;
        let step = totp::step_of(&secret, code.trim(), UtcMillis(self.now())).map_err(internal)?;
        let Some(step) = step else {
            self.passwords.throttle().count_failure(&attempt);
            return Err(ApiError::invalid_field(
                "code",
                "This is not the app's current code. If it never is, check the clock of your phone.",
            ));
        };
        sqlx::query(
            "INSERT INTO second_factor (account_id, secret, last_step) VALUES (?, ?, ?)
             ON CONFLICT (account_id) DO UPDATE SET secret = excluded.secret, last_step = excluded.last_step",
        )
        .bind(user.id)
        .bind(secret)
        .bind(step)
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        let codes = replace_recovery_codes(&mut tx, user.id).await?;
        let text = format!("{} set up a second factor.", user.username);
        record(&mut tx, "account_second_factor_set_up", user, text).await?;
        tx.commit().await.map_err(internal)?;
        Ok(codes)
    }

    /// Replaces the recovery codes.
    ///
    /// # Errors
    /// `Conflict` when there is no second factor.
    pub async fn renew_recovery_codes(&self, recent: &RecentSignIn) -> Result<RecoveryCodes, ApiError> {
        let user = &recent.user;
        let mut tx = self.database.write().await.map_err(internal)?;
        if !has_second_factor(&mut tx, user.id).await? {
            return Err(ApiError::conflict("You have no second factor. Set one up first."));
        }
        let codes = replace_recovery_codes(&mut tx, user.id).await?;
        let text = format!("{} made new recovery codes; the earlier ones no longer work.", user.username);
        record(&mut tx, "account_recovery_codes_renewed", user, text).await?;
        tx.commit().await.map_err(internal)?;
        Ok(codes)
    }

    /// Turns the user's own second factor off.
    ///
    /// # Errors
    /// `Conflict` when there is none, and for an admin while the server requires one of admins.
    pub async fn remove_second_factor(&self, recent: &RecentSignIn) -> Result<(), ApiError> {
        let user = &recent.user;
        let mut tx = self.database.write().await.map_err(internal)?;
        let is_required: bool = sqlx::query_scalar(
            "SELECT admins_need_second_factor FROM account_policy, account WHERE account.id = ? AND role = 'admin'",
        )
        .bind(user.id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(internal)?
        .unwrap_or(false);
        if is_required {
            return Err(ApiError::conflict(
                "Admins need a second factor on this server. Set up another one: it replaces this one.",
            ));
        }
        if !delete(&mut tx, user.id).await? {
            return Err(ApiError::conflict("You have no second factor."));
        }
        let text = format!("{} removed their second factor.", user.username);
        record(&mut tx, "account_second_factor_removed", user, text).await?;
        tx.commit().await.map_err(internal)
    }

    /// Removes the second factor of a user who has lost theirs.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for one's own account, and when there is none; `Forbidden` when `admin` is none any more.
    pub async fn remove_second_factor_of(
        &self,
        admin: &AdminAccess,
        account_id: i64,
        _: &RecentSignIn,
    ) -> Result<(), ApiError> {
        if account_id == admin.id {
            return Err(ApiError::conflict("Remove your own second factor on its page, see your account."));
        }
        let mut tx = self.write_as_admin(admin).await?;
        let other = found(&mut tx, account_id).await?;
        if !delete(&mut tx, account_id).await? {
            return Err(ApiError::conflict(format!("{} has no second factor.", other.username)));
        }
        let text = format!("{} removed the second factor of {}.", admin.username, other.username);
        NewEvent::warning("account_second_factor_removed", None, text)
            .about(account_id, admin.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)
    }

    /// The same from the command line. Gives whether there was one.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_second_factor_of_named(
        &self,
        username: &str,
    ) -> Result<(CurrentUser, bool), ApiError> {
        let user = self.named(username).await?;
        let mut tx = self.database.write().await.map_err(internal)?;
        let removed = delete(&mut tx, user.id).await?;
        if removed {
            let text = format!("The second factor of {} was removed on the command line.", user.username);
            record(&mut tx, "account_second_factor_removed", &user, text).await?;
            tx.commit().await.map_err(internal)?;
        }
        Ok((user, removed))
    }

    /// The second factor of a user, for the command line.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn second_factor_of_named(
        &self,
        username: &str,
    ) -> Result<(CurrentUser, SecondFactor), ApiError> {
        let user = self.named(username).await?;
        let factor = self.second_factor(&user).await?;
        Ok((user, factor))
    }

    /// Decides whether admins need a second factor.
    ///
    /// # Errors
    /// `Conflict` when the admin has none themselves; `Forbidden` when they are none any more.
    pub async fn require_second_factor(
        &self,
        admin: &AdminAccess,
        is_required: bool,
        _: &RecentSignIn,
    ) -> Result<(), ApiError> {
        let mut tx = self.write_as_admin(admin).await?;
        if is_required && !has_second_factor(&mut tx, admin.id).await? {
            return Err(ApiError::conflict("Set up a second factor for your own account first."));
        }
        let changed = sqlx::query(
            "UPDATE account_policy SET admins_need_second_factor = ?1 WHERE admins_need_second_factor <> ?1",
        )
        .bind(is_required)
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        if changed.rows_affected() == 0 {
            return Ok(());
        }
        let what = if is_required { "requires" } else { "no longer requires" };
        let text = format!("{} decided that this server {what} a second factor of admins.", admin.username);
        record(&mut tx, "account_policy_changed", admin, text).await?;
        tx.commit().await.map_err(internal)
    }

    /// Uses up a code of the attempt's account, in the transaction that it allows something in. Without a second factor, none
    /// is needed.
    ///
    /// # Errors
    /// `Invalid` with the field `code` when it is missing or wrong, and was used before; `TooMany` after too many wrong ones.
    pub(super) async fn check_code(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        attempt: &Attempt,
        code: &str,
    ) -> Result<(), ApiError> {
        let Some((account_id, username)) = &attempt.account else { return Ok(()) };
        let factor: Option<(Vec<u8>, i64)> =
            sqlx::query_as("SELECT secret, last_step FROM second_factor WHERE account_id = ?")
                .bind(account_id)
                .fetch_optional(&mut **tx)
                .await
                .map_err(internal)?;
        let Some((secret, last_step)) = factor else { return Ok(()) };
        let code = code.trim();
        if code.is_empty() {
            return Err(wrong_code("Enter the code of your authenticator app, or a recovery code."));
        }
        let attempt = attempt.of_code();
        let throttle = self.passwords.throttle();
        throttle.check(&attempt)?;
        if totp::is_of_app(code) {
            let step = totp::step_of(&secret, code, UtcMillis(self.now())).map_err(internal)?;
            if let Some(step) = step.filter(|step| *step > last_step) {
                return note_step(tx, *account_id, step).await;
            }
            throttle.count_failure(&attempt);
            return Err(wrong_code(if step.is_some() {
                "This code was used already. Wait for the next one."
            } else {
                "This is not the app's current code. If it never is, check the clock of your phone."
            }));
        }
        if use_recovery_code(tx, *account_id, username, code).await? {
            return Ok(());
        }
        throttle.count_failure(&attempt);
        Err(wrong_code("This is neither a code of 6 digits nor a recovery code that was not used yet."))
    }
}

async fn note_step(tx: &mut Transaction<'_, Sqlite>, account_id: i64, step: i64) -> Result<(), ApiError> {
    sqlx::query("UPDATE second_factor SET last_step = ? WHERE account_id = ?")
        .bind(step)
        .bind(account_id)
        .execute(&mut **tx)
        .await
        .map_err(internal)?;
    Ok(())
}

async fn use_recovery_code(
    tx: &mut Transaction<'_, Sqlite>,
    account_id: i64,
    username: &str,
    code: &str,
) -> Result<bool, ApiError> {
    let used = sqlx::query("DELETE FROM recovery_code WHERE account_id = ? AND code_hash = ?")
        .bind(account_id)
        .bind(typed_code::digest(code).as_slice())
        .execute(&mut **tx)
        .await
        .map_err(internal)?;
    if used.rows_affected() == 0 {
        return Ok(false);
    }
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM recovery_code WHERE account_id = ?")
        .bind(account_id)
        .fetch_one(&mut **tx)
        .await
        .map_err(internal)?;
    let text = format!("{username} used a recovery code in place of their second factor; {left} are left.");
    NewEvent::warning("account_recovery_code_used", None, text)
        .by(account_id)
        .write(tx)
        .await
        .map_err(internal)?;
    Ok(true)
}

async fn replace_recovery_codes(
    tx: &mut Transaction<'_, Sqlite>,
    account_id: i64,
) -> Result<RecoveryCodes, ApiError> {
    sqlx::query("DELETE FROM recovery_code WHERE account_id = ?")
        .bind(account_id)
        .execute(&mut **tx)
        .await
        .map_err(internal)?;
    let mut codes = Vec::with_capacity(RECOVERY_CODES);
    for _ in 0..RECOVERY_CODES {
        let code = typed_code::random::<RECOVERY_CODE_GROUPS>()?;
        sqlx::query("INSERT INTO recovery_code (account_id, code_hash) VALUES (?, ?)")
            .bind(account_id)
            .bind(typed_code::digest(&code).as_slice())
            .execute(&mut **tx)
            .await
            .map_err(internal)?;
        codes.push(code);
    }
    Ok(RecoveryCodes(codes))
}

async fn has_second_factor(tx: &mut Transaction<'_, Sqlite>, account_id: i64) -> Result<bool, ApiError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM second_factor WHERE account_id = ?)")
        .bind(account_id)
        .fetch_one(&mut **tx)
        .await
        .map_err(internal)
}

/// Deletes an account's second factor with its recovery codes, and what was begun. Gives whether there was one.
async fn delete(tx: &mut Transaction<'_, Sqlite>, account_id: i64) -> Result<bool, ApiError> {
    sqlx::query("DELETE FROM second_factor_setup WHERE account_id = ?")
        .bind(account_id)
        .execute(&mut **tx)
        .await
        .map_err(internal)?;
    let deleted = sqlx::query("DELETE FROM second_factor WHERE account_id = ?")
        .bind(account_id)
        .execute(&mut **tx)
        .await
        .map_err(internal)?;
    Ok(deleted.rows_affected() > 0)
}

async fn record(
    tx: &mut Transaction<'_, Sqlite>,
    kind: &'static str,
    user: &CurrentUser,
    text: String,
) -> Result<(), ApiError> {
    NewEvent::info(kind, None, text).by(user.id).write(tx).await.map_err(internal)
}

fn wrong_code(text: &str) -> ApiError {
    ApiError::invalid_field("code", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::ErrorCode,
        server::accounts::{
            Carrier, OpenSession, Token,
            tests::{HERE, ManualClock, OLD, as_admin, browser, client, on_a_clock, register_both},
        },
    };
    use futures::future::join_all;
    use std::time::Duration;
    use tempfile::TempDir;

    const STEP: Duration = Duration::from_secs(30);

    /// The admin ada and the user bob, on a clock. The one who signs in as bob has an app.
    struct Fixture {
        _folder: TempDir,
        accounts: Accounts,
        clock: ManualClock,
        ada: CurrentUser,
        bob: CurrentUser,
    }

    impl Fixture {
        async fn new() -> Self {
            let clock = ManualClock::default();
            let (folder, accounts) = on_a_clock(&clock).await;
            let (ada, bob) = register_both(&accounts).await;
            Self { _folder: folder, accounts, clock, ada, bob }
        }

        /// What the app shows now.
        fn code(&self, app: &SecondFactorSetup) -> String {
            let secret = totp_rs::Secret::try_from_base32(app.secret.replace(' ', "")).unwrap();
            let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
            totp.generate(u64::try_from(self.accounts.now() / 1000).unwrap()).to_string()
        }

        async fn set_up(&self, user: &CurrentUser) -> (SecondFactorSetup, RecoveryCodes) {
            let recent = RecentSignIn::of(user);
            let app = self.accounts.begin_second_factor(&recent).await.unwrap();
            let codes = self.accounts.confirm_second_factor(&recent, &self.code(&app), HERE).await.unwrap();
            self.clock.advance(STEP);
            (app, codes)
        }

        async fn sign_in(&self, code: &str) -> Result<Token, ApiError> {
            Ok(self.accounts.sign_in("bob", OLD, code, client()).await?.session)
        }

        async fn open(&self, token: &Token) -> OpenSession {
            self.accounts.session_of_token(token.expose(), Carrier::Bearer).await.unwrap().unwrap()
        }

        async fn events(&self, kind: &str) -> Vec<String> {
            sqlx::query_scalar("SELECT text FROM event WHERE kind = ? ORDER BY id")
                .bind(kind)
                .fetch_all(self.accounts.database.read())
                .await
                .unwrap()
        }
    }

    fn is_about_code<T>(outcome: Result<T, ApiError>) -> bool {
        outcome.err().is_some_and(|error| error.code == ErrorCode::Invalid && error.field("code").is_some())
    }

    #[tokio::test]
    async fn no_session_begins_without_password_and_code() {
        let it = Fixture::new().await;
        let before = it.sign_in("").await.unwrap();
        let (app, _) = it.set_up(&it.bob).await;
        let code = it.code(&app);
        assert!(is_about_code(it.sign_in("").await));
        assert!(is_about_code(it.sign_in("000000").await));
        let wrong = it.accounts.sign_in("bob", "not the password", &code, client()).await.err().unwrap();
        assert!(wrong.field("password").is_some() && wrong.field("code").is_none());
        assert!(it.accounts.sign_in("bob", OLD, "", browser(None)).await.is_err(), "nor in a browser");
        assert_eq!(it.accounts.devices(&it.bob, before.expose()).await.unwrap().len(), 1, "the one before");
        assert!(it.sign_in(&format!(" {code} ")).await.is_ok());
        assert!(it.accounts.sign_in("ada", OLD, "", client()).await.is_ok(), "another account");
    }

    #[tokio::test]
    async fn a_known_device_does_not_stand_for_the_code() {
        let it = Fixture::new().await;
        let device = it.accounts.sign_in("bob", OLD, "", browser(None)).await.unwrap().known_device.unwrap();
        let (app, _) = it.set_up(&it.bob).await;
        let known =
            crate::server::accounts::Device { known_device_token: Some(device.expose()), ..browser(None) };
        assert!(is_about_code(it.accounts.sign_in("bob", OLD, "", known).await));
        assert!(it.accounts.sign_in("bob", OLD, &it.code(&app), known).await.is_ok());
    }

    #[tokio::test]
    async fn a_code_is_accepted_once() {
        let it = Fixture::new().await;
        let (app, _) = it.set_up(&it.bob).await;
        let code = it.code(&app);
        let at_once = join_all([it.sign_in(&code), it.sign_in(&code), it.sign_in(&code)]).await;
        assert_eq!(at_once.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let again = it.sign_in(&code).await.err().unwrap();
        assert_eq!(again.field("code"), Some("This code was used already. Wait for the next one."));
        it.clock.advance(STEP);
        assert!(is_about_code(it.sign_in(&code).await), "although it is the one before the current one");
        assert!(it.sign_in(&it.code(&app)).await.is_ok());
        // The one that confirmed the factor is used up, too.
        let it = Fixture::new().await;
        let recent = RecentSignIn::of(&it.bob);
        let app = it.accounts.begin_second_factor(&recent).await.unwrap();
        let code = it.code(&app);
        it.accounts.confirm_second_factor(&recent, &code, HERE).await.unwrap();
        assert!(is_about_code(it.sign_in(&code).await));
    }

    #[tokio::test]
    async fn a_recovery_code_signs_in_once_and_is_an_event() {
        let it = Fixture::new().await;
        let (_, codes) = it.set_up(&it.bob).await;
        assert_eq!(codes.0.len(), RECOVERY_CODES);
        let typed = codes.0[3].to_uppercase().replace('-', " ");
        let at_once = join_all([it.sign_in(&typed), it.sign_in(&codes.0[3])]).await;
        assert_eq!(at_once.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert_eq!(it.accounts.second_factor(&it.bob).await.unwrap().recovery_codes_left, 9);
        let event = "bob used a recovery code in place of their second factor; 9 are left.";
        assert_eq!(it.events("account_recovery_code_used").await, [event]);
        let new = it.accounts.renew_recovery_codes(&RecentSignIn::of(&it.bob)).await.unwrap();
        assert!(is_about_code(it.sign_in(&codes.0[0]).await), "the earlier ones are gone");
        assert!(it.sign_in(&new.0[0]).await.is_ok());
        assert!(it.accounts.sign_in("ada", OLD, &new.0[1], client()).await.is_ok(), "ada needs none");
    }

    #[tokio::test]
    async fn guessing_codes_is_limited_like_guessing_passwords_however_many_are_tried_at_once() {
        let it = Fixture::new().await;
        let (app, _) = it.set_up(&it.bob).await;
        let guesses = (0..12).map(|i| {
            let code = format!("{:06}", (it.code(&app).parse::<u32>().unwrap() + 1 + i) % 1_000_000);
            let it = &it;
            async move { it.sign_in(&code).await.err().map(|error| error.code) }
        });
        let outcomes = join_all(guesses).await;
        let checked = outcomes.iter().filter(|code| **code == Some(ErrorCode::Invalid)).count();
        assert_eq!(checked, 5, "{outcomes:?}");
        assert!(outcomes.iter().all(|code| matches!(code, Some(ErrorCode::Invalid | ErrorCode::TooMany))));
        let right = it.sign_in(&it.code(&app)).await.err().unwrap();
        assert_eq!(right.code, ErrorCode::TooMany);
        assert!(right.retry_after_secs.is_some());
        it.accounts.record_failed_attempts(true).await;
        let events = it.events("security_sign_in_failed").await.join("\n");
        assert!(events.contains("5 failed second-factor checks for bob from 192.0.2.7"), "{events}");
        it.clock.advance(STEP);
        assert!(it.sign_in(&it.code(&app)).await.is_ok(), "after the wait");
    }

    #[tokio::test]
    async fn a_sign_in_that_waited_while_a_second_factor_was_set_up_needs_its_code() {
        let it = Fixture::new().await;
        let waiting = it.accounts.check_sign_in("bob", OLD, client()).await.unwrap();
        let (app, _) = it.set_up(&it.bob).await;
        assert!(is_about_code(it.accounts.begin_session(&waiting, "", client()).await));
        assert!(it.accounts.begin_session(&waiting, &it.code(&app), client()).await.is_ok());
    }

    #[tokio::test]
    async fn a_second_factor_counts_from_its_first_code_on() {
        let it = Fixture::new().await;
        let recent = RecentSignIn::of(&it.bob);
        let without = it.accounts.confirm_second_factor(&recent, "000000", HERE).await.err().unwrap();
        assert_eq!(without.code, ErrorCode::Conflict);
        let first = it.accounts.begin_second_factor(&recent).await.unwrap();
        let app = it.accounts.begin_second_factor(&recent).await.unwrap();
        assert_ne!(first.secret, app.secret);
        let of_first = it.accounts.confirm_second_factor(&recent, &it.code(&first), HERE).await;
        assert!(is_about_code(of_first));
        let shown = it.accounts.second_factor(&it.bob).await.unwrap();
        assert!(!shown.is_on && shown.setup.is_some_and(|setup| setup.secret == app.secret));
        assert!(it.sign_in("").await.is_ok(), "it does not count yet");
        it.clock.advance(Duration::from_mins(60));
        assert!(it.accounts.second_factor(&it.bob).await.unwrap().setup.is_none());
        let late = it.accounts.confirm_second_factor(&recent, &it.code(&app), HERE).await.err().unwrap();
        assert_eq!(late.code, ErrorCode::Conflict);

        let (app, codes) = it.set_up(&it.bob).await;
        let (other, _) = it.set_up(&it.bob).await;
        assert!(is_about_code(it.sign_in(&it.code(&app)).await), "another app has replaced it");
        assert!(is_about_code(it.sign_in(&codes.0[0]).await), "and its recovery codes");
        assert!(it.sign_in(&it.code(&other)).await.is_ok());
        assert_eq!(it.events("account_second_factor_set_up").await.len(), 2);
        let all = it.events("account_second_factor_set_up").await.join("");
        assert!(!all.contains(&app.secret) && !all.contains(&codes.0[0]));
    }

    #[tokio::test]
    async fn whoever_removes_a_second_factor_is_named_in_the_event() {
        let it = Fixture::new().await;
        let (_, codes) = it.set_up(&it.bob).await;
        it.accounts.remove_second_factor(&RecentSignIn::of(&it.bob)).await.unwrap();
        assert!(it.sign_in("").await.is_ok());
        let (ada, recent) = (&it.ada, RecentSignIn::of(&it.ada));
        let none = it.accounts.remove_second_factor_of(&as_admin(ada), it.bob.id, &recent).await.unwrap_err();
        assert_eq!(none.code, ErrorCode::Conflict);
        it.set_up(&it.bob).await;
        assert!(is_about_code(it.sign_in(&codes.0[0]).await), "codes go with their factor");
        let bob = RecentSignIn::of(&it.bob);
        let was_admin = as_admin(&CurrentUser { role: Role::Admin, ..it.bob.clone() });
        assert_eq!(
            it.accounts.remove_second_factor_of(&was_admin, ada.id, &bob).await.unwrap_err().code,
            ErrorCode::Forbidden
        );
        assert!(it.accounts.remove_second_factor_of(&as_admin(ada), ada.id, &recent).await.is_err());
        it.accounts.remove_second_factor_of(&as_admin(ada), it.bob.id, &recent).await.unwrap();
        it.set_up(&it.bob).await;
        assert!(it.accounts.remove_second_factor_of_named("BOB").await.unwrap().1);
        assert!(!it.accounts.remove_second_factor_of_named("bob").await.unwrap().1);
        assert_eq!(
            it.events("account_second_factor_removed").await,
            [
                "bob removed their second factor.",
                "ada removed the second factor of bob.",
                "The second factor of bob was removed on the command line."
            ]
        );
        assert!(it.sign_in("").await.is_ok());
    }

    #[tokio::test]
    async fn where_admins_need_one_an_admin_without_is_not_admitted() {
        let it = Fixture::new().await;
        let recent = RecentSignIn::of(&it.ada);
        let too_early =
            it.accounts.require_second_factor(&as_admin(&it.ada), true, &recent).await.unwrap_err();
        assert_eq!(too_early.code, ErrorCode::Conflict, "who requires it must have it");
        let bobs = it.sign_in("").await.unwrap();
        it.set_up(&it.ada).await;
        it.accounts.require_second_factor(&as_admin(&it.ada), true, &recent).await.unwrap();
        it.accounts.require_second_factor(&as_admin(&it.ada), true, &recent).await.unwrap();
        assert!(it.open(&bobs).await.admitted().is_ok(), "a user needs none");
        it.accounts.set_role(&as_admin(&it.ada), it.bob.id, Role::Admin, &recent).await.unwrap();
        let rejected = it.open(&bobs).await.admitted().unwrap_err();
        assert_eq!(rejected.code, ErrorCode::SecondFactorMissing);
        it.set_up(&it.bob).await;
        assert!(it.open(&bobs).await.admitted().is_ok());
        let own = it.accounts.remove_second_factor(&recent).await.unwrap_err();
        assert_eq!(own.code, ErrorCode::Conflict, "an admin keeps theirs");
        it.accounts.remove_second_factor_of(&as_admin(&it.ada), it.bob.id, &recent).await.unwrap();
        assert!(it.open(&bobs).await.admitted().is_err());
        it.accounts.require_second_factor(&as_admin(&it.ada), false, &recent).await.unwrap();
        assert!(it.open(&bobs).await.admitted().is_ok());
        assert_eq!(
            it.events("account_policy_changed").await,
            [
                "ada decided that this server requires a second factor of admins.",
                "ada decided that this server no longer requires a second factor of admins."
            ]
        );
    }

    #[tokio::test]
    async fn a_sign_in_is_recent_for_ten_minutes_and_again_after_the_password() {
        let it = Fixture::new().await;
        let token = it.sign_in("").await.unwrap();
        let other = it.sign_in("").await.unwrap();
        let is_recent = async |token: &Token| {
            let recent = it.accounts.recent_sign_in(it.open(token).await);
            recent.map_err(|error| error.code).map(|recent| recent.account_id())
        };
        let confirm = async |password, code: &str| {
            it.accounts.confirm_password(&it.bob, token.expose(), password, code, HERE).await
        };
        it.clock.advance(Duration::from_mins(10));
        assert_eq!(is_recent(&token).await, Ok(it.bob.id));
        it.clock.advance(Duration::from_secs(1));
        assert_eq!(is_recent(&token).await, Err(ErrorCode::PasswordNeeded));
        assert!(confirm("not the password", "").await.unwrap_err().field("password").is_some());
        assert_eq!(is_recent(&token).await, Err(ErrorCode::PasswordNeeded));
        confirm(OLD, "").await.unwrap();
        assert_eq!(is_recent(&token).await, Ok(it.bob.id));
        assert_eq!(is_recent(&other).await, Err(ErrorCode::PasswordNeeded), "in this session alone");

        let (app, codes) = it.set_up(&it.bob).await;
        it.clock.advance(Duration::from_mins(11));
        assert!(is_about_code(confirm(OLD, "").await));
        assert!(is_about_code(confirm(OLD, "000000").await));
        assert_eq!(is_recent(&token).await, Err(ErrorCode::PasswordNeeded));
        confirm(OLD, &it.code(&app)).await.unwrap();
        assert_eq!(is_recent(&token).await, Ok(it.bob.id));
        it.clock.advance(Duration::from_mins(11));
        confirm(OLD, &codes.0[0]).await.unwrap();
        assert_eq!(is_recent(&token).await, Ok(it.bob.id));

        it.accounts.end_other_sessions(&it.bob, other.expose()).await.unwrap();
        it.clock.advance(STEP);
        assert_eq!(confirm(OLD, &it.code(&app)).await.unwrap_err().code, ErrorCode::NotSignedIn);
    }

    #[tokio::test]
    async fn guessing_a_password_in_an_open_session_is_limited_with_changes_of_the_password() {
        let it = Fixture::new().await;
        let token = it.sign_in("").await.unwrap();
        let (accounts, bob) = (&it.accounts, &it.bob);
        for i in 0..5 {
            let code = if i % 2 == 0 {
                accounts.confirm_password(bob, token.expose(), "guess", "", HERE).await.unwrap_err().code
            } else {
                let new = "another long password";
                accounts.change_password(bob, token.expose(), "guess", new, HERE).await.err().unwrap().code
            };
            assert_eq!(code, ErrorCode::Invalid);
        }
        let right = accounts.confirm_password(bob, token.expose(), OLD, "", HERE).await.unwrap_err();
        assert_eq!(right.code, ErrorCode::TooMany);
        accounts.record_failed_attempts(true).await;
        let events = it.events("security_sign_in_failed").await.join("\n");
        assert!(events.contains("3 failed password confirmations for bob"), "{events}");
    }
}
