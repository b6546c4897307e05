//! Notifies users about alerts, by webhook and e-mail.
//!
//! ```text
//! alert changes ──(same transaction)──▶ table notification ──due──▶ Notifier ──▶ webhook | email
//!                                              ▲                        │ failed: retried later
//!                                              └────────────────────────┘
//! ```
//! Alerts that change in the same tick are one message. An account's e-mail address gets them only after its user has
//! confirmed it (`confirmation.rs`), and not too many in an hour (`mailbox.rs`): further ones wait, and are one message.
//!
//! A message is stored before anything is sent, so a restart loses none. A message sent right before a crash may be
//! delivered twice, with the same id.

mod confirmation;
mod deliver;
mod email;
mod mailbox;
mod message;
mod outage;
mod webhook;

pub use deliver::Notifier;
pub use email::{Mail, MailError, MailSecurity, PASSWORD_VARIABLE};
pub use webhook::signature;

use super::{accounts::AdminAccess, database::Database, events::NewEvent, internal};
use crate::model::{
    ApiError, Channel, CurrentUser, Delivery, DeliveryState, ErrorCode, NotificationSettings, UtcMillis,
    check_webhook_url,
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use sqlx::{Sqlite, Transaction};

const SECRET_BYTES: usize = 32;
/// Between two tests of one account.
const TEST_PAUSE_SECS: i64 = 5;

/// Why a notification about an alert is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    Raised,
    Repeated,
    Resolved,
}

