//! The load generator: the same for every server. TLS 1.3, X25519, AES-128-GCM, connections kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::credentials::Call;
use crate::machine;

/// Requests that each connection sends before the clock starts.
pub const WARM_UP: usize = 3;

/// How requests come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// HTTP/1.1 on this many connections.
    Http1(usize),
    /// HTTP/2 on this many connections of this many streams.
    Http2(usize, usize),
    /// Each on a connection of its own, so many at a time.
    Handshakes(usize),
}

impl Shape {
    /// How many requests are needed before the clock starts.
    pub const fn warm_up(self) -> usize {
        match self {
            Self::Http1(connections) => connections * WARM_UP,
            Self::Http2(connections, streams) => connections * streams * WARM_UP,
            Self::Handshakes(_) => 0,
        }
    }
}

/// The server under load.
pub struct Aim {
    pub address: SocketAddr,
    /// The root of its processes.
    pub pid: u32,
    pub client: Arc<ClientConfig>,
}

/// What requests are sent.
pub enum Calls {
    /// One, over and over.
    Same(Call),
    /// Each once.
    Each(Vec<Call>),
}

/// What one run came to.
#[derive(Clone)]
pub struct Run {
    pub requests: usize,
    pub elapsed: Duration,
    pub cpu_nanos: u64,
    /// Sorted.
    pub latencies: Vec<Duration>,
    pub memory_kib: u64,
}

impl Run {
    pub fn cpu_micros(&self) -> f64 {
        self.cpu_nanos as f64 / self.requests as f64 / 1e3
    }

    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    pub fn percentile(&self, part: f64) -> Duration {
        let last = self.latencies.len() - 1;
        self.latencies[((last as f64) * part).round() as usize]
    }
}

/// Sends `requests` requests after a warm-up, and expects the same status of each.
pub async fn run(aim: &Aim, shape: Shape, calls: &Calls, requests: usize, expected: u16) -> Run {
    let queue = Arc::new(Queue { next: AtomicUsize::new(0), end: AtomicUsize::new(0), expected });
    let mut lanes: Vec<Lane> = Vec::new();
    let encoded = |http2| Arc::new(Encoded::of(calls, aim.address, http2));
    match shape {
        Shape::Http1(connections) => {
            let calls = encoded(false);
            for _ in 0..connections {
                lanes.push(Lane::Http1(Box::new(Http1::open(aim).await), Arc::clone(&calls)));
            }
        }
        Shape::Http2(connections, streams) => {
            let calls = encoded(true);
            for _ in 0..connections {
                let sender = open_http2(aim).await;
                lanes.extend((0..streams).map(|_| Lane::Http2(sender.clone(), Arc::clone(&calls))));
            }
        }
        Shape::Handshakes(at_a_time) => {
            let calls = encoded(false);
            let aim = Arc::new(Aim { address: aim.address, pid: aim.pid, client: Arc::clone(&aim.client) });
            lanes.extend((0..at_a_time).map(|_| Lane::Handshake(Arc::clone(&aim), Arc::clone(&calls))));
        }
    }
    let (lanes, _) = drive(lanes, &queue, shape.warm_up()).await;
    let (cpu, started) = (machine::cpu_nanos(aim.pid), Instant::now());
    let (lanes, mut latencies) = drive(lanes, &queue, requests).await;
    let elapsed = started.elapsed();
    let cpu_nanos = machine::cpu_nanos(aim.pid) - cpu;
    let memory_kib = machine::memory_kib(aim.pid);
    drop(lanes);
    latencies.sort_unstable();
    Run { requests, elapsed, cpu_nanos, latencies, memory_kib }
}

/// Opens connections, sends one request on each and leaves them open.
pub async fn open_idle(aim: &Aim, call: &Call, connections: usize) -> Vec<impl Sized> {
    let bytes = http1_bytes(call, aim.address);
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut connection = Http1::open(aim).await;
        assert_eq!(connection.call(&bytes).await, 200);
        open.push(connection);
    }
    open
}

/// Hands out the numbers of requests.
struct Queue {
    next: AtomicUsize,
    end: AtomicUsize,
    expected: u16,
}

impl Queue {
    fn take(&self) -> Option<usize> {
        let end = self.end.load(Ordering::Relaxed);
        self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| (next < end).then_some(next + 1)).ok()
    }
}

async fn drive(lanes: Vec<Lane>, queue: &Arc<Queue>, requests: usize) -> (Vec<Lane>, Vec<Duration>) {
    queue.end.fetch_add(requests, Ordering::Relaxed);
    let tasks: Vec<_> = lanes.into_iter().map(|lane| tokio::spawn(lane.work(Arc::clone(queue)))).collect();
    let (mut lanes, mut latencies) = (Vec::new(), Vec::with_capacity(requests));
    for task in tasks {
        let (lane, mut own) = task.await.expect("every request is answered as expected");
        lanes.push(lane);
        latencies.append(&mut own);
    }
    assert_eq!(latencies.len(), requests);
    (lanes, latencies)
}

