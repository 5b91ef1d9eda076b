//! The log of all replicas: this process's memory first, then the store, and what an outage of the store means.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;

use super::MemoryLog;
use super::facts::Facts;
use super::health::{Health, StoreStatus};
use super::redis::{Claim, Entry, Failure, RedisSettings, Store};
use crate::clock::Clock;
use crate::refusal::{Reason, Refusal};
use crate::time::UnixTime;

/// The most proofs that are kept to be entered later: 40 MB. What was accepted alone beyond is never entered.
const MOST_ALONE: usize = 1_000_000;

/// How many of them are entered at once, and how often before the next survey.
const AT_ONCE: usize = 512;
const ROUNDS: usize = 32;

/// What becomes of requests while the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// They are refused: 503.
    Deny,
    /// This process's memory decides alone: each proof passes once at each replica.
    Local,
    /// The same, for proofs whose nonce is at most [`OnFailure::NONCE`] old: what was stolen is soon worth nothing.
    Nonce,
}

impl OnFailure {
    /// How old a nonce may be while the store does not answer.
    pub const NONCE: Duration = Duration::from_secs(10);

    /// In words, for logs.
    const fn consequence(self) -> &'static str {
        match self {
            Self::Deny => "requests with a proof are refused",
            Self::Local => "each replica remembers alone: a proof may pass once at each",
            Self::Nonce => "each replica remembers alone, and accepts only proofs with a new nonce",
        }
    }

    /// Whether this process may decide alone.
    fn permit(self, proof: &Facts, now: UnixTime) -> Result<(), Refusal> {
        match (self, proof.nonce) {
            (Self::Local, _) => Ok(()),
            (Self::Nonce, Some(made)) if now <= made + Self::NONCE => Ok(()),
            (Self::Nonce, Some(_)) => Err(Refusal::new(Reason::ProofNonce)
                .expected(format!("a nonce of the last {} s, while the replay store is away", Self::NONCE.as_secs()))),
            (Self::Deny | Self::Nonce, _) => Err(Refusal::new(Reason::ReplayUnavailable)),
        }
    }
}

/// The log.
pub(super) struct SharedLog {
    store: Store,
    on_failure: OnFailure,
    health: Health,
    clock: Arc<dyn Clock>,
    /// From when on good proofs of now pass: since then the first masters that were met can be vouched for.
    ready_after: AtomicI64,
    /// With [`OnFailure::Nonce`]: when the store last gave no answer, in milliseconds. Others may have decided alone until
    /// then, so nothing older is vouched for once it answers.
    alone_until: AtomicI64,
    /// What was accepted without the store and is not entered yet.
    alone: Mutex<VecDeque<Entry>>,
}

impl SharedLog {
    pub(super) fn new(settings: RedisSettings, clock: Arc<dyn Clock>) -> Self {
        let on_failure = settings.on_failure;
        Self {
            store: Store::new(settings, Arc::clone(&clock)),
            on_failure,
            health: Health::new(on_failure.consequence()),
            clock,
            ready_after: AtomicI64::new(i64::MAX),
            alone_until: AtomicI64::new(i64::MIN),
            alone: Mutex::default(),
        }
    }

    /// Enters a proof into both memories, once.
    pub(super) async fn admit(&self, proof: &Facts, local: &MemoryLog, now: UnixTime) -> Result<(), Refusal> {
        // Nothing is spent while the answer would be no in any case.
        let slip = match self.store.slip(proof) {
            Ok(slip) => slip,
            Err(failure) => {
                self.failed(&failure);
                self.on_failure.permit(proof, now)?;
                local.admit(proof, now)?;
                self.accepted_alone(proof);
                return Ok(());
            }
        };
        if let Err(refusal) = proof.check_shared_fence(slip.since(), now) {
            // It answers, and may not know this proof: as good as away, except that it is told.
            if self.on_failure == OnFailure::Deny {
                return Err(refusal);
            }
            self.on_failure.permit(proof, now)?;
        }
        if !self.health.is_failing() {
            proof.check_fence(UnixTime::from_millis(self.alone_until.load(Relaxed)), now)?;
        }
        // What was seen here never travels.
        local.admit(proof, now)?;
        match self.store.claim(proof, &slip).await {
            Ok(claim) => {
                self.health.claim_answered();
                self.heed(claim, proof)
            }
            Err(failure) => {
                self.failed(&failure);
                self.on_failure.permit(proof, now)?;
                self.accepted_alone(proof);
                Ok(())
            }
        }
    }

    fn heed(&self, claim: Claim, proof: &Facts) -> Result<(), Refusal> {
        match claim {
            // The answer took so long that the key of another claim may be over already.
            Claim::First if self.clock.now() > proof.accepted_until => Err(super::memory::stale()),
            Claim::First => Ok(()),
            Claim::Spent => Err(Refusal::new(Reason::ProofReplayed).found("spent at another replica")),
            Claim::Fenced(refusal) => Err(refusal),
        }
    }

    /// Reaches the store with the names, passwords and certificates of these settings.
    pub(super) fn reach_like(&self, settings: &RedisSettings) {
        self.store.reach_like(settings);
    }

