//! What admins do with accounts.
//!
//! An active admin always remains: admins can neither demote nor deactivate themselves, and the transaction that changes an
//! account requires that whoever requested it still is an active admin. Requests that were admitted before their own admin
//! lost the role are therefore rejected, in whatever order they are carried out.

use super::{
    AccountRow, Accounts, AdminAccess, RecentSignIn, end_sessions, now, session_events::EndedSessions,
};
use crate::{
    model::{Account, ApiError, CurrentUser, Role, UtcMillis},
    server::{events::NewEvent, internal},
};
use sqlx::{FromRow, Sqlite, Transaction};

/// More are found by searching.
const LIST_LENGTH: i64 = 200;
const MAX_GRANT: i64 = 1_000_000_000;
const MAX_REASON_CHARS: usize = 200;

#[derive(FromRow)]
struct ListedRow {
    #[sqlx(flatten)]
    account: AccountRow,
    is_active: bool,
    has_second_factor: bool,
    created_at: i64,
    last_seen_at: Option<i64>,
    vms: u32,
    credits_available: i64,
}

impl From<ListedRow> for Account {
    fn from(row: ListedRow) -> Self {
        let CurrentUser { id, username, email, role } = row.account.into();
        Self {
            id,
            username,
            email,
            role,
            is_active: row.is_active,
            has_second_factor: row.has_second_factor,
            created_at: UtcMillis(row.created_at),
            last_seen_at: row.last_seen_at.map(UtcMillis),
            vms: row.vms,
            credits_available: row.credits_available,
        }
    }
}

