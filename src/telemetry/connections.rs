//! What is counted of connections with clients.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::families::{counters, gauge};

/// Connections with clients; those to the admin port are not among them.
#[derive(Clone)]
pub struct Connections {
    open: IntGauge,
    limit: IntGauge,
    handshakes: IntCounterVec,
}

impl Connections {
    pub(super) fn new(r: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            open: gauge(r, "connections", "Open client connections.")?,
            limit: gauge(r, "connections_limit", "The most client connections: limits.connections.")?,
            handshakes: counters(r, "tls_handshakes_total", "TLS handshakes with clients.", &["result"])?,
        })
    }

    /// There may be so many, and handshakes may have these results: their series exist from now on, so that a rate sees the
    /// first of them.
    pub fn begin(&self, limit: u32, results: &[&str]) {
        self.limit.set(limit.into());
        for result in results {
            let _ = self.handshakes.with_label_values(&[*result]);
        }
    }

    /// How many are open.
    pub fn open(&self) -> i64 {
        self.open.get()
    }

    /// One more is open.
    pub fn opened(&self) {
        self.open.inc();
    }

    /// One less is.
    pub fn closed(&self) {
        self.open.dec();
    }

    /// A handshake ended; `result` is of a closed list.
    pub fn handshake(&self, result: &'static str) {
        self.handshakes.with_label_values(&[result]).inc();
    }
}
