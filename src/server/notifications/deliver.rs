//! Sends due notifications and retries failed ones.
//!
//! Alerts that changed in the same tick are one message per account and channel. Deliveries are independent: each account
//! has at most one in progress per channel, each is bounded in time, and each channel has its own bound, so that a
//! receiver that hangs delays only its own messages.

use super::{
    email::Mail,
    mailbox::{self, MAX_ALERT_MAILS_PER_HOUR, MailKind},
    message::{Message, MessagePart},
    webhook::{Post, Refused, Webhooks},
};
use crate::{
    model::{Channel, UtcMillis},
    server::{
        database::{self, Database},
        events::NewEvent,
    },
};
use sqlx::{FromRow, Sqlite, Transaction};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

/// How often due messages are looked for.
const PASS_INTERVAL: Duration = Duration::from_secs(1);
/// How long after each attempt that did not succeed there is another; after the last one there is none.
const BACKOFF_SECS: [u32; 6] = [5, 30, 120, 600, 3600, 3 * 3600];
const MAX_BACKOFF_SECS: u32 = 6 * 3600;
/// An attempt takes no longer, whatever it waits for.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(30);
/// Accounts with something due that a pass looks at.
const HEADS_PER_PASS: i64 = 1000;
/// Alerts that one message is about at most.
const ALERTS_PER_MESSAGE: i64 = 500;
/// Between attempts to save the result of a delivery.
const SAVE_RETRY_PAUSE: Duration = Duration::from_secs(5);
const KEPT_DAYS: i64 = 30;

/// Deliveries in progress, all accounts together.
fn at_once(channel: Channel) -> usize {
    match channel {
        Channel::Webhook => 32,
        // All of them to one server.
        Channel::Email => 8,
    }
}

/// When to retry after the `attempts`th attempt; `None`: never. The receiver's `Retry-After` is respected within bounds,
/// and messages are spread, so that they do not all come at the same moment.
fn next_attempt(attempts: u32, retry_after_secs: Option<u32>, id: i64, now: UtcMillis) -> Option<UtcMillis> {
    let own = *BACKOFF_SECS.get(attempts.checked_sub(1)? as usize)?;
    let pause_secs = own.max(retry_after_secs.unwrap_or_default()).min(MAX_BACKOFF_SECS);
    let spread_millis = i64::from(pause_secs) * 100 * (id.rem_euclid(10)) / 10;
    Some(UtcMillis(now.0 + i64::from(pause_secs) * 1000 + spread_millis))
}

/// The oldest due notification of an account and channel.
#[derive(Debug, FromRow)]
pub struct Head {
    pub id: i64,
    pub account_id: i64,
    pub channel: String,
    pub kind: String,
    pub queued_at: i64,
    pub attempts: u32,
    /// It waited because its mailbox had too many mails.
    pub is_held: bool,
    pub username: String,
    pub email: String,
    pub email_is_confirmed: bool,
    pub is_active: bool,
    pub is_admin: bool,
    pub webhook_url: Option<String>,
    pub webhook_secret: Option<Vec<u8>>,
    pub email_is_on: Option<bool>,
}

impl Head {
    /// Its result is shown to who waits for it, so it is tried once, on its own.
    fn is_awaited(&self) -> bool {
        matches!(self.kind.as_str(), "test" | "confirm")
    }

    /// Whether it is a mail about alerts, or a test, that its user still wants.
    fn is_wanted_mail(&self) -> bool {
        let is_on = self.kind == "test" || self.email_is_on == Some(true);
        self.channel == Channel::Email.as_str()
            && self.kind != "confirm"
            && self.is_active
            && self.email_is_confirmed
            && is_on
    }
}

type PartRow = (i64, String, Option<i64>, Option<i64>, Option<String>, Option<String>);

/// A condition of `next`: nobody hears that an alert is over before they hear that it is.
macro_rules! none_earlier {
    () => {
        "NOT EXISTS (SELECT 1 FROM notification AS earlier
                     WHERE earlier.alert_id = next.alert_id AND earlier.account_id = next.account_id
                       AND earlier.channel = next.channel AND earlier.state = 'queued' AND earlier.id < next.id)"
    };
}

