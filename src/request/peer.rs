//! Who asks: what the connection proved about its other end before any request was read.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::credentials::LastShown;
use super::target::ListenerScheme;

/// The other end of one connection.
#[derive(Debug)]
pub struct Peer {
    /// Address of the other end; behind the PROXY protocol, the one that it names.
    pub address: SocketAddr,
    /// What the handshake established; `None` on a plain listener.
    pub tls: Option<TlsFacts>,
    /// Its address without the port, as it is written for others.
    text: Box<str>,
    /// What it showed last.
    pub(super) last_shown: LastShown,
}

impl Peer {
    /// The other end of a new connection.
    pub fn new(address: SocketAddr, tls: Option<TlsFacts>) -> Self {
        Self { address, tls, text: address.ip().to_string().into(), last_shown: LastShown::default() }
    }

    /// Its address without the port, as it is written for others: once for a connection and not for each request.
    pub fn node(&self) -> &str {
        &self.text
    }

    /// The scheme of the listener that accepted the connection.
    pub const fn scheme(&self) -> ListenerScheme {
        if self.tls.is_some() { ListenerScheme::Https } else { ListenerScheme::Http }
    }

    /// The certificate whose possession the handshake proved.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.tls.as_ref().and_then(|tls| tls.certificate.as_ref())
    }
}

/// What a finished TLS handshake established.
#[derive(Debug, Clone)]
pub struct TlsFacts {
    /// The name that the client asked for (SNI), lower case.
    pub server_name: Option<String>,
    /// The client's certificate; possession of its key was proven by CertificateVerify,
    /// in this handshake or in the one that this session resumes.
    pub certificate: Option<ClientCertificate>,
    /// Which names are served by which certificate.
    pub names: Arc<dyn ServedNames>,
}

/// Tells which server certificate answers for a host (RFC 9110 §7.4, RFC 9113 §9.1.1).
pub trait ServedNames: Send + Sync + std::fmt::Debug {
    /// The index of the certificate that a client asking for `host` is shown.
    fn certificate_for(&self, host: Option<&str>) -> usize;
}

/// A client certificate, reduced to what binding needs (RFC 8705 §3).
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of the DER-encoded certificate: the bytes of `x5t#S256`.
    pub thumbprint: [u8; 32],
    /// The certificate itself, where somebody behind the gateway wants it and it is known.
    pub der: Option<Bytes>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}
