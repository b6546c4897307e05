//! Sessions and what ends them.

use super::*;
use crate::{model::RegistrationMode, server::provider::Moment};
use futures::future::join_all;
use proptest::{collection, prelude::*, test_runner};
use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub const OLD: &str = "correct horse battery";
const NEW: &str = "another long password";
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

/// Stands still until a test moves it; clones show the same time.
#[derive(Clone)]
pub struct ManualClock {
    start: Moment,
    passed_millis: Arc<AtomicU64>,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self { start: Moment { utc: now(), monotonic: Instant::now() }, passed_millis: Arc::default() }
    }
}

impl ManualClock {
    pub fn clock(&self) -> Clock {
        let clock = self.clone();
        Clock::new(move || {
            let passed = Duration::from_millis(clock.passed_millis.load(Ordering::SeqCst));
            let utc = clock.start.utc.0 + i64::try_from(passed.as_millis()).unwrap();
            Moment { utc: crate::model::UtcMillis(utc), monotonic: clock.start.monotonic + passed }
        })
    }

    pub fn advance(&self, time: Duration) {
        self.passed_millis.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

/// The admin ada and the user bob, with the same password.
async fn ada_and_bob() -> (TempDir, Accounts, CurrentUser, CurrentUser) {
    let (folder, accounts, ..) = on_a_clock(&ManualClock::default()).await;
    let (ada, bob) = register_both(&accounts).await;
    (folder, accounts, ada, bob)
}

pub async fn on_a_clock(clock: &ManualClock) -> (TempDir, Accounts) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).await.unwrap();
    let accounts = Accounts::with_clock(database, Allowances::default(), clock.clock());
    (folder, accounts)
}

pub async fn register_both(accounts: &Accounts) -> (CurrentUser, CurrentUser) {
    let ada = accounts.register("ada", "ada@example.org", OLD).await.unwrap();
    let bob = accounts.register("bob", "bob@example.org", OLD).await.unwrap();
    (ada, bob)
}

pub fn as_admin(user: &CurrentUser) -> AdminAccess {
    AdminAccess::of(user.clone()).unwrap()
}

pub fn client() -> Device<'static> {
    Device { carrier: Carrier::Bearer, ..browser(None) }
}

pub fn browser(session_token: Option<&str>) -> Device<'_> {
    Device {
        carrier: Carrier::Cookie,
        user_agent: "",
        session_token,
        known_device_token: None,
        address: HERE,
    }
}

/// One of many that the same client sends.
async fn register_visitor(accounts: Accounts, name: String, address: IpAddr) -> Result<(), ApiError> {
    let registration = Registration::new(RegistrationMode::Open)?;
    let email = format!("{name}@example.org");
    let form =
        RegistrationForm { username: &name, email: &email, password: OLD, setup_code: "", invitation: "" };
    accounts.register_visitor(&registration, form, address).await.map(|_| ())
}

impl Accounts {
    async fn register(&self, username: &str, email: &str, password: &str) -> Result<CurrentUser, ApiError> {
        self.register_as(username, email, password, None).await
    }

    async fn session(&self, username: &str, device: Device<'_>) -> Token {
        self.sign_in(username, OLD, "", device).await.unwrap().session
    }

    async fn is_open(&self, token: &Token, carrier: Carrier) -> bool {
        self.session_of_token(token.expose(), carrier).await.unwrap().is_some()
    }

    async fn sessions(&self, user: &CurrentUser) -> usize {
        self.devices(user, "").await.unwrap().len()
    }
}

#[tokio::test]
async fn a_sign_in_that_waited_while_the_password_changed_is_rejected() {
    let (_folder, accounts, _, bob) = ada_and_bob().await;
    let own = accounts.session("bob", client()).await;
    let waiting = accounts.check_sign_in("bob", OLD, client()).await.unwrap();
    accounts.change_password(&bob, own.expose(), OLD, NEW, HERE).await.unwrap();
    let rejected = accounts.begin_session(&waiting, "", client()).await.err().unwrap();
    assert_eq!(rejected, wrong_sign_in());
    assert_eq!(accounts.sessions(&bob).await, 1, "their own");
}

