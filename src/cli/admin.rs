//! What `health` and `explain` ask of a gateway's admin port.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::address::Address;
use super::serve::runtime;

/// What the admin port says is shorter.
const MAX_BYTES: usize = 64 * 1024;

/// Which admin port.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// Where the admin port is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: String,

    /// How long to wait for the whole answer.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl AdminArgs {
    /// The URL of a path there; the path belongs to the question, so the argument has none of its own.
    ///
    /// # Errors
    /// Wrong usage, in words that do not repeat the URL.
    pub fn uri(&self, path: &str) -> Result<Uri, &'static str> {
        const EXPECTED: &str = "the admin port's URL has no path and no query, for example http://127.0.0.1:9090";
        let address = Address::parse(&self.admin)?;
        if address.is_https() {
            return Err("the admin port speaks plain HTTP: the URL must begin with http://");
        }
        let authority = address.uri().authority().filter(|_| address.uri().path() == "/").ok_or(EXPECTED)?;
        if address.uri().query().is_some() {
            return Err(EXPECTED);
        }
        format!("http://{authority}{path}").parse().map_err(|_| EXPECTED)
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// No answer in time.
    pub fn ask(
        &self,
        uri: &Uri,
        accept: &'static str,
        authorization: Option<HeaderValue>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::get(uri).header(header::ACCEPT, accept);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let runtime = runtime()?;
        let answer = runtime.block_on(async { tokio::time::timeout(self.timeout, send(request)).await });
        // A name lookup that hangs must not hold up the exit.
        runtime.shutdown_background();
        let no_answer = || format!("no answer from {uri}");
        answer.map_err(|_| anyhow!("nothing came in time")).flatten().with_context(no_answer)
    }
}

async fn send(request: Request<Empty<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client.request(request).await?;
    let status = answer.status();
    let words = Limited::new(answer.into_body(), MAX_BYTES).collect().await.map_err(|error| anyhow!(error))?;
    Ok((status, words.to_bytes()))
}
