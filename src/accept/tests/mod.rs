//! Real sockets on loopback, real handshakes. Nothing sleeps but where time itself is tested.

mod deadlines;
mod ending;
mod handshake;
mod http;
mod local;
pub mod pki;
mod resumption;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::tls::CurrentTls;
use super::{Events, Gate, Handler, Handshake, Limits, Listener, ListenerSettings, TlsSettings};
use crate::refusal::Reason;
use crate::request::Peer;

/// Longer than anything takes on a busy machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("took too long")
}

/// Answers with what it was told about the peer. `/slow` waits for `release`, `/upgrade` echoes.
struct Witness {
    release: Semaphore,
    started: Semaphore,
}

impl Default for Witness {
    fn default() -> Self {
        Self { release: Semaphore::new(0), started: Semaphore::new(0) }
    }
}

impl Handler for Arc<Witness> {
    type Body = Full<Bytes>;
    type BodyError = Infallible;

    async fn handle(&self, mut request: Request<Incoming>, peer: Arc<Peer>) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/slow" => {
                self.started.add_permits(1);
                self.release.acquire().await.unwrap().forget();
                Response::new(Full::from("released"))
            }
            "/length" if request.headers().contains_key(header::CONTENT_LENGTH) => Response::new(Full::from("length")),
            "/length" => Response::new(Full::from("no length")),
            "/large" => Response::new(Full::from(vec![b'x'; 64 << 20])),
            "/upgrade" => {
                let upgraded = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let mut tunnel = TokioIo::new(upgraded.await.unwrap());
                    let mut bytes = [0; 64];
                    while let Ok(read @ 1..) = tunnel.read(&mut bytes).await {
                        tunnel.write_all(&bytes[..read]).await.unwrap();
                    }
                });
                let answer = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
                let answer = answer.header(header::CONNECTION, "upgrade").header(header::UPGRADE, "echo");
                answer.body(Full::default()).unwrap()
            }
            _ => Response::new(Full::from(describe(&request, &peer))),
        }
    }
}

fn describe(request: &Request<Incoming>, peer: &Peer) -> String {
    let name = peer.tls.as_ref().and_then(|tls| tls.server_name.as_deref()).unwrap_or("-");
    let mut text = format!("{:?} {} {name} ", request.version(), peer.scheme().as_str());
    match peer.certificate() {
        None => text.push('-'),
        Some(certificate) => text.push_str(&hex(&certificate.thumbprint)),
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes down what it hears.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Diary {
    fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Waits until a line contains `part`; the event may come a moment after the client has seen its effect.
    async fn expect(&self, part: &str) {
        let found = async {
            while !self.lines().iter().any(|line| line.contains(part)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {part:?} in {:?}", self.lines()));
    }
}

impl Events for Diary {
    fn connection_opened(&self) {
        self.write("opened");
    }
    fn connection_closed(&self) {
        self.write("closed");
    }
    fn handshake(&self, _client: SocketAddr, outcome: Handshake<'_>) {
        match outcome {
            Handshake::Ok | Handshake::Timeout => self.write(outcome.as_str()),
            Handshake::Failed(error) => self.write(format!("failed: {error}")),
        }
    }
    fn refused(&self, _client: SocketAddr, reason: Reason) {
        self.write(reason.slug());
    }
    fn malformed(&self, _client: SocketAddr) {
        self.write("malformed");
    }
}

/// A listener at work.
struct Running {
    address: SocketAddr,
    gate: Gate,
    tls: Option<CurrentTls>,
    witness: Arc<Witness>,
    diary: Arc<Diary>,
    task: JoinHandle<()>,
}

fn anywhere(tls: Option<TlsSettings>) -> ListenerSettings {
    ListenerSettings { tls, ..ListenerSettings::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))) }
}

fn start(tls: Option<TlsSettings>, limits: Limits) -> Running {
    start_behind(&Gate::new(limits), tls)
}

fn start_behind(gate: &Gate, tls: Option<TlsSettings>) -> Running {
    let listener = Listener::bind(&anywhere(tls)).unwrap();
    let (witness, diary) = (Arc::new(Witness::default()), Arc::new(Diary::default()));
    let (address, tls) = (listener.address(), listener.tls());
    let task = tokio::spawn(listener.run(Arc::clone(&witness), Arc::clone(&diary) as _, gate.clone()));
    Running { address, gate: gate.clone(), tls, witness, diary, task }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(self.address)).await.unwrap()
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: rs.example\r\n\r\n").into_bytes()
}

/// Sends a request and reads one answer: its status and its body.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &[u8]) -> (u16, String) {
    within(stream.write_all(request)).await.unwrap();
    answer(stream).await
}

async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> (u16, String) {
    let head = within(read_head(stream)).await.unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    within(stream.read_exact(&mut body)).await.unwrap();
    (status, String::from_utf8(body).unwrap())
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await?));
    }
    Ok(head)
}

/// Waits for the other side to close; what it still sends is returned.
async fn rest<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = within(stream.read_to_end(&mut bytes)).await;
    bytes
}

const UPGRADE: &[u8] = b"GET /upgrade HTTP/1.1\r\nHost: rs.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

/// Sends something through a tunnel and waits for it to come back.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    within(stream.write_all(b"hello")).await.unwrap();
    let mut bytes = [0; 5];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(&bytes, b"hello");
}