#[tokio::test]
async fn a_sign_in_that_waited_while_the_account_was_deactivated_is_rejected() {
    let (_folder, accounts, ada, bob) = ada_and_bob().await;
    let waiting = accounts.check_sign_in("bob", OLD, client()).await.unwrap();
    accounts.set_active(&as_admin(&ada), bob.id, false).await.unwrap();
    assert_eq!(accounts.begin_session(&waiting, "", client()).await.err(), Some(wrong_sign_in()));
    accounts.set_active(&as_admin(&ada), bob.id, true).await.unwrap();
    assert_eq!(accounts.sessions(&bob).await, 0);
    assert!(accounts.begin_session(&waiting, "", client()).await.is_ok(), "as it was checked");
}

#[tokio::test]
async fn of_two_changes_of_a_password_at_once_one_is_made() {
    let (_folder, accounts, _, bob) = ada_and_bob().await;
    let own = accounts.session("bob", client()).await;
    let change = |new: &'static str| accounts.change_password(&bob, own.expose(), OLD, new, HERE);
    let (first, second) = tokio::join!(change(NEW), change("yet another password"));
    assert!(first.is_ok() != second.is_ok());
    let rejected = first.err().or(second.err()).unwrap();
    assert_eq!(rejected.fields[0].field, "old_password");
}

#[tokio::test]
async fn a_session_that_has_ended_changes_no_password() {
    let (_folder, accounts, ada, bob) = ada_and_bob().await;
    let own = accounts.session("bob", client()).await;
    accounts.set_active(&as_admin(&ada), bob.id, false).await.unwrap();
    let rejected = accounts.change_password(&bob, own.expose(), OLD, NEW, HERE).await.err().unwrap();
    assert_eq!(rejected.code, ErrorCode::NotSignedIn);
    accounts.set_active(&as_admin(&ada), bob.id, true).await.unwrap();
    assert!(accounts.sign_in("bob", OLD, "", client()).await.is_ok());
}

#[tokio::test]
async fn signing_in_again_ends_the_session_that_the_browser_had() {
    let (_folder, accounts, _, bob) = ada_and_bob().await;
    let first = accounts.session("bob", browser(None)).await;
    assert!(accounts.sign_in("bob", NEW, "", browser(Some(first.expose()))).await.is_err());
    assert!(accounts.is_open(&first, Carrier::Cookie).await, "a wrong password ends nothing");
    // Also when somebody else signs in there.
    let second = accounts.session("ada", browser(Some(first.expose()))).await;
    assert!(!accounts.is_open(&first, Carrier::Cookie).await);
    assert!(accounts.is_open(&second, Carrier::Cookie).await);
    assert_eq!(accounts.sessions(&bob).await, 0);
}

#[tokio::test]
async fn a_changed_password_gives_a_browser_a_new_token() {
    let (_folder, accounts, _, bob) = ada_and_bob().await;
    let old = accounts.session("bob", browser(None)).await;
    let new = accounts.change_password(&bob, old.expose(), OLD, NEW, HERE).await.unwrap().unwrap();
    assert!(!accounts.is_open(&old, Carrier::Cookie).await);
    assert!(accounts.is_open(&new, Carrier::Cookie).await);
    assert_eq!(accounts.sessions(&bob).await, 1);
}

#[tokio::test]
async fn beyond_fifty_sessions_of_an_account_the_oldest_end() {
    let (_folder, accounts, ada, bob) = ada_and_bob().await;
    let of_bob = accounts.session("bob", client()).await;
    let checked = accounts.check_sign_in("ada", OLD, client()).await.unwrap();
    let mut tokens = Vec::new();
    for _ in 0..MAX_SESSIONS + 2 {
        tokens.push(accounts.begin_session(&checked, "", client()).await.unwrap().session);
    }
    for (i, token) in tokens.iter().enumerate() {
        assert_eq!(accounts.is_open(token, Carrier::Bearer).await, i >= 2, "{i}");
    }
    assert_eq!(accounts.sessions(&ada).await, 50);
    assert_eq!((bob.role, accounts.is_open(&of_bob, Carrier::Bearer).await), (Role::User, true));
}

