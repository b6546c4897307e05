//! Invitations: links by which somebody creates an account with the role and the credits that an admin chose.
//!
//! Each is used once, ends after its days, and ends with its admin's role (a trigger of the database). The token is shown
//! once, to the admin who made it; the database holds only its hash.

use super::{Accounts, AdminAccess, DAY_MILLIS, Token, now};
use crate::{
    model::{
        ApiError, INVITATION_MAX_CREDITS, INVITATION_MAX_DAYS, INVITATION_NOTE_MAX_CHARS, Invitation, Role,
        UtcMillis,
    },
    server::{events::NewEvent, internal},
};
use sqlx::{FromRow, Sqlite, Transaction};

/// At a time, so that the list stays short.
const MAX_OPEN: i64 = 200;

/// What an invitation gives. Made only of what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvitation {
    days: i64,
    pub role: Role,
    /// `None`: what a new account of the role gets.
    credits: Option<i64>,
    note: String,
}

impl NewInvitation {
    /// Of a form. `credits` may be empty for the usual ones, and so may `note`.
    ///
    /// # Errors
    /// `Invalid` with the fields that are wrong.
    pub fn new(days: u32, role: &str, credits: &str, note: &str) -> Result<Self, ApiError> {
        if !(1..=INVITATION_MAX_DAYS).contains(&days) {
            let text = format!("An invitation is valid for 1 to {INVITATION_MAX_DAYS} days.");
            return Err(ApiError::invalid_field("days", text));
        }
        let role =
            Role::parse(role).ok_or_else(|| ApiError::invalid_field("role", "A role is user or admin."))?;
        let credits = match credits.trim() {
            "" => None,
            text => {
                let number: Option<u32> =
                    text.parse().ok().filter(|number| *number <= INVITATION_MAX_CREDITS);
                let wrong = || format!("Enter 0 to {INVITATION_MAX_CREDITS} credits.");
                Some(number.ok_or_else(|| ApiError::invalid_field("credits", wrong()))?.into())
            }
        };
        let note = note.trim();
        if note.chars().any(char::is_control) || note.chars().count() > INVITATION_NOTE_MAX_CHARS {
            let text = format!("Enter at most {INVITATION_NOTE_MAX_CHARS} characters, on a single line.");
            return Err(ApiError::invalid_field("note", text));
        }
        Ok(Self { days: days.into(), role, credits, note: note.to_owned() })
    }
}

/// An invitation that was used up.
#[derive(Debug)]
pub(super) struct TakenInvitation {
    pub role: Role,
    pub credits: i64,
    /// The admin's user name.
    pub created_by: String,
}

#[derive(FromRow)]
struct InvitationRow {
    id: i64,
    role: String,
    credits: i64,
    note: String,
    created_by: String,
    created_at: i64,
    expires_at: i64,
}

fn role_of(text: &str) -> Role {
    Role::parse(text).unwrap_or(Role::User)
}

impl From<InvitationRow> for Invitation {
    fn from(row: InvitationRow) -> Self {
        Self {
            id: row.id,
            role: role_of(&row.role),
            credits: row.credits,
            note: row.note,
            created_by: row.created_by,
            created_at: UtcMillis(row.created_at),
            expires_at: UtcMillis(row.expires_at),
        }
    }
}

