//! How many proofs each key of a shard holds of those whose acceptance ends within one stretch of time. It is
//! dropped whole.

#[cfg(doc)]
use super::MemorySettings;
use super::digest::KeyDigest;
use super::table::{Record, Table};

/// A key, and how many proofs it holds: at most [`MemorySettings::MOST_PER_KEY`].
#[derive(Clone, Copy)]
struct Count {
    key: KeyDigest,
    proofs: [u8; 3],
}

impl Count {
    const fn get(self) -> u32 {
        let [a, b, c] = self.proofs;
        u32::from_be_bytes([0, a, b, c])
    }

    const fn set(&mut self, proofs: u32) {
        let [_, a, b, c] = proofs.to_be_bytes();
        self.proofs = [a, b, c];
    }
}

impl Record for Count {
    const UNUSED: Self = Self { key: KeyDigest([0; 6]), proofs: [0; 3] };
    const PLACES_FOR_TWO: usize = 3;

    fn place(&self) -> u32 {
        self.key.place()
    }
}

/// One tally.
pub(super) struct Tally {
    number: i64,
    counts: Table<Count, 7>,
    busiest: u32,
}

impl Tally {
    /// An empty one beside `others`. It has room for half of the keys that those begun last have counted: as a rule it will
    /// hold as many, and grows once or twice instead of a dozen times; if not, little was wasted.
    pub(super) fn beside(others: &[Self], number: i64) -> Self {
        // Two of them: one may have just begun, by a proof that is ahead of the others.
        let keys = others.iter().rev().take(2).map(|tally| tally.counts.len()).max().unwrap_or(0);
        Self { number, counts: Table::with_room_for(keys / 2), busiest: 0 }
    }

    /// Its place on the grid.
    pub(super) const fn number(&self) -> i64 {
        self.number
    }

    /// Begins to read what [`Self::of`] and [`Self::add`] will.
    pub(super) fn approach(&self, key: KeyDigest) {
        self.counts.approach(key.place());
    }

    /// How many proofs `key` holds.
    pub(super) fn of(&self, key: KeyDigest) -> u32 {
        self.counts.find(key.place(), |count| count.key == key).map_or(0, |count| count.get())
    }

    /// The most that any key holds.
    pub(super) const fn busiest(&self) -> u32 {
        self.busiest
    }

    /// Counts one more proof of `key`, which holds less than [`MemorySettings::MOST_PER_KEY`].
    pub(super) fn add(&mut self, key: KeyDigest) {
        let proofs = if let Some(count) = self.counts.find_mut(key.place(), |count| count.key == key) {
            count.set(count.get() + 1);
            count.get()
        } else {
            self.counts.insert(Count { key, proofs: [0, 0, 1] });
            1
        };
        self.busiest = self.busiest.max(proofs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally_of(keys: u32) -> Tally {
        let mut tally = Tally::beside(&[], 1);
        for key in 0..keys {
            let [a, b, c, d] = key.wrapping_mul(0x9e37_79b9).to_be_bytes();
            tally.add(KeyDigest([a, b, c, d, 0, 0]));
        }
        tally
    }

    #[test]
    fn the_next_one_has_room_for_half_of_the_keys() {
        let room = |others: &[Tally]| Tally::beside(others, 2).counts.room();
        assert_eq!(room(&[]), 0);
        let half = Table::<Count, 7>::with_room_for(500).room();
        for (others, expected) in [(&[1_000][..], half), (&[1_000, 1], half), (&[1, 1_000], half), (&[1_000, 1, 1], 0)]
        {
            let others: Vec<_> = others.iter().map(|keys| tally_of(*keys)).collect();
            assert_eq!(room(&others), expected);
        }
    }
}
