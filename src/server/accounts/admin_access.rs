//! The permission to do what only admins may.

use crate::model::{ApiError, CurrentUser, Role};
use std::ops::Deref;

/// A user who is an admin. Only [`AdminAccess::of`] creates it, so that having one proves the role that the user had when the
/// request came.
#[derive(Debug, Clone)]
pub struct AdminAccess(CurrentUser);

impl AdminAccess {
    /// The access of a user.
    ///
    /// # Errors
    /// `Forbidden` if they are no admin.
    pub fn of(user: CurrentUser) -> Result<Self, ApiError> {
        match user.role {
            Role::Admin => Ok(Self(user)),
            Role::User => Err(ApiError::admins_only()),
        }
    }
}

impl Deref for AdminAccess {
    type Target = CurrentUser;

    fn deref(&self) -> &CurrentUser {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorCode;

    #[test]
    fn only_an_admin_has_it() {
        let user = |role| CurrentUser { id: 1, username: "ada".into(), email: String::new(), role };
        assert_eq!(AdminAccess::of(user(Role::Admin)).unwrap().username, "ada");
        assert_eq!(AdminAccess::of(user(Role::User)).unwrap_err().code, ErrorCode::Forbidden);
    }
}
