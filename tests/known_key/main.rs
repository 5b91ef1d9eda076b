//! Signatures under keys that come again: `KnownKey` beside aws-lc-rs and the `p256` crate, on published vectors, on edges
//! that are constructed, and on many random ones. docs/key-tables.md says what these tests are for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, clippy::print_stdout, reason = "pedantry is for what ships")]

mod constructed;
mod differential;
mod judges;
mod published;

#[path = "../shared/rfc9449.rs"]
mod rfc9449;
