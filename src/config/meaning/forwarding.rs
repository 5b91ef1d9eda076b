//! How a request is changed on its way.

use http::{HeaderName, HeaderValue};

use super::access::unused;
use super::identity;
use crate::config::reading::{Field, Reading};
use crate::config::report::Place;
use crate::config::values::{Name, Named, quoted};
use crate::config::written;
use crate::routes::{AuthorizationForward, Forwarding};

/// Fields that the gateway or the connection speaks for; nobody else may.
const RESERVED: &[&str] = &[
    "authorization",
    "client-cert",
    "client-cert-chain",
    "connection",
    "content-length",
    "dpop",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-request-id",
];

pub fn forwarding(
    written: &written::Forward,
    path_prefix: &str,
    public: bool,
    reading: &mut Reading<'_>,
) -> Forwarding {
    if public {
        unused(&written.authorization, reading);
        unused(&written.claims, reading);
        unused(&written.client_certificate, reading);
        unused(&written.identity, reading);
    }
    let mut taken = Vec::new();
    let authorization = match written.authorization.value() {
        Some(written::AuthorizationForward::Strip) => AuthorizationForward::Strip,
        Some(written::AuthorizationForward::Keep) => AuthorizationForward::Keep,
        Some(written::AuthorizationForward::Bearer) | None => AuthorizationForward::Bearer,
    };
    Forwarding {
        authorization,
        strip_prefix: strip_prefix(&written.strip_prefix, path_prefix, reading),
        claims: fields(&written.claims, &mut taken, reading, super::not_empty),
        headers: fields(&written.headers, &mut taken, reading, |value| {
            let mut value = HeaderValue::from_str(value).map_err(|_| "a value without control characters")?;
            // It may be a secret that the upstream knows us by.
            value.set_sensitive(true);
            Ok(value)
        }),
        client_certificate: written.client_certificate.value() == Some(&written::CertificateForward::ClientCert),
        identity: identity::identity(&written.identity, &taken, reading),
    }
}

fn strip_prefix(field: &Field<String>, path_prefix: &str, reading: &mut Reading<'_>) -> Option<String> {
    let prefix = field.meaning(reading, |text| super::routes::path(text))?;
    if prefix.ends_with('/') {
        let report = field.refuse("a path that does not end with `/`", reading);
        match prefix.trim_end_matches('/') {
            "" => report.help("`/` strips nothing; leave it out"),
            short => report.help(format!("did you mean `{short}`?")),
        };
        return None;
    }
    if !covers(&prefix, path_prefix) {
        let help = format!("this route matches {}", quoted(path_prefix));
        field.refuse("the beginning of this route's `path_prefix`, in whole segments", reading).help(help);
    }
    Some(prefix)
}

/// Whether a path begins with a prefix, in whole segments.
pub fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

/// Header fields that the gateway sets. A value is never repeated in a message.
fn fields<U>(
    written: &Field<Named<String>>,
    taken: &mut Vec<(HeaderName, Place)>,
    reading: &mut Reading<'_>,
    meaning: impl Fn(&str) -> Result<U, &'static str>,
) -> Vec<(HeaderName, U)> {
    let mut out = Vec::new();
    for (name, field) in written.value().into_iter().flat_map(|named| &named.0) {
        let header = header_name(name, &field.path, taken, reading);
        let value = field.value().map(|value| meaning(value));
        if let Some(Err(expected)) = value {
            reading.error(field.place, &field.path, format!("expected {expected}"), &format!("expected {expected}"));
        }
        if let (Some(header), Some(Ok(value))) = (header, value) {
            taken.push((header.clone(), name.place));
            out.push((header, value));
        }
    }
    out
}

/// A header field that the gateway may set and that is not `taken` yet.
pub fn header_name(
    name: &Name,
    path: &str,
    taken: &[(HeaderName, Place)],
    reading: &mut Reading<'_>,
) -> Option<HeaderName> {
    let Ok(header) = HeaderName::from_bytes(name.text.as_bytes()) else {
        let message = "expected the name of a header field (RFC 9110 §5.1)";
        reading.error(name.place, path, message, "not such a name");
        return None;
    };
    // Servers that hand fields to programs fold `-` and `_` into one, so no other spelling is free either.
    let folded = |name: &str| name.bytes().filter(u8::is_ascii_alphanumeric).collect::<Vec<_>>();
    let own = folded(header.as_str());
    if RESERVED.iter().any(|reserved| folded(reserved) == own) || own.starts_with(b"xforwarded") {
        let message = format!("`{header}` is not for a route to set");
        reading.error(name.place, path, message, "the gateway or the connection speaks for this field");
        return None;
    }
    if let Some((_, first)) = taken.iter().find(|(other, _)| *other == header) {
        let message = format!("`{header}` is set twice; names of header fields have no case");
        reading.error(name.place, path, message, "set again here").also(*first, "first here");
        return None;
    }
    Some(header)
}
