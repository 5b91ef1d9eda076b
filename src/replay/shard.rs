//! The proofs of some keys, and all proofs of each of them. Its owner holds a lock around every call.
//!
//! The same key and `jti` signed again with another `iat` is a copy too, so a proof is looked for wherever one
//! may lie. As a rule that is one table: a bucket is so long that all live proofs end in it or in the next.
//! What is over is forgotten in the background.
//!
//! What was forgotten leaves one number behind: the latest end of acceptance among it. A clock that is set
//! back cannot revive a proof from before that moment.

use smallvec::SmallVec;

use super::bucket::{Bucket, Forgotten, Known};
use super::digest::{KeyDigest, ProofDigest};
use super::grid::Grid;
use super::memory::{Places, stale};
use super::tally::Tally;
use crate::refusal::{Reason, Refusal};
use crate::time::UnixTime;

/// A steady clock needs a handful; the rest is for clocks that jump back and forth.
pub(super) const MAX_TALLIES: usize = 64;

/// What enters.
pub(super) struct Entry {
    pub(super) proof: ProofDigest,
    /// The key that signed it.
    pub(super) key: KeyDigest,
    /// The last moment at which it could be accepted.
    pub(super) until: UnixTime,
}

/// One shard.
pub(super) struct Shard {
    grid: Grid,
    /// The most proofs that a key may hold.
    per_key: u32,
    /// As a rule one, for which nobody reads another place in memory.
    buckets: SmallVec<[Bucket; 1]>,
    tallies: Vec<Tally>,
    /// Of what was forgotten, the latest end of acceptance in milliseconds.
    forgotten: i64,
    /// Places that it took and nobody has filled yet.
    spare: usize,
    /// When all buckets last forgot what was over, in milliseconds.
    swept: i64,
}

/// What a shard dropped. Its memory is given back when this is.
pub(super) struct Dropped {
    _proofs: Vec<Forgotten>,
    _tallies: Vec<Tally>,
}

impl Shard {
    pub(super) const fn new(grid: Grid, per_key: u32) -> Self {
        Self {
            grid,
            per_key,
            buckets: SmallVec::new_const(),
            tallies: Vec::new(),
            forgotten: i64::MIN,
            spare: 0,
            swept: i64::MIN,
        }
    }

    /// Enters a proof that is not here, if its key's quota and `places` allow one more. What is refused
    /// leaves nothing behind: everything is asked before anything is changed.
    pub(super) fn admit(&mut self, entry: &Entry, now: UnixTime, places: &Places) -> Result<(), Refusal> {
        if entry.until.millis() <= self.forgotten {
            return Err(stale());
        }
        let step = self.grid.step(entry.until);
        let tally = Grid::tally(step);
        self.approach(entry, tally);
        // First: a copy is a copy even when there is no room for it.
        let known = self.buckets.iter().map(|bucket| bucket.knows(entry.proof, now)).fold(Known::Not, Known::max);
        if known == Known::Spent {
            return Err(Reason::ProofReplayed.into());
        }
        self.check_quota(entry.key)?;
        let is_new = self.tallies.iter().all(|known| known.number() != tally);
        if is_new && self.tallies.len() >= MAX_TALLIES {
            return Err(Refusal::new(Reason::ReplayFull).expected("a steadier clock"));
        }
        let (bucket, end) = Grid::bucket(step);
        if known == Known::Not || !self.renew(entry.proof, bucket, end) {
            if self.spare == 0 {
                self.spare = places.take();
            }
            self.spare = self.spare.checked_sub(1).ok_or_else(|| places.full())?;
            self.enter(entry.proof, bucket, end);
        }
        if is_new {
            self.tallies.push(Tally::beside(&self.tallies, tally));
        }
        if let Some(tally) = self.tallies.iter_mut().find(|known| known.number() == tally) {
            tally.add(entry.key);
        }
        Ok(())
    }

    /// Begins to read what a proof and its key need: two places in memory that no cache holds in a large log.
    fn approach(&self, entry: &Entry, tally: i64) {
        self.buckets.iter().for_each(|bucket| bucket.approach(entry.proof));
        if let Some(tally) = self.tallies.iter().find(|known| known.number() == tally) {
            tally.approach(entry.key);
        }
    }

    fn check_quota(&self, key: KeyDigest) -> Result<(), Refusal> {
        let limit = self.per_key;
        let held_at_most = self.tallies.iter().map(Tally::busiest).fold(0, u32::saturating_add);
        // The bound saves looking the key up in every tally as long as no key comes near its limit.
        if held_at_most >= limit && self.tallies.iter().map(|tally| tally.of(key)).fold(0, u32::saturating_add) >= limit
        {
            return Err(Refusal::new(Reason::ReplayKeyQuota).expected(format!("at most {limit} live proofs of a key")));
        }
        Ok(())
    }

    fn renew(&mut self, proof: ProofDigest, bucket: i64, end: u16) -> bool {
        let own = self.buckets.iter_mut().find(|known| known.number() == bucket);
        own.is_some_and(|own| own.renew(proof, end))
    }

    fn enter(&mut self, proof: ProofDigest, bucket: i64, end: u16) {
        if let Some(own) = self.buckets.iter_mut().find(|known| known.number() == bucket) {
            return own.enter(proof, end);
        }
        let mut own = Bucket::new(bucket, self.grid);
        own.enter(proof, end);
        self.buckets.push(own);
    }

    /// Drops what is over at `now`, so that nothing stays longer than a part of a proof's own stay.
    pub(super) fn expire(&mut self, now: UnixTime, places: &Places) -> Dropped {
        let grid = self.grid;
        let tallies = self.tallies.extract_if(.., |tally| grid.is_past(tally.number(), now)).collect();
        let mut proofs = Vec::new();
        let since = now.millis().saturating_sub(self.swept);
        if !(0..grid.patience()).contains(&since) {
            proofs.extend(self.buckets.iter_mut().filter_map(|bucket| bucket.forget(now)));
            self.buckets.retain(|bucket| bucket.len() > 0);
            self.buckets.shrink_to_fit();
            self.forgotten = proofs.iter().map(|forgotten| forgotten.latest).fold(self.forgotten, i64::max);
            self.swept = now.millis();
            let freed: usize = proofs.iter().map(|forgotten| forgotten.proofs).sum();
            places.give_back(std::mem::take(&mut self.spare) + freed);
        }
        Dropped { _proofs: proofs, _tallies: tallies }
    }

    /// How many proofs it holds.
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(Bucket::len).sum()
    }

    #[cfg(test)]
    pub(super) fn tallies(&self) -> usize {
        self.tallies.len()
    }

    #[cfg(test)]
    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    #[cfg(test)]
    pub(super) fn forgotten(&self) -> i64 {
        self.forgotten
    }
}
