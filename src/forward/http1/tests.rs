//! Answers as upstreams may write them, whole and byte by byte, read here and by hyper.

use bytes::BytesMut;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::either::Either;

use super::content::{Content, Step};
use super::{Connection, ExchangeError, head};
use crate::forward::body::RequestBody;

/// What an answer amounts to: status, body, trailers, and whether its connection may serve another request.
type Answer = (u16, Vec<u8>, usize, bool);

/// Reads an answer that comes in pieces of this size and ends the connection.
fn read(method: &Method, bytes: &[u8], piece: usize) -> Result<Answer, ExchangeError> {
    let (mut input, mut seen, mut pieces) = (BytesMut::new(), 0, bytes.chunks(piece));
    let head = loop {
        if let Some(head) = head::read(&mut input, &mut seen, method, &mut None)? {
            if head.response.status().is_informational() {
                continue;
            }
            break head;
        }
        input.extend_from_slice(pieces.next().ok_or(ExchangeError::Incomplete)?);
    };
    let (mut content, mut body, mut trailers) = (head.content, Vec::new(), 0);
    loop {
        match content.next(&mut input)? {
            Step::End => break,
            Step::Frame(frame) => match frame.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => trailers += frame.into_trailers().unwrap().len(),
            },
            Step::More => match pieces.next() {
                Some(piece) => input.extend_from_slice(piece),
                None => content.closed()?,
            },
        }
    }
    Ok((head.response.status().as_u16(), body, trailers, head.persists && input.is_empty() && pieces.next().is_none()))
}

