//! Access tokens (RFC 9068): what is accepted is what a second reading accepts, jsonwebtoken and p256 included, and
//! `explain` gives the same reason for the rest. Lines: seconds from now and whose key signs (`o`: another's), header,
//! claims; with `e`, what is changed in a good token. A token that begins with `!` stands as it is.

use std::sync::LazyLock;

use http::{HeaderMap, Method, Uri, header};
use jsonwebtoken::{DecodingKey, Validation};
use keybound::explain::{Issuer, Issuers, Known, Question, Verdict, explain};
use keybound::refusal::Reason;
use keybound::request::{Credentials, LastShown, ListenerScheme, ProofField, Scheme};
use keybound::time::UnixTime;
use keybound::verify::{
    Accepted, AccessToken, Algorithm, IssuerRules, Keyset, MAX_TOKEN_BYTES, Presentation, ProofRules, TokenHash,
    Unremembered, UnverifiedToken, prove,
};
use serde_json::Value;

use super::keys::{OTHER, OWN};
use super::{oracle, url};

pub const NOW: i64 = 1_800_000_000;
pub const ISSUER: &str = "https://as.example";
pub const AUDIENCE: &str = "https://rs.example";
const HEADER: &str = r#"{"typ":"at+jwt","alg":"ES256","kid":"k1"}"#;
const CLAIMS: &str = r#"{"iss":"https://as.example","aud":"https://rs.example","sub":"alice","exp":1800000300,
    "iat":1800000000,"scope":"read write","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#;
/// Of tokens, in seconds.
const SKEW: i64 = 10;

pub static RULES: LazyLock<IssuerRules> = LazyLock::new(|| IssuerRules::new(ISSUER, vec![AUDIENCE.to_owned()]));
pub static PROOFS: LazyLock<ProofRules> = LazyLock::new(ProofRules::default);
pub static KEYS: LazyLock<Keyset> = LazyLock::new(keyset);
pub static KNOWN: LazyLock<Known<'static>> = LazyLock::new(known);

/// What `explain` is told.
pub fn known() -> Known<'static> {
    let issuers = Issuers::Configured(vec![Issuer { rules: RULES.clone(), keys: Ok(keyset()) }]);
    Known { issuers, asked: Vec::new(), proofs: &PROOFS, routes: &[], public_url: None }
}

