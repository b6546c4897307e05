//! Confirms that an account's e-mail address belongs to its user, before anything else is sent there.
//!
//! Turning e-mails on queues a mail with a link; its token is made when the mail is sent, and the database only holds its
//! hash. Whoever opens the link confirms with a button: programs that open the links of a mail do not.

use super::{
    Notifications,
    deliver::{Head, Notifier},
    email::Mail,
    mailbox::{self, MailKind},
    webhook::Refused,
};
use crate::{
    model::{ApiError, CurrentUser, UtcMillis},
    server::{accounts::Token, events::NewEvent, internal},
};
use sqlx::{Sqlite, Transaction};

const LIFE_HOURS: i64 = 24;
/// Also the subject of the mail.
const TEXT: &str = "Confirm your e-mail address.";
const NO_LINK: &str = "E-mail addresses cannot be confirmed, because mails have no link to this server. An admin can set --public-url.";

impl Notifications {
    /// Queues the mail that asks for a confirmation.
    ///
    /// # Errors
    /// `Conflict` when no link can be made; `TooMany` when the mailbox has been asked too often.
    pub(super) async fn ask_for_confirmation(
        &self,
        tx: &mut Transaction<'_, Sqlite>,
        user: &CurrentUser,
        now: UtcMillis,
    ) -> Result<(), ApiError> {
        if !self.links_are_set_up {
            return Err(ApiError::conflict(NO_LINK));
        }
        let wait = mailbox::count(tx, MailKind::Confirmation, &user.email, now).await.map_err(internal)?;
        if let Some(wait) = wait {
            let text =
                "Too many links were sent to this address. Look for one of them, also among unwanted mails.";
            return Err(ApiError::too_many(text, wait));
        }
        sqlx::query(
            "INSERT INTO notification (account_id, channel, kind, text, queued_at, due_at)
             VALUES (?1, 'email', 'confirm', ?2, ?3, ?3)",
        )
        .bind(user.id)
        .bind(TEXT)
        .bind(now.0)
        .execute(&mut **tx)
        .await
        .map_err(internal)?;
        Ok(())
    }

    /// Confirms the address that the link was sent to.
    ///
    /// # Errors
    /// `Invalid` with the field `link` when it is not valid.
    pub async fn confirm_email(&self, token: &str, now: UtcMillis) -> Result<(), ApiError> {
        let token_hash = Token::hash_of(token.trim()).ok_or_else(invalid_link)?;
        let mut tx = self.database.write().await.map_err(internal)?;
        let confirmed: Option<(i64, String)> = sqlx::query_as(
            "UPDATE account SET email_confirmed_at = ?2
             WHERE is_active AND id = (SELECT account_id FROM email_confirmation WHERE token_hash = ?1 AND expires_at > ?2)
             RETURNING id, username",
        )
        .bind(&token_hash)
        .bind(now.0)
        .fetch_optional(&mut *tx)
        .await
        .map_err(internal)?;
        let (account_id, username) = confirmed.ok_or_else(invalid_link)?;
        sqlx::query("DELETE FROM email_confirmation WHERE token_hash = ? OR expires_at <= ?")
            .bind(token_hash)
            .bind(now.0)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        NewEvent::info(
            "account_email_confirmed",
            None,
            format!("{username} confirmed their e-mail address."),
        )
        .by(account_id)
        .write(&mut tx)
        .await
        .map_err(internal)?;
        tx.commit().await.map_err(internal)
    }
}

impl Notifier {
    /// Makes a new link and sends it.
    pub(super) async fn send_confirmation(
        &self,
        head: &Head,
        mail: &Mail,
        id: &str,
        now: UtcMillis,
    ) -> Result<(), Refused> {
        let site = self.public_url().ok_or_else(|| Refused::from(NO_LINK))?;
        let token = self.new_link(head.account_id, now).await.map_err(|error| {
            tracing::error!(%error, "a link could not be stored");
            Refused::from("The link could not be stored. Send it again.")
        })?;
        let username = &head.username;
        let text = format!(
            "{TEXT}\n\nThe user {username} of {site} wants alerts to be sent to this address. If that is you, open this link \
             within {LIFE_HOURS} hours and confirm. If not, ignore this mail: nothing else will be sent to you."
        );
        let link = format!("{site}/confirm-email#{}", token.expose());
        mail.send(&head.email, id, &text, Some(&link)).await
    }

    async fn new_link(&self, account_id: i64, now: UtcMillis) -> Result<Token, String> {
        let (token, token_hash) = Token::random().map_err(|error| error.to_string())?;
        let stored = async {
            let mut tx = self.database().write().await?;
            sqlx::query(
                "INSERT OR REPLACE INTO email_confirmation (account_id, token_hash, expires_at) VALUES (?, ?, ?)",
            )
            .bind(account_id)
            .bind(token_hash)
            .bind(now.plus_secs(LIFE_HOURS * 3600).0)
            .execute(&mut *tx)
            .await?;
            tx.commit().await
        };
        stored.await.map_err(|error| error.to_string())?;
        Ok(token)
    }
}

fn invalid_link() -> ApiError {
    let text = format!(
        "This link is not valid, or no longer: it may have been used or replaced by a newer one, or its {LIFE_HOURS} hours \
         are over. Have a new one sent on your account's page."
    );
    ApiError::invalid_field("link", text)
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};

    #[tokio::test]
    async fn an_upgrade_keeps_addresses_where_mail_has_arrived_and_asks_the_others() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let migrator = sqlx::migrate!();
        let (before, since): (Vec<_>, Vec<_>) = migrator.iter().partition(|migration| migration.version < 25);
        for migration in before {
            sqlx::raw_sql(migration.sql.clone()).execute(&mut connection).await.unwrap();
        }
        sqlx::raw_sql(
            "INSERT INTO account (id, username, email, password_hash, role, created_at) VALUES
                 (1, 'with mail', 'a@example.org', '', 'user', 0), (2, 'turned off since', 'b@example.org', '', 'user', 0),
                 (3, 'never any', 'C@example.org', '', 'user', 0), (4, 'no wish', 'd@example.org', '', 'user', 0);
             INSERT INTO notification_setting (account_id, email_is_on) VALUES (1, 1), (2, 0), (3, 1);
             INSERT INTO notification (id, account_id, channel, kind, text, queued_at, due_at, state) VALUES
                 (5, 1, 'email', 'raised', 'x', 0, 0, 'sent'), (6, 2, 'email', 'raised', 'x', 0, 0, 'sent'),
                 (7, 3, 'webhook', 'raised', 'x', 0, 0, 'sent'), (8, 3, 'email', 'raised', 'x', 0, 0, 'failed'),
                 (99, 3, 'email', 'raised', 'x', 0, 0, 'failed');
             DELETE FROM notification WHERE id = 99;",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        for migration in since {
            sqlx::raw_sql(migration.sql.clone()).execute(&mut connection).await.unwrap();
        }
        let confirmed: Vec<i64> =
            sqlx::query_scalar("SELECT id FROM account WHERE email_confirmed_at IS NOT NULL")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert_eq!(confirmed, [1]);
        let queued: Vec<(i64, i64, String)> =
            sqlx::query_as("SELECT id, account_id, kind FROM notification WHERE state = 'queued'")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        assert_eq!(queued, [(100, 3, "confirm".to_owned())], "ids are never reused");
        let counted: Vec<String> =
            sqlx::query_scalar("SELECT mailbox FROM sent_mail").fetch_all(&mut connection).await.unwrap();
        assert_eq!(counted, ["c@example.org"]);
    }
}
