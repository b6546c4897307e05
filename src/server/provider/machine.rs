//! A machine as the provider knows it.

use crate::model::{GuestSetup, VmName, VmSpec};
use std::path::{Path, PathBuf};

/// A VM as a provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub owner_id: i64,
    pub name: VmName,
    /// What it is to be given at its next start.
    pub spec: VmSpec,
    /// That is something else than it was given before: a Vagrantfile that was edited by hand gives way.
    pub is_resized: bool,
    /// What its guest is set up with when it is made.
    pub setup: GuestSetup,
    /// Vagrant's name of the box.
    pub vagrant_box: String,
    pub box_url: Option<String>,
    /// The hypervisor's id of it, as far as it was known when it was last seen.
    pub domain_uuid: Option<String>,
    /// The VM's own folder, holding `.vm_info` and, unless it was adopted, `Vagrantfile` and `.vagrant/`. Absolute.
    pub directory: PathBuf,
    /// Where the machine comes from if it was adopted.
    pub project: Option<Project>,
}

impl Machine {
    /// Where `vagrant` runs. Absolute.
    pub fn vagrant_directory(&self) -> &Path {
        self.project.as_ref().map_or(&self.directory, |project| &project.directory)
    }

    /// Whether the hypervisor does not know the machine, so that its state comes from Vagrant's index.
    pub fn is_indexed(&self) -> bool {
        self.project.as_ref().is_some_and(|project| project.is_indexed)
    }
}

#[cfg(test)]
impl Machine {
    /// A fixture for unit tests: the first account's, in this folder.
    pub fn example(name: &str, directory: impl Into<PathBuf>) -> Self {
        Self {
            owner_id: 1,
            name: VmName::new(name).unwrap(),
            spec: VmSpec { image: "debian-12".into(), ram_mb: 1024, cpu_cores: 2, disk_gb: 20 },
            is_resized: false,
            setup: GuestSetup::default(),
            vagrant_box: "generic/debian12".into(),
            box_url: None,
            domain_uuid: None,
            directory: directory.into(),
            project: None,
        }
    }
}

/// A user's own Vagrant project from which a machine was imported. It is never written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Holds the Vagrantfile. Absolute.
    pub directory: PathBuf,
    /// The Vagrantfile's name, if it is not the usual one.
    pub vagrantfile: Option<String>,
    /// Where Vagrant keeps what it knows of the project; `.vagrant` in its folder, usually. Absolute.
    pub data_directory: PathBuf,
    /// The machine's name within the Vagrantfile.
    pub machine: String,
    /// Vagrant's name of what runs it: `virtualbox`, `libvirt`, `docker`, …
    pub provider: String,
    /// See [`Machine::is_indexed`].
    pub is_indexed: bool,
}
