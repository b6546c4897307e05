//! Runs `vagrant` as a child in its own process group, passes its lines on as they arrive and never leaves it behind:
//! at the deadline the group gets SIGINT (Vagrant cleans up after it), then SIGTERM, then SIGKILL, and the child is
//! reaped. Memory is bounded whatever it prints.

use super::{
    error_classification::CommandResult,
    machine_readable::{Record, shown_lines},
    terminal_text::{rendered, rendered_lines},
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    collections::VecDeque,
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// A line is cut here when it is shown.
const SHOWN_LINE_CHARS: usize = 1000;
/// The longest line that is read as a whole; an error's text with a backtrace is one line.
const LINE_BYTES: usize = 64 * 1024;
/// How much of what was said is kept for finding out what went wrong: the end.
const KEPT_BYTES: usize = 64 * 1024;

/// How patient the end of a child is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grace {
    pub after_interrupt: Duration,
    pub after_terminate: Duration,
    /// How long the pipes may stay open after the child has ended: something it started may hold them.
    pub pipes: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Self {
            after_interrupt: Duration::from_secs(20),
            after_terminate: Duration::from_secs(5),
            pipes: Duration::from_secs(2),
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub succeeded: bool,
    /// The deadline passed and the child was ended.
    pub timed_out: bool,
    /// Ended because it was cancelled.
    pub cancelled: bool,
    /// The answer to `ssh-config`.
    pub ssh_config: Option<String>,
    pub ended: CommandResult,
}

/// When a child is to be ended.
#[derive(Debug, Clone)]
pub(super) struct StopCondition {
    pub deadline: Instant,
    pub cancel: CancellationToken,
}

/// Why a child was terminated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndedFor {
    Deadline,
    Cancelled,
}

/// Runs `command` until it ends, the deadline passes or it is cancelled; `hear` gets each line for users as it comes.
///
/// If dropped before, it only interrupts the child (SIGINT). Vagrant then undoes what it had started, and the next
/// command for this machine waits for that; a kill could leave half a box image in libvirt's pool, from which every
/// later VM would be created.
///
/// # Errors
/// When it cannot be started.
pub(super) async fn run(
    mut command: Command,
    until: &StopCondition,
    grace: Grace,
    hear: &mut (dyn FnMut(&str) + Send),
) -> io::Result<Outcome> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let mut group = Group::of(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut said = Said::default();
    let mut complaints = Tail::default();

    let (status, ended_for) = {
        let read = async {
            tokio::join!(
                each_line(stdout, |line| said.hear(line, hear)),
                each_line(stderr, |line| complaints.push(&rendered(line))),
            )
        };
        let wait = wait_or_end(&mut child, group.id, until, grace);
        tokio::pin!(read, wait);
        let ended = tokio::select! {
            ended = &mut wait => {
                group.id = None;
                let _ = timeout(grace.pipes, &mut read).await;
                ended
            }
            _ = &mut read => wait.await,
        };
        group.id = None;
        ended?
    };

    Ok(Outcome {
        succeeded: status.success(),
        timed_out: ended_for == Some(EndedFor::Deadline),
        cancelled: ended_for == Some(EndedFor::Cancelled),
        ssh_config: said.ssh_config,
        ended: CommandResult {
            status: status.code(),
            error_exit: said.error_exit,
            errors: said.errors.text(),
            warnings: said.warnings.text(),
            stderr: complaints.text(),
        },
    })
}

/// The child's status and why it had to be ended, if it had.
async fn wait_or_end(
    child: &mut Child,
    group: Option<Pid>,
    until: &StopCondition,
    grace: Grace,
) -> io::Result<(ExitStatus, Option<EndedFor>)> {
    let why = tokio::select! {
        status = child.wait() => return Ok((status?, None)),
        () = sleep_until(until.deadline) => Some(EndedFor::Deadline),
        () = until.cancel.cancelled() => Some(EndedFor::Cancelled),
    };
    for (sig, grace) in [(Signal::SIGINT, grace.after_interrupt), (Signal::SIGTERM, grace.after_terminate)] {
        signal(group, sig);
        if let Ok(status) = timeout(grace, child.wait()).await {
            return Ok((status?, why));
        }
    }
    signal(group, Signal::SIGKILL);
    Ok((child.wait().await?, why))
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // A group that is gone already needs no signal.
        let _ = killpg(group, signal);
    }
}

