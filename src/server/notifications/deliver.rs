//! Sends due notifications and retries failed ones.

use super::{
    email::Mail,
    webhook::{Refused, Webhooks},
};
use crate::{
    model::{Channel, UtcMillis},
    server::{
        database::{self, Database},
        events::NewEvent,
    },
};
use serde_json::json;
use sqlx::FromRow;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinHandle;

/// How often due messages are looked for.
const PASS_INTERVAL: Duration = Duration::from_secs(1);
/// How long after each attempt that did not succeed there is another; after the last one there is none.
const BACKOFF_SECS: [u32; 6] = [5, 30, 120, 600, 3600, 3 * 3600];
const MAX_BACKOFF_SECS: u32 = 6 * 3600;
/// Accounts that are written to at once.
const AT_ONCE: i64 = 8;
const KEPT_DAYS: i64 = 30;

/// When to retry after the `attempts`th attempt; `None`: never. The receiver's `Retry-After` is respected within bounds,
/// and messages are spread, so that they do not all come at the same moment.
fn next_attempt(attempts: u32, retry_after_secs: Option<u32>, id: i64, now: UtcMillis) -> Option<UtcMillis> {
    let own = *BACKOFF_SECS.get(attempts.checked_sub(1)? as usize)?;
    let pause_secs = own.max(retry_after_secs.unwrap_or_default()).min(MAX_BACKOFF_SECS);
    let spread_millis = i64::from(pause_secs) * 100 * (id.rem_euclid(10)) / 10;
    Some(UtcMillis(now.0 + i64::from(pause_secs) * 1000 + spread_millis))
}

#[derive(Debug, FromRow)]
struct Due {
    id: i64,
    account_id: i64,
    channel: String,
    kind: String,
    alert_id: Option<i64>,
    text: String,
    queued_at: i64,
    attempts: u32,
    email: String,
    is_active: bool,
    is_admin: bool,
    webhook_url: Option<String>,
    webhook_secret: Option<Vec<u8>>,
    email_is_on: Option<bool>,
    vm_id: Option<i64>,
    vm_name: Option<String>,
    severity: Option<String>,
}

impl Due {
    /// The same for every attempt.
    fn message_id(&self) -> String {
        format!("msg_{}", self.id)
    }

    fn body(&self) -> String {
        json!({
            "type": if self.kind == "test" { "test".to_owned() } else { format!("alert.{}", self.kind) },
            "timestamp": UtcMillis(self.queued_at).to_rfc3339(),
            "data": {
                "text": self.text,
                "alert_id": self.alert_id,
                "vm_id": self.vm_id,
                "vm_name": self.vm_name,
                "severity": self.severity,
            },
        })
        .to_string()
    }
}

enum Outcome {
    Sent,
    Dropped,
    Refused(Refused),
}

/// The one who sends.
#[derive(Clone)]
pub struct Notifier {
    database: Database,
    webhooks: Webhooks,
    mail: Option<Mail>,
    /// Everyone's webhooks may lead into the server's own network.
    private_webhooks: bool,
    /// Accounts with a delivery in progress: a slow receiver delays no one else.
    busy: Arc<Mutex<HashSet<i64>>>,
}

impl Notifier {
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(database: Database, mail: Option<Mail>, private_webhooks: bool) -> Result<Self, String> {
        let webhooks = Webhooks::new().map_err(|error| error.to_string())?;
        Ok(Self { database, webhooks, mail, private_webhooks, busy: Arc::default() })
    }

    /// Sends for ever.
    pub async fn run(self) {
        loop {
            if let Err(error) = self.pass(database::now()).await {
                tracing::error!(%error, "due notifications could not be read");
            }
            tokio::time::sleep(PASS_INTERVAL).await;
        }
    }

