//! All endpoints that may be asked.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::introspector::{Introspector, IntrospectorStatus};
use super::settings::IntrospectionSettings;
use crate::clock::Clock;
use crate::keys::Issuers;

/// The issuers that are asked about opaque tokens.
#[derive(Debug, Default)]
pub struct Introspectors(Vec<Arc<Introspector>>);

impl Introspectors {
    /// Asks nobody yet. Questions are asked on `runtime`, so that they outlive the request that raised them.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        settings: Vec<IntrospectionSettings>,
        issuers: &Arc<Issuers>,
        clock: &Arc<dyn Clock>,
        runtime: &Handle,
    ) -> Result<Self, rustls::Error> {
        Self::default().succeed(settings, issuers, clock, runtime)
    }

    /// Those of a configuration that follows. They go on counting, and remember what an issuer said if it is asked at the
    /// same endpoint by the same client, and its tokens are judged by the same rules.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn succeed(
        &self,
        settings: Vec<IntrospectionSettings>,
        issuers: &Arc<Issuers>,
        clock: &Arc<dyn Clock>,
        runtime: &Handle,
    ) -> Result<Self, rustls::Error> {
        let one = |settings: IntrospectionSettings| {
            let earlier = self.0.iter().find(|earlier| earlier.issuer() == settings.issuer);
            let (issuers, clock) = (Arc::clone(issuers), Arc::clone(clock));
            let introspector = Introspector::new(settings, issuers, clock, runtime.clone())?;
            Ok(Arc::new(match earlier {
                Some(earlier) => introspector.succeeding(earlier),
                None => introspector,
            }))
        };
        settings.into_iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nobody is ever asked.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who is asked on a route that accepts these issuers (empty: all). An opaque token does not say who issued it, and
    /// is nobody else's business: where it could be one of two issuers', nobody is asked.
    pub fn only(&self, accepted: &[String]) -> Option<&Arc<Introspector>> {
        let is_accepted = |issuer: &str| accepted.is_empty() || accepted.iter().any(|accepted| accepted == issuer);
        let mut introspectors = self.0.iter().filter(|introspector| is_accepted(introspector.issuer()));
        introspectors.next().filter(|_| introspectors.next().is_none())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Introspector> {
        self.0.iter().map(|introspector| &**introspector)
    }

    /// How each of them does.
    pub fn status(&self) -> Vec<IntrospectorStatus> {
        self.0.iter().map(|introspector| introspector.status()).collect()
    }
}
