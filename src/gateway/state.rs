//! What a gateway holds: what it was told in its configuration, and what lasts beyond that.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::admin_settings::AdminSettings;
use super::facade::Facade;
use super::lasting::Lasting;
use super::readiness::Readiness;
use super::settings::Settings;
use super::succession::Fixed;
use super::traces;
use crate::accept::Limits;
use crate::clock::Clock;
use crate::forward::{Forwarder, OwnFields, UpstreamError};
use crate::identity;
use crate::introspect::Introspectors;
use crate::keys::{Issuers, KeyEvents, RefreshResult};
use crate::limits::{Failures, Limiter, RouteLimits};
use crate::replay::ReplayLog;
use crate::request::{CertificateField, RequestId};
use crate::routes::Route;
use crate::telemetry::{AccessLog, History, Ledger, Metrics, Observations, RecentRefusals, TraceError};
use crate::time::UnixTime;
use crate::tokens::Tokens;
use crate::verify::{Algorithm, ProofRules};

/// A gateway: everything that a decision needs, in memory.
pub struct Gateway {
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) issuers: Arc<Issuers>,
    pub(super) tokens: Tokens,
    pub(super) proofs: ProofRules,
    /// The `algs` of DPoP challenges.
    pub(super) algorithms: String,
    pub(super) forwarder: Forwarder,
    pub(super) limits: Limits,
    pub(super) limiter: Limiter,
    pub(super) failures: Failures,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ledger: Arc<Ledger>,
    /// By listener.
    pub(super) facades: Vec<Facade>,
    pub(super) lasting: Arc<Lasting>,
    pub(super) fixed: Fixed,
    identity_set: Bytes,
    admin: AdminSettings,
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
    /// Questions about opaque tokens, and traces, need a runtime to be sent on, and there is none.
    #[error("opaque tokens cannot be asked about, nor traces exported, outside of a runtime")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
    /// Traces cannot be exported.
    #[error(transparent)]
    Traces(#[from] TraceError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// Only another process can change this.
    #[error("needs a restart: {}", .0.join(", "))]
    NeedsRestart(Vec<String>),
}

/// Counts what `keys` reports.
struct CountRefreshes(Arc<Metrics>);

impl KeyEvents for CountRefreshes {
    fn refreshed(&self, issuer: &str, result: RefreshResult) {
        self.0.jwks_refreshed(issuer, result.label());
    }
}

