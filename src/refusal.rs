//! Every reason to say no, in one closed catalogue. It imports nothing of ours.
//!
//! A [`Reason`] says what was wrong; its [`Answer`] says what the client hears (several reasons share
//! one, so that an attacker does not learn which check failed); [`Refusal`] adds what the operator needs:
//! expected and found. Neither ever holds a token, a proof, a key or a signature.

mod advice;
mod answer;
mod progress;
mod shown;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

pub use advice::Advice;
pub use answer::{Answer, Blame};
pub use progress::{Names, Progress};
pub use shown::{cut, shown, without_long_words};

macro_rules! catalogue {
    ($($(#[doc = $doc:literal])* $reason:ident $slug:literal $answer:ident $sentence:literal;)*) => {
        /// Every reason to refuse a request. The slug is what metrics, the access log and tests carry;
        /// the description is the fixed sentence that a client may read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[doc = $doc])* $reason,)* }

        impl Reason {
            /// The whole catalogue, in its order.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)*];

            /// The stable id: metric label and access-log field.
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$reason => $slug,)* }
            }

            /// What was wrong, as it is documented.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$reason => concat!($($doc),*).trim_ascii(),)* }
            }

            /// What the client hears.
            pub const fn answer(self) -> Answer {
                match self { $(Self::$reason => Answer::$answer,)* }
            }

            /// A fixed, coarse sentence for the client, sent in challenges: characters of RFC 6750 §3 only, no value of the request.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$reason => $sentence,)* }
            }
        }
    };
}

