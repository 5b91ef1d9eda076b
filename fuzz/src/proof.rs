//! DPoP proofs (RFC 9449 §4.3): what is accepted is what a second reading accepts, and `explain` gives the same reason for
//! the rest. Lines: seconds from now, with `n` where a nonce is demanded and `o` for another key; header; claims; with `e`,
//! what is changed in a good proof. `$K` stands for the key, `$L` for another one, `$A` for the token's hash, `$N` for a nonce. A proof that begins with `!` stands as it
//! is, and so do several.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use keybound::explain::{Known, Question, Verdict, explain};
use keybound::refusal::Reason;
use keybound::request::ProofField;
use keybound::time::UnixTime;
use keybound::verify::{
    Expected, MAX_PROOF_BYTES, Nonces, ProofHeader, ProofKeys, ProofRules, Signatures, TokenHash, Unremembered,
    base64url, same_target, verify_proof,
};
use serde_json::Value;

use super::access_token::{KNOWN, NOW, verify};
use super::keys::{OTHER, OWN, b64};
use super::oracle;

const URL: &str = "https://rs.example/api/item";

const HEADER: &str = r#"{"typ":"dpop+jwt","alg":"ES256","jwk":$K}"#;
const CLAIMS: &str = r#"{"jti":"-BwC3ESc6acc2lTc","htm":"GET","htu":"https://rs.example/api/item","iat":1800000000,"ath":"$A","nonce":"$N"}"#;

/// A token that is bound to the key.
static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let claims = format!(
        r#"{{"iss":"https://as.example","aud":"https://rs.example","sub":"a","exp":{},"cnf":{{"jkt":"{}"}}}}"#,
        NOW + 1_000_000_000,
        OWN.thumbprint()
    );
    OWN.jws(br#"{"typ":"at+jwt","alg":"ES256"}"#, claims.as_bytes())
});
static NONCES: LazyLock<Nonces> =
    LazyLock::new(|| Nonces::new([&[3_u8; 32][..]], Duration::from_mins(5)).expect("a secret"));
static WITH_NONCES: LazyLock<ProofRules> =
    LazyLock::new(|| ProofRules { nonces: Some(NONCES.clone()), ..ProofRules::default() });
static PLAIN: LazyLock<ProofRules> = LazyLock::new(ProofRules::default);

pub fn run(data: &[u8]) {
    let [options, head, claims] = oracle::lines::<3>(data);
    let Ok(options) = std::str::from_utf8(options) else { return };
    let seconds = options.trim_start_matches(['e', 'n', 'o']).parse::<i32>().unwrap_or_default();
    let now = UnixTime::from_secs(NOW + i64::from(seconds));
    let rules = if options.contains('n') { &*WITH_NONCES } else { &*PLAIN };
    let key = if options.contains('o') { &*OTHER } else { &*OWN };
    let (own, other) = (OWN.jwk(), OTHER.jwk());
    let (ath, nonce) =
        (b64(TokenHash::of(&TOKEN).as_bytes()), NONCES.mint(UnixTime::from_secs(NOW)).expect("a secret"));
    let words = [("$K", own.as_str()), ("$L", other.as_str()), ("$A", ath.as_str()), ("$N", nonce.as_str())];
    let signed = |head: &[u8], claims: &[u8]| vec![key.jws(head, claims).into_bytes()];
    let values: Vec<Vec<u8>> = match head.strip_prefix(b"!") {
        _ if options.contains('e') => {
            let edits = oracle::replaced(data.get(options.len() + 1..).unwrap_or_default(), &words);
            let good = [HEADER, CLAIMS].map(|text| oracle::replaced(text.as_bytes(), &words));
            let [head, claims] = good.map(|text| String::from_utf8(text).expect("a text"));
            let (head, claims) = oracle::edited(&head, &claims, &edits);
            signed(&head, &claims)
        }
        Some(first) => {
            let others = claims.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            std::iter::once(first).chain(others).map(<[u8]>::to_vec).collect()
        }
        None => signed(&oracle::replaced(head, &words), &oracle::replaced(claims, &words)),
    };
    let values: Vec<HeaderValue> = values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()).collect();
    let field = match &values[..] {
        [] => ProofField::Absent,
        [one] => ProofField::One(one.clone()),
        [_, _, ..] => ProofField::Several,
    };
    let ours = check(&field, rules, &Unremembered, now);
    let memory = Memory::default();
    // Whatever is remembered of a proof's header changes no verdict, not the first time and not the second.
    for _ in 0..2 {
        assert_eq!(check(&field, rules, &memory, now), ours);
    }
    let wanted = matches!(&values[..], [one] if expected(one, rules.nonces.is_some(), now));
    assert_eq!(ours.is_ok(), wanted, "{ours:?} {values:?}");
    same_as_explained(&values, rules, now, ours.err());
}

