//! Writes the `Vagrantfile` of a VM from typed values.
//!
//! Pure. Every text goes through [`quoted`], so no value can end its string or start Ruby code. Scripts and user data are
//! files beside it, which Vagrant copies into the guest and runs there; the Vagrantfile refers to them by fixed names.

use crate::server::provider::Machine;
use sha2::{Digest, Sha256};
use std::fmt::Write;

pub const VAGRANTFILE: &str = "Vagrantfile";
/// Additions by hand, which need a shell on the host.
pub const LOCAL_FILE: &str = "Vagrantfile.local";
pub const PROVISION_FILE: &str = "provision.sh";
pub const USER_DATA_FILE: &str = "user-data";
/// Of ours, to be run inside the guest.
pub const GROW_ROOT_FILE: &str = "grow-root.sh";
pub const GROW_ROOT: &str = include_str!("guest/grow-root.sh");
pub const CLOUD_INIT_FILE: &str = "cloud-init.sh";
pub const CLOUD_INIT: &str = include_str!("guest/cloud-init.sh");

/// What the line that proves a Vagrantfile to be ours begins with.
const SEAL: &str = "# Twarga Cloud's seal: ";

/// Whether a Vagrantfile is as we wrote it, not edited since.
pub fn is_unedited(text: &str) -> bool {
    let Some((first, body)) = text.split_once('\n') else { return false };
    first.strip_prefix(SEAL) == Some(digest(body).as_str())
}

fn digest(body: &str) -> String {
    Sha256::digest(body.as_bytes()).iter().take(16).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// The processor's virtualisation.
    #[default]
    Kvm,
    /// Software emulation: works everywhere, ten times slower.
    Qemu,
}

impl Driver {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }

    /// How long a guest may take until ssh answers.
    fn boot_timeout_secs(self) -> u32 {
        match self {
            Self::Kvm => 300,
            Self::Qemu => 600,
        }
    }
}

/// The URI that vagrant-libvirt uses when none is given.
pub const DEFAULT_LIBVIRT_URI: &str = "qemu:///system";

/// The name libvirt knows the machine by. Vagrant adds its own name of the machine, `default`, to the prefix
/// that the Vagrantfile gives.
pub fn domain_name(machine: &Machine) -> String {
    format!("{}default", domain_prefix(machine))
}

fn domain_prefix(machine: &Machine) -> String {
    format!("twarga-user{}-{}_", machine.owner_id, machine.name)
}

