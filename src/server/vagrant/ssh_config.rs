//! Reads what `vagrant ssh-config` prints, which is a part of an OpenSSH configuration:
//!
//! ```text
//! Host default
//!   HostName 192.168.121.30
//!   User vagrant
//!   Port 22
//!   IdentityFile "/srv/my cloud/vms/user1-web/.vagrant/machines/default/libvirt/private_key"
//! ```
//! `IdentityFile` may come several times, or not at all for a machine that Vagrant enters with a password. The parser is
//! pure. A configuration that lacks another required part is `None`.

use super::{
    command, directory::has_vagrantfile, driver::Vagrant, error_classification, task::until,
    vagrantfile::VAGRANTFILE,
};
use crate::server::provider::{GuestAccess, Machine, MachineError, MachineErrorKind, SshConfig};
use async_trait::async_trait;
use std::path::{Path, PathBuf};

/// More are not tried: ssh servers hang up after a few keys that they do not know, OpenSSH after six.
const MAX_KEYS: usize = 6;

impl SshConfig {
    /// Reads the first host of `text`. Without a key, [`SshConfig::identity_files`] is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let settings = settings_of_first_host(text);
        let values = |wanted: &'static str| {
            settings.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
        };
        let value = |wanted| values(wanted).next();
        let mut identity_files: Vec<PathBuf> = Vec::new();
        for file in values("IdentityFile").filter(|file| !file.eq_ignore_ascii_case("none")) {
            if identity_files.len() < MAX_KEYS && !identity_files.iter().any(|known| known == Path::new(file))
            {
                identity_files.push(file.into());
            }
        }
        // Connections through another machine are not supported.
        if value("ProxyCommand").is_some_and(|command| command != "none") || value("ProxyJump").is_some() {
            return None;
        }
        Some(Self {
            host: value("HostName")?.to_owned(),
            port: value("Port").map_or(Some(22), |port| port.parse().ok().filter(|port| *port > 0))?,
            user: value("User")?.to_owned(),
            identity_files,
        })
    }
}

/// Key and value of each line, without quotes.
fn settings_of_first_host(text: &str) -> Vec<(&str, &str)> {
    let settings = text.lines().filter_map(|line| {
        let (key, value) = line.trim().split_once(char::is_whitespace)?;
        let value = value.trim();
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        (!value.is_empty()).then(|| (key, unquoted.unwrap_or(value)))
    });
    let mut hosts = 0;
    settings
        .take_while(|(key, _)| {
            hosts += u32::from(key.eq_ignore_ascii_case("Host"));
            hosts < 2
        })
        .collect()
}

#[async_trait]
impl GuestAccess for Vagrant {
    async fn ssh_config(&self, machine: &Machine) -> Result<SshConfig, MachineError> {
        // Created at the launch; `ssh-config` changes nothing in the folder.
        if let Some(project) = &machine.project {
            has_vagrantfile(project).await?;
        } else if !tokio::fs::try_exists(machine.directory.join(VAGRANTFILE)).await.unwrap_or(false) {
            return Err(MachineError {
                kind: MachineErrorKind::NotCreated,
                text: "The VM's folder holds no Vagrantfile, so nobody knows how to reach the VM over ssh."
                    .into(),
                detail: format!("{} has no {VAGRANTFILE}", machine.directory.display()),
            });
        }
        let limit = self.options.time_limits.ssh_config;
        let command = self.command(&["ssh-config"], machine);
        let outcome = command::run(command, &until(limit), command::Grace::default(), &mut |_: &str| {})
            .await
            .map_err(|error| self.not_started(machine, &error))?;
        if outcome.timed_out {
            return Err(MachineError {
                kind: MachineErrorKind::TimedOut,
                text: "Vagrant did not say in time how to reach the VM over ssh.".into(),
                detail: format!("ssh-config was ended after {} s", limit.as_secs()),
            });
        }
        if !outcome.succeeded {
            return Err(error_classification::classify(&outcome.ended, self.context(machine)));
        }
        let config =
            outcome.ssh_config.as_deref().and_then(SshConfig::parse).ok_or_else(|| MachineError {
                kind: MachineErrorKind::Unsupported,
                text: "Vagrant knows no direct way to reach the VM over ssh.".into(),
                detail: "ssh-config names no host and user, or goes through a proxy".into(),
            })?;
        if config.identity_files.is_empty() {
            return Err(MachineError {
                kind: MachineErrorKind::Unsupported,
                text: "Vagrant signs in to this VM with a password, but the server needs a key: set \
                       config.ssh.private_key_path in its Vagrantfile."
                    .into(),
                detail: "ssh-config names no IdentityFile".into(),
            });
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OUTPUT: &str = "Host default
  HostName 192.168.121.30
  User vagrant
  Port 2222
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  PasswordAuthentication no
  IdentityFile \"/srv/my cloud/private_key\"
  IdentitiesOnly yes
  LogLevel FATAL
";

    #[test]
    fn the_configuration_is_read() {
        let expected = SshConfig {
            host: "192.168.121.30".into(),
            port: 2222,
            user: "vagrant".into(),
            identity_files: vec!["/srv/my cloud/private_key".into()],
        };
        assert_eq!(SshConfig::parse(OUTPUT), Some(expected));
    }

    #[test]
    fn all_keys_of_the_first_host_are_read_in_order() {
        let keys = |more: &str| {
            let text = format!("{OUTPUT}{more}");
            let keys = SshConfig::parse(&text).unwrap().identity_files;
            keys.iter().map(|key| key.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        let first = "/srv/my cloud/private_key";
        assert_eq!(
            keys("  IdentityFile /keys/ed25519\n  IdentityFile \"/keys/rsa\"\n"),
            format!("{first} /keys/ed25519 /keys/rsa")
        );
        assert_eq!(keys(&format!("  IdentityFile {first}\n  IdentityFile none\n")), first);
        assert_eq!(keys("\nHost other\n  IdentityFile /other\n"), first);
        let many: String = (0..50).map(|key| format!("  IdentityFile /{key}\n")).collect();
        assert_eq!(keys(&many), format!("{first} /0 /1 /2 /3 /4"));
    }

    #[test]
    fn without_a_port_it_is_the_usual_one() {
        assert_eq!(SshConfig::parse(&OUTPUT.replace("  Port 2222\n", "")).unwrap().port, 22);
    }

    #[test]
    fn an_incomplete_or_proxied_ssh_config_is_rejected() {
        for lacking in ["HostName", "User "] {
            assert_eq!(SshConfig::parse(&OUTPUT.replace(lacking, "X")), None, "{lacking}");
        }
        assert_eq!(SshConfig::parse(&OUTPUT.replace("2222", "0")), None);
        assert_eq!(SshConfig::parse(&format!("{OUTPUT}  ProxyCommand ssh gate -W %h:%p\n")), None);
    }

    #[test]
    #[ignore = "takes a minute; make test runs it"]
    fn fuzz_parser() {
        crate::server::fuzz::fuzz(&[OUTPUT.as_bytes()], |input| {
            if let Some(config) = SshConfig::parse(&String::from_utf8_lossy(input)) {
                assert!(config.port > 0 && !config.host.is_empty() && !config.user.is_empty(), "{config:?}");
            }
        });
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "((HostName|User|Port|IdentityFile)?[ \t]?\\PC{0,12}\n){0,6}") {
            SshConfig::parse(&text);
        }
    }
}
