//! An answer that came before its request was sent to the end. The rest goes on by itself: a client may read nothing of
//! the answer before it has sent everything.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::AbortHandle;

use super::http1::{Connection, ExchangeError};
use super::pool::Lease;

/// A connection that one task writes to while another reads from it. Closed when dropped before [`Self::end`].
#[derive(Debug)]
pub struct Uploading {
    shared: Arc<Mutex<Shared>>,
    task: Option<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    /// Until the exchange is over.
    connection: Option<Box<Connection>>,
    /// The answer was read to its end; whoever sends the rest gives the connection back.
    lease: Option<Lease>,
    /// Why there is no connection any more, if not because the exchange is over.
    broken: Option<ExchangeError>,
    /// Waits for more of the answer.
    reader: Option<Waker>,
}

impl Uploading {
    /// Sends the rest.
    pub fn new(connection: Box<Connection>) -> Self {
        let shared =
            Arc::new(Mutex::new(Shared { connection: Some(connection), lease: None, broken: None, reader: None }));
        let sent = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let rest =
                poll_fn(|cx| lock(&sent).connection.as_mut().map_or(Poll::Ready(Ok(())), |one| one.poll_rest(cx)));
            let outcome = rest.await;
            let mut shared = lock(&sent);
            match outcome {
                Ok(()) => {
                    let ended = shared.ended();
                    drop(shared);
                    if let Some((lease, connection)) = ended {
                        lease.end(connection);
                    }
                }
                Err(error) => shared.break_off(error),
            }
        });
        Self { shared, task: Some(task.abort_handle()) }
    }

    /// The next of the answer's body. It breaks off when the request does: a client that is gone reads no answer.
    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        let mut shared = lock(&self.shared);
        let Some(connection) = &mut shared.connection else {
            return Poll::Ready(Some(Err(shared.broken.take().unwrap_or(ExchangeError::Incomplete))));
        };
        let polled = connection.poll_frame(cx);
        if polled.is_pending() {
            shared.reader = Some(cx.waker().clone());
        }
        polled
    }

    /// Whether the answer was read to its end.
    pub fn is_end_stream(&self) -> bool {
        lock(&self.shared).connection.as_ref().is_some_and(|connection| connection.is_end_stream())
    }

    /// How much is left of it.
    pub fn size_hint(&self) -> SizeHint {
        lock(&self.shared).connection.as_ref().map(|connection| connection.size_hint()).unwrap_or_default()
    }

    /// The answer was read to its end.
    pub fn end(mut self, lease: Lease) {
        let mut shared = lock(&self.shared);
        shared.lease = Some(lease);
        // Where the connection serves nobody else, neither does the rest of the request.
        let over = shared.connection.as_ref().is_none_or(|connection| connection.is_sent() || !connection.persists());
        let ended = if over { shared.ended() } else { None };
        // The lock first.
        drop(shared);
        if !over {
            self.task = None;
        }
        if let Some((lease, connection)) = ended {
            lease.end(connection);
        }
    }
}

impl Shared {
    fn break_off(&mut self, error: ExchangeError) {
        (self.connection, self.lease, self.broken) = (None, None, Some(error));
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn ended(&mut self) -> Option<(Lease, Box<Connection>)> {
        Some((self.lease.take()?, self.connection.take()?))
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Nothing between lock and unlock leaves it half changed.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
