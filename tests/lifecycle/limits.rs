//! The bounds of `limits`, seen from outside. Time is the subject of some: these have lower bounds.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stage::{Configuration, Gateway, Stage, message};
use crate::support::wire::{Answer, Http, Message, Stream, read_answer};
use crate::{eventually, in_time};

fn limits(text: &'static str) -> impl FnOnce(&mut Configuration) {
    move |configuration| text.clone_into(&mut configuration.limits)
}

async fn refusals(gateway: &Gateway, reason: &str) -> f64 {
    gateway.scrape().await.sum("keybound_refusals_total", &[("reason", reason)])
}

async fn handshakes(gateway: &Gateway, result: &str) -> f64 {
    gateway.scrape().await.sum("keybound_tls_handshakes_total", &[("result", result)])
}

async fn answer(stream: &mut Box<dyn Stream>) -> Answer {
    in_time("an answer", read_answer(&mut **stream, false)).await.unwrap()
}

/// How long until the connection ends, without another byte.
async fn until_cut(stream: &mut (impl tokio::io::AsyncRead + Unpin + ?Sized), since: Instant) -> Duration {
    assert!(in_time("the end of a connection", stream.read_u8()).await.is_err());
    since.elapsed()
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(limits("{ connections: 2 }")).await;
    let first = gateway.connect().await;
    let mut second = gateway.connect().await;
    let (dialer, call) = (gateway.dialer(), stage.call("/api/item"));
    let third = tokio::spawn(async move { dialer.send(Http::One, &call).await.unwrap().status });
    // The two are served, and the operator is not locked out.
    second.write_all(&stage.call("/api/item").to_bytes()).await.unwrap();
    assert_eq!(answer(&mut second).await.status, 200);
    assert_eq!((gateway.readiness().await.0, handshakes(&gateway, "ok").await), (200, 2.0));
    let scrape = gateway.scrape().await;
    assert_eq!((scrape.sum("keybound_connections", &[]), scrape.sum("keybound_connections_limit", &[])), (2.0, 2.0));
    assert!(!third.is_finished() && stage.api.count() == 1);
    let told = |line: &serde_json::Value| line["level"] == "WARN" && line["limit"] == 2;
    gateway.program.line("that the limit is reached", told).await;
    drop(first);
    assert_eq!(in_time("a place", third).await.unwrap(), 200);
}

#[tokio::test]
async fn a_slow_head_is_cut_and_a_slow_answer_is_not() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(limits("{ header_timeout: 500ms }")).await;
    let mut held = gateway.connect().await;
    held.write_all(&stage.call("/api/hold").to_bytes()).await.unwrap();
    stage.api.sees(1).await;
    let mut slow = gateway.connect().await;
    let begun = Instant::now();
    slow.write_all(b"GET /api/item HTTP/1.1\r\nHost: rs.exa").await.unwrap();
    let took = until_cut(&mut *slow, begun).await;
    assert!(took >= Duration::from_millis(500), "after {took:?}");
    stage.api.release();
    assert_eq!(answer(&mut held).await.status, 200);
    assert_eq!(stage.api.count(), 1);
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_after_idle_timeout() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(limits("{ idle_timeout: 500ms }")).await;
    let mut held = gateway.connect().await;
    held.write_all(&stage.call("/api/hold").to_bytes()).await.unwrap();
    stage.api.sees(1).await;
    let mut idle = gateway.connect().await;
    let sent = Instant::now();
    idle.write_all(&stage.call("/api/item").to_bytes()).await.unwrap();
    assert_eq!(answer(&mut idle).await.status, 200);
    let took = until_cut(&mut *idle, sent).await;
    assert!(took >= Duration::from_millis(500), "after {took:?}");
    stage.api.release();
    assert_eq!(answer(&mut held).await.status, 200);
}

#[tokio::test]
async fn a_slow_handshake_is_cut_and_counted() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(limits("{ handshake_timeout: 500ms }")).await;
    let begun = Instant::now();
    let mut silent = TcpStream::connect(gateway.address).await.unwrap();
    // The header of a record, and nothing in it.
    let mut halfway = TcpStream::connect(gateway.address).await.unwrap();
    halfway.write_all(&[22, 3, 1, 0, 200, 1]).await.unwrap();
    for stream in [&mut silent, &mut halfway] {
        let took = until_cut(stream, begun).await;
        assert!(took >= Duration::from_millis(500), "after {took:?}");
    }
    eventually("timeouts are counted", async || (handshakes(&gateway, "timeout").await == 2.0).then_some(())).await;
    assert_eq!((handshakes(&gateway, "ok").await, handshakes(&gateway, "failed").await), (0.0, 0.0));
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
}

#[tokio::test]
async fn a_body_that_is_too_large() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(limits("{ body_bytes: 1KiB }")).await;
    let post = |length: usize| {
        let mut call = message("/open/x", &[]);
        call.method = "POST".to_owned();
        call.body = vec![b'x'; length];
        call
    };
    let mut chunked = message("/open/x", &[("Transfer-Encoding", "chunked")]);
    chunked.method = "POST".to_owned();
    let chunked =
        [chunked.to_bytes(), b"400\r\n".to_vec(), vec![b'x'; 1024], b"\r\n1\r\nx\r\n0\r\n\r\n".to_vec()].concat();
    for http in [Http::One, Http::Two] {
        let before = stage.api.count();
        assert_eq!(gateway.dialer().send(http, &post(1024)).await.unwrap().status, 200, "{http:?}");
        let refused = gateway.dialer().send(http, &post(1025)).await.unwrap();
        assert_eq!((refused.status, stage.api.count()), (413, before + 1), "{http:?}");
        let line = gateway.access_line(refused.header("x-request-id").unwrap()).await;
        assert_eq!((&line["reason"], &line["expected"]), (&"body_too_large".into(), &"at most 1024 bytes".into()));
    }
    assert_eq!(gateway.dialer().send_bytes(&chunked, false).await.unwrap().status, 413);
    // Not even a good proof makes it smaller.
    let mut proven = stage.call("/api/item");
    proven.body = vec![b'x'; 4096];
    proven.method = "GET".to_owned();
    assert_eq!(gateway.status(&proven).await, 413);
    assert_eq!(refusals(&gateway, "body_too_large").await, 4.0);
}

