//! The log in this process's memory.
//!
//! Proofs lie in buckets by the moment at which their acceptance ends, and a bucket whose time is over is
//! dropped whole, in the background. The same key and `jti` signed again with another `iat` may belong to
//! another bucket, so a proof is first entered into its own and then looked for in all others. Of two such
//! copies at once, whichever looks later finds the other; both may be refused, both cannot pass.
//!
//! What was dropped leaves one number behind: the latest end of acceptance among it. A clock that is set
//! back cannot revive a proof from before that moment.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::MemorySettings;
use super::bucket::{Bucket, Entered, Grid};
use super::digest::{Digest, Secret};
use crate::refusal::{Reason, Refusal};
use crate::time::UnixTime;
use crate::verify::{Proof, ProofRules, ReplayKey};

/// Into how many buckets the longest stay of a proof is cut. More would drop sooner but look longer.
const CUTS: i64 = 4;

/// A steady clock needs [`CUTS`] and two; the rest is for clocks that jump back and forth.
const MAX_BUCKETS: usize = 64;

/// Evidence that a proof was entered into the log and had not been spent before. It belongs to that proof
/// alone; only [`MemoryLog::spend`] makes one, and it cannot be copied.
#[derive(Debug)]
#[must_use = "a proof is spent so that its request may pass"]
pub struct Spent {
    proof: ReplayKey,
}

impl Spent {
    /// Whether it was this proof.
    pub fn is_of(&self, proof: &Proof) -> bool {
        self.proof == proof.replay_key()
    }
}

/// The log. Shared by reference between threads; no call waits for anything but a lock held for moments.
pub struct MemoryLog {
    settings: MemorySettings,
    /// The longest that a proof can stay, in milliseconds.
    longest: i64,
    grid: Grid,
    started: UnixTime,
    secret: Secret,
    buckets: ArcSwap<Vec<Arc<Bucket>>>,
    /// Of what was dropped, the latest end of acceptance in milliseconds.
    forgotten: AtomicI64,
    /// Held by whoever changes `buckets`. Holds what was taken out last.
    upkeep: Mutex<Vec<Arc<Bucket>>>,
}

impl MemoryLog {
    /// An empty log for proofs that `rules` accept. `started` is the moment from which it remembers: proofs
    /// signed earlier are refused, because a log before this one may have seen them. Proofs verified under
    /// rules with a longer life need a new log with a new `started`.
    pub fn new(settings: MemorySettings, rules: &ProofRules, started: UnixTime) -> Self {
        let epoch = UnixTime::from_millis(0);
        let longest = (epoch + rules.lifetime + rules.clock_skew + rules.clock_skew).millis();
        Self {
            settings,
            longest,
            grid: Grid::of_width(longest / CUTS),
            started,
            secret: Secret::new(),
            buckets: ArcSwap::from_pointee(Vec::new()),
            forgotten: AtomicI64::new(i64::MIN),
            upkeep: Mutex::new(Vec::new()),
        }
    }

    /// Spends a proof, once. It stays spent until it cannot be accepted any more, whatever becomes of the
    /// request. `now` is the moment at which it was verified.
    ///
    /// # Errors
    /// [`Reason::ProofBeforeStart`], [`Reason::ProofReplayed`], [`Reason::ReplayFull`] and
    /// [`Reason::ReplayKeyQuota`]; [`Reason::ProofStale`] and [`Reason::ProofFuture`] where the clock moved
    /// so that the log cannot vouch for the proof.
    pub fn spend(&self, proof: &Proof, now: UnixTime) -> Result<Spent, Refusal> {
        self.admit(&Facts::of(proof), now)?;
        Ok(Spent { proof: proof.replay_key() })
    }

    /// Drops what cannot be accepted any more. Called about once a second, never on a request's way.
    pub fn expire(&self, now: UnixTime) {
        let mut dropped = self.lock();
        let buckets = self.buckets.load_full();
        let (over, kept): (Vec<_>, Vec<_>) = buckets.iter().cloned().partition(|bucket| bucket.is_over(now));
        if let Some(latest) = over.iter().map(|bucket| bucket.forget()).max() {
            // Before the list: whoever no longer finds the bucket must find this.
            self.forgotten.fetch_max(latest, SeqCst);
            self.buckets.store(Arc::new(kept));
        }
        // What is taken out now is freed at the next call, when no request can be the last to hold it.
        let freed = std::mem::replace(&mut *dropped, over);
        drop(dropped);
        drop(freed);
    }

    /// How many proofs it holds: those that can still be accepted, and those not yet dropped.
    pub fn entries(&self) -> usize {
        self.buckets.load().iter().map(|bucket| bucket.len()).sum()
    }

    fn admit(&self, proof: &Facts, now: UnixTime) -> Result<(), Refusal> {
        self.check_time(proof, now)?;
        let entry = self.secret.digest(&proof.replay_key.0);
        let bucket = self.bucket(proof.accepted_until)?;
        bucket.reserve();
        let outcome = if self.entries() > self.settings.capacity {
            Err(self.full(entry, now))
        } else {
            self.enter(&bucket, entry, proof, now)
        };
        if outcome.is_err() {
            bucket.release();
        }
        outcome
    }

