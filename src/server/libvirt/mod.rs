//! Reads libvirt with `virsh`: one small process for all domains, never one per VM.
//!
//! A separate process with a time limit isolates the server from libvirt: a hung daemon costs one late sample.
//! `domstats --nowait` skips the counters of a busy domain (a migration, a snapshot, or an earlier read that hangs), so
//! such a domain does not delay the others. A domain that hangs anyway, because its disk does, is detected and left out
//! (`unresponsive.rs`).

mod agent;
mod domstats;
mod events;
mod unresponsive;

use super::provider::{Domain, DomainState, Hypervisor, HypervisorSample, Moment, ReadError};
use crate::model::UtcMillis;
use async_trait::async_trait;
use futures::future::join_all;
use std::{
    io,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::AsyncReadExt,
    process::Command,
    sync::Notify,
    time::{sleep, timeout},
};
use unresponsive::{DomainRef, ReadPlan, UnresponsiveDomains, groups};

/// What one question may take.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// Where libvirt keeps a file per QEMU process, written when it starts it.
const PID_FILES: &str = "/run/libvirt/qemu";

/// How long to wait before asking a guest's agent again whether it is done.
const AGENT_PAUSE: Duration = Duration::from_millis(200);

/// One argument with two commands, so that one process and one connection do.
const READ_ALL: [&str; 1] = ["list --all --uuid --name; domstats --raw --nowait"];
const LIST: [&str; 4] = ["list", "--all", "--uuid", "--name"];
/// Followed by UUIDs.
const READ_SOME: [&str; 3] = ["domstats", "--raw", "--nowait"];
/// Checks the daemon without touching a domain.
const PULSE: [&str; 1] = ["hostname"];

/// libvirt at one URI.
#[derive(Debug, Clone)]
pub struct Libvirt {
    uri: String,
    virsh: PathBuf,
    pid_files: PathBuf,
    time_limit: Duration,
    unresponsive: Arc<Mutex<UnresponsiveDomains>>,
}

