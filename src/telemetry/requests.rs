//! The counters of requests of one route, each resolved when it first counts: no lock and no hash after that.

use std::sync::{Arc, OnceLock};

use prometheus::{IntCounter, IntCounterVec};

use super::decision::Decision;
use super::metrics::NO_BINDING;
use crate::verify::Binding;

/// Status codes of RFC 9110 §15 have a place of their own. Upstreams may send others; those are looked up.
const FIRST: u16 = 100;
const CODES: usize = 500;

/// Nothing was proven, and each [`Binding`].
const BINDINGS: usize = 1 + Binding::ALL.len();

/// By code.
type Row = Box<[OnceLock<IntCounter>]>;

/// The series of one route in `keybound_requests_total`.
pub struct Requests {
    route: Arc<str>,
    /// By decision and binding. Few of them ever occur, so each is made when it does.
    rows: [OnceLock<Row>; Decision::ALL.len() * BINDINGS],
}

impl Requests {
    /// Of the route of that name.
    pub fn new(route: &str) -> Self {
        Self { route: route.into(), rows: [const { OnceLock::new() }; Decision::ALL.len() * BINDINGS] }
    }

    /// The route.
    pub const fn route(&self) -> &Arc<str> {
        &self.route
    }

    fn slot(&self, decision: Decision, binding: Option<Binding>, code: u16) -> Option<&OnceLock<IntCounter>> {
        let column = usize::from(code.checked_sub(FIRST)?);
        let binding = binding.map_or(0, |binding| 1 + binding as usize);
        let row = self.rows.get(decision as usize * BINDINGS + binding)?;
        (column < CODES).then(|| row.get_or_init(|| (0..CODES).map(|_| OnceLock::new()).collect()))?.get(column)
    }

    /// Counts one request in `family`, whose labels are route, decision, binding and code.
    pub fn count(&self, family: &IntCounterVec, decision: Decision, binding: Option<Binding>, code: u16) {
        let resolve = || {
            let binding = binding.map_or(NO_BINDING, Binding::as_str);
            family.with_label_values(&[&*self.route, decision.as_str(), binding, code.to_string().as_str()])
        };
        match self.slot(decision, binding, code) {
            Some(slot) => slot.get_or_init(resolve).inc(),
            None => resolve().inc(),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;

    use super::*;

    #[test]
    fn each_combination_counts_for_itself() {
        let labels = ["route", "decision", "binding", "code"];
        let family = IntCounterVec::new(Opts::new("requests", "r"), &labels).unwrap();
        let requests = Requests::new("api");
        let bindings = || [None].into_iter().chain(Binding::ALL.map(Some));
        let codes = [0, 99, 100, 200, 599, 600, 999];
        for round in 1..=2 {
            for decision in Decision::ALL {
                for binding in bindings() {
                    for code in codes {
                        requests.count(&family, decision, binding, code);
                    }
                }
            }
            for decision in Decision::ALL {
                for binding in bindings() {
                    for code in codes {
                        let label = binding.map_or("none", Binding::as_str);
                        let code = code.to_string();
                        let counter = family.with_label_values(&["api", decision.as_str(), label, code.as_str()]);
                        // An unbound token and no token at all are one series.
                        let times = if label == "none" { 2 } else { 1 };
                        assert_eq!(counter.get(), round * times, "{decision:?} {binding:?} {code}");
                    }
                }
            }
        }
    }
}
