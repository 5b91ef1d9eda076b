//! DPoP proofs, by the numbers of RFC 9449 §4.3.
//!
//! The numbered steps run cheapest first: everything that needs no cryptography comes before the signature
//! (6), so that a wrong proof costs less than a right one. The replay log is not asked here; it comes after,
//! because only a caller who holds the key may write to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::access_token::TokenHash;
use super::algorithm::Algorithm;
use super::htu::same_target;
use super::json::Json;
use super::jwk::{PublicKey, Thumbprint, Unusable};
use super::jws::{self, Compact};
use super::nonce::{BadNonce, Nonces};
use super::rules::ProofRules;
use crate::refusal::{Reason, Refusal, shown};
use crate::request::ProofField;
use crate::time::UnixTime;

/// Longest accepted proof, in bytes.
pub const MAX_PROOF_BYTES: usize = 8 * 1024;

/// Longest accepted `jti`, in bytes.
const MAX_JTI_BYTES: usize = 512;

/// How far ahead the clock of the replica that made a nonce may be, whatever is tolerated of clients.
const REPLICAS: Duration = Duration::from_secs(5);

/// What a proof must be for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The request's normalized external URL.
    pub external_url: &'a str,
    /// The hash of the token that came along.
    pub token_hash: &'a TokenHash,
    /// The key that the token is bound to.
    pub key: Thumbprint,
}

/// A proof header that was read and whose key was parsed. It verifies nothing by itself; it is the same bytes
/// in every proof of a client, so it may be remembered.
#[derive(Debug)]
pub struct ProofHeader {
    key: PublicKey,
}

/// Remembers proof headers by their encoded segment. Only headers under which a signature verified come here.
pub trait ProofKeys {
    /// The header that this segment was read as, if still known.
    fn recall(&self, segment: &str) -> Option<Arc<ProofHeader>>;
    /// Keeps a header for next time.
    fn remember(&self, segment: &str, header: &Arc<ProofHeader>);
}

/// Remembers nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unremembered;

impl ProofKeys for Unremembered {
    fn recall(&self, _: &str) -> Option<Arc<ProofHeader>> {
        None
    }

    fn remember(&self, _: &str, _: &Arc<ProofHeader>) {}
}

/// What makes two proofs the same one: SHA-256 of the 32 bytes of the key's thumbprint, a zero byte and `jti`.
/// Not the signature's bytes, which have two forms for ECDSA; not the URI, which has many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplayKey(pub [u8; 32]);

/// A proof that passed every step of §4.3 but the replay log. Only [`verify`] makes one.
#[derive(Debug)]
pub struct Proof {
    key: Thumbprint,
    replay_key: ReplayKey,
    issued_at: UnixTime,
    nonce: Option<UnixTime>,
    accepted_until: UnixTime,
}

impl Proof {
    /// The key that signed it.
    pub const fn key(&self) -> Thumbprint {
        self.key
    }

    /// What the replay log remembers it by.
    pub const fn replay_key(&self) -> ReplayKey {
        self.replay_key
    }

    /// `iat`.
    pub const fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// When its nonce was made, where nonces are demanded.
    pub const fn nonce(&self) -> Option<UnixTime> {
        self.nonce
    }

    /// The last moment at which it could pass [`verify`] again: until then it must be remembered.
    pub const fn accepted_until(&self) -> UnixTime {
        self.accepted_until
    }
}

