//! VMs that their owners share with other users.

use super::{Level, Own, VmAccess, Vms, stamp};
use crate::{
    model::{AccessLevel, ApiError, UtcMillis, VmShare},
    server::{events::NewEvent, internal},
};

/// Of a VM.
const MAX_SHARES: i64 = 50;

/// Account id, user name, access and time.
type ShareRow = (i64, String, String, i64);

fn into_share((account_id, username, access, shared_at): ShareRow) -> VmShare {
    let access = AccessLevel::parse_granted(&access).unwrap_or_default();
    VmShare { account_id, username, access, shared_at: UtcMillis(shared_at) }
}

impl Vms {
    /// The users with whom the VM is shared, by name.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn shares(&self, access: &VmAccess<Own>) -> Result<Vec<VmShare>, ApiError> {
        let rows: Vec<ShareRow> = sqlx::query_as(
            "SELECT account.id, account.username, vm_share.access, vm_share.shared_at
             FROM vm_share JOIN account ON account.id = vm_share.account_id
             WHERE vm_share.vm_id = ? ORDER BY account.username",
        )
        .bind(access.vm().id)
        .fetch_all(self.0.database.read())
        .await
        .map_err(internal)?;
        Ok(rows.into_iter().map(into_share).collect())
    }

    /// Shares the VM with a user, or changes what they may do. `granted` is the name of an [`AccessLevel`].
    ///
    /// # Errors
    /// `Invalid` when `granted` is no level that can be granted, there is no active account of this name, or it is the owner's; `Conflict` when the VM is shared
    /// with 50 users.
    pub async fn share(&self, access: &VmAccess<Own>, username: &str, granted: &str) -> Result<(), ApiError> {
        let (user, vm) = (access.user(), access.vm());
        let username = username.trim();
        let granted = AccessLevel::parse_granted(granted).ok_or_else(|| {
            ApiError::invalid_field("access", "Choose what the user may do: view or operate.")
        })?;
        let mut tx = self.0.database.write().await.map_err(internal)?;
        let found: Option<(i64, String)> = sqlx::query_as(
            "SELECT id, username FROM account WHERE username = ? COLLATE NOCASE AND is_active",
        )
        .bind(username)
        .fetch_optional(&mut *tx)
        .await
        .map_err(internal)?;
        let Some((account_id, username)) = found else {
            return Err(ApiError::invalid_field("username", "There is no active account of this name."));
        };
        if account_id == vm.owner_id {
            return Err(ApiError::invalid_field("username", format!("{username} owns this VM.")));
        }
        // The VM may have been destroyed since its access was checked.
        let changed = sqlx::query(
            "INSERT INTO vm_share (vm_id, account_id, access, shared_by, shared_at)
             SELECT id, ?2, ?3, ?4, ?5 FROM vm WHERE id = ?1 AND destroyed_at IS NULL
             ON CONFLICT (vm_id, account_id)
             DO UPDATE SET access = excluded.access, shared_by = excluded.shared_by, shared_at = excluded.shared_at
             WHERE access <> excluded.access",
        )
        .bind(vm.id)
        .bind(account_id)
        .bind(granted.as_str())
        .bind(user.id)
        .bind(stamp())
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        if changed.rows_affected() == 0 {
            return Ok(());
        }
        let shares: i64 = sqlx::query_scalar("SELECT count(*) FROM vm_share WHERE vm_id = ?")
            .bind(vm.id)
            .fetch_one(&mut *tx)
            .await
            .map_err(internal)?;
        if shares > MAX_SHARES {
            let text = format!("A VM can be shared with {MAX_SHARES} users at most. End a share first.");
            return Err(ApiError::conflict(text));
        }
        let text = format!("{} shared {} with {username}, to {}.", user.username, vm.name, granted.as_str());
        NewEvent::info("vm_shared", Some(vm.id), text)
            .about(account_id, user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)
    }

    /// Ends the share of a user: for the owner, admins, and that user. The access ends with this.
    ///
    /// # Errors
    /// `Forbidden` when a user ends another's share of a VM that they do not own; `NotFound` when there is no such share.
    pub async fn end_share(&self, access: &VmAccess<impl Level>, account_id: i64) -> Result<(), ApiError> {
        let (user, vm) = (access.user(), access.vm());
        if account_id != user.id {
            super::access::require(vm, AccessLevel::Own)?;
        }
        let mut tx = self.0.database.write().await.map_err(internal)?;
        let ended: Option<String> = sqlx::query_scalar(
            "DELETE FROM vm_share WHERE vm_id = ?1 AND account_id = ?2
             RETURNING (SELECT username FROM account WHERE id = ?2)",
        )
        .bind(vm.id)
        .bind(account_id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(internal)?;
        let username = ended.ok_or_else(|| ApiError::not_found("share"))?;
        let text = if account_id == user.id {
            format!("{username} gave up the access to {}.", vm.name)
        } else {
            format!("{} ended {username}'s access to {}.", user.username, vm.name)
        };
        NewEvent::info("vm_share_ended", Some(vm.id), text)
            .about(account_id, user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)
    }
}
