//! The configuration as written: which names a file may hold and what type of value each one takes.
//! What the values mean, and what they are when left out, is decided in `meaning`.

mod unions;
mod words;

use std::time::Duration;

use super::document::Node;
use super::reading::{Field, Member, Members, Nullable, Reading, Written};
use super::report::Place;
use super::schema::{Definitions, Schema};
use super::values::{Named, Size};
use crate::telemetry::Share;

pub use unions::*;
pub use words::*;

/// Structures that read themselves from a mapping. As a field's type, one that is left out is an empty one.
macro_rules! written {
    ($($(#[doc = $doc:literal])* $(#[allow($($lint:tt)*)])? $name:ident { $($field:ident: $type:ty,)+ })+) => {$(
        $(#[doc = $doc])*
        $(#[allow($($lint)*)])?
        #[derive(Debug)]
        pub struct $name {
            $(pub $field: $type,)+
        }

        impl $name {
            fn fill(members: &Members<'_>, reading: &mut Reading<'_>) -> Self {
                Self { $($field: members.take(stringify!($field), reading),)+ }
            }
        }

        impl Schema for $name {
            fn schema(definitions: &mut Definitions) -> serde_json::Value {
                definitions.mapping(stringify!($name), concat!($($doc),*), |definitions| {
                    vec![$((stringify!($field), <$type>::schema(definitions)),)+]
                })
            }
        }

        impl Written for $name {
            fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
                let members = Members::of(node, path, &[$(stringify!($field)),+], reading)?;
                Some(Self::fill(&members, reading))
            }
        }

        impl Member for $name {
            fn read(value: Option<&Node>, path: String, owner: Place, reading: &mut Reading<'_>) -> Self {
                let read = value.and_then(|node| <Self as Written>::read(node, &path, reading));
                read.unwrap_or_else(|| Self::fill(&Members::none(path, owner), reading))
            }
        }
    )+
    /// Every name that a file may hold.
    #[cfg(test)]
    const NAMES: &[&str] = &[$($(stringify!($field),)+)+];
    };
}

type List<T> = Field<Vec<Field<T>>>;

written! {
    /// The whole file.
    Configuration {
        listeners: List<Listener>,
        issuers: List<Issuer>,
        replicas: Field<u64>,
        dpop: Dpop,
        replay: Replay,
        upstreams: Field<Named<Upstream>>,
        routes: List<Route>,
        limits: Limits,
        admin: Admin,
        telemetry: Telemetry,
    }

    /// One place where clients connect.
    Listener {
        address: Field<String>,
        mode: Field<ListenerMode>,
        public_url: Nullable<String>,
        tls: Nullable<ListenerTls>,
        trusted_proxies: List<String>,
        proxy_protocol: Field<ProxyProtocol>,
        forwarded_headers: Field<ForwardedHeaders>,
        client_certificate_header: Nullable<CertificateHeader>,
        original_request: Field<OriginalRequest>,
        request_id_header: Nullable<String>,
    }

    /// A field of a product's own that holds a client's certificate.
    CertificateField {
        name: Field<String>,
        encoding: Field<CertificateEncoding>,
    }

    /// How a listener speaks TLS.
    ListenerTls {
        certificate_file: Field<String>,
        key_file: Field<String>,
        additional: List<CertificateFiles>,
        min_version: Field<TlsVersion>,
        client_certificates: ClientCertificates,
    }

    /// A certificate chain and its key.
    CertificateFiles {
        certificate_file: Field<String>,
        key_file: Field<String>,
    }

    /// Whether clients are asked for a certificate, and which ones pass.
    ClientCertificates {
        mode: Field<ClientCertificateMode>,
        trust: Field<Trust>,
    }

    /// Certificate authorities of clients.
    Authorities {
        ca_file: Field<String>,
        crl_files: List<String>,
    }

    /// Whose tokens are accepted.
    #[allow(clippy::struct_field_names, reason = "the names are the file's")]
    Issuer {
        issuer: Field<String>,
        audiences: List<String>,
        keys: Keys,
        algorithms: List<String>,
        token_types: List<String>,
        clock_skew: Field<Duration>,
        ca_file: Nullable<String>,
        introspection: Nullable<Introspection>,
    }

    /// How an issuer is asked about its opaque tokens.
    Introspection {
        endpoint: Field<String>,
        client_id: Field<String>,
        client_secret_file: Nullable<String>,
        certificate_file: Nullable<String>,
        key_file: Nullable<String>,
        signing_key_file: Nullable<String>,
        response: Field<AnswerForm>,
        cache: Field<Duration>,
        timeout: Field<Duration>,
        concurrency: Field<u64>,
    }

    /// Where an issuer's keys come from.
    Keys {
        discover: Field<bool>,
        jwks_uri: Nullable<String>,
        jwks_file: Nullable<String>,
    }

    /// Which proofs are accepted.
    Dpop {
        algorithms: List<String>,
        proof_lifetime: Field<Duration>,
        clock_skew: Field<Duration>,
        nonce: Nonce,
        key_tables: Field<KeyTables>,
    }

    /// How much is kept ready of keys that come again.
    KeyTableLimits {
        memory: Field<Size>,
        audit_every: Field<u64>,
    }

    /// Whether the server contributes to proofs.
    Nonce {
        mode: Field<NonceMode>,
        lifetime: Field<Duration>,
        secret_file: Nullable<Files>,
    }

    /// Where spent proofs are remembered.
    Replay {
        store: Field<ReplayStore>,
        memory: ReplayMemory,
        redis: Nullable<Redis>,
    }

    /// The store that replicas share.
    Redis {
        urls: List<String>,
        sentinel: Nullable<Sentinel>,
        cluster: Field<bool>,
        username: Nullable<String>,
        password_file: Nullable<String>,
        ca_file: Nullable<String>,
        certificate_file: Nullable<String>,
        key_file: Nullable<String>,
        key_prefix: Field<String>,
        timeout: Field<Duration>,
        on_failure: Field<OnFailure>,
    }

    /// Who knows the master.
    Sentinel {
        master: Field<String>,
        username: Nullable<String>,
        password_file: Nullable<String>,
    }

    /// How much this process remembers.
    ReplayMemory {
        capacity: Field<u64>,
        per_key: Field<u64>,
    }

    /// An API behind the gateway.
    Upstream {
        endpoints: List<String>,
        tls: UpstreamTls,
        http2: Field<bool>,
        connect_timeout: Field<Duration>,
        response_timeout: Field<Duration>,
        max_connections: Nullable<u64>,
        health_check: Nullable<HealthCheck>,
    }

    /// How an endpoint is asked whether it is well.
    HealthCheck {
        path: Field<String>,
        interval: Field<Duration>,
        timeout: Field<Duration>,
        healthy_after: Field<u64>,
        unhealthy_after: Field<u64>,
    }

    /// How an upstream is recognized, and the gateway by it.
    UpstreamTls {
        ca_file: Nullable<String>,
        certificate_file: Nullable<String>,
        key_file: Nullable<String>,
        server_name: Nullable<String>,
    }

    /// One rule.
    Route {
        name: Field<String>,
        r#match: Match,
        upstream: Field<String>,
        access: Access,
        forward: Forward,
        cors: Nullable<Cors>,
        metadata: Metadata,
    }

    /// Which scripts may read answers.
    Cors {
        allow_origins: List<String>,
        allow_credentials: Field<bool>,
        max_age: Field<Duration>,
    }

    /// What clients are told.
    Metadata {
        resource_name: Nullable<String>,
        resource_documentation: Nullable<String>,
    }

    /// Which requests a route covers.
    Match {
        hosts: List<String>,
        path_prefix: Field<String>,
        methods: List<String>,
    }

    /// Who may pass.
    Access {
        mode: Field<AccessMode>,
        bindings: List<BindingKind>,
        unbound_tokens: Field<UnboundTokens>,
        issuers: List<String>,
        scopes: List<String>,
        acr_values: List<String>,
        max_auth_age: Nullable<Duration>,
        limits: Nullable<AccessLimits>,
    }

    /// How much one caller may ask.
    AccessLimits {
        per: Field<LimitPer>,
        requests_per_second: Nullable<u64>,
        burst: Nullable<u64>,
        concurrent: Nullable<u64>,
    }

    /// How a request is changed on its way.
    Forward {
        authorization: Field<AuthorizationForward>,
        strip_prefix: Nullable<String>,
        claims: Field<Named<String>>,
        headers: Field<Named<String>>,
        client_certificate: Field<CertificateForward>,
        identity: Nullable<Identity>,
    }

    /// How the upstream is told who was proven to ask.
    #[allow(clippy::struct_field_names, reason = "the names are the file's")]
    Identity {
        header: Field<String>,
        sign_with: Field<Files>,
        audience: Field<String>,
        issuer: Field<String>,
        lifetime: Field<Duration>,
    }

    /// Bounds on connections and requests.
    Limits {
        connections: Field<u64>,
        header_bytes: Field<Size>,
        headers: Field<u64>,
        header_timeout: Field<Duration>,
        handshake_timeout: Field<Duration>,
        idle_timeout: Field<Duration>,
        body_bytes: Nullable<Size>,
        drain_delay: Field<Duration>,
        drain_timeout: Field<Duration>,
        failures: Nullable<Failures>,
    }

    /// How often the requests of one sender may fail.
    Failures {
        per_minute: Nullable<u64>,
        burst: Nullable<u64>,
    }

    /// Where the operator looks.
    Admin {
        address: Field<String>,
        token_file: Nullable<String>,
    }

    /// What is written about the gateway's work.
    Telemetry {
        log: Log,
        access_log: Field<AccessLog>,
        otlp_endpoint: Nullable<String>,
        traces: Traces,
    }

    /// Which requests are traced, and what their collector is told.
    Traces {
        sample: Field<Share>,
        service_name: Field<String>,
        headers_file: Nullable<String>,
    }

    /// Which of the requests that went well leave a line.
    AccessSample {
        sample: Field<Share>,
    }

    /// Log lines.
    Log {
        format: Field<LogFormat>,
        level: Field<LogLevel>,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_example_mentions_every_name() {
        let example = include_str!("../../config.example.yaml");
        for name in NAMES {
            let name = format!("{}:", name.trim_start_matches("r#"));
            assert!(example.contains(&name), "{name}");
        }
    }

    #[test]
    fn the_schema_has_every_name_and_no_other() {
        let schema = crate::config::schema();
        let mappings = schema["$defs"].as_object().unwrap().values().chain([&schema]);
        let properties = mappings.filter_map(|mapping| mapping.get("properties")?.as_object());
        let names: BTreeSet<String> = properties.flat_map(|properties| properties.keys().cloned()).collect();
        let read: BTreeSet<String> = NAMES.iter().map(|name| name.trim_start_matches("r#").to_owned()).collect();
        assert_eq!(names, read);
    }
}