/// The child's process group. Dropped while the child still runs, it interrupts it; the runtime reaps it.
struct Group {
    /// `None` once the child was reaped: then the id may belong to another process.
    id: Option<Pid>,
}

impl Group {
    fn of(child: &Child) -> Self {
        Self { id: child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        signal(self.id, Signal::SIGINT);
    }
}

/// What came on stdout.
#[derive(Debug, Default)]
struct Said {
    error_exit: Option<(String, String)>,
    ssh_config: Option<String>,
    errors: Tail,
    warnings: Tail,
}

impl Said {
    fn hear(&mut self, line: &str, hear: &mut (dyn FnMut(&str) + Send)) {
        let record = Record::parse(line);
        if let Some((class, text)) = record.as_ref().and_then(Record::error_exit) {
            self.error_exit = Some((class.into(), rendered_lines(text)));
        }
        if let Some(config) = record.as_ref().and_then(Record::ssh_config) {
            self.ssh_config = Some(config.into());
        }
        let Some((level, text)) = record.as_ref().and_then(Record::ui) else { return };
        match level {
            "error" => self.errors.push(&rendered_lines(text)),
            "warn" => self.warnings.push(&rendered_lines(text)),
            _ => {}
        }
        for shown in shown_lines(text) {
            // Only now: what Vagrant puts in front of each line is not there for a carriage return to overwrite.
            let shown = rendered(shown);
            if !shown.is_empty() {
                hear(cut(&shown));
            }
        }
    }
}

fn cut(line: &str) -> &str {
    line.char_indices().nth(SHOWN_LINE_CHARS).map_or(line, |(end, _)| &line[..end])
}

/// The last lines of a text, at most [`KEPT_BYTES`] of them.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, line: &str) {
        self.bytes += line.len() + 1;
        self.lines.push_back(line.to_owned());
        while self.bytes > KEPT_BYTES && self.lines.len() > 1 {
            self.bytes -= self.lines.pop_front().map_or(0, |dropped| dropped.len() + 1);
        }
    }

    fn text(self) -> String {
        Vec::from(self.lines).join("\n")
    }
}

