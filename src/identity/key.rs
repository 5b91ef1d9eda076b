//! The keys that sign assertions: one that signs, and those whose signatures are still or soon about.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, Signature};
use serde_json::{Map, Value, json};

use crate::verify::{Algorithm, Json, PublicKey, Thumbprint, base64url};

/// A private key that signs assertions with the one algorithm of its kind: P-256 with ES256, Ed25519 with EdDSA.
pub struct IdentityKey {
    pair: Pair,
    algorithm: Algorithm,
    kid: Thumbprint,
    jwk: Value,
}

enum Pair {
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl IdentityKey {
    /// Reads a private key in DER: PKCS#8 (RFC 5208), or SEC 1 (RFC 5915). `None` when it is no usable key on P-256 or
    /// Ed25519.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let ec = || EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
        let (pair, algorithm, members) = if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            let x = base64url::encode(pair.public_key().as_ref());
            (Pair::Ed25519(Box::new(pair)), Algorithm::EdDsa, json!({"kty": "OKP", "crv": "Ed25519", "x": x}))
        } else {
            let pair = ec().ok()?;
            // SEC 1 §2.3.3: a byte that says "uncompressed", and two coordinates.
            let (x, y) = pair.public_key().as_ref().get(1..65)?.split_at(32);
            let (x, y) = (base64url::encode(x), base64url::encode(y));
            (Pair::P256(Box::new(pair)), Algorithm::Es256, json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}))
        };
        let Value::Object(members) = members else { return None };
        // The verifier's own reading: what it refuses as a public key, nobody should be told to trust.
        let kid = PublicKey::from_jwk(&Json::from_members(&members), algorithm).ok()?.thumbprint();
        Some(Self { pair, algorithm, kid, jwk: published(members, algorithm, kid) })
    }

    /// What it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its RFC 7638 thumbprint, which is its `kid`.
    pub const fn kid(&self) -> Thumbprint {
        self.kid
    }

    /// Its public half (RFC 7517 §4).
    pub const fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// Raw `R ‖ S` for ECDSA (RFC 7518 §3.4). `None` when the system gives no random numbers.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Signature> {
        match &self.pair {
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message).ok(),
            Pair::Ed25519(pair) => Some(pair.sign(message)),
        }
    }
}

fn published(mut members: Map<String, Value>, algorithm: Algorithm, kid: Thumbprint) -> Value {
    members.insert("alg".to_owned(), algorithm.name().into());
    members.insert("use".to_owned(), "sig".into());
    members.insert("kid".to_owned(), kid.to_string().into());
    Value::Object(members)
}

/// Two keys are the same when their public halves are.
impl PartialEq for IdentityKey {
    fn eq(&self, other: &Self) -> bool {
        self.kid == other.kid
    }
}

impl Eq for IdentityKey {}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({} {})", self.algorithm, self.kid)
    }
}

/// The public halves as a JWK Set (RFC 7517 §5), each once.
pub fn public_set<'k>(keys: impl IntoIterator<Item = &'k IdentityKey>) -> Value {
    let mut set: Vec<&Value> = Vec::new();
    for key in keys {
        if !set.contains(&&key.jwk) {
            set.push(&key.jwk);
        }
    }
    json!({ "keys": set })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410 §10.3, and the public key that RFC 8410 §10.1 gives for it.
    const ED25519: &str = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC";
    const ED25519_PUBLIC: &str = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";

    fn ed25519() -> IdentityKey {
        use base64::Engine as _;
        IdentityKey::from_der(&base64::engine::general_purpose::STANDARD.decode(ED25519).unwrap()).unwrap()
    }

    fn p256() -> IdentityKey {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        IdentityKey::from_der(pair.to_pkcs8v1().unwrap().as_ref()).unwrap()
    }

    #[test]
    fn a_key_is_published_without_its_private_half() {
        for (key, members) in [(ed25519(), 6), (p256(), 7)] {
            let jwk = key.jwk().as_object().unwrap();
            assert_eq!(jwk.len(), members, "{jwk:?}");
            assert!(!jwk.contains_key("d"));
            assert_eq!((&jwk["kid"], &jwk["use"]), (&json!(key.kid().to_string()), &json!("sig")));
            assert_eq!(jwk["alg"], key.algorithm().name());
            assert_eq!(format!("{key:?}"), format!("IdentityKey({} {})", key.algorithm(), key.kid()));
        }
    }

    #[test]
    fn the_published_key_is_read() {
        assert_eq!(ed25519().jwk()["x"], ED25519_PUBLIC);
    }

    #[test]
    fn the_kid_is_the_thumbprint_that_others_compute() {
        for key in [ed25519(), p256()] {
            let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.jwk().clone()).unwrap();
            assert_eq!(jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap(), key.kid().to_string());
        }
    }

    #[test]
    fn a_set_names_each_key_once() {
        let (one, other) = (p256(), ed25519());
        let set = public_set([&one, &other, &one]);
        assert_eq!(set, json!({"keys": [one.jwk(), other.jwk()]}));
        assert_eq!(public_set([]), json!({"keys": []}));
    }

    #[test]
    fn both_encodings_of_a_key_are_read() {
        use p256::elliptic_curve::Generate as _;
        use p256::pkcs8::EncodePrivateKey as _;
        let key = p256::SecretKey::try_generate().unwrap();
        let read = |der: &[u8]| IdentityKey::from_der(der).unwrap().kid();
        assert_eq!(read(key.to_pkcs8_der().unwrap().as_bytes()), read(&key.to_sec1_der().unwrap()));
    }

    #[test]
    fn other_keys_are_refused() {
        let p384 = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        assert!(IdentityKey::from_der(p384.to_pkcs8v1().unwrap().as_ref()).is_none());
        assert!(IdentityKey::from_der(b"").is_none() && IdentityKey::from_der(&[0x30; 64]).is_none());
    }
}
