//! Slow and silent clients. Here time itself is tested, so here tests wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::http::{ask_http2, http2_client};
use super::pki::{self, TLS13, client, connect};
use super::{PATIENCE, Running, ask, get, rest, start, within};
use crate::accept::{ClientCertificates, Limits};

const SHORT: Duration = Duration::from_millis(150);
/// Long enough to be on the safe side of `SHORT`.
const LONGER: Duration = Duration::from_millis(450);

fn plain(limits: Limits) -> Running {
    start(None, limits)
}

/// Nothing but `limits` cuts the connection.
fn only(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits =
        Limits { header_timeout: PATIENCE, handshake_timeout: PATIENCE, idle_timeout: PATIENCE, ..Limits::default() };
    change(&mut limits);
    limits
}

#[tokio::test]
async fn a_slow_handshake_is_cut() {
    let (settings, authority) = pki::settings(ClientCertificates::Off);
    let running = start(Some(settings), only(|limits| limits.handshake_timeout = SHORT));
    let mut silent = running.connect().await;
    let mut hesitant = running.connect().await;
    hesitant.write_all(&[0x16, 0x03]).await.unwrap();
    let started = Instant::now();
    rest(&mut silent).await;
    rest(&mut hesitant).await;
    assert!(started.elapsed() >= SHORT / 2);
    running.diary.expect("timeout").await;

    let client = Arc::new(client(&authority, TLS13, None));
    let mut stream = connect(running.address, &client, "rs.example").await.unwrap();
    sleep(LONGER).await;
    assert_eq!(ask(&mut stream, &get("/")).await.0, 200);
}

/// Slowloris: a byte now and then does not buy more time.
#[tokio::test]
async fn a_slow_head_is_cut_even_while_bytes_come() {
    for first in [true, false] {
        let running = plain(only(|limits| limits.header_timeout = SHORT));
        let mut stream = running.connect().await;
        if !first {
            assert_eq!(ask(&mut stream, &get("/")).await.0, 200);
        }
        let (mut reader, mut writer) = stream.into_split();
        let started = Instant::now();
        let trickle = tokio::spawn(async move {
            for byte in b"GET / HTTP/1.1\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'a')) {
                if writer.write_all(&[*byte]).await.is_err() {
                    return;
                }
                sleep(SHORT / 15).await;
            }
        });
        assert!(rest(&mut reader).await.is_empty());
        assert!((SHORT..PATIENCE).contains(&started.elapsed()), "{:?}", started.elapsed());
        trickle.abort();
        assert_eq!(ask(&mut running.connect().await, &get("/")).await.0, 200);
    }
}

#[tokio::test]
async fn a_half_sent_preface_is_cut() {
    let running = plain(only(|limits| limits.header_timeout = SHORT));
    let mut stream = running.connect().await;
    stream.write_all(b"PR").await.unwrap();
    rest(&mut stream).await;
}

#[tokio::test]
async fn the_header_timeout_leaves_idle_connections_alone() {
    let running = plain(only(|limits| limits.header_timeout = SHORT));
    let mut fresh = running.connect().await;
    let mut used = running.connect().await;
    assert_eq!(ask(&mut used, &get("/")).await.0, 200);
    let mut http2 = http2_client(running.connect().await).await;
    assert_eq!(ask_http2(&mut http2, "http://rs.example/").await.0, 200);
    sleep(LONGER).await;
    assert_eq!(ask(&mut fresh, &get("/")).await.0, 200);
    assert_eq!(ask(&mut used, &get("/")).await.0, 200);
    assert_eq!(ask_http2(&mut http2, "http://rs.example/").await.0, 200);
}

#[tokio::test]
async fn neither_timeout_cuts_a_request_under_way() {
    let running = plain(only(|limits| {
        limits.header_timeout = SHORT;
        limits.idle_timeout = SHORT;
    }));
    let mut stream = running.connect().await;
    stream.write_all(&get("/slow")).await.unwrap();
    let mut http2 = http2_client(running.connect().await).await;
    let waiting = tokio::spawn(async move { ask_http2(&mut http2, "http://rs.example/slow").await });
    within(running.witness.started.acquire_many(2)).await.unwrap().forget();
    sleep(LONGER).await;
    running.witness.release.add_permits(2);
    assert_eq!(super::answer(&mut stream).await, (200, "released".into()));
    assert_eq!(within(waiting).await.unwrap(), (200, "released".into()));
}

#[tokio::test]
async fn an_idle_connection_is_closed_but_not_before_its_time() {
    let running = plain(only(|limits| limits.idle_timeout = SHORT));
    let mut silent = running.connect().await;
    let started = Instant::now();
    assert!(rest(&mut silent).await.is_empty());
    assert!((SHORT / 2..PATIENCE).contains(&started.elapsed()), "{:?}", started.elapsed());

    let mut busy = running.connect().await;
    let started = Instant::now();
    while started.elapsed() < LONGER {
        assert_eq!(ask(&mut busy, &get("/")).await.0, 200);
        sleep(SHORT / 5).await;
    }
    let last = Instant::now();
    assert!(rest(&mut busy).await.is_empty());
    assert!(last.elapsed() >= SHORT / 2, "{:?}", last.elapsed());
}