impl Accounts {
    /// The first 200 accounts by name whose name or e-mail address contains `search`.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn list(&self, _: &AdminAccess, search: &str) -> Result<Vec<Account>, ApiError> {
        self.listed(search, Some(LIST_LENGTH)).await
    }

    /// The first `limit` accounts, or all of them.
    pub(super) async fn listed(&self, search: &str, limit: Option<i64>) -> Result<Vec<Account>, ApiError> {
        let rows: Vec<ListedRow> = sqlx::query_as(
            "SELECT id, username, email, role, is_active, created_at,
                    EXISTS (SELECT 1 FROM second_factor WHERE account_id = account.id) AS has_second_factor,
                    (SELECT max(last_used_at) FROM session WHERE account_id = account.id) AS last_seen_at,
                    (SELECT count(*) FROM vm WHERE owner_id = account.id AND destroyed_at IS NULL) AS vms,
                    (SELECT coalesce(sum(amount), 0) FROM credit_entry WHERE account_id = account.id)
                        AS credits_available
             FROM account WHERE instr(lower(username), ?1) > 0 OR instr(lower(email), ?1) > 0
             ORDER BY username LIMIT ?2",
        )
        .bind(search.trim().to_lowercase())
        // A negative limit is none.
        .bind(limit.unwrap_or(-1))
        .fetch_all(self.database.read())
        .await
        .map_err(internal)?;
        Ok(rows.into_iter().map(Account::from).collect())
    }

    /// Creates an account with a role.
    ///
    /// # Errors
    /// As [`Self::register_as`]; `Forbidden` when `admin` is none any more.
    pub async fn create(
        &self,
        admin: &AdminAccess,
        username: &str,
        email: &str,
        password: &str,
        role: Role,
    ) -> Result<(), ApiError> {
        let new = self.checked(&self.passwords, username, email, password).await?;
        let mut tx = self.write_as_admin(admin).await?;
        self.insert(&mut tx, &new, role, Some(admin)).await?;
        tx.commit().await.map_err(internal)
    }

    /// Activates or deactivates an account. Deactivation ends all its sessions; its VMs are unaffected.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is one's own account; `Forbidden` when `user` is no admin any more.
    pub async fn set_active(
        &self,
        user: &AdminAccess,
        account_id: i64,
        is_active: bool,
    ) -> Result<(), ApiError> {
        if account_id == user.id && !is_active {
            return Err(ApiError::conflict("You cannot deactivate your own account. Ask another admin."));
        }
        let mut tx = self.write_as_admin(user).await?;
        let other = found(&mut tx, account_id).await?;
        sqlx::query("UPDATE account SET is_active = ? WHERE id = ?")
            .bind(is_active)
            .bind(account_id)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        if !is_active {
            let ended = EndedSessions {
                account_id,
                username: &other.username,
                done_by: Some(user.id),
                count: end_sessions(&mut tx, account_id).await?,
                why: &format!("{} deactivated the account", user.username),
            };
            self.record_ended_sessions(&mut tx, ended).await?;
        }
        let what = if is_active { "activated" } else { "deactivated" };
        self.record_event(
            &mut tx,
            user,
            &other,
            format!("{} {what} the account {}.", user.username, other.username),
        )
        .await?;
        tx.commit().await.map_err(internal)
    }

    /// Sets an account's role.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is one's own account; `Forbidden` when `user` is no admin any more.
    pub async fn set_role(
        &self,
        user: &AdminAccess,
        account_id: i64,
        role: Role,
        _: &RecentSignIn,
    ) -> Result<(), ApiError> {
        if account_id == user.id {
            return Err(ApiError::conflict("You cannot change your own role. Ask another admin."));
        }
        let mut tx = self.write_as_admin(user).await?;
        let other = found(&mut tx, account_id).await?;
        sqlx::query("UPDATE account SET role = ? WHERE id = ?")
            .bind(role.as_str())
            .bind(account_id)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        let text = format!(
            "{} made {} {}.",
            user.username,
            other.username,
            match role {
                Role::Admin => "an admin",
                Role::User => "a user",
            }
        );
        self.record_event(&mut tx, user, &other, text).await?;
        tx.commit().await.map_err(internal)
    }

    /// Grants credits, or takes them when `amount` is negative, with a reason shown to the user.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` with the field that is wrong; `Forbidden` when `user` is no admin any more.
    pub async fn grant(
        &self,
        user: &AdminAccess,
        account_id: i64,
        amount: i64,
        reason: &str,
    ) -> Result<(), ApiError> {
        let reason = reason.trim();
        if amount == 0 || !(-MAX_GRANT..=MAX_GRANT).contains(&amount) {
            let text = format!("Enter 1 to {MAX_GRANT} credits, or a negative number to take credits.");
            return Err(ApiError::invalid_field("amount", text));
        }
        let is_line = !reason.is_empty() && !reason.chars().any(char::is_control);
        if !is_line || reason.chars().count() > MAX_REASON_CHARS {
            let text = format!("Enter a reason of at most {MAX_REASON_CHARS} characters, on a single line.");
            return Err(ApiError::invalid_field("reason", text));
        }
        let mut tx = self.write_as_admin(user).await?;
        let other = found(&mut tx, account_id).await?;
        self.allowances.grant(&mut tx, account_id, amount, reason, now().0).await.map_err(internal)?;
        let (verb, count) = if amount > 0 { ("gave", amount) } else { ("took", -amount) };
        let text = format!("{} {verb} {} {count} credits: {reason}", user.username, other.username);
        NewEvent::info("credits_granted", None, text)
            .about(account_id, user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)
    }

    /// Begins a writing transaction for a request that only an active admin may make.
    pub(super) async fn write_as_admin(
        &self,
        user: &AdminAccess,
    ) -> Result<Transaction<'static, Sqlite>, ApiError> {
        let mut tx = self.database.write().await.map_err(internal)?;
        let is_admin: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM account WHERE id = ? AND role = 'admin' AND is_active = 1)",
        )
        .bind(user.id)
        .fetch_one(&mut *tx)
        .await
        .map_err(internal)?;
        if is_admin { Ok(tx) } else { Err(ApiError::admins_only()) }
    }

    async fn record_event(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        user: &AdminAccess,
        other: &CurrentUser,
        text: String,
    ) -> Result<(), ApiError> {
        NewEvent::info("account_changed", None, text)
            .about(other.id, user.id)
            .write(tx)
            .await
            .map_err(internal)
    }
}