impl Accounts {
    /// Makes an invitation. Gives its token, and until when it is valid.
    ///
    /// # Errors
    /// `Conflict` when there are too many; `Forbidden` when `admin` is none any more.
    pub async fn create_invitation(
        &self,
        admin: &AdminAccess,
        new: &NewInvitation,
    ) -> Result<(Token, UtcMillis), ApiError> {
        let (token, token_hash) = Token::random()?;
        let at = now().0;
        let expires_at = at + new.days * DAY_MILLIS;
        let credits = new.credits.unwrap_or_else(|| self.allowances.first_credits(new.role).into());
        let mut tx = self.write_as_admin(admin).await?;
        sqlx::query("DELETE FROM invitation WHERE expires_at <= ?")
            .bind(at)
            .execute(&mut *tx)
            .await
            .map_err(internal)?;
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM invitation")
            .fetch_one(&mut *tx)
            .await
            .map_err(internal)?;
        if open >= MAX_OPEN {
            let text = format!("There are {MAX_OPEN} open invitations. Revoke those that nobody needs.");
            return Err(ApiError::conflict(text));
        }
        sqlx::query(
            "INSERT INTO invitation (token_hash, role, credits, note, created_by, created_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(token_hash)
        .bind(new.role.as_str())
        .bind(credits)
        .bind(&new.note)
        .bind(admin.id)
        .bind(at)
        .bind(expires_at)
        .execute(&mut *tx)
        .await
        .map_err(internal)?;
        let text = format!(
            "{} invited {} with the role {} and {credits} credits.",
            admin.username,
            named(&new.note),
            new.role.as_str()
        );
        NewEvent::info("account_invited", None, text).by(admin.id).write(&mut tx).await.map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        Ok((token, UtcMillis(expires_at)))
    }

    /// The open invitations, newest first.
    ///
    /// # Errors
    /// `Internal` when the database cannot be read.
    pub async fn invitations(&self, _: &AdminAccess) -> Result<Vec<Invitation>, ApiError> {
        let rows: Vec<InvitationRow> = sqlx::query_as(
            "SELECT invitation.id, invitation.role, credits, note, username AS created_by, invitation.created_at,
                    expires_at
             FROM invitation JOIN account ON account.id = created_by WHERE expires_at > ? ORDER BY invitation.id DESC",
        )
        .bind(now().0)
        .fetch_all(self.database.read())
        .await
        .map_err(internal)?;
        Ok(rows.into_iter().map(Invitation::from).collect())
    }

    /// Ends an invitation that was not used.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` when `admin` is none any more.
    pub async fn revoke_invitation(&self, admin: &AdminAccess, invitation_id: i64) -> Result<(), ApiError> {
        let mut tx = self.write_as_admin(admin).await?;
        let note: Option<String> = sqlx::query_scalar("DELETE FROM invitation WHERE id = ? RETURNING note")
            .bind(invitation_id)
            .fetch_optional(&mut *tx)
            .await
            .map_err(internal)?;
        let note = note.ok_or_else(|| ApiError::not_found("invitation"))?;
        let text = format!("{} revoked the invitation of {}.", admin.username, named(&note));
        NewEvent::info("account_invitation_revoked", None, text)
            .by(admin.id)
            .write(&mut tx)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)
    }

    /// Whether the token is that of an open invitation.
    pub(super) async fn has_invitation(&self, token: &str) -> Result<bool, ApiError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM invitation WHERE token_hash = ? AND expires_at > ?)")
            .bind(Token::hash_of(token))
            .bind(now().0)
            .fetch_one(self.database.read())
            .await
            .map_err(internal)
    }
}

/// Uses an invitation up, if it is open.
pub(super) async fn take_invitation(
    tx: &mut Transaction<'_, Sqlite>,
    token: &str,
) -> Result<Option<TakenInvitation>, ApiError> {
    let row: Option<(String, i64, String)> = sqlx::query_as(
        "DELETE FROM invitation WHERE token_hash = ? AND expires_at > ?
         RETURNING role, credits, (SELECT username FROM account WHERE id = created_by)",
    )
    .bind(Token::hash_of(token))
    .bind(now().0)
    .fetch_optional(&mut **tx)
    .await
    .map_err(internal)?;
    let taken = |(role, credits, created_by): (String, _, _)| TakenInvitation {
        role: role_of(&role),
        credits,
        created_by,
    };
    Ok(row.map(taken))
}

/// Whom an invitation is for, in a sentence.
fn named(note: &str) -> &str {
    if note.is_empty() { "somebody" } else { note }
}
