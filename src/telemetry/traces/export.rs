//! The way of traces to the collector: a bounded queue, and whoever empties it. Requests never wait for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::collector::{Collector, Failure};
use super::settings::TraceSettings;
use super::spans::Resource;
use super::tally::Tally;
use super::trace::Trace;
use crate::keys::fetch::Place;

/// Traces that wait; what comes beyond is dropped. About a kilobyte each.
const QUEUE: usize = 2048;

/// Traces that are sent together.
const BATCH: usize = 256;

/// How long the first of a batch waits for others. After a failure, the next attempt waits as long.
const WAIT: Duration = Duration::from_secs(1);

/// How often a batch is offered to a collector that did well so far, and the pause after the first refusal.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// An exporter that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// TLS towards the collector cannot be set up.
    #[error("TLS towards the collector of traces cannot be set up")]
    Tls(#[from] rustls::Error),
}

enum Item {
    Trace(Box<Trace>),
    /// Everything before it was sent, or was not.
    Flush(oneshot::Sender<()>),
}

/// Brings traces to one collector.
pub struct Exporter {
    settings: TraceSettings,
    queue: mpsc::Sender<Item>,
    tally: Tally,
}

impl Exporter {
    /// Begins to export on this runtime, and ends when nobody holds it any more and everything was sent. `instance` tells
    /// processes apart.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn start(
        settings: &TraceSettings,
        instance: &str,
        tally: Tally,
        runtime: &Handle,
    ) -> Result<Arc<Self>, TraceError> {
        let (queue, items) = mpsc::channel(QUEUE);
        let export = Export {
            collector: Collector::new(settings)?,
            place: Place::of(&settings.endpoint),
            resource: Resource::new(&settings.service_name, instance),
            tally: tally.clone(),
            dropped: tally.dropped.get(),
            is_well: true,
            overflows: false,
        };
        runtime.spawn(export.run(items));
        Ok(Arc::new(Self { settings: settings.clone(), queue, tally }))
    }

    /// Where it brings them.
    pub const fn settings(&self) -> &TraceSettings {
        &self.settings
    }

    /// Takes a trace, if there is room for it.
    pub(super) fn take(&self, trace: Box<Trace>) {
        let spans = trace.spans();
        if self.queue.try_send(Item::Trace(trace)).is_err() {
            self.tally.dropped.inc_by(spans);
        }
    }

    /// Waits until everything that was taken has been sent, or has not, but no longer than this.
    pub async fn flush(&self, patience: Duration) {
        let flushed = async {
            let (done, is_done) = oneshot::channel();
            if self.queue.send(Item::Flush(done)).await.is_ok() {
                // It fails only when nobody exports any more.
                let _ = is_done.await;
            }
        };
        if timeout(patience, flushed).await.is_err() {
            tracing::warn!(collector = %Place::of(&self.settings.endpoint), "the last traces were not exported in time");
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Whoever empties the queue.
struct Export {
    collector: Collector,
    place: Place,
    resource: Resource,
    tally: Tally,
    /// The count of dropped spans when it was last looked at.
    dropped: u64,
    is_well: bool,
    overflows: bool,
}

impl Export {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        let mut traces = Vec::new();
        while let Some(first) = items.recv().await {
            let until = Instant::now() + WAIT;
            let mut next = Some(first);
            let mut flushed = None;
            while let Some(item) = next {
                match item {
                    Item::Trace(trace) => traces.push(trace),
                    Item::Flush(done) => flushed = Some(done),
                }
                let is_full = traces.len() >= BATCH || flushed.is_some();
                next = if is_full { None } else { timeout_at(until, items.recv()).await.ok().flatten() };
            }
            if !traces.is_empty() {
                self.send(&traces).await;
                traces.clear();
            }
            self.notice_overflow();
            match flushed {
                // Nobody waits for that any more, or is glad of it.
                Some(done) => drop(done.send(())),
                None if !self.is_well => sleep(WAIT).await,
                None => {}
            }
        }
    }

    async fn send(&mut self, traces: &[Box<Trace>]) {
        let spans: u64 = traces.iter().map(|trace| trace.spans()).sum();
        let body = Bytes::from(self.resource.request(traces).encode_to_vec());
        let mut tries = if self.is_well { TRIES } else { 1 };
        let mut pause = PAUSE;
        let failure = loop {
            tries -= 1;
            match self.collector.post(body.clone()).await {
                Ok(rejected) => {
                    let rejected = rejected.min(spans);
                    self.tally.exported.inc_by(spans - rejected);
                    if rejected == 0 {
                        return self.went_well();
                    }
                    break (rejected, format!("it rejected {rejected} of {spans} spans"));
                }
                Err(Failure::Passing(_)) if tries > 0 => {
                    sleep(pause).await;
                    pause *= 2;
                }
                Err(Failure::Passing(why) | Failure::Lasting(why)) => break (spans, why),
            }
        };
        self.went_wrong(failure.0, &failure.1);
    }

    fn went_well(&mut self) {
        if !std::mem::replace(&mut self.is_well, true) {
            let failed = self.tally.failed.get();
            tracing::info!(collector = %self.place, failed, "traces are exported again");
        }
    }

    fn went_wrong(&mut self, spans: u64, why: &str) {
        self.tally.failed.inc_by(spans);
        if std::mem::replace(&mut self.is_well, false) {
            tracing::warn!(collector = %self.place, why, "traces cannot be exported");
        }
    }

    fn notice_overflow(&mut self) {
        let dropped = self.tally.dropped.get();
        let overflows = dropped > self.dropped;
        self.dropped = dropped;
        if overflows == std::mem::replace(&mut self.overflows, overflows) {
            return;
        }
        if overflows {
            tracing::warn!(collector = %self.place, "traces are dropped: more requests are traced than can be exported");
        } else {
            tracing::info!(collector = %self.place, dropped, "traces are dropped no more");
        }
    }
}

#[cfg(test)]
mod tests;