/// Queues the notifications about an alert, within the transaction that changed it. In quiet hours they wait until
/// `not_before`. A recipient whose notification of the opening was not sent yet gets none of the resolving either.
///
/// # Errors
/// When SQLite cannot.
pub async fn queue(
    tx: &mut Transaction<'_, Sqlite>,
    alert_id: i64,
    occasion: Occasion,
    text: &str,
    now: UtcMillis,
    not_before: Option<UtcMillis>,
) -> Result<(), sqlx::Error> {
    if occasion == Occasion::Resolved {
        sqlx::query(
            "UPDATE notification SET state = 'dropped', finished_at = ?2
             WHERE alert_id = ?1 AND state = 'queued' AND attempts = 0 AND NOT is_held",
        )
        .bind(alert_id)
        .bind(now.0)
        .execute(&mut **tx)
        .await?;
    }
    let sql = match occasion {
        Occasion::Raised | Occasion::Repeated => {
            "INSERT INTO notification (account_id, channel, kind, alert_id, text, queued_at, due_at)
             SELECT setting.account_id, way.channel, ?2, alert.id, ?3, ?4, ?5
             FROM alert LEFT JOIN vm ON vm.id = alert.vm_id
             JOIN notification_setting AS setting
             JOIN account ON account.id = setting.account_id AND account.is_active
             JOIN (SELECT 'webhook' AS channel UNION ALL SELECT 'email') AS way
               ON iif(way.channel = 'webhook', setting.webhook_url IS NOT NULL,
                      setting.email_is_on AND account.email_confirmed_at IS NOT NULL)
             WHERE alert.id = ?1
               AND (vm.owner_id IS account.id
                    OR account.role = 'admin' AND (alert.vm_id IS NULL OR setting.of_all))
               AND NOT EXISTS (SELECT 1 FROM notification AS other
                               WHERE other.alert_id = alert.id AND other.account_id = account.id
                                 AND other.channel = way.channel AND other.state = 'queued')"
        }
        Occasion::Resolved => {
            "INSERT INTO notification (account_id, channel, kind, alert_id, text, queued_at, due_at)
             SELECT DISTINCT account_id, channel, ?2, alert_id, ?3, ?4, ?5 FROM notification
             WHERE alert_id = ?1 AND kind = 'raised' AND state IN ('queued', 'sent')"
        }
    };
    let kind = match occasion {
        Occasion::Raised => "raised",
        Occasion::Repeated => "repeated",
        Occasion::Resolved => "resolved",
    };
    sqlx::query(sql)
        .bind(alert_id)
        .bind(kind)
        .bind(text)
        .bind(now.0)
        .bind(not_before.unwrap_or(now).0)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// How accounts are notified.
#[derive(Debug, Clone)]
pub struct Notifications {
    database: Database,
    mail_is_set_up: bool,
    links_are_set_up: bool,
}

/// Address and secret of the webhook; whether mail is sent; whether about the VMs of all users; whether the e-mail address is
/// confirmed.
type SettingRow = (Option<String>, Option<Vec<u8>>, Option<bool>, Option<bool>, bool);
type DeliveryRow = (i64, String, String, i64, i64, u32, String, Option<String>);

impl Notifications {
    /// `links_are_set_up`: mails can have links to this server.
    pub fn new(database: Database, mail_is_set_up: bool, links_are_set_up: bool) -> Self {
        Self { database, mail_is_set_up, links_are_set_up }
    }

    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn settings(&self, user: &CurrentUser) -> Result<NotificationSettings, ApiError> {
        let row: Option<SettingRow> = sqlx::query_as(
            "SELECT webhook_url, webhook_secret, email_is_on, of_all, email_confirmed_at IS NOT NULL
             FROM account LEFT JOIN notification_setting ON account_id = account.id WHERE account.id = ?",
        )
        .bind(user.id)
        .fetch_optional(self.database.read())
        .await
        .map_err(internal)?;
        let (webhook_url, secret, email_is_on, of_all, email_is_confirmed) = row.unwrap_or_default();
        let deliveries: Vec<DeliveryRow> = sqlx::query_as(
            "SELECT id, channel, text, queued_at, due_at, attempts, state, error FROM notification
             WHERE account_id = ? ORDER BY id DESC LIMIT 10",
        )
        .bind(user.id)
        .fetch_all(self.database.read())
        .await
        .map_err(internal)?;
        let delivery = |(id, channel, text, queued_at, due_at, attempts, state, error): DeliveryRow| {
            Some(Delivery {
                id,
                channel: Channel::parse(&channel)?,
                text,
                queued_at: UtcMillis(queued_at),
                due_at: UtcMillis(due_at),
                attempts,
                state: DeliveryState::parse(&state)?,
                error,
            })
        };
        Ok(NotificationSettings {
            webhook_secret: secret.filter(|_| webhook_url.is_some()).map(|secret| shown_secret(&secret)),
            webhook_url,
            email: user.email.clone(),
            email_is_on: email_is_on.unwrap_or_default(),
            email_is_confirmed,
            mail_is_set_up: self.mail_is_set_up,
            links_are_set_up: self.links_are_set_up,
            of_all: of_all.unwrap_or_default(),
            deliveries: deliveries.into_iter().filter_map(delivery).collect(),
        })
    }

    /// Sends to `url` from now on, signed with a new secret; nowhere where it is empty.
    ///
    /// # Errors
    /// `Invalid` when it is no address.
    pub async fn set_webhook(&self, user: &CurrentUser, url: &str) -> Result<(), ApiError> {
        let url = url.trim();
        if !url.is_empty() {
            check_webhook_url(url)?;
        }
        let mut secret = vec![0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(internal)?;
        let url = Some(url).filter(|url| !url.is_empty());
        let mut tx = self.database.write().await.map_err(internal)?;
        sqlx::query(
            "INSERT INTO notification_setting (account_id, webhook_url, webhook_secret) VALUES (?1, ?2, ?3)
             ON CONFLICT (account_id) DO UPDATE SET webhook_url = ?2, webhook_secret = ?3",
        )
        .bind(user.id)
        .bind(url)
        .bind(secret)
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        let text = match url {
            Some(_) => format!("{} has their alerts sent to a webhook.", user.username),
            None => format!("{} has their alerts sent to no webhook any more.", user.username),
        };
        NewEvent::info("account_notifications_changed", None, text)
            .by(user.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)
    }

    /// Turns e-mails on or off. As long as the address is not confirmed, turning them on sends a link, each time.
    ///
    /// # Errors
    /// `Conflict` when the server has no mail set up, or can make no link; `TooMany` when too many links were sent.
    pub async fn set_email(&self, user: &CurrentUser, is_on: bool, now: UtcMillis) -> Result<(), ApiError> {
        if is_on && !self.mail_is_set_up {
            return Err(no_mail());
        }
        let mut tx = self.database.write().await.map_err(internal)?;
        if is_on && !is_confirmed(&mut tx, user).await? {
            self.ask_for_confirmation(&mut tx, user, now).await?;
        }
        let sql = "INSERT INTO notification_setting (account_id, email_is_on) VALUES (?1, ?2)
                   ON CONFLICT (account_id) DO UPDATE SET email_is_on = ?2";
        let what = if is_on { "has their alerts sent by e-mail" } else { "turned e-mails about alerts off" };
        set(tx, sql, user, is_on, what).await
    }

    /// Whether an admin is notified about all VMs.
    ///
    /// # Errors
    /// `Internal` when the database cannot be written.
    pub async fn set_of_all(&self, user: &AdminAccess, is_on: bool) -> Result<(), ApiError> {
        let tx = self.database.write().await.map_err(internal)?;
        let sql = "INSERT INTO notification_setting (account_id, of_all) VALUES (?1, ?2)
                   ON CONFLICT (account_id) DO UPDATE SET of_all = ?2";
        let whose = if is_on { "the VMs of all users" } else { "their own VMs and the host" };
        set(tx, sql, user, is_on, &format!("is notified about {whose}")).await
    }

    /// Queues a message that says that messages come.
    ///
    /// # Errors
    /// `Conflict` when the channel is not set up or the address not confirmed; `TooMany` when there was a test a moment ago.
    pub async fn test(&self, user: &CurrentUser, channel: Channel, now: UtcMillis) -> Result<(), ApiError> {
        if channel == Channel::Email && !self.mail_is_set_up {
            return Err(no_mail());
        }
        let mut tx = self.database.write().await.map_err(internal)?;
        if channel == Channel::Email && !is_confirmed(&mut tx, user).await? {
            return Err(ApiError::conflict(
                "Your e-mail address is not confirmed. Turn e-mails on, and open the link that is sent to you.",
            ));
        }
        let newest: Option<i64> = sqlx::query_scalar(
            "SELECT max(queued_at) FROM notification WHERE account_id = ? AND kind = 'test'",
        )
        .bind(user.id)
        .fetch_one(&mut *tx)
        .await
        .map_err(internal)?;
        if newest.is_some_and(|newest| (0..TEST_PAUSE_SECS * 1000).contains(&(now.0 - newest))) {
            let text = "There was a test a moment ago. Wait a few seconds.";
            return Err(ApiError::new(ErrorCode::TooMany, text));
        }
        let done = sqlx::query(
            "INSERT INTO notification (account_id, channel, kind, text, queued_at, due_at)
             SELECT ?1, ?2, 'test', ?3, ?4, ?4
             WHERE ?2 = 'email' OR EXISTS
                   (SELECT 1 FROM notification_setting WHERE account_id = ?1 AND webhook_url IS NOT NULL)",
        )
        .bind(user.id)
        .bind(channel.as_str())
        .bind("This is a test: alerts will be sent here.")
        .bind(now.0)
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        if done.rows_affected() == 0 {
            return Err(ApiError::conflict("Save the webhook's address first."));
        }
        tx.commit().await.map_err(internal)
    }
}

/// Stores a setting, and commits. `what` the user does, for the event.
async fn set(
    mut tx: Transaction<'_, Sqlite>,
    sql: &'static str,
    user: &CurrentUser,
    is_on: bool,
    what: &str,
) -> Result<(), ApiError> {
    sqlx::query(sql).bind(user.id).bind(is_on).execute(&mut *tx).await.map_err(internal)?;
    NewEvent::info("account_notifications_changed", None, format!("{} {what}.", user.username))
        .by(user.id)
        .write(&mut tx)
        .await
        .map_err(internal)?;
    tx.commit().await.map_err(internal)
}

async fn is_confirmed(tx: &mut Transaction<'_, Sqlite>, user: &CurrentUser) -> Result<bool, ApiError> {
    sqlx::query_scalar("SELECT email_confirmed_at IS NOT NULL FROM account WHERE id = ?")
        .bind(user.id)
        .fetch_one(&mut **tx)
        .await
        .map_err(internal)
}

fn no_mail() -> ApiError {
    ApiError::conflict("E-mail is not configured. An admin can set --smtp-url and --mail-from.")
}

fn shown_secret(secret: &[u8]) -> String {
    format!("whsec_{}", BASE64.encode(secret))
}
