//! What is remembered of verified tokens and proof headers: a signature's result, never a verdict.
//!
//! Enters: a token's text. Leaves: an [`AccessToken`] that was checked now. Expiry and audience are asked again
//! each time, and a token whose signing key left the issuer's JWK set is forgotten. A token that is no JWT is for its
//! issuer to read, if the route accepts one that may be asked.

mod key_tables;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::clock::Clock;
use crate::introspect::Introspectors;
use crate::keys::{Issuer, Issuers};
use crate::refusal::{Reason, Refusal};
use crate::verify::{
    AccessToken, ProofHeader, ProofKeys, PublicKey, Signatures, TokenHash, UnverifiedToken, is_opaque, unknown_issuer,
};
use key_tables::KeyTables;

pub use key_tables::{KeyTableReading, KeyTableSettings};

/// Bytes that remembered tokens may weigh together, by estimate.
const TOKEN_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes that remembered proof headers may weigh together, by estimate.
const HEADER_BYTES: u64 = 32 * 1024 * 1024;

/// What an entry weighs beside its text: parsed claims or key, and the cache's own bookkeeping.
const ENTRY_BYTES: u64 = 1024;

/// Remembers verified tokens and proof headers, both within fixed bounds.
pub struct Tokens {
    memory: Arc<Memory>,
    introspectors: Introspectors,
    tally: Arc<Tally>,
    key_tables: Option<Arc<KeyTables>>,
    key_tally: Arc<key_tables::Tally>,
}

struct Memory {
    verified: Cache<TokenHash, Remembered, WeighToken>,
    headers: Cache<Box<str>, Arc<ProofHeader>, WeighHeader>,
}

#[derive(Default)]
struct Tally {
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Clone)]
struct Remembered {
    token: Arc<AccessToken>,
    length: usize,
}

#[derive(Clone)]
struct WeighToken;

impl Weighter<TokenHash, Remembered> for WeighToken {
    fn weight(&self, _: &TokenHash, remembered: &Remembered) -> u64 {
        // The claims are kept decoded, as a tree: about twice their encoded length.
        ENTRY_BYTES + 2 * remembered.length as u64
    }
}

#[derive(Clone)]
struct WeighHeader;

impl Weighter<Box<str>, Arc<ProofHeader>> for WeighHeader {
    fn weight(&self, segment: &Box<str>, _: &Arc<ProofHeader>) -> u64 {
        ENTRY_BYTES + segment.len() as u64
    }
}

impl Default for Memory {
    fn default() -> Self {
        let entries = |bytes: u64| usize::try_from(bytes / (2 * ENTRY_BYTES)).unwrap_or(usize::MAX);
        Self {
            verified: Cache::with_weighter(entries(TOKEN_BYTES), TOKEN_BYTES, WeighToken),
            headers: Cache::with_weighter(entries(HEADER_BYTES), HEADER_BYTES, WeighHeader),
        }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self::new(Introspectors::default(), None)
    }
}

impl Tokens {
    /// Remembers nothing yet, and asks these issuers about opaque tokens.
    pub fn new(introspectors: Introspectors, key_tables: Option<KeyTableSettings>) -> Self {
        let key_tally = Arc::default();
        Self {
            memory: Arc::default(),
            introspectors,
            tally: Arc::default(),
            key_tables: tables(key_tables, &key_tally),
            key_tally,
        }
    }

    /// For a configuration that follows: goes on counting, and remembers what this one does if signatures are checked by
    /// the `same_rules`. Tables of keys stay if they may take as much.
    #[must_use]
    pub fn succeed(
        &self,
        introspectors: Introspectors,
        same_rules: bool,
        key_tables: Option<KeyTableSettings>,
    ) -> Self {
        let memory = if same_rules { Arc::clone(&self.memory) } else { Arc::default() };
        let same_tables = self.key_tables.as_ref().map(|tables| tables.settings()) == key_tables;
        Self {
            memory,
            introspectors,
            tally: Arc::clone(&self.tally),
            key_tables: if same_tables { self.key_tables.clone() } else { tables(key_tables, &self.key_tally) },
            key_tally: Arc::clone(&self.key_tally),
        }
    }

    /// Who is asked about opaque tokens.
    pub const fn introspectors(&self) -> &Introspectors {
        &self.introspectors
    }

