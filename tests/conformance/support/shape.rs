//! What every refusal must look like (SHP-01 to SHP-11), written from the catalogue and not from the
//! code.

use keybound::refusal::{Answer as Kind, Reason};
use keybound::request::Scheme;

use super::APP;
use super::shot::Shot;
use super::wire::Answer;

/// One parsed challenge.
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge {
    pub scheme: String,
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Parses one field line that holds exactly one challenge with quoted parameters (RFC 9110 §11.6.1).
pub fn parse_challenge(line: &str) -> Challenge {
    let (scheme, mut rest) = line.split_once(' ').unwrap_or_else(|| panic!("SHP-08: a bare scheme: {line}"));
    let mut parameters: Vec<(String, String)> = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("not a parameter: {rest:?} in {line}"));
        let (value, after) =
            after.split_once('"').unwrap_or_else(|| panic!("not a quoted string: {after:?} in {line}"));
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{name:?} in {line}");
        assert!(value.bytes().all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E)), "{value:?} in {line}");
        assert!(parameters.iter().all(|(known, _)| known != name), "SHP-01: {name} twice in {line}");
        parameters.push((name.to_owned(), value.to_owned()));
        match after.strip_prefix(", ") {
            Some(next) => rest = next,
            None => {
                assert_eq!(after, "", "one challenge a line: {line}");
                return Challenge { scheme: scheme.to_owned(), parameters };
            }
        }
    }
}

/// (scheme, error) of each line, as the catalogue has them. `None`: not said by the catalogue alone.
fn expected(reason: Reason, used: Option<Scheme>) -> Option<Vec<(&'static str, Option<&'static str>)>> {
    let own = match used {
        Some(Scheme::Bearer) => "Bearer",
        Some(Scheme::Dpop) | None => "DPoP",
    };
    let other = if own == "DPoP" { "Bearer" } else { "DPoP" };
    Some(match reason.answer() {
        Kind::NoCredentials => vec![("DPoP", None)],
        Kind::InvalidProof => vec![("DPoP", Some("invalid_dpop_proof"))],
        Kind::UseNonce => vec![("DPoP", Some("use_dpop_nonce"))],
        Kind::Downgrade => vec![("Bearer", Some("invalid_token")), ("DPoP", Some("invalid_token"))],
        Kind::SeveralCredentials => vec![(own, Some("invalid_request")), (other, Some("invalid_request"))],
        Kind::InvalidToken if own == "Bearer" => vec![("Bearer", Some("invalid_token")), ("DPoP", None)],
        Kind::InvalidToken => vec![("DPoP", Some("invalid_token"))],
        Kind::InvalidRequest => vec![("DPoP", Some("invalid_request"))],
        Kind::InsufficientScope => vec![(own, Some("insufficient_scope"))],
        Kind::InsufficientAuthentication => vec![(own, Some("insufficient_user_authentication"))],
        Kind::Malformed
        | Kind::Forbidden
        | Kind::NoRoute
        | Kind::MethodNotServed
        | Kind::RequestTimeout
        | Kind::BodyTooLarge
        | Kind::Misdirected => vec![],
        Kind::HeaderTooLarge
        | Kind::TooManyProofs
        | Kind::TooManyRequests
        | Kind::Unavailable
        | Kind::BadGateway
        | Kind::GatewayTimeout => vec![],
    })
}

/// SHP-01 to SHP-09 for one answer.
pub fn assert_refusal(answer: &Answer, reason: Reason, shot: &Shot) {
    let context = format!("{} {answer:?}", reason.slug());
    let challenges: Vec<Challenge> = answer.all("www-authenticate").into_iter().map(parse_challenge).collect();
    let found: Vec<(&str, Option<&str>)> = challenges.iter().map(|c| (c.scheme.as_str(), c.get("error"))).collect();
    if let Some(expected) = expected(reason, shot.scheme_used()) {
        // A route that accepts both kinds also tells of the other scheme, without error.
        let told = found.len().saturating_sub(expected.len());
        assert_eq!(&found[..found.len() - told], expected, "{context}");
        // A token in the query belongs to no scheme: every accepted one hears of it.
        let unscheduled = (reason.answer() == Kind::InvalidRequest).then_some("invalid_request");
        assert!(found[expected.len()..].iter().all(|(_, error)| *error == unscheduled), "{context}");
    }
    for challenge in &challenges {
        match challenge.scheme.as_str() {
            "DPoP" => {
                let algs = challenge.get("algs").unwrap_or_else(|| panic!("SHP-02: no algs: {context}"));
                assert!(!algs.is_empty() && !algs.contains("none") && !algs.contains("HS"), "SHP-02: {context}");
            }
            "Bearer" => {}
            other => panic!("SHP-03: scheme {other}: {context}"),
        }
        assert_eq!(challenge.get("resource_metadata"), shot.resource_metadata.as_deref(), "PRM-06: {context}");
    }
    assert_cors(answer, shot, &context);
    assert!(answer.header("date").is_some(), "SHP-05: Date: {context}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "SHP-05: {context}");
    if matches!(answer.status, 429 | 503) {
        assert!(challenges.is_empty() && answer.header("retry-after").is_some(), "SHP-09: {context}");
    }
    let nonces = answer.all("dpop-nonce");
    let offers_dpop = answer.status == 401 && challenges.iter().any(|challenge| challenge.scheme == "DPoP");
    assert_eq!(nonces.len(), usize::from(shot.nonces && offers_dpop), "SHP-04, POS-64: {context}");
    for nonce in nonces {
        let fits = |b: u8| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        assert!(!nonce.is_empty() && nonce.bytes().all(fits), "SHP-04: {context}");
    }
    if shot.method == "HEAD" {
        assert!(answer.body.is_empty(), "SHP-10: {context}");
    } else {
        let body: serde_json::Value =
            serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("JSON: {context}"));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{context}");
        assert_eq!(body["status"], answer.status, "{context}");
        assert_eq!(body.get("error").and_then(|e| e.as_str()), reason.answer().oauth_error(), "{context}");
        assert!(body["request_id"].is_string(), "{context}");
    }
    let all = format!("{:?} {}", answer.headers, answer.text());
    assert!(!shot.leaks_into(&all), "SHP-07: a token came back: {context}");
    // How every JWS header begins: `{"` in base64url.
    assert!(!all.contains("eyJ"), "SHP-07: a proof came back: {context}");
    assert!(!all.contains("alice") && !all.contains("as.example"), "SHP-07: a claim came back: {context}");
}

/// SHP-06: a script that may read an answer can read all that it needs, and no other script hears a word.
fn assert_cors(answer: &Answer, shot: &Shot, context: &str) {
    let from_app = shot.headers.iter().any(|(name, value)| name == "Origin" && value == APP.as_bytes());
    let names = answer.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    let said: Vec<String> = names.filter(|name| name.starts_with("access-control-")).collect();
    if !(shot.cors && from_app) {
        assert!(said.is_empty(), "SHP-06: {context}");
        return;
    }
    assert_eq!(answer.all("access-control-allow-origin"), [APP], "SHP-06: {context}");
    assert_eq!(
        answer.all("access-control-expose-headers"),
        ["DPoP-Nonce, WWW-Authenticate, Retry-After"],
        "SHP-06: {context}"
    );
    assert_eq!(said.len(), 2, "SHP-06: {context}");
    assert_eq!(answer.all("vary"), ["Origin"], "SHP-06: {context}");
}
