//! What a test plays on: files, an issuer, an API, and the gateway between them as a process.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use keybound::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::Api;
use crate::issuer::{IssuerServer, Mood};
use crate::process::Program;
use crate::samples::Scrape;
use crate::support::keys::Key;
use crate::support::mint::{self, Jws};
use crate::support::wire::{Answer, Dialer, Http, Message, Stream, client_tls};
use crate::support::{AUDIENCE, HOST, ISSUER, Identity, jwks_of};
use crate::{eventually, in_time};

pub const RELOADED: &str = "configuration reloaded";

/// An address where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

pub struct Stage {
    pub folder: TempDir,
    pub issuer: IssuerServer,
    pub api: Api,
    /// `k1` of the issuer.
    pub issuer_key: Arc<Key>,
    /// The client's.
    pub key: Arc<Key>,
}

/// A configuration file in the making: pieces of YAML.
pub struct Configuration {
    pub listener: String,
    pub tls: String,
    /// Further listeners, each behind a comma.
    pub more_listeners: String,
    pub admin: String,
    pub keys: String,
    pub routes: String,
    pub limits: String,
    pub telemetry: String,
    /// Replicas, proofs and where they are remembered.
    pub replay: String,
}

impl Configuration {
    pub fn text(&self) -> String {
        let Self { listener, tls, more_listeners, admin, keys, routes, limits, telemetry, replay } = self;
        format!(
            "
listeners: [{{ address: '{listener}', tls: {tls} }}{more_listeners}]
issuers: [{{ issuer: '{ISSUER}', audiences: ['{AUDIENCE}'], keys: {keys} }}]
{replay}
routes: {routes}
limits: {limits}
admin: {{ address: '{admin}' }}
telemetry: {telemetry}
"
        )
    }
}

impl Stage {
    pub async fn set() -> Self {
        let issuer_key = Arc::new(Key::es256());
        let issuer = IssuerServer::start(Mood::Publishes(jwks_of(&[("k1", &issuer_key)]))).await;
        let folder = tempfile::tempdir().unwrap();
        let names = [HOST, "localhost", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(folder.path().join("server.pem"), made.cert.pem()).unwrap();
        fs::write(folder.path().join("server.key"), made.signing_key.serialize_pem()).unwrap();
        Self { folder, issuer, api: Api::start().await, issuer_key, key: Arc::new(Key::es256()) }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn configuration(&self) -> Configuration {
        let api = self.api.address;
        let route = |name: &str, upstream: &str, more: &str| {
            format!("\n  - {{ name: {name}, match: {{ path_prefix: /{name} }}, upstream: 'http://{upstream}'{more} }}")
        };
        let mut routes = route("api", &api.to_string(), "");
        routes += &route("admin-api", &api.to_string(), ", access: { scopes: [admin] }");
        routes += &route("down", NOWHERE, "");
        routes += &route("open", &api.to_string(), ", access: { mode: public }");
        Configuration {
            listener: "127.0.0.1:0".to_owned(),
            tls: "{ certificate_file: server.pem, key_file: server.key, client_certificates: { mode: request } }"
                .to_owned(),
            more_listeners: String::new(),
            admin: "127.0.0.1:0".to_owned(),
            keys: format!("{{ jwks_uri: '{}' }}", self.issuer.jwks_uri()),
            routes,
            limits: "{}".to_owned(),
            telemetry: "{}".to_owned(),
            replay: "replicas: 1".to_owned(),
        }
    }

    /// Writes a configuration and returns its name.
    pub fn configured(&self, change: impl FnOnce(&mut Configuration)) -> &'static str {
        let mut configuration = self.configuration();
        change(&mut configuration);
        fs::write(self.file("keybound.yaml"), configuration.text()).unwrap();
        "keybound.yaml"
    }

    /// A gateway that is ready.
    pub async fn gateway(&self) -> Gateway {
        self.gateway_with(|_| {}).await
    }

    pub async fn gateway_with(&self, change: impl FnOnce(&mut Configuration)) -> Gateway {
        let gateway = self.gateway_before_it_is_ready(change).await;
        gateway.program.says("ready").await;
        gateway
    }

    /// A gateway that listens.
    pub async fn gateway_before_it_is_ready(&self, change: impl FnOnce(&mut Configuration)) -> Gateway {
        self.gateway_in(&[], change).await
    }

    /// A gateway that listens, and lives in this environment.
    pub async fn gateway_in(&self, environment: &[(&str, &str)], change: impl FnOnce(&mut Configuration)) -> Gateway {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
        self.gateway_by(command.envs(environment.iter().copied()), change).await
    }

    /// A gateway that listens, started by this command, to which its arguments are added.
    pub async fn gateway_by(&self, command: &mut Command, change: impl FnOnce(&mut Configuration)) -> Gateway {
        let file = self.configured(change);
        command.current_dir(self.folder.path()).env_remove("KEYBOUND_TOKEN").args(["serve", "--config", file]);
        Gateway::of(Program::run_by(command, Stdio::null())).await
    }

    /// Who calls a gateway at this address.
    pub fn dialer(&self, address: SocketAddr) -> Dialer {
        Dialer { address, tls: Some(client_tls(None)), server_name: HOST.to_owned(), announce: Vec::new() }
    }

    // What a client sends.

    /// A token bound to the client's proof key.
    pub fn token(&self) -> Jws {
        self.token_of(json!({"jkt": self.key.thumbprint()}))
    }

    pub fn token_of(&self, cnf: Value) -> Jws {
        mint::access_token(ISSUER, AUDIENCE, &self.issuer_key, cnf, now())
    }

    /// A proof by the client's key.
    pub fn proof(&self, token: &str, method: &str, path: &str) -> Jws {
        self.proof_by(&self.key, token, method, path)
    }

    /// A proof by another client's key.
    pub fn proof_by(&self, key: &Arc<Key>, token: &str, method: &str, path: &str) -> Jws {
        let mut proof = mint::proof(key, method, &format!("https://{HOST}{path}"), now());
        proof.claims.insert("ath".into(), mint::ath(token).into());
        proof
    }

    /// A good request.
    pub fn call(&self, path: &str) -> Message {
        self.call_with(path, &self.token().compact())
    }

    /// With this token and a fresh proof.
    pub fn call_with(&self, path: &str, token: &str) -> Message {
        let proof = self.proof(token, "GET", path.split('?').next().unwrap()).compact();
        message(path, &[("Authorization", &format!("DPoP {token}")), ("DPoP", &proof)])
    }

    /// With a token that is bound to this certificate.
    pub fn call_bound_to(&self, path: &str, identity: &Identity) -> Message {
        let token = self.token_of(json!({"x5t#S256": identity.x5t()})).compact();
        message(path, &[("Authorization", &format!("Bearer {token}"))])
    }

    /// A good request that wants to become a WebSocket.
    pub fn call_for_socket(&self) -> Message {
        let mut message = self.call("/api/socket");
        let fields = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        message.headers.extend(fields.map(|(name, value)| (name.to_owned(), value.into())));
        message
    }
}

pub fn now() -> i64 {
    SystemClock.now().secs()
}

/// Writes as an editor does: there is no moment with half a file.
pub fn write(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, path).unwrap();
}

