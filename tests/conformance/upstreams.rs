//! Upstreams: how they are recognized, and which endpoint gets a request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::Scheme;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use keybound::accept::tls::ServerCertificate;
use keybound::forward::{HealthCheck, UpstreamSettings, UpstreamTls};
use keybound::gateway::Readiness;
use keybound::refusal::Reason;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::upstream::Upstream;
use crate::support::wire::{Http, PATIENCE, Stream};
use crate::support::{Plan, World, shape};

/// An authority for upstreams and for those who call them.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        Arc::new(roots)
    }

    fn signs(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// TLS in front of a recorder.
struct Guarded {
    address: SocketAddr,
    recorder: Upstream,
    /// What came before TLS.
    plain: Arc<AtomicUsize>,
    names: Arc<Mutex<Vec<Option<String>>>>,
}

impl Guarded {
    /// Shows a certificate for `api.internal`; with `clients`, wants to see one of theirs.
    async fn start(authority: &Authority, clients: Option<&Authority>) -> Self {
        let (certificate, key) = authority.signs("api.internal");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(clients.roots(), provider).build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let recorder = Upstream::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (plain, names) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<_>>>::default());
        let guarded = Self {
            address: listener.local_addr().unwrap(),
            plain: Arc::clone(&plain),
            names: Arc::clone(&names),
            recorder,
        };
        let behind = guarded.recorder.address;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, plain, names) = (acceptor.clone(), Arc::clone(&plain), Arc::clone(&names));
                tokio::spawn(async move {
                    let mut first = [0];
                    if stream.peek(&mut first).await.is_ok_and(|length| length == 1) && first != [22] {
                        plain.fetch_add(1, Ordering::SeqCst);
                    }
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    names.lock().unwrap().push(stream.get_ref().1.server_name().map(str::to_owned));
                    let mut recorder = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut recorder).await;
                });
            }
        });
        guarded
    }

    fn settings(&self, tls: UpstreamTls) -> UpstreamSettings {
        UpstreamSettings { tls, ..upstream(Scheme::HTTPS, &[self.address]) }
    }

    fn saw(&self) -> (usize, usize) {
        (self.recorder.count(), self.plain.load(Ordering::SeqCst))
    }
}

fn upstream(scheme: Scheme, endpoints: &[SocketAddr]) -> UpstreamSettings {
    let endpoints = endpoints.iter().map(|address| address.to_string().parse().unwrap()).collect();
    UpstreamSettings::new("recorder", scheme, endpoints)
}

async fn world_with(upstream: UpstreamSettings) -> World {
    Plan { upstreams: Some(upstream), ..Plan::default() }.start().await
}

fn internal(roots: Arc<RootCertStore>) -> UpstreamTls {
    let server_name = Some(ServerName::try_from("api.internal").unwrap());
    UpstreamTls { roots: Some(roots), certificate: None, server_name }
}

/// 502, and nothing but TLS was spoken.
async fn is_unreachable(guarded: &Guarded, tls: UpstreamTls) {
    let world = world_with(guarded.settings(tls)).await;
    for (count, http) in [(1, Http::One), (2, Http::Two)] {
        let answer = world.good().send(http).await;
        assert_eq!((answer.status, world.refusals("api", Reason::UpstreamUnreachable)), (502, count), "{answer:?}");
        shape::assert_refusal(&answer, Reason::UpstreamUnreachable, &world.good());
        assert_eq!(guarded.saw(), (0, 0));
    }
}

