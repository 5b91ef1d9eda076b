//! What breaks around a gateway, and who wants all of it for himself. The real binary under load is killed, starved, lied to
//! and cut off; each time a thief and a stranger try their luck, every request that a client sent is accounted for, and
//! service must return by itself. `docs/assurance.md` has the table of faults and promises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]
#![allow(clippy::print_stdout, reason = "figures, for whoever asks for them")]

#[path = "../lifecycle/api.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod api;
mod clocks;
mod crowd;
mod disks;
#[path = "../lifecycle/issuer.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod issuer;
mod kills;
mod neighbours;
mod networks;
#[path = "../lifecycle/process.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod process;
mod relay;
mod resources;
#[path = "../lifecycle/samples.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod samples;
#[path = "../shared/servers.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod servers;
mod siege;
#[path = "../lifecycle/stage.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod stage;
mod starvation;
#[path = "../conformance/support/mod.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod support;
#[path = "../shared/waiting.rs"]
mod waiting;

use waiting::{PATIENCE, eventually, in_time};

/// What users are told is tested has a test.
#[test]
fn the_document_names_what_there_is() {
    let text = include_str!("../../docs/assurance.md");
    let sections =
        text.split("\n## ").filter(|section| section.starts_with("Faults") || section.starts_with("Starvation"));
    let mut count = 0;
    for name in sections.flat_map(|section| section.split('`').skip(1).step_by(2)) {
        let Some((place, function)) = name.split_once("::") else { continue };
        let file = if place.contains('/') { place.to_owned() } else { format!("tests/faults/{place}.rs") };
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
        let source = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(&format!("fn {function}(")), "{file} has no {function}");
        count += 1;
    }
    assert!(count >= 20, "the names were found: {count}");
}
