//! An issuer's web server on a loopback port, for this station's tests.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RsaKeyPair};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::verify::base64url;

/// What the server does with a request.
#[derive(Clone)]
pub(super) enum Answer {
    /// Writes these bytes and closes.
    Bytes(String),
    /// The same, later.
    Late(Duration, String),
    /// Writes these bytes and neither more nor closes.
    Stuck(String),
    /// Writes a head and then a body without end.
    Endless,
}

impl Answer {
    pub(super) fn json(value: &Value) -> Self {
        Self::Bytes(ok(&value.to_string()))
    }

    pub(super) fn jwks(keys: &[Value]) -> Self {
        Self::json(&json!({ "keys": keys }))
    }

    pub(super) fn status(line: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n"))
    }
}

/// A 200 with this body.
pub(super) fn ok(body: &str) -> String {
    with_fields("", body)
}

/// A 200 with these field lines, each ended by CRLF, and this body.
pub(super) fn with_fields(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// The server. It stops when it is dropped.
pub(super) struct TestIssuer {
    address: SocketAddr,
    scheme: &'static str,
    script: Arc<Script>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Script {
    answers: Mutex<HashMap<String, Answer>>,
    asked: Mutex<Vec<String>>,
}

impl TestIssuer {
    pub(super) async fn start() -> Self {
        Self::listen(None).await
    }

    /// Over TLS, with the roots to trust it by.
    pub(super) async fn start_tls() -> (Self, Arc<RootCertStore>) {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        (Self::listen(Some(TlsAcceptor::from(Arc::new(config)))).await, Arc::new(roots))
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, script) = (listener.local_addr().unwrap(), Arc::<Script>::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut tasks = JoinSet::new();
        let served = Arc::clone(&script);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (tls, script) = (tls.clone(), Arc::clone(&served));
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, &script).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &script).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme, script, _tasks: tasks }
    }

    /// Its own name.
    pub(super) fn name(&self) -> String {
        self.url("")
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub(super) fn answer(&self, path: &str, answer: Answer) -> &Self {
        self.script.answers.lock().unwrap().insert(path.to_owned(), answer);
        self
    }

    /// Publishes metadata for `issuer` at `path`.
    pub(super) fn metadata(&self, path: &str, issuer: &str) -> &Self {
        self.answer(path, Answer::json(&json!({ "issuer": issuer, "jwks_uri": self.url("/jwks") })))
    }

    /// The paths that were asked for since the last call.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.script.asked.lock().unwrap())
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: &Script) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    script.asked.lock().unwrap().push(path.clone());
    let answer = script.answers.lock().unwrap().get(&path).cloned();
    match answer.unwrap_or_else(|| Answer::status("404 Not Found")) {
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Answer::Late(pause, bytes) => {
            tokio::time::sleep(pause).await;
            let _ = stream.write_all(bytes.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Answer::Stuck(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            std::future::pending::<()>().await;
        }
        Answer::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{").await;
            while stream.write_all(&[b' '; 4096]).await.is_ok() {}
        }
    }
}

/// A fresh P-256 key for ES256.
pub(super) fn ec(kid: &str) -> Value {
    let keys = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = keys.public_key().as_ref();
    let coordinate = |range: std::ops::Range<usize>| base64url::encode(&point[range]);
    json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": coordinate(1..33), "y": coordinate(33..65)})
}

/// A fresh RSA key of 2048 bits.
pub(super) fn rsa(kid: &str) -> Value {
    let keys = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let part = |bytes: &[u8]| base64url::encode(bytes);
    let (n, e) = (keys.public_key().modulus(), keys.public_key().exponent());
    json!({
        "kty": "RSA", "kid": kid,
        "n": part(n.big_endian_without_leading_zero()), "e": part(e.big_endian_without_leading_zero()),
    })
}

/// The same key with one member set.
pub(super) fn with(mut jwk: Value, member: &str, value: Value) -> Value {
    jwk[member] = value;
    jwk
}
