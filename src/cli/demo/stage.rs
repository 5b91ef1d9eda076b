//! Everything that the stories need, running on loopback in this process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use keybound::accept::tls::{ClientTrust, ServerCertificate};
use keybound::accept::{Address, ClientCertificates, Gate, Handler, Limits, Listener, ListenerSettings, TlsSettings};
use keybound::clock::{Clock as _, SystemClock};
use keybound::forward::UpstreamSettings;
use keybound::gateway::Settings;
use keybound::keys::{IssuerSettings, KeySource};
use keybound::prover::ProofKey;
use keybound::refusal::Reason;
use keybound::replay::ReplaySettings;
use keybound::request::Peer;
use keybound::routes::{Access, Described, Forwarding, Match, Policy, Route};
use keybound::server::Server;
use keybound::telemetry::TelemetrySettings;
use keybound::time::UnixTime;
use keybound::tokens::KeyTableSettings;
use keybound::verify::{Algorithm, IssuerRules, ProofRules, base64url};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::caller::Caller;
use super::issuer::{Issuer, json_answer};
use super::stories::{Shown, Story};
use crate::cli::key::certificate::self_signed;

/// Where the API's clients think they are.
const AUDIENCE: &str = "https://localhost/orders";

/// Any address of this machine, any free port.
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A key pair, its self-signed certificate, and what both are known by.
pub struct Party {
    pub key: ProofKey,
    pub certificate_pem: String,
    pub certificate: CertificateDer<'static>,
    pub x5t: String,
}

impl Party {
    fn new(subject: &str, now: UnixTime) -> anyhow::Result<Self> {
        let key = ProofKey::generate(Algorithm::Es256)?;
        let made = self_signed(&key, subject, now, Duration::from_hours(24))?;
        let certificate =
            CertificateDer::from_pem_slice(made.pem.as_bytes()).ok().context("cannot read the certificate")?;
        Ok(Self { key, x5t: base64url::encode(&made.thumbprint), certificate_pem: made.pem, certificate })
    }
}

/// Issuer, API, gateway, a client and a thief.
pub struct Stage {
    pub issuer: Issuer,
    pub client: Party,
    pub thief: Party,
    pub server_pem: String,
    pub api: SocketAddr,
    server: Server,
    extras: Gate,
    seen: Arc<AtomicUsize>,
    bare: Caller,
    as_client: Caller,
    as_thief: Caller,
}

/// What became of a story.
pub struct Outcome {
    pub status: StatusCode,
    pub reason: Option<Reason>,
    /// The API's word, where it was reached.
    pub caller: Option<String>,
}

/// The API that knows nothing of tokens: it believes what the gateway tells it.
#[derive(Clone)]
struct Orders(Arc<AtomicUsize>);

impl Handler for Orders {
    type Body = Full<Bytes>;
    type BodyError = Infallible;

    async fn handle(&self, request: Request<Incoming>, _: Arc<Peer>) -> Response<Self::Body> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let caller = request.headers().get("x-auth-subject").and_then(|value| value.to_str().ok());
        let body = serde_json::json!({ "caller": caller, "orders": [{ "id": 1, "item": "coffee" }] });
        json_answer(body.to_string().into())
    }
}

impl Stage {
    /// Makes and starts everything, and waits until the gateway is ready.
    pub async fn set() -> anyhow::Result<Self> {
        let now = SystemClock.now();
        let extras = Gate::new(Limits::default());
        let seen = Arc::new(AtomicUsize::new(0));
        let listen = || Listener::bind(&ListenerSettings::plain(ANY));
        let (api, issuer_door) = (listen()?, listen()?);
        let api_address = api.address();
        let issuer = Issuer::new(format!("http://{}", issuer_door.address()), AUDIENCE.to_owned())?;
        tokio::spawn(api.run(Orders(Arc::clone(&seen)), Arc::new(()), extras.clone()));
        tokio::spawn(issuer_door.run(issuer.pages(), Arc::new(()), extras.clone()));

        let names = vec!["localhost".to_owned(), ANY.ip().to_string()];
        let certified = rcgen::generate_simple_self_signed(names).context("cannot make the gateway's certificate")?;
        let server_pem = certified.cert.pem();
        let certificate =
            ServerCertificate::from_pem(server_pem.as_bytes(), certified.signing_key.serialize_pem().as_bytes())
                .map_err(anyhow::Error::msg)?;
        let server = Server::start(settings(certificate, &issuer, api_address), Arc::new(SystemClock), None)?;
        tokio::time::timeout(Duration::from_secs(10), server.ready())
            .await
            .context("the gateway does not get ready")?;

        let (client, thief) = (Party::new("demo client", now)?, Party::new("thief", now)?);
        let mut roots = RootCertStore::empty();
        roots.add(certified.cert.der().clone())?;
        Ok(Self {
            bare: Caller::new(&roots, None)?,
            as_client: Caller::new(&roots, Some((&client.certificate, &client.key)))?,
            as_thief: Caller::new(&roots, Some((&thief.certificate, &thief.key)))?,
            issuer,
            client,
            thief,
            server_pem,
            api: api_address,
            server,
            extras,
            seen,
        })
    }

