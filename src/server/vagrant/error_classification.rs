//! Turns the output of a failed `vagrant` run into a [`MachineError`]: what happened and what to do.
//!
//! Pure. Vagrant reports errors in three ways: an `error-exit` record with a class (most errors), a sentence on stderr
//! (a Vagrantfile with a syntax error, found before machine-readable output is set up), or a Ruby backtrace on stderr
//! (unexpected errors). The class decides if there is one. Before that, a few phrases are checked that occur in the
//! texts of many classes, such as a full disk.

use crate::server::provider::{MachineError, MachineErrorKind};
use std::path::Path;

/// How a run of `vagrant` that did not succeed ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandResult {
    /// The exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Class and text of the last `error-exit` record.
    pub error_exit: Option<(String, String)>,
    /// The texts of `ui,error` records, joined by line breaks.
    pub errors: String,
    /// The end of stderr.
    pub stderr: String,
}

/// What the texts name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorContext<'a> {
    pub directory: &'a Path,
    pub vagrant_box: &'a str,
    pub domain_name: &'a str,
    pub libvirt_uri: &'a str,
}

use MachineErrorKind as Kind;

/// What to say of a run that failed only since something else happened in the same moment, and that a second try mends.
pub fn passing(ended: &CommandResult) -> Option<&'static str> {
    // Vagrant guards against others who make or activate libvirt's network within one process only.
    let at_the_network = ended.error_exit.as_ref().is_some_and(|(class, _)| {
        matches!(short(class), "CreateNetworkError" | "ActivateNetworkError" | "DestroyNetworkError")
    });
    // Fog's message for a domain that is listed but gone when it is looked up, such as one whose interrupted destruction
    // is still finishing.
    let gone_between = "Initialization parameters must be an attributes hash, got NilClass";
    if at_the_network {
        Some("Another VM is setting up the network; trying again.")
    } else if [&ended.errors, &ended.stderr].into_iter().any(|text| text.contains(gone_between)) {
        Some("libvirt was just removing a VM; trying again.")
    } else {
        None
    }
}

/// The class of what went wrong and its words.
pub fn classify(ended: &CommandResult, context: ErrorContext<'_>) -> MachineError {
    let class = ended.error_exit.as_ref().map_or("", |(class, _)| class.as_str());
    let said = ended.error_exit.as_ref().map_or(ended.errors.as_str(), |(_, text)| text.as_str());
    let all = format!("{said}\n{}\n{}", ended.errors, ended.stderr);
    let (kind, own_words) = by_phrase(&all, class).unwrap_or_else(|| by_class(class, ended));
    let text = match own_words {
        Some(words) => format!("{words}{}", quote(said, &ended.stderr)),
        None => message(kind, context) + &cause(kind, said, &ended.stderr),
    };
    MachineError { kind, text, detail: detail(ended, class, said) }
}

const DISK_FULL: [&str; 3] = ["No space left on device", "Disk quota exceeded", "not enough free space"];

/// Causes that come under several classes or under none, by what is said. `Some` words replace the kind's own.
fn by_phrase(all: &str, class: &str) -> Option<(Kind, Option<&'static str>)> {
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| all.contains(phrase));
    if short(class) == "ImageUploadError" {
        let kind = if has(&DISK_FULL) { Kind::DiskFull } else { Kind::Other };
        Some((
            kind,
            Some(
                "The box's image could not be stored in libvirt's pool as a whole. Make room if the disk is full, and \
             remove the part (\"virsh vol-list default\", \"virsh vol-delete --pool default\" and the name with \
             \"vagrant_box_image\" in it) before you try again: VMs made of it would not start.",
            ),
        ))
    } else if has(&DISK_FULL) {
        Some((Kind::DiskFull, None))
    } else if short(class) == "FogLibvirtConnectionError" || has(&["Libvirt::ConnectionError"]) {
        let denied = has(&[
            "Permission denied",
            "authentication unavailable",
            "authentication failed",
            "access denied",
        ]);
        Some((Kind::HypervisorUnreachable, denied.then_some(
            "libvirt does not let this server in. Run the server as root or as a user in the group \"libvirt\", \
             then try again.",
        )))
    } else if has(&[
        "Could not access KVM kernel module",
        "KVM is not available",
        "invalid domain type kvm",
        "could not find capabilities for domaintype=kvm",
        "could not get preferred machine for",
    ]) {
        Some((
            Kind::Other,
            Some(
                "This host cannot run guests with KVM: /dev/kvm is missing, not readable, or without use. Turn on \
             virtualisation in the firmware, or set the driver to \"qemu\" (software emulation, slow) in the \
             server's configuration and in the Vagrantfile.",
            ),
        ))
    } else if has(&["cannot set up guest memory", "Cannot allocate memory", "cannot allocate memory"]) {
        Some((
            Kind::ConfigInvalid,
            Some(
                "The host cannot give this VM its memory. Stop other VMs, or ask for less: change the memory in the \
             Vagrantfile, or destroy the VM and launch a smaller one.",
            ),
        ))
    } else if has(&["The provider 'libvirt' could not be found"])
        || short(class).starts_with("ProviderNotFound")
    {
        Some((
            Kind::VagrantMissing,
            Some(
                "Vagrant has no libvirt provider on this server. Install the plugin (package \"vagrant-libvirt\", or \
             \"vagrant plugin install vagrant-libvirt\"), then try again.",
            ),
        ))
    } else {
        None
    }
}

