//! A second normaliser: URLs as browsers read them (WHATWG), with escapes spelled in one way (RFC 3986 §6.2.2).

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use keybound::request::{ListenerScheme, Seen, Target};

/// Scheme, host, port and path of an `http` or `https` URL; without user information.
pub fn normalized(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    Some(format!("{}://{host}:{port}{}", url.scheme(), respelled(url.path())))
}

/// Unreserved characters stand for themselves, other escapes are in upper case.
pub fn respelled(path: &str) -> String {
    let (bytes, mut out, mut at) = (path.as_bytes(), String::new(), 0);
    while at < bytes.len() {
        let escape = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u8::from_str_radix(digits, 16).ok()
        });
        match escape {
            Some(byte) if is_unreserved(byte) => out.push(char::from(byte)),
            Some(byte) => write!(out, "%{byte:02X}").expect("a string"),
            None => out.push(char::from(bytes[at])),
        }
        at += if escape.is_some() { 3 } else { 1 };
    }
    out
}

/// Every escape decoded.
pub fn decoded(path: &str) -> Vec<u8> {
    let (bytes, mut out, mut at) = (path.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A URL that both specifications read alike: the characters of RFC 3986, escapes that are complete, an authority that is a
/// name and perhaps a port, written as people write them.
pub fn is_plain(text: &str) -> bool {
    let bare = text.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else { return false };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !label.contains("--")
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"))
        && host.split('.').all(label)
        && last.starts_with(|c: char| c.is_ascii_alphabetic())
        && (port.is_empty() || (!port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit()) && port.len() < 6))
        && has_plain_characters(path)
        && has_plain_characters(text.get(bare.len()..).unwrap_or_default().trim_start_matches(['?', '#']))
        && text.len() <= 4096
}

fn has_plain_characters(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'%' => [bytes.next(), bytes.next()].iter().all(|digit| digit.is_some_and(|d| d.is_ascii_hexdigit())),
            _ => is_unreserved(byte) || b"!$&'()*+,;=:@/?".contains(&byte),
        };
        if !fine {
            return false;
        }
    }
    true
}

/// A request's target as the product reads it.
pub fn target(
    method: &Method,
    uri: &str,
    host: Option<&[u8]>,
    version: Version,
    scheme: ListenerScheme,
) -> Option<Target> {
    let uri: Uri = uri.parse().ok()?;
    let mut headers = HeaderMap::new();
    if let Some(host) = host {
        headers.insert(header::HOST, HeaderValue::from_bytes(host).ok()?);
    }
    Target::parse(method, &uri, version, &headers, Seen::directly(scheme, None)).ok()
}