/// Calls `hear` with each line, without its end; what a line has beyond [`LINE_BYTES`] is passed over.
async fn each_line(pipe: Option<impl AsyncRead + Unpin>, mut hear: impl FnMut(&str)) {
    let Some(pipe) = pipe else { return };
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        // A pipe that cannot be read any more has nothing more to say.
        let chunk = pipe.fill_buf().await.unwrap_or_default();
        if chunk.is_empty() {
            if !line.is_empty() {
                hear(&String::from_utf8_lossy(&line));
            }
            return;
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        line.extend_from_slice(&part[..part.len().min(LINE_BYTES - line.len())]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        pipe.consume(used);
        if end.is_some() {
            hear(String::from_utf8_lossy(&line).trim_end_matches('\r'));
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Duration = Duration::from_secs(60);
    /// By then a shell has set its traps, on a busy machine too.
    const BOOTED: Duration = Duration::from_secs(3);
    const QUICK: Grace = Grace {
        after_interrupt: Duration::from_millis(500),
        after_terminate: Duration::from_millis(500),
        pipes: Duration::from_millis(300),
    };

    /// Runs a shell script in vagrant's place and returns the outcome and the lines sent.
    async fn run_script(script: &str, limit: Duration) -> (Outcome, Vec<String>) {
        let mut command = crate::server::child_process::command("sh");
        command.args(["-c", script]);
        let mut lines = Vec::new();
        let mut hear = |line: &str| lines.push(line.to_owned());
        let until = StopCondition { deadline: Instant::now() + limit, cancel: CancellationToken::new() };
        let outcome = run(command, &until, QUICK, &mut hear).await.unwrap();
        (outcome, lines)
    }

    #[tokio::test]
    async fn user_visible_lines_are_handed_on_and_the_error_is_kept() {
        let script = r"printf '1,default,action,up,start\n1,default,ui,info,==> default: One%%!(VAGRANT_COMMA) two\\nthree\n'
            echo 'warning: from Ruby' >&2
            printf '1,,ui,error,Bad\n1,,error-exit,Vagrant::Errors::VMBootTimeout,Bad\n'; exit 1";
        let (outcome, lines) = run_script(script, FAR).await;
        assert_eq!(lines, ["One, two", "three", "Bad"]);
        assert!(!outcome.succeeded && !outcome.timed_out);
        assert_eq!(
            outcome.ended,
            CommandResult {
                status: Some(1),
                error_exit: Some(("Vagrant::Errors::VMBootTimeout".into(), "Bad".into())),
                errors: "Bad".into(),
                warnings: String::new(),
                stderr: "warning: from Ruby".into(),
            }
        );
    }

    #[tokio::test]
    async fn lines_and_errors_are_what_a_terminal_shows_in_the_end() {
        let script = r"printf '1,default,ui,detail,    default: \033[32m 10%%\\r 90%%\033[0m\\n    default: \033[0m\n'
            printf '1,,ui,error,\033[31mBad\033[0m\n1,,error-exit,X::Bad,\033[31mBad\033[0m\n'
            printf 'old\rnew\033[1m\n' >&2; exit 1";
        let (outcome, lines) = run_script(script, FAR).await;
        assert_eq!(lines, [" 90%", "Bad"]);
        let ended = outcome.ended;
        assert_eq!((ended.errors.as_str(), ended.stderr.as_str()), ("Bad", "new"));
        assert_eq!(ended.error_exit, Some(("X::Bad".into(), "Bad".into())));
    }

    #[tokio::test]
    async fn much_output_on_both_pipes_neither_blocks_nor_is_kept() {
        let script = "head -c 3000000 /dev/zero | tr '\\0' 'x'; yes complaint | head -n 100000 >&2";
        let (outcome, _) = run_script(script, FAR).await;
        assert!(outcome.succeeded);
        assert!(outcome.ended.stderr.len() <= KEPT_BYTES && outcome.ended.stderr.ends_with("complaint"));
    }

    #[tokio::test]
    async fn at_the_deadline_the_child_is_interrupted() {
        let script = "trap 'printf \"1,,ui,info,cleaned up\\n\"; exit 1' INT; sleep 30 & wait";
        let (outcome, lines) = run_script(script, BOOTED).await;
        assert!(outcome.timed_out);
        assert_eq!((outcome.ended.status, lines), (Some(1), vec!["cleaned up".to_owned()]));
    }

    #[tokio::test]
    async fn a_cancelled_command_is_interrupted_and_reports_so() {
        let mut command = crate::server::child_process::command("sh");
        command.args(["-c", "trap 'exit 1' INT; printf '1,,ui,info,begun\\n'; sleep 30 & wait"]);
        let until = StopCondition { deadline: Instant::now() + FAR, cancel: CancellationToken::new() };
        let cancel = until.cancel.clone();
        let outcome = run(command, &until, QUICK, &mut |_: &str| cancel.cancel()).await.unwrap();
        assert!(outcome.cancelled && !outcome.timed_out && !outcome.succeeded);
        assert_eq!(outcome.ended.status, Some(1));
    }

    #[tokio::test]
    async fn a_deaf_child_is_ended_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("trap '' INT TERM; sleep 30 & echo $! > {}; wait; wait", file.display());
        let (outcome, _) = run_script(&script, BOOTED).await;
        assert!(outcome.timed_out);
        assert_eq!(outcome.ended.status, None);
        assert_ends(&file).await;
    }

    #[tokio::test]
    async fn a_dropped_operation_is_interrupted_and_may_clean_up() {
        let folder = tempfile::tempdir().unwrap();
        let (pid, cleaned) = (folder.path().join("pid"), folder.path().join("cleaned"));
        let script = format!(
            "trap 'touch {}; exit 1' INT; echo $$ > {}; while :; do sleep 0.05; done",
            cleaned.display(),
            pid.display()
        );
        assert!(timeout(BOOTED, run_script(&script, FAR)).await.is_err());
        assert_ends(&pid).await;
        assert!(cleaned.exists());
    }

    #[tokio::test]
    async fn something_that_keeps_the_pipes_open_does_not_keep_the_operation() {
        let (outcome, lines) = run_script("printf '1,,ui,info,done\\n'; sleep 8 & exit 0", FAR).await;
        assert!(outcome.succeeded);
        assert_eq!(lines, ["done"]);
    }

    /// Waits until the process whose number is in `file` has ended (a zombie has).
    async fn assert_ends(file: &std::path::Path) {
        let pid = std::fs::read_to_string(file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let gone = async {
            while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(FAR, gone).await.expect("it ends");
    }
}
