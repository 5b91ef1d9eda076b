//! Who asks: what the connection proved about its other end before any request was read.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::request::ListenerScheme;

/// The other end of one connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Address of the other end.
    pub address: SocketAddr,
    /// What the handshake established; `None` on a plain listener.
    pub tls: Option<TlsFacts>,
}

impl Peer {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of the DER-encoded certificate: the bytes of `x5t#S256`.
    pub thumbprint: [u8; 32],
}
