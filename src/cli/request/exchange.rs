//! One call: with a proof, and once more with another proof if the server asks for a nonce.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use keybound::clock::{Clock as _, SystemClock};
use rustls::ClientConfig;
use zeroize::Zeroizing;

use super::challenge::Challenge;
use super::show::Trace;
use super::tls;
use crate::cli::address::Address;
use keybound::prover::{ProofKey, ProofRequest};

static DPOP: HeaderName = HeaderName::from_static("dpop");
static DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// An error document is shorter.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// What is asked, and with which credentials.
pub struct Call {
    /// Where.
    pub address: Address,
    /// How.
    pub method: Method,
    /// Fields of the user, before ours.
    pub headers: HeaderMap,
    /// The content.
    pub body: Bytes,
    /// The access token.
    pub token: Option<Zeroizing<String>>,
    /// Send the token as Bearer, whatever the key.
    pub bearer: bool,
    /// Signs the proof.
    pub key: Option<ProofKey>,
    /// How long to wait for the head of each answer.
    pub timeout: Duration,
}

/// The head of an answer, and its body as far as it was read.
pub struct Answer {
    /// Status and fields.
    pub head: response::Parts,
    read: Bytes,
    rest: Incoming,
}

impl Answer {
    /// The next piece of the body.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        if !self.read.is_empty() {
            return Ok(Some(std::mem::take(&mut self.read)));
        }
        piece(&mut self.rest).await
    }
}

impl Call {
    /// Asks, and answers at most one nonce challenge.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn send(&self, tls: ClientConfig, trace: &Trace) -> anyhow::Result<Answer> {
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let first = self.attempt(&client, None, trace).await?;
        if self.key.is_none() {
            return Ok(first);
        }
        let (answer, nonce) = nonce_wanted(first).await?;
        match nonce {
            None => Ok(answer),
            Some(nonce) => {
                trace.note("the server wants a nonce in the proof; asking once more");
                self.attempt(&client, Some(&nonce), trace).await
            }
        }
    }

    async fn attempt(
        &self,
        client: &Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
        nonce: Option<&str>,
        trace: &Trace,
    ) -> anyhow::Result<Answer> {
        let request = self.request(nonce)?;
        trace.request(&request);
        let url = self.address.htu();
        let answer = tokio::time::timeout(self.timeout, client.request(request)).await;
        let answer = match answer {
            Err(_) => return Err(anyhow!("no answer from {url} within {}", humantime::format_duration(self.timeout))),
            Ok(Err(error)) => {
                let error = anyhow::Error::new(error).context(format!("no answer from {url}"));
                return Err(match tls::hint(&error) {
                    Some(hint) => anyhow!("{error:#}; {hint}"),
                    None => error,
                });
            }
            Ok(Ok(answer)) => answer,
        };
        trace.answer(&answer);
        let (head, rest) = Response::into_parts(answer);
        Ok(Answer { head, read: Bytes::new(), rest })
    }

    fn request(&self, nonce: Option<&str>) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.address.uri().clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        if let Some(token) = &self.token {
            let scheme = if self.key.is_some() && !self.bearer { "DPoP" } else { "Bearer" };
            headers.append(header::AUTHORIZATION, secret(&format!("{scheme} {}", token.as_str()))?);
        }
        if let Some(key) = &self.key {
            let proof = key.prove(&ProofRequest {
                method: self.method.as_str(),
                url: &self.address.htu(),
                token: self.token.as_ref().map(|token| token.as_str()),
                nonce,
                issued_at: SystemClock.now(),
                jti: None,
            })?;
            headers.append(DPOP.clone(), secret(&proof)?);
        }
        Ok(request)
    }
}

fn secret(text: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).context("the credentials do not fit into a header field")?;
    value.set_sensitive(true);
    Ok(value)
}

/// The nonce that the server asks for: in a challenge as resource server (RFC 9449 §9), in an error document as
/// authorization server (§8). Reads no more of the body than that takes.
async fn nonce_wanted(mut answer: Answer) -> anyhow::Result<(Answer, Option<String>)> {
    let mut nonces = answer.head.headers.get_all(&DPOP_NONCE).iter();
    // Several are a mistake of the server, and none of them is more right than the others.
    let (Some(nonce), None) = (nonces.next(), nonces.next()) else { return Ok((answer, None)) };
    let Ok(nonce) = nonce.to_str().map(str::to_owned) else { return Ok((answer, None)) };
    let asks = |error: Option<&str>| error == Some("use_dpop_nonce");
    let wanted = match answer.head.status {
        StatusCode::UNAUTHORIZED => {
            let challenges = Challenge::all(&answer.head.headers);
            challenges.iter().any(|challenge| challenge.is("DPoP") && asks(challenge.parameter("error")))
        }
        StatusCode::BAD_REQUEST => {
            let mut read = BytesMut::new();
            while let Some(data) = piece(&mut answer.rest).await? {
                read.extend_from_slice(&data);
                if read.len() > MAX_ERROR_BYTES {
                    break;
                }
            }
            answer.read = read.freeze();
            let document = serde_json::from_slice::<serde_json::Value>(&answer.read).unwrap_or_default();
            asks(document.get("error").and_then(serde_json::Value::as_str))
        }
        _ => false,
    };
    Ok((answer, wanted.then_some(nonce)))
}

/// The next data of a body; trailers are passed over.
async fn piece(body: &mut Incoming) -> anyhow::Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.context("the answer broke off")?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
