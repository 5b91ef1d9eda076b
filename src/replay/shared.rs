//! The log of all replicas: this process's memory first, then the store, and what an outage of the store means.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::MemoryLog;
use super::facts::Facts;
use super::redis::{Claim, Failure, RedisSettings, Store};
use crate::clock::Clock;
use crate::refusal::{Reason, Refusal};
use crate::time::UnixTime;

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

/// How the store does.
#[derive(Debug, Clone)]
pub struct StoreStatus {
    /// Why it does not answer as it should; absent while it does.
    pub trouble: Option<String>,
    /// It was reached once, or need not be.
    pub ready: bool,
    /// Proofs that it gave no answer to.
    pub errors: u64,
    /// Proofs that were accepted without it.
    pub local: u64,
    /// While this process decides alone, how old a nonce may be.
    pub nonce_lifetime: Option<Duration>,
}

/// The log.
pub(super) struct SharedLog {
    store: Store,
    on_failure: OnFailure,
    /// It was reached once.
    reached: AtomicBool,
    failing: AtomicBool,
    /// Why, in words.
    trouble: Mutex<Option<String>>,
    errors: AtomicU64,
    local: AtomicU64,
    /// When others may have decided alone for the last time, in milliseconds: with nonces nothing older is vouched for.
    alone_until: AtomicI64,
    clock: Arc<dyn Clock>,
    /// The errors up to the last survey, and the proofs accepted alone up to the last change.
    errors_surveyed: AtomicU64,
    local_told: AtomicU64,
}

impl SharedLog {
    pub(super) fn new(settings: RedisSettings, clock: Arc<dyn Clock>) -> Self {
        let on_failure = settings.on_failure;
        Self {
            store: Store::new(settings, Arc::clone(&clock)),
            on_failure,
            reached: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            trouble: Mutex::new(Some(Failure::Pending.to_string())),
            errors: AtomicU64::new(0),
            local: AtomicU64::new(0),
            alone_until: AtomicI64::new(i64::MIN),
            clock,
            errors_surveyed: AtomicU64::new(0),
            local_told: AtomicU64::new(0),
        }
    }

    /// Enters a proof into both memories, once.
    pub(super) async fn admit(&self, proof: &Facts, local: &MemoryLog, now: UnixTime) -> Result<(), Refusal> {
        // Nothing is spent while the answer would be no in any case.
        let slip = match self.store.slip(proof) {
            Ok(slip) => {
                proof.check_fence(slip.since().max(UnixTime::from_millis(self.alone_until.load(Relaxed))))?;
                slip
            }
            Err(failure) => {
                self.failed(&failure);
                self.on_failure.permit(proof, now)?;
                local.admit(proof, now)?;
                self.local.fetch_add(1, Relaxed);
                return Ok(());
            }
        };
        // What was seen here never travels.
        local.admit(proof, now)?;
        match self.store.claim(proof, &slip).await {
            Ok(Claim::First) => Ok(()),
            Ok(Claim::Spent) => Err(Refusal::new(Reason::ProofReplayed).found("spent at another replica")),
            Err(failure) => {
                self.failed(&failure);
                self.on_failure.permit(proof, now)?;
                self.local.fetch_add(1, Relaxed);
                Ok(())
            }
        }
    }

    /// Keeps in touch with the store, for as long as it is polled.
    pub(super) async fn run(&self, runtimes: Vec<Handle>) {
        self.store.run(runtimes, |outcome| self.surveyed(outcome)).await;
    }

    pub(super) fn status(&self) -> StoreStatus {
        let failing = self.failing.load(Relaxed) || !self.reached.load(Relaxed);
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        StoreStatus {
            trouble: trouble.clone().filter(|_| failing),
            ready: self.reached.load(Relaxed) || self.on_failure == OnFailure::Local,
            errors: self.errors.load(Relaxed),
            local: self.local.load(Relaxed),
            nonce_lifetime: (failing && self.on_failure == OnFailure::Nonce).then_some(OnFailure::NONCE),
        }
    }

    /// A proof got no answer.
    fn failed(&self, failure: &Failure) {
        self.errors.fetch_add(1, Relaxed);
        self.troubled(failure);
        self.store.doubt();
    }

    /// One line for each change of state, however many requests meet it.
    fn troubled(&self, failure: &Failure) {
        if self.failing.swap(true, Relaxed) {
            return;
        }
        let why = failure.to_string();
        tracing::warn!(%why, consequence = self.on_failure.consequence(), "the replay store does not answer");
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    fn surveyed(&self, outcome: Result<(), Failure>) {
        let errors = self.errors.load(Relaxed);
        let since_last = errors - self.errors_surveyed.swap(errors, Relaxed);
        match outcome {
            Err(failure) => self.troubled(&failure),
            // Servers that answer questions about themselves may still take no keys.
            Ok(()) if since_last > 0 => {}
            Ok(()) => {
                if self.on_failure == OnFailure::Nonce && self.failing.load(Relaxed) {
                    self.alone_until.store(self.clock.now().millis(), Relaxed);
                }
                let first = !self.reached.swap(true, Relaxed);
                if self.failing.swap(false, Relaxed) || first {
                    let local = self.local.load(Relaxed);
                    let accepted_alone = local - self.local_told.swap(local, Relaxed);
                    tracing::info!(accepted_alone, "the replay store answers");
                }
            }
        }
    }
}

impl fmt::Debug for SharedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLog").field("settings", self.store.settings()).finish_non_exhaustive()
    }
}
