//! What was asked: one reading of the request target and its authority, for everyone.
//!
//! Refused at the door, because an upstream might read them otherwise than we do: dot segments (plain,
//! encoded or with path parameters), encoded slashes, backslashes, control bytes, overlong encodings,
//! a leading `//`, and every Host that is not exactly a host and a port.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri, Version, header};

use super::path::{hex, is_plain, loosest, normalize_path};
use crate::refusal::{Reason, Refusal};

/// `http` or `https`, as seen by clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerScheme {
    /// Plain, behind a TLS terminator or on loopback.
    Http,
    /// TLS ends here, or before here according to `public_url`.
    Https,
}

impl ListenerScheme {
    /// The URI scheme.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme and authority that clients see, when the request itself cannot tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    scheme: ListenerScheme,
    host: Host,
}

impl PublicUrl {
    /// Reads `https://api.example.com` or `https://api.example.com:8443`, with at most a `/` behind it.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => (ListenerScheme::Https, rest),
            Some(("http", rest)) => (ListenerScheme::Http, rest),
            _ => return Err("a scheme and an authority, as in https://api.example.com"),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let host = Host::parse(authority.as_bytes()).ok_or("only a host and perhaps a port after the scheme")?;
        Ok(Self { scheme, host })
    }

    /// Its scheme.
    pub const fn scheme(&self) -> ListenerScheme {
        self.scheme
    }

    /// Its scheme and authority, as in `https://api.example.com`: how every URL begins that clients see.
    pub fn origin(&self) -> String {
        let mut origin = format!("{}://", self.scheme.as_str());
        self.host.write(self.scheme, &mut origin);
        origin
    }
}

/// A validated host and port. The name is lower case; an IPv6 address is in brackets and in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// The name, and the port behind a colon if there is one: ready to be written with each request.
    text: String,
    name_ends: usize,
    port: Option<u16>,
}

impl Host {
    /// RFC 9110 §7.2 and RFC 3986 §3.2.2, narrowed to what DNS and IP addresses need.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let given = std::str::from_utf8(bytes).ok()?;
        let mut text = String::with_capacity(given.len());
        let port = if let Some(rest) = given.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            text = format!("[{}]", address.parse::<Ipv6Addr>().ok()?);
            port.strip_prefix(':').or(port.is_empty().then_some(""))?
        } else {
            let (name, port) = given.split_once(':').unwrap_or((given, ""));
            text.push_str(Some(name).filter(|name| is_reg_name(name))?);
            text.make_ascii_lowercase();
            port
        };
        let (name_ends, digits, port) = (text.len(), port, parse_port(port)?);
        if port.is_some() {
            text.push(':');
            text.push_str(digits);
        }
        Some(Self { text, name_ends, port })
    }

    fn write(&self, scheme: ListenerScheme, out: &mut String) {
        let as_written = self.port.is_some_and(|port| port != scheme.default_port());
        out.push_str(if as_written { &self.text } else { self.name() });
    }

    fn name(&self) -> &str {
        &self.text[..self.name_ends]
    }

    /// Without the dot that ends a fully qualified name: servers choose their virtual host without it.
    fn bare_name(&self) -> &str {
        self.name().strip_suffix('.').unwrap_or(self.name())
    }

    fn same(&self, other: &Self, scheme: ListenerScheme) -> bool {
        let port = |host: &Self| host.port.unwrap_or_else(|| scheme.default_port());
        self.name() == other.name() && port(self) == port(other)
    }
}

fn is_reg_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let labels = name.strip_suffix('.').unwrap_or(name);
    let shaped = !labels.is_empty() && name.len() <= 254 && labels.split('.').all(|label| !label.is_empty());
    // An all-numeric name is an IPv4 address or an attempt to spell one in another base.
    let last = labels.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    shaped && name.bytes().all(allowed) && (!numeric || labels.parse::<Ipv4Addr>().is_ok())
}

/// Nothing, or a port in canonical decimal. The outer `None` means malformed.
#[expect(clippy::option_option, reason = "absent and malformed are different answers")]
fn parse_port(text: &str) -> Option<Option<u16>> {
    match text.as_bytes() {
        [] => Some(None),
        [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => text.parse().ok().map(Some),
        _ => None,
    }
}

/// How clients see the place that a request came to.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    /// The scheme of the listener, or the one that a trusted proxy told.
    pub scheme: ListenerScheme,
    /// The authority that a trusted proxy told; it stands for the request's own.
    pub(super) host: Option<Host>,
    /// Decides about both for `htu`, if it is there.
    pub public_url: Option<&'a PublicUrl>,
}

