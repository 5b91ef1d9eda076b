//! Why keys could not be loaded.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::fetch::Place;

/// Why an attempt to load keys failed. For the operator: it names places, never contents.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Keys are not fetched from such an address.
    #[error("{place}: {expected}")]
    Place {
        /// The address.
        place: Place,
        /// What it should be.
        expected: &'static str,
    },
    /// The issuer is a URL that no metadata address can be made of (RFC 8414 §2).
    #[error("issuer {issuer}: {expected}")]
    Issuer {
        /// As configured.
        issuer: String,
        /// What it should be.
        expected: &'static str,
    },
    /// No connection, or it broke.
    #[error("{place}: {why}")]
    Unreachable {
        /// The address.
        place: Place,
        /// In the words of the network stack.
        why: String,
    },
    /// The answer was not complete in time.
    #[error("{place}: no complete answer within {limit:?}")]
    TooSlow {
        /// The address.
        place: Place,
        /// The time it had.
        limit: Duration,
    },
    /// A redirection. Following it would let the issuer's web server choose whom to trust.
    #[error("{place}: expected status 200, found {status}; redirects are not followed{}", .to.as_ref().map(|to| format!(", this one leads to {to}")).unwrap_or_default())]
    Redirected {
        /// The address.
        place: Place,
        /// The status.
        status: u16,
        /// Where it leads.
        to: Option<Place>,
    },
    /// Another status than 200.
    #[error("{place}: expected status 200, found {status}")]
    Status {
        /// The address.
        place: Place,
        /// The status.
        status: u16,
    },
    /// The document is larger than any JWK set should be.
    #[error("{place}: expected at most {limit} bytes, found more")]
    TooLarge {
        /// URL or file.
        place: String,
        /// In bytes.
        limit: usize,
    },
    /// The document is something else.
    #[error("{place}: expected {expected}, found {found}")]
    Content {
        /// URL or file.
        place: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Neither place for metadata helps.
    #[error("{oauth}; {openid}")]
    Discovery {
        /// What was wrong with the place of RFC 8414 §3.
        oauth: Box<Self>,
        /// What was wrong with the place of OpenID Connect Discovery §4.
        openid: Box<Self>,
    },
    /// The file cannot be read.
    #[error("{}: {why}", .path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// In the words of the operating system.
        why: String,
    },
}
