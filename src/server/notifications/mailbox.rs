//! Limits how many mails a mailbox gets, whichever accounts they are for.

use crate::model::UtcMillis;
use sqlx::{Sqlite, Transaction};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What mails are counted separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailKind {
    /// Asks its reader to confirm the address.
    Confirmation,
    /// Alerts and tests.
    Alert,
}

impl MailKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Confirmation => "confirm",
            Self::Alert => "alert",
        }
    }

    /// How many mails, within how long.
    fn limits(self) -> &'static [(i64, Duration)] {
        match self {
            Self::Confirmation => &[(3, HOUR), (10, DAY)],
            Self::Alert => &[(MAX_ALERT_MAILS_PER_HOUR, HOUR)],
        }
    }
}

/// To one mailbox.
pub const MAX_ALERT_MAILS_PER_HOUR: i64 = 30;

/// The mailbox behind an address. Mail servers ignore upper case, and deliver `ada+cloud@example.org` to
/// `ada@example.org`.
pub fn mailbox_of(address: &str) -> String {
    let address = address.trim().trim_end_matches('.').to_lowercase();
    let Some((local, domain)) = address.rsplit_once('@') else { return address };
    match local.split_once('+') {
        Some((name, _)) if !name.is_empty() => format!("{name}@{domain}"),
        _ => address,
    }
}

/// Counts a mail that is about to be sent; `None`. If its mailbox has had too many, it does not count, and the answer is how
/// long to wait.
///
/// # Errors
/// When SQLite cannot.
pub async fn count(
    tx: &mut Transaction<'_, Sqlite>,
    kind: MailKind,
    address: &str,
    now: UtcMillis,
) -> Result<Option<Duration>, sqlx::Error> {
    let mailbox = mailbox_of(address);
    let mut wait = None;
    for (most, period) in kind.limits() {
        let period_millis = i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
        // The first one that has to be over.
        let until: Option<i64> = sqlx::query_scalar(
            "SELECT at FROM sent_mail WHERE mailbox = ? AND kind = ? AND at > ? ORDER BY at DESC LIMIT 1 OFFSET ?",
        )
        .bind(&mailbox)
        .bind(kind.as_str())
        .bind(now.0 - period_millis)
        .bind(most - 1)
        .fetch_optional(&mut **tx)
        .await?;
        let left = until.map(|at| u64::try_from(at + period_millis - now.0).unwrap_or_default());
        // The clock may have been ahead.
        wait = wait.max(left.map(|millis| Duration::from_millis(millis).min(*period)));
    }
    if wait.is_some() {
        return Ok(wait);
    }
    sqlx::query("DELETE FROM sent_mail WHERE at <= ?")
        .bind(now.0 - i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX))
        .execute(&mut **tx)
        .await?;
    sqlx::query("INSERT INTO sent_mail (mailbox, kind, at) VALUES (?, ?, ?)")
        .bind(mailbox)
        .bind(kind.as_str())
        .bind(now.0)
        .execute(&mut **tx)
        .await?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::database::Database;

    #[test]
    fn addresses_that_lead_to_the_same_mailbox_are_one() {
        for address in ["ada@example.org", "ADA@Example.ORG", "ada+cloud@example.org", "Ada+a+b@example.org."]
        {
            assert_eq!(mailbox_of(address), "ada@example.org", "{address}");
        }
        for other in ["ad.a@example.org", "ada@example.com", "+ada@example.org", "ada"] {
            assert_eq!(mailbox_of(other), other);
        }
    }

    #[tokio::test]
    async fn a_mailbox_gets_three_confirmations_an_hour_and_ten_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        let mut tx = database.write().await.unwrap();
        let start = UtcMillis(1_800_000_000_000);
        let mut sent = Vec::new();
        for minute in 0..26 * 60 {
            let now = start.plus_secs(minute * 60);
            let address = format!("ada+{minute}@example.org");
            if count(&mut tx, MailKind::Confirmation, &address, now).await.unwrap().is_none() {
                sent.push(minute);
            }
        }
        assert_eq!(sent, [0, 1, 2, 60, 61, 62, 120, 121, 122, 180, 1440, 1441, 1442, 1500, 1501, 1502]);
        let now = start.plus_secs(1503 * 60);
        let wait = count(&mut tx, MailKind::Confirmation, "ada@example.org", now).await.unwrap();
        assert_eq!(wait, Some(Duration::from_secs(57 * 60)));
        let other = [("bob@example.org", MailKind::Confirmation), ("ada@example.org", MailKind::Alert)];
        for (address, kind) in other {
            assert_eq!(count(&mut tx, kind, address, now).await.unwrap(), None, "{address} {kind:?}");
        }
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sent_mail").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(left, 12, "what is older than a day is deleted");
    }
}