#[tokio::test]
async fn an_https_upstream_is_recognized_by_its_own_authority_and_name() {
    let authority = Authority::new();
    let guarded = Guarded::start(&authority, None).await;
    let world = world_with(guarded.settings(internal(authority.roots()))).await;
    for http in [Http::One, Http::Two] {
        let answer = world.good().send(http).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(guarded.saw(), (2, 0));
    let names = guarded.names.lock().unwrap().clone();
    assert!(!names.is_empty() && names.iter().all(|name| name.as_deref() == Some("api.internal")), "{names:?}");
    assert_eq!(guarded.recorder.last().header("host"), Some("rs.example"));
}

#[tokio::test]
async fn the_host_is_the_name_where_none_is_given() {
    let authority = Authority::new();
    let guarded = Guarded::start(&authority, None).await;
    // Its certificate is for `api.internal`, not for the address.
    let tls = UpstreamTls { server_name: None, ..internal(authority.roots()) };
    is_unreachable(&guarded, tls).await;
}

#[tokio::test]
async fn an_upstream_of_another_authority_is_unreachable() {
    let guarded = Guarded::start(&Authority::new(), None).await;
    is_unreachable(&guarded, internal(Authority::new().roots())).await;
}

#[tokio::test]
async fn an_upstream_with_another_name_is_unreachable() {
    let authority = Authority::new();
    let guarded = Guarded::start(&authority, None).await;
    let server_name = Some(ServerName::try_from("other.internal").unwrap());
    is_unreachable(&guarded, UpstreamTls { server_name, ..internal(authority.roots()) }).await;
}

#[tokio::test]
async fn an_https_upstream_that_speaks_plain_http_is_unreachable() {
    let recorder = Upstream::start().await;
    let settings =
        UpstreamSettings { tls: internal(Authority::new().roots()), ..upstream(Scheme::HTTPS, &[recorder.address]) };
    let world = world_with(settings).await;
    let answer = world.good().send(Http::One).await;
    assert_eq!((answer.status, world.refusals("api", Reason::UpstreamUnreachable)), (502, 1));
    assert_eq!(recorder.count(), 0);
}

#[tokio::test]
async fn an_upstream_that_asks_for_a_certificate_gets_the_configured_one() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let guarded = Guarded::start(&authority, Some(&clients)).await;
    is_unreachable(&guarded, internal(authority.roots())).await;
    let shown = |authority: &Authority| {
        let (certificate, key) = authority.signs("gateway.internal");
        ServerCertificate::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    };
    let stranger =
        UpstreamTls { certificate: Some(Arc::clone(shown(&Authority::new()).key())), ..internal(authority.roots()) };
    is_unreachable(&guarded, stranger).await;
    let own = UpstreamTls { certificate: Some(Arc::clone(shown(&clients).key())), ..internal(authority.roots()) };
    let world = world_with(guarded.settings(own)).await;
    assert_eq!(world.good().send(Http::One).await.status, 200);
    assert_eq!(guarded.saw(), (1, 0));
}

/// Several recorders as one upstream.
async fn recorders<const N: usize>() -> ([Upstream; N], UpstreamSettings) {
    let mut all = Vec::new();
    for _ in 0..N {
        all.push(Upstream::start().await);
    }
    let addresses: Vec<_> = all.iter().map(|one| one.address).collect();
    (all.try_into().unwrap_or_else(|_| panic!("as many as asked for")), upstream(Scheme::HTTP, &addresses))
}

/// Where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn healthy(world: &World, address: SocketAddr) -> u64 {
    let line = format!("keybound_upstream_healthy{{endpoint=\"http://{address}\",upstream=\"recorder\"}}");
    assert!(world.metrics().contains(&line), "{line}");
    world.metric(&line)
}