impl Gateway {
    /// Sets up the first gateway of a process. Connects to nothing yet, and takes what it needs out of `settings`: of the
    /// listeners, how they are opened stays. Requests leave their lines in `log`, if there is one.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub fn new(settings: &mut Settings, clock: Arc<dyn Clock>, log: Option<AccessLog>) -> Result<Self, GatewayError> {
        let fixed = Fixed::of(settings);
        let lasting = Lasting::new(std::mem::take(&mut settings.replay), &settings.proofs, &clock)?;
        Self::set_up(settings, fixed, clock, log, Arc::new(lasting), None)
    }

    /// Sets up the gateway that follows this one in the same process. What was spent stays spent, what was counted counts
    /// on, and whatever is configured as it was keeps what it learned: keys, connections, verified tokens. Nothing changes
    /// for this one.
    ///
    /// # Errors
    /// [`GatewayError`]; the log of spent proofs cannot serve rules that it was not made for.
    pub fn followed_by(&self, settings: &mut Settings, log: Option<AccessLog>) -> Result<Self, GatewayError> {
        let fixed = Fixed::of(settings);
        let differences = self.fixed.differences(&fixed);
        if !differences.is_empty() {
            return Err(GatewayError::NeedsRestart(differences));
        }
        if let Readiness::Ready(_) = self.readiness() {
            self.lasting.note_ready();
        }
        Self::set_up(settings, fixed, Arc::clone(&self.clock), log, Arc::clone(&self.lasting), Some(self))
    }

    fn set_up(
        settings: &mut Settings,
        fixed: Fixed,
        clock: Arc<dyn Clock>,
        log: Option<AccessLog>,
        lasting: Arc<Lasting>,
        earlier: Option<&Self>,
    ) -> Result<Self, GatewayError> {
        let routes: Vec<Arc<Route>> = std::mem::take(&mut settings.routes).into_iter().map(Arc::new).collect();
        let upstreams = std::mem::take(&mut settings.upstreams);
        let route_names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        let upstream_names: Vec<&str> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        let metrics = Arc::new(match earlier {
            Some(earlier) => earlier.ledger.metrics.renamed(&route_names, &upstream_names),
            None => Metrics::new(&route_names, &upstream_names)?,
        });
        let tracer = traces::tracer(settings, &routes, &upstreams, &metrics, &lasting, earlier)?;
        let events: Arc<dyn KeyEvents> = Arc::new(CountRefreshes(Arc::clone(&metrics)));
        let issuers = std::mem::take(&mut settings.issuers);
        let issuers = match earlier {
            Some(earlier) => earlier.issuers.succeed(issuers, &clock, &events)?,
            None => Issuers::new(issuers, &clock, &events)?,
        };
        for issuer in issuers.iter() {
            let results = RefreshResult::ALL.iter().map(|result| result.label());
            metrics.expect_refreshes(&issuer.rules().issuer, results);
        }
        let issuers = Arc::new(issuers);
        let introspectors = match (std::mem::take(&mut settings.introspection), earlier) {
            (none, _) if none.is_empty() => Introspectors::default(),
            (asked, None) => Introspectors::new(asked, &issuers, &clock, &Handle::try_current()?)?,
            (asked, Some(earlier)) => {
                earlier.tokens.introspectors().succeed(asked, &issuers, &clock, &Handle::try_current()?)?
            }
        };
        let told = settings.listeners.iter().filter_map(|listener| listener.front.certificate.as_ref());
        let own = OwnFields::of(routes.iter().map(|route| &**route), told.map(CertificateField::name));
        let signing = routes.iter().filter_map(|route| route.forward.identity.as_ref());
        let identity_set = identity::public_set(signing.flat_map(|identity| &identity.keys).map(|key| &**key));
        let limited = routes.iter().filter_map(|route| route.access.policy()?.limits);
        let limited: Vec<RouteLimits> = limited.collect();
        let body_bytes = settings.limits.body_bytes;
        let algorithms = Algorithm::challenge_list(&settings.proofs.algorithms);
        let names: Vec<&str> = issuers.iter().map(|issuer| issuer.rules().issuer.as_str()).collect();
        let facade = |listener| Facade::of(listener, &routes, &names, &algorithms);
        Ok(Self {
            facades: settings.listeners.iter_mut().map(facade).collect(),
            tokens: match earlier {
                Some(earlier) => {
                    let same_rules =
                        issuers.agree_with(&earlier.issuers) && settings.proofs.algorithms == earlier.proofs.algorithms;
                    earlier.tokens.succeed(introspectors, same_rules, settings.key_tables)
                }
                None => Tokens::new(introspectors, settings.key_tables),
            },
            forwarder: match earlier {
                Some(earlier) => earlier.forwarder.succeed(upstreams, own, body_bytes)?,
                None => Forwarder::new(upstreams, own, body_bytes)?,
            },
            limiter: match earlier {
                Some(earlier) => earlier.limiter.succeed(limited),
                None => Limiter::new(limited),
            },
            failures: match earlier {
                Some(earlier) => earlier.failures.succeed(settings.failures),
                None => Failures::new(settings.failures),
            },
            issuers,
            routes,
            algorithms,
            proofs: settings.proofs.clone(),
            limits: settings.limits.clone(),
            ledger: Arc::new(Ledger {
                metrics,
                clock: Arc::clone(&clock),
                log,
                tracer,
                refusals: Arc::clone(&lasting.refusals),
            }),
            clock,
            admin: settings.admin.clone(),
            identity_set: Bytes::from(identity_set.to_string()),
            fixed,
            lasting,
        })
    }

    /// The issuers, whose keys somebody must keep fresh.
    pub const fn issuers(&self) -> &Arc<Issuers> {
        &self.issuers
    }

    /// The log of spent proofs, which somebody must keep in touch with its store.
    pub fn replay(&self) -> &Arc<ReplayLog> {
        &self.lasting.replay
    }

    /// Reaches the shared replay store with the names, passwords and certificates that this gateway was told, if `earlier`
    /// was told others.
    pub fn reach_store(&self, earlier: &Self) {
        if self.fixed.replay() != earlier.fixed.replay() {
            self.lasting.replay.reach_like(self.fixed.replay());
        }
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.ledger.metrics
    }

    /// Bounds on requests, and on the end of the process.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Lets go of proofs that can no longer be accepted, and of upstream connections that nobody uses; notices when the
    /// clock was set; reads off how many requests there were. About once a second, off the requests' way.
    pub fn tidy(&self) {
        let now = self.clock.now();
        self.lasting.tidy(now);
        self.lasting.history.sample(self.metrics().totals(), now);
        self.limiter.expire(now);
        self.failures.expire(now);
        self.forwarder.tidy();
    }

    /// Where proven requests go.
    pub const fn forwarder(&self) -> &Forwarder {
        &self.forwarder
    }

    /// The present moment, by the gateway's clock.
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Who would be refused on routes that only observe, and why.
    pub fn observations(&self) -> &Observations {
        &self.lasting.observations
    }

    /// The last requests that were refused.
    pub fn refusals(&self) -> &RecentRefusals {
        &self.lasting.refusals
    }

    /// How counters went in the last minutes.
    pub fn history(&self) -> &History {
        &self.lasting.history
    }

    /// When the process began.
    pub fn started(&self) -> UnixTime {
        self.lasting.started()
    }

    /// The rules, the first that matches first.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Who is asked about opaque tokens.
    pub const fn introspectors(&self) -> &Introspectors {
        self.tokens.introspectors()
    }

    /// Where the operator looks, and who that may be.
    pub const fn admin(&self) -> &AdminSettings {
        &self.admin
    }

    /// Announces the end: not ready from now on.
    pub fn start_draining(&self) {
        self.lasting.start_draining();
    }

    /// The public halves of all keys that sign assertions for upstreams, as a JWK Set.
    pub const fn identity_set(&self) -> &Bytes {
        &self.identity_set
    }

    /// When the first certificate of each listener expires; `None` for one that speaks no TLS.
    pub fn certificate_expiries(&self) -> impl Iterator<Item = Option<UnixTime>> {
        self.facades.iter().map(Facade::expires)
    }

    pub(super) fn next_id(&self) -> RequestId {
        self.lasting.next_id()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}
