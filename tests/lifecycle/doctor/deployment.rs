//! A deployment with everything that the doctor looks at: an authorization server and an API behind TLS, a Redis that wants a
//! password, and certificates of an authority of their own.

use std::convert::Infallible;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose,
};
use rcgen::{IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::process::{Ended, Program};
use crate::servers::Redis;
use crate::stage::now;
use crate::support::jwks_of;
use crate::support::keys::Key;

pub const INTROSPECTION_SECRET: &str = "introspection-secret-77f2";
pub const REDIS_PASSWORD: &str = "redis-password-9a31";

/// Days of validity that nobody has to worry about.
pub const LONG: i64 = 90;

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names, whose validity began a year ago and ends in so many days; and its key.
    pub fn issue(&self, names: &[&str], days: i64) -> (String, String) {
        self.issue_for(names, days, &[])
    }

    /// The same, for these uses alone.
    pub fn issue_for(&self, names: &[&str], days: i64, uses: &[ExtendedKeyUsagePurpose]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = uses.to_vec();
        let at = |days: i64| {
            let seconds = u64::try_from(now() + days * 86_400).unwrap();
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
        };
        // An hour more, so that the number of days stays while a test runs.
        (params.not_before, params.not_after) = (at(-365), at(days) + Duration::from_secs(3600));
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// A revocation list that is good until the first day of a year.
    pub fn revocation_list(&self, until: i32) -> String {
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

/// What the server says; a test may change it.
#[derive(Clone)]
pub struct Says {
    pub issuer: String,
    pub keys: Value,
    /// Seconds that its clock is ahead.
    pub ahead: i64,
    pub introspection: StatusCode,
    /// Of a token that nobody issued.
    pub active: bool,
    pub health: StatusCode,
}

/// An authorization server, and an API behind the same port. It ends with this.
pub struct TlsServer {
    pub port: u16,
    pub says: Arc<Mutex<Says>>,
    task: JoinHandle<()>,
}

impl TlsServer {
    pub async fn start((certificate, key): &(String, String)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let tls = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let says = Says {
            issuer: format!("https://localhost:{port}"),
            keys: jwks_of(&[("k1", &Key::es256())]),
            ahead: 0,
            introspection: StatusCode::OK,
            active: false,
            health: StatusCode::OK,
        };
        let says = Arc::new(Mutex::new(says));
        let task = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), Arc::clone(&says)));
        Self { port, says, task }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, says: Arc<Mutex<Says>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (acceptor, says) = (acceptor.clone(), Arc::clone(&says));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let says = says.lock().unwrap().clone();
                async move { Ok::<_, Infallible>(answer(request, &says).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, says: &Says) -> Response<Full<Bytes>> {
    let host = request.headers()[header::HOST].to_str().unwrap().to_owned();
    let (status, body) = match request.uri().path() {
        "/.well-known/oauth-authorization-server" => {
            (StatusCode::OK, json!({"issuer": says.issuer, "jwks_uri": format!("https://{host}/jwks")}))
        }
        "/jwks" => (StatusCode::OK, says.keys.clone()),
        "/introspect" => {
            let asked = request.into_body().collect().await.unwrap().to_bytes();
            assert!(asked.starts_with(b"token=keybound-doctor"), "{asked:?}");
            (says.introspection, json!({"active": says.active}))
        }
        "/healthz" => (says.health, json!({})),
        _ => (StatusCode::NOT_FOUND, json!({})),
    };
    let seconds = u64::try_from(now() + says.ahead).unwrap();
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(seconds));
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    response.header(header::DATE, date).body(Full::from(body.to_string())).unwrap()
}

/// All parts, and their configuration.
pub struct Deployment {
    pub folder: TempDir,
    pub authority: Authority,
    pub server: TlsServer,
    pub redis: Redis,
}

impl Deployment {
    pub async fn start() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("deployment authority"));
        let server = TlsServer::start(&authority.issue(&["localhost"], LONG)).await;
        let redis = Redis::with(&["--requirepass", REDIS_PASSWORD]).await;
        let deployment = Self { folder, authority, server, redis };
        deployment.repair();
        deployment
    }

    /// Writes every file as it should be.
    pub fn repair(&self) {
        let (certificate, key) = self.authority.issue(&["api.example.com"], LONG);
        self.write("ca.pem", &self.authority.pem());
        self.write("tls.crt", &format!("{certificate}{}", self.authority.pem()));
        self.write("tls.key", &key);
        self.write("clients.crl", &self.authority.revocation_list(2100));
        self.write("introspection.secret", INTROSPECTION_SECRET);
        self.write("redis.password", REDIS_PASSWORD);
        self.configure(&[]);
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Writes the configuration with each of these put in the place of what is right.
    pub fn configure(&self, changes: &[(&str, &str)]) {
        let mut text = format!(
            "
listeners:
  - address: 127.0.0.1:0
    public_url: https://api.example.com
    tls:
      certificate_file: tls.crt
      key_file: tls.key
      client_certificates: {{ mode: request, trust: {{ ca_file: ca.pem, crl_files: [clients.crl] }} }}
issuers:
  - issuer: https://localhost:{server}
    audiences: [https://api.example.com]
    ca_file: ca.pem
    introspection: {{ endpoint: 'https://localhost:{server}/introspect', client_id: gateway, client_secret_file: introspection.secret }}
replicas: 2
replay:
  store: redis
  redis: {{ urls: ['redis://127.0.0.1:{redis}'], password_file: redis.password }}
upstreams:
  orders:
    endpoints: ['https://localhost:{server}']
    tls: {{ ca_file: ca.pem }}
    health_check: {{ path: /healthz }}
routes: [{{ upstream: orders, access: {{ bindings: [dpop] }} }}]
",
            server = self.server.port,
            redis = self.redis.port,
        );
        for (from, to) in changes {
            assert!(text.contains(from), "{from} in {text}");
            text = text.replace(from, to);
        }
        self.write("keybound.yaml", &text);
    }

    pub async fn doctor(&self, more: &[&str]) -> Ended {
        let ended = Program::run(self.folder.path(), &[&["doctor", "--config", "keybound.yaml"], more].concat()).await;
        for secret in [INTROSPECTION_SECRET, REDIS_PASSWORD, "PRIVATE KEY"] {
            assert!(!ended.out.contains(secret) && !ended.err.contains(secret), "{ended:?}");
        }
        ended
    }
}

/// The lines of one level.
pub fn level<'o>(out: &'o str, level: &str) -> Vec<&'o str> {
    let lines = out.lines().filter_map(|line| line.strip_prefix("  "));
    lines.filter_map(|line| line.strip_prefix(level)).map(str::trim_start).collect()
}
