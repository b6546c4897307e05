//! Turns the output of a failed `vagrant` run into a [`MachineError`]: what happened and what to do.
//!
//! Pure. Vagrant reports errors in three ways: an `error-exit` record with a class (most errors), a sentence on stderr
//! (a Vagrantfile with a syntax error, found before machine-readable output is set up), or a Ruby backtrace on stderr
//! (unexpected errors). Only these words of the error itself are searched for phrases, such as that of a full disk: the
//! rest of the output is what a guest, a provisioner or a trigger printed. An error that comes from inside the guest says
//! nothing about the host.
//!
//! A user may have written the Vagrantfile, and a VM's disk holds their data: no text advises to delete a file or to
//! destroy a VM without saying what to save first.

use super::vagrantfile::{LOCAL_FILE, VAGRANTFILE, domain_name};
use crate::server::provider::{Machine, MachineError, MachineErrorKind};
use std::path::PathBuf;

/// How a run of `vagrant` that did not succeed ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandResult {
    /// The exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Class and text of the last `error-exit` record.
    pub error_exit: Option<(String, String)>,
    /// The texts of `ui,error` records, joined by line breaks.
    pub errors: String,
    /// The same of `ui,warn` records.
    pub warnings: String,
    /// The end of stderr.
    pub stderr: String,
}

/// What the texts name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorContext<'a> {
    pub machine: &'a Machine,
    pub libvirt_uri: &'a str,
}

impl ErrorContext<'_> {
    /// Whether the VM was launched here, with a Vagrantfile that the server can write again.
    fn is_ours(self) -> bool {
        self.machine.project.is_none()
    }

    fn provider(&self) -> &str {
        self.machine.project.as_ref().map_or("libvirt", |project| &project.provider)
    }

    fn directory(&self) -> std::path::Display<'_> {
        self.machine.vagrant_directory().display()
    }

    /// The names that the machine's Vagrantfile may have, the likeliest first.
    fn vagrantfile_names(&self) -> Vec<&str> {
        match &self.machine.project {
            None => vec![VAGRANTFILE, LOCAL_FILE],
            Some(project) => match &project.vagrantfile {
                Some(name) => vec![name],
                None => vec![VAGRANTFILE, "vagrantfile"],
            },
        }
    }

    /// The Vagrantfile that an error's `words` name, or the likeliest.
    fn vagrantfile(&self, words: &str) -> PathBuf {
        let folder = self.machine.vagrant_directory();
        let names = self.vagrantfile_names();
        let is_named = |name: &&&str| {
            let path = folder.join(name).display().to_string();
            words.match_indices(&path).any(|(at, _)| {
                !words[at + path.len()..].starts_with(|c: char| c == '.' || c.is_alphanumeric())
            })
        };
        folder.join(names.iter().find(is_named).unwrap_or(&names[0]))
    }

    /// How to get a working Vagrantfile.
    fn how_to_correct(self) -> &'static str {
        if self.is_ours() {
            "Correct it, or rename it: the next start then writes a new one from the VM's settings."
        } else {
            "It belongs to the imported project: correct it there, then try again."
        }
    }
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
    } else if own_words(ended).contains(gone_between) {
        Some("libvirt was just removing a VM; trying again.")
    } else {
        None
    }
}

/// What went wrong, and the words for it where the kind's own do not fit.
type Cause = (Kind, Option<String>);

/// The class of what went wrong and its words.
pub fn classify(ended: &CommandResult, context: ErrorContext<'_>) -> MachineError {
    let class = ended.error_exit.as_ref().map_or("", |(class, _)| short(class));
    let said = ended.error_exit.as_ref().map_or(ended.errors.as_str(), |(_, text)| text.as_str());
    let words = own_words(ended);
    let by_origin = || {
        if is_in_guest(class, words) { in_guest(class, words) } else { on_host(class, words, context) }
    };
    let (kind, advice) = missing_plugins(ended, context)
        .or_else(|| failed_trigger(class, ended, context))
        .or_else(by_origin)
        .unwrap_or_else(|| by_class(class, ended, context));
    let text = match advice {
        Some(advice) => format!("{advice}{}", quote(said, &ended.stderr)),
        None => message_about(kind, context, words) + &cause(kind, said, &ended.stderr),
    };
    MachineError { kind, text, detail: detail(ended, said) }
}

/// The words of the error itself.
fn own_words(ended: &CommandResult) -> &str {
    match &ended.error_exit {
        Some((_, text)) if !text.trim().is_empty() => text,
        _ => match early_failure(&ended.stderr).or_else(|| exception(&ended.stderr)) {
            Some(words) => words,
            None if ended.stderr.trim().is_empty() => &ended.errors,
            None => &ended.stderr,
        },
    }
}

