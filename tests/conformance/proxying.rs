//! 3.15 and 2.14: both ways through the gateway.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use keybound::accept::Limits;
use keybound::refusal::Reason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::wire::{Http, PATIENCE, read_answer, read_one};
use crate::support::{Plan, World, world};

/// An upstream that answers each connection with these bytes, whatever it hears, and then hangs up.
async fn canned(bytes: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for _ in 0..20 {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(bytes).await;
        }
    });
    address
}

async fn world_before(upstream: std::net::SocketAddr) -> crate::support::World {
    Plan { upstream: Some(upstream), response_timeout: Duration::from_millis(300), ..Plan::default() }.start().await
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_502() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = world_before(free).await;
    let answer = world.good().send(Http::One).await;
    assert_eq!((answer.status, world.refusals("api", Reason::UpstreamUnreachable)), (502, 1));
    crate::support::shape::assert_refusal(&answer, Reason::UpstreamUnreachable, &world.good());
    assert!(!answer.text().contains(&free.port().to_string()), "SHP-07: {answer:?}");
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_504() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = world_before(silent.local_addr().unwrap()).await;
    let answer = world.good().send(Http::Two).await;
    assert_eq!((answer.status, world.refusals("api", Reason::UpstreamTimeout)), (504, 1));
}

/// Counted from the last moment at which the body moved, and not as a whole timeout in which nothing does.
#[tokio::test]
async fn an_upstream_that_takes_a_body_and_does_not_answer_is_504_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let response_timeout = Duration::from_secs(2);
    let upstream = Some(silent.local_addr().unwrap());
    let world = Plan { upstream, response_timeout, ..Plan::default() }.start().await;
    let begun = std::time::Instant::now();
    let answer = world.good().method("POST").body("abc").send(Http::One).await;
    assert_eq!((answer.status, world.refusals("api", Reason::UpstreamTimeout)), (504, 1));
    let took = begun.elapsed();
    assert!(took >= response_timeout && took < response_timeout * 2, "{took:?}");
}

#[tokio::test]
async fn an_upstream_that_speaks_no_http_is_502() {
    let world = world_before(canned(b"SSH-2.0-OpenSSH_9.2\r\n").await).await;
    let answer = world.good().send(Http::One).await;
    assert_eq!((answer.status, world.refusals("api", Reason::UpstreamProtocol)), (502, 1), "{}", world.metrics());
}