fn by_class(class: &str, ended: &CommandResult) -> (Kind, Option<&'static str>) {
    let kind = match short(class) {
        "MachineActionLockedError" | "MachineLocked" | "EnvironmentLockedError" => Kind::Busy,
        "VagrantfileSyntaxError"
        | "VagrantfileLoadError"
        | "VagrantfileNameError"
        | "NoEnvironmentError"
        | "EnvironmentNonExistentCWD" => Kind::VagrantfileBroken,
        "ConfigInvalid" | "ConfigUpgradeErrors" => Kind::ConfigInvalid,
        "DownloaderError" | "DownloaderChecksumError" => Kind::BoxMissing,
        "BoxError"
        | "BadBoxImage"
        | "NoBoxVirtualSizeSet"
        | "NoBoxFormatSet"
        | "WrongBoxFormatSet"
        | "BoxFormatMissingAttribute"
        | "BoxFormatDuplicateVolume" => {
            return (Kind::BoxMissing, Some("The box cannot be used with libvirt. Choose another image."));
        }
        box_error if box_error.starts_with("Box") => Kind::BoxMissing,
        "VMNotCreatedError" | "SSHNotReady" | "NoDomainError" => Kind::NotCreated,
        "DomainVolumeExists" => Kind::DiskExists,
        "DomainNameExists" => Kind::NameTaken,
        "VMBootTimeout" | "NoIpAddressError" => Kind::BootTimeout,
        // Vagrant's own class for errors is what a provisioner's failure comes as, and nothing else was seen to.
        "VagrantError" => Kind::ProvisionerFailed,
        "VagrantInterrupt" => Kind::Interrupted,
        "SCPUnavailable" => {
            return (
                Kind::Other,
                Some(
                    "The box has no scp, which Vagrant needs to set it up. Choose another image, or add scp to the box.",
                ),
            );
        }
        "SSHAuthenticationFailed" => {
            return (
                Kind::Other,
                Some(
                    "The VM came up, but does not accept the key that Vagrant has. Destroy it and launch it again.",
                ),
            );
        }
        "" => return without_class(ended),
        _ => Kind::Other,
    };
    (kind, None)
}

/// No machine-readable error at all: a signal, a Vagrantfile that cannot be read, or a backtrace.
fn without_class(ended: &CommandResult) -> (Kind, Option<&'static str>) {
    let early = ended.stderr.contains("Vagrant failed to initialize at a very early stage");
    let in_vagrantfile = ended.stderr.lines().any(|line| line.contains("Vagrantfile:"));
    let kind = if ended.status.is_none_or(|status| matches!(status, 130 | 137 | 143)) {
        Kind::Interrupted
    } else if (early && ended.stderr.contains("Vagrantfile")) || in_vagrantfile {
        Kind::VagrantfileBroken
    } else if ended.stderr.contains("Fog::Errors::TimeoutError") {
        Kind::BootTimeout
    } else {
        Kind::Other
    };
    (kind, None)
}