#[tokio::test]
async fn an_address_that_would_bring_mail_to_someone_else_is_rejected() {
    let (_folder, accounts, ..) = ada_and_bob().await;
    for email in [
        "a<victim@example.org>",
        "a,victim@example.org",
        "victim@example.org>x",
        "\"a\"<victim@example.org>",
        "a@b..org",
        ".a@example.org",
        "@example.org",
        "a@",
    ] {
        let rejected = accounts.register("eve", email, OLD).await.unwrap_err();
        assert_eq!(rejected.field("email"), Some(EMAIL_INVALID), "{email}");
    }
    for email in ["a.b+c@example.org", "eve@localhost"] {
        let name = format!("eve{}", email.len());
        assert!(accounts.register(&name, email, OLD).await.is_ok(), "{email}");
    }
}

#[tokio::test]
async fn a_password_that_is_easy_to_guess_is_rejected_wherever_one_is_set() {
    let (_folder, accounts, ada, bob) = ada_and_bob().await;
    let own = accounts.session("bob", client()).await;
    for easy in ["1234567890", "          ", "bob@example.org"] {
        let changed = accounts.change_password(&bob, own.expose(), OLD, easy, HERE).await.err().unwrap();
        assert!(changed.field("new_password").is_some(), "{easy}: {changed:?}");
    }
    for easy in ["1234567890", "          ", "eve@example.org"] {
        let registered = accounts.register("eve", "eve@example.org", easy).await.unwrap_err();
        assert!(registered.field("password").is_some(), "{easy}: {registered:?}");
        let created =
            accounts.create(&as_admin(&ada), "eve", "eve@example.org", easy, Role::User).await.unwrap_err();
        assert!(created.field("password").is_some(), "{easy}: {created:?}");
    }
}

#[tokio::test]
async fn a_hash_with_other_parameters_is_replaced_at_the_next_sign_in() {
    let (_folder, accounts, _, bob) = ada_and_bob().await;
    let params = argon2::Params::new(8 * 1024, 1, 1, None).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let weaker = argon2::PasswordHasher::hash_password(&argon2, OLD.as_bytes()).unwrap().to_string();
    let mut tx = accounts.database.write().await.unwrap();
    sqlx::query("UPDATE account SET password_hash = ?").bind(&weaker).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let hash = async || -> String {
        let query = sqlx::query_scalar("SELECT password_hash FROM account WHERE id = ?").bind(bob.id);
        query.fetch_one(accounts.database.read()).await.unwrap()
    };
    assert!(accounts.sign_in("bob", NEW, "", client()).await.is_err());
    assert_eq!(hash().await, weaker);
    assert!(accounts.sign_in("bob", OLD, "", client()).await.is_ok());
    let replaced = hash().await;
    assert!(password::is_current(&replaced), "{replaced}");
    assert!(accounts.sign_in("bob", OLD, "", client()).await.is_ok());
    assert_eq!(hash().await, replaced);
}

async fn wrong(accounts: &Accounts, username: &str, device: Device<'_>) -> ApiError {
    accounts.sign_in(username, NEW, "", device).await.err().unwrap()
}

