//! `keybound key`: makes a key pair, and tells what keys and certificates are known by.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};
use keybound::clock::{Clock as _, SystemClock};
use keybound::verify::{Algorithm, base64url};
use serde_json::{Map, Value};

use super::{duration, is_dash, say, stdout, usage};
use keybound::prover::ProofKey;

pub mod certificate;
pub mod file;
mod thumbprint;

/// Make a key pair, or print thumbprints of keys and certificates.
///
/// Writes a private key as PKCS#8 PEM and prints its public half: as JWK, and as `jkt`, the thumbprint that tokens
/// bound to it carry in `cnf.jkt` (RFC 9449 §6.1). With --output, the private key goes to a file that only its owner
/// can read, and the rest to standard output; without, the private key goes to standard output and the rest to
/// standard error.
///
/// With --certificate it also makes a self-signed certificate for mutual TLS, and prints `x5t#S256`, the thumbprint
/// that tokens bound to it carry in `cnf.x5t#S256` (RFC 8705 §3.1).
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Examples:
  keybound key --output client.pem
  keybound key --output client.pem --certificate client.crt --subject batch-job
  keybound key thumbprint client.pem client.crt"
)]
pub struct Key {
    #[command(subcommand)]
    verb: Option<KeyVerb>,

    /// What the key signs with.
    ///
    /// PS256 makes an RSA key of 2048 bits, which `proof` and `request` can use for RS256 as well.
    #[arg(short, long, ignore_case = true, default_value = "ES256", value_parser = algorithm_parser())]
    algorithm: Algorithm,

    /// The file that the private key is written to.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Make a self-signed certificate for a client as well, and write it to this file. Listeners need one for a server.
    #[arg(short, long, value_name = "FILE")]
    certificate: Option<PathBuf>,

    /// The common name in the certificate.
    #[arg(long, value_name = "NAME", default_value = "keybound client", requires = "certificate")]
    subject: String,

    /// How long the certificate is valid: 90d, 1year.
    #[arg(long, value_name = "DURATION", default_value = "365d", requires = "certificate", value_parser = lifetime)]
    lifetime: Duration,

    /// Replace files that exist.
    #[arg(short, long)]
    force: bool,

    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    Thumbprint(thumbprint::ThumbprintArgs),
}

/// Spelled as in `alg`.
fn algorithm_parser() -> impl clap::builder::TypedValueParser<Value = Algorithm> {
    PossibleValuesParser::new(["ES256", "ES384", "PS256", "EdDSA"]).try_map(|name| {
        let known = Algorithm::ALL.iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(&name));
        known.copied().ok_or("no such algorithm")
    })
}

fn lifetime(text: &str) -> Result<Duration, &'static str> {
    const CENTURY: Duration = Duration::from_hours(100 * 365 * 24);
    let lifetime = duration(text)?;
    if lifetime.is_zero() || lifetime > CENTURY {
        return Err("expected a duration between 1s and 36500d");
    }
    Ok(lifetime)
}

impl Key {
    /// Makes, writes and prints.
    ///
    /// # Errors
    /// For `report`.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match &self.verb {
            Some(KeyVerb::Thumbprint(verb)) => verb.run(),
            None => self.make(),
        }
    }

    fn make(&self) -> anyhow::Result<ExitCode> {
        if let (Some(key), Some(certificate)) = (&self.output, &self.certificate)
            && file::are_same(key, certificate)
        {
            return Err(usage("key", "--output and --certificate name the same file: expected one for each"));
        }
        if self.output.as_deref().is_some_and(is_dash) {
            return Err(usage("key", "--output: expected a file; without it, the private key goes to standard output"));
        }
        if self.certificate.as_deref().is_some_and(is_dash) {
            return Err(usage("key", "--certificate: expected a file, found `-`"));
        }
        // Before a key is made: an RSA key takes a while.
        for path in [&self.output, &self.certificate].into_iter().flatten() {
            file::check_vacant(path, self.force)?;
        }
        let key = ProofKey::generate(self.algorithm)?;
        let certificate = match &self.certificate {
            Some(path) => {
                let made = certificate::self_signed(&key, &self.subject, SystemClock.now(), self.lifetime)?;
                Some((path, made))
            }
            None => None,
        };
        self.write(&key, certificate.as_ref())?;

        let mut facts = Map::new();
        facts.insert("algorithm".to_owned(), key.algorithm().name().into());
        facts.insert("jkt".to_owned(), key.thumbprint().to_string().into());
        if let Some((_, certificate)) = &certificate {
            facts.insert("x5t#S256".to_owned(), base64url::encode(&certificate.thumbprint).into());
        }
        facts.insert("jwk".to_owned(), key.public_jwk().clone());
        if let Some(path) = &self.output {
            facts.insert("key_file".to_owned(), path.display().to_string().into());
        }
        if let Some((path, certificate)) = &certificate {
            facts.insert("certificate_file".to_owned(), path.display().to_string().into());
            facts.insert("certificate_expires".to_owned(), certificate.expires.clone().into());
        }
        match (self.json, &self.output) {
            (true, Some(_)) => stdout::write(format!("{}\n", Value::Object(facts)).as_bytes())?,
            (true, None) => {
                facts.insert("private_key".to_owned(), key.to_pem()?.as_str().into());
                stdout::write(format!("{}\n", Value::Object(facts)).as_bytes())?;
            }
            (false, Some(_)) => stdout::write(format!("{}\n", lines(&facts)).as_bytes())?,
            (false, None) => {
                stdout::write(key.to_pem()?.as_bytes())?;
                say(lines(&facts));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Both files or none: no half of a pair is left behind, and none replaces what it does not belong to.
    fn write(&self, key: &ProofKey, certificate: Option<&(&PathBuf, certificate::Certificate)>) -> anyhow::Result<()> {
        let draft = |path, content: &[u8], access| file::Draft::write(path, content, access, self.force);
        let key_file = match &self.output {
            Some(path) => Some(draft(path, key.to_pem()?.as_bytes(), file::Access::Owner)?),
            None => None,
        };
        let certificate_file = match certificate {
            Some((path, made)) => Some(draft(path, made.pem.as_bytes(), file::Access::Everyone)?),
            None => None,
        };
        [key_file, certificate_file].into_iter().flatten().try_for_each(file::Draft::keep)
    }
}

/// One fact a line, in the order of the list below.
fn lines(facts: &Map<String, Value>) -> String {
    const ORDER: [(&str, &str); 7] = [
        ("algorithm", "algorithm"),
        ("jkt", "jkt"),
        ("x5t#S256", "x5t#S256"),
        ("jwk", "jwk"),
        ("key_file", "private key"),
        ("certificate_file", "certificate"),
        ("certificate_expires", "valid until"),
    ];
    let shown = ORDER.iter().filter_map(|(name, label)| {
        let value = facts.get(*name)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(format!("{label:<11}  {text}"))
    });
    shown.collect::<Vec<_>>().join("\n")
}
