//! Public keys (RFC 7517, RFC 7518 §6, RFC 8037), beside jsonwebtoken and p256.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use keybound::verify::{Algorithm, Json, PublicKey, Unusable};
use serde_json::Value;

use super::keys::Key;

pub fn run(data: &[u8]) {
    // Behind an `e` stands what is changed in a good key.
    let edited = data
        .strip_prefix(b"e\n")
        .map(|edits| super::oracle::edited(r#"{"kty":"EC","crv":"P-256","x":7}"#, "{}", edits).0);
    let Some(Value::Object(mut members)) = super::oracle::strict(edited.as_deref().unwrap_or(data)) else { return };
    // A number instead of a coordinate stands for the point that it multiplies: no mutation hits a curve.
    if let Some(number) = members.get("x").and_then(Value::as_u64)
        && let Some(key) = Key::of(&scalar(number))
    {
        let (x, y) = key.coordinates();
        members.insert("x".to_owned(), x.into());
        members.insert("y".to_owned(), y.into());
    }
    let jwk = Json::from_members(&members);
    for algorithm in Algorithm::ALL {
        let ours = PublicKey::from_jwk(&jwk, *algorithm);
        if *algorithm == Algorithm::Es256 {
            assert_eq!(ours.is_ok(), p256_accepts(&jwk), "{members:?}");
        }
        match ours {
            Ok(key) => agrees(&jwk, &key),
            Err(Unusable::Private) => assert!(PRIVATE.iter().any(|name| jwk.has(name))),
            Err(Unusable::Malformed(why)) => assert!(!why.is_empty()),
        }
    }
}

const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

fn scalar(number: u64) -> [u8; 32] {
    let mut scalar = [0; 32];
    scalar[24..].copy_from_slice(&number.to_be_bytes());
    scalar
}

/// An accepted key is one for jsonwebtoken too, with the same thumbprint, and nothing in it was private.
pub fn agrees(jwk: &Json, key: &PublicKey) {
    assert!(PRIVATE.iter().all(|name| !jwk.has(name)), "nothing private");
    // RFC 7518 §2: an integer has one spelling.
    let has_zero =
        |name: &&str| jwk.string(name).is_some_and(|text| matches!(text.as_bytes(), [b'A', b'A'..=b'P', ..]));
    assert!(jwk.string("kty") != Some("RSA") || !["n", "e"].iter().any(has_zero), "minimal");
    let required = ["kty", "crv", "x", "y", "n", "e"];
    let members: BTreeMap<&str, &Value> = required
        .iter()
        .filter_map(|name| Some((*name, jwk.get(name)?)))
        .filter(|(_, value)| value.is_string())
        .collect();
    let wanted: &[&str] = match jwk.string("kty") {
        Some("EC") => &["kty", "crv", "x", "y"],
        Some("RSA") => &["kty", "n", "e"],
        _ => &["kty", "crv", "x"],
    };
    let members: BTreeMap<_, _> = members.into_iter().filter(|(name, _)| wanted.contains(name)).collect();
    let theirs: Jwk = serde_json::from_value(serde_json::to_value(members).expect("JSON")).expect("a JWK for both");
    assert!(DecodingKey::from_jwk(&theirs).is_ok());
    let thumbprint = theirs.thumbprint(ThumbprintHash::SHA256).expect("a thumbprint");
    assert_eq!(thumbprint, key.thumbprint().to_string());
}

/// RFC 7518 §6.2.1 with p256's own reading of the point.
fn p256_accepts(jwk: &Json) -> bool {
    let coordinate = |name: &str| {
        let text = jwk.string(name)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == 32).then_some(bytes)
    };
    let (Some(x), Some(y)) = (coordinate("x"), coordinate("y")) else { return false };
    let point = [&[4][..], &x, &y].concat();
    let fits = jwk.get("alg").is_none_or(|alg| alg.as_str() == Some("ES256"));
    p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).is_ok()
        && jwk.string("kty") == Some("EC")
        && jwk.string("crv") == Some("P-256")
        && fits
        && PRIVATE.iter().all(|name| !jwk.has(name))
}
