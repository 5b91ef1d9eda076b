//! What a connection is doing, so that a slow or silent client can be told from a busy one.
//!
//! Not with the library's own header timeout: that one also runs while a connection is merely idle.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::settings::Limits;

/// A connection on which nothing happens for this long gives back what it needs only for requests: it is one of many
/// that a client keeps for later.
const REST_AFTER: Duration = Duration::from_secs(1);

/// Shared by the connection's socket, its requests and the task that watches over it.
#[derive(Debug)]
pub(super) struct Activity {
    header_timeout: Duration,
    idle_timeout: Duration,
    upgraded: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests whose response body is not finished.
    under_way: usize,
    /// Since when there is none.
    quiet_since: Instant,
    /// When the first byte of a head came in that is not complete yet.
    head_since: Option<Instant>,
    /// Since when the client takes nothing of what is written.
    blocked_since: Option<Instant>,
    /// When the client was asked to leave.
    leaving_since: Option<Instant>,
    /// It was not being answered then, nor in the middle of a head.
    left_idle: bool,
    /// Until then the client is not asked to leave; `None`: it has begun a request.
    newcomer_until: Option<Instant>,
    /// Since the last head, what the connection needs only for requests was not given back, and could be.
    may_rest: bool,
    /// HTTP/2 clients send frames at any time, and no byte tells where a head begins.
    heads_are_seen: bool,
}

/// Which patience has run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No request for [`REST_AFTER`].
    Quiet,
    /// No request for `idle_timeout`.
    Idle,
    /// A head that took `header_timeout` and is not complete.
    Head,
    /// A client that took no byte of an answer for `idle_timeout`.
    Blocked,
    /// A client that was asked to leave and did not.
    Leaving,
}

impl Activity {
    /// The client is a newcomer until then, or until its first request.
    pub(super) fn new(limits: &Limits, newcomer_until: Instant) -> Arc<Self> {
        let state = State {
            under_way: 0,
            quiet_since: Instant::now(),
            head_since: None,
            blocked_since: None,
            leaving_since: None,
            left_idle: false,
            newcomer_until: Some(newcomer_until),
            may_rest: true,
            heads_are_seen: true,
        };
        Arc::new(Self {
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            upgraded: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    /// The connection speaks HTTP/2: from now on only the idle timeout counts.
    pub(super) fn speaks_http2(&self) {
        let mut state = self.state();
        state.heads_are_seen = false;
        state.head_since = None;
    }

    /// Bytes came in.
    pub(super) fn received(&self) {
        let mut state = self.state();
        if state.heads_are_seen && state.under_way == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    /// Whether the client takes what is written.
    pub(super) fn blocked(&self, blocked: bool) {
        self.state().blocked_since = blocked.then(Instant::now);
    }

    /// The connection gave back what it needs only for requests.
    pub(super) fn rests(&self) {
        self.state().may_rest = false;
    }

    /// The client was asked to leave.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        if state.leaving_since.is_some() {
            return;
        }
        state.leaving_since = Some(Instant::now());
        state.left_idle = state.under_way == 0 && state.head_since.is_none();
    }

    /// Until when the client is spared from being asked to leave: it has not begun its first request.
    pub(super) fn newcomer_until(&self) -> Option<Instant> {
        self.state().newcomer_until
    }

    /// Whether the connection ended with an answer that the client may still have to read.
    pub(super) fn ended_with_an_answer(&self) -> bool {
        !self.state().left_idle
    }

    /// Whether every request so far has its answer.
    pub(super) fn is_quiet(&self) -> bool {
        self.state().under_way == 0
    }

    /// Whether this is a tunnel by now, on which no deadline lies.
    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Acquire)
    }

    /// A head is complete. After a request with a body there is no rest before the next head: an answer may come
    /// before its request is through, and only whoever reads the connection knows where the body ends.
    pub(super) fn begin(self: &Arc<Self>, has_body: bool) -> UnderWay {
        let mut state = self.state();
        state.under_way += 1;
        state.newcomer_until = None;
        state.may_rest = !has_body;
        state.head_since = None;
        drop(state);
        UnderWay(Arc::clone(self))
    }

    /// When patience runs out if nothing happens; `None` while it cannot.
    pub(super) fn deadline(&self) -> Option<(Instant, Overdue)> {
        let state = self.state();
        let busy = state.under_way > 0;
        match (state.blocked_since, state.leaving_since, state.head_since) {
            (Some(since), ..) => Some((since + self.idle_timeout, Overdue::Blocked)),
            _ if busy => None,
            // Counted from the end of the last request at the earliest: its answer may still be on its way out.
            (_, Some(since), _) => Some((since.max(state.quiet_since) + self.header_timeout, Overdue::Leaving)),
            (_, _, Some(since)) => Some((since + self.header_timeout, Overdue::Head)),
            _ if state.may_rest && state.heads_are_seen && REST_AFTER < self.idle_timeout => {
                Some((state.quiet_since + REST_AFTER, Overdue::Quiet))
            }
            _ => Some((state.quiet_since + self.idle_timeout, Overdue::Idle)),
        }
    }

    /// How long a busy connection may be left alone: no deadline that begins later can pass before.
    pub(super) const fn patience(&self) -> Duration {
        self.idle_timeout
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Activity>);

impl UnderWay {
    /// The answer switches protocols (RFC 9110 §7.8).
    pub(super) fn upgrades(&self) {
        self.0.upgraded.store(true, Ordering::Release);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        if state.under_way == 0 {
            state.quiet_since = Instant::now();
        }
    }
}

/// A response body that keeps its request under way.
#[derive(Debug)]
pub(super) struct Answer<B> {
    pub(super) body: B,
    pub(super) _under_way: UnderWay,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
