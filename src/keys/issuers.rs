//! All configured issuers.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use rustls::RootCertStore;
use tokio::task::JoinSet;

use super::fetch::{HttpClient, system_roots};
use super::issuer::{Issuer, IssuerStatus};
use super::pace::Pace;
use super::{IssuerSettings, KeyEvents, KeySource};
use crate::clock::Clock;

/// The issuers whose tokens are accepted, by their exact name.
#[derive(Debug)]
pub struct Issuers(BTreeMap<String, Arc<Issuer>>);

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
        Self::with_pace(settings, clock, events, Pace::default())
    }

    pub(super) fn with_pace(
        settings: Vec<IssuerSettings>,
        clock: &Arc<dyn Clock>,
        events: &Arc<dyn KeyEvents>,
        pace: Pace,
    ) -> Result<Self, rustls::Error> {
        let mut system: Option<Arc<RootCertStore>> = None;
        let mut issuers = BTreeMap::new();
        for settings in settings {
            let roots = match (&settings.roots, &settings.source) {
                (Some(roots), _) => Arc::clone(roots),
                (None, KeySource::File(_)) => Arc::new(RootCertStore::empty()),
                // Read once, and only if somebody needs them.
                (None, _) => Arc::clone(system.get_or_insert_with(|| Arc::new(system_roots()))),
            };
            let client = HttpClient::new(roots, pace.limits)?;
            let name = settings.rules.issuer.clone();
            let issuer = Issuer::new(settings, client, Arc::clone(clock), Arc::clone(events), pace);
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

    /// Takes over keys from the issuers of a configuration that this one replaces, so that a reload has no
    /// moment without keys. An issuer whose keys would now be read from elsewhere or otherwise starts anew.
    pub fn take_over(&self, earlier: &Self) {
        for (name, issuer) in &self.0 {
            if let Some(earlier) = earlier.0.get(name) {
                issuer.take_over(earlier);
            }
        }
    }

    /// Loads all keys at once and keeps them fresh, for ever; whoever drops this future stops it.
    pub async fn run(&self) {
        let mut tasks = JoinSet::new();
        for issuer in self.0.values() {
            let issuer = Arc::clone(issuer);
            tasks.spawn(async move { issuer.keep_fresh().await });
        }
        while tasks.join_next().await.is_some() {}
        pending::<()>().await;
    }
}
