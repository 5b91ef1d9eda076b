//! A self-signed client certificate. Its possession is what a token gets bound to, so nobody needs to vouch for it.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use keybound::time::UnixTime;
use keybound::verify::Algorithm;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivatePkcs8KeyDer;
use sha2::{Digest as _, Sha256};

use keybound::prover::{Kind, ProofKey};

/// A certificate and what it is known by.
pub struct Certificate {
    /// For a file.
    pub pem: String,
    /// `x5t#S256`, not yet encoded.
    pub thumbprint: [u8; 32],
    /// RFC 3339.
    pub expires: String,
}

/// Signs a certificate for TLS clients with its own key.
///
/// # Errors
/// The name does not fit, or the library failed.
pub fn self_signed(key: &ProofKey, subject: &str, now: UnixTime, lifetime: Duration) -> anyhow::Result<Certificate> {
    // Clocks differ, and a certificate from the future is refused.
    const BACKDATED: Duration = Duration::from_mins(5);
    let since_epoch = |time: UnixTime| Duration::from_secs(u64::try_from(time.secs()).unwrap_or_default());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let until = since_epoch(now + lifetime);

    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.not_before = epoch + since_epoch(now - BACKDATED);
    params.not_after = epoch + until;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];

    let pkcs8 = PrivatePkcs8KeyDer::from(key.pkcs8());
    let algorithm = match (key.public().kind(), key.algorithm()) {
        (Kind::P384, _) => &rcgen::PKCS_ECDSA_P384_SHA384,
        (Kind::Ed25519, _) => &rcgen::PKCS_ED25519,
        (Kind::Rsa, Algorithm::Ps384 | Algorithm::Rs384) => &rcgen::PKCS_RSA_SHA384,
        (Kind::Rsa, Algorithm::Ps512 | Algorithm::Rs512) => &rcgen::PKCS_RSA_SHA512,
        (Kind::Rsa, _) => &rcgen::PKCS_RSA_SHA256,
        (Kind::P256 | Kind::P521, _) => &rcgen::PKCS_ECDSA_P256_SHA256,
    };
    let made = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, algorithm)
        .and_then(|pair| params.self_signed(&pair))
        .context("cannot make the certificate")?;
    Ok(Certificate {
        pem: made.pem(),
        thumbprint: Sha256::digest(made.der()).into(),
        expires: humantime::format_rfc3339_seconds(UNIX_EPOCH + until).to_string(),
    })
}
