//! `keybound health`: asks a gateway's admin port how it does.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::Args;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::address::Address;
use super::serve::runtime;
use super::{say, stdout, usage};

/// What the admin port says of its health is shorter.
const MAX_BYTES: usize = 64 * 1024;

/// Ask a gateway how it does.
///
/// For container images that have no shell and no curl. Asks the admin port whether the process lives (/healthz), or
/// with --ready whether requests may be sent to it (/readyz), and prints the answer.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  keybound health
  keybound health --ready --admin http://10.0.0.7:9090

Exit codes: 0 for an answer with status 200, 1 for any other answer and for none, 2 for wrong usage.")]
pub struct Health {
    /// Where the admin port is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: String,

    /// Ask whether requests may be sent, not only whether the process lives.
    #[arg(long)]
    ready: bool,

    /// How long to wait for the whole answer.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl Health {
    /// Asks and prints.
    ///
    /// # Errors
    /// For `report`: wrong usage, or no answer in time.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let uri = self.uri().map_err(|message| usage("health", message))?;
        let runtime = runtime()?;
        let answer = runtime.block_on(async { tokio::time::timeout(self.timeout, ask(uri.clone())).await });
        // A name lookup that hangs must not hold up the exit.
        runtime.shutdown_background();
        let no_answer = || format!("no answer from {uri}");
        let (status, words) = answer.map_err(|_| anyhow!("nothing came in time")).flatten().with_context(no_answer)?;
        stdout::write(&words)?;
        if status == StatusCode::OK {
            return Ok(ExitCode::SUCCESS);
        }
        say(format_args!("{uri}: {status}"));
        Ok(ExitCode::FAILURE)
    }

    /// What is asked: the path belongs to the question, so the argument has none of its own.
    fn uri(&self) -> Result<Uri, &'static str> {
        const EXPECTED: &str = "the admin port's URL has no path and no query, for example http://127.0.0.1:9090";
        let address = Address::parse(&self.admin)?;
        if address.is_https() {
            return Err("the admin port speaks plain HTTP: the URL must begin with http://");
        }
        let authority = address.uri().authority().filter(|_| address.uri().path() == "/").ok_or(EXPECTED)?;
        if address.uri().query().is_some() {
            return Err(EXPECTED);
        }
        let path = if self.ready { "/readyz" } else { "/healthz" };
        format!("http://{authority}{path}").parse().map_err(|_| EXPECTED)
    }
}

async fn ask(uri: Uri) -> anyhow::Result<(StatusCode, Bytes)> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client.get(uri).await?;
    let status = answer.status();
    let words = Limited::new(answer.into_body(), MAX_BYTES).collect().await.map_err(|error| anyhow!(error))?;
    Ok((status, words.to_bytes()))
}
