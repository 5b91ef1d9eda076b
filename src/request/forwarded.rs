//! What trusted proxies say of a request: `X-Forwarded-*`, `X-Original-*` and `Forwarded` (RFC 7239).
//!
//! Each hop adds itself at the end of a list, so lists are read from the end, and no further than the first address that
//! is not trusted: what stands before it may be the client's invention. A field that holds one value must be there once.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, Method, Uri};

use super::front::{Told, malformed};
use super::target::{Host, ListenerScheme};
use crate::refusal::Refusal;

/// The node that a list of hops begins with, as far as it can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// An address.
    Known(IpAddr),
    /// A proxy that does not tell.
    Unknown,
}

/// `X-Forwarded-For`, `-Proto` and `-Host`.
///
/// # Errors
/// [`Reason::HopMalformed`](crate::refusal::Reason::HopMalformed).
pub fn x_forwarded(headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Result<Told, Refusal> {
    let hops: Vec<&str> = lines(headers, "x-forwarded-for")?.flat_map(|line| line.split(',')).collect();
    let mut client = None;
    for hop in hops.into_iter().rev() {
        let address = address(hop.trim()).ok_or_else(|| malformed("addresses in X-Forwarded-For", "something else"))?;
        client = Some(address);
        if !trusted(address) {
            break;
        }
    }
    let scheme = match one(headers, "x-forwarded-proto", "one X-Forwarded-Proto")? {
        Some(text) => Some(scheme(text).ok_or_else(|| malformed("http or https", "another X-Forwarded-Proto"))?),
        None => None,
    };
    let host = match one(headers, "x-forwarded-host", "one X-Forwarded-Host")? {
        Some(text) => Some(host(text)?),
        None => None,
    };
    Ok(Told { client, scheme, host, ..Told::default() })
}

/// `Forwarded` (RFC 7239 §4).
///
/// # Errors
/// [`Reason::HopMalformed`](crate::refusal::Reason::HopMalformed).
pub fn rfc_7239(headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Result<Told, Refusal> {
    let wrong = || malformed("a list of hops in Forwarded (RFC 7239 section 4)", "something else");
    let mut hops = Vec::new();
    for line in lines(headers, "forwarded")? {
        hops.extend(pairs_of(line, is_token).ok_or_else(wrong)?);
    }
    let mut told = Told::default();
    for hop in hops.into_iter().rev() {
        let mut node = None;
        (told.scheme, told.host) = (None, None);
        for (name, value) in hop {
            // RFC 7239 §4: each parameter once.
            let doubled = match name.to_ascii_lowercase().as_str() {
                "for" => node.replace(self::node(&value).ok_or_else(wrong)?).is_some(),
                "proto" => told.scheme.replace(scheme(&value).ok_or_else(wrong)?).is_some(),
                "host" => told.host.replace(host(&value)?).is_some(),
                _ => false,
            };
            if doubled {
                return Err(wrong());
            }
        }
        told.client = node.and_then(Into::into);
        if told.client.is_none_or(|address| !trusted(address)) {
            break;
        }
    }
    Ok(told)
}

/// `X-Forwarded-Method` and `X-Forwarded-Uri`.
pub fn x_forwarded_request(headers: &HeaderMap) -> Result<(Method, Uri), Refusal> {
    for (name, expected) in [("x-forwarded-host", "an X-Forwarded-Host"), ("x-forwarded-proto", "an X-Forwarded-Proto")]
    {
        one(headers, name, expected)?.ok_or_else(|| malformed(expected, "none"))?;
    }
    let method = method(headers, "x-forwarded-method", "one X-Forwarded-Method")?;
    let path = one(headers, "x-forwarded-uri", "one X-Forwarded-Uri")?;
    let path = path.ok_or_else(|| malformed("an X-Forwarded-Uri", "none"))?;
    // A fragment would be cut off here, and not by whoever forwards the request.
    let uri = path.parse().ok().filter(|_| path.starts_with('/') && !path.contains('#'));
    Ok((method, uri.ok_or_else(|| malformed("a path in X-Forwarded-Uri", "something else"))?))
}

/// `X-Original-Method` and `X-Original-URL`.
pub fn x_original_request(headers: &HeaderMap) -> Result<(Method, String), Refusal> {
    let method = method(headers, "x-original-method", "one X-Original-Method")?;
    let url = one(headers, "x-original-url", "one X-Original-URL")?;
    Ok((method, url.ok_or_else(|| malformed("an X-Original-URL", "none"))?.to_owned()))
}

fn method(headers: &HeaderMap, name: &'static str, expected: &'static str) -> Result<Method, Refusal> {
    let text = one(headers, name, expected)?.ok_or_else(|| malformed(expected, "none"))?;
    Method::from_bytes(text.as_bytes()).map_err(|_| malformed(expected, "something else"))
}

/// The lines of a field, as text.
fn lines<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<impl Iterator<Item = &'h str>, Refusal> {
    let all = headers.get_all(HeaderName::from_static(name)).iter();
    let texts: Option<Vec<&str>> = all.map(|line| line.to_str().ok()).collect();
    Ok(texts.ok_or_else(|| malformed("visible characters", "others"))?.into_iter())
}

/// The value of a field that a proxy sets and nobody adds to.
pub(super) fn one<'h>(
    headers: &'h HeaderMap,
    name: &'static str,
    expected: &'static str,
) -> Result<Option<&'h str>, Refusal> {
    let mut lines = lines(headers, name)?;
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.trim())),
        (Some(_), Some(_)) => Err(malformed(expected, "several")),
    }
}

