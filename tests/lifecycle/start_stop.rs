//! From the first log line to the last.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::issuer::Mood;
use crate::process::{Ended, Program};
use crate::stage::{Configuration, Gateway, Stage, message, missing};
use crate::support::wire::{Answer, Http, Stream, h2_exchange, read_answer, read_one};
use crate::{eventually, in_time};

fn drains(delay: &str, timeout: &str) -> impl FnOnce(&mut Configuration) {
    move |configuration| configuration.limits = format!("{{ drain_delay: {delay}, drain_timeout: {timeout} }}")
}

/// Sends a request that the API does not answer yet, and waits until it is there.
async fn hold(stage: &Stage, gateway: &Gateway) -> Box<dyn Stream> {
    let before = stage.api.count();
    let mut connection = gateway.connect().await;
    connection.write_all(&stage.call("/api/hold").to_bytes()).await.unwrap();
    stage.api.sees(before + 1).await;
    connection
}

async fn answer(connection: &mut Box<dyn Stream>) -> Answer {
    in_time("an answer", read_answer(&mut **connection, false)).await.unwrap()
}

/// Whether the connection ends without another byte.
async fn is_cut(connection: &mut Box<dyn Stream>) -> bool {
    in_time("the end of a connection", connection.read_u8()).await.is_err()
}

async fn socket(stage: &Stage, gateway: &Gateway) -> Box<dyn Stream> {
    let mut socket = gateway.connect().await;
    socket.write_all(&stage.call_for_socket().to_bytes()).await.unwrap();
    assert_eq!(in_time("an upgrade", read_one(&mut *socket, false)).await.unwrap().status, 101);
    socket
}

/// A masked text frame "hi", and the API's echo of it (RFC 6455 §5.7).
async fn echoes(socket: &mut Box<dyn Stream>) -> bool {
    socket.write_all(&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]).await.unwrap();
    let mut frame = [0; 4];
    in_time("an echo", socket.read_exact(&mut frame)).await.is_ok_and(|_| &frame == b"\x81\x02hi")
}

#[tokio::test]
async fn it_is_ready_when_the_keys_are_there() {
    let stage = Stage::set().await;
    stage.issuer.becomes(Mood::Fails(StatusCode::SERVICE_UNAVAILABLE));
    let gateway = stage.gateway_before_it_is_ready(|_| {}).await;
    gateway.program.says("keys could not be refreshed").await;
    let (status, words) = gateway.readiness().await;
    let why = format!("issuer https://as.example: no keys yet; the last attempt failed: {}", stage.issuer.jwks_uri());
    assert!(status == 503 && words.starts_with("not ready\n"), "{words}");
    assert!(words.contains(&format!("{why}: expected status 200, found 503\n")), "{words}");
    let health = gateway.admin("/healthz").await;
    assert_eq!(
        (health.status, health.text().as_str(), health.header("cache-control")),
        (200, "ok\n", Some("no-store"))
    );

    stage.issuer.publishes(&[("k1", &stage.issuer_key)]);
    gateway.program.says("ready").await;
    assert_eq!(gateway.readiness().await, (200, "ready\n".to_owned()));
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
}

#[tokio::test]
async fn sigterm_takes_readiness_first_then_lets_requests_finish() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(drains("2s", "30s")).await;
    let mut held = hold(&stage, &gateway).await;
    let mut idle = gateway.connect().await;
    idle.write_all(&message("/open/x", &[]).to_bytes()).await.unwrap();
    assert_eq!(answer(&mut idle).await.header("connection"), None);

    let signalled = Instant::now();
    gateway.program.signal("TERM");
    assert_eq!(gateway.program.says("stopping").await["signal"], "SIGTERM");
    let (status, words) = gateway.readiness().await;
    assert_eq!((status, words.contains("draining")), (503, true), "{words}");
    assert_eq!(gateway.admin("/healthz").await.status, 200);
    // A load balancer that has not looked yet still sends requests here.
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    assert!(signalled.elapsed() < Duration::from_secs(2), "too slow to tell: this was not during drain_delay");

    assert!(is_cut(&mut idle).await);
    assert!(signalled.elapsed() >= Duration::from_secs(2), "after {:?}", signalled.elapsed());
    eventually("new connections are refused", async || TcpStream::connect(gateway.address).await.err()).await;
    assert_eq!(gateway.readiness().await.0, 503);
    stage.api.release();
    let last = answer(&mut held).await;
    assert_eq!((last.status, last.text().as_str()), (200, "fine"));
    assert_eq!(last.header("connection"), Some("close"));
    let ended = gateway.program.ended().await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.contains(r#""message":"stopped","drained":true"#), "{}", ended.out);
}