/// The text of `machine`'s `Vagrantfile`.
pub fn render(machine: &Machine, driver: Driver, libvirt_uri: &str) -> String {
    let name = quoted(machine.name.as_str());
    let vagrant_box = quoted(&machine.vagrant_box);
    let mut text = format!(
        "# Written by Twarga Cloud from the VM's settings, and written anew when they change. Settings of your own\n\
         # belong into a file Vagrantfile.local beside this one, which is loaded in the end and never touched:\n\
         #     Vagrant.configure('2') {{ |config| config.vm.network 'private_network', ip: '10.1.2.3' }}\n\
         # If you edit this file, it stays as it is until the VM is resized; rename it to have a new one written.\n\
         Vagrant.configure('2') do |config|\n\
         \x20 config.vm.box = {vagrant_box}\n"
    );
    if let Some(url) = &machine.box_url {
        line(&mut text, &format!("  config.vm.box_url = {}", quoted(url)));
    }
    line(&mut text, "  config.vm.box_check_update = false");
    line(&mut text, &format!("  config.vm.hostname = {name}"));
    line(&mut text, "  config.vm.synced_folder '.', '/vagrant', disabled: true");
    line(&mut text, "");
    line(&mut text, "  # A key of its own replaces the well-known one of the box at the first boot.");
    line(&mut text, "  config.ssh.insert_key = true");
    line(&mut text, "  # Seconds.");
    line(&mut text, &format!("  config.vm.boot_timeout = {}", driver.boot_timeout_secs()));
    line(&mut text, "  config.vm.graceful_halt_timeout = 60");
    line(&mut text, "");
    line(&mut text, "  config.vm.provider :libvirt do |libvirt|");
    if libvirt_uri != DEFAULT_LIBVIRT_URI {
        line(&mut text, &format!("    libvirt.uri = {}", quoted(libvirt_uri)));
    }
    line(&mut text, &format!("    libvirt.driver = {}", quoted(driver.as_str())));
    line(&mut text, &format!("    libvirt.memory = {} # MB", machine.spec.ram_mb));
    line(&mut text, &format!("    libvirt.cpus = {}", machine.spec.cpu_cores));
    line(&mut text, "    # GB, when the disk is made; no smaller than the box's own.");
    line(&mut text, &format!("    libvirt.machine_virtual_size = {}", machine.spec.disk_gb));
    line(&mut text, "    libvirt.graphics_type = 'none'");
    line(
        &mut text,
        "    # Or the last VM that is destroyed takes it from the one that is just being launched.",
    );
    line(&mut text, "    libvirt.management_network_keep = true");
    line(&mut text, "    # Over it QEMU's guest agent answers, where the guest has one.");
    line(
        &mut text,
        "    libvirt.channel type: 'unix', target_type: 'virtio', target_name: 'org.qemu.guest_agent.0'",
    );
    line(&mut text, &format!("    libvirt.default_prefix = {}", quoted(&domain_prefix(machine))));
    line(&mut text, "  end");
    line(&mut text, "");
    line(
        &mut text,
        "  # What follows runs inside the guest. The first one grows the root file system to the disk.",
    );
    line(
        &mut text,
        &format!("  config.vm.provision 'grow-root', type: 'shell', run: 'always', path: '{GROW_ROOT_FILE}'"),
    );
    if machine.setup.user_data.is_some() {
        line(
            &mut text,
            &format!(
                "  config.vm.provision 'user-data', type: 'file', source: '{USER_DATA_FILE}', \
                 destination: '/tmp/twarga-user-data'"
            ),
        );
        line(
            &mut text,
            &format!("  config.vm.provision 'cloud-init', type: 'shell', path: '{CLOUD_INIT_FILE}'"),
        );
    }
    if machine.setup.provision_script.is_some() {
        line(&mut text, &format!("  config.vm.provision 'script', type: 'shell', path: '{PROVISION_FILE}'"));
    }
    line(&mut text, "end");
    line(&mut text, "");
    line(&mut text, &format!("local = File.join(__dir__, '{LOCAL_FILE}')"));
    line(&mut text, "load local if File.file?(local)");
    format!("{SEAL}{}\n{text}", digest(&text))
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

/// `value` as a Ruby string literal. Between single quotes Ruby knows two escapes and no interpolation. Control
/// characters have no place in any of the values and become spaces.
fn quoted(value: &str) -> String {
    let mut literal = String::with_capacity(value.len() + 2);
    literal.push('\'');
    for c in value.chars() {
        match c {
            '\'' | '\\' => literal.extend(['\\', c]),
            c if c.is_control() => literal.push(' '),
            c => literal.push(c),
        }
    }
    literal.push('\'');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GuestSetup;
    use proptest::prelude::*;

    fn machine() -> Machine {
        Machine::example("web-1", "/vms/user1-web-1")
    }

    /// Reads a single-quoted literal as Ruby does; `None` when it does not end with the text.
    fn as_ruby_reads(literal: &str) -> Option<String> {
        let mut chars = literal.strip_prefix('\'')?.chars();
        let mut value = String::new();
        loop {
            match chars.next()? {
                '\'' => return chars.next().is_none().then_some(value),
                '\\' => match chars.next()? {
                    c @ ('\'' | '\\') => value.push(c),
                    c => value.extend(['\\', c]),
                },
                c => value.push(c),
            }
        }
    }

    #[test]
    fn the_file_has_the_vms_resources() {
        let text = render(&machine(), Driver::Kvm, DEFAULT_LIBVIRT_URI);
        for wanted in [
            "config.vm.box = 'generic/debian12'\n",
            "config.vm.hostname = 'web-1'\n",
            "config.vm.boot_timeout = 300\n",
            "libvirt.driver = 'kvm'\n",
            "libvirt.memory = 1024 # MB\n",
            "libvirt.cpus = 2\n",
            "libvirt.machine_virtual_size = 20\n",
            "target_name: 'org.qemu.guest_agent.0'\n",
            "libvirt.default_prefix = 'twarga-user1-web-1_'\n",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
        assert!(!text.contains("box_url") && !text.contains("libvirt.uri"));
        assert_eq!(domain_name(&machine()), "twarga-user1-web-1_default");
    }

    #[test]
    fn emulation_another_uri_and_a_boxs_address_are_written_when_configured() {
        let machine = Machine { box_url: Some("file:///srv/box.json".into()), ..machine() };
        let text = render(&machine, Driver::Qemu, "qemu:///session");
        for wanted in [
            "config.vm.box_url = 'file:///srv/box.json'\n",
            "config.vm.boot_timeout = 600\n",
            "libvirt.uri = 'qemu:///session'\n",
            "libvirt.driver = 'qemu'\n",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
    }

    #[test]
    fn what_the_guest_is_set_up_with_is_named_and_never_part_of_the_file() {
        let setup = GuestSetup {
            provision_script: Some("echo '; system(\"id\")".into()),
            user_data: Some("#cloud-config\n".into()),
        };
        let text = render(&Machine { setup, ..machine() }, Driver::Kvm, DEFAULT_LIBVIRT_URI);
        assert!(text.contains("'script', type: 'shell', path: 'provision.sh'\n"), "{text}");
        assert!(text.contains("source: 'user-data'"), "{text}");
        assert!(!text.contains("system(") && !text.contains("#cloud-config"), "{text}");
    }

    #[test]
    fn an_edited_file_is_known_by_its_broken_seal() {
        let text = render(&machine(), Driver::Kvm, DEFAULT_LIBVIRT_URI);
        assert!(is_unedited(&text));
        assert!(!is_unedited(&text.replace("1024", "2048")));
        assert!(!is_unedited("# mine\n") && !is_unedited(""));
    }

    #[test]
    fn code_in_a_value_stays_text() {
        let machine = Machine { vagrant_box: "x'; system('id') #{1}\n".into(), ..machine() };
        let text = render(&machine, Driver::Kvm, DEFAULT_LIBVIRT_URI);
        assert!(text.contains(r"config.vm.box = 'x\'; system(\'id\') #{1} '"), "{text}");
    }

    /// The commands by which the script grows `/`, in a guest whose disk of 16 MB has one partition of 4 MB. `lvs` and
    /// `pvs` print what is given.
    fn grown_by(root: &str, lvs: &str, pvs: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let (disk, block) = (at("devices/vda"), at("class/block"));
        std::fs::create_dir_all(disk.join("vda3")).unwrap();
        std::fs::create_dir_all(&block).unwrap();
        for name in ["vda", "vda/vda3"] {
            let device = at("devices").join(name);
            std::os::unix::fs::symlink(&device, block.join(device.file_name().unwrap())).unwrap();
        }
        std::fs::write(disk.join("size"), "32768").unwrap();
        for (file, number) in [("partition", "3"), ("start", "2048"), ("size", "8192")] {
            std::fs::write(disk.join("vda3").join(file), number).unwrap();
        }
        std::fs::write(at("mounts"), format!("{root} / ext4 rw 0 0\n")).unwrap();
        std::fs::create_dir(at("bin")).unwrap();
        for (tool, prints) in [
            ("lvs", lvs),
            ("pvs", pvs),
            ("vgs", "  512"),
            ("growpart", ""),
            ("pvresize", ""),
            ("lvextend", ""),
            ("resize2fs", ""),
        ] {
            let script =
                format!("#!/bin/sh\necho {tool} \"$@\" >> {}\nprintf '{prints}'\n", at("calls").display());
            std::fs::write(at("bin").join(tool), script).unwrap();
            let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(at("bin").join(tool), executable).unwrap();
        }
        let script = GROW_ROOT
            .replace("/proc/mounts", at("mounts").to_str().unwrap())
            .replace("/sys/class/block", block.to_str().unwrap());
        let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
        let ended =
            std::process::Command::new("sh").args(["-c", &script]).env("PATH", path).status().unwrap();
        assert!(ended.success());
        let calls = std::fs::read_to_string(at("calls")).unwrap();
        let reads = ["lvs ", "pvs ", "vgs "];
        calls
            .lines()
            .filter(|call| !reads.iter().any(|read| call.starts_with(read)))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_root_partition_or_logical_volume_grows_to_the_end_of_its_disk() {
        assert_eq!(grown_by("/dev/vda3", "", ""), ["growpart /dev/vda 3", "resize2fs /dev/vda3"]);
        let (volume, resized) = ("/dev/vg0-root", "resize2fs /dev/vg0-root".to_owned());
        let one_disk = r"  /dev/vda3 vg0\n  /dev/vdb other\n";
        let grown = [
            "growpart /dev/vda 3".to_owned(),
            "pvresize /dev/vda3".into(),
            format!("lvextend -l +100%FREE {volume}"),
            resized.clone(),
        ];
        for lvs in [r"  linear vg0\n", r"  linear vg0\n  linear vg0\n"] {
            assert_eq!(grown_by(volume, lvs, one_disk), grown, "{lvs}");
        }
        for (lvs, pvs) in [
            (r"  linear vg0\n", r"  /dev/vda3 vg0\n  /dev/vdb vg0\n"),
            (r"  thin vg0\n", one_disk),
            (r"  linear vg0\n  striped vg0\n", one_disk),
            ("", one_disk),
        ] {
            assert_eq!(grown_by(volume, lvs, pvs), std::slice::from_ref(&resized), "{lvs} {pvs}");
        }
    }

    proptest! {
        #[test]
        fn no_value_can_end_its_string(value in any::<String>()) {
            let meant: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            prop_assert_eq!(as_ruby_reads(&quoted(&value)), Some(meant));
        }

        #[test]
        fn the_file_has_the_same_lines_whatever_the_box_is_called(value in any::<String>()) {
            let machine = Machine { vagrant_box: value, ..machine() };
            let text = render(&machine, Driver::Kvm, DEFAULT_LIBVIRT_URI);
            prop_assert_eq!(text.split('\n').count(), 38);
            prop_assert!(is_unedited(&text));
        }
    }
}
