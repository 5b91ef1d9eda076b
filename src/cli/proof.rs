//! `keybound proof`: prints one DPoP proof.

use std::process::ExitCode;

use clap::Args;
use http::Method;
use keybound::clock::{Clock as _, SystemClock};

use super::address::Address;
use super::credentials::{KeyArgs, TokenArgs};
use super::{stdout, usage};
use keybound::prover::ProofRequest;

/// Print one DPoP proof.
///
/// The proof is what the DPoP header field of one request carries (RFC 9449 §4). It is good for one method, one URL
/// (query and fragment do not count) and one access token, for about a minute, and once.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  export KEYBOUND_TOKEN                  # without it, the proof fits a token endpoint only
  keybound key --output client.pem
  curl -H \"Authorization: DPoP $KEYBOUND_TOKEN\" \\
       -H \"DPoP: $(keybound proof --key client.pem --url https://api.example.com/orders)\" \\
       https://api.example.com/orders")]
pub struct Proof {
    #[command(flatten)]
    key: KeyArgs,

    /// The method of the request.
    #[arg(short = 'X', long, value_name = "METHOD", default_value = "GET")]
    method: Method,

    /// The URL of the request.
    #[arg(long, value_name = "URL")]
    url: String,

    #[command(flatten)]
    token: TokenArgs,

    /// The nonce that the server asked for in its DPoP-Nonce field.
    #[arg(long, value_name = "NONCE")]
    nonce: Option<String>,
}

impl Proof {
    /// Signs and prints.
    ///
    /// # Errors
    /// For `report`.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let address = Address::parse(&self.url).map_err(|message| usage("proof", format!("--url: {message}")))?;
        let key = self.key.load()?.ok_or_else(|| {
            usage("proof", "a proof is signed with a private key: --key FILE; `keybound key --output FILE` makes one")
        })?;
        let token = self.token.load()?;
        let proof = key.prove(&ProofRequest {
            method: self.method.as_str(),
            url: &address.htu(),
            token: token.as_ref().map(|token| token.as_str()),
            nonce: self.nonce.as_deref(),
            issued_at: SystemClock.now(),
            jti: None,
        })?;
        stdout::write(format!("{proof}\n").as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
