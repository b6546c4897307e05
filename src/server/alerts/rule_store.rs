//! Stores the alert rules: read by the engine, edited by users.

use super::{Alerts, quiet_hours};
use crate::{
    model::{
        AlertMetric, AlertRule, ApiError, Comparison, CurrentUser, QuietHours, Role, RuleScope, Severity,
        UtcMillis,
    },
    server::{events::NewEvent, internal, not_found_or_hidden},
};
use sqlx::{FromRow, Sqlite, SqliteConnection, Transaction};

/// The limit of rules per user; far more than anyone maintains.
const MAX_RULES: i64 = 200;

#[derive(FromRow)]
struct RuleRow {
    id: i64,
    scope: String,
    owner_id: Option<i64>,
    vm_id: Option<i64>,
    scope_name: Option<String>,
    metric: String,
    comparison: String,
    threshold: Option<f64>,
    for_secs: u32,
    severity: String,
    repeat_secs: Option<u32>,
    quiet_from_minute: Option<u16>,
    quiet_to_minute: Option<u16>,
    quiet_time_zone: Option<String>,
    is_enabled: bool,
    is_deleted: bool,
    is_editable: bool,
}

impl RuleRow {
    fn into_rule(self) -> Option<AlertRule> {
        let scope = match (self.is_deleted, self.scope.as_str()) {
            // It watches nothing any more, and is here for the words about what it left open.
            (true, _) => RuleScope::Vm(0),
            (_, "host") => RuleScope::Host,
            (_, "owner") => RuleScope::Owner(self.owner_id?),
            (_, "vm") => RuleScope::Vm(self.vm_id?),
            _ => RuleScope::EveryVm,
        };
        let hours = self.quiet_from_minute.zip(self.quiet_to_minute).zip(self.quiet_time_zone);
        Some(AlertRule {
            id: self.id,
            scope,
            scope_name: self.scope_name,
            metric: AlertMetric::parse(&self.metric)?,
            comparison: Comparison::parse(&self.comparison)?,
            threshold: self.threshold,
            for_secs: self.for_secs,
            severity: Severity::parse(&self.severity)?,
            repeat_secs: self.repeat_secs,
            quiet_hours: hours.map(|((from_minute, to_minute), time_zone)| QuietHours {
                from_minute,
                to_minute,
                time_zone,
            }),
            is_enabled: self.is_enabled,
            is_editable: self.is_editable,
        })
    }
}

/// Rules in force, the most general first; and those with an open alert. `viewer` is the requesting account and whether
/// it is an admin's; `None` for the alert engine, which reads all.
async fn select(
    connection: &mut SqliteConnection,
    viewer: Option<(i64, bool)>,
) -> Result<Vec<AlertRule>, sqlx::Error> {
    let rows: Vec<RuleRow> = sqlx::query_as(
        "SELECT rule.id, rule.scope, rule.owner_id, rule.vm_id, coalesce(vm.name, account.username) AS scope_name,
                rule.metric, rule.comparison, rule.threshold, rule.for_secs, rule.severity, rule.repeat_secs,
                rule.quiet_from_minute, rule.quiet_to_minute, rule.quiet_time_zone, rule.is_enabled,
                rule.deleted_at IS NOT NULL AS is_deleted,
                (?2 OR rule.owner_id IS ?1 OR vm.owner_id IS ?1) AND ?1 IS NOT NULL AS is_editable
         FROM alert_rule AS rule
         LEFT JOIN vm ON vm.id = rule.vm_id
         LEFT JOIN account ON account.id = rule.owner_id
         WHERE (rule.deleted_at IS NULL OR
                ?1 IS NULL AND rule.id IN (SELECT rule_id FROM alert WHERE resolved_at IS NULL))
           AND (rule.vm_id IS NULL OR vm.destroyed_at IS NULL)
           AND (?1 IS NULL OR ?2 OR rule.scope = 'every_vm' OR rule.owner_id = ?1 OR vm.owner_id = ?1)
         ORDER BY instr('host every_vm owner vm', rule.scope), scope_name, rule.id",
    )
    .bind(viewer.map(|(id, _)| id))
    .bind(viewer.is_some_and(|(_, is_admin)| is_admin))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(RuleRow::into_rule).collect())
}

