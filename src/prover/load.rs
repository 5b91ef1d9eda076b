//! Private keys from files: PEM (PKCS#8, SEC1, PKCS#1) and JWK.

use crate::verify::{Algorithm, Json, base64url};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use jsonwebtoken::EncodingKey;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use zeroize::Zeroizing;

use super::{KeyError, Kind, ProofKey, PublicJwk, pem};

const EC_CURVES: [&EcdsaSigningAlgorithm; 2] = [&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED_SIGNING];

impl ProofKey {
    /// Reads the text of a key file: PEM, or a JWK as JSON.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(text: &[u8]) -> Result<Self, KeyError> {
        if text.trim_ascii_start().starts_with(b"{") {
            Self::from_jwk(&Json::object(text).ok_or(KeyError::NotAKey("JSON that is not one strict object"))?)
        } else {
            Self::from_pem(text)
        }
    }

    /// Reads the first private key in a PEM text; certificates and parameters around it are passed over.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let mut found = "no PEM";
        // The library passes over sections that it does not know, and the header of OpenSSL's older formats is none of base64.
        let encrypted = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
        let is_encrypted = || encrypted.iter().any(|line| text.windows(line.len()).any(|window| window == *line));
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            let (kind, der) = section
                .map_err(|_| if is_encrypted() { KeyError::Encrypted } else { KeyError::NotAKey("broken PEM") })?;
            let der = Zeroizing::new(der);
            match kind {
                SectionKind::PrivateKey => return Self::from_pkcs8(der),
                SectionKind::EcPrivateKey => return Self::from_sec1(&der),
                SectionKind::RsaPrivateKey => {
                    return Self::from_rsa(&RsaKeyPair::from_der(&der).map_err(|_| KeyError::NotUsable)?);
                }
                SectionKind::PublicKey => found = "a public key",
                SectionKind::Certificate => found = "a certificate",
                _ => found = "something else",
            }
        }
        Err(if is_encrypted() { KeyError::Encrypted } else { KeyError::NotAKey(found) })
    }

    /// Reads a private JWK (RFC 7517, RFC 7518 §6, RFC 8037 §2). Its `alg`, where present, is what it signs with.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_jwk(jwk: &Json) -> Result<Self, KeyError> {
        if !jwk.has("d") {
            return Err(KeyError::NotAKey("a JWK without a private member"));
        }
        let kind = Kind::of_jwk(jwk).ok_or(KeyError::NotUsable)?;
        let member = |name: &'static str| {
            let decoded = jwk.string(name).and_then(base64url::decode).ok_or(KeyError::Member(name))?;
            Ok::<_, KeyError>(Zeroizing::new(decoded))
        };
        let key = match kind {
            Kind::P256 => Self::from_ec_parts(EC_CURVES[0], &member("d")?, &member("x")?, &member("y")?)?,
            Kind::P384 => Self::from_ec_parts(EC_CURVES[1], &member("d")?, &member("x")?, &member("y")?)?,
            Kind::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(&member("d")?, &member("x")?)
                    .map_err(|_| KeyError::NotUsable)?;
                let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyError::NotUsable)?;
                Self::from_pkcs8(Zeroizing::new(pkcs8.as_ref().to_vec()))?
            }
            Kind::Rsa => {
                let components = KeyPairComponents {
                    public_key: PublicKeyComponents { n: member("n")?, e: member("e")? },
                    d: member("d")?,
                    p: member("p")?,
                    q: member("q")?,
                    dP: member("dp")?,
                    dQ: member("dq")?,
                    qInv: member("qi")?,
                };
                Self::from_rsa(&RsaKeyPair::from_components(&components).map_err(|_| KeyError::NotUsable)?)?
            }
            Kind::P521 => return Err(KeyError::NotUsable),
        };
        match jwk.get("alg") {
            None => Ok(key),
            Some(alg) => {
                let algorithm = alg.as_str().and_then(Algorithm::from_name).ok_or(KeyError::Member("alg"))?;
                key.with_algorithm(algorithm)
            }
        }
    }

    fn from_sec1(der: &[u8]) -> Result<Self, KeyError> {
        let mut pairs = EC_CURVES.into_iter().filter_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok());
        Self::from_ec(&pairs.next().ok_or(KeyError::NotUsable)?)
    }

    fn from_ec_parts(curve: &'static EcdsaSigningAlgorithm, d: &[u8], x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        let point = [&[4], x, y].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(curve, d, &point);
        Self::from_ec(&pair.map_err(|_| KeyError::NotUsable)?)
    }

    fn from_ec(pair: &EcdsaKeyPair) -> Result<Self, KeyError> {
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyError::NotUsable)?;
        Self::from_pkcs8(Zeroizing::new(pkcs8.as_ref().to_vec()))
    }

    fn from_rsa(pair: &RsaKeyPair) -> Result<Self, KeyError> {
        let pkcs8 = pair.as_der().map_err(|_| KeyError::NotUsable)?;
        Self::from_pkcs8(Zeroizing::new(pkcs8.as_ref().to_vec()))
    }
}

/// The public half of a PKCS#8 key, and the key as the signing library wants it.
pub(super) fn inspect(pkcs8: &[u8]) -> Result<(PublicJwk, EncodingKey), KeyError> {
    for curve in EC_CURVES {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(curve, pkcs8) {
            return Ok((PublicJwk::ec(pair.public_key().as_ref())?, EncodingKey::from_ec_der(pkcs8)));
        }
    }
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8(pkcs8) {
        return Ok((PublicJwk::ed25519(pair.public_key().as_ref())?, EncodingKey::from_ed_der(pkcs8)));
    }
    let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::NotUsable)?;
    let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    // The library wants the PKCS#1 part alone, and takes it out of PEM only.
    let signer = EncodingKey::from_rsa_pem(pem(pkcs8)?.as_bytes()).map_err(|_| KeyError::NotUsable)?;
    Ok((PublicJwk::rsa(&public.n, &public.e)?, signer))
}
