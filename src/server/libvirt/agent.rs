//! The QEMU guest agent: JSON, sent with `virsh qemu-agent-command`.
//!
//! ```text
//! {"execute":"guest-exec","arguments":{"path":"/bin/sh","arg":["-c","…"],"capture-output":true}}
//! {"return":{"pid":3218}}
//! {"execute":"guest-exec-status","arguments":{"pid":3218}}
//! {"return":{"exited":true,"exitcode":0,"out-data":"QHR3YXJnYSBz…"}}
//! ```
//! Replies come from inside the guest: anything of another form is `None`. What writes requests and reads replies is
//! pure.

use super::Libvirt;
use crate::server::{child_process, provider::ReadError};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::{process::Stdio, time::Duration};
use tokio::{io::AsyncReadExt, time::sleep};

/// How long to wait before asking a guest's agent again whether it is done.
const AGENT_PAUSE: Duration = Duration::from_millis(200);

impl Libvirt {
    /// What a guest's agent answers to `request`, at most `max_bytes` of it: the guest decides how much there is.
    async fn ask_agent(&self, uuid: &str, request: &str, max_bytes: usize) -> Result<String, ReadError> {
        let failed = |detail: String| ReadError { text: "The guest agent is not responding.".into(), detail };
        let mut child = child_process::command(&self.virsh)
            .args(["--quiet", "--connect", &self.uri, "qemu-agent-command", "--timeout", "2", uuid, request])
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

    pub(super) async fn run_through_agent(
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
        let begun = self.ask_agent(uuid, &exec(script), max_answer_bytes).await?;
        let pid = pid(&begun).ok_or_else(nonsense)?;
        loop {
            let answer = self.ask_agent(uuid, &exec_status(pid), max_answer_bytes).await?;
            match progress(&answer).ok_or_else(nonsense)? {
                Progress::Ended(output) => return Ok(output),
                Progress::Running => sleep(AGENT_PAUSE).await,
            }
        }
    }
}

/// Begins to run a shell script.
pub fn exec(script: &str) -> String {
    let arguments = json!({ "path": "/bin/sh", "arg": ["-c", script], "capture-output": true });
    json!({ "execute": "guest-exec", "arguments": arguments }).to_string()
}

/// Requests the state of that command.
pub fn exec_status(pid: i64) -> String {
    json!({ "execute": "guest-exec-status", "arguments": { "pid": pid } }).to_string()
}

/// The number by which the agent knows the script.
pub fn pid(answer: &str) -> Option<i64> {
    returned(answer)?.get("pid")?.as_i64()
}

/// What has become of the script.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    Running,
    /// What it printed.
    Ended(Vec<u8>),
}

pub fn progress(answer: &str) -> Option<Progress> {
    let returned = returned(answer)?;
    if !returned.get("exited")?.as_bool()? {
        return Some(Progress::Running);
    }
    let printed = returned.get("out-data").and_then(Value::as_str).unwrap_or_default();
    BASE64_STANDARD.decode(printed.trim_end()).ok().map(Progress::Ended)
}

fn returned(answer: &str) -> Option<Value> {
    serde_json::from_str::<Value>(answer).ok()?.get_mut("return").map(Value::take)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_script_is_begun_and_its_output_read() {
        assert_eq!(pid("{\"return\":{\"pid\":3218}}\n"), Some(3218));
        assert_eq!(progress(r#"{"return":{"exited":false}}"#), Some(Progress::Running));
        let ended = r#"{"return":{"exitcode":0,"out-data":"aGkK","exited":true}}"#;
        assert_eq!(progress(ended), Some(Progress::Ended(b"hi\n".to_vec())));
        let silent = r#"{"return":{"exitcode":1,"exited":true}}"#;
        assert_eq!(progress(silent), Some(Progress::Ended(Vec::new())));
    }

    #[test]
    fn a_script_survives_being_put_into_json() {
        let script = "echo '@a \"b\"'; cat /proc/$part\n";
        let asked: Value = serde_json::from_str(&exec(script)).unwrap();
        assert_eq!(asked["arguments"]["arg"][1], script);
    }

    #[test]
    fn an_answer_of_another_form_is_none() {
        for answer in
            ["", "[]", r#"{"error":{"class":"X"}}"#, r#"{"return":{"exited":true,"out-data":"%%"}}"#]
        {
            assert_eq!((pid(answer), progress(answer)), (None, None), "{answer}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(answer in "\\PC*") {
            let _ = (pid(&answer), progress(&answer));
        }
    }
}