/// Every rule there is to watch by.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<Vec<AlertRule>, sqlx::Error> {
    select(connection, None).await
}

impl Alerts {
    /// The rules for what `user` may see, each with whether they may change it.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn rules(&self, user: &CurrentUser) -> Result<Vec<AlertRule>, ApiError> {
        let mut connection = self.database.read().acquire().await.map_err(internal)?;
        select(&mut connection, Some((user.id, user.role == Role::Admin))).await.map_err(internal)
    }

    /// Writes a rule down: a new one where its id is 0. It holds from the next tick on.
    ///
    /// # Errors
    /// `Forbidden` when it is not theirs to make; `NotFound` when there is no such rule, VM or account; `Invalid`
    /// for an unknown time zone; `Conflict` when they have too many.
    pub async fn save_rule(&self, user: &CurrentUser, rule: &AlertRule) -> Result<i64, ApiError> {
        if let Some(hours) = &rule.quiet_hours
            && !quiet_hours::is_time_zone(&hours.time_zone)
        {
            let text = "There is no such time zone. It is a name such as Europe/Berlin, or UTC.";
            return Err(ApiError::invalid_field("time_zone", text));
        }
        let mut tx = self.database.write().await.map_err(internal)?;
        let subject = subject_of(&mut tx, user, rule.scope).await?;
        let is_new = rule.id == 0;
        if is_new {
            let count: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM alert_rule WHERE created_by = ? AND deleted_at IS NULL",
            )
            .bind(user.id)
            .fetch_one(&mut *tx)
            .await
            .map_err(internal)?;
            if count >= MAX_RULES {
                let text = format!("You have reached the limit of {MAX_RULES} rules. Delete one first.");
                return Err(ApiError::conflict(text));
            }
        } else {
            self.editable(&mut tx, user, rule.id).await?;
        }
        let (scope, owner_id, vm_id) = columns(rule.scope);
        let hours = rule.quiet_hours.as_ref();
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO alert_rule (id, scope, owner_id, vm_id, metric, comparison, threshold, for_secs, severity,
                                     repeat_secs, quiet_from_minute, quiet_to_minute, quiet_time_zone, is_enabled,
                                     created_by)
             VALUES (nullif(?1, 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (id) DO UPDATE SET
                scope = excluded.scope, owner_id = excluded.owner_id, vm_id = excluded.vm_id,
                metric = excluded.metric, comparison = excluded.comparison, threshold = excluded.threshold,
                for_secs = excluded.for_secs, severity = excluded.severity, repeat_secs = excluded.repeat_secs,
                quiet_from_minute = excluded.quiet_from_minute, quiet_to_minute = excluded.quiet_to_minute,
                quiet_time_zone = excluded.quiet_time_zone, is_enabled = excluded.is_enabled
             RETURNING id",
        )
        .bind(rule.id)
        .bind(scope)
        .bind(owner_id)
        .bind(vm_id)
        .bind(rule.metric.as_str())
        .bind(rule.comparison.as_str())
        .bind(rule.threshold)
        .bind(rule.for_secs)
        .bind(rule.severity.as_str())
        .bind(rule.repeat_secs)
        .bind(hours.map(|hours| hours.from_minute))
        .bind(hours.map(|hours| hours.to_minute))
        .bind(hours.map(|hours| &hours.time_zone))
        .bind(rule.is_enabled)
        .bind(user.id)
        .fetch_one(&mut *tx)
        .await
        .map_err(internal)?;
        let what = rule.metric.wrong(rule.comparison, rule.threshold);
        let done = match (is_new, rule.is_enabled) {
            (_, false) => "turned off",
            (true, true) => "made",
            (false, true) => "changed",
        };
        let text = format!("{} {done} the alert rule \"{what}\" for {subject}.", user.username);
        NewEvent::info("alert_rule_changed", vm_id, text)
            .by(user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        Ok(id)
    }

    /// Deletes a rule; what it has open is over with the next tick.
    ///
    /// # Errors
    /// `NotFound` when there is no such rule, or it is not theirs to see; `Forbidden` when it is not theirs to
    /// delete.
    pub async fn delete_rule(&self, user: &CurrentUser, rule_id: i64, at: UtcMillis) -> Result<(), ApiError> {
        let mut tx = self.database.write().await.map_err(internal)?;
        let rule = self.editable(&mut tx, user, rule_id).await?;
        sqlx::query("UPDATE alert_rule SET deleted_at = ? WHERE id = ?")
            .bind(at.0)
            .bind(rule_id)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        let what = rule.metric.wrong(rule.comparison, rule.threshold);
        let text = format!("{} deleted the alert rule \"{what}\".", user.username);
        let vm_id = columns(rule.scope).2;
        NewEvent::info("alert_rule_deleted", vm_id, text)
            .by(user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)
    }

    async fn editable(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        user: &CurrentUser,
        rule_id: i64,
    ) -> Result<AlertRule, ApiError> {
        let visible = select(tx, Some((user.id, user.role == Role::Admin))).await.map_err(internal)?;
        let found = visible.into_iter().find(|rule| rule.id == rule_id);
        let Some(rule) = found else {
            let sql = "SELECT EXISTS (SELECT 1 FROM alert_rule LEFT JOIN vm ON vm.id = vm_id
                                      WHERE alert_rule.id = ? AND deleted_at IS NULL AND vm.destroyed_at IS NULL)";
            return Err(not_found_or_hidden(tx, "rule", sql, rule_id).await);
        };
        if rule.is_editable {
            Ok(rule)
        } else {
            Err(ApiError::forbidden(
                "Only an admin can change this rule. Create your own rule for your VMs: it takes precedence.",
            ))
        }
    }
}

