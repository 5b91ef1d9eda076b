//! What fuzz targets ask and users of this library cannot: behind the feature `fuzzing`, in nothing that ships.
//!
//! Enters: bytes. Leaves: words about them. Never: an [`AccessToken`](crate::verify::AccessToken), which nothing but an
//! issuer's own answer makes.

use std::net::SocketAddr;

use crate::accept;
use crate::time::UnixTime;
use crate::verify::{BadAnswer, Confirmation, Introspected, IssuerRules, Keyset, TokenHash};

/// What the first bytes of a connection are to a listener that expects the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// No header, or a broken one.
    None,
    /// The beginning of one.
    Begun,
    /// All of one.
    Whole {
        /// Whom it speaks for; `None`: for its sender.
        source: Option<SocketAddr>,
        /// Its bytes.
        length: usize,
    },
}

/// Reads the first bytes of a connection.
pub fn proxy_header(bytes: &[u8]) -> ProxyHeader {
    match accept::read_proxy_header(bytes) {
        accept::ProxyHeader::None => ProxyHeader::None,
        accept::ProxyHeader::Begun => ProxyHeader::Begun,
        accept::ProxyHeader::Whole { source, length } => ProxyHeader::Whole { source, length },
    }
}

/// What an issuer's answer says of an active token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Whose token it is.
    pub issuer: String,
    /// What it is bound to; `None`: to nothing, or to something that cannot be checked.
    pub confirmation: Option<Confirmation>,
    /// Whether the token may be used now.
    pub is_good: bool,
}

/// Reads an answer about a token (RFC 7662 §2.2), or a signed one (RFC 9701 §5) where there are keys and the name of
/// whoever asked. `None`: the token is not active.
///
/// # Errors
/// [`BadAnswer`].
pub fn introspected(
    answer: &[u8],
    rules: &IssuerRules,
    signed: Option<(&Keyset, &str)>,
    now: UnixTime,
) -> Result<Option<Said>, BadAnswer> {
    let hash = TokenHash::of("token");
    let read = match signed {
        None => Introspected::read(answer, hash, rules),
        Some((keys, client_id)) => Introspected::read_signed(answer, hash, rules, keys, client_id, now),
    };
    Ok(match read? {
        Introspected::Inactive => None,
        Introspected::Active(token) => Some(Said {
            issuer: token.issuer().to_owned(),
            confirmation: token.confirmation().ok().flatten().copied(),
            is_good: token.check(rules, now).is_ok(),
        }),
    })
}

#[cfg(test)]
mod tests;
