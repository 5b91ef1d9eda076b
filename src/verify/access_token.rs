//! Access tokens: JWTs (RFC 9068 §4), and those that their issuer was asked about (RFC 7662).
//!
//! Two halves: what holds for ever once seen (structure, signature, the claims' types) makes an
//! [`AccessToken`], which may be remembered; what depends on the moment (expiry, audience) is
//! [`AccessToken::check`], asked again for every request. Neither looks at the binding.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::algorithm::Algorithm;
use super::base64url;
use super::confirmation::Confirmation;
use super::json::Json;
use super::jwk::{Keyset, Thumbprint};
use super::rules::IssuerRules;
use super::signed::SignedJwt;
use crate::refusal::{Reason, Refusal, shown};
use crate::time::UnixTime;

/// Longest accepted access token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// How far in the future `iat` may lie before the token is refused (FAPI 2.0 §5.3.2.1).
pub(super) const MAX_ISSUED_AHEAD: Duration = Duration::from_mins(1);

/// SHA-256 of an access token's ASCII: the token cache's key, and `ath` of its proofs (RFC 9449 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes a token. Once per request.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
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
        let missing = || Refusal::new(Reason::TokenIssuer).expected("iss, a string").found("none");
        self.jwt.claims().string("iss").ok_or_else(missing)
    }

    /// Checks type, algorithm and signature against the rules and keys of the issuer that the token claims
    /// (RFC 8725 §3.8: the keys must be that issuer's), and the types of the claims. Does not check time,
    /// audience or binding.
    ///
    /// # Errors
    /// [`Reason::TokenIssuer`], [`Reason::TokenType`], [`Reason::TokenAlgorithm`], [`Reason::TokenKeyUnknown`],
    /// [`Reason::TokenSignature`], [`Reason::TokenClaims`], and what the confirmation's form is refused for.
    pub fn verify(self, rules: &IssuerRules, keys: &Keyset) -> Result<AccessToken, Refusal> {
        if self.issuer()? != rules.issuer {
            return Err(Refusal::new(Reason::TokenIssuer).expected(rules.issuer.clone()));
        }
        if !rules.token_types.iter().any(|accepted| self.jwt.is_typed(accepted)) {
            return Err(Refusal::new(Reason::TokenType)
                .expected(format!("typ {}", rules.token_types.join(" or ")))
                .found(if self.jwt.header().has("typ") { "another" } else { "none" }));
        }
        let algorithm = self.jwt.algorithm();
        if !rules.algorithms.contains(&algorithm) {
            return Err(Refusal::new(Reason::TokenAlgorithm)
                .expected(Algorithm::challenge_list(&rules.algorithms))
                .found(algorithm.name()));
        }
        let ground = Ground::Signature(self.jwt.signing_key(keys)?, algorithm);
        AccessToken::of_claims(self.jwt.into_claims(), self.hash, ground, rules)
    }
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
    claims: Json,
    issuer: String,
    audiences: Vec<String>,
    expires: Option<UnixTime>,
    not_before: Option<UnixTime>,
    issued_at: Option<UnixTime>,
    auth_time: Option<UnixTime>,
    confirmation: Result<Option<Confirmation>, Refusal>,
}

