//! A shell script as a fake command, for tests.

use std::{fs, path::Path, process::Command};

/// Makes `path` an executable shell script. A process of its own writes the file: were it open for writing in
/// this one while another test starts a child, that child would hold it for a moment, and the script could not be
/// started ("text file busy").
pub(crate) fn write_script(path: &Path, script: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
    let installed = Command::new("install").args(["-m", "755"]).arg(&draft).arg(path).status().unwrap();
    assert!(installed.success());
}
