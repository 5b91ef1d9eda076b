//! Values that are one of a few words.

use crate::config::document::Node;
use crate::config::reading::{Reading, Written};
use crate::config::schema::{Definitions, Schema};
use crate::config::values::word;

/// Enumerations that read themselves from one of a few words.
macro_rules! words {
    ($($(#[doc = $doc:literal])* $name:ident { $($word:literal => $variant:ident,)+ })+) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($variant,)+
        }

        impl Schema for $name {
            fn schema(definitions: &mut Definitions) -> serde_json::Value {
                definitions.words(stringify!($name), concat!($($doc),*), &[$($word),+])
            }
        }

        impl Written for $name {
            fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
                word(node, path, &[$(($word, Self::$variant)),+], reading)
            }
        }
    )+};
}

words! {
    /// What a listener answers.
    ListenerMode { "proxy" => Proxy, "forward_auth" => ForwardAuth, }
    /// Which fields of a proxy say who asks, and where.
    ForwardedHeaders { "off" => Off, "x-forwarded" => XForwarded, "forwarded" => Forwarded, }
    /// Where a proxy tells the request that it asks about.
    OriginalRequest { "x-forwarded" => XForwarded, "x-original" => XOriginal, "request" => Request, }
    /// A field with a certificate that has a name of its own.
    CertificateName { "client-cert" => ClientCert, "x-forwarded-client-cert" => Xfcc, }
    /// How a field holds a certificate.
    CertificateEncoding { "url-pem" => UrlPem, "pem" => Pem, "base64-der" => Base64Der, }
    /// Whether connections begin with a PROXY header.
    ProxyProtocol { "off" => Off, "optional" => Optional, "required" => Required, }
    /// The oldest accepted version.
    TlsVersion { "1.2" => Tls12, "1.3" => Tls13, }
    /// Whether clients are asked for a certificate.
    ClientCertificateMode { "off" => Off, "request" => Request, "require" => Require, }
    /// What an issuer's answer about a token must be.
    AnswerForm { "json" => Json, "jwt" => Jwt, }
    /// Whether proofs must hold a nonce.
    NonceMode { "off" => Off, "required" => Required, }
    /// Where spent proofs are remembered.
    ReplayStore { "memory" => Memory, "redis" => Redis, }
    /// What an outage of the store means.
    OnFailure { "deny" => Deny, "local" => Local, "nonce" => Nonce, }
    /// What a route demands.
    AccessMode { "enforce" => Enforce, "observe" => Observe, "public" => Public, }
    /// What a token can be bound to.
    BindingKind { "dpop" => Dpop, "mtls" => Mtls, }
    /// Who counts as one caller.
    LimitPer { "thumbprint" => Thumbprint, "client_id" => ClientId, "subject" => Subject, }
    /// What becomes of tokens that are bound to nothing.
    UnboundTokens { "deny" => Deny, "allow" => Allow, }
    /// What becomes of `Authorization`.
    AuthorizationForward { "bearer" => Bearer, "strip" => Strip, "keep" => Keep, }
    /// Whether the upstream is shown the client's certificate.
    CertificateForward { "off" => Off, "client-cert" => ClientCert, }
    /// How a log line looks.
    LogFormat { "json" => Json, "text" => Text, }
    /// The least severe level that is written.
    LogLevel { "error" => Error, "warn" => Warn, "info" => Info, "debug" => Debug, "trace" => Trace, }
    /// Every certificate: the binding is the trust.
    AnyCertificate { "any" => Any, }
    /// No tables.
    NoKeyTables { "off" => Off, }
}
