//! A gateway in this process, with a clock that moves on command, in front of an API that records what it sees.
//!
//! The ritual of every refusal is [`World::refuses`]: a request that differs from a good one in one thing is
//! refused for one reason, is answered by the catalogue, is counted once, reaches nobody and spends nothing; and
//! the good request still passes.

pub mod explained;
pub mod frames;
pub mod keys;
pub mod mint;
pub mod shape;
pub mod shot;
pub mod upstream;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use keybound::accept::tls::{ClientTrust, ServerCertificate};
use keybound::accept::{ClientCertificates, Limits, ListenerSettings, ProxyProtocol, TlsSettings};
use keybound::clock::{Clock as _, ManualClock};
use keybound::forward::UpstreamSettings;
use keybound::gateway::Settings;
use keybound::introspect::IntrospectionSettings;
use keybound::keys::{IssuerSettings, KeySource};
use keybound::limits::Rate;
use keybound::refusal::Reason;
use keybound::replay::ReplaySettings;
use keybound::request::{Front, PublicUrl};
use keybound::routes::{Access, Cors, Described, Forwarding, Match, Origins, Policy, Route};
use keybound::server::Server;
use keybound::telemetry::TelemetrySettings;
use keybound::time::UnixTime;
use keybound::tokens::KeyTableSettings;
use keybound::verify::{Accepted, Algorithm, IssuerRules, Nonces, ProofRules};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use keys::Key;
use shot::Shot;
use upstream::Upstream;
use wire::{Answer, Dialer, Http, client_tls};

/// The present of every test.
pub const NOW: i64 = 1_800_000_000;
pub const HOST: &str = "rs.example";
pub const ISSUER: &str = "https://as.example";
pub const AUDIENCE: &str = "https://rs.example";
pub const NONCE_SECRET: &[u8] = &[1; 32];
pub const NONCE_LIFE: Duration = Duration::from_mins(5);
/// Whose scripts may call, where any may.
pub const APP: &str = "https://app.example";
/// The route of the baseline.
pub const ROUTE: &str = "api";

/// What a test may change before the gateway starts.
pub struct Plan {
    pub issuer: IssuerRules,
    pub proofs: ProofRules,
    pub replay: ReplaySettings,
    pub limits: Limits,
    pub failures: Option<Rate>,
    pub policy: Policy,
    pub forward: Forwarding,
    pub cors: Option<Cors>,
    pub metadata: Described,
    pub public_url: Option<&'static str>,
    /// What stands in front, but for the public URL.
    pub front: Front,
    pub proxy_protocol: ProxyProtocol,
    /// The route observes instead of enforcing.
    pub observe: bool,
    pub tls: bool,
    pub client_certificates: bool,
    /// Server certificates beside the one for [`HOST`].
    pub more_certificates: Vec<ServerCertificate>,
    /// Routes before the baseline's; upstream 0 is the recorder.
    pub routes_before: Vec<Route>,
    pub matches: Match,
    /// The issuer's JWK set; `None`: the issuer key alone.
    pub jwks: Option<Value>,
    pub keys: Option<KeySource>,
    pub more_issuers: Vec<IssuerSettings>,
    pub introspection: Vec<IntrospectionSettings>,
    /// Where the recorder is said to be; `None`: where it is.
    pub upstream: Option<std::net::SocketAddr>,
    /// Instead of the recorder.
    pub upstreams: Option<UpstreamSettings>,
    pub response_timeout: Duration,
    /// When the gateway starts, in seconds since the epoch.
    pub started: i64,
    /// Whether to wait for readiness.
    pub wait: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            issuer: IssuerRules::new(ISSUER, vec![AUDIENCE.to_owned()]),
            proofs: ProofRules::default(),
            replay: ReplaySettings::default(),
            limits: Limits::default(),
            failures: None,
            policy: Policy { accepted: Accepted { dpop: true, mtls: false, unbound: false }, ..Policy::default() },
            forward: Forwarding::default(),
            cors: None,
            metadata: Described::default(),
            public_url: None,
            front: Front::default(),
            proxy_protocol: ProxyProtocol::Off,
            observe: false,
            tls: true,
            client_certificates: false,
            more_certificates: Vec::new(),
            routes_before: Vec::new(),
            matches: Match::default(),
            jwks: None,
            keys: None,
            more_issuers: Vec::new(),
            introspection: Vec::new(),
            upstream: None,
            upstreams: None,
            response_timeout: UpstreamSettings::RESPONSE_TIMEOUT,
            started: NOW - 1000,
            wait: true,
        }
    }
}

