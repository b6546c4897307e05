//! Alerts: evaluated at every tick, stored in rows, reported as events.
//!
//! `rules` compares a sample with the rules in `rule_store`, and `state` decides whether an alert is raised or resolved;
//! this module applies the result. A row is written when an alert is raised and again when it is resolved, each in one
//! transaction with its event; a tick without a change writes nothing. What cannot be written is kept and written later,
//! with its time. The rows are the source of truth: a restart loads the open ones. The time towards an alert that is not raised yet is kept in memory only and restarts from zero.

mod messages;
mod quiet_hours;
mod rule_store;
mod rules;
mod state;

use super::{
    database::Database, events::NewEvent, internal, monitor::latest::Snapshot, not_found_or_hidden,
    notifications, vms::Scope,
};
use crate::model::{
    ALERTS_PER_PAGE, AccessLevel, Alert, AlertMetric, AlertRule, ApiError, Comparison, CurrentUser,
    HostUsage, Role, RuleScope, Severity, StorageOutage, UtcMillis, VmStatus, VmView,
};
use messages::StopReason;
use rules::{Evaluation, Level};
use sqlx::{FromRow, Sqlite, Transaction};
use state::{Resolved, State, Timing, Transition, next_state};
use std::collections::{HashMap, HashSet};

/// Alerts as users see them.
#[derive(Debug, Clone)]
pub struct Alerts {
    database: Database,
}

impl Alerts {
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The open alerts of a scope's VMs, the worst first, then the newest; with [`Scope::All`] the host's, too.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn open(&self, scope: Scope) -> Result<Vec<Alert>, ApiError> {
        self.select(scope, true, i64::MAX, i64::MAX).await
    }

