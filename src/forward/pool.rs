//! Connections to one endpoint of an upstream, kept between requests.
//!
//! Each worker keeps its own, so that a request and the connection it uses share a thread. A connection comes back
//! when the response on it has been read to its end; whoever drops a response halfway closes its connection.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Request, Response};
use hyper::body::Incoming;

use super::body::RequestBody;
use super::dial::{Dialer, Origin};
use super::http1::{Connection, ExchangeError};
use super::response::ResponseBody;
use super::room::{Room, Slot};
use super::streams::{Carrier, Streams};
use crate::workers;

/// Looks, about one a second, that find a kept connection unused before it is closed.
const IDLE_LOOKS: u32 = 60;

/// Connections that one worker keeps to one endpoint; what comes back beyond is closed.
const KEPT: usize = 1024;

/// HTTP/2 connections that are made for one request.
const MOST_NEW: usize = 3;

/// A request that got no response.
#[derive(Debug)]
pub enum SendError {
    /// No connection could be had. The request is where it was, and nothing of it was sent.
    Connect(io::Error),
    /// As many connections as may be are in use, and none became free in time. Nothing was sent.
    Busy(usize),
    /// The connection broke, or what came over it was no HTTP.
    Exchange(ExchangeError),
    /// The same over HTTP/2.
    Stream(hyper::Error),
}

/// The connections.
pub struct Pool {
    dialer: Dialer,
    kept: Box<[Mutex<VecDeque<Kept>>]>,
    /// Connections in a row that could not be had.
    strikes: AtomicU32,
    under_way: UnderWay,
    /// Where connections are limited.
    room: Option<Arc<Room>>,
    /// Where HTTP/2 is spoken, instead of those that are kept.
    streams: Option<Streams>,
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

/// One connection.
struct Link {
    connection: Box<Connection>,
    origin: Origin,
    slot: Option<Slot>,
}

struct Kept {
    link: Link,
    idle: u32,
}

/// A connection in use; comes back to the pool by [`Lease::end`], and is closed when dropped.
pub(super) struct Lease {
    turn: Turn,
    held: Held,
}

enum Held {
    /// HTTP/1.1: the whole connection.
    Whole { origin: Origin, slot: Option<Slot> },
    /// HTTP/2: one of those who share it.
    Shared { _carrier: Arc<Carrier> },
}

/// A connection that belongs to another protocol. It counts until this is dropped.
pub(super) struct Tunnel {
    _turn: Turn,
    _slot: Option<Slot>,
}

impl Lease {
    /// The response was read to its end, over this connection.
    pub(super) fn end(self, connection: Box<Connection>) {
        let Self { turn, held } = self;
        let Held::Whole { mut origin, slot } = held else { return };
        let pool = &turn.pool;
        if connection.serves_another() && pool.dialer.still_knows(&mut origin) {
            pool.keep(Link { connection, origin, slot });
        } else {
            // Before its place is another's.
            drop(connection);
        }
    }

    /// The connection belongs to another protocol from now on.
    pub(super) fn leave(self) -> Tunnel {
        let slot = if let Held::Whole { slot, .. } = self.held { slot } else { None };
        Tunnel { _turn: self.turn, _slot: slot }
    }
}

impl Pool {
    /// An empty pool for as many workers as there are cores, and for at most so many connections. HTTP/2 is spoken
    /// where `http2` says so, over as many as it takes.
    pub fn new(dialer: Dialer, most: Option<usize>, http2: bool) -> Self {
        let kept = (0..workers::per_core().get()).map(|_| Mutex::default()).collect();
        let room = most.map(|most| Arc::new(Room::new(most)));
        Self {
            dialer,
            kept,
            strikes: AtomicU32::new(0),
            under_way: UnderWay::default(),
            room,
            streams: http2.then(Streams::new),
        }
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
        if let Some(streams) = &turn.pool.streams {
            // Large as a future, and not what most upstreams speak.
            let (response, carrier) = Box::pin(turn.pool.share(streams, waiting)).await?;
            return Ok(ResponseBody::http2(response, Lease { turn, held: Held::Shared { _carrier: carrier } }));
        }
        loop {
            let kept = take(&mut turn.pool.own());
            let (link, fresh) = match kept {
                Some(kept) => (kept, false),
                // Rare, and large as a future: it would be moved about with every request.
                None => Box::pin(turn.pool.obtain()).await?,
            };
            let Link { mut connection, origin, slot } = link;
            match connection.exchange(waiting).await {
                Ok(response) => {
                    if fresh {
                        turn.pool.strikes.store(0, Relaxed);
                    }
                    let lease = Lease { turn, held: Held::Whole { origin, slot } };
                    return Ok(ResponseBody::http1(response, connection, lease));
                }
                Err(error) if waiting.is_none() => {
                    // Before its place is another's.
                    drop(connection);
                    return Err(SendError::Exchange(error));
                }
                // It was made and taken away: as good as none.
                Err(error) if fresh => return Err(SendError::Connect(io::Error::other(error))),
                Err(_) => {}
            }
        }
    }

