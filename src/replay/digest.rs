//! What the log stores of a proof and of a key: 128 bits under a secret of this process.
//!
//! Clients choose `jti` and can grind hashes of it, so the place in a table must depend on something that
//! they do not know. It is hashed once here; every table then uses these bits as they are. Two proofs with
//! equal bits would only cost one of them a refusal, never let a copy pass.

use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState};

/// 128 bits in place of 256: 2^64 live entries would be needed before two of them are likely to meet.
/// Bytes, so that an entry needs no padding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest([u8; 8], [u8; 8]);

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_ne_bytes(self.0));
    }
}

/// For tables whose keys are [`Digest`]s.
pub(super) type BuildDigestHasher = BuildHasherDefault<DigestHasher>;

/// Takes the bits of a [`Digest`], which are random already.
#[derive(Default)]
pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, bits: u64) {
        self.0 = bits;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The secret of one log.
pub(super) struct Secret(RandomState, RandomState);

impl Secret {
    /// A new one.
    pub(super) fn new() -> Self {
        Self(RandomState::new(), RandomState::new())
    }

    /// The bits that stand for `bytes` in this log.
    pub(super) fn digest(&self, bytes: &[u8; 32]) -> Digest {
        Digest(self.0.hash_one(bytes).to_ne_bytes(), self.1.hash_one(bytes).to_ne_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_seventeen_bytes() {
        assert_eq!(size_of::<(Digest, u8)>(), 17);
    }

    #[test]
    fn two_logs_do_not_share_their_order() {
        let (one, other) = (Secret::new(), Secret::new());
        assert!(one.digest(&[1; 32]) == one.digest(&[1; 32]));
        assert!(one.digest(&[1; 32]) != one.digest(&[2; 32]));
        assert!(one.digest(&[1; 32]) != other.digest(&[1; 32]));
    }
}
