//! What a script plays on: certificates, an authorization server, the gateway and an API, each in a process or
//! a thread of its own that ends with the test.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::Value;
use tempfile::TempDir;

pub const AUDIENCE: &str = "https://api.example.com";
/// What the API calls itself.
pub const UPSTREAM: &str = "https://orders.internal";
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A script of this folder, or one at a path from here.
pub fn node(script: &str) -> Command {
    installed(repository("tests/interop/node_modules"));
    let mut node = Command::new(program("KEYBOUND_NODE", "target/interop/bin/node"));
    node.arg(repository("tests/interop").join(script));
    node
}

pub fn program(variable: &str, otherwise: &str) -> PathBuf {
    installed(env::var_os(variable).map_or_else(|| repository(otherwise), PathBuf::from))
}

fn installed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run `make test`, which installs it first", path.display());
    path
}

pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A certificate authority with a server's certificate, three self-signed client certificates, and the gateway's own for
/// the authorization server.
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    pub fn make() -> Self {
        let certificates = Self { directory: TempDir::new().unwrap() };

        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "interop authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        certificates.write("ca.pem", &authority.pem());

        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "interop server");
        params.use_authority_key_identifier_extension = true;
        certificates.write("server.pem", &params.signed_by(&key, &authority).unwrap().pem());
        certificates.write("server.key", &key.serialize_pem());

        certificates.write("identity.pem", &KeyPair::generate().unwrap().serialize_pem());

        let key = KeyPair::generate().unwrap();
        certificates.write("client.key", &key.serialize_pem());
        certificates.write("client.pem", &self_signed("client", &key));
        certificates.write("renewed.pem", &self_signed("client, renewed", &key));
        let key = KeyPair::generate().unwrap();
        certificates.write("other.key", &key.serialize_pem());
        certificates.write("other.pem", &self_signed("other", &key));
        let key = KeyPair::generate().unwrap();
        certificates.write("gateway.key", &key.serialize_pem());
        certificates.write("gateway.pem", &self_signed("gateway", &key));
        certificates
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let files = [
            ("NODE_EXTRA_CA_CERTS", "ca.pem"),
            ("REQUESTS_CA_BUNDLE", "ca.pem"),
            ("CURL_CA_BUNDLE", "ca.pem"),
            ("CERTIFICATE_FILE", "server.pem"),
            ("KEY_FILE", "server.key"),
            ("CLIENT_CERTIFICATE_FILE", "client.pem"),
            ("CLIENT_KEY_FILE", "client.key"),
            ("RENEWED_CERTIFICATE_FILE", "renewed.pem"),
            ("OTHER_CERTIFICATE_FILE", "other.pem"),
            ("OTHER_KEY_FILE", "other.key"),
            ("GATEWAY_CERTIFICATE_FILE", "gateway.pem"),
        ];
        files.map(|(variable, name)| (variable, self.file(name))).to_vec()
    }
}

fn self_signed(name: &str, key: &KeyPair) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.self_signed(key).unwrap().pem()
}

pub struct AuthorizationServer {
    pub issuer: String,
    _running: Running,
}

impl AuthorizationServer {
    pub fn start(certificates: &Certificates) -> Self {
        Self::of(certificates, AUDIENCE)
    }

    /// One whose tokens are for another resource.
    pub fn of(certificates: &Certificates, audience: &str) -> Self {
        let mut command = node("authorization-server.mjs");
        command.envs(certificates.environment()).env("AUDIENCE", audience);
        let running = Running::start(command, &certificates.file("authorization-server.log"));
        let line = running.line();
        let ready: Value = serde_json::from_str(&line).expect("the authorization server prints its issuer");
        Self { issuer: ready["issuer"].as_str().unwrap().to_owned(), _running: running }
    }
}

pub struct Gateway {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    pub running: Running,
}

impl Gateway {
    pub fn start(certificates: &Certificates, issuer: &str, api: SocketAddr) -> Self {
        Self::with(certificates, issuer, api, None, "")
    }

    /// The same with more configuration, and for clients that see another origin.
    pub fn with(certificates: &Certificates, issuer: &str, api: SocketAddr, origin: Option<&str>, more: &str) -> Self {
        Self::configured(certificates, &Self::configuration(certificates, issuer, api, origin, more))
    }

    /// A gateway whose routes, and whatever else is not about listeners and issuers, are in `more`.
    pub fn of(certificates: &Certificates, issuer: &str, audience: &str, origin: Option<&str>, more: &str) -> Self {
        Self::configured(certificates, &Self::text(certificates, issuer, audience, origin, more))
    }

    pub fn configuration(
        certificates: &Certificates,
        issuer: &str,
        api: SocketAddr,
        origin: Option<&str>,
        more: &str,
    ) -> String {
        let route = format!(
            "
routes:
  - name: orders
    upstream: http://{api}
    access: {{ scopes: [read] }}
    forward:
      claims: {{ X-Auth-Subject: sub }}
      identity: {{ header: X-Identity, sign_with: {identity}, audience: {UPSTREAM} }}
{more}",
            identity = certificates.file("identity.pem").display(),
        );
        Self::text(certificates, issuer, AUDIENCE, origin, &route)
    }

