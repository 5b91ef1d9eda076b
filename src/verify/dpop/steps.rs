//! The steps of RFC 9449 §4.3, each by itself. None of them proves anything alone: only [`super::verify`], which takes all
//! of them in order, makes a [`super::Proof`].

use std::fmt;
use std::time::Duration;

use subtle::ConstantTimeEq as _;

use crate::refusal::{Reason, Refusal, shown};
use crate::request::ProofField;
use crate::time::UnixTime;
use crate::verify::access_token::TokenHash;
use crate::verify::algorithm::Algorithm;
use crate::verify::htu::same_target;
use crate::verify::json::Json;
use crate::verify::jwk::{PublicKey, Thumbprint, Unusable};
use crate::verify::jws::{self, Compact};
use crate::verify::nonce::{BadNonce, Nonces};
use crate::verify::rules::ProofRules;
use crate::verify::signatures::Signatures;

/// Longest accepted proof, in bytes.
pub const MAX_PROOF_BYTES: usize = 8 * 1024;

/// Longest accepted `jti`, in bytes.
const MAX_JTI_BYTES: usize = 512;

/// How far ahead the clock of the replica that made a nonce may be, whatever is tolerated of clients.
const REPLICAS: Duration = Duration::from_secs(5);

fn malformed(found: &'static str) -> Refusal {
    Refusal::new(Reason::ProofMalformed).expected("one JWT").found(found)
}

/// (1) There is one `DPoP` field, with one value of an acceptable length.
pub fn single(field: &ProofField) -> Result<&str, Refusal> {
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
    value.to_str().map_err(|_| malformed("other characters"))
}

/// (2) It has the three segments of a JWT.
pub fn split(text: &str) -> Result<Compact<'_>, Refusal> {
    Compact::split(text).ok_or_else(|| malformed("other than three segments"))
}

/// (2) The header is strict JSON.
pub fn read_header(segment: &str) -> Result<Json, Refusal> {
    jws::decode_object(segment).ok_or_else(|| malformed("a header that is not strict JSON"))
}

/// (4) `typ` is `dpop+jwt`: other signed JWTs are not proofs (RFC 8725 §3.11).
pub fn check_type(header: &Json) -> Result<(), Refusal> {
    if header.string("typ") != Some("dpop+jwt") {
        return Err(Refusal::new(Reason::ProofType).expected("typ dpop+jwt"));
    }
    Ok(())
}

/// (2) Nothing in the header demands what nobody here understands (RFC 7515 §4.1.11, RFC 7797).
pub fn check_extensions(header: &Json) -> Result<(), Refusal> {
    if jws::demands_extension(header) {
        return Err(Refusal::new(Reason::ProofCritical).found("crit or b64 in the header"));
    }
    Ok(())
}

/// (5) `alg` is an asymmetric algorithm that we know.
pub fn read_algorithm(header: &Json) -> Result<Algorithm, Refusal> {
    header
        .string("alg")
        .and_then(Algorithm::from_name)
        .ok_or_else(|| Refusal::new(Reason::ProofAlgorithm).expected("an asymmetric signature algorithm"))
}

/// (7) `jwk` is a public key and holds nothing private. `kid`, `x5c`, `jku` and `x5u` are never used (RFC 8725 §3.10).
pub fn read_key(header: &Json, algorithm: Algorithm) -> Result<PublicKey, Refusal> {
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
    PublicKey::from_jwk(&jwk, algorithm).map_err(unusable)
}

/// (5) `alg` is one that the gateway accepts.
pub fn check_algorithm(algorithm: Algorithm, rules: &ProofRules) -> Result<(), Refusal> {
    if !rules.algorithms.contains(&algorithm) {
        return Err(Refusal::new(Reason::ProofAlgorithm)
            .expected(Algorithm::challenge_list(&rules.algorithms))
            .found(algorithm.name()));
    }
    Ok(())
}

/// (2) The claims are strict JSON.
pub fn read_claims(jws: &Compact<'_>) -> Result<Json, Refusal> {
    jws.claims().ok_or_else(|| malformed("claims that are not strict JSON"))
}

/// (8) `htm` is the request's method; methods are case-sensitive (RFC 9110 §9.1).
pub fn check_method(htm: &str, method: &str) -> Result<(), Refusal> {
    if htm != method {
        return Err(Refusal::new(Reason::ProofMethod)
            .expected(method.to_owned())
            .found(shown(htm).chars().take(20).collect::<String>()));
    }
    Ok(())
}

