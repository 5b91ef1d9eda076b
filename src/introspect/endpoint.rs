//! One question over HTTP (RFC 7662 §2.1): a POST with the token in its body, and who asks.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use form_urlencoded::{Serializer, byte_serialize};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::settings::{AnswerForm, ClientAuthentication, IntrospectionSettings};
use crate::keys::fetch::{self, Place};
use crate::keys::{KeySource, LoadError};
use crate::time::UnixTime;

/// No answer about one token is longer.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How long a connection is kept for the next question; less than servers keep them.
const IDLE: Duration = Duration::from_secs(4);

/// Where and as whom to ask.
pub(super) struct Endpoint {
    uri: Uri,
    form: AnswerForm,
    timeout: Duration,
    issuer: String,
    client_id: String,
    proof: Proof,
    /// As configured; `None`: the system's.
    roots: Option<Arc<RootCertStore>>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What goes along to show who asks.
enum Proof {
    /// In `Authorization`.
    Basic(Zeroizing<String>),
    /// In the TLS handshake.
    Certificate,
    /// In the body.
    Assertion { key: Box<crate::prover::ProofKey>, kid: Option<String> },
}

impl Endpoint {
    pub(super) fn new(settings: IntrospectionSettings) -> Result<Self, rustls::Error> {
        let is_https = settings.endpoint.scheme_str() == Some("https");
        let roots = match &settings.roots {
            Some(roots) => Arc::clone(roots),
            None if is_https => Arc::new(fetch::system_roots()),
            None => Arc::new(RootCertStore::empty()),
        };
        let mut tls = fetch::tls_config(roots)?;
        let proof = match settings.authentication {
            ClientAuthentication::Secret(secret) => Proof::Basic(basic(&settings.client_id, &secret)),
            ClientAuthentication::Certificate(certificate) => {
                tls.client_auth_cert_resolver = certificate;
                Proof::Certificate
            }
            ClientAuthentication::Assertion { key, kid } => Proof::Assertion { key, kid },
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.concurrency)
            .build(fetch::connector(tls, settings.timeout));
        Ok(Self {
            uri: settings.endpoint,
            form: settings.form,
            timeout: settings.timeout,
            issuer: settings.issuer,
            client_id: settings.client_id,
            proof,
            roots: settings.roots,
            client,
        })
    }

    /// Whether both ask the same place as the same client, recognize it by the same authorities, and want the same kind of
    /// answer.
    pub(super) fn is_asked_like(&self, other: &Self) -> bool {
        self.uri == other.uri
            && self.form == other.form
            && self.client_id == other.client_id
            && fetch::same_roots(self.roots.as_ref(), other.roots.as_ref())
    }

    /// Whether these settings say what it was told, secrets aside.
    pub(super) fn is_told(&self, settings: &IntrospectionSettings) -> bool {
        self.uri == settings.endpoint
            && self.form == settings.form
            && self.client_id == settings.client_id
            && self.timeout == settings.timeout
            && fetch::same_roots(self.roots.as_ref(), settings.roots.as_ref())
    }

    pub(super) fn place(&self) -> Place {
        Place::of(&self.uri)
    }

    pub(super) const fn form(&self) -> AnswerForm {
        self.form
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn too_slow(&self) -> Failure {
        LoadError::TooSlow { place: self.place(), limit: self.timeout }.into()
    }

    /// Asks about one token. What comes back is a success of the right type and size; nobody looked into it yet.
    pub(super) async fn ask(&self, token: &str, now: UnixTime) -> Result<Bytes, Failure> {
        KeySource::check_uri(&self.uri).map_err(|expected| LoadError::Place { place: self.place(), expected })?;
        let response = match self.client.request(self.question(token, now)?).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(fetch::unreachable(&self.uri, &error).into()),
            // A kept connection that the server was just closing looks like this. Asking twice changes nothing.
            Err(_) => {
                let again = self.client.request(self.question(token, now)?).await;
                again.map_err(|error| fetch::unreachable(&self.uri, &error))?
            }
        };
        if response.status() == http::StatusCode::OK {
            self.accept_type(&response)?;
        }
        Ok(fetch::body(&self.uri, response, MAX_ANSWER_BYTES).await?)
    }