impl<'a> Seen<'a> {
    /// A listener that clients connect to directly.
    pub const fn directly(scheme: ListenerScheme, public_url: Option<&'a PublicUrl>) -> Self {
        Self { scheme, host: None, public_url }
    }
}

/// The request target, parsed once (RFC 9112 §3.3).
#[derive(Clone)]
pub struct Target {
    host: Host,
    /// Scheme, authority and normalized path: what `htu` must be equal to.
    external_url: String,
    /// Where the path begins in `external_url`.
    path_at: usize,
    /// What the upstream gets: the client's own bytes.
    path_and_query: PathAndQuery,
    /// The path as the most lenient upstream reads it, where that is another one.
    loosest_path: Option<String>,
}

impl Target {
    /// Reads method, target and authority of a request.
    ///
    /// # Errors
    /// [`Reason::MethodNotServed`], [`Reason::TargetInvalid`], [`Reason::HostInvalid`].
    pub fn parse(
        method: &Method,
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
        seen: Seen<'_>,
    ) -> Result<Self, Refusal> {
        let Seen { scheme: listener, host: told, public_url } = seen;
        if method == Method::CONNECT || method == Method::TRACE {
            return Err(Refusal::new(Reason::MethodNotServed).found(method.to_string()));
        }
        check_form(uri, version, listener, public_url)?;
        let host = told.map_or_else(|| authority(uri, version, headers, listener), Ok)?;
        let path_and_query = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        // A query alone: the library's path is `/` then, and its text is not.
        if !path_and_query.as_str().starts_with('/') {
            return Err(Refusal::new(Reason::TargetInvalid).expected("an unambiguous path").found("a query alone"));
        }
        let (scheme, external_host) = public_url.map_or((listener, &host), |url| (url.scheme, &url.host));
        let mut external_url = String::with_capacity(64 + path_and_query.path().len());
        external_url.push_str(scheme.as_str());
        external_url.push_str("://");
        external_host.write(scheme, &mut external_url);
        let path_at = external_url.len();
        let path = path_and_query.path();
        let loosest_path = if is_plain(path) {
            external_url.push_str(path);
            None
        } else {
            normalize_path(path, &mut external_url)
                .map_err(|found| Refusal::new(Reason::TargetInvalid).expected("an unambiguous path").found(found))?;
            loosest(&external_url[path_at..])
        };
        Ok(Self { host, external_url, path_at, path_and_query, loosest_path })
    }

    /// The host of the request, lower case, without port and without a final dot: what routes match and the
    /// upstream hears.
    pub fn host(&self) -> &str {
        self.host.bare_name()
    }

    /// The port of the request's authority, if it names one.
    pub const fn port(&self) -> Option<u16> {
        self.host.port
    }

    /// Whether a `Host` field says just what [`Self::host`] and [`Self::port`] say.
    pub fn is_spelled(&self, field: &[u8]) -> bool {
        let port = &self.host.text[self.host.name_ends..];
        field.strip_prefix(self.host().as_bytes()) == Some(port.as_bytes())
    }

    /// The external URL without query, normalized by RFC 3986 §6.2.2 and §6.2.3: what `htu` must be equal to.
    pub fn external_url(&self) -> &str {
        &self.external_url
    }

    /// Scheme of the external URL.
    pub fn external_scheme(&self) -> &'static str {
        let https = ListenerScheme::Https.as_str();
        if self.external_url.starts_with(https) { https } else { ListenerScheme::Http.as_str() }
    }

    /// Authority of the external URL.
    pub fn external_authority(&self) -> &str {
        let start = self.external_scheme().len() + "://".len();
        &self.external_url[start..self.path_at]
    }

    /// The path with unreserved characters decoded and hexadecimal digits in upper case: what routes match.
    pub fn normalized_path(&self) -> &str {
        &self.external_url[self.path_at..]
    }

    /// The path as the most lenient upstream reads it, where that differs from [`Self::normalized_path`]: escapes
    /// decoded, path parameters cut, empty segments dropped. What a route forbids must not be reached by it.
    pub fn loosest_path(&self) -> Option<&str> {
        self.loosest_path.as_deref()
    }

    /// The client's own path and query without a prefix of the normalized path; `None` when it does not begin with
    /// it, or when what is left would begin with `//`.
    pub fn without_prefix(&self, prefix: &str) -> Option<PathAndQuery> {
        let mut rest = self.path_and_query.as_str();
        for wanted in prefix.bytes() {
            let (byte, length) = match rest.as_bytes() {
                [b'%', high, low, ..] => (hex(*high)? << 4 | hex(*low)?, 3),
                [byte, ..] => (*byte, 1),
                [] => return None,
            };
            rest = (byte == wanted).then(|| rest.get(length..))??;
        }
        match rest.as_bytes() {
            [b'/', b'/', ..] => None,
            [b'/', ..] => PathAndQuery::try_from(rest).ok(),
            [] | [b'?', ..] => PathAndQuery::try_from(format!("/{rest}")).ok(),
            _ => None,
        }
    }

    /// The client's own bytes: what the upstream gets.
    pub const fn path_and_query(&self) -> &PathAndQuery {
        &self.path_and_query
    }
}