/// (9) `htu` is the request's URI.
pub fn check_target(htu: &str, external_url: &str) -> Result<(), Refusal> {
    if !same_target(htu, external_url) {
        return Err(Refusal::new(Reason::ProofTarget).expected(external_url.to_owned()).found(shown_htu(htu)));
    }
    Ok(())
}

/// (12) `ath` is the token's hash.
pub fn check_token_hash(ath: &str, hash: &TokenHash) -> Result<(), Refusal> {
    if !hash.is_spelled(ath) {
        return Err(Refusal::new(Reason::ProofTokenHash).expected("ath of the access token that was sent"));
    }
    Ok(())
}

/// (12) The key is the one that the token is bound to.
pub fn check_key(key: Thumbprint, bound: Thumbprint) -> Result<(), Refusal> {
    if !bool::from(key.0.ct_eq(&bound.0)) {
        return Err(Refusal::new(Reason::ProofKeyMismatch)
            .expected(format!("cnf.jkt {bound}"))
            .found(format!("a proof by {key}")));
    }
    Ok(())
}

/// (10) The nonce is one of ours that is still good. Answers when it was made.
pub fn check_nonce(nonce: Option<&str>, nonces: &Nonces, now: UnixTime) -> Result<UnixTime, Refusal> {
    let nonce = nonce.ok_or_else(|| Refusal::new(Reason::ProofNonceMissing).expected("nonce, a string"))?;
    nonces.minted(nonce, now, REPLICAS).map_err(|bad| {
        Refusal::new(Reason::ProofNonce).expected("a nonce of this gateway").found(match bad {
            BadNonce::Unknown => "another one",
            BadNonce::Expired => "one that is too old",
            BadNonce::Future => "one of a replica whose clock is ahead",
        })
    })
}

/// (6) The signature verifies under `jwk`.
pub fn check_signature(jws: &Compact<'_>, key: &PublicKey, signatures: &impl Signatures) -> Result<(), Refusal> {
    let signature = jws.signature_bytes().ok_or_else(|| malformed("a signature that is not base64url"))?;
    if !signatures.verifies(key, jws.signing_input.as_bytes(), &signature) {
        return Err(Refusal::new(Reason::ProofSignature));
    }
    Ok(())
}

/// (3) The claims that §4.2 requires, of the right types.
pub struct Claims<'a> {
    pub jti: &'a str,
    pub htm: &'a str,
    pub htu: &'a str,
    pub ath: &'a str,
    pub dates: Dates,
    /// `None` when it is no string, too.
    pub nonce: Option<&'a str>,
}

impl<'a> Claims<'a> {
    /// Reads them all.
    pub fn read(claims: &'a Json) -> Result<Self, Refusal> {
        let jti = text(claims, "jti")?;
        if jti.len() > MAX_JTI_BYTES {
            return Err(Refusal::new(Reason::ProofClaims)
                .expected(format!("jti of at most {MAX_JTI_BYTES} bytes"))
                .found(format!("{} bytes", jti.len())));
        }
        Ok(Self {
            jti,
            htm: text(claims, "htm")?,
            htu: text(claims, "htu")?,
            ath: text(claims, "ath")?,
            dates: Dates::read(claims)?,
            nonce: nonce(claims),
        })
    }
}

/// A claim that must be a text.
pub fn text<'a>(claims: &'a Json, name: &'static str) -> Result<&'a str, Refusal> {
    let wrong = || Refusal::new(Reason::ProofClaims).expected(format!("{name}, a string that is not empty"));
    claims.string(name).filter(|text| !text.is_empty()).ok_or_else(wrong)
}

/// `nonce`, if it is a string.
pub fn nonce(claims: &Json) -> Option<&str> {
    claims.string("nonce")
}

/// When a proof is good.
pub struct Dates {
    pub issued_at: UnixTime,
    expires: Option<UnixTime>,
    not_before: Option<UnixTime>,
}