#[tokio::test]
async fn neg_252_a_101_that_nobody_asked_for_is_502() {
    let reply = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let world = world_before(canned(reply).await).await;
    assert_eq!(world.good().send(Http::One).await.status, 502);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_short_success() {
    let world = world_before(canned(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await).await;
    for http in [Http::One, Http::Two] {
        let result = world.dialer.send(http, &world.good().message()).await;
        assert!(result.is_err(), "{http:?} {result:?}");
    }
}

#[tokio::test]
async fn neg_251_and_169_what_an_upstream_may_not_say() {
    let world = world().await;
    world.upstream.replies(|_| {
        Response::builder()
            .status(StatusCode::UNAUTHORIZED)
            .header("WWW-Authenticate", "Bearer realm=\"api\"")
            .header("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"")
            .header("DPoP-Nonce", "abc")
            .header("Keep-Alive", "timeout=5")
            .header("Connection", "X-Hop")
            .header("X-Hop", "1")
            .header("X-End", "1")
            .body(Full::new(Bytes::from_static(b"no")))
            .unwrap()
    });
    for http in [Http::One, Http::Two] {
        let answer = world.good().send(http).await;
        assert_eq!((answer.status, answer.text().as_str()), (401, "no"));
        assert_eq!(answer.all("www-authenticate"), ["Bearer realm=\"api\""]);
        assert_eq!(
            (answer.header("dpop-nonce"), answer.header("x-hop"), answer.header("x-end")),
            (None, None, Some("1"))
        );
        assert!(answer.header("x-request-id").is_some());
    }
}

#[tokio::test]
async fn bodies_of_every_size_go_through_both_ways() {
    let world = world().await;
    world.upstream.replies(|seen| Response::new(Full::new(seen.body.clone())));
    for size in [0, 1, 1000, 70_000, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|n: usize| n.to_le_bytes()[0]).collect();
        for http in [Http::One, Http::Two] {
            let answer = world.passes_over(http, &world.good().method("POST").body(body.clone())).await;
            assert!(answer.body == body, "{http:?} {size}: {} bytes came back", answer.body.len());
        }
    }
}

#[tokio::test]
async fn a_chunked_upload_streams_and_keeps_its_trailers() {
    let world = world().await;
    let message = world.good().method("POST").message();
    let text = String::from_utf8(message.to_bytes()).unwrap();
    let text = text.strip_suffix("\r\n").unwrap();
    let chunked = format!(
        "{text}Transfer-Encoding: chunked\r\nTrailer: X-Checksum, DPoP\r\n\r\n5\r\nhello\r\n0\r\nX-Checksum: 1\r\nDPoP: x\r\n\r\n"
    );
    let answer = world.dialer.send_bytes(chunked.as_bytes(), false).await.unwrap();
    assert_eq!(answer.status, 200);
    let seen = world.upstream.last();
    let trailers = seen.trailers.expect("trailers");
    assert_eq!(&seen.body[..], b"hello");
    assert_eq!(trailers.get("x-checksum").unwrap(), "1");
    assert!(!trailers.contains_key("dpop"), "NEG-022: {trailers:?}");
}

#[tokio::test]
async fn pos_55_continue_comes_after_the_decision() {
    let world = world().await;
    let head = |shot: crate::support::shot::Shot| {
        let message = shot.header("Expect", "100-continue").header("Content-Length", "5").message();
        message.to_bytes()
    };
    let mut stream = world.dialer.connect(Http::One).await.unwrap();
    stream.write_all(&head(world.good().method("POST"))).await.unwrap();
    assert_eq!(read_one(&mut *stream, false).await.unwrap().status, 100);
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(read_answer(&mut *stream, false).await.unwrap().status, 200);
    assert_eq!((&world.upstream.last().body[..], world.upstream.last().header("expect")), (&b"hello"[..], None));
    let mut stream = world.dialer.connect(Http::One).await.unwrap();
    stream.write_all(&head(world.good().method("POST").no_proof())).await.unwrap();
    assert_eq!(read_one(&mut *stream, false).await.unwrap().status, 401, "without asking for the body");
}

#[tokio::test]
async fn neg_171_a_refused_upload_still_reads_its_answer() {
    let world = world().await;
    let shot = world.good().method("POST").no_proof().body(vec![b'x'; 4_000_000]);
    for http in [Http::One, Http::Two] {
        assert_eq!(shot.send(http).await.status, 401, "{http:?}");
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let limits = Limits { body_bytes: Some(1000), ..Limits::default() };
    let world = Plan { limits, ..Plan::default() }.start().await;
    let declared = world.good().method("POST").body(vec![b'x'; 1001]);
    for http in [Http::One, Http::Two] {
        assert_eq!(declared.send(http).await.status, 413, "{http:?}");
    }
    let message = world.good().method("POST").message();
    let text = String::from_utf8(message.to_bytes()).unwrap();
    let text = text.strip_suffix("\r\n").unwrap();
    let chunk = "x".repeat(600);
    let chunked = format!("{text}Transfer-Encoding: chunked\r\n\r\n258\r\n{chunk}\r\n258\r\n{chunk}\r\n0\r\n\r\n");
    assert_eq!(world.dialer.send_bytes(chunked.as_bytes(), false).await.unwrap().status, 413);
    assert_eq!(world.refusals("api", Reason::BodyTooLarge), 3);
    let allowed = world.good().method("POST").body(vec![b'x'; 1000]);
    assert_eq!(allowed.send(Http::One).await.status, 200);
    assert_eq!(world.upstream.last().body.len(), 1000);
}

#[tokio::test]
async fn pos_54_a_stream_outlives_proof_and_token() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, mut told) = tokio::sync::mpsc::channel::<&'static [u8]>(1);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        while let Some(chunk) = told.recv().await {
            stream.write_all(chunk).await.unwrap();
        }
    });
    let world = Plan { upstream: Some(address), ..Plan::default() }.start().await;
    let mut stream = world.dialer.connect(Http::One).await.unwrap();
    stream.write_all(&world.good().message().to_bytes()).await.unwrap();
    let mut received = Vec::new();
    read_until(&mut *stream, &mut received, "text/event-stream").await;
    for (event, text) in [(&b"3\r\none\r\n"[..], "one"), (b"3\r\ntwo\r\n", "two")] {
        world.clock.advance(Duration::from_secs(3600));
        tell.send(event).await.unwrap();
        read_until(&mut *stream, &mut received, text).await;
    }
}

async fn read_until(stream: &mut (impl tokio::io::AsyncRead + Unpin + ?Sized), received: &mut Vec<u8>, text: &str) {
    let arrives = async {
        let mut buffer = [0; 1024];
        while !String::from_utf8_lossy(received).contains(text) {
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "the stream goes on");
            received.extend_from_slice(&buffer[..length]);
        }
    };
    timeout(PATIENCE, arrives).await.expect("each event arrives when it is sent");
}

