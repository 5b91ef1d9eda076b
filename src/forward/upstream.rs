//! One upstream: its endpoints, how they are recognized, and two deadlines.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use http::uri::{Authority, Scheme};
use http::{Request, Response};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use tokio_rustls::TlsConnector;

use super::body::{BodyError, Progress, RequestBody};
use super::check;
use super::dial::{Dialer, Tls};
use super::endpoints::{Endpoint, Endpoints};
use super::health::Health;
use super::http1::ExchangeError;
use super::pool::{Pool, SendError};
use super::response::ResponseBody;
use super::settings::UpstreamSettings;
use crate::keys::fetch;
use crate::refusal::{Reason, Refusal};

/// In ALPN (RFC 9113 §3.2).
const HTTP2: &[u8] = b"h2";

/// An API behind the gateway.
pub struct Upstream {
    pub(super) settings: UpstreamSettings,
    pub(super) endpoints: Endpoints,
}

/// How one endpoint does, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// The upstream's name.
    pub upstream: String,
    /// Its URL, as it was configured.
    pub endpoint: String,
    /// Whether it gets requests while others could have them.
    pub used: bool,
}

/// An upstream that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The system has no certificate authorities to check an `https` upstream with.
    #[error("upstream {upstream}: the system's certificate authorities cannot be read")]
    NoTrustStore {
        /// The upstream's name.
        upstream: String,
    },
    /// No certificate can name the endpoint's host.
    #[error("upstream {upstream}: its host is no name that a certificate can hold")]
    Name {
        /// The upstream's name.
        upstream: String,
    },
    /// The TLS library refuses its own defaults.
    #[error("upstream {upstream}: TLS cannot be set up")]
    Tls {
        /// The upstream's name.
        upstream: String,
        /// Why.
        source: rustls::Error,
    },
}

impl Upstream {
    /// Sets up pools. Connects to nothing yet.
    ///
    /// # Errors
    /// [`UpstreamError`], for `https` upstreams only.
    pub fn new(settings: UpstreamSettings) -> Result<Self, UpstreamError> {
        let connector = if settings.scheme == Scheme::HTTPS { Some(connector(&settings)?) } else { None };
        let mut all = Vec::with_capacity(settings.endpoints.len());
        for (authority, url) in settings.endpoints.iter().zip(settings.urls()) {
            let tls = connector.as_ref().map(|connector| tls(&settings, authority, connector)).transpose()?;
            let dialer = Dialer::new(authority, tls, settings.connect_timeout);
            all.push(Endpoint { url, pool: Arc::new(Pool::new(dialer, settings.max_connections, settings.http2)) });
        }
        let (healthy_after, unhealthy_after) =
            settings.health_check.as_ref().map_or((1, 1), |check| (check.healthy_after, check.unhealthy_after));
        let health = Health::new(all.len(), healthy_after, unhealthy_after);
        Ok(Self { endpoints: Endpoints::new(settings.name.clone(), all, health), settings })
    }

    /// What it was told.
    pub const fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Closes connections that nobody has used for a while, and lets endpoints back that were left out for a time.
    pub fn tidy(&self) {
        self.endpoints.tidy();
    }

    /// Looks up names and checks endpoints, again and again. Never ends where there is something to do.
    pub async fn watch(&self) {
        let mut tasks: Vec<BoxFuture<'_, ()>> = Vec::new();
        for (index, (endpoint, authority)) in self.endpoints.all().iter().zip(&self.settings.endpoints).enumerate() {
            if endpoint.pool.dialer().has_name() {
                tasks.push(Box::pin(check::look_up(&self.endpoints, &self.settings.name, index)));
            }
            if let Some(settings) = &self.settings.health_check {
                tasks.push(Box::pin(check::check(&self.endpoints, index, authority, settings)));
            }
        }
        join_all(tasks).await;
    }

    /// How its endpoints do, where that can change.
    pub fn status(&self) -> impl Iterator<Item = EndpointStatus> {
        let can_change = self.settings.health_check.is_some() || self.endpoints.all().len() > 1;
        self.endpoints.all().iter().enumerate().filter(move |_| can_change).map(|(index, endpoint)| EndpointStatus {
            upstream: self.settings.name.clone(),
            endpoint: endpoint.url.clone(),
            used: self.endpoints.is_used(index),
        })
    }

