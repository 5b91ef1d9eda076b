//! Access tokens: JWTs (RFC 9068 §4), and those that their issuer was asked about (RFC 7662).
//!
//! Two halves: what holds for ever once seen (structure, signature, the claims' types) makes an
//! [`AccessToken`], which may be remembered; what depends on the moment (expiry, audience) is
//! [`AccessToken::check`], asked again for every request. Neither looks at the binding.

use std::fmt;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::algorithm::Algorithm;
use super::base64url;
use super::confirmation::Confirmation;
use super::dpop::Unremembered;
use super::json::Json;
use super::jwk::{Keyset, Thumbprint};
use super::rules::{ABSENT, IssuerRules};
use super::signatures::Signatures;
use super::signed::{self, SignedJwt};
use super::token_claims::{Form, TokenClaims};
use crate::refusal::{Reason, Refusal, shown};
use crate::request::Credentials;
use crate::time::UnixTime;

/// Longest accepted access token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// SHA-256 of an access token's ASCII: the token cache's key, and `ath` of its proofs (RFC 9449 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes a token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// The hash of the token in these credentials. Once per connection that shows no other.
    pub fn shown(credentials: &Credentials) -> Self {
        Self(credentials.token_hash(|token| Self::of(token).0))
    }

    /// Whether `ath` is the one spelling of this hash.
    pub fn is_spelled(&self, ath: &str) -> bool {
        base64url::decode_array::<32>(ath).is_some_and(|bytes| bytes.ct_eq(&self.0).into())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A token that was read but whose signature nobody checked: good for choosing the issuer and nothing else.
pub struct UnverifiedToken<'a> {
    jwt: SignedJwt<'a>,
    hash: TokenHash,
}

impl<'a> UnverifiedToken<'a> {
    /// Reads a token strictly. `hash` is its [`TokenHash`], computed by the caller once.
    ///
    /// # Errors
    /// [`Reason::TokenTooLarge`], [`Reason::TokenMalformed`], [`Reason::TokenCritical`], [`Reason::TokenAlgorithm`].
    pub fn read(token: &'a str, hash: TokenHash) -> Result<Self, Refusal> {
        check_length(token)?;
        Ok(Self { jwt: SignedJwt::read(token)?, hash })
    }

    /// The claimed issuer.
    ///
    /// # Errors
    /// [`Reason::TokenIssuer`].
    pub fn issuer(&self) -> Result<&str, Refusal> {
        claimed_issuer(self.jwt.claims())
    }

    /// Checks type, algorithm and signature against the rules and keys of the issuer that the token claims
    /// (RFC 8725 §3.8: the keys must be that issuer's), and the types of the claims. Does not check time,
    /// audience or binding.
    ///
    /// # Errors
    /// [`Reason::TokenIssuer`], [`Reason::TokenType`], [`Reason::TokenAlgorithm`], [`Reason::TokenKeyUnknown`],
    /// [`Reason::TokenSignature`], [`Reason::TokenClaims`], and what the confirmation's form is refused for.
    pub fn verify(self, rules: &IssuerRules, keys: &Keyset) -> Result<AccessToken, Refusal> {
        self.verify_by(&Unremembered, rules, keys)
    }

    /// The same, with signatures checked by `signatures`.
    ///
    /// # Errors
    /// As [`UnverifiedToken::verify`].
    pub fn verify_by(
        self,
        signatures: &impl Signatures,
        rules: &IssuerRules,
        keys: &Keyset,
    ) -> Result<AccessToken, Refusal> {
        check_issuer(self.issuer()?, rules)?;
        check_type(self.jwt.header(), rules)?;
        check_algorithm(self.jwt.algorithm(), rules)?;
        let ground = Ground::Signature(self.jwt.signing_key(keys, signatures)?, self.jwt.algorithm());
        AccessToken::of_claims(self.jwt.into_claims(), self.hash, ground, rules)
    }
}

/// `iss` of a token that nobody vouches for yet.
pub(super) fn claimed_issuer(claims: &Json) -> Result<&str, Refusal> {
    let missing = || Refusal::new(Reason::TokenIssuer).expected("iss, a string").found("none");
    claims.string("iss").ok_or_else(missing)
}

/// The refusal of a token whose `iss` is none of the configured issuers'.
pub fn unknown_issuer(claimed: &str) -> Refusal {
    // Nobody vouches for the token yet: what is shown of it is a URL, as issuers are, or nothing.
    let found = if claimed.starts_with("https://") { shown(claimed) } else { "no https URL".to_owned() };
    Refusal::new(Reason::TokenIssuer).expected("a configured issuer").found(found)
}

/// RFC 9068 §4: `iss` is the issuer of the rules.
pub(super) fn check_issuer(issuer: &str, rules: &IssuerRules) -> Result<(), Refusal> {
    if issuer != rules.issuer {
        return Err(Refusal::new(Reason::TokenIssuer).expected(rules.issuer.clone()));
    }
    Ok(())
}

