//! An explanation for people, and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Check, Explanation, Outcome, Verdict};
use crate::refusal::Refusal;
use crate::time::UnixTime;

/// What is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// A request that was not sent.
    Would,
    /// One that was refused.
    Was,
}

/// One line for each check, and the verdict in the last one.
pub fn lines(explanation: &Explanation, at: UnixTime, mood: Mood) -> String {
    let mut text = String::new();
    let mut part = None;
    // Writing to a string does not fail.
    for Check { step, outcome } in &explanation.checks {
        let head = if part == Some(step.part) { "" } else { step.part.as_str() };
        part = Some(step.part);
        let (mark, detail) = match outcome {
            Outcome::Holds(found) => ('✔', found.clone().unwrap_or_default()),
            Outcome::Fails(refusal) => ('✘', refusal.to_string()),
            Outcome::Needless(why) | Outcome::Open(why) => ('–', format!("not asked: {why}")),
            Outcome::Unreached => ('–', "not reached".to_owned()),
        };
        let line = format!("{head:<8} {mark} {:<18} {:<20} {detail}", step.what, step.specification);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = writeln!(text, "\n{}", verdict(explanation, at, mood));
    text
}

fn verdict(explanation: &Explanation, at: UnixTime, mood: Mood) -> String {
    let at = at.rfc3339();
    let at = at.as_str();
    match &explanation.verdict {
        Verdict::Passes => format!("At {at} it would pass, if the proof, where there is one, was not used before."),
        Verdict::Public => format!("At {at} it would pass: the route is public, nobody looks at credentials."),
        Verdict::Undecided(why) => format!("At {at} nothing speaks against it, but not all could be asked: {why}."),
        Verdict::Refused(refusal) => {
            let answer = refusal.reason().answer();
            let error = answer.oauth_error().map_or_else(String::new, |error| format!(" {error}"));
            let advice = refusal.reason().advice();
            let (verb, all_the_same) = match (mood, explanation.observes) {
                (Mood::Would, false) => ("would be refused", ""),
                (Mood::Would, true) => ("would be refused", " (the route only observes: it passes unproven)"),
                (Mood::Was, false) => ("was refused", ""),
                (Mood::Was, true) => ("would have been refused", " (the route only observes: it passed unproven)"),
            };
            format!(
                "At {at} it {verb}: {}{error}, {}{all_the_same}. Client: {} Operator: {}",
                answer.status(),
                refusal.reason().slug(),
                advice.client,
                advice.operator
            )
        }
    }
}

/// The same as one JSON object.
pub fn json(explanation: &Explanation, at: UnixTime) -> Value {
    let checks: Vec<Value> = explanation.checks.iter().map(check).collect();
    let mut all = json!({
        "at": at.rfc3339().as_str(),
        "route": explanation.route,
        "observes": explanation.observes,
        "checks": checks,
    });
    match &explanation.verdict {
        Verdict::Passes => all["verdict"] = "passes".into(),
        Verdict::Public => all["verdict"] = "public".into(),
        Verdict::Undecided(why) => {
            all["verdict"] = "undecided".into();
            all["why"] = why.as_str().into();
        }
        Verdict::Refused(refusal) => {
            all["verdict"] = "refused".into();
            refused(refusal, &mut all);
            let advice = refusal.reason().advice();
            all["client"] = advice.client.into();
            all["operator"] = advice.operator.into();
        }
    }
    all
}

fn check(Check { step, outcome }: &Check) -> Value {
    let mut check = json!({ "part": step.part.as_str(), "what": step.what, "specification": step.specification });
    let outcome = match outcome {
        Outcome::Holds(found) => {
            if let Some(found) = found {
                check["found"] = found.as_str().into();
            }
            "holds"
        }
        Outcome::Fails(refusal) => {
            refused(refusal, &mut check);
            "fails"
        }
        Outcome::Needless(why) => {
            check["why"] = why.as_ref().into();
            "needless"
        }
        Outcome::Open(why) => {
            check["why"] = why.as_ref().into();
            "open"
        }
        Outcome::Unreached => "unreached",
    };
    check["outcome"] = outcome.into();
    check
}

fn refused(refusal: &Refusal, to: &mut Value) {
    let answer = refusal.reason().answer();
    to["reason"] = refusal.reason().slug().into();
    to["status"] = answer.status().into();
    to["error"] = answer.oauth_error().into();
    to["expected"] = refusal.what_was_expected().into();
    to["found"] = refusal.what_was_found().into();
}
