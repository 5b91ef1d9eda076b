//! Fields that a client may not send to an upstream: what speaks for a client or its certificate, what would change
//! method or path behind the proof, and what the gateway fills itself (RFC 9110 §7.6, RFC 9440 §2.4).

use std::collections::HashSet;
use std::sync::Arc;

use http::{HeaderName, header};

use crate::routes::Route;

/// Fields that no client may send to an upstream, by their letters and digits alone: servers that hand fields to
/// programs as variables fold `-`, `_` and worse into one. In the order of the alphabet, for a binary search.
const RESERVED: [&str; 29] = [
    "cfconnectingip",
    "dpop",
    "expect",
    "forwarded",
    "frontendhttps",
    "http2settings",
    "maxforwards",
    "proxy",
    "proxyauthorization",
    "remoteuser",
    "trueclientip",
    "via",
    "xarrclientcert",
    "xauthenticateduser",
    "xclientip",
    "xclusterclientip",
    "xhost",
    "xhttpmethod",
    "xhttpmethodoverride",
    "xhttppathoverride",
    "xmethodoverride",
    "xoriginalurl",
    "xrealip",
    "xremoteuser",
    "xrequestid",
    "xrewriteurl",
    "xscheme",
    "xurlscheme",
    "xuser",
];

/// The same for whole families: what a proxy says of a client or its certificate.
const RESERVED_FAMILIES: [&str; 10] = [
    "xforwarded",
    "xoriginal",
    "clientcert",
    "cfclientcert",
    "xclientcert",
    "sslclient",
    "xssl",
    "xamznmtls",
    "xtls",
    "xenvoy",
];

/// Fields that pass under their own name and under no other; folded beside it.
const NO_ALIAS: [(&str, &str); 9] = [
    ("authorization", "authorization"),
    ("connection", "connection"),
    ("content-length", "contentlength"),
    ("content-type", "contenttype"),
    ("cookie", "cookie"),
    ("host", "host"),
    ("te", "te"),
    ("transfer-encoding", "transferencoding"),
    ("upgrade", "upgrade"),
];

/// What the upstream is shown of the client's certificate.
pub(super) const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// Letters and digits of a field name, lower case; of a very long one, the first of them. No field name that means
/// anything to the gateway is that long, and two that begin alike are both forbidden if one is.
#[derive(Clone, Copy)]
struct Folded {
    bytes: [u8; 64],
    length: usize,
}

impl Folded {
    fn of(name: &str) -> Self {
        let mut folded = Self { bytes: [0; 64], length: 0 };
        for byte in name.bytes().filter(u8::is_ascii_alphanumeric).take(folded.bytes.len()) {
            folded.bytes[folded.length] = byte.to_ascii_lowercase();
            folded.length += 1;
        }
        folded
    }

    fn as_str(&self) -> &str {
        // ASCII by the filter above.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

/// Whether no client may ever send this field to an upstream. `name` is lower case, as HTTP libraries keep it.
fn is_reserved(name: &str, folded: &str) -> bool {
    RESERVED.binary_search(&folded).is_ok()
        || RESERVED_FAMILIES.iter().any(|family| folded.starts_with(family))
        || NO_ALIAS.iter().any(|(own, alias)| folded == *alias && name != *own)
}

/// Fields that the gateway fills on any of its routes, folded. A client may send them on none: an upstream that
/// believes a field believes it whichever way it came.
#[derive(Debug, Clone, Default)]
pub struct OwnFields(Arc<Own>);

#[derive(Debug, Default)]
struct Own {
    folded: HashSet<String>,
    /// What routes fill, as they call it.
    filled: Vec<HeaderName>,
    /// Those of [`COMMON`] that a client may send: most of what clients send.
    harmless: Vec<HeaderName>,
}

/// Fields that nearly all requests hold.
const COMMON: [HeaderName; 8] = [
    header::HOST,
    header::USER_AGENT,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::COOKIE,
];

impl OwnFields {
    /// Of all routes together, and the fields in which proxies speak for clients.
    pub fn of<'r>(routes: impl IntoIterator<Item = &'r Route>, told: impl IntoIterator<Item = HeaderName>) -> Self {
        let names = |route: &'r Route| {
            let claims = route.forward.claims.iter().map(|(name, _)| name);
            let identity = route.forward.identity.iter().map(|identity| &identity.header);
            claims.chain(route.forward.headers.iter().map(|(name, _)| name)).chain(identity)
        };
        let certificate = |route: &Route| route.forward.client_certificate.then_some(CLIENT_CERT);
        let own = |route: &'r Route| names(route).cloned().chain(certificate(route));
        let mut filled: Vec<HeaderName> = routes.into_iter().flat_map(own).collect();
        filled.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        filled.dedup();
        let told: Vec<HeaderName> = told.into_iter().collect();
        let folded = |name: &HeaderName| Folded::of(name.as_str()).as_str().to_owned();
        let folded = filled.iter().chain(&told).map(folded).collect();
        let mut own = Own { folded, filled, harmless: Vec::new() };
        own.harmless = COMMON.into_iter().filter(|name| !own.forbids(name.as_str())).collect();
        Self(Arc::new(own))
    }

