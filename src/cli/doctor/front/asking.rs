//! Requests of a stranger, and whose answer it is that comes back.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, SERVER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use keybound::keys::fetch::{self, AGENT};
use rustls::ClientConfig;

use crate::cli::address::Address;

/// Keybound's own answers are shorter.
const MAX_BYTES: usize = 64 * 1024;

/// A field of a request.
pub type Field = (HeaderName, HeaderValue);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Whether it was Keybound that refused the request: the problem has an id in its form.
    pub is_keybounds: bool,
    /// The OAuth error code in the problem.
    pub error: Option<String>,
}

impl Answer {
    /// Whose answer it is, for people.
    pub fn described(&self) -> String {
        let status = self.status;
        if self.is_keybounds {
            return format!("status {status} of Keybound");
        }
        let server = self.headers.get(SERVER).and_then(|server| server.to_str().ok());
        let server = server.map(|server| format!(" ({})", keybound::refusal::shown(server)));
        format!("status {status} of something else{}", server.unwrap_or_default())
    }

    /// Whether it says that credentials are missing, or wrong.
    pub fn is_refusal(&self) -> bool {
        self.is_keybounds && self.status == 401
    }
}

/// Asks, one connection a request.
pub struct Asker {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    origin: String,
    method: Method,
    patience: Duration,
}

impl Asker {
    pub fn new(address: &Address, method: Method, tls: ClientConfig, patience: Duration) -> Self {
        let connector = fetch::connector(tls, patience);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        let scheme = if address.is_https() { "https" } else { "http" };
        let authority = address.uri().authority().map_or("", |authority| authority.as_str());
        Self { client, origin: format!("{scheme}://{authority}"), method, patience }
    }

    /// One request.
    ///
    /// # Errors
    /// There was no answer, in words.
    pub async fn ask(&self, path: &str, fields: &[Field]) -> Result<Answer, String> {
        let asked = tokio::time::timeout(self.patience, self.exchange(path, fields)).await;
        let late = || format!("no answer within {}", humantime::format_duration(self.patience));
        asked.map_err(|_| late())?.map_err(|error| format!("{error:#}"))
    }

    async fn exchange(&self, path: &str, fields: &[Field]) -> anyhow::Result<Answer> {
        let uri = format!("{}{path}", self.origin);
        let mut request = Request::builder().method(self.method.clone()).uri(uri).body(Empty::new())?;
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        for (name, value) in fields {
            request.headers_mut().append(name, value.clone());
        }
        let (head, body) = self.client.request(request).await?.into_parts();
        let is_problem = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
        let mut problem = serde_json::Value::Null;
        // A stream of the API may have no end.
        if is_problem {
            let body = Limited::new(body, MAX_BYTES).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!(error)).context("the answer broke off")?.to_bytes();
            problem = serde_json::from_slice(&body).unwrap_or_default();
        }
        let error = problem.get("error").and_then(serde_json::Value::as_str).map(str::to_owned);
        let is_keybounds = is_keybounds(&problem);
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, is_keybounds, error })
    }
}

/// Whether a problem has a request id in the form that Keybound gives. A proxy may have put one of its own into the head.
fn is_keybounds(problem: &serde_json::Value) -> bool {
    let id = problem.get("request_id").and_then(serde_json::Value::as_str).unwrap_or_default();
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    id.split_once('-').is_some_and(|(giver, number)| giver.len() == 16 && is_hex(giver) && is_hex(number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_of_keybound_is_told_from_others() {
        assert!(is_keybounds(&json!({"request_id": "d45ef4ecb1bfef3b-1"})));
        for other in [json!(null), json!({}), json!({"request_id": "7"}), json!({"request_id": "d45ef4ecb1bfef3b-"})] {
            assert!(!is_keybounds(&other), "{other}");
        }
    }
}