async fn becomes(world: &World, address: SocketAddr, expected: u64) {
    let changes = async {
        while healthy(world, address) != expected {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, changes).await.unwrap_or_else(|_| panic!("{address} never is {expected}"));
}

#[tokio::test]
async fn requests_are_spread_over_all_endpoints() {
    let (recorders, settings) = recorders::<3>().await;
    let world = world_with(settings).await;
    for _ in 0..150 {
        assert_eq!(world.good().send(Http::One).await.status, 200);
    }
    let counts = recorders.each_ref().map(Upstream::count);
    assert!(counts.iter().all(|count| (25..=75).contains(count)) && counts.iter().sum::<usize>() == 150, "{counts:?}");
    assert!(recorders.iter().all(|one| healthy(&world, one.address) == 1));
}

#[tokio::test]
async fn a_slow_endpoint_gets_less() {
    let ([slow, fast], settings) = recorders::<2>().await;
    slow.answers(false);
    let world = world_with(settings).await;
    let mut held = None;
    while held.is_none() {
        let shot = world.good();
        let mut answer = tokio::spawn(async move { shot.send(Http::One).await });
        let arrives = async {
            while slow.count() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            answered = &mut answer => assert_eq!(answered.unwrap().status, 200),
            () = arrives => held = Some(answer),
        }
    }
    let before = fast.count();
    for _ in 0..30 {
        assert_eq!(world.good().send(Http::One).await.status, 200);
    }
    assert_eq!((slow.count(), fast.count()), (1, before + 30));
    slow.answers(true);
    assert_eq!(held.unwrap().await.unwrap().status, 200);
    // Nothing is under way any more.
    let both = async {
        while slow.count() < 5 {
            assert_eq!(world.good().send(Http::One).await.status, 200);
        }
    };
    tokio::time::timeout(PATIENCE, both).await.expect("it gets its share again");
}

#[tokio::test]
async fn a_request_that_reached_nobody_goes_to_another_endpoint() {
    let (recorder, dead) = (Upstream::start().await, nobody().await);
    let world = world_with(upstream(Scheme::HTTP, &[dead, recorder.address])).await;
    let send = async || {
        let mut shot = world.good().method("POST");
        shot.body = b"once".to_vec();
        let answer = shot.send(Http::Two).await;
        assert_eq!((answer.status, recorder.last().body), (200, Bytes::from_static(b"once")), "{answer:?}");
    };
    let ejected = async {
        while healthy(&world, dead) == 1 {
            send().await;
        }
    };
    tokio::time::timeout(PATIENCE, ejected).await.expect("it is left out");
    let sent = recorder.count();
    for _ in 0..10 {
        send().await;
    }
    assert_eq!((recorder.count(), healthy(&world, recorder.address)), (sent + 10, 1));
    assert_eq!(world.refusals("api", Reason::UpstreamUnreachable), 0);
    assert!(matches!(world.server.gateway().readiness(), Readiness::Ready(notes) if notes.is_empty()));
}

#[tokio::test]
async fn where_nobody_is_the_answer_is_502_once() {
    let world = world_with(upstream(Scheme::HTTP, &[nobody().await, nobody().await, nobody().await])).await;
    for count in 1..=8 {
        assert_eq!(world.good().send(Http::One).await.status, 502);
        assert_eq!(world.refusals("api", Reason::UpstreamUnreachable), count);
    }
}

#[tokio::test]
async fn a_request_that_was_sent_is_never_sent_again() {
    let heard = Arc::<AtomicUsize>::default();
    let mut addresses = Vec::new();
    for _ in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let heard = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // Hangs up as soon as anything came.
                if stream.read_u8().await.is_ok() {
                    heard.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
    }
    let world = world_with(upstream(Scheme::HTTP, &addresses)).await;
    for count in 1..=5 {
        assert_eq!(world.good().send(Http::One).await.status, 502);
        assert_eq!(heard.load(Ordering::SeqCst), count);
    }
}

#[tokio::test]
async fn connections_are_limited_and_waited_for() {
    let ([recorder], settings) = recorders::<1>().await;
    recorder.answers(false);
    let settings = UpstreamSettings { max_connections: Some(2), connect_timeout: PATIENCE / 2, ..settings };
    let world = world_with(settings).await;
    let send = || {
        let shot = world.good();
        tokio::spawn(async move { shot.send(Http::Two).await.status })
    };
    let answers: Vec<_> = (0..12).map(|_| send()).collect();
    let two_arrive = async {
        while recorder.count() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, two_arrive).await.expect("two have a connection");
    recorder.answers(true);
    for answer in answers {
        assert_eq!(tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap(), 200);
    }
    assert_eq!((recorder.count(), recorder.connections()), (12, 2), "two connections did it all");
}

#[tokio::test]
async fn who_waits_too_long_for_a_connection_is_told_to_come_again() {
    let ([recorder], settings) = recorders::<1>().await;
    recorder.answers(false);
    let settings =
        UpstreamSettings { max_connections: Some(1), connect_timeout: Duration::from_millis(100), ..settings };
    let world = world_with(settings).await;
    let shot = world.good();
    let held = tokio::spawn(async move { shot.send(Http::One).await.status });
    let arrives = async {
        while recorder.count() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrives).await.expect("it arrives");
    for (count, http) in [(1, Http::One), (2, Http::Two)] {
        let answer = world.good().send(http).await;
        assert_eq!((answer.status, world.refusals("api", Reason::UpstreamBusy)), (503, count), "{answer:?}");
        shape::assert_refusal(&answer, Reason::UpstreamBusy, &world.good());
    }
    recorder.answers(true);
    assert_eq!(held.await.unwrap(), 200);
    assert_eq!(world.good().send(Http::One).await.status, 200);
    assert_eq!((recorder.count(), recorder.connections()), (2, 1));
}

/// A WebSocket has its connection for as long as it lasts.
#[tokio::test]
async fn a_tunnel_counts_as_a_connection() {
    use tokio::io::AsyncWriteExt as _;
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = echo.local_addr().unwrap().to_string().parse().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = echo.accept().await.unwrap();
            tokio::spawn(async move {
                use futures_util::StreamExt as _;
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(_)) = socket.next().await {}
            });
        }
    });
    let ([_], settings) = recorders::<1>().await;
    let settings = UpstreamSettings {
        endpoints: vec![authority],
        max_connections: Some(1),
        connect_timeout: Duration::from_millis(100),
        ..settings
    };
    let world = world_with(settings).await;
    let open = || {
        let shot = world.good().header("Connection", "Upgrade").header("Upgrade", "websocket");
        shot.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").message()
    };
    let mut first = world.dialer.connect(Http::One).await.unwrap();
    first.write_all(&open().to_bytes()).await.unwrap();
    assert_eq!(crate::support::wire::read_one(&mut *first, false).await.unwrap().status, 101);
    assert_eq!(world.dialer.send(Http::One, &open()).await.unwrap().status, 503);
    assert_eq!(world.refusals("api", Reason::UpstreamBusy), 1);
    drop(first);
    let opens_again = async {
        loop {
            let mut again = world.dialer.connect(Http::One).await.unwrap();
            again.write_all(&open().to_bytes()).await.unwrap();
            if crate::support::wire::read_one(&mut *again, false).await.unwrap().status == 101 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, opens_again).await.expect("its end makes room");
    task.abort();
}