/// Says what it must and never answers anything.
async fn stubborn_http2_client(running: &Running) -> TcpStream {
    let mut stream = running.connect().await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut settings = [0; 9];
    within(stream.read_exact(&mut settings)).await.unwrap();
    stream
}

#[tokio::test]
async fn a_client_that_does_not_heed_goaway_does_not_hold_up_the_end() {
    let running = plain(only(|limits| limits.header_timeout = SHORT));
    let mut stream = stubborn_http2_client(&running).await;
    running.gate.close();
    within(running.gate.drained()).await;
    rest(&mut stream).await;
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed_whatever_frames_come() {
    // The client does not heed GOAWAY, so that it takes the second deadline, too.
    let running = plain(only(|limits| {
        limits.header_timeout = SHORT;
        limits.idle_timeout = SHORT;
    }));
    let (mut reader, mut writer) = stubborn_http2_client(&running).await.into_split();
    let pings = tokio::spawn(async move {
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        while writer.write_all(&ping).await.is_ok() {
            sleep(SHORT / 10).await;
        }
    });
    rest(&mut reader).await;
    pings.abort();
    running.diary.expect("closed").await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_cut() {
    let running = plain(only(|limits| limits.idle_timeout = SHORT));
    let mut stream = running.connect().await;
    stream.write_all(&get("/large")).await.unwrap();
    running.diary.expect("closed").await;
    drop(stream);

    let mut stream = running.connect().await;
    stream.write_all(&get("/large")).await.unwrap();
    let mut bytes = vec![0; 1 << 20];
    let mut read = 0;
    let started = Instant::now();
    while started.elapsed() < LONGER {
        read += within(stream.read(&mut bytes)).await.unwrap();
        sleep(SHORT / 15).await;
    }
    while read < 64 << 20 {
        match within(stream.read(&mut bytes)).await.unwrap() {
            0 => panic!("cut after {read} bytes"),
            more => read += more,
        }
    }
}

#[tokio::test]
async fn an_upgraded_connection_may_be_silent_for_long() {
    let running = plain(only(|limits| {
        limits.header_timeout = SHORT;
        limits.idle_timeout = SHORT;
    }));
    let mut stream = running.connect().await;
    assert_eq!(ask(&mut stream, super::UPGRADE).await.0, 101);
    sleep(LONGER).await;
    super::echo(&mut stream).await;
}

/// Longer than it takes until a connection rests.
const RESTED: Duration = Duration::from_millis(1_300);

#[tokio::test]
async fn a_connection_that_rested_serves_as_before() {
    let (settings, authority) = pki::settings(ClientCertificates::Off);
    let secure = start(Some(settings), only(|_| {}));
    let client = Arc::new(client(&authority, TLS13, None));
    let mut tls = connect(secure.address, &client, "rs.example").await.unwrap();
    let running = plain(only(|_| {}));
    let (mut used, mut fresh) = (running.connect().await, running.connect().await);
    assert_eq!(ask(&mut used, &get("/")).await.0, 200);
    assert_eq!(ask(&mut tls, &get("/")).await.0, 200);
    for _ in 0..2 {
        sleep(RESTED).await;
        assert_eq!(ask(&mut used, &get("/")).await.0, 200);
        assert_eq!(ask(&mut fresh, &get("/")).await.0, 200);
        assert_eq!(ask(&mut tls, &get("/")).await.0, 200);
    }
}

/// The half of a head that came along with the request before is neither lost nor read twice.
#[tokio::test]
async fn a_head_may_be_finished_after_a_rest() {
    let running = plain(only(|_| {}));
    let mut stream = running.connect().await;
    let next = get("/length");
    let (half, other) = next.split_at(10);
    let (status, body) = ask(&mut stream, &[&get("/")[..], half].concat()).await;
    assert_eq!((status, body.starts_with("HTTP/1.1")), (200, true));
    sleep(RESTED).await;
    assert_eq!(ask(&mut stream, other).await, (200, "no length".to_owned()));
}

#[tokio::test]
async fn a_resting_connection_ends_with_the_idle_timeout_and_with_the_gate() {
    let limited = plain(only(|limits| limits.idle_timeout = RESTED + LONGER));
    let open = plain(only(|_| {}));
    let (mut idle, mut closed) = (limited.connect().await, open.connect().await);
    for stream in [&mut idle, &mut closed] {
        assert_eq!(ask(stream, &get("/")).await.0, 200);
    }
    let started = Instant::now();
    rest(&mut idle).await;
    assert!(started.elapsed() > RESTED);
    open.gate.close();
    rest(&mut closed).await;
    within(open.gate.drained()).await;
}
