//! Fields that a client may not send to an upstream: what speaks for a client or its certificate, what would change
//! method or path behind the proof, and what the gateway fills itself (RFC 9110 §7.6, RFC 9440 §2.4).

use std::collections::HashSet;
use std::sync::Arc;

use http::HeaderName;

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
}

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
        Self(Arc::new(Own { folded: filled.iter().chain(&told).map(folded).collect(), filled }))
    }

    /// Every field that some route fills.
    pub fn filled(&self) -> &[HeaderName] {
        &self.0.filled
    }

    /// Whether a client may not send this field.
    pub fn forbid(&self, name: &str) -> bool {
        let folded = Folded::of(name);
        is_reserved(name, folded.as_str()) || self.0.folded.contains(folded.as_str())
    }

    /// Whether a client may not send this trailer field: all of the above, and what frames or authorizes a message
    /// (RFC 9110 §6.5.1).
    pub fn forbid_trailer(&self, name: &str) -> bool {
        self.forbid(name) || NO_ALIAS.iter().any(|(own, _)| name == *own) || matches!(name, "trailer" | "set-cookie")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn what_a_route_fills_is_the_gateways_however_long() {
        let long = "x-".to_owned() + &"long-".repeat(40);
        let name = http::HeaderName::from_bytes(long.trim_end_matches('-').as_bytes()).unwrap();
        let own = OwnFields::of([], [name.clone()]);
        assert!(own.forbid(name.as_str()) && own.forbid(&long.replace('-', "_")) && !own.forbid("x-long"));
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
            assert!(OwnFields::default().forbid(name), "{name}");
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
            assert!(!OwnFields::default().forbid(name), "{name}");
        }
    }
}
