//! The metrics. Label values come from the configuration or a closed list; handles are
//! resolved once and kept.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{
    Encoder as _, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder, process_collector::ProcessCollector,
};

use super::broken::BrokenAnswers;
use super::connections::Connections;
use super::decision::{BrokenOff, Decision};
use super::families::{DECISION, LATENCY, counter, counters, gauge, gauges, histograms};
use super::introspection::{Introspection, IntrospectionReading};
use super::key_tables::{KeyTables, KeyTablesReading};
use super::reloads::Reloads;
use super::requests::Requests;
use super::traces::Tally;
use crate::refusal::Reason;
use crate::verify::Binding;

/// The route label of requests that no route covers.
const NO_ROUTE: &str = "none";

/// The binding label of requests that proved nothing.
pub(super) const NO_BINDING: &str = "none";

/// What is read off at the moment of a scrape.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Live entries of the replay log.
    pub replay_entries: usize,
    /// The replay store, where replicas share one.
    pub replay_store: Option<StoreReading>,
    /// How often the host's clock was set.
    pub clock_jumps: u64,
    /// Tokens found remembered.
    pub token_hits: u64,
    /// Tokens verified anew.
    pub token_misses: u64,
    /// The tables of keys.
    pub key_tables: KeyTablesReading,
    /// What issuers said of opaque tokens, those that are asked.
    pub introspection: Vec<IntrospectionReading>,
    /// Upstream, endpoint and whether it gets requests.
    pub upstreams: Vec<(String, String, bool)>,
    /// Issuer and how many of its keys can be used.
    pub jwks_keys: Vec<(String, usize)>,
    /// Issuer and age of its keys in seconds.
    pub jwks_ages: Vec<(String, f64)>,
    /// Listener and seconds until its first certificate expires.
    pub certificate_expiries: Vec<(String, f64)>,
}

/// How the replay store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreReading {
    /// How often it began not to answer.
    pub outages: u64,
    /// Proofs that it gave no answer to.
    pub errors: u64,
    /// Proofs that were accepted without it.
    pub local: u64,
    /// It answers.
    pub available: bool,
}

/// Handles of one route.
struct RouteMetrics {
    requests: Requests,
    refusals: Vec<OnceLock<IntCounter>>,
    observed: Vec<OnceLock<IntCounter>>,
    duration: Histogram,
}

/// All metrics of one gateway. Its clones count in the same families.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    routes: Arc<[RouteMetrics]>,
    pub(super) requests: IntCounterVec,
    pub(super) refusals: IntCounterVec,
    observed: IntCounterVec,
    authorization: Vec<(Option<Binding>, Histogram)>,
    upstreams: Arc<[Histogram]>,
    durations: HistogramVec,
    upstream_durations: HistogramVec,
    proof_age: Histogram,
    replay_entries: IntGauge,
    /// Proofs spent.
    pub replay_inserts: IntCounter,
    store_outages: IntCounter,
    store_errors: IntCounter,
    store_local: IntCounter,
    store_available: IntGauge,
    clock_jumps: IntCounter,
    token_hits: IntCounter,
    token_misses: IntCounter,
    key_tables: KeyTables,
    introspection: Introspection,
    upstream_healthy: GaugeVec,
    jwks_refreshes: IntCounterVec,
    jwks_keys: GaugeVec,
    jwks_age: GaugeVec,
    certificate_expiry: GaugeVec,
    /// What came of reading the configuration again.
    pub(super) reloads: Reloads,
    /// What became of spans.
    pub spans: Tally,
    /// Of connections with clients.
    pub connections: Connections,
    broken: BrokenAnswers,
}