/// What hyper makes of it.
async fn read_by_hyper(method: &Method, bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let (client, mut server) = pair().await;
    let sends = async {
        let mut request = [0; 512];
        _ = server.read(&mut request).await.unwrap();
        _ = server.write_all(bytes).await;
        // The end of its side, and whatever else comes is read.
        _ = server.shutdown().await;
        while server.read(&mut request).await.is_ok_and(|read| read > 0) {}
    };
    let asks = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
        let driven = tokio::spawn(connection);
        let request = Request::builder().method(method).uri("/").body(Empty::<bytes::Bytes>::new()).unwrap();
        let answer = async {
            let response = sender.send_request(request).await.ok()?;
            let status = response.status().as_u16();
            Some((status, response.into_body().collect().await.ok()?.to_bytes().to_vec()))
        };
        let answer = answer.await;
        driven.abort();
        answer
    };
    tokio::join!(sends, asks).1
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn answers_end_where_they_say() {
    const PERSISTS: bool = true;
    let long = "x".repeat(70_000);
    type Case<'a> = (&'a str, String, (u16, &'a str, usize, bool));
    let cases: &[Case<'_>] = &[
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".into(), (200, "ok", 0, PERSISTS)),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nok".into(), (200, "ok", 0, PERSISTS)),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok".into(), (200, "ok", 0, PERSISTS)),
        ("GET", "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n".into(), (200, "", 0, PERSISTS)),
        ("GET", format!("HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n{long}"), (200, &long, 0, PERSISTS)),
        ("GET", "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\nok".into(), (200, "ok", 0, false)),
        ("GET", "HTTP/1.1 200 OK\r\n\r\nto the end".into(), (200, "to the end", 0, false)),
        ("GET", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok".into(), (200, "ok", 0, false)),
        (
            "GET",
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok".into(),
            (200, "ok", 0, PERSISTS),
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n".into(), (200, "", 0, PERSISTS)),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n".into(), (204, "", 0, PERSISTS)),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 200\r\n\r\n".into(), (304, "", 0, PERSISTS)),
        (
            "GET",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1"
                .into(),
            (200, "1", 0, PERSISTS),
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\nA;ext=1;\"x\"\r\n0123456789\r\n0\r\n\r\n".into(),
            (200, "abc0123456789", 0, PERSISTS),
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1 \r\na\r\n000\r\nx-sum: 1\r\nx-more: 2\r\n\r\n".into(),
            (200, "a", 2, PERSISTS),
        ),
        // Nobody asked for what follows: a desynchronized upstream, or worse.
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n".into(), (200, "ok", 0, false)),
    ];
    for (method, bytes, (status, body, trailers, persists)) in cases {
        let method = method.parse().unwrap();
        for piece in [usize::MAX, 1, 7] {
            let found = read(&method, bytes.as_bytes(), piece).unwrap();
            let expected = (*status, body.as_bytes().to_vec(), *trailers, *persists);
            assert!(found == expected, "{bytes:.80} in pieces of {piece}: {:?}", (found.0, found.2, found.3));
        }
        let hypers = read_by_hyper(&method, bytes.as_bytes()).await;
        assert!(hypers == Some((*status, body.as_bytes().to_vec())), "{bytes:.80}: hyper reads it otherwise");
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let head = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}");
    let chunked = |body: &str| head("transfer-encoding: chunked", body);
    let many: String = (0..101).map(|number| format!("x-{number}: 1\r\n")).collect();
    let trailers: String = (0..65).map(|number| format!("x-{number}: 1\r\n")).collect();
    for bytes in [
        head("content-length: 2\r\ncontent-length: 3", "abc"),
        head("content-length: 2, 3", "abc"),
        head("content-length: +2", "ab"),
        head("content-length: 2 2", "ab"),
        head("content-length:", ""),
        head("content-length: 18446744073709551616", "ab"),
        head("transfer-encoding: chunked\r\ncontent-length: 3", "0\r\n\r\n"),
        head("transfer-encoding: gzip, chunked", "0\r\n\r\n"),
        head("transfer-encoding: gzip", "0\r\n\r\n"),
        head("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "0\r\n\r\n"),
        head("transfer-encoding: identity", ""),
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        head("x : 1", ""),
        head(" x: 1", ""),
        head("x: 1\r\n y", ""),
        head("x: \0", ""),
        head(&many, ""),
        head(&format!("x: {}", "y".repeat(65 * 1024)), ""),
        "HTTP/2 200 OK\r\n\r\n".into(),
        "HTTP/1.1 099 No\r\n\r\n".into(),
        "SSH-2.0-OpenSSH_9.2\r\n\r\n".into(),
        chunked("\r\n\r\n"),
        chunked(";x\r\n\r\n"),
        chunked("1;a\nb\r\nx\r\n0\r\n\r\n"),
        chunked("1\nx\r\n0\r\n\r\n"),
        chunked("2\r\nabc\r\n0\r\n\r\n"),
        chunked("-1\r\n"),
        chunked("0x1\r\na\r\n0\r\n\r\n"),
        chunked("10000000000000000\r\n"),
        chunked(&format!("1;{}", "x".repeat(5000))),
        chunked(&format!("0\r\n{trailers}\r\n")),
        chunked(&format!("0\r\nx: {}", "y".repeat(17 * 1024))),
    ] {
        for piece in [usize::MAX, 1] {
            let found = read(&Method::GET, bytes.as_bytes(), piece);
            assert!(matches!(found, Err(ExchangeError::Protocol(_))), "{bytes:.80} in pieces of {piece}: {found:?}");
        }
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_a_short_one() {
    for whole in [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n",
    ] {
        for length in 0..whole.len() {
            let found = read(&Method::GET, &whole.as_bytes()[..length], usize::MAX);
            assert!(matches!(found, Err(ExchangeError::Incomplete)), "{length} bytes: {found:?}");
        }
        read(&Method::GET, whole.as_bytes(), usize::MAX).unwrap();
    }
}

#[test]
fn a_head_is_looked_at_once_more_only_when_it_may_be_whole() {
    let (mut input, mut seen) = (BytesMut::from("HTTP/1.1 200 OK\r\nx: 1\r\n"), 0);
    for _ in 0..2 {
        assert!(head::read(&mut input, &mut seen, &Method::GET, &mut None).unwrap().is_none());
        assert_eq!(seen, input.len());
    }
    // The end of the head lies across what was seen and what is new.
    input.extend_from_slice(b"\r\n");
    assert!(
        head::read(&mut input, &mut seen, &Method::GET, &mut None)
            .unwrap()
            .is_some_and(|head| head.content == Content::UntilClose)
    );
}

fn request() -> Option<Request<RequestBody>> {
    Some(Request::builder().uri("/a?b").header("host", "api").body(RequestBody::empty()).unwrap())
}

#[tokio::test]
async fn one_request_follows_the_other_over_one_connection() {
    let (client, mut server) = pair().await;
    let mut connection = Box::new(Connection::new(Either::Left(client)));
    let mut seen = [0; 128];
    for body in ["one", "other"] {
        assert!(connection.is_alive());
        let answers = async {
            let length = server.read(&mut seen).await.unwrap();
            assert_eq!(&seen[..length], b"GET /a?b HTTP/1.1\r\nhost: api\r\n\r\n");
            server
                .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes())
                .await
        };
        let mut waiting = request();
        let (response, answered) = tokio::join!(connection.exchange(&mut waiting), answers);
        answered.unwrap();
        assert!(response.unwrap().status().is_success() && waiting.is_none() && !connection.serves_another());
        let frame = std::future::poll_fn(|cx| connection.poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), body);
        assert!(connection.is_end_stream() && connection.is_sent() && connection.serves_another());
    }
    // What nobody asked for is no answer to the next request.
    server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    until(|| !connection.is_alive()).await;
}

/// The request's map is used again for its answer, and may not be noticed.
#[tokio::test]
async fn an_answer_has_its_own_fields_and_not_its_requests() {
    const FINAL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let (client, mut server) = pair().await;
    let mut connection = Box::new(Connection::new(Either::Left(client)));
    for (more, answer) in [(0, FINAL.to_owned()), (200, FINAL.to_owned()), (1, [HINTS, FINAL].concat())] {
        let mut waiting = request();
        let fields = waiting.as_mut().unwrap().headers_mut();
        fields.insert("authorization", "Bearer secret".parse().unwrap());
        for number in 0..more {
            fields.append(format!("x-{number}").parse::<http::HeaderName>().unwrap(), "1".parse().unwrap());
        }
        let room = fields.capacity();
        server.write_all(answer.as_bytes()).await.unwrap();
        let response = connection.exchange(&mut waiting).await.unwrap();
        let names: Vec<&str> = response.headers().keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["content-length"], "{more}");
        // A large map would stay as long as the answer takes.
        assert!(response.headers().capacity() <= super::connection::KEPT_FIELDS, "{room}");
        assert!(connection.serves_another());
    }
}

#[tokio::test]
async fn what_was_not_sent_is_still_there() {
    let (client, server) = pair().await;
    let mut connection = Box::new(Connection::new(Either::Left(client)));
    assert!(connection.is_alive());
    drop(server);
    until(|| !connection.is_alive()).await;
    // It may have been closed after somebody looked. The system takes the first bytes all the same.
    let mut waiting = request();
    assert!(connection.exchange(&mut waiting).await.is_err() && waiting.is_none());
    let error = connection.exchange({
        waiting = request();
        &mut waiting
    });
    assert!(error.await.is_err());
    assert!(waiting.is_some(), "nothing of it was sent");
}

#[tokio::test]
async fn too_many_interim_answers_are_none() {
    let (client, mut server) = pair().await;
    let mut connection = Box::new(Connection::new(Either::Left(client)));
    server.write_all("HTTP/1.1 102 Processing\r\n\r\n".repeat(17).as_bytes()).await.unwrap();
    let error = connection.exchange(&mut request()).await.unwrap_err();
    assert_eq!(error.to_string(), "too many interim answers");
}

#[test]
fn a_reason_of_the_upstreams_own_is_kept() {
    for (line, own) in [("200 Fine By Me", Some(&b"Fine By Me"[..])), ("200 OK", None), ("404 Not Found", None)] {
        let mut input = BytesMut::from(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n").as_bytes());
        let head = head::read(&mut input, &mut 0, &Method::GET, &mut None).unwrap().unwrap();
        let reason = head.response.extensions().get::<hyper::ext::ReasonPhrase>();
        assert_eq!(reason.map(|reason| reason.as_bytes()), own, "{line}");
    }
}

/// An upstream that knows no better sends what belongs behind other answers.
#[tokio::test]
async fn a_body_behind_an_answer_that_has_none_answers_nobody() {
    for (answer, asked) in
        [("HTTP/1.1 204 No Content", Method::GET), ("HTTP/1.1 200 OK\r\ncontent-length: 4", Method::HEAD)]
    {
        let (client, mut server) = pair().await;
        let mut connection = Box::new(Connection::new(Either::Left(client)));
        let mut waiting = request();
        *waiting.as_mut().unwrap().method_mut() = asked;
        server.write_all(format!("{answer}\r\n\r\n").as_bytes()).await.unwrap();
        connection.exchange(&mut waiting).await.unwrap();
        assert!(connection.serves_another() && connection.is_alive());
        server.write_all(b"body").await.unwrap();
        // The runtime has not heard of it yet.
        assert!(!connection.is_alive(), "{answer}");
    }
}

/// Waits until something is so.
async fn until(mut so: impl FnMut() -> bool) {
    let waits = async {
        while !so() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), waits).await.expect("in time");
}