fn checked(settings: UpstreamSettings) -> UpstreamSettings {
    let check = HealthCheck {
        interval: Duration::from_millis(20),
        healthy_after: 2,
        unhealthy_after: 2,
        ..HealthCheck::new("/healthz".parse().unwrap())
    };
    UpstreamSettings { health_check: Some(check), ..settings }
}

const ITEM: &str = "/api/item?q=1";

fn status(status: StatusCode) -> impl Fn(&crate::support::upstream::Seen) -> Response<Full<Bytes>> + Send + Sync {
    move |seen| {
        let mut response = Response::new(Full::new(Bytes::new()));
        if seen.target == "/healthz" {
            *response.status_mut() = status;
        }
        response
    }
}

#[tokio::test]
async fn endpoints_whose_checks_fail_are_left_out_until_they_go_well() {
    let ([one, other], settings) = recorders::<2>().await;
    let world = world_with(checked(settings)).await;
    one.replies(status(StatusCode::SERVICE_UNAVAILABLE));
    becomes(&world, one.address, 0).await;
    let (before, others) = (one.count_of(ITEM), other.count_of(ITEM));
    for _ in 0..20 {
        assert_eq!(world.good().send(Http::One).await.status, 200);
    }
    assert_eq!((one.count_of(ITEM), other.count_of(ITEM)), (before, others + 20));
    // A redirection is not well either. When all are left out, all are tried.
    other.replies(status(StatusCode::FOUND));
    becomes(&world, other.address, 0).await;
    let Readiness::Ready(notes) = world.server.gateway().readiness() else { panic!("not ready") };
    assert_eq!(notes, ["degraded: upstream recorder: no endpoint is healthy; requests try all of them"]);
    let share = async {
        while one.count_of(ITEM) == before {
            assert_eq!(world.good().send(Http::One).await.status, 200);
        }
    };
    tokio::time::timeout(PATIENCE, share).await.expect("all are tried");
    one.replies(status(StatusCode::NO_CONTENT));
    becomes(&world, one.address, 1).await;
    let others = other.count_of(ITEM);
    for _ in 0..20 {
        assert_eq!(world.good().send(Http::One).await.status, 200);
    }
    assert_eq!(other.count_of(ITEM), others);
    assert!(matches!(world.server.gateway().readiness(), Readiness::Ready(notes) if notes.is_empty()));
}

