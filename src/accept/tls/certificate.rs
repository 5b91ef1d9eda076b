//! What the gateway shows of itself: a certificate chain and its key.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::files::{LoadError, certificates, private_key, read};
use crate::time::UnixTime;

const KEY_EXPECTED: &str = "expected an RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) or Ed25519 private key, \
    found another or a damaged one";

/// A certificate chain and the private key of its first certificate.
pub struct ServerCertificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    expires: UnixTime,
}

/// Which of the two inputs is at fault.
enum Fault {
    Certificate(String),
    Key(String),
}

impl ServerCertificate {
    /// Reads a PEM chain, leaf first, and a PEM key (PKCS#8, PKCS#1 or SEC1, not encrypted). Both may be in one file.
    ///
    /// This does not ask whether the certificate is trusted by anyone or still valid.
    ///
    /// # Errors
    /// Each file that cannot be used, what was expected and what was found; also when the key is another
    /// certificate's.
    pub fn load(certificate_file: &Path, key_file: &Path) -> Result<Self, Vec<LoadError>> {
        let chain = Self::check_certificate(certificate_file);
        let key = Self::check_key(key_file);
        let (certificate, key) = match (chain, key) {
            (Ok(certificate), Ok(key)) => (certificate, key),
            (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
        };
        Self::new(&certificate, &key).map_err(|fault| match fault {
            Fault::Certificate(problem) => vec![LoadError::new(certificate_file, problem)],
            Fault::Key(problem) => vec![LoadError::new(key_file, problem)],
        })
    }

    /// Reads a file that must hold a certificate.
    ///
    /// # Errors
    /// What was expected of the file and what was found.
    pub fn check_certificate(file: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
        let pem = read(file)?;
        certificates(&pem).map_err(|problem| LoadError::new(file, problem))?;
        Ok(pem)
    }

    /// Reads a file that must hold a private key.
    ///
    /// # Errors
    /// What was expected of the file and what was found.
    pub fn check_key(file: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
        let pem = read(file)?;
        private_key(&pem).map_err(|problem| LoadError::new(file, problem))?;
        Ok(pem)
    }

    /// As [`load`](Self::load), from memory.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, String> {
        Self::new(certificate, key).map_err(|fault| match fault {
            Fault::Certificate(problem) => format!("certificate: {problem}"),
            Fault::Key(problem) => format!("key: {problem}"),
        })
    }

    fn new(certificate: &[u8], key: &[u8]) -> Result<Self, Fault> {
        let chain = certificates(certificate).map_err(Fault::Certificate)?;
        let (names, expires) = read_leaf(&chain).map_err(Fault::Certificate)?;
        let key = private_key(key).map_err(Fault::Key)?;
        // The library's own words are left out: they could quote the key.
        let key =
            super::PROVIDER.key_provider.load_private_key(key).map_err(|_| Fault::Key(KEY_EXPECTED.to_owned()))?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                Fault::Key("expected the private key of the first certificate, found another key".into())
            }
            error => Fault::Certificate(format!("expected a certificate of X.509 version 3, found one with: {error}")),
        })?;
        Ok(Self { key: Arc::new(key), names, expires })
    }

    /// For connections in which the gateway is the client.
    pub fn for_client(&self) -> Arc<dyn rustls::client::ResolvesClientCert> {
        Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(&self.key)))
    }

    /// DNS names, lower case and perhaps with a wildcard, and IP addresses that the certificate is for
    /// (RFC 5280 §4.2.1.6, subjectAltName), in its order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The last moment of the first certificate's validity.
    pub const fn expires(&self) -> UnixTime {
        self.expires
    }

    /// Chain and private key.
    pub const fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

/// The same chain has the same key.
impl PartialEq for ServerCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl Eq for ServerCertificate {}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate")
            .field("names", &self.names)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

fn read_leaf(chain: &[CertificateDer<'_>]) -> Result<(Vec<String>, UnixTime), String> {
    let damaged = |_| "expected a certificate, found PEM around something else".to_owned();
    let leaf = chain.first().map_or(&[][..], AsRef::as_ref);
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(damaged)?;
    let alternatives = leaf
        .subject_alternative_name()
        .map_err(|_| "expected at most one subjectAltName, found a damaged or doubled one".to_owned())?;
    let names = alternatives.map(|extension| &extension.value.general_names[..]).unwrap_or_default();
    Ok((names.iter().filter_map(name).collect(), UnixTime::from_secs(leaf.validity().not_after.timestamp())))
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| IpAddr::from(bytes).to_string()),
        },
        _ => None,
    }
}