/// A GET request.
pub fn message(path: &str, fields: &[(&str, &str)]) -> Message {
    Message {
        method: "GET".to_owned(),
        target: path.to_owned(),
        host: Some(HOST.to_owned()),
        headers: fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
        body: Vec::new(),
    }
}

pub struct Gateway {
    pub program: Program,
    pub address: SocketAddr,
    pub admin: SocketAddr,
}

impl Gateway {
    /// Once it listens.
    pub async fn of(program: Program) -> Self {
        let address = |line: Value| line["address"].as_str().unwrap().parse().unwrap();
        let admin = address(program.says("admin listening").await);
        let address = address(program.says("listening").await);
        Self { program, address, admin }
    }

    pub fn dialer(&self) -> Dialer {
        Dialer {
            address: self.address,
            tls: Some(client_tls(None)),
            server_name: HOST.to_owned(),
            announce: Vec::new(),
        }
    }

    pub fn dialer_of(&self, identity: &Identity) -> Dialer {
        Dialer { tls: Some(client_tls(Some(identity.pair()))), ..self.dialer() }
    }

    /// An HTTP/1.1 connection behind TLS.
    pub async fn connect(&self) -> Box<dyn Stream> {
        in_time("a connection", self.dialer().connect(Http::One)).await.unwrap()
    }

    pub async fn send(&self, message: &Message) -> Answer {
        self.dialer().send(Http::One, message).await.unwrap()
    }

    pub async fn status(&self, message: &Message) -> u16 {
        self.send(message).await.status
    }

    pub async fn admin(&self, path: &str) -> Answer {
        self.admin_with(path, &[]).await
    }

    /// The same with more fields.
    pub async fn admin_with(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.admin_from(&self.admin.to_string(), path, fields).await
    }

    /// The same by another name.
    pub async fn admin_from(&self, host: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let message = Message { host: Some(host.to_owned()), ..message(path, fields) };
        self.admin_dialer().send(Http::One, &message).await.unwrap()
    }

    pub fn admin_dialer(&self) -> Dialer {
        Dialer { address: self.admin, tls: None, server_name: String::new(), announce: Vec::new() }
    }

    /// Status and text of `/readyz`.
    pub async fn readiness(&self) -> (u16, String) {
        let answer = self.admin("/readyz").await;
        (answer.status, answer.text())
    }

    pub async fn scrape(&self) -> Scrape {
        let answer = self.admin("/metrics").await;
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Scrape::read(answer.text())
    }

    /// Waits until so many lines say this, and returns the last.
    pub async fn said(&self, message: &str, times: usize) -> Value {
        eventually(message, async || {
            let lines = self.program.lines().into_iter().filter(|line| line["message"] == message);
            let lines: Vec<Value> = lines.collect();
            (lines.len() >= times).then(|| lines[times - 1].clone())
        })
        .await
    }

    /// The access line of a request; it is written when the answer is through.
    pub async fn access_line(&self, request_id: &str) -> Value {
        self.program.line("an access line", |line| line["request_id"] == request_id).await
    }

    /// The access lines so far.
    pub fn access_lines(&self) -> Vec<Value> {
        self.program.lines().into_iter().filter(|line| line["target"] == "access").collect()
    }
}

/// A line for each thing that the text lacks.
pub fn missing(text: &str, wanted: &[&str]) -> String {
    let mut out = String::new();
    for wanted in wanted.iter().filter(|wanted| !text.contains(**wanted)) {
        let _ = writeln!(out, "`{wanted}` is not in:\n{text}");
    }
    out
}
