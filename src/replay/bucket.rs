//! The proofs of one shard whose acceptance ends within one long stretch of time: as a rule, all there are.

use super::digest::ProofDigest;
use super::grid::Grid;
use super::table::{Record, Table};
use crate::time::UnixTime;

/// A proof, and the step of its bucket in which its acceptance ends.
#[derive(Clone, Copy)]
struct Entry {
    proof: ProofDigest,
    end: [u8; 2],
}

impl Record for Entry {
    const UNUSED: Self = Self { proof: ProofDigest([0; 10]), end: [0; 2] };
    // Three cost about a tenth more time at ten million proofs (benches/README.md).
    const PLACES_FOR_TWO: usize = 4;

    fn place(&self) -> u32 {
        self.proof.place()
    }
}

/// What a bucket knows of a proof, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    /// Nothing.
    Not,
    /// It was spent, and cannot be accepted any more.
    Over,
    /// It was spent, and could still be accepted.
    Spent,
}

/// One bucket.
pub(super) struct Bucket {
    number: i64,
    grid: Grid,
    entries: Table<Entry, 5>,
}

/// What a bucket forgot.
pub(super) struct Forgotten {
    /// Number of proofs.
    pub(super) proofs: usize,
    /// The latest end of acceptance among them, in milliseconds, rounded up to the end of its step.
    pub(super) latest: i64,
    /// Memory that is not needed any more; whoever holds a lock may want to free it later.
    _memory: Option<Table<Entry, 5>>,
}

impl Bucket {
    pub(super) fn new(number: i64, grid: Grid) -> Self {
        Self { number, grid, entries: Table::new() }
    }

    /// Its place on the grid.
    pub(super) const fn number(&self) -> i64 {
        self.number
    }

    /// How many proofs it holds.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Begins to read what [`Self::knows`] will.
    pub(super) fn approach(&self, proof: ProofDigest) {
        self.entries.approach(proof.place());
    }

    pub(super) fn knows(&self, proof: ProofDigest, now: UnixTime) -> Known {
        match self.entries.find(proof.place(), |entry| entry.proof == proof) {
            None => Known::Not,
            Some(entry) if self.end(entry) < now.millis() => Known::Over,
            Some(_) => Known::Spent,
        }
    }

    /// Adds a proof that is not here. Its acceptance ends in the step `end` of the bucket.
    pub(super) fn enter(&mut self, proof: ProofDigest, end: u16) {
        self.entries.insert(Entry { proof, end: end.to_ne_bytes() });
    }

    /// Where the proof is here but over, its place is used again, with the newer end.
    pub(super) fn renew(&mut self, proof: ProofDigest, end: u16) -> bool {
        let end = end.to_ne_bytes();
        let found = self.entries.find_mut(proof.place(), |entry| entry.proof == proof);
        found.map(|entry| entry.end = end).is_some()
    }

    /// Forgets what is over, and takes little more memory than the rest needs.
    pub(super) fn forget(&mut self, now: UnixTime) -> Option<Forgotten> {
        let (grid, number) = (self.grid, self.number);
        let (mut proofs, mut latest) = (0, i64::MIN);
        self.entries.retain(|entry| {
            let end = grid.end(number, u16::from_ne_bytes(entry.end));
            let is_over = end < now.millis();
            if is_over {
                (proofs, latest) = (proofs + 1, latest.max(end));
            }
            !is_over
        });
        if proofs == 0 {
            return None;
        }
        let memory = self.entries.shrunk().map(|entries| std::mem::replace(&mut self.entries, entries));
        Some(Forgotten { proofs, latest, _memory: memory })
    }

    /// Rounded up to the end of the step: never earlier than the end of the proof's own acceptance.
    const fn end(&self, entry: &Entry) -> i64 {
        self.grid.end(self.number, u16::from_ne_bytes(entry.end))
    }
}
