//! Reads libvirt with `virsh`: one small process for all domains, never one per VM.
//!
//! A process of its own, with a time limit, keeps libvirt's troubles out of this server: a daemon that hangs costs
//! one late reading. `domstats --nowait` passes over the counters of a domain that is busy (in the middle of a
//! migration or a snapshot), so one such domain never delays the others.

mod domstats;

use super::provider::{Domain, DomainState, Hypervisor, ReadError, Reading};
use crate::model::UtcMillis;
use async_trait::async_trait;
use std::{
    io,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{process::Command, time::timeout};

/// Less than the collector's period, so that a late reading does not take the next one's place.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// Where libvirt keeps a file per QEMU process, written when it starts it.
const PID_FILES: &str = "/run/libvirt/qemu";

/// One argument with two commands, so that one process and one connection do.
const READ_ALL: [&str; 1] = ["list --all --uuid --name; domstats --raw --nowait"];

/// libvirt at one URI.
#[derive(Debug, Clone)]
pub struct Libvirt {
    uri: String,
    virsh: PathBuf,
    pid_files: PathBuf,
    time_limit: Duration,
}

impl Libvirt {
    /// libvirt at `uri`, such as `qemu:///system`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), virsh: "virsh".into(), pid_files: PID_FILES.into(), time_limit: TIME_LIMIT }
    }

    /// What `virsh` prints for `arguments`.
    async fn virsh(&self, arguments: &[&str]) -> Result<String, ReadError> {
        self.attempt(arguments, self.time_limit).await.map_err(|trouble| self.in_words(trouble))
    }

    /// One run of `virsh`. Dropped or too late, the process is killed and reaped.
    async fn attempt(&self, arguments: &[&str], limit: Duration) -> Result<String, Trouble> {
        let output = Command::new(&self.virsh)
            .args(["--quiet", "--connect", &self.uri])
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        match timeout(limit, output).await {
            Err(_) => Err(Trouble::TooLate),
            Ok(Err(error)) => Err(Trouble::NotStarted(error)),
            Ok(Ok(output)) if output.status.success() => {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Ok(Ok(output)) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                let has = |phrases: &[&str]| phrases.iter().any(|phrase| said.contains(phrase));
                if has(&["Permission denied", "authentication", "access denied"]) {
                    Err(Trouble::Denied(said))
                } else if has(&["failed to connect", "Failed to connect", "Connection refused"]) {
                    Err(Trouble::Down(said))
                } else {
                    Err(Trouble::Refused(said))
                }
            }
        }
    }

    fn in_words(&self, trouble: Trouble) -> ReadError {
        let uri = &self.uri;
        let (text, detail) = match trouble {
            Trouble::TooLate => (
                format!(
                    "libvirt did not answer at {uri} within {} s. See whether libvirtd hangs or the host is \
                     overloaded.",
                    self.time_limit.as_secs()
                ),
                "virsh was killed at its time limit".into(),
            ),
            Trouble::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => (
                "The virsh command is not installed on this server. Install libvirt's clients (package \
                 \"libvirt-clients\")."
                    .into(),
                error.to_string(),
            ),
            Trouble::NotStarted(error) => {
                (format!("The virsh command cannot be started: {error}."), error.to_string())
            }
            Trouble::Denied(said) => (
                format!(
                    "libvirt does not let this server in at {uri}. Run the server as root or as a user in the \
                     group \"libvirt\"."
                ),
                said,
            ),
            Trouble::Down(said) => (
                format!("libvirt does not answer at {uri}. Start libvirtd (\"systemctl start libvirtd\")."),
                said,
            ),
            Trouble::Refused(said) => {
                let first = said.lines().next().unwrap_or("it did not say why");
                (format!("libvirt refused: {}", first.trim_start_matches("error: ")), said)
            }
        };
        ReadError { text, detail }
    }

    /// When the domain's QEMU process was started; only known for a libvirt on this machine.
    fn started_at(&self, domain: &Domain) -> Option<UtcMillis> {
        if matches!(domain.state, DomainState::Stopped | DomainState::Crashed) || domain.name.contains('/') {
            return None;
        }
        let file = self.pid_files.join(format!("{}.pid", domain.name));
        let modified = std::fs::metadata(file).ok()?.modified().ok()?;
        utc(modified)
    }
}