#[tokio::test]
async fn neg_253_a_client_that_goes_away_has_spent_its_proof() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = Plan { upstream: Some(silent.local_addr().unwrap()), ..Plan::default() }.start().await;
    let shot = world.good().frozen();
    let mut stream = world.dialer.connect(Http::One).await.unwrap();
    stream.write_all(&shot.message().to_bytes()).await.unwrap();
    let (upstream_side, _) = timeout(PATIENCE, silent.accept()).await.unwrap().unwrap();
    drop(stream);
    let mut upstream_side = upstream_side;
    let gone = async {
        let mut rest = Vec::new();
        let _ = upstream_side.read_to_end(&mut rest).await;
    };
    timeout(PATIENCE, gone).await.expect("the upstream's connection is not leaked");
    assert_eq!(shot.send(Http::One).await.status, 401);
    assert_eq!(world.refusals("api", Reason::ProofReplayed), 1);
    let gone = r#"keybound_requests_total{binding="dpop",code="499",decision="allow",route="api"}"#;
    assert_eq!(world.metric(gone), 1, "a request whose client went away is counted too");
}

#[tokio::test]
async fn pos_63_an_upstream_that_hangs_up_between_requests() {
    // It says nothing of closing, so that each next request may meet a connection that is no more.
    let world = world_before(canned(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await).await;
    for sent in 1..=15 {
        assert_eq!(world.good().send(Http::One).await.status, 200);
        assert_eq!(world.spent(), sent, "each proof was spent once, however often its request was sent");
    }
}

#[tokio::test]
async fn kept_connections_to_the_upstream_are_used_again() {
    let world = world().await;
    for _ in 0..20 {
        world.passes_over(Http::One, &world.good()).await;
    }
    let answer = world.passes_over(Http::Two, &world.good()).await;
    assert_eq!(answer.header("connection"), None);
}

#[tokio::test]
async fn a_plain_listener_serves_both_versions_behind_a_terminator() {
    let plan = Plan { tls: false, public_url: Some("https://rs.example"), ..Plan::default() };
    let world = plan.start().await;
    world.passes_over(Http::One, &world.good()).await;
    world.passes_over(Http::Two, &world.good()).await;
    world
        .refuses_over(Http::One, Reason::ProofTarget, &world.good().proof_claim("htu", "http://rs.example/api/item"))
        .await;
}

#[tokio::test]
async fn neg_186_keys_that_were_never_loaded_are_503() {
    let keys = Some(keybound::keys::KeySource::File("/nonexistent/jwks.json".into()));
    let world = Plan { keys, wait: false, ..Plan::default() }.start().await;
    let answer = world.good().send(Http::One).await;
    assert_eq!((answer.status, world.refusals("api", Reason::KeysUnavailable), world.upstream.count()), (503, 1, 0));
    crate::support::shape::assert_refusal(&answer, Reason::KeysUnavailable, &world.good());
}

/// An upstream written out by hand: for each connection its number, which grows, and the connection.
async fn scripted<F: Future<Output = ()> + Send>(
    script: impl Fn(usize, tokio::net::TcpStream) -> F + Send + Sync + Clone + 'static,
) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let script = script.clone();
            tokio::spawn(async move { script(number, stream).await });
        }
    });
    address
}

/// Reads until the head of a request is complete; false at the end of the connection.
async fn read_head(stream: &mut tokio::net::TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
            return false;
        }
    }
    true
}

/// Bytes behind an answer belong to nobody: the connection that they came on serves no further request.
#[tokio::test]
async fn what_an_upstream_sends_too_much_answers_nobody() {
    let upstream = scripted(|number, mut stream| async move {
        while read_head(&mut stream).await {
            let own = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{number:02}");
            let more = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
            // The second connection sends it a moment later.
            let _ = stream.write_all(own.as_bytes()).await;
            if number > 0 {
                tokio::task::yield_now().await;
            }
            let _ = stream.write_all(more.as_bytes()).await;
        }
    })
    .await;
    let world = world_before(upstream).await;
    for http in [Http::One, Http::Two] {
        for _ in 0..10 {
            let answer = world.good().send(http).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.body.len(), 2, "{:?}", answer.body);
        }
    }
}

