//! Answers that did not come to their end.

use prometheus::{IntCounterVec, Registry};

use super::decision::BrokenOff;
use super::families::counters;

#[derive(Clone)]
pub(super) struct BrokenAnswers(IntCounterVec);

impl BrokenAnswers {
    pub(super) fn new(r: &Registry) -> prometheus::Result<Self> {
        let help = "Forwarded requests whose answer began and was broken off, by who did it.";
        Ok(Self(counters(r, "broken_answers_total", help, &["route", "by"])?))
    }

    /// Makes the series of these routes exist, so that a rate sees the first of them.
    pub(super) fn expect_routes(&self, routes: &[&str]) {
        for (route, by) in routes.iter().flat_map(|route| BrokenOff::ALL.map(|by| (route, by))) {
            let _ = self.0.with_label_values(&[*route, by.as_str()]);
        }
    }

    pub(super) fn count(&self, route: &str, by: BrokenOff) {
        self.0.with_label_values(&[route, by.as_str()]).inc();
    }
}
