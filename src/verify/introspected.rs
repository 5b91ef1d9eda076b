//! What an issuer says of a token when it is asked: as JSON (RFC 7662 §2.2) or as a signed JWT (RFC 9701 §5).
//!
//! Reads answers, and does not ask. An answer that cannot be understood is no answer: it refuses nobody's token and
//! accepts none. Not open to other crates, so that nobody makes an [`AccessToken`] of an answer that no issuer gave.

use std::time::Duration;

use super::access_token::{AccessToken, Ground, TokenHash};
use super::dpop::Unremembered;
use super::json::Json;
use super::jwk::Keyset;
use super::rules::IssuerRules;
use super::signed::SignedJwt;
use super::token_claims::MAX_ISSUED_AHEAD;
use crate::refusal::{Reason, Refusal};
use crate::time::UnixTime;

/// How long ago a signed answer may have been made: it is the answer to a question of just now.
const MAX_ANSWER_AGE: Duration = Duration::from_mins(1);

/// `typ` of a signed answer.
const SIGNED_TYPE: &str = "token-introspection+jwt";

/// What an issuer says of a token.
#[derive(Debug)]
pub enum Introspected {
    /// It is none, or no longer one: revoked, expired, never issued, or none of the asker's business.
    Inactive,
    /// It is active, and this is what it says. Time and audience are not checked yet, nor the binding.
    Active(Box<AccessToken>),
}

/// An answer that cannot be understood. It never holds anything of the answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// It is something else than was expected.
    #[error("expected {0}")]
    Unexpected(String),
    /// It is signed by a key that is not known, or no longer, or not yet.
    #[error("it is signed by a key that the issuer's JWK set does not hold")]
    KeyUnknown,
}

impl From<&str> for BadAnswer {
    fn from(expected: &str) -> Self {
        Self::Unexpected(expected.to_owned())
    }
}

impl Introspected {
    /// Reads an answer in JSON about the token that hashes to `hash`, given by the issuer of `rules`.
    ///
    /// # Errors
    /// [`BadAnswer`].
    pub(crate) fn read(answer: &[u8], hash: TokenHash, rules: &IssuerRules) -> Result<Self, BadAnswer> {
        Self::of_claims(Json::object(answer).ok_or("one strict JSON object")?, hash, rules)
    }

    /// Reads a signed answer, which must be made just now by the issuer of `rules` and `keys` for the asker, whom it
    /// names by `client_id` or as one of the issuer's audiences. The claims beside `token_introspection` are those of
    /// the answer, not of the token (RFC 9701 §5).
    ///
    /// # Errors
    /// [`BadAnswer`].
    pub(crate) fn read_signed(
        answer: &[u8],
        hash: TokenHash,
        rules: &IssuerRules,
        keys: &Keyset,
        client_id: &str,
        now: UnixTime,
    ) -> Result<Self, BadAnswer> {
        let text = std::str::from_utf8(answer).map_err(|_| "a signed JWT")?;
        let jwt = SignedJwt::read(text.trim_ascii()).map_err(|refusal| BadAnswer::of(&refusal))?;
        if !jwt.is_typed(SIGNED_TYPE) {
            return Err("typ token-introspection+jwt".into());
        }
        if !rules.algorithms.contains(&jwt.algorithm()) {
            return Err("an alg that is accepted of the issuer".into());
        }
        jwt.signing_key(keys, &Unremembered).map_err(|refusal| BadAnswer::of(&refusal))?;
        let claims = jwt.claims();
        if claims.string("iss") != Some(rules.issuer.as_str()) {
            return Err("iss, the issuer that was asked".into());
        }
        let is_for_us = |audience: &str| audience == client_id || rules.audiences.iter().any(|own| own == audience);
        let named = match claims.get("aud") {
            Some(serde_json::Value::String(one)) => is_for_us(one),
            Some(serde_json::Value::Array(several)) => several.iter().filter_map(|item| item.as_str()).any(is_for_us),
            Some(_) | None => false,
        };
        if !named {
            return Err("aud, the gateway's client_id or one of the issuer's audiences".into());
        }
        let made = claims.get("iat").and_then(serde_json::Value::as_f64).and_then(UnixTime::from_numeric_date);
        let made = made.ok_or("iat, a date in seconds")?;
        if made > now + MAX_ISSUED_AHEAD || made + MAX_ANSWER_AGE + rules.clock_skew < now {
            return Err("iat, a moment ago".into());
        }
        let token = claims.get("token_introspection").and_then(serde_json::Value::as_object);
        Self::of_claims(Json::from_members(token.ok_or("token_introspection, an object")?), hash, rules)
    }