/// What happened and what to do, before any words of Vagrant's own.
pub fn message(kind: MachineErrorKind, context: ErrorContext<'_>) -> String {
    let ErrorContext { vagrant_box, domain_name, libvirt_uri, .. } = context;
    let directory = context.directory.display();
    match kind {
        Kind::VagrantMissing => {
            "Vagrant is not installed on this server. Install the packages \"vagrant\" and \"vagrant-libvirt\", or \
             set the path of the vagrant command in the server's configuration."
                .into()
        }
        Kind::VagrantfileBroken => format!(
            "Vagrant cannot read {directory}/Vagrantfile. Correct it, or delete it to have it written anew from the \
             VM's settings at the next start."
        ),
        Kind::ConfigInvalid => format!(
            "Vagrant refuses a setting in {directory}/Vagrantfile. Correct it, or delete the file to have it written \
             anew from the VM's settings at the next start."
        ),
        Kind::BoxMissing => format!(
            "The box \"{vagrant_box}\" is not on this server and cannot be downloaded. Check its name and the \
             network, or add it with \"vagrant box add\"."
        ),
        Kind::NotCreated => {
            "libvirt has no such VM any more: it was removed from outside. Launch it again, or destroy it.".into()
        }
        Kind::Busy => format!(
            "Another vagrant command holds this VM (in {directory}). Try again when it has ended."
        ),
        Kind::DiskExists => format!(
            "A disk of an earlier VM called {domain_name} is still there. Destroy the VM, which removes that disk, \
             then launch it again."
        ),
        Kind::NameTaken => format!(
            "libvirt has another VM called {domain_name} that does not belong to {directory}. Remove or rename that \
             one (virsh domrename), or give this VM another name."
        ),
        Kind::HypervisorUnreachable => {
            format!("libvirt does not answer at {libvirt_uri}. Start libvirtd, then try again.")
        }
        Kind::BootTimeout => {
            "The VM started, but did not answer over ssh in time. Try again; if it happens again, raise \
             config.vm.boot_timeout in its Vagrantfile or choose another image."
                .into()
        }
        Kind::ProvisionerFailed => {
            "The VM runs, but a command that sets it up failed: the script or the user data that it was launched with, \
             or a provisioner of its Vagrantfile. The operation's output has what it said."
                .into()
        }
        Kind::Interrupted => "The vagrant command was terminated. Try again.".into(),
        Kind::Cancelled => "It was cancelled.".into(),
        Kind::TimedOut => {
            "It timed out. See the end of its output, then try again.".into()
        }
        Kind::DiskFull => {
            "The host's disk is full. Make room where libvirt keeps its images and Vagrant its boxes, then try again."
                .into()
        }
        Kind::Unsupported | Kind::Other => "Vagrant failed.".into(),
    }
}

/// Vagrant's own cause, where it says more than the kind's words.
fn cause(kind: Kind, said: &str, stderr: &str) -> String {
    match kind {
        Kind::VagrantfileBroken
        | Kind::ConfigInvalid
        | Kind::BoxMissing
        | Kind::ProvisionerFailed
        | Kind::Other => quote(said, stderr),
        _ => String::new(),
    }
}

const QUOTED_CHARS: usize = 300;

/// ` It said: …`: the first words of what Vagrant said, in one line.
fn quote(said: &str, stderr: &str) -> String {
    let words = if said.trim().is_empty() { relevant_line(stderr) } else { said };
    let mut line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return String::new();
    }
    if let Some((cut, _)) = line.char_indices().nth(QUOTED_CHARS) {
        line.truncate(cut);
        line.push('…');
    }
    format!(" It said: {line}")
}

/// The part of a backtrace or of an early failure that says something.
fn relevant_line(stderr: &str) -> &str {
    if let Some((_, after)) = stderr.split_once("at a very early stage:") {
        return after;
    }
    let mut lines = stderr.lines().filter(|line| !line.trim().is_empty());
    let relevant = lines
        .clone()
        .find(|line| line.contains("Error") || line.contains("error"))
        .or_else(|| lines.next())
        .unwrap_or("");
    // Ruby puts the place in front: `file:7:in `name': what happened`.
    match relevant.split_once(":in `") {
        Some((_, rest)) => rest.split_once("': ").map_or(relevant, |(_, what)| what),
        None => relevant,
    }
}

const DETAIL_BYTES: usize = 4096;

fn detail(ended: &CommandResult, class: &str, said: &str) -> String {
    let status = ended.status.map_or("ended by a signal".into(), |status| format!("exit status {status}"));
    let mut detail = format!("{status}; {class}: {said}\n{}", ended.stderr);
    detail.truncate(detail.floor_char_boundary(DETAIL_BYTES));
    detail
}

