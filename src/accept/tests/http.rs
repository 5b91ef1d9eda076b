//! Which HTTP is spoken, and what is refused before any handler hears of it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use super::pki::{self, TLS13, client, connect};
use super::{answer, ask, get, rest, start, within};
use crate::accept::activity::Activity;
use crate::accept::stream::{Stream, Transport};
use crate::accept::{ClientCertificates, Events, Gate, Limits};

pub async fn http2_client<S>(stream: S) -> http2::SendRequest<Empty<Bytes>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub async fn ask_http2(sender: &mut http2::SendRequest<Empty<Bytes>>, url: &str) -> (u16, String) {
    let request = http::Request::get(url).body(Empty::new()).unwrap();
    let response = within(sender.send_request(request)).await.unwrap();
    let status = response.status().as_u16();
    let body = within(response.into_body().collect()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_protocol_is_chosen_by_alpn() {
    let (settings, authority) = pki::settings(ClientCertificates::Off);
    let running = start(Some(settings), Limits::default());
    let mut config = client(&authority, TLS13, None);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = connect(running.address, &Arc::new(config.clone()), "rs.example").await.unwrap();
    let mut sender = http2_client(stream).await;
    assert_eq!(ask_http2(&mut sender, "https://rs.example/").await, (200, "HTTP/2.0 https rs.example -".into()));

    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut stream = connect(running.address, &Arc::new(config.clone()), "rs.example").await.unwrap();
    assert_eq!(ask(&mut stream, &get("/")).await, (200, "HTTP/1.1 https rs.example -".into()));

    config.alpn_protocols = vec![b"spdy/3".to_vec()];
    connect(running.address, &Arc::new(config), "rs.example").await.unwrap_err();
}

#[tokio::test]
async fn a_plain_listener_recognises_http2_by_its_first_bytes() {
    let running = start(None, Limits::default());
    let mut sender = http2_client(running.connect().await).await;
    assert_eq!(ask_http2(&mut sender, "http://rs.example/").await, (200, "HTTP/2.0 http - -".into()));

    let mut stream = running.connect().await;
    assert_eq!(ask(&mut stream, &get("/")).await, (200, "HTTP/1.1 http - -".into()));
}

#[tokio::test]
async fn first_bytes_may_come_one_by_one() {
    let running = start(None, Limits::default());
    let mut stream = running.connect().await;
    stream.set_nodelay(true).unwrap();
    for byte in b"PUT / HTTP/1.1\r\nHost: rs.example\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(answer(&mut stream).await, (200, "HTTP/1.1 http - -".into()));
}

fn with_header(bytes: usize) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: rs.example\r\nX-Large: {}\r\n\r\n", "x".repeat(bytes)).into_bytes()
}

/// NEG-249. The client still gets the answer when it has sent far more than was read.
#[tokio::test]
async fn a_header_section_that_is_too_large_is_431() {
    for large in [5_000, 30_000_000] {
        let running = start(None, Limits { header_bytes: 4_096, ..Limits::default() });
        let mut stream = running.connect().await;
        assert_eq!(ask(&mut stream, &with_header(3_000)).await.0, 200);
        assert_eq!(ask(&mut stream, &with_header(large)).await.0, 431);
        running.diary.expect("header_too_large").await;
        drop(stream);
        assert_eq!(ask(&mut running.connect().await, &get("/")).await.0, 200);
    }
}

#[tokio::test]
async fn too_many_fields_are_431() {
    let running = start(None, Limits { headers: 10, ..Limits::default() });
    let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "X-A: b\r\n".repeat(count)).into_bytes();
    let mut stream = running.connect().await;
    assert_eq!(ask(&mut stream, &fields(10)).await.0, 200);
    assert_eq!(ask(&mut stream, &fields(11)).await.0, 431);
    running.diary.expect("header_too_large").await;
}

#[tokio::test]
async fn a_large_header_section_over_http2_is_431() {
    let running = start(None, Limits { header_bytes: 4_096, ..Limits::default() });
    let mut sender = http2_client(running.connect().await).await;
    assert_eq!(ask_http2(&mut sender, "http://rs.example/").await.0, 200);
    let request = http::Request::get("http://rs.example/").header("x-large", "x".repeat(5_000));
    let response = within(sender.send_request(request.body(Empty::new()).unwrap())).await;
    // The client may know the server's limit by now, and not send it at all.
    assert!(response.is_err() || response.is_ok_and(|response| response.status() == 431));
    assert_eq!(ask_http2(&mut http2_client(running.connect().await).await, "http://rs.example/").await.0, 200);
}