    fn of_claims(claims: Json, hash: TokenHash, rules: &IssuerRules) -> Result<Self, BadAnswer> {
        // `"true"`, 1 and nothing at all are not `true`.
        if claims.get("active") != Some(&serde_json::Value::Bool(true)) {
            return Ok(Self::Inactive);
        }
        let kind = Kind::of(&claims);
        // Active as something else: as an access token it is not.
        if kind == Kind::Other {
            return Ok(Self::Inactive);
        }
        let names_key = claims.get("cnf").is_some_and(|cnf| cnf.get("jkt").is_some());
        if kind == Kind::Dpop && !names_key {
            return Err("cnf.jkt beside token_type DPoP (RFC 9449 §6.2)".into());
        }
        let token = AccessToken::of_claims(claims, hash, Ground::Introspection, rules);
        token.map(|token| Self::Active(Box::new(token))).map_err(|refusal| BadAnswer::of(&refusal))
    }
}

/// What an active token is, as far as the issuer says. It is asked about refresh tokens as well (RFC 7662 §2.1), and what
/// it is told that the token is may be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Access,
    Dpop,
    Other,
}

impl Kind {
    fn of(claims: &Json) -> Self {
        let is_one_of = |value: &serde_json::Value, words: &[&str]| {
            value.as_str().is_some_and(|text| words.iter().any(|word| text.eq_ignore_ascii_case(word)))
        };
        let given = |name: &str| claims.get(name).filter(|value| !value.is_null());
        // Members of Hydra, Cognito and others.
        let uses = ["token_use", "token_usage"].into_iter().filter_map(given);
        if uses.into_iter().any(|value| !is_one_of(value, &["access_token", "access"])) {
            return Self::Other;
        }
        match given("token_type") {
            Some(value) if is_one_of(value, &["dpop"]) => Self::Dpop,
            Some(value) if !is_one_of(value, &["bearer", "access_token"]) => Self::Other,
            Some(_) | None => Self::Access,
        }
    }
}