fn early_failure(stderr: &str) -> Option<&str> {
    stderr.split_once("Vagrant failed to initialize at a very early stage:").map(|(_, after)| after)
}

/// From the head of an uncaught exception to the end of its backtrace: `file:7:in `name': what happened (Class)`.
fn exception(stderr: &str) -> Option<&str> {
    let mut at = 0;
    for line in stderr.split_inclusive('\n') {
        let is_head = line.contains(":in `") || line.contains(":in '");
        if is_head && !line.starts_with(char::is_whitespace) && !line.contains(": warning: ") {
            return Some(&stderr[at..]);
        }
        at += line.len();
    }
    None
}

const DISK_FULL: [&str; 4] =
    ["No space left on device", "Disk quota exceeded", "not enough free space", "VERR_DISK_FULL"];
const NO_MEMORY: [&str; 3] =
    ["cannot set up guest memory", "Cannot allocate memory", "cannot allocate memory"];

fn has(words: &str, phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| words.contains(phrase))
}

/// Whether the error comes from a command in the guest, or from a transfer into it.
fn is_in_guest(class: &str, words: &str) -> bool {
    // Vagrant's own class for errors is what a failed ssh command comes as.
    class == "VagrantError"
        || ["SSH", "SCP", "RSync", "WinRM"].iter().any(|begin| class.starts_with(begin))
        || class.ends_with("MountFailed")
        || (class.is_empty() && has(words, &["Net::SCP::", "Net::SSH::", "/net/scp"]))
}

fn in_guest(class: &str, words: &str) -> Option<Cause> {
    let kind = if class == "VagrantError" { Kind::ProvisionerFailed } else { Kind::Other };
    let advice = if has(words, &DISK_FULL) {
        "The VM's own disk is full. Free some space inside the VM, then try again."
    } else if has(words, &NO_MEMORY) {
        "The VM ran out of memory. Stop programs inside the VM or give it more memory, then try again."
    } else {
        return None;
    };
    Some((kind, Some(advice.into())))
}

/// Causes on the host that come under several classes or under none.
fn on_host(class: &str, words: &str, context: ErrorContext<'_>) -> Option<Cause> {
    if class == "ImageUploadError" {
        let kind = if has(words, &DISK_FULL) { Kind::DiskFull } else { Kind::Other };
        let image = context.machine.vagrant_box.replace('/', "-VAGRANTSLASH-");
        Some((
            kind,
            Some(format!(
                "The box's image could not be stored in libvirt's pool as a whole. Make room if the disk is full, and \
                 remove the incomplete image before you try again, or VMs made of it would not start: \"virsh vol-list \
                 default\" lists it with a name that begins with \"{image}_vagrant_box_image\", \"virsh vol-delete \
                 --pool default\" and its name removes it."
            )),
        ))
    } else if has(words, &DISK_FULL) {
        Some((Kind::DiskFull, None))
    } else if class == "FogLibvirtConnectionError" || has(words, &["Libvirt::ConnectionError"]) {
        let denied = has(
            words,
            &["Permission denied", "authentication unavailable", "authentication failed", "access denied"],
        );
        let advice = "libvirt does not let this server in. Run the server as root or as a user in the group \"libvirt\", \
                      then try again.";
        Some((Kind::HypervisorUnreachable, denied.then(|| advice.into())))
    } else if has(
        words,
        &[
            "Could not access KVM kernel module",
            "KVM is not available",
            "invalid domain type kvm",
            "could not find capabilities for domaintype=kvm",
            "could not get preferred machine for",
        ],
    ) {
        let whose = if context.is_ours() { "server's configuration" } else { "project's Vagrantfile" };
        Some((
            Kind::Other,
            Some(format!(
                "This host cannot run guests with KVM: /dev/kvm is missing, not readable, or without use. Turn on \
                 virtualisation in the firmware, or set the driver to \"qemu\" (software emulation, slow) in the {whose}."
            )),
        ))
    } else if has(words, &NO_MEMORY) {
        let less = if context.is_ours() {
            "give this VM less on its Settings tab".to_owned()
        } else {
            format!("lower the memory in {}", context.vagrantfile(words).display())
        };
        let advice =
            format!("The host cannot give this VM its memory. Stop other VMs, or {less}, then try again.");
        Some((Kind::ConfigInvalid, Some(advice)))
    } else {
        None
    }
}

