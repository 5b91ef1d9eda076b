//! An issuer's answer about a token: in JSON (RFC 7662 §2.2), or signed (RFC 9701 §5). Lines: how (`j` JSON, `s` signed, `o`
//! signed by another key, `e` signed, with what is changed in a good answer) and seconds from now; for a signed one its header;
//! the answer.

use keybound::fuzzing::{Said, introspected};
use keybound::time::UnixTime;
use keybound::verify::{BadAnswer, base64url};
use serde_json::Value;

use super::access_token::{AUDIENCE, ISSUER, KEYS, NOW, RULES};
use super::keys::{OTHER, OWN};
use super::oracle;

const HEADER: &str = r#"{"typ":"token-introspection+jwt","alg":"ES256","kid":"k1"}"#;
const CLAIMS: &str = r#"{"iss":"https://as.example","aud":"gateway","iat":1800000000,"token_introspection":{"active":true,
    "aud":"https://rs.example","exp":1800000300,"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}}"#;
const CLIENT_ID: &str = "gateway";

pub fn run(data: &[u8]) {
    let [options, rest] = oracle::lines::<2>(data);
    let Some((how, seconds)) = options.split_first() else { return };
    let seconds: i64 = std::str::from_utf8(seconds).ok().and_then(|text| text.parse::<i32>().ok()).unwrap_or(0).into();
    let now = UnixTime::from_secs(NOW + seconds);
    if *how == b'j' {
        let read = introspected(rest, &RULES, None, now);
        return judge(read, oracle::strict(rest).as_ref(), now);
    }
    let edited = if *how == b'e' { Some(oracle::edited(HEADER, CLAIMS, rest)) } else { None };
    let [header, claims] = match &edited {
        Some((header, claims)) => [&header[..], &claims[..]],
        None => oracle::lines::<2>(rest),
    };
    let key = if *how == b'o' { &*OTHER } else { &*OWN };
    let jws = match header.strip_prefix(b"!") {
        Some(text) => text.to_vec(),
        None => key.jws(header, claims).into_bytes(),
    };
    let read = introspected(&jws, &RULES, Some((&KEYS, CLIENT_ID)), now);
    let (header, claims) = (oracle::strict(header), oracle::strict(claims));
    match (header, claims) {
        (Some(header), Some(claims)) if *how != b'o' && is_ours(&header, &claims, now) => {
            judge(read, claims.get("token_introspection"), now);
        }
        (_, _) => assert!(read.is_err(), "{}", String::from_utf8_lossy(&jws)),
    }
}

/// Whether a signed answer is of now, of the issuer, and for us.
fn is_ours(header: &Value, claims: &Value, now: UnixTime) -> bool {
    let typ = header.get("typ").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let is_us = |name: &Value| name == CLIENT_ID || name == AUDIENCE;
    let audience = match claims.get("aud") {
        Some(Value::Array(several)) => several.iter().any(is_us),
        Some(one) => is_us(one),
        None => false,
    };
    let made = oracle::date(claims, "iat").flatten();
    let now = i128::from(now.millis());
    typ.strip_prefix("application/").unwrap_or(&typ) == "token-introspection+jwt"
        && header.get("alg").is_some_and(|alg| alg == "ES256")
        && header.get("kid").is_none_or(|kid| kid == "k1")
        && oracle::demands_nothing(header)
        && claims.get("iss").is_some_and(|issuer| issuer == ISSUER)
        && audience
        && made.is_some_and(|made| made <= now + 60_000 && made + 70_000 >= now)
        && claims.get("token_introspection").is_some_and(Value::is_object)
}

/// Only `true` is active, and what is said of the token is what the answer says.
fn judge(read: Result<Option<Said>, BadAnswer>, answer: Option<&Value>, now: UnixTime) {
    let Some(answer) = answer.filter(|answer| answer.is_object()) else {
        assert!(read.is_err());
        return;
    };
    let active = answer.get("active") == Some(&Value::Bool(true));
    match read {
        Ok(None) => {
            let has_kind = ["token_type", "token_use", "token_usage"].iter().any(|name| answer.get(*name).is_some());
            assert!(!active || has_kind, "active, and nothing says that it is no access token");
        }
        Ok(Some(said)) => {
            assert!(active);
            let issuer = answer.get("iss").map_or(Some(ISSUER), Value::as_str);
            assert_eq!(Some(said.issuer.as_str()), issuer);
            let member = |name| answer.get("cnf").and_then(|cnf| cnf.get(name)).and_then(Value::as_str);
            if let Some(confirmation) = said.confirmation {
                assert_eq!(confirmation.jkt.map(|jkt| jkt.to_string()).as_deref(), member("jkt"));
                assert_eq!(confirmation.x5t_s256.map(|x5t| base64url::encode(&x5t)).as_deref(), member("x5t#S256"));
            }
            let is_dpop =
                answer.get("token_type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("dpop"));
            assert!(!is_dpop || answer["cnf"].get("jkt").is_some());
            if said.is_good {
                let expires = oracle::date(answer, "exp").expect("a date");
                assert!(expires.is_none_or(|expires| i128::from(now.millis()) < expires + 10_000), "expired");
                assert_eq!(said.issuer, ISSUER);
            }
        }
        Err(_) => assert!(active, "what is not active is not looked at"),
    }
}
