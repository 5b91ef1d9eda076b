//! One upstream: a pool of kept connections and two deadlines.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use http::uri::{PathAndQuery, Scheme, Uri};
use http::{Request, Response};

use super::body::{BodyError, Progress, RequestBody};
use super::pool::{Pool, SendError};
use super::response::ResponseBody;
use super::settings::UpstreamSettings;
use crate::keys::fetch;
use crate::refusal::{Reason, Refusal};

/// An API behind the gateway.
pub struct Upstream {
    settings: UpstreamSettings,
    pool: Arc<Pool>,
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
    /// Scheme and authority make no URL.
    #[error("upstream {upstream}: its address is no URL")]
    Origin {
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
    /// Sets up a pool. Connects to nothing yet.
    ///
    /// # Errors
    /// [`UpstreamError`], for `https` upstreams only.
    pub fn new(settings: UpstreamSettings) -> Result<Self, UpstreamError> {
        let connector = fetch::connector(tls(&settings)?, settings.connect_timeout);
        let mut origin = Uri::default().into_parts();
        origin.scheme = Some(settings.scheme.clone());
        origin.authority = Some(settings.authority.clone());
        origin.path_and_query = Some(PathAndQuery::from_static("/"));
        let origin = Uri::from_parts(origin).map_err(|_| UpstreamError::Origin { upstream: settings.name.clone() })?;
        Ok(Self { settings, pool: Arc::new(Pool::new(origin, connector)) })
    }

    /// What it was told.
    pub const fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Closes connections that nobody has used for a while.
    pub fn tidy(&self) {
        self.pool.tidy();
    }

    /// Sends a request and waits for the head of the response: at most `response_timeout` from the last moment at
    /// which the request's body moved.
    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
        progress: &Arc<Progress>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let timeout = self.settings.response_timeout;
        let mut response = std::pin::pin!(self.pool.send(request));
        loop {
            let moved = progress.frames();
            match tokio::time::timeout(timeout, &mut response).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(refusal(&error)),
                Err(_) if progress.frames() == moved && progress.waits_for_client() => {
                    return Err(Refusal::new(Reason::ClientSlow)
                        .expected(format!("more of the body within {} s", timeout.as_secs_f64())));
                }
                Err(_) if progress.frames() == moved => {
                    return Err(Refusal::new(Reason::UpstreamTimeout)
                        .expected(format!("an answer within {} s", timeout.as_secs_f64())));
                }
                Err(_) => {}
            }
        }
    }
}

fn tls(settings: &UpstreamSettings) -> Result<rustls::ClientConfig, UpstreamError> {
    let https = settings.scheme == Scheme::HTTPS;
    let roots = if https { fetch::system_roots() } else { rustls::RootCertStore::empty() };
    if https && roots.is_empty() {
        return Err(UpstreamError::NoTrustStore { upstream: settings.name.clone() });
    }
    fetch::tls_config(roots).map_err(|source| UpstreamError::Tls { upstream: settings.name.clone(), source })
}

/// Whose fault, as far as the error tells.
fn refusal(error: &SendError) -> Refusal {
    let error = match error {
        SendError::Connect(error) => {
            return Refusal::new(Reason::UpstreamUnreachable).expected("a connection").found(cause(&**error));
        }
        SendError::Exchange(error) => error,
    };
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(inner) = source {
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
fn cause(error: &(dyn Error + 'static)) -> String {
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