impl fmt::Debug for Target {
    /// Without the query, which may hold a token that has no business there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.external_url).finish()
    }
}

/// RFC 9112 §3.2: origin-form, or absolute-form in the scheme of this connection (RFC 9110 §7.4); authority-form is
/// for CONNECT alone. Behind a TLS terminator, which `public_url` tells of, both schemes may be seen.
fn check_form(
    uri: &Uri,
    version: Version,
    listener: ListenerScheme,
    public_url: Option<&PublicUrl>,
) -> Result<(), Refusal> {
    let invalid =
        |found: &'static str| Refusal::new(Reason::TargetInvalid).expected("a path or an http URL").found(found);
    match (uri.scheme_str(), uri.authority()) {
        (None, Some(_)) if version != Version::HTTP_2 => Err(invalid("an authority")),
        (Some("http" | "https"), _) if public_url.is_some() => Ok(()),
        (Some(scheme @ ("http" | "https")), _) if scheme != listener.as_str() => {
            Err(Refusal::new(Reason::AuthorityMisdirected).expected(listener.as_str()).found(scheme.to_owned()))
        }
        (Some("http" | "https") | None, _) => Ok(()),
        (Some(_), _) => Err(invalid("a URL of another scheme")),
    }
}

/// RFC 9112 §3.2, RFC 9113 §8.3.1: exactly one authority, and no contradiction.
fn authority(uri: &Uri, version: Version, headers: &HeaderMap, scheme: ListenerScheme) -> Result<Host, Refusal> {
    let invalid = |found: &'static str| Refusal::new(Reason::HostInvalid).expected("exactly one host").found(found);
    let mut lines = headers.get_all(header::HOST).iter();
    let field = match (lines.next(), lines.next()) {
        (Some(line), None) => {
            Some(Host::parse(line.as_bytes()).ok_or_else(|| invalid("a Host field that is not a host"))?)
        }
        (None, _) => None,
        (Some(_), Some(_)) => return Err(invalid("several Host fields")),
    };
    let own = match uri.authority() {
        Some(authority) => {
            Some(Host::parse(authority.as_str().as_bytes()).ok_or_else(|| invalid("an authority that is not a host"))?)
        }
        None => None,
    };
    if version == Version::HTTP_2 {
        return match (own, field) {
            (Some(own), Some(field)) if !own.same(&field, scheme) => Err(invalid("an :authority and another Host")),
            (Some(host), _) | (None, Some(host)) => Ok(host),
            (None, None) => Err(invalid("no authority")),
        };
    }
    // HTTP/1.1: the Host field is required even when an absolute-form target overrides it.
    let field = field.ok_or_else(|| invalid("no Host field"))?;
    Ok(own.unwrap_or(field))
}

/// Scheme, authority, and path with query of an absolute URL that somebody put together from parts: what follows the
/// authority must be a path, or an authority that ends with `?` would turn the path into a query. There is no fragment.
pub(super) fn split_url(text: &str) -> Option<(ListenerScheme, Host, Uri)> {
    let (scheme, rest) = match text.split_once("://")? {
        ("https", rest) => (ListenerScheme::Https, rest),
        ("http", rest) => (ListenerScheme::Http, rest),
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?'])?);
    let path = Some(path).filter(|path| path.starts_with('/') && !path.contains('#'))?;
    Some((scheme, Host::parse(authority.as_bytes())?, path.parse().ok()?))
}

#[cfg(test)]
mod tests;