#[tokio::test]
async fn passwords_cannot_be_guessed_and_the_owner_is_not_locked_out() {
    let clock = ManualClock::default();
    let (_folder, accounts) = on_a_clock(&clock).await;
    register_both(&accounts).await;
    let browser_token = accounts.sign_in("bob", OLD, "", browser(None)).await.unwrap().known_device.unwrap();
    let mut rejected = 0;
    for i in 0..200 {
        let device = Device { address: IpAddr::from([203, 0, 113, i]), ..client() };
        rejected += u32::from(wrong(&accounts, "bob", device).await.code == ErrorCode::TooMany);
    }
    assert_eq!(rejected, 195);
    // The next guess is right, and not even checked.
    let guessed =
        accounts.sign_in("bob", OLD, "", Device { address: ELSEWHERE, ..client() }).await.err().unwrap();
    assert_eq!((guessed.code, guessed.retry_after_secs), (ErrorCode::TooMany, Some(5)));
    assert_eq!(guessed.text, "Too many wrong passwords. Try again in 5 s.");

    let known = Device { known_device_token: Some(browser_token.expose()), ..browser(None) };
    let again = accounts.sign_in("bob", OLD, "", known).await.unwrap();
    assert!(again.known_device.is_none(), "it keeps its token");
    assert!(accounts.sign_in("ada", OLD, "", known).await.is_ok(), "another name");
    assert!(accounts.sign_in("bob", OLD, "", browser(None)).await.is_err(), "a device that is not known");

    clock.advance(Duration::from_secs(5));
    assert!(accounts.sign_in("bob", OLD, "", browser(None)).await.is_ok(), "after the wait");
}

#[tokio::test]
async fn a_device_is_known_to_the_account_that_was_signed_in_there_only() {
    let (_folder, accounts, ..) = ada_and_bob().await;
    let of_ada = accounts.sign_in("ada", OLD, "", browser(None)).await.unwrap().known_device.unwrap();
    for _ in 0..5 {
        assert_eq!(wrong(&accounts, "bob", browser(None)).await, wrong_sign_in());
    }
    let device = Device { known_device_token: Some(of_ada.expose()), ..browser(None) };
    assert_eq!(wrong(&accounts, "bob", device).await.code, ErrorCode::TooMany);
    let bearer = accounts.sign_in("ada", OLD, "", client()).await.unwrap();
    assert!(bearer.known_device.is_none(), "a client without cookies");
}

#[tokio::test]
async fn an_unknown_name_is_limited_as_a_known_one() {
    let (_folder, accounts, ..) = ada_and_bob().await;
    let mut answers = Vec::new();
    for (name, address) in [("bob", HERE), ("eve", ELSEWHERE)] {
        let device = Device { address, ..client() };
        let mut of_name = Vec::new();
        for _ in 0..8 {
            of_name.push(wrong(&accounts, name, device).await);
        }
        answers.push(of_name);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(
        answers[0][4..6].iter().map(|error| error.code).collect::<Vec<_>>(),
        [ErrorCode::Invalid, ErrorCode::TooMany]
    );
}

#[tokio::test]
async fn the_current_password_cannot_be_guessed_with_a_session() {
    let (_folder, accounts, _, bob) = ada_and_bob().await;
    let (stolen, own) = (accounts.session("bob", client()).await, accounts.session("bob", client()).await);
    let change = async |token: &Token, old: &'static str| {
        accounts.change_password(&bob, token.expose(), old, NEW, HERE).await.err().map(|error| error.code)
    };
    for _ in 0..5 {
        assert_eq!(change(&stolen, "not the password").await, Some(ErrorCode::Invalid));
    }
    assert_eq!(change(&stolen, OLD).await, Some(ErrorCode::TooMany), "the right one");
    assert_eq!(change(&own, OLD).await, None, "another session has its own allowance");
}

#[tokio::test]
async fn wrong_passwords_are_one_event_that_their_owner_can_see() {
    let clock = ManualClock::default();
    let (_folder, accounts) = on_a_clock(&clock).await;
    let (_, bob) = register_both(&accounts).await;
    let own = accounts.session("bob", client()).await;
    for _ in 0..7 {
        wrong(&accounts, "bob", client()).await;
        wrong(&accounts, "a password typed as a name", client()).await;
    }
    assert!(accounts.change_password(&bob, own.expose(), NEW, NEW, ELSEWHERE).await.is_err());
    let events = async || -> Vec<(Option<i64>, String)> {
        let sql = "SELECT account_id, text FROM event WHERE kind = 'security_sign_in_failed' ORDER BY text";
        sqlx::query_as(sql).fetch_all(accounts.database.read()).await.unwrap()
    };
    accounts.record_failed_attempts(false).await;
    assert_eq!(events().await, [], "the burst may go on");
    clock.advance(Duration::from_mins(5));
    accounts.record_failed_attempts(false).await;
    let more = "2 more were rejected without a check";
    let expected = [
        (Some(bob.id), "1 failed password change for bob from 198.51.100.1 in 5 min.".to_owned()),
        (None, format!("5 failed sign-ins for unknown user names from 192.0.2.7 in 5 min; {more}.")),
        (Some(bob.id), format!("5 failed sign-ins for bob from 192.0.2.7 in 5 min; {more}.")),
    ];
    let mut expected = Vec::from(expected);
    expected.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(events().await, expected);
}

