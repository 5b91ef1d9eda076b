//! What a gateway holds while it runs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::rand;
use bytes::Bytes;
use tokio::runtime::Handle;

use super::settings::Settings;
use crate::accept::Limits;
use crate::clock::{Clock, ClockWatch};
use crate::forward::{Forwarder, OwnFields, UpstreamError};
use crate::identity;
use crate::introspect::{IntrospectorStatus, Introspectors};
use crate::keys::{Issuers, KeyEvents, RefreshResult};
use crate::limits::{Failures, Limiter, RouteLimits};
use crate::replay::{Questions, ReplayLog, StoreStatus};
use crate::request::{CertificateField, RequestId};
use crate::routes::Route;
use crate::telemetry::{AccessLog, IntrospectionReading, Ledger, Metrics, Observations, Snapshot, StoreReading};
use crate::time::UnixTime;
use crate::tokens::Tokens;
use crate::verify::{Algorithm, ProofRules};

/// How often readiness is looked at while somebody waits for it.
const READY_POLL: Duration = Duration::from_millis(10);

/// A gateway: everything that a decision needs, in memory.
pub struct Gateway {
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) issuers: Arc<Issuers>,
    pub(super) tokens: Tokens,
    pub(super) proofs: ProofRules,
    /// The `algs` of DPoP challenges.
    pub(super) algorithms: String,
    pub(super) replay: ReplayLog,
    pub(super) forwarder: Forwarder,
    pub(super) limits: Limits,
    pub(super) limiter: Limiter,
    pub(super) failures: Failures,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) questions: Questions,
    pub(super) observations: Observations,
    identity_set: Bytes,
    started: UnixTime,
    draining: AtomicBool,
    clock_watch: ClockWatch,
    jumps: AtomicU64,
    id_prefix: u64,
    id_next: AtomicU64,
}

