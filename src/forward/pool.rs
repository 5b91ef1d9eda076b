//! Connections to one endpoint of an upstream, kept between requests.
//!
//! Each worker keeps its own, so that a request and the connection it uses share a thread. A connection comes back
//! when the response on it has been read to its end; whoever drops a response halfway closes its connection.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::client::conn::http1::{self, SendRequest};

use super::body::RequestBody;
use super::dial::{Dialer, Origin};
use super::response::ResponseBody;
use crate::workers;

/// Kept connections that nobody uses are closed after this long.
const IDLE: Duration = Duration::from_mins(1);

/// Connections that one worker keeps to one endpoint; what comes back beyond is closed.
const KEPT: usize = 1024;

/// A request that got no response.
#[derive(Debug)]
pub enum SendError {
    /// No connection could be had. The request is where it was, and nothing of it was sent.
    Connect(io::Error),
    /// The connection broke, or what came over it was no HTTP.
    Exchange(hyper::Error),
}

/// The connections.
pub struct Pool {
    dialer: Dialer,
    kept: Box<[Mutex<VecDeque<Kept>>]>,
    /// Connections in a row that could not be had.
    strikes: AtomicU32,
    under_way: UnderWay,
}

/// How many requests an endpoint has that did not end yet, where somebody compares. On a cache line of its own: all
/// workers write it, and read what is beside it.
#[derive(Default)]
#[repr(align(128))]
struct UnderWay(AtomicUsize);

/// One request to one endpoint, which counts it until this is dropped.
pub(super) struct Turn {
    pool: Arc<Pool>,
    counted: bool,
}

impl Turn {
    /// `counted`: somebody compares endpoints.
    pub(super) fn new(pool: &Arc<Pool>, counted: bool) -> Self {
        if counted {
            pool.under_way.0.fetch_add(1, Relaxed);
        }
        Self { pool: Arc::clone(pool), counted }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.counted {
            self.pool.under_way.0.fetch_sub(1, Relaxed);
        }
    }
}

struct Kept {
    sender: SendRequest<RequestBody>,
    origin: Origin,
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
    turn: Turn,
    sender: SendRequest<RequestBody>,
    origin: Origin,
}

impl Lease {
    /// The response was read to its end.
    pub(super) fn end(self) {
        let Self { turn, sender, mut origin } = self;
        let pool = &turn.pool;
        if sender.is_closed() || !pool.dialer.still_knows(&mut origin) {
            return;
        }
        let mut kept = pool.own();
        if kept.len() < KEPT {
            kept.push_back(Kept { sender, origin, since: Instant::now() });
        }
    }

    /// The connection belongs to another protocol from now on. It counts as long as the turn is kept.
    pub(super) fn leave(self) -> Turn {
        self.turn
    }
}

impl Pool {
    /// An empty pool for as many workers as there are cores.
    pub fn new(dialer: Dialer) -> Self {
        let kept = (0..workers::per_core().get()).map(|_| Mutex::default()).collect();
        Self { dialer, kept, strikes: AtomicU32::new(0), under_way: UnderWay::default() }
    }

    /// What makes its connections.
    pub const fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// How many requests it has, where they are counted.
    pub fn load(&self) -> usize {
        self.under_way.0.load(Relaxed)
    }

    /// One more connection could not be had: how many in a row.
    pub fn strike(&self) -> u32 {
        self.strikes.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// Sends a request over a kept connection or a new one. A kept connection that its upstream closed meanwhile costs
    /// nothing but another try, as long as nothing of the request was sent. The request is still there afterwards if no
    /// connection could be had.
    ///
    /// # Errors
    /// [`SendError`].
    pub(super) async fn send(
        turn: Turn,
        waiting: &mut Option<Request<RequestBody>>,
    ) -> Result<Response<ResponseBody>, SendError> {
        loop {
            let kept = turn.pool.take();
            let fresh = kept.is_none();
            let (mut sender, origin) = match kept {
                Some(kept) => kept,
                // Rare, and large as a future: it would be moved about with every request.
                None => Box::pin(turn.pool.connect()).await?,
            };
            let Some(request) = waiting.take() else { return Err(SendError::Connect(io::ErrorKind::NotFound.into())) };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let lease = Lease { turn, sender, origin };
                    return Ok(response.map(|body| ResponseBody::new(body, lease)));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !fresh => *waiting = Some(unsent),
                    _ => return Err(SendError::Exchange(error.into_error())),
                },
            }
        }
    }

    /// The connection that was used last, so that those that are too many grow old. One that still sends what is left
    /// of the request before is passed over.
    fn take(&self) -> Option<(SendRequest<RequestBody>, Origin)> {
        let mut kept = self.own();
        for at in (0..kept.len()).rev() {
            let one = kept.get(at)?;
            if one.is_over() {
                kept.remove(at);
            } else if one.sender.is_ready() {
                return kept.remove(at).map(|one| (one.sender, one.origin));
            }
        }
        None
    }

    async fn connect(&self) -> Result<(SendRequest<RequestBody>, Origin), SendError> {
        let (stream, origin) = self.dialer.dial().await.map_err(SendError::Connect)?;
        self.strikes.store(0, Relaxed);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(SendError::Exchange)?;
        tokio::spawn(async move {
            // How it ends is told to whoever waits for a response.
            let _ = connection.with_upgrades().await;
        });
        sender.ready().await.map_err(SendError::Exchange)?;
        Ok((sender, origin))
    }

    /// Closes connections that nobody has used for a while, or that go where the name does not point any more. About
    /// once a second, off the requests' way.
    pub fn tidy(&self) {
        for kept in &self.kept {
            let mut kept = lock(kept);
            let all = std::mem::take(&mut *kept);
            let gone = |one: &mut Kept| one.is_over() || !self.dialer.still_knows(&mut one.origin);
            let (mut over, mut rest) = (Vec::new(), VecDeque::with_capacity(all.len()));
            for mut one in all {
                if gone(&mut one) {
                    over.push(one);
                } else {
                    rest.push_back(one);
                }
            }
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
        f.debug_tuple("Pool").field(&self.dialer).finish()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.turn.pool).finish()
    }
}
