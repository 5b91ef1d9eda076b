//! What `health` and `explain` ask of a gateway's admin port.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::Args;
use http::uri::Authority;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use keybound::accept;
use tokio::net::UnixStream;

use super::address::Address;
use super::serve::runtime;
use super::{duration, usage};

/// What the admin port says is shorter.
const MAX_BYTES: usize = 64 * 1024;

/// Which admin port.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// Where the admin port is: its URL, or `unix:` and the path of its socket.
    #[arg(long, value_name = "ADDRESS", default_value = "http://127.0.0.1:9090")]
    admin: String,

    /// How long to wait for the whole answer.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    timeout: Duration,
}

/// A path of an admin port.
pub struct Question {
    port: AdminPort,
    path: String,
}

/// Whom to ask. Paths belong to the questions.
enum AdminPort {
    Network(Authority),
    Unix(PathBuf),
}

impl AdminArgs {
    /// The question for a path there; the argument has none of its own.
    ///
    /// # Errors
    /// Wrong usage of `verb`, in words that do not repeat the URL.
    pub fn question(&self, verb: &str, path: &str) -> anyhow::Result<Question> {
        let port = AdminPort::parse(&self.admin).map_err(|message| usage(verb, format!("--admin: {message}")))?;
        Ok(Question { port, path: path.to_owned() })
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// No answer in time.
    pub fn ask(
        &self,
        question: &Question,
        accept: &'static str,
        authorization: Option<HeaderValue>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let runtime = runtime()?;
        let answer = question.ask(accept, authorization);
        let answer = runtime.block_on(async { tokio::time::timeout(self.timeout, answer).await });
        // A name lookup that hangs must not hold up the exit.
        runtime.shutdown_background();
        let no_answer = || format!("no answer from {question}");
        answer.map_err(|_| anyhow!("nothing came in time")).flatten().with_context(no_answer)
    }
}

impl AdminPort {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "the admin port's URL has no path and no query, for example http://127.0.0.1:9090";
        if let Some(address) = accept::Address::parse_unix(text) {
            return match address {
                Ok(accept::Address::Unix(path)) => Ok(Self::Unix(path)),
                _ => Err("the admin port's socket is `unix:` and an absolute path of at most 107 bytes, for example \
                          unix:/run/keybound/admin.sock"),
            };
        }
        let address = Address::parse(text)?;
        if address.is_https() {
            return Err("the admin port speaks plain HTTP: the URL must begin with http://");
        }
        let authority = address.uri().authority().filter(|_| address.uri().path() == "/").ok_or(EXPECTED)?;
        if address.uri().query().is_some() {
            return Err(EXPECTED);
        }
        Ok(Self::Network(authority.clone()))
    }
}

impl Question {
    async fn ask(
        &self,
        accept: &'static str,
        authorization: Option<HeaderValue>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::get(&self.path).header(header::ACCEPT, accept);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let answer = match &self.port {
            AdminPort::Network(authority) => {
                let request = request.uri(format!("http://{authority}{}", self.path)).body(Empty::<Bytes>::new())?;
                Client::builder(TokioExecutor::new()).build_http().request(request).await?
            }
            AdminPort::Unix(socket) => {
                let request = request.header(header::HOST, "localhost").body(Empty::<Bytes>::new())?;
                let stream = TokioIo::new(UnixStream::connect(socket).await?);
                let (mut sender, connection) = http1::handshake(stream).await?;
                // Ends with the runtime; what goes wrong there, the answer tells.
                tokio::spawn(connection);
                sender.send_request(request).await?
            }
        };
        let status = answer.status();
        let words = Limited::new(answer.into_body(), MAX_BYTES).collect().await.map_err(|error| anyhow!(error))?;
        Ok((status, words.to_bytes()))
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.port {
            AdminPort::Network(authority) => write!(f, "http://{authority}{}", self.path),
            // As curl has it: the socket is one thing and the URL another.
            AdminPort::Unix(socket) => write!(f, "unix:{} http://localhost{}", socket.display(), self.path),
        }
    }
}