/// Checks a `DPoP` field for one request and one token.
///
/// # Errors
/// A `Proof…` reason of the catalogue.
pub fn verify(
    field: &ProofField,
    expected: &Expected<'_>,
    rules: &ProofRules,
    keys: &impl ProofKeys,
    now: UnixTime,
) -> Result<Proof, Refusal> {
    // (1) There is not more than one DPoP field.
    let text = single(field)?;
    // (2) It is a single well-formed JWT.
    let malformed = |found| Refusal::new(Reason::ProofMalformed).expected("one JWT").found(found);
    let jws = Compact::split(text).ok_or_else(|| malformed("other than three segments"))?;
    // (4) typ, (5) alg, (7) jwk: the header, if it is not known already.
    let header = match keys.recall(jws.header) {
        Some(header) => header,
        None => Arc::new(read_header(jws.header)?),
    };
    let algorithm = header.key.algorithm();
    if !rules.algorithms.contains(&algorithm) {
        return Err(Refusal::new(Reason::ProofAlgorithm)
            .expected(Algorithm::challenge_list(&rules.algorithms))
            .found(algorithm.name()));
    }
    // (3) All required claims are there.
    let claims = jws.claims().ok_or_else(|| malformed("claims that are not strict JSON"))?;
    let claims = Claims::read(&claims)?;
    // (8) htm is the request's method; methods are case-sensitive (RFC 9110 §9.1).
    if claims.htm != expected.method {
        return Err(Refusal::new(Reason::ProofMethod)
            .expected(expected.method.to_owned())
            .found(shown(claims.htm).chars().take(20).collect::<String>()));
    }
    // (9) htu is the request's URI.
    if !same_target(claims.htu, expected.external_url) {
        return Err(Refusal::new(Reason::ProofTarget)
            .expected(expected.external_url.to_owned())
            .found(claims.shown_htu()));
    }
    // (12) ath is the token's hash, and the key is the one that the token is bound to.
    if !expected.token_hash.is_spelled(claims.ath) {
        return Err(Refusal::new(Reason::ProofTokenHash).expected("ath of the access token that was sent"));
    }
    let key = header.key.thumbprint();
    if !bool::from(key.0.ct_eq(&expected.key.0)) {
        return Err(Refusal::new(Reason::ProofKeyMismatch)
            .expected(format!("cnf.jkt {}", expected.key))
            .found(format!("a proof by {key}")));
    }
    // (10) The nonce is one of ours. Said only to whoever holds the key, but before anything is said about time.
    let nonce = rules.nonces.as_ref().map(|nonces| claims.check_nonce(nonces, now));
    // (11) The proof is of now.
    if !matches!(nonce, Some(Err(_))) {
        claims.check_time(rules, now)?;
    }
    // (6) The signature verifies under jwk: last, because it costs more than all of the above.
    let signature = jws.signature_bytes().ok_or_else(|| malformed("a signature that is not base64url"))?;
    if !header.key.verifies(jws.signing_input.as_bytes(), &signature) {
        return Err(Refusal::new(Reason::ProofSignature));
    }
    let nonce = nonce.transpose()?;
    keys.remember(jws.header, &header);
    Ok(Proof {
        key,
        replay_key: replay_key(key, claims.jti),
        issued_at: claims.iat,
        nonce,
        accepted_until: claims.iat + rules.lifetime + rules.clock_skew,
    })
}

fn single(field: &ProofField) -> Result<&str, Refusal> {
    let value = match field {
        ProofField::Absent => return Err(Refusal::new(Reason::ProofMissing).expected("a DPoP field")),
        ProofField::Several => return Err(Refusal::new(Reason::ProofMultiple).found("several DPoP fields")),
        ProofField::One(value) => value,
    };
    // Intermediaries may join repeated lines with commas (RFC 9110 §5.3).
    if value.as_bytes().contains(&b',') {
        return Err(Refusal::new(Reason::ProofMultiple).found("several values in one DPoP field"));
    }
    if value.len() > MAX_PROOF_BYTES {
        return Err(Refusal::new(Reason::ProofTooLarge)
            .expected(format!("at most {MAX_PROOF_BYTES} bytes"))
            .found(format!("{} bytes", value.len())));
    }
    value.to_str().map_err(|_| Refusal::new(Reason::ProofMalformed).expected("one JWT").found("other characters"))
}

fn read_header(segment: &str) -> Result<ProofHeader, Refusal> {
    let header = jws::decode_object(segment).ok_or_else(|| {
        Refusal::new(Reason::ProofMalformed).expected("one JWT").found("a header that is not strict JSON")
    })?;
    // (4) typ is dpop+jwt: other signed JWTs are not proofs (RFC 8725 §3.11).
    if header.string("typ") != Some("dpop+jwt") {
        return Err(Refusal::new(Reason::ProofType).expected("typ dpop+jwt"));
    }
    if jws::demands_extension(&header) {
        return Err(Refusal::new(Reason::ProofCritical).found("crit or b64 in the header"));
    }
    // (5) alg is an asymmetric algorithm that we know.
    let algorithm = header
        .string("alg")
        .and_then(Algorithm::from_name)
        .ok_or_else(|| Refusal::new(Reason::ProofAlgorithm).expected("an asymmetric signature algorithm"))?;
    // (7) jwk is a public key and holds nothing private. kid, x5c, jku and x5u are never used (RFC 8725 §3.10).
    let unusable = |why: Unusable| {
        let reason = match why {
            Unusable::Private => Reason::ProofKeyPrivate,
            Unusable::Malformed(_) => Reason::ProofKey,
        };
        Refusal::new(reason).expected(format!("a public key for {algorithm}")).found(why.to_string())
    };
    let jwk = header
        .get("jwk")
        .and_then(|jwk| jwk.as_object())
        .map(Json::from_members)
        .ok_or_else(|| unusable(Unusable::Malformed("no jwk object")))?;
    let key = PublicKey::from_jwk(&jwk, algorithm).map_err(unusable)?;
    Ok(ProofHeader { key })
}

fn replay_key(key: Thumbprint, jti: &str) -> ReplayKey {
    let mut hash = Sha256::new();
    hash.update(key.0);
    hash.update([0]);
    hash.update(jti.as_bytes());
    ReplayKey(hash.finalize().into())
}

