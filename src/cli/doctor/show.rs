//! Findings for people, and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::finding::{Finding, Level};

/// One line for each finding, below its subject, and a count in the last one.
pub fn lines(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut subject = None;
    // Writing to a string does not fail.
    for finding in findings {
        if subject.replace(finding.subject) != Some(finding.subject) {
            let _ = writeln!(text, "{}", finding.subject.as_str());
        }
        let _ = writeln!(text, "  {:<4}  {}", finding.level.as_str(), sentence(finding));
    }
    let _ = writeln!(text, "\n{}", counted(findings));
    text
}

/// Other servers chose some of the words, and a terminal obeys control characters.
fn sentence(finding: &Finding) -> String {
    let Finding { what, expected, found, advice, .. } = finding;
    let mut text = match expected {
        Some(expected) => format!("{what}: expected {expected}, found {found}"),
        None => format!("{what}: {found}"),
    };
    if let Some(advice) = advice {
        text.extend(["; ", advice.as_ref()]);
    }
    text.replace(char::is_control, " ")
}

fn count(findings: &[Finding], level: Level) -> usize {
    findings.iter().filter(|finding| finding.level == level).count()
}

fn counted(findings: &[Finding]) -> String {
    let told =
        [(Level::Ok, "ok"), (Level::Warn, "to look at"), (Level::Fail, "failed"), (Level::Skip, "not looked at")];
    let told = told.map(|(level, words)| (count(findings, level), words));
    let told = told.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}"));
    told.collect::<Vec<_>>().join(", ")
}

/// The same as one JSON object.
pub fn json(findings: &[Finding]) -> String {
    let count = |level| count(findings, level);
    let all = json!({
        "result": if count(Level::Fail) > 0 { "failed" } else { "ok" },
        "ok": count(Level::Ok),
        "warn": count(Level::Warn),
        "fail": count(Level::Fail),
        "skip": count(Level::Skip),
        "findings": findings.iter().map(finding).collect::<Vec<Value>>(),
    });
    format!("{all:#}\n")
}

fn finding(finding: &Finding) -> Value {
    let mut told = json!({
        "subject": finding.subject.as_str(),
        "level": finding.level.as_str().to_ascii_lowercase(),
        "what": finding.what,
        "found": finding.found,
    });
    if let Some(expected) = &finding.expected {
        told["expected"] = expected.as_str().into();
    }
    if let Some(advice) = &finding.advice {
        told["advice"] = advice.as_ref().into();
    }
    told
}