fn check(field: &ProofField, rules: &ProofRules, keys: &impl ProofKeys, now: UnixTime) -> Result<[u8; 32], Reason> {
    let expected =
        Expected { method: "GET", external_url: URL, token_hash: &TokenHash::of(&TOKEN), key: OWN.thumbprint() };
    let proof = verify_proof(field, &expected, rules, keys, now).map_err(|refusal| refusal.reason())?;
    assert_eq!(proof.key(), OWN.thumbprint());
    assert!(now <= proof.accepted_until(), "it is remembered for as long as it passes");
    assert_eq!(proof.nonce().is_some(), rules.nonces.is_some());
    Ok(proof.replay_key().0)
}

/// The one header that was remembered last.
#[derive(Default)]
struct Memory(Mutex<Option<(String, Arc<ProofHeader>)>>);

impl Signatures for Memory {}

impl ProofKeys for Memory {
    fn recall(&self, segment: &str) -> Option<Arc<ProofHeader>> {
        let last = self.0.lock().expect("a lock");
        last.as_ref().filter(|(known, _)| known == segment).map(|(_, header)| Arc::clone(header))
    }

    fn remember(&self, segment: &str, header: &Arc<ProofHeader>) {
        *self.0.lock().expect("a lock") = Some((segment.to_owned(), Arc::clone(header)));
    }
}

/// RFC 9449 §4.3 in other words; the signature is for p256 to judge.
fn expected(value: &HeaderValue, with_nonce: bool, now: UnixTime) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let parts: Vec<&str> = text.split('.').collect();
    let [header, claims, signature] = &parts[..] else { return false };
    let object = |part: &str| base64url::decode(part).and_then(|bytes| oracle::strict(&bytes));
    let (Some(head), Some(said), Some(signature)) = (object(header), object(claims), base64url::decode(signature))
    else {
        return false;
    };
    text.len() <= MAX_PROOF_BYTES
        && head.get("typ").is_some_and(|typ| typ == "dpop+jwt")
        && head.get("alg").is_some_and(|alg| alg == "ES256")
        && oracle::demands_nothing(&head)
        && head.get("jwk").is_some_and(is_own_key)
        && claims_hold(&said, with_nonce, now)
        && OWN.verifies(format!("{header}.{claims}").as_bytes(), &signature)
}

fn is_own_key(jwk: &Value) -> bool {
    let (x, y) = OWN.coordinates();
    let is = |name: &str, value: &str| jwk.get(name).is_some_and(|member| member == value);
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| jwk.get(*name).is_some());
    is("kty", "EC")
        && is("crv", "P-256")
        && is("x", x)
        && is("y", y)
        && !private
        && (jwk.get("alg").is_none() || is("alg", "ES256"))
}

fn claims_hold(claims: &Value, with_nonce: bool, now: UnixTime) -> bool {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let date = |name: &str| oracle::date(claims, name);
    let (Some(Some(issued)), Some(expires), Some(begins)) = (date("iat"), date("exp"), date("nbf")) else {
        return false;
    };
    let at = i128::from(now.millis());
    let nonce = !with_nonce
        || NONCES
            .minted(text("nonce"), now, Duration::from_secs(5))
            .is_ok_and(|minted| NONCES.mint(minted).as_deref() == Some(text("nonce")));
    (1..=512).contains(&text("jti").len())
        && text("htm") == "GET"
        && same_target(text("htu"), URL)
        && text("ath") == b64(TokenHash::of(&TOKEN).as_bytes())
        && (at - 90_000..=at + 30_000).contains(&issued)
        && expires.is_none_or(|expires| at < expires + 30_000)
        && begins.is_none_or(|begins| begins <= at + 30_000)
        && nonce
}

fn same_as_explained(values: &[HeaderValue], rules: &'static ProofRules, now: UnixTime, reason: Option<Reason>) {
    // Long after or before, the token itself does not hold.
    if verify(&TOKEN, now).is_err() {
        return;
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, format!("DPoP {}", *TOKEN).parse().expect("a field"));
    for value in values {
        headers.append(HeaderName::from_static("dpop"), value.clone());
    }
    let url = Uri::from_static(URL);
    let question = Question { method: &Method::GET, url: &url, headers: &headers, certificate: None, now };
    let explanation =
        if rules.nonces.is_some() { explain(&question, &KNOWN_WITH_NONCES) } else { explain(&question, &KNOWN) };
    match (&explanation.verdict, reason) {
        (Verdict::Passes, None) => {}
        (Verdict::Refused(refusal), Some(reason)) => assert_eq!(refusal.reason(), reason, "{values:?}"),
        (verdict, reason) => panic!("explained as {verdict:?}, decided as {reason:?}: {values:?}"),
    }
}

static KNOWN_WITH_NONCES: LazyLock<Known<'static>> =
    LazyLock::new(|| Known { proofs: &WITH_NONCES, ..super::access_token::known() });