/// NEG-245.
#[tokio::test]
async fn what_is_not_http_is_400_and_the_connection_closes() {
    for nonsense in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : rs.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: rs.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: rs.example\r\nX: a\r\n folded\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: rs.example\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: rs.example\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: rs.example\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: rs.example\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: rs.example\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: rs.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: rs.example\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "GET / HTTP/1.1\nHost: rs.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: rs.example\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: rs.example\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: rs.example\r\n\r\n",
    ] {
        let running = start(None, Limits::default());
        let mut stream = running.connect().await;
        assert_eq!(ask(&mut stream, nonsense.as_bytes()).await.0, 400, "{nonsense:?}");
        assert!(rest(&mut stream).await.is_empty());
        running.diary.expect("malformed").await;
        assert_eq!(ask(&mut running.connect().await, &get("/")).await.0, 200);
    }
}

/// RFC 9112 §6.1: whoever reads the other of the two framings sees a second request.
#[tokio::test]
async fn a_length_beside_chunks_is_400() {
    for fields in ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        let running = start(None, Limits::default());
        let mut stream = running.connect().await;
        let head = format!("POST /length HTTP/1.1\r\nHost: rs.example\r\n{fields}\r\n\r\n");
        let request = [head.as_bytes(), b"0\r\n\r\n", &get("/")].concat();
        assert_eq!(ask(&mut stream, &request).await.0, 400);
        assert!(rest(&mut stream).await.is_empty());
        running.diary.expect("malformed").await;
    }
}

/// The body of one request does not hide the head of the next, and is not looked at itself.
#[tokio::test]
async fn every_head_of_a_connection_is_looked_at() {
    for before in [
        "GET / HTTP/1.1\r\nHost: rs.example\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: rs.example\r\nContent-Length: 4\r\n\r\na\n\nb",
        "POST / HTTP/1.1\r\nHost: rs.example\r\nTransfer-Encoding: chunked\r\n\r\n4;x\r\na\n\nb\r\n0\r\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: rs.example\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let running = start(None, Limits::default());
        let mut stream = running.connect().await;
        for _ in 0..2 {
            assert_eq!(ask(&mut stream, before.as_bytes()).await.0, 200, "{before:?}");
        }
        let bare = [before.as_bytes(), b"GET / HTTP/1.1\nHost: rs.example\r\n\r\n"].concat();
        assert_eq!(ask(&mut stream, &bare).await.0, 200, "{before:?}");
        assert_eq!(answer(&mut stream).await.0, 400, "{before:?}");
        running.diary.expect("malformed").await;
    }
}

/// However much has come, a connection of HTTP/2 makes way for others after 64 KiB, which may be thousands of frames.
#[tokio::test]
async fn a_turn_of_http2_is_short() {
    let gate = Gate::new(Limits::default());
    let events: Arc<dyn Events> = Arc::new(super::Diary::default());
    let (client, server) = tokio::net::UnixStream::pair().unwrap();
    client.writable().await.unwrap();
    let came = client.try_write(&[0; 1 << 20]).unwrap();
    assert!(came > 100 * 1024, "{came}");
    let ((), place) = gate.accepting().next(async {}, &events).await.unwrap();
    let activity = Activity::new(gate.limits(), Instant::now());
    let mut stream = Stream::new(Transport::ThisHost(server), activity, gate.phases(), place);
    stream.speaks_http2();
    let turn = tokio::spawn(async move {
        // From here on it is known that there is something, and a new turn begins.
        stream.rest().await.unwrap();
        tokio::task::yield_now().await;
        let mut read = 0;
        poll_fn(|cx| {
            loop {
                let mut piece = [0; 8 * 1024];
                let mut buffer = ReadBuf::new(&mut piece);
                match Pin::new(&mut stream).poll_read(cx, &mut buffer) {
                    Poll::Ready(done) => done.unwrap(),
                    Poll::Pending => return Poll::Ready(read),
                }
                read += buffer.filled().len();
            }
        })
        .await
    });
    let read = turn.await.unwrap();
    assert!((32 * 1024..=64 * 1024).contains(&read), "{read} bytes in one turn");
}

#[tokio::test]
async fn a_tls_client_on_a_plain_port_and_the_reverse_are_refused() {
    let (settings, authority) = pki::settings(ClientCertificates::Off);
    let (plain, tls) = (start(None, Limits::default()), start(Some(settings), Limits::default()));
    connect(plain.address, &Arc::new(client(&authority, TLS13, None)), "rs.example").await.unwrap_err();
    let mut stream = tls.connect().await;
    stream.write_all(&get("/")).await.unwrap();
    rest(&mut stream).await;
    tls.diary.expect("failed").await;
}

#[tokio::test]
async fn an_upgraded_connection_is_a_tunnel() {
    let running = start(None, Limits::default());
    let mut stream = running.connect().await;
    assert_eq!(ask(&mut stream, super::UPGRADE).await.0, 101);
    super::echo(&mut stream).await;
    assert_eq!(running.gate.connections(), 1);
    drop(stream);
    running.diary.expect("closed").await;
    assert_eq!(running.gate.connections(), 0);
}
