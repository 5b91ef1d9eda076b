//! What helps against a refusal: for `keybound explain` and the catalogue in `docs/reasons.md`.

use super::Reason;

/// What to do about a refusal, for both who may have to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// What the client should do.
    pub client: &'static str,
    /// What the operator should look at.
    pub operator: &'static str,
}

impl Reason {
    /// What helps.
    #[expect(clippy::too_many_lines, reason = "a row for each reason")]
    pub const fn advice(self) -> Advice {
        let (client, operator) = match self {
            Self::MessageMalformed => (
                "Send valid HTTP; use a library that does.",
                "Is a proxy in front that rewrites requests? Somebody may be trying request smuggling.",
            ),
            Self::HostInvalid => (
                "Send one `Host` (or `:authority`) that is a host name and perhaps a port.",
                "Does a proxy in front replace or drop `Host`?",
            ),
            Self::TargetInvalid => (
                "Normalize the path before sending: no dot segments, no encoded slashes, no `//`.",
                "Do routes overlap in a way that a lenient reader of the path would see otherwise?",
            ),
            Self::ConnectionNominates => (
                "Do not name end-to-end fields in `Connection`.",
                "Somebody may be trying to have a field removed on the way.",
            ),
            Self::HopMalformed => (
                "Nothing: the proxy in front is at fault.",
                "Does the trusted proxy write the field that the listener names, once, on every request?",
            ),
            Self::HopUntrusted => (
                "Call the public address of the service.",
                "Is the proxy that asks in `trusted_proxies`? If so, who else reaches this port?",
            ),
            Self::MethodNotServed => ("Use another method.", "Nothing, unless clients have a reason to use it."),
            Self::AuthorityMisdirected => (
                "Open a connection of its own for this host.",
                "Do the certificates of the listener cover the hosts that they should?",
            ),
            Self::HeaderTooLarge => {
                ("Send fewer or smaller header fields.", "Is `limits.header_bytes` or `limits.headers` too small?")
            }
            Self::BodyTooLarge => ("Send a smaller body.", "Is `limits.body_bytes` too small?"),
            Self::NoRoute => (
                "Check host, path and method.",
                "Should a route cover it? The first that matches wins, and prefixes are whole segments.",
            ),
            Self::CredentialsMissing => (
                "Send `Authorization: DPoP` (or `Bearer` for certificate-bound tokens) and the access token.",
                "Does a proxy in front drop `Authorization`? Was the route meant to be public?",
            ),
            Self::CredentialsMultiple => (
                "Send one token in one `Authorization` field, and none in the query.",
                "Does a proxy in front add an `Authorization` of its own?",
            ),
            Self::TokenInQuery => (
                "Send the token in the `Authorization` field, and replace it: it stands in logs and histories now.",
                "Which client still does this? Its tokens may be in logs.",
            ),
            Self::CredentialsMalformed => (
                "Send the scheme, one space and the token, nothing else.",
                "Nothing, unless a proxy in front changes the field.",
            ),
            Self::TokenTooLarge => {
                ("Ask for a token with fewer claims.", "Can the issuer leave claims out, or issue opaque tokens?")
            }
            Self::TokenMalformed => (
                "Send the access token as the issuer gave it, not an ID token or a refresh token.",
                "Are the issuer's tokens opaque? Then configure `introspection`.",
            ),
            Self::TokenType => (
                "Send the access token, not an ID token or another JWT.",
                "Does the issuer write `typ: JWT`, or none? Then add `JWT` or `absent` to `token_types`.",
            ),
            Self::TokenAlgorithm => (
                "Get a token that is signed with an accepted algorithm.",
                "Which `alg` does the issuer use, and is it in the issuer's `algorithms`?",
            ),
            Self::TokenCritical => (
                "Get a token without `crit` and `b64`.",
                "Why does the issuer write extensions that resource servers must understand?",
            ),
            Self::TokenIssuer => (
                "Get a token of the authorization server that this API names.",
                "Does `issuer` equal `iss` to the letter, a slash at the end included?",
            ),
            Self::TokenKeyUnknown => (
                "Get a new token.",
                "Did the issuer change its keys? Is `kid` in its JWK set, with this `alg`? See `keybound_jwks_refreshes_total`.",
            ),
            Self::TokenSignature => (
                "Send the token unchanged, or get a new one.",
                "Does the issuer use one `kid` for two keys? Otherwise somebody changed a token.",
            ),
            Self::TokenAudience => (
                "Ask for a token for this API (`resource`, RFC 8707, or `audience`).",
                "Does `audiences` hold what the issuer writes into `aud`, to the letter?",
            ),
            Self::TokenExpired => {
                ("Get a new token.", "Are the clocks of issuer and gateway right? `clock_skew` tolerates a little.")
            }
            Self::TokenNotYetValid => {
                ("Wait a moment, or get a new token.", "Are the clocks of issuer and gateway right?")
            }
            Self::TokenClaims => {
                ("Get a new token.", "Does the issuer write `exp`, `sub` or `client_id`, and numbers as numbers?")
            }
            Self::TokenInactive => (
                "Get a new token: this one was revoked, has expired, or is none.",
                "May the gateway's client ask about the tokens of this client?",
            ),
            Self::TokenIssuerNotAccepted => (
                "Get a token of an issuer that this part of the API accepts.",
                "Is the issuer missing in the route's `access.issuers`?",
            ),
            Self::ConfirmationMalformed => (
                "Get a new token.",
                "Does the issuer write thumbprints as 43 characters of base64url, without padding?",
            ),
            Self::ConfirmationUnenforceable => (
                "Get a token that is bound by DPoP or to a client certificate.",
                "Which member of `cnf` does the issuer write? `jkt` and `x5t#S256` can be enforced.",
            ),
            Self::TokenUnbound => (
                "Get a bound token: send a DPoP proof, or a client certificate, with the token request.",
                "Does the issuer bind this client's tokens? `unbound_tokens: allow` is for a migration alone.",
            ),
            Self::BindingNotAccepted => {
                ("Get a token that is bound the other way.", "Is the kind missing in the route's `access.bindings`?")
            }
            Self::DpopTokenAsBearer => (
                "Send it as `Authorization: DPoP`, with a proof in `DPoP`.",
                "A client without DPoP support, a proxy that rewrites `Authorization`, or a stolen token.",
            ),
            Self::TokenNotDpopBound => (
                "Send a certificate-bound token as `Bearer`; for DPoP, send a proof with the token request.",
                "Does the issuer support DPoP, and for this client?",
            ),
            Self::CertificateMissing => (
                "Connect with the client certificate that the token was issued for.",
                "Is `client_certificates.mode` off? Behind a TLS terminator, is `client_certificate_header` set?",
            ),
            Self::CertificateMismatch => (
                "Use the certificate that the token was issued for, or get a new token with the new one.",
                "Was the client's certificate renewed? Otherwise a stolen token.",
            ),
            Self::ProofMissing => (
                "Send a proof for this request in the `DPoP` field.",
                "Does a proxy in front drop `DPoP`? Otherwise a client without DPoP support, or a stolen token.",
            ),
            Self::ProofMultiple => {
                ("Send one `DPoP` field with one proof.", "Does a proxy in front join or repeat fields?")
            }
            Self::ProofTooLarge => ("Leave out of the proof what RFC 9449 does not ask for.", "Nothing."),
            Self::ProofMalformed => (
                "Make a compact JWS: three segments of base64url without padding, strict JSON.",
                "Which library does the client use?",
            ),
            Self::ProofClaims => (
                "Put `jti`, `htm`, `htu`, `iat` and `ath` into the proof, none of them empty.",
                "Which library does the client use? `ath` is often forgotten.",
            ),
            Self::ProofType => ("Set `typ` to `dpop+jwt`.", "Which library does the client use?"),
            Self::ProofAlgorithm => (
                "Sign with one of the algorithms in the challenge's `algs`.",
                "Should the algorithm be in `dpop.algorithms`?",
            ),
            Self::ProofCritical => ("Leave `crit` and `b64` out.", "Which library does the client use?"),
            Self::ProofKey => (
                "Put the public key as a valid `jwk` into the header: of the type that `alg` needs, RSA of at least 2048 bits.",
                "Which library does the client use?",
            ),
            Self::ProofKeyPrivate => (
                "Stop using this key: it was disclosed. Make a new one, and put only its public half into `jwk`.",
                "Have the client's tokens revoked, and its key replaced.",
            ),
            Self::ProofSignature => (
                "Sign with the private half of `jwk`; ECDSA signatures are `R ‖ S`, not DER.",
                "Which library does the client use?",
            ),
            Self::ProofMethod => (
                "Sign the method of this very request in `htm`, in upper case.",
                "Does a proxy in front change the method? Otherwise a proof of another request.",
            ),
            Self::ProofTarget => (
                "Sign the URL that is called in `htu`, without query and fragment.",
                "Does the listener know the URL that clients see? Set `public_url` behind a proxy.",
            ),
            Self::ProofNonceMissing => (
                "Sign again with the nonce of the answer's `DPoP-Nonce`.",
                "Nothing: the first request of each client gets this.",
            ),
            Self::ProofNonce => (
                "Sign again with the nonce of the answer's `DPoP-Nonce`.",
                "Do all replicas share `dpop.nonce.secret_file`? A client that gets it each time ignores nonces.",
            ),
            Self::ProofStale => (
                "Sign a new proof for each request, right before it; check the clock.",
                "See `keybound_proof_age_seconds`: do clients' clocks drift? Otherwise a proof that was kept.",
            ),
            Self::ProofFuture => {
                ("Check the clock.", "See `keybound_proof_age_seconds`; `dpop.clock_skew` tolerates a little.")
            }
            Self::ProofBeforeStart => (
                "Sign a new proof.",
                "Did the gateway start, or its replay store fail over, a moment ago? Nothing else to do.",
            ),
            Self::ProofTokenHash => (
                "Set `ath` to base64url of SHA-256 of this very token.",
                "Did the client renew its token and keep the proof? Otherwise a proof of another token.",
            ),
            Self::ProofKeyMismatch => (
                "Sign with the key that the token was requested with.",
                "Did the client make a new key and keep its token? Otherwise a stolen token.",
            ),
            Self::ProofReplayed => (
                "Sign a new proof for each request, retries too.",
                "Does a proxy in front, or the client, send requests twice? Otherwise a stolen proof.",
            ),
            Self::ScopeMissing => (
                "Ask for a token with the scopes of the challenge.",
                "Are the route's `access.scopes` what the issuer grants?",
            ),
            Self::AuthenticationWeak => (
                "Have the user authenticate with one of the challenge's `acr_values`.",
                "Does the issuer write `acr`, and do `acr_values` name what it writes?",
            ),
            Self::AuthenticationOld => {
                ("Have the user authenticate again (`max_age`).", "Does the issuer write `auth_time`?")
            }
            Self::LimitRate => (
                "Wait for `Retry-After`; the same proof may be sent again while it is fresh.",
                "Is the route's `access.limits` what callers need?",
            ),
            Self::LimitConcurrent => (
                "Wait for requests under way to end.",
                "Is `concurrent` of the route what callers need? Do requests hang?",
            ),
            Self::LimitFailures => (
                "Correct what was refused before, and wait for `Retry-After`.",
                "Why was the sender refused before? Do many clients share its address?",
            ),
            Self::KeysUnavailable => (
                "Try again after `Retry-After`.",
                "Can the issuer's keys be fetched? The log, `/readyz` and `keybound_jwks_refreshes_total` tell.",
            ),
            Self::IntrospectionUnavailable => (
                "Try again after `Retry-After`; the token may be good.",
                "Does the introspection endpoint answer in time? The log and `keybound_introspections_total` tell.",
            ),
            Self::ReplayFull => (
                "Try again after `Retry-After`.",
                "Is `replay.memory.capacity` too small for the traffic? See `keybound_replay_entries`.",
            ),
            Self::ReplayUnavailable => (
                "Try again after `Retry-After`, with a new proof.",
                "Does the replay store answer and take keys? The log and `keybound_replay_store_available` tell.",
            ),
            Self::ReplayKeyQuota => (
                "Send fewer requests with one key.",
                "Is `replay.memory.per_key` too small, or do many clients share one key?",
            ),
            Self::LimitFull => {
                ("Try again after `Retry-After`.", "Are there really so many callers, or does somebody invent keys?")
            }
            Self::IdentityUnavailable => (
                "Try again after `Retry-After`.",
                "What does the log say about signing? The system may give no random numbers.",
            ),
            Self::UpstreamUnreachable => {
                ("Try again later, with a new proof.", "Does the upstream run, and can the gateway reach it?")
            }
            Self::UpstreamProtocol => (
                "Try again later, with a new proof.",
                "Does the upstream speak HTTP/1.1 on this port, and TLS if its URL says so?",
            ),
            Self::ClientGone => ("Send the whole body.", "Nothing, unless it is frequent."),
            Self::ClientSlow => ("Send the body without pauses.", "Is the upstream's `response_timeout` too short?"),
            Self::UpstreamBusy => (
                "Try again after `Retry-After`, with a new proof.",
                "Is the upstream slow, or its `max_connections` too small for its clients?",
            ),
            Self::UpstreamTimeout => {
                ("Try again later, with a new proof.", "Is the upstream slow, or its `response_timeout` too short?")
            }
        };
        Advice { client, operator }
    }
}
