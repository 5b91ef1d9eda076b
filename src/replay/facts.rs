//! What a log needs to know of a proof.

use crate::refusal::{Reason, Refusal};
use crate::time::UnixTime;
use crate::verify::{Proof, ReplayKey};

/// The facts of one proof.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    pub(super) replay_key: ReplayKey,
    /// The thumbprint of the key that signed it.
    pub(super) key: [u8; 32],
    pub(super) issued_at: UnixTime,
    /// When its nonce was made, where nonces are demanded.
    pub(super) nonce: Option<UnixTime>,
    pub(super) accepted_until: UnixTime,
}

impl Facts {
    pub(super) fn of(proof: &Proof) -> Self {
        Self {
            replay_key: proof.replay_key(),
            key: proof.key().0,
            issued_at: proof.issued_at(),
            nonce: proof.nonce(),
            accepted_until: proof.accepted_until(),
        }
    }

    /// The fence: a log that remembers since a moment cannot vouch for a proof that may be older. A nonce tells how old
    /// a proof is at most, because we made it; without nonces there is the client's word, `iat`.
    pub(super) fn check_fence(&self, remembers_since: UnixTime, now: UnixTime) -> Result<(), Refusal> {
        match self.nonce {
            // A moment that is still to come: no nonce of today would help.
            Some(made) if made < remembers_since && now < remembers_since => Err(self.too_old(remembers_since)),
            Some(made) if made < remembers_since => {
                Err(Refusal::new(Reason::ProofNonce).expected("a nonce of a moment that the replay log remembers"))
            }
            None => self.check_date(remembers_since),
            Some(_) => Ok(()),
        }
    }

    /// The fence of a memory that several gateways share: what a nonce says counts by another gateway's clock, which may
    /// be ahead, so the client's word must agree.
    pub(super) fn check_shared_fence(&self, remembers_since: UnixTime, now: UnixTime) -> Result<(), Refusal> {
        self.check_fence(remembers_since, now)?;
        self.check_date(remembers_since)
    }

    fn check_date(&self, remembers_since: UnixTime) -> Result<(), Refusal> {
        if self.issued_at < remembers_since { Err(self.too_old(remembers_since)) } else { Ok(()) }
    }

    fn too_old(&self, remembers_since: UnixTime) -> Refusal {
        Refusal::new(Reason::ProofBeforeStart)
            .expected("an iat after the replay log began to remember")
            .found(format!("{:.0} s before", remembers_since.seconds_since(self.issued_at).ceil()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SINCE: UnixTime = UnixTime::from_secs(1_700_000_000);
    const MOMENT: Duration = Duration::from_millis(1);

    fn facts(issued_at: UnixTime, nonce: Option<UnixTime>) -> Facts {
        Facts { replay_key: ReplayKey([1; 32]), key: [1; 32], issued_at, nonce, accepted_until: SINCE }
    }

    #[test]
    fn the_fence_stands_between_what_is_remembered_and_what_is_not() {
        let (before, after) = (SINCE - MOMENT, SINCE + MOMENT);
        for (issued_at, nonce, now, alone, shared) in [
            (SINCE, None, SINCE, None, None),
            (after, None, SINCE, None, None),
            (before, None, after, Some(Reason::ProofBeforeStart), Some(Reason::ProofBeforeStart)),
            // A nonce of ours says more than the client's word.
            (before, Some(SINCE), after, None, Some(Reason::ProofBeforeStart)),
            (before, Some(after), after, None, Some(Reason::ProofBeforeStart)),
            (after, Some(SINCE), after, None, None),
            (after, Some(SINCE), before, None, None),
            // Another nonce helps, unless the moment is still to come.
            (after, Some(before), after, Some(Reason::ProofNonce), Some(Reason::ProofNonce)),
            (after, Some(before), SINCE, Some(Reason::ProofNonce), Some(Reason::ProofNonce)),
            (after, Some(before), before, Some(Reason::ProofBeforeStart), Some(Reason::ProofBeforeStart)),
        ] {
            let facts = facts(issued_at, nonce);
            let reason = |outcome: Result<(), Refusal>| outcome.err().map(|refusal| refusal.reason());
            let outcomes = (reason(facts.check_fence(SINCE, now)), reason(facts.check_shared_fence(SINCE, now)));
            assert_eq!(outcomes, (alone, shared), "{issued_at:?} {nonce:?} {now:?}");
        }
    }
}