    /// Whether none of its endpoints is well, in words.
    pub fn trouble(&self) -> Option<String> {
        let mut endpoints = self.status().peekable();
        endpoints.peek()?;
        let name = &self.settings.name;
        endpoints
            .all(|endpoint| !endpoint.used)
            .then(|| format!("degraded: upstream {name}: no endpoint is healthy; requests try all of them"))
    }

    /// Sends a request and waits for the head of the response: at most `response_timeout` from the last moment at
    /// which the request's body moved.
    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
        progress: &Arc<Progress>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let timeout = self.settings.response_timeout;
        let mut response = std::pin::pin!(self.endpoints.send(request));
        loop {
            let moved = progress.last_moved();
            match tokio::time::timeout_at(moved + timeout, &mut response).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(refusal(&error)),
                Err(_) if progress.last_moved() > moved => {}
                Err(_) if progress.waits_for_client() => {
                    return Err(Refusal::new(Reason::ClientSlow)
                        .expected(format!("more of the body within {} s", timeout.as_secs_f64())));
                }
                Err(_) => {
                    return Err(Refusal::new(Reason::UpstreamTimeout)
                        .expected(format!("an answer within {} s", timeout.as_secs_f64())));
                }
            }
        }
    }
}

/// What all endpoints have in common.
fn connector(settings: &UpstreamSettings) -> Result<TlsConnector, UpstreamError> {
    let upstream = || settings.name.clone();
    let roots = settings.tls.roots.clone().unwrap_or_else(|| Arc::new(fetch::system_roots()));
    if roots.is_empty() {
        return Err(UpstreamError::NoTrustStore { upstream: upstream() });
    }
    let mut config = fetch::tls_config(roots).map_err(|source| UpstreamError::Tls { upstream: upstream(), source })?;
    if let Some(certificate) = &settings.tls.certificate {
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(Arc::clone(certificate)));
    }
    if settings.http2 {
        config.alpn_protocols = vec![HTTP2.to_vec()];
    }
    Ok(TlsConnector::from(Arc::new(config)))
}

fn tls(settings: &UpstreamSettings, authority: &Authority, connector: &TlsConnector) -> Result<Tls, UpstreamError> {
    let name = settings.tls.server_name.clone().or_else(|| host_name(authority));
    let name = name.ok_or_else(|| UpstreamError::Name { upstream: settings.name.clone() })?;
    Ok(Tls { connector: connector.clone(), name, protocol: settings.http2.then_some(HTTP2) })
}

/// The host of an `https` endpoint as its certificate must have it; `None`: no certificate can.
pub fn host_name(authority: &Authority) -> Option<ServerName<'static>> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).ok()
}

/// Whose fault, as far as the error tells.
fn refusal(error: &SendError) -> Refusal {
    let error: &(dyn Error + 'static) = match error {
        SendError::Connect(error) => {
            return Refusal::new(Reason::UpstreamUnreachable).expected("a connection").found(cause(error));
        }
        SendError::Busy(most) => {
            return Refusal::new(Reason::UpstreamBusy)
                .expected("a free connection")
                .found(format!("{most} in use (max_connections)"));
        }
        SendError::Exchange(ExchangeError::Protocol(found)) => {
            return Refusal::new(Reason::UpstreamProtocol).expected("HTTP").found(*found);
        }
        SendError::Exchange(ExchangeError::Length) => return Refusal::new(Reason::MessageMalformed),
        SendError::Exchange(error) => error,
        SendError::Stream(error) => error,
    };
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(inner) = source {
        if let Some(BodyError::Cut) = inner.downcast_ref::<BodyError>() {
            return Refusal::new(Reason::ClientGone);
        }
        if let Some(BodyError::Client(broken)) = inner.downcast_ref::<BodyError>() {
            return Refusal::new(if is_misframed(broken) { Reason::MessageMalformed } else { Reason::ClientGone });
        }
        if inner.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return Refusal::new(Reason::UpstreamProtocol).expected("HTTP").found(inner.to_string());
        }
        source = inner.source();
    }
    Refusal::new(Reason::UpstreamUnreachable).expected("an answer").found(cause(error))
}

/// Whether a client's body broke off because its framing makes no sense (RFC 9112 §7.1).
fn is_misframed(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    cause
        .is_some_and(|cause| matches!(cause.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData))
}

/// The innermost cause: an address or an errno, never a part of a message.
pub fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.settings).finish()
    }
}
