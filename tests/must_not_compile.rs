//! Programs that must not compile: the pass cannot be forged, spent twice, or left out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

#[test]
fn a_pass_cannot_be_forged_spent_twice_or_left_out() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/must_not_compile/*.rs");
}
