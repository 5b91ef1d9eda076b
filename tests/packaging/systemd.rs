//! The unit, read by systemd.

use std::fs;
use std::process::Command;

use crate::tools::{KEYBOUND, program, ran, repository, text};

const UNIT: &str = "deploy/systemd/keybound.service";

#[test]
fn systemd_understands_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("keybound.service");
    let adapted = text(UNIT).replace("/usr/local/bin/keybound", KEYBOUND);
    assert!(adapted.contains(&format!("\nExecStart={KEYBOUND} serve ")));
    fs::write(&unit, adapted).unwrap();
    let (success, words) = ran(Command::new(program("systemd-analyze")).args(["--man=no", "verify"]).arg(&unit));
    let about_it = words.lines().any(|line| line.contains("keybound.service"));
    assert!(success && !about_it, "{words}");
}

/// What remains is the network, a port below 1024, and the host's root directory, read-only.
#[test]
fn little_is_left_that_it_may_do() {
    let mut command = Command::new(program("systemd-analyze"));
    command.args(["security", "--offline=true", "--no-pager", "--threshold=16"]).arg(repository(UNIT));
    let (success, words) = ran(&mut command);
    assert!(success, "{words}");
}