/// `Vagrant::Errors::VMBootTimeout` → `VMBootTimeout`.
fn short(class: &str) -> &str {
    class.rsplit("::").next().unwrap_or(class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context() -> ErrorContext<'static> {
        ErrorContext {
            directory: Path::new("/vms/user1-web-1"),
            vagrant_box: "generic/debian12",
            domain_name: "twarga-user1-web-1_default",
            libvirt_uri: "qemu:///system",
        }
    }

    fn with_class(class: &str, text: &str) -> MachineError {
        let ended = CommandResult {
            status: Some(1),
            error_exit: Some((class.into(), text.into())),
            errors: text.into(),
            stderr: String::new(),
        };
        classify(&ended, context())
    }

    fn with_stderr(status: Option<i32>, stderr: &str) -> MachineError {
        classify(&CommandResult { status, stderr: stderr.into(), ..CommandResult::default() }, context())
    }

    #[test]
    fn a_syntax_error_in_the_vagrantfile_names_the_file() {
        let error = with_stderr(
            Some(1),
            "Vagrant failed to initialize at a very early stage:\n\nThere is a syntax error in the following \
             Vagrantfile. The syntax error\nmessage is reproduced below for convenience:\n\n\
             /vms/user1-web-1/Vagrantfile:3: syntax error, unexpected end-of-input\n",
        );
        assert_eq!(error.kind, Kind::VagrantfileBroken);
        assert!(
            error.text.contains("/vms/user1-web-1/Vagrantfile. Correct it, or delete it"),
            "{}",
            error.text
        );
        assert!(error.text.contains("It said: There is a syntax error"), "{}", error.text);
    }

    #[test]
    fn a_raise_in_the_vagrantfile_is_known_from_its_backtrace() {
        let error = with_stderr(
            Some(1),
            "/vms/user1-web-1/Vagrantfile:2:in `block in <top (required)>': no such thing (RuntimeError)\n\
             \tfrom /usr/share/vagrant/lib/vagrant/config/v2/loader.rb:37:in `load'\n",
        );
        assert_eq!(error.kind, Kind::VagrantfileBroken);
        assert!(error.text.ends_with("It said: no such thing (RuntimeError)"), "{}", error.text);
    }

    #[test]
    fn too_much_memory_is_a_matter_of_the_settings() {
        let error = with_stderr(
            Some(1),
            "/usr/lib/ruby/vendor_ruby/fog/libvirt/requests/compute/vm_action.rb:7:in `create': Call to \
             virDomainCreateWithFlags failed: internal error: process exited while connecting to monitor: \
             qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory (Libvirt::Error)\n",
        );
        assert_eq!(error.kind, Kind::ConfigInvalid);
        assert!(error.text.contains("less"), "{}", error.text);
    }

    #[test]
    fn every_class_that_was_seen_has_its_kind() {
        for (class, kind) in [
            ("Vagrant::Errors::ConfigInvalid", Kind::ConfigInvalid),
            ("Vagrant::Errors::DownloaderError", Kind::BoxMissing),
            ("Vagrant::Errors::BoxAddShortNotFound", Kind::BoxMissing),
            ("Vagrant::Errors::BoxNotFoundWithProvider", Kind::BoxMissing),
            ("Vagrant::Errors::NoEnvironmentError", Kind::VagrantfileBroken),
            ("Vagrant::Errors::VagrantfileLoadError", Kind::VagrantfileBroken),
            ("Vagrant::Errors::VMNotCreatedError", Kind::NotCreated),
            ("Vagrant::Errors::SSHNotReady", Kind::NotCreated),
            ("Vagrant::Errors::MachineActionLockedError", Kind::Busy),
            ("VagrantPlugins::ProviderLibvirt::Errors::DomainVolumeExists", Kind::DiskExists),
            ("VagrantPlugins::ProviderLibvirt::Errors::DomainNameExists", Kind::NameTaken),
            (
                "VagrantPlugins::ProviderLibvirt::Errors::FogLibvirtConnectionError",
                Kind::HypervisorUnreachable,
            ),
            ("Vagrant::Errors::VMBootTimeout", Kind::BootTimeout),
            ("Vagrant::Errors::VagrantError", Kind::ProvisionerFailed),
            ("Vagrant::Errors::VagrantInterrupt", Kind::Interrupted),
            ("Vagrant::Errors::ProviderNotFound", Kind::VagrantMissing),
            ("Vagrant::Errors::SCPUnavailable", Kind::Other),
            ("Vagrant::Errors::SomethingNew", Kind::Other),
        ] {
            assert_eq!(with_class(class, "Something is wrong.").kind, kind, "{class}");
        }
    }

    #[test]
    fn texts_name_what_helps() {
        assert!(with_class("Vagrant::Errors::BoxAddShortNotFound", "x").text.contains("generic/debian12"));
        let taken = with_class("X::DomainNameExists", "x");
        assert!(taken.text.contains("twarga-user1-web-1_default") && taken.text.contains("/vms/user1-web-1"));
        let unreachable = with_class("X::FogLibvirtConnectionError", "Error while connecting to Libvirt: x");
        assert!(unreachable.text.contains("qemu:///system") && unreachable.text.contains("Start libvirtd"));
    }

    #[test]
    fn being_denied_differs_from_libvirt_being_down() {
        let error = with_class(
            "VagrantPlugins::ProviderLibvirt::Errors::FogLibvirtConnectionError",
            "Error while connecting to Libvirt: Error making a connection to libvirt URI qemu:///system:\nCall to \
             virConnectOpen failed: Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
        );
        assert_eq!(error.kind, Kind::HypervisorUnreachable);
        assert!(error.text.contains("group \"libvirt\""), "{}", error.text);
    }

    #[test]
    fn a_full_disk_is_known_whatever_class_it_comes_under() {
        for class in ["Vagrant::Errors::DownloaderError", "X::FogCreateDomainVolumeError"] {
            assert_eq!(
                with_class(class, "cannot write: No space left on device").kind,
                Kind::DiskFull,
                "{class}"
            );
        }
        assert_eq!(with_stderr(Some(1), "Errno::ENOSPC: No space left on device").kind, Kind::DiskFull);
    }

    #[test]
    fn half_a_box_image_is_to_be_removed() {
        let class = "VagrantPlugins::ProviderLibvirt::Errors::ImageUploadError";
        let error = with_class(class, "Error while uploading image to storage pool: No space left on device");
        assert_eq!(error.kind, Kind::DiskFull);
        assert!(error.text.contains("virsh vol-delete"), "{}", error.text);
    }

    #[test]
    fn a_host_without_kvm_is_pointed_to_emulation() {
        let error = with_class(
            "VagrantPlugins::ProviderLibvirt::Errors::DomainStartError",
            "Failed to start domain: internal error: process exited while connecting to monitor: Could not access KVM \
             kernel module: No such file or directory",
        );
        assert!(error.text.contains("\"qemu\""), "{}", error.text);
    }

    #[test]
    fn a_start_that_libvirt_rejects_is_reported_in_its_words() {
        let error = with_class(
            "VagrantPlugins::ProviderLibvirt::Errors::DomainStartError",
            "Failed to start domain: why",
        );
        assert_eq!(
            (error.kind, error.text.as_str()),
            (Kind::Other, "Vagrant failed. It said: Failed to start domain: why")
        );
    }

    #[test]
    fn a_signal_is_an_interruption() {
        assert_eq!(with_stderr(None, "").kind, Kind::Interrupted);
        assert_eq!(with_stderr(Some(143), "").kind, Kind::Interrupted);
        assert_eq!(with_stderr(Some(1), "").kind, Kind::Other);
    }

    #[test]
    fn the_log_gets_class_and_last_words() {
        let error = with_class("Vagrant::Errors::VMBootTimeout", "Timed out");
        assert!(error.detail.starts_with("exit status 1; Vagrant::Errors::VMBootTimeout: Timed out"));
    }

    proptest! {
        #[test]
        fn whatever_it_says_the_text_stays_short(
            status in any::<Option<i32>>(),
            class in "\\PC{0,40}",
            said in "\\PC{0,2000}",
            stderr in "\\PC{0,6000}",
        ) {
            let error_exit = Some((class, said.clone()));
            let error = classify(&CommandResult { status, error_exit, errors: said, stderr }, context());
            prop_assert!(error.text.chars().count() < 800);
            prop_assert!(error.detail.len() <= DETAIL_BYTES);
        }
    }
}
