//! TLS from outside: the real binary before two scanners, clients with odd certificates, sessions carried to where they do
//! not belong, and handshakes that no honest client does. The clients are curl, OpenSSL's `s_client` and rustls.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]
#![allow(clippy::print_stdout, reason = "figures, for whoever asks for them")]

#[path = "../lifecycle/api.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod api;
mod certificates;
mod clients;
mod der;
mod floods;
mod ground;
mod handshakes;
#[path = "../lifecycle/issuer.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod issuer;
mod odd;
#[path = "../lifecycle/process.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod process;
mod records;
#[path = "../lifecycle/samples.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod samples;
mod scanners;
mod sessions;
#[path = "../lifecycle/stage.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod stage;
#[path = "../conformance/support/mod.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod support;
#[path = "../shared/waiting.rs"]
mod waiting;

use waiting::{PATIENCE, eventually, in_time};

/// What users are told of these tests is what they have.
fn documented(figure: &str) {
    let text = include_str!("../../docs/assurance.md");
    assert!(text.contains(figure), "docs/assurance.md does not say: {figure}");
}