#[tokio::test]
async fn a_check_that_gets_no_answer_fails() {
    let ([silent, other], settings) = recorders::<2>().await;
    silent.answers(false);
    let mut settings = checked(settings);
    settings.health_check.as_mut().unwrap().timeout = Duration::from_millis(50);
    let world = world_with(settings).await;
    becomes(&world, silent.address, 0).await;
    assert_eq!(healthy(&world, other.address), 1);
    silent.answers(true);
    becomes(&world, silent.address, 1).await;
    let seen = silent.last();
    assert_eq!((seen.method.as_str(), seen.header("host")), ("GET", Some(silent.address.to_string().as_str())));
    assert!(seen.header("user-agent").unwrap().starts_with("keybound/"));
}

/// What a gRPC server saw of a call.
#[derive(Debug, Clone)]
struct Call {
    version: http::Version,
    uri: http::Uri,
    headers: http::HeaderMap,
    body: Bytes,
    trailers: Option<http::HeaderMap>,
}

/// HTTP/2 without TLS, or behind it; it echoes a message and ends with a status, as gRPC does.
struct Grpc {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    connections: Arc<AtomicUsize>,
}

impl Grpc {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (calls, connections) = (Arc::<Mutex<Vec<Call>>>::default(), Arc::<AtomicUsize>::default());
        let grpc = Self {
            address: listener.local_addr().unwrap(),
            calls: Arc::clone(&calls),
            connections: Arc::clone(&connections),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (calls, tls) = (Arc::clone(&calls), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer_call(request, Arc::clone(&calls)));
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let stream: Box<dyn Stream> = match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                        None => Box::new(stream),
                    };
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        grpc
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

type Frames = StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

async fn answer_call(
    request: http::Request<hyper::body::Incoming>,
    calls: Arc<Mutex<Vec<Call>>>,
) -> Result<Response<Frames>, Infallible> {
    let (parts, body) = request.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    let body = collected.to_bytes();
    let (version, uri, headers) = (parts.version, parts.uri, parts.headers);
    calls.lock().unwrap().push(Call { version, uri, headers, body: body.clone(), trailers });
    let mut status = http::HeaderMap::new();
    status.insert("grpc-status", "0".parse().unwrap());
    status.insert("dpop-nonce", "not-the-upstreams-to-say".parse().unwrap());
    let frames = vec![Ok(Frame::data(body)), Ok(Frame::trailers(status))];
    let response = Response::builder().header("content-type", "application/grpc").header("trailer", "grpc-status");
    Ok(response.body(StreamBody::new(futures_util::stream::iter(frames))).unwrap())
}

fn over_http2(scheme: Scheme, address: SocketAddr) -> UpstreamSettings {
    UpstreamSettings { http2: true, ..upstream(scheme, &[address]) }
}

/// The shot as a call of gRPC: HTTP/2, a message, `te: trailers`, and a trailer that may pass beside one that may not.
async fn call(world: &World) -> (u16, http::HeaderMap, Bytes, Option<http::HeaderMap>) {
    let message = world.good().method("POST").header("te", "trailers").header("content-type", "application/grpc+proto");
    let message = message.message();
    let stream = world.dialer.connect(Http::Two).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let task = tokio::spawn(connection);
    let uri = format!("https://{}{}", message.host.unwrap(), message.target);
    let mut request = http::Request::builder().method("POST").uri(uri);
    for (name, value) in &message.headers {
        request = request.header(name.to_ascii_lowercase(), value.as_slice());
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-checksum", "7".parse().unwrap());
    trailers.insert("x-forwarded-for", "10.0.0.1".parse().unwrap());
    let frames: Vec<Result<_, Infallible>> =
        vec![Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\x02hi"))), Ok(Frame::trailers(trailers))];
    let request = request.body(StreamBody::new(futures_util::stream::iter(frames))).unwrap();
    let response = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    let (parts, body) = response.into_parts();
    let collected = tokio::time::timeout(PATIENCE, body.collect()).await.unwrap().unwrap();
    task.abort();
    let trailers = collected.trailers().cloned();
    (parts.status.as_u16(), parts.headers, collected.to_bytes(), trailers)
}

#[tokio::test]
async fn pos_56_grpc_passes_with_its_trailers() {
    let grpc = Grpc::start(None).await;
    let world = world_with(over_http2(Scheme::HTTP, grpc.address)).await;
    for _ in 0..5 {
        let (status, headers, body, trailers) = call(&world).await;
        let trailers = trailers.expect("trailers of the answer");
        assert_eq!(
            (status, &headers["content-type"], &trailers["grpc-status"]),
            (200, &"application/grpc".parse().unwrap(), &"0".parse().unwrap())
        );
        assert_eq!(body, Bytes::from_static(b"\0\0\0\0\x02hi"));
        assert!(!trailers.contains_key("dpop-nonce") && !headers.contains_key("grpc-status"));
    }
    let seen = grpc.calls().pop().unwrap();
    assert_eq!(
        (seen.version, seen.uri.to_string()),
        (http::Version::HTTP_2, "http://rs.example/api/item?q=1".to_owned())
    );
    assert_eq!(
        (&seen.headers["te"], &seen.headers["via"]),
        (&"trailers".parse().unwrap(), &"2.0 keybound".parse().unwrap())
    );
    assert!(!["host", "connection", "dpop"].iter().any(|name| seen.headers.contains_key(*name)), "{seen:?}");
    assert_eq!(seen.body, Bytes::from_static(b"\0\0\0\0\x02hi"));
    let trailers = seen.trailers.expect("trailers of the request");
    assert_eq!((trailers.len(), &trailers["x-checksum"]), (1, &"7".parse().unwrap()));
    let workers = std::thread::available_parallelism().unwrap().get();
    assert!(grpc.connections.load(Ordering::SeqCst) <= workers, "connections are shared");
}

#[tokio::test]
async fn pos_56_what_is_refused_of_grpc_has_a_status_of_grpc() {
    let grpc = Grpc::start(None).await;
    let world = world_with(over_http2(Scheme::HTTP, grpc.address)).await;
    let status = async |shot: crate::support::shot::Shot| {
        let answer = shot.header("content-type", "application/grpc").send(Http::Two).await;
        // A client reads the status there only if nothing follows.
        assert!(answer.body.is_empty() && answer.header("content-length").is_none(), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/grpc"));
        (answer.status, answer.header("grpc-status").map(str::to_owned))
    };
    assert_eq!(status(world.good().no_proof()).await, (401, Some("16".to_owned())));
    assert_eq!(grpc.calls().len(), 0);
    // Who does not speak gRPC is not told in its terms, nor is gRPC-Web, which reads HTTP's.
    assert_eq!(world.good().no_proof().send(Http::Two).await.header("grpc-status"), None);
    let web = world.good().no_proof().header("content-type", "application/grpc-web");
    assert_eq!(web.send(Http::Two).await.header("grpc-status"), None);
    let policy = keybound::routes::Policy { scopes: vec!["admin".to_owned()], ..Plan::default().policy };
    let upstreams = Some(over_http2(Scheme::HTTP, nobody().await));
    let strict = Plan { policy, upstreams: upstreams.clone(), ..Plan::default() }.start().await;
    assert_eq!(status(strict.good()).await, (403, Some("7".to_owned())));
    let down = Plan { upstreams, ..Plan::default() }.start().await;
    assert_eq!(status(down.good()).await, (502, Some("14".to_owned())));
}

#[tokio::test]
async fn http2_over_tls_is_agreed_on_or_refused() {
    let authority = Authority::new();
    let (certificate, key) = authority.signs("api.internal");
    let acceptor = |protocols: &[&[u8]]| {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Some(TlsAcceptor::from(Arc::new(config)))
    };
    for (protocols, status) in
        [(&[&b"h2"[..]][..], 200), (&[b"http/1.1", b"h2"], 200), (&[b"http/1.1"], 502), (&[], 502)]
    {
        let grpc = Grpc::start(acceptor(protocols)).await;
        let tls = internal(authority.roots());
        let world = world_with(UpstreamSettings { tls, ..over_http2(Scheme::HTTPS, grpc.address) }).await;
        for http in [Http::One, Http::Two] {
            assert_eq!(world.good().send(http).await.status, status, "{protocols:?}");
        }
        assert_eq!(grpc.calls().len(), if status == 200 { 2 } else { 0 });
        assert!(grpc.calls().iter().all(|call| call.uri.scheme() == Some(&Scheme::HTTPS)));
    }
}

/// Says good-bye after every fifth request, as servers do that are restarted or that limit the age of connections
/// (RFC 9113 §6.8).
async fn moody() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, answered) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&answered);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answered = Arc::clone(&counted);
            tokio::spawn(async move {
                let (here, enough) = (Arc::<AtomicUsize>::default(), Arc::new(tokio::sync::Notify::new()));
                let leaves = Arc::clone(&enough);
                let service = service_fn(move |_| {
                    answered.fetch_add(1, Ordering::SeqCst);
                    if here.fetch_add(1, Ordering::SeqCst) == 4 {
                        leaves.notify_one();
                    }
                    async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok")))) }
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
                tokio::select! {
                    _ = &mut connection => return,
                    () = enough.notified() => connection.as_mut().graceful_shutdown(),
                }
                let _ = connection.await;
            });
        }
    });
    (address, answered)
}