/// Tells a process, as a container's hook does.
async fn drain(stage: &Stage, process: u32) -> Ended {
    Program::run(stage.folder.path(), &["drain", "--pid", &process.to_string()]).await
}

/// A sidecar is told first and ends last: what its application has to say passes, and clients are gone by then.
#[tokio::test]
async fn what_is_drained_goes_on_until_it_is_told_to_end() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(drains("1s", "30s")).await;
    let mut held = hold(&stage, &gateway).await;
    let mut idle = gateway.connect().await;
    idle.write_all(&message("/open/x", &[]).to_bytes()).await.unwrap();
    assert_eq!(answer(&mut idle).await.status, 200);

    let told = Instant::now();
    let Ended { code, out, err } = drain(&stage, gateway.program.id()).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    gateway.program.says("draining").await;
    let (status, words) = gateway.readiness().await;
    assert_eq!((status, words.contains("draining")), (503, true), "{words}");
    assert!(is_cut(&mut idle).await);
    assert!(told.elapsed() >= Duration::from_secs(1), "after {:?}", told.elapsed());
    // It goes on: also for whoever did not hear of it, and once is enough.
    assert_eq!(drain(&stage, gateway.program.id()).await.code, 0);
    for _ in 0..3 {
        assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    }
    assert_eq!(gateway.admin("/healthz").await.status, 200);
    stage.api.release();
    let last = answer(&mut held).await;
    assert_eq!((last.status, last.text().as_str(), last.header("connection")), (200, "fine", Some("close")));

    gateway.program.signal("TERM");
    let ended = gateway.program.ended().await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.contains(r#""message":"stopped","drained":true"#), "{}", ended.out);
}

/// Nobody can tell from outside whether a gateway has read its configuration already.
#[tokio::test]
async fn what_is_asked_of_it_before_it_is_there_does_not_end_it() {
    let stage = Stage::set().await;
    let folder = format!("{}/server.", stage.folder.path().display());
    let file = stage.configured(|configuration| configuration.tls = configuration.tls.replace("server.", &folder));
    let text = std::fs::read(stage.file(file)).unwrap();
    for (signal, said) in [("HUP", "ready"), ("USR1", "draining")] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
        command.args(["serve", "--config", "/dev/stdin"]).current_dir(stage.folder.path());
        let program = Program::run_by(&mut command, reader.into());
        let status = format!("/proc/{}/status", program.id());
        // It runs, and waits for the pipe.
        eventually("it listens for signals", async || {
            let status = std::fs::read_to_string(&status).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim().to_owned();
            (u64::from_str_radix(&caught, 16).unwrap() & (1 << 9 | 1) == 1 << 9 | 1).then_some(())
        })
        .await;
        program.signal(signal);
        writer.write_all(&text).unwrap();
        drop(writer);
        let gateway = Gateway::of(program).await;
        gateway.program.says(said).await;
        assert_eq!(gateway.status(&message("/open/x", &[])).await, 200, "{signal}");
    }
}

#[tokio::test]
async fn only_a_gateway_is_drained() {
    let stage = Stage::set().await;
    let own = drain(&stage, std::process::id()).await;
    assert_eq!(
        (own.code, missing(&own.err, &["is no gateway: expected the name keybound, found "])),
        (1, String::new())
    );
    // What has the name and is no gateway that serves would be ended by the signal.
    let named = stage.file("keybound");
    std::fs::copy("/bin/sleep", &named).unwrap();
    let mut other = std::process::Command::new(&named).arg("600").spawn().unwrap();
    let told = drain(&stage, other.id()).await;
    let goes_on = other.try_wait().unwrap().is_none();
    let _ = other.kill();
    other.wait().unwrap();
    assert_eq!((told.code, missing(&told.err, &["expected one that takes SIGUSR1"])), (1, String::new()));
    assert!(goes_on);
    let nobody = drain(&stage, i32::MAX as u32).await;
    assert_eq!((nobody.code, missing(&nobody.err, &["error: no process 2147483647: "])), (1, String::new()));
    for wrong in ["0", "-1"] {
        let wrong = Program::run(stage.folder.path(), &["drain", &format!("--pid={wrong}")]).await;
        assert_eq!(wrong.code, 2, "{}", wrong.err);
    }
}

