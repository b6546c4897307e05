//! Who may create an account: with the first one the holder of the setup code, later whom the server's mode lets, and who
//! was invited.
//!
//! What allowed a registration is checked before its password is hashed, and again in the transaction that inserts the
//! account: an invitation creates one account, and the setup code the first one only.

use super::{Accounts, insert_account, invitation::take_invitation, now, setup_code::SetupCode};
use crate::{
    model::{ApiError, CurrentUser, RegistrationMode, Role, check_registration},
    server::{events::NewEvent, internal},
};
use std::{net::IpAddr, time::Instant};

/// How this server registers accounts. Clones share the setup code.
#[derive(Debug, Clone)]
pub struct Registration {
    pub mode: RegistrationMode,
    pub setup_code: SetupCode,
}

/// What somebody enters to create an account. The codes may be empty.
#[derive(Clone, Copy)]
pub struct RegistrationForm<'a> {
    pub username: &'a str,
    pub email: &'a str,
    pub password: &'a str,
    pub setup_code: &'a str,
    pub invitation: &'a str,
}

/// What allows a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    /// It is the first one, and its setup code is right.
    FirstAccount,
    Invitation,
    Open,
}

impl Registration {
    /// # Errors
    /// `Internal` when the system gives no random numbers.
    pub fn new(mode: RegistrationMode) -> Result<Self, ApiError> {
        Ok(Self { mode, setup_code: SetupCode::random()? })
    }

    /// On what a registration relies. Whether its invitation is valid is another question.
    fn admission(
        &self,
        is_first: bool,
        form: &RegistrationForm<'_>,
        now: Instant,
    ) -> Result<Admission, ApiError> {
        if is_first {
            return self.setup_code.check(form.setup_code, now).map(|()| Admission::FirstAccount);
        }
        match self.mode {
            RegistrationMode::Closed => Err(closed()),
            _ if !form.invitation.trim().is_empty() => Ok(Admission::Invitation),
            RegistrationMode::Open => Ok(Admission::Open),
            RegistrationMode::Invited => Err(ApiError::invalid_field(
                "invitation",
                "Accounts are created by invitation. Open the link that an admin sent you, or enter its code.",
            )),
        }
    }
}

impl Accounts {
    /// Creates an account for somebody who is not signed in, at a client with this address. The first one is an admin's; an invitation decides about role
    /// and credits; every other is a user's.
    ///
    /// # Errors
    /// `Forbidden` while registration is closed; `Invalid` or `Conflict` with the fields that are wrong, missing or taken;
    /// `TooMany` after too many wrong setup codes, or when too many passwords are being hashed.
    pub async fn register_visitor(
        &self,
        registration: &Registration,
        form: RegistrationForm<'_>,
        address: IpAddr,
    ) -> Result<CurrentUser, ApiError> {
        let is_first = self.is_empty().await?;
        if !is_first && registration.mode == RegistrationMode::Closed {
            return Err(closed());
        }
        check_registration(form.username.trim(), form.email.trim(), form.password)?;
        let admission = registration.admission(is_first, &form, Instant::now())?;
        let invitation = form.invitation.trim();
        if admission == Admission::Invitation && !self.has_invitation(invitation).await? {
            return Err(invalid_invitation());
        }
        let passwords = self.passwords.of(address);
        let new = self.checked(&passwords, form.username, form.email, form.password).await?;
        let mut tx = self.database.write().await.map_err(internal)?;
        let user = match admission {
            Admission::FirstAccount => {
                let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM account)")
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(internal)?;
                if any {
                    return Err(ApiError::conflict(
                        "This server has been set up meanwhile. Sign in instead.",
                    ));
                }
                self.insert(&mut tx, &new, Role::Admin, None).await?
            }
            Admission::Invitation => {
                let taken = take_invitation(&mut tx, invitation).await?.ok_or_else(invalid_invitation)?;
                let user = insert_account(&mut tx, &new, taken.role).await?;
                self.allowances
                    .grant(&mut tx, user.id, taken.credits, "granted with the account", now().0)
                    .await
                    .map_err(internal)?;
                let text = format!(
                    "The account {} was created with the role {}, by invitation of {}.",
                    user.username,
                    user.role.as_str(),
                    taken.created_by
                );
                NewEvent::info("account_created", None, text)
                    .by(user.id)
                    .write(&mut tx)
                    .await
                    .map_err(internal)?;
                user
            }
            Admission::Open => self.insert(&mut tx, &new, Role::User, None).await?,
        };
        tx.commit().await.map_err(internal)?;
        Ok(user)
    }
}

fn closed() -> ApiError {
    ApiError::forbidden("Registration is closed. Ask an admin to create an account for you.")
}

fn invalid_invitation() -> ApiError {
    let text = "This invitation is not valid, or no longer: it may have been used or revoked, or it has expired. Ask an \
                admin for a new one.";
    ApiError::invalid_field("invitation", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorCode;

    fn form<'a>(setup_code: &'a str, invitation: &'a str) -> RegistrationForm<'a> {
        RegistrationForm { username: "ada", email: "ada@example.org", password: "", setup_code, invitation }
    }

    #[test]
    fn the_mode_decides_who_may_register_once_there_is_an_account() {
        use RegistrationMode::{Closed, Invited, Open};
        let now = Instant::now();
        for (mode, invitation, expected) in [
            (Open, "", Ok(Admission::Open)),
            (Open, "x", Ok(Admission::Invitation)),
            (Invited, " ", Err(ErrorCode::Invalid)),
            (Invited, "x", Ok(Admission::Invitation)),
            (Closed, "", Err(ErrorCode::Forbidden)),
            (Closed, "x", Err(ErrorCode::Forbidden)),
        ] {
            let registration = Registration::new(mode).unwrap();
            let code = registration.setup_code.expose();
            let admission = registration.admission(false, &form(code, invitation), now);
            assert_eq!(admission.map_err(|error| error.code), expected, "{mode:?} {invitation:?}");
        }
    }

    #[test]
    fn the_first_account_takes_the_setup_code_in_every_mode() {
        for mode in RegistrationMode::ALL {
            let registration = Registration::new(mode).unwrap();
            let code = registration.setup_code.expose();
            let now = Instant::now();
            assert_eq!(registration.admission(true, &form(code, ""), now), Ok(Admission::FirstAccount));
            for wrong in ["", "0000-0000-0000"] {
                let rejected = registration.admission(true, &form(wrong, "x"), now).unwrap_err();
                assert!(rejected.field("setup_code").is_some(), "{mode:?}: {rejected:?}");
            }
        }
    }
}
