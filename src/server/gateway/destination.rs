//! Which VM a user name means, and where connections may be forwarded to. Pure.

use crate::model::{CurrentUser, VmView};
use std::net::IpAddr;

/// A VM as it is named: `web-1`, or `bob/web-1` for one of another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmRef<'a> {
    pub owner: Option<&'a str>,
    pub name: &'a str,
}

impl<'a> VmRef<'a> {
    pub fn parse(text: &'a str) -> Self {
        match text.split_once('/') {
            Some((owner, name)) => Self { owner: Some(owner), name },
            None => Self { owner: None, name: text },
        }
    }

    /// The VM among those that the user may see. Without an owner it is one of their own.
    pub fn find<'v>(&self, vms: &'v [VmView], user: &CurrentUser) -> Option<&'v VmView> {
        let is_owner = |vm: &VmView| match self.owner {
            Some(owner) => vm.owner_name.eq_ignore_ascii_case(owner),
            None => vm.owner_id == user.id,
        };
        vms.iter().find(|vm| vm.name.eq_ignore_ascii_case(self.name) && is_owner(vm))
    }
}

/// The name of a VM for this user, as `VmRef::parse` reads it.
pub fn name_for(vm: &VmView, user: &CurrentUser) -> String {
    if vm.owner_id == user.id { vm.name.clone() } else { format!("{}/{}", vm.owner_name, vm.name) }
}

/// Where the guest connects to if a client that is connected to `vm` asks for `host`: only to itself.
pub fn forwarded_host(host: &str, vm: &VmView) -> Option<String> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_itself = match host.parse::<IpAddr>() {
        Ok(address) => {
            let own = vm.ip_address.as_ref().and_then(|own| own.parse::<IpAddr>().ok());
            address.to_canonical().is_loopback() || own == Some(address)
        }
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    if is_itself {
        Some(host.to_owned())
    } else {
        host.eq_ignore_ascii_case(&vm.name).then(|| "localhost".to_owned())
    }
}

/// The port that `ssh -J` goes on to.
pub const JUMP_PORT: u32 = 22;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{components::feed::tests::vm, model::Role};
    use proptest::prelude::*;

    fn vm_of(owner_id: i64, owner: &str, name: &str) -> VmView {
        VmView { owner_id, owner_name: owner.into(), name: name.into(), ..vm(owner_id) }
    }

    fn bob() -> CurrentUser {
        CurrentUser { id: 2, username: "bob".into(), email: String::new(), role: Role::User }
    }

    #[test]
    fn a_name_without_owner_is_one_of_ones_own_vms() {
        let vms = [vm_of(1, "ada", "web-1"), vm_of(2, "bob", "web-1"), vm_of(1, "ada", "db")];
        let owner_of = |text: &str| VmRef::parse(text).find(&vms, &bob()).map(|vm| vm.owner_id);
        assert_eq!(owner_of("web-1"), Some(2));
        assert_eq!(owner_of("WEB-1"), Some(2));
        assert_eq!(owner_of("ada/web-1"), Some(1));
        assert_eq!(owner_of("bob/web-1"), Some(2));
        for nothing in ["db", "eve/web-1", "", "/", "ada/", "/web-1", "ada/web-1/", "root"] {
            assert_eq!(owner_of(nothing), None, "{nothing}");
        }
        let names = vms.each_ref().map(|vm| name_for(vm, &bob()));
        assert_eq!(names, ["ada/web-1", "web-1", "ada/db"]);
    }

    #[test]
    fn connections_are_forwarded_to_the_vm_itself_only() {
        let vm = VmView { ip_address: Some("192.168.121.7".into()), ..vm_of(2, "bob", "web-1") };
        for (host, target) in [
            ("localhost", Some("localhost")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("127.8.8.8", Some("127.8.8.8")),
            ("::1", Some("::1")),
            ("[::1]", Some("::1")),
            ("::ffff:127.0.0.1", Some("::ffff:127.0.0.1")),
            ("192.168.121.7", Some("192.168.121.7")),
            ("web-1", Some("localhost")),
            ("192.168.121.1", None),
            ("0.0.0.0", None),
            ("10.0.0.1", None),
            ("metadata.internal", None),
            ("localhost.evil.example", None),
            ("", None),
        ] {
            assert_eq!(forwarded_host(host, &vm).as_deref(), target, "{host}");
        }
    }

    proptest! {
        #[test]
        fn only_the_own_address_and_loopback_are_reached(host in "\\PC{0,40}") {
            let vm = VmView { ip_address: None, ..vm_of(2, "bob", "web-1") };
            if let Some(target) = forwarded_host(&host, &vm) {
                let loopback = target.parse::<IpAddr>().map(|address| address.to_canonical().is_loopback());
                prop_assert!(loopback.unwrap_or(target.eq_ignore_ascii_case("localhost")), "{host} {target}");
            }
            let _ = VmRef::parse(&host).find(&[vm], &bob());
        }
    }
}
