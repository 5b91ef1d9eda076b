//! What all servers share: an upstream, an issuer, a certificate, and a folder for their files.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keybound::verify::base64url;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::credentials::{AUDIENCE, Issuer};
use crate::load::Aim;
use crate::{machine, upstream};

pub const ISSUER: &str = "https://auth.example.com";

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    pem: String,
}

impl Identity {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        Self { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }

    fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }
}

pub struct Stage {
    folder: TempDir,
    pub upstream: SocketAddr,
    pub issuer: Issuer,
    server: Identity,
    client: Identity,
}

impl Stage {
    pub async fn set() -> Self {
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
            upstream: upstream::start().await,
            issuer: Issuer::new(ISSUER),
            server: Identity::new("localhost"),
            client: Identity::new("bench-client"),
        };
        stage.write("tls.crt", &stage.server.pem);
        stage.write("tls.key", &stage.server.key.serialize_pem());
        stage.write("tls.pem", &(stage.server.pem.clone() + &stage.server.key.serialize_pem()));
        stage.write("jwks.json", &stage.issuer.jwks().to_string());
        stage.write("issuer.pem", &stage.issuer.public_pem());
        stage
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// How the load generator speaks TLS: one suite and one group, so that every server does the same work.
    pub fn client(&self, with_certificate: bool) -> Arc<ClientConfig> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
        provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
        let mut roots = RootCertStore::empty();
        roots.add(self.server.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = if with_certificate {
            builder.with_client_auth_cert(vec![self.client.certificate.clone()], self.client.private()).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }

    /// A token that is bound to the load generator's certificate.
    pub fn mtls_token(&self) -> String {
        let thumbprint = Sha256::digest(&self.client.certificate);
        self.issuer.token(&json!({ "x5t#S256": base64url::encode(&thumbprint) }))
    }

    /// A keybound with `routes`, on a listener that asks for no certificate and on one that does. More issuers are
    /// strangers whose tokens nobody uses.
    pub fn keybound(&self, binary: &Path, name: &str, setup: &Setup) -> (Server, SocketAddr, SocketAddr) {
        let (plain, asking, admin) = (free_port(), free_port(), free_port());
        let mut text = String::from("listeners:\n");
        for (address, mode) in [(plain, "off"), (asking, "request")] {
            let tls = "certificate_file: tls.crt, key_file: tls.key";
            writeln!(text, "  - {{ address: {address}, tls: {{ {tls}, client_certificates: {{ mode: {mode} }} }} }}")
                .unwrap();
        }
        text += "issuers:\n";
        for number in 1..setup.issuers {
            let stranger = Issuer::new(&format!("{ISSUER}/{number}"));
            let file = self.write(&format!("jwks-{number}.json"), &stranger.jwks().to_string());
            writeln!(
                text,
                "  - {{ issuer: {}, audiences: [x], keys: {{ jwks_file: {} }} }}",
                stranger.name,
                file.display()
            )
            .unwrap();
        }
        let introspection = setup.introspection.map_or(String::new(), |address| {
            self.write("secret", "not a secret");
            let client = "client_id: gateway, client_secret_file: secret";
            format!(", introspection: {{ endpoint: 'http://{address}/', {client} }}")
        });
        let keys = "keys: { jwks_file: jwks.json }";
        writeln!(text, "  - {{ issuer: {ISSUER}, audiences: [{AUDIENCE}], {keys}{introspection} }}").unwrap();
        text += "routes:\n";
        for number in 2..setup.routes {
            let matches = format!("match: {{ path_prefix: /other-{number} }}");
            writeln!(text, "  - {{ name: other-{number}, {matches}, upstream: 'http://{}' }}", self.upstream).unwrap();
        }
        writeln!(
            text,
            "  - {{ name: open, match: {{ path_prefix: /open }}, upstream: 'http://{}', access: {{ mode: public }} }}",
            self.upstream
        )
        .unwrap();
        writeln!(text, "  - {{ name: api, match: {{ path_prefix: / }}, upstream: 'http://{}' }}", self.upstream)
            .unwrap();
        writeln!(text, "admin: {{ address: {admin} }}").unwrap();
        let store = setup.store.map_or(String::new(), |port| {
            format!(", store: redis, redis: {{ urls: ['redis://127.0.0.1:{port}'], timeout: 1s }}")
        });
        writeln!(text, "replay: {{ memory: {{ per_key: 4000000 }}{store} }}").unwrap();
        if !setup.key_tables {
            text += "dpop: { key_tables: off }\n";
        }
        writeln!(text, "telemetry: {{ log: {{ level: warn }}, access_log: {} }}", setup.access_log).unwrap();
        let config = self.write(&format!("{name}.yaml"), &text);
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(config);
        let server = self.start(name, &mut command, plain);
        self.wait_until_ready(admin);
        (server, plain, asking)
    }

    fn wait_until_ready(&self, admin: SocketAddr) {
        use std::io::{Read as _, Write as _};
        let ready = || -> std::io::Result<bool> {
            let mut socket = std::net::TcpStream::connect(admin)?;
            socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok(answer.starts_with("HTTP/1.1 200"))
        };
        wait_for("keybound to be ready", || ready().unwrap_or(false));
    }

    /// Starts a server on its core, and waits until it accepts connections.
    pub fn start(&self, name: &str, command: &mut Command, address: SocketAddr) -> Server {
        self.start_on(machine::PROXY_CORE, name, command, address)
    }

    pub fn start_on(&self, core: &str, name: &str, command: &mut Command, address: SocketAddr) -> Server {
        let log = fs::File::create(self.path(&format!("{name}.log"))).unwrap();
        let mut pinned = Command::new("taskset");
        pinned.args(["--cpu-list", core]).arg(command.get_program()).args(command.get_args());
        pinned.current_dir(self.folder.path()).stdin(Stdio::null());
        pinned.stdout(log.try_clone().unwrap()).stderr(log);
        let child = pinned.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let server = Server { name: name.to_owned(), child, log: self.path(&format!("{name}.log")) };
        wait_for(&server.name, || std::net::TcpStream::connect(address).is_ok());
        server
    }
}

/// What a keybound under test is told.
#[derive(Clone, Copy)]
pub struct Setup {
    pub routes: usize,
    pub issuers: usize,
    pub access_log: bool,
    /// The port of a Redis where proofs are remembered.
    pub store: Option<u16>,
    /// Whether keys that come again have tables.
    pub key_tables: bool,
    /// Who is asked about opaque tokens.
    pub introspection: Option<SocketAddr>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { routes: 2, issuers: 1, access_log: false, store: None, key_tables: true, introspection: None }
    }
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An address that nobody listens on right now.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A running server; ends with this value.
pub struct Server {
    pub name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn aim(&self, address: SocketAddr, client: &Arc<ClientConfig>) -> Aim {
        Aim { address, pid: self.pid(), client: Arc::clone(client) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.name, fs::read_to_string(&self.log).unwrap_or_default());
        }
        // As a service manager would; servers with several processes end them.
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(5) {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