fn scheme(text: &str) -> Option<ListenerScheme> {
    // Traefik names the scheme of a WebSocket's URL; proofs are for the URL of its handshake.
    if text.eq_ignore_ascii_case("https") || text.eq_ignore_ascii_case("wss") {
        Some(ListenerScheme::Https)
    } else if text.eq_ignore_ascii_case("http") || text.eq_ignore_ascii_case("ws") {
        Some(ListenerScheme::Http)
    } else {
        None
    }
}

fn host(text: &str) -> Result<Host, Refusal> {
    Host::parse(text.as_bytes()).ok_or_else(|| malformed("one host and perhaps a port", "something else"))
}

/// An address, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

/// RFC 7239 §6: an address, `unknown`, or a name that hides one.
fn node(text: &str) -> Option<Client> {
    let name = text.split(':').next().unwrap_or_default();
    if name.eq_ignore_ascii_case("unknown") || name.starts_with('_') {
        return Some(Client::Unknown);
    }
    // An obfuscated port says nothing that is wanted here.
    let text = text.rsplit_once(":_").map_or(text, |(address, _)| address);
    address(text).map(Client::Known)
}

type Pairs = Vec<(String, String)>;

/// The elements between commas and the pairs of each: `name=bare` or `name="quoted"`, between semicolons, as `Forwarded`
/// and Envoy's certificate field have them. `bare` says which values need no quotes.
pub(super) fn pairs_of(line: &str, bare: impl Fn(&str) -> bool) -> Option<Vec<Pairs>> {
    let mut elements = Vec::new();
    let mut pairs = Pairs::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_start();
        if !is_token(name) {
            return None;
        }
        let (value, after) = if let Some(quoted) = after.strip_prefix('"') {
            unquoted(quoted)?
        } else {
            let end = after.find([',', ';']).unwrap_or(after.len());
            let value = after.get(..end)?.trim_end();
            (bare(value).then(|| value.to_owned())?, after.get(end..)?)
        };
        pairs.push((name.to_owned(), value));
        let after = after.trim_start();
        rest = match after.as_bytes() {
            [] => "",
            [b';', ..] => after.get(1..)?,
            [b',', ..] => {
                elements.push(std::mem::take(&mut pairs));
                after.get(1..)?.trim_start()
            }
            _ => return None,
        };
    }
    if !pairs.is_empty() {
        elements.push(pairs);
    }
    Some(elements)
}

/// RFC 9110 §5.6.4: what stands before the closing quote, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests;
