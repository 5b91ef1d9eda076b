//! What the log stores of a proof and of a key: bits under a secret of this process.
//!
//! Clients choose `jti` and can grind hashes of it, so every place in a table must depend on something that
//! they do not know: SipHash under a secret, once for the proof and once for the key.
//!
//! Two proofs are taken for one only if their keys share a shard, 64 keyed bits are equal, and so are 16 bits
//! of the replay key's own SHA-256: with 256 shards one pair in 2^88. Nobody can steer that beyond the 16
//! bits that can be ground, and there is nothing to gain: one of the two is refused, no copy ever passes.
//! Two keys are taken for one, and share a quota, only if shard and 48 further keyed bits are equal: one pair
//! in 2^56, which nobody can steer at all.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use crate::verify::ReplayKey;

/// Stands for a proof within the shard of its key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ProofDigest(pub(super) [u8; 10]);

impl ProofDigest {
    /// Where it belongs in a table: keyed bits, evenly spread.
    pub(super) const fn place(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

/// Stands for a key within its shard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyDigest(pub(super) [u8; 6]);

impl KeyDigest {
    /// Where it belongs in a table: keyed bits, evenly spread.
    pub(super) const fn place(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

/// The secret of one log.
pub(super) struct Secret {
    proofs: RandomState,
    keys: RandomState,
}

impl Secret {
    /// A new one.
    pub(super) fn new() -> Self {
        Self { proofs: RandomState::new(), keys: RandomState::new() }
    }

    /// What stands for a proof in this log.
    pub(super) fn proof(&self, replay_key: &ReplayKey) -> ProofDigest {
        let (mut digest, [first, second, ..]) = ([0; 10], replay_key.0);
        digest[..8].copy_from_slice(&keyed(&self.proofs, &replay_key.0));
        digest[8..].copy_from_slice(&[first, second]);
        ProofDigest(digest)
    }

    /// The bits that choose the shard of a key's proofs, and what stands for the key there.
    pub(super) fn key(&self, thumbprint: &[u8; 32]) -> (u16, KeyDigest) {
        let [high, low, rest @ ..] = keyed(&self.keys, thumbprint);
        (u16::from_be_bytes([high, low]), KeyDigest(rest))
    }
}

fn keyed(secret: &RandomState, bytes: &[u8; 32]) -> [u8; 8] {
    let mut hasher = secret.build_hasher();
    hasher.write(bytes);
    hasher.finish().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread() {
        let secret = Secret::new();
        let proofs = [1, 2, 3].map(|byte| secret.proof(&ReplayKey([byte; 32])).place());
        let keys = [1, 2, 3].map(|byte| secret.key(&[byte; 32]).1.place());
        for [first, second, third] in [proofs, keys] {
            assert!(first != second && second != third && first != third);
        }
    }

    #[test]
    fn two_logs_do_not_share_their_order() {
        let (one, other) = (Secret::new(), Secret::new());
        let [first, second] = [ReplayKey([1; 32]), ReplayKey([2; 32])];
        assert!(one.proof(&first) == one.proof(&first));
        assert!(one.proof(&first) != one.proof(&second));
        assert!(one.proof(&first) != other.proof(&first));
        assert!(one.key(&[1; 32]) == one.key(&[1; 32]));
        assert!(one.key(&[1; 32]) != one.key(&[2; 32]));
        assert!(one.key(&[1; 32]) != other.key(&[1; 32]));
    }
}
