//! `docs/reasons.md` says of every reason what the code says, and names no other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

use std::fmt::Write as _;

use keybound::refusal::Reason;

const DOCUMENT: &str = include_str!("../docs/reasons.md");

/// The row of a reason: slug, status, OAuth error, meaning, client, operator.
fn row(reason: Reason) -> String {
    let answer = reason.answer();
    let error = answer.oauth_error().map_or_else(|| "–".to_owned(), |error| format!("`{error}`"));
    let advice = reason.advice();
    let cells = [
        &format!("`{}`", reason.slug()),
        &answer.status().to_string(),
        &error,
        reason.meaning(),
        advice.client,
        advice.operator,
    ];
    format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

#[test]
fn the_catalogue_has_a_row_for_each_reason_and_no_other() {
    let found: Vec<&str> = DOCUMENT.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = Reason::ALL.iter().map(|reason| row(*reason)).collect();
    let mut all = String::new();
    for row in &expected {
        writeln!(all, "{row}").unwrap();
    }
    assert_eq!(found, expected, "the table should be:\n{all}");
}

#[test]
fn whatever_is_said_of_a_reason_is_a_sentence() {
    for reason in Reason::ALL {
        let advice = reason.advice();
        for text in [reason.meaning(), advice.client, advice.operator] {
            let ends = text.ends_with(['.', '?']);
            assert!(ends && text.len() > 5 && !text.contains('\n'), "{}: {text}", reason.slug());
        }
    }
}