pub(super) async fn found(
    tx: &mut Transaction<'_, Sqlite>,
    account_id: i64,
) -> Result<CurrentUser, ApiError> {
    let row: Option<AccountRow> =
        sqlx::query_as("SELECT id, username, email, role FROM account WHERE id = ?")
            .bind(account_id)
            .fetch_optional(&mut **tx)
            .await
            .map_err(internal)?;
    row.map(CurrentUser::from).ok_or_else(|| ApiError::not_found("account"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::ErrorCode,
        server::{credits::Allowances, database::Database},
    };
    use futures::future::join_all;
    use proptest::{
        collection,
        prelude::*,
        test_runner::{Config, TestRunner},
    };

    const ADMINS: i64 = 4;

    /// The accounts 1 to 4, all admins.
    async fn admins(folder: &std::path::Path) -> Accounts {
        let database = Database::open(folder).await.unwrap();
        let mut tx = database.write().await.unwrap();
        for id in 1..=ADMINS {
            sqlx::query(
                "INSERT INTO account (id, username, email, password_hash, role, created_at)
                 VALUES (?1, 'admin' || ?1, 'admin' || ?1 || '@example.org', '', 'admin', 0)",
            )
            .bind(id)
            .execute(&mut *tx)
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
        Accounts::new(database, Allowances::default())
    }

    fn admitted(id: i64) -> AdminAccess {
        let username = format!("admin{id}");
        let email = format!("{username}@example.org");
        AdminAccess::of(CurrentUser { id, username, email, role: Role::Admin }).unwrap()
    }

    async fn active_admins(accounts: &Accounts) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM account WHERE role = 'admin' AND is_active = 1")
            .fetch_one(accounts.database.read())
            .await
            .unwrap()
    }

    #[derive(Debug, Clone, Copy)]
    enum Change {
        Demote,
        Promote,
        Deactivate,
        Activate,
    }

    async fn carry_out(accounts: &Accounts, (by, change, of): (i64, Change, i64)) -> Result<(), ApiError> {
        let user = admitted(by);
        match change {
            Change::Demote => accounts.set_role(&user, of, Role::User, &RecentSignIn::of(&user)).await,
            Change::Promote => accounts.set_role(&user, of, Role::Admin, &RecentSignIn::of(&user)).await,
            Change::Deactivate => accounts.set_active(&user, of, false).await,
            Change::Activate => accounts.set_active(&user, of, true).await,
        }
    }

    #[tokio::test]
    async fn of_two_admins_who_end_each_others_role_at_once_one_remains() {
        for change in [Change::Demote, Change::Deactivate] {
            let folder = tempfile::tempdir().unwrap();
            let accounts = admins(folder.path()).await;
            let changes = [(1, change, 3), (1, change, 4), (1, change, 2), (2, change, 1)];
            let outcomes = join_all(changes.map(|change| carry_out(&accounts, change))).await;
            let rejected: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
            assert_eq!(rejected.len(), 1, "{rejected:?}");
            assert_eq!(rejected[0].code, ErrorCode::Forbidden);
            assert_eq!(active_admins(&accounts).await, 1);
        }
    }

    #[tokio::test]
    async fn who_is_no_admin_any_more_neither_creates_an_account_nor_grants_credits() {
        let folder = tempfile::tempdir().unwrap();
        let accounts = admins(folder.path()).await;
        let recent = RecentSignIn::of(&admitted(1));
        accounts.set_role(&admitted(1), 2, Role::User, &recent).await.unwrap();
        let created = accounts
            .create(&admitted(2), "eve", "eve@example.org", "correct horse battery", Role::Admin)
            .await;
        assert_eq!(created.unwrap_err().code, ErrorCode::Forbidden);
        let granted = accounts.grant(&admitted(2), 2, 1000, "mine").await;
        assert_eq!(granted.unwrap_err().code, ErrorCode::Forbidden);
        assert_eq!(accounts.list(&admitted(1), "").await.unwrap().len(), 4);
    }

    fn change() -> impl Strategy<Value = (i64, Change, i64)> {
        let kind = prop_oneof![
            3 => Just(Change::Demote),
            1 => Just(Change::Promote),
            3 => Just(Change::Deactivate),
            1 => Just(Change::Activate),
        ];
        (1..=ADMINS, kind, 1..=ADMINS)
    }

    /// All are admitted while everyone is an admin, and then carried out in any order.
    #[test]
    fn an_active_admin_remains_whatever_admins_request_at_once() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let accounts = runtime.block_on(admins(folder.path()));
        let mut runner =
            TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
        let checked = runner.run(&collection::vec(change(), 1..16), |changes| {
            runtime.block_on(async {
                let mut tx = accounts.database.write().await.unwrap();
                sqlx::query("UPDATE account SET role = 'admin', is_active = 1")
                    .execute(&mut *tx)
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                join_all(changes.iter().map(|change| carry_out(&accounts, *change))).await;
                prop_assert!(active_admins(&accounts).await >= 1);
                Ok(())
            })
        });
        checked.unwrap();
    }
}
