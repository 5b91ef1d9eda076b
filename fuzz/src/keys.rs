//! Keys that are the same in every run, so that every input can be played again.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound::verify::Thumbprint;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use sha2::{Digest as _, Sha256};

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A P-256 key pair: p256 signs, which is not the code under test and takes no random numbers (RFC 6979).
pub struct Key {
    pair: SigningKey,
    x: String,
    y: String,
}

/// The key that proofs and tokens are signed with.
pub static OWN: LazyLock<Key> = LazyLock::new(|| Key::of(&[7; 32]).expect("a scalar"));
/// Another one.
pub static OTHER: LazyLock<Key> = LazyLock::new(|| Key::of(&[9; 32]).expect("a scalar"));

impl Key {
    pub fn of(scalar: &[u8; 32]) -> Option<Self> {
        let pair = SigningKey::from_slice(scalar).ok()?;
        let point = pair.verifying_key().to_sec1_point(false);
        let bytes = point.as_bytes();
        Some(Self { x: b64(&bytes[1..33]), y: b64(&bytes[33..]), pair })
    }

    pub fn jwk(&self) -> String {
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, self.x, self.y)
    }

    pub fn coordinates(&self) -> (&str, &str) {
        (&self.x, &self.y)
    }

    /// RFC 7638 §3.
    pub fn thumbprint(&self) -> Thumbprint {
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, self.x, self.y);
        Thumbprint(Sha256::digest(canonical).into())
    }

    /// RFC 7518 §3.4.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: p256::ecdsa::Signature = self.pair.sign(message);
        signature.to_bytes().to_vec()
    }

    /// Whether p256 takes a signature for this key's.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = self.pair.verifying_key();
        p256::ecdsa::Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
    }

    /// A compact JWS (RFC 7515 §7.1) of two texts.
    pub fn jws(&self, header: &[u8], claims: &[u8]) -> String {
        let input = format!("{}.{}", b64(header), b64(claims));
        format!("{input}.{}", b64(self.sign(input.as_bytes())))
    }
}
