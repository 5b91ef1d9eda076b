//! All configured issuers.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use rustls::RootCertStore;

use super::fetch::{HttpClient, system_roots};
use super::issuer::{Issuer, IssuerStatus};
use super::pace::Pace;
use super::{IssuerSettings, KeyEvents, KeySource};
use crate::clock::Clock;
use crate::tending::Tending;

/// The issuers whose tokens are accepted, by their exact name.
#[derive(Debug, Default)]
pub struct Issuers(pub(super) BTreeMap<String, Arc<Issuer>>);

impl Issuers {
    /// None of them has keys before [`Issuers::run`]. Of two with one name the later counts.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        settings: Vec<IssuerSettings>,
        clock: &Arc<dyn Clock>,
        events: &Arc<dyn KeyEvents>,
    ) -> Result<Self, rustls::Error> {
        Self::with_pace(settings, clock, events, Pace::default(), &Self::default())
    }

    /// The issuers of a configuration that follows. Of those that are configured as they were, nothing changes. The others
    /// take over their keys, so that there is no moment without them; an issuer whose keys would now be read from
    /// elsewhere or otherwise starts anew.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn succeed(
        &self,
        settings: Vec<IssuerSettings>,
        clock: &Arc<dyn Clock>,
        events: &Arc<dyn KeyEvents>,
    ) -> Result<Self, rustls::Error> {
        Self::with_pace(settings, clock, events, Pace::default(), self)
    }

    pub(super) fn with_pace(
        settings: Vec<IssuerSettings>,
        clock: &Arc<dyn Clock>,
        events: &Arc<dyn KeyEvents>,
        pace: Pace,
        earlier: &Self,
    ) -> Result<Self, rustls::Error> {
        let mut system: Option<Arc<RootCertStore>> = None;
        let mut issuers = BTreeMap::new();
        for settings in settings {
            let name = settings.rules.issuer.clone();
            let known = earlier.0.get(&name);
            if let Some(known) = known.filter(|known| known.is_told(&settings)) {
                issuers.insert(name, Arc::clone(known));
                continue;
            }
            let roots = match (&settings.roots, &settings.source) {
                (Some(roots), _) => Arc::clone(roots),
                (None, KeySource::File(_)) => Arc::new(RootCertStore::empty()),
                // Read once, and only if somebody needs them.
                (None, _) => Arc::clone(system.get_or_insert_with(|| Arc::new(system_roots()))),
            };
            let client = HttpClient::new(roots, pace.limits)?;
            let issuer = Issuer::new(settings, client, Arc::clone(clock), Arc::clone(events), pace);
            if let Some(known) = known {
                issuer.take_over(known);
            }
            issuers.insert(name, Arc::new(issuer));
        }
        Ok(Self(issuers))
    }

    /// The issuer with exactly this name.
    pub fn get(&self, issuer: &str) -> Option<&Issuer> {
        self.0.get(issuer).map(|issuer| &**issuer)
    }

    /// Every issuer, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Issuer> {
        self.0.values().map(|issuer| &**issuer)
    }

    /// Whether every issuer's keys were loaded once.
    pub fn all_loaded(&self) -> bool {
        self.iter().all(Issuer::is_loaded)
    }

    /// How every issuer's keys stand, by name.
    pub fn status(&self) -> Vec<IssuerStatus> {
        self.iter().map(Issuer::status).collect()
    }

    /// Whether the rules for tokens are the same, issuer by issuer.
    pub fn agree_with(&self, other: &Self) -> bool {
        self.iter().map(Issuer::rules).eq(other.iter().map(Issuer::rules))
    }

    /// Loads all keys at once and keeps them fresh, for ever; whoever drops this future stops it.
    pub async fn run(&self) {
        let mut refreshing = Tending::default();
        self.keep_fresh(&mut refreshing);
        pending::<()>().await;
    }

    /// Keeps these issuers' keys fresh from now on, and no others'. Needs a runtime.
    pub fn keep_fresh(&self, refreshing: &mut Tending<Issuer>) {
        refreshing.follow(self.0.values(), |issuer| async move { issuer.keep_fresh().await });
    }
}
