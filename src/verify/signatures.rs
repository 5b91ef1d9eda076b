//! Who checks signatures, so that a caller may know keys better than the token or proof that holds them does.

use super::jwk::PublicKey;

/// Checks signatures.
pub trait Signatures {
    /// Whether `signature` is the key's over `message`, as [`PublicKey::verifies`] says.
    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        key.verifies(message, signature)
    }
}
