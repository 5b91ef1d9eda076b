//! The log in this process's memory.
//!
//! All proofs of one key lie in one shard, under one lock: asking whether a proof was spent, counting its
//! key's proofs and entering it are one step that nobody else sees half done. A request holds the lock for
//! less than a microsecond, so threads rarely meet on one of the many shards.
//!
//! The one thing that shards share is the number of free places, so that the log as a whole has a capacity.

use std::fmt;
use std::sync::PoisonError;
#[cfg(not(feature = "models"))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

#[cfg(feature = "models")]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::digest::Secret;
use super::facts::Facts;
use super::grid::Grid;
use super::shard::{Entry, Shard};
use super::{MemorySettings, Spent};
use crate::refusal::{Reason, Refusal};
use crate::time::UnixTime;
use crate::verify::{Proof, ProofRules};

/// A power of two. Enough that two threads rarely meet, and that sweeping one takes moments. Models need one beside another.
const SHARDS: usize = if cfg!(feature = "models") { 2 } else { 256 };

/// The log. Shared by reference between threads; no call waits for anything but a lock held for moments.
pub struct MemoryLog {
    settings: MemorySettings,
    /// The longest that a proof can stay, in milliseconds.
    longest: i64,
    started: UnixTime,
    secret: Secret,
    shards: Box<[Padded]>,
    places: Places,
}

/// On cache lines of its own (processors fetch them in pairs), so that shards do not slow each other down.
#[repr(align(128))]
struct Padded(Mutex<Shard>);

/// The places for entries that no shard has taken. Shards take several at once, so that threads do not meet
/// here at every proof.
#[repr(align(128))]
pub(super) struct Places {
    capacity: usize,
    free: AtomicUsize,
    /// How many a shard takes. All shards together never keep more than a 64th of the capacity idle.
    lot: usize,
}

impl Places {
    fn new(capacity: usize) -> Self {
        Self { capacity, free: AtomicUsize::new(capacity), lot: (capacity / SHARDS / 64).clamp(1, 64) }
    }

    /// Takes some, or none if there are none.
    pub(super) fn take(&self) -> usize {
        let rest = |free: usize| Some(free.saturating_sub(self.lot));
        self.free.fetch_update(Relaxed, Relaxed, rest).map_or(0, |free| free.min(self.lot))
    }

    /// Takes some back.
    pub(super) fn give_back(&self, count: usize) {
        self.free.fetch_add(count, Relaxed);
    }

    /// Why there was none.
    pub(super) fn full(&self) -> Refusal {
        Refusal::new(Reason::ReplayFull).expected(format!("at most {} live proofs", self.capacity))
    }
}

impl MemoryLog {
    /// An empty log for proofs that `rules` accept. `started` is the moment from which it remembers: proofs
    /// signed earlier are refused, because a log before this one may have seen them. Proofs verified under
    /// rules with a longer life need a new log with a new `started`.
    pub fn new(settings: MemorySettings, rules: &ProofRules, started: UnixTime) -> Self {
        let epoch = UnixTime::from_millis(0);
        let longest = (epoch + rules.lifetime + rules.clock_skew + rules.clock_skew).millis();
        let (grid, per_key) = (Grid::of_stay(longest), settings.per_key.min(MemorySettings::MOST_PER_KEY));
        Self {
            settings,
            longest,
            started,
            secret: Secret::new(),
            shards: (0..SHARDS).map(|_| Padded(Mutex::new(Shard::new(grid, per_key)))).collect(),
            places: Places::new(settings.capacity),
        }
    }

    /// Spends a proof, once. It stays spent until it cannot be accepted any more, whatever becomes of the
    /// request. `now` is the moment at which it was verified.
    ///
    /// # Errors
    /// [`Reason::ProofBeforeStart`] or, where nonces are demanded, [`Reason::ProofNonce`]; [`Reason::ProofReplayed`], [`Reason::ReplayFull`] and
    /// [`Reason::ReplayKeyQuota`]; [`Reason::ProofStale`] and [`Reason::ProofFuture`] where the clock moved
    /// so that the log cannot vouch for the proof.
    pub fn spend(&self, proof: &Proof, now: UnixTime) -> Result<Spent, Refusal> {
        let facts = Facts::of(proof);
        self.admit(&facts, now)?;
        Ok(Spent::new(&facts))
    }

    /// What [`MemoryLog::spend`] does, of a proof that nobody verified: for benchmarks, which cannot sign ten
    /// million. It leaves no [`Spent`], so no request can pass with it.
    ///
    /// # Errors
    /// Those of [`MemoryLog::spend`].
    #[cfg(feature = "simulation")]
    pub fn simulate(&self, proof: &super::SimulatedProof, now: UnixTime) -> Result<(), Refusal> {
        self.admit(&proof.facts(), now)
    }

    /// Drops what cannot be accepted any more. Called about once a second, never on a request's way.
    pub fn expire(&self, now: UnixTime) {
        for shard in &self.shards {
            let dropped = lock(shard).expire(now, &self.places);
            // Its memory is given back here, where the lock is not held.
            drop(dropped);
        }
    }

    /// How many proofs it may hold.
    pub const fn capacity(&self) -> usize {
        self.places.capacity
    }

    /// How many proofs it holds: those that can still be accepted, and those not yet dropped.
    pub fn entries(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub(super) fn admit(&self, proof: &Facts, now: UnixTime) -> Result<(), Refusal> {
        self.check_time(proof, now)?;
        let (shard, key) = self.secret.key(&proof.key);
        let entry = Entry { proof: self.secret.proof(&proof.replay_key), key, until: proof.accepted_until };
        // There is always one; without one, nothing would pass.
        let shard = self.shards.get(usize::from(shard) % SHARDS).ok_or(Reason::ReplayFull)?;
        lock(shard).admit(&entry, now, &self.places)
    }

    /// The proof must end within the stretch that the log covers at `now`.
    fn check_time(&self, proof: &Facts, now: UnixTime) -> Result<(), Refusal> {
        proof.check_fence(self.started, now)?;
        if proof.accepted_until < now {
            return Err(stale());
        }
        if proof.accepted_until.millis().saturating_sub(now.millis()) > self.longest {
            return Err(Refusal::new(Reason::ProofFuture).expected("an iat that the log can cover"));
        }
        Ok(())
    }
}

/// A shard, and each line of a table, is asked in full before it is changed, so a panic under its lock leaves nothing half done.
fn lock(shard: &Padded) -> MutexGuard<'_, Shard> {
    shard.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").field("settings", &self.settings).finish_non_exhaustive()
    }
}

pub(super) fn stale() -> Refusal {
    Refusal::new(Reason::ProofStale).expected("an iat that the log still covers")
}

#[cfg(test)]
mod tests;

#[cfg(test)]
#[cfg(feature = "models")]
mod models;
