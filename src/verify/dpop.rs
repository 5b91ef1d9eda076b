//! DPoP proofs, by the numbers of RFC 9449 §4.3.
//!
//! The numbered steps run cheapest first: everything that needs no cryptography comes before the signature
//! (6), so that a wrong proof costs less than a right one. The replay log is not asked here; it comes after,
//! because only a caller who holds the key may write to it.

pub(super) mod steps;

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::access_token::TokenHash;
use super::jwk::{PublicKey, Thumbprint};
use super::rules::ProofRules;
use super::signatures::Signatures;
use crate::refusal::Refusal;
use crate::request::ProofField;
use crate::time::UnixTime;
use steps::Claims;

pub use steps::MAX_PROOF_BYTES;

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
pub trait ProofKeys: Signatures {
    /// The header that this segment was read as, if still known.
    fn recall(&self, segment: &str) -> Option<Arc<ProofHeader>>;
    /// Keeps a header for next time.
    fn remember(&self, segment: &str, header: &Arc<ProofHeader>);
}

/// Remembers nothing, and checks each signature as if its key were new.
#[derive(Debug, Clone, Copy)]
pub struct Unremembered;

impl Signatures for Unremembered {}

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
    let text = steps::single(field)?;
    // (2) It is a single well-formed JWT.
    let jws = steps::split(text)?;
    // (4) typ, (5) alg, (7) jwk: the header, if it is not known already.
    let header = match keys.recall(jws.header) {
        Some(header) => header,
        None => Arc::new(read_header(jws.header)?),
    };
    steps::check_algorithm(header.key.algorithm(), rules)?;
    // (3) All required claims are there.
    let claims = steps::read_claims(&jws)?;
    let claims = Claims::read(&claims)?;
    // (8) htm is the request's method.
    steps::check_method(claims.htm, expected.method)?;
    // (9) htu is the request's URI.
    steps::check_target(claims.htu, expected.external_url)?;
    // (12) ath is the token's hash, and the key is the one that the token is bound to.
    steps::check_token_hash(claims.ath, expected.token_hash)?;
    let key = header.key.thumbprint();
    steps::check_key(key, expected.key)?;
    // (10) The nonce is one of ours. Said only to whoever holds the key, but before anything is said about time.
    let nonce = rules.nonces.as_ref().map(|nonces| steps::check_nonce(claims.nonce, nonces, now));
    // (11) The proof is of now.
    if !matches!(nonce, Some(Err(_))) {
        claims.dates.check(rules, now)?;
    }
    // (6) The signature verifies under jwk: last, because it costs more than all of the above.
    steps::check_signature(&jws, &header.key, keys)?;
    let nonce = nonce.transpose()?;
    keys.remember(jws.header, &header);
    Ok(Proof {
        key,
        replay_key: replay_key(key, claims.jti),
        issued_at: claims.dates.issued_at,
        nonce,
        accepted_until: claims.dates.issued_at + rules.lifetime + rules.clock_skew,
    })
}

/// (4) typ, (5) alg, (7) jwk.
fn read_header(segment: &str) -> Result<ProofHeader, Refusal> {
    let header = steps::read_header(segment)?;
    steps::check_type(&header)?;
    steps::check_extensions(&header)?;
    let algorithm = steps::read_algorithm(&header)?;
    Ok(ProofHeader { key: steps::read_key(&header, algorithm)? })
}

fn replay_key(key: Thumbprint, jti: &str) -> ReplayKey {
    let mut hash = Sha256::new();
    hash.update(key.0);
    hash.update([0]);
    hash.update(jti.as_bytes());
    ReplayKey(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::refusal::Reason;
    use crate::verify::base64url;

    /// What replicas of all versions remember a proof by: the key of RFC 9449 figure 1 and a `jti` of its own.
    #[test]
    fn the_form_of_a_replay_key_is_fixed() {
        let key = base64url::decode_array("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap();
        let replay_key = replay_key(Thumbprint(key), "-BwC3ESc6acc2lTc");
        assert_eq!(base64url::encode(&replay_key.0), "P-_-xJRT1-eZWFqc_sN5ptGC_CUmmYPQALIK_y63bZ0");
    }

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