    /// The newest [`ALERTS_PER_PAGE`] alerts of a scope that came before the one with the id `before`, open or resolved,
    /// newest first.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn history(&self, scope: Scope, before: Option<i64>) -> Result<Vec<Alert>, ApiError> {
        self.select(scope, false, before.unwrap_or(i64::MAX), ALERTS_PER_PAGE as i64).await
    }

    /// Acknowledges an open alert of a VM that `user` may operate, or of the host, with the metric's value in `newest`. The first acknowledgement
    /// stays.
    ///
    /// # Errors
    /// `NotFound` when there is no such alert or they may not see it; `Forbidden` when they may only view its VM; `Conflict`
    /// when it is resolved.
    pub async fn acknowledge(
        &self,
        user: &CurrentUser,
        alert_id: i64,
        at: UtcMillis,
        newest: &Snapshot,
    ) -> Result<(), ApiError> {
        let mut tx = self.database.write().await.map_err(internal)?;
        let found: Option<FoundRow> = sqlx::query_as(
            "SELECT alert.vm_id, alert.metric, vm.name, alert.resolved_at IS NULL, alert.acknowledged_at IS NULL,
                    ?2 OR vm.owner_id = ?3 OR vm_share.access = 'operate'
             FROM alert LEFT JOIN vm ON vm.id = alert.vm_id
                  LEFT JOIN vm_share ON vm_share.vm_id = vm.id AND vm_share.account_id = ?3
             WHERE alert.id = ?1
                   AND (?2 OR (vm.destroyed_at IS NULL AND (vm.owner_id = ?3 OR vm_share.account_id = ?3)))",
        )
        .bind(alert_id)
        .bind(user.role == Role::Admin)
        .bind(user.id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(internal)?;
        let Some((vm_id, metric, vm_name, is_open, is_new, may_operate)) = found else {
            let sql = "SELECT EXISTS (SELECT 1 FROM alert LEFT JOIN vm ON vm.id = vm_id
                                      WHERE alert.id = ? AND vm.destroyed_at IS NULL)";
            return Err(not_found_or_hidden(&mut tx, "alert", sql, alert_id).await);
        };
        if !may_operate {
            let name = vm_name.unwrap_or_default();
            return Err(ApiError::forbidden(format!("You can view {name}, but not acknowledge its alerts.")));
        }
        if !is_open {
            return Err(ApiError::conflict("This alert is already resolved."));
        }
        if is_new {
            let value = AlertMetric::parse(&metric).and_then(|metric| match vm_id {
                Some(id) => rules::value_of_vm(metric, &newest.usage_of(id)),
                None => rules::value_of_host(metric, &newest.host),
            });
            let sql = "UPDATE alert SET acknowledged_at = ?, acknowledged_by = ?, acknowledged_value = ? WHERE id = ?";
            sqlx::query(sql)
                .bind(at.0)
                .bind(user.id)
                .bind(value)
                .bind(alert_id)
                .execute(&mut *tx)
                .await
                .map_err(internal)?;
            // An acknowledged stop is treated as intended until the VM is started again.
            if metric == AlertMetric::Stopped.as_str() {
                sqlx::query("UPDATE vm SET unexpected_stop_at = NULL WHERE id = ?")
                    .bind(vm_id)
                    .execute(&mut *tx)
                    .await
                    .map_err(internal)?;
            }
            let label = AlertMetric::parse(&metric).map_or("figures", AlertMetric::label);
            let subject = vm_name.as_deref().unwrap_or("the host");
            let text = format!("{} acknowledged the alert about {subject}'s {label}.", user.username);
            NewEvent::info("alert_acknowledged", vm_id, text)
                .by(user.id)
                .write(&mut tx)
                .await
                .map_err(internal)?;
        }
        tx.commit().await.map_err(internal)
    }

    async fn select(
        &self,
        scope: Scope,
        open_only: bool,
        before: i64,
        limit: i64,
    ) -> Result<Vec<Alert>, ApiError> {
        let (user, one, may_acknowledge) = match scope {
            Scope::All => (None, None, Some(true)),
            Scope::User(id) => (Some(id), None, None),
            Scope::One(id, access) => (None, Some(id), Some(access >= AccessLevel::Operate)),
        };
        // The index of open alerts is small; SQLite would rather read the whole table backwards.
        let source = if open_only { "alert INDEXED BY alert_open" } else { "alert" };
        let state = if open_only { "alert.resolved_at IS NULL" } else { "TRUE" };
        let worst_first = if open_only { "instr('error warning info', alert.severity), " } else { "" };
        let sql = format!(
            "SELECT alert.id, alert.vm_id, vm.name AS vm_name, alert.rule_id, alert.metric, alert.comparison,
                    alert.severity, alert.threshold, alert.raised_value, alert.raised_at, alert.acknowledged_at,
                    account.username AS acknowledged_by, alert.acknowledged_value, alert.resolved_at, alert.resolved_value,
                    coalesce(?6, vm.owner_id = ?2
                                 OR EXISTS (SELECT 1 FROM vm_share
                                            WHERE vm_id = vm.id AND account_id = ?2 AND access = 'operate'))
                    AS may_acknowledge
             FROM {source} LEFT JOIN vm ON vm.id = alert.vm_id
                  LEFT JOIN account ON account.id = alert.acknowledged_by
             WHERE {state} AND alert.id < ?5 AND CASE WHEN alert.vm_id IS NULL THEN ?1
                   ELSE vm.destroyed_at IS NULL AND (?3 IS NULL OR vm.id = ?3)
                        AND (?2 IS NULL OR vm.owner_id = ?2
                             OR EXISTS (SELECT 1 FROM vm_share WHERE vm_id = vm.id AND account_id = ?2))
                   END
             ORDER BY {worst_first}alert.id DESC LIMIT ?4"
        );
        let rows: Vec<AlertRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(scope == Scope::All)
            .bind(user)
            .bind(one)
            .bind(limit)
            .bind(before)
            .bind(may_acknowledge)
            .fetch_all(self.database.read())
            .await
            .map_err(internal)?;
        Ok(rows.into_iter().filter_map(AlertRow::into_alert).collect())
    }
}

/// Of an alert: its VM, metric and VM's name; whether it is open, whether it is not acknowledged yet, and whether the user
/// may acknowledge it.
type FoundRow = (Option<i64>, String, Option<String>, bool, bool, bool);

#[derive(FromRow)]
struct AlertRow {
    id: i64,
    vm_id: Option<i64>,
    vm_name: Option<String>,
    rule_id: i64,
    metric: String,
    comparison: String,
    severity: String,
    threshold: Option<f64>,
    raised_value: Option<f64>,
    raised_at: i64,
    may_acknowledge: bool,
    acknowledged_at: Option<i64>,
    acknowledged_by: Option<String>,
    acknowledged_value: Option<f64>,
    resolved_at: Option<i64>,
    resolved_value: Option<f64>,
}