/// A gateway that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// An upstream cannot be set up.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// TLS towards the issuers cannot be set up.
    #[error("TLS towards the issuers cannot be set up")]
    Keys(#[from] rustls::Error),
    /// A metric family collides with another.
    #[error("a metric family collides with another")]
    Metrics(#[from] prometheus::Error),
    /// Questions about opaque tokens need a runtime to be asked on, and there is none.
    #[error("opaque tokens cannot be asked about outside of a runtime")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// Whether requests should be sent here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Yes. The notes say what is degraded, in words.
    Ready(Vec<String>),
    /// No, and why.
    NotReady(Vec<String>),
}

/// Counts what `keys` reports.
struct CountRefreshes(Arc<Metrics>);

impl KeyEvents for CountRefreshes {
    fn refreshed(&self, issuer: &str, result: RefreshResult) {
        self.0.jwks_refreshed(issuer, result.label());
    }
}

impl Gateway {
    /// Sets up a gateway. Connects to nothing yet, and takes what it needs out of `settings`: the listeners stay.
    /// Requests leave their lines in `log`, if there is one.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub fn new(settings: &mut Settings, clock: Arc<dyn Clock>, log: Option<AccessLog>) -> Result<Self, GatewayError> {
        let routes: Vec<Arc<Route>> = std::mem::take(&mut settings.routes).into_iter().map(Arc::new).collect();
        let upstreams = std::mem::take(&mut settings.upstreams);
        let route_names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        let upstream_names: Vec<&str> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        let metrics = Arc::new(Metrics::new(&route_names, &upstream_names)?);
        let events: Arc<dyn KeyEvents> = Arc::new(CountRefreshes(Arc::clone(&metrics)));
        let issuers = Issuers::new(std::mem::take(&mut settings.issuers), &clock, &events)?;
        for issuer in issuers.iter() {
            let results = RefreshResult::ALL.iter().map(|result| result.label());
            metrics.expect_refreshes(&issuer.rules().issuer, results);
        }
        let issuers = Arc::new(issuers);
        let introspectors = match std::mem::take(&mut settings.introspection) {
            none if none.is_empty() => Introspectors::default(),
            settings => Introspectors::new(settings, &issuers, &clock, &Handle::try_current()?)?,
        };
        let told = settings.listeners.iter().filter_map(|listener| listener.front.certificate.as_ref());
        let own = OwnFields::of(routes.iter().map(|route| &**route), told.map(CertificateField::name));
        let signing = routes.iter().filter_map(|route| route.forward.identity.as_ref());
        let identity_set = identity::public_set(signing.flat_map(|identity| &identity.keys).map(|key| &**key));
        let limited = routes.iter().filter_map(|route| route.access.policy()?.limits);
        let limited: Vec<RouteLimits> = limited.collect();
        let started = clock.now();
        let mut prefix = [0; 8];
        rand::fill(&mut prefix).map_err(|_| GatewayError::Random)?;
        Ok(Self {
            routes,
            issuers,
            tokens: Tokens::asking(introspectors),
            algorithms: Algorithm::challenge_list(&settings.proofs.algorithms),
            replay: ReplayLog::new(std::mem::take(&mut settings.replay), &settings.proofs, &clock),
            proofs: settings.proofs.clone(),
            forwarder: Forwarder::new(upstreams, own, settings.limits.body_bytes)?,
            limits: settings.limits.clone(),
            questions: Questions::default(),
            observations: Observations::default(),
            limiter: Limiter::new(limited),
            failures: Failures::new(settings.failures),
            ledger: Arc::new(Ledger { metrics, clock: Arc::clone(&clock), log }),
            clock,
            identity_set: Bytes::from(identity_set.to_string()),
            started,
            draining: AtomicBool::new(false),
            clock_watch: ClockWatch::default(),
            jumps: AtomicU64::new(0),
            id_prefix: u64::from_be_bytes(prefix),
            id_next: AtomicU64::new(1),
        })
    }

    /// The issuers, whose keys somebody must keep fresh.
    pub const fn issuers(&self) -> &Arc<Issuers> {
        &self.issuers
    }

    /// The log of spent proofs, which somebody must keep in touch with its store.
    pub const fn replay(&self) -> &ReplayLog {
        &self.replay
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.ledger.metrics
    }

    /// Lets go of proofs that can no longer be accepted, and of upstream connections that nobody uses; notices when the
    /// clock was set. About once a second, off the requests' way.
    pub fn tidy(&self) {
        let now = self.clock.now();
        if let Some(seconds) = self.clock_watch.jumped(now) {
            self.jumps.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(seconds, "the clock of this host was set; proofs are fresh or stale by it");
        }
        self.replay.expire(now);
        self.limiter.expire(now);
        self.failures.expire(now);
        self.forwarder.tidy();
    }

    /// Looks up the names of upstreams and checks their health, which somebody must let it do.
    pub async fn watch_upstreams(&self) {
        self.forwarder.watch().await;
    }

    /// The present moment, by the gateway's clock.
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Who would be refused on routes that only observe, and why.
    pub const fn observations(&self) -> &Observations {
        &self.observations
    }

    /// Announces the end: not ready from now on.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether requests should be sent here: every issuer's keys were loaded once, the replay log's restart fence
    /// lies in the past, its store is vouched for, and nobody announced the end.
    pub fn readiness(&self) -> Readiness {
        let mut missing = Vec::new();
        if self.draining.load(Ordering::SeqCst) {
            missing.push("draining: this process is about to end".to_owned());
        }
        // A client's iat has whole seconds: until the next one begins, every fresh proof looks older than this process.
        if self.clock.now().secs() <= self.started.secs() {
            missing.push("starting: proofs of this second may have been spent before".to_owned());
        }
        let mut notes = Vec::new();
        match self.replay.store() {
            Some(StoreStatus { trouble: Some(trouble), ready: true, .. }) => {
                notes.push(format!("degraded: replay store: {trouble}"));
            }
            Some(StoreStatus { trouble: Some(trouble), .. }) => missing.push(format!("replay store: {trouble}")),
            Some(StoreStatus { ready: false, .. }) => {
                missing.push(
                    "starting: the replay store was just met; proofs of now may have been spent before".to_owned(),
                );
            }
            Some(_) | None => {}
        }
        for status in self.issuers.status() {
            if status.keys == 0 {
                missing.push(format!("issuer {status}"));
            } else if status.last_error.is_some() {
                notes.push(format!("degraded: issuer {status}"));
            }
        }
        for status in self.tokens.introspectors().status() {
            if let Some(error) = status.last_error {
                notes.push(format!("degraded: introspection at {}: {error}", status.issuer));
            }
        }
        notes.extend(self.forwarder.troubles());
        if missing.is_empty() { Readiness::Ready(notes) } else { Readiness::NotReady(missing) }
    }

    /// The public halves of all keys that sign assertions for upstreams, as a JWK Set.
    pub const fn identity_set(&self) -> &Bytes {
        &self.identity_set
    }

    /// Resolves when requests may be sent.
    pub async fn ready(&self) {
        while let Readiness::NotReady(_) = self.readiness() {
            tokio::time::sleep(READY_POLL).await;
        }
    }

    /// What metrics read off at a scrape; the listeners' certificates are known elsewhere.
    pub fn snapshot(&self) -> Snapshot {
        let (token_hits, token_misses) = self.tokens.hits_and_misses();
        let ages = self.issuers.status().into_iter();
        Snapshot {
            replay_entries: self.replay.entries(),
            replay_store: self.replay.store().map(|store| StoreReading {
                errors: store.errors,
                local: store.local,
                available: store.trouble.is_none(),
            }),
            clock_jumps: self.jumps.load(Ordering::Relaxed),
            token_hits,
            token_misses,
            introspection: self.tokens.introspectors().status().into_iter().map(reading).collect(),
            upstreams: self.forwarder.status().map(|it| (it.upstream, it.endpoint, it.used)).collect(),
            jwks_ages: ages.filter_map(|status| Some((status.issuer, status.age?.as_secs_f64()))).collect(),
            certificate_expiries: Vec::new(),
        }
    }

    pub(super) fn next_id(&self) -> RequestId {
        let number = self.id_next.fetch_add(1, Ordering::Relaxed);
        RequestId::new(self.id_prefix, number)
    }
}

fn reading(status: IntrospectorStatus) -> IntrospectionReading {
    IntrospectionReading {
        issuer: status.issuer,
        results: [("active", status.active), ("inactive", status.inactive), ("unavailable", status.unavailable)],
        hits: status.hits,
        misses: status.misses,
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}
