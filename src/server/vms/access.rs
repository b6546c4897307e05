//! Who may see and operate which VM.

use super::{Scope, VmRow, Vms};
use crate::model::{AccessLevel, ApiError, CurrentUser, Role, VmView};
use std::marker::PhantomData;

/// A level of access as a type.
pub trait Level: Send + Sync + 'static {
    const LEVEL: AccessLevel;
}

/// A level that includes operating the VM.
pub trait MayOperate: Level {}

/// See [`AccessLevel::View`].
#[derive(Debug, Clone, Copy)]
pub struct View;
/// See [`AccessLevel::Operate`].
#[derive(Debug, Clone, Copy)]
pub struct Operate;
/// See [`AccessLevel::Own`].
#[derive(Debug, Clone, Copy)]
pub struct Own;

impl Level for View {
    const LEVEL: AccessLevel = AccessLevel::View;
}
impl Level for Operate {
    const LEVEL: AccessLevel = AccessLevel::Operate;
}
impl Level for Own {
    const LEVEL: AccessLevel = AccessLevel::Own;
}
impl MayOperate for Operate {}
impl MayOperate for Own {}

/// A VM and a user who has at least the access `L` to it. Only [`Vms::access`] creates it, so that having one proves the
/// permission.
#[derive(Debug, Clone)]
pub struct VmAccess<L> {
    user: CurrentUser,
    vm: VmView,
    level: PhantomData<L>,
}

impl<L: Level> VmAccess<L> {
    pub fn user(&self) -> &CurrentUser {
        &self.user
    }

    /// The VM, as the user may see it.
    pub fn vm(&self) -> &VmView {
        &self.vm
    }

    pub fn scope(&self) -> Scope {
        Scope::One(self.vm.id, self.vm.access)
    }

    /// The same with a higher level of access.
    ///
    /// # Errors
    /// `Forbidden` if the user does not have it.
    pub fn at_least<M: Level>(self) -> Result<VmAccess<M>, ApiError> {
        require(&self.vm, M::LEVEL)?;
        Ok(VmAccess { user: self.user, vm: self.vm, level: PhantomData })
    }
}

impl VmAccess<Own> {
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

/// Checks that the user who sees `vm` has an access to it.
///
/// # Errors
/// `Forbidden`, which reveals nothing: the user sees the VM.
pub fn require(vm: &VmView, level: AccessLevel) -> Result<(), ApiError> {
    if vm.access >= level {
        return Ok(());
    }
    let (name, owner) = (&vm.name, &vm.owner_name);
    Err(ApiError::forbidden(match level {
        AccessLevel::Own => format!("Only the owner of {name}, {owner}, and admins can do this."),
        _ => {
            format!("You can view {name}, but not operate it. Ask its owner, {owner}, to let you operate it.")
        }
    }))
}

impl Scope {
    /// The VMs that `user` may see: their own and those shared with them, or all.
    pub fn of(user: &CurrentUser) -> Self {
        match user.role {
            Role::Admin => Self::All,
            Role::User => Self::User(user.id),
        }
    }
}

impl Vms {
    /// The access of a user to a VM, at least of level `L`.
    ///
    /// # Errors
    /// `NotFound` if the user may not see the VM; `Forbidden` if they may see it, but have a lower level.
    pub async fn access<L: Level>(&self, user: &CurrentUser, vm_id: i64) -> Result<VmAccess<L>, ApiError> {
        let access = |row: &VmRow| match user.role {
            Role::Admin => Some(AccessLevel::Own),
            Role::User => row.access_of(user.id),
        };
        let vm = self.find_with(vm_id, access).await?.ok_or_else(|| ApiError::not_found("VM"))?;
        require(&vm, L::LEVEL)?;
        Ok(VmAccess { user: user.clone(), vm, level: PhantomData })
    }
}

/// What a user with a lower access sees of a VM.
pub fn restrict(vm: &mut VmView, access: AccessLevel) {
    vm.access = access;
    vm.allowed.retain(|kind| kind.required_access() <= access);
}