    /// The proof must end within the stretch that the log covers at `now`.
    fn check_time(&self, proof: &Facts, now: UnixTime) -> Result<(), Refusal> {
        if proof.issued_at < self.started {
            return Err(Refusal::new(Reason::ProofBeforeStart)
                .expected("an iat after the gateway's start")
                .found(format!("{:.0} s before", self.started.seconds_since(proof.issued_at).ceil())));
        }
        if proof.accepted_until < now || self.is_forgotten(proof) {
            return Err(stale());
        }
        if proof.accepted_until.millis().saturating_sub(now.millis()) > self.longest {
            return Err(Refusal::new(Reason::ProofFuture).expected("an iat that the log can cover"));
        }
        Ok(())
    }

    fn is_forgotten(&self, proof: &Facts) -> bool {
        proof.accepted_until.millis() <= self.forgotten.load(SeqCst)
    }

    fn enter(&self, own: &Bucket, entry: Digest, proof: &Facts, now: UnixTime) -> Result<(), Refusal> {
        let replaced = match own.enter(entry, proof.accepted_until, now) {
            Entered::New => None,
            Entered::Renewed(replaced) => Some(replaced),
            Entered::AlreadySpent => return Err(Reason::ProofReplayed.into()),
        };
        let key = self.secret.digest(&proof.key);
        let held = own.count(key);
        let outcome = self.confirm(own, entry, key, held, now).and_then(|()| self.still_covers(own, proof));
        if outcome.is_err() {
            own.discount(key);
            own.leave(entry, proof.accepted_until, replaced);
        }
        outcome
    }

    /// Asks the other buckets about an entry that was just made in `own`, where its key now holds `held`.
    fn confirm(&self, own: &Bucket, entry: Digest, key: Digest, held: u32, now: UnixTime) -> Result<(), Refusal> {
        // Loaded after the entry was made and counted: whoever opens a bucket that is not in this list will
        // find both.
        let buckets = self.buckets.load();
        let others = || buckets.iter().filter(|bucket| bucket.number() != own.number());
        if others().any(|bucket| bucket.holds(entry, now)) {
            return Err(Reason::ProofReplayed.into());
        }
        let limit = self.settings.per_key;
        let add = |sum: u32, more: u32| sum.saturating_add(more);
        // The bound saves looking the key up in every bucket as long as no key comes near its limit.
        if others().map(|bucket| bucket.held_at_most()).fold(held, add) > limit
            && others().map(|bucket| bucket.held_by(key)).fold(held, add) > limit
        {
            return Err(Refusal::new(Reason::ReplayKeyQuota).expected(format!("at most {limit} live proofs of a key")));
        }
        Ok(())
    }

    /// Asked last: an entry in a bucket that was dropped meanwhile is remembered by nobody.
    fn still_covers(&self, own: &Bucket, proof: &Facts) -> Result<(), Refusal> {
        if own.is_forgotten() || self.is_forgotten(proof) { Err(stale()) } else { Ok(()) }
    }

    /// A copy is a copy even when there is no room for it.
    fn full(&self, entry: Digest, now: UnixTime) -> Refusal {
        if self.buckets.load().iter().any(|bucket| bucket.holds(entry, now)) {
            return Reason::ProofReplayed.into();
        }
        Refusal::new(Reason::ReplayFull).expected(format!("at most {} live proofs", self.settings.capacity))
    }

    fn bucket(&self, until: UnixTime) -> Result<Arc<Bucket>, Refusal> {
        let number = self.grid.number(until);
        let find = |buckets: &[Arc<Bucket>]| buckets.iter().find(|bucket| bucket.number() == number).cloned();
        if let Some(bucket) = find(&self.buckets.load()) {
            return Ok(bucket);
        }
        let _held = self.lock();
        let mut buckets = Vec::clone(&self.buckets.load());
        if let Some(bucket) = find(&buckets) {
            return Ok(bucket);
        }
        if buckets.len() >= MAX_BUCKETS {
            return Err(Refusal::new(Reason::ReplayFull).expected("a steadier clock"));
        }
        let bucket = Arc::new(Bucket::new(number, self.grid));
        buckets.push(Arc::clone(&bucket));
        self.buckets.store(Arc::new(buckets));
        Ok(bucket)
    }

    /// Nothing between lock and unlock can leave the list half changed, so a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Bucket>>> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What the log needs to know of a proof.
struct Facts {
    replay_key: ReplayKey,
    key: [u8; 32],
    issued_at: UnixTime,
    accepted_until: UnixTime,
}

impl Facts {
    fn of(proof: &Proof) -> Self {
        Self {
            replay_key: proof.replay_key(),
            key: proof.key().0,
            issued_at: proof.issued_at(),
            accepted_until: proof.accepted_until(),
        }
    }
}

fn stale() -> Refusal {
    Refusal::new(Reason::ProofStale).expected("an iat that the log still covers")
}

#[cfg(test)]
mod tests;
