//! `keybound explain`: why a request would pass or be refused, check by check, without sending it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args, ValueEnum};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use keybound::accept::ListenerSettings;
use keybound::clock::{Clock as _, SystemClock};
use keybound::explain::{Issuer, Issuers, Known, Mood, Question, Verdict, explain, json, lines};
use keybound::gateway::Settings;
use keybound::keys::{IssuerSettings, KeySource, read_jwks_file};
use keybound::request::{ClientCertificate, PublicUrl};
use keybound::time::UnixTime;
use keybound::verify::{IssuerRules, Keyset, ProofRules};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::address::Address;
use super::configuration::load;
use super::credentials::{self, TokenArgs};
use super::{stdout, usage};

mod past;

use past::Past;

/// Where the proof comes from when no argument says.
const PROOF_VARIABLE: &str = "KEYBOUND_PROOF";

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Show why a request would pass or be refused, or why one was refused.
///
/// Asks every check of the gateway about a token, a proof and a certificate, in the gateway's order and past the first
/// that fails, and says what was expected and found. Sends nothing and asks nobody: only the running gateway knows whether
/// the proof was used before, what an issuer says of an opaque token, and its nonces, unless they are made with a
/// `secret_file`. Never prints the token, the proof or a key.
///
/// With --request-id, asks a running gateway instead why it refused that request.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("known").args(["config", "jwks", "request_id"]).required(true).multiple(true))]
#[command(after_long_help = "\
Example:
  export KEYBOUND_TOKEN KEYBOUND_PROOF   # as they were sent
  curl https://auth.example.com/jwks > jwks.json
  keybound explain --config keybound.yaml --jwks jwks.json --url https://api.example.com/orders
  keybound explain --request-id d45ef4ecb1bfef3b-1

Exit codes: 0 it would pass, or the refusal is explained; 1 its checks refuse it (also where a route only observes), or that cannot be told; 2 wrong usage.")]
pub struct Explain {
    #[command(flatten)]
    past: Past,

    #[command(flatten)]
    token: TokenArgs,

    /// A file that holds the DPoP proof and nothing else; - is standard input.
    ///
    /// Without it the environment variable KEYBOUND_PROOF is used, if set.
    #[arg(long, value_name = "FILE")]
    proof_file: Option<PathBuf>,

    /// The certificate of the client's connection: PEM, the client's own first, or DER.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,

    /// The scheme in Authorization; by default DPoP if there is a proof.
    #[arg(long, value_name = "SCHEME", ignore_case = true)]
    scheme: Option<SchemeArg>,

    /// The method of the request.
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    method: Method,

    /// The URL of the request, as the client uses it.
    #[arg(long, value_name = "URL", required_unless_present = "request_id")]
    url: Option<String>,

    /// The gateway's configuration: its issuers, rules and routes.
    ///
    /// Keys are taken from each issuer's jwks_file; for issuers without one, from --jwks.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// A JWK set with the issuer's keys.
    ///
    /// Without --config, tokens of any issuer for any audience are looked at, by the default rules.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,

    /// The moment in question, as 2026-11-26T20:00:00Z or in seconds since 1970; by default now.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_negative_numbers = true)]
    at: Option<UnixTime>,

    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SchemeArg {
    Dpop,
    Bearer,
}

fn moment(text: &str) -> Result<UnixTime, &'static str> {
    const EXPECTED: &str = "expected a time such as 2026-11-26T20:00:00Z, or seconds since 1970";
    if let Ok(seconds) = text.parse() {
        return Ok(UnixTime::from_secs(seconds));
    }
    let time = humantime::parse_rfc3339(text).map_err(|_| EXPECTED)?;
    let since = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| EXPECTED)?;
    i64::try_from(since.as_millis()).map(UnixTime::from_millis).map_err(|_| EXPECTED)
}