fn keyset() -> Keyset {
    let key = OWN.jwk().replacen('{', r#"{"kid":"k1","#, 1);
    let (keyset, skipped) = Keyset::parse(format!(r#"{{"keys":[{key}]}}"#).as_bytes(), Algorithm::ALL).expect("a set");
    assert!(skipped.is_empty());
    keyset
}

pub fn run(data: &[u8]) {
    let [options, head, claims] = oracle::lines::<3>(data);
    let Ok(options) = std::str::from_utf8(options) else { return };
    let seconds = options.trim_start_matches(['e', 'o']).parse::<i32>().unwrap_or_default();
    let key = if options.contains('o') { &*OTHER } else { &*OWN };
    let now = UnixTime::from_secs(NOW + i64::from(seconds));
    let text = match head.strip_prefix(b"!") {
        _ if options.contains('e') => {
            let (head, claims) = oracle::edited(HEADER, CLAIMS, data.get(options.len() + 1..).unwrap_or_default());
            key.jws(&head, &claims)
        }
        Some(text) => String::from_utf8_lossy(text).into_owned(),
        None => key.jws(head, claims),
    };
    let outcome = verify(&text, now);
    let is_expected = expected(&text, now);
    assert_eq!(outcome.is_ok(), is_expected, "{:?}\n{text}", outcome.as_ref().err());
    if outcome.is_ok() {
        assert!(jsonwebtoken_accepts(&text), "{text}");
    }
    let binding = outcome.as_ref().map_err(Clone::clone).and_then(unproven);
    same_as_explained(&text, now, binding.err());
}

pub fn verify(text: &str, now: UnixTime) -> Result<AccessToken, Reason> {
    let token = UnverifiedToken::read(text, TokenHash::of(text)).and_then(|token| token.verify(&RULES, &KEYS));
    let token = token.map_err(|refusal| refusal.reason())?;
    token.check(&RULES, now).map_err(|refusal| refusal.reason())?;
    Ok(token)
}

/// What becomes of a token that comes as Bearer, with nothing beside it.
fn unproven(token: &AccessToken) -> Result<(), Reason> {
    let target = url::target(&Method::GET, "/", Some(b"rs.example"), http::Version::HTTP_11, ListenerScheme::Https);
    let shown = Presentation {
        scheme: Scheme::Bearer,
        proof: &ProofField::Absent,
        certificate: None,
        method: &Method::GET,
        target: &target.expect("a target"),
    };
    let proven = prove(token, &shown, Accepted::default(), &PROOFS, &Unremembered, UnixTime::from_secs(NOW));
    proven.map(drop).map_err(|refusal| refusal.reason())
}

fn same_as_explained(text: &str, now: UnixTime, reason: Option<Reason>) {
    let mut headers = HeaderMap::new();
    let Ok(value) = format!("Bearer {text}").parse() else { return };
    headers.insert(header::AUTHORIZATION, value);
    // What is no token68 is refused before anyone looks at it.
    if Credentials::take(&mut headers.clone(), None, &LastShown::default()).credentials.is_err() {
        return;
    }
    let url = Uri::from_static("https://rs.example/");
    let question = Question { method: &Method::GET, url: &url, headers: &headers, certificate: None, now };
    let explanation = explain(&question, &KNOWN);
    match (&explanation.verdict, reason) {
        (Verdict::Refused(refusal), Some(reason)) => assert_eq!(refusal.reason(), reason, "{text}"),
        (verdict, reason) => panic!("explained as {verdict:?}, decided as {reason:?}: {text}"),
    }
}

/// RFC 9068 §4 and RFC 7519 in other words; the signature is for p256 to judge.
fn expected(text: &str, now: UnixTime) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let [header, claims, signature] = &parts[..] else { return false };
    let bytes = |part: &str| keybound::verify::base64url::decode(part);
    let (Some(header_bytes), Some(claims_bytes), Some(signature)) = (bytes(header), bytes(claims), bytes(signature))
    else {
        return false;
    };
    let (Some(header_json), Some(claims_json)) = (oracle::strict(&header_bytes), oracle::strict(&claims_bytes)) else {
        return false;
    };
    let typ = header_json.get("typ").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let kid = header_json.get("kid");
    let head = matches!(typ.as_str(), "at+jwt" | "application/at+jwt")
        && header_json.get("alg").is_some_and(|alg| alg == "ES256")
        && kid.is_none_or(|kid| kid == "k1")
        && oracle::demands_nothing(&header_json);
    text.len() <= MAX_TOKEN_BYTES
        && head
        && claims_hold(&claims_json, now)
        && OWN.verifies(format!("{header}.{claims}").as_bytes(), &signature)
}

pub fn claims_hold(claims: &Value, now: UnixTime) -> bool {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let date = |name: &str| oracle::date(claims, name);
    let now = i128::from(now.millis());
    let (Some(expires), Some(begins), Some(issued), Some(_)) =
        (date("exp"), date("nbf"), date("iat"), date("auth_time"))
    else {
        return false;
    };
    let audience = match claims.get("aud") {
        Some(Value::String(one)) => one == AUDIENCE,
        Some(Value::Array(several)) => {
            several.iter().all(Value::is_string) && several.iter().any(|one| one == AUDIENCE)
        }
        _ => false,
    };
    let scope = match (claims.get("scope"), claims.get("scp")) {
        (None | Some(Value::String(_)), None) | (Some(Value::String(_)), _) | (None, Some(Value::String(_))) => true,
        (None, Some(Value::Array(names))) => names.iter().all(|name| name.as_str().is_some_and(|n| !n.contains(' '))),
        _ => false,
    };
    text("iss") == Some(ISSUER)
        && (text("sub").is_some() || text("client_id").is_some())
        && audience
        && scope
        && expires.is_some_and(|expires| now < expires + i128::from(SKEW) * 1000)
        && begins.is_none_or(|begins| begins <= now + i128::from(SKEW) * 1000)
        && issued.is_none_or(|issued| issued <= now + 60_000)
}

/// With its own reading of header, claims and key; times are not its business, because it asks the system for them.
fn jsonwebtoken_accepts(text: &str) -> bool {
    let mut validation = Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    validation.set_required_spec_claims(&["iss", "aud"]);
    static KEY: LazyLock<DecodingKey> =
        LazyLock::new(|| DecodingKey::from_jwk(&serde_json::from_str(&OWN.jwk()).expect("a JWK")).expect("a key"));
    jsonwebtoken::decode::<Value>(text, &KEY, &validation).is_ok()
}
