//! Gets one small JSON document over HTTP: nothing but status 200, no redirects, bounded in time and size.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AGE, CACHE_CONTROL, CONTENT_ENCODING, DATE, LOCATION, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

use super::{KeySource, LoadError};
use crate::time::UnixTime;

/// Bounds on one fetch.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the TCP connection.
    pub connect: Duration,
    /// For everything together.
    pub total: Duration,
    /// Of the answer's body.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), total: Duration::from_secs(10), bytes: super::file::MAX_BYTES }
    }
}

/// TLS as a client: our crypto provider named explicitly, TLS 1.2 and 1.3, no client certificate.
///
/// # Errors
/// When the provider cannot serve these versions.
pub fn tls_config(roots: impl Into<Arc<RootCertStore>>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Connects to `https` and `http` URLs, HTTP/1.1. `tls` must not name protocols of its own (ALPN).
pub fn connector(tls: ClientConfig, connect_timeout: Duration) -> HttpsConnector<HttpConnector> {
    let mut tcp = HttpConnector::new();
    // Otherwise it refuses https URLs; what may be asked over http is the caller's business.
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(connect_timeout));
    tcp.set_nodelay(true);
    HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp)
}

/// Whether both stand for the same authorities, wherever they are kept; `None`: the system's.
pub fn same_roots(one: Option<&Arc<RootCertStore>>, other: Option<&Arc<RootCertStore>>) -> bool {
    one.map(|roots| &roots.roots) == other.map(|roots| &roots.roots)
}

/// The certificate authorities that this system trusts. Unreadable ones are left out with a warning.
pub fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a system certificate could not be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!("this system has no trusted certificates; https needs a ca_file");
    }
    roots
}

/// An address without its query, which may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// The address as it may be logged.
    pub fn of(uri: &Uri) -> Self {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        let text = match uri.scheme_str() {
            Some(scheme) => format!("{scheme}://{host}{}", uri.path()),
            None => format!("{host}{}", uri.path()),
        };
        Self(text.chars().take(300).flat_map(char::escape_debug).collect())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A document, and how long its publisher thinks it stays good.
#[derive(Debug)]
pub struct Fetched {
    /// The bytes. They begin like a JSON object.
    pub body: Bytes,
    /// From `Cache-Control` and `Age` (RFC 9111 §4.2).
    pub fresh_for: Option<Duration>,
    /// What time it was there: `Date`, and `Age` where a cache answered (RFC 9110 §6.6.1, RFC 9111 §5.1).
    pub date: Option<UnixTime>,
}

/// A client for fetching keys. It keeps no connections: between two fetches lie minutes.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    limits: Limits,
}

impl HttpClient {
    /// Trusts `roots`.
    ///
    /// # Errors
    /// Those of [`tls_config`].
    pub fn new(roots: Arc<RootCertStore>, limits: Limits) -> Result<Self, rustls::Error> {
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .build(connector(tls_config(roots)?, limits.connect));
        Ok(Self { client, limits })
    }

    /// Gets a JSON object. Looks at its first byte only.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn get(&self, uri: &Uri) -> Result<Fetched, LoadError> {
        let place = || Place::of(uri);
        KeySource::check_uri(uri).map_err(|expected| LoadError::Place { place: place(), expected })?;
        match tokio::time::timeout(self.limits.total, self.exchange(uri)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(LoadError::TooSlow { place: place(), limit: self.limits.total }),
        }
    }

    async fn exchange(&self, uri: &Uri) -> Result<Fetched, LoadError> {
        let request = Request::get(uri)
            .header(ACCEPT, "application/json, application/jwk-set+json")
            .header(USER_AGENT, AGENT)
            .body(Empty::new())
            .map_err(|error| unreachable(uri, &error))?;
        let response = self.client.request(request).await.map_err(|error| unreachable(uri, &error))?;
        let (fresh_for, date) = (fresh_for(response.headers()), date(response.headers()));
        let body = body(uri, response, self.limits.bytes).await?;
        accept_start(&Place::of(uri).to_string(), &body)?;
        Ok(Fetched { body, fresh_for, date })
    }
}

/// How the gateway calls itself.
pub const AGENT: &str = concat!("keybound/", env!("CARGO_PKG_VERSION"));

/// No answer came from there.
pub fn unreachable(uri: &Uri, error: &dyn Error) -> LoadError {
    LoadError::Unreachable { place: Place::of(uri), why: in_words(error) }
}

/// What an answer holds, if it is nothing but a plain success of at most `limit` bytes.
///
/// # Errors
/// [`LoadError`]
pub async fn body(uri: &Uri, response: Response<Incoming>, limit: usize) -> Result<Bytes, LoadError> {
    accept_status(uri, &response)?;
    accept_encoding(uri, response.headers())?;
    match Limited::new(response.into_body(), limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(LoadError::TooLarge { place: Place::of(uri).to_string(), limit })
        }
        Err(error) => Err(unreachable(uri, error.as_ref())),
    }
}

fn accept_status(uri: &Uri, response: &Response<Incoming>) -> Result<(), LoadError> {
    let (place, status) = (Place::of(uri), response.status());
    if status == StatusCode::OK {
        return Ok(());
    }
    if status.is_redirection() {
        let to = response.headers().get(LOCATION).and_then(|to| Uri::try_from(to.as_bytes()).ok());
        return Err(LoadError::Redirected { place, status: status.as_u16(), to: to.as_ref().map(Place::of) });
    }
    Err(LoadError::Status { place, status: status.as_u16() })
}

fn accept_encoding(uri: &Uri, headers: &HeaderMap) -> Result<(), LoadError> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => Err(LoadError::Content {
            place: Place::of(uri).to_string(),
            expected: "an answer without Content-Encoding, as none was asked for",
            found: String::from_utf8_lossy(encoding.as_bytes()).chars().take(20).flat_map(char::escape_debug).collect(),
        }),
        _ => Ok(()),
    }
}

/// Whether a document begins like a JSON object, so that a login page is called what it is.
pub(super) fn accept_start(place: &str, document: &[u8]) -> Result<(), LoadError> {
    let found = match document.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => return Ok(()),
        Some(b'<') => "an HTML or XML page",
        Some(0xEF) => "a byte order mark or other text",
        Some(_) => "something else",
        None => "nothing",
    };
    Err(LoadError::Content { place: place.to_owned(), expected: "a JSON object", found: found.to_owned() })
}

fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let mut max_age = None;
    for directive in
        headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','))
    {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return None,
            "max-age" => max_age = value.trim().trim_matches('"').parse::<u64>().ok(),
            _ => {}
        }
    }
    max_age.map(|seconds| Duration::from_secs(seconds.saturating_sub(age(headers))))
}

/// In seconds.
fn age(headers: &HeaderMap) -> u64 {
    headers.get(AGE).and_then(|age| age.to_str().ok()).and_then(|age| age.trim().parse().ok()).unwrap_or(0)
}

fn date(headers: &HeaderMap) -> Option<UnixTime> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(UnixTime::from_secs(i64::try_from(since.as_secs()).ok()?) + Duration::from_secs(age(headers)))
}

/// An error with its causes: a client's own text rarely says more than that it failed.
fn in_words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
