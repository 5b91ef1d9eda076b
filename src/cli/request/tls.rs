//! Whom the client trusts, and what it shows.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use keybound::verify::base64url;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};

use crate::cli::credentials::read;

/// The TLS side of a request, as meant.
#[derive(Debug, Default)]
pub struct Trust {
    /// Certificates of authorities instead of the system's.
    pub authorities: Option<PathBuf>,
    /// Accept any server.
    pub insecure: bool,
    /// The client's certificate chain.
    pub identity: Option<Identity>,
}

/// A client certificate that was read, and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    source: String,
}

impl Identity {
    /// Reads a PEM chain and its private key.
    ///
    /// # Errors
    /// A file cannot be read, or does not hold what it should.
    pub fn load(certificate_file: &Path, key_file: &Path) -> anyhow::Result<Self> {
        let chain = certificates(certificate_file)
            .with_context(|| format!("cannot use the certificate file {}", certificate_file.display()))?;
        let cannot_use = || format!("cannot use the certificate's key file {}", key_file.display());
        let pem = read(key_file).with_context(cannot_use)?;
        let key = PrivateKeyDer::from_pem_slice(&pem)
            .ok()
            .context("expected an unencrypted private key as PEM")
            .with_context(cannot_use)?;
        let source = format!("the certificate {} and the key {}", certificate_file.display(), key_file.display());
        Ok(Self { chain, key, source })
    }

    /// `x5t#S256` of the certificate that the server sees.
    pub fn thumbprint(&self) -> String {
        base64url::encode(&Sha256::digest(self.chain.first().map(AsRef::as_ref).unwrap_or_default()))
    }
}

impl Trust {
    /// What rustls wants.
    ///
    /// # Errors
    /// There are no authorities to trust, or the client's key is not the one of its certificate.
    pub fn client_config(self) -> anyhow::Result<ClientConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
        } else {
            builder.with_root_certificates(match &self.authorities {
                Some(file) => roots_of(file)?,
                None => system_roots()?,
            })
        };
        match self.identity {
            None => Ok(builder.with_no_client_auth()),
            Some(Identity { chain, key, source }) => builder
                .with_client_auth_cert(chain, key)
                .with_context(|| format!("{source} do not go together, or are not supported")),
        }
    }
}

/// What to do about a handshake that failed, where an argument would help.
pub fn hint(error: &anyhow::Error) -> Option<&'static str> {
    use rustls::{AlertDescription, CertificateError, Error};
    // I/O errors are wrapped in each other, and the source of one skips the error inside it.
    let inside = |cause: &(dyn std::error::Error + 'static)| {
        let mut inner = cause.downcast_ref::<io::Error>()?.get_ref()?;
        while let Some(deeper) = inner.downcast_ref::<io::Error>() {
            inner = deeper.get_ref()?;
        }
        inner.downcast_ref::<Error>().cloned()
    };
    match error.chain().find_map(inside)? {
        Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            Some(
                "the server shows a certificate of an authority (CA:TRUE) as its own; openssl makes another one with \
             -addext basicConstraints=critical,CA:FALSE",
            )
        }
        Error::InvalidCertificate(_) => Some("--cacert FILE names whom to trust, --insecure trusts anyone"),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            Some("the server asks for a client certificate: --cert FILE --cert-key FILE")
        }
        _ => None,
    }
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = read(file)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.ok().context("broken PEM")?;
    if all.is_empty() {
        bail!("expected a certificate as PEM, found none");
    }
    Ok(all)
}

fn roots_of(file: &Path) -> anyhow::Result<RootCertStore> {
    let cannot_use = || format!("cannot use the authorities in {}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file).with_context(cannot_use)? {
        roots.add(certificate).with_context(cannot_use)?;
    }
    Ok(roots)
}

fn system_roots() -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        bail!("this system has no certificates of authorities; --cacert FILE names some");
    }
    Ok(roots)
}

/// Accepts any certificate. The server still has to prove that it holds the certificate's key.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
