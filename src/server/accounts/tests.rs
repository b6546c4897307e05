//! Sessions and what ends them.

use super::*;
use tempfile::TempDir;

const OLD: &str = "correct horse battery";
const NEW: &str = "another long password";

/// The admin ada and the user bob, with the same password.
async fn ada_and_bob() -> (TempDir, Accounts, CurrentUser, CurrentUser) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).await.unwrap();
    let accounts = Accounts::new(database, Allowances::default());
    let ada = accounts.register("ada", "ada@example.org", OLD).await.unwrap();
    let bob = accounts.register("bob", "bob@example.org", OLD).await.unwrap();
    (folder, accounts, ada, bob)
}

fn client() -> Device<'static> {
    Device { carrier: Carrier::Bearer, user_agent: "", session_token: None }
}

fn browser(session_token: Option<&str>) -> Device<'_> {
    Device { carrier: Carrier::Cookie, user_agent: "", session_token }
}

impl Accounts {
    async fn register(&self, username: &str, email: &str, password: &str) -> Result<CurrentUser, ApiError> {
        self.register_as(username, email, password, None).await
    }

    async fn is_open(&self, token: &Token, carrier: Carrier) -> bool {
        self.owner_of_token(token.expose(), carrier).await.unwrap().is_some()
    }

    async fn sessions(&self, user: &CurrentUser) -> usize {
        self.devices(user, "").await.unwrap().len()
    }
}

#[tokio::test]
async fn a_sign_in_that_waited_while_the_password_changed_is_rejected() {
    let (_folder, accounts, _, bob) = ada_and_bob().await;
    let own = accounts.sign_in("bob", OLD, client()).await.unwrap();
    let waiting = accounts.check_sign_in("bob", OLD).await.unwrap();
    accounts.change_password(&bob, own.expose(), OLD, NEW).await.unwrap();
    let rejected = accounts.begin_session(&waiting, client()).await.err().unwrap();
    assert_eq!(rejected, wrong_sign_in());
    assert_eq!(accounts.sessions(&bob).await, 1, "their own");
}

#[tokio::test]
async fn a_sign_in_that_waited_while_the_account_was_deactivated_is_rejected() {
    let (_folder, accounts, ada, bob) = ada_and_bob().await;
    let waiting = accounts.check_sign_in("bob", OLD).await.unwrap();
    accounts.set_active(&ada, bob.id, false).await.unwrap();
    assert_eq!(accounts.begin_session(&waiting, client()).await.err().unwrap(), wrong_sign_in());
    accounts.set_active(&ada, bob.id, true).await.unwrap();
    assert_eq!(accounts.sessions(&bob).await, 0);
    assert!(accounts.begin_session(&waiting, client()).await.is_ok(), "as it was checked");
}

#[tokio::test]
async fn of_two_changes_of_a_password_at_once_one_is_made() {
    let (_folder, accounts, _, bob) = ada_and_bob().await;
    let own = accounts.sign_in("bob", OLD, client()).await.unwrap();
    let change = |new: &'static str| accounts.change_password(&bob, own.expose(), OLD, new);
    let (first, second) = tokio::join!(change(NEW), change("yet another password"));
    assert!(first.is_ok() != second.is_ok());
    let rejected = first.err().or(second.err()).unwrap();
    assert_eq!(rejected.fields[0].field, "old_password");
}

#[tokio::test]
async fn a_session_that_has_ended_changes_no_password() {
    let (_folder, accounts, ada, bob) = ada_and_bob().await;
    let own = accounts.sign_in("bob", OLD, client()).await.unwrap();
    accounts.set_active(&ada, bob.id, false).await.unwrap();
    let rejected = accounts.change_password(&bob, own.expose(), OLD, NEW).await.err().unwrap();
    assert_eq!(rejected.code, ErrorCode::NotSignedIn);
    accounts.set_active(&ada, bob.id, true).await.unwrap();
    assert!(accounts.sign_in("bob", OLD, client()).await.is_ok());
}

#[tokio::test]
async fn signing_in_again_ends_the_session_that_the_browser_had() {
    let (_folder, accounts, _, bob) = ada_and_bob().await;
    let first = accounts.sign_in("bob", OLD, browser(None)).await.unwrap();
    assert!(accounts.sign_in("bob", NEW, browser(Some(first.expose()))).await.is_err());
    assert!(accounts.is_open(&first, Carrier::Cookie).await, "a wrong password ends nothing");
    // Also when somebody else signs in there.
    let second = accounts.sign_in("ada", OLD, browser(Some(first.expose()))).await.unwrap();
    assert!(!accounts.is_open(&first, Carrier::Cookie).await);
    assert!(accounts.is_open(&second, Carrier::Cookie).await);
    assert_eq!(accounts.sessions(&bob).await, 0);
}

#[tokio::test]
async fn a_changed_password_gives_a_browser_a_new_token() {
    let (_folder, accounts, _, bob) = ada_and_bob().await;
    let old = accounts.sign_in("bob", OLD, browser(None)).await.unwrap();
    let new = accounts.change_password(&bob, old.expose(), OLD, NEW).await.unwrap().unwrap();
    assert!(!accounts.is_open(&old, Carrier::Cookie).await);
    assert!(accounts.is_open(&new, Carrier::Cookie).await);
    assert_eq!(accounts.sessions(&bob).await, 1);
}

#[tokio::test]
async fn beyond_fifty_sessions_of_an_account_the_oldest_end() {
    let (_folder, accounts, ada, bob) = ada_and_bob().await;
    let of_bob = accounts.sign_in("bob", OLD, client()).await.unwrap();
    let checked = accounts.check_sign_in("ada", OLD).await.unwrap();
    let mut tokens = Vec::new();
    for _ in 0..MAX_SESSIONS + 2 {
        tokens.push(accounts.begin_session(&checked, client()).await.unwrap());
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
    let own = accounts.sign_in("bob", OLD, client()).await.unwrap();
    for easy in ["1234567890", "          ", "bob@example.org"] {
        let changed = accounts.change_password(&bob, own.expose(), OLD, easy).await.err().unwrap();
        assert!(changed.field("new_password").is_some(), "{easy}: {changed:?}");
    }
    for easy in ["1234567890", "          ", "eve@example.org"] {
        let registered = accounts.register("eve", "eve@example.org", easy).await.unwrap_err();
        assert!(registered.field("password").is_some(), "{easy}: {registered:?}");
        let created = accounts.create(&ada, "eve", "eve@example.org", easy, Role::User).await.unwrap_err();
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
    assert!(accounts.sign_in("bob", NEW, client()).await.is_err());
    assert_eq!(hash().await, weaker);
    assert!(accounts.sign_in("bob", OLD, client()).await.is_ok());
    let replaced = hash().await;
    assert!(password::is_current(&replaced), "{replaced}");
    assert!(accounts.sign_in("bob", OLD, client()).await.is_ok());
    assert_eq!(hash().await, replaced);
}
