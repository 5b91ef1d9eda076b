//! The proofs whose acceptance ends within one stretch of time. It is forgotten whole.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering::SeqCst};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::digest::{BuildDigestHasher, Digest};
use crate::time::UnixTime;

/// Enough that two threads rarely meet on one lock; each costs an empty bucket 128 bytes.
const SHARDS: usize = 64;

/// How finely a bucket tells apart when its proofs end: as many steps as a byte has values.
const STEPS: i64 = 256;

/// How the time line is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// Milliseconds, at least 4.
    step: i64,
}

impl Grid {
    /// Buckets of at least `width` milliseconds.
    pub(super) fn of_width(width: i64) -> Self {
        Self { step: (width / STEPS).saturating_add(1).max(4) }
    }

    /// Length of a bucket in milliseconds.
    const fn width(self) -> i64 {
        self.step.saturating_mul(STEPS)
    }

    /// The number of the bucket that `moment` lies in.
    pub(super) const fn number(self, moment: UnixTime) -> i64 {
        moment.millis().div_euclid(self.width())
    }
}

/// What entering a proof came to.
pub(super) enum Entered {
    /// It was not there.
    New,
    /// A proof of the same key and `jti` was there, and could not be accepted any more.
    Renewed(Replaced),
    /// It is there and could still be accepted: spent.
    AlreadySpent,
}

/// The entry that a new one took the place of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replaced(u8);

/// One bucket.
pub(super) struct Bucket {
    number: i64,
    grid: Grid,
    /// Value: the step in which the proof's acceptance ends.
    proofs: DashMap<Digest, u8, BuildDigestHasher>,
    /// How many of `proofs` each key holds.
    keys: DashMap<Digest, u32, BuildDigestHasher>,
    /// No key ever held more here.
    busiest: AtomicU32,
    /// Of `proofs`, and of places reserved for them.
    len: AtomicUsize,
    /// The latest end of acceptance that was entered, in milliseconds.
    latest: AtomicI64,
    forgotten: AtomicBool,
}

impl Bucket {
    pub(super) fn new(number: i64, grid: Grid) -> Self {
        Self {
            number,
            grid,
            proofs: DashMap::with_hasher_and_shard_amount(BuildDigestHasher::default(), SHARDS),
            keys: DashMap::with_hasher_and_shard_amount(BuildDigestHasher::default(), SHARDS),
            busiest: AtomicU32::new(0),
            len: AtomicUsize::new(0),
            latest: AtomicI64::new(i64::MIN),
            forgotten: AtomicBool::new(false),
        }
    }

    /// Its place on the grid.
    pub(super) const fn number(&self) -> i64 {
        self.number
    }

    /// Whether none of its proofs can be accepted at `now`.
    pub(super) const fn is_over(&self, now: UnixTime) -> bool {
        self.number.saturating_add(1).saturating_mul(self.grid.width()) <= now.millis()
    }

    /// Entries and reserved places.
    pub(super) fn len(&self) -> usize {
        self.len.load(SeqCst)
    }

    /// Takes a place for one more entry.
    pub(super) fn reserve(&self) {
        self.len.fetch_add(1, SeqCst);
    }

    /// Gives a place back.
    pub(super) fn release(&self) {
        self.len.fetch_sub(1, SeqCst);
    }

    /// Whether the proof is here and could still be accepted.
    pub(super) fn holds(&self, proof: Digest, now: UnixTime) -> bool {
        self.proofs.get(&proof).is_some_and(|end| self.is_live(*end, now))
    }

    /// The test-and-set.
    pub(super) fn enter(&self, proof: Digest, until: UnixTime, now: UnixTime) -> Entered {
        // Before the entry: whoever forgets the bucket with the entry in it must know of its end.
        if self.latest.load(SeqCst) < until.millis() {
            self.latest.fetch_max(until.millis(), SeqCst);
        }
        let end = self.end_step(until);
        match self.proofs.entry(proof) {
            Entry::Vacant(place) => {
                place.insert(end);
                Entered::New
            }
            Entry::Occupied(entry) if self.is_live(*entry.get(), now) => Entered::AlreadySpent,
            Entry::Occupied(mut entry) => {
                let before = entry.insert(end);
                Entered::Renewed(Replaced(before))
            }
        }
    }

    /// Undoes [`Bucket::enter`]; only for the caller who entered it.
    pub(super) fn leave(&self, proof: Digest, until: UnixTime, replaced: Option<Replaced>) {
        let Entry::Occupied(mut entry) = self.proofs.entry(proof) else { return };
        // Another end is another caller's entry, made since because ours was over.
        if *entry.get() != self.end_step(until) {
            return;
        }
        match replaced {
            // The older proof stays known: the clock may be set back to a time in which it is accepted.
            Some(Replaced(end)) => {
                entry.insert(end);
            }
            None => {
                entry.remove();
            }
        }
    }

    /// Counts one more proof of `key` and tells how many there are now.
    pub(super) fn count(&self, key: Digest) -> u32 {
        let count = {
            let mut count = self.keys.entry(key).or_insert(0);
            *count = count.saturating_add(1);
            *count
        };
        if self.busiest.load(SeqCst) < count {
            self.busiest.fetch_max(count, SeqCst);
        }
        count
    }

    /// Undoes [`Bucket::count`].
    pub(super) fn discount(&self, key: Digest) {
        if let Entry::Occupied(mut entry) = self.keys.entry(key) {
            if *entry.get() <= 1 {
                entry.remove();
            } else {
                *entry.get_mut() -= 1;
            }
        }
    }

    /// How many proofs of `key` are here.
    pub(super) fn held_by(&self, key: Digest) -> u32 {
        self.keys.get(&key).map_or(0, |count| *count)
    }

    /// At least as many as any key holds here.
    pub(super) fn held_at_most(&self) -> u32 {
        self.busiest.load(SeqCst)
    }

    /// Marks it as forgotten and tells the latest end of acceptance that it knew. An entry made at the same
    /// time is either covered by the answer, or its maker finds [`Bucket::is_forgotten`] afterwards.
    pub(super) fn forget(&self) -> i64 {
        self.forgotten.store(true, SeqCst);
        self.latest.load(SeqCst)
    }

    /// Whether an entry made here counts for nothing.
    pub(super) fn is_forgotten(&self) -> bool {
        self.forgotten.load(SeqCst)
    }

    const fn start(&self) -> i64 {
        self.number.saturating_mul(self.grid.width())
    }

    fn end_step(&self, until: UnixTime) -> u8 {
        let step = until.millis().saturating_sub(self.start()) / self.grid.step;
        u8::try_from(step).unwrap_or(u8::MAX)
    }

    /// Rounded up to the end of the step: never shorter than the proof's own acceptance.
    fn is_live(&self, end_step: u8, now: UnixTime) -> bool {
        now.millis() < self.start().saturating_add((i64::from(end_step) + 1).saturating_mul(self.grid.step))
    }
}
