//! Hop-by-hop fields (RFC 9110 §7.6.1): what belongs to one connection and not to the message.

use http::header::{self, HeaderMap, HeaderName};

use crate::refusal::{Reason, Refusal};

/// Fields that `Connection` may never nominate: removing them would change what was proven, or make room for
/// what the gateway itself says about the client.
const END_TO_END: [&str; 14] = [
    "authorization",
    "dpop",
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "cookie",
    "via",
    "forwarded",
    "client-cert",
    "client-cert-chain",
    "x-request-id",
    "cache-control",
    "expect",
];

/// Every field that one of the `Connection` lines nominates.
pub fn nominated(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
}

/// Refuses a request that nominates an end-to-end field. Asked before any field of our own is added.
///
/// # Errors
/// [`Reason::ConnectionNominates`].
pub fn check_nominations(headers: &HeaderMap) -> Result<(), Refusal> {
    let forbidden = |name: &&[u8]| {
        END_TO_END.iter().any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
            || name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case(b"x-forwarded-"))
    };
    match nominated(headers).find(forbidden) {
        Some(_) => Err(Refusal::new(Reason::ConnectionNominates).expected("hop-by-hop fields in Connection")),
        None => Ok(()),
    }
}

/// Fields that belong to a connection whether or not they are nominated.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Removes what belongs to the connection that a message came over.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // Most messages have none of them, and looking is cheaper than removing.
    let doomed: Vec<HeaderName> = nominated(headers)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .chain(headers.keys().filter(|name| HOP_BY_HOP.contains(name)).cloned())
        .collect();
    for name in doomed {
        headers.remove(name);
    }
}