#[tokio::test]
async fn a_session_that_is_used_is_written_now_and_then_and_shown_at_once() {
    let clock = ManualClock::default();
    let (_folder, accounts) = on_a_clock(&clock).await;
    let (_, bob) = register_both(&accounts).await;
    let token = accounts.session("bob", client()).await;
    let stored = async || -> i64 {
        let sql = "SELECT last_used_at FROM session";
        sqlx::query_scalar(sql).fetch_one(accounts.database.read()).await.unwrap()
    };
    let before = stored().await;
    clock.advance(Duration::from_hours(1));
    assert!(accounts.is_open(&token, Carrier::Bearer).await);
    assert_eq!(stored().await, before, "a request writes nothing");
    let shown = accounts.devices(&bob, token.expose()).await.unwrap()[0].last_used_at.0;
    assert_eq!(shown - before, 3_600_000);
    accounts.save_last_uses().await;
    assert_eq!(stored().await, shown);
    // It is open as long as it is used.
    for _ in 0..4 {
        clock.advance(Duration::from_hours(6 * 24));
        assert!(accounts.is_open(&token, Carrier::Bearer).await);
    }
    clock.advance(Duration::from_hours(7 * 24));
    assert!(!accounts.is_open(&token, Carrier::Bearer).await);
}

#[tokio::test]
async fn while_nothing_can_be_written_sessions_stay_open() {
    let clock = ManualClock::default();
    let (_folder, accounts) = on_a_clock(&clock).await;
    register_both(&accounts).await;
    let token = accounts.session("bob", client()).await;
    let trigger = "CREATE TRIGGER fails BEFORE UPDATE ON session BEGIN SELECT raise(ROLLBACK, 'full'); END";
    let execute = async |sql: &'static str| {
        let mut tx = accounts.database.write().await.unwrap();
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    };
    execute(trigger).await;
    for _ in 0..3 {
        clock.advance(Duration::from_hours(3 * 24));
        assert!(accounts.is_open(&token, Carrier::Bearer).await);
        accounts.save_last_uses().await;
    }
    execute("DROP TRIGGER fails").await;
    accounts.save_last_uses().await;
    let unsaved = accounts.sessions.last_use(1);
    assert_eq!(unsaved, None, "it is written as soon as it can be");
}

#[derive(Debug, Clone)]
enum Step {
    SignIn { account: usize, carrier: Carrier },
    SignOut(usize),
    ChangePassword(usize),
    EndOthers(usize),
    SetRole(usize, Role),
    SetActive(usize, bool),
    PassDays(u64),
    SaveLastUses,
    ElsewhereDeactivate(usize),
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let account = 0..3_usize;
    let step = prop_oneof![
        6 => (account.clone(), prop_oneof![Just(Carrier::Cookie), Just(Carrier::Bearer)])
            .prop_map(|(account, carrier)| Step::SignIn { account, carrier }),
        2 => (0..64_usize).prop_map(Step::SignOut),
        1 => (0..64_usize).prop_map(Step::ChangePassword),
        1 => (0..64_usize).prop_map(Step::EndOthers),
        2 => (account.clone(), prop_oneof![Just(Role::User), Just(Role::Admin)])
            .prop_map(|(account, role)| Step::SetRole(account, role)),
        2 => (account.clone(), any::<bool>()).prop_map(|(account, active)| Step::SetActive(account, active)),
        2 => (0..9_u64).prop_map(Step::PassDays),
        1 => Just(Step::SaveLastUses),
        1 => account.prop_map(Step::ElsewhereDeactivate),
    ];
    collection::vec(collection::vec(step, 1..5), 1..8)
}

