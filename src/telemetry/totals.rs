//! What was counted so far, for people: read off the very counters that Prometheus sees.

use std::collections::BTreeMap;

use prometheus::core::Collector as _;
use prometheus::proto::Metric;

use super::metrics::Metrics;
use crate::refusal::Reason;

/// Since the process began, whatever became of its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests.
    pub requests: u64,
    /// Those that were refused, by [`Reason`].
    pub refused: Vec<u64>,
    /// By name.
    pub routes: BTreeMap<String, RouteTotals>,
}

/// Of one route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteTotals {
    /// Requests.
    pub requests: u64,
    /// Those that were refused.
    pub refused: u64,
}

impl Totals {
    /// How often requests were refused, for whatever reason.
    pub fn refusals(&self) -> u64 {
        self.refused.iter().sum()
    }
}

impl Metrics {
    /// Reads off the counters of requests.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { refused: vec![0; Reason::ALL.len()], ..Totals::default() };
        for family in self.requests.collect() {
            for metric in family.get_metric() {
                let count = count(metric);
                totals.requests = totals.requests.saturating_add(count);
                totals.routes.entry(label(metric, "route").to_owned()).or_default().requests += count;
            }
        }
        for family in self.refusals.collect() {
            for metric in family.get_metric() {
                let (count, slug) = (count(metric), label(metric, "reason"));
                let reason = Reason::ALL.iter().position(|reason| reason.slug() == slug);
                if let Some(sum) = reason.and_then(|index| totals.refused.get_mut(index)) {
                    *sum = sum.saturating_add(count);
                }
                totals.routes.entry(label(metric, "route").to_owned()).or_default().refused += count;
            }
        }
        totals
    }

    /// How often a changed configuration came into force, and how often it was refused.
    pub fn config_reloads(&self) -> (u64, u64) {
        self.reloads.counts()
    }

    /// Whether what the configuration's files say is in force.
    pub fn is_config_current(&self) -> bool {
        self.reloads.is_current()
    }
}

fn label<'m>(metric: &'m Metric, name: &str) -> &'m str {
    metric.get_label().iter().find(|pair| pair.name() == name).map_or("", |pair| pair.value())
}

fn count(metric: &Metric) -> u64 {
    // A counter of whole numbers, which its protocol tells as a float.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and not negative")]
    let count = metric.get_counter().get_value() as u64;
    count
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Decision;
    use super::*;

    #[test]
    fn totals_outlive_a_change_of_routes() {
        let before = Metrics::new(&["a", "b"], &[]).unwrap();
        let answer = |metrics: &Metrics, route, reason: Option<Reason>| {
            reason.inspect(|reason| metrics.refused(route, *reason));
            metrics.answered(route, Decision::Refuse, None, 401, Duration::ZERO);
        };
        answer(&before, Some(0), None);
        answer(&before, Some(1), Some(Reason::ProofStale));
        let after = before.renamed(&["b", "c"], &[]);
        answer(&after, Some(0), Some(Reason::ProofStale));
        answer(&after, None, Some(Reason::NoRoute));
        let totals = after.totals();
        assert_eq!((totals.requests, totals.refusals()), (4, 3));
        assert_eq!(totals.refused[Reason::ProofStale as usize], 2);
        let of = |name: &str| totals.routes.get(name).map(|route| (route.requests, route.refused));
        assert_eq!([of("a"), of("b"), of("c"), of("none")], [Some((1, 0)), Some((2, 2)), None, Some((1, 1))]);
        assert_eq!((after.config_reloads(), after.is_config_current()), ((0, 0), true));
        after.config_reloaded(false);
        assert_eq!((before.config_reloads(), before.is_config_current()), ((0, 1), false));
    }
}
