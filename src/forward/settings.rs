//! What the gateway is told about an upstream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;

use crate::keys::fetch::same_roots;

/// One API behind the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Metric label and log field.
    pub name: String,
    /// `http` or `https`, for all endpoints.
    pub scheme: Scheme,
    /// Host and port of each, from one to [`Self::MOST_ENDPOINTS`].
    pub endpoints: Vec<Authority>,
    /// For `https`.
    pub tls: UpstreamTls,
    /// To the end of the TCP (and TLS) handshake.
    pub connect_timeout: Duration,
    /// From the request being sent to the head of the response.
    pub response_timeout: Duration,
    /// Whether it is spoken to in HTTP/2 and nothing else: over `https` by ALPN, over `http` without asking.
    pub http2: bool,
    /// The most connections to one endpoint, health checks aside; `None`: as many as there are requests.
    pub max_connections: Option<usize>,
    /// How endpoints are asked whether they are well; `None`: nobody asks.
    pub health_check: Option<HealthCheck>,
}

impl UpstreamSettings {
    /// The documented default of `connect_timeout`.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    /// The documented default of `response_timeout`.
    pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
    /// The most endpoints that one upstream can have.
    pub const MOST_ENDPOINTS: usize = 64;

    /// The documented defaults.
    pub fn new(name: impl Into<String>, scheme: Scheme, endpoints: Vec<Authority>) -> Self {
        Self {
            name: name.into(),
            scheme,
            endpoints,
            tls: UpstreamTls::default(),
            connect_timeout: Self::CONNECT_TIMEOUT,
            response_timeout: Self::RESPONSE_TIMEOUT,
            http2: false,
            max_connections: None,
            health_check: None,
        }
    }

    /// Its endpoints as URLs.
    pub fn urls(&self) -> impl Iterator<Item = String> {
        self.endpoints.iter().map(|authority| format!("{}://{authority}", self.scheme))
    }
}

/// How an upstream is recognized, and the gateway by it.
#[derive(Clone, Default)]
pub struct UpstreamTls {
    /// The authorities of its certificates, instead of the system's.
    pub roots: Option<Arc<RootCertStore>>,
    /// The gateway's own certificate, for upstreams that ask for one.
    pub certificate: Option<Arc<CertifiedKey>>,
    /// The name in its certificate and in SNI (RFC 6066 §3), instead of the endpoint's host.
    pub server_name: Option<ServerName<'static>>,
}

/// The same authorities are the same, wherever they are kept, and the same chain has the same key.
impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        let chains = [self, other].map(|of| of.certificate.as_ref().map(|own| &own.cert));
        same_roots(self.roots.as_ref(), other.roots.as_ref())
            && chains[0] == chains[1]
            && self.server_name == other.server_name
    }
}

impl Eq for UpstreamTls {}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls")
            .field("roots", &self.roots.as_ref().map(|roots| roots.len()))
            .field("certificate", &self.certificate.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

/// How an endpoint is asked whether it is well: a GET, which it answers with a 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for.
    pub path: PathAndQuery,
    /// Between two questions.
    pub interval: Duration,
    /// From the connection to the head of the answer.
    pub timeout: Duration,
    /// Good answers in a row until an endpoint is used again.
    pub healthy_after: u32,
    /// Failures in a row until it is not.
    pub unhealthy_after: u32,
}

impl HealthCheck {
    /// The documented defaults.
    pub const fn new(path: PathAndQuery) -> Self {
        Self {
            path,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }
}
