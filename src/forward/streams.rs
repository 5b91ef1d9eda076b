//! HTTP/2 towards one endpoint (RFC 9113): each worker has connections of its own, which many requests share.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, Uri, Version, header};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::body::RequestBody;
use super::dial::{Dialer, Origin, Transport};
use crate::workers;

/// Requests that share a connection before another one is made; servers commonly allow as many (RFC 9113 §6.5.2).
const MOST_STREAMS: usize = 100;

/// An answer's head may be so large.
const HEAD_BYTES: u32 = 64 * 1024;

/// A connection that carries requests and says nothing for so long is asked whether it lives, and closed if it does not
/// say so.
const SILENCE: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Looks, about one a second, that find a connection without a request before it is closed.
const IDLE_LOOKS: u32 = 60;

/// The connections of all workers.
pub struct Streams(Box<[Worker]>);

#[derive(Default)]
struct Worker {
    shared: Mutex<Vec<Shared>>,
    /// Held while a connection is made, so that those who want one at the same time share it.
    connecting: tokio::sync::Mutex<()>,
    /// Connections that could not be had.
    failures: AtomicU64,
}

struct Shared {
    carrier: Arc<Carrier>,
    origin: Origin,
    idle: u32,
}

/// One connection. Each request over it holds it.
pub struct Carrier(SendRequest<RequestBody>);

impl Carrier {
    /// Something to send one request with.
    pub fn sender(&self) -> SendRequest<RequestBody> {
        self.0.clone()
    }
}

impl Shared {
    /// Requests over it: everybody who holds it but this list.
    fn load(&self) -> usize {
        Arc::strong_count(&self.carrier) - 1
    }
}

impl Streams {
    /// Without a connection, for as many workers as there are cores.
    pub fn new() -> Self {
        Self((0..workers::per_core().get()).map(|_| Worker::default()).collect())
    }

    /// A connection for one more request, and whether it is a new one.
    ///
    /// # Errors
    /// Those of [`Dialer::dial`], also when it was somebody else who tried.
    pub async fn carrier(&self, dialer: &Dialer) -> std::io::Result<(Arc<Carrier>, bool)> {
        let worker = &self.0[workers::current() % self.0.len()];
        if let Some(carrier) = worker.find() {
            return Ok((carrier, false));
        }
        let failures = worker.failures.load(SeqCst);
        let _alone = worker.connecting.lock().await;
        if let Some(carrier) = worker.find() {
            return Ok((carrier, false));
        }
        if worker.failures.load(SeqCst) != failures {
            return Err(std::io::Error::other("no connection a moment ago"));
        }
        let connected = Self::connect(dialer).await;
        let (sender, origin) = connected.inspect_err(|_| _ = worker.failures.fetch_add(1, SeqCst))?;
        let carrier = Arc::new(Carrier(sender));
        worker.lock().push(Shared { carrier: Arc::clone(&carrier), origin, idle: 0 });
        Ok((carrier, true))
    }

    async fn connect(dialer: &Dialer) -> std::io::Result<(SendRequest<RequestBody>, Origin)> {
        let (stream, origin) = dialer.dial().await?;
        let (mut sender, connection) = handshake(stream).await.map_err(std::io::Error::other)?;
        tokio::spawn(async move {
            // How it ends is told to whoever waits for a response.
            let _ = connection.await;
        });
        sender.ready().await.map_err(std::io::Error::other)?;
        Ok((sender, origin))
    }

    /// Lets go of connections that nobody has used for a while, or that go where the name does not point any more. What
    /// is under way over them ends in peace.
    pub fn tidy(&self, dialer: &Dialer) {
        for worker in &self.0 {
            let mut over = Vec::new();
            let mut shared = worker.lock();
            for mut one in std::mem::take(&mut *shared) {
                one.idle = if one.load() == 0 { one.idle + 1 } else { 0 };
                let gone = one.carrier.0.is_closed() || one.idle >= IDLE_LOOKS;
                let list = if gone || !dialer.still_knows(&mut one.origin) { &mut over } else { &mut *shared };
                list.push(one);
            }
            // The lock first.
            drop(shared);
            drop(over);
        }
    }
}

impl Worker {
    /// The first connection that works and has room.
    fn find(&self) -> Option<Arc<Carrier>> {
        let mut shared = self.lock();
        shared.retain(|one| !one.carrier.0.is_closed());
        let one = shared.iter().find(|one| one.load() < MOST_STREAMS)?;
        Some(Arc::clone(&one.carrier))
    }

    /// Nothing between lock and unlock leaves the list half changed.
    fn lock(&self) -> MutexGuard<'_, Vec<Shared>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// HTTP/2 over a new connection.
///
/// # Errors
/// When it broke at once.
pub async fn handshake<B>(
    transport: Transport,
) -> hyper::Result<(SendRequest<B>, http2::Connection<TokioIo<Transport>, B, TokioExecutor>)>
where
    B: http_body::Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(SILENCE)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_header_list_size(HEAD_BYTES)
        .handshake(TokioIo::new(transport))
        .await
}

/// The same request in HTTP/2: its authority is no field, and nothing in it belongs to a connection (RFC 9113 §8.2.2,
/// §8.3.1).
pub fn adapt<B>(request: &mut Request<B>, scheme: &Scheme, own: &Authority) {
    if request.version() == Version::HTTP_2 {
        return;
    }
    let authority = take_host(request.headers_mut()).unwrap_or_else(|| own.clone());
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(scheme.clone()).authority(authority).path_and_query(path).build();
    if let Ok(uri) = uri {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
}

fn take_host(headers: &mut HeaderMap) -> Option<Authority> {
    headers.remove(header::CONNECTION);
    Authority::try_from(headers.remove(header::HOST)?.as_bytes()).ok()
}
