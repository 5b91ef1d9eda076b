//! What tokens and proofs must look like: the configured part of verification.

use std::time::Duration;

use super::algorithm::Algorithm;
use super::nonce::Nonces;

/// Among the accepted types: tokens without a `typ`, of servers that write none. RFC 9068 §4 demands one.
pub const ABSENT: &str = "absent";

/// What an issuer's access tokens must look like (RFC 9068 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerRules {
    /// Exact string match with `iss`.
    pub issuer: String,
    /// One of these must be in `aud`.
    pub audiences: Vec<String>,
    /// Acceptable `alg` values.
    pub algorithms: Vec<Algorithm>,
    /// Acceptable `typ` values, compared without case and without `application/`; `absent` stands for none at all.
    pub token_types: Vec<String>,
    /// Tolerance for `exp` and `nbf`.
    pub clock_skew: Duration,
}

impl IssuerRules {
    /// The documented defaults for an issuer and its audiences.
    pub fn new(issuer: impl Into<String>, audiences: Vec<String>) -> Self {
        use Algorithm::{EdDsa, Es256, Es384, Ps256, Rs256};
        Self {
            issuer: issuer.into(),
            audiences,
            algorithms: vec![Es256, Es384, Ps256, Rs256, EdDsa],
            token_types: vec!["at+jwt".to_owned()],
            clock_skew: Duration::from_secs(10),
        }
    }
}

/// What DPoP proofs must look like (RFC 9449 §4.3).
#[derive(Debug, Clone)]
pub struct ProofRules {
    /// Acceptable `alg` values, in the order in which challenges list them.
    pub algorithms: Vec<Algorithm>,
    /// Oldest acceptable `iat`, before `clock_skew` is added.
    pub lifetime: Duration,
    /// How far in the future `iat` may lie.
    pub clock_skew: Duration,
    /// When set, every proof must hold a nonce of these (RFC 9449 §9).
    pub nonces: Option<Nonces>,
}

impl Default for ProofRules {
    fn default() -> Self {
        Self {
            algorithms: vec![Algorithm::Es256, Algorithm::Ps256, Algorithm::EdDsa],
            lifetime: Duration::from_mins(1),
            clock_skew: Duration::from_secs(30),
            nonces: None,
        }
    }
}
