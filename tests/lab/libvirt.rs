//! libvirt asked by hand, and a VM that a failed test does not leave behind.

use std::process::{Command, Stdio};

/// What `virsh` prints.
pub fn virsh(arguments: &[&str]) -> String {
    let output =
        Command::new("virsh").env("LC_ALL", "C").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "virsh {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Removes what a failed test may have left of a VM.
pub struct Sweep {
    owner_id: i64,
    name: String,
}

impl Sweep {
    /// Of the first account's VM of this name.
    pub fn of(name: &str) -> Self {
        Self::of_owner(1, name)
    }

    pub fn of_owner(owner_id: i64, name: &str) -> Self {
        Self { owner_id, name: name.to_owned() }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        let domain = format!("twarga-user{}-{}_default", self.owner_id, self.name);
        let quietly = |arguments: &[&str]| {
            let _ = Command::new("virsh").env("LC_ALL", "C").args(arguments).stdin(Stdio::null()).output();
        };
        quietly(&["destroy", &domain]);
        quietly(&["undefine", &domain, "--managed-save", "--snapshots-metadata"]);
        quietly(&["vol-delete", "--pool", "default", &format!("{domain}.img")]);
    }
}
