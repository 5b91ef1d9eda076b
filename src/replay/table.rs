//! A table of small records that costs little more than the records.
//!
//! Records lie in lines of one cache line each, near the line where they belong; whoever looks for one reads
//! that line, and the next only when it is full. Whoever wants less takes it out of the whole table in one pass
//! ([`Table::retain`]); another size is another table. Places keep their order in that, so it is one pass over both
//! memories from front to back.

/// A record: bytes, so that it needs no padding.
pub(super) trait Record: Copy {
    /// What an unused place holds; never taken for a record.
    const UNUSED: Self;

    /// How many places a new table has for two records. More of them take memory, and fewer lines are full: whoever
    /// comes upon a full line reads another.
    const PLACES_FOR_TWO: usize;

    /// Where it belongs, on the whole range of 32 bits and evenly spread.
    fn place(&self) -> u32;
}

/// Records of type `R`, `N` to a line.
pub(super) struct Table<R, const N: usize> {
    lines: Box<[Line<R, N>]>,
    len: usize,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line<R, const N: usize> {
    records: [R; N],
    used: u8,
}

impl<R: Record, const N: usize> Table<R, N> {
    const LINE: Line<R, N> = {
        assert!(size_of::<Line<R, N>>() == 64);
        Line { records: [R::UNUSED; N], used: 0 }
    };

    /// An empty table, without memory.
    pub(super) fn new() -> Self {
        Self { lines: Box::default(), len: 0 }
    }

    /// An empty table for so many records, and some more.
    pub(super) fn with_room_for(count: usize) -> Self {
        let lines = if count == 0 { 0 } else { Self::lines_for(count) };
        Self { lines: vec![Self::LINE; lines].into_boxed_slice(), len: 0 }
    }

    /// For how many records there are places, some of which stay unused.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.lines.len() * N
    }

    /// Number of records.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The record at `place` that `is` knows.
    pub(super) fn find(&self, place: u32, is: impl Fn(&R) -> bool) -> Option<&R> {
        let (line, index) = self.position(place, is)?;
        self.lines.get(line)?.records.get(index)
    }

    /// The same, to change it; not its place.
    pub(super) fn find_mut(&mut self, place: u32, is: impl Fn(&R) -> bool) -> Option<&mut R> {
        let (line, index) = self.position(place, is)?;
        self.lines.get_mut(line)?.records.get_mut(index)
    }

    /// Begins to read the line of `place` from memory. Whoever will need lines of two tables asks for both first, and waits
    /// for the memory once instead of twice: a processor does not look past what it has to compare.
    pub(super) fn approach(&self, place: u32) {
        let line = self.lines.get(home(place, self.lines.len()));
        // As if somebody used it, so that it is read.
        std::hint::black_box(line.map(|line| line.used));
    }

    /// Adds a record that is not there.
    pub(super) fn insert(&mut self, record: R) {
        // Fuller lines than seven eighths send too many records on to the next.
        if (self.len + 1) * 8 > self.lines.len() * N * 7 {
            *self = self.copy();
        }
        put(&mut self.lines, record);
        self.len += 1;
    }

    /// Another table of the same records, with room for more.
    fn copy(&self) -> Self {
        let mut lines = vec![Self::LINE; Self::lines_for(self.len)].into_boxed_slice();
        self.records().for_each(|record| put(&mut lines, *record));
        Self { lines, len: self.len }
    }

    const fn lines_for(count: usize) -> usize {
        count * R::PLACES_FOR_TWO / (2 * N) + 1
    }

    /// Keeps the records that `are`, and moves those nearer to where they belong that had been sent on. In one pass over the
    /// memory, which stays as large as it was. A line is asked in full before it is changed.
    pub(super) fn retain(&mut self, mut are: impl FnMut(&R) -> bool) {
        let (count, before) = (self.lines.len(), self.len);
        // Nothing was sent on across a line with room, so whoever begins behind one comes upon each record after the lines
        // that it was sent on from.
        let Some(mut at) = self.lines.iter().position(|line| usize::from(line.used) < N) else { return };
        for _ in 0..count {
            at = next(at, count);
            let Some(line) = self.lines.get_mut(at) else { return };
            let (records, used, mut kept) = (line.records, usize::from(line.used), [false; N]);
            for (kept, record) in kept.iter_mut().zip(records.iter().take(used)) {
                *kept = are(record);
            }
            let left = kept.iter().filter(|kept| **kept).count();
            // As long as nothing was taken out, nothing moves.
            if left == used && self.len == before {
                continue;
            }
            *line = Self::LINE;
            self.len -= used - left;
            for (record, _) in records.iter().zip(kept).filter(|(_, kept)| *kept) {
                put(&mut self.lines, *record);
            }
        }
    }

    /// Another table of the same records, if this one takes more than an eighth more memory than it.
    pub(super) fn shrunk(&self) -> Option<Self> {
        let wanted = Self::lines_for(self.len);
        (self.lines.len() - wanted.min(self.lines.len()) > wanted / 8).then(|| self.copy())
    }

    /// All of them, in no order of theirs.
    pub(super) fn records(&self) -> impl Iterator<Item = &R> {
        self.lines.iter().flat_map(|line| line.records.iter().take(usize::from(line.used)))
    }

    fn position(&self, place: u32, is: impl Fn(&R) -> bool) -> Option<(usize, usize)> {
        let mut at = home(place, self.lines.len());
        for _ in 0..self.lines.len() {
            let line = self.lines.get(at)?;
            let used = usize::from(line.used);
            // Without a branch for each record: the processor would have to guess them while it waits for memory.
            let mut found = N;
            for (index, record) in line.records.iter().enumerate() {
                found = if is(record) { found.min(index) } else { found };
            }
            // The first that is known counts; from `used` on there are no records.
            if found < used {
                return Some((at, found));
            }
            if used < N {
                return None;
            }
            at = next(at, self.lines.len());
        }
        None
    }
}