#[tokio::test]
async fn an_answer_that_has_begun_and_http2_streams_finish_too() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(drains("0s", "30s")).await;
    let mut begun = gateway.connect().await;
    begun.write_all(&stage.call("/api/drip").to_bytes()).await.unwrap();
    let stream = gateway.dialer().connect(Http::Two).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let call = stage.call("/api/hold");
    let stream = tokio::spawn(async move { h2_exchange(&mut sender, &call).await });
    stage.api.sees(2).await;

    gateway.program.signal("INT");
    assert_eq!(gateway.program.says("stopping").await["signal"], "SIGINT");
    eventually("new connections are refused", async || TcpStream::connect(gateway.address).await.err()).await;
    stage.api.release();
    assert_eq!(answer(&mut begun).await.text(), "first, last");
    let answer = in_time("an answer over HTTP/2", stream).await.unwrap().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
    in_time("GOAWAY and the end", connection).await.unwrap().unwrap();
    assert_eq!(gateway.program.ended().await.code, 0);
}

#[tokio::test]
async fn what_is_idle_holds_nothing_up() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    let mut idle = gateway.connect().await;
    idle.write_all(&stage.call("/api/item").to_bytes()).await.unwrap();
    assert_eq!(answer(&mut idle).await.status, 200);
    let _silent = gateway.connect().await;
    let _in_handshake = TcpStream::connect(gateway.address).await.unwrap();
    let mut admin = TcpStream::connect(gateway.admin).await.unwrap();
    admin.write_all(&message("/healthz", &[]).to_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut admin, false).await.unwrap().status, 200);

    let signalled = Instant::now();
    gateway.program.signal("INT");
    assert_eq!(gateway.program.ended().await.code, 0);
    // drain_timeout is 30s.
    assert!(signalled.elapsed() < Duration::from_secs(10), "after {:?}", signalled.elapsed());
}

#[tokio::test]
async fn drain_timeout_cuts_what_is_left() {
    for signal in ["TERM", "INT"] {
        let stage = Stage::set().await;
        let gateway = stage.gateway_with(drains("0s", "500ms")).await;
        let mut held = hold(&stage, &gateway).await;
        let mut socket = socket(&stage, &gateway).await;
        let signalled = Instant::now();
        gateway.program.signal(signal);
        gateway.program.says("stopping").await;
        assert!(echoes(&mut socket).await, "a WebSocket lives until drain_timeout");
        assert!(is_cut(&mut held).await && is_cut(&mut socket).await);
        let took = signalled.elapsed();
        assert!((500..10_000).contains(&took.as_millis()), "after {took:?}");
        let ended = gateway.program.ended().await;
        assert_eq!((ended.code, ended.err.as_str()), (1, ""));
        assert!(ended.out.contains(r#""message":"stopped","drained":false"#), "{}", ended.out);
        assert!(ended.out.contains(r#""path":"/api/hold""#), "what was cut has its access line, too: {}", ended.out);
    }
}

#[tokio::test]
async fn a_websocket_that_ends_in_time_is_waited_for() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(drains("0s", "30s")).await;
    let mut socket = socket(&stage, &gateway).await;
    gateway.program.signal("TERM");
    eventually("new connections are refused", async || TcpStream::connect(gateway.address).await.err()).await;
    assert!(echoes(&mut socket).await);
    drop(socket);
    assert_eq!(gateway.program.ended().await.code, 0);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for (delay, signals) in [("0s", ["TERM", "TERM"]), ("0s", ["INT", "TERM"]), ("60s", ["TERM", "INT"])] {
        let stage = Stage::set().await;
        let gateway = stage.gateway_with(drains(delay, "60s")).await;
        let mut held = hold(&stage, &gateway).await;
        gateway.program.signal(signals[0]);
        gateway.program.says("stopping").await;
        let again = Instant::now();
        gateway.program.signal(signals[1]);
        assert!(is_cut(&mut held).await);
        assert_eq!(gateway.program.ended().await.code, 1);
        assert!(again.elapsed() < Duration::from_secs(10), "after {:?}", again.elapsed());
    }
}

#[tokio::test]
async fn it_ends_while_it_is_not_ready_yet() {
    let stage = Stage::set().await;
    stage.issuer.becomes(Mood::Hangs);
    let gateway = stage.gateway_before_it_is_ready(|_| {}).await;
    eventually("a fetch", async || (stage.issuer.fetches() > 0).then_some(())).await;
    let (status, words) = gateway.readiness().await;
    assert_eq!((status, words.contains("issuer https://as.example: no keys yet\n")), (503, true), "{words}");
    gateway.program.signal("TERM");
    assert_eq!(gateway.program.ended().await.code, 0);
}
