//! Scheduled actions: VMs that start with the server, and shutdowns at a set time. Both are stored in the database and
//! survive a restart.

use super::{MayOperate, Own, Scope, VmAccess, Vms};
use crate::{
    model::{ApiError, CurrentUser, OperationKind, Role, UtcMillis, VmStatus, VmView},
    server::{events::NewEvent, internal},
};

/// Nothing is planned for later than in a year.
const MAX_AHEAD_MILLIS: i64 = 366 * 24 * 60 * 60 * 1000;

impl Vms {
    /// Says whether a VM starts with the server.
    ///
    /// # Errors
    /// `Internal` when the database cannot be written.
    pub async fn set_auto_start(&self, access: &VmAccess<Own>, auto_start: bool) -> Result<(), ApiError> {
        let (user, vm) = (access.user(), access.vm());
        let mut tx = self.0.database.write().await.map_err(internal)?;
        let changed = sqlx::query(
            "UPDATE vm SET auto_start = ?1 WHERE id = ?2 AND destroyed_at IS NULL AND auto_start <> ?1",
        )
        .bind(auto_start)
        .bind(vm.id)
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        if changed.rows_affected() > 0 {
            let what = if auto_start { "starts" } else { "does not start" };
            let text = format!("{} set that {} {what} with the server.", user.username, vm.name);
            NewEvent::info("vm_auto_start_changed", Some(vm.id), text)
                .by(user.id)
                .write(&mut tx)
                .await
                .map_err(internal)?;
        }
        tx.commit().await.map_err(internal)
    }

    /// Whether a VM can be turned off then.
    ///
    /// # Errors
    /// `Invalid` for a time that is over or too far away.
    pub fn check_stop_at(&self, stop_at: Option<UtcMillis>) -> Result<(), ApiError> {
        let now = super::now();
        if stop_at.is_some_and(|at| at <= now || at.0 - now.0 > MAX_AHEAD_MILLIS) {
            let text = "Choose a time in the future, within a year.";
            return Err(ApiError::invalid_field("stop_at", text));
        }
        Ok(())
    }

    /// Says when a VM is to be turned off; `None`: not at all.
    ///
    /// # Errors
    /// As [`Self::check_stop_at`].
    pub async fn set_stop_at(
        &self,
        access: &VmAccess<impl MayOperate>,
        stop_at: Option<UtcMillis>,
    ) -> Result<(), ApiError> {
        self.check_stop_at(stop_at)?;
        let vm = access.vm();
        let mut tx = self.0.database.write().await.map_err(internal)?;
        sqlx::query("UPDATE vm SET stop_at = ? WHERE id = ? AND destroyed_at IS NULL")
            .bind(stop_at.map(|at| at.0))
            .bind(vm.id)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        let (who, name) = (&access.user().username, &vm.name);
        let text = match stop_at {
            Some(at) => format!("{who} scheduled a shutdown of {name} at {}.", at.to_rfc3339()),
            None => format!("{who} cancelled the scheduled shutdown of {name}."),
        };
        NewEvent::info("vm_stop_planned", Some(vm.id), text)
            .by(access.user().id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)
    }

    /// Says after how many hours from now a VM is to be turned off; 0: not at all.
    ///
    /// # Errors
    /// As [`Self::set_stop_at`].
    pub async fn stop_after(&self, access: &VmAccess<impl MayOperate>, hours: f64) -> Result<(), ApiError> {
        if !(0.0..=24.0 * 366.0).contains(&hours) {
            return Err(ApiError::invalid_field("hours", "Enter 0 to 8784 hours."));
        }
        let at = super::now().plus_secs((hours * 3600.0) as i64);
        self.set_stop_at(access, (hours > 0.0).then_some(at)).await
    }

    /// Begins to stop what is due at `now`. One that is busy is tried again at the next call.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read or written.
    pub async fn stop_due(&self, now: UtcMillis) -> Result<(), ApiError> {
        let due: Vec<i64> =
            sqlx::query_scalar("SELECT id FROM vm WHERE stop_at <= ? AND destroyed_at IS NULL ORDER BY id")
                .bind(now.0)
                .fetch_all(self.0.database.read())
                .await
                .map_err(internal)?;
        for vm_id in due {
            let Some(vm) = self.find(vm_id).await? else { continue };
            let why = format!("Scheduled shutdown of {}.", vm.name);
            match self.run_scheduled(&owner(&vm), &vm, OperationKind::Stop, why).await {
                Ok(_) => {
                    let mut tx = self.0.database.write().await.map_err(internal)?;
                    sqlx::query("UPDATE vm SET stop_at = NULL WHERE id = ? AND stop_at = ?")
                        .bind(vm.id)
                        .bind(vm.stop_at.map(|at| at.0))
                        .execute(&mut *tx)
                        .await
                        .map_err(internal)?;
                    tx.commit().await.map_err(internal)?;
                }
                Err(error) => tracing::info!(vm = vm.name, %error, "a scheduled shutdown is deferred"),
            }
        }
        Ok(())
    }

    /// Starts every VM that starts with the server and does not run. To be called once their status is known.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn start_those_that_start_with_the_server(&self) -> Result<(), ApiError> {
        for vm in self.list(Scope::All).await? {
            let is_off = matches!(vm.status, VmStatus::Stopped | VmStatus::Suspended);
            if !vm.auto_start || !is_off {
                continue;
            }
            let why = format!("{} starts with the server.", vm.name);
            if let Err(error) = self.run_scheduled(&owner(&vm), &vm, OperationKind::Start, why).await {
                let text = format!("{} could not be started with the server. {error}", vm.name);
                self.0.events.record(NewEvent::warning("vm_auto_start_refused", Some(vm.id), text)).await;
            }
        }
        Ok(())
    }
}

/// Who a plan is carried out for.
fn owner(vm: &VmView) -> CurrentUser {
    CurrentUser { id: vm.owner_id, username: vm.owner_name.clone(), email: String::new(), role: Role::User }
}