    fn keep(&self, mut link: Link) {
        link.connection.slim();
        let mut kept = self.own();
        if kept.len() < KEPT {
            kept.push_back(Kept { link, idle: 0 });
        }
        drop(kept);
        if let Some(room) = &self.room {
            room.kept();
        }
    }

    /// The same over HTTP/2. A connection may end before it carries what was to go over it, even a new one, which others
    /// use already.
    async fn share(
        &self,
        streams: &Streams,
        waiting: &mut Option<Request<RequestBody>>,
    ) -> Result<(Response<Incoming>, Arc<Carrier>), SendError> {
        let mut new_ones = 0;
        loop {
            let (carrier, fresh) = streams.carrier(&self.dialer).await.map_err(SendError::Connect)?;
            new_ones += usize::from(fresh);
            let Some(mut request) = waiting.take() else {
                return Err(SendError::Connect(io::ErrorKind::NotFound.into()));
            };
            self.dialer.adapt(&mut request);
            match carrier.sender().try_send_request(request).await {
                Ok(response) => {
                    if fresh {
                        self.strikes.store(0, Relaxed);
                    }
                    return Ok((response, carrier));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => {
                        *waiting = Some(unsent);
                        if new_ones >= MOST_NEW {
                            // They were made and taken away: as good as none.
                            return Err(SendError::Connect(io::Error::other(error.into_error())));
                        }
                    }
                    None => return Err(SendError::Stream(error.into_error())),
                },
            }
        }
    }

    /// Whether HTTP/2 is spoken.
    pub const fn is_http2(&self) -> bool {
        self.streams.is_some()
    }

    /// A connection that this worker did not keep, and whether it is a new one.
    async fn obtain(&self) -> Result<(Link, bool), SendError> {
        let Some(room) = &self.room else { return Ok((self.connect(None).await?, true)) };
        // Where connections are scarce, those that other workers keep are better than none.
        let find = || room.take().map(Err).or_else(|| self.kept.iter().find_map(|kept| take(&mut lock(kept))).map(Ok));
        match room.wait(self.dialer.patience(), find).await {
            Some(Ok(kept)) => Ok((kept, false)),
            Some(Err(slot)) => Ok((self.connect(Some(slot)).await?, true)),
            None => Err(SendError::Busy(room.most())),
        }
    }

    async fn connect(&self, slot: Option<Slot>) -> Result<Link, SendError> {
        let (stream, origin) = self.dialer.dial().await.map_err(SendError::Connect)?;
        Ok(Link { connection: Box::new(Connection::new(stream)), origin, slot })
    }

    /// Closes connections that nobody has used for a while, or that go where the name does not point any more. About
    /// once a second, off the requests' way.
    pub fn tidy(&self) {
        if let Some(streams) = &self.streams {
            streams.tidy(&self.dialer);
        }
        for kept in &self.kept {
            let mut kept = lock(kept);
            let all = std::mem::take(&mut *kept);
            let gone = |one: &mut Kept| {
                one.idle += 1;
                one.idle > IDLE_LOOKS
                    || !one.link.connection.is_alive()
                    || !self.dialer.still_knows(&mut one.link.origin)
            };
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

/// The connection that was used last, so that those that are too many grow old.
fn take(kept: &mut VecDeque<Kept>) -> Option<Link> {
    while let Some(mut one) = kept.pop_back() {
        if one.link.connection.is_alive() {
            return Some(one.link);
        }
    }
    None
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