/// The columns `scope`, `owner_id` and `vm_id`.
fn columns(scope: RuleScope) -> (&'static str, Option<i64>, Option<i64>) {
    match scope {
        RuleScope::Host => ("host", None, None),
        RuleScope::EveryVm => ("every_vm", None, None),
        RuleScope::Owner(id) => ("owner", Some(id), None),
        RuleScope::Vm(id) => ("vm", None, Some(id)),
    }
}

/// The subject of a rule, if `user` may create rules for it.
async fn subject_of(
    tx: &mut Transaction<'_, Sqlite>,
    user: &CurrentUser,
    scope: RuleScope,
) -> Result<String, ApiError> {
    let is_admin = user.role == Role::Admin;
    match scope {
        RuleScope::Host | RuleScope::EveryVm if !is_admin => {
            Err(ApiError::forbidden("Only an admin can create rules for the host and for all VMs."))
        }
        RuleScope::Host => Ok("the host".into()),
        RuleScope::EveryVm => Ok("every VM".into()),
        RuleScope::Owner(id) => {
            let name: Option<String> =
                sqlx::query_scalar("SELECT username FROM account WHERE id = ?1 AND (?2 OR id = ?3)")
                    .bind(id)
                    .bind(is_admin)
                    .bind(user.id)
                    .fetch_optional(&mut **tx)
                    .await
                    .map_err(internal)?;
            match name {
                Some(name) => Ok(format!("every VM of {name}")),
                None => {
                    let sql = "SELECT EXISTS (SELECT 1 FROM account WHERE id = ?)";
                    Err(not_found_or_hidden(tx, "account", sql, id).await)
                }
            }
        }
        RuleScope::Vm(id) => {
            let name: Option<String> = sqlx::query_scalar(
                "SELECT name FROM vm WHERE id = ?1 AND destroyed_at IS NULL AND (?2 OR owner_id = ?3)",
            )
            .bind(id)
            .bind(is_admin)
            .bind(user.id)
            .fetch_optional(&mut **tx)
            .await
            .map_err(internal)?;
            match name {
                Some(name) => Ok(name),
                None => {
                    let sql = "SELECT EXISTS (SELECT 1 FROM vm WHERE id = ? AND destroyed_at IS NULL)";
                    Err(not_found_or_hidden(tx, "VM", sql, id).await)
                }
            }
        }
    }
}