/// An answer may come before the upload is through. Whoever still uploads keeps its connection to itself.
#[tokio::test]
async fn an_upload_that_goes_on_after_its_answer_holds_nobody_up() {
    let upstream = scripted(|_, mut stream| async move {
        while read_head(&mut stream).await {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let world = world_before(upstream).await;
    let upload = String::from_utf8(world.good().method("POST").message().to_bytes()).unwrap();
    let upload = upload.strip_suffix("\r\n").unwrap().to_owned() + "Content-Length: 1000000\r\n\r\nbeginning";
    let mut slow = world.dialer.connect(Http::One).await.unwrap();
    slow.write_all(upload.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    read_until(&mut *slow, &mut answer, "ok").await;
    // Connections that stay are spread over all workers: one of them has the upload's connection to the upstream.
    let mut others = Vec::new();
    for _ in 0..4 * keybound::workers::per_core().get() {
        let mut other = world.dialer.connect(Http::One).await.unwrap();
        other.write_all(&world.good().message().to_bytes()).await.unwrap();
        assert_eq!(read_one(&mut *other, false).await.unwrap().status, 200);
        others.push(other);
    }
}

/// An upstream that answers the head of a request with this, and tells all that it reads until the end.
async fn hasty(answer: &'static [u8]) -> (std::net::SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let upstream = scripted(move |_, mut stream| {
        let tell = tell.clone();
        async move {
            let mut seen = Vec::new();
            while !seen.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                if !matches!(stream.read_buf(&mut seen).await, Ok(1..)) {
                    return;
                }
            }
            let _ = stream.write_all(answer).await;
            while matches!(stream.read_buf(&mut seen).await, Ok(1..)) {}
            let _ = tell.send(seen);
        }
    });
    (upstream.await, told)
}

fn upload(world: &World, framing: &str, beginning: &str) -> Vec<u8> {
    let head = String::from_utf8(world.good().method("POST").message().to_bytes()).unwrap();
    format!("{}{framing}\r\n\r\n{beginning}", head.strip_suffix("\r\n").unwrap()).into_bytes()
}

const BEGINS: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";

/// Nobody is left who could be answered, though the answer has begun.
#[tokio::test]
async fn a_client_that_leaves_its_upload_ends_the_answer_at_the_upstream() {
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let (upstream, mut told) = hasty(BEGINS).await;
        let world = world_before(upstream).await;
        let mut client = world.dialer.connect(Http::One).await.unwrap();
        client.write_all(&upload(&world, framing, "3\r\nxyz\r\n")).await.unwrap();
        read_until(&mut *client, &mut Vec::new(), "abc").await;
        drop(client);
        let seen = timeout(PATIENCE, told.recv()).await.expect("the upstream's connection ends").unwrap();
        assert!(!seen.ends_with(b"0\r\n\r\n"), "the upload is not said to be whole");
    }
}

/// What the client sends after that makes no sense: its answer breaks off, and does not end.
#[tokio::test]
async fn an_upload_that_breaks_its_framing_breaks_its_answer_off() {
    let (upstream, mut told) = hasty(BEGINS).await;
    let world = world_before(upstream).await;
    let mut client = world.dialer.connect(Http::One).await.unwrap();
    client.write_all(&upload(&world, "Transfer-Encoding: chunked", "3\r\nxyz\r\n")).await.unwrap();
    let mut answer = Vec::new();
    read_until(&mut *client, &mut answer, "abc").await;
    client.write_all(b"zz\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("the connection ends");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
    assert!(timeout(PATIENCE, told.recv()).await.expect("the upstream's connection ends").is_some());
}

/// An upstream that wants no more of an upload and says that it closes is not held on to.
#[tokio::test]
async fn an_answer_that_closes_gives_up_the_upload() {
    let answer = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    let (upstream, mut told) = hasty(answer).await;
    let world = world_before(upstream).await;
    let mut client = world.dialer.connect(Http::One).await.unwrap();
    client.write_all(&upload(&world, "Content-Length: 1000", "beginning")).await.unwrap();
    let mut answer = Vec::new();
    read_until(&mut *client, &mut answer, "no").await;
    assert!(answer.starts_with(b"HTTP/1.1 413"));
    // The client still holds its connection, and sends nothing.
    assert!(timeout(PATIENCE, told.recv()).await.expect("the upstream's connection ends").is_some());
    drop(client);
}

/// RFC 9113 §8.1: a client may take back what is left of a request without an error. That is not its end.
#[tokio::test]
async fn an_upload_that_is_taken_back_is_not_whole() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let upstream = scripted(move |_, mut stream| {
        let tell = tell.clone();
        async move {
            let mut seen = Vec::new();
            while matches!(stream.read_buf(&mut seen).await, Ok(1..)) {
                let _ = tell.send(String::from_utf8_lossy(&seen).into_owned());
            }
            let _ = tell.send("the end".to_owned());
        }
    });
    let world = world_before(upstream.await).await;
    let stream = world.dialer.connect(Http::Two).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let message = world.good().method("POST").message();
    let uri = format!("https://{}{}", message.host.as_deref().unwrap(), message.target);
    let mut request = http::Request::builder().method("POST").uri(uri);
    for (name, value) in &message.headers {
        request = request.header(name, &value[..]);
    }
    let (_response, mut body) = sender.ready().await.unwrap().send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data("abcde".into(), false).unwrap();
    let mut seen = String::new();
    while seen != "the end" {
        if seen.ends_with("abcde\r\n") || seen.ends_with("abcde") {
            body.send_reset(h2::Reason::NO_ERROR);
        }
        assert!(!seen.ends_with("0\r\n\r\n"), "{seen}");
        seen = timeout(PATIENCE, told.recv()).await.expect("the upstream's connection ends").unwrap();
    }
}
