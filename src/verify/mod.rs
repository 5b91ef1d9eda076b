//! The core: does this token hold, and does its caller possess the key it names?
//!
//! Pure: no I/O, no async, no logging, and the time is an argument. Each function says what it does *not*
//! check. What a check establishes is a value that did not exist before: an [`AccessToken`] is a token whose
//! issuer vouches for it, a [`Proof`] is a proof that passed RFC 9449 §4.3 for one request and one token.

mod access_token;
mod algorithm;
pub mod base64url;
mod binding;
mod confirmation;
mod dpop;
pub(crate) mod examine;
mod htu;
mod introspected;
mod json;
mod jwk;
mod jws;
mod known_key;
mod nonce;
mod rules;
mod signatures;
mod signed;
mod token_claims;

pub use access_token::{AccessToken, MAX_TOKEN_BYTES, TokenHash, UnverifiedToken, check_length, unknown_issuer};
pub use algorithm::Algorithm;
pub use binding::{Accepted, Binding, Demand, Possession, Presentation, prove};
pub use confirmation::Confirmation;
pub use dpop::{
    Expected, MAX_PROOF_BYTES, Proof, ProofHeader, ProofKeys, ReplayKey, Unremembered, verify as verify_proof,
};
pub use htu::same_target;
pub use introspected::{BadAnswer, Introspected};
pub use json::Json;
pub use jwk::{Keyset, PublicKey, Skipped, Thumbprint, Unusable};
pub use known_key::KnownKey;
pub use nonce::{BadNonce, Nonces};
pub use rules::{IssuerRules, ProofRules};
pub use signatures::Signatures;
pub use signed::is_opaque;
pub use token_claims::TokenClaims;