    /// Every field that some route fills.
    pub fn filled(&self) -> &[HeaderName] {
        &self.0.filled
    }

    /// Whether a client may not send this field.
    pub fn forbid(&self, name: &HeaderName) -> bool {
        !self.0.harmless.contains(name) && self.0.forbids(name.as_str())
    }

    /// Whether a client may not send this trailer field: all of the above, and what frames or authorizes a message
    /// (RFC 9110 §6.5.1).
    pub fn forbid_trailer(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        self.forbid(name) || NO_ALIAS.iter().any(|(own, _)| text == *own) || matches!(text, "trailer" | "set-cookie")
    }
}

impl Own {
    fn forbids(&self, name: &str) -> bool {
        let folded = Folded::of(name);
        is_reserved(name, folded.as_str()) || self.folded.contains(folded.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbids(own: &OwnFields, name: &str) -> bool {
        own.forbid(&HeaderName::from_bytes(name.as_bytes()).unwrap())
    }

    #[test]
    fn the_list_is_in_order() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn what_a_route_fills_is_the_gateways_however_long() {
        let long = "x-".to_owned() + &"long-".repeat(40);
        let name = http::HeaderName::from_bytes(long.trim_end_matches('-').as_bytes()).unwrap();
        let own = OwnFields::of([], [name.clone()]);
        assert!(own.forbid(&name) && forbids(&own, &long.replace('-', "_")) && !forbids(&own, "x-long"));
    }

    #[test]
    fn what_nearly_all_send_passes_unless_a_route_fills_it() {
        let own = OwnFields::of([], [header::USER_AGENT]);
        assert!(own.forbid(&header::USER_AGENT) && !own.forbid(&header::ACCEPT));
        assert_eq!(own.0.harmless.len(), COMMON.len() - 1);
    }

    #[test]
    fn no_spelling_of_a_reserved_field_passes() {
        for name in [
            "dpop",
            "dpop_",
            "d_pop",
            "forwarded",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded-client-cert",
            "x-forwarded-tls-client-cert",
            "client-cert",
            "client-cert-chain",
            "client_cert",
            "x-client-cert",
            "ssl-client-cert",
            "ssl_client_verify",
            "x-ssl-client-cert",
            "x-ssl-cert",
            "x-arr-clientcert",
            "x-amzn-mtls-clientcert",
            "x-http-method-override",
            "x-method-override",
            "x-original-url",
            "x-rewrite-url",
            "x-original-uri",
            "proxy",
            "remote_user",
            "x-envoy-external-address",
            "max-forwards",
            "x-ssl-subject",
            "x-real-ip",
            "authorization_",
            "content_length",
            "host_",
            "transfer_encoding",
            "x-request-id",
        ] {
            assert!(forbids(&OwnFields::default(), name), "{name}");
        }
    }

    #[test]
    fn honest_fields_pass() {
        for name in [
            "authorization",
            "content-length",
            "content-type",
            "host",
            "cookie",
            "accept",
            "user-agent",
            "x-api-key",
            "te",
            "x-correlation-id",
            "idempotency-key",
            "traceparent",
            "range",
            "sec-websocket-key",
            "x_custom",
        ] {
            assert!(!forbids(&OwnFields::default(), name), "{name}");
        }
    }
}