impl BadAnswer {
    fn of(refusal: &Refusal) -> Self {
        match refusal.reason() {
            Reason::TokenKeyUnknown => Self::KeyUnknown,
            Reason::TokenSignature => "a signature of the issuer".into(),
            Reason::TokenCritical => "a header without crit and b64".into(),
            _ => refusal.what_was_expected().unwrap_or("a signed JWT").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::verify::base64url;

    const NOW: UnixTime = UnixTime::from_secs(1_562_262_618);

    fn rules() -> IssuerRules {
        IssuerRules::new("https://server.example.com", vec!["https://resource.example.org".to_owned()])
    }

    fn read(answer: &str) -> Result<Introspected, BadAnswer> {
        Introspected::read(answer.as_bytes(), TokenHash::of("x"), &rules())
    }

    /// RFC 9449 §6.2.
    const PUBLISHED: &str = r#"{"active":true,"sub":"someone@example.com","iss":"https://server.example.com","nbf":1562262611,"exp":1562266216,"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#;

    #[test]
    fn the_published_answer_names_a_key_and_no_audience() {
        let Ok(Introspected::Active(token)) = read(PUBLISHED) else { panic!("it is active") };
        let jkt = token.confirmation().unwrap().unwrap().jkt.unwrap();
        assert_eq!(jkt.to_string(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert_eq!(token.check(&rules(), NOW).unwrap_err().reason(), Reason::TokenAudience);
    }

    #[test]
    fn only_true_is_active() {
        for inactive in ["{}", r#"{"active":false}"#, r#"{"active":"true"}"#, r#"{"active":1}"#, r#"{"active":null}"#] {
            assert!(matches!(read(inactive), Ok(Introspected::Inactive)), "{inactive}");
        }
    }

    #[test]
    fn an_answer_may_leave_out_anything_but_active() {
        let Ok(Introspected::Active(token)) = read(r#"{"active":true,"aud":"https://resource.example.org"}"#) else {
            panic!("it is active")
        };
        token.check(&rules(), NOW).unwrap();
        assert_eq!((token.issuer(), token.expires()), ("https://server.example.com", None));
    }

    #[test]
    fn what_cannot_be_understood_is_no_answer() {
        for bad in [
            "",
            "[]",
            "{",
            r#"{"active":true,"active":true}"#,
            r#"{"active":true,"cnf":{"jkt":"a","jkt":"b"}}"#,
            r#"{"active":true,"exp":"1562266216"}"#,
            r#"{"active":true,"exp":-1}"#,
            r#"{"active":true,"nbf":null}"#,
            r#"{"active":true,"iat":[]}"#,
            r#"{"active":true,"auth_time":"x"}"#,
            r#"{"active":true,"scope":["a"]}"#,
            r#"{"active":true,"iss":1}"#,
            r#"{"active":true,"aud":{"a":1}}"#,
            r#"{"active":true,"aud":[1]}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    /// The example of RFC 9701 §5. The key that signed it was never published.
    #[test]
    fn the_published_signed_answer_is_read_and_not_believed() {
        let header = base64url::encode(br#"{"typ":"token-introspection+jwt","alg":"RS256","kid":"wG6D"}"#);
        let claims = json!({
            "iss": "https://as.example.com/", "aud": "https://rs.example.com/resource", "iat": 1_514_797_892,
            "token_introspection": {
                "active": true, "iss": "https://as.example.com/", "aud": "https://rs.example.com/resource",
                "iat": 1_514_797_822, "exp": 1_514_797_942, "client_id": "paiB2goo0a", "scope": "read write dolphin",
                "sub": "Z5O3upPC88QrAjx00dis", "birthdate": "1982-02-01", "given_name": "John", "family_name": "Doe",
                "jti": "t1FoCCaZd4Xv4ORJUWVUeTZfsKhW30CQCrWDDjwXy6w",
            },
        });
        let text =
            format!("{header}.{}.{}", base64url::encode(claims.to_string().as_bytes()), base64url::encode(&[1; 256]));
        let mut rules = IssuerRules::new("https://as.example.com/", vec!["https://rs.example.com/resource".to_owned()]);
        let now = UnixTime::from_secs(1_514_797_892);
        let keys = Keyset::default();
        let read = |rules: &IssuerRules| {
            Introspected::read_signed(text.as_bytes(), TokenHash::of("x"), rules, &keys, "rs", now)
        };
        assert_eq!(read(&rules).unwrap_err(), BadAnswer::KeyUnknown);
        // Whatever its keys: the issuer does not sign like this.
        rules.algorithms = vec![crate::verify::Algorithm::Es256];
        assert_eq!(read(&rules).unwrap_err(), "an alg that is accepted of the issuer".into());
        for (reason, expected) in [
            (Reason::TokenSignature, "a signature of the issuer"),
            (Reason::TokenCritical, "a header without crit and b64"),
            (Reason::TokenMalformed, "a signed JWT"),
        ] {
            assert_eq!(BadAnswer::of(&reason.into()), expected.into());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (hash, keys) = (TokenHash::of("x"), Keyset::default());
            let _ = Introspected::read(&bytes, hash, &rules());
            prop_assert!(Introspected::read_signed(&bytes, hash, &rules(), &keys, "rs", NOW).is_err());
        }

        #[test]
        fn any_members_are_an_answer_or_not(name in "active|aud|exp|nbf|iat|iss|scope|cnf|auth_time", value in "\\PC{0,20}") {
            let _ = read(&format!(r#"{{"active":true,"{name}":{value}}}"#));
            let _ = read(&json!({"active": true, name: value}).to_string());
        }
    }
}
