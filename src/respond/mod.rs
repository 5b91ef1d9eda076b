//! Words for the client: a refusal becomes status, challenges and a short body; scripts and strangers are told what they
//! may do.
//!
//! Enters: a reason and what the route accepts. Leaves: a complete response. Never: a value of the request, a
//! token, or which of several checks failed beyond the catalogue's sentence.

mod challenge;
pub mod cors;
mod metadata;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use crate::refusal::{Answer, Reason};
use crate::request::{RequestId, Scheme};
use crate::routes::Policy;

pub use challenge::challenges;
pub use metadata::{Metadata, Resource};

/// The field that hands out a nonce (RFC 9449 §8.1).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// How long a client should wait when the gateway cannot decide, in seconds.
const RETRY_AFTER_UNAVAILABLE: HeaderValue = HeaderValue::from_static("5");

/// How long a client should wait when its key holds too many live proofs, in seconds.
const RETRY_AFTER_QUOTA: HeaderValue = HeaderValue::from_static("10");

/// What a refusal is answered to.
#[derive(Debug, Clone)]
pub struct Circumstances<'a> {
    /// The scheme that the client used.
    pub scheme_used: Option<Scheme>,
    /// What the route wants; `None` where no route was found or it is public.
    pub policy: Option<&'a Policy>,
    /// The `algs` of DPoP challenges.
    pub algorithms: &'a str,
    /// The `realm` of Bearer challenges.
    pub realm: &'a str,
    /// Names the request.
    pub id: Option<&'a RequestId>,
    /// Where proofs must hold a nonce: one to use. It goes with every 401 that has a DPoP challenge, so that whatever
    /// was wrong with a proof, the next one can be right.
    pub nonce: Option<HeaderValue>,
    /// Where the resource's metadata are (RFC 9728 §5.1), if anywhere.
    pub resource_metadata: Option<String>,
    /// When to come again, where that is known.
    pub retry_after: Option<Duration>,
}

/// Answers a refusal.
pub fn refuse(reason: Reason, circumstances: &Circumstances<'_>) -> Response<Bytes> {
    let answer = reason.answer();
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(problem(status, answer, circumstances.id));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut offers_dpop = false;
    for challenge in challenges(reason, circumstances) {
        offers_dpop |= challenge.as_bytes().starts_with(Scheme::Dpop.as_str().as_bytes());
        headers.append(header::WWW_AUTHENTICATE, challenge);
    }
    if let (StatusCode::UNAUTHORIZED, true, Some(nonce)) = (status, offers_dpop, &circumstances.nonce) {
        headers.insert(DPOP_NONCE, nonce.clone());
    }
    match answer {
        Answer::Unavailable => {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_UNAVAILABLE);
        }
        Answer::TooManyProofs => {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_QUOTA);
        }
        Answer::TooManyRequests => {
            headers.insert(header::RETRY_AFTER, delay_seconds(circumstances.retry_after.unwrap_or_default()));
        }
        Answer::MethodNotServed => {
            // RFC 9110 §15.5.6: a 405 lists what is allowed.
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        Answer::Malformed
        | Answer::Forbidden
        | Answer::NoRoute
        | Answer::RequestTimeout
        | Answer::BodyTooLarge
        | Answer::Misdirected
        | Answer::HeaderTooLarge
        | Answer::NoCredentials
        | Answer::InvalidRequest
        | Answer::SeveralCredentials
        | Answer::InvalidToken
        | Answer::Downgrade
        | Answer::InvalidProof
        | Answer::UseNonce
        | Answer::InsufficientScope
        | Answer::InsufficientAuthentication
        | Answer::BadGateway
        | Answer::GatewayTimeout => {}
    }
    response
}

/// RFC 9110 §10.2.3: whole seconds, rounded up, so that whoever comes then is not early.
fn delay_seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
}

/// RFC 9457, with the OAuth error code and the request id, and nothing more.
fn problem(status: StatusCode, answer: Answer, id: Option<&RequestId>) -> Bytes {
    let mut body = serde_json::json!({
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
    });
    if let Some(error) = answer.oauth_error() {
        body["error"] = error.into();
    }
    if let Some(id) = id {
        body["request_id"] = id.as_str().into();
    }
    Bytes::from(body.to_string())
}
