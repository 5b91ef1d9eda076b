//! Which client certificates pass the handshake (RFC 8705 §3, §6.2).
//!
//! Whatever is trusted, the client proves with CertificateVerify (RFC 8446 §4.4.3, RFC 5246 §7.4.8) that it
//! holds the key of the certificate it shows. X.509 version 1 certificates are not understood and fail there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::KeyUsage;
use x509_parser::prelude::FromDer;

use super::PROVIDER;
use super::files::{LoadError, certificates, read, revocation_lists};
use crate::accept::settings::ClientCertificates;

/// Which client certificates pass the handshake.
#[derive(Debug, Clone)]
pub enum ClientTrust {
    /// Any, self-signed and expired ones too: the token's binding is the trust (RFC 8705 §6.2). Neither issuer
    /// nor dates are looked at.
    Any,
    /// Those issued by an authority: chain, dates, key usage and extended key usage are checked, also when a session is
    /// resumed.
    Authorities {
        /// The authorities.
        roots: Arc<RootCertStore>,
        /// Their revocation lists. Empty: revocation is not checked. Otherwise it fails closed: every certificate of
        /// the chain needs a list of its issuer, and a list is of no use after its `nextUpdate` (RFC 5280 §6.3).
        crls: Vec<CertificateRevocationListDer<'static>>,
    },
}

impl PartialEq for ClientTrust {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any) => true,
            (Self::Authorities { roots, crls }, Self::Authorities { roots: other_roots, crls: other_crls }) => {
                roots.roots == other_roots.roots && crls == other_crls
            }
            (Self::Any, Self::Authorities { .. }) | (Self::Authorities { .. }, Self::Any) => false,
        }
    }
}

impl Eq for ClientTrust {}

impl ClientTrust {
    /// Reads authorities from a PEM file and revocation lists from PEM or DER files.
    ///
    /// # Errors
    /// Each file that cannot be used, what was expected and what was found.
    pub fn load(ca_file: &Path, crl_files: &[PathBuf]) -> Result<Self, Vec<LoadError>> {
        let mut errors = Vec::new();
        let roots = load_roots(ca_file).map_err(|error| errors.push(error)).ok();
        let mut crls = Vec::new();
        for file in crl_files {
            let lists =
                read(file).and_then(|text| revocation_lists(&text).map_err(|problem| LoadError::new(file, problem)));
            match lists {
                Ok(lists) => crls.extend(lists),
                Err(error) => errors.push(error),
            }
        }
        match roots {
            Some(roots) if errors.is_empty() => Ok(Self::Authorities { roots: Arc::new(roots), crls }),
            _ => Err(errors),
        }
    }
}

/// Reads trust anchors from a PEM file: at least one, and all of them usable.
///
/// # Errors
/// What was expected of the file and what was found.
pub fn load_roots(ca_file: &Path) -> Result<RootCertStore, LoadError> {
    let certificates = certificates(&read(ca_file)?).map_err(|problem| LoadError::new(ca_file, problem))?;
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            let problem = format!("expected authorities, found that certificate {} is none: {error}", index + 1);
            LoadError::new(ca_file, problem)
        })?;
    }
    Ok(roots)
}

/// What the setting asks of the handshake; `None`: clients are not asked.
pub(super) fn verifier(
    setting: &ClientCertificates,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, VerifierBuilderError> {
    let (trust, mandatory) = match setting {
        ClientCertificates::Off => return Ok(None),
        ClientCertificates::Request(trust) => (trust, false),
        ClientCertificates::Require(trust) => (trust, true),
    };
    Ok(Some(match trust {
        ClientTrust::Any => {
            Arc::new(AnyCertificate { mandatory, algorithms: PROVIDER.signature_verification_algorithms })
        }
        ClientTrust::Authorities { roots, crls } => {
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(&PROVIDER))
                .with_crls(crls.iter().cloned())
                .enforce_revocation_expiration();
            let verifier = if mandatory { builder.build()? } else { builder.allow_unauthenticated().build()? };
            Arc::new(UsedAsAllowed(verifier))
        }
    }))
}

/// The library looks at extended key usage, and not at key usage (RFC 5280 §4.2.1.3).
#[derive(Debug)]
struct UsedAsAllowed(Arc<dyn ClientCertVerifier>);

impl UsedAsAllowed {
    /// Whether the certificate's key may do this; one that names no usage may do anything, one that cannot be read nothing.
    fn allows(certificate: &CertificateDer<'_>, usage: fn(&KeyUsage) -> bool) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
        certificate.key_usage().is_ok_and(|extension| extension.is_none_or(|extension| usage(extension.value)))
    }
}

impl ClientCertVerifier for UsedAsAllowed {
    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Nobody else signs certificates, whatever follows from there.
        let may_sign = intermediates.iter().filter(|one| Self::allows(one, KeyUsage::key_cert_sign));
        let intermediates: Vec<_> = may_sign.map(|one| CertificateDer::from(one.as_ref())).collect();
        let verified = self.0.verify_client_cert(end_entity, &intermediates, now)?;
        // CertificateVerify is a signature, in either version of TLS.
        if Self::allows(end_entity, KeyUsage::digital_signature) {
            Ok(verified)
        } else {
            Err(CertificateError::InvalidPurpose.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Asks only for possession of the key.
#[derive(Debug)]
struct AnyCertificate {
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
