//! Proofs that nobody made, for benchmarks: signing millions would take longer than what is measured.

use super::facts::Facts;
use crate::time::UnixTime;
use crate::verify::{ReplayKey, Thumbprint};

/// What a log would see of a proof.
#[derive(Debug, Clone, Copy)]
pub struct SimulatedProof {
    /// What it is remembered by.
    pub replay_key: ReplayKey,
    /// The key that would have signed it.
    pub thumbprint: Thumbprint,
    /// `iat`.
    pub issued_at: UnixTime,
    /// When its nonce was made, if it has one.
    pub nonce: Option<UnixTime>,
    /// The last moment at which it could be accepted.
    pub accepted_until: UnixTime,
}

impl SimulatedProof {
    pub(super) const fn facts(&self) -> Facts {
        let Self { replay_key, thumbprint, issued_at, nonce, accepted_until } = *self;
        Facts { replay_key, key: thumbprint.0, issued_at, nonce, accepted_until }
    }
}
