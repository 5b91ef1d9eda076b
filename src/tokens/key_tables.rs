//! Keys that come again: their multiples, so that their signatures cost less ([`KnownKey`]).
//!
//! Enters: a signature, with its key. Leaves: whether it is good, in the words of the library that checks every other
//! signature as well wherever there is the least doubt. It has the last word on all that is refused, on the first signature
//! under each table, and on one of `audit_every` after that, which nobody can tell beforehand. Should a table ever have
//! accepted what the library does not, no table is used any more.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::verify::{Algorithm, KnownKey, PublicKey, Signatures, Thumbprint};

/// Good signatures of a key that make a table worth its time: it takes as long as some five verifications, and each saves
/// more than half of one.
const WORTH_IT: u32 = 8;

/// The same while there is no room, where a table takes the place of another: keys that come a few times each would
/// have tables built that nobody uses.
const WORTH_A_PLACE: u32 = 64;

/// Tables that wait to be built. A key that finds no place here asks again when it is worth it once more.
const WAITING: usize = 64;

/// What a table weighs, with its place in the memory.
const TABLE_BYTES: u64 = 256 + KnownKey::BYTES as u64;

/// Whether keys that come again have tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTableSettings {
    /// Bytes for all tables together.
    pub memory: u64,
    /// One of so many signatures that a table accepts is checked by the library too, at random; at least 1.
    pub audit_every: usize,
}

impl Default for KeyTableSettings {
    fn default() -> Self {
        Self { memory: 64 << 20, audit_every: 1024 }
    }
}

/// The tables of keys that come again.
pub struct KeyTables {
    settings: KeyTableSettings,
    tables: Arc<Tables>,
    builder: SyncSender<Order>,
    /// There is no room for another table.
    full: Arc<AtomicBool>,
    tally: Arc<Tally>,
    chance: RandomState,
    draws: AtomicU64,
}

type Tables = Cache<Thumbprint, Arc<Table>, WeighTable>;

/// What happened so far; whatever becomes of the configuration, it counts on.
#[derive(Debug, Default)]
pub struct Tally {
    by_table: AtomicU64,
    by_library: AtomicU64,
    built: AtomicU64,
    evicted: AtomicU64,
    agreed: AtomicU64,
    falsely_accepted: AtomicU64,
    falsely_refused: AtomicU64,
    /// A table accepted what the library does not.
    distrusted: AtomicBool,
}

/// The tables as a scrape finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyTableReading {
    /// Tables at hand.
    pub tables: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Signatures that a table accepted alone.
    pub by_table: u64,
    /// ES256 signatures that the library checked, for whatever reason.
    pub by_library: u64,
    /// Tables built.
    pub built: u64,
    /// Tables that made room for others.
    pub evicted: u64,
    /// Signatures that both accepted.
    pub agreed: u64,
    /// Signatures that a table alone accepted: refused, and the end of all tables.
    pub falsely_accepted: u64,
    /// Signatures that a table refused and the library accepted: accepted.
    pub falsely_refused: u64,
}

struct Table {
    key: KnownKey,
    /// What it was made of.
    point: Box<[u8]>,
    /// It did not agree with the library on a good signature yet, or the last one was bad: then the library is asked first,
    /// and nobody has bad ones checked twice.
    on_trial: AtomicBool,
}

struct Order {
    thumbprint: Thumbprint,
    point: Box<[u8]>,
}

#[derive(Clone)]
struct WeighTable;

impl Weighter<Thumbprint, Arc<Table>> for WeighTable {
    fn weight(&self, _: &Thumbprint, _: &Arc<Table>) -> u64 {
        TABLE_BYTES
    }
}

impl KeyTables {
    /// No tables yet. A thread builds them, so that no request waits; it ends with this. Without a thread there will be
    /// none, and every signature is checked as if its key were new.
    pub fn new(settings: KeyTableSettings, tally: Arc<Tally>) -> Self {
        let entries = usize::try_from(settings.memory / TABLE_BYTES).unwrap_or(usize::MAX);
        let tables = Arc::new(Cache::with_weighter(entries, settings.memory, WeighTable));
        let (builder, orders) = sync_channel(WAITING);
        let full = Arc::new(AtomicBool::new(false));
        let shelf = Shelf { tables: Arc::clone(&tables), full: Arc::clone(&full), tally: Arc::clone(&tally) };
        let built = thread::Builder::new().name("key-tables".to_owned()).spawn(move || shelf.fill(&orders));
        if let Err(error) = built {
            tracing::warn!(%error, "no thread for the tables of keys: every signature costs as under a new key");
        }
        Self { settings, tables, builder, full, tally, chance: RandomState::new(), draws: AtomicU64::new(0) }
    }

