//! What systemd hears of a gateway (sd_notify(3)).

use http::StatusCode;
use tokio::net::UnixDatagram;

use crate::in_time;
use crate::issuer::Mood;
use crate::stage::{Stage, write};

/// The next message, line by line; without the time of a reload, which has to be there.
async fn heard(socket: &UnixDatagram) -> Vec<String> {
    let mut message = vec![0; 4096];
    let length = in_time("a message", socket.recv(&mut message)).await.unwrap();
    let message = String::from_utf8(message[..length].to_vec()).unwrap();
    let mut lines: Vec<String> = message.lines().map(str::to_owned).collect();
    if lines[0] == "RELOADING=1" {
        let at = lines.pop().unwrap();
        assert!(at.strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap() > 0, "{at}");
    }
    lines
}

#[tokio::test]
async fn a_supervisor_hears_of_start_reload_and_end() {
    let stage = Stage::set().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let gateway = stage.gateway_in(&[("NOTIFY_SOCKET", path.to_str().unwrap())], |_| {}).await;
    assert_eq!(heard(&socket).await, ["READY=1", "STATUS=not ready yet; /readyz on the admin port says why"]);
    assert_eq!(heard(&socket).await, ["STATUS=ready"]);

    let becomes = |limits: &str| {
        let mut configuration = stage.configuration();
        configuration.limits = limits.to_owned();
        write(&stage.file("keybound.yaml"), &configuration.text());
    };
    becomes("{ body_bytes: 1MiB }");
    assert_eq!(heard(&socket).await, ["RELOADING=1"]);
    assert_eq!(heard(&socket).await, ["READY=1", "STATUS=the configuration was reloaded"]);
    becomes("{ body: 1MiB }");
    assert_eq!(heard(&socket).await, ["RELOADING=1"]);
    let refused = "STATUS=the configuration was refused, and the one before is in force; the log says why";
    assert_eq!(heard(&socket).await, ["READY=1", refused]);

    gateway.program.signal("USR1");
    assert_eq!(heard(&socket).await, ["STATUS=draining: not ready, and clients are asked to leave"]);
    gateway.program.signal("TERM");
    assert_eq!(heard(&socket).await, ["STOPPING=1", "STATUS=finishing what is under way"]);
    assert_eq!(gateway.program.ended().await.code, 0);
}

#[tokio::test]
async fn a_gateway_without_keys_has_started_all_the_same() {
    let stage = Stage::set().await;
    stage.issuer.becomes(Mood::Fails(StatusCode::INTERNAL_SERVER_ERROR));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let gateway = stage.gateway_in(&[("NOTIFY_SOCKET", path.to_str().unwrap())], |_| {}).await;
    assert_eq!(heard(&socket).await[0], "READY=1");
    assert_eq!(gateway.readiness().await.0, 503);
}
