//! The units, read by systemd.

use std::fs;
use std::process::Command;

use crate::tools::{KEYBOUND, documents, program, ran, repository, text};

const UNIT: &str = "deploy/systemd/keybound.service";

const SOCKET: &str = "deploy/systemd/keybound.socket";

/// Both units, with the binary in its place.
#[test]
fn systemd_understands_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let adapted = text(UNIT).replace("/usr/local/bin/keybound", KEYBOUND);
    assert!(adapted.contains(&format!("\nExecStart={KEYBOUND} serve ")));
    // What is only offered is right, too.
    let offered: String = text(SOCKET)
        .lines()
        .map(|line| line.strip_prefix('#').filter(|line| !line.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect();
    assert!(offered.contains("\nListenStream=/run/keybound-admin.sock\n"));
    for (name, content) in
        [("keybound.service", adapted), ("keybound.socket", text(SOCKET)), ("offered/keybound.socket", offered)]
    {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    fs::copy(folder.path().join("keybound.service"), folder.path().join("offered/keybound.service")).unwrap();
    for name in ["keybound.service", "keybound.socket", "offered/keybound.socket"] {
        let mut command = Command::new(program("systemd-analyze"));
        let (success, words) = ran(command.args(["--man=no", "verify"]).arg(folder.path().join(name)));
        let about_it = words.lines().any(|line| line.contains("keybound."));
        assert!(success && !about_it, "{name}: {words}");
    }
}

/// A socket that no listener has would be refused.
#[test]
fn socket_and_configuration_name_the_same_address() {
    let configuration = documents(&text("deploy/systemd/keybound.yaml")).remove(0);
    let address = configuration["listeners"][0]["address"].as_str().unwrap();
    assert!(text(SOCKET).contains(&format!("\nListenStream={address}\n")), "{address}");
}

/// What remains is the network, a port below 1024, and the host's root directory, read-only.
#[test]
fn little_is_left_that_it_may_do() {
    let mut command = Command::new(program("systemd-analyze"));
    command.args(["security", "--offline=true", "--no-pager", "--threshold=16"]).arg(repository(UNIT));
    let (success, words) = ran(&mut command);
    assert!(success, "{words}");
}