    /// What it was made with.
    pub const fn settings(&self) -> KeyTableSettings {
        self.settings
    }

    /// What there is and was.
    pub fn reading(&self) -> KeyTableReading {
        KeyTableReading { tables: self.tables.len() as u64, bytes: self.tables.weight(), ..self.tally.reading() }
    }

    fn by_library(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        self.tally.by_library.fetch_add(1, Ordering::Relaxed);
        key.verifies(message, signature)
    }

    /// Counts a good signature, and has a table built for a key that came often enough.
    fn count(&self, key: &PublicKey) {
        let enough = if self.full.load(Ordering::Relaxed) { WORTH_A_PLACE } else { WORTH_IT };
        if key.recurs(enough)
            && let Some(point) = key.point()
        {
            // If too many wait, it is not built now.
            let _ = self.builder.try_send(Order { thumbprint: key.thumbprint(), point: point.into() });
        }
    }

    fn by_table(&self, table: &Table, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let accepts = || table.key.verify(&Sha256::digest(message).into(), signature);
        if table.on_trial.load(Ordering::Relaxed) {
            let good = self.by_library(key, message, signature);
            if good && self.tally.compare(key, accepts(), good) {
                table.on_trial.store(false, Ordering::Relaxed);
            }
            return good;
        }
        let accepted = accepts();
        if accepted && !self.is_audited() {
            self.tally.by_table.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let good = self.by_library(key, message, signature);
        self.tally.compare(key, accepted, good);
        table.on_trial.store(!good, Ordering::Relaxed);
        good
    }

    /// At random, so that nobody knows beforehand.
    fn is_audited(&self) -> bool {
        let draw = self.draws.fetch_add(1, Ordering::Relaxed);
        self.chance.hash_one(draw).is_multiple_of(self.settings.audit_every as u64)
    }
}

impl Signatures for KeyTables {
    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        if key.algorithm() != Algorithm::Es256 {
            return key.verifies(message, signature);
        }
        let trusted = || !self.tally.distrusted.load(Ordering::Relaxed);
        let table = self.tables.get(&key.thumbprint()).filter(|table| key.point() == Some(&table.point) && trusted());
        let Some(table) = table else {
            let good = self.by_library(key, message, signature);
            if good {
                self.count(key);
            }
            return good;
        };
        self.by_table(&table, key, message, signature)
    }
}

impl Tally {
    /// Of a signature that was checked twice. Answers whether both accepted it.
    fn compare(&self, key: &PublicKey, by_table: bool, by_library: bool) -> bool {
        let count = match (by_table, by_library) {
            (true, true) => &self.agreed,
            (false, false) => return false,
            (true, false) => {
                self.distrusted.store(true, Ordering::Relaxed);
                tracing::error!(key = %key.thumbprint(), "a table accepted a signature that is not good: tables of keys are off until a restart");
                &self.falsely_accepted
            }
            (false, true) => {
                tracing::warn!(key = %key.thumbprint(), "a table refused a good signature, which was accepted");
                &self.falsely_refused
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        by_table && by_library
    }

    /// What was counted; no tables.
    pub fn reading(&self) -> KeyTableReading {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        KeyTableReading {
            tables: 0,
            bytes: 0,
            by_table: of(&self.by_table),
            by_library: of(&self.by_library),
            built: of(&self.built),
            evicted: of(&self.evicted),
            agreed: of(&self.agreed),
            falsely_accepted: of(&self.falsely_accepted),
            falsely_refused: of(&self.falsely_refused),
        }
    }
}

/// Where the builder puts tables.
struct Shelf {
    tables: Arc<Tables>,
    full: Arc<AtomicBool>,
    tally: Arc<Tally>,
}

impl Shelf {
    /// Builds what is ordered until nobody orders any more.
    fn fill(&self, orders: &Receiver<Order>) {
        for Order { thumbprint, point } in orders {
            if self.tables.peek(&thumbprint).is_some() || self.tally.distrusted.load(Ordering::Relaxed) {
                continue;
            }
            let Some(key) = KnownKey::new(&point) else { continue };
            let before = self.tables.len() as u64;
            self.tables.insert(thumbprint, Arc::new(Table { key, point, on_trial: AtomicBool::new(true) }));
            self.full.store(self.tables.weight() + TABLE_BYTES > self.tables.capacity(), Ordering::Relaxed);
            // Nobody else puts tables there.
            self.tally.evicted.fetch_add((before + 1).saturating_sub(self.tables.len() as u64), Ordering::Relaxed);
            self.tally.built.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for KeyTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyTables")
            .field("settings", &self.settings)
            .field("reading", &self.reading())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
