//! The log that a gateway asks: this process's memory, or that and a store which replicas share.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::facts::Facts;
use super::health::StoreStatus;
use super::settings::ReplaySettings;
use super::shared::SharedLog;
use super::{MemoryLog, MemorySettings};
use crate::clock::Clock;
use crate::refusal::Refusal;
use crate::time::UnixTime;
use crate::verify::{Proof, ProofRules, ReplayKey};

/// Evidence that a proof was entered into the log and had not been spent before. It belongs to that proof
/// alone; only a log makes one, and it cannot be copied.
#[derive(Debug)]
#[must_use = "a proof is spent so that its request may pass"]
pub struct Spent {
    proof: ReplayKey,
}

impl Spent {
    /// For a log that has just entered it.
    pub(super) const fn new(proof: &Facts) -> Self {
        Self { proof: proof.replay_key }
    }

    pub(super) const fn proof(&self) -> ReplayKey {
        self.proof
    }

    /// Whether it was this proof.
    pub fn is_of(&self, proof: &Proof) -> bool {
        self.proof == proof.replay_key()
    }
}

/// The log of one gateway. Shared by reference between threads.
#[derive(Debug)]
pub struct ReplayLog {
    /// Always asked, and first of all: what this process has seen never travels.
    local: MemoryLog,
    shared: Option<Arc<SharedLog>>,
}

impl ReplayLog {
    /// An empty log for proofs that `rules` accept. Connects to nothing before [`Self::run`].
    pub fn new(settings: ReplaySettings, rules: &ProofRules, clock: &Arc<dyn Clock>) -> Self {
        let ReplaySettings { memory, shared } = settings;
        let local = MemoryLog::new(memory, rules, clock.now());
        Self { local, shared: shared.map(|settings| Arc::new(SharedLog::new(settings, Arc::clone(clock)))) }
    }

    /// A log in this process's memory that remembers since `started`.
    pub fn in_memory(settings: MemorySettings, rules: &ProofRules, started: UnixTime) -> Self {
        Self { local: MemoryLog::new(settings, rules, started), shared: None }
    }

    /// Spends a proof, once among all gateways that share the log. It stays spent until it cannot be accepted any more,
    /// whatever becomes of the request. `now` is the moment at which it was verified.
    ///
    /// # Errors
    /// Those of [`MemoryLog::spend`]. With a shared store, [`Reason::ReplayUnavailable`] while it does not answer, or,
    /// if so configured, [`Reason::ProofNonce`] for a proof whose nonce is not quite new.
    ///
    /// [`Reason::ReplayUnavailable`]: crate::refusal::Reason::ReplayUnavailable
    /// [`Reason::ProofNonce`]: crate::refusal::Reason::ProofNonce
    pub async fn spend(&self, proof: &Proof, now: UnixTime) -> Result<Spent, Refusal> {
        let facts = Facts::of(proof);
        self.admit(&facts, now).await?;
        Ok(Spent::new(&facts))
    }

    /// What [`Self::spend`] does, of a proof that nobody verified: for benchmarks. It leaves no [`Spent`], so no request
    /// can pass with it.
    ///
    /// # Errors
    /// Those of [`Self::spend`].
    #[cfg(feature = "simulation")]
    pub async fn simulate(&self, proof: &super::SimulatedProof, now: UnixTime) -> Result<(), Refusal> {
        self.admit(&proof.facts(), now).await
    }

    async fn admit(&self, facts: &Facts, now: UnixTime) -> Result<(), Refusal> {
        match &self.shared {
            None => self.local.admit(facts, now),
            // On the heap, so that a request that needs no store does not carry the room for it.
            Some(shared) => Box::pin(shared.admit(facts, &self.local, now)).await,
        }
    }

    /// Keeps in touch with the store, for as long as it is polled. Connections are made on `runtimes`, one on each; the
    /// thread that is worker *n* uses the *n*th.
    pub async fn run(&self, runtimes: Vec<Handle>) {
        if let Some(shared) = &self.shared {
            shared.run(runtimes).await;
        }
    }

    /// Reaches the shared store, where there is one, with the names, passwords and certificates of these settings; what else
    /// they say is left alone.
    pub fn reach_like(&self, settings: &ReplaySettings) {
        if let (Some(shared), Some(settings)) = (&self.shared, &settings.shared) {
            shared.reach_like(settings);
        }
    }

    /// Drops what cannot be accepted any more. Called about once a second, never on a request's way.
    pub fn expire(&self, now: UnixTime) {
        self.local.expire(now);
    }

    /// How many proofs this process holds: those that can still be accepted, and those not yet dropped.
    pub fn entries(&self) -> usize {
        self.local.entries()
    }

    /// How many proofs it may hold.
    pub const fn capacity(&self) -> usize {
        self.local.capacity()
    }

    /// How old a nonce may be for now, if that is less than its lifetime.
    pub fn nonce_lifetime(&self) -> Option<Duration> {
        self.shared.as_ref().and_then(|shared| shared.nonce_lifetime())
    }

    /// How the shared store does, where there is one.
    pub fn store(&self) -> Option<StoreStatus> {
        self.shared.as_ref().map(|shared| shared.status())
    }
}