catalogue! {
    // The request itself.
    /// Not HTTP at all, or framed in a way that two readers could read differently (RFC 9112 §2.2, §6.3).
    MessageMalformed "message_malformed" Malformed "The request is malformed.";
    /// Host or `:authority` missing, doubled, contradictory or not a host.
    HostInvalid "host_invalid" Malformed "The Host of the request is missing, malformed or contradictory.";
    /// The request target has dot segments, encoded slashes, backslashes, control bytes or a leading `//`.
    TargetInvalid "target_invalid" Malformed "The request target is malformed or ambiguous.";
    /// `Connection` nominates an end-to-end field that the gateway relies on.
    ConnectionNominates "connection_nominates" Malformed "The Connection field names a field that must not be removed.";
    /// A field in which a trusted proxy speaks for a client is missing, doubled or malformed.
    HopMalformed "hop_malformed" Malformed "A field of the proxy in front of this service is malformed.";
    /// Somebody who is no trusted proxy asks a decision endpoint, or begins a connection that a proxy must announce.
    HopUntrusted "hop_untrusted" Forbidden "This service is not for direct use.";
    /// CONNECT or TRACE; for metadata, anything but GET and HEAD.
    MethodNotServed "method_not_served" MethodNotServed "The method is not served here.";
    /// The authority belongs to another certificate than this connection's.
    AuthorityMisdirected "authority_misdirected" Misdirected "This connection does not serve the requested authority.";
    /// More header fields or bytes than `limits` allow.
    HeaderTooLarge "header_too_large" HeaderTooLarge "The header section is too large.";
    /// More body bytes than `limits.body_bytes`.
    BodyTooLarge "body_too_large" BodyTooLarge "The request body is too large.";
    /// No route matches host, path and method.
    NoRoute "no_route" NoRoute "No route matches the request.";

    // Credentials (RFC 6750 §2, RFC 9449 §7.1).
    /// No `Authorization` field, or one of a scheme that is not ours.
    CredentialsMissing "credentials_missing" NoCredentials "Credentials are required.";
    /// More than one `Authorization` field, credential or way of sending a token.
    CredentialsMultiple "credentials_multiple" SeveralCredentials "More than one credential was sent.";
    /// A token in the query (RFC 9700 §4.3.2).
    TokenInQuery "token_in_query" InvalidRequest "Access tokens are not accepted in the query.";
    /// The scheme is ours, what follows is not one token68.
    CredentialsMalformed "credentials_malformed" InvalidToken "The access token is malformed.";

    // The access token (RFC 9068 §4, RFC 8725).
    /// Longer than accepted.
    TokenTooLarge "token_too_large" InvalidToken "The access token is malformed.";
    /// Not one compact JWS of strict JSON.
    TokenMalformed "token_malformed" InvalidToken "The access token is malformed.";
    /// `typ` is not an access token's.
    TokenType "token_type" InvalidToken "The token is not an access token.";
    /// `alg` is none, symmetric, unknown or not allowed for the issuer.
    TokenAlgorithm "token_algorithm" InvalidToken "The access token is not acceptable.";
    /// `crit` or `b64` is present (RFC 7515 §4.1.11, RFC 7797).
    TokenCritical "token_critical" InvalidToken "The access token is not acceptable.";
    /// `iss` is missing or not a configured issuer.
    TokenIssuer "token_issuer" InvalidToken "The access token is not acceptable.";
    /// No key of the issuer has this `kid` and `alg`.
    TokenKeyUnknown "token_key_unknown" InvalidToken "The access token is not acceptable.";
    /// The signature does not verify.
    TokenSignature "token_signature" InvalidToken "The access token is not acceptable.";
    /// `aud` does not name this resource.
    TokenAudience "token_audience" InvalidToken "The access token is meant for another resource.";
    /// `exp` has passed.
    TokenExpired "token_expired" InvalidToken "The access token has expired.";
    /// `nbf` or `iat` lies in the future.
    TokenNotYetValid "token_not_yet_valid" InvalidToken "The access token is not valid yet.";
    /// A required claim is missing or of the wrong type.
    TokenClaims "token_claims" InvalidToken "The access token is not acceptable.";
    /// Its issuer says that it is not active (RFC 7662 §2.2).
    TokenInactive "token_inactive" InvalidToken "The access token is not active.";
    /// The route does not accept this issuer.
    TokenIssuerNotAccepted "token_issuer_not_accepted" InvalidToken "The access token is not acceptable here.";

    // The confirmation (RFC 7800, RFC 9449 §6, RFC 8705 §3.1).
    /// `cnf` is not an object, or a member of it is not a thumbprint.
    ConfirmationMalformed "confirmation_malformed" InvalidToken "The confirmation of the access token is malformed.";
    /// `cnf` holds no member that can be enforced.
    ConfirmationUnenforceable "confirmation_unenforceable" InvalidToken "The confirmation of the access token cannot be enforced.";
    /// The token names no key.
    TokenUnbound "token_unbound" InvalidToken "The access token is not sender-constrained.";
    /// The token is bound in a way that the route does not accept.
    BindingNotAccepted "binding_not_accepted" InvalidToken "The binding of the access token is not accepted here.";
    /// A token bound to a proof key came under the Bearer scheme.
    DpopTokenAsBearer "dpop_token_as_bearer" Downgrade "The access token is DPoP-bound and was sent as a bearer token.";
    /// A token without `cnf.jkt` came under the DPoP scheme.
    TokenNotDpopBound "token_not_dpop_bound" InvalidToken "The access token is not bound to a DPoP key.";

    // The certificate (RFC 8705 §3).
    /// The token is bound to a certificate and none was presented.
    CertificateMissing "certificate_missing" InvalidToken "The access token is bound to a client certificate.";
    /// The token is bound to another certificate.
    CertificateMismatch "certificate_mismatch" InvalidToken "The access token is bound to another client certificate.";

    // The proof (RFC 9449 §4.3; the digits are its steps).
    /// (1) No `DPoP` field.
    ProofMissing "proof_missing" InvalidProof "A DPoP proof is required.";
    /// (1) More than one `DPoP` field or value.
    ProofMultiple "proof_multiple" InvalidProof "More than one DPoP proof was sent.";
    /// (2) Longer than accepted.
    ProofTooLarge "proof_too_large" InvalidProof "The DPoP proof is malformed.";
    /// (2) Not one compact JWS of strict JSON.
    ProofMalformed "proof_malformed" InvalidProof "The DPoP proof is malformed.";
    /// (3) A required claim is missing or of the wrong type.
    ProofClaims "proof_claims" InvalidProof "The DPoP proof lacks a required claim or has a malformed one.";
    /// (4) `typ` is not `dpop+jwt`.
    ProofType "proof_type" InvalidProof "The DPoP proof has the wrong type.";
    /// (5) `alg` is none, symmetric, unknown or not allowed.
    ProofAlgorithm "proof_algorithm" InvalidProof "The algorithm of the DPoP proof is not accepted.";
    /// (2) `crit` or `b64` is present (RFC 7515 §4.1.11, RFC 7797).
    ProofCritical "proof_critical" InvalidProof "The DPoP proof has a critical extension.";
    /// (6) `jwk` is missing, malformed, weak or unfit for `alg`.
    ProofKey "proof_key" InvalidProof "The key of the DPoP proof is not acceptable.";
    /// (7) `jwk` holds private or symmetric material.
    ProofKeyPrivate "proof_key_private" InvalidProof "The DPoP proof discloses a private key.";
    /// (6) The signature does not verify.
    ProofSignature "proof_signature" InvalidProof "The signature of the DPoP proof does not verify.";
    /// (8) `htm` is another method.
    ProofMethod "proof_method" InvalidProof "The DPoP proof is for another method.";
    /// (9) `htu` is another URI.
    ProofTarget "proof_target" InvalidProof "The DPoP proof is for another URI.";
    /// (10) `nonce` is missing or not a string, and the gateway demands one.
    ProofNonceMissing "proof_nonce_missing" UseNonce "A nonce is required in the DPoP proof.";
    /// (10) `nonce` is not one of ours that is still good.
    ProofNonce "proof_nonce" UseNonce "Another nonce is required in the DPoP proof.";
    /// (11) `iat` is too old, or `exp` has passed.
    ProofStale "proof_stale" InvalidProof "The DPoP proof is too old.";
    /// (11) `iat` or `nbf` lies too far in the future.
    ProofFuture "proof_future" InvalidProof "The DPoP proof was issued in the future.";
    /// (11) Signed before the replay log began to remember: before this process started, or before its store was replaced.
    ProofBeforeStart "proof_before_start" InvalidProof "The DPoP proof is too old.";
    /// (12) `ath` is another token's.
    ProofTokenHash "proof_token_hash" InvalidProof "The DPoP proof is for another access token.";
    /// (12) The proof's key is not the one the token is bound to.
    ProofKeyMismatch "proof_key_mismatch" InvalidToken "The access token is bound to another key.";
    /// §11.1 The proof was spent before.
    ProofReplayed "proof_replayed" InvalidProof "The DPoP proof was used before.";

    // Policy.
    /// A scope is missing.
    ScopeMissing "scope_missing" InsufficientScope "The access token lacks a required scope.";
    /// `acr` is none of the wanted.
    AuthenticationWeak "authentication_weak" InsufficientAuthentication "A stronger authentication is required.";
    /// `auth_time` is too long ago.
    AuthenticationOld "authentication_old" InsufficientAuthentication "A more recent authentication is required.";

    // How much one caller may ask.
    /// The caller asks more often than the route lets one caller.
    LimitRate "limit_rate" TooManyRequests "Too many requests.";
    /// The caller has as many requests under way as the route lets one caller have.
    LimitConcurrent "limit_concurrent" TooManyRequests "Too many requests at once.";
    /// Too many requests of this sender failed.
    LimitFailures "limit_failures" TooManyRequests "Too many requests that were refused.";

    // What the decision depends on.
    /// No keys of the issuer were ever loaded.
    KeysUnavailable "keys_unavailable" Unavailable "The service is temporarily unavailable.";
    /// The issuer could not be asked about an opaque token, or its answer makes no sense.
    IntrospectionUnavailable "introspection_unavailable" Unavailable "The service is temporarily unavailable.";
    /// The replay log holds as many live proofs as it may.
    ReplayFull "replay_full" Unavailable "The service is temporarily unavailable.";
    /// The store that replicas share does not answer, or takes nothing.
    ReplayUnavailable "replay_unavailable" Unavailable "The service is temporarily unavailable.";
    /// This key holds as many live proofs as one key may.
    ReplayKeyQuota "replay_key_quota" TooManyProofs "Too many requests with this key.";

    /// More callers are at their limits than can be kept apart.
    LimitFull "limit_full" Unavailable "The service is temporarily unavailable.";
    /// What the upstream is told of the caller cannot be signed.
    IdentityUnavailable "identity_unavailable" Unavailable "The service is temporarily unavailable.";

    // The upstream.
    /// No connection could be made, or it broke before an answer.
    UpstreamUnreachable "upstream_unreachable" BadGateway "The upstream cannot be reached.";
    /// The upstream's answer makes no sense for the request.
    UpstreamProtocol "upstream_protocol" BadGateway "The upstream gave an unusable answer.";
    /// The client broke off while it sent its body.
    ClientGone "client_gone" Malformed "The request body broke off.";
    /// The client stopped sending its body for `response_timeout`.
    ClientSlow "client_slow" RequestTimeout "The request body took too long.";
    /// As many connections as `max_connections` allows are in use, and none became free within `connect_timeout`.
    UpstreamBusy "upstream_busy" Unavailable "The service is temporarily unavailable.";
    /// The upstream took longer than `response_timeout`.
    UpstreamTimeout "upstream_timeout" GatewayTimeout "The upstream did not answer in time.";
}

