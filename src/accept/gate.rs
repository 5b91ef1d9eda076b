//! How many connections there may be, and how they all come to their end.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::Events;
use super::settings::Limits;

/// Longer than any connection lives, and short enough to be added to any instant.
const LONGEST: Duration = Duration::from_hours(8760);

/// How often it is told that there is no place. Every client that waits would be too often.
const TOLD_EVERY: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_mins(1) };

/// What several listeners share: the bounds on connections, and the signal to stop.
///
/// The order of an end is [`empty`](Self::empty), if there is time for it, [`close`](Self::close), then [`drained`](Self::drained) for as long as there is patience,
/// then [`abort`](Self::abort). Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Shared>);

struct Shared {
    limits: Limits,
    places: Arc<Semaphore>,
    capacity: u32,
    phase: watch::Sender<Phase>,
    /// The same as a phase after `Open`, at the price of a memory load.
    asks_to_leave: AtomicBool,
    /// Listeners that may have accepted somebody who has no place yet.
    accepting: watch::Sender<usize>,
    /// When it was last told that there is no place.
    told: Mutex<Option<Instant>>,
}

/// Phases follow one another and never come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Connections are accepted.
    Open,
    /// Connections are accepted still, each for a request; the others are asked to leave.
    Emptying,
    /// No new connection, no further request on an old one; requests under way finish.
    Closing,
    /// Every connection is cut.
    Aborted,
}

impl Gate {
    /// An open gate.
    pub fn new(mut limits: Limits) -> Self {
        for timeout in [&mut limits.header_timeout, &mut limits.handshake_timeout, &mut limits.idle_timeout] {
            *timeout = LONGEST.min(*timeout);
        }
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let capacity = u32::try_from(limits.connections.clamp(1, most)).unwrap_or(u32::MAX);
        let places = Arc::new(Semaphore::new(capacity as usize));
        let (phase, accepting) = (watch::Sender::new(Phase::Open), watch::Sender::new(0));
        let (asks_to_leave, told) = (AtomicBool::new(false), Mutex::default());
        Self(Arc::new(Shared { limits, places, capacity, phase, asks_to_leave, accepting, told }))
    }

    /// The bounds that were given; a timeout of more than a year counts as a year.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Connections that are open now, those in their TLS handshake and upgraded ones included.
    pub fn connections(&self) -> usize {
        (self.0.capacity as usize).saturating_sub(self.0.places.available_permits())
    }

    /// The most there may be at once.
    pub fn capacity(&self) -> u32 {
        self.0.capacity
    }

    /// Asks clients to leave, as [`close`](Self::close) does, but goes on accepting: who connects gets an answer and is asked
    /// to leave, too.
    pub fn empty(&self) {
        self.enter(Phase::Emptying);
    }

    /// Whether clients are asked to leave.
    pub fn asks_to_leave(&self) -> bool {
        self.0.asks_to_leave.load(Ordering::Relaxed)
    }

    /// Stops accepting and closes the listening sockets. Idle connections close at once; on the others the requests
    /// under way finish, and clients are told to go elsewhere (`Connection: close`, RFC 9112 §9.6; GOAWAY,
    /// RFC 9113 §6.8).
    pub fn close(&self) {
        self.enter(Phase::Closing);
    }

    /// Resolves when the gate was closed and the last connection, upgraded ones included, has ended.
    pub async fn drained(&self) {
        let mut phase = self.0.phase.subscribe();
        // Neither fails: this gate holds the sender, and the semaphore is never closed.
        let _ = phase.wait_for(|phase| *phase >= Phase::Closing).await;
        // Whoever was accepted comes first: nobody else would answer them.
        let _ = self.0.accepting.subscribe().wait_for(|accepting| *accepting == 0).await;
        let _ = self.0.places.acquire_many(self.0.capacity).await;
    }

    /// Cuts every connection that is left, upgraded ones included. Closes the gate if it was open.
    pub fn abort(&self) {
        self.enter(Phase::Aborted);
    }

    fn enter(&self, next: Phase) {
        self.0.asks_to_leave.store(true, Ordering::Relaxed);
        self.0.phase.send_if_modified(|phase| {
            let later = next > *phase;
            *phase = next.max(*phase);
            later
        });
    }

    pub(super) fn phases(&self) -> Phases {
        let mut receiver = self.0.phase.subscribe();
        // What happened before this subscription counts as news.
        receiver.mark_changed();
        Phases { receiver, seen: Phase::Open, trust: None, owed: false }
    }

    /// For a listener that begins to accept.
    pub(super) fn accepting(&self) -> Accepting {
        self.0.accepting.send_modify(|accepting| *accepting += 1);
        Accepting { gate: self.clone(), closing: Box::pin(self.phases().closing()) }
    }

    /// Waits for a place. `None` cannot happen while the gate exists.
    async fn place(&self, events: &Arc<dyn Events>) -> Option<Place> {
        let places = &self.0.places;
        let permit = if let Ok(permit) = Arc::clone(places).try_acquire_owned() {
            permit
        } else {
            let mut permit = Box::pin(Arc::clone(places).acquire_owned());
            loop {
                if self.has_to_tell() {
                    events.full(self.0.capacity);
                }
                if let Ok(permit) = timeout(TOLD_EVERY, &mut permit).await {
                    break permit.ok()?;
                }
            }
        };
        events.connection_opened();
        Some(Place { _permit: permit, events: Arc::clone(events) })
    }

