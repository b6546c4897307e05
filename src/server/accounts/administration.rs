//! What admins do with accounts. Admins can neither demote nor deactivate themselves, so an active admin always
//! remains.

use super::{AccountRow, Accounts, now};
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
    pub async fn list(&self, search: &str) -> Result<Vec<Account>, ApiError> {
        let rows: Vec<ListedRow> = sqlx::query_as(
            "SELECT id, username, email, role, is_active, created_at,
                    (SELECT max(last_used_at) FROM session WHERE account_id = account.id) AS last_seen_at,
                    (SELECT count(*) FROM vm WHERE owner_id = account.id AND destroyed_at IS NULL) AS vms,
                    (SELECT coalesce(sum(amount), 0) FROM credit_entry WHERE account_id = account.id)
                        AS credits_available
             FROM account WHERE instr(lower(username), ?1) > 0 OR instr(lower(email), ?1) > 0
             ORDER BY username LIMIT ?2",
        )
        .bind(search.trim().to_lowercase())
        .bind(LIST_LENGTH)
        .fetch_all(self.database.read())
        .await
        .map_err(internal)?;
        Ok(rows.into_iter().map(Account::from).collect())
    }

    /// Activates or deactivates an account. Deactivation ends all its sessions; its VMs are unaffected.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is one's own account.
    pub async fn set_active(
        &self,
        user: &CurrentUser,
        account_id: i64,
        is_active: bool,
    ) -> Result<(), ApiError> {
        if account_id == user.id && !is_active {
            return Err(ApiError::conflict("You cannot deactivate your own account. Ask another admin."));
        }
        let mut tx = self.database.write().await.map_err(internal)?;
        let other = found(&mut tx, account_id).await?;
        sqlx::query("UPDATE account SET is_active = ? WHERE id = ?")
            .bind(is_active)
            .bind(account_id)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        if !is_active {
            sqlx::query("DELETE FROM session WHERE account_id = ?")
                .bind(account_id)
                .execute(&mut *tx)
                .await
                .map_err(internal)?;
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
    /// `NotFound`; `Conflict` when it is one's own account.
    pub async fn set_role(&self, user: &CurrentUser, account_id: i64, role: Role) -> Result<(), ApiError> {
        if account_id == user.id {
            return Err(ApiError::conflict("You cannot change your own role. Ask another admin."));
        }
        let mut tx = self.database.write().await.map_err(internal)?;
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
    /// `NotFound`; `Invalid` with the field that is wrong.
    pub async fn grant(
        &self,
        user: &CurrentUser,
        account_id: i64,
        amount: i64,
        reason: &str,
    ) -> Result<(), ApiError> {
        let reason = reason.trim();
        if amount == 0 || amount.abs() > MAX_GRANT {
            let text = format!("Enter 1 to {MAX_GRANT} credits, or a negative number to take credits.");
            return Err(ApiError::invalid_field("amount", text));
        }
        if reason.is_empty() || reason.chars().count() > MAX_REASON_CHARS {
            let text = format!("Enter a reason of at most {MAX_REASON_CHARS} characters.");
            return Err(ApiError::invalid_field("reason", text));
        }
        let mut tx = self.database.write().await.map_err(internal)?;
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

    async fn record_event(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        user: &CurrentUser,
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

async fn found(tx: &mut Transaction<'_, Sqlite>, account_id: i64) -> Result<CurrentUser, ApiError> {
    let row: Option<AccountRow> =
        sqlx::query_as("SELECT id, username, email, role FROM account WHERE id = ?")
            .bind(account_id)
            .fetch_optional(&mut **tx)
            .await
            .map_err(internal)?;
    row.map(CurrentUser::from).ok_or_else(|| ApiError::not_found("account"))
}
