//! Threads that serve connections: one for each core, each with a runtime of its own.
//!
//! A connection stays on the thread that it was given to, with its requests, its timers and the upstream connections
//! that they use: nothing on a request's way is handed from thread to thread, and what is kept per worker is not
//! fought over. Whoever accepts gives each connection to the worker that has the fewest.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// The number of the worker that this thread is; 0 on any other thread, too.
pub fn current() -> usize {
    NUMBER.get()
}

/// How many workers this machine, or the share of it that this process may use, keeps busy.
pub fn per_core() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The workers. When this is dropped, they drop what they were given and end.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// How many futures it was given that did not end yet.
    busy: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// Takes a future off its worker's count when dropped.
struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts so many threads.
    ///
    /// # Errors
    /// When the system gives no thread, or no event queue. None is left running then.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let mut started = Self { workers: Vec::with_capacity(count.get()), stop: watch::Sender::new(false) };
        for number in 0..count.get() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (handle, mut stopped) = (runtime.handle().clone(), started.stop.subscribe());
            let run = move || {
                NUMBER.set(number);
                // Ends when told to, and when nobody is left to tell.
                let _ = runtime.block_on(stopped.wait_for(|stop| *stop));
                // Name look-ups may be under way on threads of their own; nobody waits for them any more.
                runtime.shutdown_background();
            };
            let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(run)?;
            let busy = Arc::new(AtomicUsize::new(0));
            started.workers.push(Worker { runtime: handle, busy, thread: Some(thread) });
        }
        Ok(started)
    }

    /// The runtime of each worker, by its number.
    pub fn runtimes(&self) -> Vec<Handle> {
        self.workers.iter().map(|worker| worker.runtime.clone()).collect()
    }

    /// Runs `future` on the worker that has the fewest to run.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self.workers.iter().min_by_key(|worker| worker.busy.load(Ordering::Relaxed)) else { return };
        worker.busy.fetch_add(1, Ordering::Relaxed);
        let busy = Busy(Arc::clone(&worker.busy));
        worker.runtime.spawn(async move {
            let _busy = busy;
            future.await;
        });
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            // A panic of a worker's thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn three() -> Workers {
        Workers::start(NonZeroUsize::new(3).unwrap()).unwrap()
    }

    #[test]
    fn each_gets_its_share_and_keeps_it() {
        let workers = three();
        let (told, tell) = mpsc::channel();
        for _ in 0..6 {
            let told = told.clone();
            workers.spawn(async move {
                let first = current();
                tokio::time::sleep(Duration::from_millis(1)).await;
                told.send((first, current())).unwrap();
                std::future::pending::<()>().await;
            });
        }
        let seen: Vec<_> = (0..6).map(|_| tell.recv_timeout(PATIENCE).unwrap()).collect();
        assert!(seen.iter().all(|(first, later)| first == later));
        for number in 0..3 {
            assert_eq!(seen.iter().filter(|(first, _)| *first == number).count(), 2, "{seen:?}");
        }
    }

    #[test]
    fn who_has_ended_is_not_counted() {
        let workers = three();
        let busy = || workers.workers.iter().map(|worker| worker.busy.load(Ordering::Relaxed)).collect::<Vec<_>>();
        for pending in 1..=2 {
            workers.spawn(std::future::pending());
            workers.spawn(async {});
            let deadline = Instant::now() + PATIENCE;
            while busy().iter().sum::<usize>() > pending {
                assert!(Instant::now() < deadline, "{:?}", busy());
                std::thread::yield_now();
            }
        }
        assert_eq!(busy(), [1, 1, 0]);
    }

    #[test]
    fn what_was_given_is_dropped_in_the_end() {
        let (told, tell) = mpsc::channel::<()>();
        let workers = three();
        workers.spawn(async move {
            let _told = told;
            std::future::pending::<()>().await;
        });
        drop(workers);
        assert_eq!(tell.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