impl Metrics {
    /// Registers everything for these routes and upstreams, by name.
    ///
    /// # Errors
    /// When two families collide: a mistake of ours.
    pub fn new(routes: &[&str], upstreams: &[&str]) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let r = &registry;
        let requests = counters(
            r,
            "requests_total",
            "Requests, answered or given up by their client (code 499).",
            &["route", "decision", "binding", "code"],
        )?;
        let refusals =
            counters(r, "refusals_total", "Requests not forwarded or not answered, by reason.", &["route", "reason"])?;
        let observed = counters(
            r,
            "observed_refusals_total",
            "Requests forwarded unproven on a route that observes, by the reason they would be refused for.",
            &["route", "reason"],
        )?;
        let durations = histograms(
            r,
            "request_duration_seconds",
            "From a request's head to the head of its answer.",
            &["route"],
            &LATENCY,
        )?;
        let authorizations = histograms(
            r,
            "authorization_duration_seconds",
            "From a request's head to the decision.",
            &["binding"],
            &DECISION,
        )?;
        let upstream = histograms(
            r,
            "upstream_duration_seconds",
            "From forwarding to the head of the upstream's answer.",
            &["upstream"],
            &LATENCY,
        )?;
        let proof_age = Histogram::with_opts(
            HistogramOpts::new("keybound_proof_age_seconds", "Age of good proofs (now - iat): shows clock drift.")
                .buckets(vec![-30.0, -10.0, -5.0, -2.0, -1.0, 0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 90.0]),
        )?;
        r.register(Box::new(proof_age.clone()))?;
        let build = GaugeVec::new(Opts::new("keybound_build_info", "Version of the running binary."), &["version"])?;
        r.register(Box::new(build.clone()))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        r.register(Box::new(ProcessCollector::for_self()))?;
        let broken = BrokenAnswers::new(r)?;
        broken.expect_routes(routes);
        let label = |binding: Option<Binding>| binding.map_or(NO_BINDING, Binding::as_str);
        Ok(Self {
            routes: of_routes(&durations, routes),
            authorization: Binding::ALL
                .into_iter()
                .map(Some)
                .chain([None])
                .map(|binding| (binding, authorizations.with_label_values(&[label(binding)])))
                .collect(),
            upstreams: of_upstreams(&upstream, upstreams),
            durations,
            upstream_durations: upstream,
            requests,
            refusals,
            observed,
            proof_age,
            replay_entries: gauge(r, "replay_entries", "Live entries of the replay log.")?,
            replay_inserts: counter(r, "replay_inserts_total", "Proofs spent.")?,
            store_outages: counter(r, "replay_store_outages_total", "How often the replay store began not to answer.")?,
            store_errors: counter(r, "replay_store_errors_total", "Proofs that the replay store gave no answer to.")?,
            store_local: counter(r, "replay_local_total", "Proofs accepted while the replay store gave no answer.")?,
            store_available: gauge(r, "replay_store_available", "Whether the replay store answers; 1 without one.")?,
            clock_jumps: counter(r, "clock_jumps_total", "How often the host's clock was set by a second or more.")?,
            token_hits: counter(r, "token_cache_hits_total", "Access tokens whose signature was remembered.")?,
            token_misses: counter(r, "token_cache_misses_total", "Access tokens whose signature was not remembered.")?,
            key_tables: KeyTables::new(r)?,
            introspection: Introspection::new(r)?,
            upstream_healthy: gauges(
                r,
                "upstream_healthy",
                "Whether an endpoint gets requests: its health checks and connections do not fail.",
                &["upstream", "endpoint"],
            )?,
            jwks_refreshes: counters(r, "jwks_refreshes_total", "Attempts to load keys.", &["issuer", "result"])?,
            jwks_keys: gauges(r, "jwks_keys", "An issuer's keys that can be used.", &["issuer"])?,
            jwks_age: gauges(r, "jwks_age_seconds", "Since an issuer's keys were last loaded.", &["issuer"])?,
            certificate_expiry: gauges(
                r,
                "certificate_expiry_seconds",
                "Until a listener's first certificate expires.",
                &["listener"],
            )?,
            reloads: Reloads::new(r)?,
            spans: Tally::new(r)?,
            connections: Connections::new(r)?,
            broken,
            registry,
        })
    }

    /// The same metrics for the routes and upstreams of another configuration: what was counted stays, and counts on
    /// under the same names.
    #[must_use]
    pub fn renamed(&self, routes: &[&str], upstreams: &[&str]) -> Self {
        self.broken.expect_routes(routes);
        Self {
            routes: of_routes(&self.durations, routes),
            upstreams: of_upstreams(&self.upstream_durations, upstreams),
            ..self.clone()
        }
    }

    /// The name of the route of that index.
    pub fn route_name(&self, index: usize) -> Option<&Arc<str>> {
        Some(self.routes.get(index)?.requests.route())
    }

    fn route(&self, route: Option<usize>) -> Option<&RouteMetrics> {
        self.routes.get(route.unwrap_or(self.routes.len() - 1))
    }

    /// A request was answered.
    pub fn answered(
        &self,
        route: Option<usize>,
        decision: Decision,
        binding: Option<Binding>,
        code: u16,
        after: Duration,
    ) {
        let Some(route) = self.route(route) else { return };
        route.duration.observe(after.as_secs_f64());
        route.requests.count(&self.requests, decision, binding, code);
    }

    /// A request was refused.
    pub fn refused(&self, route: Option<usize>, reason: Reason) {
        let Some(route) = self.route(route) else { return };
        if let Some(slot) = route.refusals.get(reason as usize) {
            slot.get_or_init(|| self.refusals.with_label_values(&[&**route.requests.route(), reason.slug()])).inc();
        }
    }

    /// A request passed that would have been refused.
    pub fn observed(&self, route: Option<usize>, reason: Reason) {
        let Some(route) = self.route(route) else { return };
        if let Some(slot) = route.observed.get(reason as usize) {
            slot.get_or_init(|| self.observed.with_label_values(&[&**route.requests.route(), reason.slug()])).inc();
        }
    }

    /// How often requests were refused for this reason, as far as it was noted through this value: all routes together.
    pub fn refusals(&self, reason: Reason) -> u64 {
        let counter = |route: &RouteMetrics| Some(route.refusals.get(reason as usize)?.get()?.get());
        self.routes.iter().filter_map(counter).sum()
    }

    /// A decision was made.
    pub fn decided(&self, binding: Option<Binding>, after: Duration) {
        if let Some((_, histogram)) = self.authorization.iter().find(|(known, _)| *known == binding) {
            histogram.observe(after.as_secs_f64());
        }
    }

    /// A proof was spent.
    pub fn spent(&self, age_seconds: f64) {
        self.replay_inserts.inc();
        self.proof_age.observe(age_seconds);
    }

    /// An upstream answered.
    pub fn upstream_answered(&self, upstream: usize, after: Duration) {
        if let Some(histogram) = self.upstreams.get(upstream) {
            histogram.observe(after.as_secs_f64());
        }
    }

    /// Makes the series of an issuer's refreshes exist, so that a rate sees the first of them.
    pub fn expect_refreshes(&self, issuer: &str, results: impl IntoIterator<Item = &'static str>) {
        for result in results {
            let _ = self.jwks_refreshes.with_label_values(&[issuer, result]);
        }
    }

    /// The answer to a forwarded request was broken off after its head.
    pub(super) fn broke_off(&self, route: Option<usize>, by: BrokenOff) {
        if let Some(route) = self.route(route) {
            self.broken.count(route.requests.route(), by);
        }
    }

    /// An attempt to load an issuer's keys ended; `issuer` is a configured one, `result` of a closed list.
    pub fn jwks_refreshed(&self, issuer: &str, result: &'static str) {
        self.jwks_refreshes.with_label_values(&[issuer, result]).inc();
    }

    /// The configuration was read again, and came into force or did not.
    pub fn config_reloaded(&self, in_force: bool) {
        self.reloads.count(in_force);
    }

    /// How issuers and endpoints do is known anew at the next scrape: those that are gone are not told any more. What was
    /// counted of them stays.
    pub fn forget_states(&self) {
        self.jwks_age.reset();
        self.jwks_keys.reset();
        self.upstream_healthy.reset();
    }

    /// Prometheus' text format, with what `snapshot` read off just now.
    ///
    /// # Errors
    /// When the encoder fails: a mistake of ours.
    pub fn render(&self, snapshot: &Snapshot) -> prometheus::Result<Vec<u8>> {
        self.replay_entries.set(i64::try_from(snapshot.replay_entries).unwrap_or(i64::MAX));
        let store = snapshot.replay_store.unwrap_or(StoreReading { outages: 0, errors: 0, local: 0, available: true });
        self.store_available.set(store.available.into());
        for (counter, total) in [
            (&self.store_outages, store.outages),
            (&self.store_errors, store.errors),
            (&self.store_local, store.local),
            (&self.clock_jumps, snapshot.clock_jumps),
            (&self.token_hits, snapshot.token_hits),
            (&self.token_misses, snapshot.token_misses),
        ] {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.key_tables.read_off(&snapshot.key_tables);
        self.introspection.read_off(&snapshot.introspection);
        for (upstream, endpoint, healthy) in &snapshot.upstreams {
            let value = if *healthy { 1.0 } else { 0.0 };
            self.upstream_healthy.with_label_values(&[upstream.as_str(), endpoint.as_str()]).set(value);
        }
        for (issuer, keys) in &snapshot.jwks_keys {
            // Exact up to 2^53.
            #[allow(clippy::cast_precision_loss, reason = "nobody has that many")]
            self.jwks_keys.with_label_values(&[issuer.as_str()]).set(*keys as f64);
        }
        for (issuer, age) in &snapshot.jwks_ages {
            self.jwks_age.with_label_values(&[issuer.as_str()]).set(*age);
        }
        for (listener, seconds) in &snapshot.certificate_expiries {
            self.certificate_expiry.with_label_values(&[listener.as_str()]).set(*seconds);
        }
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// The handles of these routes, and of no route.
fn of_routes(durations: &HistogramVec, names: &[&str]) -> Arc<[RouteMetrics]> {
    let route = |name: &str| RouteMetrics {
        requests: Requests::new(name),
        refusals: Reason::ALL.iter().map(|_| OnceLock::new()).collect(),
        observed: Reason::ALL.iter().map(|_| OnceLock::new()).collect(),
        duration: durations.with_label_values(&[name]),
    };
    names.iter().copied().chain([NO_ROUTE]).map(route).collect()
}

fn of_upstreams(durations: &HistogramVec, names: &[&str]) -> Arc<[Histogram]> {
    names.iter().map(|name| durations.with_label_values(&[*name])).collect()
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}
