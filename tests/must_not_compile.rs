//! Programs that must not compile: the pass cannot be forged, spent twice, or left out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

use std::env;
use std::process::{Command, Stdio};

/// Goes before the flags that trybuild gives in two ways: cargo would check every dependency twice.
const FLAGS: &str = "CARGO_ENCODED_RUSTFLAGS";

/// trybuild's own.
const TRYBUILD: [&str; 5] = ["--cfg=trybuild", "--verbose", "-A", "dead_code", "--diagnostic-width=140"];

#[test]
fn a_pass_cannot_be_forged_spent_twice_or_left_out() {
    if env::var_os(FLAGS).is_none() {
        let mut again = Command::new(env::current_exe().unwrap());
        again.args(["--exact", "--nocapture", "a_pass_cannot_be_forged_spent_twice_or_left_out"]);
        let ended = again.env(FLAGS, TRYBUILD.join("\x1f")).stderr(Stdio::inherit()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("1 passed"), "{}\n{said}", ended.status);
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/must_not_compile/*.rs");
}
