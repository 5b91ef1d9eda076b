//! Which certificate is shown for which name: the exact one, then a wildcard, then the first.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::ServerCertificate;
use crate::request::ServedNames;

/// The certificates of one listener, found by name.
#[derive(Debug)]
pub(super) struct CertificatesByName {
    certificates: Vec<Arc<ServerCertificate>>,
    exact: HashMap<String, usize>,
    /// What follows the asterisk and its dot.
    wildcard: HashMap<String, usize>,
}

impl CertificatesByName {
    /// Where two certificates have a name in common, the earlier one is shown.
    pub(super) fn new(certificates: Vec<Arc<ServerCertificate>>) -> Self {
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for (index, certificate) in certificates.iter().enumerate() {
            for name in certificate.names() {
                match name.strip_prefix("*.") {
                    Some(rest) => wildcard.entry(rest.to_owned()).or_insert(index),
                    None => exact.entry(name.clone()).or_insert(index),
                };
            }
        }
        Self { certificates, exact, wildcard }
    }
}

impl ServedNames for CertificatesByName {
    /// `host` is lower case. A wildcard stands for exactly one label (RFC 9525 §6.3).
    fn certificate_for(&self, host: Option<&str>) -> usize {
        let Some(host) = host.filter(|_| self.certificates.len() > 1) else { return 0 };
        let host = host.strip_suffix('.').unwrap_or(host);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let wildcard = || host.split_once('.').and_then(|(_, rest)| self.wildcard.get(rest));
        self.exact.get(host).or_else(wildcard).copied().unwrap_or(0)
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let index = self.certificate_for(client_hello.server_name());
        self.certificates.get(index).map(|certificate| Arc::clone(certificate.key()))
    }
}
