//! Who may see and operate which VM.

use super::{Scope, Vms};
use crate::model::{ApiError, CurrentUser, Role, VmView};

/// A VM that somebody may see and operate, and who that is. Made by [`Vms::access`] only, so that whoever holds
/// one has been let in.
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

    /// For what cannot be undone: what [`VmView::to_confirm`] says, typed.
    ///
    /// # Errors
    /// `Invalid` when `typed` is something else.
    pub fn confirmed_by(&self, typed: &str) -> Result<(), ApiError> {
        let wanted = self.vm.to_confirm();
        if typed.trim() == wanted {
            Ok(())
        } else {
            Err(ApiError::invalid_field("confirm_name", format!("Type {wanted} to confirm.")))
        }
    }
}

impl Scope {
    /// Everything that `me` may see: their own VMs, or all.
    pub fn of(user: &CurrentUser) -> Self {
        match user.role {
            Role::Admin => Self::All,
            Role::User => Self::Owner(user.id),
        }
    }
}

impl Vms {
    /// Lets the owner and admins in.
    ///
    /// # Errors
    /// `NotFound` for everybody else, as if the VM were not there.
    pub async fn access(&self, user: &CurrentUser, vm_id: i64) -> Result<VmAccess, ApiError> {
        match self.find(vm_id).await? {
            Some(vm) if vm.owner_id == user.id || user.role == Role::Admin => {
                Ok(VmAccess { user: user.clone(), vm })
            }
            _ => Err(ApiError::not_found("VM")),
        }
    }
}
