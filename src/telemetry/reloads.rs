//! What came of reading the configuration again.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::families::{counters, gauge};

const RESULTS: [&str; 2] = ["refused", "ok"];

#[derive(Clone)]
pub(super) struct Reloads {
    total: IntCounterVec,
    current: IntGauge,
}

impl Reloads {
    pub(super) fn new(r: &Registry) -> prometheus::Result<Self> {
        let total =
            counters(r, "config_reloads_total", "Attempts to put a changed configuration in force.", &["result"])?;
        for result in RESULTS {
            let _ = total.with_label_values(&[result]);
        }
        let current = gauge(
            r,
            "config_current",
            "1 while what the configuration's files say is in force, 0 once it was refused.",
        )?;
        current.set(1);
        Ok(Self { total, current })
    }

    pub(super) fn count(&self, in_force: bool) {
        self.total.with_label_values(&[RESULTS[usize::from(in_force)]]).inc();
        self.current.set(in_force.into());
    }

    /// How often it came into force, and how often it was refused.
    pub(super) fn counts(&self) -> (u64, u64) {
        let [refused, in_force] = RESULTS.map(|result| self.total.with_label_values(&[result]).get());
        (in_force, refused)
    }

    /// Whether what the files say is in force.
    pub(super) fn is_current(&self) -> bool {
        self.current.get() == 1
    }
}
