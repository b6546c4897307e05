use crate::model::{Alert, AlertRule, ApiError, RuleForm};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The open alerts of the caller's VMs, by severity and then newest first; for admins, everyone's and the host's.
#[server(prefix = "/api/v1", endpoint = "open_alerts", input = GetUrl)]
pub async fn open_alerts() -> Result<Vec<Alert>, ApiError> {
    use crate::server::{vms::Scope, web::request_context};
    let (state, user) = request_context::require_user().await?;
    state.alerts.open(Scope::of(&user)).await
}

/// The number of [`open_alerts`].
#[server(prefix = "/api/v1", endpoint = "open_alert_count", input = GetUrl)]
pub async fn open_alert_count() -> Result<usize, ApiError> {
    use crate::server::{vms::Scope, web::request_context};
    let (state, user) = request_context::require_user().await?;
    Ok(state.alerts.open(Scope::of(&user)).await?.len())
}

/// 100 alerts of the caller's VMs, open or resolved, newest first; for admins, everyone's and the host's.
#[server(prefix = "/api/v1", endpoint = "alert_history", input = GetUrl)]
pub async fn alert_history(
    /// Only alerts older than the one with this id; `None` for the newest.
    before: Option<i64>,
) -> Result<Vec<Alert>, ApiError> {
    use crate::server::{vms::Scope, web::request_context};
    let (state, user) = request_context::require_user().await?;
    state.alerts.history(Scope::of(&user), before).await
}

/// Acknowledges an open alert. For everyone who may see it.
///
/// # Errors
/// `NotFound` if the caller may see no such alert; `Conflict` if it is resolved.
#[server(prefix = "/api/v1", endpoint = "acknowledge_alert")]
pub async fn acknowledge_alert(
    /// [`Alert::id`] of an open alert.
    alert_id: i64,
) -> Result<(), ApiError> {
    use crate::server::{database, web::request_context};
    let (state, user) = request_context::require_user().await?;
    state.alerts.acknowledge(&user, alert_id, database::now(), &state.latest.get()).await
}

/// The rules that apply to what the caller may see, the broadest first, each with whether the caller may edit it.
#[server(prefix = "/api/v1", endpoint = "alert_rules", input = GetUrl)]
pub async fn alert_rules() -> Result<Vec<AlertRule>, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.alerts.rules(&user).await
}

/// Creates or edits a rule, and returns its id. Users have rules for their own VMs, admins for everything.
///
/// # Errors
/// `Forbidden` for a rule for the host or all VMs, unless the caller is an admin; `NotFound` if there is no such rule,
/// VM or account; `Conflict` if the caller has 200 rules already.
#[server(prefix = "/api/v1", endpoint = "save_alert_rule")]
pub async fn save_alert_rule(
    /// The rule's values; an empty `id` creates a rule.
    #[server(default)]
    rule: RuleForm,
) -> Result<i64, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.alerts.save_rule(&user, &rule.check()?).await
}

/// Deletes a rule; its open alerts are resolved at the next tick.
///
/// # Errors
/// `NotFound` if the caller may see no such rule; `Forbidden` if they may not edit it.
#[server(prefix = "/api/v1", endpoint = "delete_alert_rule")]
pub async fn delete_alert_rule(
    /// [`AlertRule::id`] of a rule that the caller may edit.
    rule_id: i64,
) -> Result<(), ApiError> {
    use crate::server::{database, web::request_context};
    let (state, user) = request_context::require_user().await?;
    state.alerts.delete_rule(&user, rule_id, database::now()).await
}
