//! Collectors of traces: one that other people wrote, and one in good days and bad ones.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::eventually;
use crate::servers::{free_port, program};
use crate::support::wire::Stream;

/// A span as Rotel prints it.
#[derive(Debug, Clone, Default)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty: it has none.
    pub parent: String,
    pub name: String,
    pub kind: String,
    pub failed: bool,
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, String>,
}

impl Span {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// Rotel, a collector that prints what it receives. Ends with this.
pub struct Rotel {
    port: u16,
    child: Child,
    folder: TempDir,
}

impl Rotel {
    pub async fn start() -> Self {
        let (port, other, folder) = (free_port(), free_port(), tempfile::tempdir().unwrap());
        let out = std::fs::File::create(folder.path().join("out")).unwrap();
        let at = |port: u16| format!("127.0.0.1:{port}");
        let child = Command::new(program("rotel"))
            .args(["start", "--otlp-http-endpoint", &at(port), "--otlp-grpc-endpoint", &at(other)])
            .args(["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--pid-file", "pid", "--log-file", "log"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let mut rotel = Self { port, child, folder };
        eventually("the collector listens", async || {
            assert!(rotel.child.try_wait().unwrap().is_none(), "it ended: {}", rotel.said());
            TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .await;
        rotel
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out")).unwrap()
    }

    /// The spans of the request with this id, the server's first.
    pub async fn spans_of(&self, request_id: &str) -> Vec<Span> {
        eventually("the spans of a request", async || self.said().contains(request_id).then_some(())).await;
        // They come together and are printed in the order of their coming: what is sent now comes behind them.
        let mark = format!("behind {request_id}");
        self.send(&mark);
        eventually("a span of our own", async || self.said().contains(&mark).then_some(())).await;
        let spans = spans(&self.said());
        let server =
            spans.iter().find(|span| span.attribute("keybound.request_id") == Some(request_id)).unwrap().clone();
        let children: Vec<_> = spans.into_iter().filter(|span| span.parent == server.id).collect();
        [vec![server], children].concat()
    }

    /// Sends a span of this name.
    fn send(&self, name: &str) {
        let span = json!({"traceId": "1".repeat(32), "spanId": "1".repeat(16), "name": name});
        let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).to_string();
        let head =
            "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n";
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads what Rotel prints.
fn spans(said: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for line in said.lines() {
        // A resource has attributes too.
        if line.starts_with("Span #") || line.starts_with("ResourceSpans #") {
            spans.push(Span::default());
        }
        let Some(span) = spans.last_mut() else { continue };
        if let Some(attribute) = line.trim_start().strip_prefix("-> ") {
            let (name, value) = attribute.split_once(": ").unwrap();
            let value = value.split_once('(').map_or(value, |(_, value)| value.trim_end_matches(')'));
            span.attributes.insert(name.to_owned(), value.to_owned());
            continue;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim().to_owned();
        match name.trim() {
            "Trace ID" => span.trace = value,
            "Parent ID" => span.parent = value,
            "ID" => span.id = value,
            "Name" => span.name = value,
            "Kind" => span.kind = value,
            "Status code" => span.failed = value == "STATUS_CODE_ERROR",
            "Start time" => span.start = value.parse().unwrap(),
            "End time" => span.end = value.parse().unwrap(),
            _ => {}
        }
    }
    spans.retain(|span| !span.id.is_empty());
    spans
}

/// How a collector behaves.
#[derive(Debug, Clone, Copy)]
pub enum Mood {
    Takes,
    /// Answers with this status.
    Fails(StatusCode),
    /// Takes all but so many spans.
    Rejects(i64),
    /// Accepts and says nothing.
    Hangs,
}

/// What one request brought.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    /// The names of its spans, the service's before each.
    pub fn names(&self) -> Vec<String> {
        let request = ExportTraceServiceRequest::decode(self.body.clone()).unwrap();
        let mut names = Vec::new();
        for resource in request.resource_spans {
            let service = resource.resource.unwrap().attributes.remove(0).value.unwrap().value.unwrap();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            names.extend(spans.map(|span| format!("{service:?} {}", span.name)));
        }
        names
    }
}

/// A collector that keeps what it receives, whatever it answers.
pub struct Collector {
    pub address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Collector {
    pub async fn start(mood: Mood) -> Self {
        Self::start_behind(None, mood).await
    }

    /// One that speaks TLS with this certificate.
    pub async fn start_with(certificate: &[u8], key: &[u8], mood: Mood) -> Self {
        let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        Self::start_behind(Some(TlsAcceptor::from(Arc::new(config))), mood).await
    }

    async fn start_behind(tls: Option<TlsAcceptor>, mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mood, received) = (Arc::new(Mutex::new(mood)), Arc::<Mutex<Vec<Received>>>::default());
        let task = tokio::spawn(serve(listener, tls, Arc::clone(&mood), Arc::clone(&received)));
        Self { address, mood, received, task }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on.
    pub fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The names of all spans so far.
    pub fn names(&self) -> Vec<String> {
        self.received().iter().flat_map(Received::names).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mood: Arc<Mutex<Mood>>,
    received: Arc<Mutex<Vec<Received>>>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (tls, mood, received) = (tls.clone(), Arc::clone(&mood), Arc::clone(&received));
        tokio::spawn(async move {
            let stream: Box<dyn Stream> = match tls {
                None => Box::new(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => return,
                },
            };
            let service = service_fn(move |request: Request<Incoming>| {
                let (mood, received) = (*mood.lock().unwrap(), Arc::clone(&received));
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let path = parts.uri.path().to_owned();
                    received.lock().unwrap().push(Received { path, headers: parts.headers, body });
                    Ok::<_, Infallible>(answer(mood).await)
                }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(mood: Mood) -> Response<Full<Bytes>> {
    let (status, rejected_spans) = match mood {
        Mood::Takes => (StatusCode::OK, 0),
        Mood::Fails(status) => (status, 0),
        Mood::Rejects(spans) => (StatusCode::OK, spans),
        Mood::Hangs => pending().await,
    };
    let partial = ExportTracePartialSuccess { rejected_spans, error_message: String::new() };
    let partial_success = (rejected_spans > 0).then_some(partial);
    let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
    Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap()
}
