//! What the gateway is told about an upstream.

use std::time::Duration;

/// One API behind the gateway.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// Metric label and log field.
    pub name: String,
    /// `http` or `https`.
    pub scheme: http::uri::Scheme,
    /// Host and port.
    pub authority: http::uri::Authority,
    /// To the end of the TCP (and TLS) handshake.
    pub connect_timeout: Duration,
    /// From the request being sent to the head of the response.
    pub response_timeout: Duration,
}

impl UpstreamSettings {
    /// The documented default of `connect_timeout`.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    /// The documented default of `response_timeout`.
    pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
}