/// The claims that §4.2 requires, of the right types.
struct Claims<'a> {
    jti: &'a str,
    htm: &'a str,
    htu: &'a str,
    ath: &'a str,
    iat: UnixTime,
    /// `None` when it is no string, too.
    nonce: Option<&'a str>,
    expires: Option<UnixTime>,
    not_before: Option<UnixTime>,
}

impl<'a> Claims<'a> {
    fn read(claims: &'a Json) -> Result<Self, Refusal> {
        let text = |name: &'static str| {
            let wrong = || Refusal::new(Reason::ProofClaims).expected(format!("{name}, a string that is not empty"));
            claims.string(name).filter(|text| !text.is_empty()).ok_or_else(wrong)
        };
        let date = |name: &'static str| {
            let wrong = || Refusal::new(Reason::ProofClaims).expected(format!("{name}, a date in seconds"));
            claims
                .get(name)
                .map(|value| value.as_f64().and_then(UnixTime::from_numeric_date).ok_or_else(wrong))
                .transpose()
        };
        let jti = text("jti")?;
        if jti.len() > MAX_JTI_BYTES {
            return Err(Refusal::new(Reason::ProofClaims)
                .expected(format!("jti of at most {MAX_JTI_BYTES} bytes"))
                .found(format!("{} bytes", jti.len())));
        }
        Ok(Self {
            jti,
            htm: text("htm")?,
            htu: text("htu")?,
            ath: text("ath")?,
            iat: date("iat")?
                .ok_or_else(|| Refusal::new(Reason::ProofClaims).expected("iat, a date in seconds").found("none"))?,
            nonce: claims.string("nonce"),
            // §4.2 does not define these two; a client that sends them means them.
            expires: date("exp")?,
            not_before: date("nbf")?,
        })
    }

    fn check_nonce(&self, nonces: &Nonces, now: UnixTime) -> Result<UnixTime, Refusal> {
        let nonce = self.nonce.ok_or_else(|| Refusal::new(Reason::ProofNonceMissing).expected("nonce, a string"))?;
        nonces.minted(nonce, now, REPLICAS).map_err(|bad| {
            Refusal::new(Reason::ProofNonce).expected("a nonce of this gateway").found(match bad {
                BadNonce::Unknown => "another one",
                BadNonce::Expired => "one that is too old",
                BadNonce::Future => "one of a replica whose clock is ahead",
            })
        })
    }

    fn check_time(&self, rules: &ProofRules, now: UnixTime) -> Result<(), Refusal> {
        let age = now.seconds_since(self.iat);
        let (oldest, ahead) = ((rules.lifetime + rules.clock_skew).as_secs(), rules.clock_skew.as_secs());
        let window = || format!("iat from {oldest} s ago to {ahead} s ahead");
        let expired = self.expires.is_some_and(|expires| now >= expires + rules.clock_skew);
        if now > self.iat + rules.lifetime + rules.clock_skew || expired {
            return Err(Refusal::new(Reason::ProofStale).expected(window()).found(format!("{age:.0} s ago")));
        }
        let early = self.not_before.is_some_and(|not_before| not_before > now + rules.clock_skew);
        if self.iat > now + rules.clock_skew || early {
            return Err(Refusal::new(Reason::ProofFuture).expected(window()).found(format!("{:.0} s ahead", -age)));
        }
        Ok(())
    }

    /// For the operator: without query and user information, which may hold secrets.
    fn shown_htu(&self) -> String {
        let end = self.htu.find(['?', '#']).unwrap_or(self.htu.len());
        let bare = &self.htu[..end];
        shown(bare.rsplit_once('@').map_or(bare, |(_, rest)| rest))
    }
}

impl fmt::Debug for Claims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(…)")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::verify::base64url;

    fn verify_text(text: &[u8]) -> Option<Reason> {
        let field = HeaderValue::from_bytes(text).map_or(ProofField::Absent, ProofField::One);
        let expected = Expected {
            method: "GET",
            external_url: "https://rs.example/",
            token_hash: &TokenHash::of("token"),
            key: Thumbprint([0; 32]),
        };
        let now = UnixTime::from_secs(1_800_000_000);
        verify(&field, &expected, &ProofRules::default(), &Unremembered, now).err().map(|refusal| refusal.reason())
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(verify_text(&bytes).is_some());
        }

        #[test]
        fn so_is_any_json(header in "\\{\"typ\":\"dpop\\+jwt\",\"(alg|jwk|x)\":\\PC{0,30}\\}", claims in "\\{\\PC{0,40}\\}") {
            let text = [header.as_bytes(), claims.as_bytes(), b"x"].map(base64url::encode).join(".");
            prop_assert!(verify_text(text.as_bytes()).is_some());
        }
    }
}
