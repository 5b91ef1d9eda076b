//! Traces: which requests are followed through their stations, and how that reaches a collector (OpenTelemetry, over
//! OTLP/HTTP).
//!
//! Enters: a request's head, later what became of it. Leaves: spans in batches, off the requests' way. Never: a path, a
//! query, a token, a proof, or who was proven to ask. Without a collector nothing is done; a request that is not traced
//! costs a random number and the `traceparent` that its upstream gets.

mod collector;
mod export;
mod settings;
mod spans;
mod tally;
mod trace;

use std::sync::Arc;

use http::HeaderMap;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator};

use super::share::Share;
use crate::request::{Onward, TraceParent};

pub use export::{Exporter, TraceError};
pub use settings::TraceSettings;
pub use tally::Tally;
pub(super) use trace::{Outcome, Trace};
pub use trace::{Station, TracedRoute};

/// Decides which requests are traced, and begins their traces.
#[derive(Debug)]
pub struct Tracer {
    share: Share,
    ids: RandomIdGenerator,
    routes: Arc<[TracedRoute]>,
    exporter: Arc<Exporter>,
}

impl Tracer {
    /// Traces this share of the requests, which go these ways.
    pub fn new(share: Share, routes: Vec<TracedRoute>, exporter: Arc<Exporter>) -> Self {
        Self { share, ids: RandomIdGenerator::default(), routes: routes.into(), exporter }
    }

    /// Where the traces go.
    pub const fn exporter(&self) -> &Arc<Exporter> {
        &self.exporter
    }

    /// Begins the trace of a request with this head, at this time in nanoseconds since the epoch, if it is to be traced.
    /// A client's trace is continued where the client records it, and never recorded more often than others: its id is
    /// the client's choice, so that it is not asked.
    pub(super) fn begin(&self, headers: &HeaderMap, now: u64) -> (Option<Box<Trace>>, Onward) {
        let client = TraceParent::of(headers);
        let onward = |parent| Onward { parent, continues: client.is_some() };
        if let Some(client) = client.filter(|client| !client.sampled) {
            // Nothing is recorded here either: the client's own step calls the upstream.
            return (None, onward(client));
        }
        let trace_id = client.map_or_else(|| self.ids.new_trace_id().to_bytes(), |client| client.trace_id);
        // Made here by chance, so that it serves as the draw, too.
        let span = self.ids.new_span_id().to_bytes();
        let sampled = self.share.includes(u64::from_be_bytes(span));
        if !sampled {
            return (None, onward(TraceParent { trace_id, parent_id: span, sampled }));
        }
        let upstream = self.ids.new_span_id().to_bytes();
        let trace = Trace {
            id: trace_id,
            span,
            upstream,
            parent: client.map(|client| client.parent_id),
            began: now,
            routes: Arc::clone(&self.routes),
            exporter: Arc::clone(&self.exporter),
            marks: [None; Station::COUNT],
            outcome: None,
        };
        (Some(Box::new(trace)), onward(TraceParent { trace_id, parent_id: upstream, sampled }))
    }
}
