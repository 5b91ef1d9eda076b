//! An answer that came before its request was sent to the end. The rest goes on by itself: a client may read nothing of
//! the answer before it has sent everything.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::task::AbortHandle;

use super::http1::Connection;
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
}

impl Uploading {
    /// Sends the rest.
    pub fn new(connection: Box<Connection>) -> Self {
        let shared = Arc::new(Mutex::new(Shared { connection: Some(connection), lease: None }));
        let sent = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            poll_fn(|cx| lock(&sent).connection.as_mut().map_or(Poll::Ready(()), |one| one.poll_rest(cx))).await;
            let ended = lock(&sent).ended();
            if let Some((lease, connection)) = ended {
                lease.end(connection);
            }
        });
        Self { shared, task: Some(task.abort_handle()) }
    }

    /// What the answer needs of the connection; `None` if it is gone.
    pub fn with<T>(&self, ask: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        lock(&self.shared).connection.as_deref_mut().map(ask)
    }

    /// The answer was read to its end.
    pub fn end(mut self, lease: Lease) {
        self.task = None;
        let mut shared = lock(&self.shared);
        shared.lease = Some(lease);
        let sent = shared.connection.as_ref().is_none_or(|connection| connection.is_sent());
        let ended = if sent { shared.ended() } else { None };
        // The lock first.
        drop(shared);
        if let Some((lease, connection)) = ended {
            lease.end(connection);
        }
    }
}

impl Shared {
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