impl AccessToken {
    /// A JWT must say who it is for and until when (RFC 9068 §2.2). An answer may leave out anything but `active`
    /// (RFC 7662 §2.2); without an `iss`, the issuer is whoever was asked.
    pub(super) fn of_claims(
        claims: Json,
        hash: TokenHash,
        ground: Ground,
        rules: &IssuerRules,
    ) -> Result<Self, Refusal> {
        let wrong = |expected: &'static str| Refusal::new(Reason::TokenClaims).expected(expected);
        let date = |name: &str, expected: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(value) => {
                value.as_f64().and_then(UnixTime::from_numeric_date).map(Some).ok_or_else(|| wrong(expected))
            }
        };
        let is_jwt = ground != Ground::Introspection;
        // RFC 9068 §2.2 demands more; these are the ones that a decision here rests on.
        if is_jwt && claims.string("sub").is_none() && claims.string("client_id").is_none() {
            return Err(wrong("sub or client_id, a string"));
        }
        if claims.get("scope").is_some_and(|scope| !scope.is_string()) {
            return Err(wrong("scope, a string of names separated by spaces"));
        }
        let issuer = match claims.get("iss") {
            None if !is_jwt => &rules.issuer,
            iss => iss.and_then(Value::as_str).ok_or_else(|| wrong("iss, a string"))?,
        };
        let expires = date("exp", "exp, a date in seconds")?;
        if is_jwt && expires.is_none() {
            return Err(wrong("exp, a date in seconds"));
        }
        Ok(Self {
            hash,
            ground,
            issuer: issuer.to_owned(),
            audiences: audiences(&claims)?,
            expires,
            not_before: date("nbf", "nbf, a date in seconds")?,
            issued_at: date("iat", "iat, a date in seconds")?,
            auth_time: date("auth_time", "auth_time, a date in seconds")?,
            confirmation: Confirmation::of(&claims),
            claims,
        })
    }

    /// What depends on the moment and the configuration: issuer, audience, expiry. Asked for every request.
    ///
    /// # Errors
    /// [`Reason::TokenIssuer`], [`Reason::TokenAudience`], [`Reason::TokenExpired`], [`Reason::TokenNotYetValid`].
    pub fn check(&self, rules: &IssuerRules, now: UnixTime) -> Result<(), Refusal> {
        if self.issuer != rules.issuer {
            return Err(Refusal::new(Reason::TokenIssuer).expected(rules.issuer.clone()));
        }
        if !self.audiences.iter().any(|audience| rules.audiences.contains(audience)) {
            return Err(Refusal::new(Reason::TokenAudience)
                .expected(rules.audiences.join(" or "))
                .found(if self.audiences.is_empty() { "none".to_owned() } else { shown(&self.audiences.join(", ")) }));
        }
        if let Some(expires) = self.expires.filter(|expires| now >= *expires + rules.clock_skew) {
            return Err(Refusal::new(Reason::TokenExpired)
                .expected("an exp in the future")
                .found(format!("{:.0} s ago", now.seconds_since(expires))));
        }
        let ahead = |date: Option<UnixTime>, tolerance: Duration| date.is_some_and(|date| date > now + tolerance);
        if ahead(self.not_before, rules.clock_skew) || ahead(self.issued_at, MAX_ISSUED_AHEAD) {
            let latest = self.not_before.max(self.issued_at).unwrap_or(now);
            return Err(Refusal::new(Reason::TokenNotYetValid)
                .expected("nbf and iat in the past")
                .found(format!("{:.0} s ahead", latest.seconds_since(now))));
        }
        Ok(())
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

    /// `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `exp`, which a JWT always has.
    pub const fn expires(&self) -> Option<UnixTime> {
        self.expires
    }

    /// `client_id`, if the token tells.
    pub fn client_id(&self) -> Option<&str> {
        self.claims.string("client_id")
    }

    /// What key the token is bound to; `None`: to none.
    ///
    /// # Errors
    /// [`Reason::ConfirmationMalformed`], [`Reason::ConfirmationUnenforceable`].
    pub fn confirmation(&self) -> Result<Option<&Confirmation>, Refusal> {
        self.confirmation.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// `scope`.
    pub fn scope(&self) -> Option<&str> {
        self.claims.string("scope")
    }

    /// Whether `scope` names it.
    pub fn has_scope(&self, wanted: &str) -> bool {
        self.scope().is_some_and(|scope| scope.split(' ').any(|name| name == wanted))
    }

    /// `acr`.
    pub fn acr(&self) -> Option<&str> {
        self.claims.string("acr")
    }

    /// `auth_time`.
    pub const fn auth_time(&self) -> Option<UnixTime> {
        self.auth_time
    }

    /// Any claim, for forwarding.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }
}

fn audiences(claims: &Json) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::new(Reason::TokenAudience).expected("aud, a string or an array of strings");
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        None => Ok(Vec::new()),
        Some(Value::Array(several)) => {
            several.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("issuer", &self.issuer).finish_non_exhaustive()
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