impl Dates {
    /// (3) `iat` is there.
    pub fn read(claims: &Json) -> Result<Self, Refusal> {
        let date = |name: &'static str| {
            let wrong = || Refusal::new(Reason::ProofClaims).expected(format!("{name}, a date in seconds"));
            claims
                .get(name)
                .map(|value| value.as_f64().and_then(UnixTime::from_numeric_date).ok_or_else(wrong))
                .transpose()
        };
        let missing = || Refusal::new(Reason::ProofClaims).expected("iat, a date in seconds").found("none");
        Ok(Self {
            issued_at: date("iat")?.ok_or_else(missing)?,
            // §4.2 does not define these two; a client that sends them means them.
            expires: date("exp")?,
            not_before: date("nbf")?,
        })
    }

    /// (11) The proof is of now.
    pub fn check(&self, rules: &ProofRules, now: UnixTime) -> Result<(), Refusal> {
        let age = now.seconds_since(self.issued_at);
        let (oldest, ahead) = ((rules.lifetime + rules.clock_skew).as_secs(), rules.clock_skew.as_secs());
        let window = || format!("iat from {oldest} s ago to {ahead} s ahead");
        if now > self.issued_at + rules.lifetime + rules.clock_skew {
            return Err(Refusal::new(Reason::ProofStale).expected(window()).found(format!("{age:.0} s ago")));
        }
        if self.issued_at > now + rules.clock_skew {
            return Err(Refusal::new(Reason::ProofFuture).expected(window()).found(format!("{:.0} s ahead", -age)));
        }
        if let Some(expires) = self.expires.filter(|expires| now >= *expires + rules.clock_skew) {
            let found = format!("{:.0} s ago", now.seconds_since(expires));
            return Err(Refusal::new(Reason::ProofStale)
                .expected(format!("an exp from {ahead} s ago on"))
                .found(found));
        }
        if let Some(not_before) = self.not_before.filter(|not_before| *not_before > now + rules.clock_skew) {
            let found = format!("{:.0} s ahead", not_before.seconds_since(now));
            return Err(Refusal::new(Reason::ProofFuture)
                .expected(format!("an nbf up to {ahead} s ahead"))
                .found(found));
        }
        Ok(())
    }
}

/// `htu` for the operator: without query and user information, which may hold secrets.
pub fn shown_htu(htu: &str) -> String {
    let end = htu.find(['?', '#']).unwrap_or(htu.len());
    let bare = &htu[..end];
    shown(bare.rsplit_once('@').map_or(bare, |(_, rest)| rest))
}

impl fmt::Debug for Claims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(…)")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn a_proof_counts_for_exactly_as_long_as_its_dates_and_the_rules_say() {
        let rules = ProofRules::default();
        let (oldest, latest) = (NOW - rules.lifetime - rules.clock_skew, NOW + rules.clock_skew);
        let window = "iat from 90 s ago to 30 s ahead";
        for (issued_at, expires, not_before, refused) in [
            (NOW, None, None, None),
            (oldest, None, None, None),
            (oldest - MOMENT, None, None, Some((Reason::ProofStale, window, "90 s ago"))),
            (latest, None, None, None),
            (latest + MOMENT, None, None, Some((Reason::ProofFuture, window, "30 s ahead"))),
            (NOW, Some(NOW - rules.clock_skew + MOMENT), None, None),
            (
                NOW,
                Some(NOW - rules.clock_skew),
                None,
                Some((Reason::ProofStale, "an exp from 30 s ago on", "30 s ago")),
            ),
            (NOW, None, Some(latest), None),
            (NOW, None, Some(latest + MOMENT), Some((Reason::ProofFuture, "an nbf up to 30 s ahead", "30 s ahead"))),
        ] {
            let outcome = Dates { issued_at, expires, not_before }.check(&rules, NOW).err();
            let found = outcome.as_ref().map(|refusal| {
                let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
                (refusal.reason(), text(refusal.what_was_expected()), text(refusal.what_was_found()))
            });
            let refused = refused.map(|(reason, expected, found)| (reason, expected.to_owned(), found.to_owned()));
            assert_eq!(found, refused, "{issued_at:?} {expires:?} {not_before:?}");
        }
    }

    #[test]
    fn a_proof_has_a_longest_length() {
        for (length, refused) in [(MAX_PROOF_BYTES, None), (MAX_PROOF_BYTES + 1, Some(Reason::ProofTooLarge))] {
            let field = ProofField::One(HeaderValue::try_from("x".repeat(length)).unwrap());
            assert_eq!(single(&field).err().map(|refusal| refusal.reason()), refused);
        }
    }

    #[test]
    fn what_is_shown_of_a_target_holds_no_secret() {
        for (htu, shown) in [
            ("https://rs.example/a?token=secret", "https://rs.example/a"),
            ("https://rs.example/a#secret", "https://rs.example/a"),
            ("https://user:secret@rs.example/a", "rs.example/a"),
        ] {
            assert_eq!(shown_htu(htu), shown);
        }
    }
}
