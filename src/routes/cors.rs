//! Which scripts of other origins may read a route's answers (Fetch, "CORS protocol").

use std::time::Duration;

use http::HeaderValue;

/// Whose scripts may call a route from browsers. A route that has one leaves nothing of CORS to its upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// From where.
    pub origins: Origins,
    /// Whether scripts may have the browser add its own credentials: cookies, and client certificates. Tokens and
    /// proofs in header fields do not need it.
    pub allow_credentials: bool,
    /// How long a browser may remember the answer to a preflight; browsers cap it (Chromium at two hours).
    pub max_age: Duration,
}

/// Origins of scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Every origin; never together with credentials.
    Any,
    /// These, as browsers serialize them: scheme, host and a port that is not the scheme's own (RFC 6454 §6.2).
    Listed(Vec<HeaderValue>),
}

impl Cors {
    /// What `max_age` is when nobody said.
    pub const MAX_AGE: Duration = Duration::from_mins(10);

    /// For what is for everyone anyway.
    pub const fn open() -> Self {
        Self { origins: Origins::Any, allow_credentials: false, max_age: Self::MAX_AGE }
    }

    /// What `Access-Control-Allow-Origin` says to a script of `origin`; `None`: nothing, it may not read. Origins are
    /// compared byte for byte, as browsers do it.
    pub fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::Listed(listed) => origin.filter(|origin| listed.contains(origin)).cloned(),
        }
    }
}
