//! One connection, from the accepted socket to its end.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, Answer, Overdue};
use super::gate::{Gate, Phase, Place};
use super::proxy_protocol::Announced;
use super::settings::Limits;
use super::socket::Socket;
use super::stream::{Stream, Transport};
use super::tls::{ALPN_HTTP2, CurrentTls};
use super::watch::{Turn, Watch};
use super::{Events, Handler, Handshake};
use crate::refusal::Reason;
use crate::request::{Peer, TlsFacts};

/// How long what a client sends after the last answer is read and thrown away.
const LINGER: Duration = Duration::from_secs(2);

/// How long after it connected a client may begin its first request, even if the gate closes meanwhile: it could not know
/// that it has to go elsewhere.
const NEWCOMER: Duration = Duration::from_secs(2);

/// Stands for every client that comes by a Unix socket.
const THIS_HOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What a listener's connections have in common.
pub(super) struct Door<H> {
    handler: H,
    gate: Gate,
    announced: Announced,
    tls: Option<CurrentTls>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl<H> Door<H> {
    pub(super) fn new(handler: H, gate: Gate, announced: Announced, tls: Option<CurrentTls>) -> Self {
        let (http1, http2) = (http1_rules(gate.limits()), http2_rules(gate.limits()));
        Self { handler, gate, announced, tls, http1, http2 }
    }

    pub(super) const fn gate(&self) -> &Gate {
        &self.gate
    }
}

fn http1_rules(limits: &Limits) -> http1::Builder {
    /// What a connection may buffer in each direction; the library would take 400 KiB.
    const BUFFER: usize = 64 * 1024;
    /// How many fields the library accepts when nobody says a number.
    const LIBRARY_HEADERS: usize = 100;
    let mut rules = http1::Builder::new();
    rules
        .half_close(false)
        .keep_alive(true)
        .max_header_size(limits.header_bytes)
        .max_buf_size(BUFFER.max(limits.header_bytes))
        // It would cut idle connections too; `Activity` tells the two apart.
        .header_read_timeout(None);
    // The library knows that bound by itself, and has room for it without being told.
    if limits.headers != LIBRARY_HEADERS {
        rules.max_headers(limits.headers);
    }
    rules
}

fn http2_rules(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut rules = http2::Builder::new(TokioExecutor::new());
    rules
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(128)
        // Streams opened and reset at once cost the client nothing (CVE-2023-44487), nor do those that it makes
        // the server reset (CVE-2025-8671).
        .max_pending_accept_reset_streams(32)
        .max_local_error_reset_streams(128)
        // Finds out about clients that vanished while a stream waits.
        .keep_alive_interval(limits.idle_timeout)
        .keep_alive_timeout(limits.header_timeout);
    rules
}

/// Serves one client until it leaves, a deadline passes or the gate closes.
pub(super) async fn serve<H: Handler>(door: Arc<Door<H>>, mut socket: TcpStream, peer: SocketAddr, place: Place) {
    // Answers are written whole; waiting for more would only delay them. A socket that refuses still works.
    let _ = socket.set_nodelay(true);
    let newcomer_until = Instant::now() + NEWCOMER;
    let address = if door.announced.is_off() {
        peer
    } else {
        let Some(address) = Box::pin(announced(&door, &mut socket, peer, &place, newcomer_until)).await else { return };
        address
    };
    // What a connection needs only for a time is boxed: most of them rest most of the time.
    // Before the handshake, so that no change is missed.
    let trust = door.tls.as_ref().map(CurrentTls::trust);
    let established = Box::pin(establish(&door, socket, address, &place, newcomer_until)).await;
    let Some((transport, tls, http2)) = established else { return };
    let trust = trust.map(|trust| trust.of(tls.as_ref().is_some_and(|facts| facts.certificate.is_some())));
    let client = Client { peer: Arc::new(Peer::new(address, tls)), trust };
    speak(&door, transport, http2, client, newcomer_until, place).await;
}

/// The same for a client of this host, which needs no protection on the way.
pub(super) async fn serve_this_host<H: Handler>(door: Arc<Door<H>>, socket: UnixStream, place: Place) {
    let newcomer_until = Instant::now() + NEWCOMER;
    let client = Client { peer: Arc::new(Peer::new(THIS_HOST, None)), trust: None };
    speak(&door, Transport::ThisHost(socket), None, client, newcomer_until, place).await;
}

/// Exchanges requests and answers, in the version of HTTP that is known already or that the first bytes tell.
async fn speak<H: Handler>(
    door: &Arc<Door<H>>,
    transport: Transport,
    http2: Option<bool>,
    client: Client,
    newcomer_until: Instant,
    place: Place,
) {
    let activity = Activity::new(door.gate.limits(), newcomer_until);
    let mut watch = Watch::new(Arc::clone(&activity), door.gate.phases().while_trusted(client.trust.clone()));
    let mut stream = Stream::new(transport, Arc::clone(&activity), door.gate.phases(), place);
    let http2 = match http2 {
        Some(http2) => http2,
        None => loop {
            match watch.over(pin!(stream.is_http2())).await {
                Turn::Done(Ok(http2)) => break http2,
                // It rests already.
                Turn::Overdue(Overdue::Quiet) => activity.rests(),
                Turn::Done(Err(_)) | Turn::Gate(_) | Turn::Overdue(_) => return,
            }
        },
    };
    if http2 {
        stream.speaks_http2();
        Box::pin(speak_http2(door, stream, client, &mut watch, &activity)).await;
    } else {
        speak_http1(door, stream, &client, &mut watch, &activity).await;
    }
}

/// Who connects, where a proxy announces it.
async fn announced<H: Handler>(
    door: &Door<H>,
    socket: &mut TcpStream,
    peer: SocketAddr,
    place: &Place,
    newcomer_until: Instant,
) -> Option<SocketAddr> {
    tokio::select! {
        biased;
        client = timeout(door.gate.limits().handshake_timeout, door.announced.client(socket, peer)) => match client {
            Ok(Ok(address)) => Some(address),
            Ok(Err(reason)) => {
                place.events().refused(peer, reason);
                None
            }
            Err(_) => {
                place.events().refused(peer, Reason::HopMalformed);
                None
            }
        },
        () = door.gate.phases().closing_after(newcomer_until) => None,
    }
}

/// Takes the connection as far as bytes can be exchanged. Knows whether they are HTTP/2 where the handshake told.
async fn establish<H: Handler>(
    door: &Door<H>,
    socket: TcpStream,
    address: SocketAddr,
    place: &Place,
    newcomer_until: Instant,
) -> Option<(Transport, Option<TlsFacts>, Option<bool>)> {
    let Some(tls) = &door.tls else { return Some((Transport::Plain(Socket(socket)), None, None)) };
    let (stream, facts) = tokio::select! {
        biased;
        done = handshake(tls, socket, address, door.gate.limits(), &**place.events()) => done?,
        // No request was sent yet, so that the client can go elsewhere without loss.
        () = door.gate.phases().closing_after(newcomer_until) => return None,
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
    Some((Transport::Tls(Box::new(stream)), Some(facts), Some(http2)))
}

async fn speak_http2<H: Handler>(
    door: &Arc<Door<H>>,
    stream: Stream,
    client: Client,
    watch: &mut Watch,
    activity: &Arc<Activity>,
) {
    let service = service(Arc::clone(door), client, Arc::clone(activity));
    let mut connection = pin!(door.http2.serve_connection(TokioIo::new(stream), service));
    // Whoever was watched over has been told all there is.
    let _ = converse(connection.as_mut(), http2::Connection::graceful_shutdown, watch, activity).await;
}

/// Serves requests as they come, and rests in between: the library's buffers take more memory than all the rest of a
/// connection.
async fn speak_http1<H: Handler>(
    door: &Arc<Door<H>>,
    mut stream: Stream,
    client: &Client,
    watch: &mut Watch,
    activity: &Arc<Activity>,
) {
    loop {
        let turn = watch.over(pin!(stream.rest())).await;
        match turn {
            Turn::Done(Ok(())) => {}
            Turn::Gate(Phase::Open) => continue,
            Turn::Overdue(Overdue::Quiet) => {
                activity.rests();
                continue;
            }
            Turn::Gate(Phase::Emptying | Phase::Closing) | Turn::Overdue(Overdue::Idle | Overdue::Leaving) => {
                // Nobody is owed an answer. A client that is gone already needs no farewell either.
                let _ = timeout(LINGER, stream.shutdown()).await;
                return;
            }
            Turn::Done(Err(_)) | Turn::Gate(Phase::Aborted) | Turn::Overdue(Overdue::Head | Overdue::Blocked) => return,
        }
        match Box::pin(requests(door, stream, client, watch, activity)).await {
            Some(rested) => stream = rested,
            None => return,
        }
    }
}

/// Serves requests until the connection ends, or is to rest: then its stream comes back.
async fn requests<H: Handler>(
    door: &Arc<Door<H>>,
    stream: Stream,
    client: &Client,
    watch: &mut Watch,
    activity: &Arc<Activity>,
) -> Option<Stream> {
    let events = Arc::clone(stream.events());
    let service = service(Arc::clone(door), client.clone(), Arc::clone(activity));
    let mut connection = door.http1.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let ended = converse(Pin::new(&mut connection), UpgradeableConnection::graceful_shutdown, watch, activity).await?;
    match &ended {
        Ended::Itself(Err(error)) if error.is_parse_too_large() => {
            events.refused(client.peer.address, Reason::HeaderTooLarge);
        }
        Ended::Itself(Err(error)) if error.is_parse() => events.malformed(client.peer.address),
        Ended::Itself(Ok(())) | Ended::Quiet => {}
        Ended::Itself(Err(_)) => return None,
    }
    // There are no parts after an upgrade.
    let parts = connection.into_parts()?;
    let mut stream = parts.io.into_inner();
    if matches!(ended, Ended::Quiet) {
        stream.unread(&parts.read_buf);
        return Some(stream);
    }
    if activity.ended_with_an_answer() {
        tokio::select! {
            _ = timeout(LINGER, stream.discard()) => {}
            () = door.gate.phases().aborted() => {}
        }
    }
    None
}

/// Does the TLS handshake and reports it. `None`: it failed.
async fn handshake(
    tls: &CurrentTls,
    socket: TcpStream,
    address: SocketAddr,
    limits: &Limits,
    events: &dyn Events,
) -> Option<(TlsStream<Socket>, TlsFacts)> {
    let tls = tls.get();
    let handshake = async {
        let stream = TlsAcceptor::from(Arc::clone(&tls.config)).accept(Socket(socket)).await?;
        let facts = tls.facts(stream.get_ref().1).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok((stream, facts))
    };
    match timeout(limits.handshake_timeout, handshake).await {
        Ok(Ok(done)) => {
            events.handshake(address, Handshake::Ok);
            Some(done)
        }
        Ok(Err(error)) => {
            events.handshake(address, Handshake::Failed(&error));
            None
        }
        Err(_) => {
            events.handshake(address, Handshake::Timeout);
            None
        }
    }
}

fn service<H: Handler>(
    door: Arc<Door<H>>,
    client: Client,
    activity: Arc<Activity>,
) -> impl HttpService<Incoming, ResBody = Answer<H::Body>, Error = h2::Error, Future: Send> + Unpin {
    service_fn(move |request: Request<Incoming>| {
        let has_body = !request.body().is_end_stream();
        let (door, peer, under_way) = (Arc::clone(&door), Arc::clone(&client.peer), activity.begin(has_body));
        let is_shut_out = client.is_shut_out();
        let is_http1 = request.version() < Version::HTTP_2;
        async move {
            if is_shut_out {
                // HTTP/2 clients send it again on another connection (RFC 9113 §8.7); with HTTP/1.1 this one ends.
                return Err(h2::Reason::REFUSED_STREAM.into());
            }
            let mut response = door.handler.handle(request, peer).await;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                under_way.upgrades();
            } else if is_http1 && door.gate.asks_to_leave() {
                // Here, and not when the connection is told: an answer that takes no time is on its way by then.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answer { body, _under_way: under_way }))
        }
    })
}

/// Who is at the other end.
#[derive(Clone)]
struct Client {
    peer: Arc<Peer>,
    trust: Option<watch::Receiver<()>>,
}

impl Client {
    /// Whether it might not pass the handshake any more. It was asked to leave then, and does not have to obey: HTTP/2
    /// leaves it to clients when the last stream begins.
    fn is_shut_out(&self) -> bool {
        self.trust.as_ref().is_some_and(|trust| trust.has_changed().unwrap_or(false))
    }
}

/// How a conversation ended that was not cut.
enum Ended {
    /// By what one of the sides did.
    Itself(hyper::Result<()>),
    /// It did not, but nothing has happened for a while, and nothing is under way.
    Quiet,
}

/// Drives a connection; `ask_to_leave` makes it end after the requests under way. `None`: it was cut.
async fn converse<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    ask_to_leave: fn(Pin<&mut C>),
    watch: &mut Watch,
    activity: &Activity,
) -> Option<Ended> {
    loop {
        match watch.over(connection.as_mut()).await {
            Turn::Done(result) => return Some(Ended::Itself(result)),
            Turn::Overdue(Overdue::Quiet) => {
                activity.rests();
                return Some(Ended::Quiet);
            }
            Turn::Gate(Phase::Open) => {}
            Turn::Gate(Phase::Emptying | Phase::Closing) | Turn::Overdue(Overdue::Idle) => {
                activity.leave();
                ask_to_leave(connection.as_mut());
            }
            Turn::Gate(Phase::Aborted) | Turn::Overdue(Overdue::Head | Overdue::Blocked | Overdue::Leaving) => {
                return None;
            }
        }
    }
}