    /// Begins to send what is due at `now`, one message an account.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn pass(&self, now: UtcMillis) -> Result<Vec<JoinHandle<()>>, sqlx::Error> {
        let due: Vec<Due> = sqlx::query_as(
            "SELECT notification.id, notification.account_id, notification.channel, notification.kind,
                    notification.alert_id, notification.text, notification.queued_at, notification.attempts,
                    account.email, account.is_active, account.role = 'admin' AS is_admin, setting.webhook_url,
                    setting.webhook_secret, setting.email_is_on, alert.vm_id, vm.name AS vm_name, alert.severity
             FROM notification
             JOIN account ON account.id = notification.account_id
             LEFT JOIN notification_setting AS setting ON setting.account_id = account.id
             LEFT JOIN alert ON alert.id = notification.alert_id
             LEFT JOIN vm ON vm.id = alert.vm_id
             WHERE notification.id IN
                   (SELECT min(id) FROM notification AS next
                    WHERE state = 'queued' AND due_at <= ?1
                      -- Nobody hears that it is over before they hear that it is.
                      AND NOT EXISTS (SELECT 1 FROM notification AS earlier
                                      WHERE earlier.alert_id = next.alert_id AND earlier.account_id = next.account_id
                                        AND earlier.channel = next.channel AND earlier.state = 'queued'
                                        AND earlier.id < next.id)
                    GROUP BY account_id)
             ORDER BY notification.due_at LIMIT ?2",
        )
        .bind(now.0)
        .bind(AT_ONCE)
        .fetch_all(self.database.read())
        .await?;
        let mut begun = Vec::new();
        for due in due {
            if self.busy().insert(due.account_id) {
                let this = self.clone();
                begun.push(tokio::spawn(async move {
                    let account_id = due.account_id;
                    let outcome = this.send(&due, now).await;
                    if let Err(error) = this.note(&due, outcome, now).await {
                        tracing::error!(%error, "a delivery result could not be saved");
                    }
                    this.busy().remove(&account_id);
                }));
            }
        }
        Ok(begun)
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<i64>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, due: &Due, now: UtcMillis) -> Outcome {
        if !due.is_active {
            return Outcome::Dropped;
        }
        let id = due.message_id();
        let sent = match (Channel::parse(&due.channel), &due.webhook_url, &due.webhook_secret, &self.mail) {
            (Some(Channel::Webhook), Some(url), Some(secret), _) => {
                let anywhere = due.is_admin || self.private_webhooks;
                self.webhooks.post(url, anywhere, secret, &id, now, due.body()).await
            }
            (Some(Channel::Email), _, _, Some(mail))
                if due.kind == "test" || due.email_is_on == Some(true) =>
            {
                mail.send(&due.email, &id, &due.text).await
            }
            // Turned off since.
            _ => return Outcome::Dropped,
        };
        sent.map_or_else(Outcome::Refused, |()| Outcome::Sent)
    }

    async fn note(&self, due: &Due, outcome: Outcome, now: UtcMillis) -> Result<(), sqlx::Error> {
        let attempts = due.attempts + 1;
        let (state, error, next) = match outcome {
            Outcome::Sent => ("sent", None, None),
            Outcome::Dropped => ("dropped", None, None),
            Outcome::Refused(refused) => {
                // A test reports its result at once.
                let next = next_attempt(attempts, refused.retry_after_secs, due.id, now)
                    .filter(|_| due.kind != "test");
                (if next.is_some() { "queued" } else { "failed" }, Some(refused.text), next)
            }
        };
        let mut tx = self.database.write().await?;
        sqlx::query(
            "UPDATE notification SET attempts = ?2, state = ?3, error = ?4, due_at = coalesce(?5, due_at),
                    finished_at = iif(?3 = 'queued', NULL, ?6)
             WHERE id = ?1 AND state = 'queued'",
        )
        .bind(due.id)
        .bind(attempts)
        .bind(state)
        .bind(&error)
        .bind(next.map(|at| at.0))
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM notification WHERE finished_at < ?")
            .bind(now.0 - KEPT_DAYS * 24 * 3600 * 1000)
            .execute(&mut *tx)
            .await?;
        if state == "failed" && due.kind != "test" {
            let channel = Channel::parse(&due.channel).map_or("message", Channel::label);
            let text = format!(
                "A notification by {channel} could not be delivered, and is given up after {attempts} attempts: {} \
                 Look at the account's page and send a test.",
                error.unwrap_or_default()
            );
            NewEvent::warning("notification_failed", None, text).by(due.account_id).write(&mut tx).await?;
        }
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn attempts_come_later_and_later_and_end() {
        let pauses: Vec<_> = (1..=8)
            .map(|attempts| next_attempt(attempts, None, 10, UtcMillis(0)).map(|at| at.0 / 1000))
            .collect();
        assert_eq!(pauses, [Some(5), Some(30), Some(120), Some(600), Some(3600), Some(10_800), None, None]);
    }

    proptest! {
        #[test]
        fn the_time_to_retry_after_is_respected_within_bounds(
            attempts in 1..=6_u32, retry_after in any::<u32>(), id in any::<i64>(), now in 0..1_i64 << 45,
        ) {
            let at = next_attempt(attempts, Some(retry_after), id, UtcMillis(now)).unwrap();
            let pause_secs = (at.0 - now) / 1000;
            prop_assert!(pause_secs >= i64::from(retry_after.min(MAX_BACKOFF_SECS)));
            prop_assert!(pause_secs <= i64::from(MAX_BACKOFF_SECS) * 11 / 10);
        }
    }
}
