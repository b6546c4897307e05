//! Reads Vagrant's index of the machines it has made, `data/machine-index/index` in its home:
//!
//! ```json
//! {"version": 1, "machines": {"0123456789abcdef0123456789abcdef": {
//!   "local_data_path": "/home/ada/shop/.vagrant", "name": "default", "provider": "virtualbox", "state": "running",
//!   "vagrantfile_name": null, "vagrantfile_path": "/home/ada/shop", "extra_data": {"box": {"name": "debian/12"}}
//! }}}
//! ```
//! Only Vagrant updates the entries, with every command that inspects a machine. The parser is pure. Entries that are
//! not understood, or that could be taken for a command-line option, are left out.

use super::{command, directory::has_vagrantfile, driver::Vagrant, error_classification, task::until};
use crate::server::provider::{
    DomainState, IndexedMachine, Machine, MachineError, MachineIndex, Project, ReadError,
};
use async_trait::async_trait;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    io,
    path::{Component, Path},
    sync::PoisonError,
};

#[derive(Deserialize)]
struct File {
    machines: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Entry {
    local_data_path: String,
    name: String,
    provider: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    vagrantfile_name: Names,
    vagrantfile_path: String,
    #[serde(default)]
    extra_data: serde_json::Value,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
    #[default]
    None,
}

/// Reads the index, by id.
///
/// # Errors
/// When this is no index, or a half of one.
pub fn parse(json: &str) -> Result<Vec<IndexedMachine>, serde_json::Error> {
    let file: File = serde_json::from_str(json)?;
    Ok(file.machines.into_iter().filter_map(|(id, entry)| machine(id, entry)).collect())
}

fn machine(id: String, entry: serde_json::Value) -> Option<IndexedMachine> {
    let entry: Entry = serde_json::from_value(entry).ok()?;
    let is_id = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let vagrantfile = match entry.vagrantfile_name {
        Names::One(name) => Some(name),
        Names::Several(names) => names.into_iter().next(),
        Names::None => None,
    };
    let vagrantfile = vagrantfile.filter(|name| !name.is_empty() && name != "Vagrantfile");
    let plain = is_id
        && is_word(&entry.name)
        && is_word(&entry.provider)
        && is_plain_path(&entry.vagrantfile_path)
        && is_plain_path(&entry.local_data_path)
        && vagrantfile
            .as_deref()
            .is_none_or(|name| Path::new(name).file_name().is_some_and(|last| last == name));
    plain.then(|| IndexedMachine {
        project: Project {
            directory: entry.vagrantfile_path.into(),
            vagrantfile,
            data_directory: entry.local_data_path.into(),
            machine: entry.name,
            is_indexed: entry.provider != "libvirt",
            provider: entry.provider,
        },
        state: state(&entry.state),
        vagrant_box: entry.extra_data["box"]["name"].as_str().map(str::to_owned),
        id,
    })
}

/// The providers' names of a machine's states: VirtualBox, VMware, Parallels, Hyper-V, Docker, LXC and libvirt. A machine in
/// transition ("stopping"), and one whose provider cannot tell ("inaccessible"), is `Unknown`.
fn state(word: &str) -> Option<DomainState> {
    match word.replace('_', " ").to_ascii_lowercase().as_str() {
        "running" => Some(DomainState::Running),
        "saved" | "aborted-saved" | "suspended" | "paused" | "frozen" | "pmsuspended" => {
            Some(DomainState::Suspended)
        }
        "poweroff" | "powered off" | "shutoff" | "stopped" | "halted" | "off" | "not running" | "aborted"
        | "crashed" | "exited" | "gurumeditation" | "guru meditation" | "stuck" => Some(DomainState::Stopped),
        "not created" | "terminated" => None,
        _ => Some(DomainState::Unknown),
    }
}

/// Goes into a command as an argument of its own.
fn is_word(text: &str) -> bool {
    (1..=200).contains(&text.len()) && !text.starts_with('-') && !text.chars().any(char::is_control)
}

fn is_plain_path(text: &str) -> bool {
    let path = Path::new(text);
    path.is_absolute() && is_word(text) && !path.components().any(|part| part == Component::ParentDir)
}

#[async_trait]
impl MachineIndex for Vagrant {
    async fn machines(&self) -> Result<Vec<IndexedMachine>, ReadError> {
        let trouble = |detail: String| ReadError {
            text: "Vagrant's index of its machines cannot be read.".into(),
            detail,
        };
        let home = self.options.home.as_ref().ok_or_else(|| trouble("there is no home folder".into()))?;
        let read = tokio::fs::read_to_string(home.join("data/machine-index/index")).await;
        let parsed = match read {
            Ok(json) => parse(&json).map_err(|error| trouble(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(trouble(error.to_string())),
        };
        let mut last = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        match parsed {
            Ok(machines) => {
                *last = Some(machines.clone());
                Ok(machines)
            }
            Err(error) => last.clone().ok_or(error),
        }
    }

    async fn refresh_status(&self, machine: &Machine) -> Result<(), MachineError> {
        if let Some(project) = &machine.project {
            has_vagrantfile(project).await?;
        }
        let until = until(self.options.time_limits.ssh_config);
        let command = self.command(&["status"], machine);
        let outcome = command::run(command, &until, command::Grace::default(), &mut |_: &str| {})
            .await
            .map_err(|error| self.not_started(machine, &error))?;
        if outcome.succeeded {
            return Ok(());
        }
        Err(error_classification::classify(&outcome.ended, self.context(machine)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn entry() -> serde_json::Value {
        json!({
            "local_data_path": "/home/ada/shop/.vagrant", "name": "default", "provider": "virtualbox",
            "state": "running", "vagrantfile_name": null, "vagrantfile_path": "/home/ada/shop", "updated_at": null,
            "extra_data": {"box": {"name": "debian/12", "provider": "virtualbox", "version": "1"}},
        })
    }

    fn parsed(entry: serde_json::Value) -> Vec<IndexedMachine> {
        parse(&json!({"version": 1, "machines": {ID: entry}}).to_string()).unwrap()
    }

    fn with(key: &str, value: serde_json::Value) -> Vec<IndexedMachine> {
        let mut entry = entry();
        entry[key] = value;
        parsed(entry)
    }

    #[test]
    fn an_entry_is_a_machine_with_its_project() {
        let project = Project {
            directory: "/home/ada/shop".into(),
            vagrantfile: None,
            data_directory: "/home/ada/shop/.vagrant".into(),
            machine: "default".into(),
            provider: "virtualbox".into(),
            is_indexed: true,
        };
        let state = Some(DomainState::Running);
        let machine = IndexedMachine { id: ID.into(), project, state, vagrant_box: Some("debian/12".into()) };
        assert_eq!(parsed(entry()), [machine]);
    }

    #[test]
    fn a_machine_of_libvirts_takes_its_state_from_libvirt() {
        assert!(!with("provider", json!("libvirt"))[0].project.is_indexed);
    }

    #[test]
    fn the_providers_words_are_states() {
        let state = |word: &str| with("state", json!(word))[0].state;
        assert_eq!(state("poweroff"), Some(DomainState::Stopped));
        assert_eq!(state("saved"), Some(DomainState::Suspended));
        assert_eq!(state("not created"), None);
        assert_eq!(state("not running"), Some(DomainState::Stopped));
        assert_eq!(state("not_running"), Some(DomainState::Stopped));
        assert_eq!(state("aborted-saved"), Some(DomainState::Suspended));
        for unknown in ["inaccessible", "preparing", "stopping", "host_state_unknown", "on fire", ""] {
            assert_eq!(state(unknown), Some(DomainState::Unknown), "{unknown}");
        }
    }

    #[test]
    fn a_vagrantfile_with_a_name_of_its_own_keeps_it() {
        let name = |names| with("vagrantfile_name", names)[0].project.vagrantfile.clone();
        assert_eq!(name(json!(["Vagrantfile.shop"])).as_deref(), Some("Vagrantfile.shop"));
        assert_eq!(name(json!("Vagrantfile")), None);
    }

    #[test]
    fn what_could_be_an_option_or_lead_elsewhere_is_left_out() {
        for (key, value) in [
            ("name", "-f"),
            ("name", ""),
            ("provider", "--debug"),
            ("vagrantfile_path", "shop"),
            ("vagrantfile_path", "/home/../etc"),
            ("local_data_path", "/x\n"),
            ("vagrantfile_name", "../Vagrantfile"),
        ] {
            assert_eq!(with(key, json!(value)), [], "{key} = {value}");
        }
        let no_id = json!({"version": 1, "machines": {"--force": entry()}});
        assert_eq!(parse(&no_id.to_string()).unwrap(), []);
    }

    #[test]
    fn half_an_index_is_an_error_and_not_an_empty_one() {
        let whole = json!({"version": 1, "machines": {ID: entry()}}).to_string();
        assert!(parse(&whole[..whole.len() / 2]).is_err());
        assert!(parse("").is_err());
    }

    #[test]
    #[ignore = "takes a minute; make test runs it"]
    fn fuzz_parser() {
        let whole = json!({"version": 1, "machines": {ID: entry()}}).to_string();
        crate::server::fuzz::fuzz(&[whole.as_bytes()], |input| {
            for machine in parse(&String::from_utf8_lossy(input)).unwrap_or_default() {
                assert!(machine.project.directory.is_absolute() && !machine.project.machine.starts_with('-'));
            }
        });
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(text in "\\PC*", name in "\\PC*") {
            let _ = parse(&text);
            let _ = with("name", json!(name));
        }
    }
}
