//! How the shared store does: one log line for each change of state, and what metrics and readiness say.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::redis::Failure;

/// How the store does.
#[derive(Debug, Clone)]
pub struct StoreStatus {
    /// Why it does not answer as it should; absent while it does.
    pub trouble: Option<String>,
    /// Requests may be sent here, as far as the store is concerned.
    pub ready: bool,
    /// How often it began not to answer.
    pub outages: u64,
    /// Proofs that it gave no answer to.
    pub errors: u64,
    /// Proofs that were accepted without it.
    pub local: u64,
}

/// The state.
pub(super) struct Health {
    /// What trouble means, in words.
    consequence: &'static str,
    /// A survey found everything in order once.
    reached: AtomicBool,
    failing: AtomicBool,
    /// The last proof got no answer: servers that answer questions about themselves may still take no keys.
    claim_failed: AtomicBool,
    trouble: Mutex<String>,
    outages: AtomicU64,
    errors: AtomicU64,
    local: AtomicU64,
    /// The proofs accepted alone up to the last change.
    local_told: AtomicU64,
}

impl Health {
    pub(super) fn new(consequence: &'static str) -> Self {
        Self {
            consequence,
            reached: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            claim_failed: AtomicBool::new(false),
            trouble: Mutex::new(Failure::Pending.to_string()),
            outages: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            local: AtomicU64::new(0),
            local_told: AtomicU64::new(0),
        }
    }

    /// A proof got no answer.
    pub(super) fn claim_failed(&self, failure: &Failure) {
        self.errors.fetch_add(1, Relaxed);
        self.claim_failed.store(true, Relaxed);
        // Before the first survey there is nothing to compare with; it knows better what is wrong.
        if self.reached.load(Relaxed) {
            self.troubled(failure);
        }
    }

    /// A proof got its answer.
    pub(super) fn claim_answered(&self) {
        if self.claim_failed.load(Relaxed) {
            self.claim_failed.store(false, Relaxed);
        }
    }

    /// A proof was accepted without the store.
    pub(super) fn accepted_alone(&self) {
        self.local.fetch_add(1, Relaxed);
    }

    /// A survey found something wrong; however many find it, there is one line, and it counts once.
    pub(super) fn troubled(&self, failure: &Failure) {
        let why = failure.to_string();
        if !self.failing.swap(true, Relaxed) {
            self.outages.fetch_add(1, Relaxed);
            tracing::warn!(%why, consequence = self.consequence, "the replay store does not answer");
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// A survey found everything in order.
    pub(super) fn in_order(&self) {
        let first = !self.reached.swap(true, Relaxed);
        if self.failing.swap(false, Relaxed) || first {
            let local = self.local.load(Relaxed);
            let accepted_alone = local - self.local_told.swap(local, Relaxed);
            tracing::info!(accepted_alone, "the replay store answers");
        }
    }

    /// Whether somebody should see if it takes keys.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.claim_failed.load(Relaxed) || !self.reached.load(Relaxed)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Relaxed) || !self.reached.load(Relaxed)
    }

    pub(super) fn was_reached(&self) -> bool {
        self.reached.load(Relaxed)
    }

    pub(super) fn status(&self, ready: bool) -> StoreStatus {
        let trouble = || self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        StoreStatus {
            trouble: self.is_failing().then(trouble),
            ready,
            outages: self.outages.load(Relaxed),
            errors: self.errors.load(Relaxed),
            local: self.local.load(Relaxed),
        }
    }
}
