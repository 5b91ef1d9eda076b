//! What each fuzz target does with its bytes, and what must hold of the outcome. The product's own unit tests replay the
//! seeds through the same functions (`src/fuzzing/tests.rs`).

pub mod access_token;
pub mod authorization;
pub mod certificate;
pub mod configuration;
pub mod forwarded;
pub mod http_head;
pub mod htu;
pub mod introspection;
pub mod json;
pub mod jwk;
pub mod jwks;
pub mod jws;
mod keys;
pub mod known_key;
pub mod nonce;
mod oracle;
pub mod proof;
pub mod proxy_protocol;
pub mod signature;
pub mod target;
mod url;

/// A target's name and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; each has a folder of seeds.
pub const TARGETS: [Target; 18] = [
    ("access_token", access_token::run),
    ("authorization", authorization::run),
    ("certificate", certificate::run),
    ("configuration", configuration::run),
    ("forwarded", forwarded::run),
    ("http_head", http_head::run),
    ("htu", htu::run),
    ("introspection", introspection::run),
    ("json", json::run),
    ("jwk", jwk::run),
    ("jwks", jwks::run),
    ("jws", jws::run),
    ("known_key", known_key::run),
    ("nonce", nonce::run),
    ("proof", proof::run),
    ("proxy_protocol", proxy_protocol::run),
    ("signature", signature::run),
    ("target", target::run),
];
