//! Which rule a request falls under. Pure.
//!
//! Enters: the parsed target and method. Leaves: the first [`Route`] that matches, or a refusal.
//! Never: a look at credentials.

mod cors;
mod policy;

use http::{HeaderName, HeaderValue, Method};

use crate::identity::Identity;
use crate::refusal::{Reason, Refusal};
use crate::request::Target;

pub use cors::{Cors, Origins};
pub use policy::{Access, Policy};

/// One rule: what it matches, who may pass, where it goes.
#[derive(Debug)]
pub struct Route {
    /// Metric label and log field.
    pub name: String,
    /// Which requests it covers.
    pub matches: Match,
    /// Who may pass.
    pub access: Access,
    /// Index into the gateway's upstreams; `None` where every listener only decides.
    pub upstream: Option<usize>,
    /// How the request is changed on its way.
    pub forward: Forwarding,
    /// Which scripts may read the answers; `None`: the upstream speaks of that, if anyone does.
    pub cors: Option<Cors>,
    /// What clients are told about it.
    pub metadata: Described,
}

/// Which requests a route covers. An empty list matches everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Host names, lower case; `*.example.com` covers one label more.
    pub hosts: Vec<String>,
    /// Begins with `/`; matches whole segments, so `/api` covers `/api` and `/api/x` but not `/apix`.
    pub path_prefix: String,
    /// Method tokens, case-sensitive (RFC 9110 §9.1).
    pub methods: Vec<Method>,
}

impl Default for Match {
    fn default() -> Self {
        Self { hosts: Vec::new(), path_prefix: "/".to_owned(), methods: Vec::new() }
    }
}

impl Match {
    /// Whether it covers a request. Host and path are in the form that [`Target`] gives them.
    pub fn covers(&self, method: &Method, host: &str, path: &str) -> bool {
        let named = || self.methods.is_empty() || self.methods.contains(method);
        path_covers(&self.path_prefix, path) && self.covers_host(host) && named()
    }

    /// Whether requests to this host fall under the route, if their path and method do.
    pub fn covers_host(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|pattern| host_covers(pattern, host))
    }
}

fn path_covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

fn host_covers(pattern: &str, host: &str) -> bool {
    pattern.strip_prefix("*.").map_or(pattern == host, |parent| {
        host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
    })
}

/// What people are told about a protected resource (RFC 9728 §2), where it is not derived from what it demands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// `resource_name`: for people, who are asked whether a client may use it.
    pub name: Option<String>,
    /// `resource_documentation`: the URL of a page for developers.
    pub documentation: Option<String>,
}

/// How a request is changed on its way to the upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// What becomes of `Authorization`.
    pub authorization: AuthorizationForward,
    /// Removed from the front of the path; begins with `/`, does not end with it.
    pub strip_prefix: Option<String>,
    /// Request header and the claim that fills it. The same name sent by a client is always removed.
    pub claims: Vec<(HeaderName, String)>,
    /// Request headers with fixed values.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether the upstream is shown the client's certificate, in `Client-Cert` (RFC 9440 §2.2).
    pub client_certificate: bool,
    /// How the upstream is told who was proven to ask, in a form that it can verify.
    pub identity: Option<Identity>,
}

/// What becomes of `Authorization`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuthorizationForward {
    /// The same token under the Bearer scheme: what an unmodified API expects.
    #[default]
    Bearer,
    /// Removed.
    Strip,
    /// As the client sent it.
    Keep,
}

/// The first route that covers the request, and its index. A path that a lenient upstream reads otherwise (`/open//admin`,
/// `/open/admin;x`) must fall under the same route in that reading, or a request would be checked by one rule and
/// served under another. A prefix that the route strips must be strippable.
///
/// # Errors
/// [`Reason::NoRoute`] when none does, [`Reason::TargetInvalid`] when the two readings differ.
pub fn select<'r, R: AsRef<Route>>(
    routes: &'r [R],
    method: &Method,
    target: &Target,
) -> Result<(usize, &'r R), Refusal> {
    let find = |path: &str| routes.iter().position(|route| route.as_ref().matches.covers(method, target.host(), path));
    let ambiguous = || Refusal::new(Reason::TargetInvalid).expected("a path that every reader reads alike");
    let strict = find(target.normalized_path());
    if target.loosest_path().is_some_and(|path| find(path) != strict) {
        return Err(ambiguous());
    }
    let found = strict.and_then(|index| Some((index, routes.get(index)?)));
    let (index, route) = found.ok_or_else(|| Refusal::new(Reason::NoRoute))?;
    match &route.as_ref().forward.strip_prefix {
        Some(prefix) if target.without_prefix(prefix).is_none() => Err(ambiguous()),
        _ => Ok((index, route)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_whole_segments() {
        assert!(path_covers("/api", "/api") && path_covers("/api", "/api/x") && path_covers("/", "/x"));
        assert!(path_covers("/api/", "/api/x"));
        assert!(!path_covers("/api", "/apix") && !path_covers("/api/", "/api"));
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        assert!(host_covers("*.example.com", "a.example.com"));
        assert!(!host_covers("*.example.com", "example.com") && !host_covers("*.example.com", "a.b.example.com"));
        assert!(!host_covers("*.example.com", ".example.com"));
    }
}
