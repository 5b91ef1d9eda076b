//! Connections to one upstream, kept between requests.
//!
//! Each worker keeps its own, so that a request and the connection it uses share a thread. A connection comes back
//! when the response on it has been read to its end; whoever drops a response halfway closes its connection.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response, Uri};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service as _;

use super::body::RequestBody;
use super::response::ResponseBody;
use crate::workers;

/// Kept connections that nobody uses are closed after this long.
const IDLE: Duration = Duration::from_mins(1);

/// Connections that one worker keeps to one upstream; what comes back beyond is closed.
const KEPT: usize = 1024;

/// A request that got no response.
#[derive(Debug)]
pub enum SendError {
    /// No connection could be had.
    Connect(Box<dyn Error + Send + Sync>),
    /// The connection broke, or what came over it was no HTTP.
    Exchange(hyper::Error),
}

/// The connections.
pub struct Pool {
    /// Scheme and authority.
    origin: Uri,
    connector: HttpsConnector<HttpConnector>,
    kept: Box<[Mutex<VecDeque<Kept>>]>,
}

struct Kept {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

impl Kept {
    /// Whether nobody should use it any more.
    fn is_over(&self) -> bool {
        self.sender.is_closed() || self.since.elapsed() >= IDLE
    }
}

/// A connection in use; comes back to the pool by [`Lease::end`], and is closed when dropped.
pub(super) struct Lease {
    pool: Arc<Pool>,
    sender: SendRequest<RequestBody>,
}

impl Lease {
    /// The response was read to its end.
    pub(super) fn end(self) {
        let Self { pool, sender } = self;
        if sender.is_closed() {
            return;
        }
        let mut kept = pool.own();
        if kept.len() < KEPT {
            kept.push_back(Kept { sender, since: Instant::now() });
        }
    }
}

impl Pool {
    /// An empty pool for as many workers as there are cores.
    pub fn new(origin: Uri, connector: HttpsConnector<HttpConnector>) -> Self {
        let kept = (0..workers::per_core().get()).map(|_| Mutex::default()).collect();
        Self { origin, connector, kept }
    }

    /// Sends a request over a kept connection or a new one. A kept connection that its upstream closed meanwhile costs
    /// nothing but another try, as long as nothing of the request was sent.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(
        self: &Arc<Self>,
        mut request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, SendError> {
        loop {
            let kept = self.take();
            let fresh = kept.is_none();
            let mut sender = match kept {
                Some(sender) => sender,
                // Rare, and large as a future: it would be moved about with every request.
                None => Box::pin(self.connect()).await?,
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let lease = Lease { pool: Arc::clone(self), sender };
                    return Ok(response.map(|body| ResponseBody::new(body, lease)));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !fresh => request = unsent,
                    _ => return Err(SendError::Exchange(error.into_error())),
                },
            }
        }
    }

    /// The connection that was used last, so that those that are too many grow old. One that still sends what is left
    /// of the request before is passed over.
    fn take(&self) -> Option<SendRequest<RequestBody>> {
        let mut kept = self.own();
        for at in (0..kept.len()).rev() {
            let one = kept.get(at)?;
            if one.is_over() {
                kept.remove(at);
            } else if one.sender.is_ready() {
                return kept.remove(at).map(|one| one.sender);
            }
        }
        None
    }

    async fn connect(&self) -> Result<SendRequest<RequestBody>, SendError> {
        let mut connector = self.connector.clone();
        std::future::poll_fn(|cx| connector.poll_ready(cx)).await.map_err(SendError::Connect)?;
        let stream = connector.call(self.origin.clone()).await.map_err(SendError::Connect)?;
        let (mut sender, connection) = http1::handshake(stream).await.map_err(SendError::Exchange)?;
        tokio::spawn(async move {
            // How it ends is told to whoever waits for a response.
            let _ = connection.with_upgrades().await;
        });
        sender.ready().await.map_err(SendError::Exchange)?;
        Ok(sender)
    }

    /// Closes connections that nobody has used for a while. About once a second, off the requests' way.
    pub fn tidy(&self) {
        for kept in &self.kept {
            let mut kept = lock(kept);
            let all = std::mem::take(&mut *kept);
            let (over, rest): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(Kept::is_over);
            *kept = rest;
            // The lock first.
            drop(kept);
            drop(over);
        }
    }

    fn own(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        lock(&self.kept[workers::current() % self.kept.len()])
    }
}

/// Nothing between lock and unlock leaves the list half changed.
fn lock(kept: &Mutex<VecDeque<Kept>>) -> MutexGuard<'_, VecDeque<Kept>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.origin).finish()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.pool).finish()
    }
}