    /// Scheme and authority of the gateway.
    pub fn gateway(&self) -> String {
        let port = self.server.addresses().first().map_or(0, SocketAddr::port);
        format!("https://localhost:{port}")
    }

    /// Where the operator looks.
    pub const fn admin(&self) -> &Address {
        self.server.admin()
    }

    /// How many requests reached the API.
    pub fn api_saw(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Sends a story's request and finds out why it was refused, if it was.
    pub async fn play(&self, story: &Story) -> anyhow::Result<Outcome> {
        let before = self.refusals();
        let caller = match story.shown {
            Shown::Nothing => &self.bare,
            Shown::ClientCertificate => &self.as_client,
            Shown::ThiefCertificate => &self.as_thief,
        };
        let mut request =
            Request::builder().method(story.method.clone()).uri(format!("{}{}", self.gateway(), story.path));
        if let Some((scheme, token)) = &story.token {
            request = request.header(header::AUTHORIZATION, format!("{scheme} {token}"));
        }
        if let Some(proof) = &story.proof {
            request = request.header("dpop", proof);
        }
        let (status, body) = caller.send(request.body(Empty::new())?).await?;
        let reason = Reason::ALL.iter().copied().zip(before.iter().zip(self.refusals()));
        let reason = reason.filter(|(_, (before, after))| after > *before).map(|(reason, _)| reason).next();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Outcome { status, reason, caller: body["caller"].as_str().map(str::to_owned) })
    }

    fn refusals(&self) -> Vec<u64> {
        let gateway = self.server.gateway();
        Reason::ALL.iter().map(|reason| gateway.metrics().refusals(*reason)).collect()
    }

    /// Ends everything in order.
    pub async fn strike(self) {
        self.server.stop().await;
        self.extras.abort();
    }
}

fn settings(certificate: ServerCertificate, issuer: &Issuer, api: SocketAddr) -> Settings {
    let subject = (http::HeaderName::from_static("x-auth-subject"), "sub".to_owned());
    Settings {
        listeners: vec![ListenerSettings {
            tls: Some(TlsSettings {
                certificates: vec![Arc::new(certificate)],
                only_tls13: false,
                client_certificates: ClientCertificates::Request(ClientTrust::Any),
                keep_certificates: false,
            }),
            ..ListenerSettings::plain(ANY)
        }],
        issuers: vec![IssuerSettings {
            rules: IssuerRules::new(issuer.name.clone(), vec![AUDIENCE.to_owned()]),
            source: KeySource::Discover,
            roots: None,
        }],
        introspection: Vec::new(),
        proofs: ProofRules::default(),
        key_tables: Some(KeyTableSettings::default()),
        replay: ReplaySettings::default(),
        upstreams: vec![UpstreamSettings::new(
            "orders",
            http::uri::Scheme::HTTP,
            vec![
                http::uri::Authority::try_from(api.to_string())
                    .unwrap_or_else(|_| http::uri::Authority::from_static("localhost")),
            ],
        )],
        routes: vec![Route {
            name: "orders".to_owned(),
            matches: Match::default(),
            access: Access::Enforce(Arc::new(Policy::default())),
            upstream: Some(0),
            forward: Forwarding { claims: vec![subject], ..Forwarding::default() },
            cors: None,
            metadata: Described::default(),
        }],
        failures: None,
        limits: Limits { drain_timeout: Duration::from_secs(2), ..Limits::default() },
        admin: ANY.into(),
        telemetry: TelemetrySettings::default(),
    }
}
