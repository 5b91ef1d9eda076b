//! Attacks by HTTP itself: requests that could be taken for two, paths that could be read otherwise, and floods. Raw bytes
//! and frames go to the real binary in front of nginx, Apache and a Node server, each as lenient as it can be configured,
//! and in front of a reader that takes nothing but one canonical spelling.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]
#![allow(clippy::print_stdout, reason = "figures, for whoever asks for them")]

#[path = "../lifecycle/api.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod api;
mod corpus;
mod floods;
mod frames;
#[path = "../lifecycle/issuer.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod issuer;
mod origin;
mod paths;
#[path = "../lifecycle/process.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod process;
mod range;
#[path = "../lifecycle/samples.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod samples;
mod smuggling;
#[path = "../lifecycle/stage.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod stage;
mod strict;
#[path = "../conformance/support/mod.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod support;
#[path = "../shared/waiting.rs"]
mod waiting;

use waiting::{PATIENCE, eventually, in_time};

/// What users are told of the corpus is what it has.
#[test]
fn the_document_counts_right() {
    let text = include_str!("../../docs/assurance.md");
    for count in [
        format!("{} cases, each", corpus::CASES.len()),
        format!("{} cases, likewise", frames::FRAMES.len()),
        format!("{} spellings and {} heads", paths::SPELLINGS.len(), paths::HEADS.len()),
        format!("{} floods, four connections each", floods::FRAMES.len()),
        format!("{} floods, likewise", floods::LINES.len()),
    ] {
        assert!(text.contains(&count), "docs/assurance.md does not say: {count}");
    }
}