fn now() -> (Instant, UtcMillis) {
    (Instant::now(), utc(SystemTime::now()).unwrap_or_default())
}

fn utc(time: SystemTime) -> Option<UtcMillis> {
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok().map(UtcMillis)
}

/// Why a run of `virsh` gave nothing.
#[derive(Debug)]
enum Trouble {
    TooLate,
    NotStarted(io::Error),
    Denied(String),
    Down(String),
    Refused(String),
}

impl Trouble {
    /// Whether one domain alone can be the cause. A QEMU process that dies while it is asked fails the answer for
    /// all, once. One that hangs keeps whoever asks it first; the next one finds it busy and passes it over.
    fn may_be_one_domains(&self) -> bool {
        matches!(self, Self::TooLate | Self::Refused(_))
    }
}

#[async_trait]
impl Hypervisor for Libvirt {
    async fn read(&self) -> Result<Reading, ReadError> {
        let limit = self.time_limit / 2;
        let (mut taken_at, mut sampled_at) = now();
        let mut answer = self.attempt(&READ_ALL, limit).await;
        if answer.as_ref().is_err_and(Trouble::may_be_one_domains) {
            (taken_at, sampled_at) = now();
            answer = self.attempt(&READ_ALL, limit).await;
        }
        let output = answer.map_err(|trouble| self.in_words(trouble))?;
        let mut domains = domstats::parse(&output);
        for domain in &mut domains {
            domain.started_at = self.started_at(domain);
        }
        Ok(Reading { taken_at, sampled_at, domains })
    }

    async fn enable_memory_statistics(&self, uuid: &str, period_secs: u32) -> Result<(), ReadError> {
        let period = period_secs.to_string();
        self.virsh(&["dommemstat", uuid, "--period", &period, "--live", "--config"]).await.map(drop)
    }