impl AlertRow {
    fn into_alert(self) -> Option<Alert> {
        Some(Alert {
            id: self.id,
            vm_id: self.vm_id,
            vm_name: self.vm_name,
            rule_id: self.rule_id,
            metric: AlertMetric::parse(&self.metric)?,
            comparison: Comparison::parse(&self.comparison)?,
            severity: Severity::parse(&self.severity)?,
            threshold: self.threshold,
            raised_value: self.raised_value,
            raised_at: UtcMillis(self.raised_at),
            may_acknowledge: self.may_acknowledge,
            acknowledged_at: self.acknowledged_at.map(UtcMillis),
            acknowledged_by: self.acknowledged_by,
            acknowledged_value: self.acknowledged_value,
            resolved_at: self.resolved_at.map(UtcMillis),
            resolved_value: self.resolved_value,
        })
    }
}

/// A rule's id, and the VM's; none for the host.
type Key = (i64, Option<i64>);

/// Evaluates the rules at every tick; the collector owns the only one.
#[derive(Debug)]
pub struct AlertEngine {
    database: Database,
    interval_secs: u32,
    /// Every state that is not `Quiet`; `None` until the open rows are read.
    states: Option<HashMap<Key, State>>,
    /// Oldest first; at most [`MAX_UNWRITTEN`].
    unwritten: Vec<AlertTransition>,
    /// VMs that stopped because the host restarted, and have not run since.
    stopped_by_host: HashSet<i64>,
}

/// Transitions that are kept until they can be written.
const MAX_UNWRITTEN: usize = 10_000;

/// A transition to be written and reported.
#[derive(Debug, Clone, PartialEq)]
struct AlertTransition {
    at: UtcMillis,
    rule_id: i64,
    vm_id: Option<i64>,
    /// Unknown for the host, and for a VM that is gone.
    vm_name: Option<String>,
    what: TransitionKind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum TransitionKind {
    Raised { value: Option<f64> },
    Resolved(Resolved),
}

impl AlertEngine {
    /// An engine for the rules in the database, with a tick every `interval_secs`.
    pub fn new(database: Database, interval_secs: u32) -> Self {
        Self { database, interval_secs, states: None, unwritten: Vec::new(), stopped_by_host: HashSet::new() }
    }

    /// Notes why these VMs stopped, for the alerts about it.
    pub fn note_host_restart(&mut self, vm_ids: impl IntoIterator<Item = i64>) {
        self.stopped_by_host.extend(vm_ids);
    }

    /// Evaluates a tick and writes the transitions. `vms` are all VMs; `outage` is that of the database.
    ///
    /// # Errors
    /// When SQLite fails; the transitions are then kept, and written with the next tick.
    pub async fn evaluate(
        &mut self,
        now: UtcMillis,
        host: &HostUsage,
        vms: &[VmView],
        outage: Option<&StorageOutage>,
    ) -> Result<(), sqlx::Error> {
        let rules = rule_store::all(&mut *self.database.read().acquire().await?).await?;
        self.stopped_by_host.retain(|id| vms.iter().any(|vm| vm.id == *id && vm.status != VmStatus::Running));
        let states = match self.states.take() {
            Some(states) => states,
            None => self.load_open().await?,
        };
        let (next, transitions) = evaluate_rules(&rules, &states, now, self.interval_secs, host, vms, outage);
        self.states = Some(next);
        let room = MAX_UNWRITTEN.saturating_sub(self.unwritten.len());
        self.unwritten.extend(transitions.into_iter().take(room));
        if !self.unwritten.is_empty() {
            self.write(&rules, &self.unwritten).await?;
            self.unwritten.clear();
        }
        self.repeat(&rules, now).await
    }

