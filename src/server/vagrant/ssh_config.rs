//! Reads what `vagrant ssh-config` prints, which is a part of an OpenSSH configuration:
//!
//! ```text
//! Host default
//!   HostName 192.168.121.30
//!   User vagrant
//!   Port 22
//!   IdentityFile "/srv/my cloud/vms/user1-web/.vagrant/machines/default/libvirt/private_key"
//! ```
//! The parser is pure. A configuration that lacks a required part is `None`.

use super::{
    command, directory::has_vagrantfile, driver::Vagrant, error_classification, task::until,
    vagrantfile::VAGRANTFILE,
};
use crate::server::provider::{GuestAccess, Machine, MachineError, MachineErrorKind, SshConfig};
use async_trait::async_trait;

impl SshConfig {
    /// Reads the first host of `text`.
    pub fn parse(text: &str) -> Option<Self> {
        let value = |wanted: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.trim().split_once(char::is_whitespace)?;
                let value = value.trim();
                let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                (key.eq_ignore_ascii_case(wanted) && !value.is_empty()).then(|| unquoted.unwrap_or(value))
            })
        };
        // Connections through another machine are not supported.
        if value("ProxyCommand").is_some_and(|command| command != "none") || value("ProxyJump").is_some() {
            return None;
        }
        Some(Self {
            host: value("HostName")?.to_owned(),
            port: value("Port").map_or(Some(22), |port| port.parse().ok().filter(|port| *port > 0))?,
            user: value("User")?.to_owned(),
            identity_file: value("IdentityFile")?.into(),
        })
    }
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
        outcome.ssh_config.as_deref().and_then(SshConfig::parse).ok_or_else(|| MachineError {
            kind: MachineErrorKind::Other,
            text: "Vagrant knows no direct way to reach the VM over ssh.".into(),
            detail: "ssh-config names no host, user and key, or goes through a proxy".into(),
        })
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
            identity_file: "/srv/my cloud/private_key".into(),
        };
        assert_eq!(SshConfig::parse(OUTPUT), Some(expected));
    }

    #[test]
    fn of_several_keys_the_first_counts_and_no_port_is_the_usual_one() {
        let text = OUTPUT.replace("  Port 2222\n", "").replace("IdentitiesOnly yes", "IdentityFile /other");
        let config = SshConfig::parse(&text).unwrap();
        assert_eq!((config.port, config.identity_file.to_str()), (22, Some("/srv/my cloud/private_key")));
    }

    #[test]
    fn an_incomplete_or_proxied_ssh_config_is_rejected() {
        for lacking in ["HostName", "User ", "IdentityFile"] {
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
