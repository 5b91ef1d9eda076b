//! Bytes to (peer, request).
//!
//! Enters: sockets. Leaves: an [`http::Request`] and the [`Peer`] that sent it, handed
//! to a [`Handler`], whose answer goes back. Everything that guards the connection itself happens here: the TLS
//! handshake and which client certificates pass it, bounds on headers and connections, deadlines for slow
//! and silent clients, and the orderly end ([`Gate`]).
//!
//! Never here: a look at what a request asks for. No token, no route, no upstream; the same listener serves
//! the admin port with another handler.

mod activity;
mod address;
mod connection;
mod framing;
mod gate;
mod listener;
mod local;
mod passed;
mod proxy_protocol;
mod settings;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
pub mod tls;
mod watch;

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::refusal::Reason;
use crate::request::Peer;

pub use address::Address;
pub use gate::Gate;
pub use listener::{BindError, Listener};
pub use local::{LocalListener, SocketFile};
pub use passed::PassedSockets;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use proxy_protocol::{Header as ProxyHeader, read as read_proxy_header};
pub use settings::{ClientCertificates, Limits, ListenerSettings, ProxyProtocol, TlsSettings};

/// Answers requests. There is no error: whatever happens, the client gets a response.
pub trait Handler: Send + Sync + 'static {
    /// The body of a response. A request is under way until its body is dropped.
    type Body: http_body::Body<Data = bytes::Bytes, Error = Self::BodyError> + Send + Unpin + 'static;
    /// Why a body broke off. The connection or stream is then cut, so that the client notices.
    type BodyError: Into<Box<dyn Error + Send + Sync>>;

    /// Answers one request. Dropped when the client goes away first.
    fn handle(&self, request: Request<Incoming>, peer: Arc<Peer>) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Hears what happens on connections, for metrics and logs. Called from the tasks of connections and listeners: it must not
/// block.
pub trait Events: Send + Sync + 'static {
    /// A client took a place among [`Limits::connections`].
    fn connection_opened(&self) {}
    /// It left, whatever became of it; for an upgraded connection, when the tunnel ended.
    fn connection_closed(&self) {}
    /// All of [`Limits::connections`] are open, and a client waits until one ends. Told once a minute as long as any has to.
    fn full(&self, _limit: u32) {}
    /// A TLS handshake came to its end. Not called when the gate closed first.
    fn handshake(&self, _client: SocketAddr, _outcome: Handshake<'_>) {}
    /// A request was refused before any handler saw it.
    fn refused(&self, _client: SocketAddr, _reason: Reason) {}
    /// What came was not HTTP; the client was told so with 400 (RFC 9112 §2.2).
    fn malformed(&self, _client: SocketAddr) {}
    /// The system would not hand out a connection; accepting goes on after a pause.
    fn accept_failed(&self, _error: &io::Error) {}
}

/// For those who need not hear anything.
impl Events for () {}

/// How a TLS handshake ended.
#[derive(Debug, Clone, Copy)]
pub enum Handshake<'a> {
    /// A session stands.
    Ok,
    /// It took longer than [`Limits::handshake_timeout`].
    Timeout,
    /// One side refused, or the client went away. The error names no secret.
    Failed(&'a io::Error),
}

impl Handshake<'_> {
    /// Every id.
    pub const ALL: [&'static str; 3] = ["ok", "timeout", "failed"];

    /// The stable id: a metric label.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Failed(_) => "failed",
        }
    }
}
