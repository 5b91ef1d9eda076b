//! What an issuer said, for a while. Bounded in bytes; what it denied is kept apart, so that a flood of invented tokens
//! pushes out no token that is in use.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::time::UnixTime;
use crate::verify::{AccessToken, TokenHash};

/// Bytes that active tokens may weigh together, by estimate.
const ACTIVE_BYTES: u64 = 32 * 1024 * 1024;

/// What an active token weighs beside the text of the answer: parsed claims, and the cache's own bookkeeping.
const ENTRY_BYTES: u64 = 1024;

/// How many denied tokens are remembered; each weighs about a hundred bytes.
pub(super) const MAX_DENIED: usize = 32 * 1024;

/// How long a token that the issuer denied is not asked about again.
pub(super) const DENIED_FOR: Duration = Duration::from_secs(5);

/// What an issuer said of a token.
#[derive(Clone)]
pub(super) enum Word {
    Active(Arc<AccessToken>),
    Inactive,
}

pub(super) struct Memory {
    /// How long a word counts.
    keeps: Duration,
    active: Cache<TokenHash, Active, WeighActive>,
    denied: Cache<TokenHash, UnixTime>,
}

#[derive(Clone)]
struct Active {
    token: Arc<AccessToken>,
    /// Of the answer, in bytes.
    length: usize,
    asked: UnixTime,
}

#[derive(Clone)]
struct WeighActive;

impl Weighter<TokenHash, Active> for WeighActive {
    fn weight(&self, _: &TokenHash, active: &Active) -> u64 {
        // The claims are kept decoded, as a tree: about twice their encoded length.
        ENTRY_BYTES + 2 * active.length as u64
    }
}

impl Memory {
    pub(super) fn new(keeps: Duration) -> Self {
        let entries = usize::try_from(ACTIVE_BYTES / (2 * ENTRY_BYTES)).unwrap_or(usize::MAX);
        Self { keeps, active: Cache::with_weighter(entries, ACTIVE_BYTES, WeighActive), denied: Cache::new(MAX_DENIED) }
    }

    /// How long a word counts.
    pub(super) const fn keeps(&self) -> Duration {
        self.keeps
    }

    /// What the issuer said lately. A clock that is set back makes it old.
    pub(super) fn recall(&self, hash: &TokenHash, now: UnixTime) -> Option<Word> {
        if let Some(active) = self.active.get(hash) {
            let over = active.token.expires().is_some_and(|expires| now >= expires);
            if !over && is_within(active.asked, self.keeps, now) {
                return Some(Word::Active(active.token));
            }
            self.active.remove(hash);
        }
        let asked = self.denied.get(hash)?;
        if is_within(asked, DENIED_FOR, now) {
            return Some(Word::Inactive);
        }
        self.denied.remove(hash);
        None
    }

    /// Keeps a word that was given at `asked`, in an answer of so many bytes.
    pub(super) fn keep(&self, hash: TokenHash, word: &Word, length: usize, asked: UnixTime) {
        match word {
            Word::Active(_) if self.keeps.is_zero() => {}
            Word::Active(token) => self.active.insert(hash, Active { token: Arc::clone(token), length, asked }),
            Word::Inactive => {
                self.active.remove(&hash);
                self.denied.insert(hash, asked);
            }
        }
    }

    /// How many tokens are remembered: active, and denied.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.active.len(), self.denied.len())
    }
}

fn is_within(since: UnixTime, keeps: Duration, now: UnixTime) -> bool {
    since <= now && now < since + keeps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{Introspected, IssuerRules};

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn active(hash: TokenHash, exp: i64) -> Word {
        let answer = format!(r#"{{"active":true,"exp":{exp}}}"#);
        let rules = IssuerRules::new("https://as.example", Vec::new());
        match Introspected::read(answer.as_bytes(), hash, &rules) {
            Ok(Introspected::Active(token)) => Word::Active(Arc::from(token)),
            other => panic!("{other:?}"),
        }
    }

    fn hash(number: usize) -> TokenHash {
        TokenHash::of(&number.to_string())
    }

    #[test]
    fn a_flood_of_denied_tokens_stays_bounded_and_pushes_out_no_active_one() {
        let memory = Memory::new(Duration::from_mins(1));
        for number in 0..1000 {
            memory.keep(hash(number), &active(hash(number), NOW.secs() + 60), 500, NOW);
        }
        for number in 1000..200_000 {
            memory.keep(hash(number), &Word::Inactive, 16, NOW);
        }
        let (actives, denied) = memory.len();
        assert_eq!(actives, 1000);
        assert!(denied <= MAX_DENIED, "{denied}");
        assert!((0..1000).all(|number| matches!(memory.recall(&hash(number), NOW), Some(Word::Active(_)))));
    }

    #[test]
    fn active_tokens_are_bounded_in_bytes() {
        let memory = Memory::new(Duration::from_mins(1));
        let word = active(hash(0), NOW.secs() + 60);
        for number in 0..3000 {
            memory.keep(hash(number), &word, 64 * 1024, NOW);
        }
        let most = usize::try_from(ACTIVE_BYTES).unwrap() / (128 * 1024);
        assert!((1..=most).contains(&memory.len().0), "{:?}", memory.len());
    }

    #[test]
    fn a_word_ends_with_its_time_and_with_its_token() {
        let memory = Memory::new(Duration::from_mins(1));
        let at = |seconds: i64| UnixTime::from_secs(NOW.secs() + seconds);
        let knows = |number: usize, seconds: i64| memory.recall(&hash(number), at(seconds)).is_some();
        for (number, exp) in [(0, 1000), (1, 30)] {
            memory.keep(hash(number), &active(hash(number), NOW.secs() + exp), 30, NOW);
        }
        memory.keep(hash(2), &Word::Inactive, 16, NOW);
        assert!(knows(0, 59) && knows(1, 29) && knows(2, 4));
        assert!(!knows(0, 60) && !knows(1, 30) && !knows(2, 5));
        // Nor does it come back when the clock does.
        assert!(!knows(0, 1) && !knows(1, 1) && !knows(2, 1));
    }
}