/// One refusal: the reason, and for the operator what was expected and found.
///
/// The texts go to logs and explanations, never to the client, and never hold a token, proof or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    expected: Option<Cow<'static, str>>,
    found: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal that explains itself.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, expected: None, found: None, retry_after: None }
    }

    /// Adds what would have been right.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<Cow<'static, str>>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Adds what was there instead.
    #[must_use]
    pub fn found(mut self, found: impl Into<Cow<'static, str>>) -> Self {
        self.found = Some(found.into());
        self
    }

    /// Adds when to come again.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same for keeps, with texts of at most so many bytes.
    #[must_use]
    pub fn shortened(&self, most: usize) -> Self {
        let short = |text: &Option<Cow<'static, str>>| match text {
            Some(Cow::Owned(text)) => Some(Cow::Owned(cut(text, most).to_owned())),
            other => other.clone(),
        };
        Self {
            reason: self.reason,
            expected: short(&self.expected),
            found: short(&self.found),
            retry_after: self.retry_after,
        }
    }

    /// The same for people, without whole thumbprints.
    #[must_use]
    pub fn without_long_words(&self) -> Self {
        let hidden = |text: &Option<Cow<'static, str>>| text.as_deref().map(|text| without_long_words(text).into());
        Self { expected: hidden(&self.expected), found: hidden(&self.found), ..self.clone() }
    }

    /// When to come again, if that is known.
    pub const fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The reason.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// What would have been right, if it can be said.
    pub fn what_was_expected(&self) -> Option<&str> {
        self.expected.as_deref()
    }

    /// What was there instead, if it can be said.
    pub fn what_was_found(&self) -> Option<&str> {
        self.found.as_deref()
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.slug())?;
        if let Some(expected) = &self.expected {
            write!(f, ": expected {expected}")?;
        }
        if let Some(found) = &self.found {
            write!(f, "{} found {found}", if self.expected.is_some() { "," } else { ":" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn slugs_are_unique_and_fit_for_a_metric_label() {
        let slugs: HashSet<_> = Reason::ALL.iter().map(|reason| reason.slug()).collect();
        assert_eq!(slugs.len(), Reason::ALL.len());
        assert!(slugs.iter().all(|slug| slug.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }

    #[test]
    fn descriptions_fit_into_a_quoted_string_of_rfc_6750() {
        for reason in Reason::ALL {
            let fits = |b: u8| matches!(b, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E);
            assert!(reason.description().bytes().all(fits), "{}", reason.slug());
        }
    }
}
