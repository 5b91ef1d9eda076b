//! What an assertion says.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;

use super::key::IdentityKey;
use crate::time::UnixTime;
use crate::verify::{AccessToken, Demand, base64url};

/// The type of assertions: no access token (RFC 9068 §2.1), no proof, no ID token, so that none is taken for another
/// (RFC 8725 §3.11).
const TYPE: &str = "identity+jwt";

/// How a route tells its upstream who was proven to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The request header that carries the assertion. The same name sent by a client is always removed.
    pub header: HeaderName,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// From `iat` to `exp`, unless the access token ends before.
    pub lifetime: Duration,
    /// The first signs; all of them are published, so that one can follow another.
    pub keys: Vec<Arc<IdentityKey>>,
}

/// What is to be said of one request.
pub struct Statement<'a> {
    /// The verified token.
    pub token: &'a AccessToken,
    /// What was proven for it, in this request.
    pub proven: &'a Demand,
    /// The request's method.
    pub method: &'a str,
    /// Its external URL without query.
    pub url: &'a str,
    /// Its name.
    pub request_id: &'a str,
    /// The moment of the decision.
    pub now: UnixTime,
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    kid: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<&'a Value>,
    token_iss: &'a str,
    binding: &'a str,
    #[serde(skip_serializing_if = "Confirmation::is_empty")]
    cnf: Confirmation,
    htm: &'a str,
    htu: &'a str,
}

/// RFC 9449 §6.1, RFC 8705 §3.1.
#[derive(Serialize)]
struct Confirmation {
    #[serde(skip_serializing_if = "Option::is_none")]
    jkt: Option<String>,
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    x5t_s256: Option<String>,
}

impl Confirmation {
    const fn is_empty(&self) -> bool {
        self.jkt.is_none() && self.x5t_s256.is_none()
    }
}

impl Identity {
    /// The assertion about one request, as a field value. `None` when it cannot be signed.
    pub fn assert(&self, statement: &Statement<'_>) -> Option<HeaderValue> {
        let key = self.keys.first()?;
        let Statement { token, proven, method, url, request_id, now } = *statement;
        let text = |claim: &str| token.claim(claim).and_then(Value::as_str);
        let header = Header { typ: TYPE, alg: key.algorithm().name(), kid: key.kid().to_string() };
        let claims = Claims {
            iss: &self.issuer,
            aud: &self.audience,
            iat: now.secs(),
            // What a token no longer says, nobody says for it; but it is said now, also in the token's last moment.
            exp: token.expires().map_or(i64::MAX, UnixTime::secs).min((now + self.lifetime).secs()).max(now.secs() + 1),
            jti: request_id,
            sub: text("sub"),
            client_id: text("client_id"),
            scope: text("scope"),
            acr: text("acr"),
            auth_time: token.claim("auth_time").filter(|date| date.is_number()),
            token_iss: token.issuer(),
            binding: proven.binding().as_str(),
            cnf: Confirmation {
                jkt: proven.proof_by.map(|key| key.to_string()),
                x5t_s256: proven.certificate.map(|certificate| base64url::encode(&certificate)),
            },
            htm: method,
            htu: url,
        };
        let encoded = |json: serde_json::Result<Vec<u8>>| json.ok().map(|json| base64url::encode(&json));
        let mut jws = encoded(serde_json::to_vec(&header))?;
        jws.push('.');
        jws.push_str(&encoded(serde_json::to_vec(&claims))?);
        let signature = key.sign(jws.as_bytes())?;
        jws.push('.');
        jws.push_str(&base64url::encode(signature.as_ref()));
        let mut value = HeaderValue::try_from(jws).ok()?;
        // Keeps it out of HPACK tables and Debug output.
        value.set_sensitive(true);
        Some(value)
    }
}
