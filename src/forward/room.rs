//! How many connections one endpoint may have, and the queue of those who wait for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Connections that may be open, and those that are.
#[derive(Debug)]
pub struct Room {
    most: usize,
    open: AtomicUsize,
    waiting: AtomicUsize,
    /// A connection was closed, or is kept for the next request.
    freed: Notify,
}

/// The place of one connection; free for another when this is dropped.
#[derive(Debug)]
pub struct Slot(Arc<Room>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
        self.0.freed.notify_one();
    }
}

/// Somebody who waits.
struct Waiting<'a>(&'a Room);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

impl Room {
    /// For at most so many connections.
    pub fn new(most: usize) -> Self {
        Self { most, open: AtomicUsize::new(0), waiting: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// The most connections.
    pub const fn most(&self) -> usize {
        self.most
    }

    /// A place, if there is one.
    pub fn take(self: &Arc<Self>) -> Option<Slot> {
        let one_more = |open: usize| (open < self.most).then_some(open + 1);
        self.open.fetch_update(SeqCst, SeqCst, one_more).is_ok().then(|| Slot(Arc::clone(self)))
    }

    /// A connection is kept for the next request, and may be had by whoever waits for one.
    pub fn kept(&self) {
        // It was put where it is found before this looks; whoever waits says so before looking there.
        if self.waiting.load(SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    /// What `find` finds, as soon as it finds anything; `None` when that is too long.
    pub async fn wait<T>(&self, longest: Duration, mut find: impl FnMut() -> Option<T>) -> Option<T> {
        self.waiting.fetch_add(1, SeqCst);
        let _waiting = Waiting(self);
        let end = Instant::now() + longest;
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Some(found) = find() {
                return Some(found);
            }
            timeout_at(end, freed).await.ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_late_waits_for_a_place_and_not_for_ever() {
        let room = Arc::new(Room::new(2));
        let (first, second) = (room.take().unwrap(), room.take().unwrap());
        assert!(room.take().is_none());
        assert!(room.wait(Duration::from_millis(1), || room.take()).await.is_none());
        assert_eq!(room.waiting.load(SeqCst), 0);
        let patience = Duration::from_secs(20);
        let waits = || {
            let room = Arc::clone(&room);
            tokio::spawn(async move { room.wait(patience, || room.take()).await.is_some() })
        };
        // Each that ends lets the next one in.
        let all = [waits(), waits(), waits()];
        drop(first);
        for one in all {
            assert!(tokio::time::timeout(patience, one).await.unwrap().unwrap());
        }
        drop(second);
        assert_eq!(room.open.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn who_waits_is_told_of_what_is_kept() {
        let room = Arc::new(Room::new(0));
        let kept = Arc::<AtomicUsize>::default();
        let (waits_in, finds) = (Arc::clone(&room), Arc::clone(&kept));
        let one = tokio::spawn(async move {
            waits_in.wait(Duration::from_secs(20), || (finds.load(SeqCst) > 0).then_some(())).await.is_some()
        });
        while room.waiting.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        kept.store(1, SeqCst);
        room.kept();
        assert!(tokio::time::timeout(Duration::from_secs(10), one).await.unwrap().unwrap());
    }
}
