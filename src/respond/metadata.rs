//! Protected resource metadata (RFC 9728): what a client must know to get a token for a resource, so that nobody has to
//! configure it. One document for each path prefix that some route protects, made of what those routes demand.
//!
//! Never: a name of a route or an upstream, or a word about a prefix that was not asked for.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::{Map, Value, json};

use crate::request::PublicUrl;
use crate::routes::{Access, Policy, Route};

/// Goes between host and path of a resource (RFC 9728 §3).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Everybody may keep a document for so long. It changes when the configuration does.
const CACHEABLE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// What a listener's clients may learn.
#[derive(Debug)]
pub struct Metadata {
    /// Scheme and authority of every resource.
    origin: String,
    routes: Vec<Arc<Route>>,
    /// What routes accept that name no issuer.
    issuers: Vec<String>,
    /// The `algs` of challenges.
    algorithms: String,
}

impl Metadata {
    /// For a listener whose clients see `public_url`. `issuers` are all configured ones, `algorithms` is what challenges
    /// list.
    pub fn new(public_url: &PublicUrl, routes: &[Arc<Route>], issuers: Vec<String>, algorithms: &str) -> Self {
        Self { origin: public_url.origin(), routes: routes.to_vec(), issuers, algorithms: algorithms.to_owned() }
    }

    /// `resource_metadata` of challenges (RFC 9728 §5.1): where the document of a route is.
    pub fn url(&self, route: &Route) -> String {
        format!("{}{WELL_KNOWN}{}", self.origin, suffix(route))
    }

    /// The resource that a request to `host` and `path` asks about; `None` when the path is not one of metadata, or
    /// no route protects that prefix on that host.
    pub fn resource(&self, host: &str, path: &str) -> Option<Resource<'_>> {
        let asked = path.strip_prefix(WELL_KNOWN)?;
        let protects = |(index, route): (usize, &'_ Arc<Route>)| {
            let covers = suffix(route) == asked && route.matches.covers_host(host);
            policy(route).is_some_and(|_| covers).then_some(index)
        };
        let routes: Vec<usize> = self.routes.iter().enumerate().filter_map(protects).collect();
        (!routes.is_empty()).then_some(Resource { metadata: self, routes })
    }
}

/// What follows the well-known name. The root's own slash is left out (RFC 9728 §3).
fn suffix(route: &Route) -> &str {
    if route.matches.path_prefix == "/" { "" } else { &route.matches.path_prefix }
}

fn policy(route: &Route) -> Option<&Policy> {
    route.access.policy().map(|policy| &**policy)
}

/// Whether nothing but a token that is bound to a proof key passes. A route that observes lets anything pass.
fn wants_only_dpop(route: &Route) -> bool {
    match &route.access {
        Access::Enforce(policy) => policy.accepted.dpop && !policy.accepted.mtls && !policy.accepted.unbound,
        Access::Observe(_) | Access::Public => false,
    }
}

/// One protected resource: the routes that share a path prefix.
#[derive(Debug)]
pub struct Resource<'m> {
    metadata: &'m Metadata,
    /// By index; at least one.
    routes: Vec<usize>,
}

impl Resource<'_> {
    /// The first of its routes, by index.
    pub fn route(&self) -> Option<usize> {
        self.routes.first().copied()
    }

    fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter_map(|index| self.metadata.routes.get(*index).map(|route| &**route))
    }

    fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.routes().filter_map(policy)
    }

    /// The document (RFC 9728 §2, §3.2). What is empty is left out; what is true or false is always said.
    pub fn document(&self) -> Value {
        let mut document = Map::new();
        let mut tell = |name: &str, value: Value| drop(document.insert(name.to_owned(), value));
        let prefix = self.routes().next().map(suffix).unwrap_or_default();
        tell("resource", format!("{}{prefix}", self.metadata.origin).into());
        let servers = if self.policies().any(|policy| policy.issuers.is_empty()) {
            once(self.metadata.issuers.iter())
        } else {
            once(self.policies().flat_map(|policy| &policy.issuers))
        };
        if !servers.is_empty() {
            tell("authorization_servers", servers.into());
        }
        let scopes = once(self.policies().flat_map(|policy| &policy.scopes));
        if !scopes.is_empty() {
            tell("scopes_supported", scopes.into());
        }
        tell("bearer_methods_supported", json!(["header"]));
        if self.policies().any(|policy| policy.accepted.dpop) {
            let algorithms: Vec<&str> = self.metadata.algorithms.split(' ').collect();
            tell("dpop_signing_alg_values_supported", algorithms.into());
        }
        tell("dpop_bound_access_tokens_required", self.routes().all(wants_only_dpop).into());
        tell("tls_client_certificate_bound_access_tokens", self.policies().any(|policy| policy.accepted.mtls).into());
        for (name, text) in [
            ("resource_name", self.routes().find_map(|route| route.metadata.name.clone())),
            ("resource_documentation", self.routes().find_map(|route| route.metadata.documentation.clone())),
        ] {
            if let Some(text) = text {
                tell(name, text.into());
            }
        }
        Value::Object(document)
    }

    /// The answer to whoever asks for the document, script or not.
    pub fn answer(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.document().to_string()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, CACHEABLE);
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        response
    }
}

/// Each once, in their order.
fn once<'t>(texts: impl Iterator<Item = &'t String>) -> Vec<&'t str> {
    let mut once: Vec<&str> = Vec::new();
    for text in texts {
        if !once.contains(&text.as_str()) {
            once.push(text);
        }
    }
    once
}