    fn text(certificates: &Certificates, issuer: &str, audience: &str, origin: Option<&str>, more: &str) -> String {
        format!(
            "
listeners:
  - address: 127.0.0.1:0
    public_url: {origin}
    tls:
      certificate_file: {certificate}
      key_file: {key}
      client_certificates: {{ mode: request }}
issuers:
  - issuer: {issuer}
    audiences: [{audience}]
    keys: {{ discover: true }}
    ca_file: {ca}
admin: {{ address: 127.0.0.1:0 }}
{more}",
            origin = origin.unwrap_or("null"),
            certificate = certificates.file("server.pem").display(),
            key = certificates.file("server.key").display(),
            ca = certificates.file("ca.pem").display(),
        )
    }

    pub fn configured(certificates: &Certificates, configuration: &str) -> Self {
        certificates.write("keybound.yaml", configuration);

        let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
        command.args(["serve", "--config"]).arg(certificates.file("keybound.yaml"));
        let running = Running::start(command, &certificates.file("keybound.log"));
        let (mut address, mut admin) = (None, None);
        while address.is_none() || admin.is_none() {
            let line: Value = serde_json::from_str(&running.line()).expect("the gateway logs JSON lines");
            let place = || line["address"].as_str().and_then(|address| address.parse().ok());
            match line["message"].as_str() {
                Some("listening") => address = place(),
                Some("admin listening") => admin = place(),
                _ => {}
            }
        }
        await_ready(admin.unwrap());
        Self { address: address.unwrap(), admin: admin.unwrap(), running }
    }
}

/// Until `/readyz` says that the issuer's keys are there.
fn await_ready(admin: SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    let mut answer = String::new();
    while !answer.starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "the gateway did not become ready: {answer}");
        thread::sleep(Duration::from_millis(20));
        answer.clear();
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").unwrap();
        stream.read_to_string(&mut answer).unwrap();
    }
}

/// An address that is known before the gateways behind it are: it hands every connection to the next of them in turn.
pub struct Relay {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Relay {
    pub fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// As clients see it.
    pub fn origin(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    pub fn lead_to(self, gateways: Vec<SocketAddr>) {
        thread::spawn(move || {
            for (index, client) in self.listener.incoming().enumerate() {
                let gateway = TcpStream::connect(gateways[index % gateways.len()]);
                let (Ok(client), Ok(gateway)) = (client, gateway) else { return };
                let ways = [(client.try_clone(), gateway.try_clone()), (Ok(gateway), Ok(client))];
                for (from, to) in ways {
                    let (Ok(mut from), Ok(mut to)) = (from, to) else { return };
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
            }
        });
    }
}

/// An API that knows nothing of tokens, and remembers the head of every request.
pub struct Api {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Api {
    pub fn start() -> Self {
        Self::answering("")
    }

    /// One that answers this JSON.
    pub fn answering(body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let log = Arc::clone(&log);
                thread::spawn(move || answer(&stream.unwrap(), &log, body));
            }
        });
        Self { address, heads }
    }

    /// The heads in lower case.
    pub fn requests(&self) -> Vec<String> {
        self.heads.lock().unwrap().iter().map(|head| head.to_ascii_lowercase()).collect()
    }

    /// All values of a field, as they came.
    pub fn values(&self, field: &str) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let fields = heads.iter().flat_map(|head| head.lines()).filter_map(|line| line.split_once(": "));
        fields.filter(|(name, _)| name.eq_ignore_ascii_case(field)).map(|(_, value)| value.to_owned()).collect()
    }
}

fn answer(stream: &TcpStream, log: &Mutex<Vec<String>>, body: &str) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    let mut as_sent = String::new();
    while !as_sent.ends_with("\r\n\r\n") {
        if reader.read_line(&mut as_sent).unwrap_or_default() == 0 {
            return;
        }
    }
    let head = as_sent.to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    if let Some(length) = field("content-length: ") {
        let mut body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
    } else if field("transfer-encoding: ").is_some() {
        let mut body = String::new();
        while !body.ends_with("\r\n0\r\n\r\n") {
            assert_ne!(reader.read_line(&mut body).unwrap(), 0, "the body ends early");
        }
    }
    log.lock().unwrap().push(as_sent);
    let mut stream = stream;
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\n{kind}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).unwrap();
}

/// A child process whose lines arrive as they are printed; it ends when this is dropped.
pub struct Running {
    process: Child,
    lines: Receiver<String>,
    complaints: PathBuf,
}

impl Running {
    pub fn start(mut command: Command, complaints: &Path) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(complaints).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, lines, complaints: complaints.to_owned() }
    }

    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line came: {}", self.complaints()))
    }

    /// All lines until it ends, which it must do by itself and in time.
    pub fn rest(&mut self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => panic!("still running after {lines:?}: {}", self.complaints()),
            }
        }
    }

    pub fn so_far(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// The lines so far, as soon as there are enough.
    pub fn until(&self, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.so_far();
        while !enough(&lines) {
            let left = deadline.saturating_duration_since(Instant::now());
            lines.push(self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no more came after {lines:?}")));
        }
        lines
    }

    pub fn complaints(&self) -> String {
        fs::read_to_string(&self.complaints).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