impl Plan {
    /// The baseline with certificates asked for and mTLS-bound tokens accepted too.
    pub fn mtls() -> Self {
        let policy = Policy { accepted: Accepted { dpop: true, mtls: true, unbound: false }, ..Policy::default() };
        Self { client_certificates: true, policy, ..Self::default() }
    }

    pub fn accepting(accepted: Accepted) -> Self {
        Self { policy: Policy { accepted, ..Policy::default() }, ..Self::default() }
    }

    /// The baseline for scripts of [`APP`].
    pub fn cors() -> Self {
        let origins = Origins::Listed(vec![http::HeaderValue::from_static(APP)]);
        let cors = Cors { origins, allow_credentials: false, max_age: Cors::MAX_AGE };
        Self { cors: Some(cors), ..Self::default() }
    }

    /// The baseline where proofs must hold a nonce.
    pub fn nonces() -> Self {
        Self::nonces_of(&[NONCE_SECRET])
    }

    pub fn nonces_of(secrets: &[&'static [u8]]) -> Self {
        let nonces = Nonces::new(secrets.iter().copied(), NONCE_LIFE);
        assert!(nonces.is_some(), "secrets of a good length");
        Self { proofs: ProofRules { nonces, ..ProofRules::default() }, ..Self::default() }
    }

    pub async fn start(self) -> World {
        World::start(self).await
    }
}

pub fn public_route(name: &str, path_prefix: &str) -> Route {
    Route {
        name: name.to_owned(),
        matches: Match { path_prefix: path_prefix.to_owned(), ..Match::default() },
        access: Access::Public,
        upstream: Some(0),
        forward: Forwarding::default(),
        cors: None,
        metadata: Described::default(),
    }
}

/// A certificate and its key, as a client holds them.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    pub fn self_signed() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        Self::of_key(&key, change)
    }

    pub fn of_key(key: &rcgen::KeyPair, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Self {
        let mut params = rcgen::CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.self_signed(key).unwrap();
        Self { chain: vec![certificate.der().clone()], key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
    }

    /// `x5t#S256`, computed here.
    pub fn x5t(&self) -> String {
        use sha2::Digest as _;
        keys::b64(sha2::Sha256::digest(&self.chain[0]))
    }

    pub fn pair(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.chain.clone(), self.key.clone_key())
    }
}

pub struct World {
    pub server: Server,
    pub clock: Arc<ManualClock>,
    pub upstream: Upstream,
    pub issuer_key: Arc<Key>,
    /// The client's proof key K1, and another's.
    pub k1: Arc<Key>,
    pub k2: Arc<Key>,
    /// What makes nonces, where the gateway demands them.
    pub nonces: Option<Nonces>,
    /// Whether scripts of [`APP`] may read answers of the baseline's route.
    pub cors: bool,
    /// Where the metadata of the baseline's route are, if anywhere.
    pub resource_metadata: Option<String>,
    pub dialer: Dialer,
    /// What `keybound explain` would know, where a configuration alone decides.
    pub explained: Option<explained::Explained>,
    _files: tempfile::TempDir,
}

pub async fn world() -> World {
    Plan::default().start().await
}

/// The issuer's public key as a JWK set.
pub fn jwks_of(keys: &[(&str, &Key)]) -> Value {
    let entries: Vec<Value> = keys
        .iter()
        .map(|(kid, key)| {
            let mut jwk = key.jwk();
            jwk["kid"] = json!(kid);
            jwk["alg"] = json!(key.alg);
            jwk["use"] = json!("sig");
            jwk
        })
        .collect();
    json!({ "keys": entries })
}

