//! What becomes of a reason on the wire.

/// What the client hears: status, OAuth error and whether challenges go with it.
/// One variant per row of the response catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// 400 without challenge: malformed HTTP, host or target.
    Malformed,
    /// 403 without challenge: no credential would help.
    Forbidden,
    /// 404: no route matches.
    NoRoute,
    /// 405: a method that a gateway does not serve (CONNECT, TRACE).
    MethodNotServed,
    /// 408: the client takes too long to send what it announced.
    RequestTimeout,
    /// 413: the body is larger than allowed.
    BodyTooLarge,
    /// 421: this connection does not serve that authority (RFC 9110 §15.5.20).
    Misdirected,
    /// 431: too many or too large header fields (RFC 6585 §5).
    HeaderTooLarge,
    /// 401 with a challenge per accepted scheme and no `error` (RFC 6750 §3.1).
    NoCredentials,
    /// 400 `invalid_request` in the challenge of the scheme used.
    InvalidRequest,
    /// 400 `invalid_request` in both challenges (RFC 9449 §7.2).
    SeveralCredentials,
    /// 401 `invalid_token` in the challenge of the scheme used (RFC 6750 §3.1).
    InvalidToken,
    /// 401 `invalid_token` in both challenges: a DPoP-bound token came as Bearer (RFC 9449 §7.2).
    Downgrade,
    /// 401 `invalid_dpop_proof` (RFC 9449 §7.1).
    InvalidProof,
    /// 401 `use_dpop_nonce`, with a nonce (RFC 9449 §9).
    UseNonce,
    /// 403 `insufficient_scope` (RFC 6750 §3.1).
    InsufficientScope,
    /// 401 `insufficient_user_authentication` (RFC 9470 §3).
    InsufficientAuthentication,
    /// 429: one key holds too many live proofs.
    TooManyProofs,
    /// 429 and `Retry-After`: one caller asks, or fails, too often (RFC 6585 §4).
    TooManyRequests,
    /// 503 and `Retry-After`: something needed to decide is unavailable or full.
    Unavailable,
    /// 502: the upstream cannot be reached or answers nonsense.
    BadGateway,
    /// 504: the upstream does not answer in time.
    GatewayTimeout,
}

impl Answer {
    /// The HTTP status code.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::InvalidRequest | Self::SeveralCredentials => 400,
            Self::NoCredentials
            | Self::InvalidToken
            | Self::Downgrade
            | Self::InvalidProof
            | Self::UseNonce
            | Self::InsufficientAuthentication => 401,
            Self::Forbidden | Self::InsufficientScope => 403,
            Self::NoRoute => 404,
            Self::MethodNotServed => 405,
            Self::RequestTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::Misdirected => 421,
            Self::TooManyProofs | Self::TooManyRequests => 429,
            Self::HeaderTooLarge => 431,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::GatewayTimeout => 504,
        }
    }

    /// The OAuth error code of the challenge and the body, where there is one.
    pub const fn oauth_error(self) -> Option<&'static str> {
        match self {
            Self::InvalidRequest | Self::SeveralCredentials => Some("invalid_request"),
            Self::InvalidToken | Self::Downgrade => Some("invalid_token"),
            Self::InvalidProof => Some("invalid_dpop_proof"),
            Self::UseNonce => Some("use_dpop_nonce"),
            Self::InsufficientScope => Some("insufficient_scope"),
            Self::InsufficientAuthentication => Some("insufficient_user_authentication"),
            Self::Malformed
            | Self::Forbidden
            | Self::NoRoute
            | Self::MethodNotServed
            | Self::RequestTimeout
            | Self::BodyTooLarge
            | Self::Misdirected
            | Self::HeaderTooLarge
            | Self::NoCredentials
            | Self::TooManyProofs
            | Self::TooManyRequests
            | Self::Unavailable
            | Self::BadGateway
            | Self::GatewayTimeout => None,
        }
    }

    /// The status in gRPC's terms, by gRPC's own table of HTTP statuses.
    pub const fn grpc_status(self) -> u16 {
        match self {
            // INTERNAL
            Self::Malformed | Self::InvalidRequest | Self::SeveralCredentials => 13,
            // UNAUTHENTICATED
            Self::NoCredentials
            | Self::InvalidToken
            | Self::Downgrade
            | Self::InvalidProof
            | Self::UseNonce
            | Self::InsufficientAuthentication => 16,
            // PERMISSION_DENIED
            Self::Forbidden | Self::InsufficientScope => 7,
            // UNIMPLEMENTED
            Self::NoRoute => 12,
            // UNAVAILABLE
            Self::TooManyProofs
            | Self::TooManyRequests
            | Self::Unavailable
            | Self::BadGateway
            | Self::GatewayTimeout => 14,
            // UNKNOWN
            Self::MethodNotServed
            | Self::RequestTimeout
            | Self::BodyTooLarge
            | Self::Misdirected
            | Self::HeaderTooLarge => 2,
        }
    }

    /// Whose fault it is.
    pub const fn blame(self) -> Blame {
        match self {
            Self::Malformed
            | Self::Forbidden
            | Self::NoRoute
            | Self::MethodNotServed
            | Self::RequestTimeout
            | Self::BodyTooLarge
            | Self::Misdirected
            | Self::HeaderTooLarge
            | Self::NoCredentials
            | Self::InvalidRequest
            | Self::SeveralCredentials
            | Self::InvalidToken
            | Self::Downgrade
            | Self::InvalidProof
            | Self::UseNonce
            | Self::InsufficientScope
            | Self::InsufficientAuthentication
            | Self::TooManyProofs
            | Self::TooManyRequests => Blame::Client,
            Self::Unavailable => Blame::Gateway,
            Self::BadGateway | Self::GatewayTimeout => Blame::Upstream,
        }
    }
}

/// Whose fault a refusal is. It picks the log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The caller.
    Client,
    /// The API behind the gateway.
    Upstream,
    /// The gateway, or what it depends on.
    Gateway,
}