/// One request at a time.
enum Lane {
    Http1(Box<Http1>, Arc<Encoded>),
    Http2(SendRequest<Empty<Bytes>>, Arc<Encoded>),
    Handshake(Arc<Aim>, Arc<Encoded>),
}

impl Lane {
    async fn work(mut self, queue: Arc<Queue>) -> (Self, Vec<Duration>) {
        let mut latencies = Vec::new();
        while let Some(number) = queue.take() {
            let started = Instant::now();
            let status = match &mut self {
                Self::Http1(connection, calls) => connection.call(calls.http1(number)).await,
                Self::Http2(sender, calls) => call_http2(sender, calls.http2(number)).await,
                Self::Handshake(aim, calls) => {
                    let mut connection = Http1::open(aim).await;
                    let status = connection.call(calls.http1(number)).await;
                    let _ = connection.stream.shutdown().await;
                    status
                }
            };
            latencies.push(started.elapsed());
            assert_eq!(status, queue.expected, "request {number}");
        }
        (self, latencies)
    }
}

/// Requests as they go out.
enum Encoded {
    Http1(Vec<Vec<u8>>),
    Http2(Vec<Request<()>>),
}

impl Encoded {
    fn of(calls: &Calls, address: SocketAddr, http2: bool) -> Self {
        let calls = match calls {
            Calls::Same(call) => std::slice::from_ref(call),
            Calls::Each(calls) => calls,
        };
        if http2 {
            Self::Http2(calls.iter().map(|call| http2_head(call, address)).collect())
        } else {
            Self::Http1(calls.iter().map(|call| http1_bytes(call, address)).collect())
        }
    }

    fn http1(&self, number: usize) -> &[u8] {
        let Self::Http1(calls) = self else { unreachable!() };
        if calls.len() == 1 { &calls[0] } else { &calls[number] }
    }

    fn http2(&self, number: usize) -> &Request<()> {
        let Self::Http2(calls) = self else { unreachable!() };
        if calls.len() == 1 { &calls[0] } else { &calls[number] }
    }
}

pub fn http1_bytes(call: &Call, address: SocketAddr) -> Vec<u8> {
    let mut text = format!("GET {} HTTP/1.1\r\nHost: localhost:{}\r\n", call.path, address.port());
    text += "User-Agent: bench/1.0\r\nAccept: application/json\r\n";
    for (name, value) in [("Authorization", &call.authorization), ("DPoP", &call.proof)] {
        if let Some(value) = value {
            text += &format!("{name}: {value}\r\n");
        }
    }
    (text + "\r\n").into_bytes()
}

fn http2_head(call: &Call, address: SocketAddr) -> Request<()> {
    let uri: Uri = format!("https://localhost:{}{}", address.port(), call.path).parse().unwrap();
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert("user-agent", HeaderValue::from_static("bench/1.0"));
    headers.insert("accept", HeaderValue::from_static("application/json"));
    for (name, value) in [("authorization", &call.authorization), ("dpop", &call.proof)] {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
    request
}

async fn connect(aim: &Aim, protocol: &[u8]) -> TlsStream<TcpStream> {
    let socket = TcpStream::connect(aim.address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut config = ClientConfig::clone(&aim.client);
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("a TLS session")
}

/// An HTTP/1.1 connection, reduced to what the upstream's answers need.
pub struct Http1 {
    stream: TlsStream<TcpStream>,
    answer: Vec<u8>,
}

impl Http1 {
    pub async fn open(aim: &Aim) -> Self {
        Self { stream: connect(aim, b"http/1.1").await, answer: Vec::new() }
    }

    pub async fn call(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).await.unwrap();
        self.answer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.answer).await.unwrap();
            assert!(read > 0, "the connection ended");
            if let Some((status, length)) = head(&self.answer)
                && self.answer.len() >= length
            {
                return status;
            }
        }
    }
}

/// Status, and length of head and body together.
fn head(answer: &[u8]) -> Option<(u16, usize)> {
    const LENGTH: &[u8] = b"content-length: ";
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let line = answer[..end]
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..LENGTH.len()).is_some_and(|name| name.eq_ignore_ascii_case(LENGTH)));
    let length = std::str::from_utf8(&line.expect("an answer with a length")[LENGTH.len()..]).unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    Some((status, end + length.trim().parse::<usize>().unwrap()))
}

async fn open_http2(aim: &Aim) -> SendRequest<Empty<Bytes>> {
    let stream = TokioIo::new(connect(aim, b"h2").await);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.expect("an HTTP/2 connection");
    tokio::spawn(connection);
    sender
}

async fn call_http2(sender: &mut SendRequest<Empty<Bytes>>, head: &Request<()>) -> u16 {
    sender.ready().await.unwrap();
    let (parts, ()) = head.clone().into_parts();
    let response = sender.send_request(Request::from_parts(parts, Empty::new())).await.unwrap();
    let status = response.status().as_u16();
    response.into_body().collect().await.unwrap();
    status
}
