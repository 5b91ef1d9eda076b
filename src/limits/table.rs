//! What is remembered of callers: for each, when its bucket is full again and how many requests are under way. Sharded,
//! one small lock for each shard, in bounded memory.
//!
//! Names are hashes under a secret of this process, so nobody chooses where a name lies. Two names are taken for one, and
//! share a limit, only if all 64 keyed bits are equal.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher, RandomState};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::rate::Moment;

/// So many callers at once; more would be kept apart in more memory than a gateway should need for this (60 MB).
const CAPACITY: usize = 1 << 20;

const SHARDS: usize = 256;

/// A shard that is full is looked through at most this often, so that being full costs nobody much.
const PATIENCE: i64 = 100_000_000;

/// Stands for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Name(u64);

/// What is remembered of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// When its bucket is full again.
    pub(super) full: Moment,
    /// Requests under way.
    pub(super) active: u32,
}

impl Entry {
    const NEW: Self = Self { full: Moment::LONG_AGO, active: 0 };

    /// Whether it is as good as no entry.
    fn is_over(&self, now: Moment) -> bool {
        self.active == 0 && self.full <= now
    }
}

/// There is no room, and everything that is there still limits somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Entries by name.
pub(super) struct Table {
    secret: RandomState,
    shards: Box<[Mutex<Shard>]>,
    per_shard: usize,
    /// No bucket needs longer to fill, in nanoseconds.
    longest: AtomicI64,
}

struct Shard {
    entries: HashMap<Name, Entry>,
    swept: Moment,
}

impl Table {
    /// A table for buckets that are full after `longest` nanoseconds.
    pub(super) fn new(longest: i64) -> Self {
        Self::with_room(longest, CAPACITY, SHARDS)
    }

    pub(super) fn with_room(longest: i64, capacity: usize, shards: usize) -> Self {
        let shard = |_| Mutex::new(Shard { entries: HashMap::new(), swept: Moment::LONG_AGO });
        Self {
            secret: RandomState::new(),
            shards: (0..shards).map(shard).collect(),
            per_shard: capacity / shards,
            longest: AtomicI64::new(longest),
        }
    }

    /// From now on for buckets that may need as long as this, too.
    pub(super) fn stretch(&self, longest: i64) {
        self.longest.fetch_max(longest, Relaxed);
    }

    /// The name of what `write` writes.
    pub(super) fn name(&self, write: impl FnOnce(&mut dyn Hasher)) -> Name {
        let mut hasher = self.secret.build_hasher();
        write(&mut hasher);
        Name(hasher.finish())
    }

    /// Changes an entry, or a new one. What `change` does to a new one that there is no room for is lost.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn change<T>(&self, name: Name, now: Moment, change: impl FnOnce(&mut Entry) -> T) -> Result<T, Full> {
        let mut shard = self.shard(name);
        if let Some(entry) = shard.entries.get_mut(&name) {
            return Ok(change(entry));
        }
        let mut entry = Entry::NEW;
        let result = change(&mut entry);
        if !entry.is_over(now) {
            if shard.entries.len() >= self.per_shard {
                shard.sweep_if_due(now, self.longest.load(Relaxed));
            }
            if shard.entries.len() >= self.per_shard {
                return Err(Full);
            }
            shard.entries.insert(name, entry);
        }
        Ok(result)
    }

    /// Looks at an entry.
    pub(super) fn look(&self, name: Name) -> Option<Entry> {
        self.shard(name).entries.get(&name).copied()
    }

    /// Changes an entry that is there.
    pub(super) fn amend(&self, name: Name, amend: impl FnOnce(&mut Entry)) {
        let mut shard = self.shard(name);
        if let Some(entry) = shard.entries.get_mut(&name) {
            amend(entry);
            // Nobody ever took from its bucket; when the others are full again, only a clock knows.
            if entry.is_over(Moment::LONG_AGO) {
                shard.entries.remove(&name);
            }
        }
    }

    /// Forgets what is as good as not there.
    pub(super) fn expire(&self, now: Moment) {
        for shard in &self.shards {
            lock(shard).sweep(now, self.longest.load(Relaxed));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).entries.len()).sum()
    }

    fn shard(&self, name: Name) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(name.0 >> 32).unwrap_or_default() % self.shards.len();
        lock(&self.shards[index])
    }
}

impl Shard {
    fn sweep_if_due(&mut self, now: Moment, longest: i64) {
        if !(0..PATIENCE).contains(&now.since(self.swept)) {
            self.sweep(now, longest);
        }
    }

    fn sweep(&mut self, now: Moment, longest: i64) {
        self.swept = now;
        self.entries.retain(|_, entry| {
            // Whoever seems to need longer was counted before the clock was set back.
            entry.full = entry.full.min(now.plus(longest));
            !entry.is_over(now)
        });
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;

    fn at(millis: i64) -> Moment {
        Moment::from(UnixTime::from_millis(1_800_000_000_000 + millis))
    }

    fn name(table: &Table, number: u64) -> Name {
        table.name(|hasher| hasher.write_u64(number))
    }

    /// Fills until `full`.
    fn fill(table: &Table, number: u64, now: Moment, full: Moment) -> Result<(), Full> {
        table.change(name(table, number), now, |entry| entry.full = full)
    }

    #[test]
    fn a_flood_of_callers_stays_in_bounded_memory_and_evicts_nobody() {
        let table = Table::with_room(1_000_000_000, 64, 4);
        let first: Vec<u64> = (0..).filter(|number| fill(&table, *number, at(0), at(1000)).is_ok()).take(64).collect();
        assert_eq!(table.len(), 64);
        for number in 1_000_000..1_020_000 {
            assert_eq!(fill(&table, number, at(999), at(1999)), Err(Full));
        }
        assert_eq!(table.len(), 64);
        assert!(first.iter().all(|number| table.look(name(&table, *number)).unwrap().full == at(1000)));
        // When they are full again there is room, without anybody sweeping.
        for number in 2_000_000..2_000_008 {
            assert_eq!(fill(&table, number, at(1099), at(2099)), Ok(()));
        }
        assert!(table.len() <= 64);
    }

    #[test]
    fn what_is_under_way_is_kept_however_long() {
        let table = Table::with_room(1_000_000_000, 4, 1);
        for number in 0..4 {
            table.change(name(&table, number), at(0), |entry| entry.active += 1).unwrap();
        }
        assert_eq!(fill(&table, 9, at(100_000_000), at(100_000_001)), Err(Full));
        table.amend(name(&table, 0), |entry| entry.active -= 1);
        assert_eq!((table.len(), fill(&table, 9, at(100_000_000), at(100_000_001))), (3, Ok(())));
        table.expire(at(200_000_000));
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn what_changes_nothing_takes_no_room() {
        let table = Table::with_room(1_000_000_000, 4, 1);
        for number in 0..100 {
            assert_eq!(fill(&table, number, at(5), at(5)), Ok(()));
        }
        assert_eq!(table.len(), 0);
        table.amend(name(&table, 1), |entry| entry.active -= 1);
        assert!(table.look(name(&table, 1)).is_none());
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_fill_the_table_for_long() {
        let table = Table::with_room(1_000_000_000, 4, 1);
        for number in 0..4 {
            fill(&table, number, at(3_600_000), at(3_600_500)).unwrap();
        }
        assert_eq!(fill(&table, 9, at(0), at(500)), Err(Full));
        assert_eq!(fill(&table, 9, at(1000), at(1500)), Ok(()), "a second later, for buckets of a second");
    }
}
