//! Client authentication with a signed assertion (RFC 7523 §2.2, §3): the gateway as a client of an authorization server.

use std::time::Duration;

use jsonwebtoken::Header;
use serde::Serialize;

use super::{KeyError, ProofKey, jwt_algorithm, random_jti};
use crate::time::UnixTime;

/// How long an assertion is good.
const LIFETIME: Duration = Duration::from_mins(1);

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: i64,
    exp: i64,
}

impl ProofKey {
    /// Signs that whoever holds this key is `client_id`, for the authorization server `audience`, for a minute. `kid`
    /// is how that server knows the key, if it needs to be told.
    ///
    /// # Errors
    /// [`KeyError::Library`], [`KeyError::Unsupported`].
    pub fn assert(
        &self,
        client_id: &str,
        audience: &str,
        kid: Option<&str>,
        now: UnixTime,
    ) -> Result<String, KeyError> {
        let mut header = Header::new(jwt_algorithm(self.algorithm)?);
        header.kid = kid.map(str::to_owned);
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: audience,
            jti: random_jti()?,
            iat: now.secs(),
            exp: (now + LIFETIME).secs(),
        };
        jsonwebtoken::encode(&header, &claims, &self.signer).map_err(|_| KeyError::Library("sign"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{Algorithm, Json, base64url};

    #[test]
    fn an_assertion_says_who_to_whom_and_until_when() {
        let key = ProofKey::generate(Algorithm::Es256).unwrap();
        let assert = || key.assert("gateway", "https://as.example", Some("k1"), UnixTime::from_secs(1000)).unwrap();
        let (one, two) = (assert(), assert());
        let part = |text: &str, at: usize| {
            Json::object(&base64url::decode(text.split('.').nth(at).unwrap()).unwrap()).unwrap()
        };
        let (header, claims) = (part(&one, 0), part(&one, 1));
        assert_eq!(["typ", "alg", "kid"].map(|name| header.string(name)), [Some("JWT"), Some("ES256"), Some("k1")]);
        assert_eq!(
            ["iss", "sub", "aud"].map(|name| claims.string(name)),
            [Some("gateway"), Some("gateway"), Some("https://as.example")]
        );
        assert_eq!((claims.get("iat").unwrap(), claims.get("exp").unwrap()), (&1000.into(), &1060.into()));
        assert!(!header.has("jwk"));
        assert_ne!(claims.string("jti"), part(&two, 1).string("jti"));
    }
}
