//! What the gateway is told about an introspection endpoint.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::RootCertStore;
use rustls::client::ResolvesClientCert;
use zeroize::Zeroizing;

use crate::prover::ProofKey;

/// How one issuer is asked about its opaque tokens.
#[derive(Debug)]
pub struct IntrospectionSettings {
    /// Whose tokens: one of the configured issuers.
    pub issuer: String,
    /// Where to ask: `https`, or `http` on a loopback address.
    pub endpoint: Uri,
    /// Who asks.
    pub client_id: String,
    /// How the asker shows that it is who it says.
    pub authentication: ClientAuthentication,
    /// What the answer must be.
    pub form: AnswerForm,
    /// How long a token that was active is believed to be so. Never beyond its `exp`.
    pub cache: Duration,
    /// For one question and its answer, everything together.
    pub timeout: Duration,
    /// Most questions under way at once.
    pub concurrency: usize,
    /// Certificate authorities of the endpoint, instead of the system's.
    pub roots: Option<Arc<RootCertStore>>,
}

impl IntrospectionSettings {
    /// The default of `cache`.
    pub const CACHE: Duration = Duration::from_mins(1);
    /// The most that `cache` may be.
    pub const LONGEST_CACHE: Duration = Duration::from_mins(5);
    /// The default of `timeout`.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
    /// The default of `concurrency`.
    pub const CONCURRENCY: usize = 64;

    /// The documented defaults.
    pub fn new(issuer: &str, endpoint: Uri, client_id: &str, authentication: ClientAuthentication) -> Self {
        Self {
            issuer: issuer.to_owned(),
            endpoint,
            client_id: client_id.to_owned(),
            authentication,
            form: AnswerForm::Json,
            cache: Self::CACHE,
            timeout: Self::TIMEOUT,
            concurrency: Self::CONCURRENCY,
            roots: None,
        }
    }
}

/// How the gateway shows an authorization server who it is.
pub enum ClientAuthentication {
    /// `client_secret_basic` (RFC 6749 §2.3.1).
    Secret(Zeroizing<Vec<u8>>),
    /// Mutual TLS (RFC 8705 §2).
    Certificate(Arc<dyn ResolvesClientCert>),
    /// `private_key_jwt` (RFC 7523).
    Assertion {
        /// What signs.
        key: Box<ProofKey>,
        /// How the server knows the key, if the key says so.
        kid: Option<String>,
    },
}

impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(…)",
            Self::Certificate(_) => "Certificate(…)",
            Self::Assertion { .. } => "Assertion(…)",
        })
    }
}

/// What an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerForm {
    /// `application/json` (RFC 7662 §2.2).
    Json,
    /// `application/token-introspection+jwt`: signed by the issuer (RFC 9701).
    Jwt,
}

impl AnswerForm {
    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Jwt => "application/token-introspection+jwt",
        }
    }
}
