use crate::model::{Alert, AlertRule, ApiError, RuleForm};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;

/// The open alerts of the user's VMs, by severity and then newest first; for admins, of all VMs and the host.
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

/// The newest 100 alerts of the user's VMs, or those before the one with the id `before`; open or resolved, newest first.
/// For admins, of all VMs and the host.
#[server(prefix = "/api/v1", endpoint = "alert_history", input = GetUrl)]
pub async fn alert_history(before: Option<i64>) -> Result<Vec<Alert>, ApiError> {
    use crate::server::{vms::Scope, web::request_context};
    let (state, user) = request_context::require_user().await?;
    state.alerts.history(Scope::of(&user), before).await
}

/// Acknowledges an open alert; for users who may see it.
#[server(prefix = "/api/v1", endpoint = "acknowledge_alert")]
pub async fn acknowledge_alert(alert_id: i64) -> Result<(), ApiError> {
    use crate::server::{database, web::request_context};
    let (state, user) = request_context::require_user().await?;
    state.alerts.acknowledge(&user, alert_id, database::now(), &state.latest.get()).await
}

/// The rules for what the user may see, the most general first, each with whether the user may change it.
#[server(prefix = "/api/v1", endpoint = "alert_rules", input = GetUrl)]
pub async fn alert_rules() -> Result<Vec<AlertRule>, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.alerts.rules(&user).await
}

/// Creates a rule, or changes the one with the form's id; returns its id. Users may do so for their VMs, admins for all
/// VMs and the host.
#[server(prefix = "/api/v1", endpoint = "save_alert_rule")]
pub async fn save_alert_rule(#[server(default)] rule: RuleForm) -> Result<i64, ApiError> {
    use crate::server::web::request_context;
    let (state, user) = request_context::require_user().await?;
    state.alerts.save_rule(&user, &rule.check()?).await
}

/// Deletes a rule that the user may change.
#[server(prefix = "/api/v1", endpoint = "delete_alert_rule")]
pub async fn delete_alert_rule(rule_id: i64) -> Result<(), ApiError> {
    use crate::server::{database, web::request_context};
    let (state, user) = request_context::require_user().await?;
    state.alerts.delete_rule(&user, rule_id, database::now()).await
}
