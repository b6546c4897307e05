//! Notifies admins that the database is not writable: once, without retries, bypassing the queue, which is in the database.

use super::{
    deliver::{Head, Notifier},
    message::MessagePart,
};
use crate::{
    model::{Channel, StorageOutage, UtcMillis},
    server::{database, monitor::health::Health},
};
use std::time::Duration;
use tokio::{task::JoinHandle, time::sleep};

/// An outage that is over sooner is reported by its event alone.
const ANNOUNCED_AFTER_SECS: f64 = 15.0;

type ReceiverRow = (i64, String, Option<String>, Option<Vec<u8>>, bool);

/// How often the health is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

impl Notifier {
    /// Announces every outage. Never returns.
    pub async fn announce_outages(self, health: Health) {
        let mut announced = None;
        loop {
            let now = database::now();
            let is_due = |outage: &StorageOutage| {
                announced != Some(outage.since) && now.secs_since(outage.since) >= ANNOUNCED_AFTER_SECS
            };
            if let Some(outage) = health.outage().filter(is_due) {
                announced = Some(outage.since);
                if let Err(error) = self.announce(&outage, now).await {
                    tracing::error!(%error, "the outage could not be announced");
                }
            }
            sleep(INTERVAL).await;
        }
    }

    /// Begins to send word of an outage to every admin who is notified of alerts.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn announce(
        &self,
        outage: &StorageOutage,
        now: UtcMillis,
    ) -> Result<Vec<JoinHandle<()>>, sqlx::Error> {
        let receivers: Vec<ReceiverRow> = sqlx::query_as(
            "SELECT account.id, account.email, setting.webhook_url, setting.webhook_secret,
                    setting.email_is_on AND account.email_confirmed_at IS NOT NULL
             FROM account JOIN notification_setting AS setting ON setting.account_id = account.id
             WHERE account.role = 'admin' AND account.is_active",
        )
        .fetch_all(self.database().read())
        .await?;
        let mut begun = Vec::new();
        for (account_id, email, webhook_url, webhook_secret, email_is_on) in receivers {
            let channels = [(Channel::Webhook, webhook_url.is_some()), (Channel::Email, email_is_on)];
            for (channel, _) in channels.into_iter().filter(|(_, is_on)| *is_on) {
                let head = Head {
                    id: outage.since.0,
                    account_id,
                    channel: channel.as_str().into(),
                    kind: "raised".into(),
                    queued_at: outage.since.0,
                    attempts: 0,
                    is_held: false,
                    username: String::new(),
                    email: email.clone(),
                    email_is_confirmed: true,
                    is_active: true,
                    is_admin: true,
                    webhook_url: webhook_url.clone(),
                    webhook_secret: webhook_secret.clone(),
                    email_is_on: Some(email_is_on),
                };
                let part = MessagePart {
                    id: outage.since.0,
                    text: outage.text(),
                    alert_id: None,
                    vm_id: None,
                    vm_name: None,
                    severity: Some("error".into()),
                };
                let this = self.clone();
                begun.push(tokio::spawn(async move {
                    if let Err(reason) = this.attempt(&head, channel, &[part], now).await {
                        tracing::warn!(reason, "an admin could not be notified of an outage");
                    }
                }));
            }
        }
        Ok(begun)
    }
}