    /// Keeps in touch with the store, for as long as it is polled.
    pub(super) async fn run(&self, runtimes: Vec<Handle>) {
        let (mut survey, mut in_doubt) = (self.store.survey(runtimes), false);
        loop {
            let outcome = self.store.look(&mut survey, in_doubt).await;
            let went_wrong = outcome.is_err();
            self.surveyed(outcome).await;
            in_doubt = self.store.rest(went_wrong).await;
        }
    }

    /// How old a nonce may be for now, if that is less than its lifetime.
    pub(super) fn nonce_lifetime(&self) -> Option<Duration> {
        (self.on_failure == OnFailure::Nonce && self.health.is_failing()).then_some(OnFailure::NONCE)
    }

    pub(super) fn status(&self) -> StoreStatus {
        let now = self.clock.now();
        // A client's iat has whole seconds.
        let vouches = now.secs() > UnixTime::from_millis(self.ready_after.load(Relaxed)).secs();
        self.health.status(vouches || self.on_failure == OnFailure::Local)
    }

    /// A proof got no answer.
    fn failed(&self, failure: &Failure) {
        self.health.claim_failed(failure);
        self.others_may_be_alone();
        self.store.doubt();
    }

    fn others_may_be_alone(&self) {
        if self.on_failure == OnFailure::Nonce {
            self.alone_until.fetch_max(self.clock.now().millis(), Relaxed);
        }
    }

    async fn surveyed(&self, outcome: Result<(), Failure>) {
        if let Err(failure) = outcome {
            self.others_may_be_alone();
            return self.health.troubled(&failure);
        }
        if self.health.is_in_doubt() {
            match self.store.probe().await {
                Ok(()) => self.health.claim_answered(),
                Err(failure) => {
                    self.others_may_be_alone();
                    return self.health.troubled(&failure);
                }
            }
        }
        if !self.health.was_reached() {
            self.ready_after.store(self.store.latest().millis(), Relaxed);
        }
        if self.enter_what_was_accepted_alone().await {
            self.health.in_order();
        } else {
            self.store.doubt();
        }
    }

    fn accepted_alone(&self, proof: &Facts) {
        self.health.accepted_alone();
        let mut alone = self.alone();
        if alone.len() < MOST_ALONE {
            alone.push_back(Entry { replay_key: proof.replay_key, until: proof.accepted_until });
        }
    }

    fn alone(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters what was accepted without the store, so that no copy of it passes elsewhere from now on. False: there is
    /// more, or the store went away again.
    async fn enter_what_was_accepted_alone(&self) -> bool {
        for _ in 0..ROUNDS {
            let some: Vec<Entry> = {
                let mut alone = self.alone();
                let count = alone.len().min(AT_ONCE);
                alone.drain(..count).collect()
            };
            if some.is_empty() {
                return true;
            }
            let now = self.clock.now();
            let entering = some.iter().filter(|entry| entry.until >= now).map(|entry| self.store.enter_late(entry));
            if join_all(entering).await.contains(&false) {
                // Entered twice is entered once.
                let mut alone = self.alone();
                some.into_iter().rev().for_each(|entry| alone.push_front(entry));
                return false;
            }
        }
        false
    }
}

impl fmt::Debug for SharedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLog").field("settings", self.store.settings()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::replay::Address;
    use crate::verify::ReplayKey;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn proof(nonce: Option<UnixTime>, accepted_until: UnixTime) -> Facts {
        Facts { replay_key: ReplayKey([1; 32]), key: [2; 32], issued_at: NOW, nonce, accepted_until }
    }

    #[track_caller]
    fn is(outcome: Result<(), Refusal>, reason: Option<Reason>) {
        assert_eq!(outcome.err().map(|refusal| refusal.reason()), reason);
    }

    /// The key of a copy that passed elsewhere may have ended while this one waited.
    #[test]
    fn an_answer_that_comes_too_late_is_none() {
        let address = Address { host: "127.0.0.1".to_owned(), port: 1 };
        let log = SharedLog::new(RedisSettings::single(address), Arc::new(ManualClock::at(NOW)));
        is(log.heed(Claim::First, &proof(None, NOW)), None);
        is(log.heed(Claim::First, &proof(None, NOW - Duration::from_millis(1))), Some(Reason::ProofStale));
        is(log.heed(Claim::Spent, &proof(None, NOW)), Some(Reason::ProofReplayed));
    }

    #[test]
    fn an_outage_is_what_was_configured() {
        let (young, old) = (NOW - OnFailure::NONCE, NOW - OnFailure::NONCE - Duration::from_millis(1));
        for (policy, nonce, refused) in [
            (OnFailure::Deny, None, Some(Reason::ReplayUnavailable)),
            (OnFailure::Deny, Some(young), Some(Reason::ReplayUnavailable)),
            (OnFailure::Local, None, None),
            (OnFailure::Nonce, Some(young), None),
            (OnFailure::Nonce, Some(old), Some(Reason::ProofNonce)),
            (OnFailure::Nonce, None, Some(Reason::ReplayUnavailable)),
        ] {
            is(policy.permit(&proof(nonce, NOW), NOW), refused);
        }
    }
}
