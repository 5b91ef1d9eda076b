//! `keybound request`: calls a protected API from a shell.

use std::fmt;
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

pub use self::challenge::Challenge;
use self::exchange::{Answer, Call};
use self::show::Trace;
use self::tls::Identity;
pub use self::tls::Trust;
use super::address::Address;
use super::credentials::{KeyArgs, TokenArgs};
use super::{duration, is_dash, say, stdout, usage};

mod challenge;
mod exchange;
mod show;
mod tls;

/// Call a protected API.
///
/// Like curl, with the proof made: --key signs a DPoP proof for this request and answers the server once if it asks
/// for a nonce (RFC 9449), --cert shows a client certificate (RFC 8705). With --key the token is sent under the DPoP
/// scheme, otherwise as Bearer, which is how certificate-bound tokens travel.
///
/// Prints the body of the answer. Redirections are not followed: a proof is good for one URL.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  export KEYBOUND_TOKEN=…
  keybound request https://api.example.com/orders --key client.pem
  keybound request https://api.example.com/orders --key client.pem -d @order.json -H 'Content-Type: application/json'
  keybound request https://api.example.com/orders --cert client.crt --cert-key client.pem

Exit codes: 0 for an answer below 400, 1 for any other answer and for none, 2 for wrong usage.")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Request {
    /// What to ask.
    #[arg(value_name = "URL")]
    url: String,

    /// The method; GET, or POST with --data.
    #[arg(short = 'X', long, visible_alias = "request", value_name = "METHOD")]
    method: Option<Method>,

    /// A header field, as 'Name: value'; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,

    /// The content to send; @FILE reads a file, @- standard input.
    ///
    /// Its type is application/x-www-form-urlencoded unless a header field says otherwise.
    #[arg(short, long, value_name = "DATA")]
    data: Option<String>,

    #[command(flatten)]
    token: TokenArgs,

    #[command(flatten)]
    key: KeyArgs,

    /// Send the token as Bearer even with --key, next to the proof: servers should refuse that.
    #[arg(long)]
    bearer: bool,

    /// The client's certificate chain for mutual TLS, as PEM.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// The certificate's private key, as PEM; by default in the same file.
    #[arg(long, value_name = "FILE", requires = "cert")]
    cert_key: Option<PathBuf>,

    /// Certificates of authorities to trust instead of the system's, as PEM.
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Trust any server. Whoever answers gets the token.
    #[arg(short = 'k', long, conflicts_with = "cacert")]
    insecure: bool,

    /// Print the status line and the header fields, too.
    #[arg(short, long)]
    include: bool,

    /// Tell on standard error what is sent and received, without credentials.
    #[arg(short, long)]
    verbose: bool,

    /// Write the body to a file instead of standard output; - is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// How long to wait for an answer to begin.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

impl fmt::Debug for Request {
    /// Names only: fields and data may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

impl Request {
    /// Asks and prints.
    ///
    /// # Errors
    /// For `report`.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let address = Address::parse(&self.url).map_err(|message| usage("request", message))?;
        let headers = self.fields()?;
        if self.data.as_deref() == Some("@-") && self.token.is_on_stdin() {
            return Err(usage("request", "--data @- and --token-file -: standard input is read once"));
        }
        let token = self.token.load()?;
        let key = self.key.load()?;
        if self.bearer && token.is_none() {
            return Err(usage("request", "--bearer sends a token, and there is none: --token-file FILE"));
        }
        if token.is_some() && !address.is_https() && !address.is_loopback() {
            say("warning: without TLS anyone on the way can read the token");
        }
        let trace = Trace { wanted: self.verbose, secret: token.clone() };
        if let Some(key) = &key {
            trace.note(&format!("the proof's key has jkt {}", key.thumbprint()));
        }
        let trust = self.trust()?;
        if let Some(identity) = &trust.identity {
            trace.note(&format!("the client's certificate has x5t#S256 {}", identity.thumbprint()));
        }
        let method = self.method.clone().unwrap_or(if self.data.is_some() { Method::POST } else { Method::GET });
        let body = self.body()?;
        let call = Call { address, method, headers, body, token, bearer: self.bearer, key, timeout: self.timeout };
        // Without TLS the system's authorities are not asked for.
        let tls = if call.address.is_https() { trust } else { Trust { insecure: true, ..Trust::default() } };
        let tls = tls.client_config()?;

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(async {
            let answer = call.send(tls, &trace).await?;
            self.show(answer).await
        });
        // A name lookup that hangs must not hold up the exit.
        runtime.shutdown_background();
        outcome
    }

    async fn show(&self, mut answer: Answer) -> anyhow::Result<ExitCode> {
        let (version, status) = (answer.head.version, answer.head.status);
        if self.include {
            stdout::tell(&show::head(version, status, &answer.head.headers))?;
        }
        let mut file = match self.output.as_deref().filter(|path| !is_dash(path)) {
            None => None,
            Some(path) => {
                let cannot_write = format!("cannot write {}", path.display());
                Some((File::create(path).with_context(|| cannot_write.clone())?, cannot_write))
            }
        };
        let mut ends_line = true;
        while let Some(data) = answer.next().await? {
            ends_line = data.last().map_or(ends_line, |last| *last == b'\n');
            match &mut file {
                None if stdout::tell(&data)? => {}
                None => break,
                Some((file, cannot_write)) => file.write_all(&data).with_context(|| cannot_write.clone())?,
            }
        }
        if status.as_u16() < 400 {
            return Ok(ExitCode::SUCCESS);
        }
        // On a terminal both come together.
        if !ends_line && file.is_none() && std::io::stdout().is_terminal() {
            say("");
        }
        say(show::explain(status, &answer.head.headers));
        Ok(ExitCode::FAILURE)
    }

    /// The header fields as typed, and the defaults that they do not override.
    fn fields(&self) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (index, field) in self.headers.iter().enumerate() {
            let parsed = field.split_once(':').and_then(|(name, value)| {
                let name: HeaderName = name.trim().parse().ok()?;
                Some((name, HeaderValue::from_str(value.trim()).ok()?))
            });
            let wrong = || usage("request", format!("--header number {}: expected 'Name: value'", index + 1));
            let (name, value) = parsed.ok_or_else(wrong)?;
            headers.append(name, value);
        }
        let defaults = [
            (header::USER_AGENT, Some(concat!("keybound/", env!("CARGO_PKG_VERSION")))),
            (header::ACCEPT, Some("*/*")),
            (header::CONTENT_TYPE, self.data.as_ref().map(|_| "application/x-www-form-urlencoded")),
        ];
        for (name, value) in defaults {
            if let (Some(value), false) = (value, headers.contains_key(&name)) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        Ok(headers)
    }

    fn body(&self) -> anyhow::Result<Bytes> {
        match self.data.as_deref() {
            None => Ok(Bytes::new()),
            Some("@-") => {
                let mut content = Vec::new();
                std::io::copy(&mut std::io::stdin().lock(), &mut content).context("cannot read standard input")?;
                Ok(content.into())
            }
            Some(data) => match data.strip_prefix('@') {
                Some(file) => Ok(std::fs::read(file).with_context(|| format!("cannot read {file}"))?.into()),
                None => Ok(Bytes::copy_from_slice(data.as_bytes())),
            },
        }
    }

    fn trust(&self) -> anyhow::Result<Trust> {
        let identity = match &self.cert {
            None => None,
            Some(certificate) => Some(Identity::load(certificate, self.cert_key.as_ref().unwrap_or(certificate))?),
        };
        Ok(Trust { authorities: self.cacert.clone(), insecure: self.insecure, identity })
    }
}