    /// Listeners share the gate, and one of them tells for all.
    fn has_to_tell(&self) -> bool {
        let (mut told, now) = (self.0.told.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let is_due = told.is_none_or(|told| told + TOLD_EVERY <= now);
        if is_due {
            *told = Some(now);
        }
        is_due
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("phase", &*self.0.phase.borrow())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

/// A listener that accepts. The gate is not drained as long as it does.
pub(super) struct Accepting {
    gate: Gate,
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Accepting {
    /// The next client and its place; `None` when the gate closed. Whom `client` has accepted gets a place whatever the gate
    /// does meanwhile: nobody else would answer.
    pub(super) async fn next<C>(
        &mut self,
        client: impl Future<Output = C>,
        events: &Arc<dyn Events>,
    ) -> Option<(C, Place)> {
        let client = tokio::select! {
            biased;
            () = &mut self.closing => return None,
            client = client => client,
        };
        Some((client, self.gate.place(events).await?))
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.gate.0.accepting.send_modify(|accepting| *accepting -= 1);
    }
}

/// One connection's view of the phases.
#[derive(Clone)]
pub(super) struct Phases {
    receiver: watch::Receiver<Phase>,
    seen: Phase,
    /// Changes when the client's certificate might not pass the handshake any more.
    trust: Option<watch::Receiver<()>>,
    /// The gate closed, and that was not told yet.
    owed: bool,
}

impl Phases {
    /// The same, but a connection that is to end as soon as `trust` changes: the gate closes for it alone.
    pub(super) fn while_trusted(self, trust: Option<watch::Receiver<()>>) -> Self {
        Self { trust, ..self }
    }

    /// The next phase that was not seen yet. Loses nothing when dropped halfway.
    pub(super) async fn next(&mut self) -> Phase {
        self.next_spared(|| None).await
    }

    /// Resolves when no more connections are to be accepted.
    async fn closing(mut self) {
        while self.next().await < Phase::Closing {}
    }

    /// Resolves when the gate closes, but not before this time.
    pub(super) async fn closing_after(mut self, spared: Instant) {
        while self.next_spared(|| Some(spared)).await < Phase::Closing {}
    }

    /// The same as `next`, but that the gate empties or closes is not told before the time that `spared` gives.
    pub(super) async fn next_spared(&mut self, spared: impl Fn() -> Option<Instant>) -> Phase {
        loop {
            let owed = if self.owed { Some(spared().unwrap_or_else(Instant::now)) } else { None };
            let changed = tokio::select! {
                biased;
                changed = self.receiver.changed() => changed,
                () = passes(owed) => Ok(()),
                () = lost(&mut self.trust) => {
                    self.trust = None;
                    if self.seen < Phase::Closing {
                        self.seen = Phase::Closing;
                        return Phase::Closing;
                    }
                    continue;
                }
            };
            let phase = match changed {
                Ok(()) => *self.receiver.borrow_and_update(),
                // Nobody is left who could end this connection in another way.
                Err(_) => Phase::Aborted,
            };
            let asks_to_leave = matches!(phase, Phase::Emptying | Phase::Closing);
            self.owed = asks_to_leave && spared().is_some_and(|until| Instant::now() < until);
            if self.owed {
                continue;
            }
            if phase > self.seen {
                self.seen = phase;
                return phase;
            }
            if phase == Phase::Aborted {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Takes note of the present phase: from now on only later ones are news. A gate that closes already stays news: it may
    /// be owed.
    pub(super) fn catch_up(&mut self) {
        // Not `seen`: `next` still has to tell of it.
        if *self.receiver.borrow_and_update() > Phase::Open {
            self.receiver.mark_changed();
        }
        if let Some(trust) = &mut self.trust {
            trust.mark_unchanged();
        }
    }

    /// Whether a phase began since, for which this does not wait.
    pub(super) fn are_there(&self) -> bool {
        let distrusted = |trust: &watch::Receiver<()>| trust.has_changed().unwrap_or(false);
        self.receiver.has_changed().unwrap_or(true) || self.trust.as_ref().is_some_and(distrusted)
    }

    /// Resolves when every connection is to be cut.
    pub(super) async fn aborted(mut self) {
        while self.next().await != Phase::Aborted {}
    }
}

/// Resolves at this time; never, if there is none.
async fn passes(time: Option<Instant>) {
    match time {
        // Boxed: hardly any connection needs it, and all would carry it.
        Some(time) => Box::pin(sleep_until(time)).await,
        None => std::future::pending().await,
    }
}

/// Resolves when trust changes; never, if it cannot.
async fn lost(trust: &mut Option<watch::Receiver<()>>) {
    let changed = match trust {
        Some(trust) => trust.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending::<()>().await;
    }
}

/// A connection's place among all; given back when dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    events: Arc<dyn Events>,
}

impl Place {
    pub(super) const fn events(&self) -> &Arc<dyn Events> {
        &self.events
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.events.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[derive(Default)]
    struct Told(AtomicU32);

    impl Events for Told {
        fn full(&self, limit: u32) {
            self.0.fetch_add(limit, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn that_there_is_no_place_is_told_again_and_again_but_not_by_each() {
        let gate = Gate::new(Limits { connections: 2, ..Limits::default() });
        let told = Arc::new(Told::default());
        let events: Arc<dyn Events> = Arc::clone(&told) as _;
        let count = || told.0.load(Ordering::Relaxed) / 2;
        let [first, _second] = [gate.place(&events).await, gate.place(&events).await];
        assert_eq!(count(), 0, "both had a place");
        let begun = Instant::now();
        let waiting = [0; 8].map(|_| {
            let (gate, events) = (gate.clone(), Arc::clone(&events));
            tokio::spawn(async move { gate.place(&events).await.is_some() })
        });
        while count() < 3 {
            assert!(begun.elapsed() < Duration::from_secs(20), "told {} times", count());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(begun.elapsed() >= 2 * TOLD_EVERY, "three times in {:?}", begun.elapsed());
        drop(first);
        for waiting in waiting {
            assert!(waiting.await.unwrap(), "each gets the place of the one before");
        }
    }
}
