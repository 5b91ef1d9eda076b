//! Fields that a client may not send to an upstream: what speaks for a client or its certificate, what would change
//! method or path behind the proof, and what the gateway fills itself (RFC 9110 §7.6, RFC 9440 §2.4).

use std::collections::HashSet;
use std::sync::Arc;

use crate::routes::Route;

/// Fields that no client may send to an upstream, by their letters and digits alone: servers that hand fields to
/// programs as variables fold `-`, `_` and worse into one.
const RESERVED: [&str; 29] = [
    "dpop",
    "expect",
    "forwarded",
    "frontendhttps",
    "cfconnectingip",
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

/// Letters and digits of a field name, lower case.
fn folded(name: &str) -> String {
    name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// Whether no client may ever send this field to an upstream. `name` is lower case, as HTTP libraries keep it.
fn is_reserved(name: &str, folded: &str) -> bool {
    RESERVED.contains(&folded)
        || RESERVED_FAMILIES.iter().any(|family| folded.starts_with(family))
        || NO_ALIAS.iter().any(|(own, alias)| folded == *alias && name != *own)
}

/// Fields that the gateway fills on any of its routes, folded. A client may send them on none: an upstream that
/// believes a field believes it whichever way it came.
#[derive(Debug, Clone, Default)]
pub struct OwnFields(Arc<HashSet<String>>);

impl OwnFields {
    /// Of all routes together.
    pub fn of<'r>(routes: impl IntoIterator<Item = &'r Route>) -> Self {
        let names = |route: &'r Route| {
            let claims = route.forward.claims.iter().map(|(name, _)| name);
            claims.chain(route.forward.headers.iter().map(|(name, _)| name))
        };
        Self(Arc::new(routes.into_iter().flat_map(names).map(|name| folded(name.as_str())).collect()))
    }

    /// Whether a client may not send this field.
    pub fn forbid(&self, name: &str) -> bool {
        let folded = folded(name);
        is_reserved(name, &folded) || self.0.contains(&folded)
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