    /// Sends reminders about open alerts that are not acknowledged.
    async fn repeat(&self, rules: &[AlertRule], now: UtcMillis) -> Result<(), sqlx::Error> {
        if rules.iter().all(|rule| rule.repeat_secs.is_none()) {
            return Ok(());
        }
        let due: Vec<(i64, i64, Option<String>, i64)> = sqlx::query_as(
            "SELECT alert.id, alert.rule_id, vm.name, alert.raised_at
             FROM alert INDEXED BY alert_open
             JOIN alert_rule ON alert_rule.id = alert.rule_id
             LEFT JOIN vm ON vm.id = alert.vm_id
             WHERE alert.resolved_at IS NULL AND alert.acknowledged_at IS NULL
               AND alert.last_notified_at + alert_rule.repeat_secs * 1000 <= ?",
        )
        .bind(now.0)
        .fetch_all(self.database.read())
        .await?;
        if due.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.write().await?;
        for (alert_id, rule_id, vm_name, raised_at) in due {
            let Some(rule) = rules.iter().find(|rule| rule.id == rule_id) else { continue };
            let text = messages::repeated_text(rule, vm_name.as_deref(), UtcMillis(raised_at));
            let occasion = notifications::Occasion::Repeated;
            notifications::queue(&mut tx, alert_id, occasion, &text, now, quiet_until(rule, now)).await?;
            sqlx::query("UPDATE alert SET last_notified_at = ? WHERE id = ?")
                .bind(now.0)
                .bind(alert_id)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await
    }

    /// The states of the open rows.
    async fn load_open(&self) -> Result<HashMap<Key, State>, sqlx::Error> {
        let open: Vec<Key> = sqlx::query_as("SELECT rule_id, vm_id FROM alert WHERE resolved_at IS NULL")
            .fetch_all(self.database.read())
            .await?;
        Ok(open.into_iter().map(|key| (key, State::Raised)).collect())
    }

    async fn write(&self, rules: &[AlertRule], transitions: &[AlertTransition]) -> Result<(), sqlx::Error> {
        let mut tx = self.database.write().await?;
        for transition in transitions {
            let Some(rule) = rules.iter().find(|rule| rule.id == transition.rule_id) else { continue };
            let event = match transition.what {
                TransitionKind::Raised { value } => {
                    let by_host = transition.vm_id.is_some_and(|id| self.stopped_by_host.contains(&id));
                    let reason = if by_host { StopReason::HostRestarted } else { StopReason::Unknown };
                    let text = messages::raised_text(rule, transition.vm_name.as_deref(), value, reason);
                    raise(&mut tx, rule, transition, value, text).await?
                }
                TransitionKind::Resolved(resolved) => resolve(&mut tx, rule, transition, resolved).await?,
            };
            if let Some(event) = event {
                event.write(&mut tx).await?;
            }
        }
        tx.commit().await
    }
}

/// A VM that was destroyed since the tick began has no alert any more, so none is raised for it.
async fn raise(
    tx: &mut Transaction<'_, Sqlite>,
    rule: &AlertRule,
    transition: &AlertTransition,
    value: Option<f64>,
    text: String,
) -> Result<Option<NewEvent>, sqlx::Error> {
    let alert_id: Option<i64> = sqlx::query_scalar(
        "INSERT INTO alert (vm_id, rule_id, metric, comparison, severity, threshold, raised_value, raised_at, last_notified_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8
         WHERE ?1 IS NULL OR EXISTS (SELECT 1 FROM vm WHERE id = ?1 AND destroyed_at IS NULL)
         ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(transition.vm_id)
    .bind(rule.id)
    .bind(rule.metric.as_str())
    .bind(rule.comparison.as_str())
    .bind(rule.severity.as_str())
    .bind(rule.threshold)
    .bind(value)
    .bind(transition.at.0)
    .fetch_optional(&mut **tx)
    .await?;
    let Some(alert_id) = alert_id else { return Ok(None) };
    let occasion = notifications::Occasion::Raised;
    notifications::queue(tx, alert_id, occasion, &text, transition.at, quiet_until(rule, transition.at))
        .await?;
    Ok(Some(NewEvent::new("alert_raised", rule.severity, transition.vm_id, text)))
}

async fn resolve(
    tx: &mut Transaction<'_, Sqlite>,
    rule: &AlertRule,
    transition: &AlertTransition,
    resolved: Resolved,
) -> Result<Option<NewEvent>, sqlx::Error> {
    let value = match resolved {
        Resolved::Well { value } => value,
        Resolved::Ended | Resolved::Gone | Resolved::NotWatched => None,
    };
    let alert_id: Option<i64> = sqlx::query_scalar(
        "UPDATE alert SET resolved_at = max(raised_at, ?3), resolved_value = ?4
         WHERE rule_id = ?1 AND vm_id IS ?2 AND resolved_at IS NULL RETURNING id",
    )
    .bind(rule.id)
    .bind(transition.vm_id)
    .bind(transition.at.0)
    .bind(value)
    .fetch_optional(&mut **tx)
    .await?;
    let Some(alert_id) = alert_id else { return Ok(None) };
    let name = match (&transition.vm_name, transition.vm_id) {
        (None, Some(vm_id)) => {
            sqlx::query_scalar("SELECT name FROM vm WHERE id = ?")
                .bind(vm_id)
                .fetch_optional(&mut **tx)
                .await?
        }
        (name, _) => name.clone(),
    };
    let text = messages::resolved_text(rule, name.as_deref(), resolved);
    let occasion = notifications::Occasion::Resolved;
    notifications::queue(tx, alert_id, occasion, &text, transition.at, quiet_until(rule, transition.at))
        .await?;
    Ok(Some(NewEvent::info("alert_resolved", transition.vm_id, text)))
}

fn quiet_until(rule: &AlertRule, now: UtcMillis) -> Option<UtcMillis> {
    rule.quiet_hours.as_ref().and_then(|hours| quiet_hours::quiet_until(hours, now))
}

/// Every rule against each of its subjects: the next states and the transitions.
fn evaluate_rules(
    rules: &[AlertRule],
    states: &HashMap<Key, State>,
    now: UtcMillis,
    interval_secs: u32,
    host: &HostUsage,
    vms: &[VmView],
    outage: Option<&StorageOutage>,
) -> (HashMap<Key, State>, Vec<AlertTransition>) {
    let mut next = HashMap::new();
    let mut transitions = Vec::new();
    let mut evaluated = HashSet::new();
    let mut evaluate_one =
        |rule: &AlertRule, vm: Option<(i64, &str)>, evaluation: Evaluation, ended: Resolved| {
            let (vm_id, vm_name) = vm.unzip();
            let key = (rule.id, vm_id);
            evaluated.insert(key);
            let state = states.get(&key).copied().unwrap_or_default();
            let (state, change) = next_state(Timing::new(rule, interval_secs), state, now, evaluation.level);
            if state != State::Quiet {
                next.insert(key, state);
            }
            let value = evaluation.value;
            let what = change.map(|change| match change {
                Transition::Raised => TransitionKind::Raised { value },
                Transition::Resolved if evaluation.level == Level::Ended => TransitionKind::Resolved(ended),
                Transition::Resolved => TransitionKind::Resolved(Resolved::Well { value }),
            });
            let vm_name = vm_name.map(str::to_owned);
            transitions.extend(what.map(|what| AlertTransition {
                at: now,
                rule_id: rule.id,
                vm_id,
                vm_name,
                what,
            }));
        };
    for rule in rules.iter().filter(|rule| rule.scope == RuleScope::Host && rule.is_enabled) {
        evaluate_one(rule, None, rules::evaluate_host(rule, host, outage.is_some()), Resolved::NotWatched);
    }
    for vm in vms {
        for rule in rules::rules_of(rules, vm.id, vm.owner_id) {
            evaluate_one(rule, Some((vm.id, &vm.name)), rules::evaluate_vm(rule, vm), Resolved::Ended);
        }
    }
    // Not evaluated: the VM is gone, or the rule no longer applies to it.
    let left: Vec<Key> = states.keys().filter(|key| !evaluated.contains(*key)).copied().collect();
    for (rule_id, vm_id) in left {
        let is_gone = vm_id.is_some_and(|id| !vms.iter().any(|vm| vm.id == id));
        let ended = if is_gone { Resolved::Gone } else { Resolved::NotWatched };
        if states.get(&(rule_id, vm_id)).is_some_and(|state| state.is_open()) {
            let what = TransitionKind::Resolved(ended);
            transitions.push(AlertTransition { at: now, rule_id, vm_id, vm_name: None, what });
        }
    }
    (next, transitions)
}
