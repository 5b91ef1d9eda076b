//! Keybound lets a request through only if its caller proves possession of the key that its access token names:
//! a TLS client certificate (RFC 8705) or a DPoP proof key (RFC 9449).
//!
//! # The way of a request
//!
//! 1. [`accept`]: bytes become a peer and a request. TLS ends here.
//! 2. [`request`]: the target is read once, the credentials are taken out.
//! 3. [`routes`]: the first rule that matches.
//! 4. [`verify`]: the core. Does the token hold, does the caller possess what it names? Pure; usable on its own,
//!    with [`tokens`] remembering signatures and [`keys`] holding the issuers' public keys. Opaque tokens are for
//!    their issuer to read: [`introspect`] asks it.
//! 5. [`limits`]: no caller asks too much. [`replay`]: each proof passes once.
//! 6. [`authorize`]: the value that travels, stage by stage, and ends as an [`authorize::Authorized`].
//! 7. [`forward`]: takes an authorized request and nothing else; [`identity`] signs who was proven to ask.
//! 8. [`respond`]: words for whoever was refused; [`refusal`] is the catalogue of reasons.
//!
//! [`gateway`] tells this in order; [`server`] runs it as [`config`] says; [`telemetry`] and [`admin`] show it.
//! [`explain`] asks every check of a request that was not sent, and goes on after the first that fails.
//! [`prover`] is the other side of the wire: keys and proofs as a client makes them.

#![cfg_attr(test, allow(clippy::pedantic, reason = "pedantry is for what ships"))]

// Fuzz targets, which tests replay, know this crate by its name.
#[cfg(test)]
extern crate self as keybound;

pub mod accept;
pub mod admin;
pub mod authorize;
pub mod clock;
pub mod config;
pub mod explain;
pub mod forward;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gateway;
pub mod identity;
pub mod introspect;
pub mod keys;
pub mod limits;
pub mod prover;
pub mod refusal;
pub mod replay;
pub mod request;
pub mod respond;
pub mod routes;
pub mod server;
pub mod telemetry;
mod tending;
pub mod time;
pub mod tokens;
pub mod verify;
pub mod workers;
