//! Why a request of the recent past was refused, check by check.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::explain::{Explanation, Mood, Verdict, json as explanation_json, lines, retell};
use crate::refusal::{shown, without_long_words};
use crate::telemetry::{RecentRefusals, RefusedRequest};

fn explanation(refused: &RefusedRequest) -> Explanation {
    Explanation {
        checks: retell(&refused.refusal, refused.progress),
        verdict: Verdict::Refused(refused.refusal.without_long_words()),
        route: refused.route.as_deref().map(str::to_owned),
        observes: refused.observed,
    }
}

/// For people: what was asked, the checks, the verdict.
pub fn text(refused: &RefusedRequest) -> String {
    let mut first = format!("{}  {} {}{}", refused.id, method(refused), host(refused), path(refused));
    // Writing to a string does not fail.
    for (name, value) in [("route", refused.route.as_deref().map(str::to_owned)), ("client", client(refused))] {
        if let Some(value) = value {
            let _ = write!(first, ", {name} {value}");
        }
    }
    let _ = write!(first, ", from {}", refused.peer);
    format!("{first}\n\n{}", lines(&explanation(refused), refused.at, Mood::Was))
}

/// For programs: what `keybound explain --json` prints, and what was asked.
pub fn whole(refused: &RefusedRequest) -> Value {
    let mut all = explanation_json(&explanation(refused), refused.at);
    if let (Some(all), Value::Object(about)) = (all.as_object_mut(), about(refused)) {
        all.extend(about);
    }
    all["meaning"] = refused.refusal.reason().meaning().into();
    all
}

/// The same without the checks.
pub fn summary(refused: &RefusedRequest) -> Value {
    let mut all = about(refused);
    let reason = refused.refusal.reason();
    all["at"] = refused.at.rfc3339().as_str().into();
    all["route"] = refused.route.as_deref().into();
    all["observes"] = refused.observed.into();
    all["reason"] = reason.slug().into();
    all["status"] = reason.answer().status().into();
    all["meaning"] = reason.meaning().into();
    all
}

fn about(refused: &RefusedRequest) -> Value {
    let known = |text: String| (!text.is_empty()).then_some(text);
    json!({
        "request_id": refused.id.as_str(),
        "method": method(refused),
        "host": known(host(refused)),
        "path": known(path(refused)),
        "peer": refused.peer.to_string(),
        "client_id": client(refused),
    })
}

fn method(refused: &RefusedRequest) -> &str {
    refused.method.as_ref().map_or("…", |method| method.as_str())
}

fn client(refused: &RefusedRequest) -> Option<String> {
    refused.client_id.as_deref().map(|id| shown(&without_long_words(id)))
}

fn host(refused: &RefusedRequest) -> String {
    without_long_words(&refused.host)
}

fn path(refused: &RefusedRequest) -> String {
    without_long_words(&refused.path)
}

/// Why there is nothing to tell of a request.
pub fn unknown() -> String {
    let each = RecentRefusals::EACH;
    format!(
        "no refused request of this id is remembered here: it passed, it was refused by another process or before this \
         one started, or at least {each} were refused for the same reason since\n"
    )
}