/// RFC 9068 §4, RFC 8725 §3.11: `typ` says that this is an access token.
pub(super) fn check_type(header: &Json, rules: &IssuerRules) -> Result<(), Refusal> {
    let fits = |accepted: &String| match accepted.as_str() {
        ABSENT => !header.has("typ"),
        media_type => signed::is_typed(header, media_type),
    };
    if !rules.token_types.iter().any(fits) {
        return Err(Refusal::new(Reason::TokenType)
            .expected(format!("typ {}", rules.token_types.join(" or ")))
            .found(if header.has("typ") { "another" } else { "none" }));
    }
    Ok(())
}

/// RFC 8725 §3.1: `alg` is one that the issuer may use.
pub(super) fn check_algorithm(algorithm: Algorithm, rules: &IssuerRules) -> Result<(), Refusal> {
    if !rules.algorithms.contains(&algorithm) {
        return Err(Refusal::new(Reason::TokenAlgorithm)
            .expected(Algorithm::challenge_list(&rules.algorithms))
            .found(algorithm.name()));
    }
    Ok(())
}

/// Whether a token is short enough to be looked at.
///
/// # Errors
/// [`Reason::TokenTooLarge`].
pub fn check_length(token: &str) -> Result<(), Refusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::new(Reason::TokenTooLarge)
            .expected(format!("at most {MAX_TOKEN_BYTES} bytes"))
            .found(format!("{} bytes", token.len())));
    }
    Ok(())
}

/// Why a token's claims are believed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// A signature verified under this key, with this algorithm.
    Signature(Thumbprint, Algorithm),
    /// Its issuer was asked and said that it is active.
    Introspection,
}

/// An access token that its issuer vouches for: its signature verified under a key of the issuer, or the issuer was
/// asked and said that it is active. Only [`UnverifiedToken::verify`] and the reading of such an answer make one.
pub struct AccessToken {
    hash: TokenHash,
    ground: Ground,
    claims: TokenClaims,
}

impl AccessToken {
    pub(super) fn of_claims(
        claims: Json,
        hash: TokenHash,
        ground: Ground,
        rules: &IssuerRules,
    ) -> Result<Self, Refusal> {
        let form = if ground == Ground::Introspection { Form::Answer } else { Form::Jwt };
        Ok(Self { hash, ground, claims: TokenClaims::read(claims, form, rules)? })
    }

    /// What depends on the moment and the configuration: issuer, audience, expiry. Asked for every request.
    ///
    /// # Errors
    /// [`Reason::TokenIssuer`], [`Reason::TokenAudience`], [`Reason::TokenExpired`], [`Reason::TokenNotYetValid`].
    pub fn check(&self, rules: &IssuerRules, now: UnixTime) -> Result<(), Refusal> {
        check_issuer(self.claims.issuer(), rules)?;
        self.claims.check_audience(rules)?;
        self.claims.check_expiry(rules, now)?;
        self.claims.check_beginning(rules, now)
    }

    /// Whether this is the token that hashes to `hash`.
    pub fn is(&self, hash: &TokenHash) -> bool {
        self.hash.0.ct_eq(&hash.0).into()
    }

    /// SHA-256 of the token.
    pub const fn hash(&self) -> &TokenHash {
        &self.hash
    }

    /// Whether the key that signed it is among these, for the algorithm that it was used with.
    pub fn is_signed_by_one_of(&self, keys: &Keyset) -> bool {
        matches!(self.ground, Ground::Signature(key, algorithm) if keys.contains(key, algorithm))
    }

    /// Whether its issuer was asked about it, because only that can read it.
    pub const fn is_introspected(&self) -> bool {
        matches!(self.ground, Ground::Introspection)
    }

    /// What it says.
    pub const fn claims(&self) -> &TokenClaims {
        &self.claims
    }

    /// `iss`.
    pub fn issuer(&self) -> &str {
        self.claims.issuer()
    }

    /// `exp`, which a JWT always has.
    pub const fn expires(&self) -> Option<UnixTime> {
        self.claims.expires()
    }

    /// `client_id`, if the token tells.
    pub fn client_id(&self) -> Option<&str> {
        self.claims.client_id()
    }

    /// What key the token is bound to; `None`: to none.
    ///
    /// # Errors
    /// [`Reason::ConfirmationMalformed`], [`Reason::ConfirmationUnenforceable`].
    pub fn confirmation(&self) -> Result<Option<&Confirmation>, Refusal> {
        self.claims.confirmation()
    }

    /// Any claim, for forwarding.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.claim(name)
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("issuer", &self.issuer()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{TokenHash, UnverifiedToken, base64url};

    proptest! {
        #[test]
        fn any_text_is_a_token_or_refused(text in "\\PC{0,80}", header in "\\PC{0,40}", claims in "\\PC{0,40}") {
            let _ = UnverifiedToken::read(&text, TokenHash::of(&text));
            let segments = [header.as_bytes(), claims.as_bytes(), b"x"].map(base64url::encode).join(".");
            let _ = UnverifiedToken::read(&segments, TokenHash::of(&segments));
        }
    }
}
