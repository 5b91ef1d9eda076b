//! One POST to the collector (OTLP/HTTP with Protobuf).

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::uri::Scheme;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use rustls::RootCertStore;
use tokio::time::timeout;

use super::settings::TraceSettings;
use crate::keys::fetch::{AGENT, connector, system_roots, tls_config};

/// For the TCP connection.
const CONNECT: Duration = Duration::from_secs(2);

/// For everything together.
const TOTAL: Duration = Duration::from_secs(5);

/// Of the answer's body.
const ANSWER_BYTES: usize = 64 * 1024;

/// Why a batch did not arrive. In words of our own: what a collector answers could hold what it was sent.
pub enum Failure {
    /// It may do so in a moment.
    Passing(String),
    /// It never will.
    Lasting(String),
}

/// A collector. Connections are kept between two batches.
pub struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Collector {
    pub fn new(settings: &TraceSettings) -> Result<Self, rustls::Error> {
        let encrypted = settings.endpoint.scheme() == Some(&Scheme::HTTPS);
        let roots = if encrypted { system_roots() } else { RootCertStore::empty() };
        let client = Client::builder(TokioExecutor::new()).build(connector(tls_config(roots)?, CONNECT));
        Ok(Self { client, endpoint: settings.endpoint.clone(), headers: settings.headers.clone() })
    }

    /// Offers a batch. How many of its spans were rejected.
    pub async fn post(&self, body: Bytes) -> Result<u64, Failure> {
        let outcome = timeout(TOTAL, self.exchange(body)).await;
        outcome.unwrap_or_else(|_| Err(Failure::Passing(format!("no answer within {} s", TOTAL.as_secs()))))
    }

    async fn exchange(&self, body: Bytes) -> Result<u64, Failure> {
        let mut request = Request::post(&self.endpoint)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, AGENT)
            .body(Full::new(body))
            .map_err(|error| Failure::Lasting(error.to_string()))?;
        request.headers_mut().extend(self.headers.iter().cloned());
        let answer = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        match answer.status() {
            StatusCode::OK => {}
            // OTLP 1.9, "Failures": these and no others.
            status @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => return Err(Failure::Passing(format!("status {}", status.as_u16()))),
            status => return Err(Failure::Lasting(format!("status {}", status.as_u16()))),
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        // It took them, whatever else it said.
        let said = body.ok().and_then(|body| ExportTraceServiceResponse::decode(body.to_bytes()).ok());
        let rejected = said.and_then(|said| said.partial_success).map_or(0, |partial| partial.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or_default())
    }
}

/// The innermost cause: an address or an errno, never a part of a message.
fn unreachable(error: &(dyn Error + 'static)) -> Failure {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    Failure::Passing(innermost.to_string())
}