#[tokio::test]
async fn a_good_bye_of_an_http2_upstream_costs_no_request() {
    let (address, answered) = moody().await;
    let world = Arc::new(world_with(over_http2(Scheme::HTTP, address)).await);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                for _ in 0..25 {
                    let answer = world.good().send(Http::One).await;
                    assert_eq!(answer.status, 200, "{answer:?}\n{}", world.metrics());
                }
            })
        })
        .collect();
    for client in clients {
        tokio::time::timeout(PATIENCE, client).await.unwrap().unwrap();
    }
    assert_eq!(answered.load(Ordering::SeqCst), 200, "each was answered once");
}

#[tokio::test]
async fn http2_upstreams_are_checked_chosen_and_left_like_others() {
    let (grpc, dead) = (Grpc::start(None).await, nobody().await);
    let settings = UpstreamSettings { http2: true, ..checked(upstream(Scheme::HTTP, &[grpc.address, dead])) };
    let world = world_with(settings).await;
    becomes(&world, dead, 0).await;
    for http in [Http::One, Http::Two] {
        for _ in 0..5 {
            assert_eq!(world.good().send(http).await.status, 200);
        }
    }
    assert_eq!(healthy(&world, grpc.address), 1);
    let checks = grpc.calls().into_iter().filter(|call| call.uri.path() == "/healthz").count();
    assert!(checks >= 2, "{checks}");
    // One that speaks HTTP/1.1 only is of no use.
    let old = Upstream::start().await;
    let world = world_with(over_http2(Scheme::HTTP, old.address)).await;
    assert_eq!((world.good().send(Http::One).await.status, old.count()), (502, 0));
}

#[tokio::test]
async fn good_checks_let_an_endpoint_back_that_was_left_out_for_its_connections() {
    let recorder = Upstream::start().await;
    let away = nobody().await;
    // Checks that never fail often enough: what leaves it out are its connections.
    let mut settings = checked(upstream(Scheme::HTTP, &[away, recorder.address]));
    settings.health_check.as_mut().unwrap().unhealthy_after = 1_000_000;
    let world = world_with(settings).await;
    let ejected = async {
        while healthy(&world, away) == 1 {
            assert_eq!(world.good().send(Http::One).await.status, 200);
        }
    };
    tokio::time::timeout(PATIENCE, ejected).await.expect("it is left out");
    let back = TcpListener::bind(away).await.unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = back.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
        }
    });
    let back = Instant::now();
    becomes(&world, away, 1).await;
    assert!(back.elapsed() < Duration::from_secs(5), "long before its time of ten seconds is over");
    task.abort();
}