/// Three users, an admin who changes them, and every token there was.
struct Model {
    _folder: TempDir,
    accounts: Accounts,
    clock: ManualClock,
    admin: AdminAccess,
    users: Vec<CurrentUser>,
    tokens: std::sync::Mutex<Vec<(usize, Carrier, String)>>,
    other_process: sqlx::SqlitePool,
}

impl Model {
    async fn new() -> Self {
        let clock = ManualClock::default();
        let (folder, accounts) = on_a_clock(&clock).await;
        let admin = accounts.register("admin1", "admin1@example.org", OLD).await.unwrap();
        let mut users = Vec::new();
        for name in ["ada", "bob", "cleo"] {
            users.push(accounts.register(name, &format!("{name}@example.org"), OLD).await.unwrap());
        }
        let file = folder.path().join("twarga.sqlite");
        let other_process = sqlx::SqlitePool::connect(file.to_str().unwrap()).await.unwrap();
        let tokens = std::sync::Mutex::default();
        let admin = as_admin(&admin);
        Self { _folder: folder, accounts, clock, admin, users, tokens, other_process }
    }

    async fn reset(&self) {
        self.tokens.lock().unwrap().clear();
        let mut tx = self.accounts.database.write().await.unwrap();
        for sql in ["DELETE FROM session WHERE TRUE", "UPDATE account SET is_active = 1"] {
            sqlx::query(sql).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    fn tokens(&self) -> Vec<(usize, Carrier, String)> {
        self.tokens.lock().unwrap().clone()
    }

    fn token(&self, i: usize) -> Option<(usize, Carrier, String)> {
        let tokens = self.tokens();
        tokens.get(i % tokens.len().max(1)).cloned()
    }

    fn issued(&self, account: usize, carrier: Carrier, token: &Token) {
        self.tokens.lock().unwrap().push((account, carrier, token.expose().to_owned()));
    }

    async fn carry_out(&self, step: &Step) {
        let accounts = &self.accounts;
        match *step {
            Step::SignIn { account, carrier } => {
                let checked: Option<String> =
                    sqlx::query_scalar("SELECT password_hash FROM account WHERE id = ? AND is_active = 1")
                        .bind(self.users[account].id)
                        .fetch_optional(accounts.database.read())
                        .await
                        .unwrap();
                let Some(password_hash) = checked else { return };
                let account_id = self.users[account].id;
                let user = &self.users[account];
                let attempt =
                    Attempt::sign_in(&user.username, Some((user.id, user.username.clone())), None, HERE);
                let checked = CheckedSignIn { account_id, password_hash, is_known_device: false, attempt };
                let device = Device { carrier, ..browser(None) };
                if let Ok(tokens) = accounts.begin_session(&checked, "", device).await {
                    self.issued(account, carrier, &tokens.session);
                }
            }
            Step::SignOut(i) => {
                let Some((_, _, token)) = self.token(i) else { return };
                accounts.sign_out(&token).await.unwrap();
            }
            Step::ChangePassword(i) => {
                let Some((account, carrier, token)) = self.token(i) else { return };
                let user = &self.users[account];
                let changed = accounts.change_password(user, &token, OLD, OLD, HERE).await;
                if let Ok(Some(token)) = changed {
                    self.issued(account, carrier, &token);
                }
            }
            Step::EndOthers(i) => {
                let Some((account, _, token)) = self.token(i) else { return };
                accounts.end_other_sessions(&self.users[account], &token).await.unwrap();
            }
            Step::SetRole(account, role) => {
                let recent = RecentSignIn::of(&self.admin);
                accounts.set_role(&self.admin, self.users[account].id, role, &recent).await.unwrap();
            }
            Step::SetActive(account, active) => {
                accounts.set_active(&self.admin, self.users[account].id, active).await.unwrap();
            }
            Step::PassDays(days) => self.clock.advance(Duration::from_hours(24 * days)),
            Step::SaveLastUses => accounts.save_last_uses().await,
            Step::ElsewhereDeactivate(account) => {
                sqlx::query("UPDATE account SET is_active = 0 WHERE id = ?")
                    .bind(self.users[account].id)
                    .execute(&self.other_process)
                    .await
                    .unwrap();
                accounts.database.check_other_processes().await;
            }
        }
    }

    /// Whose token it is by the tables alone.
    async fn by_tables(&self, carrier: Carrier, token: &str) -> Option<(i64, Role)> {
        let at = self.accounts.now();
        let row: (i64, i64, String) = sqlx::query_as(
            "SELECT session.id, session.last_used_at, account.role || ' ' || account.id
             FROM session JOIN account ON account.id = session.account_id AND is_active = 1
             WHERE token_hash = ? AND carrier = ? AND session.created_at > ?",
        )
        .bind(Token::hash_of(token))
        .bind(carrier.as_str())
        .bind(at - LIFE_DAYS * DAY_MILLIS)
        .fetch_optional(self.accounts.database.read())
        .await
        .unwrap()?;
        let (session_id, last_used_at, account) = row;
        let last_used_at = self.accounts.sessions.last_use(session_id).unwrap_or_default().max(last_used_at);
        let (role, id) = account.split_once(' ').unwrap();
        (last_used_at > at - IDLE_DAYS * DAY_MILLIS)
            .then(|| (id.parse().unwrap(), Role::parse(role).unwrap()))
    }

    async fn compare(&self) -> Result<(), TestCaseError> {
        for (_, carrier, token) in self.tokens() {
            for carrier in [carrier, Carrier::Bearer] {
                let expected = self.by_tables(carrier, &token).await;
                // Twice: the second time, what the first has kept.
                for _ in 0..2 {
                    let session = self.accounts.session_of_token(&token, carrier).await.unwrap();
                    prop_assert_eq!(session.map(|open| (open.user.id, open.user.role)), expected);
                }
            }
        }
        Ok(())
    }
}

/// Steps of a group run at the same time; afterwards, memory and tables agree on every token.
#[test]
fn sessions_in_memory_are_those_of_the_table_whatever_happens_at_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config =
        test_runner::Config { cases: 24, failure_persistence: None, ..test_runner::Config::default() };
    let model = runtime.block_on(Model::new());
    let checked = test_runner::TestRunner::new(config).run(&steps(), |groups| {
        runtime.block_on(async {
            model.reset().await;
            for group in groups {
                join_all(group.iter().map(|step| async {
                    model.carry_out(step).await;
                    // Fills the memory while others change the tables.
                    for (_, carrier, token) in model.tokens() {
                        model.accounts.session_of_token(&token, carrier).await.unwrap();
                    }
                }))
                .await;
                model.compare().await?;
            }
            Ok(())
        })
    });
    checked.unwrap();
}

#[tokio::test]
async fn a_client_that_creates_many_accounts_does_not_keep_others_from_registering_or_setting_a_password() {
    let (_folder, accounts, ada, bob) = ada_and_bob().await;
    let (_, link, _) =
        accounts.create_password_link(&as_admin(&ada), bob.id, &RecentSignIn::of(&ada)).await.unwrap();
    let mut greedy = tokio::task::JoinSet::new();
    for n in 0..40 {
        greedy.spawn(register_visitor(accounts.clone(), format!("guest{n}"), ELSEWHERE));
    }
    let rejected = greedy.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!(rejected.code, ErrorCode::TooMany);
    let (registered, set) = tokio::join!(
        register_visitor(accounts.clone(), "eve".into(), HERE),
        accounts.set_password_by_link(link.expose(), NEW, HERE),
    );
    assert_eq!((registered, set), (Ok(()), Ok(())));
}