    async fn address(&self, uuid: &str) -> Result<Option<String>, ReadError> {
        for source in ["lease", "arp"] {
            match self.virsh(&["domifaddr", uuid, "--source", source]).await {
                Ok(output) => {
                    if let Some(address) = ipv4(&output) {
                        return Ok(Some(address));
                    }
                }
                // A domain that is off, or gone, has no address; that is an answer.
                Err(error) if says_no_such_domain(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn says_no_such_domain(error: &ReadError) -> bool {
    ["domain is not running", "failed to get domain", "Domain not found"]
        .iter()
        .any(|words| error.detail.contains(words))
}

/// The first IPv4 address in the table that `domifaddr` prints:
/// ` vnet0      52:54:00:43:9c:ae    ipv4         192.168.121.30/24`.
fn ipv4(table: &str) -> Option<String> {
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "ipv4");
        let address = words.nth(1)?.split('/').next()?;
        address.parse::<std::net::Ipv4Addr>().ok().map(|address| address.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::vagrant::stand_in::write_script;
    use std::fs;
    use tempfile::TempDir;

    const UUID: &str = "6695eb01-f6a4-8304-79aa-97f2502e193f";

    /// libvirt with a shell script in virsh's place.
    fn with_virsh(script: &str) -> (TempDir, Libvirt) {
        let folder = tempfile::tempdir().unwrap();
        let virsh = folder.path().join("virsh");
        write_script(&virsh, script);
        let libvirt =
            Libvirt { virsh, pid_files: folder.path().to_owned(), ..Libvirt::new("qemu:///system") };
        (folder, libvirt)
    }

    #[tokio::test]
    async fn all_domains_are_read_by_one_command() {
        let script = format!(
            "echo \"$*\" >> $(dirname $0)/calls
            printf '{UUID} x1\\n\\nDomain: '\\''x1'\\''\\n  state.state=1\\n  vcpu.0.time=7\\n'"
        );
        let (folder, libvirt) = with_virsh(&script);
        fs::write(folder.path().join("x1.pid"), "1").unwrap();
        let reading = libvirt.read().await.unwrap();
        assert_eq!(reading.domains.len(), 1);
        let domain = &reading.domains[0];
        assert_eq!((domain.uuid.as_str(), domain.state), (UUID, DomainState::Running));
        assert!(domain.started_at.is_some_and(|start| start.secs_since(reading.sampled_at).abs() < 60.0));
        assert_eq!(
            fs::read_to_string(folder.path().join("calls")).unwrap(),
            "--quiet --connect qemu:///system list --all --uuid --name; domstats --raw --nowait\n"
        );
    }

    #[tokio::test]
    async fn a_domain_that_is_off_has_no_start() {
        let script =
            format!("printf '{UUID} x1\\n\\nDomain: '\\''x1'\\''\\n  state.state=5\\n  state.reason=1\\n'");
        let (folder, libvirt) = with_virsh(&script);
        fs::write(folder.path().join("x1.pid"), "1").unwrap();
        assert_eq!(libvirt.read().await.unwrap().domains[0].started_at, None);
    }

    #[tokio::test]
    async fn a_domain_that_dies_or_hangs_while_it_is_asked_does_not_spoil_the_reading() {
        for trouble in [
            "echo 'error: Unable to read from monitor: Connection reset by peer' >&2; exit 1",
            "exec sleep 60",
        ] {
            let (_folder, libvirt) = with_virsh(&format!(
                "F=$(dirname $0)/asked; [ -e $F ] || {{ touch $F; {trouble}; }}
                printf '{UUID} x1\\n\\nDomain: '\\''x1'\\''\\n  state.state=1\\n'"
            ));
            let libvirt = Libvirt { time_limit: Duration::from_secs(2), ..libvirt };
            let start = Instant::now();
            let reading = libvirt.read().await.unwrap();
            assert_eq!(reading.domains.len(), 1, "{trouble}");
            assert!(reading.taken_at > start);
        }
    }

    #[tokio::test]
    async fn a_libvirt_that_hangs_is_given_up() {
        let (_folder, libvirt) = with_virsh("exec sleep 60");
        let libvirt = Libvirt { time_limit: Duration::from_millis(100), ..libvirt };
        let error = libvirt.read().await.unwrap_err();
        assert!(error.text.starts_with("libvirt did not answer at qemu:///system within"), "{}", error.text);
    }

    #[tokio::test]
    async fn a_libvirt_that_is_down_is_told_with_what_to_do() {
        let (_folder, libvirt) = with_virsh(
            "echo 'error: failed to connect to the hypervisor
error: Failed to connect socket to /var/run/libvirt/libvirt-sock: No such file or directory' >&2; exit 1",
        );
        let error = libvirt.read().await.unwrap_err();
        assert!(error.text.contains("Start libvirtd"), "{}", error.text);
        assert!(error.detail.contains("libvirt-sock"));
    }

    #[tokio::test]
    async fn a_server_that_is_not_let_in_is_told_so() {
        let (_folder, libvirt) = with_virsh(
            "echo 'error: failed to connect to the hypervisor
error: Failed to connect socket to /var/run/libvirt/libvirt-sock: Permission denied' >&2; exit 1",
        );
        assert!(libvirt.read().await.unwrap_err().text.contains("group \"libvirt\""));
    }

    #[tokio::test]
    async fn a_missing_virsh_is_told_with_what_to_install() {
        let libvirt = Libvirt { virsh: "/nowhere/virsh".into(), ..Libvirt::new("qemu:///system") };
        assert!(libvirt.read().await.unwrap_err().text.contains("libvirt-clients"));
    }

    #[tokio::test]
    async fn an_address_is_looked_up_in_the_leases_and_then_in_the_arp_table() {
        let (_folder, libvirt) = with_virsh(
            "case \"$*\" in *arp) echo ' vnet0      52:54:00:43:9c:ae    ipv4         192.168.121.30/0';; esac",
        );
        assert_eq!(libvirt.address(UUID).await, Ok(Some("192.168.121.30".into())));
    }

    #[tokio::test]
    async fn a_domain_that_is_off_has_no_address() {
        let (_folder, libvirt) = with_virsh(
            "echo 'error: Failed to query for interfaces addresses
error: Requested operation is not valid: domain is not running' >&2; exit 1",
        );
        assert_eq!(libvirt.address(UUID).await, Ok(None));
    }
}
