//! Bytes of a client, through the real listener on loopback: HTTP/1.1 and HTTP/2 with prior knowledge, with and without a
//! PROXY header. Whatever comes, answers are well-formed, no connection stays, and a strict head is read as it stands.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use keybound::accept::{Gate, Handler, Limits, Listener, ListenerSettings, ProxyProtocol};
use keybound::request::{Front, Inbound, Peer, RequestId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

/// What a request was to the handler.
struct Seen {
    method: Method,
    target: String,
    version: Version,
    headers: HeaderMap,
}

#[derive(Default)]
struct Diary {
    seen: Mutex<Vec<Seen>>,
    wrong: Mutex<Option<String>>,
}

#[derive(Clone)]
struct Witness {
    diary: Arc<Diary>,
    front: Arc<Front>,
}

impl Handler for Witness {
    type Body = Full<Bytes>;
    type BodyError = Infallible;

    async fn handle(&self, request: Request<Incoming>, peer: Arc<Peer>) -> Response<Full<Bytes>> {
        let seen = Seen {
            method: request.method().clone(),
            target: request.uri().to_string(),
            version: request.version(),
            headers: request.headers().clone(),
        };
        self.diary.seen.lock().expect("a lock").push(seen);
        let status = match Inbound::read(request, peer, &self.front, RequestId::new(1, 1)) {
            Ok(mut inbound) => {
                let _ = inbound.take_credentials();
                let kept = ["authorization", "proxy-authorization", "dpop"];
                if kept.iter().any(|name| inbound.request().headers().contains_key(*name)) {
                    *self.diary.wrong.lock().expect("a lock") = Some("credentials stay behind".to_owned());
                }
                // A body is read as far as it comes.
                let (request, ..) = inbound.into_parts();
                match Limited::new(request.into_body(), 4096).collect().await {
                    Ok(_) => StatusCode::OK,
                    Err(_) => StatusCode::BAD_REQUEST,
                }
            }
            Err(refused) => StatusCode::from_u16(refused.0.reason().answer().status()).expect("a status"),
        };
        let mut response = Response::new(Full::from("seen"));
        *response.status_mut() = status;
        response
    }
}

struct Stage {
    runtime: Runtime,
    address: SocketAddr,
    gate: Gate,
    diary: Arc<Diary>,
}

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

fn stage() -> Stage {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let limits = Limits {
        header_bytes: 8192,
        headers: 32,
        header_timeout: Duration::from_secs(2),
        handshake_timeout: Duration::from_millis(20),
        idle_timeout: Duration::from_secs(2),
        ..Limits::default()
    };
    let (gate, diary) = (Gate::new(limits), Arc::new(Diary::default()));
    let trusted = vec!["127.0.0.0/8".parse().expect("a network")];
    let front = Front { trusted, ..Front::default() };
    let settings = ListenerSettings {
        front: front.clone(),
        proxy_protocol: ProxyProtocol::Optional,
        ..ListenerSettings::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    };
    let listener = runtime.block_on(async { Listener::bind(&settings) }).expect("a listener");
    let address = listener.address();
    let witness = Witness { diary: Arc::clone(&diary), front: Arc::new(front) };
    runtime.spawn(listener.run(witness, Arc::new(()), gate.clone()));
    Stage { runtime, address, gate, diary }
}

pub fn run(data: &[u8]) {
    STAGE.with_borrow_mut(|stage| stage.get_or_insert_with(self::stage).play(data));
}

impl Stage {
    fn play(&self, data: &[u8]) {
        let answer = self.runtime.block_on(self.exchange(data));
        let seen = std::mem::take(&mut *self.diary.seen.lock().expect("a lock"));
        assert_eq!(self.diary.wrong.lock().expect("a lock").take(), None);
        let http2 = seen.iter().any(|seen| seen.version == Version::HTTP_2);
        // HTTP/2's preface is no request; what is behind a PROXY header is read like the rest.
        if !http2 && !answer.starts_with(&[0, 0]) {
            let answers = answers(&answer);
            assert!(seen.len() <= answers.max(1) + 1, "{} requests, {answers} answers", seen.len());
            let ends = data.windows(2).filter(|pair| pair == b"\n\n").count()
                + data.windows(3).filter(|pair| pair == b"\n\r\n").count();
            assert!(seen.len() <= ends, "each head ends with an empty line");
        }
        if let Some((method, target, fields)) = strict_head(data) {
            let first = seen.first().expect("a request that everybody reads alike");
            assert!(first.method.as_str() == method && first.target == target, "{method} {target}");
            assert_eq!(first.headers.len(), fields.len());
            for (name, value) in fields {
                assert!(first.headers.get_all(name).iter().any(|one| one.as_bytes() == value.as_bytes()), "{name}");
            }
        }
    }

    /// Sends everything, and reads until the connection ends; then it is gone.
    async fn exchange(&self, data: &[u8]) -> Vec<u8> {
        let work = async {
            let mut stream = TcpStream::connect(self.address).await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            let mut answer = Vec::new();
            // A reset is an end, too.
            let _ = stream.write_all(data).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut answer).await;
            drop(stream);
            while self.gate.connections() > 0 {
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
            answer
        };
        tokio::time::timeout(Duration::from_secs(20), work).await.expect("the connection ends")
    }
}

/// How many answers there are; each is well-formed and whole but perhaps the last.
fn answers(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut answer = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = answer.parse(bytes) else {
            panic!("no answer: {}", String::from_utf8_lossy(bytes));
        };
        let status = answer.code.expect("a status");
        assert!(matches!(status, 100 | 200 | 400..=431 | 501 | 505), "{status}");
        let named = |name: &str| answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        let content = named(header::CONTENT_LENGTH.as_str()).and_then(|field| std::str::from_utf8(field.value).ok());
        let content = content.map_or(0, |text| text.parse::<usize>().expect("a length"));
        count += usize::from(status != 100);
        // An answer to HEAD names a length and has no content.
        let rest = &bytes[length..];
        bytes = if rest.starts_with(b"HTTP/1.") { rest } else { rest.get(content..).unwrap_or_default() };
    }
    count
}

type Head<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>);

/// The first request, where RFC 9112 leaves no choice: a path, known characters, no framing but its end.
fn strict_head(data: &[u8]) -> Option<Head<'_>> {
    let text = std::str::from_utf8(&data[..data.windows(4).position(|four| four == b"\r\n\r\n")?]).ok()?;
    let mut lines = text.split("\r\n");
    let words: Vec<&str> = lines.next()?.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { return None };
    let plain = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    if !matches!(method, "GET" | "POST" | "PUT" | "DELETE") || !target.starts_with('/') || !plain(target, b"/-._~=&?") {
        return None;
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        if !plain(name, b"-")
            || !plain(value, b"-._~/,;=")
            || FRAMING.iter().any(|known| name.eq_ignore_ascii_case(known))
        {
            return None;
        }
        fields.push((name, value));
    }
    (fields.len() <= 16 && text.len() < 4096).then_some((method, target, fields))
}

/// Fields that decide how the rest is read.
const FRAMING: [&str; 6] = ["content-length", "transfer-encoding", "connection", "upgrade", "expect", "http2-settings"];
