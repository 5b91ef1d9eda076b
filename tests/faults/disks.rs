//! A disk without room for the log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::crowd::Crowd;
use crate::eventually;
use crate::process::Program;
use crate::servers::free_port;
use crate::stage::{Gateway, Stage};

/// A gateway whose lines go elsewhere, ready. `script` becomes the program that it is given.
async fn logging_elsewhere(stage: &Stage, wrapper: &[&str], script: &str) -> Gateway {
    let ports = [free_port(), free_port()];
    let [address, admin] = ports.map(|port| format!("127.0.0.1:{port}"));
    let file = stage.configured(|configuration| {
        address.clone_into(&mut configuration.listener);
        admin.clone_into(&mut configuration.admin);
    });
    let words = [wrapper, &["sh", "-c", script, env!("CARGO_BIN_EXE_keybound"), "serve", "--config", file]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(stage.folder.path());
    let program = Program::run_by(&mut command, Stdio::null());
    let gateway = Gateway { program, address: address.parse().unwrap(), admin: admin.parse().unwrap() };
    eventually("it is ready", async || {
        tokio::net::TcpStream::connect(gateway.admin).await.ok()?;
        (gateway.readiness().await.0 == 200).then_some(())
    })
    .await;
    gateway
}

const TOLD: &str = "warning: the log cannot be written: No space left on device (os error 28)";

#[tokio::test]
async fn a_log_without_room_from_the_beginning() {
    let stage = Arc::new(Stage::set().await);
    let gateway = logging_elsewhere(&stage, &[], r#"exec "$0" "$@" >/dev/full"#).await;
    let crowd = Crowd::gathers(&stage, gateway.address);
    crowd.passes().await;
    crowd.is_robbed_in_vain().await;
    crowd.goes(&stage.api, &[200]).await;
    eventually("it says so", async || gateway.program.everything().contains(TOLD).then_some(())).await;
    gateway.program.signal("TERM");
    let ended = gateway.program.ended().await;
    assert_eq!(ended.code, 0);
    let told: Vec<&str> = ended.err.lines().collect();
    // Once, and at the end how much is missing.
    assert!(matches!(told[..], [TOLD, last] if last.starts_with("warning: the log is not whole: ")), "{told:?}");
}

/// A small disk of the gateway's own, which ends with it.
async fn on_a_small_disk(stage: &Stage) -> (Gateway, PathBuf) {
    let folder = stage.file("disk");
    fs::create_dir(&folder).unwrap();
    // Who is not root may be so in a namespace.
    let as_root = std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap()) == 0;
    let wrapper: &[&str] = if as_root { &["unshare", "--mount"] } else { &["unshare", "--mount", "--map-root-user"] };
    let script = r#"mount -t tmpfs -o size=256k none disk && exec "$0" "$@" >disk/log"#;
    let gateway = logging_elsewhere(stage, wrapper, script).await;
    let inside = format!("/proc/{}/root{}", gateway.program.id(), folder.display());
    (gateway, inside.into())
}

fn lines(log: &Path) -> usize {
    fs::read_to_string(log).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn a_disk_that_fills_up_and_has_room_again() {
    let stage = Arc::new(Stage::set().await);
    let (gateway, disk) = on_a_small_disk(&stage).await;
    let (log, other) = (disk.join("log"), disk.join("something-else"));
    eventually("the log is there", async || (lines(&log) > 0).then_some(())).await;
    let crowd = Crowd::gathers(&stage, gateway.address);
    crowd.passes().await;
    // Somebody takes the rest.
    let _ = fs::write(&other, vec![0; 256 * 1024]);
    eventually("it says so", async || gateway.program.everything().contains(TOLD).then_some(())).await;
    crowd.passes().await;
    let before = lines(&log);
    fs::remove_file(&other).unwrap();
    eventually("the log goes on", async || (lines(&log) > before + 10).then_some(())).await;
    crowd.goes(&stage.api, &[200]).await;
    gateway.program.signal("TERM");
    let ended = gateway.program.ended().await;
    assert_eq!(ended.code, 0);
    assert!(ended.err.contains("warning: the log is not whole: "), "{}", ended.err);
}
