//! To the upstream and back.
//!
//! Enters: an [`Authorized`] request, and nothing else. Leaves: the upstream's response, streaming. Never: a
//! request that was not authorized, a credential that the route does not forward, a field about the client that
//! the client wrote itself.

mod body;
mod check;
mod dial;
mod egress;
mod endpoints;
mod health;
mod http1;
mod pool;
mod probe;
mod random;
mod reserved;
mod response;
mod room;
mod settings;
mod streams;
mod upgrade;
mod uploading;
mod upstream;

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Response, header};
use hyper::body::Incoming;

use crate::authorize::Authorized;
use crate::refusal::{Reason, Refusal};
use crate::tending::Tending;

pub use body::RequestBody;
pub use dial::{Dialer, Tls};
pub use probe::{Chain, Probe, chain};
pub use reserved::OwnFields;
pub use response::{ResponseBody, ResponseError};
pub use settings::{HealthCheck, UpstreamSettings, UpstreamTls};
pub use upstream::{EndpointStatus, Upstream, UpstreamError, host_name};

/// Sends authorized requests to their upstreams.
pub struct Forwarder {
    upstreams: Vec<Arc<Upstream>>,
    own: OwnFields,
    body_bytes: Option<u64>,
}

/// An upstream's answer, and how long it took to begin.
pub struct Forwarded {
    /// Head and streaming body.
    pub response: Response<ResponseBody>,
    /// Set when the connection now belongs to another protocol (WebSocket).
    pub upgraded: bool,
}

impl Forwarder {
    /// Makes a forwarder for the given upstreams, which routes name by index, and for routes that fill `own`.
    ///
    /// # Errors
    /// When an `https` upstream is wanted and the system has no trust store.
    pub fn new(
        upstreams: Vec<UpstreamSettings>,
        own: OwnFields,
        body_bytes: Option<u64>,
    ) -> Result<Self, UpstreamError> {
        Self { upstreams: Vec::new(), own: OwnFields::default(), body_bytes: None }.succeed(upstreams, own, body_bytes)
    }

    /// The forwarder of a configuration that follows. An upstream that is configured as it was keeps its connections.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn succeed(
        &self,
        upstreams: Vec<UpstreamSettings>,
        own: OwnFields,
        body_bytes: Option<u64>,
    ) -> Result<Self, UpstreamError> {
        let one = |settings: UpstreamSettings| match self.upstreams.iter().find(|known| *known.settings() == settings) {
            Some(known) => Ok(Arc::clone(known)),
            None => Upstream::new(settings).map(Arc::new),
        };
        let upstreams = upstreams.into_iter().map(one).collect::<Result<_, _>>()?;
        Ok(Self { upstreams, own, body_bytes })
    }

    /// Closes upstream connections that nobody has used for a while. About once a second, off the requests' way.
    pub fn tidy(&self) {
        self.upstreams.iter().for_each(|upstream| upstream.tidy());
    }

    /// What each upstream was told.
    pub fn settings(&self) -> impl Iterator<Item = &UpstreamSettings> {
        self.upstreams.iter().map(|upstream| upstream.settings())
    }

    /// Keeps an eye on these upstreams from now on, and on no others: looks up their names and checks their health. Needs a
    /// runtime.
    pub fn watch(&self, watching: &mut Tending<Upstream>) {
        watching.follow(self.upstreams.iter(), |upstream| async move { upstream.watch().await });
    }

    /// How the endpoints of all upstreams do, where that can change, upstream by upstream.
    pub fn status(&self) -> impl Iterator<Item = EndpointStatus> {
        self.upstreams.iter().flat_map(|upstream| upstream.status())
    }

    /// What is wrong with upstreams, in words.
    pub fn troubles(&self) -> impl Iterator<Item = String> {
        self.upstreams.iter().filter_map(|upstream| upstream.trouble())
    }

    /// The upstream of that index.
    pub fn upstream(&self, index: usize) -> Option<&Upstream> {
        self.upstreams.get(index).map(|upstream| &**upstream)
    }

    /// What a proxy that asked for a verdict has to know: the fields that the request would have been forwarded with.
    /// Those that are empty are there too, so that a proxy which copies them overwrites what its client sent under the
    /// same names. The pass is spent.
    ///
    /// # Errors
    /// [`Reason::IdentityUnavailable`].
    pub fn verdict(&self, authorized: Authorized<Incoming>) -> Result<HeaderMap, Refusal> {
        egress::verdict(authorized, &self.own)
    }

    /// Forwards one request. The pass is spent: whatever the upstream answers, the proof stays used.
    ///
    /// # Errors
    /// [`Reason::BodyTooLarge`], [`Reason::UpstreamUnreachable`], [`Reason::UpstreamTimeout`],
    /// [`Reason::UpstreamProtocol`], [`Reason::UpstreamBusy`].
    pub async fn forward(&self, authorized: Authorized<Incoming>) -> Result<Forwarded, Refusal> {
        let mut authorized = authorized;
        let place = authorized.take_place();
        let unreachable = || Refusal::new(Reason::UpstreamUnreachable);
        let upstream = authorized.route().upstream.and_then(|index| self.upstream(index)).ok_or_else(unreachable)?;
        // HTTP/2 has no upgrades (RFC 9113 §8.6).
        let wants_upgrade = upgrade::is_websocket(authorized.inbound().request()) && !upstream.settings().http2;
        let (mut request, on_upgrade) = egress::prepare(authorized, &self.own, wants_upgrade)?;
        let declared = request.headers().get(header::CONTENT_LENGTH);
        let declared: Option<u64> = declared.and_then(|value| value.to_str().ok()?.parse().ok());
        if let (Some(limit), Some(length)) = (self.body_bytes, declared)
            && length > limit
        {
            return Err(too_large(limit));
        }
        let progress = Arc::new(body::Progress::new());
        let body = std::mem::replace(request.body_mut(), RequestBody::empty());
        *request.body_mut() = body.watched(Arc::clone(&progress), self.body_bytes);
        let response = upstream.send(request, &progress).await.map_err(|refusal| match self.body_bytes {
            Some(limit) if progress.exceeded() => too_large(limit),
            _ => refusal,
        })?;
        upgrade::join(response, on_upgrade, place)
    }
}

fn too_large(limit: u64) -> Refusal {
    Refusal::new(Reason::BodyTooLarge).expected(format!("at most {limit} bytes"))
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder").field("upstreams", &self.upstreams.len()).finish_non_exhaustive()
    }
}