impl Libvirt {
    /// libvirt at `uri`, such as `qemu:///system`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            virsh: "virsh".into(),
            pid_files: PID_FILES.into(),
            time_limit: TIME_LIMIT,
            unresponsive: Arc::default(),
        }
    }

    /// Keeps every read below `limit`, so that the caller gets an answer in time.
    #[must_use]
    pub fn with_time_limit(self, limit: Duration) -> Self {
        Self { time_limit: limit * 7 / 8, ..self }
    }

    /// What `virsh` prints for `arguments`.
    async fn virsh(&self, arguments: &[&str]) -> Result<String, ReadError> {
        self.attempt(arguments, self.time_limit).await.map_err(|trouble| self.message(trouble))
    }

    /// One run of `virsh`. Dropped or too late, the process is killed and reaped.
    async fn attempt(&self, arguments: &[&str], limit: Duration) -> Result<String, VirshError> {
        let output = Command::new(&self.virsh)
            .args(["--quiet", "--connect", &self.uri])
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        match timeout(limit, output).await {
            Err(_) => Err(VirshError::TimedOut),
            Ok(Err(error)) => Err(VirshError::NotStarted(error)),
            Ok(Ok(output)) if output.status.success() => {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Ok(Ok(output)) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                let has = |phrases: &[&str]| phrases.iter().any(|phrase| said.contains(phrase));
                if has(&["Permission denied", "authentication", "access denied"]) {
                    Err(VirshError::Denied(said))
                } else if has(&["failed to connect", "Failed to connect", "Connection refused"]) {
                    Err(VirshError::Down(said))
                } else {
                    Err(VirshError::Failed(said))
                }
            }
        }
    }

    /// What a guest's agent answers to `request`, at most `max_bytes` of it: the guest decides how much there is.
    async fn ask_agent(&self, uuid: &str, request: &str, max_bytes: usize) -> Result<String, ReadError> {
        let failed = |detail: String| ReadError { text: "The guest agent is not responding.".into(), detail };
        let mut child = Command::new(&self.virsh)
            .args(["--quiet", "--connect", &self.uri, "qemu-agent-command", "--timeout", "2", uuid, request])
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let bound = u64::try_from(max_bytes).unwrap_or(u64::MAX);
            stdout.take(bound).read_to_end(&mut answer).await.map_err(|error| failed(error.to_string()))?;
        }
        if answer.len() >= max_bytes {
            return Err(failed(format!("it answered with {max_bytes} bytes or more")));
        }
        let status = child.wait().await.map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            return Err(failed(format!("virsh qemu-agent-command: {status}")));
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn run_through_agent(
        &self,
        uuid: &str,
        script: &str,
        max_bytes: usize,
    ) -> Result<Vec<u8>, ReadError> {
        let nonsense = || ReadError {
            text: "The guest agent sent an unexpected reply.".into(),
            detail: "its answer to guest-exec is of another form".into(),
        };
        // Base64 makes four bytes of three; around it are some words.
        let max_answer_bytes = max_bytes / 3 * 4 + 1024;
        let begun = self.ask_agent(uuid, &agent::exec(script), max_answer_bytes).await?;
        let pid = agent::pid(&begun).ok_or_else(nonsense)?;
        loop {
            let answer = self.ask_agent(uuid, &agent::exec_status(pid), max_answer_bytes).await?;
            match agent::progress(&answer).ok_or_else(nonsense)? {
                agent::Progress::Ended(output) => return Ok(output),
                agent::Progress::Running => sleep(AGENT_PAUSE).await,
            }
        }
    }

    fn message(&self, trouble: VirshError) -> ReadError {
        let uri = &self.uri;
        let (text, detail) = match trouble {
            VirshError::TimedOut => (
                format!(
                    "libvirt did not answer at {uri} within {} s. See whether libvirtd hangs or the host is \
                     overloaded.",
                    self.time_limit.as_secs()
                ),
                "virsh was killed at its time limit".into(),
            ),
            VirshError::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => (
                "The virsh command is not installed on this server. Install libvirt's clients (package \
                 \"libvirt-clients\")."
                    .into(),
                error.to_string(),
            ),
            VirshError::NotStarted(error) => {
                (format!("The virsh command cannot be started: {error}."), error.to_string())
            }
            VirshError::Denied(said) => (
                format!(
                    "libvirt does not let this server in at {uri}. Run the server as root or as a user in the \
                     group \"libvirt\"."
                ),
                said,
            ),
            VirshError::Down(said) => (
                format!("libvirt does not answer at {uri}. Start libvirtd (\"systemctl start libvirtd\")."),
                said,
            ),
            VirshError::Failed(said) => {
                let first = said.lines().next().unwrap_or("it did not say why");
                (format!("libvirt refused: {}", first.trim_start_matches("error: ")), said)
            }
        };
        ReadError { text, detail }
    }

    /// Reads all domains with one process, while none is suspected. A QEMU process that dies during the read fails it
    /// for all domains, once.
    async fn read_all(&self) -> Result<(Moment, String), VirshError> {
        let limit = self.time_limit / 2;
        let mut moment = Moment::now();
        let mut answer = self.attempt(&READ_ALL, limit).await;
        if let Err(VirshError::Failed(_)) = answer {
            moment = Moment::now();
            answer = self.attempt(&READ_ALL, limit).await;
        }
        match answer {
            Err(VirshError::TimedOut) => {
                if self.unresponsive().known().is_empty() {
                    self.refresh_list().await?;
                }
                let plan = self.unresponsive().plan(Moment::now().monotonic);
                self.read_in_groups(&plan).await
            }
            answer => answer.map(|output| (moment, output)),
        }
    }

    /// Unsuspected domains by one process and, in parallel, each suspect by its own.
    async fn read_around_unresponsive(&self) -> Result<(Moment, String), VirshError> {
        // While a domain hangs, listing may hang too: then those that were known are read.
        match self.refresh_list().await {
            Ok(()) | Err(VirshError::TimedOut) => {}
            Err(trouble) => return Err(trouble),
        }
        let plan = self.unresponsive().plan(Moment::now().monotonic);
        if !plan.together.is_empty() {
            let parts = Parts::of(vec![plan.together.clone()], &plan.alone);
            let (moment, answers) = self.read_parts(&parts).await;
            if answers.first().is_some_and(Result::is_ok) {
                return Ok((moment, self.learnt(&parts, answers, moment)));
            }
        }
        self.read_in_groups(&plan).await
    }

    /// The same in groups, so that a domain which hangs only spoils its own group. The first process to read a hanging
    /// QEMU waits for it; the next one finds it busy, skips it and returns all others.
    async fn read_in_groups(&self, plan: &ReadPlan) -> Result<(Moment, String), VirshError> {
        let parts = Parts::of(groups(&plan.together), &plan.alone);
        let ((moment, answers), pulse) =
            tokio::join!(self.read_parts(&parts), self.attempt(&PULSE, self.time_limit / 4));
        // If the daemon itself hangs, no domain is suspected.
        pulse?;
        Ok((moment, self.learnt(&parts, answers, moment)))
    }

    /// Reads all parts at once, which all begin at one moment.
    async fn read_parts(&self, parts: &Parts) -> (Moment, Vec<Result<String, VirshError>>) {
        let moment = Moment::now();
        let answers = parts.0.iter().map(|part| async {
            let uuids = part.domains.iter().map(|domain| domain.uuid.as_str());
            let arguments: Vec<_> = READ_SOME.into_iter().chain(uuids).collect();
            self.attempt(&arguments, self.time_limit / 4).await
        });
        (moment, join_all(answers).await)
    }

    /// Records which domains hang and which answered; returns the outputs as one sample of all.
    fn learnt(&self, parts: &Parts, answers: Vec<Result<String, VirshError>>, moment: Moment) -> String {
        let mut unresponsive = self.unresponsive();
        let mut output: String =
            unresponsive.known().iter().map(|domain| format!("{} {}\n", domain.uuid, domain.name)).collect();
        for (part, answer) in parts.0.iter().zip(answers) {
            match (answer, part.alone, part.domains.as_slice()) {
                (Ok(text), alone, domains) => {
                    output.push_str(&text);
                    output.push('\n');
                    if alone {
                        domains.iter().for_each(|domain| unresponsive.answered(domain));
                    }
                }
                (Err(VirshError::TimedOut), true, domains) => {
                    for domain in domains {
                        tracing::warn!(
                            domain = domain.name,
                            "the domain is unresponsive and is skipped for a while"
                        );
                        unresponsive.skip(domain, moment.monotonic);
                    }
                }
                (Err(VirshError::TimedOut), false, domains) => unresponsive.suspect(domains),
                (Err(trouble), _, _) => tracing::debug!(?trouble, "some domains were not read"),
            }
        }
        output
    }

    /// Finds out which domains there are.
    async fn refresh_list(&self) -> Result<(), VirshError> {
        let output = self.attempt(&LIST, self.time_limit / 4).await?;
        self.unresponsive().set_known(names_of(&domstats::parse(&output)));
        Ok(())
    }

    fn unresponsive(&self) -> MutexGuard<'_, UnresponsiveDomains> {
        // What it holds is whole after every statement; a panic elsewhere does not spoil it.
        self.unresponsive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails for a domain that hangs.
    fn answers(&self, uuid: &str) -> Result<(), ReadError> {
        if !self.unresponsive().is_suspected(uuid) {
            return Ok(());
        }
        Err(ReadError { text: "The VM's domain hangs.".into(), detail: format!("{uuid} is left alone") })
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

/// What is read at once, each part by a process of its own.
struct Parts(Vec<Part>);

struct Part {
    /// Never none: `virsh` would take that for all.
    domains: Vec<DomainRef>,
    /// A single suspect.
    alone: bool,
}

impl Parts {
    fn of(together: Vec<Vec<DomainRef>>, alone: &[DomainRef]) -> Self {
        let together = together.into_iter().map(|domains| Part { domains, alone: false });
        let alone = alone.iter().map(|domain| Part { domains: vec![domain.clone()], alone: true });
        Self(together.chain(alone).collect())
    }
}

fn names_of(domains: &[Domain]) -> Vec<DomainRef> {
    domains.iter().map(|d| DomainRef { uuid: d.uuid.clone(), name: d.name.clone() }).collect()
}

fn utc(time: SystemTime) -> Option<UtcMillis> {
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok().map(UtcMillis)
}

/// Why a run of `virsh` gave nothing.
#[derive(Debug)]
enum VirshError {
    TimedOut,
    NotStarted(io::Error),
    Denied(String),
    Down(String),
    Failed(String),
}

#[async_trait]
impl Hypervisor for Libvirt {
    async fn read(&self) -> Result<HypervisorSample, ReadError> {
        let has_suspects = self.unresponsive().has_suspects();
        let answer = if has_suspects { self.read_around_unresponsive().await } else { self.read_all().await };
        let (moment, output) = answer.map_err(|trouble| self.message(trouble))?;
        let mut domains = domstats::parse(&output);
        self.unresponsive().set_known(names_of(&domains));
        for domain in &mut domains {
            domain.started_at = self.started_at(domain);
        }
        Ok(HypervisorSample { taken_at: moment.monotonic, sampled_at: moment.utc, domains })
    }

    async fn watch(&self, changed: &Notify) {
        self.watch_events(changed).await;
    }

    async fn enable_memory_statistics(&self, uuid: &str, interval_secs: u32) -> Result<(), ReadError> {
        self.answers(uuid)?;
        let interval = interval_secs.to_string();
        self.virsh(&["dommemstat", uuid, "--period", &interval, "--live", "--config"]).await.map(drop)
    }

    async fn address(&self, uuid: &str) -> Result<Option<String>, ReadError> {
        self.answers(uuid)?;
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

    async fn run_in_guest(
        &self,
        uuid: &str,
        script: &str,
        max_bytes: usize,
        limit: Duration,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        self.answers(uuid)?;
        match timeout(limit, self.run_through_agent(uuid, script, max_bytes)).await {
            Ok(output) => output.map(Some),
            Err(_) => Err(ReadError {
                text: "The guest agent did not finish in time.".into(),
                detail: format!("given up after {limit:?}"),
            }),
        }
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
    use crate::server::vagrant::fake_command::write_script;
    use std::{fs, time::Instant};
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
        let sample = libvirt.read().await.unwrap();
        assert_eq!(sample.domains.len(), 1);
        let domain = &sample.domains[0];
        assert_eq!((domain.uuid.as_str(), domain.state), (UUID, DomainState::Running));
        assert!(domain.started_at.is_some_and(|start| start.secs_since(sample.sampled_at).abs() < 60.0));
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
    async fn a_domain_that_dies_or_hangs_during_a_read_does_not_spoil_the_sample() {
        for trouble in [
            "echo 'error: Unable to read from monitor: Connection reset by peer' >&2; exit 1",
            "exec sleep 60",
        ] {
            let (_folder, libvirt) = with_virsh(&format!(
                "F=$(dirname $0)/asked; [ -e $F ] || {{ touch $F; {trouble}; }}
                case \"$*\" in *list*) echo {UUID} x1;; esac
                case \"$*\" in *domstats*) printf '\\nDomain: '\\''x1'\\''\\n  state.state=1\\n';; esac"
            ));
            let libvirt = Libvirt { time_limit: Duration::from_secs(2), ..libvirt };
            let start = Instant::now();
            let sample = libvirt.read().await.unwrap();
            assert_eq!(sample.domains.len(), 1, "{trouble}");
            assert_eq!(sample.domains[0].state, DomainState::Running, "{trouble}");
            assert!(sample.taken_at > start);
        }
    }

    #[tokio::test]
    async fn a_libvirt_that_hangs_is_given_up() {
        let (_folder, libvirt) = with_virsh("exec sleep 60");
        let libvirt = Libvirt { time_limit: Duration::from_millis(100), ..libvirt };
        let error = libvirt.read().await.unwrap_err();
        assert!(error.text.starts_with("libvirt did not answer at qemu:///system within"), "{}", error.text);
    }

    fn uuid(number: u32) -> String {
        format!("{number:08}-f6a4-8304-79aa-97f2502e193f")
    }

    /// A libvirt with the domains 0 to 8, of which those hang whose UUIDs are in the file `hangs`: then listing and
    /// reading all of them hangs, too. Keeps each call in the file `calls`.
    fn nine_domains() -> (TempDir, Libvirt) {
        let uuids: Vec<_> = (0..9).map(uuid).collect();
        let (folder, libvirt) = with_virsh(&format!(
            "cd $(dirname $0); touch hangs; echo \"$*\" >> calls
            list() {{ for U in {all}; do echo $U x$U; done; }}
            stats() {{ for U; do grep -q $U hangs && exec sleep 60; printf \"\\nDomain: 'x$U'\\n  state.state=1\\n\"; done; }}
            shift 3
            case $1 in
                hostname) echo here;;
                list*domstats*) list; stats {all};;
                list) [ -s hangs ] && exec sleep 60; list;;
                domstats) shift 3; stats $*;;
            esac",
            all = uuids.join(" "),
        ));
        (folder, libvirt)
    }

    /// The numbers of the domains that were read, of nine.
    async fn read(libvirt: &Libvirt) -> Vec<usize> {
        let begin = Instant::now();
        let sample = libvirt.read().await.unwrap();
        assert!(begin.elapsed() < libvirt.time_limit, "{:?}", begin.elapsed());
        assert_eq!(sample.domains.len(), 9, "nobody is forgotten");
        let known = |number: &usize| sample.domains[*number].state == DomainState::Running;
        (0..9).filter(known).collect()
    }

    #[tokio::test]
    async fn a_domain_that_hangs_is_found_and_left_alone_and_the_others_go_on() {
        let (folder, libvirt) = nine_domains();
        let everybody: Vec<_> = (0..9).collect();
        assert_eq!(read(&libvirt).await, everybody);
        fs::write(folder.path().join("hangs"), uuid(4)).unwrap();
        assert_eq!(read(&libvirt).await, [0, 1, 2, 6, 7, 8], "all but the group in which one hangs");
        assert_eq!(read(&libvirt).await, [0, 1, 2, 3, 5, 6, 7, 8], "all but the one");
        assert!(libvirt.address(&uuid(4)).await.is_err());

        let calls = || fs::read_to_string(folder.path().join("calls")).unwrap();
        let so_far = calls().len();
        assert_eq!(read(&libvirt).await, [0, 1, 2, 3, 5, 6, 7, 8]);
        assert!(libvirt.run_in_guest(&uuid(4), "", 1024, libvirt.time_limit).await.is_err());
        let newest = calls()[so_far..].to_owned();
        assert!(!newest.contains(&uuid(4)), "it is not read: {newest}");
        assert_eq!(newest.lines().count(), 2, "a list, and one process for all others: {newest}");

        fs::write(folder.path().join("hangs"), "").unwrap();
        libvirt.unresponsive().suspect(&[DomainRef { uuid: uuid(4), name: String::new() }]);
        assert_eq!(read(&libvirt).await, everybody, "it answers again");
        let so_far = calls().len();
        assert_eq!(read(&libvirt).await, everybody);
        assert_eq!(calls()[so_far..].lines().count(), 1, "one process for all");
    }

    #[tokio::test]
    async fn a_second_domain_that_hangs_is_found_while_the_first_is_left_alone() {
        let (folder, libvirt) = nine_domains();
        read(&libvirt).await;
        libvirt.unresponsive().skip(&DomainRef { uuid: uuid(0), name: String::new() }, Instant::now());
        fs::write(folder.path().join("hangs"), format!("{}\n{}", uuid(0), uuid(8))).unwrap();
        // Eight are read, in groups of two.
        assert_eq!(read(&libvirt).await, [1, 2, 3, 4, 5, 6]);
        assert_eq!(read(&libvirt).await, [1, 2, 3, 4, 5, 6, 7]);
    }

    #[tokio::test]
    async fn when_the_daemon_hangs_no_domain_is_suspected() {
        let (folder, libvirt) = nine_domains();
        let libvirt = Libvirt { time_limit: Duration::from_millis(800), ..libvirt };
        libvirt.unresponsive().set_known(vec![DomainRef { uuid: uuid(0), name: "x".into() }]);
        write_script(&folder.path().join("virsh"), "exec sleep 60");
        assert!(libvirt.read().await.is_err());
        assert!(!libvirt.unresponsive().has_suspects());
        let only = libvirt.unresponsive().known().to_vec();
        libvirt.unresponsive().suspect(&only);
        assert!(libvirt.read().await.is_err());
        assert_eq!(libvirt.unresponsive().plan(Instant::now()).alone, only, "nor is a suspect set aside");
    }

    #[tokio::test]
    async fn a_libvirt_that_is_down_is_reported_with_what_to_do() {
        let (_folder, libvirt) = with_virsh(
            "echo 'error: failed to connect to the hypervisor
error: Failed to connect socket to /var/run/libvirt/libvirt-sock: No such file or directory' >&2; exit 1",
        );
        let error = libvirt.read().await.unwrap_err();
        assert!(error.text.contains("Start libvirtd"), "{}", error.text);
        assert!(error.detail.contains("libvirt-sock"));
    }

    #[tokio::test]
    async fn a_server_that_is_not_let_in_is_reported() {
        let (_folder, libvirt) = with_virsh(
            "echo 'error: failed to connect to the hypervisor
error: Failed to connect socket to /var/run/libvirt/libvirt-sock: Permission denied' >&2; exit 1",
        );
        assert!(libvirt.read().await.unwrap_err().text.contains("group \"libvirt\""));
    }

    #[tokio::test]
    async fn a_missing_virsh_is_reported_with_what_to_install() {
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

    /// virsh with a guest's agent behind it: `done` is what it answers once the script has ended.
    fn with_agent(done: &str) -> (TempDir, Libvirt) {
        with_virsh(&format!(
            "case \"$*\" in
            *guest-exec-status*) [ -e $0.asked ] || {{ touch $0.asked; echo '{{\"return\":{{\"exited\":false}}}}'; exit; }}
                {done};;
            *guest-exec*) echo '{{\"return\":{{\"pid\":7}}}}';;
            esac"
        ))
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_script_is_run_by_the_guests_agent() {
        let (_folder, libvirt) =
            with_agent("echo '{\"return\":{\"exited\":true,\"exitcode\":0,\"out-data\":\"aGkK\"}}'");
        let output = libvirt.run_in_guest(UUID, "echo hi", 1000, LIMIT).await;
        assert_eq!(output, Ok(Some(b"hi\n".to_vec())));
    }

    #[tokio::test]
    async fn the_output_of_an_agent_is_limited() {
        let (_folder, libvirt) = with_agent("yes");
        assert!(libvirt.run_in_guest(UUID, "echo hi", 1000, LIMIT).await.is_err());
    }

    #[tokio::test]
    async fn an_agent_that_hangs_or_is_not_there_is_given_up() {
        let (_folder, hanging) = with_virsh("exec sleep 60");
        assert!(hanging.run_in_guest(UUID, "echo hi", 1000, Duration::from_millis(200)).await.is_err());
        let (_folder, none) = with_virsh("echo 'error: QEMU guest agent is not connected' >&2; exit 1");
        assert!(none.run_in_guest(UUID, "echo hi", 1000, LIMIT).await.is_err());
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
