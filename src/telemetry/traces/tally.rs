//! What became of spans.

use prometheus::{IntCounter, Registry};

use crate::telemetry::families::counters;

/// Counts spans by what became of them.
#[derive(Debug, Clone)]
pub struct Tally {
    /// A collector took them.
    pub(super) exported: IntCounter,
    /// A collector did not.
    pub(super) failed: IntCounter,
    /// More came than could be exported.
    pub(super) dropped: IntCounter,
}

impl Tally {
    pub(in crate::telemetry) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let help = "Spans of traced requests: taken by the collector, not taken by it, or dropped before.";
        let family = counters(registry, "trace_spans_total", help, &["result"])?;
        let result = |result: &str| family.with_label_values(&[result]);
        Ok(Self { exported: result("exported"), failed: result("failed"), dropped: result("dropped") })
    }
}
