//! A compact JWS as an access token (RFC 7515 §7.1, RFC 7519), read before anyone verifies it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound::verify::{MAX_TOKEN_BYTES, TokenHash, UnverifiedToken, is_opaque};
use serde_json::Value;

use super::oracle;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Text with dots may stand as it is, or be encoded here so that it gets past base64.
    one(text);
    if let Some(encoded) = text.strip_prefix('!') {
        let parts: Vec<String> = encoded.split('\n').map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
        one(&parts.join("."));
    }
}

fn one(text: &str) {
    let read = UnverifiedToken::read(text, TokenHash::of(text));
    assert_eq!(read.is_ok(), expected(text), "{text}");
    if let Ok(token) = read {
        assert!(!is_opaque(text), "what is read here is not for the issuer to read");
        let claims = text.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
        let claims: Value = serde_json::from_slice(&claims).expect("JSON");
        assert_eq!(token.issuer().ok(), claims.get("iss").and_then(Value::as_str));
    }
}

/// The same in other words.
fn expected(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let [header, claims, _signature] = &parts[..] else { return false };
    let object = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        (URL_SAFE_NO_PAD.encode(&bytes) == part).then(|| oracle::strict(&bytes))?
    };
    let (Some(header), Some(_)) = (object(header), object(claims)) else { return false };
    let known = ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA", "Ed25519"];
    let algorithm = header.get("alg").and_then(Value::as_str);
    text.len() <= MAX_TOKEN_BYTES
        && oracle::demands_nothing(&header)
        && algorithm.is_some_and(|alg| known.contains(&alg))
}
