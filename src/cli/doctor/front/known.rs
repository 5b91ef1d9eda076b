//! What the configuration says about requests that come through the front.

use std::sync::Arc;

use http::Method;
use keybound::accept::ListenerSettings;
use keybound::gateway::Settings;
use keybound::request::{CertificateField, ForwardedFields};
use keybound::routes::{Access, Match, Policy};

/// What is to be expected at any URL.
pub struct Known {
    listeners: Vec<Listener>,
    /// In order; `None`: does not refuse.
    routes: Vec<(Match, Option<Arc<Policy>>)>,
    /// Whether proofs need a nonce.
    pub nonces: bool,
    /// `limits.headers`.
    pub headers: usize,
}

/// How the front is expected to reach the gateway.
#[derive(Clone)]
pub struct Listener {
    /// As in `public_url`.
    pub origin: Option<String>,
    /// The field with the client's certificate.
    pub certificate: Option<CertificateField>,
    /// The fields that say who asks.
    pub forwarded: ForwardedFields,
    /// Whether it passes requests on, and does not only decide.
    passes_on: bool,
}

/// Which requests can be told to have arrived.
pub struct Protected {
    pub method: Method,
    pub path: String,
    pub policy: Arc<Policy>,
}

impl Known {
    pub fn of(settings: &Settings) -> Self {
        let listener = |listener: &ListenerSettings| Listener {
            origin: listener.front.public_url.as_ref().map(keybound::request::PublicUrl::origin),
            certificate: listener.front.certificate.clone(),
            forwarded: listener.front.forwarded,
            passes_on: listener.front.asks.is_none(),
        };
        let policy = |access: &Access| match access {
            Access::Enforce(policy) => Some(Arc::clone(policy)),
            Access::Observe(_) | Access::Public => None,
        };
        Self {
            listeners: settings.listeners.iter().map(listener).collect(),
            routes: settings.routes.iter().map(|route| (route.matches.clone(), policy(&route.access))).collect(),
            nonces: settings.proofs.nonces.is_some(),
            headers: settings.limits.headers,
        }
    }

    /// The listener that is known by this origin, else one that is known by none, else the first.
    pub fn listener(&self, origin: &str) -> Option<&Listener> {
        let find = |wanted: Option<&str>| self.listeners.iter().find(|listener| listener.origin.as_deref() == wanted);
        find(Some(origin)).or_else(|| find(None)).or_else(|| self.listeners.first())
    }

    /// A request below `path` that is refused to strangers. The root stands for all paths.
    pub fn protected(&self, host: &str, path: &str) -> Option<Protected> {
        let covers = |method: &Method, path: &str| {
            let mut routes = self.routes.iter();
            routes.find(|(matches, _)| matches.covers(method, host, path)).and_then(|(_, policy)| policy.clone())
        };
        let candidate = |(matches, _): &(Match, Option<Arc<Policy>>)| {
            let path = if path == "/" { matches.path_prefix.as_str() } else { path };
            let method = matches.methods.first().cloned().unwrap_or(Method::GET);
            let policy = covers(&method, path)?;
            Some(Protected { method, path: path.to_owned(), policy })
        };
        self.routes.iter().find_map(candidate)
    }
}

impl Listener {
    /// Whether requests are sent to it, and not questions about them.
    pub const fn passes_on(&self) -> bool {
        self.passes_on
    }
}