impl World {
    pub async fn start(plan: Plan) -> Self {
        let upstream = Upstream::start().await;
        let issuer_key = Arc::new(Key::es256());
        let files = tempfile::tempdir().unwrap();
        let jwks_file = files.path().join("jwks.json");
        let jwks = plan.jwks.clone().unwrap_or_else(|| jwks_of(&[("k1", &issuer_key)]));
        std::fs::write(&jwks_file, jwks.to_string()).unwrap();
        let clock = Arc::new(ManualClock::at(UnixTime::from_secs(plan.started)));
        let (wait, nonces, cors) = (plan.wait, plan.proofs.nonces.clone(), plan.cors.is_some());
        let resource_metadata = plan.public_url.map(|url| {
            let prefix = plan.matches.path_prefix.strip_prefix('/').filter(|rest| !rest.is_empty());
            let suffix = prefix.map_or_else(String::new, |rest| format!("/{rest}"));
            format!("{url}/.well-known/oauth-protected-resource{suffix}")
        });
        let explained = explained::Explained::of(&plan, &jwks_file);
        let address = plan.upstream.unwrap_or(upstream.address);
        let settings = settings(plan, address, &jwks_file);
        let tls = settings.listeners[0].tls.is_some().then(|| client_tls(None));
        let server = Server::start(settings, Arc::clone(&clock) as _, None).expect("the gateway starts");
        // A process that started long ago: its restart fence lies in the past.
        clock.set(UnixTime::from_secs(NOW));
        if wait {
            tokio::time::timeout(wire::PATIENCE, server.ready()).await.expect("the gateway is ready in time");
        }
        let dialer = Dialer { address: server.addresses()[0], tls, server_name: HOST.to_owned(), announce: Vec::new() };
        let (k1, k2) = (Arc::new(Key::es256()), Arc::new(Key::es256()));
        Self {
            server,
            clock,
            upstream,
            issuer_key,
            k1,
            k2,
            nonces,
            cors,
            resource_metadata,
            dialer,
            explained,
            _files: files,
        }
    }

    pub fn now(&self) -> i64 {
        self.clock.now().secs()
    }

    /// The same world, seen by a client with a certificate.
    pub fn dial_as(&self, identity: &Identity) -> Dialer {
        Dialer { tls: Some(client_tls(Some(identity.pair()))), ..self.dialer.clone() }
    }

    pub fn set_clock(&self, seconds: i64) {
        self.clock.set(UnixTime::from_secs(seconds));
    }

    /// The baseline B0: `GET https://rs.example/api/item?q=1` with a token bound to K1 and a fresh proof by K1.
    pub fn good(&self) -> Shot {
        Shot::dpop(self, &self.k1)
    }

    /// The same with a token bound to `identity`'s certificate, as Bearer, over a connection with it.
    pub fn good_mtls(&self, identity: &Identity) -> Shot {
        Shot::mtls(self, identity)
    }

    /// What a metric line says now; 0 when there is none yet.
    pub fn metric(&self, line: &str) -> u64 {
        let text = self.metrics();
        let value = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
    }