    /// The token, checked for this moment: verified under a present key of its issuer, or, if it is opaque, active in
    /// the words of the one issuer among `accepted` (empty: all) that may be asked. An unknown `kid` asks the issuer
    /// for its keys once more, as far as its rate allows. Does not look at the binding, nor whether the issuer of a
    /// JWT is accepted.
    ///
    /// # Errors
    /// A `Token…` reason, [`Reason::KeysUnavailable`], or [`Reason::IntrospectionUnavailable`].
    pub async fn verify(
        &self,
        token: &str,
        hash: TokenHash,
        accepted: &[String],
        issuers: &Issuers,
        clock: &dyn Clock,
    ) -> Result<Arc<AccessToken>, Refusal> {
        if let Some(known) = self.recall(&hash, issuers)? {
            self.tally.hits.fetch_add(1, Ordering::Relaxed);
            known.check(issuer_of(issuers, known.issuer())?.rules(), clock.now())?;
            return Ok(known);
        }
        // Rare, and large as futures: they would be moved about with every request.
        if self.is_asked_about(token, accepted)
            && let Some(introspector) = self.introspectors.only(accepted)
        {
            return Box::pin(introspector.verify(token, hash)).await;
        }
        self.tally.misses.fetch_add(1, Ordering::Relaxed);
        Box::pin(self.verify_anew(token, hash, issuers, clock)).await
    }

    async fn verify_anew(
        &self,
        token: &str,
        hash: TokenHash,
        issuers: &Issuers,
        clock: &dyn Clock,
    ) -> Result<Arc<AccessToken>, Refusal> {
        let unverified = UnverifiedToken::read(token, hash)?;
        let issuer = issuer_of(issuers, unverified.issuer()?)?;
        let first = issuer.keys().and_then(|keys| unverified.verify_by(self, issuer.rules(), &keys));
        let verified = match first {
            // The issuer may have changed its keys, or may not have been there when the gateway started.
            Err(refusal) if matches!(refusal.reason(), Reason::TokenKeyUnknown | Reason::KeysUnavailable) => {
                issuer.refresh_for_unknown_key().await;
                let keys = issuer.keys()?;
                UnverifiedToken::read(token, hash)?.verify_by(self, issuer.rules(), &keys)?
            }
            verified => verified?,
        };
        let verified = Arc::new(verified);
        verified.check(issuer.rules(), clock.now())?;
        self.memory.verified.insert(hash, Remembered { token: Arc::clone(&verified), length: token.len() });
        Ok(verified)
    }

    /// Whether this token is for an issuer to read that may be asked.
    pub fn is_asked_about(&self, token: &str, accepted: &[String]) -> bool {
        !self.introspectors.is_empty() && is_opaque(token) && self.introspectors.only(accepted).is_some()
    }

    fn recall(&self, hash: &TokenHash, issuers: &Issuers) -> Result<Option<Arc<AccessToken>>, Refusal> {
        let Some(Remembered { token, .. }) = self.memory.verified.get(hash) else { return Ok(None) };
        if token.is_signed_by_one_of(&*issuer_of(issuers, token.issuer())?.keys()?) {
            return Ok(Some(token));
        }
        self.memory.verified.remove(hash);
        Ok(None)
    }

    /// The tables of keys as they are now.
    pub fn key_tables(&self) -> KeyTableReading {
        self.key_tables.as_ref().map_or_else(|| self.key_tally.reading(), |tables| tables.reading())
    }

    /// Tokens found remembered, and not, so far.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.tally.hits.load(Ordering::Relaxed), self.tally.misses.load(Ordering::Relaxed))
    }
}

impl Signatures for Tokens {
    fn verifies(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        match &self.key_tables {
            Some(tables) => tables.verifies(key, message, signature),
            None => key.verifies(message, signature),
        }
    }
}

fn tables(settings: Option<KeyTableSettings>, tally: &Arc<key_tables::Tally>) -> Option<Arc<KeyTables>> {
    settings.map(|settings| Arc::new(KeyTables::new(settings, Arc::clone(tally))))
}

impl ProofKeys for Tokens {
    fn recall(&self, segment: &str) -> Option<Arc<ProofHeader>> {
        self.memory.headers.get(segment)
    }

    fn remember(&self, segment: &str, header: &Arc<ProofHeader>) {
        if self.memory.headers.peek(segment).is_none() {
            self.memory.headers.insert(segment.into(), Arc::clone(header));
        }
    }
}

fn issuer_of<'i>(issuers: &'i Issuers, name: &str) -> Result<&'i Issuer, Refusal> {
    issuers.get(name).ok_or_else(|| unknown_issuer(name))
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("tokens", &self.memory.verified.len()).finish_non_exhaustive()
    }
}