/// Plugins that the Vagrantfile requires. Vagrant would ask whether to install them, which needs a terminal.
fn missing_plugins(ended: &CommandResult, context: ErrorContext<'_>) -> Option<Cause> {
    let lists = [
        (&*ended.warnings, "project local plugins configured for this\nproject which are not installed."),
        (own_words(ended), "following plugins are currently missing:"),
    ];
    let listed = lists.into_iter().find_map(|(text, begin)| Some(text.split_once(begin)?.1))?;
    let names: Vec<&str> = listed
        .trim_start()
        .lines()
        .map_while(|line| Some(line.trim()).filter(|line| !line.is_empty()))
        .flat_map(|line| line.split([',', ' ']))
        .filter(|name| is_name(name))
        .take(5)
        .collect();
    let text = format!(
        "The project needs Vagrant plugins that are not installed: {}. Run \"vagrant plugin install --local\" in {} as \
         the server's user, then try again.",
        names.join(", "),
        context.directory()
    );
    (!names.is_empty()).then_some((Kind::VagrantMissing, Some(text)))
}

/// Names of plugins, providers and configuration sections.
fn is_name(text: &str) -> bool {
    (1..=60).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Triggers run in Vagrant itself (the backtrace of `ruby` leads through the Vagrantfile), on the host (`run`) or in the
/// guest (`run_remote`); `abort` ends Vagrant without an error.
fn failed_trigger(class: &str, ended: &CommandResult, context: ErrorContext<'_>) -> Option<Cause> {
    let words = own_words(ended);
    let in_ruby = class.is_empty()
        && exception(&ended.stderr).is_some_and(|backtrace| backtrace.contains("plugin/v2/trigger.rb:"));
    let aborted = class.is_empty()
        && ended.stderr.trim().is_empty()
        && ended.warnings.trim_end().ends_with("configured to abort. Terminating now...");
    // Otherwise the trigger's failure was to be ignored, and something else went wrong later.
    let just_before = || {
        let before = ended.errors.trim_end().strip_suffix(words.trim_end())?;
        before.trim_end().ends_with("Trigger run failed").then_some(())
    };
    let is_trigger = match class {
        "TriggersNoBlockGiven" => false,
        _ => {
            class.starts_with("Triggers")
                || in_ruby
                || aborted
                || (!class.is_empty() && just_before().is_some())
        }
    };
    is_trigger.then(|| {
        let file = context.vagrantfile(words);
        let text = format!(
            "A trigger in {} failed, so Vagrant stopped. The operation's output shows what it printed. Correct what the \
             trigger needs, then try again.",
            file.display()
        );
        (Kind::TriggerFailed, Some(text))
    })
}

fn by_class(class: &str, ended: &CommandResult, context: ErrorContext<'_>) -> Cause {
    let words = own_words(ended);
    let kind = match class {
        "MachineActionLockedError" | "MachineLocked" | "EnvironmentLockedError" => Kind::Busy,
        "VagrantfileSyntaxError"
        | "VagrantfileLoadError"
        | "VagrantfileNameError"
        | "TriggersNoBlockGiven"
        | "NoEnvironmentError"
        | "EnvironmentNonExistentCWD" => Kind::VagrantfileBroken,
        "ConfigInvalid" | "ConfigUpgradeErrors" => {
            return (Kind::ConfigInvalid, unknown_section(words, context));
        }
        "DownloaderError" | "DownloaderChecksumError" => Kind::BoxMissing,
        "BoxError"
        | "BadBoxImage"
        | "NoBoxVirtualSizeSet"
        | "NoBoxFormatSet"
        | "WrongBoxFormatSet"
        | "BoxFormatMissingAttribute"
        | "BoxFormatDuplicateVolume" => {
            let advice = "The box cannot be used with libvirt. Choose another image.";
            return (Kind::BoxMissing, Some(advice.into()));
        }
        box_error if box_error.starts_with("Box") => Kind::BoxMissing,
        "VMNotCreatedError" | "SSHNotReady" | "NoDomainError" => Kind::NotCreated,
        "DomainVolumeExists" => Kind::DiskExists,
        "DomainNameExists" => Kind::NameTaken,
        "VMBootTimeout" | "NoIpAddressError" => Kind::BootTimeout,
        "VagrantError" => Kind::ProvisionerFailed,
        "VagrantInterrupt" => Kind::Interrupted,
        provider if provider.starts_with("ProviderNotFound") => {
            return (Kind::VagrantMissing, Some(missing_provider(words, context)));
        }
        "ProviderNotUsable" | "NoDefaultProvider" | "VBoxManageNotFoundError" | "VirtualBoxNotDetected" => {
            let name = named_provider(words).unwrap_or(context.provider());
            let advice = format!(
                "The provider \"{name}\" cannot be used on this server. Install or repair what it needs, then try again."
            );
            return (Kind::VagrantMissing, Some(advice));
        }
        "SCPUnavailable" => {
            let advice = "The VM has no scp, which Vagrant needs to set it up. Add scp to it or to its box, then try again.";
            return (Kind::Other, Some(advice.into()));
        }
        "SSHAuthenticationFailed" => {
            let advice = "The VM started, but does not accept the key that Vagrant has. Add Vagrant's public key to \
                          the file .ssh/authorized_keys of the VM's ssh user (on its console), then try again.";
            return (Kind::Other, Some(advice.into()));
        }
        "" => return without_class(ended, context),
        _ => Kind::Other,
    };
    (kind, None)
}

/// A section that no installed plugin knows. By convention `disksize` belongs to vagrant-disksize.
fn unknown_section(words: &str, context: ErrorContext<'_>) -> Option<String> {
    let name = words.split_once("Unknown configuration section '")?.1.split('\'').next()?;
    let file = context.vagrantfile(words);
    is_name(name).then(|| {
        format!(
            "{} uses \"config.{name}\", which belongs to a Vagrant plugin that is not installed. Install it, usually with \
             \"vagrant plugin install vagrant-{name}\" as the server's user, then try again.",
            file.display()
        )
    })
}

fn named_provider(words: &str) -> Option<&str> {
    words.split_once("The provider '")?.1.split('\'').next().filter(|name| is_name(name))
}

fn missing_provider(words: &str, context: ErrorContext<'_>) -> String {
    let name = named_provider(words).unwrap_or(context.provider());
    let plugin = match name {
        "libvirt" => "package \"vagrant-libvirt\", or \"vagrant plugin install vagrant-libvirt\"".to_owned(),
        _ if name.starts_with("vmware") => "\"vagrant plugin install vagrant-vmware-desktop\"".to_owned(),
        _ => format!("usually \"vagrant plugin install vagrant-{name}\""),
    };
    format!(
        "Vagrant has no provider \"{name}\" on this server. Install its plugin ({plugin}), then try again."
    )
}

/// No machine-readable error at all: a signal, a Vagrantfile that cannot be read, or a backtrace.
fn without_class(ended: &CommandResult, context: ErrorContext<'_>) -> Cause {
    // What is printed besides, such as a warning of Ruby about a line of the Vagrantfile, is not what went wrong.
    let names_vagrantfile = early_failure(&ended.stderr).is_some_and(|words| words.contains("Vagrantfile"))
        || exception(&ended.stderr).is_some_and(|backtrace| {
            context.vagrantfile_names().iter().any(|name| backtrace.contains(&format!("/{name}:")))
        });
    let kind = if ended.status.is_none_or(|status| matches!(status, 130 | 137 | 143)) {
        Kind::Interrupted
    } else if names_vagrantfile {
        Kind::VagrantfileBroken
    } else if own_words(ended).contains("Fog::Errors::TimeoutError") {
        Kind::BootTimeout
    } else {
        Kind::Other
    };
    (kind, None)
}

/// What happened and what to do, before any words of Vagrant's own.
pub fn message(kind: MachineErrorKind, context: ErrorContext<'_>) -> String {
    message_about(kind, context, "")
}

fn message_about(kind: Kind, context: ErrorContext<'_>, words: &str) -> String {
    let ErrorContext { machine, libvirt_uri } = context;
    let is_ours = context.is_ours();
    let (directory, provider) = (context.directory(), context.provider());
    let vagrantfile = context.vagrantfile(words);
    let vagrantfile = vagrantfile.display();
    match kind {
        Kind::VagrantMissing => {
            let packages = if provider == "libvirt" {
                "packages \"vagrant\" and \"vagrant-libvirt\"".to_owned()
            } else {
                format!("package \"vagrant\" and what its provider \"{provider}\" needs")
            };
            format!("Vagrant is not installed on this server. Install the {packages}, then try again.")
        }
        Kind::VagrantfileBroken => format!("Vagrant cannot read {vagrantfile}. {}", context.how_to_correct()),
        Kind::ConfigInvalid => {
            format!("Vagrant rejects a setting in {vagrantfile}. {}", context.how_to_correct())
        }
        Kind::BoxMissing => format!(
            "The box \"{}\" is not on this server and cannot be downloaded. Check its name and the \
             network, or add it with \"vagrant box add\".",
            machine.vagrant_box
        ),
        Kind::NotCreated if is_ours => {
            "libvirt no longer has this VM: it was removed outside Twarga Cloud. Its disk may still exist: save what you \
             need, then start the VM to create it again."
                .into()
        }
        Kind::NotCreated => format!(
            "The provider \"{provider}\" no longer has this machine: it was removed outside Twarga Cloud. Start the VM \
             to have Vagrant recreate it from {vagrantfile}, or stop managing it."
        ),
        Kind::Busy => format!(
            "Another vagrant command holds this VM (in {directory}). Try again when it has ended."
        ),
        Kind::DiskExists if is_ours => format!(
            "A disk of an earlier VM called {} is still there. Save what you need from it. Then destroy this VM, which \
             removes that disk, or have an admin rename the disk and try again.",
            domain_name(machine)
        ),
        Kind::DiskExists => format!(
            "libvirt already has a disk with the name that {vagrantfile} asks for. Find out whose it is, and move it or \
             choose another name in the project, then try again."
        ),
        Kind::NameTaken if is_ours => format!(
            "libvirt has another VM called {} that does not belong to {directory}. Rename that \
             one (virsh domrename), or give this VM another name.",
            domain_name(machine)
        ),
        Kind::NameTaken => format!(
            "libvirt already has another VM with the name that {vagrantfile} asks for. Rename that one (virsh domrename), \
             or choose another name in the project."
        ),
        Kind::HypervisorUnreachable => {
            format!("libvirt does not answer at {libvirt_uri}. Start libvirtd, then try again.")
        }
        Kind::BootTimeout => format!(
            "The VM started, but did not answer over ssh in time. Try again; if it happens again, raise \
             config.vm.boot_timeout in {}.",
            if is_ours { format!("{directory}/{LOCAL_FILE}") } else { vagrantfile.to_string() }
        ),
        Kind::ProvisionerFailed => {
            let what = if is_ours {
                "the script or the user data that it was launched with, or a provisioner of its Vagrantfile".to_owned()
            } else {
                format!("a provisioner of {vagrantfile}")
            };
            format!(
                "The VM runs, but a command that sets it up failed: {what}. The operation's output has what it said."
            )
        }
        Kind::TriggerFailed => {
            format!("A trigger in {vagrantfile} failed, so Vagrant stopped. Correct what it needs, then try again.")
        }
        Kind::Interrupted => "The vagrant command was terminated. Try again.".into(),
        Kind::Cancelled => "It was cancelled.".into(),
        Kind::TimedOut => {
            "It timed out. See the end of its output, then try again.".into()
        }
        Kind::DiskFull => format!(
            "The host's disk is full. Make room where {provider} keeps its images and Vagrant its boxes, then try again."
        ),
        Kind::Unsupported | Kind::Other => "Vagrant failed.".into(),
    }
}

/// Vagrant's own cause, where it says more than the kind's words.
fn cause(kind: Kind, said: &str, stderr: &str) -> String {
    match kind {
        Kind::VagrantfileBroken
        | Kind::ConfigInvalid
        | Kind::BoxMissing
        | Kind::DiskExists
        | Kind::NameTaken
        | Kind::ProvisionerFailed
        | Kind::Other => quote(said, stderr),
        _ => String::new(),
    }
}

const QUOTED_CHARS: usize = 300;

/// ` It said: …`: what Vagrant said, in one line; of a longer text the line that says what went wrong.
fn quote(said: &str, stderr: &str) -> String {
    let words = if said.trim().is_empty() { relevant_part(stderr) } else { said };
    let mut line = in_one_line(words);
    if line.chars().count() > QUOTED_CHARS {
        line = in_one_line(last_relevant_line(words));
    }
    if line.is_empty() {
        return String::new();
    }
    if let Some((cut, _)) = line.char_indices().nth(QUOTED_CHARS) {
        line.truncate(cut);
        line.push('…');
    }
    format!(" It said: {line}")
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Long texts begin with an explanation and a command, and end with what the command said.
fn last_relevant_line(words: &str) -> &str {
    let lines = || {
        words.lines().map(str::trim).rev().filter(|line| {
            // VBoxManage adds these to each error.
            let own = line.trim_start_matches("VBoxManage: error: ");
            !own.is_empty() && !own.starts_with("Details: code") && !own.starts_with("Context: ")
        })
    };
    let names_error = |line: &&str| has(line, &["error:", "Error:", "syntax error,", "Message: "]);
    lines().find(names_error).or_else(|| lines().next()).unwrap_or("")
}

/// The part of a backtrace or of an early failure that says something.
fn relevant_part(stderr: &str) -> &str {
    if let Some(after) = early_failure(stderr) {
        return after;
    }
    let mut lines = exception(stderr).unwrap_or(stderr).lines().filter(|line| !line.trim().is_empty());
    let relevant = lines
        .clone()
        .find(|line| line.contains("Error") || line.contains("error"))
        .or_else(|| lines.next())
        .unwrap_or("");
    // Ruby puts the place in front: `file:7:in `name': what happened`.
    match relevant.split_once(":in `").or_else(|| relevant.split_once(":in '")) {
        Some((_, rest)) => rest.split_once("': ").map_or(relevant, |(_, what)| what),
        None => relevant,
    }
}

const DETAIL_BYTES: usize = 4096;

fn detail(ended: &CommandResult, said: &str) -> String {
    let class = ended.error_exit.as_ref().map_or("", |(class, _)| class.as_str());
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
    use crate::server::provider::Project;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static OURS: LazyLock<Machine> = LazyLock::new(|| Machine::example("web-1", "/vms/user1-web-1"));
    static IMPORTED: LazyLock<Machine> = LazyLock::new(|| imported(None, "virtualbox"));

    fn imported(vagrantfile: Option<&str>, provider: &str) -> Machine {
        let project = Project {
            directory: "/home/ada/shop".into(),
            vagrantfile: vagrantfile.map(str::to_owned),
            data_directory: "/home/ada/shop/.vagrant".into(),
            machine: "db".into(),
            provider: provider.into(),
            is_indexed: true,
        };
        Machine { project: Some(project), ..OURS.clone() }
    }

    fn context_of(machine: &Machine) -> ErrorContext<'_> {
        ErrorContext { machine, libvirt_uri: "qemu:///system" }
    }

    fn context() -> ErrorContext<'static> {
        context_of(&OURS)
    }

    fn ended_with(class: &str, text: &str) -> CommandResult {
        CommandResult {
            status: Some(1),
            error_exit: Some((class.into(), text.into())),
            errors: text.into(),
            ..CommandResult::default()
        }
    }

    fn with_class(class: &str, text: &str) -> MachineError {
        classify(&ended_with(class, text), context())
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
            error.text.contains("/vms/user1-web-1/Vagrantfile. Correct it, or rename it"),
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

    const KINDS: [Kind; 17] = [
        Kind::VagrantMissing,
        Kind::VagrantfileBroken,
        Kind::ConfigInvalid,
        Kind::BoxMissing,
        Kind::NotCreated,
        Kind::Busy,
        Kind::DiskExists,
        Kind::NameTaken,
        Kind::HypervisorUnreachable,
        Kind::BootTimeout,
        Kind::ProvisionerFailed,
        Kind::TriggerFailed,
        Kind::Interrupted,
        Kind::Cancelled,
        Kind::TimedOut,
        Kind::DiskFull,
        Kind::Other,
    ];

    #[test]
    fn an_imported_projects_owner_is_never_advised_to_delete_launch_or_destroy() {
        for name in [None, Some("Vagrantfile.shop"), Some("cluster.rb")] {
            let machine = imported(name, "virtualbox");
            let mut texts: Vec<_> = KINDS.map(|kind| message(kind, context_of(&machine))).into();
            for class in
                ["ConfigInvalid", "VMNotCreatedError", "DomainVolumeExists", "SSHAuthenticationFailed"]
            {
                texts.push(classify(&ended_with(class, "Why."), context_of(&machine)).text);
            }
            texts.push(classify(&ended_with("X", "Cannot allocate memory"), context_of(&machine)).text);
            for text in texts {
                for word in ["elete", "aunch", "estroy", "emove it", "written", "twarga-user"] {
                    assert!(!text.contains(word), "{word}: {text}");
                }
            }
        }
    }

    #[test]
    fn what_was_saved_first_is_the_only_thing_that_may_be_destroyed() {
        for kind in KINDS {
            let text = message(kind, context());
            assert!(!text.contains("elete"), "{text}");
            let destroys = text.find("estroy");
            assert!(destroys.is_none_or(|at| text[..at].contains("Save what you need")), "{text}");
        }
    }

    #[test]
    fn the_vagrantfile_is_named_as_the_project_names_it() {
        let backtrace = |name: &str| {
            format!(
                "/home/ada/shop/{name}:2:in `block in <top (required)>': no such thing (RuntimeError)\n\
                 \tfrom /usr/share/vagrant/lib/vagrant/config/v2/loader.rb:37:in `load'\n"
            )
        };
        for (own, file) in
            [(None, "vagrantfile"), (None, "Vagrantfile"), (Some("Vagrantfile.shop"), "Vagrantfile.shop")]
        {
            let machine = imported(own, "virtualbox");
            let ended =
                CommandResult { status: Some(1), stderr: backtrace(file), ..CommandResult::default() };
            let error = classify(&ended, context_of(&machine));
            assert_eq!(error.kind, Kind::VagrantfileBroken, "{file}");
            assert!(
                error.text.contains(&format!("cannot read /home/ada/shop/{file}. It belongs")),
                "{}",
                error.text
            );
        }
        let local =
            "/vms/user1-web-1/Vagrantfile.local:1:in `<top (required)>': no such thing (RuntimeError)";
        let error = with_stderr(Some(1), local);
        assert_eq!(error.kind, Kind::VagrantfileBroken);
        assert!(error.text.contains("/vms/user1-web-1/Vagrantfile.local."), "{}", error.text);
    }

    #[test]
    fn a_trigger_that_fails_is_not_a_vagrantfile_that_cannot_be_read() {
        let in_ruby = CommandResult {
            status: Some(1),
            stderr: "/home/ada/shop/Vagrantfile:4:in `block (3 levels) in <top (required)>': no backup (RuntimeError)\n\
                     \tfrom /usr/share/vagrant-2.3.4/lib/vagrant/plugin/v2/trigger.rb:359:in `execute_ruby'\n"
                .into(),
            ..CommandResult::default()
        };
        let on_host = ended_with(
            "Vagrant::Errors::TriggersBadExitCodes",
            "A script exited with an unacceptable exit code 3.",
        );
        let said = "The SSH command responded with a non-zero exit status.";
        let in_guest = CommandResult {
            errors: format!("==> db: Trigger run failed\n{said}"),
            ..ended_with("Vagrant::Errors::VagrantError", said)
        };
        let aborted = CommandResult {
            status: Some(1),
            warnings: "==> db: Vagrant has been configured to abort. Terminating now...".into(),
            ..CommandResult::default()
        };
        for ended in [in_ruby, on_host, in_guest, aborted] {
            let error = classify(&ended, context_of(&IMPORTED));
            assert_eq!(error.kind, Kind::TriggerFailed, "{ended:?}");
            assert!(
                error.text.starts_with("A trigger in /home/ada/shop/Vagrantfile failed"),
                "{}",
                error.text
            );
        }
        let ignored = CommandResult {
            errors: "==> db: Trigger run failed\n==> db: exit code 3\nTimed out".into(),
            ..ended_with("Vagrant::Errors::VMBootTimeout", "Timed out")
        };
        assert_eq!(classify(&ignored, context()).kind, Kind::BootTimeout);
    }

    #[test]
    fn a_warning_about_a_line_of_the_vagrantfile_is_not_the_error() {
        let error = with_stderr(
            Some(1),
            "/vms/user1-web-1/Vagrantfile:3: warning: already initialized constant DISK\n\
             /usr/lib/ruby/fog/core.rb:7:in `wait_for': no answer (Fog::Errors::TimeoutError)\n",
        );
        assert_eq!(error.kind, Kind::BootTimeout, "{}", error.text);
    }

    #[test]
    fn what_a_guest_lacks_is_not_said_of_the_host() {
        let ssh = |why: &str| {
            let text = format!(
                "The following SSH command responded with a non-zero exit status.\nVagrant assumes that this means the \
                 command failed!\n\nStderr from the command:\n\n{why}"
            );
            with_class("Vagrant::Errors::VagrantError", &text)
        };
        let scp = with_stderr(
            Some(1),
            "/usr/share/gems/net-scp-4.0.0/lib/net/scp.rb:398:in `await_response_state': \u{1}scp: /tmp/vagrant-shell: No \
             space left on device (Net::SCP::Error)\n\tfrom /usr/share/gems/net-scp-4.0.0/lib/net/scp.rb:365:in `step'\n",
        );
        let rsync = with_class(
            "Vagrant::Errors::RSyncError",
            "There was an error when attempting to rsync a synced folder.\nError: rsync: write failed on \"/vagrant/x\": \
             No space left on device (28)",
        );
        for error in [scp, rsync, ssh("tar: /tmp/x: No space left on device")] {
            assert_ne!(error.kind, Kind::DiskFull);
            assert!(error.text.starts_with("The VM's own disk is full."), "{}", error.text);
        }
        let error = ssh("bash: fork: Cannot allocate memory");
        assert_eq!(error.kind, Kind::ProvisionerFailed);
        assert!(error.text.starts_with("The VM ran out of memory."), "{}", error.text);
    }

    #[test]
    fn what_was_printed_before_the_error_does_not_classify_it() {
        for printed in ["df: No space left on device", "Cannot allocate memory", "KVM is not available"] {
            let ended = CommandResult {
                errors: format!("{printed}\nTimed out"),
                stderr: format!("warning: {printed}"),
                ..ended_with("Vagrant::Errors::VMBootTimeout", "Timed out")
            };
            assert_eq!(classify(&ended, context()).kind, Kind::BootTimeout, "{printed}");
        }
    }

    #[test]
    fn of_a_long_error_the_line_that_says_why_is_quoted() {
        let vboxmanage = format!(
            "There was an error while executing `VBoxManage`, a CLI used by Vagrant\nfor controlling VirtualBox. The command \
             and stderr is shown below.\n\nCommand: [\"startvm\", \"{}\", \"--type\", \"headless\"]\n\nStderr: VBoxManage: \
             error: The VM session was aborted\nVBoxManage: error: VT-x is disabled in the BIOS (VERR_VMX_MSR_ALL_VMX_DISABLED)\n\
             VBoxManage: error: Details: code NS_ERROR_FAILURE (0x80004005), component SessionMachine\n",
            "6695eb01".repeat(30)
        );
        let download = format!(
            "An error occurred while downloading the remote file. The error\nmessage, if any, is reproduced below. Please \
             fix this error and try\nagain.\n\n{}\nCould not resolve host: vagrantcloud.com",
            "progress ".repeat(40)
        );
        let syntax = format!(
            "Vagrant failed to initialize at a very early stage:\n\nThere is a syntax error in the following Vagrantfile. The \
             syntax error\nmessage is reproduced below for convenience:\n\n/vms/user1-web-1/Vagrantfile:2: syntax error, \
             unexpected end-of-input\n  {}\n             ^\n",
            "x".repeat(300)
        );
        for (error, why) in [
            (
                with_class("Vagrant::Errors::VBoxManageError", &vboxmanage),
                "It said: VBoxManage: error: VT-x is disabled in the BIOS (VERR_VMX_MSR_ALL_VMX_DISABLED)",
            ),
            (
                with_class("Vagrant::Errors::DownloaderError", &download),
                "It said: Could not resolve host: vagrantcloud.com",
            ),
            (
                with_stderr(Some(1), &syntax),
                "It said: /vms/user1-web-1/Vagrantfile:2: syntax error, unexpected end-of-input",
            ),
        ] {
            assert!(error.text.ends_with(why), "{}", error.text);
        }
    }

    #[test]
    fn the_provider_that_is_missing_is_named_with_its_plugin() {
        for (name, plugin) in [
            ("parallels", "vagrant-parallels"),
            ("vmware_desktop", "vagrant-vmware-desktop"),
            ("libvirt", "vagrant-libvirt"),
        ] {
            let text = format!(
                "The provider '{name}' could not be found, but was requested to\nback the machine 'db'. Please use a provider \
                 that exists."
            );
            for class in ["Vagrant::Errors::ProviderNotFound", "Vagrant::Errors::ProviderNotFoundSuggestion"]
            {
                let error = with_class(class, &text);
                assert_eq!(error.kind, Kind::VagrantMissing);
                let install = format!("vagrant plugin install {plugin}\"");
                assert!(error.text.contains(&format!("provider \"{name}\"")), "{}", error.text);
                assert!(error.text.contains(&install), "{}", error.text);
                assert!(name == "libvirt" || !error.text.contains("libvirt"), "{}", error.text);
            }
        }
        let unusable = "The provider 'virtualbox' that was requested to back the machine\n'db' is reporting that it isn't \
                        usable on this system. The\nreason is shown below:\n\nVagrant could not detect VirtualBox!";
        let ended = ended_with("Vagrant::Errors::ProviderNotUsable", unusable);
        let error = classify(&ended, context_of(&IMPORTED));
        assert!(
            error.text.starts_with("The provider \"virtualbox\" cannot be used on this server."),
            "{}",
            error.text
        );
    }

    #[test]
    fn a_plugin_that_the_project_requires_is_named_with_the_command_that_installs_it() {
        let asked = CommandResult {
            status: Some(1),
            warnings: "Vagrant has detected project local plugins configured for this\nproject which are not installed.\n\n  \
                       vagrant-disksize, vagrant-env"
                .into(),
            stderr: "Vagrant failed to initialize at a very early stage:\n\nVagrant is attempting to interface with the UI in \
                     a way that requires\na TTY."
                .into(),
            ..CommandResult::default()
        };
        let listed = with_stderr_of(
            "Vagrant failed to initialize at a very early stage:\n\nVagrant is missing plugins required by the currently \
             loaded Vagrantfile.\nPlease install the configured plugins and run this command again. The\nfollowing plugins \
             are currently missing:\n\n  vagrant-disksize\n  vagrant-env\n\nTo install the plugins configured in the \
             current Vagrantfile run the\nfollowing command:\n\n  vagrant plugin install --local\n",
        );
        for ended in [asked, listed] {
            let error = classify(&ended, context_of(&IMPORTED));
            assert_eq!(error.kind, Kind::VagrantMissing);
            let expected = "not installed: vagrant-disksize, vagrant-env. Run \"vagrant plugin install --local\" in \
                            /home/ada/shop";
            assert!(error.text.contains(expected), "{}", error.text);
        }
        let section = "There are errors in the configuration of this machine. Please fix\nthe following errors and try \
                       again:\n\nVagrant:\n* Unknown configuration section 'disksize'.\n\n";
        let error = classify(&ended_with("Vagrant::Errors::ConfigInvalid", section), context_of(&IMPORTED));
        assert!(error.text.contains("\"vagrant plugin install vagrant-disksize\""), "{}", error.text);
    }

    fn with_stderr_of(stderr: &str) -> CommandResult {
        CommandResult { status: Some(1), stderr: stderr.into(), ..CommandResult::default() }
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
            let warnings = stderr.clone();
            let ended = CommandResult { status, error_exit, errors: said, warnings, stderr };
            let error = classify(&ended, context());
            prop_assert!(error.text.chars().count() < 800);
            prop_assert!(error.detail.len() <= DETAIL_BYTES);
        }
    }
}
