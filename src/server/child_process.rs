//! The environment of the programs that the server runs.

use super::notifications::PASSWORD_VARIABLE;
use std::{ffi::OsStr, process::Stdio};
use tokio::process::Command;

/// Variables that choose a language: `LANGUAGE` takes precedence over `LC_ALL`.
const LOCALE: [&str; 3] = ["LANG", "LANGUAGE", "LC_MESSAGES"];

/// A command whose messages are in English whatever the server's own language is, since some are parsed. It reads no
/// input, and does not inherit the server's secrets.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the one place that starts programs")]
    let mut command = Command::new(program);
    for variable in LOCALE {
        command.env_remove(variable);
    }
    command.env_remove(PASSWORD_VARIABLE).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_speaks_english_and_knows_no_secret() {
        let mut shell = command("sh");
        // As the service's environment would.
        shell.args(["-c", "echo \"${LANGUAGE-none} ${LANG-none} $LC_ALL ${TWARGA_SMTP_PASSWORD-none}\""]);
        let variables: Vec<_> = shell.as_std().get_envs().collect();
        for removed in ["LANGUAGE", "LANG", PASSWORD_VARIABLE] {
            assert!(variables.contains(&(OsStr::new(removed), None)), "{removed}");
        }
        let output = shell.output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "none none C.UTF-8 none");
    }
}
