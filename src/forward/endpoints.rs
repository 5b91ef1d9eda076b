//! The endpoints of one upstream, and which of them gets a request.
//!
//! Of two that are picked at random, the one with fewer requests under way: nearly as even as asking all of them, and
//! a slow one gets less. With one endpoint there is nothing to choose and nothing is counted.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{Request, Response};

use super::body::RequestBody;
use super::health::{Change, Health, STRIKES};
use super::pool::{Pool, SendError, Turn};
use super::random;
use super::response::ResponseBody;

/// Where requests to one upstream may go.
pub struct Endpoints {
    /// The upstream's name.
    upstream: String,
    all: Box<[Endpoint]>,
    /// A bit for each that is used: what [`Health`] says, for reading on a request's way.
    used: AtomicU64,
    health: Mutex<Health>,
}

/// One of them.
pub struct Endpoint {
    /// Its URL, as it was configured: metric label and log field.
    pub url: String,
    /// Its connections.
    pub pool: Arc<Pool>,
}

impl Endpoints {
    /// All of them are used; at most 64.
    pub fn new(upstream: String, all: Vec<Endpoint>, health: Health) -> Self {
        Self { upstream, all: all.into(), used: AtomicU64::new(health.used()), health: Mutex::new(health) }
    }

    /// The endpoints.
    pub fn all(&self) -> &[Endpoint] {
        &self.all
    }

    /// Whether the endpoint of that index is used.
    pub fn is_used(&self, index: usize) -> bool {
        self.used.load(Relaxed) >> index & 1 == 1
    }

    /// Sends a request to one endpoint. To another one if no connection could be had, for then nothing was sent; to
    /// each once at most.
    ///
    /// # Errors
    /// [`SendError`], of the last that was tried.
    pub(super) async fn send(&self, request: Request<RequestBody>) -> Result<Response<ResponseBody>, SendError> {
        let (mut waiting, mut tried) = (Some(request), 0);
        let mut error = SendError::Connect(io::ErrorKind::NotFound.into());
        while let Some((index, endpoint)) = self.choose(tried) {
            match Pool::send(Turn::new(&endpoint.pool, self.all.len() > 1), &mut waiting).await {
                Err(SendError::Connect(refused)) => {
                    self.failed(index, endpoint);
                    error = SendError::Connect(refused);
                }
                // Nothing was sent, and another one may have room.
                Err(SendError::Busy(most)) => error = SendError::Busy(most),
                outcome => return outcome,
            }
            tried |= 1 << index;
        }
        Err(error)
    }

    /// One that was not tried yet. Those that are left out come when there is no other.
    fn choose(&self, tried: u64) -> Option<(usize, &Endpoint)> {
        if let [only] = &*self.all {
            return (tried == 0).then_some((0, only));
        }
        let all = u64::MAX >> (64 - self.all.len().clamp(1, 64));
        let used = self.used.load(Relaxed);
        let mask = if used & !tried == 0 { all & !tried } else { used & !tried };
        let count = mask.count_ones();
        if count == 0 {
            return None;
        }
        let random = random::next();
        #[allow(clippy::cast_possible_truncation, reason = "one half each")]
        let (upper, lower) = ((random >> 32) as u32, random as u32);
        let one = random::below(count, upper);
        let first = self.nth(mask, one)?;
        if count == 1 {
            return Some(first);
        }
        // Any but the first.
        let other = random::below(count - 1, lower);
        let second = self.nth(mask, if other < one { other } else { other + 1 })?;
        Some(if second.1.pool.load() < first.1.pool.load() { second } else { first })
    }

    /// The endpoint of the `n`th bit that is set.
    fn nth(&self, mut mask: u64, n: u32) -> Option<(usize, &Endpoint)> {
        for _ in 0..n {
            // Without the lowest.
            mask &= mask.wrapping_sub(1);
        }
        let index = mask.trailing_zeros() as usize;
        Some((index, self.all.get(index)?))
    }

    fn failed(&self, index: usize, endpoint: &Endpoint) {
        let strikes = endpoint.pool.strike();
        if strikes >= STRIKES && self.all.len() > 1 {
            self.change(|health| health.struck(index, strikes, Instant::now()).map(|change| (index, change)));
        }
    }

    /// A health check of an endpoint went well, or failed for this reason.
    pub fn checked(&self, index: usize, outcome: Result<(), String>) {
        self.change(|health| health.checked(index, outcome).map(|change| (index, change)));
    }

    /// Lets endpoints back whose time is over, and closes connections that nobody has used for a while. About once a
    /// second, off the requests' way.
    pub fn tidy(&self) {
        if self.all.len() > 1 {
            self.change(|health| health.expire(Instant::now()).into_iter().map(|index| (index, Change::Used)));
        }
        self.all.iter().for_each(|endpoint| endpoint.pool.tidy());
    }

    fn change<C: IntoIterator<Item = (usize, Change)>>(&self, change: impl FnOnce(&mut Health) -> C) {
        let mut health = self.lock();
        let changes = change(&mut health);
        self.used.store(health.used(), Relaxed);
        drop(health);
        for (index, change) in changes {
            let Some(Endpoint { url, .. }) = self.all.get(index) else { continue };
            match change {
                Change::Used => tracing::info!(upstream = %self.upstream, endpoint = %url, "an endpoint is used again"),
                Change::LeftOut(why) => {
                    tracing::warn!(upstream = %self.upstream, endpoint = %url, why, "an endpoint is left out");
                }
            }
        }
    }

    /// Nothing between lock and unlock leaves it half changed.
    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
