//! A JWK set (RFC 7517 §5) reduced to the keys that can be used.

use std::fmt;

use super::{PublicKey, Thumbprint, Unusable};
use crate::verify::algorithm::Algorithm;
use crate::verify::json::Json;

/// More than any issuer publishes; bounds what one document can make us parse.
const MAX_KEYS: usize = 256;

/// One issuer's usable keys.
#[derive(Debug, Default)]
pub struct Keyset {
    keys: Vec<IssuerKey>,
}

#[derive(Debug)]
struct IssuerKey {
    kid: Option<String>,
    key: PublicKey,
}

/// An entry that was left out, and why: a report for the operator, not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Position in `keys`.
    pub index: usize,
    /// Why.
    pub why: Unusable,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys[{}]: {}", self.index, self.why)
    }
}

impl Keyset {
    /// Reads a JWK set for an issuer whose tokens may use `algorithms`. An entry that cannot be used (unknown
    /// type, symmetric, private, too weak, for encryption) is left out. A key whose `alg` is absent is kept once
    /// for each algorithm that fits it.
    ///
    /// # Errors
    /// A sentence, when the document is not a JWK set at all.
    pub fn parse(document: &[u8], algorithms: &[Algorithm]) -> Result<(Self, Vec<Skipped>), &'static str> {
        let document = Json::object(document).ok_or("expected a JSON object (RFC 7517 §5)")?;
        let entries = document
            .get("keys")
            .and_then(|keys| keys.as_array())
            .ok_or("expected an array under \"keys\" (RFC 7517 §5.1)")?;
        let mut keys = Vec::new();
        let mut skipped = Vec::new();
        for (index, entry) in entries.iter().take(MAX_KEYS).enumerate() {
            match usable(entry, algorithms) {
                Ok(found) => keys.extend(found),
                Err(why) => skipped.push(Skipped { index, why }),
            }
        }
        Ok((Self { keys }, skipped))
    }

    /// The keys that may have signed a token with this `kid` and `alg`. Several when an issuer reuses a `kid`
    /// (FAPI 2.0 §5.4.2), or when the token names none.
    pub fn candidates<'a>(&'a self, kid: Option<&'a str>, algorithm: Algorithm) -> impl Iterator<Item = &'a PublicKey> {
        self.keys
            .iter()
            .filter(move |entry| entry.key.algorithm() == algorithm && (kid.is_none() || entry.kid.as_deref() == kid))
            .map(|entry| &entry.key)
    }

    /// Whether a key is (still) in the set, for this algorithm.
    pub fn contains(&self, thumbprint: Thumbprint, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|entry| entry.key.thumbprint() == thumbprint && entry.key.algorithm() == algorithm)
    }

    /// `kid` and algorithm of every key; one that fits several algorithms comes once for each.
    pub fn entries(&self) -> impl Iterator<Item = (Option<&str>, Algorithm)> {
        self.keys.iter().map(|entry| (entry.kid.as_deref(), entry.key.algorithm()))
    }

    /// How many different keys there are.
    pub fn len(&self) -> usize {
        let mut thumbprints: Vec<_> = self.keys.iter().map(|entry| entry.key.thumbprint()).collect();
        thumbprints.sort_unstable();
        thumbprints.dedup();
        thumbprints.len()
    }

    /// Whether no token could be verified with it.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

fn usable(entry: &serde_json::Value, algorithms: &[Algorithm]) -> Result<Vec<IssuerKey>, Unusable> {
    let jwk = entry.as_object().map(Json::from_members).ok_or(Unusable::Malformed("it is not an object"))?;
    if jwk.get("use").is_some_and(|usage| usage.as_str() != Some("sig")) {
        return Err(Unusable::Malformed("its use is not sig"));
    }
    let verifies = |ops: &serde_json::Value| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify"));
    if jwk.get("key_ops").is_some_and(|ops| !verifies(ops)) {
        return Err(Unusable::Malformed("its key_ops do not include verify"));
    }
    let kid = jwk.string("kid").map(str::to_owned);
    let mut keys = Vec::new();
    let mut why = Unusable::Malformed("no accepted algorithm fits it");
    for algorithm in algorithms {
        match PublicKey::from_jwk(&jwk, *algorithm) {
            Ok(key) => keys.push(IssuerKey { kid: kid.clone(), key }),
            Err(found) => why = more_telling(why, found),
        }
    }
    if keys.is_empty() { Err(why) } else { Ok(keys) }
}

/// Of two reasons, the one that says more than "does not fit".
fn more_telling(known: Unusable, found: Unusable) -> Unusable {
    let mismatch = |why: &Unusable| matches!(why, Unusable::Malformed(text) if text.ends_with("the algorithm"));
    if mismatch(&found) || found == Unusable::Malformed("its alg is another algorithm") { known } else { found }
}
