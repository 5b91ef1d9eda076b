//! Public keys as JWKs (RFC 7518 §6, RFC 8037 §2), whatever they were read from.

use std::fmt;

use crate::verify::{Algorithm, Json, PublicKey, Thumbprint, Unusable, base64url};
use jsonwebtoken::jwk::Jwk;
use serde_json::{Map, Value, json};
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::public_key::PublicKey as Spki;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::KeyError;

/// What a key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// RSA.
    Rsa,
}

impl Kind {
    const ALL: [Self; 5] = [Self::P256, Self::P384, Self::P521, Self::Ed25519, Self::Rsa];

    /// The name of its curve, or of its type where there is none.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::Ed25519 => "Ed25519",
            Self::Rsa => "RSA",
        }
    }

    /// The algorithm to sign with when nobody says which. PS256 for RSA: few servers accept RS256 in proofs.
    pub const fn algorithm(self) -> Algorithm {
        self.algorithms()[0]
    }

    /// The algorithms that it fits.
    pub const fn algorithms(self) -> &'static [Algorithm] {
        use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match self {
            Self::P256 => &[Es256],
            Self::P384 => &[Es384],
            Self::P521 => &[Es512],
            Self::Ed25519 => &[EdDsa],
            Self::Rsa => &[Ps256, Ps384, Ps512, Rs256, Rs384, Rs512],
        }
    }

    /// RFC 7638 §3.2, RFC 8037 §2: what a JWK of this kind must have.
    const fn members(self) -> &'static [&'static str] {
        match self {
            Self::P256 | Self::P384 | Self::P521 => &["crv", "kty", "x", "y"],
            Self::Ed25519 => &["crv", "kty", "x"],
            Self::Rsa => &["e", "kty", "n"],
        }
    }

    pub(super) fn of_jwk(jwk: &Json) -> Option<Self> {
        let name = match jwk.string("kty")? {
            "EC" | "OKP" => jwk.string("crv")?,
            "RSA" => "RSA",
            _ => return None,
        };
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A public key that passed the verifier's own checks.
#[derive(Debug, Clone, PartialEq)]
pub struct PublicJwk {
    kind: Kind,
    jwk: Value,
    thumbprint: Thumbprint,
}

impl PublicJwk {
    /// The public half of a JWK, public or private. All but the required members is dropped.
    ///
    /// # Errors
    /// [`KeyError::Public`].
    pub fn from_jwk(jwk: &Json) -> Result<Self, KeyError> {
        let unknown = Unusable::Malformed("expected kty EC, OKP with crv Ed25519, or RSA");
        let kind = Kind::of_jwk(jwk).ok_or(unknown)?;
        let required = kind.members().iter().filter_map(|name| Some(((*name).to_owned(), jwk.get(name)?.clone())));
        let members: Map<String, Value> = required.collect();
        let key = PublicKey::from_jwk(&Json::from_members(&members), kind.algorithm())?;
        Ok(Self { kind, jwk: Value::Object(members), thumbprint: key.thumbprint() })
    }

    /// From a `SubjectPublicKeyInfo` (RFC 5280 §4.1).
    ///
    /// # Errors
    /// [`KeyError::Public`].
    pub fn from_spki(spki: &SubjectPublicKeyInfo<'_>) -> Result<Self, KeyError> {
        if spki.algorithm.algorithm == OID_SIG_ED25519 {
            return Self::ed25519(&spki.subject_public_key.data);
        }
        match spki.parsed() {
            Ok(Spki::EC(point)) => Self::ec(point.data()),
            Ok(Spki::RSA(key)) => Self::rsa(key.modulus, key.exponent),
            _ => Err(Unusable::Malformed("expected an EC, Ed25519 or RSA key").into()),
        }
    }

    /// From an uncompressed point (SEC 1 §2.3.3). Its length names the curve; the check that follows proves it.
    pub(super) fn ec(point: &[u8]) -> Result<Self, KeyError> {
        let (kind, length) = match point.len() {
            65 => (Kind::P256, 32),
            97 => (Kind::P384, 48),
            133 => (Kind::P521, 66),
            _ => return Err(Unusable::Malformed("expected an uncompressed point on P-256, P-384 or P-521").into()),
        };
        let (x, y) = point[1..].split_at(length);
        let (x, y) = (base64url::encode(x), base64url::encode(y));
        Self::from_value(json!({ "kty": "EC", "crv": kind.name(), "x": x, "y": y }))
    }

    /// From the 32 bytes of RFC 8032 §5.1.5.
    pub(super) fn ed25519(key: &[u8]) -> Result<Self, KeyError> {
        Self::from_value(json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url::encode(key) }))
    }

    /// From big-endian integers, with or without the zero in front that DER may put there.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let minimal = |integer: &[u8]| {
            let zeros = integer.iter().take_while(|byte| **byte == 0).count();
            base64url::encode(&integer[zeros..])
        };
        Self::from_value(json!({ "kty": "RSA", "n": minimal(n), "e": minimal(e) }))
    }

    fn from_value(jwk: Value) -> Result<Self, KeyError> {
        match jwk {
            Value::Object(members) => Self::from_jwk(&Json::from_members(&members)),
            _ => Err(Unusable::Malformed("expected an object").into()),
        }
    }

    /// What it is made of.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its required members.
    pub const fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// Its RFC 7638 thumbprint.
    pub const fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    pub(super) fn to_header_jwk(&self) -> Result<Jwk, KeyError> {
        serde_json::from_value(self.jwk.clone()).map_err(|_| KeyError::Library("write the JWK"))
    }
}
