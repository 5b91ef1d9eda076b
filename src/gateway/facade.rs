//! How one listener is seen from outside, and what its clients are told about what they find there.

use std::sync::Arc;

use crate::accept::ListenerSettings;
use crate::request::Front;
use crate::respond::Metadata;
use crate::routes::Route;
use crate::time::UnixTime;

pub(super) struct Facade {
    pub(super) front: Front,
    /// What its clients are told about what they find here, if they know a URL of it.
    pub(super) metadata: Option<Metadata>,
    expires: Option<UnixTime>,
}

impl Facade {
    /// Takes the front out of a listener's settings.
    pub(super) fn of(
        listener: &mut ListenerSettings,
        routes: &[Arc<Route>],
        issuers: &[&str],
        algorithms: &str,
    ) -> Self {
        let certificates = listener.tls.iter().flat_map(|tls| &tls.certificates);
        let expires = certificates.map(|certificate| certificate.expires()).min();
        let front = std::mem::take(&mut listener.front);
        let issuers = || issuers.iter().map(|&issuer| issuer.to_owned()).collect();
        let told = |url| Metadata::new(url, routes, issuers(), algorithms);
        // At a decision endpoint they would be the proxy's to serve.
        let public_url = front.public_url.as_ref().filter(|_| front.asks.is_none());
        Self { metadata: public_url.map(told), front, expires }
    }

    /// Whether those who connect are proxies that ask for verdicts.
    pub(super) const fn is_asked(&self) -> bool {
        self.front.asks.is_some()
    }

    /// When its first certificate expires.
    pub(super) const fn expires(&self) -> Option<UnixTime> {
        self.expires
    }
}