    /// Waits until a metric line says so much: what happens to a connection is counted by whoever ends it, which the
    /// client may see first.
    pub async fn reaches(&self, line: &str, count: u64) {
        let counted = async {
            while self.metric(line) < count {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(wire::PATIENCE, counted).await.unwrap_or_else(|_| panic!("{line} never says {count}"));
        assert_eq!(self.metric(line), count);
    }

    pub fn metrics(&self) -> String {
        let gateway = self.server.gateway();
        String::from_utf8(gateway.metrics().render(&gateway.snapshot()).unwrap()).unwrap()
    }

    pub fn refusals(&self, route: &str, reason: Reason) -> u64 {
        self.metric(&format!("keybound_refusals_total{{reason=\"{}\",route=\"{route}\"}}", reason.slug()))
    }

    /// Waits until so many were refused. What is refused before it is a request is counted when its connection ends,
    /// which the client may see first.
    pub async fn refused(&self, route: &str, reason: Reason, count: u64) {
        let counted = async {
            while self.refusals(route, reason) < count {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(wire::PATIENCE, counted).await.expect("the refusal is counted");
        assert_eq!(self.refusals(route, reason), count);
    }

    pub fn spent(&self) -> u64 {
        self.metric("keybound_replay_inserts_total")
    }

    /// The request passes over both versions of HTTP.
    pub async fn passes(&self, shot: &Shot) {
        for http in [Http::One, Http::Two] {
            self.passes_over(http, shot).await;
        }
    }

    pub async fn passes_over(&self, http: Http, shot: &Shot) -> Answer {
        let before = self.upstream.count();
        let answer = shot.send(http).await;
        assert_eq!(answer.status, 200, "{http:?} {} {answer:?}", shot.what());
        assert_eq!(self.upstream.count(), before + 1, "the upstream sees a good request once");
        self.explains(None, shot);
        answer
    }

    /// The ritual, over both versions of HTTP.
    pub async fn refuses(&self, reason: Reason, shot: &Shot) {
        for http in [Http::One, Http::Two] {
            self.refuses_over(http, reason, shot).await;
        }
    }

    pub async fn refuses_over(&self, http: Http, reason: Reason, shot: &Shot) -> Answer {
        let route = shot.expected_route(reason);
        let (seen, counted, spent) = (self.upstream.count(), self.refusals(route, reason), self.spent());
        let answer = shot.send(http).await;
        let context = format!("{http:?} {} {answer:?}", shot.what());
        assert_eq!(answer.status, reason.answer().status(), "{context}");
        assert_eq!(
            self.refusals(route, reason),
            counted + 1,
            "counted as {}: {context}\n{}",
            reason.slug(),
            self.counted()
        );
        assert_eq!(self.upstream.count(), seen, "the upstream saw nothing: {context}");
        assert_eq!(self.spent(), spent, "no proof was spent: {context}");
        shape::assert_refusal(&answer, reason, shot);
        self.explains(Some(reason), shot);
        self.remembers(reason, &answer, shot);
        let good = shot.good_sibling(self).send(http).await;
        assert_eq!(good.status, 200, "a good request still passes after {context}: {good:?}");
        assert_eq!(self.upstream.count(), seen + 1, "and reaches the upstream: {context}");
        answer
    }

    fn counted(&self) -> String {
        let text = self.metrics();
        text.lines().filter(|line| line.starts_with("keybound_refusals_total")).collect::<Vec<_>>().join("\n")
    }
}

pub fn settings(plan: Plan, upstream: std::net::SocketAddr, jwks_file: &std::path::Path) -> Settings {
    let own = server_certificate(&[HOST, "localhost", "*.rs.example"]);
    let tls = plan.tls.then(|| TlsSettings {
        certificates: std::iter::once(own).chain(plan.more_certificates).map(Arc::new).collect(),
        only_tls13: false,
        client_certificates: if plan.client_certificates {
            ClientCertificates::Request(ClientTrust::Any)
        } else {
            ClientCertificates::Off
        },
        keep_certificates: plan.forward.client_certificate,
    });
    let policy = Arc::new(plan.policy);
    let mut routes = plan.routes_before;
    routes.push(Route {
        name: ROUTE.to_owned(),
        matches: plan.matches,
        access: if plan.observe { Access::Observe(policy) } else { Access::Enforce(policy) },
        upstream: Some(0),
        forward: plan.forward,
        cors: plan.cors,
        metadata: plan.metadata,
    });
    let mut issuers = vec![IssuerSettings {
        rules: plan.issuer,
        source: plan.keys.unwrap_or_else(|| KeySource::File(jwks_file.to_owned())),
        roots: None,
    }];
    issuers.extend(plan.more_issuers);
    Settings {
        listeners: vec![ListenerSettings {
            front: Front { public_url: plan.public_url.map(|url| PublicUrl::parse(url).unwrap()), ..plan.front },
            proxy_protocol: plan.proxy_protocol,
            tls,
            ..ListenerSettings::plain("127.0.0.1:0".parse().unwrap())
        }],
        issuers,
        introspection: plan.introspection,
        proofs: plan.proofs,
        key_tables: Some(KeyTableSettings::default()),
        replay: plan.replay,
        upstreams: vec![UpstreamSettings {
            response_timeout: plan.response_timeout,
            ..plan.upstreams.unwrap_or_else(|| {
                let endpoint = upstream.to_string().parse().unwrap();
                UpstreamSettings::new("recorder", http::uri::Scheme::HTTP, vec![endpoint])
            })
        }],
        routes,
        limits: plan.limits,
        failures: plan.failures,
        admin: std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into(),
        telemetry: TelemetrySettings::default(),
    }
}

pub fn server_certificate(names: &[&str]) -> ServerCertificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certified = rcgen::generate_simple_self_signed(names).unwrap();
    let key = certified.signing_key.serialize_pem();
    ServerCertificate::from_pem(certified.cert.pem().as_bytes(), key.as_bytes()).unwrap()
}

/// Every algorithm by the name that it has in `alg`.
pub fn algorithms(names: &[&str]) -> Vec<Algorithm> {
    names.iter().map(|name| Algorithm::from_name(name).unwrap()).collect()
}
