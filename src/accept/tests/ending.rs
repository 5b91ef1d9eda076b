//! How many there may be, and how it ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http::{ask_http2, http2_client};
use super::pki::{self, TLS13, client, connect, connect_over};
use super::{UPGRADE, Witness, answer, anywhere, ask, echo, get, read_head, rest, start, start_behind, within};
use crate::accept::{BindError, ClientCertificates, Gate, Limits, Listener, ListenerSettings};

/// How long something that must not happen is waited for.
const A_WHILE: Duration = Duration::from_millis(150);

#[tokio::test]
async fn an_occupied_port_is_named() {
    let first = Listener::bind(&anywhere(None)).unwrap();
    let settings = ListenerSettings { address: first.address(), ..anywhere(None) };
    let error = Listener::bind(&settings).unwrap_err();
    assert!(matches!(error, BindError::Address { .. }));
    let expected =
        format!("cannot listen on {}: another process, or another listener, holds that address", first.address());
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn an_address_of_another_host_is_named() {
    let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
    let error = Listener::bind(&ListenerSettings { address, ..anywhere(None) }).unwrap_err();
    assert_eq!(error.to_string(), "cannot listen on 192.0.2.1:0: this host has no such address");
}

#[tokio::test]
async fn tls_without_a_certificate_does_not_start() {
    let (mut settings, _) = pki::settings(ClientCertificates::Off);
    settings.certificates.clear();
    let error = Listener::bind(&anywhere(Some(settings))).unwrap_err();
    assert_eq!(error.to_string(), "cannot serve TLS on 127.0.0.1:0: no server certificate is configured");
}

#[tokio::test]
async fn the_limit_holds_a_client_back_until_another_leaves() {
    let gate = Gate::new(Limits { connections: 1, ..Limits::default() });
    let (here, there) = (start_behind(&gate, None), start_behind(&gate, None));
    // One place for two listeners: a listener at rest does not occupy it.
    let mut first = there.connect().await;
    assert_eq!(ask(&mut first, &get("/")).await.0, 200);
    for running in [&here, &there] {
        let mut second = running.connect().await;
        second.write_all(&get("/")).await.unwrap();
        timeout(A_WHILE, read_head(&mut second)).await.unwrap_err();
        assert_eq!(gate.connections(), 1);
        drop(first);
        assert_eq!(answer(&mut second).await.0, 200);
        first = second;
    }
}

#[tokio::test]
async fn a_request_under_way_finishes_and_nothing_new_begins() {
    let running = start(None, Limits::default());
    let mut stream = running.connect().await;
    stream.write_all(&get("/slow")).await.unwrap();
    within(running.witness.started.acquire()).await.unwrap().forget();

    running.gate.close();
    within(running.task).await.unwrap();
    TcpStream::connect(running.address).await.unwrap_err();
    timeout(A_WHILE, running.gate.drained()).await.unwrap_err();

    running.witness.release.add_permits(1);
    let head = within(read_head(&mut stream)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(rest(&mut stream).await, b"released");
    drop(stream);
    within(running.gate.drained()).await;
    assert_eq!(running.diary.lines(), ["opened", "closed"]);
}

#[tokio::test]
async fn an_http2_client_is_told_to_go_away_and_gets_its_answers() {
    let running = start(None, Limits::default());
    let sender = http2_client(running.connect().await).await;
    let mut same = sender.clone();
    let waiting = tokio::spawn(async move { ask_http2(&mut same, "http://rs.example/slow").await });
    within(running.witness.started.acquire()).await.unwrap().forget();
    running.gate.close();
    timeout(A_WHILE, running.gate.drained()).await.unwrap_err();
    running.witness.release.add_permits(1);
    assert_eq!(within(waiting).await.unwrap(), (200, "released".into()));
    within(running.gate.drained()).await;
    within(async {
        while !sender.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn idle_connections_close_at_once() {
    let (settings, authority) = pki::settings(ClientCertificates::Off);
    let gate = Gate::new(Limits::default());
    let (plain, tls) = (start_behind(&gate, None), start_behind(&gate, Some(settings)));
    let mut used = plain.connect().await;
    assert_eq!(ask(&mut used, &get("/")).await.0, 200);
    let mut secure = connect(tls.address, &Arc::new(client(&authority, TLS13, None)), "rs.example").await.unwrap();
    assert_eq!(ask(&mut secure, &get("/")).await.0, 200);
    let mut http2 = http2_client(plain.connect().await).await;
    assert_eq!(ask_http2(&mut http2, "http://rs.example/").await.0, 200);

    gate.close();
    // Less than any timeout, and the clients need not do anything.
    timeout(Duration::from_secs(1), gate.drained()).await.unwrap();
    assert!(rest(&mut used).await.is_empty());
    assert!(rest(&mut secure).await.is_empty());
}

/// Whoever connected before the gate closed could not know that it would.
#[tokio::test]
async fn a_newcomer_may_send_a_request_first() {
    let (settings, authority) = pki::settings(ClientCertificates::Off);
    let gate = Gate::new(Limits::default());
    let (plain, tls) = (start_behind(&gate, None), start_behind(&gate, Some(settings)));
    let mut first = plain.connect().await;
    let second = plain.connect().await;
    let third = tls.connect().await;
    let mut silent = [plain.connect().await, tls.connect().await];
    while gate.connections() < 5 {
        tokio::task::yield_now().await;
    }

    gate.close();
    assert_eq!(ask(&mut first, &get("/")).await.0, 200);
    let mut http2 = http2_client(second).await;
    assert_eq!(ask_http2(&mut http2, "http://rs.example/").await.0, 200);
    let mut secure = connect_over(third, &Arc::new(client(&authority, TLS13, None)), "rs.example").await.unwrap();
    assert_eq!(ask(&mut secure, &get("/")).await.0, 200);
    // Less than any timeout: those that have nothing to say are not waited for, and the others had their turn.
    timeout(Duration::from_secs(5), gate.drained()).await.unwrap();
    for stream in &mut silent {
        assert!(rest(stream).await.is_empty());
    }
    assert!(rest(&mut first).await.is_empty());
    assert!(rest(&mut secure).await.is_empty());
}

#[tokio::test]
async fn an_emptying_gate_lets_go_and_serves_who_comes() {
    let running = start(None, Limits::default());
    let mut idle = running.connect().await;
    assert_eq!(ask(&mut idle, &get("/")).await.0, 200);
    let mut slow = running.connect().await;
    slow.write_all(&get("/slow")).await.unwrap();
    within(running.witness.started.acquire()).await.unwrap().forget();
    let mut http2 = http2_client(running.connect().await).await;
    assert_eq!(ask_http2(&mut http2, "http://rs.example/").await.0, 200);

    running.gate.empty();
    assert!(timeout(Duration::from_secs(1), rest(&mut idle)).await.unwrap().is_empty());
    within(async {
        while !http2.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // An answer that takes no time says so, too: its client must not send another request into the end.
    let mut late = running.connect().await;
    late.write_all(&get("/length")).await.unwrap();
    let head = within(read_head(&mut late)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("connection: close"), "{head}");
    assert_eq!(rest(&mut late).await, b"no length");
    assert!(!running.task.is_finished());

    // What was begun finishes after the gate closed, too.
    running.gate.close();
    within(running.task).await.unwrap();
    running.witness.release.add_permits(1);
    let head = within(read_head(&mut slow)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("connection: close"), "{head}");
    assert_eq!(rest(&mut slow).await, b"released");
    drop(slow);
    within(running.gate.drained()).await;
}

/// Nobody else would answer: the listener took it from the backlog, where it could have waited for the next process.
#[tokio::test]
async fn who_waits_for_a_place_gets_one_though_the_gate_closes() {
    let running = start(None, Limits { connections: 1, ..Limits::default() });
    let mut first = running.connect().await;
    first.write_all(&get("/slow")).await.unwrap();
    within(running.witness.started.acquire()).await.unwrap().forget();
    let mut second = running.connect().await;
    second.write_all(&get("/length")).await.unwrap();
    // So that it is accepted before.
    tokio::time::sleep(Duration::from_millis(20)).await;
    running.gate.close();
    let drained = tokio::spawn({
        let gate = running.gate.clone();
        async move { gate.drained().await }
    });
    tokio::task::yield_now().await;
    running.witness.release.add_permits(1);
    let head = within(read_head(&mut first)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(rest(&mut first).await, b"released");
    drop(first);
    let head = within(read_head(&mut second)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("connection: close"), "{head}");
    assert_eq!(rest(&mut second).await, b"no length");
    within(drained).await.unwrap();
}

#[tokio::test]
async fn a_newcomer_can_be_cut() {
    let running = start(None, Limits::default());
    let mut silent = running.connect().await;
    while running.gate.connections() < 1 {
        tokio::task::yield_now().await;
    }
    running.gate.close();
    running.gate.abort();
    timeout(Duration::from_secs(1), running.gate.drained()).await.unwrap();
    assert!(rest(&mut silent).await.is_empty());
}

#[tokio::test]
async fn what_is_left_can_be_cut() {
    let running = start(None, Limits::default());
    let mut slow = running.connect().await;
    slow.write_all(&get("/slow")).await.unwrap();
    within(running.witness.started.acquire()).await.unwrap().forget();
    let mut tunnel = running.connect().await;
    assert_eq!(ask(&mut tunnel, UPGRADE).await.0, 101);

    running.gate.close();
    timeout(A_WHILE, running.gate.drained()).await.unwrap_err();
    within(echo(&mut tunnel)).await;
    running.gate.abort();
    within(running.gate.drained()).await;
    assert!(rest(&mut slow).await.is_empty());
    assert!(rest(&mut tunnel).await.is_empty());
}

#[tokio::test]
async fn a_gate_that_was_closed_before_lets_nobody_in() {
    let gate = Gate::new(Limits::default());
    gate.close();
    let listener = Listener::bind(&anywhere(None)).unwrap();
    let address = listener.address();
    within(listener.run(Arc::new(Witness::default()), Arc::new(()), gate.clone())).await;
    TcpStream::connect(address).await.unwrap_err();
    within(gate.drained()).await;
}

/// The client leaves: the handler is dropped and the place is free.
#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let running = start(None, Limits { connections: 1, ..Limits::default() });
    let mut gone = running.connect().await;
    gone.write_all(&get("/slow")).await.unwrap();
    within(running.witness.started.acquire()).await.unwrap().forget();
    drop(gone);
    assert_eq!(ask(&mut running.connect().await, &get("/")).await.0, 200);
}

#[tokio::test]
async fn several_requests_share_a_connection() {
    let running = start(None, Limits::default());
    let mut stream = running.connect().await;
    stream.write_all(&[get("/"), get("/"), get("/")].concat()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(answer(&mut stream).await.0, 200);
    }
    let mut byte = [0];
    timeout(A_WHILE, stream.read(&mut byte)).await.unwrap_err();
}
