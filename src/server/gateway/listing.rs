//! What a connection shows that names no VM. Pure.

use super::destination::name_for;
use crate::model::{AccessLevel, CurrentUser, VmStatus, VmView};
use std::fmt::Write;

/// Where clients reach the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub host: String,
    pub port: u16,
}

impl Place {
    /// The command that connects to a VM.
    pub fn command(&self, vm: &str) -> String {
        let host = &self.host;
        if self.port == 22 { format!("ssh {vm}@{host}") } else { format!("ssh -p {} {vm}@{host}", self.port) }
    }
}

/// The user's VMs, a line each, with the command for those that run.
pub fn listing(user: &CurrentUser, vms: &[VmView], place: &Place) -> String {
    let usable: Vec<_> = vms.iter().filter(|vm| vm.access >= AccessLevel::Operate).collect();
    if usable.is_empty() {
        return format!("{}, you have no VMs yet.\n", user.username);
    }
    let names: Vec<_> = usable.iter().map(|vm| name_for(vm, user)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (vm, name) in usable.iter().zip(&names) {
        let what = match vm.status {
            VmStatus::Running => place.command(name),
            _ => String::new(),
        };
        let line = format!("{name:width$}  {:11}  {what}", vm.status.as_str());
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{components::feed::tests::vm, model::Role};

    #[test]
    fn each_vm_is_listed_with_its_state_and_command() {
        let bob = CurrentUser { id: 2, username: "bob".into(), email: String::new(), role: Role::User };
        let place = Place { host: "cloud.example.org".into(), port: 2222 };
        assert_eq!(listing(&bob, &[], &place), "bob, you have no VMs yet.\n");
        let vm_of = |id: i64, owner: &str, name: &str, status, access| VmView {
            owner_id: id,
            owner_name: owner.into(),
            name: name.into(),
            status,
            access,
            ..vm(id)
        };
        let vms = [
            vm_of(2, "bob", "web-1", VmStatus::Running, AccessLevel::Own),
            vm_of(1, "ada", "db", VmStatus::Stopped, AccessLevel::Operate),
            vm_of(1, "ada", "secret", VmStatus::Running, AccessLevel::View),
        ];
        assert_eq!(
            listing(&bob, &vms, &place),
            "web-1   running      ssh -p 2222 web-1@cloud.example.org\nada/db  stopped\n"
        );
        let usual = Place { port: 22, ..place };
        assert_eq!(usual.command("web-1"), "ssh web-1@cloud.example.org");
    }
}
