//! Credits: an append-only ledger. An account's balance is the sum of its entries.
//!
//! A request reserves credits, success captures them, failure releases them. If it is unknown whether a machine exists,
//! its reservation stays open until that is known. Each entry is written in the transaction of its cause.

use super::database::Database;
use crate::model::{ApiError, Quota, Role, VmSpec, price};
use sqlx::{Sqlite, Transaction};

/// What accounts are given and may have. Shared by all of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowances {
    pub user_credits: u32,
    pub admin_credits: u32,
    pub max_vms: u32,
    /// Of what a VM has cost, what its owner gets back when it is destroyed.
    pub refund_percent: u32,
    /// What all VMs together may be given; `None`: nobody knows, or it does not matter.
    pub capacity: Option<Capacity>,
}

impl Default for Allowances {
    fn default() -> Self {
        Self { user_credits: 100, admin_credits: 1000, max_vms: 5, refund_percent: 0, capacity: None }
    }
}

/// What all VMs together may be given: what the host has, overcommitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Of those that run.
    pub ram_mb: u64,
    /// Of those that run.
    pub cpu_cores: u64,
    /// Of all.
    pub disk_gb: u64,
}

/// How a reservation is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    Capture,
    Release,
}

impl Allowances {
    /// What an account is granted when it is made.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn grant_first(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        account_id: i64,
        role: Role,
        at: i64,
    ) -> Result<(), sqlx::Error> {
        let amount = self.first_credits(role).into();
        self.grant(tx, account_id, amount, "granted with the account", at).await
    }

    /// What an account of this role is granted when it is made.
    pub fn first_credits(&self, role: Role) -> u32 {
        match role {
            Role::Admin => self.admin_credits,
            Role::User => self.user_credits,
        }
    }

    /// Gives an account credits, or takes some when `amount` is below 0.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn grant(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        account_id: i64,
        amount: i64,
        note: &str,
        at: i64,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO credit_entry (account_id, at, kind, amount, note) VALUES (?, ?, 'grant', ?, ?)",
        )
        .bind(account_id)
        .bind(at)
        .bind(amount)
        .bind(note)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// Gives accounts that were made before there were credits what a new one gets.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn grant_missing(&self, database: &Database, at: i64) -> Result<(), sqlx::Error> {
        let mut tx = database.write().await?;
        sqlx::query(
            "INSERT INTO credit_entry (account_id, at, kind, amount, note)
             SELECT id, ?1, 'grant', CASE role WHEN 'admin' THEN ?2 ELSE ?3 END, 'granted with the account'
             FROM account
             WHERE NOT EXISTS (SELECT 1 FROM credit_entry WHERE account_id = account.id AND kind = 'grant')",
        )
        .bind(at)
        .bind(self.admin_credits)
        .bind(self.user_credits)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// What an account has.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn quota(
        &self,
        executor: impl sqlx::Executor<'_, Database = Sqlite>,
        account_id: i64,
    ) -> Result<Quota, sqlx::Error> {
        let (available, granted, reserved, vms): (i64, i64, i64, u32) = sqlx::query_as(
            "SELECT (SELECT coalesce(sum(amount), 0) FROM credit_entry WHERE account_id = ?1),
                    (SELECT coalesce(sum(amount), 0) FROM credit_entry WHERE account_id = ?1 AND kind = 'grant'),
                    (SELECT -coalesce(sum(amount), 0) FROM credit_entry AS r WHERE account_id = ?1 AND kind = 'reserve'
                        AND NOT EXISTS (SELECT 1 FROM credit_entry AS s WHERE s.reserve_id = r.id)),
                    (SELECT count(*) FROM vm WHERE owner_id = ?1 AND destroyed_at IS NULL AND is_free = 0)",
        )
        .bind(account_id)
        .fetch_one(executor)
        .await?;
        Ok(Quota {
            credits_available: available,
            credits_reserved: reserved,
            credits_granted: granted,
            vms,
            max_vms: self.max_vms,
        })
    }

    /// The reasons why a VM of this size cannot run beside all others, as messages for the user. `vm_id` is its id, if it
    /// exists already.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn against_capacity(
        &self,
        executor: impl sqlx::Executor<'_, Database = Sqlite>,
        vm_id: Option<i64>,
        spec: &VmSpec,
    ) -> Result<Vec<String>, sqlx::Error> {
        let Some(capacity) = self.capacity else { return Ok(Vec::new()) };
        let (ram_mb, cpu_cores, disk_gb): (i64, i64, i64) = sqlx::query_as(
            "SELECT coalesce(sum(CASE WHEN status IN ('running', 'pending', 'suspended', 'unknown')
                                 THEN coalesce(next_ram_mb, ram_mb) END), 0),
                    coalesce(sum(CASE WHEN status IN ('running', 'pending', 'suspended', 'unknown')
                                 THEN coalesce(next_cpu_cores, cpu_cores) END), 0),
                    coalesce(sum(coalesce(next_disk_gb, disk_gb)), 0)
             FROM vm WHERE destroyed_at IS NULL AND id IS NOT ?",
        )
        .bind(vm_id)
        .fetch_one(executor)
        .await?;
        let left = |all: u64, used: i64| all.saturating_sub(used.unsigned_abs());
        let wanted = [
            (u64::from(spec.ram_mb), left(capacity.ram_mb, ram_mb), "MB of memory"),
            (u64::from(spec.cpu_cores), left(capacity.cpu_cores, cpu_cores), "cores"),
            (u64::from(spec.disk_gb), left(capacity.disk_gb, disk_gb), "GB of disk"),
        ];
        let too_much = wanted.into_iter().filter(|(wanted, left, _)| wanted > left);
        Ok(too_much
            .map(|(_, left, what)| {
                format!(
                    "The host has {left} {what} left for VMs. Ask for less, or stop or destroy another VM."
                )
            })
            .collect())
    }

    /// Reserves what a VM of this size costs beyond what was paid for it; fails if its owner cannot pay.
    ///
    /// # Errors
    /// `Conflict` with the reason; `Internal` when SQLite cannot.
    pub async fn reserve(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        account_id: i64,
        vm_id: i64,
        operation_id: Option<i64>,
        spec: &VmSpec,
        at: i64,
    ) -> Result<(), ApiError> {
        let due = self.due(tx, vm_id, spec).await.map_err(super::internal)?;
        if due <= 0 {
            return Ok(());
        }
        let quota = self.quota(&mut **tx, account_id).await.map_err(super::internal)?;
        if let Some(reason) = too_expensive(due, quota) {
            return Err(ApiError::conflict(reason));
        }
        sqlx::query(
            "INSERT INTO credit_entry (account_id, at, kind, amount, vm_id, operation_id, note)
             VALUES (?, ?, 'reserve', ?, ?, ?, ?)",
        )
        .bind(account_id)
        .bind(at)
        .bind(-due)
        .bind(vm_id)
        .bind(operation_id)
        .bind(format!("{} MB, {} cores, {} GB", spec.ram_mb, spec.cpu_cores, spec.disk_gb))
        .execute(&mut **tx)
        .await
        .map_err(super::internal)?;
        Ok(())
    }

    /// Credits that a VM of this size costs beyond what was paid or is set aside for it. One that is free costs
    /// nothing.
    async fn due(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        vm_id: i64,
        spec: &VmSpec,
    ) -> Result<i64, sqlx::Error> {
        let (paid, is_free): (i64, bool) = sqlx::query_as(
            "SELECT (SELECT -coalesce(sum(amount), 0) FROM credit_entry
                     WHERE vm_id = vm.id AND kind IN ('reserve', 'release')), is_free
             FROM vm WHERE id = ?",
        )
        .bind(vm_id)
        .fetch_one(&mut **tx)
        .await?;
        Ok(if is_free { 0 } else { i64::from(price(spec)) - paid })
    }

    /// Settles the open reservations of a VM; only those of `operation_id`, if given.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn settle(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        vm_id: i64,
        operation_id: Option<i64>,
        how: Settlement,
        at: i64,
    ) -> Result<(), sqlx::Error> {
        let (kind, factor) = match how {
            Settlement::Capture => ("capture", 0),
            Settlement::Release => ("release", -1),
        };
        sqlx::query(
            "INSERT INTO credit_entry (account_id, at, kind, amount, vm_id, operation_id, reserve_id, note)
             SELECT account_id, ?1, ?2, amount * ?3, vm_id, operation_id, id, note FROM credit_entry AS r
             WHERE vm_id = ?4 AND kind = 'reserve' AND (?5 IS NULL OR operation_id = ?5)
                   AND NOT EXISTS (SELECT 1 FROM credit_entry AS s WHERE s.reserve_id = r.id)",
        )
        .bind(at)
        .bind(kind)
        .bind(factor)
        .bind(vm_id)
        .bind(operation_id)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// Closes a destroyed VM's account: what is still set aside is released, and its owner gets back what they are to.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub async fn close(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        vm_id: i64,
        at: i64,
    ) -> Result<(), sqlx::Error> {
        self.settle(tx, vm_id, None, Settlement::Release, at).await?;
        sqlx::query(
            "INSERT INTO credit_entry (account_id, at, kind, amount, vm_id, note)
             SELECT account_id, ?1, 'refund', -sum(amount) * ?2 / 100, vm_id, 'it was destroyed'
             FROM credit_entry WHERE vm_id = ?3 AND kind IN ('reserve', 'release')
             GROUP BY account_id, vm_id HAVING -sum(amount) * ?2 / 100 > 0",
        )
        .bind(at)
        .bind(self.refund_percent)
        .bind(vm_id)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

/// Why credits do not suffice, if they do not.
pub fn too_expensive(due: i64, quota: Quota) -> Option<String> {
    (due > quota.credits_available).then(|| {
        format!(
            "This costs {due} credits, and {} are left. Choose a smaller size, or ask an admin for more.",
            quota.credits_available
        )
    })
}

/// Why there cannot be one VM more, if there cannot.
pub fn too_many(quota: Quota) -> Option<String> {
    (quota.vms >= quota.max_vms).then(|| {
        format!(
            "You have {} VMs, and {} is the most an account may have. Destroy one first.",
            quota.vms, quota.max_vms
        )
    })
}
