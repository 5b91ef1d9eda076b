//! TLS: which certificate is shown, which client certificates pass, what a handshake established.
//!
//! TLS 1.2 and 1.3 (NEG-219: nothing older exists in the library), HTTP/2 and HTTP/1.1 by ALPN. Sessions resume
//! through encrypted tickets that carry the client's certificate (RFC 8446 §4.6.1, RFC 5077); early data is
//! off, because it could be replayed (RFC 8446 §8).

mod certificate;
mod client;
mod files;
mod resolver;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, SupportedProtocolVersion, version};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::settings::{ClientCertificates, TlsSettings};
use crate::request::{ClientCertificate, TlsFacts};
use resolver::CertificatesByName;

pub use certificate::ServerCertificate;
pub use client::{ClientTrust, load_roots};
pub use files::LoadError;

/// The one cryptographic provider; no process-wide default is consulted.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

pub(super) const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// TLS settings that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is nothing to show to clients.
    #[error("no server certificate is configured")]
    NoCertificate,
    /// The authorities or revocation lists for client certificates are unusable.
    #[error("client certificates cannot be verified: {0}")]
    ClientTrust(#[from] VerifierBuilderError),
    /// The TLS library refused.
    #[error(transparent)]
    Library(#[from] rustls::Error),
}

/// A listener's TLS settings in use; a new certificate takes effect with the next handshake.
///
/// Replacing also forgets every resumable session, so that nobody who is no longer trusted comes back on a ticket.
#[derive(Debug, Clone)]
pub struct CurrentTls {
    tls: Arc<ArcSwap<Tls>>,
    /// Told when other client certificates pass.
    shown: watch::Sender<()>,
    /// Told when nobody passes any more without one.
    none: watch::Sender<()>,
}

/// What a connection has to know of changes from the beginning of its handshake on.
#[derive(Debug)]
pub(super) struct Trust {
    shown: watch::Receiver<()>,
    none: watch::Receiver<()>,
}

impl Trust {
    /// Changes when who showed a certificate, or none, might not pass the handshake any more.
    pub(super) fn of(self, has_certificate: bool) -> watch::Receiver<()> {
        if has_certificate { self.shown } else { self.none }
    }
}

impl CurrentTls {
    pub(super) fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        let tls = Arc::new(ArcSwap::from_pointee(Tls::new(settings)?));
        Ok(Self { tls, shown: watch::Sender::new(()), none: watch::Sender::new(()) })
    }

    /// Puts other settings in force. Connections that are open keep theirs.
    pub fn replace(&self, next: NextTls) {
        self.tls.store(Arc::new(next.0));
    }

    /// Other client certificates pass than before: connections on which one was shown end when their requests are through,
    /// and their clients may come again. So do those on which none was, where one is required now and was not. To be called
    /// after [`replace`](Self::replace).
    pub fn expire_clients(&self, before: &ClientCertificates, now: &ClientCertificates) {
        let require = |it: &ClientCertificates| matches!(it, ClientCertificates::Require(_));
        if before != now {
            self.shown.send_replace(());
        }
        if require(now) && !require(before) {
            self.none.send_replace(());
        }
    }

    pub(super) fn trust(&self) -> Trust {
        Trust { shown: self.shown.subscribe(), none: self.none.subscribe() }
    }

    pub(super) fn get(&self) -> Arc<Tls> {
        self.tls.load_full()
    }

    #[cfg(test)]
    pub(super) fn set(&self, tls: Tls) {
        self.tls.store(Arc::new(tls));
    }
}

/// TLS settings that can be served and are not yet.
#[derive(Debug)]
pub struct NextTls(Tls);

impl NextTls {
    /// Makes them ready.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        Tls::new(settings).map(Self)
    }
}

/// How one handshake is done.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    names: Arc<CertificatesByName>,
    /// `None`: clients are not asked.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    keep_certificates: bool,
}

impl Tls {
    pub(super) fn new(settings: &TlsSettings) -> Result<Self, TlsError> {
        const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        const ONLY_13: &[&SupportedProtocolVersion] = &[&version::TLS13];

        if settings.certificates.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let names = Arc::new(CertificatesByName::new(settings.certificates.clone()));
        let verifier = client::verifier(&settings.client_certificates)?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_protocol_versions(if settings.only_tls13 { ONLY_13 } else { BOTH })?
            .with_client_cert_verifier(verifier.clone().unwrap_or_else(WebPkiClientVerifier::no_client_auth))
            .with_cert_resolver(Arc::clone(&names) as _);
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.max_early_data_size = 0;
        Ok(Self { config: Arc::new(config), names, verifier, keep_certificates: settings.keep_certificates })
    }

    /// What a finished handshake established.
    ///
    /// A resumed session carries the certificate of the handshake before it, which was not verified again:
    /// it may have expired or been revoked since, so that is asked here.
    ///
    /// # Errors
    /// That certificate would no longer pass.
    pub(super) fn facts(&self, connection: &ServerConnection) -> Result<TlsFacts, rustls::Error> {
        let certificate = match (&self.verifier, connection.peer_certificates()) {
            (Some(verifier), Some([leaf, intermediates @ ..])) => {
                if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
                    let now = self.config.time_provider.current_time().ok_or(rustls::Error::FailedToGetCurrentTime)?;
                    verifier.verify_client_cert(leaf, intermediates, now)?;
                }
                let der = self.keep_certificates.then(|| Bytes::copy_from_slice(leaf));
                Some(ClientCertificate { thumbprint: Sha256::digest(leaf).into(), der })
            }
            _ => None,
        };
        Ok(TlsFacts {
            server_name: connection.server_name().map(str::to_ascii_lowercase),
            certificate,
            names: Arc::clone(&self.names) as _,
        })
    }
}