impl Explain {
    /// Asks and prints.
    ///
    /// # Errors
    /// For `report`.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(id) = &self.past.request_id {
            return self.past.explain(id, self.json);
        }
        let address = Address::parse(self.url.as_deref().unwrap_or_default())
            .map_err(|message| usage("explain", format!("--url: {message}")))?;
        let token = self.token.load()?.ok_or_else(|| {
            usage("explain", "there is no token to explain: --token-file FILE, or the variable KEYBOUND_TOKEN")
        })?;
        let proof = self.proof()?;
        let certificate = self.cert.as_deref().map(certificate).transpose()?;
        let headers = self.headers(&token, proof)?;
        let now = self.at.unwrap_or_else(|| SystemClock.now());
        let settings = match &self.config {
            None => None,
            Some(file) => match load(file) {
                Some(loaded) => Some(loaded.settings),
                None => return Ok(ExitCode::FAILURE),
            },
        };
        let question = Question {
            method: &self.method,
            url: address.uri(),
            headers: &headers,
            certificate: certificate.as_ref(),
            now,
        };
        let explanation = match settings {
            None => {
                let known = Known {
                    issuers: Issuers::Anyone(self.keys_alone()?),
                    asked: Vec::new(),
                    proofs: &ProofRules::default(),
                    routes: &[],
                    public_url: None,
                };
                explain(&question, &known)
            }
            Some(Settings { listeners, issuers, introspection, proofs, routes, .. }) => {
                let routes: Vec<_> = routes.into_iter().map(Arc::new).collect();
                let known = Known {
                    issuers: Issuers::Configured(self.issuers(issuers)?),
                    asked: introspection.into_iter().map(|asked| asked.issuer).collect(),
                    proofs: &proofs,
                    routes: &routes,
                    public_url: public_url(&listeners, &address),
                };
                explain(&question, &known)
            }
        };
        let text =
            if self.json { format!("{:#}\n", json(&explanation, now)) } else { lines(&explanation, now, Mood::Would) };
        stdout::tell(text.as_bytes())?;
        Ok(match explanation.verdict {
            Verdict::Passes | Verdict::Public => ExitCode::SUCCESS,
            Verdict::Refused(_) | Verdict::Undecided(_) => ExitCode::FAILURE,
        })
    }

    fn proof(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        let (text, source) = match &self.proof_file {
            Some(file) => {
                let cannot_read = || format!("cannot read the proof file {}", file.display());
                let bytes = credentials::read(file).with_context(cannot_read)?;
                let text = std::str::from_utf8(&bytes).ok().context("it is not text").with_context(cannot_read)?;
                (Zeroizing::new(text.to_owned()), file.display().to_string())
            }
            None => match env::var(PROOF_VARIABLE) {
                Ok(proof) => (Zeroizing::new(proof), PROOF_VARIABLE.to_owned()),
                Err(env::VarError::NotPresent) => return Ok(None),
                Err(env::VarError::NotUnicode(_)) => bail!("{PROOF_VARIABLE} is not text"),
            },
        };
        let proof = text.trim();
        if proof.is_empty() || HeaderValue::from_str(proof).is_err() {
            let found = if proof.is_empty() { "nothing" } else { "other text" };
            bail!("{source}: expected one proof, found {found}");
        }
        Ok(Some(Zeroizing::new(proof.to_owned())))
    }

    fn headers(&self, token: &str, proof: Option<Zeroizing<String>>) -> anyhow::Result<HeaderMap> {
        let scheme = match (self.scheme, &proof) {
            (Some(SchemeArg::Dpop), _) | (None, Some(_)) => "DPoP",
            (Some(SchemeArg::Bearer), _) | (None, None) => "Bearer",
        };
        let authorization = Zeroizing::new(format!("{scheme} {token}"));
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&authorization)?);
        if let Some(proof) = proof {
            headers.insert(DPOP, HeaderValue::from_str(&proof)?);
        }
        Ok(headers)
    }

    /// The keys of --jwks, for whatever algorithm a token uses by default.
    fn keys_alone(&self) -> anyhow::Result<Keyset> {
        let rules = IssuerRules::new("", Vec::new());
        self.keys_for(&rules)?.context("a JWK set is needed")
    }

    fn keys_for(&self, rules: &IssuerRules) -> anyhow::Result<Option<Keyset>> {
        self.jwks.as_deref().map(|file| keys(file, rules)).transpose()
    }

    fn issuers(&self, settings: Vec<IssuerSettings>) -> anyhow::Result<Vec<Issuer>> {
        const ELSEWHERE: &str = "the issuer's keys are not in a file: fetch them, and name them with --jwks";
        let one = |IssuerSettings { rules, source, .. }| {
            let keys = match source {
                KeySource::File(file) => Some(keys(&file, &rules)?),
                KeySource::Discover | KeySource::Uri(_) => self.keys_for(&rules)?,
            };
            Ok(Issuer { rules, keys: keys.ok_or(ELSEWHERE) })
        };
        settings.into_iter().map(one).collect()
    }
}

fn keys(file: &Path, rules: &IssuerRules) -> anyhow::Result<Keyset> {
    read_jwks_file(file, rules).map(|(keys, _)| keys).map_err(anyhow::Error::msg)
}

/// What the listener calls itself that this URL leads to; without such a one, the first.
fn public_url<'l>(listeners: &'l [ListenerSettings], address: &Address) -> Option<&'l PublicUrl> {
    let called = address.htu();
    let leads_there = |url: &PublicUrl| called.strip_prefix(&url.origin()).is_some_and(|rest| rest.starts_with('/'));
    let mut urls = listeners.iter().map(|listener| listener.front.public_url.as_ref());
    let first = urls.next()?;
    first.into_iter().chain(urls.flatten()).find(|url| leads_there(url)).or(first)
}

/// What the handshake would have shown.
fn certificate(file: &Path) -> anyhow::Result<ClientCertificate> {
    let cannot_use = || format!("cannot use the certificate file {}", file.display());
    let content = credentials::read(file).with_context(cannot_use)?;
    let der = match content.first() {
        // A DER SEQUENCE.
        Some(0x30) => CertificateDer::from(content.to_vec()),
        _ => CertificateDer::from_pem_slice(&content)
            .ok()
            .context("expected a certificate as PEM or DER")
            .with_context(cannot_use)?,
    };
    Ok(ClientCertificate { thumbprint: Sha256::digest(&der).into(), der: None })
}