enum Outcome {
    Sent,
    Dropped,
    Refused(Refused),
    /// Its mailbox has had too many mails. It is sent at this time, together with what comes until then.
    Held(UtcMillis),
}

type Busy = Arc<Mutex<HashSet<(i64, Channel)>>>;

/// A delivery in progress, until it is dropped.
struct Slot {
    busy: Busy,
    of: (i64, Channel),
}

impl Slot {
    /// `None` while the account has another one, or too many have.
    fn take(busy: &Busy, account_id: i64, channel: Channel) -> Option<Self> {
        let of = (account_id, channel);
        let mut taken = busy.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = taken.iter().filter(|(_, other)| *other == channel).count() < at_once(channel);
        (is_free && taken.insert(of)).then(|| Self { busy: busy.clone(), of })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.of);
    }
}

/// The one who sends.
#[derive(Clone)]
pub struct Notifier {
    database: Database,
    webhooks: Webhooks,
    mail: Option<Mail>,
    /// Everyone's webhooks may lead into the server's own network.
    private_webhooks: bool,
    /// Where users find the pages, without a slash at the end.
    public_url: Option<String>,
    busy: Busy,
}

impl Notifier {
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(database: Database, mail: Option<Mail>, private_webhooks: bool) -> Result<Self, String> {
        let webhooks = Webhooks::new().map_err(|error| error.to_string())?;
        Ok(Self { database, webhooks, mail, private_webhooks, public_url: None, busy: Arc::default() })
    }

    /// With links to the pages at this address.
    #[must_use]
    pub fn with_public_url(self, public_url: Option<String>) -> Self {
        Self { public_url, ..self }
    }

    /// Sends for ever.
    pub async fn run(self) {
        loop {
            if let Err(error) = self.pass(database::now()).await {
                tracing::error!(%error, "due notifications could not be read");
            }
            sleep(PASS_INTERVAL).await;
        }
    }

    /// Begins to send what is due at `now`, one message per account and channel.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn pass(&self, now: UtcMillis) -> Result<Vec<JoinHandle<()>>, sqlx::Error> {
        let heads: Vec<Head> = sqlx::query_as(concat!(
            "SELECT notification.id, notification.account_id, notification.channel, notification.kind,
                    notification.queued_at, notification.attempts, notification.is_held, account.username, account.email,
                    account.email_confirmed_at IS NOT NULL AS email_is_confirmed, account.is_active,
                    account.role = 'admin' AS is_admin, setting.webhook_url, setting.webhook_secret, setting.email_is_on
             FROM notification
             JOIN account ON account.id = notification.account_id
             LEFT JOIN notification_setting AS setting ON setting.account_id = account.id
             WHERE notification.id IN
                   (SELECT min(id) FROM notification AS next WHERE state = 'queued' AND due_at <= ?1 AND ",
            none_earlier!(),
            "      GROUP BY account_id, channel)
             -- Receivers that failed before come last.
             ORDER BY notification.attempts, notification.due_at LIMIT ?2"
        ))
        .bind(now.0)
        .bind(HEADS_PER_PASS)
        .fetch_all(self.database.read())
        .await?;
        let mut begun = Vec::new();
        for head in heads {
            let Some(channel) = Channel::parse(&head.channel) else { continue };
            let Some(slot) = Slot::take(&self.busy, head.account_id, channel) else { continue };
            let parts = self.parts(&head, now).await?;
            if parts.is_empty() {
                continue;
            }
            let this = self.clone();
            begun.push(tokio::spawn(async move {
                let _slot = slot;
                let outcome = match this.count(&head, now).await {
                    Ok(None) => this.send_in_time(&head, channel, &parts, now).await,
                    Ok(Some(wait)) => {
                        Outcome::Held(now.plus_secs(i64::try_from(wait.as_secs()).unwrap_or(0) + 1))
                    }
                    Err(error) => {
                        tracing::error!(%error, "a mail could not be counted, and is not sent yet");
                        return;
                    }
                };
                // As long as the result is not saved, the message is queued, and must not be sent again.
                while let Err(error) = this.note(&head, channel, &parts, &outcome, now).await {
                    tracing::error!(%error, "a delivery result could not be saved yet");
                    sleep(SAVE_RETRY_PAUSE).await;
                }
            }));
        }
        Ok(begun)
    }

