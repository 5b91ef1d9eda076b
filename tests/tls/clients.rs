//! Clients that others wrote: curl, OpenSSL's `s_client`, and rustls with whatever certificate it is given.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};

use crate::der::pem;
use crate::ground::{Door, Ground};
use crate::process::Program;
use crate::support::wire::{Dialer, Http, Message, client_tls_in};
use crate::support::{HOST, Identity};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Tls12,
    Tls13,
}

pub const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

impl Version {
    pub fn of_rustls(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Tls12 => &TLS12,
            Self::Tls13 => &TLS13,
        }
    }

    fn of_curl(self) -> [&'static str; 2] {
        match self {
            Self::Tls12 => ["--tls-max", "1.2"],
            Self::Tls13 => ["--tlsv1.3", "--fail-early"],
        }
    }
}

/// Writes a certificate chain and its key, so that programs find them.
pub fn write(ground: &Ground, name: &str, identity: &Identity) {
    let chain: String = identity.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect();
    fs::write(ground.stage.file(&format!("{name}.pem")), chain).unwrap();
    let label = match &identity.key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    fs::write(ground.stage.file(&format!("{name}.key")), pem(label, identity.key.secret_der())).unwrap();
}

/// Takes keys of any size.
const WEAK: &str = "openssl_conf = all\n[all]\nssl_conf = tls\n[tls]\nsystem_default = weak\n[weak]\nCipherString = DEFAULT@SECLEVEL=0\n";

/// What curl is answered; 0: nothing.
pub async fn curl(ground: &Ground, door: Door, version: Version, identity: &Identity, message: &Message) -> u16 {
    write(ground, "shown", identity);
    let fields = message.headers.iter().map(|(name, value)| format!("{name}: {}\n", str::from_utf8(value).unwrap()));
    fs::write(ground.stage.file("weak.cnf"), WEAK).unwrap();
    fs::write(ground.stage.file("shown.fields"), fields.collect::<String>()).unwrap();
    let port = ground.address(door).port();
    let mut command = Command::new("curl");
    command
        .current_dir(ground.stage.folder.path())
        .args(["--silent", "--max-time", "20", "--noproxy", "*", "--output", "answer", "--write-out", "%{http_code}\n"])
        .args(["--cacert", "servers.pem", "--cert", "shown.pem", "--key", "shown.key", "--header", "@shown.fields"])
        .args(["--resolve", &format!("{HOST}:{port}:127.0.0.1")])
        // It would not use keys that are too short, and leave that to nobody else.
        .env("OPENSSL_CONF", "weak.cnf")
        .args(version.of_curl())
        .arg(format!("https://{HOST}:{port}{}", message.target));
    let ended = Program::run_by(&mut command, Stdio::null()).ended().await;
    ended.out.trim().parse().unwrap_or_else(|_| panic!("curl says {:?} and {:?}", ended.out, ended.err))
}

/// A rustls client that shows this certificate, whatever it is, and signs with this key, whosever it is.
pub fn rustls(ground: &Ground, door: Door, version: Version, identity: &Identity) -> Dialer {
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&identity.key).unwrap();
    let shown = SingleCertAndKey::from(CertifiedKey::new(identity.chain.clone(), key));
    let tls = client_tls_in(&[version.of_rustls()]).with_client_cert_resolver(Arc::new(shown));
    Dialer { tls: Some(Arc::new(tls)), ..ground.dialer(door, None) }
}

/// What it is answered; 0: nothing.
pub async fn by_rustls(ground: &Ground, door: Door, version: Version, identity: &Identity, message: &Message) -> u16 {
    rustls(ground, door, version, identity).send(Http::One, message).await.map_or(0, |answer| answer.status)
}

/// `openssl s_client` at this door.
pub fn s_client(ground: &Ground, door: Door, arguments: &[&str], input: Stdio) -> Program {
    let mut command = Command::new("openssl");
    command
        .current_dir(ground.stage.folder.path())
        .args(["s_client", "-connect", &ground.address(door).to_string(), "-CAfile", "servers.pem"])
        .args(["-verify_return_error"])
        .args(arguments);
    if !arguments.contains(&"-servername") {
        command.args(["-servername", HOST]);
    }
    Program::run_by(&mut command, input)
}

/// What became of one connection of `s_client`.
#[derive(Debug)]
pub struct Visit {
    /// Whether a session was resumed; `None`: there was no handshake.
    pub reused: Option<bool>,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// Its `x-request-id`.
    pub request_id: Option<String>,
    /// Everything that it said.
    pub output: String,
}

/// Sends these bytes, and reads until the gateway ends the connection.
pub async fn visit(ground: &Ground, door: Door, arguments: &[&str], bytes: &[u8]) -> Visit {
    let arguments = [&["-ign_eof"], arguments].concat();
    let ended = s_client(ground, door, &arguments, input(ground, bytes).unwrap()).ended().await;
    let output = format!("{}\n{}", ended.out, ended.err);
    let has = |what: &str| output.lines().any(|line| line.starts_with(what));
    let reused = if has("Reused, TLSv1") { Some(true) } else { has("New, TLSv1").then_some(false) };
    let status = output.rsplit_once("HTTP/1.1 ").and_then(|(_, rest)| rest.get(..3)?.parse().ok());
    let request_id = output.lines().find_map(|line| line.strip_prefix("x-request-id: ")).map(|id| id.trim().to_owned());
    Visit { reused, status, request_id, output }
}

/// These bytes as a program's standard input.
fn input(ground: &Ground, bytes: &[u8]) -> io::Result<Stdio> {
    let path = ground.stage.file("input");
    fs::write(&path, bytes)?;
    Ok(fs::File::open(path)?.into())
}