/// The first line with room, from where the record belongs. There is one: the table is never full.
fn put<R: Record, const N: usize>(lines: &mut [Line<R, N>], record: R) {
    let count = lines.len();
    let mut at = home(record.place(), count);
    for _ in 0..count {
        let Some(line) = lines.get_mut(at) else { return };
        if let Some(place) = line.records.get_mut(usize::from(line.used)) {
            *place = record;
            line.used += 1;
            return;
        }
        at = next(at, count);
    }
}

/// Keeps the order of places.
const fn home(place: u32, count: usize) -> usize {
    ((place as u64 * count as u64) >> 32) as usize
}

const fn next(at: usize, count: usize) -> usize {
    if at + 1 < count { at + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place, and a name that tells records of one place apart.
    type Named = [u32; 2];

    impl Record for Named {
        const UNUSED: Self = [0; 2];
        const PLACES_FOR_TWO: usize = 3;

        fn place(&self) -> u32 {
            self[0]
        }
    }

    type Names = Table<Named, 7>;

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        // A record like an unused place is found among its like.
        let mut table = Names::new();
        assert!(table.find(0, |record| *record == [0, 0]).is_none());
        table.insert([0, 0]);
        assert!(table.find(0, |record| *record == [0, 0]).is_some());
        // Evenly spread, and all of them at the first or the last place: the worst there is.
        for spread in [0x9e37_79b9_u32, 0, u32::MAX] {
            let place = |name: u32| if spread == u32::MAX { u32::MAX } else { name.wrapping_mul(spread) };
            let mut table = Names::new();
            for name in 1..=2_000 {
                assert!(table.find(place(name), |record| record[1] == name).is_none());
                table.insert([place(name), name]);
                assert_eq!(table.len(), name as usize);
            }
            for name in 1..=2_000 {
                assert!(table.find(place(name), |record| record[1] == name).is_some(), "{name}");
                assert!(table.find_mut(place(name), |record| record[1] == name).is_some());
            }
            assert!(table.find(place(2_001), |record| record[1] == 2_001).is_none());
        }
    }

    #[test]
    fn what_is_kept_is_found_and_what_is_not_makes_room() {
        // Evenly spread; in a few heaps, so that many are sent on; around the end, so that they are sent on to the front.
        let spreads: [fn(u32) -> u32; 3] = [
            |name| name.wrapping_mul(0x9e37_79b9),
            |name| (name % 13) << 28,
            |name| (name % 97).wrapping_sub(48) << 20,
        ];
        for place in spreads {
            let (mut table, mut next) = (Names::new(), 1);
            let mut kept = std::collections::BTreeSet::new();
            for round in 2..40 {
                for name in next..next + 150 {
                    table.insert([place(name), name]);
                    kept.insert(name);
                }
                next += 150;
                let (size, mut asked) = (table.lines.len(), 0);
                table.retain(|record| {
                    asked += 1;
                    record[1] % round != 0
                });
                assert_eq!(asked, kept.len());
                kept.retain(|name| name % round != 0);
                assert!(table.len() == kept.len() && table.records().count() == kept.len());
                assert_eq!(table.lines.len(), size);
                for name in 1..next {
                    let found = table.find(place(name), |record| record[1] == name).is_some();
                    assert_eq!(found, kept.contains(&name), "{name} after {round}");
                }
            }
            // Also where records lie in heaps, or around the end.
            table.retain(|record| record[1] % 2 == 0);
            let smaller = table.shrunk().unwrap();
            for name in 1..next {
                let found = smaller.find(place(name), |record| record[1] == name).is_some();
                assert_eq!(found, kept.contains(&name) && name % 2 == 0, "{name} of the smaller one");
            }
            table.retain(|_| false);
            assert!(table.len() == 0 && table.records().next().is_none());
        }
        let mut empty = Names::new();
        empty.retain(|_| true);
        assert_eq!(empty.len(), 0);
    }

    #[test]
    fn it_gives_memory_back_that_it_does_not_need() {
        let mut table = Names::new();
        (1..=10_000_u32).for_each(|name| table.insert([name.wrapping_mul(0x9e37_79b9), name]));
        let mut smaller = table.copy();
        assert!(smaller.shrunk().is_none());
        smaller.retain(|record| record[1] % 20 != 0);
        assert!(smaller.shrunk().is_none());
        smaller.retain(|record| record[1] % 5 != 0);
        let smaller = smaller.shrunk().unwrap();
        assert!(smaller.len() == 8_000 && smaller.lines.len() == Names::lines_for(8_000));
        assert!((1..=10_000_u32).all(|name| {
            let found = smaller.find(name.wrapping_mul(0x9e37_79b9), |record| record[1] == name);
            found.is_some() == (name % 5 != 0)
        }));
    }

    #[test]
    fn room_that_was_made_is_used() {
        let mut table = Names::with_room_for(1_000);
        let size = table.lines.len();
        (1..=1_000_u32).for_each(|name| table.insert([name.wrapping_mul(0x9e37_79b9), name]));
        assert_eq!(table.lines.len(), size);
        assert!(Names::with_room_for(0).lines.is_empty());
    }

    #[test]
    fn it_takes_little_more_than_its_records() {
        let mut table = Names::new();
        assert_eq!(table.lines.len(), 0);
        for name in 1..=100_000_u32 {
            table.insert([name.wrapping_mul(0x9e37_79b9), name]);
            if name > 1_000 {
                let places = table.lines.len() * 7;
                assert!((1.1..1.52).contains(&(places as f64 / f64::from(name))), "{places} for {name}");
            }
        }
    }
}