    fn question(&self, token: &str, now: UnixTime) -> Result<Request<Full<Bytes>>, Failure> {
        let mut form = Serializer::new(String::new());
        form.append_pair("token", token).append_pair("token_type_hint", "access_token");
        let mut headers = HeaderMap::new();
        match &self.proof {
            Proof::Basic(credentials) => {
                let mut value = HeaderValue::try_from(credentials.as_str()).map_err(|error| self.unsendable(&error))?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            // RFC 8705 §2: who asks is looked up by its id, then recognized by its certificate.
            Proof::Certificate => drop(form.append_pair("client_id", &self.client_id)),
            Proof::Assertion { key, kid } => {
                let assertion = key.assert(&self.client_id, &self.issuer, kid.as_deref(), now)?;
                form.append_pair("client_id", &self.client_id)
                    .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                    .append_pair("client_assertion", &assertion);
            }
        }
        headers.insert(ACCEPT, HeaderValue::from_static(self.form.media_type()));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(USER_AGENT, HeaderValue::from_static(fetch::AGENT));
        let request = Request::post(&self.uri).body(Full::from(form.finish()));
        let mut request = request.map_err(|error| self.unsendable(&error))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn unsendable(&self, error: &dyn Error) -> Failure {
        fetch::unreachable(&self.uri, error).into()
    }

    fn accept_type(&self, response: &Response<Incoming>) -> Result<(), LoadError> {
        let field = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let found = field.split(';').next().unwrap_or_default().trim();
        if found.eq_ignore_ascii_case(self.form.media_type()) {
            return Ok(());
        }
        let expected = match self.form {
            AnswerForm::Json => "Content-Type application/json",
            AnswerForm::Jwt => "Content-Type application/token-introspection+jwt (a signed answer, RFC 9701)",
        };
        let found = if found.is_empty() { "none".to_owned() } else { crate::refusal::shown(found) };
        Err(LoadError::Content { place: self.place().to_string(), expected, found })
    }
}

/// RFC 6749 §2.3.1: both are form-encoded before they are joined.
fn basic(client_id: &str, secret: &[u8]) -> Zeroizing<String> {
    let mut pair = Zeroizing::new(String::with_capacity(3 * (client_id.len() + secret.len()) + 1));
    pair.extend(byte_serialize(client_id.as_bytes()));
    pair.push(':');
    pair.extend(byte_serialize(secret));
    let mut credentials = Zeroizing::new(String::with_capacity(6 + 4 * pair.len().div_ceil(3)));
    credentials.push_str("Basic ");
    STANDARD.encode_string(pair.as_bytes(), &mut credentials);
    credentials
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_and_secret_are_encoded_before_they_are_joined() {
        // RFC 6749 §2.3.1 has this pair, which needs no encoding.
        assert_eq!(
            basic("s6BhdRkqt3", b"7Fjfp0ZBr1KtDRbnfVdmIw").as_str(),
            "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"
        );
        let decoded = STANDARD.decode(&basic("a:b", "c d%+é".as_bytes())["Basic ".len()..]).unwrap();
        assert_eq!(decoded, b"a%3Ab:c+d%25%2B%C3%A9");
    }

    #[tokio::test]
    async fn what_others_vouch_for_is_another_endpoint() {
        let authority = rcgen::generate_simple_self_signed(["as.example".to_owned()]).unwrap();
        let (none, mut one) = (RootCertStore::empty(), RootCertStore::empty());
        one.add(authority.cert.der().clone()).unwrap();
        let settings = |roots: &RootCertStore| {
            let secret = ClientAuthentication::Secret(b"hush".to_vec().into());
            let uri = Uri::from_static("https://as.example/introspect");
            let roots = Some(Arc::new(roots.clone()));
            IntrospectionSettings { roots, ..IntrospectionSettings::new("https://as.example", uri, "api", secret) }
        };
        let endpoint = |roots: &RootCertStore| Endpoint::new(settings(roots)).unwrap();
        assert!(endpoint(&one).is_asked_like(&endpoint(&one)) && endpoint(&one).is_told(&settings(&one)));
        assert!(!endpoint(&one).is_asked_like(&endpoint(&none)) && !endpoint(&one).is_told(&settings(&none)));
    }
}
