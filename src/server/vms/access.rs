//! Who may see and operate which VM.

use super::{Scope, Vms};
use crate::model::{ApiError, CurrentUser, Role, VmView};

/// A VM and a user who may see and operate it. Only [`Vms::access`] creates it, so that having one proves the
/// permission.
#[derive(Debug, Clone)]
pub struct VmAccess {
    user: CurrentUser,
    vm: VmView,
}

impl VmAccess {
    pub fn user(&self) -> &CurrentUser {
        &self.user
    }

    pub fn vm(&self) -> &VmView {
        &self.vm
    }

    pub fn scope(&self) -> Scope {
        Scope::One(self.vm.id)
    }

    /// Checks the confirmation of an operation that cannot be undone: [`VmView::to_confirm`] must be typed.
    ///
    /// # Errors
    /// `Invalid` if `typed` differs.
    pub fn confirmed_by(&self, typed: &str) -> Result<(), ApiError> {
        let expected = self.vm.to_confirm();
        if typed.trim() == expected {
            Ok(())
        } else {
            Err(ApiError::invalid_field("confirm_name", format!("Type {expected} to confirm.")))
        }
    }
}

impl Scope {
    /// The VMs that `user` may see: their own, or all.
    pub fn of(user: &CurrentUser) -> Self {
        match user.role {
            Role::Admin => Self::All,
            Role::User => Self::Owner(user.id),
        }
    }
}

impl Vms {
    /// For the owner and admins.
    ///
    /// # Errors
    /// `NotFound` for all others, as if the VM did not exist.
    pub async fn access(&self, user: &CurrentUser, vm_id: i64) -> Result<VmAccess, ApiError> {
        match self.find(vm_id).await? {
            Some(vm) if vm.owner_id == user.id || user.role == Role::Admin => {
                Ok(VmAccess { user: user.clone(), vm })
            }
            _ => Err(ApiError::not_found("VM")),
        }
    }
}