/// A request with more fields.
fn with_fields(count: usize, length: usize) -> Message {
    let mut message = message("/open/x", &[]);
    message.headers.extend((0..count).map(|n| (format!("X-{n}"), vec![b'x'; length])));
    message
}

#[tokio::test]
async fn a_head_that_is_too_large() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(limits("{ header_bytes: 8KiB, headers: 20 }")).await;
    // An HTTP/2 head with too many bytes is answered below everything that counts.
    let heads =
        [(Http::One, 30, 1, true), (Http::One, 10, 1000, true), (Http::Two, 30, 1, true), (Http::Two, 10, 1000, false)];
    let mut expected = 0.0;
    for (http, count, length, counted) in heads {
        let answer = gateway.dialer().send(http, &with_fields(count, length)).await.unwrap();
        assert_eq!((answer.status, stage.api.count()), (431, 0), "{http:?} {count} x {length}");
        expected += f64::from(u8::from(counted));
        eventually(&format!("{http:?}: {count} x {length} is counted"), async || {
            (refusals(&gateway, "header_too_large").await == expected).then_some(())
        })
        .await;
    }
    for http in [Http::One, Http::Two] {
        assert_eq!(gateway.dialer().send(http, &with_fields(10, 100)).await.unwrap().status, 200, "{http:?}");
    }
}

#[tokio::test]
async fn the_largest_limits_are_no_trap() {
    let stage = Stage::set().await;
    let text = "{ connections: 10000000, header_bytes: 1MiB, headers: 1000, header_timeout: 366d, handshake_timeout: 366d, \
                idle_timeout: 366d, body_bytes: 1000GiB, drain_delay: 0s, drain_timeout: 366d }";
    let gateway = stage.gateway_with(limits(text)).await;
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    assert_eq!(gateway.status(&with_fields(80, 4000)).await, 200);
    gateway.program.signal("TERM");
    assert_eq!(gateway.program.ended().await.code, 0);
}

/// The routes of the stage, with this in the access of the first.
fn access(text: &'static str) -> impl FnOnce(&mut Configuration) {
    move |configuration| {
        configuration.routes = configuration.routes.replacen("' }", &format!("', access: {{ {text} }} }}"), 1);
    }
}

#[tokio::test]
async fn a_caller_who_asks_too_often_is_told_when_to_come_again() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(access("limits: { requests_per_second: 1, burst: 1 }")).await;
    let begun = Instant::now();
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
    // One of these is too early, however slow the machine is.
    let (mut call, mut refused) = (stage.call("/api/item"), 0);
    while refused == 0 {
        call = stage.call("/api/item");
        let answer = gateway.send(&call).await;
        if answer.status == 429 {
            assert_eq!(answer.header("retry-after"), Some("1"));
            let line = gateway.access_line(answer.header("x-request-id").unwrap()).await;
            assert_eq!((&line["decision"], &line["reason"]), (&"refuse".into(), &"limit_rate".into()));
            refused += 1;
        }
    }
    let passed = eventually("the same proof passes", async || {
        let status = gateway.status(&call).await;
        refused += usize::from(status == 429);
        (status != 429).then_some(status)
    });
    assert_eq!(passed.await, 200);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(refusals(&gateway, "limit_rate").await, refused as f64);
    assert_eq!(refusals(&gateway, "proof_replayed").await, 0.0);
}

#[tokio::test]
async fn a_tunnel_counts_among_what_is_under_way() {
    let stage = Stage::set().await;
    let gateway = stage.gateway_with(access("limits: { concurrent: 1 }")).await;
    let mut socket = gateway.connect().await;
    socket.write_all(&stage.call_for_socket().to_bytes()).await.unwrap();
    assert_eq!(answer(&mut socket).await.status, 101);
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 429);
    drop(socket);
    eventually("its place", async || (gateway.status(&stage.call("/api/item")).await == 200).then_some(())).await;
}

#[tokio::test]
async fn failures_are_slowed_down_where_that_is_wanted() {
    let stage = Stage::set().await;
    let proof_of_another = |path| {
        let mut call = stage.call(path);
        let proof = call.headers.iter_mut().find(|(name, _)| name == "DPoP").unwrap();
        let end = proof.1.len() - 10;
        proof.1[end] ^= 1;
        call
    };
    let gateway = stage.gateway_with(limits("{ failures: { per_minute: 1, burst: 2 } }")).await;
    for status in [401, 401, 429] {
        assert_eq!(gateway.status(&proof_of_another("/api/item")).await, status);
    }
    let refused = gateway.send(&stage.call("/api/item")).await;
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(refused.status == 429 && (1..=60).contains(&wait), "{refused:?}");
    assert_eq!(gateway.status(&message("/open/x", &[])).await, 200);
    assert_eq!(refusals(&gateway, "limit_failures").await, 2.0);
}