    /// Counts a mail for its mailbox. `Some`: there were too many, and this is how long to wait.
    async fn count(&self, head: &Head, now: UtcMillis) -> Result<Option<Duration>, sqlx::Error> {
        if self.mail.is_none() || !head.is_wanted_mail() {
            return Ok(None);
        }
        let mut tx = self.database.write().await?;
        let wait = mailbox::count(&mut tx, MailKind::Alert, &head.email, now).await?;
        tx.commit().await?;
        Ok(wait)
    }

    /// What was queued in the same tick for the same receiver, or was held back with it.
    async fn parts(&self, head: &Head, now: UtcMillis) -> Result<Vec<MessagePart>, sqlx::Error> {
        let rows: Vec<PartRow> = sqlx::query_as(concat!(
            "SELECT next.id, next.text, next.alert_id, alert.vm_id, vm.name, alert.severity
             FROM notification AS next
             LEFT JOIN alert ON alert.id = next.alert_id
             LEFT JOIN vm ON vm.id = alert.vm_id
             WHERE next.account_id = ?1 AND next.channel = ?2 AND next.kind = ?3
               AND (next.queued_at = ?4 OR next.is_held AND ?8)
               AND next.state = 'queued' AND next.due_at <= ?5 AND next.id >= ?6
               AND (next.id = ?6 OR next.kind NOT IN ('test', 'confirm'))
               AND ",
            none_earlier!(),
            " ORDER BY next.id LIMIT ?7"
        ))
        .bind(head.account_id)
        .bind(&head.channel)
        .bind(&head.kind)
        .bind(head.queued_at)
        .bind(now.0)
        .bind(head.id)
        .bind(ALERTS_PER_MESSAGE)
        .bind(head.is_held)
        .fetch_all(self.database.read())
        .await?;
        let part = |(id, text, alert_id, vm_id, vm_name, severity): PartRow| MessagePart {
            id,
            text,
            alert_id,
            vm_id,
            vm_name,
            severity,
        };
        Ok(rows.into_iter().map(part).collect())
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn public_url(&self) -> Option<&str> {
        self.public_url.as_deref()
    }

    /// Sends without noting the result.
    ///
    /// # Errors
    /// Why it was not delivered, as a message for users.
    pub(super) async fn attempt(
        &self,
        head: &Head,
        channel: Channel,
        parts: &[MessagePart],
        now: UtcMillis,
    ) -> Result<(), String> {
        match self.send_in_time(head, channel, parts, now).await {
            Outcome::Refused(refused) => Err(refused.text),
            Outcome::Sent | Outcome::Dropped | Outcome::Held(_) => Ok(()),
        }
    }

    async fn send_in_time(
        &self,
        head: &Head,
        channel: Channel,
        parts: &[MessagePart],
        now: UtcMillis,
    ) -> Outcome {
        let outcome = timeout(ATTEMPT_LIMIT, self.send(head, channel, parts, now)).await;
        outcome.unwrap_or_else(|_| Outcome::Refused("The receiver did not answer in time.".into()))
    }

    async fn send(&self, head: &Head, channel: Channel, parts: &[MessagePart], now: UtcMillis) -> Outcome {
        if !head.is_active {
            return Outcome::Dropped;
        }
        let message = Message { kind: &head.kind, queued_at: UtcMillis(head.queued_at), parts };
        let (id, public_url) = (message.id(), self.public_url.as_deref());
        let sent = match (channel, &head.webhook_url, &head.webhook_secret, &self.mail) {
            (Channel::Webhook, Some(url), Some(secret), _) => {
                let post = Post {
                    url,
                    anywhere: head.is_admin || self.private_webhooks,
                    // What is within the server's network says is not for everyone.
                    quotes: head.is_admin || !self.private_webhooks,
                    secret,
                    id: &id,
                    now,
                    body: message.json(public_url),
                };
                self.webhooks.post(post).await
            }
            (Channel::Email, _, _, Some(mail)) if head.kind == "confirm" && !head.email_is_confirmed => {
                self.send_confirmation(head, mail, &id, now).await
            }
            (Channel::Email, _, _, Some(mail)) if head.is_wanted_mail() => {
                mail.send(&head.email, &id, &message.text(), message.link(public_url).as_deref()).await
            }
            // Turned off since.
            _ => return Outcome::Dropped,
        };
        sent.map_or_else(Outcome::Refused, |()| Outcome::Sent)
    }

    async fn note(
        &self,
        head: &Head,
        channel: Channel,
        parts: &[MessagePart],
        outcome: &Outcome,
        now: UtcMillis,
    ) -> Result<(), sqlx::Error> {
        let attempts = if matches!(outcome, Outcome::Held(_)) { head.attempts } else { head.attempts + 1 };
        let (state, error, next) = match outcome {
            Outcome::Sent => ("sent", None, None),
            Outcome::Dropped => ("dropped", None, None),
            Outcome::Refused(refused) => {
                let next = next_attempt(attempts, refused.retry_after_secs, head.id, now)
                    .filter(|_| !head.is_awaited());
                (if next.is_some() { "queued" } else { "failed" }, Some(refused.text.clone()), next)
            }
            Outcome::Held(_) if head.is_awaited() => ("failed", Some(held_text(head)), None),
            Outcome::Held(until) => ("queued", Some(held_text(head)), Some(*until)),
        };
        let mut tx = self.database.write().await?;
        if let (Some(until), Outcome::Held(_)) = (next, outcome) {
            hold(&mut tx, head, until).await?;
        }
        for part in parts {
            sqlx::query(
                "UPDATE notification SET attempts = ?2, state = ?3, error = ?4, due_at = coalesce(?5, due_at),
                        finished_at = iif(?3 = 'queued', NULL, ?6)
                 WHERE id = ?1 AND state = 'queued'",
            )
            .bind(part.id)
            .bind(attempts)
            .bind(state)
            .bind(&error)
            .bind(next.map(|at| at.0))
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query("DELETE FROM notification WHERE finished_at < ?")
            .bind(now.0 - KEPT_DAYS * 24 * 3600 * 1000)
            .execute(&mut *tx)
            .await?;
        if state == "failed" && !head.is_awaited() {
            let text = format!(
                "A notification by {} could not be delivered, and is given up after {attempts} attempts: {} \
                 Look at the account's page and send a test.",
                channel.label(),
                error.unwrap_or_default()
            );
            NewEvent::warning("notification_failed", None, text).by(head.account_id).write(&mut tx).await?;
        }
        tx.commit().await
    }
}

/// Why a mail is held back, or a test not sent.
fn held_text(head: &Head) -> String {
    let then = if head.is_awaited() { "Try again later." } else { "The next one has all that wait." };
    format!("An address gets at most {MAX_ALERT_MAILS_PER_HOUR} e-mails an hour. {then}")
}

/// Holds back all mails about alerts that the account would get until then. The first time is an event.
async fn hold(tx: &mut Transaction<'_, Sqlite>, head: &Head, until: UtcMillis) -> Result<(), sqlx::Error> {
    let are_others_held: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM notification WHERE account_id = ? AND state = 'queued' AND is_held)",
    )
    .bind(head.account_id)
    .fetch_one(&mut **tx)
    .await?;
    sqlx::query(
        "UPDATE notification SET is_held = 1, due_at = ?2, error = ?3
         WHERE account_id = ?1 AND channel = 'email' AND state = 'queued' AND due_at <= ?2
           AND kind NOT IN ('test', 'confirm')",
    )
    .bind(head.account_id)
    .bind(until.0)
    .bind(held_text(head))
    .execute(&mut **tx)
    .await?;
    if are_others_held {
        return Ok(());
    }
    let text = format!(
        "{} gets too many e-mails about alerts: more than {MAX_ALERT_MAILS_PER_HOUR} in an hour. Further ones wait, and come \
         together in one. To get fewer, let rules wait longer before they open an alert.",
        head.username
    );
    NewEvent::warning("notification_held", None, text).by(head.account_id).write(tx).await
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
