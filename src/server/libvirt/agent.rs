//! The protocol of the QEMU guest agent: JSON, sent with `virsh qemu-agent-command`.
//!
//! ```text
//! {"execute":"guest-exec","arguments":{"path":"/bin/sh","arg":["-c","…"],"capture-output":true}}
//! {"return":{"pid":3218}}
//! {"execute":"guest-exec-status","arguments":{"pid":3218}}
//! {"return":{"exited":true,"exitcode":0,"out-data":"QHR3YXJnYSBz…"}}
//! ```
//! Pure. Replies come from inside the guest: anything of another form is `None`.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

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
