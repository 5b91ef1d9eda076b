//! Proxies that ask for a verdict may ask twice about one request: after an internal redirect, or when an answer was lost.
//! The proof was spent for the first question, and the second one must not look like a theft.
//!
//! What tells the two apart is an id that the proxy gives to each request of a client. A thief's copy of the proof comes
//! in another request, and so with another id. For a moment it is remembered which id a proof was spent for, in this
//! process alone and within fixed bounds; what is forgotten too early is refused.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use quick_cache::sync::Cache;

use super::log::Spent;
use crate::time::UnixTime;
use crate::verify::{Proof, ReplayKey};

/// How long a question may be asked again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Questions that are remembered at a time.
const QUESTIONS: usize = 65_536;

/// Shorter ids could be met by chance.
const SHORTEST_ID: usize = 16;

/// The questions of the last moments.
pub struct Questions {
    answered: Cache<ReplayKey, (u64, UnixTime)>,
    /// Ids are kept as keyed hashes: a client that chooses some cannot make two meet.
    hasher: RandomState,
}

impl Default for Questions {
    fn default() -> Self {
        Self { answered: Cache::new(QUESTIONS), hasher: RandomState::new() }
    }
}

impl Questions {
    /// A question about the request that the proxy calls `id`; `None` for an id that is too short to be one.
    pub fn about(&self, id: &[u8]) -> Option<Question<'_>> {
        (id.len() >= SHORTEST_ID).then(|| Question { questions: self, id: self.hasher.hash_one(id) })
    }
}

/// One question of a trusted proxy.
#[derive(Debug)]
pub struct Question<'q> {
    questions: &'q Questions,
    id: u64,
}

impl Question<'_> {
    /// A proof was spent for it.
    pub fn answered(&self, spent: &Spent, now: UnixTime) {
        self.questions.answered.insert(spent.proof(), (self.id, now));
    }

    /// Whether this proof was spent for this question, a moment ago.
    pub fn was_answered(&self, proof: &Proof, now: UnixTime) -> bool {
        let known = self.questions.answered.get(&proof.replay_key());
        known.is_some_and(|(id, at)| id == self.id && now <= at + PATIENCE)
    }
}

impl fmt::Debug for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Questions").field("answered", &self.answered.len()).finish_non_exhaustive()
    }
}
