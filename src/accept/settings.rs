//! What a listener may be told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::tls::{ClientTrust, ServerCertificate};
use crate::request::Front;

/// One place where clients connect.
#[derive(Debug)]
pub struct ListenerSettings {
    /// Where to listen; port 0 lets the system pick.
    pub address: SocketAddr,
    /// How it is seen from outside, and who may speak for clients.
    pub front: Front,
    /// Whether trusted proxies announce each connection.
    pub proxy_protocol: ProxyProtocol,
    /// Absent: plain HTTP.
    pub tls: Option<TlsSettings>,
}

impl ListenerSettings {
    /// A listener that clients connect to directly, in plain HTTP.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, front: Front::default(), proxy_protocol: ProxyProtocol::Off, tls: None }
    }
}

/// Whether connections begin with a header that names the client (HAProxy's PROXY protocol, versions 1 and 2). It is
/// believed of trusted proxies alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// No.
    #[default]
    Off,
    /// Those of trusted proxies may.
    Optional,
    /// All do, and only trusted proxies may connect.
    Required,
}

/// How a listener speaks TLS.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The first is shown when no other matches the name asked for; at least one.
    pub certificates: Vec<Arc<ServerCertificate>>,
    /// Refuses TLS 1.2.
    pub only_tls13: bool,
    /// Whether clients are asked for a certificate.
    pub client_certificates: ClientCertificates,
    /// Keeps the certificate itself and not only its thumbprint, for upstreams that want to see it.
    pub keep_certificates: bool,
}

/// Whether clients are asked for a certificate, and which ones pass the handshake.
/// Possession of its key (CertificateVerify) is always checked.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked.
    Off,
    /// Asked; a client without one may continue.
    Request(ClientTrust),
    /// Asked; a client without one fails the handshake.
    Require(ClientTrust),
}

/// Bounds on connections and requests: `limits` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections, all listeners together.
    pub connections: usize,
    /// Bytes of one request's header section.
    pub header_bytes: usize,
    /// Fields in one request's header section.
    pub headers: usize,
    /// From a request's first byte to the end of its header section. HTTP/2 has no such deadline: what a slow head
    /// can hold there is one header block, and the idle timeout ends it.
    pub header_timeout: Duration,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// A connection with no request under way is closed after this long, and one whose client takes no byte
    /// of an answer for this long is cut.
    pub idle_timeout: Duration,
    /// Bytes of one request's body; `None`: no bound.
    pub body_bytes: Option<u64>,
    /// After the signal to stop: not ready, but still accepting, for this long.
    pub drain_delay: Duration,
    /// After that: requests under way may finish within this long.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            header_bytes: 32 * 1024,
            headers: 100,
            header_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_bytes: None,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
        }
    }
}
